//! `LATEST ON ts PARTITION BY a, b`: of each key the row with the latest time; of equal times the last written.
//!
//! ```text
//! SELECT … FROM t WHERE c LATEST ON ts PARTITION BY a
//! ─► SELECT … FROM (SELECT DISTINCT ON (a) * FROM t WHERE c ORDER BY a, ts DESC, _seq DESC) AS t
//! ```

use datafusion::sql::sqlparser::ast::{Distinct, OrderBy, OrderByKind, Select};

use super::{clause::Latest, expand::Expand, sql, time::Time, time::relation_name};
use crate::error::{SqlCode, SqlError};

pub(super) fn expand(
    expand: &mut Expand<'_>,
    select: &mut Select,
    latest: &Latest,
    time: Option<&Time>,
) -> Result<(), SqlError> {
    let [from] = &select.from[..] else { return Err(one_relation(latest)) };
    if !from.joins.is_empty() {
        return Err(one_relation(latest));
    }
    let name = relation_name(&from.relation).unwrap_or_else(|| expand.name("_latest"));
    let on = match &latest.on {
        Some(on) => on.clone(),
        None => expand.need(time, "LATEST BY", latest.place)?.expr(),
    };
    let seq = time.and_then(Time::seq);
    expand.seq |= seq.is_some();
    let mut order: Vec<_> = latest.keys.iter().map(|key| sql::order(key.clone(), true)).collect();
    order.push(sql::order(on, false));
    for by in &mut order {
        by.options.nulls_first = Some(false);
    }
    order.extend(seq.map(|seq| sql::order(seq, false)));
    let mut inner = sql::select("SELECT *")?;
    inner.distinct = Some(Distinct::On(latest.keys.clone()));
    inner.from = std::mem::take(&mut select.from);
    inner.selection = select.selection.take();
    let mut query = sql::query_of(inner)?;
    query.order_by = Some(OrderBy { kind: OrderByKind::Expressions(order), interpolate: None });
    select.from = vec![sql::derived(query, &name)];
    Ok(())
}

fn one_relation(latest: &Latest) -> SqlError {
    let error = SqlError::new(SqlCode::NotSupported, "LATEST takes one table or subquery, not a join");
    error
        .hint("write it in a subquery: FROM (SELECT * FROM t LATEST ON ts PARTITION BY key) JOIN …")
        .at(latest.place)
}
