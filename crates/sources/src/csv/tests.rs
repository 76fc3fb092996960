#![allow(clippy::unwrap_used)]

use arrow::util::display::{ArrayFormatter, FormatOptions};

use nowcast_model::ColumnType;

use super::*;
use crate::Precision;

fn options() -> CsvOptions {
    CsvOptions::default()
}

/// The cells, a line for each row.
fn shown_rows(batches: &[RecordBatch]) -> String {
    let options = FormatOptions::default();
    let mut out = String::new();
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            columns.iter().for_each(|column| out += &format!("{}|", column.value(row)));
            out.push('\n');
        }
    }
    out
}

/// The layout and the rows, whether the text comes whole or byte by byte.
fn read(text: &[u8], options: &CsvOptions) -> Result<(String, String, (u64, u64)), LineError> {
    let mut outcomes = Vec::new();
    for piece in [text.len().max(1), 1] {
        let mut reader = CsvReader::new(options.clone());
        for chunk in text.chunks(piece) {
            reader.feed(chunk)?;
        }
        reader.finish()?;
        let layout = reader.layout().unwrap();
        let columns: Vec<String> = layout.columns.iter().map(|c| format!("{} {}", c.name, c.ty)).collect();
        let shape = format!(
            "{:?}{} {}",
            char::from(layout.delimiter),
            if layout.header { "h" } else { "" },
            columns.join(", ")
        );
        let batches = reader.take();
        outcomes.push((shape, shown_rows(&batches), reader.counts()));
    }
    assert_eq!(outcomes[0], outcomes[1]);
    Ok(outcomes.remove(0))
}

#[test]
fn files_tell_what_they_are() {
    let table = [
        ("a,b\n1,x\n2,y\n", "','h a LONG, b VARCHAR"),
        ("a;b\n1,5;2026-01-01T00:00:00Z\n", "';'h a VARCHAR, b TIMESTAMP"),
        ("a\tb\r\n1.5\ttrue\r\n\r\n2\tFALSE\r\n", "'\\t'h a DOUBLE, b BOOLEAN"),
        ("1,2\n3,4", "',' f0 LONG, f1 LONG"),
        ("x,y\nz,w\n", "',' f0 VARCHAR, f1 VARCHAR"),
        ("d,t,c\n2026-01-31,20260131T120000Z,007\n", "','h d DATE, t TIMESTAMP, c VARCHAR"),
        ("t\n2026-01-31 12:00:00.123456\n2026-01-31T12:00+02:00\n", "','h t TIMESTAMP"),
        ("\u{feff}a,b\n,1\n", "','h a VARCHAR, b LONG"),
        ("a|b\n\"x|y\"|1\n\"line\nbreak\"|2\n", "'|'h a VARCHAR, b LONG"),
        ("a.b,a:c,\n1,2,3\n", "','h a_b LONG, a_c LONG, f2 LONG"),
        ("n\nnan\ninf\n1\n", "',' f0 VARCHAR"),
    ];
    for (text, expected) in table {
        assert_eq!(read(text.as_bytes(), &options()).unwrap().0, expected, "{text:?}");
    }
    let symbols: String = (0..100).map(|i| format!("{},{i}\n", i % 3)).collect::<String>();
    let symbols =
        format!("s,n\n{}", symbols.replace("0,", "zero,").replace("1,", "one,").replace("2,", "two,"));
    assert_eq!(read(symbols.as_bytes(), &options()).unwrap().0, "','h s SYMBOL, n LONG");
}

#[test]
fn bad_cells_are_null_or_take_their_row() {
    // The sample tells LONG; the rows behind it are another matter.
    let mut text = String::from("n,t\n");
    (0..1_000).for_each(|i| text += &format!("{i},a\n"));
    text += "x,b\n7,c,extra\n8\n";
    for (on_error, counts) in [(OnError::Null, (1_002, 1)), (OnError::SkipRow, (1_001, 2))] {
        assert_eq!(read(text.as_bytes(), &CsvOptions { on_error, ..options() }).unwrap().2, counts);
    }
    let error = read(text.as_bytes(), &CsvOptions { on_error: OnError::Abort, ..options() }).unwrap_err();
    assert_eq!((error.line, error.cause.as_str()), (1_002, "column \"n\" is LONG, got \"x\""));
    let cut = CsvOptions { cut_extra: true, ..options() };
    assert_eq!(read(text.as_bytes(), &cut).unwrap().2, (1_003, 0));
}

#[test]
fn the_sample_may_end_anywhere() {
    let text: String =
        std::iter::once("a,b\n".to_owned()).chain((0..60_000).map(|i| format!("{i},\"x {i}\"\n"))).collect();
    for piece in [SAMPLE_BYTES - 1, SAMPLE_BYTES, SAMPLE_BYTES + 1, 4096] {
        let mut reader = CsvReader::new(CsvOptions { on_error: OnError::Abort, ..options() });
        text.as_bytes().chunks(piece).for_each(|chunk| reader.feed(chunk).unwrap());
        reader.finish().unwrap();
        assert_eq!(reader.counts(), (60_000, 0), "{piece}");
    }
}

#[test]
fn types_patterns_and_the_time_are_given() {
    let pattern = Some(Pattern::new("dd/MM/yyyy h:mm a").unwrap());
    let give = |name: &str, ty, pattern| Override { name: name.to_owned(), ty, pattern };
    let options = CsvOptions {
        overrides: vec![
            give("t", ColumnType::Timestamp, pattern),
            give("k", ColumnType::Byte, None),
            give("u", ColumnType::TimestampNs, None),
        ],
        timestamp: Some("t".into()),
        ..options()
    };
    let text = "k,t,u\n1,31/01/2026 1:30 PM,2026-01-01T00:00:00.123456789Z\n300,31/01/2026 12:00 am,\n2,,\n";
    let (shape, rows, counts) = read(text.as_bytes(), &options).unwrap();
    assert_eq!((shape.as_str(), counts), ("','h k BYTE, t TIMESTAMP, u TIMESTAMP_NS", (2, 1)));
    assert!(rows.contains("2026-01-31T13:30:00") && rows.contains("2026-01-31T00:00:00"), "{rows}");
    assert!(rows.contains(".123456789"), "{rows}");
    let missing = CsvOptions { timestamp: Some("when".into()), ..CsvOptions::default() };
    assert!(read(b"a,b\n1,2\n", &missing).unwrap_err().cause.contains("when"));
}

#[test]
fn numbers_are_times_in_their_unit() {
    for (precision, number) in
        [(Precision::Seconds, "1769860800"), (Precision::Milliseconds, "1769860800000")]
    {
        let options = CsvOptions { timestamp: Some("t".into()), precision, ..options() };
        let (shape, rows, _) = read(format!("t,v\n{number},1\n").as_bytes(), &options).unwrap();
        assert!(shape.contains("t TIMESTAMP") && rows.contains("2026-01-31T12:00:00"), "{rows}");
    }
}

#[test]
fn hostile_files_end_with_their_line() {
    let wide: Vec<u8> = b"a,".repeat(100_000);
    let long = vec![b'x'; RECORD_BYTES_MAX + SAMPLE_BYTES];
    let mut late = b"a,b\n".to_vec();
    late.extend(b"1,2\n".repeat(SAMPLE_BYTES / 4));
    let many = late.len() / 4;
    late.extend(b"1,");
    late.extend(vec![b'7'; RECORD_BYTES_MAX + 1]);
    let table: Vec<(&[u8], u64, &str)> = vec![
        (b"name,n\nM\xfcnchen,1\n", 2, "UTF-8"),
        (b"na\xefve,n\nx,1\n", 1, "UTF-8"),
        (b"\xff\xfea\0,\0", 1, "UTF-16"),
        (b"t,n\na\0b,1\n", 2, "NUL"),
        (b"", 1, "empty"),
        (b"\n\n", 1, "empty"),
        (b"a,A\n1,2\n", 1, "twice"),
        (&wide, 1, "more than 2000 cells"),
        (&long, 1, "no record ends"),
        (&late, many as u64 + 1, "more than 4194304 bytes"),
    ];
    for (text, line, cause) in table {
        let mut reader = CsvReader::new(options());
        let error = reader.feed(text).and_then(|()| reader.finish()).unwrap_err();
        assert!(error.cause.contains(cause) && error.line == line, "{error} for {cause}");
    }
}

#[test]
fn patterns_are_read() {
    let us = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().parse(text.as_bytes());
    let noon = Some(1_769_860_800_000_000);
    let table = [
        ("yyyy-MM-ddTHH:mm:ss.SSSZ".replace('T', "'T'"), "2026-01-31T12:00:00.000Z", noon),
        ("dd.MM.yyyy HH:mm".into(), "31.01.2026 12:00", noon),
        ("d MMM yy H:m".into(), "31 Jan 26 12:0", noon),
        ("MMMM d, yyyy HH:mm Z".into(), "January 31, 2026 14:00 +02:00", noon),
        ("yyyyMMddHHmmssSSSUUU".into(), "20260131120000000001", noon.map(|us| us + 1)),
        ("dd.MM.yyyy".into(), "30.02.2026", None),
        ("yyyy HH".into(), "2026 24", None),
        ("yyyy".into(), "2026x", None),
    ];
    for (pattern, text, expected) in table {
        assert_eq!(us(&pattern, text), expected, "{pattern} {text}");
    }
    assert!(Pattern::new("yyyy-QQ").unwrap_err().contains('Q'));
    assert!(Pattern::new("HH:mm").unwrap_err().contains("year"));
    assert!(Pattern::new("yyyy 'x").is_err());
}
