//! Errors of the API: the fact, the place, the remedy, as JSON.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// An error answer: `{"error", "hint"?, "line"?, "column"?, …}`.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    body: Map<String, Value>,
    retry_after_s: Option<u64>,
}

impl ApiError {
    /// An error with the fact alone.
    pub fn new(status: StatusCode, error: impl Into<String>) -> ApiError {
        let mut body = Map::new();
        body.insert("error".to_owned(), Value::String(error.into()));
        ApiError { status, body, retry_after_s: None }
    }

    /// Adds the remedy; an empty one is left out.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> ApiError {
        let hint = hint.into();
        if hint.is_empty() { self } else { self.with("hint", hint) }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> ApiError {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// A field that is text.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> ApiError {
        self.retry_after_s = Some(seconds);
        self
    }

    /// QuestDB's line-protocol error: `{"code", "message", "line", "errorId"}` with our `column` and `hint`.
    pub fn line_protocol(status: StatusCode, message: &str, line: u64, column: u32, hint: &str) -> ApiError {
        let body = json!({
            "code": if status == StatusCode::BAD_REQUEST { "invalid" } else { "internal error" },
            "message": message, "line": line, "column": column, "hint": hint,
            "errorId": format!("{line}-{column}"),
        });
        let body = match body {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        ApiError { status, body, retry_after_s: None }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Value::Object(self.body))).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
