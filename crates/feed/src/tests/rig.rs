//! Live tables that are driven by hand, and clients that check what they are sent.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{FutureExt, future::BoxFuture};
use nowcast_model::{ColumnType, Epoch, Offset, TableName, Tick, Value, Version};
use nowcast_views::{
    Direction, Engine, Evaluated, Kind, LiveColumn, LiveSchema, LiveTables, Row, ViewError, ViewId,
    ViewLimits,
};
use serde_json::Value as Json;

use crate::{
    FeedError, FeedLimits, FeedState, Lease, Resolver, SubscribeRequest,
    hub::{Hub, Opened},
    protocol::{Behind, ServerMessage},
};

pub(crate) const EPOCH: Epoch = Epoch::new(1234);

/// What queries lead to; a query that is not in the list is refused.
#[derive(Default)]
pub(crate) struct Catalog {
    views: Mutex<HashMap<String, ViewId>>,
    pub(crate) leases: Arc<AtomicUsize>,
}

struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Resolver for Catalog {
    fn open(&self, request: SubscribeRequest) -> BoxFuture<'static, Result<Lease, FeedError>> {
        let (_, text) = request.target.parts();
        let outcome = match self.views.lock().unwrap().get(text) {
            Some(&view) => {
                self.leases.fetch_add(1, Ordering::SeqCst);
                Ok(Lease::new(view, Guard(Arc::clone(&self.leases))))
            }
            None => Err(FeedError::new("unknown_table", format!("there is no table {text:?}"))
                .hint("look at /api/v1/tables")
                .at(1, 15)),
        };
        futures::future::ready(outcome).boxed()
    }
}

/// An engine and a feed; views are `(k, v)` ordered by `v` downwards.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) tables: Arc<LiveTables>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tick: i64,
    pub(crate) position: u64,
    next_view: u64,
}

pub(crate) fn schema() -> LiveSchema {
    LiveSchema {
        columns: vec![LiveColumn::new("k", ColumnType::Varchar), LiveColumn::new("v", ColumnType::Long)],
        key: vec![0],
        order: vec![(1, Direction::Desc)],
        limit: None,
    }
}

pub(crate) fn row(k: &str, v: i64) -> Row {
    Arc::from([Value::from(k), Value::Int(v)])
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::with(ViewLimits::default())
    }

    pub(crate) fn with(limits: ViewLimits) -> Rig {
        let tables = LiveTables::new();
        let engine = Engine::new(limits, Arc::clone(&tables));
        Rig { engine, tables, catalog: Arc::default(), tick: 1_000_000, position: 0, next_view: 1 }
    }

    /// A view that is seeded until [`Rig::set`]. `query` leads to it from now on.
    pub(crate) fn add(&mut self, query: &str) -> ViewId {
        self.add_as(query, schema())
    }

    pub(crate) fn add_as(&mut self, query: &str, schema: LiveSchema) -> ViewId {
        let id = ViewId::new(self.next_view);
        self.next_view += 1;
        self.engine.add(
            id,
            schema,
            Kind::Reevaluated { tables: vec![TableName::public(query)], clock: false },
        );
        self.catalog.views.lock().unwrap().insert(query.to_owned(), id);
        id
    }

    /// From now on `query` means `view`.
    pub(crate) fn catalog_redirect(&self, query: &str, view: ViewId) {
        self.catalog.views.lock().unwrap().insert(query.to_owned(), view);
    }

    /// Makes `rows` the content of a view at the next moment.
    pub(crate) fn stage(&mut self, view: ViewId, rows: &[(&str, i64)]) {
        let rows = rows.iter().map(|(k, v)| row(k, *v)).collect();
        self.stage_rows(view, rows);
    }

    pub(crate) fn stage_rows(&mut self, view: ViewId, rows: Vec<Row>) {
        self.position += 1;
        let (position, tick) = (Offset::new(self.position), Tick::containing(self.tick));
        self.engine.result(view, Ok(Evaluated { position, tick, rows, cost_us: 0 }));
    }

    /// Makes a moment.
    pub(crate) fn publish(&mut self) -> Version {
        self.engine.publish(Offset::new(self.position), Tick::containing(self.tick))
    }

    pub(crate) fn set(&mut self, view: ViewId, rows: &[(&str, i64)]) -> Version {
        self.stage(view, rows);
        self.publish()
    }

    pub(crate) fn fail(&mut self, view: ViewId, error: ViewError) {
        self.engine.fail(view, error);
    }

    pub(crate) fn hub(&self, limits: FeedLimits) -> Arc<Hub> {
        let resolver: Arc<dyn Resolver> = Arc::clone(&self.catalog) as _;
        Hub::new(Arc::clone(&self.tables), resolver, EPOCH, limits, Arc::new(crate::same_origin))
    }

    /// Serves over loopback.
    pub(crate) async fn serve(&self, limits: FeedLimits) -> (FeedState, SocketAddr) {
        let resolver: Arc<dyn Resolver> = Arc::clone(&self.catalog) as _;
        let state = FeedState::new(Arc::clone(&self.tables), resolver, EPOCH, limits);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = crate::router(state.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (state, address)
    }
}

/// Opens what a viewer asked for, as a transport does.
pub(crate) async fn open_all(hub: &Arc<Hub>, viewer: &mut crate::viewer::Viewer) {
    for open in viewer.opens() {
        let outcome: Result<Opened, FeedError> = Arc::clone(hub).open(open.request, open.cursor).await;
        viewer.opened(open.id, open.serial, outcome);
    }
}

/// What a client shows: applies rounds at their progress, and insists on the protocol's order.
#[derive(Default)]
pub(crate) struct Screen {
    tables: BTreeMap<u64, Table>,
    round: Vec<ServerMessage>,
    pub(crate) epoch: Option<String>,
    pub(crate) version: u64,
    pub(crate) now: i64,
    pub(crate) behind: Vec<Behind>,
    pub(crate) errors: Vec<(Option<u64>, FeedError)>,
    pub(crate) snapshots: usize,
    pub(crate) reasons: Vec<String>,
    pub(crate) deltas: usize,
    pub(crate) rounds: usize,
}

struct Table {
    schema: crate::protocol::Schema,
    rows: BTreeMap<String, Vec<Json>>,
}

impl Table {
    fn key(&self, row: &[Json]) -> String {
        serde_json::to_string(&self.schema.key.iter().map(|&index| &row[index]).collect::<Vec<_>>()).unwrap()
    }
}

impl Screen {
    /// Takes in a message; true if it closed a round.
    pub(crate) fn take(&mut self, text: &str) -> bool {
        let message: ServerMessage = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        match message {
            ServerMessage::Progress { version, now, behind, .. } => {
                assert!(version >= self.version, "versions rise: {version} after {}", self.version);
                for message in std::mem::take(&mut self.round) {
                    self.apply(message, version);
                }
                (self.version, self.now, self.behind) = (version, now, behind);
                self.rounds += 1;
                return true;
            }
            ServerMessage::Error { id, error } => self.errors.push((id, error)),
            other => self.round.push(other),
        }
        false
    }

    fn apply(&mut self, message: ServerMessage, progress: u64) {
        match message {
            ServerMessage::Snapshot { id, epoch, version, schema, rows, reason, .. } => {
                assert!(version <= progress);
                self.snapshots += 1;
                self.epoch = Some(epoch);
                self.reasons.extend(reason);
                let mut table = Table { schema, rows: BTreeMap::new() };
                for row in rows {
                    table.rows.insert(table.key(&row), row);
                }
                self.tables.insert(id, table);
            }
            ServerMessage::Delta { id, version, upsert, delete, .. } => {
                assert_eq!(version, progress, "a delta is of its progress's moment");
                self.deltas += 1;
                let table = self.tables.get_mut(&id).expect("a delta comes after a snapshot");
                for key in delete {
                    table.rows.remove(&serde_json::to_string(&key).unwrap());
                }
                for row in upsert {
                    table.rows.insert(table.key(&row), row);
                }
            }
            ServerMessage::Progress { .. } | ServerMessage::Error { .. } => {}
        }
    }

    /// A new connection of the same client.
    pub(crate) fn reconnect(&mut self) {
        self.round.clear();
        self.version = 0;
        (self.snapshots, self.deltas, self.rounds) = (0, 0, 0);
        self.reasons.clear();
    }

    pub(crate) fn schema(&self, id: u64) -> Option<&crate::protocol::Schema> {
        self.tables.get(&id).map(|table| &table.schema)
    }

    pub(crate) fn raw(&self, id: u64) -> Option<Vec<Vec<Json>>> {
        self.tables.get(&id).map(|table| table.rows.values().cloned().collect())
    }

    /// The rows of `(k, v)`, as `a=1 b=2`, by key; `-` before the first snapshot.
    pub(crate) fn show(&self, id: u64) -> String {
        let Some(table) = self.tables.get(&id) else { return "-".to_owned() };
        let cell = |json: &Json| json.as_str().map_or_else(|| json.to_string(), str::to_owned);
        let rows = table.rows.values().map(|row| format!("{}={}", cell(&row[0]), cell(&row[1])));
        rows.collect::<Vec<_>>().join(" ")
    }
}
