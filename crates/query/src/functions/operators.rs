//! Operators that are functions here.

use datafusion::{
    common::{DFSchema, Result},
    logical_expr::{
        Expr, ExprSchemable,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
    sql::sqlparser::ast::BinaryOperator,
};

use super::text;

/// `a || b` of texts, which counts what it makes; of lists it stays DataFusion's.
#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_list =
            |side: &Expr| Ok::<_, datafusion::error::DataFusionError>(side.get_type(schema)?.is_list());
        if expr.op != BinaryOperator::StringConcat || is_list(&expr.left)? || is_list(&expr.right)? {
            return Ok(PlannerResult::Original(expr));
        }
        Ok(PlannerResult::Planned(text::joined_expr(expr.left, expr.right)))
    }
}
