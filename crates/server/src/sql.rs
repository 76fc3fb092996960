//! Statements, from whichever wire they come: parse, run, write.
//!
//! Queries run on a runtime of their own, at lower priority, so that a heavy one takes nothing from sockets
//! and the log. Its batches come back over a channel of two: a reader that is slow slows its query and
//! nothing else, and a reader that goes away ends it.
//!
//! **Transactions.** INSERTs between BEGIN and COMMIT become one record at COMMIT, and nothing at ROLLBACK;
//! they are not read back before. A statement that changes tables runs at once where nothing was inserted
//! before it, and is refused behind an INSERT.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::StreamExt;
use metrics::{counter, gauge};
use nowcast_model::{Clock, Event, Item, Offset, limits::RECORD_BYTES_MAX};
use nowcast_query::{Params, QueryContext, QueryEngine, SqlCode, SqlError, Statement, SystemTables};
use nowcast_store::Store;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::AbortHandle,
};

use crate::stages::{AppendError, Ingest};
use nowcast_sources::WriteError;

/// What one connection (or one request) remembers between statements.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// `SET search_path`.
    pub search_path: Vec<String>,
    /// Other session variables, names in lower case.
    pub variables: BTreeMap<String, String>,
    /// INSERTs since BEGIN.
    pub transaction: Option<Vec<Item>>,
}

/// What a statement yields.
pub enum Answer {
    /// Rows.
    Rows(Rows),
    /// Done, with PostgreSQL's command tag and the number of rows written.
    Done {
        /// `INSERT`, `CREATE TABLE`, …
        tag: &'static str,
        /// Rows written, where the tag tells them.
        rows: Option<u64>,
    },
}

/// The rows of a query as they are made. Dropping it ends the query.
pub struct Rows {
    /// The columns.
    pub schema: SchemaRef,
    /// Where in the log the answer holds.
    pub position: Offset,
    batches: mpsc::Receiver<Result<RecordBatch, SqlError>>,
    abort: AbortHandle,
}

impl Rows {
    /// The next batch; `None` behind the last.
    ///
    /// # Errors
    /// A value failed, memory ran out, or the time is up.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, SqlError>> {
        self.batches.recv().await
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Why a statement did not run.
#[derive(Debug)]
pub enum SqlFailure {
    /// The statement is at fault, or too much for the server.
    Sql(SqlError),
    /// The rows could not be written.
    Append(AppendError),
}

impl From<SqlError> for SqlFailure {
    fn from(error: SqlError) -> SqlFailure {
        SqlFailure::Sql(error)
    }
}

impl SqlFailure {
    /// As one error in SQL's terms.
    pub fn into_sql(self) -> SqlError {
        match self {
            SqlFailure::Sql(error) => error,
            SqlFailure::Append(error) => match error.into_write_error() {
                WriteError::Refused { table, column, cause, hint, row, .. } => {
                    let column = column.map(|column| format!(", column {column:?}")).unwrap_or_default();
                    let row = row.map(|row| format!(", row {}", row + 1)).unwrap_or_default();
                    SqlError::new(SqlCode::Type, format!("table {table:?}{column}{row}: {cause}")).hint(hint)
                }
                other => SqlError::new(SqlCode::Resources, other.to_string()),
            },
        }
    }
}

/// Runs statements.
pub struct Sql {
    engine: Arc<QueryEngine>,
    store: Arc<Store>,
    system: Arc<dyn SystemTables>,
    ingest: Arc<Ingest>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    running: Arc<Semaphore>,
    timeout: Duration,
}

impl Sql {
    /// A runner whose queries run on `runtime`, at most `concurrent_max` at a time, each for `timeout` at most.
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own, named where it is made")]
    pub fn new(
        engine: Arc<QueryEngine>,
        store: Arc<Store>,
        system: Arc<dyn SystemTables>,
        ingest: Arc<Ingest>,
        clock: Arc<dyn Clock>,
        runtime: Handle,
        concurrent_max: usize,
        timeout: Duration,
    ) -> Sql {
        let running = Arc::new(Semaphore::new(concurrent_max.max(1)));
        Sql { engine, store, system, ingest, clock, runtime, running, timeout }
    }

    /// The engine.
    pub fn engine(&self) -> &QueryEngine {
        &self.engine
    }

    /// What the server knows about itself.
    pub fn system(&self) -> Arc<dyn SystemTables> {
        Arc::clone(&self.system)
    }

    /// The present: microseconds since 1970 UTC.
    pub fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// What a statement of `session` would run against now, or at `now_us`.
    pub fn context(&self, session: &Session, params: Params, now_us: Option<i64>) -> QueryContext {
        let now_us = now_us.unwrap_or_else(|| self.clock.now_us());
        let mut ctx = QueryContext::new(self.store.snapshot(), now_us).with_params(params);
        ctx.search_path.clone_from(&session.search_path);
        ctx.variables.clone_from(&session.variables);
        for (name, value) in &ctx.snapshot.defaults {
            if name == SEARCH_PATH && !session.variables.contains_key(name) {
                ctx.search_path = search_path(value);
            }
            ctx.variables.entry(name.clone()).or_insert_with(|| value.clone());
        }
        ctx.system = Some(self.system());
        ctx
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// See [`SqlFailure`].
    pub async fn run(
        &self,
        session: &mut Session,
        statement: &Statement,
        params: Params,
        now_us: Option<i64>,
    ) -> Result<Answer, SqlFailure> {
        counter!("nowcast_sql_statements_total").increment(1);
        let done = |rows| Ok(Answer::Done { tag: statement.tag(), rows });
        match statement {
            statement if statement.is_query() => {
                let ctx = self.context(session, params, now_us);
                Ok(Answer::Rows(self.rows(ctx, statement.clone()).await?))
            }
            Statement::Update(_) | Statement::Delete(_) => {
                done(Some(self.mutate(session, params, now_us, statement).await?))
            }
            statement if statement.writes_a_query() && session.transaction.is_none() => {
                let ctx = self.context(session, params, now_us);
                let rows = self.insert(ctx, statement).await?;
                // PostgreSQL's tag of CREATE TABLE AS.
                let tag = if matches!(statement, Statement::Insert(_)) { "INSERT" } else { "SELECT" };
                Ok(Answer::Done { tag, rows: Some(rows) })
            }
            statement if statement.is_write() => {
                let ctx = self.context(session, params, now_us);
                let rows = self.write(session, &ctx, statement).await?;
                done(matches!(statement, Statement::Insert(_)).then_some(rows))
            }
            Statement::Set { name, value } => {
                set(session, name, value.as_deref());
                done(None)
            }
            Statement::Begin => {
                session.transaction.get_or_insert_with(Vec::new);
                done(None)
            }
            Statement::Commit => {
                let items = session.transaction.take().unwrap_or_default();
                if !items.is_empty() {
                    self.ingest.append_visible(items).await.map_err(SqlFailure::Append)?;
                }
                done(None)
            }
            Statement::Rollback => {
                session.transaction = None;
                done(None)
            }
            _ => done(None),
        }
    }

    async fn rows(&self, ctx: QueryContext, statement: Statement) -> Result<Rows, SqlError> {
        let gone = || SqlError::new(SqlCode::Internal, "the query was ended");
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(|_| gone())?;
        let (engine, timeout) = (Arc::clone(&self.engine), self.timeout);
        let (started, start) = tokio::sync::oneshot::channel();
        let (sender, batches) = mpsc::channel(2);
        let work = async move {
            let (_permit, _running) = (permit, Running::new());
            let mut result = match engine.query(&ctx, &statement).await {
                Ok(result) => result,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            if started.send(Ok((Arc::clone(&result.schema), result.position))).is_err() {
                return;
            }
            let read = async {
                while let Some(batch) = result.stream.next().await {
                    let batch = batch.map_err(|error| nowcast_query::sql_error(&error));
                    let failed = batch.is_err();
                    if sender.send(batch).await.is_err() || failed {
                        break;
                    }
                }
            };
            if tokio::time::timeout(timeout, read).await.is_err() {
                let _ = sender.send(Err(too_long(timeout))).await;
            }
        };
        let abort = self.runtime.spawn(work).abort_handle();
        let (schema, position) = start.await.map_err(|_| gone())??;
        Ok(Rows { schema, position, batches, abort })
    }

    /// Rows changed. The rows are chosen and taken away with no other removal in between.
    async fn mutate(
        &self,
        session: &Session,
        params: Params,
        now_us: Option<i64>,
        statement: &Statement,
    ) -> Result<u64, SqlFailure> {
        if session.transaction.is_some() {
            let message = format!("{} cannot stand in a transaction", statement.tag());
            let error = SqlError::new(SqlCode::NotSupported, message);
            return Err(error.hint("it is atomic by itself: send it outside of BEGIN and COMMIT").into());
        }
        let held = self.ingest.hold_removals().await;
        let ctx = self.context(session, params, now_us);
        let items = self.items(&ctx, statement).await?;
        let changed = items.iter().map(|item| match item {
            Item::Event(Event::DeleteRows { seqs, .. }) => seqs.iter().map(|(first, end)| end - first).sum(),
            Item::Event(Event::Truncate { table }) => {
                ctx.snapshot.table(table).map_or(0, |table| table.rows())
            }
            _ => 0,
        });
        let changed = changed.sum();
        if !items.is_empty() {
            self.ingest.append_held(items, held).await.map_err(SqlFailure::Append)?;
        }
        Ok(changed)
    }

    /// Writes the rows of a query, as many records as it takes. Rows written.
    async fn insert(&self, ctx: QueryContext, statement: &Statement) -> Result<u64, SqlFailure> {
        let (engine, timeout, statement) = (Arc::clone(&self.engine), self.timeout, statement.clone());
        let running = Arc::clone(&self.running);
        let (sender, mut records) = mpsc::channel(1);
        let work = async move {
            // The semaphore is never closed.
            let _permit = running.acquire_owned().await;
            let write = async {
                let Some(mut rows) = engine.insert(&ctx, &statement).await? else { return Ok(()) };
                while let Some(items) = rows.next().await? {
                    if sender.send(Ok(items)).await.is_err() {
                        break;
                    }
                }
                Ok(())
            };
            let ended = tokio::time::timeout(timeout, write).await;
            if let Err(error) = ended.unwrap_or_else(|_| Err(too_long(timeout))) {
                let _ = sender.send(Err(error)).await;
            }
        };
        let _ended = AbortOnDrop(self.runtime.spawn(work).abort_handle());
        let mut written = 0;
        while let Some(items) = records.recv().await {
            let items = items?;
            written += items.iter().filter(|item| matches!(item, Item::Rows(_))).map(Item::len).sum::<u64>();
            self.ingest.append_visible(items).await.map_err(SqlFailure::Append)?;
        }
        Ok(written)
    }

    /// What a statement writes. The query in it runs where queries run, and ends with its caller.
    async fn items(&self, ctx: &QueryContext, statement: &Statement) -> Result<Vec<Item>, SqlError> {
        let (engine, timeout) = (Arc::clone(&self.engine), self.timeout);
        let (ctx, statement) = (ctx.clone(), statement.clone());
        let running = Arc::clone(&self.running);
        let work = async move {
            // The semaphore is never closed.
            let _permit = running.acquire_owned().await;
            tokio::time::timeout(timeout, engine.write_items(&ctx, &statement)).await
        };
        let work = self.runtime.spawn(work);
        let _ended = AbortOnDrop(work.abort_handle());
        match work.await {
            Ok(Ok(items)) => items,
            Ok(Err(_)) => Err(too_long(timeout)),
            Err(error) => Err(SqlError::new(SqlCode::Internal, error.to_string())),
        }
    }

    /// Rows written.
    async fn write(
        &self,
        session: &mut Session,
        ctx: &QueryContext,
        statement: &Statement,
    ) -> Result<u64, SqlFailure> {
        let items = self.items(ctx, statement).await?;
        let rows: u64 = items.iter().filter(|item| matches!(item, Item::Rows(_))).map(Item::len).sum();
        let insert = matches!(statement, Statement::Insert(_));
        match &mut session.transaction {
            Some(waiting) if insert => {
                let bytes = waiting.iter().chain(&items).map(bytes).sum::<usize>();
                if bytes > RECORD_BYTES_MAX / 2 {
                    let message = format!(
                        "the transaction holds {bytes} bytes, at most {} are allowed",
                        RECORD_BYTES_MAX / 2
                    );
                    return Err(SqlError::new(SqlCode::Resources, message).hint("commit more often").into());
                }
                waiting.extend(items);
            }
            Some(waiting) if !waiting.is_empty() => {
                let message = format!("{} cannot stand behind an INSERT in a transaction", statement.tag());
                return Err(SqlError::new(SqlCode::NotSupported, message).hint("COMMIT before it").into());
            }
            _ if items.is_empty() => {}
            _ => self.ingest.append_visible(items).await.map_err(SqlFailure::Append)?,
        }
        Ok(rows)
    }
}

fn too_long(timeout: Duration) -> SqlError {
    let message = format!("the query ran for more than {} s", timeout.as_secs());
    SqlError::new(SqlCode::Resources, message).hint("narrow it, or raise query.timeout_s")
}

/// Ends a task that nobody waits for any more.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A query in `nowcast_sql_running`, until it ends in whatever way.
struct Running(());

impl Running {
    fn new() -> Running {
        gauge!("nowcast_sql_running").increment(1.0);
        Running(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        gauge!("nowcast_sql_running").decrement(1.0);
    }
}

fn bytes(item: &Item) -> usize {
    match item {
        Item::Rows(batch) => batch.bytes(),
        Item::Event(_) => 0,
    }
}

const SEARCH_PATH: &str = "search_path";

fn search_path(value: &str) -> Vec<String> {
    let parts = value.split(',').map(|part| part.trim().trim_matches('"').to_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

fn set(session: &mut Session, name: &str, value: Option<&str>) {
    if name == SEARCH_PATH {
        session.search_path = search_path(value.unwrap_or_default());
    }
    match value {
        Some(value) => session.variables.insert(name.to_owned(), value.to_owned()),
        None => session.variables.remove(name),
    };
}
