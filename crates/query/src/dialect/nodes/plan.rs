//! Puts nodes of ours in the place of their markers.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, Extension, Limit, LogicalPlan, Projection, lit},
};

use super::{Kind, Node, literal};
use crate::dialect::marker::{FILL, TAIL};

/// The plan with every marker replaced; as it is if there is none.
pub(crate) fn place(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut placed = false;
    let plan = plan.transform_up_with_subqueries(|node| {
        let new = match &node {
            LogicalPlan::Filter(filter) => match call(&filter.predicate, FILL) {
                Some(args) => Some(extension(Kind::Fill, vec![filter.input.as_ref().clone()], args)?),
                None => None,
            },
            LogicalPlan::Limit(limit) => tail(limit)?,
            _ => None,
        };
        Ok(match new {
            Some(new) => {
                placed = true;
                Transformed::yes(new)
            }
            None => Transformed::no(node),
        })
    })?;
    if !placed {
        return Ok(plan.data);
    }
    // A node allows NULLs where its input had none: all above must know.
    let plan =
        plan.data.transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes))?;
    Ok(plan.data)
}

fn extension(kind: Kind, inputs: Vec<LogicalPlan>, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(Node::new(kind, inputs, exprs)?) }))
}

/// The arguments of the marker `name`.
fn call(expr: &Expr, name: &str) -> Option<Vec<Expr>> {
    match expr {
        Expr::ScalarFunction(function) if function.name() == name => Some(function.args.clone()),
        Expr::Alias(alias) => call(&alias.expr, name),
        _ => None,
    }
}

/// `LIMIT _tail(low, high)` over rows in the order's reverse.
fn tail(limit: &Limit) -> Result<Option<LogicalPlan>> {
    let Some(args) = limit.fetch.as_ref().and_then(|fetch| call(fetch, TAIL)) else { return Ok(None) };
    let number = |at: usize| {
        let value = args.get(at).and_then(literal);
        value.and_then(|value| value.to_string().parse::<i64>().ok()).unwrap_or(0)
    };
    let (low, high) = (number(0), number(1));
    let limited = |input: LogicalPlan, skip: i64, fetch: Option<i64>| {
        let some = |number: i64| Some(Box::new(lit(number)));
        let skip = if skip > 0 { some(skip) } else { None };
        LogicalPlan::Limit(Limit { skip, fetch: fetch.and_then(some), input: Arc::new(input) })
    };
    // A projection that drops what only orders stays above: below it the order is known.
    let (projection, input) = match &*limit.input {
        LogicalPlan::Projection(projection) if matches!(&*projection.input, LogicalPlan::Sort(_)) => {
            (Some(projection), projection.input.as_ref().clone())
        }
        input => (None, input.clone()),
    };
    let tail = if low < 0 {
        let fetch = high.saturating_sub(low);
        extension(Kind::Reverse, vec![limited(input, -high, Some(fetch))], Vec::new())?
    } else {
        let reversed = extension(Kind::Reverse, vec![limited(input, -high, None)], Vec::new())?;
        limited(reversed, low, None)
    };
    Ok(Some(match projection {
        Some(projection) => {
            let projection = Projection::try_new(projection.expr.clone(), Arc::new(tail))?;
            LogicalPlan::Projection(projection)
        }
        None => tail,
    }))
}
