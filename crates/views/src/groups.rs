//! Rows grouped by keys: a slot for each group, and a column of state for each aggregate.
//!
//! A group has a slot as long as it has rows or as panes of a window hold rows of it, so that rows can be kept
//! as slot numbers and arguments. It is shown as long as it has rows; without keys there is one group, which
//! always is. Slots that changed are `dirty`; a moment computes their results together.

use std::sync::Arc;

use ahash::AHashMap;
use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, UInt32Array},
    compute::{SortOptions, kernels::nullif::nullif, not, prep_null_mask_filter, take},
    datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type},
    row::{RowConverter, SortField},
};

use crate::{
    AggFunction, Aggregate, ExprRef, OrderBy, Row, ViewError,
    aggregate::{AggregateState, Signs},
    cells::{column_of, is_supported, rows_of},
    keys,
    top::Top,
    view::evaluate,
};

/// What became of a group: the row that was shown, and the row that is.
pub(crate) type Turn = (Option<Row>, Option<Row>);

/// An argument, shared by the aggregates that take it.
struct Argument {
    expr: Option<ExprRef>,
    filter: Option<ExprRef>,
    /// Makes bytes of what first and last go by; `None` for any other argument.
    order: Option<Order>,
}

struct Order {
    by: Vec<OrderBy>,
    converter: RowConverter,
}

impl Order {
    fn new(by: &[OrderBy], empty: &RecordBatch) -> Result<Order, ViewError> {
        let field = |by: &OrderBy| {
            let ty = evaluate(&by.expr, empty)?.data_type().clone();
            let options = SortOptions { descending: by.descending, nulls_first: by.nulls_first };
            Ok(SortField::new_with_options(ty, options))
        };
        let fields = by.iter().map(field).collect::<Result<Vec<_>, ViewError>>()?;
        Ok(Order { by: by.to_vec(), converter: RowConverter::new(fields)? })
    }

    /// Bytes that compare as the rows do.
    fn eval(&self, input: &RecordBatch) -> Result<ArrayRef, ViewError> {
        let columns = self.by.iter().map(|by| evaluate(&by.expr, input)).collect::<Result<Vec<_>, _>>()?;
        let rows = self.converter.convert_columns(&columns)?;
        Ok(Arc::new(BinaryArray::from_iter_values(rows.iter())))
    }
}

#[derive(Default)]
struct Slot {
    key: Option<Row>,
    /// Rows of the group.
    rows: i64,
    /// Rows of it in panes.
    held: u64,
    dirty: bool,
    shown: Option<Row>,
}

/// The state of a grouped view. See the module's story.
pub(crate) struct Groups {
    keys: Vec<ExprRef>,
    arguments: Vec<Argument>,
    aggregates: Vec<AggregateState>,
    having: Option<ExprRef>,
    project: Vec<ExprRef>,
    /// Keys, then results of aggregates: what `having` and `project` see.
    results: SchemaRef,
    index: AHashMap<Row, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    dirty: Vec<u32>,
    lost: bool,
}

impl Groups {
    /// `empty` is an input batch without rows; `retracts` says that rows may go.
    pub(crate) fn new(
        keys: &[ExprRef],
        aggregates: &[Aggregate],
        project: &[ExprRef],
        having: Option<&ExprRef>,
        empty: &RecordBatch,
        retracts: bool,
    ) -> Result<Groups, ViewError> {
        let mut fields = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let ty = evaluate(key, empty)?.data_type().clone();
            if !is_supported(&ty) {
                return Err(ViewError::Plan(format!("groups cannot be kept by {ty}")));
            }
            fields.push(Field::new(format!("key{index}"), ty, true));
        }
        let mut arguments: Vec<Argument> = Vec::new();
        let mut states = Vec::new();
        for (index, aggregate) in aggregates.iter().enumerate() {
            let argument = match (&aggregate.arg, &aggregate.filter) {
                (None, None) => None,
                (expr, filter) => {
                    let picks = matches!(aggregate.function, AggFunction::First | AggFunction::Last);
                    let filter = filter.clone().filter(|_| !picks);
                    let argument = Argument { expr: expr.clone(), filter, order: None };
                    let ty = argument.eval(empty)?.data_type().clone();
                    let known = arguments.iter().position(|known| known.is(&argument));
                    let position = known.unwrap_or_else(|| {
                        arguments.push(argument);
                        arguments.len() - 1
                    });
                    Some((position, ty))
                }
            };
            if aggregate.arg.is_none() && aggregate.function != AggFunction::Count {
                return Err(ViewError::Plan(format!("{} needs an argument", aggregate.function)));
            }
            let argument = argument.as_ref().map(|(position, ty)| (*position, ty));
            let mut state = AggregateState::new(aggregate.function, argument, retracts)?;
            if matches!(aggregate.function, AggFunction::First | AggFunction::Last) {
                if aggregate.order.is_empty() {
                    return Err(ViewError::Plan(format!("{} has no order", aggregate.function)));
                }
                let order = Some(Order::new(&aggregate.order, empty)?);
                let argument = Argument { expr: None, filter: aggregate.filter.clone(), order };
                argument.eval(empty)?;
                arguments.push(argument);
                state.order = Some(arguments.len() - 1);
            }
            fields.push(Field::new(format!("agg{index}"), state.output.clone(), true));
            states.push(state);
        }
        let mut groups = Groups {
            keys: keys.to_vec(),
            arguments,
            aggregates: states,
            having: having.cloned(),
            project: project.to_vec(),
            results: Arc::new(Schema::new(fields)),
            index: AHashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            dirty: Vec::new(),
            lost: false,
        };
        if keys.is_empty() {
            let slot = groups.slot(Row::from([]));
            groups.touch(slot);
        }
        // Finds out now whether the projection fits.
        groups.output(&[])?;
        Ok(groups)
    }

    /// Slot numbers, then arguments, of input rows.
    pub(crate) fn prepare(&mut self, input: &RecordBatch) -> Result<Vec<ArrayRef>, ViewError> {
        let rows = input.num_rows();
        let mut columns = Vec::with_capacity(1 + self.arguments.len());
        let slots = if self.keys.is_empty() {
            vec![0; rows]
        } else {
            let keys: Vec<_> = self.keys.iter().map(|key| evaluate(key, input)).collect::<Result<_, _>>()?;
            let local = keys::number(&keys, rows)?;
            let first = UInt32Array::from(local.first);
            let distinct: Vec<_> = keys.iter().map(|k| take(k, &first, None)).collect::<Result<_, _>>()?;
            let rows = rows_of(&distinct, first.len())?;
            let slots: Vec<u32> = rows.into_iter().map(|key| self.slot(key)).collect();
            local.ids.iter().map(|&id| slots[id as usize]).collect()
        };
        columns.push(Arc::new(UInt32Array::from(slots)) as ArrayRef);
        for argument in &self.arguments {
            columns.push(argument.eval(input)?);
        }
        Ok(columns)
    }

    /// Adds prepared rows to their groups.
    pub(crate) fn apply(&mut self, columns: &[ArrayRef], signs: Signs<'_>) -> Result<(), ViewError> {
        let slots = columns[0].as_primitive::<UInt32Type>().values();
        for (row, &slot) in slots.iter().enumerate() {
            self.slots[slot as usize].rows += signs.get(row);
            self.touch(slot);
        }
        for aggregate in &mut self.aggregates {
            let argument = aggregate.arg.map(|index| &columns[1 + index]);
            let order = aggregate.order.map(|index| &columns[1 + index]);
            aggregate.update(slots, argument, order, signs)?;
        }
        Ok(())
    }

    /// Keeps the slots of prepared rows for as long as they are in panes.
    pub(crate) fn hold(&mut self, columns: &[ArrayRef]) {
        for &slot in columns[0].as_primitive::<UInt32Type>().values() {
            self.slots[slot as usize].held += 1;
        }
    }

    /// The opposite of [`Groups::hold`].
    pub(crate) fn release(&mut self, columns: &[ArrayRef]) {
        for &slot in columns[0].as_primitive::<UInt32Type>().values() {
            self.slots[slot as usize].held -= 1;
            self.touch(slot);
        }
    }

    /// What changed since the last call; nothing once it [is lost](Groups::is_lost).
    pub(crate) fn collect(&mut self) -> Result<Vec<Turn>, ViewError> {
        let dirty = std::mem::take(&mut self.dirty);
        let present = |slot: &Slot| slot.rows > 0 || self.keys.is_empty();
        let (full, empty): (Vec<u32>, Vec<u32>) =
            dirty.iter().copied().partition(|&slot| present(&self.slots[slot as usize]));
        self.lost |= full.iter().any(|&slot| self.aggregates.iter().any(|a| a.lost(slot as usize)));
        if self.lost {
            return Ok(Vec::new());
        }
        let rows = self.output(&full)?;
        let mut turns = Vec::new();
        for (&slot, row) in full.iter().zip(rows) {
            turns.extend(self.show(slot, row));
        }
        for slot in empty {
            turns.extend(self.show(slot, None));
            if self.slots[slot as usize].held == 0 {
                self.forget(slot);
            }
        }
        for slot in dirty {
            self.slots[slot as usize].dirty = false;
        }
        Ok(turns)
    }

    /// The rows that are shown.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Row> {
        self.slots.iter().filter_map(|slot| slot.shown.as_ref())
    }

    /// What the projection sees: the keys, then the results of aggregates.
    pub(crate) fn results(&self) -> &SchemaRef {
        &self.results
    }

    /// True if a group's extreme went and the next one is not known.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Bytes of state, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        let group = size_of::<Slot>() + 32 + self.keys.len() * (size_of::<nowcast_model::Value>() + 16);
        self.aggregates.iter().map(AggregateState::bytes).sum::<usize>()
            + self.slots.len() * group
            + Top::bytes_of(self.project.len(), self.index.len())
    }

    fn slot(&mut self, key: Row) -> u32 {
        if let Some(&slot) = self.index.get(&key) {
            return slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.aggregates.iter_mut().for_each(|aggregate| aggregate.grow(self.slots.len()));
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize].key = Some(Arc::clone(&key));
        self.index.insert(key, slot);
        slot
    }

    fn forget(&mut self, slot: u32) {
        let forgotten = std::mem::take(&mut self.slots[slot as usize]);
        if let Some(key) = forgotten.key {
            self.index.remove(&key);
        }
        self.aggregates.iter_mut().for_each(|aggregate| aggregate.reset(slot as usize));
        self.free.push(slot);
    }

    fn touch(&mut self, slot: u32) {
        let touched = &mut self.slots[slot as usize];
        if !touched.dirty {
            touched.dirty = true;
            self.dirty.push(slot);
        }
    }

    fn show(&mut self, slot: u32, row: Option<Row>) -> Option<Turn> {
        let shown = &mut self.slots[slot as usize].shown;
        if *shown == row {
            return None;
        }
        Some((std::mem::replace(shown, row.clone()), row))
    }

    /// The output rows of some slots; `None` where `having` is not true.
    fn output(&self, slots: &[u32]) -> Result<Vec<Option<Row>>, ViewError> {
        let mut columns = Vec::with_capacity(self.results.fields().len());
        for (column, field) in self.results.fields().iter().enumerate().take(self.keys.len()) {
            let keys = slots.iter().map(|&slot| self.slots[slot as usize].key.as_ref().map(|k| &k[column]));
            columns.push(column_of(&keys.collect::<Vec<_>>(), field.data_type())?);
        }
        for aggregate in &self.aggregates {
            columns.push(aggregate.results(slots)?);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(slots.len()));
        let results = RecordBatch::try_new_with_options(Arc::clone(&self.results), columns, &options)?;
        let having = self.having.as_ref().map(|having| evaluate_mask(having, &results)).transpose()?;
        // Rows that `having` drops are not projected: the projection may not be defined for them.
        let kept = match &having {
            Some(mask) => arrow::compute::filter_record_batch(&results, mask)?,
            None => results,
        };
        let output: Vec<_> = self.project.iter().map(|p| evaluate(p, &kept)).collect::<Result<_, _>>()?;
        let mut rows = rows_of(&output, kept.num_rows())?.into_iter();
        let shown = |index: usize| having.as_ref().is_none_or(|mask| mask.value(index));
        Ok((0..slots.len()).map(|index| if shown(index) { rows.next() } else { None }).collect())
    }
}

/// Evaluates a condition; NULL is false.
pub(crate) fn evaluate_mask(expr: &ExprRef, input: &RecordBatch) -> Result<BooleanArray, ViewError> {
    let mask = evaluate(expr, input)?;
    if *mask.data_type() != DataType::Boolean {
        return Err(ViewError::Plan(format!("a condition yields {}", mask.data_type())));
    }
    let mask = mask.as_boolean();
    Ok(if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() })
}

impl Argument {
    /// The argument, NULL where the filter is not true.
    fn eval(&self, input: &RecordBatch) -> Result<ArrayRef, ViewError> {
        let value = match (&self.order, &self.expr) {
            (Some(order), _) => Some(order.eval(input)?),
            (None, Some(expr)) => Some(evaluate(expr, input)?),
            (None, None) => None,
        };
        let filter = self.filter.as_ref().map(|filter| evaluate_mask(filter, input)).transpose()?;
        let Some(filter) = filter else {
            return value.ok_or_else(|| ViewError::Plan("an argument without an expression".into()));
        };
        let rejected = not(&filter)?;
        match value {
            Some(value) => Ok(nullif(&value, &rejected)?),
            None => Ok(nullif(&filter, &rejected)?),
        }
    }

    fn is(&self, other: &Argument) -> bool {
        let same = |a: &Option<ExprRef>, b: &Option<ExprRef>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        let plain = self.order.is_none() && other.order.is_none();
        plain && same(&self.expr, &other.expr) && same(&self.filter, &other.filter)
    }
}
