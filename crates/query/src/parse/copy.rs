//! `COPY table [(columns)] FROM STDIN`, `COPY table [(columns)] | (query) TO STDOUT`, with the options in
//! parentheses of today and the words of old.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{cursor::Cursor, query_in};
use crate::{
    error::{Place, SqlCode, SqlError},
    statement::{Copy, CopyFormat, CopyOptions, CopySource, NameRef, Select},
    text::Text,
};

pub(super) fn copy(text: &Text) -> Result<Copy, SqlError> {
    let mut cursor = Cursor::new(text, 1);
    let mut options = CopyOptions::new(CopyFormat::Text);
    if cursor.accept("BINARY") {
        options = CopyOptions::new(CopyFormat::Binary);
    }
    let place = cursor.place();
    let (table, columns, query) = if cursor.peek() == Some(&Token::LParen) {
        (None, Vec::new(), Some(parenthesised(&mut cursor)?))
    } else {
        let table = cursor.table()?;
        let listed = cursor.peek() == Some(&Token::LParen);
        (Some(table), if listed { cursor.names("a column")? } else { Vec::new() }, None)
    };
    let from = match () {
        () if cursor.accept("FROM") => true,
        () if cursor.accept("TO") => false,
        () => return Err(cursor.error("FROM STDIN or TO STDOUT")),
    };
    let stream = if from { "STDIN" } else { "STDOUT" };
    if !cursor.accept(stream) {
        let message = format!("COPY goes {} alone", if from { "FROM STDIN" } else { "TO STDOUT" });
        let error = SqlError::new(SqlCode::NotSupported, message).at(cursor.place());
        return Err(error.hint(
            "the server opens no files and starts no programs: use psql's \\copy, or /imp and /exp over HTTP",
        ));
    }
    read_options(&mut cursor, &mut options)?;
    if cursor.accept("WHERE") {
        let error = SqlError::new(SqlCode::NotSupported, "COPY … WHERE is not supported").at(place);
        return Err(error.hint("filter before sending, or COPY into a table and INSERT … SELECT from it"));
    }
    cursor.expect_end()?;
    options.check(from, place)?;
    let source = match (table, query) {
        (Some(table), _) if from => CopySource::Stdin { table, columns },
        (Some(table), _) => CopySource::Stdout(select_all(&table, &columns)?),
        (None, Some(query)) if !from => CopySource::Stdout(query),
        (None, _) => {
            let error = SqlError::new(SqlCode::Syntax, "COPY (query) has rows to give, not to take");
            return Err(error.at(place).hint("write COPY (query) TO STDOUT"));
        }
    };
    Ok(Copy { source, options })
}

/// `( query )`.
fn parenthesised(cursor: &mut Cursor<'_>) -> Result<Select, SqlError> {
    let begin = cursor.index() + 1;
    let mut depth = 0_usize;
    while let Some(token) = cursor.peek() {
        depth = match token {
            Token::LParen => depth + 1,
            Token::RParen => depth - 1,
            _ => depth,
        };
        let end = cursor.index();
        cursor.skip();
        if depth == 0 {
            let text = cursor.text();
            let inner = Text { source: text.source.clone(), tokens: text.tokens[begin..end].into() };
            return query_in(&inner, 0, "COPY");
        }
    }
    Err(cursor.error("\")\""))
}

/// The query that reads a table, in its order.
fn select_all(table: &NameRef, columns: &[(String, Place)]) -> Result<Select, SqlError> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let list = match columns {
        [] => "*".to_owned(),
        columns => columns.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", "),
    };
    let schema = table.schema.as_deref().map(|schema| quoted(schema) + ".").unwrap_or_default();
    let sql = format!("SELECT {list} FROM {schema}{}", quoted(&table.table));
    let texts = Text::split(&sql)?;
    match texts.first() {
        Some(text) => super::select(text).map_err(|e| e.at(table.place)),
        None => Err(SqlError::new(SqlCode::Internal, "COPY made an empty query").at(table.place)),
    }
}

fn read_options(cursor: &mut Cursor<'_>, options: &mut CopyOptions) -> Result<(), SqlError> {
    cursor.accept("WITH");
    if cursor.accept_token(&Token::LParen) {
        loop {
            option(cursor, options)?;
            if !cursor.accept_token(&Token::Comma) {
                break;
            }
        }
        return cursor.expect_token(&Token::RParen);
    }
    while !cursor.is_end() && !cursor.are(&["WHERE"]) {
        old_option(cursor, options)?;
    }
    Ok(())
}

fn option(cursor: &mut Cursor<'_>, options: &mut CopyOptions) -> Result<(), SqlError> {
    let place = cursor.place();
    let name = cursor.name("an option")?.0.to_ascii_uppercase();
    match name.as_str() {
        "FORMAT" => {
            let format = cursor.name("text, csv or binary")?.0;
            options.format = match format.to_ascii_lowercase().as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                _ => {
                    let message = format!("COPY has no format {format:?}");
                    let error = SqlError::new(SqlCode::Parameter, message).at(place);
                    return Err(error.hint("the formats are text, csv and binary"));
                }
            };
        }
        "HEADER" => match cursor.peek() {
            Some(Token::Comma | Token::RParen) | None => options.header = true,
            Some(_) if cursor.accept("MATCH") => (options.header, options.header_match) = (true, true),
            Some(_) => options.header = boolean(cursor)?,
        },
        "FREEZE" if matches!(cursor.peek(), Some(Token::Comma | Token::RParen)) => {}
        "FREEZE" => drop(boolean(cursor)?),
        "DELIMITER" => options.delimiter = Some(byte(cursor, "DELIMITER")?),
        "QUOTE" => options.quote = byte(cursor, "QUOTE")?,
        "ESCAPE" => options.escape = Some(byte(cursor, "ESCAPE")?),
        "NULL" => options.null = Some(string(cursor)?),
        "ENCODING" => encoding(cursor)?,
        "FORCE_QUOTE" if cursor.accept_token(&Token::Mul) => options.force_quote = true,
        _ => return Err(no_option(&name, place)),
    }
    Ok(())
}

/// `CSV HEADER DELIMITER AS ';' NULL AS ''`.
fn old_option(cursor: &mut Cursor<'_>, options: &mut CopyOptions) -> Result<(), SqlError> {
    let place = cursor.place();
    let name = cursor.name("an option")?.0.to_ascii_uppercase();
    match name.as_str() {
        "CSV" => options.format = CopyFormat::Csv,
        "BINARY" => options.format = CopyFormat::Binary,
        "HEADER" => options.header = true,
        "DELIMITER" | "DELIMITERS" | "QUOTE" | "ESCAPE" | "NULL" | "ENCODING" => {
            cursor.accept("AS");
            match name.as_str() {
                "QUOTE" => options.quote = byte(cursor, "QUOTE")?,
                "ESCAPE" => options.escape = Some(byte(cursor, "ESCAPE")?),
                "NULL" => options.null = Some(string(cursor)?),
                "ENCODING" => encoding(cursor)?,
                _ => options.delimiter = Some(byte(cursor, "DELIMITER")?),
            }
        }
        "FORCE" if cursor.accept_all(&["QUOTE"]) && cursor.accept_token(&Token::Mul) => {
            options.force_quote = true;
        }
        _ => return Err(no_option(&name, place)),
    }
    Ok(())
}

fn no_option(name: &str, place: Place) -> SqlError {
    let error = SqlError::new(SqlCode::NotSupported, format!("COPY's option {name} is not supported"));
    error
        .at(place)
        .hint("the options are FORMAT, HEADER, DELIMITER, NULL, QUOTE, ESCAPE, ENCODING, FORCE_QUOTE *")
}

fn boolean(cursor: &mut Cursor<'_>) -> Result<bool, SqlError> {
    if let Some(number) = cursor.accept_number() {
        return Ok(number != 0);
    }
    let error = cursor.error("true or false");
    match cursor.name("true or false")?.0.to_ascii_lowercase().as_str() {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        _ => Err(error),
    }
}

fn string(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let text = match cursor.peek() {
        Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text.clone(),
        _ => return Err(cursor.error("a text in single quotes")),
    };
    cursor.skip();
    Ok(text)
}

fn byte(cursor: &mut Cursor<'_>, what: &str) -> Result<u8, SqlError> {
    let place = cursor.place();
    match string(cursor)?.as_bytes() {
        [byte] => Ok(*byte),
        _ => {
            let message = format!("COPY's {what} must be one byte");
            Err(SqlError::new(SqlCode::Parameter, message).at(place).hint("write ',' or E'\\t'"))
        }
    }
}

fn encoding(cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
    let place = cursor.place();
    let name = string(cursor)?;
    if matches!(name.to_ascii_lowercase().replace(['-', '_'], "").as_str(), "utf8" | "unicode" | "sqlascii") {
        return Ok(());
    }
    let error = SqlError::new(SqlCode::NotSupported, format!("the encoding {name:?} is not supported"));
    Err(error.at(place).hint("send UTF-8"))
}
