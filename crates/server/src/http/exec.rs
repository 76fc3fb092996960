//! `/exec`: SQL over HTTP, answered as QuestDB does.
//!
//! Several statements may stand in one text; the last one's answer is given. A GET that a browser's page sent
//! may only read: a link on another site must not change anything.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use nowcast_query::{JsonWriter, Params, SqlCode, SqlError, Statement};
use serde::Deserialize;
use serde_json::json;

use super::{ApiError, App, body, guard::from_browser, write::form_field};
use crate::sql::{Answer, Rows, Session};

/// Longest SQL text.
const QUERY_BYTES_MAX: usize = 1 << 20;

/// The parameters of `/exec`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ExecQuery {
    query: Option<String>,
    /// `10` or `5,15`: the rows to give.
    limit: Option<String>,
    /// As of which tick: microseconds since 1970 UTC.
    now: Option<i64>,
    /// `true` leaves the columns out.
    nm: Option<bool>,
}

/// `GET /exec`
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Query(query): Query<ExecQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    run(&app, query, from_browser(&headers)).await
}

/// `POST /exec`: parameters in the address or as a form; or the SQL itself as the body.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Query(mut query): Query<ExecQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let bytes = body::read(&headers, body, QUERY_BYTES_MAX).await?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        query.query = query.query.or_else(|| form_field(&bytes, "query"));
        query.limit = query.limit.or_else(|| form_field(&bytes, "limit"));
        query.now = query.now.or_else(|| form_field(&bytes, "now")?.parse().ok());
    }
    if query.query.is_none() {
        // The SQL itself, whatever a client's library calls its type.
        query.query = Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    run(&app, query, false).await
}

async fn run(app: &App, query: ExecQuery, read_only: bool) -> Result<Response, ApiError> {
    let text = query.query.filter(|text| !text.trim().is_empty()).ok_or_else(|| {
        ApiError::new(StatusCode::BAD_REQUEST, "no query is given").hint("/exec?query=SELECT+1")
    })?;
    let failed = |error: SqlError| sql_error(&text, &error);
    let limit = query.limit.as_deref().map(parse_limit).transpose()?;
    let statements = app.sql.engine().parse(&text).map_err(failed)?;
    if read_only && statements.iter().any(Statement::is_write) {
        let error = ApiError::new(StatusCode::FORBIDDEN, "a page may change data by POST alone");
        return Err(error.hint("send the statement as POST /exec").with("query", text.as_str()));
    }
    let mut session = Session::default();
    let mut answer = None;
    for statement in &statements {
        let outcome = app.sql.run(&mut session, statement, Params::default(), query.now).await;
        answer = Some(outcome.map_err(|failure| failed(failure.into_sql()))?);
    }
    if session.transaction.is_some_and(|waiting| !waiting.is_empty()) {
        let error = ApiError::new(
            StatusCode::BAD_REQUEST,
            "the text ends inside a transaction; nothing of it was written",
        );
        return Err(error.hint("end it with COMMIT").with("query", text.as_str()));
    }
    match answer {
        Some(Answer::Rows(rows)) => {
            let rows_max = app.config.raw.query.rows_max;
            dataset(&text, rows, limit.unwrap_or((0, rows_max)), query.nm.unwrap_or(false))
                .await
                .map_err(failed)
        }
        Some(Answer::Done { tag: "INSERT", rows }) => {
            Ok(axum::Json(json!({ "dml": "OK", "updated": rows.unwrap_or(0) })).into_response())
        }
        _ => Ok(axum::Json(json!({ "ddl": "OK" })).into_response()),
    }
}

/// `n` or `from,to`, both counted from 0.
fn parse_limit(text: &str) -> Result<(usize, usize), ApiError> {
    let wrong = || {
        ApiError::new(StatusCode::BAD_REQUEST, format!("the limit {text:?} is neither N nor FROM,TO"))
            .hint("limit=100, or limit=100,200")
    };
    let number = |part: &str| part.trim().parse::<usize>().map_err(|_| wrong());
    match text.split_once(',') {
        None => Ok((0, number(text)?)),
        Some((from, to)) => Ok((number(from)?, number(to)?)),
    }
}

async fn dataset(
    text: &str,
    mut rows: Rows,
    (from, to): (usize, usize),
    bare: bool,
) -> Result<Response, SqlError> {
    let mut writer = JsonWriter::new(text, &rows.schema, rows.position, bare);
    let mut seen = 0;
    while seen < to
        && let Some(batch) = rows.next().await
    {
        let batch = batch?;
        let start = from.saturating_sub(seen).min(batch.num_rows());
        let end = to.saturating_sub(seen).min(batch.num_rows());
        if start < end {
            writer.write(&batch.slice(start, end - start))?;
        }
        seen += batch.num_rows();
    }
    let mut response = Body::from(writer.finish()).into_response();
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

fn sql_error(text: &str, error: &SqlError) -> ApiError {
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
