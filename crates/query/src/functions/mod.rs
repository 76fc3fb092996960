//! Functions and types that differ from DataFusion's, one file for each family of functions.
//!
//! Most are rows of a table ([`scalar`]). What depends on a row's place is given it by the plan ([`rows`]).
//! What makes long values asks first ([`bounds`]).

mod aggregates;
mod bounded;
mod bounds;
mod math;
mod operators;
mod random;
mod respell;
mod rows;
mod scalar;
mod sequence;
mod steps;
mod text;
mod time;

use std::{hash::Hash, sync::Arc};

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::{
    common::{Result, ScalarValue},
    execution::{FunctionRegistry, SessionState},
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility,
        planner::TypePlanner,
        simplify::{ExprSimplifyResult, SimplifyContext},
    },
    sql::sqlparser::ast,
};

use self::scalar::Scalar;
pub(crate) use self::{
    bounds::fit_batches,
    respell::{day, is_aggregate, respell},
};
use crate::parse::type_of;

/// Adds the functions to those that DataFusion has, or puts them in their place.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    state.register_udtf(sequence::NAME, Arc::new(sequence::LongSequence));
    for name in ["generate_series", "range"] {
        if let Some(inner) = state.table_functions().get(name).cloned() {
            state.register_udtf(name, Arc::new(sequence::Series { inner }));
        }
    }
    for unit in [TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        state.register_udf(steps::TimestampSequence::udf(unit))?;
    }
    bounded::guard(state)?;
    for function in [time::functions(), math::functions(), text::functions()].into_iter().flatten() {
        state.register_udf(Arc::new(function))?;
    }
    for function in aggregates::functions() {
        state.register_udaf(Arc::new(function))?;
    }
    state.register_expr_planner(Arc::new(operators::Operators))?;
    for kind in random::Kind::ALL {
        state.register_udf(random::Random::counted(kind))?;
    }
    Ok(())
}

/// What functions need of a plan before it is analysed. A `live` plan keeps its calls of chance, to be refused.
pub(crate) fn prepare(plan: LogicalPlan, state: &mut SessionState, live: bool) -> Result<LogicalPlan> {
    let plan = aggregates::ordered::order(plan)?;
    if live { Ok(plan) } else { rows::number(plan, state) }
}

/// The parameters among the arguments of a call, with the types that it takes there.
pub(crate) fn argument_types(expr: &Expr) -> Vec<(&str, DataType)> {
    use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction};
    fn typed<'a>(args: &'a [Expr], ty: &dyn Fn(usize) -> Option<DataType>) -> Vec<(&'a str, DataType)> {
        let args = args.iter().enumerate();
        args.filter_map(|(at, arg)| Some((parameter(arg)?, ty(at)?))).collect()
    }
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => match func.inner().downcast_ref::<Scalar>() {
            Some(own) => typed(args, &|at| own.argument_type(at)),
            None => typed(args, &|at| known_type(func.name(), at)),
        },
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            typed(&params.args, &|at| known_type(func.name(), at))
        }
        Expr::WindowFunction(window) => {
            let WindowFunction { fun, params } = &**window;
            typed(&params.args, &|at| known_type(fun.name(), at))
        }
        _ => Vec::new(),
    }
}

/// The parameter that an argument is, behind a sign.
fn parameter(arg: &Expr) -> Option<&str> {
    match arg {
        Expr::Placeholder(placeholder) => Some(&placeholder.id),
        Expr::Negative(inner) => parameter(inner),
        _ => None,
    }
}

/// Arguments that are numbers, of functions that are not in a table here.
fn known_type(name: &str, at: usize) -> Option<DataType> {
    match (name, at) {
        ("lag" | "lead" | "nth_value" | "left" | "right" | "repeat" | "lpad" | "rpad" | "split_part", 1)
        | ("ntile", 0)
        | ("substr", 1 | 2) => Some(DataType::Int64),
        ("approx_percentile_cont" | "percentile_cont", 1) => Some(DataType::Float64),
        ("rnd_int" | "rnd_long" | "rnd_short" | "rnd_byte", _) => Some(DataType::Int64),
        _ => None,
    }
}

/// The name that every spelling of the present is rewritten to.
pub(crate) const NOW: &str = "now";

/// `now()`: the statement's present, a `TIMESTAMP` like the columns it is compared with. DataFusion's own has
/// nanoseconds and a zone, and would cast the column.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Now {
    now_us: i64,
    /// True if the planner may put the value in its place; a live plan wants to see `now()`.
    fold: bool,
    signature: Signature,
}

impl Now {
    pub(crate) fn udf(now_us: i64, fold: bool) -> Arc<ScalarUDF> {
        let signature = Signature::nullary(Volatility::Stable);
        Arc::new(ScalarUDF::new_from_impl(Now { now_us, fold, signature }))
    }

    fn value(&self) -> ScalarValue {
        ScalarValue::TimestampMicrosecond(Some(self.now_us), None)
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        NOW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value()))
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(if self.fold {
            ExprSimplifyResult::Simplified(Expr::Literal(self.value(), None))
        } else {
            ExprSimplifyResult::Original(args)
        })
    }
}

/// Types in SQL (`CAST(x AS LONG)`, `x::timestamptz`): times are microseconds without zone.
#[derive(Debug)]
pub(crate) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            ast::DataType::Timestamp(precision, _) if precision.is_none_or(|p| p <= 6) => {
                Some(DataType::Timestamp(TimeUnit::Microsecond, None))
            }
            ast::DataType::Text | ast::DataType::Uuid | ast::DataType::JSON | ast::DataType::JSONB => {
                Some(DataType::Utf8)
            }
            ast::DataType::Custom(name, _) => {
                let upper = name.to_string().to_ascii_uppercase();
                match upper.as_str() {
                    // A result's text need not be a dictionary.
                    "SYMBOL" => Some(DataType::Utf8),
                    name => type_of(name).map(nowcast_model::ColumnType::arrow),
                }
            }
            _ => None,
        };
        Ok(data_type.map(|data_type| Arc::new(Field::new("", data_type, true)) as FieldRef))
    }
}
