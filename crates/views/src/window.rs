//! Rows by the ticks at which they enter and leave a sliding range.
//!
//! A row of time `t` is inside from the first tick on at which the upper bound has reached `t` until the tick
//! before the lower bound passes it: both are whole ticks that are known when the row arrives. So rows are put
//! into *panes*: those that are inside by the tick at which they leave, those that wait by both. A tick looks
//! at the panes that are due and at nothing else.
//!
//! Panes are columnar and hold what the body made of the rows (group numbers and arguments, or output
//! columns), not the rows. Small chunks are merged as they come, so that a pane that was filled by a thousand
//! writes of one row is a few arrays; a row is copied a logarithmic number of times.
//!
//! A row that is deleted is put into the same panes with weight -1, and both leave at the same tick.

use std::collections::BTreeMap;

use ahash::AHashMap;
use arrow::{
    array::{Array, ArrayRef, UInt32Array},
    compute::{concat, take},
    datatypes::DataType,
    row::{Row, RowConverter, SortField},
};
use nowcast_model::Tick;

use crate::{Bound, ViewError, Window};

/// Chunks of a pane are merged up to this many rows.
const CHUNK_ROWS_MAX: usize = 65_536;

/// The tick before all others, and the one after.
const EVER: i64 = i64::MIN;
const NEVER: i64 = i64::MAX;

/// Rows as a body keeps them.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) columns: Vec<ArrayRef>,
    /// `None`: every row +1.
    pub(crate) weights: Option<Vec<i8>>,
    pub(crate) rows: usize,
}

impl Chunk {
    fn select(&self, rows: &UInt32Array) -> Result<Chunk, ViewError> {
        let columns = self.columns.iter().map(|column| Ok(take(column, rows, None)?));
        let pick = |weights: &Vec<i8>| rows.values().iter().map(|&row| weights[row as usize]).collect();
        Ok(Chunk {
            columns: columns.collect::<Result<_, ViewError>>()?,
            weights: self.weights.as_ref().map(pick),
            rows: rows.len(),
        })
    }

    fn merge(a: &Chunk, b: &Chunk) -> Result<Chunk, ViewError> {
        let columns = a.columns.iter().zip(&b.columns).map(|(a, b)| Ok(concat(&[a, b])?));
        let columns = columns.collect::<Result<_, ViewError>>()?;
        let weights = (a.weights.is_some() || b.weights.is_some()).then(|| {
            let ones = |chunk: &Chunk| chunk.weights.clone().unwrap_or_else(|| vec![1; chunk.rows]);
            [ones(a), ones(b)].concat()
        });
        Ok(Chunk { columns, weights, rows: a.rows + b.rows })
    }

    /// Bytes that the rows take, by estimate.
    fn bytes(&self) -> usize {
        // An array costs a few hundred bytes, however few rows it has.
        let fixed = 256 * self.columns.len() + 128;
        let columns = self.columns.iter().map(|column| column_bytes(column, self.rows)).sum::<usize>();
        columns + self.weights.as_ref().map_or(0, Vec::len) + fixed
    }
}

/// Bytes that a column takes, by estimate; a dictionary that is larger than the rows counts in full.
pub(crate) fn column_bytes(column: &ArrayRef, rows: usize) -> usize {
    match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::Dictionary(..) => {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        }
        other => rows * other.primitive_width().unwrap_or(16),
    }
}

#[derive(Default)]
struct Pane {
    chunks: Vec<Chunk>,
}

/// What a tick does.
pub(crate) enum Move {
    /// Rows came into the range; kept if they leave again.
    Enter(Chunk),
    /// Rows left the range.
    Leave(Chunk),
    /// Rows are not kept any more. Follows the `Enter` or `Leave` of the same rows; alone if they were never
    /// inside at a tick.
    Forget(Chunk),
}

/// What becomes of rows that arrive.
pub(crate) struct Arrival {
    pub(crate) chunk: Chunk,
    /// They are in the range.
    pub(crate) inside: bool,
    /// They are kept in a pane.
    pub(crate) kept: bool,
}

/// The rows of one window. See the module's story.
pub(crate) struct Panes {
    window: Window,
    /// The tick, in microseconds; [`EVER`] before the first.
    now: i64,
    /// By the tick at which they leave.
    inside: BTreeMap<i64, Pane>,
    /// By the ticks at which they enter and leave.
    waiting: BTreeMap<(i64, i64), Pane>,
    bytes: usize,
    /// True if two rows that differ may be one to their reader, now one and then the other: rows that came and
    /// went must cancel before they enter or leave.
    cancels: bool,
}

/// When a row enters and leaves.
type Span = (i64, i64);

impl Panes {
    pub(crate) fn new(window: Window, cancels: bool) -> Panes {
        Panes { window, now: EVER, inside: BTreeMap::new(), waiting: BTreeMap::new(), bytes: 0, cancels }
    }

    /// The ticks between which a row of time `us` is inside.
    fn span(&self, us: i64) -> Span {
        // `t < tick + offset` holds from the first tick after `t - offset` on, `t <= …` from that very moment.
        let from = |bound: Bound, at_once: bool| {
            let distance = i128::from(us) - i128::from(bound.offset_us);
            let interval = i128::from(Tick::INTERVAL_US);
            let floor = distance.div_euclid(interval) * interval;
            let first = if at_once && floor == distance { floor } else { floor + interval };
            first.clamp(i128::from(EVER + 1), i128::from(NEVER - 1)) as i64
        };
        let enter = self.window.upper.map_or(EVER, |bound| from(bound, bound.inclusive));
        let leave = self.window.lower.map_or(NEVER, |bound| from(bound, !bound.inclusive));
        (enter, leave)
    }

    /// Spans of rows by their times in microseconds; `None` for those that are never inside from now on.
    pub(crate) fn spans(&self, times: &arrow::array::TimestampMicrosecondArray) -> Vec<Option<Span>> {
        let mut last: Option<(i64, Option<Span>)> = None;
        let mut span = |us: i64| match last {
            Some((same, span)) if same == us => span,
            _ => {
                let (enter, leave) = self.span(us);
                let span = (leave > self.now && enter < leave).then_some((enter, leave));
                last = Some((us, span));
                span
            }
        };
        times.iter().map(|us| us.and_then(&mut span)).collect()
    }

    /// Keeps rows whose spans are given, and says what becomes of them.
    pub(crate) fn arrive(&mut self, chunk: Chunk, spans: &[Span]) -> Result<Vec<Arrival>, ViewError> {
        let mut parts: Vec<(Span, Vec<u32>)> = Vec::new();
        let mut places: BTreeMap<Span, usize> = BTreeMap::new();
        let mut last = None;
        for (row, &(enter, leave)) in spans.iter().enumerate() {
            let pane = (if enter <= self.now { EVER } else { enter }, leave);
            let place = match last {
                Some((same, place)) if same == pane => place,
                _ => *places.entry(pane).or_insert_with(|| {
                    parts.push((pane, Vec::new()));
                    parts.len() - 1
                }),
            };
            parts[place].1.push(row as u32);
            last = Some((pane, place));
        }
        let whole = parts.len() == 1;
        let mut arrivals = Vec::with_capacity(parts.len());
        for ((enter, leave), rows) in parts {
            let chunk = if whole { chunk.clone() } else { chunk.select(&UInt32Array::from(rows))? };
            let inside = enter == EVER;
            let kept = !inside || leave != NEVER;
            if inside && kept {
                self.bytes += self.inside.entry(leave).or_default().push(chunk.clone())?;
            } else if kept {
                self.bytes += self.waiting.entry((enter, leave)).or_default().push(chunk.clone())?;
            }
            arrivals.push(Arrival { chunk, inside, kept });
        }
        Ok(arrivals)
    }

    /// Moves the clock; returns what that does, in order.
    pub(crate) fn tick(&mut self, now: i64) -> Result<Vec<Move>, ViewError> {
        self.now = self.now.max(now);
        let mut moves = Vec::new();
        while let Some(entry) = self.waiting.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let ((_, leave), pane) = entry.remove_entry();
            self.bytes -= pane.bytes().min(self.bytes);
            let cancelled = pane.cancelled(self.cancels && leave > self.now)?;
            let cancels = cancelled.is_some();
            moves.extend(cancelled.into_iter().flatten().map(Move::Enter));
            for chunk in pane.chunks {
                if leave <= self.now {
                    moves.push(Move::Forget(chunk));
                    continue;
                }
                if !cancels {
                    moves.push(Move::Enter(chunk.clone()));
                }
                if leave == NEVER {
                    moves.push(Move::Forget(chunk));
                } else {
                    self.bytes += self.inside.entry(leave).or_default().push(chunk)?;
                }
            }
        }
        while let Some(entry) = self.inside.first_entry().filter(|entry| *entry.key() <= self.now) {
            let pane = entry.remove();
            self.bytes -= pane.bytes().min(self.bytes);
            let cancelled = pane.cancelled(self.cancels)?;
            let cancels = cancelled.is_some();
            moves.extend(cancelled.into_iter().flatten().map(Move::Leave));
            // The last that came goes first; see `Rows::apply`.
            for chunk in pane.chunks.into_iter().rev() {
                if !cancels {
                    moves.push(Move::Leave(chunk.clone()));
                }
                moves.push(Move::Forget(chunk));
            }
        }
        Ok(moves)
    }

    /// True if [`Panes::inside`] has all rows that are inside.
    pub(crate) fn keeps_all_inside(&self) -> bool {
        self.window.lower.is_some()
    }

    /// The rows that are inside and will leave; in a window with a lower bound all that are inside.
    pub(crate) fn inside(&self) -> Result<Vec<Chunk>, ViewError> {
        let mut chunks = Vec::new();
        for pane in self.inside.values() {
            match pane.cancelled(self.cancels)? {
                Some(cancelled) => chunks.extend(cancelled),
                None => chunks.extend(pane.chunks.iter().cloned()),
            }
        }
        Ok(chunks)
    }

    /// Bytes of state, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Pane {
    /// Adds a chunk behind the others; returns by how many bytes the pane grew.
    fn push(&mut self, chunk: Chunk) -> Result<usize, ViewError> {
        let before = self.bytes();
        self.chunks.push(chunk);
        while let [.., a, b] = &self.chunks[..]
            && a.rows <= 2 * b.rows
            && a.rows + b.rows <= CHUNK_ROWS_MAX
        {
            let merged = Chunk::merge(a, b)?;
            self.chunks.truncate(self.chunks.len() - 2);
            self.chunks.push(merged);
        }
        Ok(self.bytes().saturating_sub(before))
    }

    fn bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::bytes).sum()
    }

    /// The pane's rows, each once, without those that came and went; `None` if that does not apply or none went.
    fn cancelled(&self, applies: bool) -> Result<Option<Vec<Chunk>>, ViewError> {
        if !applies || self.chunks.iter().all(|chunk| chunk.weights.is_none()) {
            return Ok(None);
        }
        let [first, ..] = &self.chunks[..] else { return Ok(None) };
        if first.columns.is_empty() {
            return Ok(None);
        }
        let fields = first.columns.iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let mut encoded = Vec::with_capacity(self.chunks.len());
        for chunk in &self.chunks {
            encoded.push(converter.convert_columns(&chunk.columns)?);
        }
        let mut counts: AHashMap<Row<'_>, (usize, u32, i64)> = AHashMap::new();
        for (at, (chunk, rows)) in self.chunks.iter().zip(&encoded).enumerate() {
            for (row, encoded) in rows.iter().enumerate() {
                let weight = chunk.weights.as_ref().map_or(1, |weights| i64::from(weights[row]));
                counts.entry(encoded).or_insert((at, row as u32, 0)).2 += weight;
            }
        }
        let mut kept: Vec<Vec<(u32, i8)>> = vec![Vec::new(); self.chunks.len()];
        for (at, row, weight) in counts.into_values() {
            let weights = (0..weight.abs()).map(|_| (row, weight.signum() as i8));
            kept[at].extend(weights);
        }
        let mut chunks = Vec::new();
        for (chunk, mut kept) in self.chunks.iter().zip(kept).filter(|(_, kept)| !kept.is_empty()) {
            kept.sort_unstable();
            let rows: UInt32Array = kept.iter().map(|(row, _)| *row).collect();
            let mut chunk = chunk.select(&rows)?;
            chunk.weights = Some(kept.into_iter().map(|(_, weight)| weight).collect());
            chunks.push(chunk);
        }
        Ok(Some(chunks))
    }
}
