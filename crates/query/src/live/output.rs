//! A view's output columns.

use datafusion::{
    common::{
        DFSchema,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, Projection},
};
use nowcast_views::{Direction, ExprRef, LiveColumn};

use super::{
    expr::type_of,
    keyed::{place, unalias},
    parts::Parts,
    tree::Builder,
};
use crate::{failure, planned::Planned, values::column_type};

/// The output columns while they are put together: expressions over `schema`.
pub(super) struct Output<'a> {
    pub(super) schema: &'a DFSchema,
    pub(super) exprs: Vec<Expr>,
    pub(super) columns: Vec<LiveColumn>,
    /// For each expression of the query's projection its place in the output.
    pub(super) places: Vec<usize>,
}

impl<'a> Output<'a> {
    /// The visible columns first, in the query's order; then those that only order.
    pub(super) fn new(
        planned: &'a Planned,
        parts: &Parts<'_>,
        schema: &'a DFSchema,
    ) -> Result<Output<'a>, String> {
        let inner = &parts.projection.expr;
        let shown: Vec<usize> = match parts.strip {
            None => (0..inner.len()).collect(),
            Some(strip) => {
                let at = |e: &Expr| place(unalias(e), &parts.projection.schema);
                let places: Option<Vec<usize>> = strip.expr.iter().map(at).collect();
                places.ok_or("its columns are computed behind ORDER BY")?
            }
        };
        let mut output = Output { schema, exprs: vec![], columns: vec![], places: vec![0; inner.len()] };
        for (i, &at) in shown.iter().enumerate() {
            let name = planned.names.get(i).cloned().unwrap_or_else(|| format!("column{i}"));
            output.places[at] = output.push(unalias(&inner[at]), &name, false)?;
        }
        for (at, expr) in inner.iter().enumerate() {
            if !shown.contains(&at) {
                output.places[at] = output.push(unalias(expr), &format!("_order{at}"), true)?;
            }
        }
        Ok(output)
    }

    fn push(&mut self, expr: &Expr, name: &str, hidden: bool) -> Result<usize, String> {
        let ty = column_type(&type_of(expr, self.schema)?);
        self.exprs.push(expr.clone());
        self.columns.push(LiveColumn { name: name.into(), ty, hidden });
        Ok(self.exprs.len() - 1)
    }

    /// The place of a column that yields `expr`, hidden if it is not there.
    pub(super) fn place_of(&mut self, expr: &Expr, name: &str) -> Result<usize, String> {
        match self.exprs.iter().position(|e| e == expr) {
            Some(at) => Ok(at),
            None => self.push(expr, name, true),
        }
    }

    /// ORDER BY, in places of the output.
    pub(super) fn order(&mut self, parts: &Parts<'_>) -> Result<Vec<(usize, Direction)>, String> {
        let mut order = Vec::new();
        for (i, sort) in parts.sort.iter().enumerate() {
            let expr = unalias(&sort.expr);
            let at = match place(expr, &parts.projection.schema) {
                Some(inner) => self.places[inner],
                None => {
                    let expr = inline(expr, parts.projection)?;
                    self.place_of(&expr, &format!("_by{i}"))?
                }
            };
            let direction = if sort.asc { Direction::Asc } else { Direction::Desc };
            if sort.asc == sort.nulls_first {
                // NULL is greater than all, unless said otherwise: then it is ordered first by being NULL.
                let is_null = self.exprs[at].clone().is_null();
                let null_at = self.place_of(&is_null, &format!("_null{i}"))?;
                order.push((null_at, if sort.nulls_first { Direction::Desc } else { Direction::Asc }));
            }
            order.push((at, direction));
        }
        Ok(order)
    }

    pub(super) fn compile(&self, builder: &Builder<'_>) -> Result<Vec<ExprRef>, String> {
        self.exprs.iter().map(|expr| builder.compile(expr, self.schema)).collect()
    }
}

/// An expression over a projection's columns as one over the projection's input.
fn inline(expr: &Expr, projection: &Projection) -> Result<Expr, String> {
    let inlined = expr.clone().transform_up(|expr| {
        Ok(match place(&expr, &projection.schema) {
            Some(at) => Transformed::yes(unalias(&projection.expr[at]).clone()),
            None => Transformed::no(expr),
        })
    });
    inlined.map(|inlined| inlined.data).map_err(|e| failure::of(&e).message)
}
