//! DataFusion's expressions behind the trait that views know.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::DataType,
};
use datafusion::{
    common::DFSchema,
    execution::SessionState,
    logical_expr::{Expr, ExprSchemable},
    physical_expr::PhysicalExpr,
};
use nowcast_views::{ExprRef, ViewError};

use crate::failure;

struct Compiled(Arc<dyn PhysicalExpr>);

impl nowcast_views::Expr for Compiled {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef, ViewError> {
        let value = self.0.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        value.map_err(|e| ViewError::Expression(failure::of(&e).message))
    }
}

/// Compiles `expr` over batches of `schema`'s columns (by place, whatever their names).
pub(super) fn compile(state: &SessionState, expr: &Expr, schema: &DFSchema) -> Result<ExprRef, String> {
    let compiled = state.create_physical_expr(expr.clone(), schema);
    compiled.map(|expr| Arc::new(Compiled(expr)) as ExprRef).map_err(|e| failure::of(&e).message)
}

/// The type that `expr` yields.
pub(super) fn type_of(expr: &Expr, schema: &DFSchema) -> Result<DataType, String> {
    expr.get_type(schema).map_err(|e| failure::of(&e).message)
}
