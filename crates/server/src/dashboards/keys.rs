//! The keys that a dashboard's file may hold: all of them, and none that the page does not draw.

/// A key and what it takes, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// A value of it.
    pub example: &'static str,
}

const fn key(name: &'static str, example: &'static str) -> Key {
    Key { name, example }
}

/// Keys of the file.
pub const DASHBOARD: &[Key] = &[
    key("title", r#"title = "Shop""#),
    key("range", r#"range = "5m""#),
    key("variable", "[[variable]]"),
    key("panel", "[[panel]]"),
];

/// Keys of a `[[variable]]`.
pub const VARIABLE: &[Key] = &[
    key("name", r#"name = "country""#),
    key("title", r#"title = "Country""#),
    key("query", r#"query = "SELECT DISTINCT country FROM users""#),
    key("options", r#"options = ["Germany", "Japan"]"#),
    key("multi", "multi = true"),
];

/// Keys of a `[[panel]]`.
pub const PANEL: &[Key] = &[
    key("id", r#"id = "sales""#),
    key("title", r#"title = "Sales, last 5 minutes""#),
    key("description", r#"description = "Paid orders only""#),
    key("chart", r#"chart = "stat""#),
    key("at", "at = [0, 0, 4, 2]"),
    key("unit", r#"unit = "USD""#),
    key("query", r#"query = "SELECT count(*) AS orders FROM orders WHERE created_at >= $from""#),
    key("compare", "compare = true"),
    key("spark", r#"spark = "SELECT date_bin(interval '10 seconds', created_at) AS time, count(*) …""#),
    key("filter", r#"filter = "country""#),
    key("text", r#"text = "Numbers are of the web shop alone.""#),
    key("min", "min = 0"),
    key("max", "max = 100"),
];

/// Charts that the page does not draw yet, and what to use meanwhile.
pub(super) const CHARTS_TO_COME: &[(&str, &str)] =
    &[("heatmap", "table"), ("candlestick", "line"), ("scatter", "table"), ("map", "bar")];
