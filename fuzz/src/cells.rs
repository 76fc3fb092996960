//! Decoded rows as text.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType},
};
use nowcast_model::ColumnType;
use nowcast_sources::Decoded;

/// One cell with its type; `None` for NULL. Doubles by their bits: NaN equals itself.
///
/// # Panics
/// For a type that no source makes.
pub fn cell(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    let ty = ColumnType::from_arrow(column.data_type());
    let value = match ty {
        Some(ColumnType::Boolean) => column.as_boolean().value(row).to_string(),
        Some(ColumnType::Long) => column.as_primitive::<Int64Type>().value(row).to_string(),
        Some(ColumnType::Double) => {
            format!("{:016x}", column.as_primitive::<Float64Type>().value(row).to_bits())
        }
        Some(ColumnType::Varchar) => format!("{:?}", column.as_string::<i32>().value(row)),
        Some(ColumnType::Symbol) => {
            let symbols = column.as_dictionary::<Int32Type>();
            let key = symbols.keys().value(row) as usize;
            format!("{:?}", symbols.values().as_string::<i32>().value(key))
        }
        Some(ColumnType::Timestamp) => {
            column.as_primitive::<TimestampMicrosecondType>().value(row).to_string()
        }
        Some(ColumnType::TimestampNs) => {
            column.as_primitive::<TimestampNanosecondType>().value(row).to_string()
        }
        other => panic!("no source makes a column of type {other:?}"),
    };
    Some(format!("{ty:?} {value}"))
}

/// Each row by itself, by its line: its table, and its cells by their names, NULLs left out. Batches stand in the
/// order in which tables first appear, which refused lines may change.
///
/// # Panics
/// If the lines do not fit the rows, or a batch has no time.
pub fn rows(decoded: &Decoded) -> Vec<(u64, String)> {
    assert_eq!(decoded.batches.len(), decoded.lines.len());
    let mut rows = Vec::new();
    for (batch, lines) in decoded.batches.iter().zip(&decoded.lines) {
        assert_eq!(batch.rows.num_rows(), lines.len());
        assert!(lines.is_sorted(), "rows of {} changed their order", batch.table);
        let schema = batch.rows.schema_ref();
        let time = batch.timestamp.map(|time| schema.field(time).name());
        assert!(time.is_some(), "a batch of {} has no time", batch.table);
        for (row, &line) in lines.iter().enumerate() {
            let mut cells = Vec::new();
            for (field, column) in schema.fields().iter().zip(batch.rows.columns()) {
                cells.extend(cell(column, row).map(|cell| format!("{:?}={cell}", field.name())));
            }
            cells.sort();
            rows.push((line, format!("{:?} {time:?} {}", batch.table, cells.join(" "))));
        }
    }
    rows.sort();
    rows
}
