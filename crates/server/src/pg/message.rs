//! What a client may send, read out of a frame whose length was checked. Nothing here trusts a count.

use bytes::{Buf, Bytes};

use super::error::{End, WireError};

/// One message of a client's, after login.
#[derive(Debug)]
pub(super) enum Message {
    Query(String),
    Parse {
        name: String,
        sql: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    /// A statement (`S`) or a portal (`P`).
    Describe(u8, String),
    Execute {
        portal: String,
        rows_max: u32,
    },
    Close(u8, String),
    Flush,
    Sync,
    Terminate,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
}

/// A portal to be.
#[derive(Debug)]
pub(super) struct Bind {
    pub(super) portal: String,
    pub(super) statement: String,
    pub(super) formats: Vec<i16>,
    pub(super) values: Vec<Option<Bytes>>,
    pub(super) results: Vec<i16>,
}

/// Largest message by its kind: what carries rows may be as large as a record, a text of SQL a few times what
/// the parser takes (so that its refusal is an error and not the end), and all others are short.
pub(super) fn bytes_max(kind: u8) -> Option<usize> {
    match kind {
        b'B' | b'd' => Some(nowcast_model::limits::RECORD_BYTES_MAX),
        b'Q' | b'P' => Some(16 << 20),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => Some(10_000),
        _ => None,
    }
}

impl Message {
    /// The message of kind `kind` with the body `body`.
    pub(super) fn read(kind: u8, body: Bytes) -> Result<Message, End> {
        let mut body = Body(body);
        let message = match kind {
            b'Q' => Message::Query(body.text()?),
            b'P' => {
                let (name, sql) = (body.text()?, body.text()?);
                let types = body.list(4, |b| b.get_u32())?;
                Message::Parse { name, sql, types }
            }
            b'B' => Message::Bind(Bind {
                portal: body.text()?,
                statement: body.text()?,
                formats: body.list(2, |b| b.get_i16())?,
                values: body.values()?,
                results: body.list(2, |b| b.get_i16())?,
            }),
            b'D' => Message::Describe(body.u8()?, body.text()?),
            b'E' => Message::Execute { portal: body.text()?, rows_max: body.u32()? },
            b'C' => Message::Close(body.u8()?, body.text()?),
            b'H' => Message::Flush,
            b'S' => Message::Sync,
            b'X' => Message::Terminate,
            b'd' => return Ok(Message::CopyData(body.0)),
            b'c' => Message::CopyDone,
            b'f' => Message::CopyFail(body.text()?),
            _ => return Err(broken(format!("a message cannot begin with {:?}", char::from(kind)))),
        };
        if body.0.is_empty() { Ok(message) } else { Err(broken("a message has more bytes than it should")) }
    }
}

/// The client does not speak the protocol.
pub(super) fn broken(message: impl Into<String>) -> End {
    End::Fatal(WireError::fatal("08P01", message))
}

struct Body(Bytes);

impl Body {
    fn need(&self, bytes: usize) -> Result<(), End> {
        if self.0.len() < bytes { Err(broken("a message ends before it should")) } else { Ok(()) }
    }

    fn u8(&mut self) -> Result<u8, End> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    fn u32(&mut self) -> Result<u32, End> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    fn text(&mut self) -> Result<String, End> {
        let Some(end) = memchr::memchr(0, &self.0) else {
            return Err(broken("a text has no end"));
        };
        let text = std::str::from_utf8(&self.0[..end])
            .map_err(|_| End::Fatal(WireError::fatal("22021", "a text is not UTF-8")))?
            .to_owned();
        self.0.advance(end + 1);
        Ok(text)
    }

    fn count(&mut self, bytes: usize) -> Result<usize, End> {
        self.need(2)?;
        let count = usize::from(self.0.get_u16());
        self.need(count * bytes)?;
        Ok(count)
    }

    fn list<T>(&mut self, bytes: usize, one: impl Fn(&mut Bytes) -> T) -> Result<Vec<T>, End> {
        let count = self.count(bytes)?;
        Ok((0..count).map(|_| one(&mut self.0)).collect())
    }

    fn values(&mut self) -> Result<Vec<Option<Bytes>>, End> {
        let count = self.count(4)?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            self.need(4)?;
            values.push(match usize::try_from(self.0.get_i32()) {
                Err(_) => None,
                Ok(bytes) => {
                    self.need(bytes)?;
                    Some(self.0.split_to(bytes))
                }
            });
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_cut_anywhere_is_refused_and_not_read_beyond_its_end() {
        let bind = b"portal\0stmt\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\0";
        let whole = Message::read(b'B', Bytes::from_static(bind)).unwrap();
        let Message::Bind(read) = whole else { panic!("{whole:?}") };
        assert_eq!((read.portal.as_str(), read.values.len(), read.results), ("portal", 2, vec![0]));
        let bodies: [(u8, &'static [u8]); 6] = [
            (b'B', bind),
            (b'P', b"name\0SELECT 1\0\0\x01\0\0\0\x14"),
            (b'E', b"\0\0\0\0\x05"),
            (b'D', b"Sname\0"),
            (b'Q', b"SELECT 1\0"),
            (b'f', b"why\0"),
        ];
        for (kind, body) in bodies {
            assert!(Message::read(kind, Bytes::from_static(body)).is_ok(), "{}", char::from(kind));
            for end in 0..body.len() {
                assert!(Message::read(kind, Bytes::from_static(&body[..end])).is_err(), "{kind} {end}");
            }
        }
        assert!(Message::read(b'B', Bytes::from_static(b"\0\0\0\0\xff\xff")).is_err());
        assert!(Message::read(b'Q', Bytes::from_static(b"\xff\xfe\0")).is_err());
        assert!(Message::read(b'?', Bytes::new()).is_err());
    }
}
