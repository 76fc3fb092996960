//! The table `_metrics`: what `/metrics` shows, every few seconds, to be asked with SQL.
//!
//! The exporter has no other way out than its text, so the text is read: a line for each series, `name value` or
//! `name{labels} value`.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, DictionaryArray, Float64Array, TimestampMicrosecondArray},
    datatypes::Int32Type,
};
use nowcast_model::{Column, ColumnType, Item, PartitionBy, TableName, TableSchema};

use super::rejected::batch;

/// The table's name, in the schema `public`.
pub(super) const TABLE: &str = "_metrics";

/// Series of one writing; all that there are come to fewer than a hundred. What a defect makes beyond is left out.
const SERIES_MAX: usize = 1_000;

/// What the table looks like. Partitions of an hour, so that what is past its time goes in time.
pub(super) fn schema(ttl_s: Option<u64>) -> TableSchema {
    TableSchema {
        name: TableName::public(TABLE),
        columns: vec![
            Column::new("timestamp", ColumnType::Timestamp),
            Column::new("name", ColumnType::Symbol),
            Column::new("labels", ColumnType::Symbol),
            Column::new("value", ColumnType::Double),
        ],
        timestamp: Some(0),
        partition_by: PartitionBy::Hour,
        ttl_s,
        dedup_keys: Vec::new(),
        dropped: 0,
    }
}

/// A value at a time, as Prometheus names it.
#[derive(Debug, PartialEq)]
struct Series<'a> {
    name: &'a str,
    /// `mode="incremental"`; `None` without.
    labels: Option<&'a str>,
    value: f64,
}

/// The series of Prometheus' text form. What is no series is passed over.
fn series(text: &str) -> impl Iterator<Item = Series<'_>> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        match series.split_once('{') {
            Some((name, labels)) => Some(Series { name, labels: labels.strip_suffix('}'), value }),
            None => Some(Series { name: series, labels: None, value }),
        }
    })
}

/// The rows of one writing; `None` if there are no series.
pub(super) fn rows(at_us: i64, text: &str) -> Option<Item> {
    let all: Vec<Series<'_>> = series(text).take(SERIES_MAX).collect();
    if all.is_empty() {
        return None;
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_value(at_us, all.len())),
        Arc::new(all.iter().map(|series| Some(series.name)).collect::<DictionaryArray<Int32Type>>()),
        Arc::new(all.iter().map(|series| series.labels).collect::<DictionaryArray<Int32Type>>()),
        Arc::new(Float64Array::from_iter_values(all.iter().map(|series| series.value))),
    ];
    Some(batch(schema(None), columns))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn series_are_read_with_their_labels() {
        let text = "# HELP a_total What it counts {of course}.\n# TYPE a_total counter\na_total 12\n\n\
                    b{code=\"bad} {line\",mode=\"x y\"} 0.5\nc{} 1e3\nbroken\nd nothing\n";
        let found: Vec<Series<'_>> = series(text).collect();
        let expected = [
            ("a_total", None, 12.0),
            ("b", Some("code=\"bad} {line\",mode=\"x y\""), 0.5),
            ("c", Some(""), 1_000.0),
        ];
        assert_eq!(found, expected.map(|(name, labels, value)| Series { name, labels, value }));
        assert!(rows(1, "# nothing\n").is_none());
        assert_eq!(rows(1, text).unwrap().len(), 3);
    }

    #[test]
    fn the_series_of_one_writing_are_bounded() {
        let text: String = (0..SERIES_MAX + 5).map(|n| format!("a{{n=\"{n}\"}} {n}\n")).collect();
        assert_eq!(rows(1, &text).unwrap().len(), SERIES_MAX as u64);
    }
}
