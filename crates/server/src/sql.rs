//! Statements, from whichever wire they come: parse, run, write.
//!
//! Queries run on a runtime of their own, at lower priority, so that a heavy one takes nothing from sockets
//! and the log. Its batches come back over a channel of two: a reader that is slow slows its query and
//! nothing else, and a reader that goes away ends it.
//!
//! **Transactions.** Rows written between BEGIN and COMMIT become one record at COMMIT, and nothing at
//! ROLLBACK; they are not read back before ([`crate::transaction`]). A statement that changes tables runs at
//! once where no rows were written before it, and is refused behind them; one that changes rows is refused.

mod apart;
pub mod modes;
mod task;
mod write;

pub use apart::STACK_BYTES;
use apart::ended;
use task::Task;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::StreamExt;
use metrics::{counter, gauge};
use nowcast_model::{Clock, Item, Offset, TableName};
use nowcast_query::{Params, QueryContext, QueryEngine, SqlCode, SqlError, Statement, SystemTables};
use nowcast_store::Store;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    time::{Instant, timeout_at},
};

use crate::{
    stages::{AppendError, Ingest},
    transaction::Transaction,
};
use nowcast_sources::WriteError;

/// A cursor that nobody reads from gives back its memory after this time.
const CURSOR_IDLE_MAX: Duration = Duration::from_secs(600);

/// How much later than a query itself its reader says that the time is up.
const GRACE: Duration = Duration::from_millis(500);

/// What one connection (or one request) remembers between statements.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// `SET search_path`.
    pub search_path: Vec<String>,
    /// Other session variables, names in lower case.
    pub variables: BTreeMap<String, String>,
    /// Rows that wait for COMMIT.
    pub transaction: Option<Transaction>,
    /// True if it can change nothing.
    pub read_only: bool,
    /// What the variables were before the transaction set them for itself.
    pub local: modes::Local,
    /// Longest time of a statement, where it is shorter than `query.timeout_s`.
    pub statement_timeout: Option<Duration>,
    /// True while a query is made whose reader comes and goes: the time that it waits for its reader is not
    /// counted.
    pub cursor: bool,
}

impl Session {
    /// Refuses what changes something if the session may only read.
    ///
    /// # Errors
    /// SQLSTATE 25006.
    pub fn check_writable(&self, what: &str) -> Result<(), SqlError> {
        if !self.read_only {
            return self.check_mode(what);
        }
        let error =
            SqlError::new(SqlCode::ReadOnly, format!("{what} is not allowed: this user may only read"));
        Err(error.hint("log in as a user who may write"))
    }
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
    task: Task,
    /// When its time is up; `None` of a cursor, whose reader's time is not counted.
    deadline: Option<Instant>,
    timeout: Duration,
}

impl Rows {
    /// Asked while a batch is sent, which a slow reader may take long for.
    ///
    /// # Errors
    /// The time is up.
    pub fn check_time(&self) -> Result<(), SqlError> {
        match self.deadline {
            Some(deadline) if Instant::now() > deadline + GRACE => Err(too_long(self.timeout)),
            _ => Ok(()),
        }
    }

    /// The next batch; `None` behind the last.
    ///
    /// # Errors
    /// A value failed, memory ran out, or the time is up.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, SqlError>> {
        // The query says itself that its time is up, unless it is in the midst of something that cannot be interrupted.
        let next = match self.deadline {
            None => Ok(self.batches.recv().await),
            Some(deadline) => timeout_at(deadline + GRACE, self.batches.recv()).await,
        };
        match next {
            Ok(Some(batch)) => Some(batch),
            Ok(None) => self.task.ended().await.err().map(Err),
            Err(_) if self.batches.is_closed() => None,
            Err(_) => {
                self.task.end();
                self.batches.close();
                Some(Err(too_long(self.timeout)))
            }
        }
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
    /// Plans that are being made, those among them that nobody waits for any more.
    planning: Arc<Semaphore>,
    /// Those of long statements, which do not take the places of others.
    heavy: Arc<Semaphore>,
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
        let planning = Arc::new(Semaphore::new(2 * concurrent_max.max(1)));
        let heavy = Arc::new(Semaphore::new(apart::HEAVY_MAX));
        Sql { engine, store, system, ingest, clock, runtime, running, planning, heavy, timeout }
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
        ctx.variables.entry(SEARCH_PATH.to_owned()).or_insert_with(|| TableName::PUBLIC.to_owned());
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
                Ok(Answer::Rows(self.rows(session, ctx, statement.clone()).await?))
            }
            statement if statement.mutates() => {
                let chosen = self.choose(session, statement, params, now_us).await?;
                done(Some(self.change(chosen).await?))
            }
            statement if statement.is_write() => {
                let mut records = self.records(session, statement, params, now_us).await?;
                let mut rows = 0;
                while let Some(items) = records.next().await {
                    let items = items?;
                    rows += rows_of(&items);
                    self.write(session, statement, items).await?;
                }
                done(statement.inserts().then_some(rows))
            }
            Statement::Set { name, value } => {
                session.set(name, value.as_deref());
                done(None)
            }
            Statement::SetAll(variables) => {
                variables.iter().for_each(|(name, value)| session.set(name, value.as_deref()));
                done(None)
            }
            Statement::SetLocal(variables) => {
                session.set_local(variables);
                done(None)
            }
            Statement::Begin(variables) => {
                session.begin();
                session.set_local(variables);
                done(None)
            }
            Statement::Commit => {
                let committed = self.commit(session).await;
                session.end_local();
                committed?;
                done(None)
            }
            Statement::Rollback => {
                session.transaction = None;
                session.end_local();
                done(None)
            }
            Statement::Copy(_)
            | Statement::Declare(_)
            | Statement::Fetch(_)
            | Statement::Savepoint { .. } => {
                let message = format!("{} needs the PostgreSQL wire", statement.tag());
                let error = SqlError::new(SqlCode::NotSupported, message);
                Err(error
                    .hint("send rows to /write or /api/v1/ingest/{table}, and read them with /exec")
                    .into())
            }
            _ => done(None),
        }
    }

    /// Starts a query of `session`.
    async fn rows(
        &self,
        session: &Session,
        ctx: QueryContext,
        statement: Statement,
    ) -> Result<Rows, SqlError> {
        let (timeout, cursor) = (self.timeout(session), session.cursor);
        let mut deadline = Instant::now() + timeout;
        let lane = self.lane(deadline, timeout, &statement).await?;
        let permit = timeout_at(deadline, Arc::clone(&self.running).acquire_owned()).await;
        let permit = permit.map_err(|_| too_long(timeout))?.map_err(|_| ended())?;
        let (engine, running) = (Arc::clone(&self.engine), Arc::clone(&self.running));
        let interrupt = ctx.interrupt.clone();
        let planned = async move { engine.query(&ctx, &statement).await };
        let mut result = self.apart(deadline, interrupt.clone(), lane, planned).await?;
        let (schema, position) = (Arc::clone(&result.schema), result.position);
        let (sender, batches) = mpsc::channel(2);
        let until = (!cursor).then_some(deadline);
        let work = async move {
            let mut permit = Some(permit);
            let _running = Running::new();
            loop {
                let batch = match timeout_at(deadline, result.stream.next()).await {
                    Ok(None) => return,
                    Ok(Some(batch)) => batch.map_err(|error| nowcast_query::sql_error(&error)),
                    Err(_) => Err(too_long(timeout)),
                };
                let failed = batch.is_err();
                if failed {
                    drop(result);
                    return drop(sender.send(batch).await);
                }
                if let Err(mpsc::error::TrySendError::Full(batch)) = sender.try_send(batch) {
                    // The reader is slower than the query: others may run meanwhile.
                    permit = None;
                    let blocked = Instant::now();
                    let until = if cursor { blocked + CURSOR_IDLE_MAX } else { deadline };
                    match timeout_at(until, sender.reserve()).await {
                        Ok(Ok(place)) => place.send(batch),
                        Ok(Err(_)) => return,
                        Err(_) => {
                            drop((result, batch));
                            let error = if cursor { idle() } else { too_long(timeout) };
                            return drop(sender.send(Err(error)).await);
                        }
                    }
                    if cursor {
                        deadline += blocked.elapsed();
                    }
                } else if sender.is_closed() {
                    return;
                }
                if permit.is_none() {
                    match timeout_at(deadline, Arc::clone(&running).acquire_owned()).await {
                        Ok(again) => permit = again.ok(),
                        Err(_) => return drop(sender.send(Err(too_long(timeout))).await),
                    }
                }
            }
        };
        let task = Task::spawn(&self.runtime, interrupt, work);
        Ok(Rows { schema, position, batches, task, deadline: until, timeout })
    }

    /// Longest time that a statement of `session` may run.
    pub fn timeout(&self, session: &Session) -> Duration {
        session.statement_timeout.map_or(self.timeout, |timeout| timeout.min(self.timeout))
    }
}

fn too_long(timeout: Duration) -> SqlError {
    let message = format!("the statement ran for more than {} s", timeout.as_secs_f64());
    SqlError::new(SqlCode::Canceled, message).hint("narrow it, or raise query.timeout_s or statement_timeout")
}

fn idle() -> SqlError {
    let message = format!("nobody read from the cursor for {} s", CURSOR_IDLE_MAX.as_secs());
    SqlError::new(SqlCode::Canceled, message).hint("declare it again, and fetch sooner")
}

/// Rows among items.
pub fn rows_of(items: &[Item]) -> u64 {
    items.iter().filter(|item| matches!(item, Item::Rows(_))).map(Item::len).sum()
}

const SEARCH_PATH: &str = "search_path";

fn search_path(value: &str) -> Vec<String> {
    let parts = value.split(',').map(|part| part.trim().trim_matches('"').to_owned());
    parts.filter(|part| !part.is_empty()).collect()
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

/// Sets a session variable, or forgets it.
pub(crate) fn set(session: &mut Session, name: &str, value: Option<&str>) {
    if name == SEARCH_PATH {
        session.search_path = search_path(value.unwrap_or_default());
    }
    match value {
        Some(value) => session.variables.insert(name.to_owned(), value.to_owned()),
        None => session.variables.remove(name),
    };
}
