//! `LIMIT -10`, `LIMIT 5, 10`, `LIMIT -10, -5`, `LIMIT 5, -5`.
//!
//! A bound from the end is one from the beginning of the order's reverse: the rows are taken there, and turned
//! round by a node. Where nothing is ordered, a table's rows are in the order of time, for any LIMIT.

use datafusion::sql::sqlparser::ast::{
    Expr, LimitClause, Offset, OffsetRows, OrderBy, OrderByKind, Query, SelectItem, SetExpr,
};

use super::{
    expand::Expand,
    marker::{LAST, TAIL},
    sql,
    time::Time,
};
use crate::error::{SqlCode, SqlError};

/// Rewrites the query's LIMIT; [`flip`] ends the work once ties are broken.
pub(super) fn expand(expand: &mut Expand<'_>, query: &mut Query) -> Result<(), SqlError> {
    take_fetch(query);
    let Some(LimitClause::LimitOffset { limit: Some(limit), .. }) = &query.limit_clause else {
        return Ok(());
    };
    if let Some([rows]) = sql::args_of(limit, LAST).as_deref() {
        let rows = rows.clone();
        let is_ordered = expand.order_by_time(query).is_ok();
        query.limit_clause = is_ordered.then(|| LimitClause::LimitOffset {
            limit: Some(rows),
            offset: None,
            limit_by: Vec::new(),
        });
    }
    expand_bounds(expand, query)
}

fn expand_bounds(expand: &mut Expand<'_>, query: &mut Query) -> Result<(), SqlError> {
    let Some(LimitClause::LimitOffset { limit: Some(limit), offset, .. }) = &query.limit_clause else {
        return Ok(());
    };
    let bounds = match sql::args_of(limit, "_limit") {
        Some(args) => match &args[..] {
            [low, high] => {
                let number = |expr: &Expr| sql::number_of(expr).ok_or_else(|| not_whole(expr));
                (number(low)?, number(high)?)
            }
            _ => return Err(not_whole(limit)),
        },
        None => match sql::number_of(limit) {
            Some(count) if count < 0 => (count, 0),
            Some(0) => return Ok(()),
            _ => {
                expand.order_rows(query);
                return Ok(());
            }
        },
    };
    if offset.is_some() {
        let error = SqlError::new(SqlCode::Syntax, "OFFSET does not go with LIMIT low, high or LIMIT -n");
        return Err(error.hint("write both as LIMIT low, high"));
    }
    // A bound of 0 is none; bounds of one sign may stand in any order.
    let (low, high) = match bounds {
        (low, 0) if low > 0 => (0, low),
        (low, high) if (low < 0) == (high < 0) && low > high => (high, low),
        (0, high) if high < 0 => (0, high),
        (low, high) if low < 0 && high > 0 => {
            let error = SqlError::new(SqlCode::NotSupported, format!("LIMIT {low}, {high} is not supported"));
            return Err(error.hint("count both bounds from one end"));
        }
        bounds => bounds,
    };
    if query.order_by.is_none() {
        expand.order_by_time(query)?;
    }
    let (limit, offset) = if low >= 0 && high >= 0 {
        let offset = Offset { value: sql::number(low), rows: OffsetRows::None };
        (sql::number(high - low), Some(offset))
    } else {
        (crate::ast::call(TAIL, vec![sql::number(low), sql::number(high)]), None)
    };
    query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(limit), offset, limit_by: Vec::new() });
    Ok(())
}

/// `FETCH FIRST 5 ROWS ONLY` is a LIMIT.
fn take_fetch(query: &mut Query) {
    let offset = match &mut query.limit_clause {
        None => None,
        Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset.take(),
        Some(_) => return,
    };
    let count = match &mut query.fetch {
        Some(fetch) if !fetch.percent && !fetch.with_ties => fetch.quantity.take(),
        _ => {
            if let Some(LimitClause::LimitOffset { offset: place, .. }) = &mut query.limit_clause {
                *place = offset;
            }
            return;
        }
    };
    query.fetch = None;
    let limit = Some(count.unwrap_or_else(|| sql::number(1)));
    query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: Vec::new() });
}

fn not_whole(expr: &Expr) -> SqlError {
    let error = SqlError::new(SqlCode::Syntax, format!("{expr} is no number of rows"));
    error.hint("LIMIT takes whole numbers: LIMIT 10, LIMIT -10, LIMIT 5, 10")
}

impl Expand<'_> {
    /// Orders a table's rows by time where a LIMIT takes the first of them and nothing else is said: a page then is the
    /// same each time, and the next one follows it.
    fn order_rows(&mut self, query: &mut Query) {
        let SetExpr::Select(select) = &*query.body else { return };
        let [from] = &select.from[..] else { return };
        let is_plain = query.order_by.is_none() && select.distinct.is_none() && from.joins.is_empty();
        if !is_plain || self.is_grouped(select) || select.having.is_some() {
            return;
        }
        let time = self.times.of_relation(&from.relation, false).filter(|time| time.of_table);
        // Something else may be shown under the time's name, and then would be what is ordered by.
        let hides = |item: &SelectItem, time: &Time| match item {
            SelectItem::ExprWithAlias { expr, alias } => alias.value == time.name && !time.is(expr),
            _ => false,
        };
        if let Some(time) = time.filter(|time| !select.projection.iter().any(|item| hides(item, time))) {
            let kind = OrderByKind::Expressions(vec![sql::order(time.expr(), true)]);
            query.order_by = Some(OrderBy { kind, interpolate: None });
        }
    }

    /// Orders by time, the order in which rows are where nothing else is said.
    fn order_by_time(&mut self, query: &mut Query) -> Result<(), SqlError> {
        let time = match &*query.body {
            SetExpr::Select(select) if select.distinct.is_none() && !self.is_grouped(select) => {
                self.times.of_select(select).filter(|_| select.from.len() == 1)
            }
            _ => None,
        };
        let Some(time) = time else {
            let message = "LIMIT counts from an end of an order, and nothing is ordered";
            return Err(SqlError::new(SqlCode::Syntax, message).hint("add ORDER BY"));
        };
        let mut order = vec![sql::order(time.expr(), true)];
        self.seq |= time.of_table;
        order.extend(time.seq().map(|seq| sql::order(seq, true)));
        query.order_by = Some(OrderBy { kind: OrderByKind::Expressions(order), interpolate: None });
        Ok(())
    }
}

/// Turns the order of a query round that takes its tail.
pub(crate) fn flip(query: &mut Query) {
    let Some(LimitClause::LimitOffset { limit: Some(limit), .. }) = &query.limit_clause else { return };
    if sql::args_of(limit, TAIL).is_none() {
        return;
    }
    let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &mut query.order_by else { return };
    for by in order {
        by.options.asc = Some(by.options.asc == Some(false));
        by.options.nulls_first = by.options.nulls_first.map(|first| !first);
    }
}
