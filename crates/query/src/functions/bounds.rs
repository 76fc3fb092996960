//! How much one value, and one column of one batch, may hold.
//!
//! A function makes its whole column before anybody can count it: `repeat('x', 1000000000)` of 8,192 rows would
//! take the machine's memory, and the query's memory pool would hear of it too late. So what makes long values
//! asks here first, with what it is about to make.

use datafusion::{
    common::{
        Result,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::{Expr, LogicalPlan},
};

use crate::{
    error::{SqlCode, SqlError},
    failure::external,
};

/// Bytes of one text value that a function makes.
pub(super) const VALUE_BYTES_MAX: usize = 1 << 20;

/// Bytes of one column of one batch that a function makes.
pub(super) const BATCH_BYTES_MAX: usize = 64 << 20;

/// Values that one node makes for one batch: a batch is not left in its midst, by whomever waits.
const BATCH_VALUES_MAX: usize = 1 << 19;

const _: () = assert!(VALUE_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX < i32::MAX as usize);

/// Refuses a column of `rows` values of up to `bytes_each` bytes.
pub(super) fn check_batch(name: &str, rows: usize, bytes_each: usize) -> Result<()> {
    check_value(name, bytes_each)?;
    check_column(name, rows.saturating_mul(bytes_each))
}

/// Refuses one value of `bytes`.
pub(super) fn check_value(name: &str, bytes: usize) -> Result<()> {
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let message =
        format!("{name}() would make a text of {bytes} bytes, at most {VALUE_BYTES_MAX} are allowed");
    Err(external(SqlError::new(SqlCode::Resources, message).hint("make it shorter"), name))
}

/// Refuses a column of `bytes` in all.
pub(super) fn check_column(name: &str, bytes: usize) -> Result<()> {
    if bytes <= BATCH_BYTES_MAX {
        return Ok(());
    }
    let mib = BATCH_BYTES_MAX >> 20;
    let message =
        format!("{name}() would make {} MiB for one batch of rows, at most {mib} are allowed", bytes >> 20);
    Err(external(SqlError::new(SqlCode::Resources, message).hint("make its texts shorter"), name))
}

/// Makes batches smaller where a long constant would be written beside every row of one, or a row has many values.
pub(crate) fn fit_batches(plan: &LogicalPlan, state: &mut SessionState) -> Result<()> {
    let (mut longest, mut widest) = (0, 0);
    plan.apply_with_subqueries(|node| {
        let mut values = 0;
        let visited = node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Literal(value, _) = expr {
                    longest = longest.max(value.size());
                } else {
                    values += 1;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        });
        widest = widest.max(values).max(node.schema().fields().len());
        visited
    })?;
    let rows = (BATCH_BYTES_MAX / longest.max(1)).min(BATCH_VALUES_MAX / widest.max(1)).max(1);
    if rows < state.config().batch_size() {
        *state.config_mut() = state.config().clone().with_batch_size(rows);
    }
    Ok(())
}
