//! A view's body: rows by themselves, or groups.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, ScalarValue},
    logical_expr::{
        Aggregate as GroupNode, Expr, SortExpr,
        expr::{AggregateFunction, NullTreatment},
    },
};
use nowcast_views::{AggFunction, Aggregate, Body, Direction, ExprRef, Fraction, LiveColumn, OrderBy};

use super::{
    expr::type_of,
    keyed::unalias,
    output::Output,
    parts::Parts,
    tree::{Builder, identity_name},
};
use crate::{planned::Planned, values::column_type};

/// A body, and what is around it.
pub(super) struct Bodied {
    pub(super) body: Body,
    pub(super) output: Vec<LiveColumn>,
    pub(super) key: Vec<usize>,
    pub(super) order: Vec<(usize, Direction)>,
    pub(super) having: Option<ExprRef>,
}

/// Expressions over the view's rows.
pub(super) struct Input<'a> {
    pub(super) builder: &'a Builder<'a>,
    /// The rows' columns, under the query's names.
    pub(super) schema: &'a DFSchema,
    /// Places of those that tell rows apart.
    pub(super) identity: &'a [usize],
}

impl Input<'_> {
    fn planned(&self) -> &Planned {
        self.builder.planned
    }

    fn compile(&self, expr: &Expr) -> Result<ExprRef, String> {
        self.builder.compile(expr, self.schema)
    }
}

/// Each row by itself.
pub(super) fn rows(input: &Input<'_>, parts: &Parts<'_>) -> Result<Bodied, String> {
    let mut output = Output::new(input.planned(), parts, input.schema)?;
    let order = output.order(parts)?;
    let mut key = Vec::new();
    for (i, &at) in input.identity.iter().enumerate() {
        let column = Expr::from(input.schema.qualified_field(at));
        key.push(output.place_of(&column, &identity_name(input.identity.len(), i))?);
    }
    let project = output.compile(input.builder)?;
    Ok(Bodied { body: Body::Rows { project }, output: output.columns, key, order, having: None })
}

/// SELECT DISTINCT: groups by all columns, without aggregates.
pub(super) fn distinct(input: &Input<'_>, parts: &Parts<'_>) -> Result<Bodied, String> {
    if parts.strip.is_some() {
        return Err("DISTINCT is ordered by what it does not select".to_owned());
    }
    let exprs: Vec<&Expr> = parts.projection.expr.iter().map(unalias).collect();
    let keys = exprs.iter().map(|e| input.compile(e)).collect::<Result<_, _>>()?;
    let schema = &parts.projection.schema;
    let mut columns = Vec::new();
    for (i, field) in schema.fields().iter().enumerate() {
        let name = input.planned().names.get(i).unwrap_or(field.name());
        columns.push(LiveColumn::new(name, column_type(field.data_type())));
    }
    let places: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    let mut output = Output { schema, exprs: places, places: (0..columns.len()).collect(), columns };
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
    let project = output.compile(input.builder)?;
    let key = (0..exprs.len()).collect();
    let body = Body::Groups { keys, aggregates: Vec::new(), project };
    Ok(Bodied { body, output: output.columns, key, order, having: None })
}

/// GROUP BY.
pub(super) fn groups(input: &Input<'_>, parts: &Parts<'_>, group: &GroupNode) -> Result<Bodied, String> {
    let (keys, aggregates) = grouped(input.builder, input.schema, input.identity, group)?;
    let schema = &*group.schema;
    let mut output = Output::new(input.planned(), parts, schema)?;
    let order = output.order(parts)?;
    let columns = schema.columns();
    let mut key = Vec::new();
    for (i, column) in columns.iter().take(keys.len()).enumerate() {
        key.push(output.place_of(&Expr::Column(column.clone()), &format!("_key{i}"))?);
    }
    let having = match parts.having {
        Some(having) => Some(input.builder.compile(having, schema)?),
        None => None,
    };
    let project = output.compile(input.builder)?;
    Ok(Bodied {
        body: Body::Groups { keys, aggregates, project },
        output: output.columns,
        key,
        order,
        having,
    })
}

/// The keys and aggregates of a GROUP BY over columns of `schema`.
pub(super) fn grouped(
    builder: &Builder<'_>,
    schema: &DFSchema,
    identity: &[usize],
    group: &GroupNode,
) -> Result<(Vec<ExprRef>, Vec<Aggregate>), String> {
    if group.group_expr.iter().any(|e| matches!(unalias(e), Expr::GroupingSet(_))) {
        return Err("GROUPING SETS, CUBE and ROLLUP are not maintained".to_owned());
    }
    let keys: Vec<ExprRef> =
        group.group_expr.iter().map(|e| builder.compile(unalias(e), schema)).collect::<Result<_, _>>()?;
    let mut aggregates = Vec::new();
    for (i, expr) in group.aggr_expr.iter().enumerate() {
        let Expr::AggregateFunction(function) = unalias(expr) else {
            return Err(format!("{expr} is not maintained yet"));
        };
        let made = aggregate(builder, schema, identity, function)?;
        let declared = group.schema.field(keys.len() + i).data_type();
        let arg = match function.params.args.first() {
            Some(arg) => type_of(arg, schema)?,
            None => DataType::Null,
        };
        let kept = made.function.output(&arg).map_err(|e| e.to_string())?;
        if kept != *declared {
            return Err(format!("{} of {arg} is not maintained", function.func.name()));
        }
        aggregates.push(made);
    }
    Ok((keys, aggregates))
}

fn aggregate(
    builder: &Builder<'_>,
    schema: &DFSchema,
    identity: &[usize],
    function: &AggregateFunction,
) -> Result<Aggregate, String> {
    let compile = |expr: &Expr| builder.compile(expr, schema);
    let params = &function.params;
    let name = function.func.name();
    let mut filter = params.filter.as_ref().map(|filter| (**filter).clone());
    let mut order = Vec::new();
    let kind = match (name, params.distinct) {
        ("first_value" | "last_value", false) => {
            if params.order_by.is_empty() {
                return Err(format!("{name} without an order leaves open which row it takes"));
            }
            let by = |expr: &Expr, sort: Option<&SortExpr>| {
                let (descending, nulls_first) = sort.map_or((false, false), |s| (!s.asc, s.nulls_first));
                Ok::<_, String>(OrderBy { expr: compile(expr)?, descending, nulls_first })
            };
            for sort in &params.order_by {
                order.push(by(&sort.expr, Some(sort))?);
            }
            // What the order leaves open is the same at any time.
            for &at in identity {
                order.push(by(&Expr::from(schema.qualified_field(at)), None)?);
            }
            if let (Some(NullTreatment::IgnoreNulls), [arg, ..]) = (&params.null_treatment, &params.args[..])
            {
                let known = arg.clone().is_not_null();
                filter = Some(filter.map_or(known.clone(), |filter| filter.and(known)));
            }
            if name == "first_value" { AggFunction::First } else { AggFunction::Last }
        }
        ("percentile_cont", false) => percentile(function)?,
        _ if !params.order_by.is_empty() || params.null_treatment.is_some() => {
            return Err(format!("{name} with ORDER BY is not maintained yet"));
        }
        ("count", false) => AggFunction::Count,
        ("count", true) => AggFunction::CountDistinct,
        ("sum", false) => AggFunction::Sum,
        ("avg", false) => AggFunction::Avg,
        ("min", _) => AggFunction::Min,
        ("max", _) => AggFunction::Max,
        ("var", false) => AggFunction::VarSamp,
        ("var_pop", false) => AggFunction::VarPop,
        ("stddev", false) => AggFunction::StddevSamp,
        ("stddev_pop", false) => AggFunction::StddevPop,
        ("median", false) => AggFunction::Median,
        (_, true) => return Err(format!("{name}(DISTINCT …) is not maintained yet")),
        _ => return Err(format!("the aggregate {name}() is not maintained yet")),
    };
    let arg = match (&params.args[..], kind) {
        ([Expr::Literal(value, _)], AggFunction::Count) if !value.is_null() => None,
        ([arg], _) | ([arg, _], AggFunction::Percentile(_)) => Some(compile(arg)?),
        ([], AggFunction::Count) => None,
        _ => return Err(format!("{name} of more than one argument is not maintained")),
    };
    let filter = filter.as_ref().map(compile).transpose()?;
    Ok(Aggregate { function: kind, arg, filter, order })
}

/// `percentile_cont(0.9) WITHIN GROUP (ORDER BY x)`: the arguments are `x` and the fraction.
fn percentile(function: &AggregateFunction) -> Result<AggFunction, String> {
    let params = &function.params;
    let refuse = || "percentile_cont of more than a constant fraction is not maintained".to_owned();
    let fraction = match params.args.get(1) {
        Some(Expr::Literal(ScalarValue::Float64(Some(fraction)), _)) => *fraction,
        _ => return Err(refuse()),
    };
    let descending = params.order_by.first().is_some_and(|sort| !sort.asc);
    let fraction = Fraction::new(if descending { 1.0 - fraction } else { fraction });
    fraction.map(AggFunction::Percentile).ok_or_else(refuse)
}
