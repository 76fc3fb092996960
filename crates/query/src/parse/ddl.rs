//! Statements about tables: CREATE, DROP, TRUNCATE, ALTER, RENAME.

use datafusion::sql::sqlparser::tokenizer::Token;
use nowcast_model::{Column, PartitionBy};

use super::{cursor::Cursor, types::column_type};
use crate::{
    error::{Place, SqlCode, SqlError, did_you_mean},
    statement::{CreateTable, NameRef, Select, Statement},
    text::Text,
};

fn not_supported(message: &str, hint: &str) -> SqlError {
    SqlError::new(SqlCode::NotSupported, message).hint(hint)
}

pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let place = cursor.place();
    let word = cursor.upper().unwrap_or_default();
    let hint = match word.as_str() {
        "TABLE" => {
            cursor.skip();
            return create_table(cursor).map(Statement::CreateTable);
        }
        "SCHEMA" => {
            cursor.skip();
            let if_not_exists = cursor.if_not_exists();
            let (name, place) = cursor.name("a schema's name")?;
            cursor.expect_end()?;
            return Ok(Statement::CreateSchema { name, if_not_exists, place });
        }
        "EXTERNAL" => "send rows with the line protocol or POST /api/v1/ingest/{table}; files are not read",
        "TEMP" | "TEMPORARY" | "UNLOGGED" => "use WITH name AS (SELECT …) in the query, or CREATE TABLE",
        "VIEW" | "MATERIALIZED" | "OR" => {
            "every query is kept live by itself: subscribe to it, or put it on a dashboard"
        }
        "INDEX" | "UNIQUE" => "not needed: parts are pruned by time, symbols are dictionaries",
        "DATABASE" => "any database name is accepted at login; use CREATE SCHEMA",
        "USER" | "ROLE" => "rights come with tokens, in the configuration",
        "FUNCTION" | "PROCEDURE" | "TRIGGER" => "write the expression in the query",
        "SEQUENCE" => "rows are numbered already: the hidden column _seq",
        "EXTENSION" => "leave it out: what Nowcast has is always there",
        _ => return Err(cursor.error("TABLE or SCHEMA after CREATE")),
    };
    Err(not_supported(&format!("CREATE {word} is not supported"), hint).at(place))
}

fn create_table(cursor: &mut Cursor<'_>) -> Result<CreateTable, SqlError> {
    let if_not_exists = cursor.if_not_exists();
    let table = cursor.table()?;
    let mut create = CreateTable {
        table,
        if_not_exists,
        columns: Vec::new(),
        source: None,
        casts: Vec::new(),
        like: None,
        timestamp: None,
        partition_by: None,
        ttl_s: None,
        dedup_keys: Vec::new(),
    };
    if cursor.accept("AS") {
        create.source = Some(source(cursor)?);
        while cursor.accept_token(&Token::Comma) {
            cast_or_index(cursor, &mut create)?;
        }
        return options(cursor, create);
    }
    cursor.expect_token(&Token::LParen)?;
    if cursor.accept("LIKE") {
        create.like = Some(cursor.table()?);
        cursor.expect_token(&Token::RParen)?;
        return options(cursor, create);
    }
    loop {
        if let Some(error) = table_constraint(cursor) {
            return Err(error);
        }
        if cursor.are(&["INDEX"]) && cursor.text().token(cursor.index() + 1) == Some(&Token::LParen) {
            index(cursor)?;
        } else {
            create.columns.push(column(cursor)?);
        }
        if !cursor.accept_token(&Token::Comma) {
            break;
        }
    }
    if !cursor.accept_token(&Token::RParen) {
        return Err(cursor.error("\",\" or \")\""));
    }
    options(cursor, create)
}

fn options(cursor: &mut Cursor<'_>, mut create: CreateTable) -> Result<CreateTable, SqlError> {
    while !cursor.is_end() {
        table_option(cursor, &mut create)?;
    }
    Ok(create)
}

/// The query behind AS: in parentheses, or all that is left.
fn source(cursor: &mut Cursor<'_>) -> Result<Select, SqlError> {
    let text = cursor.text();
    let from = cursor.index();
    if !cursor.accept_token(&Token::LParen) {
        let rest = text.from(from);
        while !cursor.is_end() {
            cursor.skip();
        }
        return super::query_in(&rest, 0, "CREATE TABLE … AS");
    }
    let mut depth = 1_usize;
    while let Some(token) = cursor.peek() {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let inner = text.tokens[from + 1..cursor.index()].into();
            cursor.skip();
            return super::query_in(
                &Text { source: text.source.clone(), tokens: inner },
                0,
                "CREATE TABLE … AS",
            );
        }
        cursor.skip();
    }
    Err(cursor.error("\")\""))
}

/// `cast(column AS TYPE)` or `INDEX(column)` behind the query.
fn cast_or_index(cursor: &mut Cursor<'_>, create: &mut CreateTable) -> Result<(), SqlError> {
    if cursor.are(&["INDEX"]) {
        return index(cursor);
    }
    cursor.expect("CAST", "CREATE TABLE t AS (SELECT …), cast(column AS SYMBOL)")?;
    cursor.expect_token(&Token::LParen)?;
    let (name, place) = cursor.name("a column")?;
    cursor.expect("AS", "cast(column AS TYPE)")?;
    let ty = column_type(cursor)?;
    create.casts.push((name, ty, place));
    cursor.expect_token(&Token::RParen)
}

/// `INDEX(column CAPACITY n)`: QuestDB's index on a symbol; here a dictionary needs none.
fn index(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    cursor.skip();
    cursor.expect_token(&Token::LParen)?;
    cursor.name("a column")?;
    if cursor.accept("CAPACITY") {
        cursor.accept_number().ok_or_else(|| cursor.error("a number"))?;
    }
    cursor.expect_token(&Token::RParen)
}

fn table_constraint(cursor: &Cursor<'_>) -> Option<SqlError> {
    let keys = "leave it out, and read the newest row of a key with SELECT DISTINCT ON (key) … ORDER BY key, ts DESC";
    let (words, hint): (&[&str], &str) = match cursor.upper()?.as_str() {
        "CONSTRAINT" => (&["CONSTRAINT"], keys),
        "PRIMARY" if cursor.are(&["PRIMARY", "KEY"]) => (&["PRIMARY", "KEY"], keys),
        "FOREIGN" if cursor.are(&["FOREIGN", "KEY"]) => {
            (&["FOREIGN", "KEY"], "leave it out and join in the query")
        }
        "UNIQUE" if cursor.text().token(cursor.index() + 1) == Some(&Token::LParen) => (&["UNIQUE"], keys),
        "CHECK" if cursor.text().token(cursor.index() + 1) == Some(&Token::LParen) => {
            (&["CHECK"], "leave it out and filter in the query")
        }
        _ => return None,
    };
    Some(not_supported(&format!("{} is not supported", words.join(" ")), hint).at(cursor.place()))
}

fn column(cursor: &mut Cursor<'_>) -> Result<Column, SqlError> {
    let (name, _) = cursor.name("a column's name")?;
    let ty = column_type(cursor)?;
    loop {
        // An absent field is NULL, so NOT NULL is read as a comment: it is not enforced.
        if cursor.accept("NULL") || cursor.accept_all(&["NOT", "NULL"]) {
            continue;
        }
        let keys = "leave it out, and read the newest row of a key with SELECT DISTINCT ON (key) … ORDER BY key, ts DESC";
        let hint = match cursor.upper().as_deref() {
            Some("PRIMARY" | "UNIQUE") => keys,
            Some("DEFAULT") => "leave it out and send the value, or use coalesce(column, value) in queries",
            Some("REFERENCES") => "leave it out and join in the query",
            Some("CHECK") => "leave it out and filter in the query",
            Some("GENERATED") => "leave it out and compute the value in queries",
            Some("COLLATE") => "leave it out: text is ordered by code point",
            _ => return Ok(Column::new(&name, ty)),
        };
        let clause = cursor.upper().unwrap_or_default();
        let clause = if clause == "PRIMARY" { "PRIMARY KEY".to_owned() } else { clause };
        return Err(not_supported(&format!("{clause} is not supported"), hint).at(cursor.place()));
    }
}

fn table_option(cursor: &mut Cursor<'_>, create: &mut CreateTable) -> Result<(), SqlError> {
    let form = "timestamp(ts) PARTITION BY DAY TTL 7 DAYS DEDUP UPSERT KEYS(ts, key)";
    if cursor.accept("TIMESTAMP") {
        let names = cursor.names("the time column")?;
        if let Some(name) = names.into_iter().next() {
            create.timestamp = Some(name);
        }
    } else if cursor.accept_all(&["PARTITION", "BY"]) {
        let place = cursor.place();
        let unit = cursor.upper().unwrap_or_default();
        let by = match unit.as_str() {
            "NONE" => PartitionBy::None,
            "HOUR" => PartitionBy::Hour,
            "DAY" => PartitionBy::Day,
            "WEEK" => PartitionBy::Week,
            "MONTH" => PartitionBy::Month,
            "YEAR" => PartitionBy::Year,
            _ => {
                let error = cursor.error("NONE, HOUR, DAY, WEEK, MONTH or YEAR");
                let known = ["NONE", "HOUR", "DAY", "WEEK", "MONTH", "YEAR"];
                return Err(match did_you_mean("units", &unit, known) {
                    Some(hint) => error.hint(hint),
                    None => error,
                });
            }
        };
        cursor.skip();
        create.partition_by = Some((by, place));
    } else if cursor.accept("TTL") {
        create.ttl_s = ttl(cursor)?;
    } else if cursor.accept("WAL") || cursor.accept_all(&["BYPASS", "WAL"]) {
        // Every table is written through the log.
    } else if cursor.accept("DEDUP") {
        create.dedup_keys = dedup_keys(cursor)?;
    } else if cursor.accept("WITH") {
        // QuestDB's maxUncommittedRows and o3MaxLag steer a storage engine that is not here.
        loop {
            cursor.name("a parameter")?;
            cursor.expect_token(&Token::Eq)?;
            cursor.skip();
            cursor.accept_all(&["S"]);
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
    } else if cursor.are(&["IN", "VOLUME"]) || cursor.are(&["OWNED", "BY"]) {
        let message = format!("{} is not supported", cursor.upper().unwrap_or_default());
        return Err(not_supported(&message, "leave it out").at(cursor.place()));
    } else if !cursor.accept_token(&Token::Comma) {
        return Err(cursor.error("a clause of CREATE TABLE").hint(format!("write … ) {form}")));
    }
    Ok(())
}

/// `UPSERT KEYS(ts, a)`.
fn dedup_keys(cursor: &mut Cursor<'_>) -> Result<Vec<(String, Place)>, SqlError> {
    if !cursor.accept_all(&["UPSERT", "KEYS"]) {
        return Err(cursor.error("UPSERT KEYS").hint("write DEDUP UPSERT KEYS(ts, key)"));
    }
    cursor.names("a key's column")
}

/// `7 DAYS`, `7d`, `0`: an age in seconds; zero keeps rows for ever.
fn ttl(cursor: &mut Cursor<'_>) -> Result<Option<u64>, SqlError> {
    let place = cursor.place();
    let written = match cursor.peek() {
        Some(Token::Number(digits, _)) => digits.clone(),
        _ => return Err(cursor.error("a number and a unit").hint("write TTL 7 DAYS")),
    };
    cursor.skip();
    let digits: String = written.chars().take_while(char::is_ascii_digit).collect();
    let Ok(number) = digits.parse::<u64>() else {
        return Err(SqlError::new(SqlCode::Syntax, format!("{written} is not a whole number")).at(place));
    };
    let unit_short = &written[digits.len()..];
    let unit = if unit_short.is_empty() {
        if number == 0 && cursor.upper().is_none() {
            return Ok(None);
        }
        let unit = cursor.upper().unwrap_or_default();
        if !unit.is_empty() {
            cursor.skip();
        }
        unit
    } else {
        unit_short.to_owned()
    };
    let unit_s: u64 = match unit.as_str() {
        "SECOND" | "SECONDS" | "S" | "s" => 1,
        "MINUTE" | "MINUTES" | "m" => 60,
        "HOUR" | "HOURS" | "H" | "h" => 3_600,
        "DAY" | "DAYS" | "D" | "d" => 86_400,
        "WEEK" | "WEEKS" | "W" | "w" => 7 * 86_400,
        "MONTH" | "MONTHS" | "M" => 30 * 86_400,
        "YEAR" | "YEARS" | "Y" | "y" => 365 * 86_400,
        _ => {
            let message = format!("{unit:?} is not a unit of TTL");
            let error = SqlError::new(SqlCode::Syntax, message).at(place);
            return Err(error.hint("use HOURS, DAYS, WEEKS, MONTHS (30 days) or YEARS (365 days)"));
        }
    };
    match number.checked_mul(unit_s) {
        // An age beyond all time is none.
        Some(0) | None => Ok(None),
        seconds => Ok(seconds),
    }
}

pub(super) fn drop(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if !cursor.accept("TABLE") {
        let word = cursor.upper().unwrap_or_default();
        let hint = match word.as_str() {
            "SCHEMA" => "drop its tables; an empty schema costs nothing",
            "DATABASE" => "drop its tables, or stop the server and remove the data directory",
            _ => "only DROP TABLE is there",
        };
        return Err(not_supported(&format!("DROP {word} is not supported"), hint).at(cursor.place()));
    }
    let if_exists = cursor.if_exists();
    let tables = cursor.tables()?;
    if !cursor.accept("CASCADE") {
        cursor.accept("RESTRICT");
    }
    cursor.expect_end()?;
    Ok(Statement::DropTable { tables, if_exists })
}

pub(super) fn truncate(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.accept("TABLE");
    let if_exists = cursor.if_exists();
    cursor.accept("ONLY");
    let tables = cursor.tables()?;
    cursor.accept_all(&["RESTART", "IDENTITY"]);
    cursor.accept_all(&["CONTINUE", "IDENTITY"]);
    if !cursor.accept("CASCADE") {
        cursor.accept("RESTRICT");
    }
    cursor.expect_end()?;
    Ok(Statement::Truncate { tables, if_exists })
}

pub(super) fn alter(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let form = "ALTER TABLE table ADD COLUMN name TYPE, DROP COLUMN name, RENAME COLUMN old TO new, RENAME TO table, SET TTL 7 DAYS, DEDUP ENABLE UPSERT KEYS(ts, key), DEDUP DISABLE, or DROP PARTITION LIST '2026-01-31'";
    if let Some(tag) = default_of(cursor) {
        return set_default(cursor, tag);
    }
    cursor.expect("TABLE", form)?;
    let if_exists = cursor.if_exists();
    cursor.accept("ONLY");
    let table = cursor.table()?;
    if cursor.accept("ADD") {
        cursor.accept("COLUMN");
        let if_not_exists = cursor.if_not_exists();
        if let Some(error) = table_constraint(cursor) {
            return Err(error);
        }
        let mut columns = vec![column(cursor)?];
        while cursor.accept_token(&Token::Comma) {
            cursor.accept_all(&["ADD"]);
            cursor.accept("COLUMN");
            cursor.if_not_exists();
            columns.push(column(cursor)?);
        }
        cursor.expect_end()?;
        return Ok(Statement::AddColumns { table, columns, if_not_exists });
    }
    if cursor.accept_all(&["RENAME", "TO"]) {
        return rename_to(cursor, table, if_exists, "ALTER TABLE");
    }
    if cursor.accept("RENAME") {
        cursor.accept("COLUMN");
        let from = cursor.name("a column")?;
        cursor.expect("TO", "ALTER TABLE table RENAME COLUMN old TO new")?;
        let to = cursor.name("a column's name")?;
        cursor.expect_end()?;
        return Ok(Statement::RenameColumn { table, from, to });
    }
    if cursor.accept_all(&["SET", "TTL"]) {
        let ttl_s = ttl(cursor)?;
        cursor.expect_end()?;
        return Ok(Statement::SetTtl { table, ttl_s });
    }
    if cursor.accept_all(&["DEDUP", "ENABLE"]) {
        let keys = dedup_keys(cursor)?;
        cursor.expect_end()?;
        return Ok(Statement::SetDedup { table, keys });
    }
    if cursor.accept_all(&["DEDUP", "DISABLE"]) {
        cursor.expect_end()?;
        return Ok(Statement::SetDedup { table, keys: Vec::new() });
    }
    if cursor.accept_all(&["DROP", "PARTITION", "LIST"]) {
        let mut partitions = vec![cursor.name("a partition, as '2026-01-31'")?];
        while cursor.accept_token(&Token::Comma) {
            partitions.push(cursor.name("a partition, as '2026-01-31'")?);
        }
        cursor.expect_end()?;
        return Ok(Statement::DropPartitions { table, partitions });
    }
    let drops_column = cursor.upper().as_deref() == Some("DROP")
        && ["PARTITION", "CONSTRAINT"].iter().all(|other| !cursor.are(&["DROP", other]));
    if drops_column {
        return drop_columns(cursor, table);
    }
    let clause: Vec<String> = {
        let words = |i| cursor.text().word(cursor.index() + i).map(|w| w.value.to_ascii_uppercase());
        (0..2).map_while(words).collect()
    };
    let hint = match clause.first().map(String::as_str) {
        Some("DROP") if clause.get(1).is_some_and(|w| w == "PARTITION") => {
            "write DROP PARTITION LIST '2026-01-31', '2026-02-01', or use ALTER TABLE … SET TTL"
        }
        Some("DROP") => "there are none: what a table keeps one row of, its DEDUP UPSERT KEYS say",
        Some("ALTER") => "create a new table and INSERT INTO new SELECT … FROM old",
        _ => form,
    };
    let message = format!("ALTER TABLE … {} is not supported yet", clause.join(" "));
    Err(not_supported(&message, hint).at(cursor.place()))
}

/// `DROP COLUMN a, b`, or PostgreSQL's `DROP COLUMN IF EXISTS a, DROP COLUMN b`.
fn drop_columns(cursor: &mut Cursor<'_>, table: NameRef) -> Result<Statement, SqlError> {
    let (mut columns, mut if_exists) = (Vec::new(), false);
    loop {
        if cursor.accept("DROP") {
            cursor.accept("COLUMN");
            if_exists |= cursor.if_exists();
        }
        columns.push(cursor.name("a column")?);
        if !cursor.accept("CASCADE") {
            cursor.accept("RESTRICT");
        }
        if !cursor.accept_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_end()?;
    Ok(Statement::DropColumns { table, columns, if_exists })
}

/// QuestDB's `RENAME TABLE a TO b`, behind `RENAME TABLE`.
pub(super) fn rename(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let if_exists = cursor.if_exists();
    let table = cursor.table()?;
    cursor.expect("TO", "RENAME TABLE old TO new")?;
    rename_to(cursor, table, if_exists, "RENAME TABLE")
}

fn rename_to(
    cursor: &mut Cursor<'_>,
    table: NameRef,
    if_exists: bool,
    tag: &'static str,
) -> Result<Statement, SqlError> {
    let to = cursor.table()?;
    cursor.expect_end()?;
    Ok(Statement::RenameTable { table, to, if_exists, tag })
}

/// What ALTER changes the sessions of, if it does.
fn default_of(cursor: &mut Cursor<'_>) -> Option<&'static str> {
    let tags = [("DATABASE", "ALTER DATABASE"), ("ROLE", "ALTER ROLE"), ("USER", "ALTER ROLE")];
    tags.into_iter().find(|(word, _)| cursor.accept(word)).map(|(_, tag)| tag)
}

/// `"develop" SET search_path TO ecommerce`. There is one database under every name, and one set of defaults.
fn set_default(cursor: &mut Cursor<'_>, tag: &'static str) -> Result<Statement, SqlError> {
    cursor.name("a name")?;
    let form = "ALTER DATABASE name SET search_path TO schema";
    let statement = match cursor.upper().as_deref() {
        Some("SET") => {
            cursor.skip();
            super::session::set(cursor)?
        }
        Some("RESET") => {
            cursor.skip();
            super::session::reset(cursor)?
        }
        _ => return Err(cursor.error("SET or RESET").hint(format!("write {form}"))),
    };
    match statement {
        Statement::Set { name, value } if name == "search_path" => {
            Ok(Statement::SetDefault { name, value, tag })
        }
        _ => {
            let error = not_supported("only search_path has a default to be set", "SET it in each session");
            Err(error.at(cursor.text().place(0)))
        }
    }
}
