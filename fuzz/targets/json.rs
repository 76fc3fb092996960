//! JSON and NDJSON bodies.
//!
//! The input's last byte is the mode. Bit 0: times may be numbers; bit 1: the time column is named.
//!
//! What must hold: nothing panics; a fault lies inside the body; what serde_json reads too has as many rows, with
//! the same values.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nowcast_fuzz::{cell, rows};
use nowcast_model::TableName;
use nowcast_sources::{
    Decoded, Precision,
    json::{JsonOptions, decode_all},
};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let Some((mode, body)) = input.split_last() else { return };
    let options = JsonOptions {
        table: TableName::public("t"),
        timestamp_column: (mode & 2 != 0).then(|| "at".to_owned()),
        precision: (mode & 1 != 0).then_some(Precision::Milliseconds),
        now_us: 1_000_000,
    };
    let decoded = match decode_all(body, &options) {
        Ok(decoded) => decoded,
        Err(error) => {
            let lines = body.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
            assert!((1..=lines).contains(&error.line), "{error} in {lines} lines");
            assert!((1..=body.len() + 1).contains(&(error.column as usize)), "{error}");
            return;
        }
    };
    rows(&decoded);
    if let Some(expected) = reference(body) {
        compare(&decoded, &expected);
    }
});

/// The objects as serde_json reads them; `None` where it is stricter (`NaN`, a half of a surrogate pair).
fn reference(body: &[u8]) -> Option<Vec<Value>> {
    let values = serde_json::Deserializer::from_slice(body).into_iter();
    let values = values.collect::<Result<Vec<Value>, _>>().ok()?;
    match &values[..] {
        [Value::Array(rows)] => Some(rows.clone()),
        _ => Some(values),
    }
}

fn compare(decoded: &Decoded, expected: &[Value]) {
    assert_eq!(decoded.rows(), expected.len());
    let mut batches = decoded.batches.iter();
    let (mut batch, mut row) = (batches.next(), 0);
    for value in expected {
        let members = value.as_object().expect("a row is an object");
        while batch.is_some_and(|batch| batch.rows.num_rows() == row) {
            (batch, row) = (batches.next(), 0);
        }
        let batch = batch.expect("as many rows");
        let mut cells = Vec::new();
        for (index, column) in batch.rows.columns().iter().enumerate() {
            if Some(index) != batch.timestamp {
                cells.extend(cell(column, row));
            }
        }
        let schema = batch.rows.schema_ref();
        let time = batch.timestamp.map(|time| schema.field(time).name().as_str()).unwrap_or_default();
        let members = members.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(time));
        let mut members: Vec<String> = members.filter_map(|(_, value)| expected_cell(value)).collect();
        // By value: names match without case, and columns stand in the order of their first use.
        cells.sort();
        members.sort();
        assert_eq!(cells, members, "row {value}");
        row += 1;
    }
}

fn expected_cell(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(value) => Some(format!("Some(Boolean) {value}")),
        Value::Number(number) => {
            Some(format!("Some(Double) {:016x}", number.as_f64().unwrap_or(f64::NAN).to_bits()))
        }
        Value::String(text) => Some(format!("Some(Varchar) {text:?}")),
        Value::Array(_) | Value::Object(_) => panic!("a nested value was taken: {value}"),
    }
}
