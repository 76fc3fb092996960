//! From a panel to the SQL and the time range of a live view.
//!
//! A query names variables as `$country`, and its range as `$from` and `$to`. A part in `[[ … ]]` that names
//! variables is there only while all of them are set: without a choice the whole predicate goes, so that a
//! plain aggregate over one table stays one and is maintained incrementally. Brackets that name no variable
//! (`ARRAY[[1, 2], [3, 4]]`) are left alone.

use std::{ops, sync::Arc};

use serde::Serializer;

/// Parameters that every query has, besides the dashboard's variables.
pub(super) const RANGE_NAMES: [&str; 2] = ["from", "to"];

/// Which of a panel's queries is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The panel's own.
    Main,
    /// The same over the equal range before.
    Compare,
    /// The short line beside a number.
    Spark,
}

impl Part {
    /// The last word of `{dashboard}/{panel}/{part}`.
    pub fn parse(word: &str) -> Option<Part> {
        match word {
            "compare" => Some(Part::Compare),
            "spark" => Some(Part::Spark),
            _ => None,
        }
    }
}

/// An end of a time range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Microseconds before the tick; moves with it.
    Ago(i64),
    /// Microseconds since 1970 UTC.
    At(i64),
}

/// What `$from` and `$to` stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The beginning, which belongs to the range.
    pub from: Moment,
    /// The end, which does not. `None` is "all": `created_at < $to` is true, so that a row of the current
    /// second shows at once rather than at the next tick.
    pub to: Option<Moment>,
}

impl Range {
    /// The last `seconds`.
    pub fn last(seconds: u64) -> Range {
        let us = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        Range { from: Moment::Ago(us), to: None }
    }

    /// The equal range before this one. `now_us` settles the length of a range of which one end moves.
    #[must_use]
    pub fn before(self, now_us: i64) -> Range {
        let at = |moment| match moment {
            Moment::Ago(us) => now_us.saturating_sub(us),
            Moment::At(us) => us,
        };
        let length_us = self.to.map_or(now_us, at).saturating_sub(at(self.from)).max(0);
        let from = match self.from {
            Moment::Ago(us) => Moment::Ago(us.saturating_add(length_us)),
            Moment::At(us) => Moment::At(us.saturating_sub(length_us)),
        };
        Range { from, to: Some(self.from) }
    }
}

/// One of a panel's queries, not yet bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanelQuery {
    /// Which it is.
    pub part: Part,
    /// The dashboard's range in seconds.
    pub range_s: u64,
    /// The variables of the dashboard that the query names, without the dollar.
    pub variables: Vec<String>,
    text: Arc<str>,
}

impl PanelQuery {
    pub(super) fn new(part: Part, text: &Arc<str>, range_s: u64, declared: &[&str]) -> PanelQuery {
        let is_used = |name: &&&str| placeholders(text).any(|(_, used)| used.eq_ignore_ascii_case(name));
        let variables = declared.iter().filter(is_used).map(|&name| name.to_owned()).collect();
        PanelQuery { part, range_s, variables, text: Arc::clone(text) }
    }

    /// The SQL for a choice of variables: `[[ … ]]` stays where `is_set` holds for each variable in it, and
    /// goes elsewhere. A name that is left without a value is "all".
    pub fn sql(&self, is_set: impl Fn(&str) -> bool) -> String {
        let mut sql = String::with_capacity(self.text.len());
        let mut at = 0;
        for fragment in fragments(&self.text, |name| self.is_variable(name)) {
            sql.push_str(&self.text[at..fragment.start]);
            let inner = &self.text[fragment.start + 2..fragment.end - 2];
            if placeholders(inner).filter(|(_, name)| self.is_variable(name)).all(|(_, name)| is_set(name)) {
                sql.push_str(inner);
            }
            at = fragment.end;
        }
        sql + &self.text[at..]
    }

    /// The time range to bind: the one asked for, or else the dashboard's; for `compare` the equal one before.
    pub fn range(&self, asked: Option<Range>, now_us: i64) -> Range {
        let range = asked.unwrap_or_else(|| Range::last(self.range_s));
        if self.part == Part::Compare { range.before(now_us) } else { range }
    }

    fn is_variable(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.eq_ignore_ascii_case(name))
    }
}

/// Every `$name` outside of strings, quoted names and comments, with the byte at which its dollar stands.
pub(super) fn placeholders(sql: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = sql.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let rest = &sql[at..];
            let skip = match bytes[at] {
                quote @ (b'\'' | b'"') => 2 + rest[1..].find(char::from(quote)).unwrap_or(rest.len()),
                b'-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
                b'/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
                b'$' => {
                    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let name = &rest[1..1 + rest[1..].find(|c| !is_part(c)).unwrap_or(rest.len() - 1)];
                    let begin = at;
                    at += 1 + name.len();
                    if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                        return Some((begin, name));
                    }
                    continue;
                }
                _ => rest.chars().next().map_or(1, char::len_utf8),
            };
            at = (at + skip).min(bytes.len());
        }
        None
    })
}

/// The places of `[[ … ]]` that name a variable.
fn fragments(sql: &str, is_variable: impl Fn(&str) -> bool) -> Vec<ops::Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(open) = sql[at..].find("[[").map(|open| at + open) {
        let Some(close) = sql[open..].find("]]").map(|close| open + close + 2) else { break };
        if placeholders(&sql[open + 2..close - 2]).any(|(_, name)| is_variable(name)) {
            found.push(open..close);
        }
        at = close;
    }
    found
}

/// The SQL with the brackets taken off and what they hold kept: what the page shows, and what runs when all
/// variables are set.
pub(super) fn serialize_unbracketed<S: Serializer>(
    text: &Arc<str>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let is_variable = |name: &str| !RANGE_NAMES.contains(&name);
    let mut sql = String::with_capacity(text.len());
    let mut at = 0;
    for fragment in fragments(text, is_variable) {
        sql.push_str(&text[at..fragment.start]);
        sql.push_str(&text[fragment.start + 2..fragment.end - 2]);
        at = fragment.end;
    }
    serializer.serialize_str(&(sql + &text[at..]))
}
