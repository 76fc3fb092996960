//! Names of tables and columns: kept as first written, matched without case.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES_MAX;

/// A table's schema and name. `public` is the schema that needs no mention.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The schema, `public` unless one was given.
    pub schema: Arc<str>,
    /// The name inside the schema.
    pub table: Arc<str>,
}

impl TableName {
    /// The schema of names that give none.
    pub const PUBLIC: &'static str = "public";

    /// `table` in the schema `public`.
    pub fn public(table: &str) -> TableName {
        TableName::new(TableName::PUBLIC, table)
    }

    /// `table` in `schema`.
    pub fn new(schema: &str, table: &str) -> TableName {
        TableName { schema: schema.into(), table: table.into() }
    }

    /// The form in which two spellings of one name are equal; for maps.
    #[must_use]
    pub fn key(&self) -> TableName {
        TableName { schema: name_key(&self.schema).into(), table: name_key(&self.table).into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if &*self.schema == TableName::PUBLIC {
            f.write_str(&self.table)
        } else {
            write!(f, "{}.{}", self.schema, self.table)
        }
    }
}

/// The form in which two spellings of one name are equal: Unicode lower case.
pub fn name_key(name: &str) -> String {
    name.to_lowercase()
}

/// Why a table, schema or column cannot have a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing between the separators.
    #[error("a name is empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("the name {name:?}… has {bytes} bytes, at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// The name's beginning.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// A character that would make the name ambiguous in SQL, in a path or on a terminal.
    #[error("the name {name:?} holds the character {bad:?}; use letters, digits, `_` or `-`")]
    BadCharacter {
        /// The name.
        name: String,
        /// The first character that is not allowed.
        bad: char,
    },
    /// Names that begin so belong to the system.
    #[error("the name {name:?} begins with `_seq`, which is reserved")]
    Reserved {
        /// The name.
        name: String,
    },
}

/// Checks a table's, schema's or column's name as QuestDB would: no control characters, none of
/// `? . , ' " \ / : ( ) + * % ~ ;`, at most [`NAME_BYTES_MAX`] bytes.
///
/// # Errors
/// The first rule that `name` breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        let name_start = name.chars().take(32).collect();
        return Err(NameError::TooLong { name: name_start, bytes: name.len() });
    }
    let is_bad = |c: char| c.is_control() || c == '\u{feff}' || r#"?.,'"\/:()+*%~;"#.contains(c);
    if let Some(bad) = name.chars().find(|&c| is_bad(c)) {
        return Err(NameError::BadCharacter { name: name.to_owned(), bad });
    }
    if name_key(name) == crate::SEQ_COLUMN {
        return Err(NameError::Reserved { name: name.to_owned() });
    }
    Ok(())
}
