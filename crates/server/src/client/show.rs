//! An answer of `/exec` as people and programs read it.

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::cli::SqlFormat;

/// A column is not made narrower than that to fit a terminal.
const WIDTH_MIN: usize = 8;

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) format: SqlFormat,
    /// Columns of the terminal; none if there is no terminal.
    pub(super) width: Option<usize>,
    pub(super) colour: bool,
    /// A line for each cell.
    pub(super) expanded: bool,
}

/// The answer, which came as `text`.
pub(super) fn show(text: &str, answer: &Value, look: Look) -> String {
    let header = names(answer);
    if look.format == SqlFormat::Json {
        return format!("{text}\n");
    }
    if header.is_empty() {
        let rows = answer.get("updated").and_then(Value::as_u64);
        return match (look.format, rows) {
            (SqlFormat::Table, Some(1)) => "OK, 1 row\n".to_owned(),
            (SqlFormat::Table, Some(rows)) => format!("OK, {rows} rows\n"),
            (SqlFormat::Table, None) => "OK\n".to_owned(),
            _ => String::new(),
        };
    }
    match look.format {
        SqlFormat::Csv => csv(&header, answer),
        SqlFormat::Ndjson => lines(&header, answer),
        SqlFormat::Markdown => markdown(&header, answer),
        SqlFormat::Json | SqlFormat::Table => table(&header, answer, look),
    }
}

fn names(answer: &Value) -> Vec<String> {
    let columns = answer.get("columns").and_then(Value::as_array);
    let name = |column: &Value| column.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    columns.map(|columns| columns.iter().map(name).collect()).unwrap_or_default()
}

fn rows(answer: &Value) -> impl Iterator<Item = &Vec<Value>> {
    answer.get("dataset").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_array)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Stored text may hold escape sequences that a terminal would obey.
fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn bold(text: &str, look: Look) -> String {
    if look.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// The true columns are those whose cells stand on the right.
fn numeric(answer: &Value) -> Vec<bool> {
    const NUMBERS: [&str; 6] = ["BYTE", "SHORT", "INT", "LONG", "FLOAT", "DOUBLE"];
    let ty =
        |column: &Value| column.get("type").and_then(Value::as_str).is_some_and(|ty| NUMBERS.contains(&ty));
    let columns = answer.get("columns").and_then(Value::as_array);
    columns.map(|columns| columns.iter().map(ty).collect()).unwrap_or_default()
}

fn table(header: &[String], answer: &Value, look: Look) -> String {
    let header: Vec<String> = header.iter().map(|name| printable(name)).collect();
    let rows: Vec<Vec<String>> =
        rows(answer).map(|row| row.iter().map(|value| printable(&cell(value))).collect()).collect();
    let mut widths: Vec<usize> = header.iter().map(|name| name.width()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let fits = look.width.is_none_or(|width| narrow(&mut widths, width));
    let mut out = String::new();
    if look.expanded || !fits {
        let left = header.iter().map(|name| name.width()).max().unwrap_or(0);
        for (i, row) in rows.iter().enumerate() {
            out += &format!("-[ {} ]-\n", i + 1);
            for (name, cell) in header.iter().zip(row) {
                let line = format!("{}  {cell}", bold(&pad(name, left, false), look));
                out += line.trim_end();
                out.push('\n');
            }
        }
    } else {
        let right = numeric(answer);
        let line = |cells: &[String], strong: bool| {
            let cells = cells.iter().zip(&widths).enumerate();
            let padded: Vec<String> =
                cells.map(|(i, (cell, &width))| pad(cell, width, right.get(i) == Some(&true))).collect();
            let line = padded.join("  ").trim_end().to_owned();
            (if strong { bold(&line, look) } else { line }) + "\n"
        };
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        out += &line(&header, true);
        out += &(rule.join("  ") + "\n");
        rows.iter().for_each(|row| out += &line(row, false));
    }
    let count = rows.len();
    let more = if answer.get("truncated").is_some() { ", and more: query.rows_max" } else { "" };
    out + &format!("({count} row{}{more})\n", if count == 1 { "" } else { "s" })
}

/// Makes the widest columns narrower until all fit; false if they cannot.
fn narrow(widths: &mut [usize], terminal: usize) -> bool {
    loop {
        let all = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        if all <= terminal {
            return true;
        }
        match widths.iter_mut().max() {
            Some(width) if *width > WIDTH_MIN => *width -= 1,
            _ => return false,
        }
    }
}

/// `text` in `width` columns, cut where it is longer.
fn pad(text: &str, width: usize, right: bool) -> String {
    let own = text.width();
    if own > width {
        let mut cut = String::new();
        for c in text.chars() {
            if cut.width() + unicode_width::UnicodeWidthChar::width(c).unwrap_or(0) >= width {
                break;
            }
            cut.push(c);
        }
        cut.push('…');
        let left = width.saturating_sub(cut.width());
        return cut + &" ".repeat(left);
    }
    let space = " ".repeat(width - own);
    if right { space + text } else { text.to_owned() + &space }
}

fn csv(header: &[String], answer: &Value) -> String {
    let quote = |cell: String| {
        if cell.contains(['"', ',', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    };
    let line = |cells: Vec<String>| cells.into_iter().map(quote).collect::<Vec<_>>().join(",") + "\r\n";
    let begin = line(header.to_vec());
    rows(answer).fold(begin, |out, row| out + &line(row.iter().map(cell).collect()))
}

fn lines(header: &[String], answer: &Value) -> String {
    let mut out = Vec::new();
    for row in rows(answer) {
        for (i, (name, value)) in header.iter().zip(row).enumerate() {
            out.push(if i == 0 { b'{' } else { b',' });
            crate::encode::push_text(&mut out, name);
            out.push(b':');
            out.extend_from_slice(value.to_string().as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn markdown(header: &[String], answer: &Value) -> String {
    let escape = |cell: &str| printable(&cell.replace(['\n', '\r'], " ")).replace('|', "\\|");
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rule =
        numeric(answer).into_iter().map(|right| if right { "---:" } else { "---" }.to_owned()).collect();
    let begin = line(header.iter().map(|name| escape(name)).collect()) + &line(rule);
    rows(answer).fold(begin, |out, row| out + &line(row.iter().map(|value| escape(&cell(value))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(answer: &Value, format: SqlFormat, width: Option<usize>, expanded: bool) -> String {
        show("{}", answer, Look { format, width, colour: false, expanded })
    }

    #[test]
    fn answers_are_printed_for_people_and_for_programs() {
        let answer = json!({
            "columns": [{"name": "city", "type": "VARCHAR"}, {"name": "t", "type": "DOUBLE"}],
            "dataset": [["Bern, CH", 21.5], ["a\u{1b}[2J\"", null], ["東京|", 7]],
        });
        let check = |format, expected: &str| assert_eq!(shown(&answer, format, None, false), expected);
        check(SqlFormat::Csv, "city,t\r\n\"Bern, CH\",21.5\r\n\"a\u{1b}[2J\"\"\",\r\n東京|,7\r\n");
        check(
            SqlFormat::Table,
            "city         t\n--------  ----\nBern, CH  21.5\na\u{fffd}[2J\"\n東京|        7\n(3 rows)\n",
        );
        check(
            SqlFormat::Markdown,
            "| city | t |\n| --- | ---: |\n| Bern, CH | 21.5 |\n| a\u{fffd}[2J\" |  |\n| 東京\\| | 7 |\n",
        );
        check(
            SqlFormat::Ndjson,
            "{\"city\":\"Bern, CH\",\"t\":21.5}\n{\"city\":\"a\\u001b[2J\\\"\",\"t\":null}\n{\"city\":\"東京|\",\"t\":7}\n",
        );
        check(SqlFormat::Json, "{}\n");
        assert_eq!(shown(&json!({"ddl": "OK"}), SqlFormat::Table, None, false), "OK\n");
        assert_eq!(shown(&json!({"dml": "OK", "updated": 3}), SqlFormat::Table, None, false), "OK, 3 rows\n");
    }

    #[test]
    fn tables_fit_the_terminal() {
        let answer = json!({
            "columns": [{"name": "a", "type": "VARCHAR"}, {"name": "b", "type": "LONG"}],
            "dataset": [["a text that is long", 1]],
        });
        let narrow = shown(&answer, SqlFormat::Table, Some(15), false);
        assert_eq!(narrow, "a             b\n------------  -\na text that…  1\n(1 row)\n");
        let upright = "-[ 1 ]-\na  a text that is long\nb  1\n(1 row)\n";
        assert_eq!(shown(&answer, SqlFormat::Table, Some(8), false), upright);
        assert_eq!(shown(&answer, SqlFormat::Table, None, true), upright);
    }
}
