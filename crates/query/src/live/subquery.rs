//! Subqueries that group: GROUP BY, DISTINCT, LATEST ON.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::{
    common::DFSchema,
    logical_expr::{Aggregate as GroupNode, DistinctOn, Expr, LogicalPlan},
};
use nowcast_views::{AggFunction, Aggregate, ExprRef, OrderBy, Select, Source};

use super::{
    body,
    expr::type_of,
    keyed::unalias,
    tree::{Builder, Built, Conditions, Needed, flow, note},
};
use crate::failure;

impl Builder<'_> {
    pub(super) fn group(&self, group: &GroupNode, conditions: Conditions) -> Result<Built, String> {
        let inner = group.input.schema();
        let mut needed = Needed::new();
        let all: Vec<Expr> = group.group_expr.iter().chain(&group.aggr_expr).cloned().collect();
        note(&all, inner, &mut needed)?;
        let built = self.build(&group.input, Vec::new(), &needed)?;
        let (keys, aggregates) = body::grouped(self, &built.schema, &built.identity, group)?;
        self.select(built, keys, aggregates, &group.schema, conditions)
    }

    pub(super) fn distinct(&self, input: &LogicalPlan, conditions: Conditions) -> Result<Built, String> {
        let schema = input.schema();
        let built = self.build(input, Vec::new(), &(0..schema.fields().len()).collect())?;
        let mut keys = Vec::new();
        for column in schema.columns() {
            keys.push(self.compile(&Expr::Column(column), &built.schema)?);
        }
        self.select(built, keys, Vec::new(), schema, conditions)
    }

    /// `LATEST ON` and `DISTINCT ON`: the first row of each key, column by column.
    pub(super) fn latest(
        &self,
        on: &DistinctOn,
        conditions: Conditions,
        needed: &Needed,
    ) -> Result<Built, String> {
        let inner = on.input.schema();
        let mut needed = needed.clone();
        note(&conditions, &on.schema, &mut needed)?;
        let shown = needed.iter().map(|&at| unalias(&on.select_expr[at]).clone());
        let by: Vec<_> = on.sort_expr.iter().flatten().skip(on.on_expr.len()).collect();
        if by.is_empty() {
            return Err("DISTINCT ON without an order leaves open which row it takes".to_owned());
        }
        let exprs: Vec<Expr> = shown.collect();
        let all = exprs.iter().chain(&on.on_expr).chain(by.iter().map(|sort| &sort.expr));
        let mut below = Needed::new();
        note(&all.cloned().collect::<Vec<_>>(), inner, &mut below)?;
        let built = self.build(&on.input, Vec::new(), &below)?;
        let (base, mut order) = (&built.schema, Vec::new());
        for sort in by {
            let expr = self.compile(&sort.expr, base)?;
            order.push(OrderBy { expr, descending: !sort.asc, nulls_first: sort.nulls_first });
        }
        for &at in &built.identity {
            let expr = self.compile(&Expr::from(base.qualified_field(at)), base)?;
            order.push(OrderBy { expr, descending: false, nulls_first: false });
        }
        let (mut keys, mut aggregates, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        for (number, key) in on.on_expr.iter().enumerate() {
            keys.push(self.compile(key, base)?);
            fields.push((None, Arc::new(Field::new(format!("key{number}"), type_of(key, base)?, true))));
        }
        for (number, expr) in exprs.iter().enumerate() {
            let arg = Some(self.compile(expr, base)?);
            let order = order.clone();
            aggregates.push(Aggregate { function: AggFunction::First, arg, filter: None, order });
            fields.push((None, Arc::new(Field::new(format!("first{number}"), type_of(expr, base)?, true))));
        }
        let width = keys.len();
        let results = DFSchema::new_with_metadata(fields, Default::default());
        let results = results.map_err(|e| failure::of(&e).message)?;
        let columns: Vec<Expr> = results.columns().into_iter().map(Expr::Column).collect();
        let project = columns[width..].iter().chain(&columns[..width]);
        let project = project.map(|column| self.compile(column, &results)).collect::<Result<_, _>>()?;
        let types = results.fields().iter().map(|field| field.data_type().clone());
        let mut types: Vec<DataType> = types.collect();
        types.rotate_left(width);
        let identity = (exprs.len()..types.len()).collect();
        let mut of: Vec<Option<usize>> = needed.iter().copied().map(Some).collect();
        of.resize(types.len(), None);
        let select = Select { flow: built.flow, keys, aggregates, having: None, project };
        let made = self.labelled(flow(Source::Select(Box::new(select)), types), &on.schema, of, identity)?;
        self.conditioned(made, conditions)
    }

    /// Groups whose columns are those of `schema`: the keys, then the aggregates.
    fn select(
        &self,
        built: Built,
        keys: Vec<ExprRef>,
        aggregates: Vec<Aggregate>,
        schema: &DFSchema,
        conditions: Conditions,
    ) -> Result<Built, String> {
        let columns = schema.columns().into_iter();
        let project = columns.map(|column| self.compile(&Expr::Column(column), schema));
        let project = project.collect::<Result<_, _>>()?;
        let types = schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        let identity = (0..keys.len()).collect();
        let of = (0..types.len()).map(Some).collect();
        let select = Select { flow: built.flow, keys, aggregates, having: None, project };
        let made = self.labelled(flow(Source::Select(Box::new(select)), types), schema, of, identity)?;
        self.conditioned(made, conditions)
    }
}
