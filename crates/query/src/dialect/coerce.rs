//! Times beside what is none yet: `ts = '2026-01'`, `ts > 1767225600000000`, `ts + 3600000000`.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::{DFSchema, Result, ScalarValue},
    logical_expr::{
        Expr, ExprSchemable, cast,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};

use super::calendar::iso_range_us;

/// Reads whole numbers beside a TIMESTAMP as microseconds, and dates cut short as their beginning.
#[derive(Debug)]
pub(crate) struct Times;

impl ExprPlanner for Times {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, Minus, NotEq, Plus};
        let compares = matches!(expr.op, Eq | NotEq | Lt | LtEq | Gt | GtEq);
        if !compares && !matches!(expr.op, Plus | Minus) {
            return Ok(PlannerResult::Original(expr));
        }
        let type_of = |expr: &Expr| expr.get_type(schema).unwrap_or(DataType::Null);
        let (left, right) = (type_of(&expr.left), type_of(&expr.right));
        let is_time = |ty: &DataType| {
            matches!(ty, DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, None))
        };
        let (mut left_new, mut right_new) = (None, None);
        if is_time(&left) {
            right_new = beside(&expr.right, &right, compares, &left);
        } else if is_time(&right) && expr.op != Minus {
            left_new = beside(&expr.left, &left, compares, &right);
        }
        if let Some(new) = left_new {
            expr.left = new;
        }
        if let Some(new) = right_new {
            expr.right = new;
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// What stands for `expr` beside a `time`: a whole number is of its precision.
fn beside(expr: &Expr, ty: &DataType, compares: bool, time: &DataType) -> Option<Expr> {
    if ty.is_integer() {
        let long = cast(expr.clone(), DataType::Int64);
        let to = if compares {
            time.clone()
        } else if matches!(time, DataType::Timestamp(TimeUnit::Nanosecond, _)) {
            DataType::Duration(TimeUnit::Nanosecond)
        } else {
            DataType::Duration(TimeUnit::Microsecond)
        };
        return Some(cast(long, to));
    }
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _)
            if compares && text.len() < "2026-01-01T00:00:00".len() =>
        {
            let (start_us, _) = iso_range_us(text)?;
            Some(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(start_us), None), None))
        }
        _ => None,
    }
}
