//! How large a plan is, before the optimizer sees it.
//!
//! The optimizer goes over a plan dozens of times, and a short text can name a plan without end: each of forty CTEs
//! that reads the one before it twice doubles it, and CUBE makes a power set of its keys.

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::{Expr, LogicalPlan},
    sql::sqlparser::ast::{self, GroupByExpr, Query, SetExpr, Visit, Visitor},
};

use crate::{
    error::{SqlCode, SqlError},
    failure,
    text::Text,
};

/// Refuses a plan that is larger than `max`: nodes, the columns of each, and what its expressions are made of.
/// Constants do not count: there may be many of them in a list, and nobody goes over them again and again.
pub(crate) fn check(plan: &LogicalPlan, max: usize, text: &Text) -> Result<(), SqlError> {
    let mut size = 0_usize;
    let visited = plan.apply_with_subqueries(|node| {
        size += 1;
        if !matches!(node, LogicalPlan::Values(_)) {
            size += node.schema().fields().len();
            node.apply_expressions(|expr| {
                expr.apply(|expr| {
                    size += usize::from(!matches!(expr, Expr::Literal(..)));
                    Ok(if size > max { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
                })
            })?;
        }
        Ok(if size > max { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.map_err(|e| failure::of(&e))?;
    match size > max {
        true => Err(too_large("the query's plan", max, text)),
        false => Ok(()),
    }
}

/// Refuses what is written out while a plan is made: grouping sets with more than `max` keys together, and CTEs that
/// read more than `max` relations through each other.
pub(crate) fn check_written_out(query: &Query, max: usize, text: &Text) -> Result<(), SqlError> {
    match query.visit(&mut WrittenOut { max, ctes: HashMap::new() }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(too_large(what, max, text)),
    }
}

fn too_large(what: &str, max: usize, text: &Text) -> SqlError {
    let message = format!("{what} has more than {max} parts");
    let hint = "use fewer columns, CTEs and grouping sets, or several queries; or raise query.plan_size_max";
    SqlError::new(SqlCode::TooComplex, message).hint(hint).at(text.place(0))
}

struct WrittenOut {
    max: usize,
    /// Relations that each CTE comes to.
    ctes: HashMap<String, usize>,
}

impl Visitor for WrittenOut {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<&'static str> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let mut size = 1_usize;
            let _ = ast::visit_relations(&cte.query, |name| {
                let of = |part: &ast::ObjectNamePart| self.ctes.get(&part.as_ident()?.value).copied();
                let known = if let [part] = &name.0[..] { of(part) } else { None };
                size = size.saturating_add(known.unwrap_or(1));
                ControlFlow::<()>::Continue(())
            });
            if size > self.max {
                return ControlFlow::Break("a CTE, with all that it reads through others,");
            }
            self.ctes.insert(cte.alias.name.value.clone(), size);
        }
        self.body(&query.body)
    }
}

impl WrittenOut {
    fn body(&self, body: &SetExpr) -> ControlFlow<&'static str> {
        match body {
            SetExpr::Select(select) => match &select.group_by {
                GroupByExpr::Expressions(groups, modifiers) => self.groups(groups, modifiers),
                GroupByExpr::All(_) => ControlFlow::Continue(()),
            },
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left)?;
                self.body(right)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    /// Several of them multiply.
    fn groups(
        &self,
        groups: &[ast::Expr],
        modifiers: &[ast::GroupByWithModifier],
    ) -> ControlFlow<&'static str> {
        let (mut sets, mut keys) = (1_usize, 0_usize);
        let power = |count: usize| 1_usize.checked_shl(u32::try_from(count).unwrap_or(u32::MAX));
        for group in groups {
            let (more, of) = match group {
                ast::Expr::Cube(parts) => (power(parts.len()).unwrap_or(usize::MAX), parts),
                ast::Expr::Rollup(parts) => (parts.len() + 1, parts),
                ast::Expr::GroupingSets(parts) => (parts.len(), parts),
                _ => {
                    keys += 1;
                    continue;
                }
            };
            sets = sets.saturating_mul(more);
            keys += of.iter().map(Vec::len).sum::<usize>();
        }
        for modifier in modifiers {
            sets = sets.saturating_mul(match modifier {
                ast::GroupByWithModifier::Cube => power(keys).unwrap_or(usize::MAX),
                _ => keys + 1,
            });
        }
        match sets > 1 && sets.saturating_mul(keys) > self.max {
            true => ControlFlow::Break("a GROUP BY with CUBE, ROLLUP or GROUPING SETS"),
            false => ControlFlow::Continue(()),
        }
    }
}
