//! Sliding ranges: `ts >= now() - interval '5 minutes'` out of a WHERE clause.

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::{
    common::{
        Column, DFSchema, ScalarValue,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::{BinaryExpr, Expr, Operator, simplify::SimplifyContext},
    optimizer::simplify_expressions::ExprSimplifier,
};
use nowcast_views::{Bound, Window};

use super::expr::type_of;
use crate::functions::NOW;

/// Functions of DataFusion that read the clock, beside ours.
const CLOCK_FUNCTIONS: [&str; 5] = [NOW, "current_date", "today", "current_time", "current_timestamp"];

/// True if the expression names the present.
pub(super) fn names_clock(expr: &Expr) -> bool {
    let mut found = false;
    // The closure does not fail.
    let _ = expr.apply(|expr| {
        if matches!(expr, Expr::ScalarFunction(f) if CLOCK_FUNCTIONS.contains(&f.name())) {
            found = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// One side of a range: which column, which end, and its bound.
pub(super) struct Side {
    pub(super) column: Column,
    pub(super) is_lower: bool,
    pub(super) bound: Bound,
}

/// A conjunct that names the clock, as one side of a range.
pub(super) fn side(state: &SessionState, conjunct: &Expr, schema: &DFSchema) -> Result<Side, String> {
    let Expr::BinaryExpr(comparison) = conjunct else {
        return Err("now() stands in a condition that is no comparison with a time column".to_owned());
    };
    let (column, op, bound) = match (&*comparison.left, &*comparison.right) {
        (Expr::Column(column), bound) => (column, comparison.op, bound),
        (bound, Expr::Column(column)) => {
            (column, comparison.op.swap().ok_or_else(|| refused(comparison))?, bound)
        }
        _ => return Err(refused(comparison)),
    };
    let (is_lower, inclusive) = match op {
        Operator::Gt => (true, false),
        Operator::GtEq => (true, true),
        Operator::Lt => (false, false),
        Operator::LtEq => (false, true),
        _ => return Err(refused(comparison)),
    };
    if type_of(&Expr::Column(column.clone()), schema)? != DataType::Timestamp(TimeUnit::Microsecond, None) {
        return Err(format!("the column {:?} that is compared with now() is not TIMESTAMP", column.name));
    }
    let offset_us = offset_us(state, bound).ok_or_else(|| refused(comparison))?;
    Ok(Side { column: column.clone(), is_lower, bound: Bound { offset_us, inclusive } })
}

fn refused(comparison: &BinaryExpr) -> String {
    format!("the condition {comparison} is not a time column against now() and a fixed interval")
}

/// How far from now the expression is, if that is the same at any time.
fn offset_us(state: &SessionState, expr: &Expr) -> Option<i64> {
    // A second, an hour, a month and a leap day apart: an interval of months or a rounded time differs.
    const PROBES_S: [i64; 6] =
        [1_700_000_000, 1_700_000_001, 1_700_003_661, 1_702_700_007, 1_709_200_003, 1_740_800_011];
    let mut offset = None;
    for probe_s in PROBES_S {
        let now_us = probe_s * 1_000_000;
        let this = at(state, expr, now_us)? - now_us;
        if offset.is_some_and(|offset| offset != this) {
            return None;
        }
        offset = Some(this);
    }
    offset
}

/// The expression's value at a time.
fn at(state: &SessionState, expr: &Expr, now_us: i64) -> Option<i64> {
    let now = ScalarValue::TimestampMicrosecond(Some(now_us), None);
    let replaced = expr.clone().transform_up(|expr| {
        Ok(match &expr {
            Expr::ScalarFunction(f) if f.name() == NOW => Transformed::yes(Expr::Literal(now.clone(), None)),
            _ => Transformed::no(expr),
        })
    });
    let context = SimplifyContext::builder().with_config_options(state.config_options().clone()).build();
    let simplified = ExprSimplifier::new(context).simplify(replaced.ok()?.data).ok()?;
    match simplified {
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(us), None), _) => Some(us),
        _ => None,
    }
}

/// The tighter of two lower (or upper) bounds.
pub(super) fn tighter(a: Option<Bound>, b: Bound, is_lower: bool) -> Bound {
    let Some(a) = a else { return b };
    match a.offset_us.cmp(&b.offset_us) {
        std::cmp::Ordering::Equal => Bound { inclusive: a.inclusive && b.inclusive, ..a },
        order if order.is_gt() == is_lower => a,
        _ => b,
    }
}

/// `ts from now - 300 s, to now`.
pub(super) fn describe(window: &Window, input: &SchemaRef) -> String {
    let end = |bound: &Bound| match bound.offset_us {
        0 => "now".to_owned(),
        us if us < 0 => format!("now - {} s", us.unsigned_abs() as f64 / 1e6),
        us => format!("now + {} s", us as f64 / 1e6),
    };
    let column = input.field(window.column).name();
    match (&window.lower, &window.upper) {
        (Some(lower), Some(upper)) => format!("{column} from {} to {}", end(lower), end(upper)),
        (Some(lower), None) => format!("{column} from {}", end(lower)),
        (None, Some(upper)) => format!("{column} to {}", end(upper)),
        (None, None) => "none".to_owned(),
    }
}
