//! `SAMPLE BY 5m FROM … TO … FILL(…) ALIGN TO …`.
//!
//! It is a GROUP BY over a bucket of the time column and the columns that are not aggregated. With FILL, the
//! block becomes a subquery whose rows go through a node that makes the missing ones ([`super::fill`]):
//!
//! ```text
//! SELECT ts, cab, avg(x) FROM t SAMPLE BY 5m FILL(PREV)
//! ─► SELECT _t AS ts, _c1 AS cab, _c2 AS avg
//!    FROM (SELECT date_bin(…, ts) AS _t, cab AS _c1, avg(x) AS _c2 FROM t GROUP BY …) AS _sampled
//!    WHERE _fill('5m …', _t, from, to, 'key', _c1, 'prev', _c2)
//! ```

use datafusion::sql::sqlparser::{
    ast::{BinaryOperator, Expr, GroupByExpr, Select, SelectItem},
    tokenizer::Token,
};

use super::{
    calendar::Zone,
    clause::{Align, Fill, Length, Sample, TextParam, read_offset, read_zone},
    expand::Expand,
    lift::Lift,
    marker::{BUCKET, FILL},
    sql,
    time::Time,
};
use crate::{
    error::{SqlCode, SqlError},
    rewrite,
};

const FORM: &str = "write SAMPLE BY 5m, then FROM … TO …, FILL(…), ALIGN TO …";

/// Values of a FILL list.
const FILLS_MAX: usize = 1_000;

/// Reads the clause off the tokens, its first word being the next.
pub(super) fn read(lift: &mut Lift<'_>) -> Result<Sample, SqlError> {
    let place = lift.text.place(lift.at);
    lift.at += 2;
    let stride = match lift.text.token(lift.at) {
        Some(Token::Placeholder(name)) => {
            let place = lift.text.place(lift.at);
            lift.at += 1;
            Length::Param(TextParam { name: name.clone(), place })
        }
        _ => Length::Is(lift.stride("as in SAMPLE BY 5m")?),
    };
    let align = Align::Calendar { zone: Zone::UTC, offset_us: 0 };
    let mut sample = Sample {
        place,
        stride,
        from: None,
        to: None,
        fill: Vec::new(),
        fill_place: place,
        align,
        zone: None,
        offset: None,
    };
    loop {
        let at = lift.text.place(lift.at);
        if lift.accept(&["FROM"]) {
            sample.from = Some(lift.expr(&["TO"], FORM)?);
        } else if lift.accept(&["TO"]) {
            sample.to = Some(lift.expr(&["FROM"], FORM)?);
        } else if lift.text.is(lift.at, "FILL") {
            sample.fill_place = at;
            sample.fill = read_fill(lift)?;
        } else if lift.accept(&["ALIGN", "TO"]) {
            read_align(lift, &mut sample)?;
        } else {
            return Ok(sample);
        }
    }
}

fn read_fill(lift: &mut Lift<'_>) -> Result<Vec<Fill>, SqlError> {
    const FORM: &str =
        "write FILL(NONE), FILL(NULL), FILL(PREV), FILL(LINEAR), FILL(0), or one for each aggregate";
    lift.at += 1;
    if !lift.accept_token(&Token::LParen) {
        return Err(lift.error("\"(\"", FORM));
    }
    let mut fills = Vec::new();
    loop {
        let at = lift.at;
        if lift.accept(&["NONE"]) {
            if !fills.is_empty() || lift.text.token(lift.at) != Some(&Token::RParen) {
                lift.at = at;
                return Err(lift.error("a value", FORM));
            }
        } else if lift.accept(&["NULL"]) {
            fills.push(Fill::Null);
        } else if lift.accept(&["PREV"]) {
            fills.push(Fill::Prev);
        } else if lift.accept(&["LINEAR"]) {
            fills.push(Fill::Linear);
        } else {
            fills.push(Fill::Value(Box::new(lift.expr(&[], FORM)?)));
        }
        if lift.accept_token(&Token::RParen) {
            return Ok(fills);
        }
        if fills.len() >= FILLS_MAX || !lift.accept_token(&Token::Comma) {
            return Err(lift.error("\",\" or \")\"", FORM));
        }
    }
}

fn read_align(lift: &mut Lift<'_>, sample: &mut Sample) -> Result<(), SqlError> {
    const FORM: &str = "write ALIGN TO CALENDAR TIME ZONE 'Europe/Berlin' WITH OFFSET '00:15', or ALIGN TO FIRST OBSERVATION";
    if lift.accept(&["FIRST", "OBSERVATION"]) {
        sample.align = Align::FirstObservation;
        return Ok(());
    }
    if !lift.accept(&["CALENDAR"]) {
        return Err(lift.error("CALENDAR or FIRST OBSERVATION", FORM));
    }
    let (mut zone, mut offset_us) = (Zone::UTC, 0);
    loop {
        let is_zone = lift.accept(&["TIME", "ZONE"]);
        if !is_zone && !lift.accept(&["WITH", "OFFSET"]) {
            sample.align = Align::Calendar { zone, offset_us };
            return Ok(());
        }
        let place = lift.text.place(lift.at);
        match lift.text.token(lift.at) {
            Some(Token::SingleQuotedString(text)) if is_zone => {
                zone = read_zone(text).map_err(|error| error.at(place))?;
            }
            Some(Token::SingleQuotedString(text)) => {
                offset_us = read_offset(text).map_err(|error| error.at(place))?;
            }
            Some(Token::Placeholder(name)) => {
                let param = TextParam { name: name.clone(), place };
                *(if is_zone { &mut sample.zone } else { &mut sample.offset }) = Some(param);
            }
            _ => return Err(lift.error("a text", FORM)),
        }
        lift.at += 1;
    }
}

/// Rewrites a block. Answers with what orders its rows by time.
pub(super) fn expand(
    expand: &mut Expand<'_>,
    select: &mut Select,
    sample: &Sample,
    time: &Time,
) -> Result<Expr, SqlError> {
    let stride = sample.stride()?;
    for (op, bound) in [(BinaryOperator::GtEq, &sample.from), (BinaryOperator::Lt, &sample.to)] {
        if let Some(bound) = bound {
            let right = Box::new(sql::as_timestamp(bound.clone())?);
            let bound = Expr::BinaryOp { left: Box::new(time.expr()), op, right };
            select.selection = Some(sql::and(select.selection.take(), bound));
        }
    }
    let bucket = bucket(expand, select, sample, time)?;
    rewrite::name_columns(select);
    let is_time = |expr: &Expr| time.is(expr);
    let is_aggregate = |expr: &Expr| expand.is_aggregate(expr);
    let mut columns = Vec::new();
    for item in std::mem::take(&mut select.projection) {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = rewrite::short_name(&expr);
                (expr, name)
            }
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias.value),
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => {
                let error = SqlError::new(SqlCode::Syntax, "SAMPLE BY does not go with *");
                let hint = "name the columns to group by, and the aggregates";
                return Err(error.hint(hint).at(sample.place));
            }
            other => {
                let error = SqlError::new(SqlCode::NotSupported, format!("SAMPLE BY does not take {other}"));
                return Err(error.hint("name the columns").at(sample.place));
            }
        };
        columns.push(Column::of(expr, name, &is_time, &is_aggregate));
    }
    let mut groups = match &select.group_by {
        GroupByExpr::Expressions(groups, _) => groups.clone(),
        GroupByExpr::All(_) => Vec::new(),
    };
    for group in &mut groups {
        sql::replace(group, &|_| false, &|e| is_time(e).then(|| bucket.clone()));
    }
    let fills = fills(sample, &columns)?;
    if fills.is_empty() {
        for mut column in columns {
            sql::replace(&mut column.expr, &is_aggregate, &|e| is_time(e).then(|| bucket.clone()));
            if column.kind == Kind::Key && !groups.contains(&column.expr) {
                groups.push(column.expr.clone());
            }
            select.projection.push(sql::named(column.expr, &column.name));
        }
        if !groups.contains(&bucket) {
            groups.push(bucket.clone());
        }
        select.group_by = GroupByExpr::Expressions(groups, Vec::new());
        // By its name where it is shown: there the planner reads the time's name as the bucket's.
        let shown = select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if *expr == bucket => {
                Some(Expr::Identifier(alias.clone()))
            }
            _ => None,
        });
        return Ok(shown.unwrap_or(bucket));
    }

    let mut outer = sql::select("SELECT 1")?;
    outer.projection.clear();
    let mut args = vec![sql::text(&format!("{stride} {}", zone_name(sample)))];
    args.push(sql::column(None, TIME));
    let origin = match sample.align {
        Align::FirstObservation => sql::null(),
        Align::Calendar { .. } => origin(sample)?,
    };
    args.push(sql::as_timestamp(origin)?);
    for end in [&sample.from, &sample.to] {
        args.push(sql::as_timestamp(end.clone().unwrap_or_else(sql::null))?);
    }
    select.projection.push(sql::named(bucket.clone(), TIME));
    let mut fills = fills.into_iter();
    for (i, mut column) in columns.into_iter().enumerate() {
        let name = format!("_c{i}");
        let shown = sql::column(None, &name);
        match column.kind {
            Kind::Time => {
                let mut expr = column.expr;
                sql::replace(&mut expr, &|_| false, &|e| is_time(e).then(|| sql::column(None, TIME)));
                outer.projection.push(sql::named(expr, &column.name));
                continue;
            }
            Kind::Key => {
                if sql::any(&column.expr, &is_time) {
                    let message = format!("{} mixes the time with other columns", column.name);
                    let error = SqlError::new(SqlCode::NotSupported, message).at(sample.fill_place);
                    return Err(error.hint("with FILL, compute it around the sampled query"));
                }
                args.push(sql::text("key"));
                args.push(shown.clone());
                if !groups.contains(&column.expr) {
                    groups.push(column.expr.clone());
                }
            }
            Kind::Constant => {
                outer.projection.push(sql::named(column.expr, &column.name));
                continue;
            }
            Kind::Aggregate => {
                sql::replace(&mut column.expr, &is_aggregate, &|e| is_time(e).then(|| bucket.clone()));
                match fills.next().unwrap_or(Fill::Null) {
                    Fill::Null => args.extend([sql::text("null"), shown.clone()]),
                    Fill::Prev => args.extend([sql::text("prev"), shown.clone()]),
                    Fill::Linear => args.extend([sql::text("linear"), shown.clone()]),
                    Fill::Value(value) => args.extend([sql::text("value"), shown.clone(), *value]),
                }
            }
        }
        select.projection.push(sql::named(column.expr, &name));
        outer.projection.push(sql::named(shown, &column.name));
    }
    if !groups.contains(&bucket) {
        groups.push(bucket);
    }
    select.group_by = GroupByExpr::Expressions(groups, Vec::new());
    let inner = std::mem::replace(select, outer);
    select.from = vec![sql::derived(sql::query_of(inner)?, rewrite::SAMPLED)];
    select.selection = Some(crate::ast::call(FILL, args));
    Ok(sql::column(None, TIME))
}

/// The bucket's name in the subquery of a filled block.
const TIME: &str = "_t";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Made of the time alone.
    Time,
    Key,
    Constant,
    Aggregate,
}

struct Column {
    expr: Expr,
    name: String,
    kind: Kind,
}

impl Column {
    fn of(
        expr: Expr,
        name: String,
        is_time: &dyn Fn(&Expr) -> bool,
        is_aggregate: &dyn Fn(&Expr) -> bool,
    ) -> Column {
        let is_other =
            |e: &Expr| matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) && !is_time(e);
        let kind = match () {
            () if sql::any(&expr, is_aggregate) => Kind::Aggregate,
            () if sql::any(&expr, &is_other) => Kind::Key,
            () if sql::any(&expr, is_time) => Kind::Time,
            () => Kind::Constant,
        };
        Column { expr, name, kind }
    }
}

/// A value for each aggregate; none if nothing is to be filled.
fn fills(sample: &Sample, columns: &[Column]) -> Result<Vec<Fill>, SqlError> {
    let aggregates = columns.iter().filter(|column| column.kind == Kind::Aggregate).count();
    match &sample.fill[..] {
        [] => Ok(Vec::new()),
        [one] => Ok(vec![one.clone(); aggregates.max(1)]),
        many if many.len() == aggregates => Ok(many.to_vec()),
        many => {
            let message = format!("FILL has {} values for {aggregates} aggregates", many.len());
            let error = SqlError::new(SqlCode::Syntax, message).at(sample.fill_place);
            Err(error.hint("give one for all of them, or one for each, in their order"))
        }
    }
}

fn zone_name(sample: &Sample) -> String {
    match sample.align {
        Align::FirstObservation => "first".to_owned(),
        Align::Calendar { zone: Zone::Fixed(us), .. } => {
            let minutes = us.abs() / 60_000_000;
            let sign = if us < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
        Align::Calendar { zone: Zone::Named(zone), .. } => zone.name().to_owned(),
    }
}

/// Where buckets begin, by the wall clock.
fn origin(sample: &Sample) -> Result<Expr, SqlError> {
    let Align::Calendar { offset_us, .. } = sample.align else { return Ok(sql::null()) };
    match &sample.from {
        Some(from) if offset_us == 0 => sql::as_timestamp(from.clone()),
        Some(from) => {
            let left = Box::new(sql::as_timestamp(from.clone())?);
            let right = Box::new(sql::micros(offset_us)?);
            Ok(Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Plus, right })))
        }
        None => sql::timestamp(sample.stride()?.origin_us().saturating_add(offset_us)),
    }
}

/// The bucket of the block's time.
fn bucket(
    expand: &mut Expand<'_>,
    select: &mut Select,
    sample: &Sample,
    time: &Time,
) -> Result<Expr, SqlError> {
    let stride = sample.stride()?;
    let spec = || sql::text(&format!("{stride} {}", zone_name(sample)));
    match sample.align {
        // With an origin, date_bin would answer in nanoseconds.
        Align::Calendar { zone: Zone::Fixed(0), offset_us: 0 }
            if sample.from.is_none() && stride.origin_us() == 0 =>
        {
            Ok(crate::ast::call("date_bin", vec![sql::interval(stride)?, time.expr()]))
        }
        Align::Calendar { .. } => Ok(crate::ast::call(BUCKET, vec![time.expr(), spec(), origin(sample)?])),
        Align::FirstObservation => {
            // The first time of the same rows, joined to each of them.
            let mut first = sql::select("SELECT 1")?;
            first.projection = vec![sql::named(crate::ast::call("min", vec![time.expr()]), "_first")];
            first.from.clone_from(&select.from);
            first.selection.clone_from(&select.selection);
            let name = expand.name("_first");
            select.from.push(sql::derived(sql::query_of(first)?, &name));
            let origin = sql::column(Some(&name), "_first");
            Ok(crate::ast::call(BUCKET, vec![time.expr(), spec(), origin]))
        }
    }
}
