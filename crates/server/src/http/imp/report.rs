//! What an import is answered with: QuestDB's table, or its JSON.

use nowcast_model::{ColumnType, PartitionBy};
use nowcast_sources::{LineError, csv::Layout};
use serde_json::{Value, json};

/// What was done.
pub(super) struct Report {
    pub(super) table: String,
    pub(super) layout: Layout,
    pub(super) partition_by: PartitionBy,
    pub(super) imported: u64,
    pub(super) rejected: u64,
    pub(super) first_error: Option<LineError>,
}

/// Widths of the table's columns.
const WIDTHS: [usize; 5] = [15, 50, 15, 7, 12];

impl Report {
    fn timestamp(&self) -> Option<&str> {
        self.layout.timestamp.map(|index| &*self.layout.columns[index].name)
    }

    fn warning(&self) -> Option<String> {
        self.first_error.as_ref().map(|error| format!("line {}: {}; {}", error.line, error.cause, error.hint))
    }

    /// As QuestDB's JSON, with `warnings`.
    pub(super) fn json(&self) -> Value {
        let column = |column: &nowcast_sources::csv::CsvColumn| {
            json!({
                "name": &*column.name, "type": column.ty.name(), "size": size(column.ty), "errors": column.errors,
            })
        };
        let mut json = json!({
            "status": "OK",
            "location": self.table,
            "rowsRejected": self.rejected,
            "rowsImported": self.imported,
            "header": self.layout.header,
            "partitionBy": self.partition_by.name(),
            "columns": self.layout.columns.iter().map(column).collect::<Vec<_>>(),
        });
        if let Some(timestamp) = self.timestamp() {
            json["timestamp"] = json!(timestamp);
        }
        if let Some(warning) = self.warning() {
            json["warnings"] = json!([warning]);
        }
        json
    }

    /// As QuestDB's table; the first error stands below it.
    pub(super) fn text(&self) -> String {
        let rule = format!("+{}+\r\n", "-".repeat(WIDTHS.iter().sum::<usize>() + 14));
        let line = |cells: [&str; 5]| {
            let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:>width$}  |"));
            format!("|{}\r\n", cells.collect::<String>())
        };
        let mut out = rule.clone();
        out += &line(["Location:", &self.table, "Pattern", "Locale", "Errors"]);
        out += &line(["Partition by", self.partition_by.name(), "", "", ""]);
        out += &line(["Timestamp", self.timestamp().unwrap_or("NONE"), "", "", ""]);
        out += &rule;
        out += &line(["Rows handled", &(self.imported + self.rejected).to_string(), "", "", ""]);
        out += &line(["Rows imported", &self.imported.to_string(), "", "", ""]);
        out += &rule;
        for (index, column) in self.layout.columns.iter().enumerate() {
            let (index, errors) = (index.to_string(), column.errors.to_string());
            let ty = match &column.pattern {
                Some(pattern) => format!("{} {}", column.ty, pattern.as_str()),
                None => column.ty.name().to_owned(),
            };
            let [first, second, third, fourth, fifth] = WIDTHS;
            let wide = third + fourth + 3;
            out += &format!(
                "|{index:>first$}  |{:>second$}  |{ty:>wide$}  |{errors:>fifth$}  |\r\n",
                column.name
            );
        }
        out += &rule;
        if let Some(warning) = self.warning() {
            out += &format!("{warning}\r\n");
        }
        out
    }
}

/// Bytes of a value; 0 where they differ.
fn size(ty: ColumnType) -> u8 {
    match ty {
        ColumnType::Boolean | ColumnType::Byte => 1,
        ColumnType::Short => 2,
        ColumnType::Int | ColumnType::Float | ColumnType::Symbol => 4,
        ColumnType::Varchar => 0,
        _ => 8,
    }
}
