//! `timestamp_sequence(start, step)` and `timestamp_sequence_ns`: times a step apart, row by row. What a row's
//! place is, the plan says (see [`super::rows`]).

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray},
    compute::cast,
    datatypes::{
        ArrowPrimitiveType, DataType, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
    },
};
use datafusion::{
    common::{Result, exec_datafusion_err, exec_err, plan_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::ScalarFunction,
    },
};

/// The function; and, when the plan has put the rows in, the sum of start and steps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TimestampSequence {
    unit: TimeUnit,
    /// True if the second argument is what all the rows before have stepped.
    pub(super) summed: bool,
    signature: Signature,
}

impl TimestampSequence {
    pub(super) fn udf(unit: TimeUnit) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Volatile);
        Arc::new(ScalarUDF::new_from_impl(TimestampSequence { unit, summed: false, signature }))
    }

    /// The time `before` behind `start`.
    pub(super) fn after(&self, start: Expr, before: Expr) -> Expr {
        let signature = Signature::user_defined(Volatility::Immutable);
        let summed = TimestampSequence { unit: self.unit, summed: true, signature };
        let func = Arc::new(ScalarUDF::new_from_impl(summed));
        Expr::ScalarFunction(ScalarFunction { func, args: vec![start, before] })
    }

    fn add<T: ArrowPrimitiveType<Native = i64>>(
        &self,
        start: &ArrayRef,
        before: &ArrayRef,
    ) -> Result<ArrayRef> {
        let (Some(start), Some(before)) =
            (start.as_primitive_opt::<T>(), before.as_primitive_opt::<Int64Type>())
        else {
            return exec_err!("{}() takes a time and a number", self.name());
        };
        let sum = |at: usize| {
            // The first row has none before.
            let before = if before.is_null(at) { 0 } else { before.value(at) };
            match (start.is_valid(at), start.value(at).checked_add(before)) {
                (false, _) => Ok(None),
                (true, Some(time)) => Ok(Some(time)),
                (true, None) => {
                    Err(exec_datafusion_err!("{}() leaves the times that there are", self.name()))
                }
            }
        };
        Ok(Arc::new((0..start.len()).map(sum).collect::<Result<PrimitiveArray<T>>>()?))
    }
}

/// A step as a number, for a sum.
pub(super) fn as_long(step: Expr) -> Expr {
    datafusion::logical_expr::cast(step, DataType::Int64)
}

impl ScalarUDFImpl for TimestampSequence {
    fn name(&self) -> &str {
        match self.unit {
            TimeUnit::Nanosecond => "timestamp_sequence_ns",
            _ => "timestamp_sequence",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(self.unit, None))
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given.len() {
            2 => Ok(vec![DataType::Timestamp(self.unit, None), DataType::Int64]),
            more => {
                plan_err!("the function '{0}' takes arguments as {0}(start, step), got {more}", self.name())
            }
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [start, before] = &args.args[..] else {
            return exec_err!("{}() takes two arguments", self.name());
        };
        if !self.summed {
            if args.number_rows == 1 {
                return Ok(start.clone());
            }
            return exec_err!("{}() can stand in a SELECT list only", self.name());
        }
        let start = start.clone().into_array(args.number_rows)?;
        let before = cast(&before.clone().into_array(args.number_rows)?, &DataType::Int64)?;
        let times = match self.unit {
            TimeUnit::Nanosecond => self.add::<TimestampNanosecondType>(&start, &before)?,
            _ => self.add::<TimestampMicrosecondType>(&start, &before)?,
        };
        Ok(ColumnarValue::Array(times))
    }
}
