//! A query's parts, as they stand in its plan.

use std::sync::Arc;

use datafusion::logical_expr::{
    Aggregate as GroupNode, Distinct, Expr, FetchType, LogicalPlan, Projection, SkipType, SortExpr,
};

use crate::{dialect::Node, failure};

/// From the root down to what the rows come from.
pub(super) struct Parts<'a> {
    pub(super) limit: Option<usize>,
    /// The projection that drops columns which only order, if there is one.
    pub(super) strip: Option<&'a Projection>,
    pub(super) sort: &'a [SortExpr],
    pub(super) distinct: bool,
    pub(super) projection: &'a Projection,
    pub(super) having: Option<&'a Expr>,
    pub(super) group: Option<&'a GroupNode>,
    /// What the rows come from, filters included.
    pub(super) base: &'a LogicalPlan,
}

/// The plan with a projection under its order and limit, whatever stands there.
pub(super) fn projected(plan: &LogicalPlan) -> Result<LogicalPlan, String> {
    let below = |input: &Arc<LogicalPlan>| Ok::<_, String>(Arc::new(projected(input)?));
    Ok(match plan {
        LogicalPlan::Limit(limit) => {
            let mut limit = limit.clone();
            limit.input = below(&limit.input)?;
            LogicalPlan::Limit(limit)
        }
        LogicalPlan::Sort(sort) => {
            let mut sort = sort.clone();
            sort.input = below(&sort.input)?;
            LogicalPlan::Sort(sort)
        }
        // DISTINCT over groups: the groups are a subquery.
        LogicalPlan::Distinct(Distinct::All(input)) if has_groups(input) => {
            LogicalPlan::Distinct(Distinct::All(Arc::new(all_columns(input)?)))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => LogicalPlan::Distinct(Distinct::All(below(input)?)),
        LogicalPlan::Distinct(Distinct::On(_)) => {
            return Err("the order of DISTINCT ON is not maintained; select from it".to_owned());
        }
        LogicalPlan::Projection(_) => plan.clone(),
        other => all_columns(other)?,
    })
}

/// A projection of all columns.
fn all_columns(input: &LogicalPlan) -> Result<LogicalPlan, String> {
    let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
    let made = Projection::try_new(columns, Arc::new(input.clone()));
    made.map(LogicalPlan::Projection).map_err(|e| failure::of(&e).message)
}

fn has_groups(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_groups(&projection.input),
        LogicalPlan::Filter(filter) => has_groups(&filter.input),
        other => matches!(other, LogicalPlan::Aggregate(_)),
    }
}

pub(super) fn parts(plan: &LogicalPlan) -> Result<Parts<'_>, String> {
    let mut node = plan;
    let mut limit = None;
    if let LogicalPlan::Limit(l) = node {
        match (l.get_skip_type(), l.get_fetch_type()) {
            (Ok(SkipType::Literal(0)), Ok(FetchType::Literal(fetch))) => limit = fetch,
            _ => return Err("OFFSET is not maintained".to_owned()),
        }
        node = &l.input;
    }
    let mut strip = None;
    if let LogicalPlan::Projection(projection) = node
        && matches!(&*projection.input, LogicalPlan::Sort(_))
    {
        strip = Some(projection);
        node = &projection.input;
    }
    let mut sort: &[SortExpr] = &[];
    if let LogicalPlan::Sort(s) = node {
        sort = &s.expr;
        limit = limit.or(s.fetch);
        node = &s.input;
    }
    if limit.is_some() && sort.is_empty() {
        return Err("LIMIT without ORDER BY leaves open which rows are the first".to_owned());
    }
    let mut distinct = false;
    if let LogicalPlan::Distinct(d) = node {
        let Distinct::All(input) = d else { return Err("DISTINCT ON is not maintained".to_owned()) };
        distinct = true;
        node = input;
    }
    let LogicalPlan::Projection(projection) = node else { return Err(refused(node)) };
    node = &projection.input;
    let (mut having, mut group) = (None, None);
    if let LogicalPlan::Filter(filter) = node
        && let LogicalPlan::Aggregate(aggregate) = &*filter.input
    {
        having = Some(&filter.predicate);
        group = Some(aggregate);
        node = &aggregate.input;
    } else if let LogicalPlan::Aggregate(aggregate) = node {
        group = Some(aggregate);
        node = &aggregate.input;
    }
    Ok(Parts { limit, strip, sort, distinct, projection, having, group, base: node })
}

/// Why a node is not maintained.
pub(super) fn refused(node: &LogicalPlan) -> String {
    let what = match node {
        LogicalPlan::Window(_) => "it uses window functions",
        LogicalPlan::Unnest(_) => "it unnests lists",
        LogicalPlan::RecursiveQuery(_) => "it is recursive",
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => "it reads no table",
        LogicalPlan::TableScan(_) => "it reads what is no table",
        LogicalPlan::Distinct(_) => "it takes one row of each key with DISTINCT ON or LATEST ON",
        LogicalPlan::Extension(node) => match node.node.as_any().downcast_ref::<Node>() {
            Some(node) => node.kind.reason(),
            None => "it needs more than one pass over its rows",
        },
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => "a subquery in FROM limits its rows",
        _ => "it has a part of another kind",
    };
    format!("{what}, which is not maintained yet")
}
