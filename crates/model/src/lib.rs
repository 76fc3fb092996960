//! Ids, table schemas, batches, records, changes, the clock and limits: what every other crate speaks of.
//!
//! Nothing here does I/O, and nothing here knows a protocol. A *batch* is rows on their way in, a *record*
//! is what the log makes of them, a *change* is what the store made of a record.

mod batch;
mod change;
mod clock;
mod id;
pub mod limits;
mod name;
mod record;
mod schema;
mod value;

pub use batch::Batch;
pub use change::{Change, RowChange, SchemaChange, Weights};
pub use clock::{Clock, ManualClock, SteadyClock, SystemClock};
pub use id::{Epoch, Offset, Tick, Version};
pub use name::{NameError, TableName, check_name, name_key};
pub use record::{Event, Item, Producer, Record};
pub use schema::{Column, ColumnType, PartitionBy, SEQ_COLUMN, SchemaError, TableSchema};
pub use value::Value;

#[cfg(test)]
mod tests;
