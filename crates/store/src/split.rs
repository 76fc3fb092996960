//! Sorted rows into parts: a partition with many rows gets parts of its own, the others share one.
//!
//! Whether a partition has many rows is known only when they have come, so its first ones are held back, up to
//! the number that counts as many.

use std::sync::Arc;

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use nowcast_model::TableSchema;

use crate::{Part, StoreError, part::PartWriter, partition_range_us};

/// Rows past which a part is ended and another begun.
const PART_ROWS_MAX: u64 = 8_000_000;

/// Makes the writer of the next part.
pub(crate) type NewPart<'a> = &'a mut dyn FnMut() -> Result<PartWriter, StoreError>;

/// See the module.
pub(crate) struct Splitter<'a> {
    schema: &'a TableSchema,
    /// Rows of a partition that make it worth parts of its own.
    many_rows: u64,
    new_part: NewPart<'a>,
    /// The first time behind the partition at hand.
    until_us: Option<i64>,
    held: Vec<RecordBatch>,
    held_rows: u64,
    /// The partition's own part, once it has many rows.
    own: Option<PartWriter>,
    shared: Option<PartWriter>,
    done: Vec<Arc<Part>>,
}

impl<'a> Splitter<'a> {
    pub(crate) fn new(schema: &'a TableSchema, many_rows: u64, new_part: NewPart<'a>) -> Splitter<'a> {
        Splitter {
            schema,
            many_rows,
            new_part,
            until_us: None,
            held: Vec::new(),
            held_rows: 0,
            own: None,
            shared: None,
            done: Vec::new(),
        }
    }

    /// Takes the rows that follow.
    pub(crate) fn write(&mut self, mut rows: RecordBatch) -> Result<(), StoreError> {
        while rows.num_rows() > 0 {
            let here = self.rows_of_partition(&rows)?;
            self.partition_rows(rows.slice(0, here))?;
            rows = rows.slice(here, rows.num_rows() - here);
        }
        Ok(())
    }

    /// How many of the rows, at least one, are in the partition of the first; the one at hand is ended if they
    /// are in another.
    fn rows_of_partition(&mut self, rows: &RecordBatch) -> Result<usize, StoreError> {
        let times =
            self.schema.timestamp.and_then(|t| rows.column(t).as_primitive_opt::<TimestampMicrosecondType>());
        let Some(times) = times else { return Ok(rows.num_rows()) };
        let first_us = times.value(0);
        if self.until_us.is_none_or(|until_us| first_us >= until_us) {
            self.end_partition()?;
            self.until_us =
                partition_range_us(self.schema.partition_by, first_us).map(|(_, until_us)| until_us);
        }
        let Some(until_us) = self.until_us else { return Ok(rows.num_rows()) };
        Ok(times.values().partition_point(|&at_us| at_us < until_us).max(1))
    }

    fn partition_rows(&mut self, rows: RecordBatch) -> Result<(), StoreError> {
        if self.own.is_none() {
            self.held_rows += rows.num_rows() as u64;
            self.held.push(rows);
            if self.held_rows < self.many_rows {
                return Ok(());
            }
            let mut own = (self.new_part)()?;
            self.held_rows = 0;
            self.held.drain(..).try_for_each(|rows| own.write(&rows))?;
            self.own = Some(own);
            return Ok(());
        }
        if let Some(own) = &mut self.own {
            own.write(&rows)?;
            if own.rows() >= PART_ROWS_MAX {
                self.end_own()?;
            }
        }
        Ok(())
    }

    fn end_own(&mut self) -> Result<(), StoreError> {
        if let Some(own) = self.own.take() {
            self.done.push(Arc::new(own.finish()?));
        }
        Ok(())
    }

    fn end_partition(&mut self) -> Result<(), StoreError> {
        self.end_own()?;
        self.held_rows = 0;
        for rows in std::mem::take(&mut self.held) {
            let shared = match &mut self.shared {
                Some(shared) => shared,
                none => none.insert((self.new_part)()?),
            };
            shared.write(&rows)?;
            if shared.rows() >= PART_ROWS_MAX
                && let Some(full) = self.shared.take()
            {
                self.done.push(Arc::new(full.finish()?));
            }
        }
        Ok(())
    }

    /// The parts, durable under their names.
    pub(crate) fn finish(mut self) -> Result<Vec<Arc<Part>>, StoreError> {
        self.end_partition()?;
        if let Some(shared) = self.shared.take() {
            self.done.push(Arc::new(shared.finish()?));
        }
        Ok(self.done)
    }
}
