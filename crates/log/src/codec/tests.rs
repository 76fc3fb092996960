//! Tests of the codec: what is written is read, and what is broken is an error.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int8Array, Int16Array,
        Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
    },
    datatypes::{Field, Int32Type, Schema},
};
use nowcast_model::{Batch, Column, ColumnType, Event, Item, Offset, Producer, Record, TableName};
use proptest::prelude::*;

use super::{Encoder, decode_record};
use crate::{FormatError, LogError};

/// An array of `ty` made from numbers.
pub(crate) fn array_of(ty: ColumnType, values: &[Option<i64>]) -> ArrayRef {
    let text =
        |v: &Option<i64>| v.map(|v| format!("{}ä{}", v % 7, "x".repeat((v.unsigned_abs() % 5) as usize)));
    let values_iter = values.iter().copied();
    match ty {
        ColumnType::Boolean => Arc::new(values_iter.map(|v| v.map(|v| v % 2 == 0)).collect::<BooleanArray>()),
        ColumnType::Byte => Arc::new(values_iter.map(|v| v.map(|v| v as i8)).collect::<Int8Array>()),
        ColumnType::Short => Arc::new(values_iter.map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
        ColumnType::Int => Arc::new(values_iter.map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        ColumnType::Long => Arc::new(values_iter.collect::<Int64Array>()),
        ColumnType::Float => Arc::new(values_iter.map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
        ColumnType::Double => {
            Arc::new(values_iter.map(|v| v.map(|v| v as f64 / 3.0)).collect::<Float64Array>())
        }
        ColumnType::Symbol => {
            let texts: Vec<Option<String>> = values.iter().map(text).collect();
            Arc::new(texts.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
        }
        ColumnType::Varchar => Arc::new(values.iter().map(text).collect::<StringArray>()),
        ColumnType::Timestamp => Arc::new(values_iter.collect::<TimestampMicrosecondArray>()),
        ColumnType::TimestampNs => Arc::new(values_iter.collect::<TimestampNanosecondArray>()),
        ColumnType::Date => Arc::new(values_iter.collect::<TimestampMillisecondArray>()),
    }
}

fn batch_of(columns: Vec<(String, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|(n, a)| Field::new(n, a.data_type().clone(), true)).collect();
    let rows = columns.first().map_or(0, |(_, array)| array.len());
    RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|(_, array)| array).collect(),
        &RecordBatchOptions::new().with_row_count(Some(rows)),
    )
    .unwrap()
}

fn record_of(items: Vec<Item>) -> Record {
    Record { offset: Offset::new(7), at_us: -3, producer: None, items }
}

fn rows_of(rows: RecordBatch) -> Item {
    Item::Rows(Batch { table: TableName::new("ecommerce", "Größe"), rows, timestamp: None })
}

fn encode(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().record(record, &mut out).unwrap();
    out
}

fn assert_same(a: &Record, b: &Record) {
    assert_eq!(
        (a.offset, a.at_us, a.producer, a.items.len()),
        (b.offset, b.at_us, b.producer, b.items.len())
    );
    for (a, b) in a.items.iter().zip(&b.items) {
        match (a, b) {
            (Item::Event(a), Item::Event(b)) => assert_eq!(a, b),
            (Item::Rows(a), Item::Rows(b)) => {
                assert_eq!((&a.table, a.timestamp), (&b.table, b.timestamp));
                assert_eq!(a.rows, b.rows);
            }
            _ => panic!("kinds differ"),
        }
    }
}

fn round_trip(record: &Record) -> Vec<u8> {
    let bytes = encode(record);
    assert_eq!(bytes.len() % 8, 0);
    let (read, taken) = decode_record(&bytes).unwrap();
    assert_eq!(taken, bytes.len());
    assert_same(record, &read);
    bytes
}

#[test]
fn every_type_with_and_without_nulls_sliced_and_empty() {
    let some: Vec<Option<i64>> = (0..40).map(|v| (v % 3 != 0).then_some(v * 17 - 200)).collect();
    let full: Vec<Option<i64>> = (0..40).map(Some).collect();
    let none: Vec<Option<i64>> = vec![None; 40];
    for values in [some, full, none] {
        let columns = ColumnType::ALL
            .map(|ty| (format!("c {}", ty.name()), array_of(ty, &values)))
            .into_iter()
            .collect();
        let batch = batch_of(columns);
        for (at, len) in [(0, 40), (0, 0), (40, 0), (1, 39), (8, 8), (13, 1), (3, 30)] {
            let record = record_of(vec![rows_of(batch.slice(at, len))]);
            round_trip(&record);
        }
    }
}

#[test]
fn a_slice_takes_its_own_room_only() {
    let values: Vec<Option<i64>> = (0..10_000).map(Some).collect();
    for ty in ColumnType::ALL {
        let batch = batch_of(vec![("c".to_owned(), array_of(ty, &values))]);
        let bytes = round_trip(&record_of(vec![rows_of(batch.slice(5_001, 3))]));
        assert!(bytes.len() < 1_000, "{ty}: {} bytes", bytes.len());
    }
}

#[test]
fn a_dictionary_that_is_mostly_unused_is_made_compact() {
    let values: StringArray = (0..5_000).map(|v| Some(format!("value {v}"))).collect();
    let keys = Int32Array::from(vec![Some(4_999), None, Some(0), Some(4_999)]);
    let array: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(values)));
    let bytes = round_trip(&record_of(vec![rows_of(batch_of(vec![("s".to_owned(), array)]))]));
    assert!(bytes.len() < 300, "{}", bytes.len());
}

/// Arrow's own check of all that was read.
fn check_arrays(record: &Record) {
    for item in &record.items {
        let Item::Rows(batch) = item else { continue };
        batch.rows.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
    }
}

#[test]
fn a_key_that_has_no_value_is_refused_unless_its_row_is_null() {
    let read = |keys: [i32; 3], is_null: bool| {
        let values: StringArray = ["a", "b"].into_iter().map(Some).collect();
        let marked: Vec<Option<i32>> = vec![Some(1), Some(0), (!is_null).then_some(1)];
        let array: ArrayRef =
            Arc::new(DictionaryArray::new(Int32Array::from(marked.clone()), Arc::new(values)));
        let mut bytes = encode(&record_of(vec![rows_of(batch_of(vec![("s".to_owned(), array)]))]));
        let as_bytes = |keys: [i32; 3]| keys.map(i32::to_le_bytes).concat();
        let written = as_bytes([1, 0, i32::from(!is_null)]);
        let at = bytes.windows(12).position(|window| *window == written).unwrap();
        bytes[at..at + 12].copy_from_slice(&as_bytes(keys));
        decode_record(&bytes).map(|(record, _)| check_arrays(&record))
    };
    assert_eq!(read([1, 1, 1], false), Ok(()));
    for keys in [[2, 0, 0], [0, -1, 0], [0, 0, i32::MAX], [i32::MIN, 0, 0]] {
        assert!(matches!(read(keys, false), Err(FormatError::BadColumn(_))), "{keys:?}");
    }
    assert_eq!(read([1, 0, -1], true), Ok(()));
    assert!(matches!(read([1, 2, -1], true), Err(FormatError::BadColumn(_))));
}

#[test]
fn nulls_among_dictionary_values_become_null_rows() {
    let values = StringArray::from(vec![Some("a"), None]);
    let array: ArrayRef = Arc::new(DictionaryArray::new(Int32Array::from(vec![0, 1, 0]), Arc::new(values)));
    let bytes = encode(&record_of(vec![rows_of(batch_of(vec![("s".to_owned(), array)]))]));
    let (read, _) = decode_record(&bytes).unwrap();
    let Item::Rows(batch) = &read.items[0] else { panic!() };
    assert_eq!(batch.rows.column(0).logical_nulls().unwrap().null_count(), 1);
    assert_eq!(batch.rows.column(0).null_count(), 1);
}

#[test]
fn events_producers_several_items_and_no_columns() {
    let event = Event::AddColumns {
        table: TableName::public("t"),
        columns: vec![Column::new("ü", ColumnType::Symbol)],
    };
    let mut record = record_of(vec![
        Item::Event(event),
        rows_of(batch_of(vec![])),
        rows_of(batch_of(vec![("a".to_owned(), array_of(ColumnType::Long, &[Some(1)]))])),
        Item::Event(Event::Truncate { table: TableName::public("t") }),
        Item::Event(Event::DropColumns { table: TableName::public("t"), columns: vec!["ü".into()] }),
        Item::Event(Event::RenameTable { table: TableName::public("t"), to: TableName::new("s", "u") }),
    ]);
    record.producer = Some(Producer { id: u64::MAX, sequence: 9 });
    if let Item::Rows(batch) = &mut record.items[2] {
        batch.timestamp = Some(0);
    }
    round_trip(&record);
}

#[test]
fn what_cannot_be_written_is_refused_and_leaves_no_trace() {
    let mut out = vec![1; 8];
    let mut encoder = Encoder::default();
    let error = encoder.record(&record_of(vec![]), &mut out).unwrap_err();
    assert_eq!(error, LogError::Empty);
    let column: ArrayRef = Arc::new(UInt64Array::from(vec![1]));
    let record = record_of(vec![rows_of(batch_of(vec![("u".to_owned(), column)]))]);
    let error = encoder.record(&record, &mut out).unwrap_err().to_string();
    assert_eq!(error, "column \"u\" is UInt64, which the log does not store; cast it first");
    let column: ArrayRef = Arc::new(Int64Array::from(vec![0; 9 << 20]));
    let record = record_of(vec![rows_of(batch_of(vec![("l".to_owned(), column)]))]);
    let error = encoder.record(&record, &mut out).unwrap_err();
    assert!(matches!(error, LogError::TooLarge { .. }), "{error}");
    assert_eq!(out, vec![1; 8]);
}

/// One row of each type; small enough that every byte can be tried.
fn small_bytes() -> Vec<u8> {
    let columns = ColumnType::ALL.map(|ty| (ty.name().to_owned(), array_of(ty, &[Some(3), None])));
    encode(&record_of(vec![
        rows_of(batch_of(columns.into_iter().collect())),
        Item::Event(Event::CreateSchema { schema: "s".to_owned() }),
    ]))
}

#[test]
fn a_cut_record_is_too_short_wherever_it_is_cut() {
    let bytes = small_bytes();
    for len in 0..bytes.len() {
        let error = decode_record(&bytes[..len]).unwrap_err();
        assert!(matches!(error, FormatError::TooShort { .. }), "{len}: {error}");
    }
}

#[test]
fn no_changed_byte_makes_the_reader_panic() {
    let bytes = small_bytes();
    for at in 0..bytes.len() {
        for to in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 0x10] {
            let mut changed = bytes.clone();
            changed[at] = to;
            if let Ok((record, _)) = decode_record(&changed) {
                // What is taken for a record is one: it can be used without a panic.
                let _ = format!("{record:?}");
                let _ = encode(&record);
            }
        }
    }
}

fn column_strategy(rows: usize) -> impl Strategy<Value = ArrayRef> {
    let values = prop::collection::vec(prop::option::weighted(0.8, any::<i64>()), rows);
    (0..ColumnType::ALL.len(), values).prop_map(|(ty, values)| array_of(ColumnType::ALL[ty], &values))
}

fn batch_strategy() -> impl Strategy<Value = RecordBatch> {
    (0..70_usize)
        .prop_flat_map(|rows| (prop::collection::vec(column_strategy(rows), 1..6), 0..=rows, 0..=rows))
        .prop_map(|(columns, a, b)| {
            let columns =
                columns.into_iter().enumerate().map(|(i, array)| (format!("c{i}"), array)).collect();
            batch_of(columns).slice(a.min(b), a.abs_diff(b))
        })
}

proptest! {
    #[test]
    fn random_records_survive(batches in prop::collection::vec(batch_strategy(), 1..4), at_us: i64) {
        let mut record = record_of(batches.into_iter().map(rows_of).collect());
        record.at_us = at_us;
        let bytes = round_trip(&record);
        // Written again, what was read is the same bytes.
        let (read, _) = decode_record(&bytes).unwrap();
        prop_assert_eq!(encode(&read), bytes);
    }

    #[test]
    fn random_damage_is_never_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = small_bytes();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok((record, _)) = decode_record(&bytes) {
            check_arrays(&record);
            let _ = format!("{record:?}");
        }
    }

    #[test]
    fn random_bytes_are_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_record(&bytes);
    }
}
