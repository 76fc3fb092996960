//! From a dashboard's text to a checked [`Dashboard`], or to the first [`Mistake`] in it.

use std::{collections::HashMap, ops, sync::Arc};

use serde::Serialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    At, Chart, Dashboard, PANELS_MAX, Panel, VARIABLES_MAX, Variable,
    keys::{self, Key},
    query::{RANGE_NAMES, placeholders},
};

const TEXT_CHARS_MAX: usize = 200;
const NAME_CHARS_MAX: usize = 60;
const OPTIONS_MAX: usize = 1_000;
const ROW_MAX: i64 = 999;
const HEIGHT_MAX: i64 = 100;
/// Ten years.
const RANGE_S_MAX: u64 = 3_653 * 86_400;

/// What is wrong with a dashboard's file, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}; {hint}")]
pub struct Mistake {
    /// The file, as it was found.
    pub file: String,
    /// Counted from one.
    pub line: usize,
    /// In characters, counted from one.
    pub column: usize,
    /// The fact.
    pub message: String,
    /// The remedy.
    pub hint: String,
}

/// Reads a dashboard. `file` is named in mistakes; `name` is what the dashboard is called.
///
/// # Errors
/// The first mistake.
pub fn parse(file: &str, name: &str, text: &str) -> Result<Dashboard, Mistake> {
    let source = Source { file, text };
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        let hint = "see https://toml.io for how values are written; SQL goes between ''' and '''";
        source.mistake(&at, error.message().trim(), hint)
    })?;
    let root = Table::new(source, root.get_ref(), 0..0, "a dashboard", keys::DASHBOARD)?;
    let title = root.text("title", TEXT_CHARS_MAX)?;
    let range_s = root.read("range", |value, at| range(source, value, at))?.unwrap_or(300);
    let mut variables: Vec<Variable> = Vec::new();
    for (table, at) in root.tables("variable", VARIABLES_MAX)? {
        let table = Table::new(source, table, at, "a variable", keys::VARIABLE)?;
        let variable = variable(&table)?;
        let is_same = |other: &&Variable| other.name.eq_ignore_ascii_case(&variable.name);
        if variables.iter().any(|other| is_same(&other)) {
            let message = format!("there are two variables called {:?}", variable.name);
            return Err(source.mistake(&table.at("name"), &message, "give one of them another name"));
        }
        variables.push(variable);
    }
    let mut panels: Vec<Panel> = Vec::new();
    let mut lines: HashMap<String, usize> = HashMap::new();
    for (table, at) in root.tables("panel", PANELS_MAX)? {
        let table = Table::new(source, table, at, "a panel", keys::PANEL)?;
        let panel = panel(&table, &variables)?;
        if let Some(line) = lines.get(&panel.id) {
            let at = if table.has("id") { table.at("id") } else { table.at("title") };
            let message = format!("the id {:?} is taken by the panel of line {line}", panel.id);
            let hint = "give the panel an id of its own, such as id = \"sales-2\"";
            return Err(source.mistake(&at, &message, hint));
        }
        if let Some(other) = panels.iter().find(|other| other.at.overlaps(panel.at)) {
            let message = format!("the panel lies over {:?}, which is at {}", other.title, show_at(other.at));
            let free = panels.iter().map(|other| other.at.row + other.at.height).max().unwrap_or(0);
            let hint = format!("move or shrink one of them; row {free} is the first below all panels so far");
            return Err(source.mistake(&table.at("at"), &message, &hint));
        }
        lines.insert(panel.id.clone(), source.place(table.whole.start).0);
        panels.push(panel);
    }
    if panels.is_empty() {
        let hint = "add [[panel]] with title, chart, at and query";
        return Err(source.mistake(&(0..0), "the dashboard has no panel", hint));
    }
    Ok(Dashboard { name: name.to_owned(), title, range_s, variables, panels })
}

fn variable(table: &Table<'_>) -> Result<Variable, Mistake> {
    let name = table.text("name", NAME_CHARS_MAX)?;
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let message = format!("the name {name:?} cannot stand in a query as ${name}");
        return Err(table.wrong("name", &message, "use letters, digits and _, a letter first"));
    }
    if RANGE_NAMES.iter().any(|range| range.eq_ignore_ascii_case(&name)) {
        let message = format!("${name} is the page's time range already");
        return Err(table.wrong("name", &message, "give the variable another name"));
    }
    let query = table.sql("query", &[])?;
    let options = table.read("options", |value, at| {
        let hint = "write options = [\"Germany\", \"Japan\"]";
        let wrong = || table.source.mistake(&at, "options is a list of 1 to 1000 texts", hint);
        let list =
            value.as_array().filter(|list| (1..=OPTIONS_MAX).contains(&list.len())).ok_or_else(wrong)?;
        list.iter().map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    })?;
    match (&query, &options) {
        (None, None) => {
            let message = format!("the variable {name:?} has no choices");
            let hint = format!("add {} or {}", keys::VARIABLE[2].example, keys::VARIABLE[3].example);
            return Err(table.source.mistake(&table.whole, &message, &hint));
        }
        (Some(_), Some(_)) => {
            let message = format!("the variable {name:?} has both query and options");
            return Err(table.wrong("options", &message, "keep one of the two"));
        }
        _ => {}
    }
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let title = if table.has("title") { table.text("title", TEXT_CHARS_MAX)? } else { words };
    Ok(Variable { name, title, query, options, multi: table.bool("multi")? })
}

fn panel(table: &Table<'_>, variables: &[Variable]) -> Result<Panel, Mistake> {
    let title = table.text("title", TEXT_CHARS_MAX)?;
    let id = if table.has("id") { table.text("id", NAME_CHARS_MAX)? } else { slug(&title) };
    if id != slug(&id) || id.is_empty() {
        let hint = "use small letters and digits with - between them, such as id = \"sales\"";
        let at = if table.has("id") { "id" } else { "title" };
        return Err(table.wrong(at, &format!("{id:?} cannot be a panel's id"), hint));
    }
    let chart = chart(table)?;
    let at = table.require("at")?;
    let at = place(table.source, at)?;
    let only = |key: &str, charts: &[Chart]| {
        if !table.has(key) || charts.contains(&chart) {
            return Ok(());
        }
        let names: Vec<&str> = charts.iter().map(|chart| chart.name()).collect();
        let message = format!("{key} does nothing on chart = {:?}", chart.name());
        Err(table.wrong(
            key,
            &message,
            &format!("take it away, or use chart = \"{}\"", names.join("\" or \"")),
        ))
    };
    only("compare", &[Chart::Stat])?;
    only("spark", &[Chart::Stat])?;
    only("filter", &[Chart::Bar])?;
    only("text", &[Chart::Text])?;
    only("min", &[Chart::Gauge])?;
    only("max", &[Chart::Gauge])?;

    let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
    let (query, text) = if chart == Chart::Text {
        if table.has("query") {
            return Err(table.wrong("query", "a text panel has no query", "take the query away"));
        }
        (None, Some(table.text("text", 20 * TEXT_CHARS_MAX)?))
    } else {
        table.require("query")?;
        (table.sql("query", &names)?, None)
    };
    let query: Arc<str> = query.unwrap_or_default();
    let compare = table.bool("compare")?;
    let has = |range: &str| placeholders(&query).any(|(_, name)| name.eq_ignore_ascii_case(range));
    if compare && !(has("from") && has("to")) {
        let message = "compare needs a query that names both ends of its range";
        let hint = "write WHERE created_at >= $from AND created_at < $to, or take compare away";
        return Err(table.wrong("compare", message, hint));
    }
    let filter = table.optional_text("filter", NAME_CHARS_MAX)?;
    if let Some(filter) = filter.as_ref().filter(|filter| !names.contains(&filter.as_str())) {
        let message = format!("there is no variable {filter:?} to filter by");
        let hint = did_you_mean(filter, &names)
            .unwrap_or_else(|| format!("add [[variable]] with name = {filter:?}, or take filter away"));
        return Err(table.wrong("filter", &message, &hint));
    }
    let (min, max) = (table.number("min")?, table.number("max")?);
    if min.unwrap_or(0.0) >= max.unwrap_or(f64::INFINITY) {
        return Err(table.wrong(
            "max",
            "the gauge ends at or before its beginning",
            "make max greater than min",
        ));
    }
    Ok(Panel {
        id,
        title,
        description: table.optional_text("description", 5 * TEXT_CHARS_MAX)?,
        chart,
        at,
        unit: table.optional_text("unit", 16)?,
        query,
        compare,
        spark: table.sql("spark", &names)?,
        filter,
        text,
        min,
        max,
    })
}

fn chart(table: &Table<'_>) -> Result<Chart, Mistake> {
    let word = table.text("chart", NAME_CHARS_MAX)?;
    if let Some(chart) = Chart::ALL.into_iter().find(|chart| chart.name() == word) {
        return Ok(chart);
    }
    let names = Chart::ALL.map(Chart::name);
    if let Some((_, instead)) = keys::CHARTS_TO_COME.iter().find(|(name, _)| *name == word) {
        let message = format!("chart = {word:?} is not built yet");
        return Err(table.wrong("chart", &message, &format!("use chart = {instead:?} until it is")));
    }
    let hint = did_you_mean(&word, &names).unwrap_or_else(|| format!("use one of {}", names.join(", ")));
    Err(table.wrong("chart", &format!("there is no chart {word:?}"), &hint))
}

fn place(source: Source<'_>, value: &Spanned<DeValue<'_>>) -> Result<At, Mistake> {
    let shape = || {
        let hint = "write at = [column, row, width, height], such as at = [0, 0, 4, 2]";
        source.mistake(&value.span(), "at is a list of four whole numbers", hint)
    };
    let list = value.get_ref().as_array().filter(|list| list.len() == 4).ok_or_else(shape)?;
    let mut numbers = [0i64; 4];
    for (number, item) in numbers.iter_mut().zip(list.iter()) {
        *number = item.get_ref().as_integer().and_then(integer).ok_or_else(shape)?;
    }
    let [column, row, width, height] = numbers;
    let rules = [
        (0, (0..12).contains(&column), "the column is 0 to 11"),
        (1, (0..=ROW_MAX).contains(&row), "the row is 0 to 999"),
        (2, (1..=12).contains(&width), "the width is 1 to 12 columns"),
        (3, (1..=HEIGHT_MAX).contains(&height), "the height is 1 to 100 rows"),
    ];
    if let Some((index, _, rule)) = rules.into_iter().find(|(_, holds, _)| !holds) {
        let at = list.get(index).map_or(value.span(), Spanned::span);
        return Err(source.mistake(
            &at,
            &format!("{rule}, not {}", numbers[index]),
            "change it, or the grid",
        ));
    }
    if column + width > 12 {
        let message = format!("the panel ends at column {}, and the grid has 12", column + width);
        let hint = format!("make it {} wide, or begin at column {}", 12 - column, 12 - width);
        return Err(source.mistake(&value.span(), &message, &hint));
    }
    let [column, row, width, height] = numbers.map(|number| number as u32);
    Ok(At { column, row, width, height })
}

fn integer(value: &toml::de::DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(&value.as_str().replace('_', ""), value.radix()).ok()
}

fn show_at(at: At) -> String {
    format!("[{}, {}, {}, {}]", at.column, at.row, at.width, at.height)
}

/// `90s`, `5m`, `24h` or `7d` as seconds.
fn range(source: Source<'_>, value: &DeValue<'_>, at: ops::Range<usize>) -> Result<u64, Mistake> {
    let seconds = value.as_str().and_then(|text| {
        let (number, unit) =
            text.split_at(text.len().checked_sub(1).filter(|&at| text.is_char_boundary(at))?);
        let unit_s = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit_s).filter(|s| (1..=RANGE_S_MAX).contains(s))
    });
    let hint = "write a number and s, m, h or d, such as range = \"5m\"";
    seconds.ok_or_else(|| source.mistake(&at, "range is a time from one second to ten years", hint))
}

/// The id of a title: small letters and digits, everything between them one `-`.
pub(super) fn slug(title: &str) -> String {
    let mut id = String::new();
    for c in title.to_lowercase().chars() {
        if c.is_alphanumeric() {
            id.push(c);
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    id.truncate(id.trim_end_matches('-').len());
    id
}

/// `did you mean "title"?` for a word that is nearly one of `known`.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    let word = word.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&word, &name.to_lowercase());
    let nearest = known.iter().map(|&name| (distance(name), name)).min()?;
    let is_near = nearest.0 <= 1 + nearest.1.len().min(word.len()) / 4;
    let extends = |name: &&&str| word.len() > 2 && (name.starts_with(&word) || word.starts_with(**name));
    let name = if is_near { Some(nearest.1) } else { known.iter().find(extends).copied() };
    name.map(|name| format!("did you mean {name:?}?"))
}

/// The file, for places in it.
#[derive(Clone, Copy)]
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// Line and column of a byte, both from one.
    fn place(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line_begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_begin..].chars().count() + 1)
    }

    fn mistake(&self, at: &ops::Range<usize>, message: &str, hint: &str) -> Mistake {
        let (line, column) = self.place(at.start);
        let (message, hint) = (message.to_owned(), hint.to_owned());
        Mistake { file: self.file.to_owned(), line, column, message, hint }
    }
}

/// A table whose keys are known.
struct Table<'a> {
    source: Source<'a>,
    values: &'a DeTable<'a>,
    whole: ops::Range<usize>,
    /// With its article, for messages.
    what: &'static str,
    known: &'static [Key],
}

impl<'a> Table<'a> {
    fn new(
        source: Source<'a>,
        values: &'a DeTable<'a>,
        whole: ops::Range<usize>,
        what: &'static str,
        known: &'static [Key],
    ) -> Result<Table<'a>, Mistake> {
        let is_unknown = |name: &str| !known.iter().any(|key| key.name == name);
        let unknown = values.keys().filter(|key| is_unknown(key.get_ref()));
        if let Some(key) = unknown.min_by_key(|key| key.span().start) {
            let names: Vec<&str> = known.iter().map(|key| key.name).collect();
            let hint = did_you_mean(key.get_ref(), &names)
                .unwrap_or_else(|| format!("{what} has the keys {}", names.join(", ")));
            return Err(source.mistake(&key.span(), &format!("unknown key {:?}", key.get_ref()), &hint));
        }
        Ok(Table { source, values, whole, what, known })
    }

    fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The place of a key's value; of the table if it has none.
    fn at(&self, key: &str) -> ops::Range<usize> {
        self.values.get(key).map_or_else(|| self.whole.clone(), Spanned::span)
    }

    fn wrong(&self, key: &str, message: &str, hint: &str) -> Mistake {
        self.source.mistake(&self.at(key), message, hint)
    }

    fn example(&self, key: &str) -> &'static str {
        self.known.iter().find(|known| known.name == key).map_or("", |known| known.example)
    }

    fn require(&self, key: &str) -> Result<&'a Spanned<DeValue<'a>>, Mistake> {
        self.values.get(key).ok_or_else(|| {
            let message = format!("{} needs the key {key:?}", self.what);
            self.source.mistake(&self.whole, &message, &format!("add {}", self.example(key)))
        })
    }

    fn read<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a DeValue<'a>, ops::Range<usize>) -> Result<T, Mistake>,
    ) -> Result<Option<T>, Mistake> {
        self.values.get(key).map(|value| read(value.get_ref(), value.span())).transpose()
    }

    fn type_error(&self, key: &str, wanted: &str, at: &ops::Range<usize>) -> Mistake {
        self.source.mistake(at, &format!("{key} is {wanted}"), &format!("write {}", self.example(key)))
    }

    fn text(&self, key: &str, chars_max: usize) -> Result<String, Mistake> {
        self.require(key)?;
        Ok(self.optional_text(key, chars_max)?.unwrap_or_default())
    }

    fn optional_text(&self, key: &str, chars_max: usize) -> Result<Option<String>, Mistake> {
        self.read(key, |value, at| {
            let text = value.as_str().ok_or_else(|| self.type_error(key, "a text", &at))?;
            let wanted = format!("a text of 1 to {chars_max} characters");
            let fits = !text.trim().is_empty() && text.chars().count() <= chars_max;
            if fits { Ok(text.to_owned()) } else { Err(self.type_error(key, &wanted, &at)) }
        })
    }

    fn bool(&self, key: &str) -> Result<bool, Mistake> {
        let read = self.read(key, |value, at| {
            value.as_bool().ok_or_else(|| self.type_error(key, "true or false, without quotation marks", &at))
        });
        Ok(read?.unwrap_or(false))
    }

    fn number(&self, key: &str) -> Result<Option<f64>, Mistake> {
        self.read(key, |value, at| {
            let whole = value.as_integer().and_then(integer).map(|number| number as f64);
            let float = || value.as_float().and_then(|float| float.as_str().replace('_', "").parse().ok());
            let number = whole.or_else(float).filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| self.type_error(key, "a number", &at))
        })
    }

    /// SQL that names no variable but `variables` and the range.
    fn sql(&self, key: &str, variables: &[&str]) -> Result<Option<Arc<str>>, Mistake> {
        self.read(key, |value, at| {
            let sql = value.as_str().ok_or_else(|| self.type_error(key, "a text of SQL", &at))?;
            if sql.trim().is_empty() {
                let message = format!("{key} is empty");
                return Err(self.source.mistake(&at, &message, &format!("write {}", self.example(key))));
            }
            let is_known = |name: &str| {
                variables.iter().chain(&RANGE_NAMES).any(|known| known.eq_ignore_ascii_case(name))
            };
            if let Some((_, name)) = placeholders(sql).find(|(_, name)| !is_known(name)) {
                let raw = self.source.text.get(at.clone()).unwrap_or_default();
                let found = placeholders(raw.trim_matches(['\'', '"'])).find(|(_, other)| *other == name);
                let quotes = raw.len() - raw.trim_start_matches(['\'', '"']).len();
                let begin = at.start + found.map_or(0, |(offset, _)| quotes + offset);
                let hint = did_you_mean(name, &[variables, &RANGE_NAMES].concat()).unwrap_or_else(|| {
                    format!("add [[variable]] with name = {name:?}; $from and $to are the page's range")
                });
                let message = format!("there is no variable ${name}");
                return Err(self.source.mistake(&(begin..begin), &message, &hint));
            }
            Ok(Arc::from(sql.trim()))
        })
    }

    /// The tables of `[[key]]`, with their places.
    fn tables(
        &self,
        key: &str,
        count_max: usize,
    ) -> Result<Vec<(&'a DeTable<'a>, ops::Range<usize>)>, Mistake> {
        let read = self.read(key, |value, at| {
            let wrong = || self.type_error(key, "a table with two pairs of brackets", &at);
            let list = value.as_array().ok_or_else(wrong)?;
            if list.len() > count_max {
                let message = format!("{} {key}s, at most {count_max} are allowed", list.len());
                return Err(self.source.mistake(&at, &message, "split the dashboard into two files"));
            }
            list.iter().map(|item| Ok((item.get_ref().as_table().ok_or_else(wrong)?, item.span()))).collect()
        });
        Ok(read?.unwrap_or_default())
    }
}
