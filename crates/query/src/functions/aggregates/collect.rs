//! Aggregates that need all their rows at once: the time-weighted average, the most frequent value, the way that
//! was gone. They hold their arguments' columns, which the query's memory pays for.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, new_empty_array},
    compute::concat,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{Result, ScalarValue, internal_err, plan_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

use crate::functions::scalar::{Output, Param};

/// An aggregate that is a function of whole columns.
#[derive(Debug)]
pub(super) struct Collect {
    name: &'static str,
    params: &'static [Param],
    output: Output,
    finish: fn(&[ArrayRef]) -> Result<ScalarValue>,
    signature: Signature,
}

impl Collect {
    pub(super) fn udaf(
        name: &'static str,
        params: &'static [Param],
        output: Output,
        finish: fn(&[ArrayRef]) -> Result<ScalarValue>,
    ) -> AggregateUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::new_from_impl(Collect { name, params, output, finish, signature })
    }
}

impl PartialEq for Collect {
    fn eq(&self, other: &Collect) -> bool {
        self.name == other.name
    }
}

impl Eq for Collect {}

impl Hash for Collect {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for Collect {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.output.of(self.name, args)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.len() != self.params.len() {
            let wanted = self.params.len();
            return plan_err!("the function '{}' takes {wanted} arguments, got {}", self.name, given.len());
        }
        given.iter().zip(self.params).map(|(given, param)| param.arrow(given)).collect()
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |(at, given): (usize, &FieldRef)| {
            let item = Arc::new(Field::new_list_field(given.data_type().clone(), true));
            Arc::new(Field::new(format!("{}[{at}]", args.name), DataType::List(item), true))
        };
        Ok(args.input_fields.iter().enumerate().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let types: Vec<DataType> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        let batches = vec![Vec::new(); types.len()];
        Ok(Box::new(Collected {
            types,
            batches,
            output: args.return_field.data_type().clone(),
            finish: self.finish,
        }))
    }
}

#[derive(Debug)]
struct Collected {
    types: Vec<DataType>,
    /// For each argument, what came of it.
    batches: Vec<Vec<ArrayRef>>,
    output: DataType,
    finish: fn(&[ArrayRef]) -> Result<ScalarValue>,
}

impl Collected {
    fn columns(&self) -> Result<Vec<ArrayRef>> {
        let column = |(ty, arrays): (&DataType, &Vec<ArrayRef>)| match &arrays[..] {
            [] => Ok(new_empty_array(ty)),
            arrays => Ok(concat(&arrays.iter().map(AsRef::as_ref).collect::<Vec<_>>())?),
        };
        self.types.iter().zip(&self.batches).map(column).collect()
    }
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for (arrays, values) in self.batches.iter_mut().zip(values) {
            // A copy: a slice would hold the batch of all groups.
            arrays.push(concat(&[values.as_ref()])?);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let columns = self.columns()?;
        if columns.first().is_none_or(|column| column.is_empty()) {
            return ScalarValue::try_from(&self.output);
        }
        (self.finish)(&columns)
    }

    fn size(&self) -> usize {
        let arrays = self.batches.iter().flatten();
        size_of_val(self) + arrays.map(|array| array.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |column: ArrayRef| {
            let item = Arc::new(Field::new_list_field(column.data_type().clone(), true));
            let offsets = arrow::buffer::OffsetBuffer::from_lengths([column.len()]);
            Ok(ScalarValue::List(Arc::new(arrow::array::ListArray::try_new(item, offsets, column, None)?)))
        };
        self.columns()?.into_iter().map(list).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (arrays, lists) in self.batches.iter_mut().zip(states) {
            let Some(lists) = lists.as_list_opt::<i32>() else {
                return internal_err!("a state is {}", lists.data_type());
            };
            arrays.extend(lists.iter().flatten());
        }
        Ok(())
    }
}
