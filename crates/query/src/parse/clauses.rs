//! What is not built, by name, with what works instead.

use datafusion::sql::sqlparser::{
    ast::{self, Spanned},
    tokenizer::Token,
};

use crate::{
    error::{SqlCode, SqlError},
    text::Text,
};

/// Words that a statement can begin with, for "did you mean".
pub(super) const STATEMENTS: [&str; 24] = [
    "SELECT",
    "WITH",
    "VALUES",
    "EXPLAIN",
    "INSERT",
    "UPDATE",
    "DELETE",
    "COPY",
    "DECLARE",
    "FETCH",
    "CREATE",
    "DROP",
    "TRUNCATE",
    "ALTER",
    "GRANT",
    "REVOKE",
    "SHOW",
    "SET",
    "RESET",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "DISCARD",
    "DEALLOCATE",
];

/// Statements that are known and refused.
const REFUSED_STATEMENTS: &[(&str, &str)] = &[
    (
        "MERGE",
        "insert the row again, and read the newest row of a key with SELECT DISTINCT ON (key) … ORDER BY key, ts DESC",
    ),
    ("UNLOAD", "read rows with /exec or /exp"),
    ("LOAD", "send rows with the line protocol or POST /api/v1/ingest/{table}"),
    ("VACUUM", "not needed: parts are merged by themselves"),
    ("ANALYZE", "not needed: parts know their extent"),
    ("REINDEX", "there are no indexes; parts are pruned by time"),
    ("CLUSTER", "parts are sorted by time already"),
    ("LISTEN", "subscribe to a query over /api/v1/live"),
    ("NOTIFY", "subscribe to a query over /api/v1/live"),
    ("PREPARE", "use the extended protocol of your driver, with $1, $2, …"),
    ("EXECUTE", "use the extended protocol of your driver, with $1, $2, …"),
    ("LOCK", "not needed: a query reads one snapshot, a write is one atomic record"),
    ("CALL", "there are no procedures"),
    ("USE", "any database name is accepted at login; name a schema as schema.table"),
    ("COMMENT", "comments on tables are not kept"),
];

pub(super) fn refused_statement(text: &Text, word: &str) -> Option<SqlError> {
    let (name, hint) = REFUSED_STATEMENTS.iter().find(|(name, _)| *name == word)?;
    // A table may have such a name: `comment WHERE …` is a query.
    if text.tokens.len() == 1 || matches!(text.token(1), Some(Token::Period)) {
        return None;
    }
    Some(not_supported(&format!("{name} is not supported"), hint).at(text.place(0)))
}

fn not_supported(message: &str, hint: &str) -> SqlError {
    SqlError::new(SqlCode::NotSupported, message).hint(hint)
}

/// Clauses of a query that are known, by their words.
const REFUSED_CLAUSES: [(&[&str], &str); 8] = [
    (
        &["WINDOW", "JOIN"],
        "write LEFT JOIN b ON b.key = a.key AND b.ts BETWEEN a.ts - INTERVAL '1 minute' AND a.ts + INTERVAL '1 minute', and GROUP BY a's columns",
    ),
    (&["FOR", "UPDATE"], "a query reads one snapshot and locks nothing; leave it out"),
    (&["FOR", "SHARE"], "a query reads one snapshot and locks nothing; leave it out"),
    (&["MATCH_RECOGNIZE"], "use window functions: lag, lead, row_number"),
    (&["TABLESAMPLE"], "filter on a column, or use LIMIT"),
    (&["PIVOT"], "use sum(x) FILTER (WHERE key = 'a') for each column"),
    (&["UNPIVOT"], "use UNION ALL of one SELECT for each column"),
    (&["DECLARE"], "write the value in its place, or use a parameter: $name"),
];

/// The first clause of `text` that is not built.
pub(super) fn refused_clause(text: &Text) -> Option<SqlError> {
    for i in 0..text.tokens.len() {
        for (words, hint) in REFUSED_CLAUSES {
            // A column may be called `sample`: then its name does not end an expression before BY.
            let is_alias = i > 0 && (text.is(i - 1, "AS") || text.token(i - 1) == Some(&Token::Period));
            let single_is_name = words.len() == 1 && text.token(i + 1) != Some(&Token::LParen);
            if text.are(i, words) && !is_alias && !(single_is_name && words[0] != "TABLESAMPLE") {
                let message = format!("{} is not supported yet", words.join(" "));
                return Some(not_supported(&message, hint).at(text.place(i)));
            }
        }
        if text.is(i, "INTO") && i > 0 && !text.is(i - 1, "INSERT") {
            let hint = "CREATE TABLE, then INSERT INTO table SELECT …";
            return Some(not_supported("SELECT … INTO is not supported", hint).at(text.place(i)));
        }
    }
    None
}

/// Refuses what the SQL parser takes and a query here must not do.
pub(super) fn check_query(text: &Text, query: &ast::Query) -> Result<(), SqlError> {
    let refuse = |span: datafusion::sql::sqlparser::tokenizer::Span, what: &str, hint: &str| {
        Err(not_supported(what, hint).at(text.place_of(span.start)))
    };
    if let Some(with) = &query.with {
        for cte in &with.cte_tables {
            check_query(text, &cte.query)?;
        }
    }
    check_body(text, &query.body)?;
    if !query.locks.is_empty() {
        return refuse(
            query.span(),
            "FOR UPDATE is not supported",
            "a query reads one snapshot; leave it out",
        );
    }
    Ok(())
}

fn check_body(text: &Text, body: &ast::SetExpr) -> Result<(), SqlError> {
    match body {
        ast::SetExpr::Select(_) | ast::SetExpr::Values(_) | ast::SetExpr::Table(_) => Ok(()),
        ast::SetExpr::Query(query) => check_query(text, query),
        ast::SetExpr::SetOperation { left, right, .. } => {
            check_body(text, left)?;
            check_body(text, right)
        }
        ast::SetExpr::Insert(_)
        | ast::SetExpr::Update(_)
        | ast::SetExpr::Delete(_)
        | ast::SetExpr::Merge(_) => {
            let hint = "write one statement for each change";
            Err(not_supported("a query cannot change tables", hint).at(text.place(0)))
        }
    }
}
