//! What the log holds: one atomic write each.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Batch, Column, Offset, TableName, TableSchema};

/// One atomic write: all of it is applied, or none.
#[derive(Debug, Clone)]
pub struct Record {
    /// The offset of its first row or event.
    pub offset: Offset,
    /// When it was taken in: microseconds since 1970 UTC, by the server's clock.
    pub at_us: i64,
    /// Who wrote it and as which of that writer's writes; `None` if the writer did not say.
    pub producer: Option<Producer>,
    /// Rows and events in their order.
    pub items: Vec<Item>,
}

impl Record {
    /// Offsets that the items occupy: one a row, one an event.
    pub fn len(&self) -> u64 {
        self.items.iter().map(Item::len).sum()
    }

    /// True for a record without items; the log refuses those.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The offset behind the last row or event: the position of the world with this record in it.
    pub fn end(&self) -> Offset {
        self.offset.plus(self.len())
    }
}

/// A writer that numbers its writes, so that one sent twice is applied once. For a single write under a key of
/// its own (`Idempotency-Key`) both are hashes: of the key, and of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Producer {
    /// The writer.
    pub id: u64,
    /// The number of the write.
    pub sequence: u64,
}

/// A part of a record.
#[derive(Debug, Clone)]
pub enum Item {
    /// Rows of one table.
    Rows(Batch),
    /// Anything else that changes a table.
    Event(Event),
}

impl Item {
    /// Offsets that it occupies.
    pub fn len(&self) -> u64 {
        match self {
            Item::Rows(batch) => batch.rows.num_rows() as u64,
            Item::Event(_) => 1,
        }
    }

    /// True for rows that are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A change to a table that is not rows. Stored in the log as JSON in this serde form, which therefore only
/// grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A schema to put tables in. No-op if it exists.
    CreateSchema {
        /// Its name.
        schema: String,
    },
    /// What a session variable is at the beginning of a session.
    SetDefault {
        /// The variable, lower case.
        name: String,
        /// Its value; `None` for none.
        value: Option<String>,
    },
    /// A new table. No-op if it exists.
    CreateTable {
        /// What it looks like.
        schema: TableSchema,
    },
    /// New columns at the end of a table.
    AddColumns {
        /// The table.
        table: TableName,
        /// The columns; those that exist are skipped.
        columns: Vec<Column>,
    },
    /// A column gets another name. Rows under the old one are still its own.
    RenameColumn {
        /// The table.
        table: TableName,
        /// What it is called.
        from: Arc<str>,
        /// What it is to be called.
        to: Arc<str>,
    },
    /// Columns go, and what rows hold of them. One of the same name that is added afterwards is another one.
    DropColumns {
        /// The table.
        table: TableName,
        /// What they are called; neither the time column nor a key.
        columns: Vec<Arc<str>>,
    },
    /// A table gets another name. Everything that it is and has goes with it, and the old name is free.
    RenameTable {
        /// What it is called.
        table: TableName,
        /// What it is to be called: no other table is.
        to: TableName,
    },
    /// The table and its rows go.
    DropTable {
        /// The table.
        table: TableName,
    },
    /// The table's rows go.
    Truncate {
        /// The table.
        table: TableName,
    },
    /// The partitions go that end at or before a time.
    DropPartitions {
        /// The table.
        table: TableName,
        /// Microseconds since 1970 UTC; a partition goes if all the time it covers is before this.
        before_us: i64,
    },
    /// Sets or clears the age past which partitions are dropped.
    SetTtl {
        /// The table.
        table: TableName,
        /// Seconds; `None` keeps rows for ever.
        ttl_s: Option<u64>,
    },
    /// The rows of a stretch of time go.
    DropRange {
        /// The table.
        table: TableName,
        /// The first time that goes: microseconds since 1970 UTC.
        from_us: i64,
        /// The first time behind that stays.
        until_us: i64,
    },
    /// Rows go, named one by one: a DELETE, and with new rows behind it in the record an UPDATE. Those that are not
    /// there any more are skipped.
    DeleteRows {
        /// The table.
        table: TableName,
        /// Ranges of `_seq`, each its first and the first behind it; ascending, none touching the next.
        seqs: Vec<(u64, u64)>,
        /// All of the rows are within these times, the second not among them: microseconds since 1970 UTC. `None` for
        /// a table without a time column.
        times_us: Option<(i64, i64)>,
    },
    /// Sets or clears the keys of which the last written row is the table's. What is there stays as it is.
    SetDedupKeys {
        /// The table.
        table: TableName,
        /// The columns by their names in the table, the time among them; none for a table that keeps every
        /// row.
        keys: Vec<Arc<str>>,
    },
}

impl Event {
    /// The table that it is about; `None` for a schema or a default.
    pub fn table(&self) -> Option<&TableName> {
        match self {
            Event::CreateSchema { .. } | Event::SetDefault { .. } => None,
            Event::CreateTable { schema } => Some(&schema.name),
            Event::AddColumns { table, .. }
            | Event::RenameColumn { table, .. }
            | Event::DropColumns { table, .. }
            | Event::RenameTable { table, .. }
            | Event::DropTable { table }
            | Event::Truncate { table }
            | Event::DropPartitions { table, .. }
            | Event::SetTtl { table, .. }
            | Event::DropRange { table, .. }
            | Event::DeleteRows { table, .. }
            | Event::SetDedupKeys { table, .. } => Some(table),
        }
    }
}
