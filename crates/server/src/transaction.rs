//! Rows that wait for COMMIT.
//!
//! A transaction is one record, so its rows are held until it ends, and its size is bounded by a record's. Rows
//! that come one by one are put together as they gather, so that many small INSERTs cost what one large does.

use arrow::compute::concat_batches;
use nowcast_model::{Batch, Item, limits::RECORD_BYTES_MAX};
use nowcast_query::{Savepoint, SqlCode, SqlError};

/// Half of a record: what waits is measured in memory, a record when it is encoded.
pub const TRANSACTION_BYTES_MAX: usize = RECORD_BYTES_MAX / 2;

/// Items that wait, after which those of one table are put together.
const ITEMS_MAX: usize = 1_024;

/// Savepoints of one transaction.
const SAVEPOINTS_MAX: usize = 1_024;

/// Rows since BEGIN, or since the beginning of a text or pipeline of several statements.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// False if nobody said BEGIN.
    pub explicit: bool,
    items: Vec<Item>,
    bytes: usize,
    merged: usize,
    /// Names, and how many items stood before each.
    savepoints: Vec<(String, usize)>,
}

impl Transaction {
    /// An empty one.
    pub fn new(explicit: bool) -> Transaction {
        Transaction { explicit, items: Vec::new(), bytes: 0, merged: 0, savepoints: Vec::new() }
    }

    /// True if no rows wait.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Refuses a statement that cannot be undone where it would have to be: `tag` changes tables, or rows that
    /// are there.
    ///
    /// # Errors
    /// SQLSTATE 25001.
    pub fn check_alone(&self, tag: &str) -> Result<(), SqlError> {
        if !self.explicit {
            return Ok(());
        }
        let error = |message: String| SqlError::new(SqlCode::InTransaction, message);
        match tag {
            "UPDATE" | "DELETE" => {
                let message = format!("{tag} cannot stand in a transaction: it is written at once");
                Err(error(message).hint("send it outside of BEGIN and COMMIT (autocommit)"))
            }
            _ if self.is_empty() => Ok(()),
            _ => {
                let message =
                    format!("{tag} cannot stand behind rows that wait for COMMIT: it is written at once");
                Err(error(message).hint("COMMIT before it"))
            }
        }
    }

    /// True if `items` fit into the record.
    pub fn has_room_for(&self, items: &[Item]) -> bool {
        self.bytes + items.iter().map(bytes).sum::<usize>() <= TRANSACTION_BYTES_MAX
    }

    /// Adds items.
    ///
    /// # Errors
    /// The record would be too large; nothing is added.
    pub fn push(&mut self, items: Vec<Item>) -> Result<(), SqlError> {
        let bytes = self.bytes + items.iter().map(bytes).sum::<usize>();
        if bytes > TRANSACTION_BYTES_MAX {
            let message = format!(
                "the transaction holds {bytes} bytes, at most {TRANSACTION_BYTES_MAX} are allowed: it is one atomic \
                 record"
            );
            return Err(SqlError::new(SqlCode::Resources, message).hint("commit more often"));
        }
        self.bytes = bytes;
        self.items.extend(items);
        if self.items.len() >= self.merged + ITEMS_MAX {
            self.merge()?;
        }
        Ok(())
    }

    /// All items; none wait any more.
    ///
    /// # Errors
    /// Rows of one table could not be put together.
    pub fn take(&mut self) -> Result<Vec<Item>, SqlError> {
        self.savepoints.clear();
        self.merged = 0;
        self.merge()?;
        (self.bytes, self.merged) = (0, 0);
        Ok(std::mem::take(&mut self.items))
    }

    /// True if a statement that fails does not end the transaction.
    pub fn has_savepoints(&self) -> bool {
        !self.savepoints.is_empty()
    }

    /// Sets a savepoint, forgets it, or goes back to it. Those behind it are forgotten.
    ///
    /// # Errors
    /// There is none of that name (SQLSTATE 3B001), or there are too many.
    pub fn savepoint(&mut self, name: &str, does: Savepoint) -> Result<(), SqlError> {
        if does == Savepoint::Set {
            if self.savepoints.len() >= SAVEPOINTS_MAX {
                let message = format!("the transaction has {SAVEPOINTS_MAX} savepoints, and takes no more");
                return Err(
                    SqlError::new(SqlCode::Resources, message).hint("RELEASE those that are not needed")
                );
            }
            // What stands before it is not put together with what comes behind it.
            self.merge()?;
            self.savepoints.push((name.to_owned(), self.items.len()));
            return Ok(());
        }
        let Some(at) = self.savepoints.iter().rposition(|(known, _)| known == name) else {
            let message = format!("there is no savepoint {name:?}");
            return Err(SqlError::new(SqlCode::Savepoint, message).hint("SAVEPOINT name sets one"));
        };
        if does == Savepoint::Release {
            self.savepoints.truncate(at);
            return Ok(());
        }
        self.items.truncate(self.savepoints[at].1);
        self.savepoints.truncate(at + 1);
        self.merged = self.items.len();
        self.bytes = self.items.iter().map(bytes).sum();
        Ok(())
    }

    /// Puts neighbours of one table and one shape together, behind the last savepoint.
    fn merge(&mut self) -> Result<(), SqlError> {
        let begin = self.savepoints.last().map_or(0, |(_, items)| *items);
        let behind = self.items.split_off(begin);
        let mut merged = std::mem::take(&mut self.items);
        let mut run: Vec<Batch> = Vec::new();
        for item in behind {
            match item {
                Item::Rows(batch) => {
                    let fits = |last: &Batch| {
                        last.table == batch.table
                            && last.timestamp == batch.timestamp
                            && last.rows.schema() == batch.rows.schema()
                    };
                    if !run.last().is_none_or(fits) {
                        merged.extend(join(std::mem::take(&mut run))?);
                    }
                    run.push(batch);
                }
                other => {
                    merged.extend(join(std::mem::take(&mut run))?);
                    merged.push(other);
                }
            }
        }
        merged.extend(join(run)?);
        self.items = merged;
        self.merged = self.items.len();
        self.bytes = self.items.iter().map(bytes).sum();
        Ok(())
    }
}

fn join(mut run: Vec<Batch>) -> Result<Option<Item>, SqlError> {
    let Some(last) = run.pop() else { return Ok(None) };
    if run.is_empty() {
        return Ok(Some(Item::Rows(last)));
    }
    let all = run.iter().map(|batch| &batch.rows).chain([&last.rows]);
    let rows = concat_batches(&last.rows.schema(), all)
        .map_err(|e| SqlError::new(SqlCode::Internal, format!("rows of {}: {e}", last.table)))?;
    Ok(Some(Item::Rows(Batch { rows, ..last })))
}

fn bytes(item: &Item) -> usize {
    match item {
        Item::Rows(batch) => batch.bytes(),
        Item::Event(_) => 0,
    }
}
