//! Puts nodes of ours in the place of their markers.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, ScalarValue, plan_err, tree_node::Transformed},
    logical_expr::{
        Expr, ExprSchemable, Extension, Join, Limit, LogicalPlan, Projection, binary::comparison_coercion,
        cast, lit,
    },
};

use super::{ByTime, Kind, Node, literal};
use crate::dialect::marker::{ASOF, FILL, TAIL};

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
            LogicalPlan::Join(join) => match join.filter.as_ref().and_then(|on| call(on, ASOF)) {
                Some(args) => Some(by_time(join, args)?),
                None => None,
            },
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

/// The join whose condition is `_asof('ASOF', tolerance, times, seqs, keys…)`.
fn by_time(join: &Join, args: Vec<Expr>) -> Result<LogicalPlan> {
    let kind = match args.first().and_then(literal) {
        Some(ScalarValue::Utf8(Some(kind))) if kind == "LT" => ByTime::Lt,
        Some(ScalarValue::Utf8(Some(kind))) if kind == "SPLICE" => ByTime::Splice,
        _ => ByTime::Asof,
    };
    let (left, right) = (join.left.schema(), join.right.schema());
    let mut exprs: Vec<Expr> = args.iter().skip(1).take(5).cloned().collect();
    for pair in args.get(6..).unwrap_or_default().chunks_exact(2) {
        let of =
            |expr: &Expr, schema: &DFSchema| expr.column_refs().into_iter().all(|c| schema.has_column(c));
        let (a, b) = match (of(&pair[0], left), of(&pair[1], right)) {
            (true, true) => (&pair[0], &pair[1]),
            _ if of(&pair[1], left) && of(&pair[0], right) => (&pair[1], &pair[0]),
            _ => return plan_err!("{} = {} does not compare the two sides of the join", pair[0], pair[1]),
        };
        let (a_type, b_type) = (a.get_type(left.as_ref())?, b.get_type(right.as_ref())?);
        let plain = |ty: DataType| match ty {
            DataType::Dictionary(_, value) => *value,
            ty => ty,
        };
        let (a_plain, b_plain) = (plain(a_type.clone()), plain(b_type.clone()));
        let Some(common) = comparison_coercion(&a_plain, &b_plain) else {
            return plan_err!("{a} and {b} have types that do not compare");
        };
        let as_common = |expr: &Expr, ty: &DataType| {
            if *ty == common { expr.clone() } else { cast(expr.clone(), common.clone()) }
        };
        exprs.extend([as_common(a, &a_type), as_common(b, &b_type)]);
    }
    extension(Kind::Join(kind), vec![join.left.as_ref().clone(), join.right.as_ref().clone()], exprs)
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
