//! Decoded batches as text, for tests.
#![allow(clippy::unwrap_used)]

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray};
use arrow::datatypes::{
    Float64Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType,
};
use nowcast_model::ColumnType;

use crate::Decoded;

/// One cell: text quoted, `-` for NULL.
pub(crate) fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "-".to_owned();
    }
    match ColumnType::from_arrow(column.data_type()).unwrap() {
        ColumnType::Boolean => format!("{:?}", column.as_boolean().value(row)),
        ColumnType::Long => format!("{:?}", column.as_primitive::<Int64Type>().value(row)),
        ColumnType::Double => format!("{:?}", column.as_primitive::<Float64Type>().value(row)),
        ColumnType::Varchar => format!("{:?}", column.as_string::<i32>().value(row)),
        ColumnType::Symbol => {
            let symbols: &DictionaryArray<Int32Type> = column.as_dictionary();
            let key = symbols.keys().value(row) as usize;
            format!("{:?}", symbols.values().as_string::<i32>().value(key))
        }
        ColumnType::Timestamp => {
            format!("{:?}", column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        ColumnType::TimestampNs => {
            format!("{:?}", column.as_primitive::<TimestampNanosecondType>().value(row))
        }
        other => panic!("{other}"),
    }
}

/// Each batch as a table: its columns, then a line per row.
pub(crate) fn show(decoded: &Decoded) -> String {
    let mut out = String::new();
    for (batch, lines) in decoded.batches.iter().zip(&decoded.lines) {
        let time = batch.timestamp.unwrap();
        out.push_str(&batch.table.to_string());
        for (index, field) in batch.rows.schema_ref().fields().iter().enumerate() {
            let ty = ColumnType::from_arrow(field.data_type()).unwrap();
            if index == time {
                out.push_str(&format!(" @{}", field.name()));
            } else {
                out.push_str(&format!(" {:?}:{ty}", field.name()));
            }
        }
        out.push('\n');
        assert_eq!(batch.rows.num_rows(), lines.len());
        for (row, line) in lines.iter().enumerate() {
            out.push_str(&format!("  {line}:"));
            for (index, column) in batch.rows.columns().iter().enumerate() {
                out.push_str(if index == time { " @" } else { " " });
                out.push_str(&cell(column, row));
            }
            out.push('\n');
        }
    }
    out
}

/// Each row by itself, its cells sorted by name, NULLs left out.
pub(crate) fn show_rows(decoded: &Decoded) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in &decoded.batches {
        let time = batch.timestamp.unwrap();
        for row in 0..batch.rows.num_rows() {
            let mut cells = Vec::new();
            for (index, field) in batch.rows.schema_ref().fields().iter().enumerate() {
                let column = batch.rows.column(index);
                if index != time && column.is_valid(row) {
                    let ty = ColumnType::from_arrow(field.data_type()).unwrap();
                    cells.push((field.name().to_lowercase(), format!("{ty} {}", cell(column, row))));
                }
            }
            cells.sort();
            let cells: Vec<String> = cells.iter().map(|(name, value)| format!("{name:?}={value}")).collect();
            let table = batch.table.to_string().to_lowercase();
            rows.push(format!("{table} {} @{}", cells.join(" "), cell(batch.rows.column(time), row)));
        }
    }
    rows
}
