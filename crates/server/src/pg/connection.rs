//! One connection after login: messages in, messages out, until it ends.
//!
//! **Transactions.** `status` is what the client knows: idle, open, failed. While it is idle, a text of several
//! statements, and the messages up to a Sync, are an implicit transaction: its rows wait in the session, and
//! are written together before ReadyForQuery.
//!
//! **Errors.** In the extended protocol all messages up to the next Sync are skipped. Copy data that comes
//! when nothing is copied is what a client sent before it knew of an error, and is skipped as well.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::BufMut;
use futures::channel::oneshot;
use nowcast_query::{Savepoint, Statement};
use pgwire::api::ConnectionHandle;

use super::{
    catalog::PgCatalog,
    error::{End, Failure, WireError},
    login::Client,
    message::{Bind, Message},
    params,
    prepare::{Kind, Prepared, prepare},
    rows::{Formats, Source, describe, describe_params},
    settings::Settings,
    socket::{Reader, Writer},
};
use crate::{
    sql::{Session, Sql},
    transaction::Transaction,
};

/// Prepared statements of one connection: drivers keep some hundreds.
const STATEMENTS_MAX: usize = 4_096;

/// Bytes of the texts of one connection's prepared statements, and of its portals' parameters.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Portals and cursors of one connection: each may hold a query that has begun.
pub(super) const PORTALS_MAX: usize = 64;

/// What a client knows of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// None is open.
    Idle,
    /// One is.
    Open,
    /// One is, and is to be rolled back.
    Failed,
}

/// A statement with its parameters, on its way.
pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    pub(super) params: Vec<nowcast_query::Param>,
    pub(super) formats: Formats,
    pub(super) state: State,
    /// It outlives its transaction.
    pub(super) hold: bool,
    /// Bytes of its parameters.
    pub(super) bytes: usize,
}

/// How far a portal is.
pub(super) enum State {
    /// It was not run.
    New,
    /// Rows are left.
    Open(Source),
    /// It has run.
    Done,
}

/// A connection of somebody who logged in.
pub(super) struct Connection {
    pub(super) sql: Arc<Sql>,
    pub(super) catalog: Arc<PgCatalog>,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) settings: Settings,
    pub(super) session: Session,
    pub(super) status: Status,
    pub(super) statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    pub(super) cancel: Arc<ConnectionHandle>,
    /// Keeps the secret of calls to cancel.
    _client: Box<dyn std::any::Any + Send>,
}

impl Connection {
    pub(super) fn new(
        sql: Arc<Sql>,
        catalog: Arc<PgCatalog>,
        client: Client,
        stall_max: Duration,
    ) -> Connection {
        let Client { stream, input, settings, read_only, cancel, keys } = client;
        let (read, write) = stream.into_split();
        let mut session = Session { read_only, ..Session::default() };
        settings.reset(&mut session);
        Connection {
            sql,
            catalog,
            reader: Reader::new(read, input, stall_max),
            writer: Writer::new(write, stall_max),
            settings,
            session,
            status: Status::Idle,
            statements: HashMap::new(),
            portals: HashMap::new(),
            cancel,
            _client: Box::new(keys),
        }
    }

    /// Serves until the client leaves, or `ending` turns true.
    pub(super) async fn serve(mut self, ending: impl Future<Output = ()>) {
        let end = tokio::select! {
            end = self.messages() => end,
            () = ending => End::Fatal(WireError::fatal("57P01", "the server is ending")),
        };
        if let End::Fatal(error) = end {
            tracing::debug!(message = error.message, "a PostgreSQL connection is ended");
            self.writer.tell(&error);
            // It may not be read any more.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.writer.flush()).await;
        }
    }

    async fn messages(&mut self) -> End {
        let mut skip = false;
        loop {
            let message = match self.reader.next().await {
                Ok(Some(Message::Terminate) | None) => return End::Gone,
                Ok(Some(message)) => message,
                Err(end) => return end,
            };
            let is_simple = matches!(message, Message::Query(_));
            let done = match message {
                Message::Sync => {
                    skip = false;
                    self.sync().await
                }
                _ if skip => continue,
                message => self.message(message).await,
            };
            let done = match done {
                Ok(()) => Ok(()),
                Err(Failure::End(end)) => return end,
                Err(Failure::Error(error)) => {
                    self.failed(&error);
                    skip = !is_simple;
                    if is_simple { self.ready().await } else { self.writer.flush().await }
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn message(&mut self, message: Message) -> Result<(), Failure> {
        match message {
            Message::Query(text) => self.simple(&text).await,
            Message::Parse { name, sql, types } => self.parse(name, &sql, &types).await,
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(kind, name) => self.describe(kind, &name),
            Message::Execute { portal, rows_max } => self.execute(&portal, rows_max).await,
            Message::Close(kind, name) => {
                match kind {
                    b'S' => drop(self.statements.remove(&name)),
                    _ => drop(self.portals.remove(&name)),
                }
                self.writer.put(b'3', |_| {});
                Ok(())
            }
            Message::Flush => Ok(self.writer.flush().await?),
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Ok(()),
            Message::Sync | Message::Terminate => Ok(()),
        }
    }

    /// Tells an error. What waited in an implicit transaction is dropped.
    fn failed(&mut self, error: &WireError) {
        self.writer.tell(error);
        // Behind a savepoint the client may go back to it.
        if !self.session.transaction.as_ref().is_some_and(Transaction::has_savepoints) {
            self.session.transaction = None;
        }
        if self.status == Status::Open {
            self.status = Status::Failed;
        }
    }

    async fn ready(&mut self) -> Result<(), End> {
        let status = match self.status {
            Status::Idle => b'I',
            Status::Open => b'T',
            Status::Failed => b'E',
        };
        self.writer.put(b'Z', |out| out.put_u8(status));
        self.writer.flush().await
    }

    async fn sync(&mut self) -> Result<(), Failure> {
        if let Err(failure) = self.end_implicit().await {
            match failure {
                Failure::Error(error) => self.failed(&error),
                end => return Err(end),
            }
        }
        Ok(self.ready().await?)
    }

    /// Writes the rows of an implicit transaction.
    pub(super) async fn end_implicit(&mut self) -> Result<(), Failure> {
        if self.status == Status::Idle {
            self.close_portals();
            self.sql.commit(&mut self.session).await?;
        }
        Ok(())
    }

    /// Forgets what ends with a transaction.
    pub(super) fn close_portals(&mut self) {
        self.portals.retain(|_, portal| portal.hold);
    }

    /// Before a statement: outside of a transaction one begins by itself.
    pub(super) fn begin_implicit(&mut self) {
        if self.status == Status::Idle {
            self.session.transaction.get_or_insert_with(|| Transaction::new(false));
        }
    }

    /// A failed transaction takes nothing but its end.
    pub(super) fn check_status(&self, kind: &Kind) -> Result<(), WireError> {
        let ends = matches!(kind, Kind::Ours(statement) if is_end(statement));
        if self.status != Status::Failed || ends {
            return Ok(());
        }
        let message = "current transaction is aborted, commands ignored until end of transaction block";
        Err(WireError::new("25P02", message).hint("send ROLLBACK"))
    }

    async fn simple(&mut self, text: &str) -> Result<(), Failure> {
        // Both are the connection's unnamed ones, and end with any simple query.
        self.statements.remove("");
        self.portals.remove("");
        let pieces = self.sql.engine().split(text).map_err(WireError::from)?;
        if pieces.is_empty() {
            self.writer.put(b'I', |_| {});
        }
        for (i, piece) in pieces.iter().enumerate() {
            let kind = Kind::parse(piece, &self.catalog)?;
            let tag = self.run_simple(&kind).await?;
            // The last one is told of when its rows are written.
            if i + 1 == pieces.len() {
                self.end_implicit().await?;
            }
            self.writer.complete(&tag);
        }
        Ok(self.ready().await?)
    }

    async fn parse(&mut self, name: String, text: &str, types: &[u32]) -> Result<(), Failure> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            let error = WireError::new("42P05", format!("the prepared statement {name:?} exists already"));
            return Err(error.hint("close it first, or prepare it under another name").into());
        }
        if self.statements.len() >= STATEMENTS_MAX {
            let message =
                format!("the connection has {STATEMENTS_MAX} prepared statements, and takes no more");
            return Err(WireError::new("53000", message).hint("DEALLOCATE those that are not needed").into());
        }
        let held: usize = self.statements.values().map(|prepared| prepared.bytes).sum();
        check_held("prepared statements", held + text.len())?;
        let work = prepare(&self.sql, &self.catalog, &self.session, text, types);
        let timeout = self.sql.timeout(&self.session);
        let prepared = guard(&mut self.reader, &self.cancel, timeout, work).await?;
        if let Some(kind) = &prepared.kind {
            self.check_status(kind)?;
        }
        self.statements.insert(name, Arc::new(prepared));
        self.writer.put(b'1', |_| {});
        Ok(())
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let prepared = self.statement(&bind.statement)?;
        if let Some(kind) = &prepared.kind {
            self.check_status(kind)?;
        }
        let (given, wanted) = (bind.values.len(), prepared.params.len());
        if given != wanted {
            let message = format!("{given} parameters were sent, the statement takes {wanted}");
            return Err(WireError::new("08P01", message).into());
        }
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let error = WireError::new("42P03", format!("the cursor {:?} exists already", bind.portal));
            return Err(error.hint("CLOSE it first").into());
        }
        self.check_portals()?;
        let bytes = bind.values.iter().flatten().map(bytes::Bytes::len).sum();
        let held: usize = self.portals.values().map(|portal| portal.bytes).sum();
        check_held("portals", held + bytes)?;
        let params = params::values(&bind.values, &bind.formats, &prepared.declared, &prepared.params)?;
        let columns = self.schema(&prepared).map_or(0, |schema| schema.fields().len());
        let formats = Formats::new(bind.results, columns)?;
        let portal = Portal { prepared, params, formats, state: State::New, hold: false, bytes };
        self.portals.insert(bind.portal, portal);
        self.writer.put(b'2', |_| {});
        Ok(())
    }

    pub(super) fn check_portals(&self) -> Result<(), WireError> {
        if self.portals.len() < PORTALS_MAX {
            return Ok(());
        }
        let message = format!("the connection has {PORTALS_MAX} cursors, and takes no more");
        Err(WireError::new("53000", message).hint("CLOSE those that are not needed"))
    }

    fn statement(&self, name: &str) -> Result<Arc<Prepared>, WireError> {
        let error = || WireError::new("26000", format!("there is no prepared statement {name:?}"));
        self.statements.get(name).cloned().ok_or_else(error)
    }

    /// The columns of a statement's result; those of FETCH are its cursor's.
    fn schema(&self, prepared: &Prepared) -> Option<arrow::datatypes::SchemaRef> {
        if let Some(Kind::Ours(statement)) = &prepared.kind
            && let Statement::Fetch(fetch) = &**statement
            && !fetch.moves
        {
            return self.portals.get(&fetch.name).and_then(|portal| portal.prepared.schema.clone());
        }
        prepared.schema.clone()
    }

    fn describe(&mut self, kind: u8, name: &str) -> Result<(), Failure> {
        match kind {
            b'S' => {
                let prepared = self.statement(name)?;
                let schema = self.schema(&prepared);
                describe_params(&mut self.writer, &prepared.params);
                describe(&mut self.writer, schema.as_ref(), &Formats::default());
            }
            b'P' => {
                let portal = self.portals.get(name).ok_or_else(|| no_cursor(name))?;
                let (schema, formats) = (self.schema(&portal.prepared), portal.formats.clone());
                describe(&mut self.writer, schema.as_ref(), &formats);
            }
            other => {
                let message =
                    format!("{:?} can not be described: S is a statement, P a portal", char::from(other));
                return Err(WireError::new("08P01", message).into());
            }
        }
        Ok(())
    }
}

/// Refuses what a connection would hold too much with.
fn check_held(what: &str, bytes: usize) -> Result<(), WireError> {
    if bytes <= HELD_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the connection's {what} have {bytes} bytes, at most {HELD_BYTES_MAX} are allowed");
    Err(WireError::new("53000", message).hint("close those that are not needed, or send less at once"))
}

/// True for what a failed transaction takes.
fn is_end(statement: &Statement) -> bool {
    let goes_back = matches!(statement, Statement::Savepoint { does: Savepoint::RollbackTo, .. });
    goes_back || matches!(statement, Statement::Commit | Statement::Rollback)
}

/// No portal has this name.
pub(super) fn no_cursor(name: &str) -> WireError {
    WireError::new("34000", format!("there is no cursor {name:?}"))
        .hint("DECLARE it in this transaction, or WITH HOLD before it")
}

/// Runs `work` for as long as it may: until the client calls it off or leaves, or its time is up.
pub(super) async fn guard<T, E: Into<Failure>>(
    reader: &mut Reader,
    cancel: &ConnectionHandle,
    timeout: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    let called_off: oneshot::Receiver<()> = cancel.start_query().await;
    tokio::select! {
        biased;
        done = work => done.map_err(Into::into),
        Ok(()) = called_off => {
            Err(WireError::new("57014", "canceling statement due to user request").into())
        }
        () = tokio::time::sleep(timeout) => {
            let message = format!("canceling statement due to statement timeout of {} s", timeout.as_secs_f64());
            let hint = "narrow it, or raise query.timeout_s or statement_timeout";
            Err(WireError::new("57014", message).hint(hint).into())
        }
        () = reader.gone() => Err(End::Gone.into()),
    }
}
