//! From what a query reads to a view's [`Flow`]: tables, joins, unions, subqueries.
//!
//! The tree is built from the root down. Conditions travel with it and stop where all their columns are: at a
//! table, where they decide what is read and kept, or above what needs them from both sides. Only columns that
//! someone asks for are taken along, and those that tell rows apart.

use std::{cell::Cell, collections::BTreeSet, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::{
    catalog::default_table_source::source_as_provider,
    common::{
        DFSchema, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Distinct, Expr, LogicalPlan, Projection, TableScan, expr::InSubquery, utils::split_conjunction_owned,
    },
};
use nowcast_model::SEQ_COLUMN;
use nowcast_store::TableVersion;
use nowcast_views::{Branch, ExprRef, Flow, Join, JoinKind, Source, Window};

use super::{
    expr::{compile, type_of},
    keyed::{place, unalias},
    parts::refused,
    window,
};
use crate::{failure, planned::Planned, table::SnapshotTable};

/// Joins, unions and subqueries within each other.
const DEPTH_MAX: usize = 32;

/// A part of the tree.
pub(super) struct Built {
    pub(super) flow: Flow,
    /// The flow's columns under the query's names.
    pub(super) schema: DFSchema,
    /// For each of them the place in the schema of the node that it was built from.
    pub(super) of: Vec<Option<usize>>,
    /// Places of the columns that tell rows apart.
    pub(super) identity: Vec<usize>,
}

/// What all parts need.
pub(super) struct Builder<'a> {
    pub(super) planned: &'a Planned,
    /// Counts columns that the query does not name.
    names: Cell<usize>,
    depth: Cell<usize>,
}

/// Columns by their places in a node's schema.
pub(super) type Needed = BTreeSet<usize>;

/// Conditions that all must be true.
pub(super) type Conditions = Vec<Expr>;

impl<'a> Builder<'a> {
    pub(super) fn new(planned: &'a Planned) -> Builder<'a> {
        Builder { planned, names: Cell::new(0), depth: Cell::new(0) }
    }

    /// The rows of `node` for which all `conditions` (over its schema) are true, with at least the columns
    /// `needed`.
    pub(super) fn build(
        &self,
        node: &LogicalPlan,
        mut conditions: Conditions,
        needed: &Needed,
    ) -> Result<Built, String> {
        let depth = self.depth.get();
        if depth > DEPTH_MAX {
            return Err(format!("it nests more than {DEPTH_MAX} subqueries and joins"));
        }
        self.depth.set(depth + 1);
        let built = match node {
            LogicalPlan::Filter(filter) => {
                conditions.extend(split_conjunction_owned(filter.predicate.clone()));
                let mut needed = needed.clone();
                note(&conditions, node.schema(), &mut needed)?;
                self.build(&filter.input, conditions, &needed)
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.build(&sort.input, conditions, needed),
            LogicalPlan::Join(join) => self.join(join, conditions, needed),
            LogicalPlan::Projection(projection) => self.projection(projection, conditions, needed),
            _ => match leaf(node) {
                Some((scan, table)) => self.asked(node, conditions, needed, |conditions, needed| {
                    self.table(node.schema(), scan, &table, conditions, needed)
                }),
                None => self.deeper(node, conditions, needed),
            },
        };
        self.depth.set(depth);
        built
    }

    fn deeper(&self, node: &LogicalPlan, conditions: Conditions, needed: &Needed) -> Result<Built, String> {
        match node {
            LogicalPlan::SubqueryAlias(alias) => {
                let conditions = renamed(conditions, &alias.schema, alias.input.schema())?;
                let built = self.build(&alias.input, conditions, needed)?;
                self.labelled(built.flow, &alias.schema, built.of, built.identity)
            }
            LogicalPlan::Aggregate(group) => {
                self.asked(node, conditions, needed, |conditions, _| self.group(group, conditions))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                self.asked(node, conditions, needed, |conditions, _| self.distinct(input, conditions))
            }
            LogicalPlan::Distinct(Distinct::On(on)) => {
                self.asked(node, conditions, needed, |conditions, needed| self.latest(on, conditions, needed))
            }
            LogicalPlan::Union(union) => {
                let inputs: Vec<&LogicalPlan> = union.inputs.iter().map(|input| &**input).collect();
                self.union(&union.schema, &inputs, &conditions, needed)
            }
            other => Err(refused(other)),
        }
    }

    /// Builds with the conditions that are no subqueries, then keeps rows that the others let pass.
    pub(super) fn asked(
        &self,
        node: &LogicalPlan,
        conditions: Conditions,
        needed: &Needed,
        build: impl FnOnce(Conditions, &Needed) -> Result<Built, String>,
    ) -> Result<Built, String> {
        let (asked, plain): (Vec<_>, Vec<_>) =
            conditions.into_iter().partition(|c| matches!(c, Expr::InSubquery(s) if !s.negated));
        let mut needed = needed.clone();
        note(&asked, node.schema(), &mut needed)?;
        let mut built = build(plain, &needed)?;
        for condition in asked {
            let Expr::InSubquery(InSubquery { expr, subquery, .. }) = condition else { continue };
            if !subquery.outer_ref_columns.is_empty() {
                return Err("its subquery names columns of the query around it".to_owned());
            }
            let right = self.build(&subquery.subquery, Vec::new(), &Needed::from([0]))?;
            let at = right.of.iter().position(|of| *of == Some(0)).ok_or("its subquery has no column")?;
            let found = Expr::from(right.schema.qualified_field(at));
            let on = self.pair(&expr, &built.schema, &found, &right.schema)?;
            let on = on.ok_or_else(|| format!("{expr} and its subquery are of different types"))?;
            let join = Join {
                kind: JoinKind::Semi,
                on: vec![on],
                identity: [built.identity.clone(), right.identity],
                sides: [built.flow, right.flow],
                filter: None,
            };
            let input = join.schema();
            built.flow = Flow { source: Source::Join(Box::new(join)), input, filter: None, window: None };
        }
        Ok(built)
    }

    /// A table's columns.
    fn table(
        &self,
        base: &DFSchema,
        scan: &TableScan,
        table: &TableVersion,
        conditions: Conditions,
        needed: &Needed,
    ) -> Result<Built, String> {
        let width = table.schema.columns.len();
        if !scan.filters.is_empty() || scan.fetch.is_some() || base.fields().len() < width || width == 0 {
            return Err("the table has no columns".to_owned());
        }
        let mut needed = needed.clone();
        note(&conditions, base, &mut needed)?;
        let columns: Vec<usize> = needed.into_iter().filter(|&at| at < width).collect();
        let mut of: Vec<Option<usize>> = columns.iter().copied().map(Some).collect();
        of.push((base.fields().len() > width).then_some(width));
        let identity = vec![columns.len()];
        let built = self.labelled(Flow::table(&table.schema, columns), base, of, identity)?;
        self.conditioned(built, conditions)
    }

    /// Puts conditions on a flow: one that names the clock becomes its window.
    pub(super) fn conditioned(&self, mut built: Built, conditions: Conditions) -> Result<Built, String> {
        let state = &self.planned.state;
        let mut filter: Option<Expr> = None;
        for condition in conditions {
            if !window::names_clock(&condition) {
                filter = Some(filter.map_or(condition.clone(), |filter| filter.and(condition)));
                continue;
            }
            let side = window::side(state, &condition, &built.schema)?;
            let column = place(&Expr::Column(side.column.clone()), &built.schema);
            let column = column.ok_or("the time column is not in the table")?;
            let range = built.flow.window.get_or_insert(Window { column, lower: None, upper: None });
            if range.column != column {
                return Err("it has ranges on two time columns".to_owned());
            }
            let end = if side.is_lower { &mut range.lower } else { &mut range.upper };
            *end = Some(window::tighter(*end, side.bound, side.is_lower));
        }
        if let Some(filter) = filter {
            built.flow.filter = Some(self.compile(&filter, &built.schema)?);
        }
        Ok(built)
    }

    /// A subquery's SELECT list.
    fn projection(
        &self,
        projection: &Projection,
        conditions: Conditions,
        needed: &Needed,
    ) -> Result<Built, String> {
        let (schema, inner) = (&projection.schema, projection.input.schema());
        let expr = |at: usize| unalias(&projection.expr[at]);
        let replaced = |condition: Expr| {
            let replaced = condition.transform_up(|e| {
                Ok(match place(&e, schema) {
                    Some(at) => Transformed::yes(expr(at).clone()),
                    None => Transformed::no(e),
                })
            });
            replaced.map(|replaced| replaced.data).map_err(|e| failure::of(&e).message)
        };
        let conditions: Conditions = conditions.into_iter().map(replaced).collect::<Result<_, _>>()?;
        let mut below = Needed::new();
        let exprs: Vec<Expr> = needed.iter().map(|&at| expr(at).clone()).collect();
        note(&exprs, inner, &mut below)?;
        let built = self.build(&projection.input, conditions, &below)?;
        let places: Vec<Option<usize>> = exprs.iter().map(|e| place(e, &built.schema)).collect();
        let distinct: BTreeSet<usize> = places.iter().flatten().copied().collect();
        if distinct.len() == exprs.len() {
            let mut of = vec![None; built.of.len()];
            places.iter().flatten().zip(needed).for_each(|(&at, &shown)| of[at] = Some(shown));
            return self.labelled(built.flow, schema, of, built.identity);
        }
        let mut project = Vec::new();
        for e in &exprs {
            project.push((self.compile(e, &built.schema)?, type_of(e, &built.schema)?));
        }
        let of = needed.iter().copied().map(Some).collect();
        self.projected(built, schema, project, of)
    }

    /// A flow's columns replaced by expressions; those that tell rows apart follow them.
    fn projected(
        &self,
        built: Built,
        schema: &DFSchema,
        mut project: Vec<(ExprRef, DataType)>,
        mut of: Vec<Option<usize>>,
    ) -> Result<Built, String> {
        let first = project.len();
        for &at in &built.identity {
            let column = Expr::from(built.schema.qualified_field(at));
            project.push((self.compile(&column, &built.schema)?, type_of(&column, &built.schema)?));
            of.push(None);
        }
        let identity = (first..project.len()).collect();
        let (project, types): (Vec<_>, Vec<_>) = project.into_iter().unzip();
        let branch = Branch { flow: built.flow, project: Some(project) };
        self.labelled(flow(Source::Union(vec![branch]), types), schema, of, identity)
    }

    fn union(
        &self,
        schema: &DFSchema,
        inputs: &[&LogicalPlan],
        conditions: &Conditions,
        needed: &Needed,
    ) -> Result<Built, String> {
        let mut needed = needed.clone();
        note(conditions, schema, &mut needed)?;
        let mut parts = Vec::new();
        for input in inputs {
            let conditions = renamed(conditions.clone(), schema, input.schema())?;
            parts.push(self.build(input, conditions, &needed)?);
        }
        let ids = |part: &Built| -> Vec<DataType> {
            part.identity.iter().map(|&at| part.flow.input.field(at).data_type().clone()).collect()
        };
        let ids: Vec<Vec<DataType>> = parts.iter().map(ids).collect();
        let mut types: Vec<DataType> =
            needed.iter().map(|&at| schema.field(at).data_type().clone()).collect();
        let first = types.len();
        types.push(DataType::Int64);
        types.extend(ids.iter().flatten().cloned());
        let mut branches = Vec::new();
        for (number, part) in parts.into_iter().enumerate() {
            let mut exprs = Vec::new();
            for &at in &needed {
                let inner = part.of.iter().position(|of| *of == Some(at));
                let inner = inner.ok_or("a column of its union is missing")?;
                exprs.push(Expr::from(part.schema.qualified_field(inner)));
            }
            let which = i64::try_from(number).unwrap_or(i64::MAX);
            exprs.push(Expr::Literal(ScalarValue::Int64(Some(which)), None));
            for (other, types) in ids.iter().enumerate() {
                if other == number {
                    exprs.extend(part.identity.iter().map(|&at| Expr::from(part.schema.qualified_field(at))));
                    continue;
                }
                for ty in types {
                    let null = ScalarValue::try_from(ty).map_err(|e| failure::of(&e).message)?;
                    exprs.push(Expr::Literal(null, None));
                }
            }
            let mut project = Vec::new();
            for (expr, ty) in exprs.iter().zip(&types) {
                if type_of(expr, &part.schema)? != *ty {
                    return Err("the parts of its union are of different types".to_owned());
                }
                project.push(self.compile(expr, &part.schema)?);
            }
            branches.push(Branch { flow: part.flow, project: Some(project) });
        }
        let mut of: Vec<Option<usize>> = needed.iter().copied().map(Some).collect();
        of.resize(types.len(), None);
        let identity = (first..types.len()).collect();
        self.labelled(flow(Source::Union(branches), types), schema, of, identity)
    }

    /// A flow under the names of `schema`, of which its columns are `of`.
    pub(super) fn labelled(
        &self,
        flow: Flow,
        schema: &DFSchema,
        of: Vec<Option<usize>>,
        identity: Vec<usize>,
    ) -> Result<Built, String> {
        let fields = flow.input.fields().iter().zip(&of).map(|(field, of)| match of {
            Some(at) => {
                let (qualifier, named) = schema.qualified_field(*at);
                let named = named.as_ref().clone().with_data_type(field.data_type().clone());
                (qualifier.cloned(), Arc::new(named.with_nullable(true)))
            }
            None => {
                let number = self.names.get();
                self.names.set(number + 1);
                (None, Arc::new(Field::new(format!("_id{number}"), field.data_type().clone(), true)))
            }
        });
        let schema = DFSchema::new_with_metadata(fields.collect(), Default::default());
        Ok(Built { schema: schema.map_err(|e| failure::of(&e).message)?, flow, of, identity })
    }

    /// Two expressions that a join may compare, if it may.
    pub(super) fn pair(
        &self,
        left: &Expr,
        left_schema: &DFSchema,
        right: &Expr,
        right_schema: &DFSchema,
    ) -> Result<Option<[ExprRef; 2]>, String> {
        let (a, b) = (plain(&type_of(left, left_schema)?), plain(&type_of(right, right_schema)?));
        if a != b || a.is_floating() || !nowcast_views::is_supported(&a) {
            return Ok(None);
        }
        Ok(Some([self.compile(left, left_schema)?, self.compile(right, right_schema)?]))
    }

    /// Compiles an expression over some columns.
    pub(super) fn compile(&self, expr: &Expr, schema: &DFSchema) -> Result<ExprRef, String> {
        if has_subquery(expr) {
            return Err("it uses a subquery, which is not maintained yet".to_owned());
        }
        if window::names_clock(expr) {
            return Err("now() stands outside of a range in WHERE".to_owned());
        }
        compile(&self.planned.state, expr, schema)
    }
}

/// A type as joins compare it, however it is encoded.
fn plain(ty: &DataType) -> DataType {
    match ty {
        DataType::Dictionary(_, value) => plain(value),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        other => other.clone(),
    }
}

/// A flow of a source, as it is.
pub(super) fn flow(source: Source, types: Vec<DataType>) -> Flow {
    let field = |(at, ty)| Field::new(format!("c{at}"), ty, true);
    let input = Schema::new(types.into_iter().enumerate().map(field).collect::<Vec<_>>());
    Flow { source, input: Arc::new(input), filter: None, window: None }
}

/// A scan of a table of ours, under whatever names.
fn leaf(mut node: &LogicalPlan) -> Option<(&TableScan, Arc<TableVersion>)> {
    while let LogicalPlan::SubqueryAlias(alias) = node {
        node = &alias.input;
    }
    let LogicalPlan::TableScan(scan) = node else { return None };
    let provider = source_as_provider(&scan.source).ok()?;
    let table = provider.downcast_ref::<SnapshotTable>()?.version();
    scan.projection.is_none().then_some((scan, table))
}

/// Adds the columns of expressions to `needed`.
pub(super) fn note(exprs: &[Expr], schema: &DFSchema, needed: &mut Needed) -> Result<(), String> {
    for expr in exprs {
        for column in expr.column_refs() {
            let at = schema.maybe_index_of_column(column);
            needed.insert(at.ok_or_else(|| format!("{column} is not in the table"))?);
        }
    }
    Ok(())
}

/// Conditions over one schema as ones over another with the same columns in the same places.
fn renamed(conditions: Conditions, from: &DFSchema, to: &DFSchema) -> Result<Conditions, String> {
    let renamed = |condition: Expr| {
        let renamed = condition.transform_up(|e| {
            Ok(match place(&e, from) {
                Some(at) => Transformed::yes(Expr::from(to.qualified_field(at))),
                None => Transformed::no(e),
            })
        });
        renamed.map(|renamed| renamed.data).map_err(|e| failure::of(&e).message)
    };
    conditions.into_iter().map(renamed).collect()
}

pub(super) fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    })
    // The closure does not fail.
    .unwrap_or(true)
}

/// The hidden name of a table's row numbers.
pub(super) fn identity_name(count: usize, at: usize) -> String {
    if count == 1 { SEQ_COLUMN.to_owned() } else { format!("_id{at}") }
}
