//! What a client is told when a statement does not run, in PostgreSQL's terms.

use std::borrow::Cow;

use datafusion::error::DataFusionError;
use nowcast_query::SqlError;

use crate::sql::SqlFailure;

/// Bytes of one text in an error: a statement that cannot be read back need not be sent back whole.
const TEXT_BYTES_MAX: usize = 8_000;

/// An error or a notice.
#[derive(Debug, Clone)]
pub(super) struct WireError {
    pub(super) severity: &'static str,
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// In characters, from 1.
    pub(super) position: Option<u32>,
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client left, or the network did.
    Gone,
    /// The client is told why.
    Fatal(WireError),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> End {
        End::Gone
    }
}

/// Why a message was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The statement is at fault; the connection goes on.
    Error(WireError),
    /// The connection is at its end.
    End(End),
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Failure {
        Failure::Error(error)
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Failure {
        Failure::End(end)
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Failure {
        Failure::Error(error.into())
    }
}

impl From<SqlFailure> for Failure {
    fn from(failure: SqlFailure) -> Failure {
        Failure::Error(failure.into_sql().into())
    }
}

impl WireError {
    /// An error without a place.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> WireError {
        WireError {
            severity: "ERROR",
            code: Cow::Borrowed(code),
            message: message.into(),
            hint: None,
            position: None,
        }
    }

    /// The end of a connection.
    pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> WireError {
        WireError { severity: "FATAL", ..WireError::new(code, message) }
    }

    /// Something to know about a statement that ran.
    pub(super) fn notice(
        severity: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> WireError {
        WireError { severity, ..WireError::new(code, message) }
    }

    /// Adds a remedy.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> WireError {
        self.hint = Some(hint.into());
        self
    }

    /// The fields of the message, each with its letter.
    pub(super) fn fields(&self) -> impl Iterator<Item = (u8, Cow<'_, str>)> {
        let position = self.position.map(|position| Cow::Owned(position.to_string()));
        [
            (b'S', Some(Cow::Borrowed(self.severity))),
            (b'V', Some(Cow::Borrowed(self.severity))),
            (b'C', Some(Cow::Borrowed(&*self.code))),
            (b'M', Some(Cow::Borrowed(cut(&self.message)))),
            (b'H', self.hint.as_deref().map(|hint| Cow::Borrowed(cut(hint)))),
            (b'P', position),
        ]
        .into_iter()
        .filter_map(|(letter, text)| text.map(|text| (letter, text)))
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

impl From<SqlError> for WireError {
    fn from(error: SqlError) -> WireError {
        WireError {
            severity: "ERROR",
            code: Cow::Borrowed(error.code.state()),
            message: error.message,
            hint: error.hint,
            position: Some(error.position + 1),
        }
    }
}

/// What DataFusion says about a query of the catalogue.
impl From<&DataFusionError> for WireError {
    fn from(error: &DataFusionError) -> WireError {
        WireError::new("XX000", error.strip_backtrace())
    }
}
