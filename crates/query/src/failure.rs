//! DataFusion's errors in our words, with their place in the user's text.

use arrow::error::ArrowError;
use datafusion::{
    common::{Column, SchemaError},
    error::DataFusionError,
    execution::SessionState,
    parquet::errors::ParquetError,
};
use nowcast_model::SEQ_COLUMN;
use nowcast_store::StoreError;

use crate::{
    error::{SqlCode, SqlError, closest, did_you_mean},
    text::Text,
};

/// An error of ours on its way through DataFusion, with the name that it is about.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) error: SqlError,
    pub(crate) name: String,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Named {}

/// Carries an error of ours through DataFusion.
pub(crate) fn external(error: SqlError, name: &str) -> DataFusionError {
    DataFusionError::External(Box::new(Named { error, name: name.to_owned() }))
}

/// The error in our words, without a place.
pub fn of(error: &DataFusionError) -> SqlError {
    translate(error, None).0
}

/// The error in our words, at the place of the name that it is about, else at the statement's start.
pub(crate) fn locate(error: &DataFusionError, text: &Text, state: Option<&SessionState>) -> SqlError {
    let (error, name) = translate(error, state);
    match name.and_then(|name| text.find_name(&name)) {
        Some(place) => error.at(place),
        None => error.at(text.place(0)),
    }
}

/// The error and the name that it is about.
fn translate(error: &DataFusionError, state: Option<&SessionState>) -> (SqlError, Option<String>) {
    let new = |code, message: &str| match regex(message) {
        Some(error) => (error, None),
        None => (SqlError::new(code, sentence(message)), quoted(message)),
    };
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate(inner, state),
        DataFusionError::Shared(inner) => translate(inner, state),
        DataFusionError::Collection(errors) if !errors.is_empty() => translate(&errors[0], state),
        DataFusionError::External(inner) => match inner.downcast_ref::<Named>() {
            Some(named) => (named.error.clone(), Some(named.name.clone())),
            None => match inner.downcast_ref::<SqlError>() {
                Some(error) => (error.clone(), None),
                None => match (inner.downcast_ref::<DataFusionError>(), inner.downcast_ref::<StoreError>()) {
                    (Some(error), _) => translate(error, state),
                    (None, Some(error)) => (unreadable(error), None),
                    (None, None) => new(SqlCode::Data, &inner.to_string()),
                },
            },
        },
        DataFusionError::ParquetError(error) => match &**error {
            ParquetError::External(inner) => match inner.downcast_ref::<StoreError>() {
                Some(error) => (unreadable(error), None),
                None => new(SqlCode::Data, &inner.to_string()),
            },
            other => new(SqlCode::Data, &other.to_string()),
        },
        DataFusionError::SchemaError(error, _) => schema(error),
        DataFusionError::Plan(message) => match function(message, state) {
            Some(found) => found,
            None if message.contains("coerce") || message.contains("type") => new(SqlCode::Type, message),
            None => new(SqlCode::Syntax, message),
        },
        DataFusionError::SQL(error, _) => new(SqlCode::Syntax, &error.to_string()),
        DataFusionError::NotImplemented(message) => new(SqlCode::NotSupported, message),
        DataFusionError::ResourcesExhausted(message) => {
            let error =
                SqlError::new(SqlCode::Resources, format!("the query ran out of memory: {}", first(message)));
            let hint = "narrow its time range, group by fewer keys, or raise query.memory_bytes_max";
            (error.hint(hint), None)
        }
        DataFusionError::ArrowError(error, _) => arrow(error, state),
        DataFusionError::Execution(message) => new(SqlCode::Data, message),
        DataFusionError::Internal(message) => {
            if let Some(error) = regex(message) {
                return (error, None);
            }
            let message = format!("the query planner failed: {}", first(message));
            (SqlError::new(SqlCode::Internal, message).hint("please report the query"), None)
        }
        other => new(SqlCode::Data, &other.strip_backtrace()),
    }
}

/// A regular expression that is none, or would need more memory than one may have.
fn regex(message: &str) -> Option<SqlError> {
    let new = |message: &str| SqlError::new(SqlCode::Regex, message);
    if message.contains("CompiledTooBig") || message.contains("exceeds size limit") {
        let error = new("the regular expression is too large");
        return Some(error.hint("repeat less in it: (a{1000}){1000} stands for a million letters"));
    }
    if message.contains("regex parse error") {
        let cause = message.lines().find_map(|line| line.trim().strip_prefix("error: "));
        return Some(new(&format!(
            "the regular expression is wrong: {}",
            cause.unwrap_or("it cannot be read")
        )));
    }
    let (_, pattern) = message.split_once("Regular expression did not compile: ")?;
    let pattern: String = first(pattern).chars().take(200).collect();
    Some(new(&format!("the regular expression is wrong or too large: {pattern}")))
}

/// A part that cannot be read.
fn unreadable(error: &StoreError) -> SqlError {
    let code = match error {
        StoreError::BadPart { .. } => SqlCode::Damaged,
        StoreError::Io { .. } => SqlCode::Io,
        _ => SqlCode::Internal,
    };
    SqlError::new(code, error.to_string())
}

fn arrow(error: &ArrowError, state: Option<&SessionState>) -> (SqlError, Option<String>) {
    if let ArrowError::ComputeError(message) = error
        && let Some(error) = regex(message)
    {
        return (error, None);
    }
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(error) => translate(error, state),
            None => (SqlError::new(SqlCode::Data, sentence(&inner.to_string())), None),
        },
        ArrowError::DivideByZero => {
            let error = SqlError::new(SqlCode::Data, "a division by zero");
            (error.hint("write x / nullif(y, 0)"), None)
        }
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::ComputeError(message) => (SqlError::new(SqlCode::Data, sentence(message)), None),
        other => (SqlError::new(SqlCode::Data, sentence(&other.to_string())), None),
    }
}

fn schema(error: &SchemaError) -> (SqlError, Option<String>) {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let known = |relation: bool| {
                let valid = valid_fields.iter().filter(move |f| !relation || f.relation == field.relation);
                let mut names: Vec<&str> = valid.map(|f: &Column| f.name.as_str()).collect();
                names.retain(|name| *name != SEQ_COLUMN);
                names
            };
            if let Some(relation) = &field.relation
                && !valid_fields.is_empty()
                && known(true).is_empty()
            {
                let table = relation.table();
                let message = format!("there is no table or alias {table:?} in this query");
                let tables = valid_fields.iter().filter_map(|f| f.relation.as_ref().map(|r| r.table()));
                let mut tables: Vec<&str> = tables.collect();
                tables.dedup();
                let error = SqlError::new(SqlCode::UndefinedTable, message);
                let hint = did_you_mean("tables", table, tables);
                return (with(error, hint), Some(table.to_owned()));
            }
            let error =
                SqlError::new(SqlCode::UndefinedColumn, format!("there is no column {:?}", field.name));
            let hint = did_you_mean("columns", &field.name, known(field.relation.is_some()));
            (with(error, hint), Some(field.name.clone()))
        }
        SchemaError::AmbiguousReference { field } => {
            let message = format!("the column {:?} is in more than one table", field.name);
            let hint = format!("write table.{}", field.name);
            (SqlError::new(SqlCode::UndefinedColumn, message).hint(hint), Some(field.name.clone()))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            let message = format!("the name {name:?} is given twice");
            let hint = "give one of them another name with AS";
            (SqlError::new(SqlCode::DuplicateColumn, message).hint(hint), Some(name.clone()))
        }
    }
}

/// A function that is not there, or not with these arguments.
fn function(message: &str, state: Option<&SessionState>) -> Option<(SqlError, Option<String>)> {
    // What a function of ours says of its arguments, without what DataFusion says around it.
    let message = match message.split_once("coercion failed with: Error during planning: ") {
        Some((_, ours)) => ours.split(". ").next().unwrap_or(ours),
        None => message,
    };
    if let Some(rest) = message.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next()?.to_owned();
        let error = SqlError::new(SqlCode::UndefinedFunction, format!("there is no function {name}()"));
        let mut known: Vec<&str> = vec!["now", "count"];
        if let Some(state) = state {
            known.extend(state.scalar_functions().keys().map(String::as_str));
            known.extend(state.aggregate_functions().keys().map(String::as_str));
            known.extend(state.window_functions().keys().map(String::as_str));
        }
        let hint = instead_of(&name).map(str::to_owned).or_else(|| {
            known.sort_unstable();
            closest(&name, known).map(|best| format!("did you mean {best}()?"))
        });
        return Some((with(error, hint), Some(name)));
    }
    for mark in ["function: '", "the function '", "calling function '", "for the '"] {
        if let Some(at) = message.find(mark) {
            let name: String = message[at + mark.len()..].chars().take_while(|c| *c != '\'').collect();
            if message.contains("coerce") || message.contains("argument") || message.contains("signature") {
                let error = SqlError::new(SqlCode::UndefinedFunction, sentence(message));
                return Some((error, Some(name)));
            }
        }
    }
    None
}

/// QuestDB's and TimescaleDB's functions by what does the same here.
fn instead_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "time_bucket" => "use timestamp_floor('10s', ts), or date_bin(interval '10 seconds', ts)",
        _ => return None,
    })
}

fn with(error: SqlError, hint: Option<String>) -> SqlError {
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn first(message: &str) -> &str {
    message.lines().next().unwrap_or_default().trim()
}

/// The first line, beginning in lower case.
fn sentence(message: &str) -> String {
    let mut line = first(message);
    for prefix in
        ["Error during planning: ", "Execution error: ", "SQL error: ", "External error: ", "Arrow error: "]
    {
        line = line.strip_prefix(prefix).unwrap_or(line);
    }
    let mut chars = line.chars();
    match (chars.next(), chars.next()) {
        // `UTF8 is …` keeps its capitals.
        (Some(a), Some(b)) if a.is_uppercase() && b.is_lowercase() => {
            a.to_lowercase().chain(std::iter::once(b)).chain(chars).collect()
        }
        _ => line.to_owned(),
    }
}

/// The first thing in quotes: mostly the name that a message is about.
fn quoted(message: &str) -> Option<String> {
    let start = message.find(['\'', '"'])?;
    let quote = message[start..].chars().next()?;
    let rest = &message[start + 1..];
    rest.find(quote).map(|end| rest[..end].to_owned())
}
