//! What a decoder hands over.

use nowcast_model::Batch;

/// Batches and the lines that their rows came from.
///
/// One batch per table in order of first appearance; several per table, in row order, where one would be too
/// sparse or too large, or (while a stream is read) where a column changes its type.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// The rows.
    pub batches: Vec<Batch>,
    /// For each batch the line of each of its rows, counted from 1 since the input began.
    pub lines: Vec<Vec<u64>>,
}

impl Decoded {
    /// Rows of all batches.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(|batch| batch.rows.num_rows()).sum()
    }

    /// The line that row `row` of batch `batch` came from, so that a refusal can name it.
    pub fn line_of(&self, batch: usize, row: usize) -> Option<u64> {
        self.lines.get(batch)?.get(row).copied()
    }
}
