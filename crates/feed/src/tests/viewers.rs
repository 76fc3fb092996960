//! Viewers without sockets: the test brings messages in and takes batches out.

use std::{sync::Arc, time::Duration};

use nowcast_model::{ColumnType, TableName};
use nowcast_views::{LiveColumn, ViewError, ViewLimits};
use tokio::time::Instant;

use super::rig::{EPOCH, Rig, Screen, open_all, schema};
use crate::{FeedLimits, hub::Hub, viewer::Viewer};

/// A viewer, what it shows, and its clock, which moves by hand.
struct Seat {
    hub: Arc<Hub>,
    viewer: Viewer,
    screen: Screen,
    now: Instant,
    /// Messages of the last batch.
    batch: usize,
    resumable: bool,
}

impl Seat {
    fn new(hub: &Arc<Hub>) -> Seat {
        let now = Instant::now();
        let viewer = Viewer::new(Arc::clone(hub), None, now);
        Seat { hub: Arc::clone(hub), viewer, screen: Screen::default(), now, batch: 0, resumable: false }
    }

    async fn say(&mut self, text: &str) -> &mut Seat {
        let _ = self.viewer.message(text, self.now);
        open_all(&self.hub, &mut self.viewer).await;
        self
    }

    async fn watch(&mut self, id: u64, query: &str) -> &mut Seat {
        self.say(&format!(r#"{{"op":"subscribe","id":{id},"query":"{query}"}}"#)).await
    }

    /// The socket takes a batch, if there is one.
    fn take(&mut self) -> bool {
        let round = Arc::clone(&self.hub.rounds().borrow());
        let batch = self.viewer.batch(&round, self.now);
        while let Some(reply) = self.viewer.next_reply() {
            self.screen.take(reply.as_text());
        }
        let Some(batch) = batch else { return false };
        self.batch = batch.messages.len();
        self.resumable = batch.resumable;
        let closed: Vec<bool> = batch.messages.iter().map(|text| self.screen.take(text.as_text())).collect();
        let (last, others) = closed.split_last().unwrap();
        assert!(*last && !others.contains(&true), "one progress, at the end");
        assert_eq!(self.screen.version, batch.version.get());
        true
    }

    fn wait(&mut self, ms: u64) -> &mut Seat {
        self.now += Duration::from_millis(ms);
        self
    }
}

#[tokio::test]
async fn snapshot_then_deltas_then_progress() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add("a"), rig.add("b"));
    rig.set(a, &[("x", 1), ("y", 2)]);
    rig.set(b, &[("z", 9)]);
    let hub = rig.hub(FeedLimits::default());
    let mut seat = Seat::new(&hub);
    seat.watch(1, "a").await.watch(2, "b").await;
    assert!(seat.take());
    assert_eq!((seat.screen.show(1), seat.screen.show(2)), ("x=1 y=2".into(), "z=9".into()));
    assert_eq!((seat.batch, seat.screen.version, seat.resumable), (3, 2, true));
    assert!(!seat.take(), "nothing is new");

    rig.stage(a, &[("y", 3)]);
    rig.set(b, &[("z", 9), ("w", 8)]);
    hub.round();
    assert!(seat.take());
    assert_eq!((seat.screen.show(1), seat.screen.show(2)), ("y=3".into(), "w=8 z=9".into()));
    assert_eq!((seat.batch, seat.screen.snapshots, seat.screen.deltas), (3, 2, 2));

    // A moment that changed nothing of this viewer's is told by the next tick or heartbeat.
    rig.publish();
    hub.round();
    assert!(!seat.take());
    rig.tick += 1_000_000;
    rig.publish();
    hub.round();
    assert!(seat.take());
    assert_eq!((seat.batch, seat.screen.version, seat.screen.now), (1, 5, 2_000_000));
}

#[tokio::test]
async fn a_second_passes_with_a_heartbeat_although_nothing_happens() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[]);
    let hub = rig.hub(FeedLimits::default());
    let mut seat = Seat::new(&hub);
    seat.watch(1, "a").await;
    assert!(seat.take());
    assert!(!seat.wait(999).take());
    assert!(seat.wait(1).take());
    assert_eq!(seat.batch, 1);
    assert!(!seat.take());
    // Also for those who have not asked for anything.
    let mut idle = Seat::new(&hub);
    assert!(!idle.take());
    assert!(idle.wait(1_000).take());
}

#[tokio::test]
async fn a_slow_viewer_gets_one_merged_change() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 0), ("gone", 0)]);
    let hub = rig.hub(FeedLimits::default());
    let (mut quick, mut slow) = (Seat::new(&hub), Seat::new(&hub));
    quick.watch(1, "a").await.take();
    slow.watch(1, "a").await.take();
    for n in 1..=100 {
        rig.set(a, &[("x", n), ("y", n)]);
        hub.round();
        assert!(quick.take());
    }
    assert!(slow.take());
    assert_eq!(slow.screen.show(1), "x=100 y=100");
    assert_eq!((quick.screen.deltas, slow.screen.deltas, slow.batch), (100, 1, 2));
    assert_eq!(hub.counts().moments_skipped, 99);
    // And stands at the head again.
    let encoded = hub.counts().frames_encoded;
    rig.set(a, &[("x", 101)]);
    hub.round();
    assert!(quick.take() && slow.take());
    assert_eq!((quick.screen.show(1), slow.screen.show(1)), ("x=101".into(), "x=101".into()));
    assert_eq!(hub.counts().frames_encoded, encoded + 1);
}

#[tokio::test]
async fn viewers_who_come_in_the_middle_of_a_round_share_the_next() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let hub = rig.hub(FeedLimits::default());
    let mut first = Seat::new(&hub);
    first.watch(1, "a").await.take();
    hub.round();
    rig.set(a, &[("x", 2), ("brief", 1)]);
    let mut second = Seat::new(&hub);
    second.watch(1, "a").await.take();
    assert_eq!(second.screen.show(1), "brief=1 x=2");
    rig.set(a, &[("x", 3)]);
    hub.round();
    let encoded = hub.counts().frames_encoded;
    assert!(first.take() && second.take());
    assert_eq!((first.screen.show(1), second.screen.show(1)), ("x=3".into(), "x=3".into()));
    assert_eq!(hub.counts().frames_encoded, encoded + 1);
}

#[tokio::test]
async fn two_hundred_viewers_share_one_encoding() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add("a"), rig.add("b"));
    rig.stage(a, &[("x", 1)]);
    rig.set(b, &[("y", 1)]);
    let hub = rig.hub(FeedLimits::default());
    let mut seats: Vec<Seat> = (0..200).map(|_| Seat::new(&hub)).collect();
    for (number, seat) in seats.iter_mut().enumerate() {
        // Ids differ from viewer to viewer; the rest is shared all the same.
        seat.watch(number as u64, "a").await.watch(1_000, "b").await;
        assert!(seat.take());
    }
    assert_eq!((hub.counts().frames_encoded, hub.counts().snapshots), (2, 400));
    for n in 2..12 {
        rig.stage(a, &[("x", n)]);
        rig.set(b, &[("y", n)]);
        hub.round();
        for seat in &mut seats {
            assert!(seat.take());
        }
    }
    assert_eq!((hub.counts().frames_encoded, hub.counts().deltas), (22, 4_000));
    assert_eq!(hub.counts().rounds_sent, 200 * 11);
    assert!(seats.iter().enumerate().all(|(number, seat)| seat.screen.show(number as u64) == "x=11"));
}

#[tokio::test]
async fn a_storm_of_new_viewers_reuses_the_last_snapshot() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    let hub = rig.hub(FeedLimits::default());
    let rows: Vec<(String, i64)> = (0..500).map(|n| (format!("k{n:03}"), n)).collect();
    let mut rows: Vec<(&str, i64)> = rows.iter().map(|(k, n)| (k.as_str(), *n)).collect();
    rig.set(a, &rows);
    for n in 0..50 {
        rows[0].1 = 1_000 + n;
        rig.set(a, &rows);
        let mut seat = Seat::new(&hub);
        seat.watch(1, "a").await.take();
        assert!(seat.screen.show(1).starts_with(&format!("k000={} k001=1 ", 1_000 + n)));
    }
    let counts = hub.counts();
    assert_eq!(counts.snapshots, 50);
    assert!(counts.bytes_encoded < 20_000, "one snapshot and small deltas: {counts:?}");
}

#[tokio::test]
async fn paced_delivery_waits_for_the_acknowledgement() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 0)]);
    let hub = rig.hub(FeedLimits::default());
    let mut seat = Seat::new(&hub);
    seat.say(r#"{"op":"pace","mode":"ack"}"#).await.watch(1, "a").await;
    assert!(seat.take());
    for n in 1..=5 {
        rig.set(a, &[("x", n)]);
        hub.round();
        assert!(!seat.take(), "not acknowledged yet");
    }
    // The heartbeat goes on, with the moment that the page shows.
    assert!(seat.wait(1_000).take());
    assert_eq!((seat.batch, seat.screen.version, seat.screen.show(1)), (1, 1, "x=0".into()));
    seat.say(r#"{"op":"ack","version":1}"#).await;
    assert!(seat.take());
    assert_eq!((seat.screen.show(1), seat.screen.deltas), ("x=5".into(), 1));
    // What was not sent cannot be acknowledged.
    seat.say(r#"{"op":"ack","version":99}"#).await.take();
    assert_eq!(seat.screen.errors[0].1.code, "bad_ack");
    seat.say(r#"{"op":"pace","mode":"free"}"#).await;
    rig.set(a, &[("x", 6)]);
    hub.round();
    assert!(seat.take());
}

/// Watches `a`, goes on to another moment, and leaves; returns the screen and the cursor.
async fn watched(rig: &mut Rig, hub: &Arc<Hub>, view: nowcast_views::ViewId) -> Screen {
    let mut seat = Seat::new(hub);
    seat.watch(1, "a").await.take();
    rig.set(view, &[("x", 1), ("y", 1)]);
    hub.round();
    seat.take();
    assert_eq!(seat.screen.show(1), "x=1 y=1");
    let Seat { viewer, mut screen, .. } = seat;
    viewer.leave(false);
    screen.errors.clear();
    screen
}

/// Comes back with the screen that an earlier connection left.
async fn come_back(hub: &Arc<Hub>, mut screen: Screen, epoch: &str, version: u64, rest: &str) -> Seat {
    screen.reconnect();
    let mut seat = Seat::new(hub);
    seat.screen = screen;
    seat.say(&format!(r#"{{"op":"resume","epoch":"{epoch}","version":{version}}}"#)).await;
    seat.say(&format!(r#"{{"op":"subscribe","id":1,"query":"a"{rest}}}"#)).await;
    assert!(!seat.take(), "it waits for what else is asked for");
    seat.wait(60);
    seat
}

#[tokio::test]
async fn resume_goes_on_from_the_cursor() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 0)]);
    let hub = rig.hub(FeedLimits::default());
    let screen = watched(&mut rig, &hub, a).await;
    let version = screen.version;
    rig.set(a, &[("y", 2), ("z", 2)]);
    rig.set(a, &[("y", 3), ("z", 3)]);
    let mut seat = come_back(&hub, screen, &EPOCH.to_string(), version, "").await;
    assert!(seat.take());
    assert_eq!((seat.screen.show(1), seat.screen.snapshots), ("y=3 z=3".into(), 0));
    assert_eq!((hub.counts().resumes_accepted, hub.counts().resumes_refused), (1, 0));

    // An accepted resume is answered even if nothing changed.
    let version = seat.screen.version;
    let Seat { viewer, screen, .. } = seat;
    viewer.leave(false);
    let mut seat = come_back(&hub, screen, &EPOCH.to_string(), version, "").await;
    assert!(seat.take());
    assert_eq!((seat.batch, seat.screen.deltas, seat.screen.snapshots), (2, 1, 0));
    // What is subscribed after the first progress starts with a snapshot.
    seat.watch(2, "a").await;
    assert!(seat.take());
    assert_eq!((seat.screen.show(2), seat.screen.snapshots), ("y=3 z=3".into(), 1));
}

#[tokio::test]
async fn a_resume_that_cannot_be_accepted_says_why() {
    let epoch = EPOCH.to_string();
    // epoch, version relative to the cursor, rest of the subscribe, reason
    for (epoch, ahead, rest, reason) in [
        ("00000000000000ff", 0, "", Some("epoch")),
        ("what", 0, "", Some("epoch")),
        (epoch.as_str(), 1_000, "", Some("horizon")),
        (epoch.as_str(), 0, r#","snapshot":true"#, None),
    ] {
        let mut rig = Rig::new();
        let a = rig.add("a");
        rig.set(a, &[("x", 0)]);
        let hub = rig.hub(FeedLimits::default());
        let screen = watched(&mut rig, &hub, a).await;
        let version = screen.version + ahead;
        rig.set(a, &[("new", 1)]);
        let mut seat = come_back(&hub, screen, epoch, version, rest).await;
        assert!(seat.take());
        assert_eq!((seat.screen.show(1), seat.screen.snapshots), ("new=1".into(), 1), "{epoch} {rest}");
        assert_eq!(seat.screen.reasons.first().map(String::as_str), reason, "{epoch} {rest}");
    }
}

#[tokio::test]
async fn a_resume_past_the_tombstones_gets_a_snapshot() {
    let mut rig = Rig::with(ViewLimits { tombstones_max: 2, ..ViewLimits::default() });
    let a = rig.add("a");
    rig.set(a, &[("x", 0)]);
    let hub = rig.hub(FeedLimits::default());
    let screen = watched(&mut rig, &hub, a).await;
    for n in 0..10 {
        rig.set(a, &[(&format!("k{n}"), n)]);
    }
    let version = screen.version;
    let mut seat = come_back(&hub, screen, &EPOCH.to_string(), version, "").await;
    assert!(seat.take());
    assert_eq!((seat.screen.show(1), seat.screen.reasons), ("k9=9".into(), vec!["horizon".to_owned()]));
}

#[tokio::test]
async fn a_request_that_leads_elsewhere_is_not_resumed() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    // Another view that others have been watching for long.
    let other = rig.add("other");
    rig.stage(a, &[("x", 0)]);
    rig.set(other, &[("o", 1)]);
    let hub = rig.hub(FeedLimits::default());
    let mut of_other = Seat::new(&hub);
    of_other.watch(1, "other").await.take();
    let screen = watched(&mut rig, &hub, a).await;
    // The panel was edited: the same request now means the other view.
    rig.catalog_redirect("a", other);
    let version = screen.version;
    rig.set(other, &[("o", 2)]);
    let mut seat = come_back(&hub, screen, &EPOCH.to_string(), version, "").await;
    assert!(seat.take());
    assert_eq!((seat.screen.show(1), seat.screen.reasons), ("o=2".into(), vec!["schema".to_owned()]));
}

#[tokio::test]
async fn seeding_is_told_and_ends_with_a_snapshot() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add("a"), rig.add("b"));
    rig.set(b, &[("y", 1)]);
    let hub = rig.hub(FeedLimits::default());
    let mut seat = Seat::new(&hub);
    seat.watch(1, "a").await.watch(2, "b").await;
    assert!(seat.take());
    assert_eq!((seat.screen.show(1), seat.screen.show(2)), ("-".into(), "y=1".into()));
    assert_eq!(seat.screen.behind.len(), 1);
    assert_eq!((seat.screen.behind[0].id, seat.screen.behind[0].percent), (1, Some(0)));
    assert_eq!(seat.screen.behind[0].state.as_deref(), Some("seeding"));
    assert!(!seat.resumable, "a client that comes back with this cursor would miss the first rows");
    // The others go on meanwhile, with shared frames.
    rig.set(b, &[("y", 2)]);
    hub.round();
    assert!(seat.take());
    assert_eq!(seat.screen.show(2), "y=2");
    rig.set(a, &[("x", 1)]);
    hub.round();
    assert!(seat.take());
    assert_eq!((seat.screen.show(1), seat.screen.behind.len(), seat.resumable), ("x=1".into(), 0, true));
}

#[tokio::test]
async fn failed_views_end_their_subscriptions() {
    let mut rig = Rig::new();
    let (a, b) = (rig.add("a"), rig.add("b"));
    rig.stage(a, &[("x", 1)]);
    rig.set(b, &[("y", 1)]);
    let hub = rig.hub(FeedLimits::default());
    let mut seat = Seat::new(&hub);
    seat.watch(1, "a").await.watch(2, "b").await.take();
    rig.fail(a, ViewError::TableDropped { table: TableName::public("orders") });
    rig.set(b, &[("y", 2)]);
    hub.round();
    assert!(seat.take());
    let (id, error) = seat.screen.errors.pop().unwrap();
    assert_eq!((id, error.code.as_ref(), error.retry), (Some(1), "view_failed", true));
    assert_eq!(error.message, "the table orders was dropped");
    assert_eq!(error.hint.as_deref(), Some("subscribe again once it exists"));
    assert_eq!(seat.screen.show(2), "y=2");
    // The id is free again.
    rig.set(b, &[("y", 3)]);
    seat.watch(1, "b").await.take();
    assert_eq!((seat.screen.show(1), seat.screen.show(2)), ("y=3".into(), "y=3".into()));
}

#[tokio::test]
async fn a_view_with_other_columns_gets_a_snapshot() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let hub = rig.hub(FeedLimits::default());
    let mut seat = Seat::new(&hub);
    seat.watch(1, "a").await.take();
    rig.engine.remove(a);
    let mut wider = schema();
    wider.columns.push(LiveColumn::new("w", ColumnType::Double));
    let again = rig.add_as("a", wider);
    rig.stage_rows(again, vec![]);
    rig.publish();
    hub.round();
    seat.take();
    assert_eq!(seat.screen.errors[0].1.code, "view_gone");
    seat.watch(1, "a").await.take();
    assert_eq!(seat.screen.schema(1).unwrap().columns.len(), 3);
}

#[tokio::test]
async fn mistakes_are_answered_and_change_nothing() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let hub = rig.hub(FeedLimits { subscriptions_max: 2, ..FeedLimits::default() });
    for (text, id, code) in [
        ("nonsense", None, "bad_message"),
        (r#"{"op":"dance","id":3}"#, Some(3), "bad_message"),
        (r#"{"op":"subscribe","id":1,"query":"a"}"#, Some(1), "duplicate_id"),
        (r#"{"op":"unsubscribe","id":5}"#, Some(5), "unknown_id"),
        (r#"{"op":"resume","epoch":"00000000000004d2","version":1}"#, None, "late_resume"),
        (r#"{"op":"subscribe","id":3,"query":"nope"}"#, Some(3), "unknown_table"),
        (r#"{"op":"subscribe","id":4,"query":"a"}"#, Some(4), "too_many_subscriptions"),
    ] {
        let mut seat = Seat::new(&hub);
        seat.watch(1, "a").await;
        if code == "too_many_subscriptions" {
            seat.watch(2, "a").await;
        }
        seat.say(text).await;
        assert!(seat.take());
        let (got, error) = seat.screen.errors.pop().unwrap();
        assert_eq!((got, error.code.as_ref()), (id, code), "{text}");
        assert!(error.hint.is_some(), "{text}: every error has a remedy");
        assert_eq!(seat.screen.show(1), "x=1", "{text}");
        if code == "unknown_table" {
            assert_eq!((error.line, error.column), (Some(1), Some(15)));
        }
    }
    let mut seat = Seat::new(&hub);
    let limit = hub.limits.errors_max;
    let outcomes: Vec<bool> = (0..=limit).map(|_| seat.viewer.message("?", seat.now).is_err()).collect();
    assert_eq!(outcomes.iter().position(|closed| *closed), Some(limit as usize));
}

#[tokio::test]
async fn views_are_let_go() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let linger = Duration::from_millis(30);
    let hub = rig.hub(FeedLimits { linger, ..FeedLimits::default() });
    let leases = || rig.catalog.leases.load(std::sync::atomic::Ordering::SeqCst);
    let mut seat = Seat::new(&hub);
    seat.watch(1, "a").await.watch(2, "a").await.take();
    assert_eq!(leases(), 2);
    seat.say(r#"{"op":"unsubscribe","id":1}"#).await;
    assert_eq!(leases(), 1, "an unsubscribe lets go at once");
    seat.viewer.leave(true);
    assert_eq!(leases(), 1, "one that left may come back");
    let gone = async {
        while leases() > 0 {
            tokio::time::sleep(linger).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("but not for ever");
}

#[tokio::test]
async fn results_that_are_too_large_end_with_an_error() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let hub = rig.hub(FeedLimits { frame_bytes_max: 512, ..FeedLimits::default() });
    let mut seat = Seat::new(&hub);
    seat.watch(1, "a").await.take();
    rig.set(a, &[(&"x".repeat(600), 1)]);
    hub.round();
    seat.take();
    assert_eq!(seat.screen.errors[0].1.code, "result_too_large");
}

#[tokio::test]
async fn the_frame_cache_is_bounded() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let hub = rig.hub(FeedLimits { cache_bytes_max: 4_096, ..FeedLimits::default() });
    let mut seat = Seat::new(&hub);
    seat.watch(1, "a").await.take();
    for n in 0..1_000 {
        rig.set(a, &[("x", n)]);
        hub.round();
        seat.take();
        assert!(hub.frames.bytes() <= 4_096);
    }
}

#[tokio::test]
async fn a_viewer_that_is_lost_before_the_next_moment_resumes() {
    let mut rig = Rig::new();
    let a = rig.add("a");
    rig.set(a, &[("x", 1)]);
    let hub = rig.hub(FeedLimits::default());
    let mut seat = Seat::new(&hub);
    seat.watch(1, "a").await.take();
    let version = seat.screen.version;
    let mut again = Seat::new(&hub);
    again.screen = seat.screen;
    again.screen.reconnect();
    again.say(&format!(r#"{{"op":"resume","epoch":"{EPOCH}","version":{version}}}"#)).await;
    again.watch(1, "a").await.wait(100).take();
    assert_eq!((again.screen.snapshots, again.screen.deltas), (0, 1), "{:?}", again.screen.reasons);
}
