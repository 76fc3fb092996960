//! What a table looks like.
//!
//! # Columns and files
//!
//! A file of rows is never rewritten for a change of its table: it knows columns by the names that they had when it was
//! written, and the table knows under which name each of its columns stands in files, [`Column::file_name`]. That name
//! is a column's alone and for ever:
//!
//! | | name in the table | name in files |
//! |---|---|---|
//! | made with the table, or added | `c` | `c` |
//! | renamed | `d`; rows that come as `c` are its own | `c` |
//! | dropped | none | none: what files hold of it is not read, and goes when they are merged |
//! | added once a column was dropped | `c` | `c~1`, behind `~` the number of columns dropped before |
//!
//! `~` is in no column's name, and of two columns that are added between two drops one cannot have the other's name, new
//! or former. So no file that holds a dropped column can be read as one that came later, of whichever type.

use std::{fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::{NameError, TableName, check_name, limits::COLUMNS_MAX, name_key};

/// The hidden last column of stored rows: `UInt64`, the row's offset in the log.
pub const SEQ_COLUMN: &str = "_seq";

/// A column's type, by QuestDB's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// 8-bit integer.
    Byte,
    /// 16-bit integer.
    Short,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// 32-bit float.
    Float,
    /// 64-bit float.
    Double,
    /// Text with few distinct values, stored once each: a dictionary.
    Symbol,
    /// Text.
    Varchar,
    /// Microseconds since 1970 UTC.
    Timestamp,
    /// Nanoseconds since 1970 UTC.
    TimestampNs,
    /// Milliseconds since 1970 UTC.
    Date,
}

impl ColumnType {
    /// Every type.
    pub const ALL: [ColumnType; 12] = [
        ColumnType::Boolean,
        ColumnType::Byte,
        ColumnType::Short,
        ColumnType::Int,
        ColumnType::Long,
        ColumnType::Float,
        ColumnType::Double,
        ColumnType::Symbol,
        ColumnType::Varchar,
        ColumnType::Timestamp,
        ColumnType::TimestampNs,
        ColumnType::Date,
    ];

    /// The Arrow type that holds it, in memory, in the log and in Parquet.
    pub fn arrow(self) -> DataType {
        match self {
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::Byte => DataType::Int8,
            ColumnType::Short => DataType::Int16,
            ColumnType::Int => DataType::Int32,
            ColumnType::Long => DataType::Int64,
            ColumnType::Float => DataType::Float32,
            ColumnType::Double => DataType::Float64,
            ColumnType::Symbol => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            ColumnType::Varchar => DataType::Utf8,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            ColumnType::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
            ColumnType::Date => DataType::Timestamp(TimeUnit::Millisecond, None),
        }
    }

    /// The type that [`ColumnType::arrow`] maps to `data_type`, if one does.
    pub fn from_arrow(data_type: &DataType) -> Option<ColumnType> {
        ColumnType::ALL.into_iter().find(|ty| ty.arrow() == *data_type)
    }

    /// QuestDB's name, upper case.
    pub const fn name(self) -> &'static str {
        match self {
            ColumnType::Boolean => "BOOLEAN",
            ColumnType::Byte => "BYTE",
            ColumnType::Short => "SHORT",
            ColumnType::Int => "INT",
            ColumnType::Long => "LONG",
            ColumnType::Float => "FLOAT",
            ColumnType::Double => "DOUBLE",
            ColumnType::Symbol => "SYMBOL",
            ColumnType::Varchar => "VARCHAR",
            ColumnType::Timestamp => "TIMESTAMP",
            ColumnType::TimestampNs => "TIMESTAMP_NS",
            ColumnType::Date => "DATE",
        }
    }

    /// True for numbers that can be summed.
    pub const fn is_numeric(self) -> bool {
        matches!(
            self,
            ColumnType::Byte
                | ColumnType::Short
                | ColumnType::Int
                | ColumnType::Long
                | ColumnType::Float
                | ColumnType::Double
        )
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name as first written.
    pub name: Arc<str>,
    /// The type; never changes while the column exists.
    #[serde(rename = "type")]
    pub ty: ColumnType,
    /// The names that it had before, the first one first, without repeats. They stay its own: what was written under them, and what
    /// still is, belongs to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Arc<str>>,
    /// The name in files, if it is not the first one: see the module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Arc<str>>,
}

impl Column {
    /// A column.
    pub fn new(name: &str, ty: ColumnType) -> Column {
        Column { name: name.into(), ty, former: Vec::new(), file: None }
    }

    /// The name in files, which never changes: see the module.
    pub fn file_name(&self) -> &str {
        self.file.as_ref().or(self.former.first()).unwrap_or(&self.name)
    }

    /// True if it is called `name`, or was, case included.
    pub fn has_name(&self, name: &str) -> bool {
        *self.name == *name || self.former.iter().any(|former| **former == *name)
    }
}

/// How rows are grouped into stretches of time that are dropped together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PartitionBy {
    /// One partition; the only choice for a table without a time column.
    None,
    /// By hour.
    Hour,
    /// By day, UTC.
    #[default]
    Day,
    /// By ISO week, from Monday.
    Week,
    /// By calendar month.
    Month,
    /// By calendar year.
    Year,
}

impl PartitionBy {
    /// The word in SQL.
    pub const fn name(self) -> &'static str {
        match self {
            PartitionBy::None => "NONE",
            PartitionBy::Hour => "HOUR",
            PartitionBy::Day => "DAY",
            PartitionBy::Week => "WEEK",
            PartitionBy::Month => "MONTH",
            PartitionBy::Year => "YEAR",
        }
    }
}

/// A table: name, columns, and how its rows are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Schema and name.
    pub name: TableName,
    /// The columns in their order; the hidden [`SEQ_COLUMN`] is not among them.
    pub columns: Vec<Column>,
    /// Index of the designated time column, a `TIMESTAMP`.
    pub timestamp: Option<usize>,
    /// How rows are partitioned; `NONE` exactly if `timestamp` is `None` or the creator asked for it.
    pub partition_by: PartitionBy,
    /// Age in seconds past which whole partitions are dropped.
    pub ttl_s: Option<u64>,
    /// Indices of the columns of `DEDUP UPSERT KEYS`; empty without.
    pub dedup_keys: Vec<usize>,
    /// Columns that were dropped so far.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Why a table cannot look so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A name breaks the rules.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two columns differ by case alone, or not at all.
    #[error("the columns {first:?} and {second:?} have the same name; names match without case")]
    Duplicate {
        /// The earlier column.
        first: String,
        /// The later one.
        second: String,
    },
    /// More than [`COLUMNS_MAX`] columns.
    #[error("the table {table} would have {columns} columns, at most {COLUMNS_MAX} are allowed")]
    TooManyColumns {
        /// The table.
        table: String,
        /// How many it would have.
        columns: usize,
    },
    /// The designated time column is not a `TIMESTAMP`.
    #[error("the time column {column:?} is {ty}; it must be TIMESTAMP")]
    BadTimestamp {
        /// The column.
        column: String,
        /// Its type.
        ty: ColumnType,
    },
}

impl TableSchema {
    /// Index of the column called `name`, or once called so, matched without case.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        if let Some(exact) = self.columns.iter().position(|c| &*c.name == name) {
            return Some(exact);
        }
        let key = name_key(name);
        let is_it = |c: &Column| name_key(&c.name) == key || c.former.iter().any(|f| name_key(f) == key);
        self.columns.iter().position(is_it)
    }

    /// The same with the column `from` called `to`; `None` if there is no such column.
    pub fn renamed(&self, from: &str, to: &str) -> Option<TableSchema> {
        let mut schema = self.clone();
        let column = &mut schema.columns[self.index_of(from)?];
        let old = std::mem::replace(&mut column.name, to.into());
        if !column.former.contains(&old) {
            column.former.push(old);
        }
        Some(schema)
    }

    /// The same with those of `columns` at its end whose names it does not have yet, in files under names that no column
    /// of it ever had.
    #[must_use]
    pub fn with_columns(&self, columns: &[Column]) -> TableSchema {
        let mut schema = self.clone();
        for column in columns {
            if schema.index_of(&column.name).is_none() {
                let file = (self.dropped > 0).then(|| format!("{}~{}", column.name, self.dropped).into());
                schema.columns.push(Column { file, ..column.clone() });
            }
        }
        schema
    }

    /// True if the table can do without the column at `index`: it is neither the time column nor a key.
    pub fn may_drop(&self, index: usize) -> bool {
        self.timestamp != Some(index) && !self.dedup_keys.contains(&index)
    }

    /// The same without those of `names` that are columns of it and may go.
    #[must_use]
    pub fn without_columns<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> TableSchema {
        let mut schema = self.clone();
        for name in names {
            let Some(index) = schema.index_of(name).filter(|&index| schema.may_drop(index)) else { continue };
            schema.columns.remove(index);
            schema.dropped = schema.dropped.saturating_add(1);
            let places = schema.timestamp.iter_mut().chain(&mut schema.dedup_keys);
            places.filter(|place| **place > index).for_each(|place| *place -= 1);
        }
        schema
    }

    /// The designated time column.
    pub fn timestamp_column(&self) -> Option<&Column> {
        self.timestamp.map(|index| &self.columns[index])
    }

    /// As [`TableSchema::stored`], with the names that files have.
    pub fn filed(&self) -> Schema {
        let columns = self.columns.iter().map(|c| Field::new(c.file_name(), c.ty.arrow(), true));
        let seq = Field::new(SEQ_COLUMN, DataType::UInt64, false);
        Schema::new(columns.chain([seq]).collect::<Vec<Field>>())
    }

    /// The Arrow schema of stored rows: the columns in order, all nullable, then [`SEQ_COLUMN`] (`UInt64`).
    pub fn stored(&self) -> Schema {
        let mut fields: Vec<Field> =
            self.columns.iter().map(|c| Field::new(&*c.name, c.ty.arrow(), true)).collect();
        fields.push(Field::new(SEQ_COLUMN, DataType::UInt64, false));
        Schema::new(fields)
    }

    /// Checks names, their uniqueness, the number of columns and the time column.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), SchemaError> {
        check_name(&self.name.schema)?;
        check_name(&self.name.table)?;
        if self.columns.len() > COLUMNS_MAX {
            let table = self.name.to_string();
            return Err(SchemaError::TooManyColumns { table, columns: self.columns.len() });
        }
        let mut seen: Vec<(String, &str)> = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            check_name(&column.name)?;
            seen.push((name_key(&column.name), &column.name));
            let key = name_key(&column.name);
            let former = column.former.iter().map(|former| (name_key(former), &**former));
            seen.extend(former.filter(|former| former.0 != key));
        }
        seen.sort();
        if let Some(pair) = seen.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let (first, second) = (pair[0].1.to_owned(), pair[1].1.to_owned());
            return Err(SchemaError::Duplicate { first, second });
        }
        match self.timestamp_column() {
            Some(column) if column.ty != ColumnType::Timestamp => {
                Err(SchemaError::BadTimestamp { column: column.name.to_string(), ty: column.ty })
            }
            _ => Ok(()),
        }
    }
}
