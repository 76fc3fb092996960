//! The log's records as JSON, a line for each row or event.
//!
//! ```json
//! {"offset":"812","at":"2026-01-31T12:00:00.000000Z","table":"public.trips","row":{"cab":"a","price":1.5}}
//! {"offset":"813","at":"2026-01-31T12:00:00.100000Z","table":"public.trips","event":{"event":"truncate",…}}
//! ```
//!
//! A row has the fields that were written; one that was not, or is NULL, is left out.

use std::str::FromStr;

use arrow::error::ArrowError;
use nowcast_model::{Event, Item, Offset, Record, TableName, Value};
use nowcast_query::{cells, json::write_cell};
use nowcast_sources::parse_iso;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At an offset.
    Offset(Offset),
    /// At the first record that was taken in at or after a time: microseconds since 1970 UTC.
    Time(i64),
}

impl FromStr for From {
    type Err = String;

    /// Digits alone are an offset.
    fn from_str(text: &str) -> Result<From, String> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let offset = text.parse().map_err(|_| format!("{text} is past every offset"))?;
            return Ok(From::Offset(Offset::new(offset)));
        }
        parse_iso(text.as_bytes()).map(From::Time).ok_or_else(|| {
            format!("{text:?} is neither an offset nor a time; write 812, or 2026-01-31T12:00:00Z")
        })
    }
}

/// Writes what `record` holds from offset `from` on, of `table` alone if one is given, at most `lines_max` lines.
/// Answers how many were written, and the offset that comes next.
///
/// # Errors
/// If a column holds what no column has.
pub fn write_lines(
    out: &mut Vec<u8>,
    record: &Record,
    table: Option<&TableName>,
    from: Offset,
    lines_max: usize,
) -> Result<(usize, Offset), ArrowError> {
    let is_wanted = |name: Option<&TableName>| {
        table.is_none_or(|wanted| name.is_some_and(|name| name.key() == wanted.key()))
    };
    let (mut lines, mut offset) = (0, record.offset);
    for item in &record.items {
        let item_end = offset.plus(item.len());
        match item {
            Item::Event(event) => {
                let name = event.table();
                // Where a table's records begin under a name, the event tells where the earlier ones are.
                let comes = matches!(event, Event::RenameTable { to, .. } if is_wanted(Some(to)));
                if offset >= from && (is_wanted(name) || comes) {
                    if lines == lines_max {
                        return Ok((lines, offset));
                    }
                    begin(out, offset, record.at_us, name);
                    out.extend_from_slice(b",\"event\":");
                    // An event is always JSON, and writing to a Vec does not fail.
                    let _ = serde_json::to_writer(&mut *out, event);
                    out.extend_from_slice(b"}\n");
                    lines += 1;
                }
            }
            Item::Rows(batch) if item_end > from && is_wanted(Some(&batch.table)) => {
                let columns: Vec<Vec<Value>> =
                    batch.rows.columns().iter().map(cells).collect::<Result<_, _>>()?;
                let schema = batch.rows.schema_ref();
                for row in 0..batch.rows.num_rows() {
                    let at = offset.plus(row as u64);
                    if at < from {
                        continue;
                    }
                    if lines == lines_max {
                        return Ok((lines, at));
                    }
                    begin(out, at, record.at_us, Some(&batch.table));
                    out.extend_from_slice(b",\"row\":{");
                    let mut first = true;
                    for (field, column) in schema.fields().iter().zip(&columns) {
                        if column[row] == Value::Null {
                            continue;
                        }
                        if !first {
                            out.push(b',');
                        }
                        first = false;
                        write_cell(out, &Value::from(field.name().as_str()));
                        out.push(b':');
                        write_cell(out, &column[row]);
                    }
                    out.extend_from_slice(b"}}\n");
                    lines += 1;
                }
            }
            Item::Rows(_) => {}
        }
        offset = item_end;
    }
    Ok((lines, record.end()))
}

fn begin(out: &mut Vec<u8>, offset: Offset, at_us: i64, table: Option<&TableName>) {
    out.extend_from_slice(b"{\"offset\":");
    write_cell(out, &Value::from(offset.to_string().as_str()));
    out.extend_from_slice(b",\"at\":");
    write_cell(out, &Value::Timestamp(at_us));
    if let Some(table) = table {
        out.extend_from_slice(b",\"table\":");
        write_cell(out, &Value::from(format!("{}.{}", table.schema, table.table).as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_at_an_offset_or_a_time() {
        let refused = |text: &str| {
            format!("{text:?} is neither an offset nor a time; write 812, or 2026-01-31T12:00:00Z")
        };
        let table = [
            ("0", Ok(From::Offset(Offset::ZERO))),
            ("812", Ok(From::Offset(Offset::new(812)))),
            ("1970-01-01T00:00:01Z", Ok(From::Time(1_000_000))),
            ("1970-01-01T01:00:01.5+01:00", Ok(From::Time(1_500_000))),
            ("1970-01-02", Ok(From::Time(86_400_000_000))),
            ("99999999999999999999", Err("99999999999999999999 is past every offset".to_owned())),
            ("", Err(refused(""))),
            ("-1", Err(refused("-1"))),
            ("yesterday", Err(refused("yesterday"))),
            // A plus that was not percent-encoded.
            ("1970-01-01T01:00:01 01:00", Err(refused("1970-01-01T01:00:01 01:00"))),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }
}
