//! The state of a join: both sides by key, and pairs as rows come and go.
//!
//! **How rows go.** A delta of one side meets the rows that the other side has: each of its rows makes a pair,
//! with the row's own weight, with every row of the same key for which the join's condition is true. Then the
//! delta is put on its own shelf. So a row that comes late on either side finds what came before, a row that
//! leaves its window takes its pairs along, and of a table that stands on both sides the left copy moves first.
//!
//! Each row knows its number of partners, where that decides what is shown: a row of an outer side stands beside
//! NULLs while it has none, a row of a semi join is there while it has one.
//!
//! NULL equals nothing: a row with NULL in a key is on no shelf.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array},
    compute::{cast, take},
    datatypes::{DataType, SchemaRef},
    row::{RowConverter, Rows, SortField},
};

use crate::{
    ExprRef, Join, JoinKind, ViewError,
    flow::{Event, FlowState, Making, Moved},
    groups::evaluate_mask,
    shelf::Shelf,
    view::evaluate,
};

/// Pairs that are looked at in one go, so that a batch that meets many rows does not take all memory.
const PAIRS_MAX: usize = 65_536;

/// Pairs that one event may make: they pass on the apply thread, which all views share.
const FAN_OUT_MAX: usize = 2_000_000;

/// Columns as bytes that are equal where the values are.
struct Codec {
    converter: Option<RowConverter>,
}

struct Encoded {
    rows: Option<Rows>,
}

struct Side {
    flow: FlowState,
    on: Vec<ExprRef>,
    keys: Codec,
    identity: Vec<usize>,
    ids: Codec,
    /// Columns that are kept; none of them if the side is only asked whether it has a row.
    kept: Vec<usize>,
    /// Without rows: the types of the kept columns.
    empty: Vec<ArrayRef>,
    shelf: Shelf,
}

/// See the module's story.
pub(crate) struct JoinState {
    kind: JoinKind,
    sides: [Side; 2],
    filter: Option<ExprRef>,
    /// Left and right columns: what the condition sees.
    pair: SchemaRef,
    output: SchemaRef,
}

/// A row that goes into the output.
#[derive(Clone, Copy)]
enum Place {
    /// Of the delta.
    Delta(u32),
    /// Of the other side's shelf.
    Slot(u32),
    Null,
}

/// Rows of the output while they are put together: from the delta, and from the shelf.
#[derive(Default)]
struct Made {
    delta: Vec<Option<u32>>,
    slots: Vec<Option<u32>>,
    weights: Vec<i8>,
}

impl Made {
    fn push(&mut self, delta: Place, slot: Place, weight: i8) {
        self.delta.push(if let Place::Delta(row) = delta { Some(row) } else { None });
        self.slots.push(if let Place::Slot(slot) = slot { Some(slot) } else { None });
        self.weights.push(weight);
    }
}

/// Columns of a delta or a shelf in output form.
type Columns = Vec<ArrayRef>;

impl Codec {
    fn new(types: impl Iterator<Item = DataType>) -> Result<Codec, ViewError> {
        let fields: Vec<_> = types.map(SortField::new).collect();
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        Ok(Codec { converter })
    }

    fn encode(&self, columns: &[ArrayRef]) -> Result<Encoded, ViewError> {
        let rows = self.converter.as_ref().map(|converter| converter.convert_columns(columns));
        Ok(Encoded { rows: rows.transpose()? })
    }
}

impl Encoded {
    fn with<T>(&self, row: usize, f: impl FnOnce(&[u8]) -> T) -> T {
        match &self.rows {
            Some(rows) => f(rows.row(row).as_ref()),
            None => f(&[]),
        }
    }
}

impl JoinState {
    /// Without rows. `names` is what the plan says of the output.
    pub(crate) fn new(join: &Join, names: &SchemaRef, making: &mut Making) -> Result<JoinState, ViewError> {
        let refuse = |what: &str| Err(ViewError::Plan(what.to_owned()));
        if join.on.is_empty() {
            return refuse("a join has no keys");
        }
        let output = join.schema();
        if output.fields().len() != names.fields().len() {
            return refuse("a join is not as wide as its input");
        }
        let whole = Join { kind: JoinKind::Full, ..join.clone() }.schema();
        if let Some(filter) = &join.filter {
            evaluate_mask(filter, &RecordBatch::new_empty(Arc::clone(&whole)))?;
        }
        let is_asked = matches!(join.kind, JoinKind::Semi | JoinKind::Anti) && join.filter.is_none();
        let mut side = |at: usize| -> Result<(Side, Vec<DataType>), ViewError> {
            let flow = &join.sides[at];
            let empty = RecordBatch::new_empty(Arc::clone(&flow.input));
            let on: Vec<_> = join.on.iter().map(|pair| Arc::clone(&pair[at])).collect();
            let keys = on.iter().map(|expr| Ok(plain(&evaluate(expr, &empty)?)?.data_type().clone()));
            let keys: Vec<DataType> = keys.collect::<Result<_, ViewError>>()?;
            let identity = join.identity[at].clone();
            if identity.iter().any(|&column| column >= flow.input.fields().len()) {
                return Err(ViewError::Plan("an identity has no column".into()));
            }
            let ids = identity.iter().map(|&column| flow.input.field(column).data_type().clone());
            let kept = if at == 1 && is_asked { 0..0 } else { 0..flow.input.fields().len() };
            let kept: Vec<usize> = kept.collect();
            Ok((
                Side {
                    flow: FlowState::new(flow, making)?,
                    keys: Codec::new(keys.iter().cloned())?,
                    on,
                    ids: Codec::new(ids)?,
                    identity,
                    empty: kept.iter().map(|&column| Arc::clone(empty.column(column))).collect(),
                    kept,
                    shelf: Shelf::default(),
                },
                keys,
            ))
        };
        let ((left, left_keys), (right, right_keys)) = (side(0)?, side(1)?);
        if left_keys != right_keys || left_keys.iter().any(DataType::is_floating) {
            return refuse("the keys of a join are of different types, or doubles");
        }
        let filter = join.filter.clone();
        Ok(JoinState { kind: join.kind, sides: [left, right], filter, pair: whole, output })
    }

    /// Takes an event; what moved is put behind `out`.
    pub(crate) fn take(&mut self, event: Event<'_>, out: &mut Vec<Moved>) -> Result<(), ViewError> {
        for at in 0..2 {
            let mut moved = Vec::new();
            self.sides[at].flow.take(event, &mut moved)?;
            for moved in moved {
                self.advance(at, &moved, out)?;
            }
        }
        Ok(())
    }

    /// True if rows of that side stand alone while they have no partner.
    fn is_outer(&self, at: usize) -> bool {
        match self.kind {
            JoinKind::Inner | JoinKind::Semi => false,
            JoinKind::Left | JoinKind::Anti => at == 0,
            JoinKind::Right => at == 1,
            JoinKind::Full => true,
        }
    }

    fn yields_pairs(&self) -> bool {
        !matches!(self.kind, JoinKind::Semi | JoinKind::Anti)
    }

    /// Brings a delta of one side together with the other side, then onto its shelf.
    fn advance(&mut self, at: usize, moved: &Moved, out: &mut Vec<Moved>) -> Result<(), ViewError> {
        let rows = moved.rows.num_rows();
        let keys = self.sides[at].on.iter().map(|expr| plain(&evaluate(expr, &moved.rows)?));
        let keys: Vec<ArrayRef> = keys.collect::<Result<_, _>>()?;
        let nulls: Vec<_> = keys.iter().filter_map(|key| key.logical_nulls()).collect();
        let is_null = |row: usize| nulls.iter().any(|nulls| nulls.is_null(row));
        let keys = self.sides[at].keys.encode(&keys)?;
        let ids: Vec<ArrayRef> =
            self.sides[at].identity.iter().map(|&column| Arc::clone(moved.rows.column(column))).collect();
        let ids = self.sides[at].ids.encode(&ids)?;
        let kept: Columns =
            self.sides[at].kept.iter().map(|&column| Arc::clone(moved.rows.column(column))).collect();

        let chunk = self.sides[at].shelf.open(kept, rows);
        let (mut first, mut fan_out) = (0, 0);
        while first < rows {
            let (mut pairs, mut end) = (Vec::new(), first);
            while end < rows && pairs.len() < PAIRS_MAX {
                if !is_null(end) {
                    let matches = |key: &[u8]| {
                        let slots = self.sides[1 - at].shelf.matches(key);
                        pairs.extend(slots.map(|slot| (end as u32, slot)));
                    };
                    keys.with(end, matches);
                }
                end += 1;
            }
            fan_out += pairs.len();
            if fan_out > FAN_OUT_MAX {
                return Err(ViewError::FanOut { pairs: fan_out, max: FAN_OUT_MAX });
            }
            self.condition(at, moved, &mut pairs)?;
            let made = self.walk(at, moved, first..end, &pairs, |row, shelf, weight, count| {
                if !is_null(row) {
                    keys.with(row, |key| {
                        ids.with(row, |id| match weight > 0 {
                            true => shelf.insert(chunk, row as u32, key, id, count),
                            false => shelf.remove(key, id),
                        });
                    });
                }
            });
            self.emit(at, moved, made, out)?;
            first = end;
        }
        self.sides[at].shelf.close(chunk)
    }

    /// Drops pairs for which the condition is not true.
    fn condition(&self, at: usize, moved: &Moved, pairs: &mut Vec<(u32, u32)>) -> Result<(), ViewError> {
        let Some(filter) = self.filter.as_ref().filter(|_| !pairs.is_empty()) else { return Ok(()) };
        let rows: UInt32Array = pairs.iter().map(|(row, _)| *row).collect();
        let own = moved.rows.columns().iter().map(|column| take(column, &rows, None));
        let own: Columns = own.collect::<Result<_, _>>()?;
        let slots: Vec<_> = pairs.iter().map(|(_, slot)| Some(*slot)).collect();
        let other = &self.sides[1 - at];
        let other = other.shelf.gather(&slots, &other.empty)?;
        let columns = if at == 0 { [own, other].concat() } else { [other, own].concat() };
        let mask: BooleanArray =
            evaluate_mask(filter, &RecordBatch::try_new(Arc::clone(&self.pair), columns)?)?;
        let mut row = 0;
        pairs.retain(|_| {
            row += 1;
            mask.value(row - 1)
        });
        Ok(())
    }

    /// Goes through rows of a delta with their pairs, and says what comes and goes. `keep` puts a row on its
    /// shelf or takes it away.
    fn walk(
        &mut self,
        at: usize,
        moved: &Moved,
        rows: std::ops::Range<usize>,
        pairs: &[(u32, u32)],
        keep: impl Fn(usize, &mut Shelf, i8, u32),
    ) -> Made {
        let (own_outer, other_outer) = (self.is_outer(at), self.is_outer(1 - at));
        let (yields_pairs, is_semi) = (self.yields_pairs(), self.kind == JoinKind::Semi);
        let [left, right] = &mut self.sides;
        let (own, other) = if at == 0 { (left, right) } else { (right, left) };
        let mut made = Made::default();
        let mut pair = 0;
        for row in rows {
            let weight = moved.weight(row);
            let delta = Place::Delta(row as u32);
            let start = pair;
            while let Some(&(_, slot)) = pairs.get(pair).filter(|(of, _)| *of as usize == row) {
                pair += 1;
                let count = other.shelf.count(slot);
                let before = *count;
                *count = count.saturating_add_signed(i32::from(weight));
                // Whether the other row has partners changed, and which way. What goes is told first: a row and
                // its like beside NULLs may have one identity.
                let turn = match (before, *count) {
                    (0, 1..) => 1,
                    (1.., 0) => -1,
                    _ => 0,
                };
                let alone = other_outer && turn != 0;
                if alone && turn > 0 {
                    made.push(Place::Null, Place::Slot(slot), -1);
                }
                if yields_pairs {
                    made.push(delta, Place::Slot(slot), weight);
                }
                if alone && turn < 0 {
                    made.push(Place::Null, Place::Slot(slot), 1);
                }
                if is_semi && at == 1 && turn != 0 {
                    made.push(Place::Null, Place::Slot(slot), turn);
                }
            }
            let count = (pair - start) as u32;
            if (own_outer && count == 0) || (is_semi && at == 0 && count > 0) {
                made.push(delta, Place::Null, weight);
            }
            keep(row, &mut own.shelf, weight, count);
        }
        made
    }

    /// Puts rows together out of a delta and the other side's shelf.
    fn emit(&self, at: usize, moved: &Moved, made: Made, out: &mut Vec<Moved>) -> Result<(), ViewError> {
        let rows = made.weights.len();
        if rows == 0 {
            return Ok(());
        }
        let weights = if made.weights.iter().all(|&weight| weight == 1) { None } else { Some(made.weights) };
        let own = |made: &Made| -> Result<Columns, ViewError> {
            let places = UInt32Array::from(made.delta.clone());
            moved.rows.columns().iter().map(|column| Ok(take(column, &places, None)?)).collect()
        };
        let made = Made { weights: Vec::new(), ..made };
        let other = &self.sides[1 - at];
        let columns = match (self.yields_pairs(), at) {
            (true, 0) => [own(&made)?, other.shelf.gather(&made.slots, &other.empty)?].concat(),
            (true, _) => [other.shelf.gather(&made.slots, &other.empty)?, own(&made)?].concat(),
            (false, 0) => own(&made)?,
            (false, _) => other.shelf.gather(&made.slots, &other.empty)?,
        };
        out.push(Moved::of(&self.output, columns, weights, rows)?);
        Ok(())
    }

    /// All rows that the join has now; only if it [keeps all](JoinState::keeps_all).
    pub(crate) fn content(&mut self) -> Result<Vec<Moved>, ViewError> {
        let mut out = Vec::new();
        let live = self.sides[0].shelf.live();
        for part in live.chunks(PAIRS_MAX / 8) {
            let slots: Vec<_> = part.iter().map(|(slot, _)| Some(*slot)).collect();
            let left = &self.sides[0];
            let columns = left.shelf.gather(&slots, &left.empty)?;
            let moved = Moved::of(&self.left_schema()?, columns, None, slots.len())?;
            if self.kind == JoinKind::Semi {
                let rows = (0u32..).zip(part).filter(|(_, (_, partners))| *partners > 0);
                let rows: UInt32Array = rows.map(|(row, _)| row).collect();
                let columns = moved.rows.columns().iter().map(|c| take(c, &rows, None));
                let columns = columns.collect::<Result<_, _>>()?;
                out.push(Moved::of(&self.output, columns, None, rows.len())?);
                continue;
            }
            let keys = self.sides[0].on.iter().map(|expr| plain(&evaluate(expr, &moved.rows)?));
            let keys = self.sides[0].keys.encode(&keys.collect::<Result<Vec<_>, _>>()?)?;
            let mut pairs = Vec::new();
            for row in 0..part.len() {
                let right = &self.sides[1].shelf;
                keys.with(row, |key| pairs.extend(right.matches(key).map(|slot| (row as u32, slot))));
            }
            self.condition(0, &moved, &mut pairs)?;
            let mut made = Made::default();
            pairs.iter().for_each(|&(row, slot)| made.push(Place::Delta(row), Place::Slot(slot), 1));
            self.emit(0, &moved, made, &mut out)?;
        }
        Ok(out)
    }

    fn left_schema(&self) -> Result<SchemaRef, ViewError> {
        let width = self.sides[0].kept.len();
        Ok(Arc::new(self.pair.project(&(0..width).collect::<Vec<_>>())?))
    }

    /// True if [`JoinState::content`] has all there is: rows with NULL in a key, which an outer side shows, are
    /// kept nowhere.
    pub(crate) fn keeps_all(&self) -> bool {
        matches!(self.kind, JoinKind::Inner | JoinKind::Semi)
    }

    /// As [`crate::flow::Node::is_lost`].
    pub(crate) fn is_lost(&self) -> bool {
        self.sides.iter().any(|side| side.flow.is_lost())
    }

    /// Bytes of state, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.sides.iter().map(|side| side.flow.bytes() + side.shelf.bytes()).sum()
    }
}

/// Text and numbers as they compare, whatever their encoding.
fn plain(key: &ArrayRef) -> Result<ArrayRef, ViewError> {
    let ty = match key.data_type() {
        DataType::Dictionary(_, value) => &**value,
        other => other,
    };
    let ty = if matches!(ty, DataType::LargeUtf8 | DataType::Utf8View) { &DataType::Utf8 } else { ty };
    Ok(if key.data_type() == ty { Arc::clone(key) } else { cast(key, ty)? })
}
