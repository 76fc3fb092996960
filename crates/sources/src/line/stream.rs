//! Lines of a stream that arrives in pieces.
//!
//! What has arrived and is not read yet (at most one line) waits in `partial`. It is read again when a piece
//! with a line end came, since no line is whole without one. A bad line is told when its end has arrived, so
//! that it is told whole and at the same place however the stream was cut. A line that grows past the limit
//! is told at once, and what follows is skipped up to the next line end.

use memchr::{memchr, memchr_iter};

use super::{
    Bad, LineOptions, Parser, Stop,
    record::{has_binary, not_closed},
};
use crate::{Decoded, LineError, table::Tables};

/// Decodes a stream that arrives in pieces.
///
/// ```text
/// loop { decoder.feed(piece, now_us, on_bad)?; if decoder.rows() > … { sink.write(decoder.take()) } }
/// decoder.finish(on_bad)
/// ```
///
/// The caller takes what was decoded before it grows: a piece of one megabyte makes less than fifty of columns.
pub struct LineDecoder {
    tables: Tables,
    parser: Parser,
    line_bytes_max: usize,
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    /// Where in `partial` the text begins that lacks its closing quote, when `partial` was read last.
    open_text: Option<usize>,
    /// True while the rest of a line is skipped that was too long.
    skipping: bool,
    /// Bytes of lines that were decoded since the last [`LineDecoder::take`].
    bytes: usize,
}

/// What reading came to.
enum Read {
    /// All of it was read, up to here; the rest is the beginning of a line.
    To(usize),
    /// A bad line that ends here.
    Bad(Box<Bad>, usize),
}

impl LineDecoder {
    /// A decoder at the stream's begin.
    pub fn new(options: &LineOptions) -> LineDecoder {
        LineDecoder {
            tables: Tables::new(),
            parser: Parser::new(options.precision, options.now_us),
            line_bytes_max: options.line_bytes_max,
            partial: Vec::new(),
            open_text: None,
            skipping: false,
            bytes: 0,
        }
    }

    /// Decodes the next piece; `now_us` is the time of rows that have none. Bad lines go to `on_bad`.
    ///
    /// A column that changes its type makes a further batch rather than a bad line: whether the table can take
    /// both is the table's to say.
    ///
    /// # Errors
    /// A bad line with binary values, with [`LineError::fatal`] set: what follows cannot be read. Rows before
    /// it can still be taken.
    pub fn feed(
        &mut self,
        piece: &[u8],
        now_us: i64,
        on_bad: &mut dyn FnMut(LineError),
    ) -> Result<(), LineError> {
        self.parser.now_us = now_us;
        let mut piece = piece;
        if self.skipping {
            let Some(end) = memchr(b'\n', piece) else { return Ok(()) };
            self.skipping = false;
            self.parser.skip_lines(1);
            piece = &piece[end + 1..];
        }
        if self.partial.is_empty() {
            let read = self.read(piece, on_bad)?;
            self.partial.extend_from_slice(&piece[read..]);
        } else {
            let ends = memchr(b'\n', piece).is_some();
            self.partial.extend_from_slice(piece);
            if ends {
                self.read_partial(on_bad)?;
            }
        }
        if self.partial.len() > self.line_bytes_max {
            self.drop_long_line(on_bad)?;
        }
        Ok(())
    }

    /// Rows that [`LineDecoder::take`] would return.
    pub fn rows(&self) -> usize {
        self.tables.rows()
    }

    /// Bytes of the lines that were decoded since the last [`LineDecoder::take`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the line that has begun and not ended.
    pub fn partial_bytes(&self) -> usize {
        self.partial.len()
    }

    /// True if the line that has begun is a text that lacks its closing quote, although a further line end came:
    /// [`LineDecoder::give_up_open_text`] would read on behind it.
    pub fn has_open_text(&self) -> bool {
        self.open_text.is_some_and(|quote| memchr(b'\n', &self.partial[quote..]).is_some())
    }

    /// The rows decoded so far; the decoder goes on without them.
    pub fn take(&mut self) -> Decoded {
        self.bytes = 0;
        self.tables.take().unwrap_or_else(|error| {
            // Arrow refuses columns of unequal length or wrong type only; the builders make neither.
            tracing::error!(%error, "decoded rows do not fit together; this is a bug");
            Decoded::default()
        })
    }

    /// If the line that has begun is a text that was not closed, although further line ends came: tells it as
    /// a bad line, and reads the lines that it swallowed. For a caller that has waited long enough for the
    /// closing quote.
    ///
    /// # Errors
    /// As [`LineDecoder::feed`].
    pub fn give_up_open_text(&mut self, on_bad: &mut dyn FnMut(LineError)) -> Result<(), LineError> {
        while memchr(b'\n', &self.partial).is_some() {
            let Some(quote) = self.open_text else { return Ok(()) };
            let Some(end) = memchr(b'\n', &self.partial[quote..]) else { return Ok(()) };
            let (bad, end) = (not_closed(quote), quote + end + 1);
            let partial = self.take_partial();
            self.tell(&bad, &partial, 0, end, on_bad)?;
            let read = end + self.read(&partial[end..], on_bad)?;
            self.partial.extend_from_slice(&partial[read..]);
        }
        Ok(())
    }

    /// Ends the stream: a line without its end is told as a bad one, since its rest may be missing. There may be
    /// rows to take afterwards.
    pub fn finish(&mut self, on_bad: &mut dyn FnMut(LineError)) {
        // It was last read when a line end came. What came behind may have made it a bad line, one that ends
        // where it seemed to go on: at an escaped line end, or at one inside a text.
        if memchr(b'\n', &self.partial).is_some()
            && let Err(fatal) = self.read_partial(on_bad)
        {
            return on_bad(fatal);
        }
        let partial = self.take_partial();
        if partial.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let cause = "the stream ended before the line did, so the line was left out".to_owned();
        let bad = Bad::new(partial.len(), cause, r"end every line with `\n`, the last one too");
        on_bad(bad.at_line(&partial, 0, self.parser.line(), 0));
    }

    /// What has begun, and with it the place of a text in it.
    fn take_partial(&mut self) -> Vec<u8> {
        self.open_text = None;
        std::mem::take(&mut self.partial)
    }

    fn read_partial(&mut self, on_bad: &mut dyn FnMut(LineError)) -> Result<(), LineError> {
        let mut partial = self.take_partial();
        let read = self.read(&partial, on_bad)?;
        partial.drain(..read);
        self.partial = partial;
        Ok(())
    }

    /// Reads lines from `buf`, which begins with one; returns up to where.
    fn read(&mut self, buf: &[u8], on_bad: &mut dyn FnMut(LineError)) -> Result<usize, LineError> {
        let mut at = 0;
        loop {
            match self.read_good(buf, at) {
                Read::To(end) => {
                    self.open_text = self.parser.open_text().filter(|_| end < buf.len()).map(|at| at - end);
                    self.bytes += end;
                    return Ok(end);
                }
                Read::Bad(bad, start) => {
                    let end = memchr(b'\n', &buf[bad.resume_at..]).map(|end| bad.resume_at + end + 1);
                    // Told once its end is there.
                    let Some(end) = end else {
                        self.open_text = None;
                        self.bytes += start;
                        return Ok(start);
                    };
                    self.tell(&bad, buf, start, end, on_bad)?;
                    at = end;
                }
            }
        }
    }

    /// Reads lines up to a bad one or to what is left.
    fn read_good(&mut self, buf: &[u8], mut at: usize) -> Read {
        while at < buf.len() {
            match self.parser.record(&mut self.tables, buf, at) {
                Ok(next) => at = next,
                Err(Stop::Incomplete) => break,
                Err(Stop::Bad(bad)) => {
                    let sealed = bad.conflict.is_some_and(|table| {
                        let (builder, _) = self.tables.table(table);
                        builder.rows() > 0 && self.tables.seal(table).is_ok()
                    });
                    if !sealed {
                        return Read::Bad(bad, at);
                    }
                }
            }
        }
        Read::To(at)
    }

    /// Tells the bad line `buf[start..end]`.
    fn tell(
        &mut self,
        bad: &Bad,
        buf: &[u8],
        start: usize,
        end: usize,
        on_bad: &mut dyn FnMut(LineError),
    ) -> Result<(), LineError> {
        let mut error = self.parser.error(bad, buf, start);
        error.fatal = bad.binary || has_binary(&buf[start..end]);
        if error.fatal {
            return Err(error);
        }
        self.parser.skip_lines(memchr_iter(b'\n', &buf[start..end]).count() as u64);
        on_bad(error);
        Ok(())
    }

    #[cold]
    fn drop_long_line(&mut self, on_bad: &mut dyn FnMut(LineError)) -> Result<(), LineError> {
        // A text that swallowed lines because its quote is missing gives them back.
        self.give_up_open_text(on_bad)?;
        if self.partial.len() <= self.line_bytes_max {
            return Ok(());
        }
        let partial = self.take_partial();
        let cause = format!("the line is longer than {} bytes", self.line_bytes_max);
        let bad = Bad::new(self.line_bytes_max, cause, "send fewer or shorter fields, or raise the limit");
        let mut error = bad.at_line(&partial, 0, self.parser.line(), 0);
        error.fatal = has_binary(&partial);
        if error.fatal {
            return Err(error);
        }
        on_bad(error);
        self.skipping = true;
        Ok(())
    }
}
