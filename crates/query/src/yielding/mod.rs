//! Queries that let others run, and end when they are told to.
//!
//! Scans yield by themselves and ask [`Interrupt`] ([`leaves`]), so that a query can be ended between two of their
//! batches. Two things do not come back to a scan for a long time, and hold their thread meanwhile:
//!
//! - A join makes millions of rows out of two batches. It gets a place to yield above it, for the rows that it makes;
//!   and what it looks at pairs with asks [`Interrupt`], for the pairs of which it makes none.
//! - A window function goes over its frame again for each row. Its accumulators ask, too ([`windows`]).
//!
//! So do the rules that a plan goes through before ([`rules`]).

mod checked;
mod interrupt;
mod leaves;
mod rules;
mod windows;

use std::sync::Arc;

use datafusion::{
    common::{
        JoinType, Result,
        tree_node::{Transformed, TreeNode},
    },
    physical_plan::{
        ExecutionPlan,
        coop::CooperativeExec,
        joins::{
            CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
        },
        unnest::UnnestExec,
    },
};

pub(crate) use self::interrupt::EndOnDrop;
pub use self::interrupt::Interrupt;
pub(crate) use self::{
    rules::{PLANNING, analyzer_rules, optimizer_rules, physical_rules},
    windows::windows,
};

/// `plan` with a place to yield above each node that makes more rows than it takes, and with joins that end when
/// `interrupt` says so.
pub(crate) fn yielding(
    plan: Arc<dyn ExecutionPlan>,
    interrupt: &Interrupt,
) -> Result<Arc<dyn ExecutionPlan>> {
    let visited = plan.transform_up(|plan| {
        let plan = interruptible(plan, interrupt)?;
        if plan.children().is_empty() {
            return Ok(Transformed::yes(Arc::new(leaves::AskingExec::new(plan, interrupt.clone())) as _));
        }
        let multiplies = plan.is::<CrossJoinExec>()
            || plan.is::<NestedLoopJoinExec>()
            || plan.is::<HashJoinExec>()
            || plan.is::<SortMergeJoinExec>()
            || plan.is::<UnnestExec>();
        Ok(match multiplies {
            true => Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>),
            false => Transformed::no(plan),
        })
    });
    Ok(visited?.data)
}

fn interruptible(plan: Arc<dyn ExecutionPlan>, interrupt: &Interrupt) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        let filter = checked::filter(join.filter(), interrupt);
        return Ok(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(Some(filter)).build()?));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        // The others make a row of each pair, or look at their filter for it.
        let silent =
            !matches!(join.join_type(), JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
        if silent || join.filter().is_some() {
            let filter = checked::filter(join.filter(), interrupt);
            return join.builder().with_filter(Some(filter)).build_exec();
        }
    }
    Ok(plan)
}
