//! The two halves of a connection's socket.
//!
//! The reader gives whole messages and bounds them before it waits for them. The writer gathers messages and
//! sends them once there are enough, so that rows cost no system call each; what was not sent yet stays when
//! a statement is called off in the middle, so that the client never sees half a message.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    time::timeout,
};

use super::{
    encode::Column,
    error::{End, WireError},
    message::{Message, broken, bytes_max},
};

/// How often a client is looked for whose statement runs.
const LOOK: Duration = Duration::from_millis(200);

/// Gathered before it is sent.
const SEND_BYTES: usize = 64 << 10;

/// Reads messages.
pub(super) struct Reader {
    half: OwnedReadHalf,
    input: BytesMut,
    /// A message that has begun goes on within this time.
    stall_max: Duration,
}

impl Reader {
    pub(super) fn new(half: OwnedReadHalf, input: BytesMut, stall_max: Duration) -> Reader {
        Reader { half, input, stall_max }
    }

    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, End> {
        loop {
            if let Some((kind, body)) = frame(&mut self.input)? {
                return Message::read(kind, body).map(Some);
            }
            let began = !self.input.is_empty();
            let read = self.half.read_buf(&mut self.input);
            // Between two messages a client may be silent for as long as it likes.
            let read = if began {
                timeout(self.stall_max, read)
                    .await
                    .map_err(|_| broken("half a message came, and then nothing"))?
            } else {
                read.await
            };
            if read? == 0 {
                return Ok(None);
            }
        }
    }

    /// Waits until the client has left, looked for now and then. What it sends stays to be read.
    pub(super) async fn gone(&mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if !self.half.ready(Interest::READABLE).await.is_ok_and(|ready| !ready.is_read_closed()) {
                return;
            }
        }
    }
}

/// A whole message out of `input`, if one is there.
fn frame(input: &mut BytesMut) -> Result<Option<(u8, Bytes)>, End> {
    let Some(header) = input.first_chunk::<5>() else {
        // The first byte alone tells garbage.
        return match input.first() {
            Some(&kind) if bytes_max(kind).is_none() => Err(unknown(kind)),
            _ => Ok(None),
        };
    };
    let [kind, length @ ..] = *header;
    let length = i32::from_be_bytes(length);
    let Some(max) = bytes_max(kind) else { return Err(unknown(kind)) };
    let bytes = match usize::try_from(length) {
        Ok(bytes) if bytes >= 4 => bytes,
        _ => return Err(broken(format!("a message cannot have a length of {length}"))),
    };
    if bytes > max {
        let message = format!("a message has {bytes} bytes, at most {max} are allowed");
        return Err(End::Fatal(WireError::fatal("54000", message).hint("send less at once")));
    }
    if input.len() < bytes + 1 {
        input.reserve((bytes + 1 - input.len()).min(1 << 20));
        return Ok(None);
    }
    let mut frame = input.split_to(bytes + 1);
    frame.advance(5);
    Ok(Some((kind, frame.freeze())))
}

fn unknown(kind: u8) -> End {
    broken(format!("a message cannot begin with the byte 0x{kind:02x}"))
}

/// Writes messages.
pub(super) struct Writer {
    half: OwnedWriteHalf,
    out: BytesMut,
    /// A client takes something within this time, or it is gone.
    stall_max: Duration,
}

impl Writer {
    pub(super) fn new(half: OwnedWriteHalf, stall_max: Duration) -> Writer {
        Writer { half, out: BytesMut::new(), stall_max }
    }

    /// Sends what was gathered.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        while !self.out.is_empty() {
            match timeout(self.stall_max, self.half.write_buf(&mut self.out)).await {
                Ok(Ok(written)) if written > 0 => {}
                _ => return Err(End::Gone),
            }
        }
        Ok(())
    }

    /// Sends what was gathered if it is enough.
    pub(super) async fn make_room(&mut self) -> Result<(), End> {
        if self.out.len() >= SEND_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Adds a message; `body` writes what follows its length.
    pub(super) fn put(&mut self, kind: u8, body: impl FnOnce(&mut BytesMut)) {
        self.out.put_u8(kind);
        let at = self.out.len();
        self.out.put_i32(0);
        body(&mut self.out);
        patch(&mut self.out, at, 0);
    }

    /// Adds one row.
    pub(super) fn row(&mut self, columns: &[Column<'_>], binary: &[bool], row: usize) {
        self.put(b'D', |out| {
            out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
            for (column, &binary) in columns.iter().zip(binary) {
                cell(out, column, row, binary);
            }
        });
    }

    /// `INSERT 0 3`.
    pub(super) fn complete(&mut self, tag: &str) {
        self.put(b'C', |out| text(out, tag));
    }

    /// An error, or a notice by its severity.
    pub(super) fn tell(&mut self, error: &WireError) {
        let kind = if matches!(error.severity, "ERROR" | "FATAL") { b'E' } else { b'N' };
        self.put(kind, |out| {
            for (letter, value) in error.fields() {
                out.put_u8(letter);
                text(out, &value);
            }
            out.put_u8(0);
        });
    }

    /// A session variable that clients follow.
    pub(super) fn parameter(&mut self, name: &str, value: &str) {
        self.put(b'S', |out| {
            text(out, name);
            text(out, value);
        });
    }
}

/// One value with its length, -1 for NULL.
pub(super) fn cell(out: &mut BytesMut, column: &Column<'_>, row: usize, binary: bool) {
    let at = out.len();
    out.put_i32(-1);
    if column.write(row, binary, out) {
        patch(out, at, 4);
    }
}

/// Writes at `at` the bytes that follow it, `without` of them left out.
fn patch(out: &mut BytesMut, at: usize, without: usize) {
    let bytes = i32::try_from(out.len() - at - without).unwrap_or(i32::MAX);
    out[at..at + 4].copy_from_slice(&bytes.to_be_bytes());
}

/// A text with its end. A zero in it would end it early.
pub(super) fn text(out: &mut BytesMut, text: &str) {
    out.extend(text.bytes().filter(|&b| b != 0));
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn frames_are_bounded_before_they_are_waited_for() {
        let check = |bytes: &[u8]| frame(&mut BytesMut::from(bytes));
        assert!(check(b"").unwrap().is_none());
        assert!(check(b"Q\0\0").unwrap().is_none());
        assert!(check(b"Q\0\0\0\x06x").unwrap().is_none());
        assert_eq!(check(b"Q\0\0\0\x06x\0S").unwrap().unwrap(), (b'Q', Bytes::from_static(b"x\0")));
        for bytes in [
            &b"\x16"[..],
            b"GET / HT",
            b"Q\0\0\0\x03",
            b"Q\xff\xff\xff\xff",
            b"Q\x7f\xff\xff\xff",
            b"S\0\0\xff\xff",
        ] {
            assert!(matches!(check(bytes), Err(End::Fatal(_))), "{bytes:?}");
        }
    }
}
