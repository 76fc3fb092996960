//! Statements that write.
//!
//! What they write is made where queries run, bounded by their number and time; appending it is the caller's, so that
//! nobody is told of a statement that was called off and of which the rows are there.

use std::{sync::Arc, time::Duration};

use nowcast_model::{Event, Item};
use nowcast_query::{Params, QueryContext, SqlError, Statement};
use tokio::{
    sync::{MutexGuard, mpsc},
    time::timeout_at,
};

use super::{GRACE, Instant, Running, Session, Sql, SqlFailure, apart::ended, rows_of, task::Task, too_long};
use crate::transaction::Transaction;

/// What a statement writes, record by record. Dropping it ends the query in it.
pub struct Records {
    records: mpsc::Receiver<Result<Vec<Item>, SqlError>>,
    task: Task,
    deadline: Instant,
    timeout: Duration,
}

impl Records {
    /// The items of the next record; `None` behind the last.
    ///
    /// # Errors
    /// A value failed or does not fit, or the time is up.
    pub async fn next(&mut self) -> Option<Result<Vec<Item>, SqlError>> {
        // As with the rows of a query, they say themselves that the time is up, if they can.
        match timeout_at(self.deadline + GRACE, self.records.recv()).await {
            Ok(Some(items)) => Some(items),
            Ok(None) => self.task.ended().await.err().map(Err),
            Err(_) if self.records.is_closed() => None,
            Err(_) => {
                self.task.end();
                self.records.close();
                Some(Err(too_long(self.timeout)))
            }
        }
    }
}

/// Rows that an UPDATE or a DELETE changes. Until it is handed to [`Sql::change`] or dropped, no other statement takes
/// rows away.
pub struct Chosen<'a> {
    items: Vec<Item>,
    rows: u64,
    held: MutexGuard<'a, ()>,
}

impl Sql {
    /// What a statement that changes tables adds to the log. Nothing is written yet.
    ///
    /// # Errors
    /// It may not stand where it does.
    pub async fn records(
        &self,
        session: &Session,
        statement: &Statement,
        params: Params,
        now_us: Option<i64>,
    ) -> Result<Records, SqlError> {
        check_place(session, statement)?;
        self.make(self.context(session, params, now_us), statement.clone(), self.timeout(session)).await
    }

    async fn make(
        &self,
        ctx: QueryContext,
        statement: Statement,
        timeout: Duration,
    ) -> Result<Records, SqlError> {
        let deadline = Instant::now() + timeout;
        let lane = self.lane(deadline, timeout, &statement).await?;
        let permit = timeout_at(deadline, Arc::clone(&self.running).acquire_owned()).await;
        let permit = permit.map_err(|_| too_long(timeout))?.map_err(|_| ended())?;
        let (engine, inserts) = (Arc::clone(&self.engine), statement.inserts());
        let (sender, records) = mpsc::channel(1);
        let interrupt = ctx.interrupt.clone();
        let planned = async move {
            if inserts {
                return Ok((Vec::new(), engine.insert(&ctx, &statement).await?));
            }
            Ok((engine.write_items(&ctx, &statement).await?, None))
        };
        let (items, rows) = self.apart(deadline, interrupt.clone(), lane, planned).await?;
        let work = async move {
            let (_permit, _running) = (permit, Running::new());
            if !items.is_empty() {
                let _ = sender.send(Ok(items)).await;
            }
            let Some(mut rows) = rows else { return };
            let make = async {
                while let Some(items) = rows.next().await? {
                    if sender.send(Ok(items)).await.is_err() {
                        break;
                    }
                }
                Ok(())
            };
            let ended = timeout_at(deadline, make).await;
            if let Err(error) = ended.unwrap_or_else(|_| Err(too_long(timeout))) {
                let _ = sender.send(Err(error)).await;
            }
        };
        let task = Task::spawn(&self.runtime, interrupt, work);
        Ok(Records { records, task, deadline, timeout })
    }

    /// Finds the rows that an UPDATE or a DELETE changes.
    ///
    /// # Errors
    /// See [`SqlFailure`]; or it may not stand where it does.
    pub async fn choose(
        &self,
        session: &mut Session,
        statement: &Statement,
        params: Params,
        now_us: Option<i64>,
    ) -> Result<Chosen<'_>, SqlFailure> {
        check_place(session, statement)?;
        // It sees the rows before it, also of an implicit transaction.
        if let Some(rows) = session.transaction.as_mut().map(Transaction::take).transpose()? {
            self.append(rows).await?;
        }
        let held = self.ingest.hold_removals().await;
        let ctx = self.context(session, params, now_us);
        let mut records = self.make(ctx.clone(), statement.clone(), self.timeout(session)).await?;
        let items = records.next().await.transpose()?.unwrap_or_default();
        let changed = items.iter().map(|item| match item {
            Item::Event(Event::DeleteRows { seqs, .. }) => seqs.iter().map(|(first, end)| end - first).sum(),
            Item::Event(Event::Truncate { table }) => {
                ctx.snapshot.table(table).map_or(0, |table| table.rows())
            }
            _ => 0,
        });
        Ok(Chosen { rows: changed.sum(), items, held })
    }

    /// Changes the rows. Their number.
    ///
    /// # Errors
    /// See [`SqlFailure`]; nothing was written.
    pub async fn change(&self, chosen: Chosen<'_>) -> Result<u64, SqlFailure> {
        let Chosen { items, rows, held } = chosen;
        if !items.is_empty() {
            self.ingest.append_held(items, held).await.map_err(SqlFailure::Append)?;
        }
        Ok(rows)
    }

    /// Writes a record of [`Sql::records`]: in a transaction rows wait, and all else is written at once.
    ///
    /// # Errors
    /// See [`SqlFailure`].
    pub async fn write(
        &self,
        session: &mut Session,
        statement: &Statement,
        items: Vec<Item>,
    ) -> Result<(), SqlFailure> {
        if matches!(statement, Statement::Insert(_)) {
            return self.hold(session, items).await.map(drop);
        }
        // An implicit transaction ends where a table changes.
        if let Some(rows) = session.transaction.as_mut().map(Transaction::take).transpose()? {
            self.append(rows).await?;
        }
        self.append(items).await
    }

    /// Adds rows to those that wait for COMMIT. Where nobody said BEGIN and they are more than one record takes,
    /// those that wait are written; how many rows were.
    ///
    /// # Errors
    /// See [`SqlFailure`]; or a transaction that somebody began is full.
    pub async fn hold(&self, session: &mut Session, items: Vec<Item>) -> Result<u64, SqlFailure> {
        let mut written = 0;
        if let Some(waiting) = &mut session.transaction {
            if waiting.explicit || waiting.has_room_for(&items) {
                return Ok(waiting.push(items).map(|()| 0)?);
            }
            let rows = waiting.take()?;
            written = rows_of(&rows);
            self.append(rows).await?;
        }
        match &mut session.transaction {
            Some(waiting) if waiting.has_room_for(&items) => waiting.push(items)?,
            _ => {
                written += rows_of(&items);
                self.append(items).await?;
            }
        }
        Ok(written)
    }

    /// Writes rows that wait.
    ///
    /// # Errors
    /// See [`SqlFailure`]; nothing was written.
    pub async fn commit(&self, session: &mut Session) -> Result<(), SqlFailure> {
        match session.transaction.take() {
            Some(mut transaction) => self.append(transaction.take()?).await,
            None => Ok(()),
        }
    }

    /// Appends one record, and waits until it is read.
    ///
    /// # Errors
    /// See [`SqlFailure`].
    pub async fn append(&self, items: Vec<Item>) -> Result<(), SqlFailure> {
        if items.is_empty() {
            return Ok(());
        }
        self.ingest.append_visible(items).await.map_err(SqlFailure::Append).map(drop)
    }
}

/// Refuses a statement where it cannot stand.
fn check_place(session: &Session, statement: &Statement) -> Result<(), SqlError> {
    session.check_writable(statement.tag())?;
    match &session.transaction {
        Some(transaction) if !matches!(statement, Statement::Insert(_)) => {
            transaction.check_alone(statement.tag())
        }
        _ => Ok(()),
    }
}
