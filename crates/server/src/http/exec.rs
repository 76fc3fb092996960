//! `/exec`: SQL over HTTP, answered as QuestDB does.
//!
//! Several statements may stand in one text; the last one's answer is given. A GET that a browser's page sent
//! may only read: a link on another site must not change anything.

use std::{sync::Arc, time::Instant};

use arrow::{array::AsArray, datatypes::Int64Type};
use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use nowcast_query::{Params, SqlCode, SqlError, Statement};
use serde_json::json;

use super::{
    ApiError, App, body,
    cut::{Count, Cut, Limit},
    fields::{Fields, bad},
    guard::from_browser,
    stream,
};
use crate::{
    encode::{Json, JsonOptions},
    sql::{Answer, Session, SqlFailure},
};

/// Longest SQL text.
const QUERY_BYTES_MAX: usize = 1 << 20;

/// The parameters. `src` and `version` tell who asks and in which dialect of QuestDB's answer; there is one here.
const PARAMETERS: [&str; 10] =
    ["query", "limit", "count", "nm", "timings", "explain", "quoteLargeNum", "src", "version", "now"];

/// `GET /exec`
pub(super) async fn get(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes())?;
    run(&app, &fields, from_browser(&headers)).await
}

/// `POST /exec`: parameters in the address or as a form; or the SQL itself as the body.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let fields = posted(query, &headers, body).await?;
    run(&app, &fields, false).await
}

/// The parameters of a POST; a body that is no form is the SQL itself, whatever a client's library calls its type.
pub(super) async fn posted(
    query: Option<String>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Fields, ApiError> {
    let mut fields = Fields::parse(query.unwrap_or_default().as_bytes())?;
    let bytes = body::read(headers, body, QUERY_BYTES_MAX).await?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form = kind.starts_with("application/x-www-form-urlencoded");
    // `curl -d 'SELECT 1'` calls it a form, too.
    if is_form
        && (fields.get("query").is_some() || bytes.starts_with(b"query=") || has_field(&bytes, b"query"))
    {
        return Ok(fields.or(Fields::parse(&bytes)?));
    }
    if fields.get("query").is_none() {
        match String::from_utf8(bytes.to_vec()) {
            Ok(text) => fields.add("query", text),
            Err(_) => return Err(bad("the query is not UTF-8").hint("send SQL as UTF-8")),
        }
    }
    Ok(fields)
}

fn has_field(form: &[u8], name: &[u8]) -> bool {
    form.split(|&byte| byte == b'&')
        .any(|pair| pair.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"=")))
}

async fn run(app: &App, fields: &Fields, read_only: bool) -> Result<Response, ApiError> {
    let began = Instant::now();
    fields.check("/exec", &PARAMETERS)?;
    let text = query_text(fields, "/exec")?;
    let failed = |error: SqlError| sql_error(text, &error);
    let limit = fields.get("limit").map(Limit::parse).transpose()?.unwrap_or(Limit::ALL);
    let now_us = fields.number("now")?;
    let (count, explain, timings) = (fields.flag("count")?, fields.flag("explain")?, fields.flag("timings")?);
    let (bare, quote_long) = (fields.flag("nm")?, fields.flag("quoteLargeNum")?);
    let statements = app.sql.engine().parse(text).map_err(failed)?;
    if read_only && statements.iter().any(Statement::is_write) {
        let error = ApiError::new(StatusCode::FORBIDDEN, "a page may change data by POST alone");
        return Err(error.hint("send the statement as POST /exec").with("query", text));
    }
    let mut session = Session::default();
    let mut answer = None;
    let mut count = if count { Count::Seen } else { Count::No };
    for (i, statement) in statements.iter().enumerate() {
        let is_last = i + 1 == statements.len();
        let limited = if is_last && limit != Limit::ALL { limit.of(statement) } else { None };
        if limited.is_some() && count == Count::Seen {
            count = counted(app, &mut session, statement, now_us).await.map_err(failed)?;
        }
        let statement = limited.as_ref().filter(|_| count != Count::Seen).unwrap_or(statement);
        let outcome = app.sql.run(&mut session, statement, Params::default(), now_us).await;
        answer = Some(outcome.map_err(|failure| failed(failure.into_sql()))?);
    }
    if session.transaction.is_some_and(|waiting| !waiting.is_empty()) {
        let error = bad("the text ends inside a transaction; nothing of it was written");
        return Err(error.hint("end it with COMMIT").with("query", text));
    }
    match answer {
        Some(Answer::Rows(rows)) => {
            let compiled = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let timings = timings.then_some((began, compiled));
            let options = JsonOptions { bare, quote_long, timings, explain };
            let encoder = Json::new(text, &rows.schema, rows.position, options);
            let cut = Cut::new(rows, limit, app.config.raw.query.rows_max as u64, count).map_err(failed)?;
            let body = stream::body(cut, Box::new(encoder)).await.map_err(failed)?;
            let json = HeaderValue::from_static("application/json; charset=utf-8");
            Ok(([(header::CONTENT_TYPE, json)], body).into_response())
        }
        Some(Answer::Done { tag: "INSERT" | "UPDATE" | "DELETE", rows }) => {
            Ok(axum::Json(json!({ "dml": "OK", "updated": rows.unwrap_or(0) })).into_response())
        }
        _ => Ok(axum::Json(json!({ "ddl": "OK" })).into_response()),
    }
}

/// The number of a statement's rows, if it can be known without them.
async fn counted(
    app: &App,
    session: &mut Session,
    statement: &Statement,
    now_us: Option<i64>,
) -> Result<Count, SqlError> {
    let Some(counting) = app.sql.engine().counted(statement) else { return Ok(Count::Seen) };
    let answer = app.sql.run(session, &counting, Params::default(), now_us).await;
    let Answer::Rows(mut rows) = answer.map_err(SqlFailure::into_sql)? else { return Ok(Count::Seen) };
    let mut count = None;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        count = batch
            .columns()
            .first()
            .and_then(|column| column.as_primitive_opt::<Int64Type>().cloned())
            .filter(|c| !c.is_empty())
            .map(|c| c.value(0))
            .or(count);
    }
    Ok(count.and_then(|rows| u64::try_from(rows).ok()).map_or(Count::Seen, Count::Of))
}

/// The SQL of a request.
pub(super) fn query_text<'a>(fields: &'a Fields, route: &str) -> Result<&'a str, ApiError> {
    fields.get("query").filter(|text| !text.trim().is_empty()).ok_or_else(|| {
        let error = bad("no query is given").hint(format!("{route}?query=SELECT+1"));
        error.with("query", "").with("position", 0)
    })
}

/// QuestDB's `{"query", "error", "position"}` with our place, hint and code.
pub(super) fn sql_error(text: &str, error: &SqlError) -> ApiError {
    let status = match error.code {
        // Not the query's fault.
        SqlCode::Damaged | SqlCode::Io | SqlCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    ApiError::new(status, &*error.message)
        .hint(error.hint.clone().unwrap_or_default())
        .with("query", text)
        .with("position", error.position)
        .with("line", error.line)
        .with("column", error.column)
        .with("code", error.code.state())
}
