//! A query of the catalogue as a client sent it, read in two ways.
//!
//! The parser that makes PostgreSQL's queries plannable puts NULL in the place of a subquery in a SELECT list that
//! names a column of the query around it. Most such subqueries can be planned: one in parentheses of its own is
//! left as it is. Where the query cannot be planned so, the other reading stands.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{self, Expr, SelectItem, SetExpr, Visit, Visitor},
    dialect::PostgreSqlDialect,
    parser::Parser,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

use crate::pg::error::WireError;

/// One statement.
#[derive(Debug)]
pub(in crate::pg) struct Asked {
    /// With its subqueries, if there are such.
    pub(super) whole: Option<ast::Statement>,
    /// As it can be planned for certain.
    pub(super) plain: ast::Statement,
}

impl Asked {
    /// Reads a text.
    ///
    /// # Errors
    /// It is no SQL, or not one statement.
    pub(in crate::pg) fn parse(parser: &PostgresCompatibilityParser, text: &str) -> Result<Asked, WireError> {
        let one = |text: &str| {
            let mut statements = parser.parse(text).map_err(|e| WireError::new("42601", e.to_string()))?;
            match (statements.pop(), statements.len()) {
                (Some(statement), 0) => Ok(statement),
                _ => Err(WireError::new("42601", "one statement is expected")),
            }
        };
        let plain = one(text)?;
        Ok(Asked { whole: kept(text).and_then(|text| one(&text).ok()), plain })
    }
}

/// The text with parentheses around each subquery of a SELECT list; `None` if there is none.
fn kept(text: &str) -> Option<String> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().ok()?;
    let statements = Parser::new(&dialect).with_tokens_with_locations(tokens.clone()).parse_statements();
    let mut starts = Starts(Vec::new());
    let ControlFlow::Continue(()) = statements.ok()?.visit(&mut starts);
    if starts.0.is_empty() {
        return None;
    }
    let mut kept = String::with_capacity(text.len() + 2 * starts.0.len());
    // How many parentheses are open, and at which depths one of ours is.
    let (mut depth, mut ours) = (0_usize, Vec::new());
    for TokenWithSpan { token, span } in &tokens {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => {
                if ours.last() == Some(&depth) {
                    ours.pop();
                    kept.push(')');
                }
                depth = depth.saturating_sub(1);
            }
            _ if starts.0.contains(&span.start) => {
                ours.push(depth);
                kept.push('(');
            }
            _ => {}
        }
        kept.push_str(&token.to_string());
    }
    Some(kept)
}

/// Where the SELECTs of such subqueries begin.
struct Starts(Vec<Location>);

impl Visitor for Starts {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<Self::Break> {
        if let SetExpr::Select(select) = &*query.body {
            for item in &select.projection {
                if let SelectItem::UnnamedExpr(Expr::Subquery(inner))
                | SelectItem::ExprWithAlias { expr: Expr::Subquery(inner), .. } = item
                    && let SetExpr::Select(select) = &*inner.body
                    && inner.with.is_none()
                {
                    self.0.push(select.select_token.0.span.start);
                }
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn subqueries_of_a_select_list_are_put_in_parentheses() {
        let table = [
            (
                "SELECT a, (SELECT b FROM t) FROM (SELECT 1) x",
                "SELECT a, ((SELECT b FROM t)) FROM (SELECT 1) x",
            ),
            (
                "SELECT (\n SELECT max((a)) FROM t WHERE f(x) IN (SELECT 'ü)')) AS \"m\", (SELECT 1)",
                "SELECT (\n (SELECT max((a)) FROM t WHERE f(x) IN (SELECT 'ü)'))) AS \"m\", ((SELECT 1))",
            ),
            ("SELECT (SELECT (SELECT 1))", "SELECT ((SELECT ((SELECT 1))))"),
        ];
        for (text, expected) in table {
            assert_eq!(kept(text).unwrap(), expected);
        }
        for text in ["SELECT 1", "SELECT a FROM t WHERE a = (SELECT 1)", "SELECT ("] {
            assert_eq!(kept(text), None, "{text}");
        }
    }

    #[test]
    fn what_names_a_column_around_it_stays() {
        let text = "SELECT relname, (SELECT n.nspname FROM pg_namespace n WHERE n.oid = c.relnamespace) s FROM pg_class c";
        let asked = Asked::parse(&PostgresCompatibilityParser::new(), text).unwrap();
        assert!(asked.whole.unwrap().to_string().contains("n.oid = c.relnamespace"));
        assert!(asked.plain.to_string().contains("NULL"));
    }
}
