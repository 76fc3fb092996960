//! Errors as clients get them.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// What went wrong, as a word that programs can compare. The resolver may use codes of its own (`syntax`,
/// `unknown_panel`, …); these are the feed's.
pub mod code {
    /// The message is no JSON, has an unknown `op`, lacks a field or has one of the wrong kind.
    pub const BAD_MESSAGE: &str = "bad_message";
    /// A message longer than `feed.message_bytes_max`.
    pub const MESSAGE_TOO_LARGE: &str = "message_too_large";
    /// A message that is not text, on a connection that speaks JSON.
    pub const NOT_TEXT: &str = "not_text";
    /// A message that is not binary, on a connection that speaks MessagePack.
    pub const NOT_BINARY: &str = "not_binary";
    /// The id is in use.
    pub const DUPLICATE_ID: &str = "duplicate_id";
    /// No subscription has the id.
    pub const UNKNOWN_ID: &str = "unknown_id";
    /// `resume` after other messages.
    pub const LATE_RESUME: &str = "late_resume";
    /// `ack` without `pace`, or of a version that was never sent.
    pub const BAD_ACK: &str = "bad_ack";
    /// More than `feed.subscriptions_max` subscriptions.
    pub const TOO_MANY_SUBSCRIPTIONS: &str = "too_many_subscriptions";
    /// More than `feed.connections_max` connections.
    pub const TOO_MANY_CONNECTIONS: &str = "too_many_connections";
    /// More than `feed.connections_per_address_max` connections.
    pub const TOO_MANY_FROM_ADDRESS: &str = "too_many_connections_from_address";
    /// More messages than `feed.messages_per_second_max` on a connection, or more requests than
    /// `feed.requests_per_second_max` from an address.
    pub const TOO_MANY_REQUESTS: &str = "too_many_requests";
    /// More requests than `feed.dashboard_requests_per_second_max` for one dashboard.
    pub const TOO_MANY_FOR_DASHBOARD: &str = "too_many_requests_for_dashboard";
    /// More than `feed.errors_max` bad messages.
    pub const TOO_MANY_ERRORS: &str = "too_many_errors";
    /// A message to the client would be longer than `feed.frame_bytes_max`.
    pub const RESULT_TOO_LARGE: &str = "result_too_large";
    /// The view ended: an expression failed, its table was dropped, it outgrew its bound.
    pub const VIEW_FAILED: &str = "view_failed";
    /// The view was taken away.
    pub const VIEW_GONE: &str = "view_gone";
    /// The origin of the page is not allowed.
    pub const FORBIDDEN_ORIGIN: &str = "forbidden_origin";
    /// Only subprotocols that are not spoken here were offered.
    pub const UNKNOWN_PROTOCOL: &str = "unknown_protocol";
    /// The view was not seeded in `feed.snapshot_timeout_ms`.
    pub const SEEDING: &str = "seeding";
    /// No `[[feed]]` is set up.
    pub const NO_FEED: &str = "no_feed";
    /// The server is going down.
    pub const SHUTTING_DOWN: &str = "shutting_down";
}

/// What a client is told. The message names the fact, the hint the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedError {
    /// One of [`code`], or the resolver's own.
    pub code: Cow<'static, str>,
    /// The fact, in lower case, with its place.
    pub message: String,
    /// The remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Line in the query, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in that line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Seconds after which the same request may succeed, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
    /// True if the same request may succeed later.
    pub retry: bool,
}

impl FeedError {
    /// An error that the same request would meet again.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> FeedError {
        let (code, message) = (code.into(), message.into());
        FeedError { code, message, hint: None, line: None, column: None, retry_after: None, retry: false }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> FeedError {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the place in the query, both from 1.
    #[must_use]
    pub fn at(mut self, line: u64, column: u64) -> FeedError {
        let small = |number: u64| Some(u32::try_from(number).unwrap_or(u32::MAX));
        (self.line, self.column) = (small(line), small(column));
        self
    }

    /// Says that the same request may succeed later.
    #[must_use]
    pub fn retry(mut self) -> FeedError {
        self.retry = true;
        self
    }

    /// Says after how many seconds the same request may succeed.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> FeedError {
        self.retry_after = Some(seconds);
        self.retry()
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FeedError {}
