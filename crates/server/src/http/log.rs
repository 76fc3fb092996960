//! The log to be read: what was written to a table, in its order, resumable.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Path, Query, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use nowcast_log::LogError;
use nowcast_model::Offset;
use serde::Deserialize;

use super::{App, error::ApiError, table_name};
use crate::records::{From, write_lines};

/// Lines of one answer, unless asked for otherwise, and at most.
const LIMIT: usize = 10_000;
const LIMIT_MAX: usize = 1_000_000;

/// Bytes past which an answer is ended before its limit.
const BYTES_MAX: usize = 32 << 20;

/// Time after which it is ended: a table with few rows in a long log may have none in this answer.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Where the next answer begins.
const NEXT: &str = "nowcast-next";

/// `?from=OFFSET&limit=N`, or `from=TIME`
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    from: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/v1/log/{table}`: NDJSON. The header `Nowcast-Next` is the `from` of the next request.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Path(table): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, ApiError> {
    let table = table_name(&table);
    if app.store.registry().table(&table).is_none() {
        let error = ApiError::new(StatusCode::NOT_FOUND, format!("there is no table {table}"));
        return Err(error.hint("GET /api/v1/tables lists them"));
    }
    let limit = query.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
    let from: Option<From> = query.from.map(|text| text.parse()).transpose().map_err(|cause: String| {
        let error = ApiError::new(StatusCode::BAD_REQUEST, format!("from: {cause}"));
        error.hint("percent-encode the plus of a zone as %2B, or give the time in UTC")
    })?;
    let read = tokio::task::spawn_blocking(move || -> Result<(Vec<u8>, Offset), LogError> {
        let from = match from {
            None => app.log.status().first,
            Some(From::Offset(offset)) => offset,
            Some(From::Time(at_us)) => app.log.offset_at(at_us)?,
        };
        let (mut out, mut lines, mut next) = (Vec::new(), 0, from);
        let began = Instant::now();
        for record in app.log.read_from(from)? {
            let record = record?;
            let left = limit - lines;
            let written = write_lines(&mut out, &record, Some(&table), next, left);
            let (count, reached) = written.map_err(|error| LogError::Io {
                action: "show",
                path: format!("the record at {}", record.offset),
                cause: error.to_string(),
            })?;
            (lines, next) = (lines + count, reached);
            if next < record.end() || out.len() >= BYTES_MAX || began.elapsed() >= TIME_MAX {
                break;
            }
        }
        Ok((out, next))
    });
    let (out, next) = match read.await {
        Ok(Ok(read)) => read,
        Ok(Err(LogError::Gone { first, .. })) => {
            let message = format!("the log begins at {first}: what lies before is in the table alone");
            let error = ApiError::new(StatusCode::GONE, message).with("first", first.to_string());
            return Err(error.hint("read the table with SQL and go on from `first`, or raise log.keep_s"));
        }
        Ok(Err(error)) => return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Err(error) => return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    };
    let mut response = out.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    // An offset is digits.
    if let Ok(next) = HeaderValue::from_str(&next.to_string()) {
        headers.insert(NEXT, next);
    }
    Ok(response)
}
