//! `LIMIT -10`, `LIMIT 5, 10`, `LIMIT -10, -5`, `LIMIT 5, -5`.
//!
//! A bound from the end is one from the beginning of the order's reverse: the rows are taken there, and turned
//! round by a node. Where nothing is ordered, a table's rows are in the order of time.

use datafusion::sql::sqlparser::ast::{
    Expr, LimitClause, Offset, OffsetRows, OrderBy, OrderByKind, Query, SetExpr,
};

use super::{expand::Expand, marker::TAIL, sql};
use crate::error::{SqlCode, SqlError};

/// Rewrites the query's LIMIT; [`flip`] ends the work once ties are broken.
pub(super) fn expand(expand: &mut Expand<'_>, query: &mut Query) -> Result<(), SqlError> {
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
            _ => return Ok(()),
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

fn not_whole(expr: &Expr) -> SqlError {
    let error = SqlError::new(SqlCode::Syntax, format!("{expr} is no number of rows"));
    error.hint("LIMIT takes whole numbers: LIMIT 10, LIMIT -10, LIMIT 5, 10")
}

impl Expand<'_> {
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
