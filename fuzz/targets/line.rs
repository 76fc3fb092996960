//! Line protocol, text and binary, in pieces.
//!
//! The input's last byte counts the pieces' lengths that stand before it, at most 15 bytes of 1 to 256; they are
//! used again and again. (Text that ends in a newline has ten of them, which is why the seeds end in a comment.)
//!
//! What must hold: nothing panics; the pieces change nothing; a body that is taken whole is taken as a stream
//! with the same rows; lines that are longer than the limit are never kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nowcast_fuzz::rows;
use nowcast_sources::{
    Decoded, LineError, Precision,
    line::{LineDecoder, LineOptions, decode_all},
};

const NOW_US: i64 = 1_000_000;
const LINE_BYTES_MAX: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_last() else { return };
    let (body, lengths) = rest.split_at(rest.len().saturating_sub(usize::from(count % 16)));
    let options = LineOptions::new(Precision::Nanoseconds, NOW_US);
    let whole = stream(body, &[], &options);
    let pieces = stream(body, lengths, &options);
    assert_eq!(rows(&whole.0), rows(&pieces.0), "the pieces changed the rows");
    assert_eq!(whole.1, pieces.1, "the pieces changed what is refused");
    if let Ok(decoded) = decode_all(body, &options) {
        // A body's last line need not have its end.
        let taken = stream(&[body, b"\n"].concat(), lengths, &options);
        assert_eq!(taken.1, [], "a body that is taken whole is refused as a stream");
        assert_eq!(rows(&decoded), rows(&taken.0));
    }
    bounded(body, lengths, &LineOptions { line_bytes_max: LINE_BYTES_MAX, ..options });
});

/// The pieces of `body`.
fn pieces<'a>(body: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    let mut left = body;
    let mut pieces = Vec::new();
    while !left.is_empty() {
        let length = lengths.next().map_or(left.len(), |&length| usize::from(length) + 1);
        let (piece, rest) = left.split_at(length.min(left.len()));
        pieces.push(piece);
        left = rest;
    }
    pieces
}

/// The rows, and the lines that were refused; the last one may have ended the stream.
fn stream(body: &[u8], lengths: &[u8], options: &LineOptions) -> (Decoded, Vec<LineError>) {
    let mut decoder = LineDecoder::new(options);
    let mut bad = Vec::new();
    for piece in pieces(body, lengths) {
        if let Err(fatal) = decoder.feed(piece, NOW_US, &mut |error| bad.push(error)) {
            assert!(fatal.fatal);
            bad.push(fatal);
            return (take(&mut decoder), bad);
        }
    }
    decoder.finish(&mut |error| bad.push(error));
    (take(&mut decoder), bad)
}

/// With short lines, taking rows and giving up texts without an end in between, as a connection does.
fn bounded(body: &[u8], lengths: &[u8], options: &LineOptions) {
    let mut decoder = LineDecoder::new(options);
    let mut told = |error: LineError| assert!(!error.fatal, "{error}");
    for piece in pieces(body, lengths) {
        if decoder.feed(piece, NOW_US, &mut told).is_err() {
            return;
        }
        assert!(decoder.partial_bytes() <= options.line_bytes_max, "a line that is too long is kept");
        if decoder.has_open_text() && decoder.give_up_open_text(&mut told).is_err() {
            return;
        }
        take(&mut decoder);
    }
    decoder.finish(&mut told);
}

fn take(decoder: &mut LineDecoder) -> Decoded {
    let rows = decoder.rows();
    let decoded = decoder.take();
    assert_eq!(decoded.rows(), rows);
    decoded
}
