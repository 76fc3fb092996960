//! The state of one aggregate over all groups: a column with a slot for each group.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::AHashMap;
use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, UInt64Array},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, UInt64Type},
};
use nowcast_model::Value;

use crate::{
    AggFunction, ViewError,
    cells::{Cells, column_of},
    picked::Picked,
    rank,
    spread::Spread,
};

/// What each row of a batch counts.
#[derive(Clone, Copy)]
pub(crate) struct Signs<'a> {
    /// `None`: every row +1.
    pub(crate) weights: Option<&'a [i8]>,
    /// -1 when rows leave that came before.
    pub(crate) sign: i64,
}

impl Signs<'_> {
    pub(crate) fn get(self, row: usize) -> i64 {
        self.weights.map_or(self.sign, |weights| self.sign * i64::from(weights[row]))
    }
}

/// Bytes of an entry in a map besides its text: the value, its count, and the map's own share.
const ENTRY_BYTES: usize = size_of::<Value>() + 8 + 24;

fn entry_bytes(value: &Value) -> usize {
    ENTRY_BYTES + if let Value::Str(text) = value { text.len() + 16 } else { 0 }
}

/// An extreme of values that only come, as far as that goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running {
    value: Option<Value>,
    /// Values that are not NULL.
    count: i64,
    /// True if a value as extreme as `value` went: the extreme may be a less extreme one that was not kept.
    lost: bool,
}

/// The slots of one aggregate.
pub(crate) enum Column {
    Count(Vec<i64>),
    Distinct(Vec<AHashMap<Value, i64>>),
    /// Sum and number of values. 2^64 values of 64 bits fit.
    Integers(Vec<(i128, i64)>),
    Floats(Vec<FloatSlot>),
    /// The cheap path: a row that goes and held the extreme makes the slot `lost`.
    Running(Vec<Running>),
    /// Every value with its multiplicity.
    Ordered(Vec<BTreeMap<Value, i64>>),
    Spread(Vec<Spread>),
    Picked(Vec<Picked>),
}

type FloatSlot = crate::exact::FloatSum;

/// One aggregate: what it computes, and its slots.
pub(crate) struct AggregateState {
    function: AggFunction,
    /// Index into the arguments of the body; `None` for `count(*)`.
    pub(crate) arg: Option<usize>,
    /// Type of the result.
    pub(crate) output: DataType,
    /// Index into the arguments of the bytes that order them, for first and last.
    pub(crate) order: Option<usize>,
    retracts: bool,
    column: Column,
    /// Bytes of entries in maps.
    map_bytes: usize,
}

impl AggregateState {
    /// Without slots. `arg` is the index and type of the argument; `retracts` says that rows may go.
    pub(crate) fn new(
        function: AggFunction,
        arg: Option<(usize, &DataType)>,
        retracts: bool,
    ) -> Result<AggregateState, ViewError> {
        let ty = arg.map_or(&DataType::Int64, |(_, ty)| ty);
        if arg.is_none() && function != AggFunction::Count {
            return Err(ViewError::Plan(format!("{function} needs an argument")));
        }
        if function == AggFunction::CountDistinct && !crate::cells::is_supported(ty) {
            return Err(ViewError::Plan(format!("count(distinct) of {ty} cannot be maintained")));
        }
        let output = function.output(ty)?;
        let column = match function {
            AggFunction::Count => Column::Count(Vec::new()),
            AggFunction::CountDistinct => Column::Distinct(Vec::new()),
            AggFunction::Sum | AggFunction::Avg if ty.is_floating() => Column::Floats(Vec::new()),
            AggFunction::Sum | AggFunction::Avg if matches!(ty, DataType::Dictionary(_, v) if v.is_floating()) => {
                Column::Floats(Vec::new())
            }
            AggFunction::Sum | AggFunction::Avg => Column::Integers(Vec::new()),
            AggFunction::Min | AggFunction::Max if retracts => Column::Ordered(Vec::new()),
            AggFunction::Median | AggFunction::Percentile(_) => Column::Ordered(Vec::new()),
            AggFunction::VarSamp | AggFunction::VarPop | AggFunction::StddevSamp | AggFunction::StddevPop => {
                Column::Spread(Vec::new())
            }
            AggFunction::First | AggFunction::Last => Column::Picked(Vec::new()),
            AggFunction::Min | AggFunction::Max => Column::Running(Vec::new()),
        };
        let arg = arg.map(|(index, _)| index);
        Ok(AggregateState { function, arg, output, order: None, retracts, column, map_bytes: 0 })
    }

    /// Makes room for `slots` slots.
    pub(crate) fn grow(&mut self, slots: usize) {
        match &mut self.column {
            Column::Count(column) => column.resize(slots, 0),
            Column::Distinct(column) => column.resize_with(slots, AHashMap::new),
            Column::Integers(column) => column.resize(slots, (0, 0)),
            Column::Floats(column) => column.resize_with(slots, FloatSlot::default),
            Column::Running(column) => column.resize_with(slots, Running::default),
            Column::Ordered(column) => column.resize_with(slots, BTreeMap::new),
            Column::Spread(column) => column.resize_with(slots, Spread::default),
            Column::Picked(column) => column.resize_with(slots, || Picked::new(self.retracts)),
        }
    }

    /// Empties a slot for another group.
    pub(crate) fn reset(&mut self, slot: usize) {
        match &mut self.column {
            Column::Count(column) => column[slot] = 0,
            Column::Distinct(column) => {
                self.map_bytes -= column[slot].keys().map(entry_bytes).sum::<usize>().min(self.map_bytes);
                column[slot] = AHashMap::new();
            }
            Column::Integers(column) => column[slot] = (0, 0),
            Column::Floats(column) => column[slot] = FloatSlot::default(),
            Column::Running(column) => column[slot] = Running::default(),
            Column::Ordered(column) => {
                self.map_bytes -= column[slot].keys().map(entry_bytes).sum::<usize>().min(self.map_bytes);
                column[slot] = BTreeMap::new();
            }
            Column::Spread(column) => column[slot] = Spread::default(),
            Column::Picked(column) => {
                self.map_bytes -= column[slot].bytes().min(self.map_bytes);
                column[slot] = Picked::new(self.retracts);
            }
        }
    }

    /// Adds rows: row `i` goes to slot `slots[i]` with its sign. `arg` has NULL where the row does not count; for
    /// first and last `order` has.
    pub(crate) fn update(
        &mut self,
        slots: &[u32],
        arg: Option<&ArrayRef>,
        order: Option<&ArrayRef>,
        signs: Signs<'_>,
    ) -> Result<(), ViewError> {
        if let (Column::Picked(column), Some(arg), Some(order)) = (&mut self.column, arg, order) {
            let (cells, places) = (Cells::new(arg)?, order.as_binary::<i32>());
            let last = self.function == AggFunction::Last;
            for row in (0..slots.len()).filter(|&row| places.is_valid(row)) {
                let picked = &mut column[slots[row] as usize];
                let grown = picked.update(places.value(row), cells.get(row), signs.get(row), last);
                self.map_bytes = self.map_bytes.saturating_add_signed(grown);
            }
            return Ok(());
        }
        let nulls = arg.and_then(|arg| arg.logical_nulls());
        let counted = (0..slots.len()).filter(|&row| nulls.as_ref().is_none_or(|n| n.is_valid(row)));
        let arg = match (&self.column, arg) {
            (Column::Count(_), _) | (_, None) => None,
            (_, Some(arg)) => Some(arg),
        };
        match (&mut self.column, arg) {
            (Column::Count(column), _) => {
                for row in counted {
                    column[slots[row] as usize] += signs.get(row);
                }
            }
            (_, None) => {}
            (Column::Integers(column), Some(arg)) => {
                let mut add = |row: usize, value: i128| {
                    let (sum, count) = &mut column[slots[row] as usize];
                    *sum += value * i128::from(signs.get(row));
                    *count += signs.get(row);
                };
                if self.output == DataType::UInt64 {
                    let values = cast(arg, &DataType::UInt64)?;
                    let values = values.as_primitive::<UInt64Type>().values();
                    counted.for_each(|row| add(row, i128::from(values[row])));
                } else {
                    let values = cast(arg, &DataType::Int64)?;
                    let values = values.as_primitive::<Int64Type>().values();
                    counted.for_each(|row| add(row, i128::from(values[row])));
                }
            }
            (Column::Floats(column), Some(arg)) => {
                let values = cast(arg, &DataType::Float64)?;
                let values = values.as_primitive::<Float64Type>().values();
                for row in counted {
                    column[slots[row] as usize].add(values[row], signs.get(row));
                }
            }
            (Column::Spread(column), Some(arg)) => {
                let values = cast(arg, &DataType::Float64)?;
                let values = values.as_primitive::<Float64Type>().values();
                for row in counted {
                    column[slots[row] as usize].add(values[row], signs.get(row));
                }
            }
            (Column::Picked(_), Some(_)) => {}
            (Column::Running(column), Some(arg)) => {
                let cells = Cells::new(arg)?;
                let max = self.function == AggFunction::Max;
                for row in counted {
                    column[slots[row] as usize].update(cells.get(row), signs.get(row), max);
                }
            }
            (Column::Distinct(column), Some(arg)) => {
                let cells = Cells::new(arg)?;
                for row in counted {
                    let value = cells.get(row);
                    let bytes = entry_bytes(&value);
                    let map = &mut column[slots[row] as usize];
                    let entry = map.entry(value.clone()).or_insert_with(|| {
                        self.map_bytes += bytes;
                        0
                    });
                    *entry += signs.get(row);
                    if *entry == 0 {
                        map.remove(&value);
                        self.map_bytes -= bytes.min(self.map_bytes);
                    }
                }
            }
            (Column::Ordered(column), Some(arg)) => {
                let cells = Cells::new(arg)?;
                for row in counted {
                    let value = cells.get(row);
                    let bytes = entry_bytes(&value);
                    let map = &mut column[slots[row] as usize];
                    let entry = map.entry(value.clone()).or_insert_with(|| {
                        self.map_bytes += bytes;
                        0
                    });
                    *entry += signs.get(row);
                    if *entry == 0 {
                        map.remove(&value);
                        self.map_bytes -= bytes.min(self.map_bytes);
                    }
                }
            }
        }
        Ok(())
    }

    /// True if the result of a slot that has rows is not known any more.
    pub(crate) fn lost(&self, slot: usize) -> bool {
        match &self.column {
            Column::Running(column) => column[slot].lost,
            Column::Picked(column) => column[slot].is_lost(),
            _ => false,
        }
    }

    /// The results of some slots.
    pub(crate) fn results(&self, slots: &[u32]) -> Result<ArrayRef, ViewError> {
        let slots = slots.iter().map(|&slot| slot as usize);
        let extreme = |map: &'_ BTreeMap<Value, i64>| {
            let mut present = map.iter().filter(|(_, count)| **count > 0).map(|(value, _)| value.clone());
            if self.function == AggFunction::Max { present.next_back() } else { present.next() }
        };
        Ok(match &self.column {
            Column::Count(column) => Arc::new(Int64Array::from_iter_values(slots.map(|s| column[s]))),
            Column::Distinct(column) => {
                // Between moments no entry has a count of zero or less: a row goes once, after it came.
                Arc::new(Int64Array::from_iter_values(slots.map(|s| column[s].len() as i64)))
            }
            Column::Integers(column) if self.function == AggFunction::Avg => {
                let average = |(sum, count): (i128, i64)| (count > 0).then(|| sum as f64 / count as f64);
                Arc::new(slots.map(|s| average(column[s])).collect::<Float64Array>())
            }
            // The cast wraps, as DataFusion's sum does.
            Column::Integers(column) if self.output == DataType::UInt64 => {
                let sum = |(sum, count): (i128, i64)| (count > 0).then_some(sum as u64);
                Arc::new(slots.map(|s| sum(column[s])).collect::<UInt64Array>())
            }
            Column::Integers(column) => {
                let sum = |(sum, count): (i128, i64)| (count > 0).then_some(sum as i64);
                Arc::new(slots.map(|s| sum(column[s])).collect::<Int64Array>())
            }
            Column::Floats(column) => {
                let average = self.function == AggFunction::Avg;
                let value = |slot: &FloatSlot| {
                    slot.value().map(|sum| if average { sum / slot.count() as f64 } else { sum })
                };
                Arc::new(slots.map(|s| value(&column[s])).collect::<Float64Array>())
            }
            Column::Running(column) => {
                let values: Vec<_> = slots.map(|s| column[s].value.as_ref()).collect();
                column_of(&values, &self.output)?
            }
            Column::Spread(column) => {
                Arc::new(slots.map(|s| column[s].value(self.function)).collect::<Float64Array>())
            }
            Column::Picked(column) => {
                let last = self.function == AggFunction::Last;
                let values: Vec<_> = slots.map(|s| column[s].value(last)).collect();
                column_of(&values, &self.output)?
            }
            Column::Ordered(column) if !matches!(self.function, AggFunction::Min | AggFunction::Max) => {
                Arc::new(slots.map(|s| rank::value(&column[s], self.function)).collect::<Float64Array>())
            }
            Column::Ordered(column) => {
                let values: Vec<_> = slots.map(|s| extreme(&column[s])).collect();
                column_of(&values.iter().map(Option::as_ref).collect::<Vec<_>>(), &self.output)?
            }
        })
    }

    /// Bytes of state, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.map_bytes
            + match &self.column {
                Column::Count(column) => column.len() * size_of::<i64>(),
                Column::Distinct(column) => column.len() * size_of::<AHashMap<Value, i64>>(),
                Column::Integers(column) => column.len() * size_of::<(i128, i64)>(),
                // A sum's parts are few; the first slot's stand for all.
                Column::Floats(column) => {
                    column.len() * (size_of::<FloatSlot>() + column.first().map_or(0, FloatSlot::heap_bytes))
                }
                Column::Spread(column) => {
                    column.len() * (size_of::<Spread>() + column.first().map_or(0, Spread::heap_bytes))
                }
                Column::Picked(column) => column.len() * (size_of::<Picked>() + 32),
                Column::Running(column) => column.len() * size_of::<Running>(),
                Column::Ordered(column) => column.len() * size_of::<BTreeMap<Value, i64>>(),
            }
    }
}

impl Running {
    fn update(&mut self, value: Value, weight: i64, max: bool) {
        self.count += weight;
        if self.count <= 0 {
            (self.value, self.lost) = (None, false);
        } else if weight > 0 {
            let extreme = |old: &Value| if max { value >= *old } else { value <= *old };
            if self.value.as_ref().is_none_or(extreme) {
                (self.value, self.lost) = (Some(value), false);
            }
        } else if self.value.as_ref() == Some(&value) {
            self.lost = true;
        }
    }
}
