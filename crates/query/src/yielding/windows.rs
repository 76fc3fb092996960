//! Aggregates over windows that ask whether they are to end, row by row, and that bound what they make.
//!
//! A window's values are made for all rows of a batch, or of a partition, before anybody can count them:
//! `string_agg(s, ',') OVER (ORDER BY ts)` makes a longer text for each row.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{
        Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, ReversedUDAF, SetMonotonicity,
        Signature, WindowFunctionDefinition,
        expr::WindowFunctionParams,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};

use super::Interrupt;

/// Values of texts and lists up to this are as small as numbers.
const SMALL_BYTES: usize = 256;

/// A streaming window lets go of its values after a batch: those before this many are not counted any more.
const COUNTED_ROWS: usize = 8_192;

/// `plan` with windows that end when `interrupt` says so.
pub(crate) fn windows(
    plan: LogicalPlan,
    interrupt: &Interrupt,
    pool: &Arc<dyn MemoryPool>,
) -> Result<LogicalPlan> {
    let asks = |expr: Expr| {
        expr.transform_up(|expr| {
            let Expr::WindowFunction(mut window) = expr else { return Ok(Transformed::no(expr)) };
            let WindowFunctionDefinition::AggregateUDF(inner) = &window.fun else {
                return Ok(Transformed::no(Expr::WindowFunction(window)));
            };
            let asking =
                Asking { inner: Arc::clone(inner), interrupt: interrupt.clone(), pool: Arc::clone(pool) };
            window.fun =
                WindowFunctionDefinition::AggregateUDF(Arc::new(AggregateUDF::new_from_impl(asking)));
            Ok(Transformed::yes(Expr::WindowFunction(window)))
        })
    };
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(_) => node.map_expressions(asks),
        other => Ok(Transformed::no(other)),
    });
    Ok(plan?.data)
}

#[derive(Debug)]
struct Asking {
    inner: Arc<AggregateUDF>,
    interrupt: Interrupt,
    pool: Arc<dyn MemoryPool>,
}

impl Asking {
    fn around(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        let held = MemoryConsumer::new("window").register(&self.pool);
        Box::new(AskingAccumulator { inner, interrupt: self.interrupt.clone(), held, made: 0 })
    }
}

impl PartialEq for Asking {
    fn eq(&self, other: &Asking) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Asking {}

impl Hash for Asking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl AggregateUDFImpl for Asking {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_schema_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(self.around(self.inner.accumulator(args)?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(self.around(self.inner.create_sliding_accumulator(args)?))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            ReversedUDAF::Reversed(inner) => {
                let (interrupt, pool) = (self.interrupt.clone(), Arc::clone(&self.pool));
                ReversedUDAF::Reversed(Arc::new(AggregateUDF::new_from_impl(Asking {
                    inner,
                    interrupt,
                    pool,
                })))
            }
            other => other,
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}

#[derive(Debug)]
struct AskingAccumulator {
    inner: Box<dyn Accumulator>,
    interrupt: Interrupt,
    /// Bytes of the last [`COUNTED_ROWS`] values, as far as they are long.
    held: MemoryReservation,
    made: usize,
}

impl Accumulator for AskingAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.interrupt.check()?;
        self.inner.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.interrupt.check()?;
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.interrupt.check()?;
        let value = self.inner.evaluate()?;
        self.made += 1;
        if self.made.is_multiple_of(COUNTED_ROWS) {
            self.held.free();
        }
        let bytes = value.size();
        if bytes > SMALL_BYTES {
            self.held.try_grow(bytes)?;
        }
        Ok(value)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }
}
