//! Functions that are another one by a name that QuestDB or a person gives it: written as that one before the query
//! is planned.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    NullTreatment, ObjectName, ObjectNamePart, Value,
};

use super::NOW;
use crate::ast::call;

/// Names of aggregates that only this file knows.
const AGGREGATES: [&str; 10] = [
    "first",
    "last",
    "first_not_null",
    "last_not_null",
    "count_distinct",
    "approx_count_distinct",
    "approx_percentile",
    "covar",
    "variance",
    "string_distinct_agg",
];

/// True for an aggregate that is written as another one.
pub(crate) fn is_aggregate(name: &str) -> bool {
    AGGREGATES.contains(&name)
}

/// Rewrites a call; true if its answer depends on the order in which rows were written.
pub(crate) fn respell(expr: &mut Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let [ObjectNamePart::Identifier(name)] = &mut function.name.0[..] else { return false };
    let plain = match name.value.as_str() {
        "first" | "first_value" => "first_value",
        "last" | "last_value" => "last_value",
        "first_not_null" | "last_not_null" => {
            name.value = if name.value == "first_not_null" { "first_value" } else { "last_value" }.to_owned();
            function.null_treatment = Some(NullTreatment::IgnoreNulls);
            return function.over.is_none();
        }
        "count_distinct" => return distinct(function, "count", 1),
        "string_distinct_agg" => return distinct(function, "string_agg", 2),
        "approx_count_distinct" => {
            keep(function, 1);
            "approx_distinct"
        }
        "approx_percentile" => {
            keep(function, 2);
            "approx_percentile_cont"
        }
        "to_lowercase" | "tolower" | "lcase" => "lower",
        "to_uppercase" | "toupper" | "ucase" => "upper",
        "variance" => "var",
        "covar" => "covar_samp",
        "rnd" => "random",
        "today" => return days(expr, 0),
        "yesterday" => return days(expr, -1),
        "tomorrow" => return days(expr, 1),
        _ => return false,
    };
    let Expr::Function(function) = expr else { return false };
    function.name = named(plain);
    matches!(plain, "first_value" | "last_value") && function.over.is_none()
}

fn named(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))])
}

/// Drops arguments that say how exact an estimate must be: ours is as exact as it is.
fn keep(function: &mut Function, count: usize) {
    if let FunctionArguments::List(list) = &mut function.args {
        list.args.truncate(count);
    }
}

fn distinct(function: &mut Function, name: &str, arity: usize) -> bool {
    if let FunctionArguments::List(list) = &mut function.args
        && list.args.len() == arity
    {
        list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
        function.name = named(name);
    }
    false
}

/// The beginning of a day, so many days from today.
fn days(expr: &mut Expr, count: i64) -> bool {
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = expr {
        match &list.args[..] {
            [] => *expr = day(count, None),
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(zone))] => *expr = day(count, Some(zone.clone())),
            _ => {}
        }
    }
    false
}

/// Where the day begins that is so many days from today, by the clock of a zone.
pub(crate) fn day(count: i64, zone: Option<Expr>) -> Expr {
    let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
    let now = call(NOW, Vec::new());
    let now = match &zone {
        Some(zone) => call("to_timezone", vec![now, zone.clone()]),
        None => now,
    };
    let today = call("date_trunc", vec![text("day"), now]);
    let number = Expr::value(Value::Number(count.to_string(), false));
    let day = if count == 0 { today } else { call("dateadd", vec![text("d"), number, today]) };
    match zone {
        Some(zone) => call("to_utc", vec![day, zone]),
        None => day,
    }
}
