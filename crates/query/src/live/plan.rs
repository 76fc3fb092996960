//! From a query's plan to a view's.
//!
//! The plan is analysed (types are settled, `*` is expanded) but not optimised: it still has the form of the
//! query. Read from its root, an incremental query is
//!
//! ```text
//! [Limit] [Projection that drops order columns] [Sort] [Distinct]
//! Projection [Filter: HAVING] [Aggregate] Filter* SubqueryAlias* TableScan
//! ```
//!
//! Anything else ends in a reason in words, and the query is re-evaluated.

use std::{collections::BTreeSet, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        Column, DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Aggregate as GroupNode, Distinct, Expr, FetchType, LogicalPlan, Projection, SkipType, SortExpr,
        Volatility, expr::AggregateFunction, utils::split_conjunction,
    },
};
use nowcast_model::{ColumnType, SEQ_COLUMN, TableName};
use nowcast_store::TableVersion;
use nowcast_views::{
    AggFunction, Aggregate, Body, Direction, ExprRef, Hints, LiveColumn, LiveSchema, ViewPlan, Window,
};

use super::{
    LiveMode,
    expr::{compile, type_of},
    keyed::{self, place, unalias},
    output::Output,
    window,
};
use crate::{
    dialect::Node,
    error::{SqlCode, SqlError},
    failure,
    planned::Planned,
    values::column_type,
};

pub(super) struct Made {
    pub(super) schema: LiveSchema,
    pub(super) mode: LiveMode,
}

/// Decides how to keep a query up to date.
pub(super) fn make(planned: &Planned) -> Result<Made, SqlError> {
    let found = scan(&planned.plan).map_err(|e| failure::of(&e))?;
    if let Some(function) = found.volatile {
        let error = SqlError::new(SqlCode::NotSupported, format!("a live query cannot use {function}()"));
        let place = planned.text.find_name(&function).unwrap_or_else(|| planned.text.place(0));
        return Err(error
            .hint("its answer would change with nothing having happened; leave it out")
            .at(place));
    }
    let options = planned.state.config_options();
    let plan = planned
        .state
        .analyzer()
        .execute_and_check(planned.plan.clone(), options, |_, _| {})
        .map_err(|e| failure::locate(&e, &planned.text, Some(&planned.state)))?;
    match incremental(planned, &plan) {
        Ok(plan) => {
            Ok(Made { schema: plan.live_schema(), mode: LiveMode::Incremental { plan: Arc::new(plan) } })
        }
        Err(reason) => {
            let (schema, key) = keyed::schema(planned, &plan);
            let tables: Vec<TableName> = planned.found.values().map(|t| t.schema.name.clone()).collect();
            // Nobody tells when a system table changes: look at every tick.
            let clock = found.clock || planned.found_other;
            Ok(Made { schema, mode: LiveMode::Reevaluated { tables, clock, reason, key } })
        }
    }
}

struct Found {
    clock: bool,
    volatile: Option<String>,
}

/// Looks for the clock and for chance, subqueries included.
fn scan(plan: &LogicalPlan) -> datafusion::common::Result<Found> {
    let mut found = Found { clock: false, volatile: None };
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found.clock |= window::names_clock(expr);
            expr.apply(|expr| {
                if let Expr::ScalarFunction(f) = expr
                    && f.func.signature().volatility == Volatility::Volatile
                {
                    found.volatile = Some(f.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// The query's parts, as they stand in the plan.
pub(super) struct Parts<'a> {
    limit: Option<usize>,
    /// The projection that drops columns which only order, if there is one.
    pub(super) strip: Option<&'a Projection>,
    pub(super) sort: &'a [SortExpr],
    distinct: bool,
    pub(super) projection: &'a Projection,
    having: Option<&'a Expr>,
    group: Option<&'a GroupNode>,
    filters: Vec<&'a Expr>,
    /// The table's columns under the names that the query uses.
    base: &'a DFSchema,
}

fn parts(plan: &LogicalPlan) -> Result<Parts<'_>, String> {
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
    let mut filters = Vec::new();
    while let LogicalPlan::Filter(filter) = node {
        filters.push(&filter.predicate);
        node = &filter.input;
    }
    let base = node.schema();
    while let LogicalPlan::SubqueryAlias(alias) = node {
        node = &alias.input;
    }
    match node {
        LogicalPlan::TableScan(scan) if scan.filters.is_empty() && scan.fetch.is_none() => {
            Ok(Parts { limit, strip, sort, distinct, projection, having, group, filters, base })
        }
        other => Err(refused(other)),
    }
}

fn refused(node: &LogicalPlan) -> String {
    let what = match node {
        LogicalPlan::Join(_) => "it joins tables",
        LogicalPlan::Union(_) => "it is a union",
        LogicalPlan::Window(_) => "it uses window functions",
        LogicalPlan::Unnest(_) => "it unnests lists",
        LogicalPlan::RecursiveQuery(_) => "it is recursive",
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => "it reads no table",
        LogicalPlan::Extension(node) => match node.node.as_any().downcast_ref::<Node>() {
            Some(node) => node.kind.reason(),
            None => "it needs more than one pass over its rows",
        },
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => "a subquery in FROM orders or limits its rows",
        _ => "it selects from a subquery",
    };
    format!("{what}, which is not maintained yet")
}

/// Expressions over the view's input.
struct Input<'a> {
    planned: &'a Planned,
    /// Columns in use: places in the table.
    columns: Vec<usize>,
    /// `columns` and `_seq`, under the query's names.
    schema: DFSchema,
}

impl Input<'_> {
    fn compile(&self, expr: &Expr) -> Result<ExprRef, String> {
        compile(&self.planned.state, expr, &self.schema)
    }
}

fn input<'a>(
    planned: &'a Planned,
    table: &'a TableVersion,
    base: &'a DFSchema,
    used: &[&Expr],
) -> Result<Input<'a>, String> {
    let width = table.schema.columns.len();
    let mut columns = BTreeSet::new();
    for expr in used {
        if has_subquery(expr) {
            return Err("it uses a subquery, which is not maintained yet".to_owned());
        }
        for column in expr.column_refs() {
            let at =
                base.maybe_index_of_column(column).ok_or_else(|| format!("{column} is not in the table"))?;
            if at < width {
                columns.insert(at);
            }
        }
    }
    let columns: Vec<usize> = columns.into_iter().collect();
    let field = |at: usize| {
        let (qualifier, field) = base.qualified_field(at);
        (qualifier.cloned(), field.clone())
    };
    let mut fields: Vec<_> = columns.iter().map(|&at| field(at)).collect();
    let (qualifier, _) = base.qualified_field(0);
    let seq = Arc::new(arrow::datatypes::Field::new(SEQ_COLUMN, DataType::UInt64, false));
    fields.push((qualifier.cloned(), seq));
    let schema =
        DFSchema::new_with_metadata(fields, Default::default()).map_err(|e| failure::of(&e).message)?;
    Ok(Input { planned, columns, schema })
}

fn has_subquery(expr: &Expr) -> bool {
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

fn incremental(planned: &Planned, plan: &LogicalPlan) -> Result<ViewPlan, String> {
    let parts = parts(plan)?;
    let mut tables = planned.found.values();
    let table = match (tables.next(), tables.next(), planned.found_other) {
        (Some(table), None, false) => table,
        _ => return Err("it reads more than one table, which is not maintained yet".to_owned()),
    };
    // The table must be the one scanned, with its own columns first.
    if parts.base.fields().len() < table.schema.columns.len() {
        return Err("it selects from a subquery, which is not maintained yet".to_owned());
    }
    if table.schema.columns.is_empty() {
        return Err("the table has no columns".to_owned());
    }

    let mut conditions = Vec::new();
    let mut sides = Vec::new();
    for conjunct in parts.filters.iter().flat_map(|filter| split_conjunction(filter)) {
        if window::names_clock(conjunct) {
            sides.push(window::side(&planned.state, conjunct, parts.base)?);
        } else {
            conditions.push(conjunct.clone());
        }
    }
    let time_columns: Vec<Expr> = sides.iter().map(|side| Expr::Column(side.column.clone())).collect();
    let others: Vec<&Expr> = match parts.group {
        Some(group) => group.group_expr.iter().chain(&group.aggr_expr).chain(parts.having).collect(),
        None => parts.projection.expr.iter().collect(),
    };
    let clock_elsewhere = others
        .iter()
        .chain(&parts.projection.expr.iter().collect::<Vec<_>>())
        .any(|e| window::names_clock(e))
        || parts.sort.iter().any(|s| window::names_clock(&s.expr));
    if clock_elsewhere {
        return Err("now() stands outside of a range in WHERE".to_owned());
    }
    let over_input: Vec<&Expr> = match parts.group {
        Some(group) => group.group_expr.iter().chain(&group.aggr_expr).collect(),
        None => parts.projection.expr.iter().collect(),
    };
    let used: Vec<&Expr> = over_input.into_iter().chain(&conditions).chain(&time_columns).collect();
    let input = input(planned, table, parts.base, &used)?;

    let filter = match conditions.into_iter().reduce(Expr::and) {
        Some(condition) => Some(input.compile(&condition)?),
        None => None,
    };
    let mut range: Option<Window> = None;
    for side in sides {
        let column = Expr::Column(side.column.clone());
        let column = place(&column, &input.schema).ok_or("the time column is not in the table")?;
        let range = range.get_or_insert(Window { column, lower: None, upper: None });
        if range.column != column {
            return Err("it has ranges on two time columns".to_owned());
        }
        let end = if side.is_lower { &mut range.lower } else { &mut range.upper };
        *end = Some(window::tighter(*end, side.bound, side.is_lower));
    }

    let made = match parts.group {
        Some(_) if parts.distinct => return Err("DISTINCT over groups is not maintained".to_owned()),
        Some(group) => groups(&input, &parts, group)?,
        None if parts.distinct => distinct(&input, &parts)?,
        None => rows(&input, &parts)?,
    };
    Ok(ViewPlan {
        table: table.schema.name.clone(),
        input: ViewPlan::input_schema(&table.schema, &input.columns),
        columns: input.columns,
        filter,
        window: range,
        body: made.body,
        output: made.output,
        key: made.key,
        order: made.order,
        limit: parts.limit,
        having: made.having,
        hints: Hints::default(),
    })
}

struct Bodied {
    body: Body,
    output: Vec<LiveColumn>,
    key: Vec<usize>,
    order: Vec<(usize, Direction)>,
    having: Option<ExprRef>,
}

fn rows(input: &Input<'_>, parts: &Parts<'_>) -> Result<Bodied, String> {
    let mut output = Output::new(input.planned, parts, &input.schema)?;
    let order = output.order(parts)?;
    let (qualifier, _) = input.schema.qualified_field(input.columns.len());
    let seq = Expr::Column(Column::new(qualifier.cloned(), SEQ_COLUMN));
    let key = output.place_of(&seq, SEQ_COLUMN)?;
    output.columns[key].ty = ColumnType::Long;
    let project = output.compile()?;
    Ok(Bodied { body: Body::Rows { project }, output: output.columns, key: vec![key], order, having: None })
}

/// SELECT DISTINCT: groups by all columns, without aggregates.
fn distinct(input: &Input<'_>, parts: &Parts<'_>) -> Result<Bodied, String> {
    if parts.strip.is_some() {
        return Err("DISTINCT is ordered by what it does not select".to_owned());
    }
    let exprs: Vec<&Expr> = parts.projection.expr.iter().map(unalias).collect();
    let keys = exprs.iter().map(|e| input.compile(e)).collect::<Result<_, _>>()?;
    let schema = &parts.projection.schema;
    let mut columns = Vec::new();
    for (i, field) in schema.fields().iter().enumerate() {
        let name = input.planned.names.get(i).unwrap_or(field.name());
        columns.push(LiveColumn::new(name, column_type(field.data_type())));
    }
    let places: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    let mut output = Output {
        state: &input.planned.state,
        schema,
        exprs: places,
        places: (0..columns.len()).collect(),
        columns,
    };
    // Over the keys themselves, ORDER BY needs no inlining.
    let mut order = Vec::new();
    for (i, sort) in parts.sort.iter().enumerate() {
        let at = output.place_of(unalias(&sort.expr), &format!("_by{i}"))?;
        if sort.asc == sort.nulls_first {
            let is_null = output.exprs[at].clone().is_null();
            let null_at = output.place_of(&is_null, &format!("_null{i}"))?;
            order.push((null_at, if sort.nulls_first { Direction::Desc } else { Direction::Asc }));
        }
        order.push((at, if sort.asc { Direction::Asc } else { Direction::Desc }));
    }
    let project = output.compile()?;
    let key = (0..exprs.len()).collect();
    let body = Body::Groups { keys, aggregates: Vec::new(), project };
    Ok(Bodied { body, output: output.columns, key, order, having: None })
}

fn groups(input: &Input<'_>, parts: &Parts<'_>, group: &GroupNode) -> Result<Bodied, String> {
    if group.group_expr.iter().any(|e| matches!(unalias(e), Expr::GroupingSet(_))) {
        return Err("GROUPING SETS, CUBE and ROLLUP are not maintained".to_owned());
    }
    for expr in parts.having.into_iter().chain(&parts.projection.expr) {
        if has_subquery(expr) {
            return Err("it uses a subquery, which is not maintained yet".to_owned());
        }
    }
    let keys: Vec<ExprRef> =
        group.group_expr.iter().map(|e| input.compile(unalias(e))).collect::<Result<_, _>>()?;
    let mut aggregates = Vec::new();
    for (i, expr) in group.aggr_expr.iter().enumerate() {
        let Expr::AggregateFunction(function) = unalias(expr) else {
            return Err(format!("{expr} is not maintained yet"));
        };
        let made = aggregate(input, function)?;
        let declared = group.schema.field(keys.len() + i).data_type();
        let arg = match function.params.args.first() {
            Some(arg) => type_of(arg, &input.schema)?,
            None => DataType::Null,
        };
        let kept = made.function.output(&arg).map_err(|e| e.to_string())?;
        if kept != *declared {
            return Err(format!("{} of {arg} is not maintained", function.func.name()));
        }
        aggregates.push(made);
    }
    let schema = &*group.schema;
    let mut output = Output::new(input.planned, parts, schema)?;
    let order = output.order(parts)?;
    let columns = schema.columns();
    let mut key = Vec::new();
    for (i, column) in columns.iter().take(keys.len()).enumerate() {
        key.push(output.place_of(&Expr::Column(column.clone()), &format!("_key{i}"))?);
    }
    let having = match parts.having {
        Some(having) => Some(compile(&input.planned.state, having, schema)?),
        None => None,
    };
    let project = output.compile()?;
    Ok(Bodied {
        body: Body::Groups { keys, aggregates, project },
        output: output.columns,
        key,
        order,
        having,
    })
}

fn aggregate(input: &Input<'_>, function: &AggregateFunction) -> Result<Aggregate, String> {
    let params = &function.params;
    let name = function.func.name();
    if !params.order_by.is_empty() || params.null_treatment.is_some() {
        return Err(format!("{name} with ORDER BY is not maintained yet"));
    }
    let kind = match (name, params.distinct) {
        ("count", false) => AggFunction::Count,
        ("count", true) => AggFunction::CountDistinct,
        ("sum", false) => AggFunction::Sum,
        ("avg", false) => AggFunction::Avg,
        ("min", _) => AggFunction::Min,
        ("max", _) => AggFunction::Max,
        (_, true) => return Err(format!("{name}(DISTINCT …) is not maintained yet")),
        _ => return Err(format!("the aggregate {name}() is not maintained yet")),
    };
    let arg = match (&params.args[..], kind) {
        ([Expr::Literal(value, _)], AggFunction::Count) if !value.is_null() => None,
        ([arg], _) => Some(input.compile(arg)?),
        ([], AggFunction::Count) => None,
        _ => return Err(format!("{name} of more than one argument is not maintained")),
    };
    let filter = params.filter.as_ref().map(|filter| input.compile(filter)).transpose()?;
    Ok(Aggregate { function: kind, arg, filter })
}
