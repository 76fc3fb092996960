//! Windows as what to group by: `tumble(ts, '10s')`, `hop(ts, '10s', '1m')`, `session(ts, '30s')`,
//! `count_window(100)`.
//!
//! A tumbling window is a bucket. A hopping one is the buckets that end behind a row: the row is joined to as
//! many steps back. A session ends where no row of its key came for so long, a counted window after so many
//! rows of its key: both are window functions over the rows that the block reads.

use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem, Spanned};

use super::{calendar::Stride, calendar::UNITS, expand::Expand, marker::BUCKET, sql, time::relation_name};
use crate::error::{Place, SqlCode, SqlError};

const NAMES: [&str; 4] = ["tumble", "hop", "session", "count_window"];

/// Steps that one hopping window may be long.
const HOPS_MAX: i64 = 1_000;

/// Rewrites the block's windows.
pub(super) fn expand(expand: &mut Expand<'_>, select: &mut Select) -> Result<(), SqlError> {
    let mut calls: Vec<(Expr, Expr)> = Vec::new();
    let found = exprs(select).flat_map(find).collect::<Vec<_>>();
    for call in found {
        if !calls.iter().any(|(known, _)| *known == call) {
            let new = window(expand, select, &call)?;
            calls.push((call, new));
        }
    }
    if calls.is_empty() {
        return Ok(());
    }
    crate::rewrite::name_columns(select);
    let with = |expr: &Expr| calls.iter().find(|(call, _)| call == expr).map(|(_, new)| new.clone());
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            sql::replace(expr, &|_| false, &with);
        }
    }
    if let GroupByExpr::Expressions(groups, _) = &mut select.group_by {
        for group in groups {
            sql::replace(group, &|_| false, &with);
        }
    }
    Ok(())
}

fn exprs(select: &Select) -> impl Iterator<Item = &Expr> {
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    let groups = match &select.group_by {
        GroupByExpr::Expressions(groups, _) => &groups[..],
        GroupByExpr::All(_) => &[],
    };
    items.chain(groups)
}

fn find(expr: &Expr) -> Vec<Expr> {
    let found = std::cell::RefCell::new(Vec::new());
    sql::any(expr, &|expr| {
        if NAMES.iter().any(|name| sql::args_of(expr, name).is_some()) {
            found.borrow_mut().push(expr.clone());
        }
        false
    });
    found.into_inner()
}

fn window(expand: &mut Expand<'_>, select: &mut Select, call: &Expr) -> Result<Expr, SqlError> {
    let place = expand.text.place_of(call.span().start);
    let args = |name: &str| sql::args_of(call, name);
    if let Some(args) = args("tumble") {
        let [time, length] = &args[..] else { return Err(form("tumble(ts, '10s')", place)) };
        return bucket(time, stride(length, place)?);
    }
    if let Some(args) = args("hop") {
        let [time, step, length] = &args[..] else { return Err(form("hop(ts, '10s', '1m')", place)) };
        return hop(expand, select, time, [stride(step, place)?, stride(length, place)?], place);
    }
    let [from] = &select.from[..] else { return Err(one_relation(place)) };
    if !from.joins.is_empty() {
        return Err(one_relation(place));
    }
    let keys: Vec<String> = keys(expand, select).iter().map(ToString::to_string).collect();
    let by = if keys.is_empty() { String::new() } else { format!("PARTITION BY {}", keys.join(", ")) };
    let name = relation_name(&from.relation).unwrap_or_else(|| expand.name("_windowed"));
    let column = expand.name("_window");
    if let Some(args) = args("session") {
        let [time, gap] = &args[..] else { return Err(form("session(ts, '30s')", place)) };
        let gap = sql::interval(stride(gap, place)?)?;
        let before = format!("lag({time}) OVER ({by} ORDER BY {time})");
        let start = format!("CASE WHEN {before} + {gap} >= {time} THEN NULL ELSE {time} END");
        let start_name = format!("{column}_start");
        wrap(select, &name, &start, &start_name)?;
        let running = "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW";
        let session = format!("max({start_name}) OVER ({by} ORDER BY {time} {running})");
        wrap(select, &name, &session, &column)?;
        return Ok(sql::column(Some(&name), &column));
    }
    let count = args("count_window").as_deref().and_then(<[Expr]>::first).and_then(sql::number_of);
    let Some(count) = count.filter(|count| *count > 0) else { return Err(form("count_window(100)", place)) };
    let time = expand.times.of_select(select);
    let time = expand.need(time.as_ref(), "count_window", place)?;
    let mut order = time.expr().to_string();
    if let Some(seq) = time.seq() {
        expand.seq = true;
        order = format!("{order}, {seq}");
    }
    let number = format!("(row_number() OVER ({by} ORDER BY {order}) - 1) / {count}");
    wrap(select, &name, &format!("CAST({number} AS BIGINT)"), &column)?;
    Ok(sql::column(Some(&name), &column))
}

/// What the block groups by beside windows.
fn keys(expand: &Expand<'_>, select: &Select) -> Vec<Expr> {
    let is_window = |expr: &Expr| NAMES.iter().any(|name| sql::args_of(expr, name).is_some());
    let is_column = |e: &Expr| matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    let mut keys: Vec<Expr> = Vec::new();
    let aliases: Vec<&str> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if !is_column(expr) => Some(alias.value.as_str()),
            _ => None,
        })
        .collect();
    for expr in exprs(select) {
        let is_alias = matches!(expr, Expr::Identifier(name) if aliases.contains(&name.value.as_str()));
        let is_key = sql::any(expr, &is_column)
            && !is_alias
            && !sql::any(expr, &is_window)
            && !sql::any(expr, &|e| expand.is_aggregate(e));
        if is_key && !keys.contains(expr) {
            keys.push(expr.clone());
        }
    }
    keys
}

/// Puts what the block reads into a subquery with one more column.
fn wrap(select: &mut Select, name: &str, expr: &str, column: &str) -> Result<(), SqlError> {
    let mut inner = sql::select("SELECT *")?;
    inner.projection.push(sql::named(sql::expr(expr)?, column));
    inner.from = std::mem::take(&mut select.from);
    inner.selection = select.selection.take();
    select.from = vec![sql::derived(sql::query_of(inner)?, name)];
    Ok(())
}

fn bucket(time: &Expr, stride: Stride) -> Result<Expr, SqlError> {
    if stride.origin_us() == 0 {
        return Ok(crate::ast::call("date_bin", vec![sql::interval(stride)?, time.clone()]));
    }
    let spec = sql::text(&format!("{stride} +00:00"));
    Ok(crate::ast::call(BUCKET, vec![time.clone(), spec, sql::timestamp(stride.origin_us())?]))
}

fn hop(
    expand: &mut Expand<'_>,
    select: &mut Select,
    time: &Expr,
    [step, length]: [Stride; 2],
    place: Place,
) -> Result<Expr, SqlError> {
    let (Some(step_us), Some(length_us)) = (step.fixed_us(), length.fixed_us()) else {
        let error = SqlError::new(SqlCode::NotSupported, "hop() takes no months or years");
        return Err(error.hint("their lengths differ; write days").at(place));
    };
    let count = length_us / step_us;
    if count * step_us != length_us || !(1..=HOPS_MAX).contains(&count) {
        let message = format!("{length} is not a whole number of steps of {step}");
        let hint = format!("hop(ts, step, length) takes a length of 1 to {HOPS_MAX} steps");
        return Err(SqlError::new(SqlCode::Syntax, message).hint(hint).at(place));
    }
    let steps: Vec<String> = (0..count)
        .map(|k| Ok(format!("({})", sql::micros(k * step_us)?)))
        .collect::<Result<_, SqlError>>()?;
    let name = expand.name("_hop");
    let back = sql::query(&format!("SELECT column1 AS back FROM (VALUES {})", steps.join(", ")))?;
    select.from.push(sql::derived(back, &name));
    let start = bucket(time, step)?;
    Ok(Expr::Nested(Box::new(Expr::BinaryOp {
        left: Box::new(start),
        op: datafusion::sql::sqlparser::ast::BinaryOperator::Minus,
        right: Box::new(sql::column(Some(&name), "back")),
    })))
}

fn stride(expr: &Expr, place: Place) -> Result<Stride, SqlError> {
    sql::text_of(expr).and_then(Stride::parse).ok_or_else(|| {
        let error = SqlError::new(SqlCode::Syntax, format!("{expr} is no length of time"));
        error.hint(format!("write a whole number and a unit in quotes: {UNITS}")).at(place)
    })
}

fn form(form: &str, place: Place) -> SqlError {
    SqlError::new(SqlCode::Syntax, "a window lacks an argument").hint(format!("write {form}")).at(place)
}

fn one_relation(place: Place) -> SqlError {
    let error =
        SqlError::new(SqlCode::NotSupported, "session() and count_window() take one table or subquery");
    error.hint("write the join in a subquery").at(place)
}
