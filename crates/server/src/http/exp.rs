//! `/exp`: the rows of a query as a file: CSV as QuestDB writes it, Parquet, NDJSON.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use nowcast_query::{Params, SqlError};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    ApiError, App,
    cut::{Count, Cut, Limit},
    exec::{posted, query_text, sql_error},
    fields::{Fields, bad},
    stream,
};
use crate::{
    encode::{Csv, Encode, Lines, Parquet, ParquetOptions},
    sql::{Answer, Session},
};

/// The parameters. `rmode=nodelay` asks for what is done anyway: bytes go out as they are made.
const PARAMETERS: [&str; 13] = [
    "query",
    "limit",
    "nm",
    "delimiter",
    "filename",
    "fmt",
    "compression_codec",
    "compression_level",
    "row_group_size",
    "rmode",
    "src",
    "version",
    "now",
];

/// Longest name of a file, in characters.
const NAME_CHARS_MAX: usize = 200;

/// The forms: name, ending, media type.
const CSV: (&str, &str, &str) = ("csv", "csv", "text/csv; charset=utf-8");
const PARQUET: (&str, &str, &str) = ("parquet", "parquet", super::PARQUET);
const NDJSON: (&str, &str, &str) = ("ndjson", "ndjson", "application/x-ndjson");

/// `GET /exp`
pub(super) async fn get(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    run(&app, &Fields::parse(query.unwrap_or_default().as_bytes())?).await
}

/// `POST /exp`: parameters in the address or as a form; or the SQL itself as the body.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    run(&app, &posted(query, &headers, body).await?).await
}

async fn run(app: &App, fields: &Fields) -> Result<Response, ApiError> {
    fields.check("/exp", &PARAMETERS)?;
    let text = query_text(fields, "/exp")?;
    let failed = |error: SqlError| sql_error(text, &error);
    let limit = fields.get("limit").map(Limit::parse).transpose()?.unwrap_or(Limit::ALL);
    let form = match fields.get("fmt").unwrap_or(CSV.0).to_ascii_lowercase().as_str() {
        "csv" => CSV,
        "parquet" => PARQUET,
        "ndjson" => NDJSON,
        other => return Err(bad(format!("there is no format {other:?}")).hint("fmt=csv, parquet or ndjson")),
    };
    if let Some(mode) = fields.get("rmode").filter(|mode| !mode.eq_ignore_ascii_case("nodelay")) {
        return Err(bad(format!("there is no response mode {mode:?}")).hint("rmode=nodelay, or leave it out"));
    }
    let options = ParquetOptions::parse(
        fields.get("compression_codec"),
        fields.number("compression_level")?,
        fields.number("row_group_size")?,
    )
    .map_err(bad)?;
    let (delimiter, bare) = (fields.delimiter()?.unwrap_or(b','), fields.flag("nm")?);
    let statement = app.sql.engine().parse_one(text).map_err(failed)?;
    if !statement.is_query() {
        let error = bad(format!("/exp gives the rows of a query, this is {}", statement.tag()));
        return Err(error.hint("send it to /exec").with("query", text).with("position", 0));
    }
    let statement = limit.of(&statement).unwrap_or(statement);
    let now_us = fields.number("now")?;
    let answer = app.sql.run(&mut Session::default(), &statement, Params::default(), now_us).await;
    let Answer::Rows(rows) = answer.map_err(|failure| failed(failure.into_sql()))? else {
        return Err(bad("the statement has no rows").with("query", text));
    };
    let encoder: Box<dyn Encode> = match form.0 {
        "parquet" => Box::new(Parquet::new(rows.schema.clone(), &options).map_err(failed)?),
        "ndjson" => Box::new(Lines::new(&rows.schema)),
        _ => Box::new(Csv::new(&rows.schema, delimiter, bare)),
    };
    let cut = Cut::new(rows, limit, u64::MAX, Count::No).map_err(failed)?;
    let body = stream::body(cut, encoder).await.map_err(failed)?;
    let name = match fields.get("filename") {
        Some(name) => name.to_owned(),
        None => format!("nowcast-query-{}", app.clock.now_us() / 1_000),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(form.2)),
        (header::CONTENT_DISPOSITION, disposition(&name, form.1)),
    ];
    Ok((headers, body).into_response())
}

/// `attachment`, with a name that is a file's on any system.
fn disposition(name: &str, ending: &str) -> HeaderValue {
    let is_plain = |c: char| !c.is_control() && !"/\\\"<>:|?*%".contains(c);
    let mut name: String =
        name.chars().take(NAME_CHARS_MAX).map(|c| if is_plain(c) { c } else { '_' }).collect();
    if !name.to_lowercase().ends_with(&format!(".{ending}")) {
        name = format!("{name}.{ending}");
    }
    let ascii: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    let mut text = format!("attachment; filename=\"{ascii}\"");
    if ascii != name {
        text += &format!("; filename*=UTF-8''{}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
    }
    // Printable ASCII is always a header's value.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::disposition;

    #[test]
    fn file_names_are_made_harmless() {
        assert_eq!(disposition("a", "csv"), "attachment; filename=\"a.csv\"");
        assert_eq!(disposition("../x\"\r\n.CSV", "csv"), "attachment; filename=\".._x___.CSV\"");
        let umlaut = disposition("ü", "parquet");
        assert_eq!(umlaut, "attachment; filename=\"_.parquet\"; filename*=UTF-8''%C3%BC%2Eparquet");
    }
}
