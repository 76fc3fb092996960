//! PostgreSQL's grammar for a parser that ends.
//!
//! Where two readings are possible the parser tries the first, and goes back. One that goes back at each level of a
//! nesting doubles its work with each: fifty calls inside each other would keep a thread for years. So the reading that
//! does so for calls is left out (`name => value` is read as a name, never as an expression), and all else is counted.

use std::{any::TypeId, cell::Cell, iter::Peekable, str::Chars};

use datafusion::sql::sqlparser::{
    ast::Expr,
    dialect::{Dialect, PostgreSqlDialect, Precedence},
    keywords::Keyword,
    parser::{Parser, ParserError},
};

/// Expressions that are begun for each token, at most; one that is read once begins a few.
const STEPS_PER_TOKEN: usize = 20;

/// For short texts, in which a few levels may be read twice.
const STEPS_MIN: usize = 50_000;

/// For one text: it counts.
#[derive(Debug)]
pub struct Grammar {
    inner: PostgreSqlDialect,
    steps_left: Cell<usize>,
}

impl Grammar {
    /// For a text of so many tokens, or bytes.
    pub fn new(tokens: usize) -> Grammar {
        let steps = tokens.saturating_mul(STEPS_PER_TOKEN).saturating_add(STEPS_MIN);
        Grammar { inner: PostgreSqlDialect {}, steps_left: Cell::new(steps) }
    }
}

macro_rules! as_postgres {
    ($($flag:ident),* $(,)?) => {
        $(fn $flag(&self) -> bool {
            self.inner.$flag()
        })*
    };
}

impl Dialect for Grammar {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, _: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        match self.steps_left.get().checked_sub(1) {
            Some(left) => {
                self.steps_left.set(left);
                None
            }
            // The one error behind which nothing else is tried.
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.inner.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.inner.is_delimited_identifier_start(ch)
    }

    fn is_nested_delimited_identifier_start(&self, ch: char) -> bool {
        self.inner.is_nested_delimited_identifier_start(ch)
    }

    fn peek_nested_delimited_identifier_quotes(
        &self,
        chars: Peekable<Chars<'_>>,
    ) -> Option<(char, Option<char>)> {
        self.inner.peek_nested_delimited_identifier_quotes(chars)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.inner.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.inner.is_identifier_part(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.inner.is_custom_operator_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        self.inner.is_reserved_for_identifier(keyword)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        self.inner.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        self.inner.prec_value(precedence)
    }

    as_postgres! {
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_named_fn_args_with_colon_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint
    }
}
