//! What is wrong with a line, said so that its sender can mend it.

/// Bytes of a bad line that are kept to be looked at.
pub const TEXT_BYTES_MAX: usize = 1024;

/// A line (or a place in a JSON body) that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {cause}; {hint}")]
pub struct LineError {
    /// The line, counted from 1.
    pub line: u64,
    /// The byte in the line, counted from 1.
    pub column: u32,
    /// What is wrong, in lower case.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
    /// The line's beginning, at most [`TEXT_BYTES_MAX`] bytes; what is not UTF-8 is replaced.
    pub text: String,
    /// True if the end of the line cannot be found, so that nothing behind it can be read either: the line
    /// holds binary values.
    pub fatal: bool,
}

/// The beginning of `bytes` as text, cut at a character.
pub(crate) fn excerpt(bytes: &[u8], bytes_max: usize) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)]).into_owned();
    let mut cut = text.len().min(bytes_max);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    text.truncate(cut);
    text
}

/// A value in a message: quoted, control characters escaped, not longer than a message should be.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 48;
    let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    format!("{:?}{more}", excerpt(bytes, SHOWN_BYTES_MAX))
}
