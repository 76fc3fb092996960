//! Aggregates over numbers whose state is a few numbers: for each group a row of a flat vector.

use std::{mem::size_of_val, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array},
    datatypes::{DataType, Field, FieldRef, Float64Type},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

/// Numbers of a state, and arguments, at most.
const WIDTH_MAX: usize = 4;

/// How an aggregate goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps {
    pub(super) name: &'static str,
    pub(super) args: usize,
    /// Numbers of a state; all begin as 0.
    pub(super) width: usize,
    /// Takes the arguments of a row; a row with a NULL is left out before.
    pub(super) step: fn(&mut [f64], &[f64]),
    pub(super) merge: fn(&mut [f64], &[f64]),
    pub(super) finish: fn(&[f64]) -> Option<f64>,
}

/// One such aggregate as DataFusion knows it.
#[derive(Debug)]
pub(super) struct Fold {
    steps: &'static Steps,
    signature: Signature,
    aliases: Vec<String>,
}

impl Fold {
    pub(super) fn udaf(steps: &'static Steps, aliases: &[&str]) -> AggregateUDF {
        debug_assert!(steps.args <= WIDTH_MAX && steps.width <= WIDTH_MAX);
        let signature = Signature::exact(vec![DataType::Float64; steps.args], Volatility::Immutable);
        let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
        AggregateUDF::new_from_impl(Fold { steps, signature, aliases })
    }
}

impl PartialEq for Fold {
    fn eq(&self, other: &Fold) -> bool {
        self.steps.name == other.steps.name
    }
}

impl Eq for Fold {}

impl std::hash::Hash for Fold {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.steps.name.hash(state);
    }
}

impl AggregateUDFImpl for Fold {
    fn name(&self) -> &str {
        self.steps.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |at: usize| Arc::new(Field::new(format!("{}[{at}]", args.name), DataType::Float64, true));
        Ok((0..self.steps.width).map(field).collect())
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One { steps: self.steps, state: [0.0; WIDTH_MAX] }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many { steps: self.steps, states: Vec::new() }))
    }
}

fn numbers(values: &[ArrayRef]) -> Result<Vec<&Float64Array>> {
    values
        .iter()
        .map(|array| match array.as_primitive_opt::<Float64Type>() {
            Some(numbers) => Ok(numbers),
            None => internal_err!("a number is {}", array.data_type()),
        })
        .collect()
}

/// Hands over the rows that have all their arguments.
fn rows(values: &[ArrayRef], mut take: impl FnMut(usize, &[f64])) -> Result<()> {
    let columns = numbers(values)?;
    let Some(first) = columns.first() else { return Ok(()) };
    let whole = columns.iter().all(|column| column.null_count() == 0);
    let mut args = [0.0; WIDTH_MAX];
    for row in 0..first.len() {
        if whole || columns.iter().all(|column| column.is_valid(row)) {
            columns.iter().zip(&mut args).for_each(|(column, arg)| *arg = column.value(row));
            take(row, &args[..columns.len()]);
        }
    }
    Ok(())
}

#[derive(Debug)]
struct One {
    steps: &'static Steps,
    state: [f64; WIDTH_MAX],
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let state = &mut self.state[..self.steps.width];
        rows(values, |_, args| (self.steps.step)(state, args))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64((self.steps.finish)(&self.state[..self.steps.width])))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.state[..self.steps.width].iter().map(|&number| ScalarValue::Float64(Some(number))).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let state = &mut self.state[..self.steps.width];
        rows(states, |_, other| (self.steps.merge)(state, other))
    }
}

/// The states of all groups, one behind the other.
struct Many {
    steps: &'static Steps,
    states: Vec<f64>,
}

impl Many {
    fn take(&mut self, emit_to: EmitTo) -> Vec<f64> {
        match emit_to {
            EmitTo::All => std::mem::take(&mut self.states),
            EmitTo::First(groups) => {
                let rest = self.states.split_off(groups * self.steps.width);
                std::mem::replace(&mut self.states, rest)
            }
        }
    }

    fn columns(&self, states: &[f64]) -> Vec<ArrayRef> {
        let width = self.steps.width;
        let column = |at: usize| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(states.iter().skip(at).step_by(width).copied()))
        };
        (0..width).map(column).collect()
    }

    fn each(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
        take: fn(&mut [f64], &[f64]),
    ) -> Result<()> {
        let width = self.steps.width;
        self.states.resize(total * width, 0.0);
        rows(values, |row, args| {
            if filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)) {
                let at = groups[row] * width;
                take(&mut self.states[at..at + width], args);
            }
        })
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.each(values, groups, filter, total, self.steps.step)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let states = self.take(emit_to);
        let values = states.chunks(self.steps.width).map(|state| (self.steps.finish)(state));
        Ok(Arc::new(values.collect::<Float64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let states = self.take(emit_to);
        Ok(self.columns(&states))
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.each(states, groups, None, total, self.steps.merge)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let count = values.first().map_or(0, Array::len);
        let groups: Vec<usize> = (0..count).collect();
        let mut each = Many { steps: self.steps, states: Vec::new() };
        each.update_batch(values, &groups, filter, count)?;
        GroupsAccumulator::state(&mut each, EmitTo::All)
    }

    fn size(&self) -> usize {
        self.states.capacity() * size_of::<f64>()
    }
}
