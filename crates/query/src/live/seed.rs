//! A view's rows out of a snapshot.

use std::sync::Arc;

use datafusion::{
    common::Column,
    datasource::provider_as_source,
    logical_expr::{Expr, LogicalPlanBuilder, lit},
    scalar::ScalarValue,
};
use futures::TryStreamExt;
use nowcast_model::{Tick, name_key};
use nowcast_views::{View, ViewError, ViewLimits, ViewPlan, Window};

use crate::{
    context::QueryContext,
    engine::QueryEngine,
    error::{SqlCode, SqlError},
    failure,
    table::{Shape, SnapshotTable},
};

/// Fills a view from the snapshot.
pub(super) async fn seed(
    engine: &QueryEngine,
    ctx: &QueryContext,
    plan: &Arc<ViewPlan>,
    tick: Tick,
    limits: &ViewLimits,
    mut progress: impl FnMut(u64) + Send,
) -> Result<View, ViewError> {
    let failed = |e: SqlError| ViewError::Evaluation(e.to_string());
    let mut view = View::new(plan.clone(), limits)?;
    view.tick(tick)?;
    let state = engine.session(tick.us(), true);
    let mut rows = 0;
    // From the right: what a join looks up is there when the rows that look come.
    for (number, (leaf, flow)) in plan.flow.leaves().into_iter().enumerate().rev() {
        let Some(table) = ctx.snapshot.table(&leaf.table) else {
            let message = format!("the table {} was dropped", leaf.table);
            return Err(failed(SqlError::new(SqlCode::UndefinedTable, message)));
        };
        // The table may have lost other columns since, and renamed these.
        let wanted = leaf
            .places_in(&flow.input, &table.schema)
            .map_err(|error| failed(SqlError::new(SqlCode::UndefinedColumn, error.to_string())))?;
        let time_of = |column: usize| table.schema.columns[wanted[column]].name.clone();
        let provider = Arc::new(SnapshotTable::new(table.clone(), Shape { folded: true, seq: true }));
        let scan = async {
            let mut scan = LogicalPlanBuilder::scan("t", provider_as_source(provider), Some(wanted.clone()))?;
            if let Some(Window { column, lower: Some(lower), .. }) = flow.window {
                // Rows that are past the range never come back; those ahead of it wait inside the view.
                let name = name_key(&time_of(column));
                let from_us = tick.us().saturating_add(lower.offset_us);
                let from = lit(ScalarValue::TimestampMicrosecond(Some(from_us), None));
                scan = scan.filter(Expr::Column(Column::new(Some("t"), name)).gt_eq(from))?;
            }
            let physical = state.create_physical_plan(&scan.build()?).await?;
            datafusion::physical_plan::execute_stream(physical, state.task_ctx())
        };
        let mut stream = scan.await.map_err(|e| failed(failure::of(&e)))?;
        while let Some(batch) = stream.try_next().await.map_err(|e| failed(failure::of(&e)))? {
            let batch = arrow::array::RecordBatch::try_new(flow.input.clone(), batch.columns().to_vec())?;
            view.seed(number, &batch)?;
            rows += batch.num_rows() as u64;
            progress(rows);
        }
    }
    Ok(view)
}
