//! Rows by themselves: each input row that passes is one output row.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::{SortColumn, SortOptions, lexsort_to_indices, take},
};

use crate::{
    Direction, ExprRef, LiveSchema, ViewError,
    aggregate::Signs,
    cells::rows_of,
    top::Top,
    view::{Delta, evaluate},
};

/// The state of a view of plain rows: the first of them.
pub(crate) struct Rows {
    project: Vec<ExprRef>,
    schema: Arc<LiveSchema>,
    top: Top,
}

impl Rows {
    /// `empty` is an input batch without rows.
    pub(crate) fn new(
        project: &[ExprRef],
        empty: &RecordBatch,
        top: Top,
        schema: Arc<LiveSchema>,
    ) -> Result<Rows, ViewError> {
        let mut rows = Rows { project: project.to_vec(), schema, top };
        // Finds out now whether the types can be shown.
        rows_of(&rows.prepare(empty)?, 0)?;
        Ok(rows)
    }

    /// The output columns of input rows.
    pub(crate) fn prepare(&mut self, input: &RecordBatch) -> Result<Vec<ArrayRef>, ViewError> {
        self.project.iter().map(|expr| evaluate(expr, input)).collect()
    }

    /// Adds prepared rows. Those that leave go in the reverse of the order in which they came: a row that was
    /// deleted meanwhile comes back first and then goes, and leaves nothing behind.
    pub(crate) fn apply(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        signs: Signs<'_>,
    ) -> Result<(), ViewError> {
        if signs.weights.is_none() && signs.sign > 0 && self.first_only(columns, rows)? {
            return Ok(());
        }
        let made = rows_of(columns, rows)?;
        if signs.sign > 0 {
            for (index, row) in made.into_iter().enumerate() {
                if signs.get(index) > 0 { self.top.insert(row) } else { self.top.remove(row) }
            }
        } else {
            for (index, row) in made.into_iter().enumerate().rev() {
                if signs.get(index) > 0 { self.top.insert(row) } else { self.top.remove(row) }
            }
        }
        Ok(())
    }

    /// Of many rows at once only the first can matter: finds them by sorting columns, and makes rows of those
    /// alone. False, with nothing done, if that does not apply.
    fn first_only(&mut self, columns: &[ArrayRef], rows: usize) -> Result<bool, ViewError> {
        let Some(kept_max) = self.top.kept_max().filter(|&kept_max| rows > 2 * kept_max + 16) else {
            return Ok(false);
        };
        let order = self.schema.order.iter().copied();
        let key = self.schema.key.iter().map(|&column| (column, Direction::Asc));
        let mut sort = Vec::new();
        for (column, direction) in order.chain(key) {
            let values = Arc::clone(&columns[column]);
            // Arrow tells zeros and NaNs apart that are one to us.
            if values.data_type().is_floating() {
                return Ok(false);
            }
            let descending = direction == Direction::Desc;
            // In a key NULL comes first, in an order it is greater than all.
            let is_key = sort.len() >= self.schema.order.len();
            let options = SortOptions { descending, nulls_first: descending || is_key };
            sort.push(SortColumn { values, options: Some(options) });
        }
        if sort.is_empty() {
            return Ok(false);
        }
        let first = lexsort_to_indices(&sort, Some(kept_max + 1))?;
        let first: &UInt32Array = &first;
        let columns: Vec<_> = columns.iter().map(|c| take(c, first, None)).collect::<Result<_, _>>()?;
        let mut made = rows_of(&columns, first.len())?;
        let Some(behind) = made.pop() else { return Ok(false) };
        made.into_iter().for_each(|row| self.top.insert(row));
        self.top.drop_from(behind, rows - kept_max);
        Ok(true)
    }

    /// Forgets all rows, in order to be filled anew.
    pub(crate) fn clear(&mut self) {
        self.top.clear();
    }

    /// True if rows that should be shown may be among those that were not kept.
    pub(crate) fn is_starved(&self) -> bool {
        self.top.is_starved()
    }

    /// What changed since the last call.
    pub(crate) fn collect(&mut self) -> Delta {
        self.top.take()
    }

    /// Bytes of state, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.top.bytes()
    }
}
