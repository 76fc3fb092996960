//! What stands in for parameters that have no value yet, where the planner wants a constant: only so can a
//! statement be described before its values come. Each place tells the type of what it takes.

use std::{collections::BTreeMap, ops::ControlFlow};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, LimitClause, Query, TableFactor, Value, VisitMut,
    VisitorMut,
};

use crate::{
    dialect::{INTERVAL, LENGTH},
    params::placeholder,
    rewrite,
};

/// The types of parameters by their index from 0, of those whose place told it.
pub(crate) type Placed = BTreeMap<usize, DataType>;

pub(crate) const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Windows whose arguments behind the time are lengths of time.
const WINDOWS: [&str; 3] = ["tumble", "hop", "session"];

/// Puts constants in the place of positional parameters.
pub(crate) fn stand_in(query: &mut Query, placed: &mut Placed) {
    let ControlFlow::Continue(()) = query.visit(&mut StandIn { placed });
}

/// Puts `constant` in the place of `expr`, or of parts of it, if they are positional parameters.
pub(crate) fn replace(expr: &mut Expr, constant: &Value, ty: &DataType, placed: &mut Placed) {
    let ControlFlow::Continue(()) = expr.visit(&mut Replace { constant, ty, placed });
}

/// The index of a positional parameter.
pub(crate) fn index(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse::<usize>().ok().filter(|number| *number <= 65_535)?.checked_sub(1)
}

struct StandIn<'a> {
    placed: &'a mut Placed,
}

impl StandIn<'_> {
    fn number(&mut self, expr: &mut Expr) {
        replace(expr, &Value::Number("1".to_owned(), false), &DataType::Int64, self.placed);
    }

    fn text(&mut self, expr: &mut Expr, text: &str) {
        replace(expr, &Value::SingleQuotedString(text.to_owned()), &DataType::Utf8, self.placed);
    }
}

impl VisitorMut for StandIn<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                let bounds = limit.iter_mut().chain(offset.iter_mut().map(|offset| &mut offset.value));
                bounds.for_each(|bound| self.number(bound));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.number(offset);
                self.number(limit);
            }
            None => {}
        }
        if let Some(quantity) = query.fetch.as_mut().and_then(|fetch| fetch.quantity.as_mut()) {
            self.number(quantity);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Self::Break> {
        let args = match table {
            TableFactor::Table { args: Some(args), .. } => &mut args.args,
            TableFactor::Function { args, .. } => args,
            _ => return ControlFlow::Continue(()),
        };
        for arg in args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg
                && placeholder(arg).is_some()
            {
                self.number(arg);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = rewrite::last(&function.name);
        let is_window = WINDOWS.contains(&&*name);
        if !is_window && ![INTERVAL, LENGTH, "count_window"].contains(&&*name) {
            return ControlFlow::Continue(());
        }
        let FunctionArguments::List(list) = &mut function.args else { return ControlFlow::Continue(()) };
        for arg in list.args.iter_mut().skip(usize::from(is_window)) {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else { continue };
            match &*name {
                "count_window" => self.number(arg),
                INTERVAL => self.text(arg, "1970"),
                _ => self.text(arg, "1h"),
            }
        }
        ControlFlow::Continue(())
    }
}

struct Replace<'a> {
    constant: &'a Value,
    ty: &'a DataType,
    placed: &'a mut Placed,
}

impl VisitorMut for Replace<'_> {
    type Break = std::convert::Infallible;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if let Some(index) = placeholder(expr).and_then(index) {
            self.placed.entry(index).or_insert_with(|| self.ty.clone());
            *expr = Expr::value(self.constant.clone());
        }
        ControlFlow::Continue(())
    }
}
