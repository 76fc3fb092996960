//! Random worlds: views change, viewers are slow, vanish and come back; what each shows after a round is what
//! its views held at the version that the round names.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::executor::block_on;
use nowcast_views::{ViewId, ViewLimits};
use proptest::prelude::*;
use tokio::time::Instant;

use super::rig::{EPOCH, Rig, Screen, open_all};
use crate::{FeedLimits, hub::Hub, viewer::Viewer};

const VIEWS: usize = 2;
const VIEWERS: usize = 3;
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Op {
    /// A view's rows: a value for each key, 0 for none.
    Set(usize, [u8; 4]),
    /// A moment, and whether a round follows.
    Publish(bool),
    /// A viewer's socket takes a batch.
    Take(usize),
    /// A viewer stops or starts watching a view.
    Toggle(usize, usize),
    /// A viewer loses its connection and comes back with its cursor.
    Return(usize),
    /// A query means another view from now on.
    Redirect(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..VIEWS, any::<[u8; 4]>()).prop_map(|(view, bits)| Op::Set(view, bits.map(|b| b % 4))),
        4 => any::<bool>().prop_map(Op::Publish),
        6 => (0..VIEWERS).prop_map(Op::Take),
        3 => (0..VIEWERS, 0..VIEWS).prop_map(|(viewer, view)| Op::Toggle(viewer, view)),
        2 => (0..VIEWERS).prop_map(Op::Return),
        1 => (0..VIEWS, 0..VIEWS).prop_map(|(query, view)| Op::Redirect(query, view)),
    ]
}

/// A client with its side of the protocol.
struct Client {
    viewer: Viewer,
    screen: Screen,
    now: Instant,
    /// The version of the last progress, on whichever connection.
    cursor: u64,
    /// Which views it watches by which query; the id of query `q` is `q`.
    watches: BTreeMap<usize, Watch>,
}

struct Watch {
    view: usize,
    /// True if the client's rows are those of its cursor.
    answered: bool,
}

struct World {
    rig: Rig,
    hub: Arc<Hub>,
    views: Vec<ViewId>,
    /// What queries mean.
    meaning: Vec<usize>,
    /// What views hold at the next moment, and held at each.
    rows: Vec<String>,
    history: BTreeMap<u64, Vec<String>>,
    clients: Vec<Client>,
}

impl World {
    fn new() -> World {
        let mut rig = Rig::with(ViewLimits { tombstones_max: 3, ..ViewLimits::default() });
        let views: Vec<ViewId> = (0..VIEWS).map(|n| rig.add(&format!("q{n}"))).collect();
        for &view in &views {
            rig.stage(view, &[]);
        }
        let version = rig.publish();
        let hub = rig.hub(FeedLimits::default());
        let rows = vec![String::new(); VIEWS];
        let history = BTreeMap::from([(version.get(), rows.clone())]);
        let clients = (0..VIEWERS).map(|_| Client {
            viewer: Viewer::new(Arc::clone(&hub), None, Instant::now()),
            screen: Screen::default(),
            now: Instant::now(),
            cursor: 0,
            watches: BTreeMap::new(),
        });
        let clients = clients.collect();
        World { rig, hub, views, meaning: (0..VIEWS).collect(), rows, history, clients }
    }

    fn say(&mut self, viewer: usize, text: &str) {
        let client = &mut self.clients[viewer];
        client.viewer.message(text, client.now).unwrap();
        block_on(open_all(&self.hub, &mut client.viewer));
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Set(view, values) => {
                let rows: Vec<(&str, i64)> =
                    KEYS.into_iter().zip(values.map(i64::from)).filter(|(_, value)| *value > 0).collect();
                self.rig.stage(self.views[view], &rows);
                let shown = rows.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
                self.rows[view] = shown.join(" ");
            }
            Op::Publish(round) => {
                let version = self.rig.publish();
                self.history.insert(version.get(), self.rows.clone());
                if round {
                    self.hub.round();
                }
            }
            Op::Take(viewer) => self.take(viewer),
            Op::Toggle(viewer, query) => {
                if self.clients[viewer].watches.remove(&query).is_some() {
                    self.say(viewer, &format!(r#"{{"op":"unsubscribe","id":{query}}}"#));
                } else {
                    self.subscribe(viewer, query, true);
                }
            }
            Op::Return(viewer) => {
                let fresh = Viewer::new(Arc::clone(&self.hub), None, self.clients[viewer].now);
                let client = &mut self.clients[viewer];
                std::mem::replace(&mut client.viewer, fresh).leave(false);
                let version = client.cursor;
                let queries: Vec<(usize, bool)> =
                    client.watches.iter().map(|(&query, watch)| (query, watch.answered)).collect();
                client.screen.reconnect();
                self.say(viewer, &format!(r#"{{"op":"resume","epoch":"{EPOCH}","version":{version}}}"#));
                for (query, answered) in queries {
                    self.subscribe(viewer, query, !answered);
                    if let Some(watch) = self.clients[viewer].watches.get_mut(&query) {
                        watch.answered = answered;
                    }
                }
            }
            Op::Redirect(query, view) => {
                self.rig.catalog_redirect(&format!("q{query}"), self.views[view]);
                self.meaning[query] = view;
            }
        }
    }

    fn subscribe(&mut self, viewer: usize, query: usize, snapshot: bool) {
        let watch = Watch { view: self.meaning[query], answered: false };
        self.clients[viewer].watches.insert(query, watch);
        let text = format!(r#"{{"op":"subscribe","id":{query},"query":"q{query}","snapshot":{snapshot}}}"#);
        self.say(viewer, &text);
    }

    fn take(&mut self, viewer: usize) {
        let client = &mut self.clients[viewer];
        // Long enough for what waits after a resume, too short for a heartbeat to matter.
        client.now += Duration::from_millis(100);
        let round = Arc::clone(&self.hub.rounds().borrow());
        let Some(batch) = client.viewer.batch(&round, client.now) else { return };
        for text in &batch.messages {
            client.screen.take(text.as_text());
        }
        assert!(client.screen.errors.is_empty(), "{:?}", client.screen.errors);
        client.cursor = client.screen.version;
        let expected = &self.history[&client.screen.version];
        for (&query, watch) in &mut client.watches {
            watch.answered = true;
            assert_eq!(client.screen.show(query as u64), expected[watch.view], "query {query}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn screens_show_what_views_held(ops in prop::collection::vec(op(), 1..120)) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        // In the end everyone catches up.
        world.run(&Op::Publish(true));
        for viewer in 0..VIEWERS {
            world.take(viewer);
            let client = &world.clients[viewer];
            for (&query, watch) in &client.watches {
                prop_assert_eq!(client.screen.show(query as u64), world.rows[watch.view].clone());
            }
        }
    }
}
