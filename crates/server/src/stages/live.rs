//! Live queries: from requests to views, and the work that views need done.
//!
//! A view is named by the structure of its request: whoever asks for the same shares its evaluation, its state
//! and its frames. It exists from its first lease until `views.linger_s` after its last one was given back, so
//! that a reload of the page finds it warm.
//!
//! ```text
//! open ─► plan ─► known? ─► lease
//!                  └─ new ─► Command::Add ─► apply thread ─► Work::Seed | Work::Evaluate ─► query runtime
//!                                               ▲                                              │
//!                                               └──────── Command::Seeded | Command::Result ◄──┘
//! ```
//!
//! A view that failed is forgotten at the next request for it, which makes a new one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use nowcast_feed::{Batch, FeedError, Lease, Resolver, SubscribeRequest, Target};
use nowcast_model::{ColumnType, Tick, Value};
use nowcast_query::{LiveQuery, Param, Params, QueryContext, SqlError};
use nowcast_store::Snapshot;
use nowcast_views::{
    EngineStats, Evaluated, Kind, LiveColumn, LiveSchema, LiveTables, Row, ViewError, ViewId, ViewLimits,
    ViewState,
};
use serde_json::{Value as Json, json};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
};

use super::apply::{Command, Commands, Work};
use crate::{
    dashboards::{Library, Moment, NotFound, Range},
    sql::{Session, Sql},
};

/// Seeds and evaluations that run at a time, beside ordinary queries: the machine's cores, not the viewers,
/// bound them.
const WORK_MAX: usize = 2;

/// Values of one parameter that is a list.
const LIST_MAX: usize = 1_000;

/// What the service is made of.
pub struct LiveParts {
    /// Plans and runs queries.
    pub sql: Arc<Sql>,
    /// The dashboards.
    pub dashboards: Library,
    /// The way to the apply thread.
    pub commands: Commands,
    /// What readers see.
    pub tables: Arc<LiveTables>,
    /// Bounds of a view.
    pub limits: ViewLimits,
    /// Rows of a query that is run once.
    pub batch_rows_max: usize,
    /// Views at a time.
    pub count_max: usize,
    /// How long a view outlives its last viewer.
    pub linger: Duration,
    /// Where work runs.
    pub runtime: Handle,
    /// Counters of the engine, brought up to date each tick.
    pub stats: Arc<Mutex<EngineStats>>,
}

/// Live queries. Cheap to clone.
#[derive(Clone)]
pub struct LiveService {
    inner: Arc<Inner>,
}

struct Inner {
    parts: LiveParts,
    next_id: AtomicU64,
    running: Semaphore,
    /// Held for look-ups; never across `.await`.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_identity: HashMap<String, ViewId>,
    views: HashMap<ViewId, Entry>,
}

struct Entry {
    identity: String,
    what: What,
    leases: usize,
    idle_since: Option<Instant>,
    /// True once readers find it.
    is_added: watch::Receiver<bool>,
}

/// A view that a lease was counted on.
struct Held {
    id: ViewId,
    is_added: watch::Receiver<bool>,
    /// For a new view: what the apply thread tells that it knows it.
    new: Option<watch::Sender<bool>>,
}

#[derive(Clone)]
enum What {
    Query { live: Arc<LiveQuery>, params: Params },
    Dashboard { name: Arc<str> },
}

/// Gives a view back when it is dropped.
struct Guard {
    inner: Arc<Inner>,
    id: ViewId,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(entry) = self.inner.state().views.get_mut(&self.id) {
            entry.leases -= 1;
            if entry.leases == 0 {
                entry.idle_since = Some(Instant::now());
            }
        }
    }
}

impl LiveService {
    /// A service without views.
    pub fn new(parts: LiveParts) -> LiveService {
        let inner = Inner {
            parts,
            next_id: AtomicU64::new(1),
            running: Semaphore::new(WORK_MAX),
            state: Mutex::default(),
        };
        LiveService { inner: Arc::new(inner) }
    }

    /// Does what the apply thread asks for, until that thread ends.
    pub async fn run_work(self, mut work: mpsc::UnboundedReceiver<Work>) {
        while let Some(work) = work.recv().await {
            let inner = Arc::clone(&self.inner);
            self.inner.parts.runtime.spawn(async move {
                // The semaphore is never closed.
                let Ok(_permit) = inner.running.acquire().await else { return };
                let command = match work {
                    Work::Seed(id, snapshot, tick) => inner.seed(id, snapshot, tick).await,
                    Work::Evaluate(id, snapshot, tick) => inner.evaluate(id, snapshot, tick).await,
                };
                inner.parts.commands.send(command).await;
            });
        }
    }

    /// Tells the views of dashboards that files changed.
    pub async fn dashboards_changed(&self) {
        let ids: Vec<ViewId> = {
            let state = self.inner.state();
            let is_dashboard = |entry: &Entry| matches!(entry.what, What::Dashboard { .. });
            state.views.iter().filter(|(_, entry)| is_dashboard(entry)).map(|(id, _)| *id).collect()
        };
        for id in ids {
            self.inner.parts.commands.send(Command::Invalidate(id)).await;
        }
    }

    /// Ends views that nobody has watched for long enough.
    pub async fn reap(&self) {
        let ended: Vec<ViewId> = {
            let mut state = self.inner.state();
            let linger = self.inner.parts.linger;
            let is_over = |entry: &Entry| {
                entry.leases == 0 && entry.idle_since.is_some_and(|since| since.elapsed() >= linger)
            };
            let ended: Vec<ViewId> =
                state.views.iter().filter(|(_, entry)| is_over(entry)).map(|(id, _)| *id).collect();
            ended.iter().for_each(|id| state.forget(*id));
            ended
        };
        for id in ended {
            self.inner.parts.commands.send(Command::Remove(id)).await;
        }
    }

    /// The views, for `/status`: what they compute, how, for how many, at which cost.
    pub fn describe(&self) -> Vec<Json> {
        let stats = self.inner.parts.stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stats: BTreeMap<ViewId, _> = stats.views.into_iter().map(|view| (view.id, view)).collect();
        let state = self.inner.state();
        let mut views: Vec<(&ViewId, &Entry)> = state.views.iter().collect();
        views.sort_by_key(|(id, _)| **id);
        let describe = |(id, entry): (&ViewId, &Entry)| {
            let stats = stats.get(id);
            let (query, mode, reason) = match &entry.what {
                What::Query { live, .. } => {
                    let fell_back = stats.and_then(|stats| stats.fell_back.as_ref()).map(ToString::to_string);
                    let mode = stats.map_or(live.mode_name(), |stats| stats.mode.name());
                    (live.text.clone(), mode, fell_back.or_else(|| live.reason().map(str::to_owned)))
                }
                What::Dashboard { name } => (format!("dashboard {name}"), "file", None),
            };
            json!({
                "id": id.get(),
                "query": query,
                "mode": mode,
                "reason": reason,
                "viewers": entry.leases,
                "evaluations": stats.map_or(0, |stats| stats.evaluations),
                "cost_us": stats.map_or(0, |stats| stats.cost_us),
                "state_bytes": stats.map_or(0, |stats| stats.state_bytes),
            })
        };
        views.into_iter().map(describe).collect()
    }
}

impl Resolver for LiveService {
    fn open(&self, request: SubscribeRequest) -> BoxFuture<'static, Result<Lease, FeedError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let runtime = inner.parts.runtime.clone();
            // Planning takes milliseconds: it belongs to the query runtime, not to the sockets.
            let opened = runtime.spawn(async move { inner.open(request).await });
            opened.await.unwrap_or_else(|error| Err(FeedError::new("internal", error.to_string()).retry()))
        })
    }
}

impl Batch for LiveService {
    fn run(&self, sql: Arc<str>) -> BoxFuture<'static, Result<(LiveSchema, Vec<Row>), String>> {
        let inner = Arc::clone(&self.inner);
        let answer = self.inner.parts.runtime.spawn(async move { inner.batch(&sql).await });
        Box::pin(async move {
            let answer = answer.await.map_err(|error| error.to_string())?;
            answer.map_err(|error| error.to_string())
        })
    }
}

impl State {
    fn forget(&mut self, id: ViewId) {
        if let Some(entry) = self.views.remove(&id)
            && self.by_identity.get(&entry.identity) == Some(&id)
        {
            self.by_identity.remove(&entry.identity);
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(self: &Arc<Inner>, request: SubscribeRequest) -> Result<Lease, FeedError> {
        let tenant = request.tenant.as_ref().map(|tenant| tenant.to_string()).unwrap_or_default();
        let (identity, schema, kind, what) = match &request.target {
            Target::Dashboard(name) => {
                self.parts.dashboards.get(name).map_err(not_found)?;
                let kind = Kind::Reevaluated { tables: Vec::new(), clock: false };
                let name: Arc<str> = name.as_str().into();
                (format!("{tenant:?} dashboard {name}"), dashboard_schema(), kind, What::Dashboard { name })
            }
            Target::Query(text) => self.plan(text, params(&request.params)?, tenant)?,
            Target::Panel(path) => {
                let (text, params) = self.panel(path, &request.params)?;
                self.plan(&text, params, tenant)?
            }
        };
        let Held { id, mut is_added, new } = self.hold(identity, what)?;
        let lease = Lease::new(id, Guard { inner: Arc::clone(self), id });
        if let Some(added) = new {
            self.parts.commands.send(Command::Add { id, schema: Arc::new(schema), kind, added }).await;
        }
        // Whoever holds a lease finds the view, whether it was the first to ask for it or came right behind.
        match is_added.wait_for(|is_added| *is_added).await {
            Ok(_) => Ok(lease),
            Err(_) => Err(FeedError::new("shutting_down", "the server is shutting down").retry()),
        }
    }

    fn plan(
        &self,
        text: &str,
        params: Params,
        tenant: String,
    ) -> Result<(String, LiveSchema, Kind, What), FeedError> {
        let mut ctx = self.parts.sql.context(&Session::default(), params.clone(), None);
        ctx.tenant = tenant;
        let live = self.parts.sql.engine().plan_live(&ctx, text).map_err(|error| feed_error(&error))?;
        let (identity, schema, kind) = (live.identity.clone(), live.schema.clone(), live.kind());
        Ok((identity, schema, kind, What::Query { live: Arc::new(live), params }))
    }

    /// The query of a panel, and what its placeholders stand for.
    fn panel(
        &self,
        path: &str,
        given: &serde_json::Map<String, Json>,
    ) -> Result<(String, Params), FeedError> {
        let panel = self.parts.dashboards.resolve(path).map_err(not_found)?;
        let mut given = params(given)?.named;
        let mut end = |name: &str| given.remove(name).map(|param| moment(name, &param)).transpose();
        let (from, to) = (end("from")?.flatten(), end("to")?.flatten());
        let asked = from.map(|from| Range { from, to });
        let range = panel.range(asked, self.parts.sql.now_us());
        let mut named: BTreeMap<String, Param> = BTreeMap::new();
        for variable in &panel.variables {
            let choice = given.iter().find(|(name, _)| name.eq_ignore_ascii_case(variable));
            named.insert(variable.clone(), choice.map_or(Param::All, |(_, param)| param.clone()));
        }
        let is_all = |name: &str| {
            let found = named.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.is_none_or(|(_, param)| {
                matches!(param, Param::All) || matches!(param, Param::List(l) if l.is_empty())
            })
        };
        let text = panel.sql(|name| !is_all(name));
        for param in named.values_mut() {
            // A list of nothing is a drop-down without a choice.
            if matches!(param, Param::List(list) if list.is_empty()) {
                *param = Param::All;
            }
        }
        named.insert("from".to_owned(), bound(range.from));
        named.insert("to".to_owned(), range.to.map_or(Param::All, bound));
        Ok((text, Params { positional: Vec::new(), named }))
    }

    /// Counts a lease on the view of `identity`, which is made if there is none, or if it failed.
    fn hold(&self, identity: String, what: What) -> Result<Held, FeedError> {
        let mut state = self.state();
        if let Some(&id) = state.by_identity.get(&identity) {
            if self.has_failed(id) {
                // Its viewers keep it until they go.
                state.by_identity.remove(&identity);
            } else if let Some(entry) = state.views.get_mut(&id) {
                entry.leases += 1;
                entry.idle_since = None;
                return Ok(Held { id, is_added: entry.is_added.clone(), new: None });
            }
        }
        if state.views.len() >= self.parts.count_max {
            let message = format!("{} live queries are running, which is the limit", state.views.len());
            return Err(FeedError::new("too_many_views", message)
                .hint("close some pages, or raise views.count_max")
                .retry());
        }
        let id = ViewId::new(self.next_id.fetch_add(1, Ordering::Relaxed));
        state.by_identity.insert(identity.clone(), id);
        let (added, is_added) = watch::channel(false);
        let entry = Entry { identity, what, leases: 1, idle_since: None, is_added: is_added.clone() };
        state.views.insert(id, entry);
        Ok(Held { id, is_added, new: Some(added) })
    }

    fn has_failed(&self, id: ViewId) -> bool {
        self.parts
            .tables
            .read(|moment| moment.view(id).is_some_and(|view| matches!(view.state(), ViewState::Failed(_))))
    }

    fn what(&self, id: ViewId) -> Option<What> {
        self.state().views.get(&id).map(|entry| entry.what.clone())
    }

    fn context(&self, snapshot: Arc<Snapshot>, tick: Tick, params: Params) -> QueryContext {
        let mut ctx = QueryContext::new(snapshot, tick.us()).with_params(params);
        ctx.system = Some(self.parts.sql.system());
        ctx
    }

    async fn seed(&self, id: ViewId, snapshot: Arc<Snapshot>, tick: Tick) -> Command {
        // A view that was removed meanwhile is ignored by the engine, whatever comes for it.
        let Some(What::Query { live, params }) = self.what(id) else { return Command::Remove(id) };
        let position = snapshot.position;
        let ctx = self.context(snapshot, tick, params);
        let seeded = self.parts.sql.engine().seed(&ctx, &live, tick, &self.parts.limits, |_| {}).await;
        Command::Seeded(id, seeded.map(|view| (Box::new(view), position)))
    }

    async fn evaluate(&self, id: ViewId, snapshot: Arc<Snapshot>, tick: Tick) -> Command {
        let position = snapshot.position;
        let started = Instant::now();
        let rows = match self.what(id) {
            None => return Command::Remove(id),
            Some(What::Dashboard { name }) => Ok(self.dashboard_row(&name).into_iter().collect()),
            Some(What::Query { live, params }) => {
                let ctx = self.context(snapshot, tick, params);
                let rows_max = self.parts.limits.rows_max;
                self.parts.sql.engine().evaluate(&ctx, &live, tick, rows_max).await
            }
        };
        let cost_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let result = rows.map(|rows| Evaluated { position, tick, rows, cost_us });
        Command::Result(id, result.map_err(|e: SqlError| ViewError::Evaluation(e.to_string())))
    }

    /// The rows of a query now. It is planned as a live one, for its columns and types, and run once.
    async fn batch(&self, text: &str) -> Result<(LiveSchema, Vec<Row>), SqlError> {
        let ctx = self.parts.sql.context(&Session::default(), Params::default(), None);
        let tick = Tick::containing(ctx.now_us);
        let live = self.parts.sql.engine().plan_live(&ctx, text)?;
        let rows = self.parts.sql.engine().evaluate(&ctx, &live, tick, self.parts.batch_rows_max).await?;
        Ok((live.schema, rows))
    }

    fn dashboard_row(&self, name: &str) -> Option<Row> {
        let entry = self.parts.dashboards.get(name).ok()?;
        let text = |value: &Json| Value::Str(value.to_string().into());
        let error = entry.error().as_ref().map_or(Value::Null, text);
        let revision = i64::try_from(entry.revision).unwrap_or(i64::MAX);
        Some([Value::from(name), text(&entry.definition()), error, Value::Int(revision)].into())
    }
}

fn dashboard_schema() -> LiveSchema {
    let columns = vec![
        LiveColumn::new("name", ColumnType::Varchar),
        LiveColumn::new("definition", ColumnType::Varchar),
        LiveColumn::new("error", ColumnType::Varchar),
        LiveColumn::new("revision", ColumnType::Long),
    ];
    LiveSchema { columns, key: vec![0], order: Vec::new(), limit: None }
}

fn not_found(missing: NotFound) -> FeedError {
    FeedError::new("not_found", missing.message).hint(missing.hint)
}

/// An end of the page's range; `None` for all.
fn moment(name: &str, param: &Param) -> Result<Option<Moment>, FeedError> {
    match param {
        Param::All => Ok(None),
        Param::Ago { ago_us } => Ok(Some(Moment::Ago(*ago_us))),
        Param::Scalar(Value::Int(us)) => Ok(Some(Moment::At(*us))),
        Param::Scalar(Value::Str(text)) => match chrono::DateTime::parse_from_rfc3339(text) {
            Ok(at) => Ok(Some(Moment::At(at.timestamp_micros()))),
            Err(_) => Err(bad_moment(name)),
        },
        _ => Err(bad_moment(name)),
    }
}

fn bad_moment(name: &str) -> FeedError {
    let error = FeedError::new("bad_parameter", format!("the parameter {name:?} is no time"));
    error.hint("send {\"ago_s\": 300}, microseconds since 1970 UTC, or 2026-01-31T12:00:00Z")
}

fn bound(moment: Moment) -> Param {
    match moment {
        Moment::Ago(ago_us) => Param::Ago { ago_us },
        Moment::At(us) => Param::Scalar(Value::Timestamp(us)),
    }
}

fn feed_error(error: &SqlError) -> FeedError {
    let made =
        FeedError::new(error.code.state(), error.message.clone()).at(error.line.into(), error.column.into());
    match &error.hint {
        Some(hint) => made.hint(hint.clone()),
        None => made,
    }
}

/// Parameters as they come over the wire.
fn params(given: &serde_json::Map<String, Json>) -> Result<Params, FeedError> {
    let mut params = Params::default();
    for (name, value) in given {
        let wrong = |what: &str| {
            let error = FeedError::new("bad_parameter", format!("the parameter {name:?} is {what}"));
            error.hint(
                "send a string, a number, true or false, a list of these, null for all, or {\"ago_s\": 300}",
            )
        };
        let param = match value {
            Json::Null => Param::All,
            Json::Array(values) if values.len() > LIST_MAX => {
                return Err(wrong(&format!(
                    "a list of {} values, at most {LIST_MAX} are allowed",
                    values.len()
                )));
            }
            Json::Array(values) => {
                let values: Option<Vec<Value>> = values.iter().map(scalar).collect();
                Param::List(values.ok_or_else(|| wrong("a list with a list or an object in it"))?)
            }
            Json::Object(object) => {
                let ago_s = object.get("ago_s").and_then(Json::as_f64).filter(|_| object.len() == 1);
                let ago_s =
                    ago_s.filter(|s| s.abs() < 1e11).ok_or_else(|| wrong("an object of another kind"))?;
                Param::Ago { ago_us: (ago_s * 1e6) as i64 }
            }
            value => Param::Scalar(scalar(value).ok_or_else(|| wrong("of a kind that is not taken"))?),
        };
        params.named.insert(name.clone(), param);
    }
    Ok(params)
}

fn scalar(value: &Json) -> Option<Value> {
    match value {
        Json::Null => Some(Value::Null),
        Json::Bool(v) => Some(Value::Bool(*v)),
        Json::Number(v) => {
            Some(v.as_i64().map_or_else(|| Value::Float(v.as_f64().unwrap_or(f64::NAN)), Value::Int))
        }
        Json::String(v) => Some(Value::from(v.as_str())),
        Json::Array(_) | Json::Object(_) => None,
    }
}
