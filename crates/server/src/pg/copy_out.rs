//! `COPY … TO STDOUT`: one message for each row.

use bytes::{BufMut, BytesMut};
use nowcast_query::{CopyFormat, CopyOptions};

use super::{
    encode::Column,
    error::Failure,
    rows::{Source, columns},
    socket::{Writer, cell},
};

/// What a binary COPY begins with, and then no flags and no extension.
pub(super) const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Tells the client the form of what follows: `G` for rows of its own, `H` for ours.
pub(super) fn respond(writer: &mut Writer, kind: u8, options: &CopyOptions, columns: usize) {
    let binary = options.format == CopyFormat::Binary;
    writer.put(kind, |out| {
        out.put_u8(binary.into());
        out.put_u16(u16::try_from(columns).unwrap_or(u16::MAX));
        for _ in 0..columns {
            out.put_u16(binary.into());
        }
    });
}

/// Sends all rows; how many.
pub(super) async fn send(
    writer: &mut Writer,
    mut source: Source,
    options: &CopyOptions,
) -> Result<u64, Failure> {
    let schema = source.schema.clone();
    respond(writer, b'H', options, schema.fields().len());
    // As PostgreSQL's, the beginning shares a message with the first row: psycopg relies on it.
    let mut begun = options.format != CopyFormat::Binary;
    let mut begin = |out: &mut BytesMut| {
        if !std::mem::replace(&mut begun, true) {
            out.put_slice(SIGNATURE);
            out.put_u64(0);
        }
    };
    if options.format != CopyFormat::Binary && options.header {
        writer.put(b'd', |out| {
            for (i, field) in schema.fields().iter().enumerate() {
                if i > 0 {
                    out.put_u8(options.delimiter());
                }
                value(out, field.name().as_bytes(), options);
            }
            out.put_u8(b'\n');
        });
    }
    let mut sent = 0;
    let mut scratch = BytesMut::new();
    while let Some((batch, from)) = source.batch().await? {
        let columns = columns(&batch)?;
        for i in from..batch.num_rows() {
            source.check_time(i)?;
            writer.put(b'd', |out| {
                begin(out);
                row(out, &columns, i, options, &mut scratch);
            });
            writer.make_room().await?;
        }
        sent += (batch.num_rows() - from) as u64;
    }
    if options.format == CopyFormat::Binary {
        writer.put(b'd', |out| {
            begin(out);
            out.put_i16(-1);
        });
    }
    writer.put(b'c', |_| {});
    Ok(sent)
}

fn row(
    out: &mut BytesMut,
    columns: &[Column<'_>],
    row: usize,
    options: &CopyOptions,
    scratch: &mut BytesMut,
) {
    if options.format == CopyFormat::Binary {
        out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
        for column in columns {
            cell(out, column, row, true);
        }
        return;
    }
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.put_u8(options.delimiter());
        }
        scratch.clear();
        if column.write(row, false, scratch) {
            value(out, scratch, options);
        } else {
            out.put_slice(options.null().as_bytes());
        }
    }
    out.put_u8(b'\n');
}

fn value(out: &mut BytesMut, bytes: &[u8], options: &CopyOptions) {
    let delimiter = options.delimiter();
    if options.format == CopyFormat::Csv {
        let (quote, escape) = (options.quote, options.escape.unwrap_or(options.quote));
        let special = |b: &u8| *b == delimiter || *b == quote || matches!(b, b'\n' | b'\r');
        let as_null = bytes == options.null().as_bytes();
        if !(options.force_quote || as_null || bytes == b"\\." || bytes.iter().any(special)) {
            return out.put_slice(bytes);
        }
        out.put_u8(quote);
        for &byte in bytes {
            if byte == quote || byte == escape {
                out.put_u8(escape);
            }
            out.put_u8(byte);
        }
        return out.put_u8(quote);
    }
    for &byte in bytes {
        let letter = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0x0b => b'v',
            byte if byte == delimiter => delimiter,
            byte => {
                out.put_u8(byte);
                continue;
            }
        };
        out.put_u8(b'\\');
        out.put_u8(letter);
    }
}
