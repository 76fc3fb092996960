//! A dashboard that has been checked, in the form that the page gets as JSON.

use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A dashboard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dashboard {
    /// The file's name without `.toml`; names the page `/d/{name}`.
    pub name: String,
    /// What the page shows as its title.
    pub title: String,
    /// The page's time range in seconds, up to now.
    pub range_s: u64,
    /// Drop-downs, in their order.
    pub variables: Vec<Variable>,
    /// Panels, in the file's order.
    pub panels: Vec<Panel>,
}

/// A drop-down whose choice queries use as `$name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// The name without the dollar.
    pub name: String,
    /// What the page calls it.
    pub title: String,
    /// Its first column holds the choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Arc<str>>,
    /// The choices, instead of a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<String>>,
    /// More than one can be chosen.
    pub multi: bool,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Chart {
    /// One large number.
    Stat,
    /// Lines over time.
    Line,
    /// Lines over time, filled.
    Area,
    /// Bars: horizontal for categories, upright over time.
    Bar,
    /// Parts of a whole.
    Pie,
    /// One number on a scale.
    Gauge,
    /// Rows.
    Table,
    /// Words, no query.
    Text,
}

impl Chart {
    /// Every chart.
    pub const ALL: [Chart; 8] = [
        Chart::Stat,
        Chart::Line,
        Chart::Area,
        Chart::Bar,
        Chart::Pie,
        Chart::Gauge,
        Chart::Table,
        Chart::Text,
    ];

    /// The word in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Chart::Stat => "stat",
            Chart::Line => "line",
            Chart::Area => "area",
            Chart::Bar => "bar",
            Chart::Pie => "pie",
            Chart::Gauge => "gauge",
            Chart::Table => "table",
            Chart::Text => "text",
        }
    }
}

/// A place on the grid of twelve columns; `[column, row, width, height]` in the file and in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// 0 to 11.
    pub column: u32,
    /// From 0, downwards.
    pub row: u32,
    /// Columns, at least one; `column + width` is at most 12.
    pub width: u32,
    /// Rows, at least one.
    pub height: u32,
}

impl At {
    /// True if the two share a cell.
    pub fn overlaps(self, other: At) -> bool {
        self.column < other.column + other.width
            && other.column < self.column + self.width
            && self.row < other.row + other.height
            && other.row < self.row + self.height
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.column, self.row, self.width, self.height].serialize(serializer)
    }
}

/// A panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Panel {
    /// Names the panel inside its dashboard; unique, without `/`.
    pub id: String,
    /// What it shows, as a sentence.
    pub title: String,
    /// More about it, on demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How it is drawn.
    pub chart: Chart,
    /// Where.
    pub at: At,
    /// Of its numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The SQL as in the file, `[[ … ]]` included; the page gets it without the brackets. Empty for `text`.
    #[serde(serialize_with = "super::query::serialize_unbracketed")]
    pub query: Arc<str>,
    /// The same over the equal range before is offered as `{id}/compare`.
    pub compare: bool,
    /// SQL of a short line beside the number, offered as `{id}/spark`; the page only learns that there is one.
    #[serde(serialize_with = "is_some")]
    pub spark: Option<Arc<str>>,
    /// The variable that a click on a bar sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The words of a `text` panel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where a gauge begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Where a gauge ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

fn is_some<S: Serializer>(value: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(value.is_some())
}
