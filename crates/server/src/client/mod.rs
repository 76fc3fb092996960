//! The commands that talk to a running server: `sql`, `import`, `export`, `health`.

mod export;
mod import;
mod target;

use std::{io::Read, time::Duration};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::{HealthArgs, SqlArgs, SqlFormat};

pub use export::export;
pub use import::import;
pub use target::percent_encode;

/// An answer is printed as a whole: larger ones are for `/exp`, which streams.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .build()
        .into()
}

/// Runs the statement and returns what to print.
///
/// # Errors
/// The server cannot be reached, or refuses the statement.
pub fn sql(args: &SqlArgs) -> anyhow::Result<String> {
    let mut query = args.query.clone();
    if query == "-" {
        query.clear();
        std::io::stdin().read_to_string(&mut query).context("cannot read standard input")?;
    }
    let base = args.to.trim_end_matches('/');
    let mut request = agent().post(format!("{base}/exec")).content_type("application/x-www-form-urlencoded");
    if let Some(token) = &args.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let body = format!("query={}", percent_encode(&query));
    let mut response = request.send(body).with_context(|| unreachable(base))?;
    let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
    let answer: Value = serde_json::from_str(&text)
        .with_context(|| format!("{base} did not answer as a Nowcast server does ({})", response.status()))?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        let place = answer.get("line").zip(answer.get("column"));
        let place =
            place.map(|(line, column)| format!(" (line {line}, column {column})")).unwrap_or_default();
        let hint = answer.get("hint").and_then(Value::as_str);
        bail!("{error}{place}{}", hint.map(|hint| format!("\n{hint}")).unwrap_or_default());
    }
    Ok(match args.format {
        SqlFormat::Json => text + "\n",
        SqlFormat::Csv => csv(&answer),
        SqlFormat::Table => table(&answer),
    })
}

/// Asks `/readyz`.
///
/// # Errors
/// The server cannot be reached or says why it is not ready.
pub fn health(args: &HealthArgs) -> anyhow::Result<String> {
    let base = args.to.trim_end_matches('/');
    let mut response = agent().get(format!("{base}/readyz")).call().with_context(|| unreachable(base))?;
    let text = response.body_mut().with_config().limit(1 << 20).read_to_string()?;
    if !response.status().is_success() {
        bail!("{base} is not ready: {}", text.trim());
    }
    Ok(format!("{base} is well: {}\n", text.trim()))
}

fn unreachable(base: &str) -> String {
    format!("cannot reach {base}; is `nowcast serve` running, and does it listen there?")
}

fn names(answer: &Value) -> Vec<String> {
    let columns = answer.get("columns").and_then(Value::as_array);
    let name = |column: &Value| column.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    columns.map(|columns| columns.iter().map(name).collect()).unwrap_or_default()
}

fn rows(answer: &Value) -> impl Iterator<Item = Vec<String>> + '_ {
    let rows = answer.get("dataset").and_then(Value::as_array);
    rows.into_iter().flatten().filter_map(Value::as_array).map(|row| row.iter().map(cell).collect())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn table(answer: &Value) -> String {
    let header = names(answer);
    if header.is_empty() {
        return "OK\n".to_owned();
    }
    let rows: Vec<Vec<String>> = rows(answer).collect();
    let mut widths: Vec<usize> = header.iter().map(|name| name.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(printable(cell).chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, &width)| format!("{:width$}", printable(cell))).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut out = line(&header) + &line(&rule);
    rows.iter().for_each(|row| out.push_str(&line(row)));
    let count = rows.len();
    out + &format!("({count} row{})\n", if count == 1 { "" } else { "s" })
}

/// Stored text may hold escape sequences that a terminal would obey.
fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn csv(answer: &Value) -> String {
    let quote = |cell: &String| {
        if cell.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    };
    let line = |cells: &[String]| cells.iter().map(quote).collect::<Vec<_>>().join(",") + "\r\n";
    rows(answer).fold(line(&names(answer)), |out, row| out + &line(&row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_printed_for_people_and_for_programs() {
        let answer = json!({
            "columns": [{"name": "city"}, {"name": "t"}],
            "dataset": [["Bern, CH", 21.5], ["a\u{1b}[2J\"", null]],
        });
        assert_eq!(csv(&answer), "city,t\r\n\"Bern, CH\",21.5\r\n\"a\u{1b}[2J\"\"\",\r\n");
        let expected = "city      t\n--------  ----\nBern, CH  21.5\na\u{fffd}[2J\"\n(2 rows)\n";
        assert_eq!(table(&answer), expected);
        assert_eq!(table(&json!({"ddl": "OK"})), "OK\n");
        assert_eq!(percent_encode("a b+ü"), "a%20b%2B%C3%BC");
    }
}
