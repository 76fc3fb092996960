//! Tables that get another form or another name, while their rows stay.
//!
//! Hot rows are put into the new form at once; parts are left as they are, and read as the table is (see
//! [`nowcast_model::TableSchema`] for the names in files).
//!
//! **Dropping a column.** What becomes of its values, wherever they are:
//!
//! | they are | |
//! |---|---|
//! | hot | gone with the event; a batch keeps its rows and its place |
//! | in a part | not read any more; gone when the part is merged |
//! | in a part that a flush or a merge is writing | as in a part: the file is right, whichever form the table has by then |
//! | in the log, before the event | replayed into the column, which the event then drops: the manifest has the table in the form that it had at its `flushed_to`, so replay is as the first time |
//! | with a writer that still sends them | a new column, as anything that a table does not have; it begins empty |
//!
//! **Renaming a table** moves it in the catalogue, with all that it has. Parts keep their files, in the directory of the
//! old name: the manifest says where they are. What the log holds under the old name, between the table's `flushed_to` and
//! the event, is the table's all the same: the manifest says until which offset it was called what
//! ([`TableVersion::former`]), and replay asks by name and offset. A name that was freed and taken by another table is
//! thus two tables, each in its time. A rename below the manifest's position is skipped: the tables stand there under
//! the names that they had at it.
//!
//! A flush that meets the event writes the table under its old name, whose manifest is right as long as the log is
//! replayed over it; it finds no such table to install the part in, and the next flush writes the rows anew. A merge
//! is given up.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use nowcast_model::{Change, Column, Offset, SchemaChange, TableName, TableSchema};

use crate::{
    StoreError, TableVersion,
    apply::{Applying, Sink},
    columns::nulls,
};

pub(crate) fn add_columns(
    version: &mut TableVersion,
    columns: &[Column],
    sink: Sink<'_>,
) -> Result<(), StoreError> {
    let new = version.schema.with_columns(columns);
    reshape(version, new, sink)
}

pub(crate) fn rename_column(
    version: &mut TableVersion,
    from: &str,
    to: &str,
    sink: Sink<'_>,
) -> Result<(), StoreError> {
    match version.schema.renamed(from, to) {
        Some(new) => reshape(version, new, sink),
        None => Ok(()),
    }
}

pub(crate) fn drop_columns(
    version: &mut TableVersion,
    columns: &[Arc<str>],
    sink: Sink<'_>,
) -> Result<(), StoreError> {
    let new = version.schema.without_columns(columns.iter().map(|name| &**name));
    reshape(version, new, sink)
}

/// Brings the hot rows into the form of `new`: of its columns those that have a name in files that the table knows are
/// the table's, and others are NULL.
fn reshape(version: &mut TableVersion, new: TableSchema, sink: Sink<'_>) -> Result<(), StoreError> {
    let old = &version.schema;
    if *old.as_ref() == new {
        return Ok(());
    }
    let place = |(index, column): (usize, &Column)| {
        let is_it = |was: &Column| was.file_name() == column.file_name();
        // Mostly nothing has moved.
        old.columns
            .get(index)
            .filter(|was| is_it(was))
            .map(|_| index)
            .or_else(|| old.columns.iter().position(is_it))
    };
    let places: Vec<Option<usize>> = new.columns.iter().enumerate().map(place).collect();
    let (stored, seq) = (Arc::new(new.stored()), old.columns.len());
    version.hot = version.hot.reshape(|batch| {
        let columns = places.iter().zip(&new.columns).map(|(place, column)| match place {
            Some(place) => batch.column(*place).clone(),
            None => nulls(column.ty, batch.num_rows()),
        });
        let columns: Vec<ArrayRef> = columns.chain([batch.column(seq).clone()]).collect();
        RecordBatch::try_new(stored.clone(), columns)
    })?;
    change_schema(version, new, sink);
    Ok(())
}

/// Gives the table another schema, to whose form its rows have been brought.
pub(crate) fn change_schema(version: &mut TableVersion, new: TableSchema, sink: Sink<'_>) {
    let old = std::mem::replace(&mut version.schema, Arc::new(new));
    version.stored = Arc::new(version.schema.stored());
    if old != version.schema {
        let (table, new) = (old.name.clone(), Some(version.schema.clone()));
        sink(Change::Schema(SchemaChange { table, old: Some(old), new }));
    }
}

impl Applying<'_> {
    pub(crate) fn rename_table(
        &mut self,
        key: &TableName,
        to: &TableName,
        offset: Offset,
    ) -> Result<(), StoreError> {
        let Some(mut version) = self.snapshot.tables.remove(key) else {
            return Err(StoreError::UnknownTable { table: key.clone(), offset });
        };
        self.schemas_changed = true;
        // Finds nothing but this table's rows, whatever it is called.
        if let Some(index) = self.keys.remove(key) {
            self.keys.insert(to.key(), index);
        }
        let renamed = Arc::make_mut(&mut version);
        renamed.former.push((key.clone(), offset));
        Arc::make_mut(&mut renamed.flushed_schema).name = to.clone();
        let new = TableSchema { name: to.clone(), ..TableSchema::clone(&renamed.schema) };
        change_schema(renamed, new, self.sink);
        self.snapshot.tables.insert(to.key(), version);
        Ok(())
    }
}
