//! `limit=`: which rows of a query are given.
//!
//! `10` is the first ten, `11,20` the rows 11 to 20 as QuestDB counts them (from 1, both included), `-10` the
//! last ten, `-20,-10` the last twenty without the last ten. Rows from the end are held until the query has
//! ended, so they are bounded.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use nowcast_query::{SqlCode, SqlError, Statement};

use super::{ApiError, fields::bad};
use crate::{
    encode::{End, STEP_ROWS},
    sql::Rows,
};

/// Memory of rows that are held for a limit from the end.
const HELD_BYTES_MAX: usize = 256 << 20;

/// Rows to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// The rows `skip..stop`, from 0.
    Range { skip: u64, stop: u64 },
    /// The last `last` without the last `drop`.
    Tail { last: u64, drop: u64 },
}

impl Limit {
    /// All rows.
    pub(super) const ALL: Limit = Limit::Range { skip: 0, stop: u64::MAX };

    /// The statement with as much of the limit as its own plan can make use of, in the order that a LIMIT in its text
    /// gives; all of the limit is still to be applied to its rows.
    pub(super) fn of(self, statement: &Statement) -> Option<Statement> {
        let rows = match self {
            Limit::Range { stop, .. } => i64::try_from(stop).ok()?,
            Limit::Tail { last, .. } => -i64::try_from(last).ok()?,
        };
        statement.limited(rows)
    }

    /// Reads the parameter.
    ///
    /// # Errors
    /// It is neither form.
    pub(super) fn parse(text: &str) -> Result<Limit, ApiError> {
        let wrong = || {
            bad(format!("the limit {text:?} is neither N nor FROM,TO"))
                .hint("limit=100, limit=101,200, or from the end limit=-100, limit=-200,-100")
        };
        let number = |part: &str| part.trim().parse::<i64>().map_err(|_| wrong());
        let Some((from, to)) = text.split_once(',') else {
            let rows = number(text)?;
            return Ok(match rows {
                0.. => Limit::Range { skip: 0, stop: rows.unsigned_abs() },
                _ => Limit::Tail { last: rows.unsigned_abs(), drop: 0 },
            });
        };
        let from = if from.trim().is_empty() { 0 } else { number(from)? };
        let to = if to.trim().is_empty() { None } else { Some(number(to)?) };
        match (from, to) {
            (0.., None) => {
                Ok(Limit::Range { skip: from.saturating_sub(1).max(0).unsigned_abs(), stop: u64::MAX })
            }
            (0.., Some(to @ 0..)) => Ok(Limit::Range {
                skip: from.saturating_sub(1).max(0).unsigned_abs(),
                stop: to.unsigned_abs(),
            }),
            (..0, None) => Ok(Limit::Tail { last: from.unsigned_abs(), drop: 0 }),
            (..0, Some(to @ ..=0)) => Ok(Limit::Tail { last: from.unsigned_abs(), drop: to.unsigned_abs() }),
            _ => Err(wrong().hint("count both from the beginning, or both from the end")),
        }
    }
}

/// How many rows there are without the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// Nobody asks.
    No,
    /// Known before.
    Of(u64),
    /// Found by going on behind the last row that is given.
    Seen,
}

/// The rows of a query that a limit leaves.
pub(super) struct Cut {
    rows: Option<Rows>,
    limit: Limit,
    /// More rows than this are cut, and told as such.
    rows_max: u64,
    count: Count,
    seen: u64,
    given: u64,
    truncated: bool,
    /// Rows on their way out, in order.
    ready: VecDeque<RecordBatch>,
    held: VecDeque<RecordBatch>,
    held_rows: u64,
    held_bytes: usize,
}

impl Cut {
    /// The rows of `rows` that `limit` leaves, at most `rows_max`.
    ///
    /// # Errors
    /// More rows are asked for from the end than can be held.
    pub(super) fn new(rows: Rows, limit: Limit, rows_max: u64, count: Count) -> Result<Cut, SqlError> {
        if let Limit::Tail { last, .. } = limit
            && last > rows_max.min(HELD_ROWS_MAX)
        {
            let most = rows_max.min(HELD_ROWS_MAX);
            let message = format!("limit asks for {last} rows from the end, at most {most} can be held");
            return Err(
                SqlError::new(SqlCode::Resources, message).hint("write ORDER BY … DESC LIMIT instead")
            );
        }
        Ok(Cut {
            rows: Some(rows),
            limit,
            rows_max,
            count,
            seen: 0,
            given: 0,
            truncated: false,
            ready: VecDeque::new(),
            held: VecDeque::new(),
            held_rows: 0,
            held_bytes: 0,
        })
    }

    /// The next rows, at most [`STEP_ROWS`]; `None` behind the last.
    ///
    /// # Errors
    /// As the query's; or too much is held.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        loop {
            if let Some(batch) = self.ready.front_mut() {
                let rows = batch.num_rows().min(STEP_ROWS);
                let step = batch.slice(0, rows);
                if rows == batch.num_rows() {
                    self.ready.pop_front();
                } else {
                    *batch = batch.slice(rows, batch.num_rows() - rows);
                }
                return Ok(Some(step));
            }
            let Some(rows) = &mut self.rows else { return Ok(None) };
            match rows.next().await {
                Some(batch) => self.take(batch?)?,
                None => self.end(),
            }
        }
    }

    fn take(&mut self, batch: RecordBatch) -> Result<(), SqlError> {
        let (first, rows) = (self.seen, batch.num_rows() as u64);
        self.seen += rows;
        match self.limit {
            Limit::Range { skip, stop } => {
                let begin = skip.saturating_sub(first).min(rows);
                let end = stop.saturating_sub(first).min(rows).max(begin);
                self.give(batch.slice(begin as usize, (end - begin) as usize));
                if self.count != Count::Seen && (self.seen >= stop || self.truncated) {
                    // Dropping the rows ends the query.
                    self.rows = None;
                }
            }
            Limit::Tail { last, .. } => {
                self.held_rows += rows;
                self.held_bytes += batch.get_array_memory_size();
                self.held.push_back(batch);
                while let Some(front) = self.held.front()
                    && self.held_rows - front.num_rows() as u64 >= last
                {
                    self.held_rows -= front.num_rows() as u64;
                    self.held_bytes -= front.get_array_memory_size();
                    self.held.pop_front();
                }
                if self.held_bytes > HELD_BYTES_MAX {
                    let message = format!("limit holds more than {} MiB of rows", HELD_BYTES_MAX >> 20);
                    let error = SqlError::new(SqlCode::Resources, message);
                    return Err(error.hint("ask for fewer rows from the end, or write ORDER BY … DESC LIMIT"));
                }
            }
        }
        Ok(())
    }

    fn give(&mut self, batch: RecordBatch) {
        let room = self.rows_max - self.given;
        let rows = (batch.num_rows() as u64).min(room);
        self.truncated |= rows < batch.num_rows() as u64;
        self.given += rows;
        if rows > 0 {
            self.ready.push_back(batch.slice(0, rows as usize));
        }
    }

    /// The query has ended: what was held goes out.
    fn end(&mut self) {
        self.rows = None;
        let Limit::Tail { last, drop } = self.limit else { return };
        let mut skip = self.held_rows.saturating_sub(last);
        let mut left = self.held_rows.saturating_sub(skip).saturating_sub(drop);
        for batch in std::mem::take(&mut self.held) {
            let rows = batch.num_rows() as u64;
            let begin = skip.min(rows);
            let count = left.min(rows - begin);
            (skip, left) = (skip - begin, left - count);
            self.give(batch.slice(begin as usize, count as usize));
        }
    }

    /// What is known behind the last row.
    pub(super) fn ended(&self) -> End {
        let total = match self.count {
            Count::No => None,
            Count::Of(rows) => Some(rows),
            Count::Seen => Some(self.seen),
        };
        End { total, truncated: self.truncated }
    }
}

/// Rows that can be held for a limit from the end.
const HELD_ROWS_MAX: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn limits_are_read_as_questdb_reads_them() {
        let range = |skip, stop| Limit::Range { skip, stop };
        let tail = |last, drop| Limit::Tail { last, drop };
        let table = [
            ("10", range(0, 10)),
            ("0", range(0, 0)),
            ("1,10", range(0, 10)),
            ("11,20", range(10, 20)),
            ("0,5", range(0, 5)),
            ("5,", range(4, u64::MAX)),
            (",5", range(0, 5)),
            ("-10", tail(10, 0)),
            ("-20,-10", tail(20, 10)),
            ("-20,", tail(20, 0)),
        ];
        for (text, expected) in table {
            assert_eq!(Limit::parse(text).unwrap(), expected, "{text}");
        }
        for text in ["x", "1,x", "1,-5", "-5,1", "1,2,3", "99999999999999999999"] {
            assert!(Limit::parse(text).is_err(), "{text}");
        }
    }
}
