//! InfluxDB line protocol with QuestDB's additions, text and binary, into batches.
//!
//! ```text
//! table,tag=symbol,… field=value,… time\n
//! ```
//!
//! | value | becomes |
//! |---|---|
//! | tag `=abc` | SYMBOL; an empty one is as if it were absent |
//! | `1` `1.5` `-1e9` `NaN` `Infinity` | DOUBLE |
//! | `1i`, `1u` | LONG (`u` only up to 2^63 - 1) |
//! | `t` `T` `true` `True` `TRUE`, `f` … | BOOLEAN |
//! | `"text"` | VARCHAR; may hold newlines, `\"` and `\\` |
//! | `1700000000000000t`, `…m` | TIMESTAMP, from microseconds or milliseconds |
//! | `1700000000000000000n` | TIMESTAMP_NS |
//! | `1.50d` | DOUBLE, the one nearest to the decimal |
//! | `=`, byte 16, 8 bytes | DOUBLE, little-endian (QuestDB's protocol version 2) |
//! | `=`, byte 23, scale, length, bytes | DOUBLE nearest to the big-endian decimal (version 3) |
//! | `=`, byte 14, … | refused: there are no array columns |
//!
//! The time is in the unit of [`LineOptions::precision`], or in its own if it ends in `t`, `n` or `m`; without
//! one it is the time of arrival. A field `timestamp=…t` is the row's time too. Of two values for one column
//! the first stays. A backslash before one of `, = space \ "` or a line end stands for that character; before
//! anything else it is itself. `#` begins a comment line.
//!
//! Two ways in:
//!
//! - [`decode_all`]: a whole body, as HTTP has it. The first bad line refuses the whole.
//! - [`LineDecoder`]: a stream in pieces, as TCP has it. A bad line is told and left out, and reading goes on
//!   behind its end; a bad line with binary values ends it all, since such values may hold newlines.
//!
//! Every byte is looked at once: there is no search for line ends first, which binary values would forbid
//! anyway. A record that reaches the end of what has arrived is taken back and read again when a line end
//! came in. The pieces in which a stream arrives never change what is made of it (but that a line that is too
//! long may pass if it arrives whole: the limit is there to bound what has to be kept).

mod binary;
mod record;
mod stream;
#[cfg(test)]
mod tests;
mod value;

pub use crate::error::LineError;
use crate::{Decoded, Precision, table::Tables};
use record::{Bad, Parser, Stop};
pub use stream::LineDecoder;

/// The longest body that [`decode_all`] takes: offsets in Arrow's text columns have 31 bits.
const BODY_BYTES_MAX: usize = 1 << 30;

/// Columns of all tables of one body: a column costs some hundred bytes even if it has one value.
const BODY_COLUMNS_MAX: usize = 200_000;

/// How lines are read.
#[derive(Debug, Clone)]
pub struct LineOptions {
    /// The unit of times that have no suffix.
    pub precision: Precision,
    /// The time of rows that have none: microseconds since 1970 UTC.
    pub now_us: i64,
    /// The longest line that a stream may have.
    pub line_bytes_max: usize,
}

impl LineOptions {
    /// A line's length in bytes unless set: room for every column of the widest table.
    pub const LINE_BYTES_MAX: usize = 1 << 20;

    /// Times without suffix in `precision`, rows without time at `now_us`.
    pub fn new(precision: Precision, now_us: i64) -> LineOptions {
        LineOptions { precision, now_us, line_bytes_max: LineOptions::LINE_BYTES_MAX }
    }
}

/// Decodes a whole body; its last line need not end in a newline.
///
/// # Errors
/// The first bad line; then nothing is to be written.
pub fn decode_all(body: &[u8], options: &LineOptions) -> Result<Decoded, LineError> {
    if body.len() > BODY_BYTES_MAX {
        let cause = format!("the body has {} bytes, at most {BODY_BYTES_MAX} are allowed", body.len());
        let bad = Bad::new(0, cause, "send it in smaller parts");
        return Err(bad.at_line(b"", 0, 1, 0));
    }
    let mut tables = Tables::new();
    let mut parser = Parser::new(options.precision, options.now_us);
    let mut at = 0;
    while at < body.len() {
        match parser.record(&mut tables, body, at) {
            Ok(next) => at = next,
            Err(Stop::Incomplete) => {
                // The last line, unless it is cut off, needs no more than its newline.
                let rest = [&body[at..], b"\n"].concat();
                match parser.record(&mut tables, &rest, 0) {
                    Ok(_) => at = body.len(),
                    Err(Stop::Incomplete) => return Err(parser.cut_off(&rest, 0)),
                    Err(Stop::Bad(bad)) => return Err(parser.error(&bad, &rest, 0)),
                }
            }
            Err(Stop::Bad(bad)) => return Err(parser.error(&bad, body, at)),
        }
        if tables.columns() > BODY_COLUMNS_MAX {
            let cause = format!("more than {BODY_COLUMNS_MAX} columns in one request");
            let bad = Bad::new(0, cause, "send it in smaller parts");
            return Err(bad.at_line(b"", 0, parser.line(), 0));
        }
    }
    tables.take().map_err(|error| {
        Bad::new(0, format!("the rows do not fit together: {error}"), "report this as a bug")
            .at_line(b"", 0, 1, 0)
    })
}
