//! One `[[feed]]`: a live query, and what its rows say about dashboards.
//!
//! The query is live while a dashboard is watched and [`LINGER`] longer. What its rows said is forgotten with it, so
//! that nobody is shown old values as the newest.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use nowcast_model::{Value, Version};
use nowcast_views::{Changes, LiveSchema, Row, ViewState};
use serde_json::{Map, Value as Json};

use super::{
    MetricsFeed,
    boards::{Boards, Update},
    records::write_plain,
};
use crate::{
    FeedError, SubscribeRequest, Target,
    hub::{Hub, Opened, since},
    viewer::view_failed,
};

/// How long a query outlives the last viewer: a page that reconnects finds it as it was.
const LINGER: Duration = Duration::from_secs(60);

/// When a query that failed is tried again; its table may have come.
const RETRY: Duration = Duration::from_secs(5);

/// How often a query that is being seeded is looked at.
const SEEDING_LOOK: Duration = Duration::from_millis(50);

/// What a row, by its key, said last: a dashboard and a metric.
type Known = HashMap<String, (Arc<str>, Arc<str>)>;

/// Columns of a query's rows.
struct Columns {
    dashboard_id: usize,
    metric_name: usize,
    value: usize,
    timestamp: Option<usize>,
    metadata: Vec<(usize, String)>,
}

impl Columns {
    fn find(feed: &MetricsFeed, schema: &LiveSchema) -> Result<Columns, FeedError> {
        let find = |name: &String| {
            let is = |column: &nowcast_views::LiveColumn| column.name.eq_ignore_ascii_case(name);
            schema.columns.iter().position(is).ok_or_else(|| {
                let error = FeedError::new("unknown_column", format!("the query has no column {name:?}"));
                error.hint("name the query's columns in [[feed]], or give them these names with AS")
            })
        };
        Ok(Columns {
            dashboard_id: find(&feed.dashboard_id)?,
            metric_name: find(&feed.metric_name)?,
            value: find(&feed.value)?,
            timestamp: feed.timestamp.as_ref().map(find).transpose()?,
            metadata: feed
                .metadata
                .iter()
                .map(|name| Ok((find(name)?, name.clone())))
                .collect::<Result<_, _>>()?,
        })
    }

    /// What else a row tells: the object in its one column of JSON text, or its columns as fields.
    fn metadata(&self, row: &Row) -> Json {
        if let [(column, _)] = self.metadata.as_slice()
            && let Value::Str(text) = &row[*column]
            && let Ok(object @ Json::Object(_)) = serde_json::from_str(text)
        {
            return object;
        }
        let fields = self.metadata.iter().map(|(column, name)| (name.clone(), plain(&row[*column])));
        Json::Object(fields.collect::<Map<_, _>>())
    }
}

/// Keeps one feed's metrics current until the server goes down.
pub(super) async fn run(hub: Arc<Hub>, boards: Arc<Boards>, index: usize, feed: MetricsFeed) {
    let mut closing = hub.closing();
    tokio::select! {
        () = follow(&hub, &boards, index, &feed) => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

async fn follow(hub: &Arc<Hub>, boards: &Boards, index: usize, feed: &MetricsFeed) {
    let mut viewers = boards.viewers();
    let mut told = None;
    loop {
        if viewers.wait_for(|viewers| *viewers > 0).await.is_err() {
            return;
        }
        let mut source = Source { boards, known: Known::new(), is_known: false };
        let Err(error) = source.watch(hub, feed).await else { continue };
        // Its viewers have nothing to wait for.
        source.set_known();
        if told.as_ref() != Some(&error) {
            tracing::warn!(feed = index + 1, hint = error.hint, "a feed of metrics does not work: {error}");
            told = Some(error);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// One life of a feed's query.
struct Source<'a> {
    boards: &'a Boards,
    known: Known,
    is_known: bool,
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        for (dashboard, metric) in self.known.values() {
            self.boards.remove(dashboard, metric);
        }
        if self.is_known {
            self.boards.set_known(false);
        }
    }
}

impl Source<'_> {
    fn set_known(&mut self) {
        if !std::mem::replace(&mut self.is_known, true) {
            self.boards.set_known(true);
        }
    }

    /// Follows the query until nobody has watched for a while.
    async fn watch(&mut self, hub: &Arc<Hub>, feed: &MetricsFeed) -> Result<(), FeedError> {
        let mut viewers = self.boards.viewers();
        let target = Target::Query(feed.sql.clone());
        let request = SubscribeRequest { target, params: Map::new(), tenant: None };
        let opened = Arc::clone(hub).open(request, None).await?;
        let mut rounds = hub.rounds();
        let mut cursor = None;
        let mut idle_since = None;
        loop {
            rounds.mark_unchanged();
            if let Some((changes, schema, version, now_us)) = look(hub, &opened, cursor)? {
                let columns = Columns::find(feed, &schema)?;
                self.take(&changes, &schema, &columns, now_us);
                self.set_known();
                cursor = Some(version);
            }
            let watched = *viewers.borrow_and_update() > 0;
            match idle_since {
                _ if watched => idle_since = None,
                None => idle_since = Some(Instant::now()),
                Some(since) if since.elapsed() >= LINGER => return Ok(()),
                Some(_) => {}
            }
            let wait = if cursor.is_none() { SEEDING_LOOK } else { LINGER };
            tokio::select! {
                changed = rounds.changed() => if changed.is_err() { return Ok(()) },
                _ = viewers.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn take(&mut self, changes: &Changes, schema: &LiveSchema, columns: &Columns, now_us: i64) {
        let mut gone = if changes.snapshot { std::mem::take(&mut self.known) } else { Known::new() };
        for row in &changes.upsert {
            let began = Instant::now();
            let key = name_of(schema.key.iter().map(|&index| &row[index]));
            let dashboard = word(&row[columns.dashboard_id]);
            let metric = word(&row[columns.metric_name]);
            let (Some(dashboard), Some(metric)) = (dashboard, metric) else { continue };
            let timestamp =
                columns.timestamp.map_or(Json::from(now_us.div_euclid(1_000)), |at| plain(&row[at]));
            let update = Update::new(
                &dashboard,
                &metric,
                plain(&row[columns.value]),
                timestamp,
                columns.metadata(row),
            );
            let before = gone.remove(&key).or_else(|| self.known.remove(&key));
            if let Some((old_dashboard, old_metric)) = before
                && (*old_dashboard != *dashboard || *old_metric != *metric)
            {
                self.boards.remove(&old_dashboard, &old_metric);
            }
            self.known.insert(key, (dashboard.as_str().into(), metric.as_str().into()));
            self.boards.put(&dashboard, update);
            self.boards.meters.processed(&dashboard, began.elapsed());
        }
        let deleted = changes.delete.iter().filter_map(|key| self.known.remove(&name_of(key.iter())));
        for (dashboard, metric) in gone.into_values().chain(deleted.collect::<Vec<_>>()) {
            self.boards.remove(&dashboard, &metric);
        }
    }
}

type Seen = (Changes, Arc<LiveSchema>, Version, i64);

/// What the query's rows are since `cursor`; none while they are not known.
fn look(hub: &Hub, opened: &Opened, cursor: Option<Version>) -> Result<Option<Seen>, FeedError> {
    hub.tables.read(|moment| {
        let view = moment.view(opened.view).ok_or_else(|| FeedError::new("view_gone", "the query ended"))?;
        match view.state() {
            ViewState::Failed(error) => Err(view_failed(error)),
            ViewState::Seeding { .. } => Ok(None),
            ViewState::Live | ViewState::Behind { .. } => {
                let changes = since(view, moment, cursor);
                Ok(Some((changes, Arc::clone(view.schema()), moment.version(), moment.tick().us())))
            }
        }
    })
}

/// A row's key as text.
fn name_of<'a>(key: impl Iterator<Item = &'a Value>) -> String {
    let mut name = String::new();
    for value in key {
        write_plain(&mut name, value);
        name.push(',');
    }
    name
}

/// A name; NULL is none.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Str(text) => Some(text.to_string()),
        other => {
            let mut text = String::new();
            write_plain(&mut text, other);
            Some(text)
        }
    }
}

fn plain(value: &Value) -> Json {
    let mut text = String::new();
    write_plain(&mut text, value);
    serde_json::from_str(&text).unwrap_or(Json::Null)
}
