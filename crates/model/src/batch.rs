//! Rows on their way in.

use arrow::array::RecordBatch;

use crate::TableName;

/// One table's rows as a source decoded them, columns only: no stage between socket and store makes rows of
/// them.
///
/// Every field of `rows` has a type that [`crate::ColumnType::from_arrow`] knows and is nullable. A batch
/// need not have all the columns of its table (the absent ones become NULL), and may have new ones. It never
/// has the hidden `_seq`.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where the rows go; the table need not exist yet.
    pub table: TableName,
    /// The rows.
    pub rows: RecordBatch,
    /// Index in `rows` of the column that holds the rows' time (`TIMESTAMP`, no nulls). An existing table
    /// calls it by its own name; a new one takes the name from here.
    pub timestamp: Option<usize>,
}

impl Batch {
    /// Bytes that the arrays hold in memory.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size()
    }
}
