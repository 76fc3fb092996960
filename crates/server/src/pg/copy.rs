//! COPY, run: rows of the client's into the log, rows of a query to the client.

use std::time::Duration;

use nowcast_model::Item;
use nowcast_query::{Copy, CopySource, Params, Select, Statement};

use super::{
    connection::{Connection, guard},
    copy_in::CopyIn,
    copy_out,
    error::{End, Failure, WireError},
    message::Message,
};

/// A COPY that the session sets no time for may take as long as its client sends.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

impl Connection {
    /// Runs a COPY; rows copied.
    pub(super) async fn copy(&mut self, copy: &Copy) -> Result<u64, Failure> {
        let (table, columns) = match &copy.source {
            CopySource::Stdout(query) => return self.copy_out(query, copy).await,
            CopySource::Stdin { table, columns } => (table, columns),
        };
        self.session.check_writable("COPY FROM")?;
        let ctx = self.sql.context(&self.session, Params::default(), None);
        let target = self.sql.engine().copy_target(&ctx, table, columns)?;
        drop(ctx);
        copy_out::respond(&mut self.writer, b'G', &copy.options, target.types().len());
        self.writer.flush().await?;
        let mut copying = CopyIn::new(target, copy.options.clone());
        let (mut rows, mut written) = (0, 0);
        let done = self.copy_in(&mut copying, &mut rows, &mut written).await;
        done.map(|()| rows).map_err(|failure| match failure {
            Failure::Error(error) if written > 0 => {
                let message = format!("{}; {written} rows before it are written", error.message);
                let hint = "a COPY larger than a record is written in several; send the rest alone";
                Failure::Error(WireError { message, ..error }.hint(hint))
            }
            failure => failure,
        })
    }

    async fn copy_in(
        &mut self,
        copying: &mut CopyIn,
        rows: &mut u64,
        written: &mut u64,
    ) -> Result<(), Failure> {
        let began = tokio::time::Instant::now();
        let limit = self.session.statement_timeout.unwrap_or(FOREVER);
        loop {
            let message = {
                let called_off = self.cancel.start_query().await;
                let timeout = limit.saturating_sub(began.elapsed());
                tokio::select! {
                    message = self.reader.next() => message?,
                    Ok(()) = called_off => {
                        return Err(WireError::new("57014", "canceling statement due to user request").into());
                    }
                    () = tokio::time::sleep(timeout) => {
                        let message = "canceling statement due to statement timeout";
                        return Err(WireError::new("57014", message).into());
                    }
                }
            };
            let ends = match message {
                Some(Message::CopyData(bytes)) => {
                    copying.push(&bytes)?;
                    false
                }
                Some(Message::CopyDone) => {
                    copying.finish()?;
                    true
                }
                Some(Message::CopyFail(why)) => {
                    return Err(WireError::new("57014", format!("COPY from stdin failed: {why}")).into());
                }
                // A driver may have sent them before it knew that this is a COPY.
                Some(Message::Flush | Message::Sync) => false,
                Some(_) => {
                    return Err(WireError::new("08P01", "a COPY is under way: its rows are expected").into());
                }
                None => return Err(End::Gone.into()),
            };
            for batch in copying.take() {
                *rows += batch.rows.num_rows() as u64;
                let hold = self.sql.hold(&mut self.session, vec![Item::Rows(batch)]);
                *written += hold.await.map_err(Failure::from)?;
            }
            if ends {
                return Ok(());
            }
        }
    }

    async fn copy_out(&mut self, query: &Select, copy: &Copy) -> Result<u64, Failure> {
        let source = self.query(&Statement::Query(query.clone()), Vec::new()).await?;
        let timeout = self.sql.timeout(&self.session);
        let send = copy_out::send(&mut self.writer, source, &copy.options);
        guard(&mut self.reader, &self.cancel, timeout, send).await
    }
}
