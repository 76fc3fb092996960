//! `a ASOF JOIN b ON (key) TOLERANCE 10s`, `LT JOIN`, `SPLICE JOIN`.
//!
//! The join that the parser saw keeps its place, its names and its `*`; its condition becomes a marker that
//! holds the times and the keys of both sides, and the planner puts a node in the join's place:
//! `_asof('ASOF', tolerance, a.ts, b.ts, a._seq, b._seq, a.key, b.key, …)`.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, JoinConstraint, JoinOperator, Select, Spanned};

use super::{
    calendar::{Stride, UNITS},
    expand::Expand,
    marker::{ASOF, LENGTH},
    sql,
    time::{Time, relation_name},
};
use crate::error::{SqlCode, SqlError};

/// Rewrites the joins by time of a block.
pub(super) fn expand(expand: &mut Expand<'_>, select: &mut Select) -> Result<(), SqlError> {
    for from in &mut select.from {
        let left = expand.times.of_relation(&from.relation, true);
        let left_name = relation_name(&from.relation);
        for join in &mut from.joins {
            let (JoinOperator::Left(JoinConstraint::On(on))
            | JoinOperator::LeftOuter(JoinConstraint::On(on))
            | JoinOperator::FullOuter(JoinConstraint::On(on))) = &mut join.join_operator
            else {
                continue;
            };
            let Some(args) = sql::args_of(on, ASOF) else { continue };
            let place = expand.text.place_of(args.first().map_or(on.span(), Spanned::span).start);
            let (kind, condition, tolerance) = match &args[..] {
                [kind, tolerance] => (kind, None, tolerance),
                [kind, condition, tolerance] => (kind, Some(condition), tolerance),
                _ => continue,
            };
            let tolerance = match sql::args_of(tolerance, LENGTH) {
                Some(length) => length_us(&length).map_err(|error| error.at(place))?,
                None => tolerance.clone(),
            };
            let clause = format!("{} JOIN", sql::text_of(kind).unwrap_or("ASOF"));
            let right = expand.times.of_relation(&join.relation, true);
            let (left, right) =
                (expand.need(left.as_ref(), &clause, place)?, expand.need(right.as_ref(), &clause, place)?);
            expand.seq |= left.of_table || right.of_table;
            let seq = |time: &Time| time.seq().unwrap_or_else(sql::null);
            let mut new = vec![kind.clone(), tolerance, left.expr(), right.expr()];
            new.extend([seq(&left), seq(&right)]);
            let names = (left_name.as_deref(), relation_name(&join.relation));
            let known = condition.is_none_or(|on| keys(on, names.0, names.1.as_deref(), &mut new));
            if !known {
                let message = format!("the condition of {clause} is not of equal keys alone");
                let error = SqlError::new(SqlCode::NotSupported, message).at(place);
                return Err(error.hint("write ON (key, …) or ON a.key = b.key AND …; filter in WHERE"));
            }
            *on = crate::ast::call(ASOF, new);
        }
    }
    Ok(())
}

/// A parameter's length of time in microseconds.
fn length_us(args: &[Expr]) -> Result<Expr, SqlError> {
    let stride = args.first().and_then(sql::text_of).and_then(Stride::parse);
    stride.and_then(Stride::fixed_us).map(sql::number).ok_or_else(|| {
        let error = SqlError::new(SqlCode::Parameter, "the parameter of TOLERANCE is no length of time");
        error.hint(format!("send a text of a whole number and a unit, but no months or years: {UNITS}"))
    })
}

/// Adds the pairs of keys of a condition; false if it has something else in it.
fn keys(on: &Expr, left: Option<&str>, right: Option<&str>, to: &mut Vec<Expr>) -> bool {
    match on {
        Expr::Nested(inner) => keys(inner, left, right, to),
        Expr::Tuple(names) => names.iter().all(|name| keys(name, left, right, to)),
        Expr::Identifier(name) => {
            to.extend([sql::column(left, &name.value), sql::column(right, &name.value)]);
            true
        }
        Expr::BinaryOp { left: a, op: BinaryOperator::And, right: b } => {
            keys(a, left, right, to) && keys(b, left, right, to)
        }
        Expr::BinaryOp { left: a, op: BinaryOperator::Eq, right: b } => {
            to.extend([(**a).clone(), (**b).clone()]);
            true
        }
        _ => false,
    }
}
