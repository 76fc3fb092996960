//! What people read when their SQL does not run.

use std::fmt;

use serde::Serialize;

/// A class of errors, as PostgreSQL's SQLSTATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SqlCode {
    /// The text is not SQL.
    Syntax,
    /// A clause, statement or type that Nowcast does not have.
    NotSupported,
    /// No such table.
    UndefinedTable,
    /// No such column.
    UndefinedColumn,
    /// No such function, or not with these arguments.
    UndefinedFunction,
    /// No such schema.
    UndefinedSchema,
    /// The table is there already.
    DuplicateTable,
    /// The column is there already.
    DuplicateColumn,
    /// Types that do not go together.
    Type,
    /// A parameter is missing or has a value that does not fit.
    Parameter,
    /// A name breaks the rules.
    Name,
    /// The query needs more than it may have.
    Resources,
    /// The query is larger than a plan may be.
    TooComplex,
    /// A value fails while the query runs.
    Data,
    /// A regular expression that cannot be compiled.
    Regex,
    /// A session that may only read asked for a change.
    ReadOnly,
    /// The statement cannot stand in the transaction that is open.
    InTransaction,
    /// No such savepoint.
    Savepoint,
    /// The time is up, or the client called the statement off.
    Canceled,
    /// Bytes on the disk are not what was written.
    Damaged,
    /// The disk, or the system, refused to read.
    Io,
    /// A fault of ours.
    Internal,
}

impl SqlCode {
    /// The five characters of PostgreSQL's appendix A.
    pub const fn state(self) -> &'static str {
        match self {
            SqlCode::Syntax => "42601",
            SqlCode::NotSupported => "0A000",
            SqlCode::UndefinedTable => "42P01",
            SqlCode::UndefinedColumn => "42703",
            SqlCode::UndefinedFunction => "42883",
            SqlCode::UndefinedSchema => "3F000",
            SqlCode::DuplicateTable => "42P07",
            SqlCode::DuplicateColumn => "42701",
            SqlCode::Type => "42804",
            SqlCode::Parameter => "22023",
            SqlCode::Name => "42602",
            SqlCode::Resources => "53000",
            SqlCode::TooComplex => "54001",
            SqlCode::Data => "22000",
            SqlCode::Regex => "2201B",
            SqlCode::ReadOnly => "25006",
            SqlCode::InTransaction => "25001",
            SqlCode::Savepoint => "3B001",
            SqlCode::Canceled => "57014",
            SqlCode::Damaged => "XX001",
            SqlCode::Io => "58030",
            SqlCode::Internal => "XX000",
        }
    }
}

/// A place in the user's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// Characters before it, from 0 (QuestDB's `position`; PostgreSQL's is one more).
    pub position: u32,
}

impl Place {
    /// The first character.
    pub const START: Place = Place { line: 1, column: 1, position: 0 };
}

/// Why a statement does not run: the fact in lower case, the remedy, the place in the user's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SqlError {
    /// The fact.
    pub message: String,
    /// The remedy, if one is known.
    pub hint: Option<String>,
    /// The class.
    pub code: SqlCode,
    /// From 1; the statement's first line if the place is not known better.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// Characters before the place, from 0.
    pub position: u32,
}

impl SqlError {
    /// An error at the start of the text.
    pub fn new(code: SqlCode, message: impl Into<String>) -> SqlError {
        let Place { line, column, position } = Place::START;
        SqlError { message: message.into(), hint: None, code, line, column, position }
    }

    /// Adds a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> SqlError {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the place.
    #[must_use]
    pub fn at(mut self, place: Place) -> SqlError {
        (self.line, self.column, self.position) = (place.line, place.column, place.position);
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}, column {})", self.message, self.line, self.column)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SqlError {}

/// The closest of `known` to `name`, if it is close enough to be what was meant.
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let score = |candidate: &str| strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
    let best = known.into_iter().map(|candidate| (score(candidate), candidate)).min()?;
    (best.0 <= 1 + name.chars().count() / 4).then_some(best.1)
}

/// `did you mean …?`, or the list of what there is when it is short.
pub(crate) fn did_you_mean<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(best) = closest(name, known.iter().copied()) {
        return Some(format!("did you mean {best:?}?"));
    }
    match known.len() {
        0 => None,
        1..=12 => Some(format!("the {what} there are: {}", known.join(", "))),
        more => Some(format!("there are {more} {what}, among them: {}", known[..8].join(", "))),
    }
}
