//! A record's items, applied one by one to a snapshot that nobody sees yet, and what they changed.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array},
    compute::{filter_record_batch, max, min, not},
    datatypes::TimestampMicrosecondType,
};
use nowcast_model::{
    Batch, Change, Column, Event, Item, Offset, Record, RowChange, SchemaChange, TableName, TableSchema,
    Weights,
};

use crate::{
    Hot, Part, Snapshot, StoreError, TableVersion, columns::nulls, partition_start_us,
    snapshot::next_generation, store::Recovered,
};

/// A record on its way into a snapshot that nobody sees yet.
pub(crate) struct Applying<'a> {
    pub(crate) snapshot: Snapshot,
    pub(crate) record: &'a Record,
    pub(crate) sink: &'a mut dyn FnMut(Change),
    /// Set when a table or schema came, went or changed.
    pub(crate) schemas_changed: bool,
    /// Set when rows in parts may have gone.
    pub(crate) parts_dropped: bool,
}

impl Applying<'_> {
    pub(crate) fn item(
        &mut self,
        item: &Item,
        offset: Offset,
        recovered: &Recovered,
    ) -> Result<(), StoreError> {
        let table = match item {
            Item::Rows(batch) => &batch.table,
            Item::Event(Event::CreateSchema { schema }) => {
                if !self.snapshot.has_schema(schema) {
                    self.schemas_changed = true;
                    self.snapshot.schemas.insert(schema.clone());
                }
                return Ok(());
            }
            Item::Event(Event::CreateTable { schema }) => &schema.name,
            Item::Event(
                Event::AddColumns { table, .. }
                | Event::DropTable { table }
                | Event::Truncate { table }
                | Event::DropPartitions { table, .. }
                | Event::SetTtl { table, .. },
            ) => table,
        };
        let key = table.key();
        if offset < recovered.skip_below(&key) {
            return Ok(());
        }
        match item {
            Item::Rows(batch) => self.rows(&key, batch, offset),
            Item::Event(Event::CreateTable { schema }) => {
                self.create(key, schema, offset);
                Ok(())
            }
            Item::Event(Event::DropTable { .. }) => self.drop_table(&key),
            Item::Event(event) => {
                let Some(version) = self.snapshot.tables.get_mut(&key) else {
                    return Err(StoreError::UnknownTable { table: table.clone(), offset });
                };
                let version = Arc::make_mut(version);
                match event {
                    Event::Truncate { .. } => {
                        self.parts_dropped = true;
                        truncate(version, self.sink)
                    }
                    Event::DropPartitions { before_us, .. } => {
                        self.parts_dropped = true;
                        drop_partitions(version, *before_us, self.sink)
                    }
                    Event::AddColumns { columns, .. } => {
                        self.schemas_changed = true;
                        add_columns(version, columns, self.sink)
                    }
                    Event::SetTtl { ttl_s, .. } => {
                        self.schemas_changed = true;
                        let new = TableSchema { ttl_s: *ttl_s, ..TableSchema::clone(&version.schema) };
                        change_schema(version, new, self.sink);
                        Ok(())
                    }
                    Event::CreateSchema { .. } | Event::CreateTable { .. } | Event::DropTable { .. } => {
                        Ok(())
                    }
                }
            }
        }
    }

    fn rows(&mut self, key: &TableName, batch: &Batch, offset: Offset) -> Result<(), StoreError> {
        let Some(version) = self.snapshot.tables.get_mut(key) else {
            return Err(StoreError::UnknownTable { table: batch.table.clone(), offset });
        };
        if batch.rows.num_rows() == 0 {
            return Ok(());
        }
        let version = Arc::make_mut(version);
        let rows = stored_rows(version, batch, offset)?;
        if let Some(times) = times_of(&version.schema, &rows) {
            version.note_times(min(times), max(times));
        }
        let stored = version.stored.clone();
        version.hot.push(&stored, rows.clone())?;
        let schema = version.schema.clone();
        (self.sink)(Change::Rows(RowChange { schema, rows, weights: Weights::Inserted }));
        Ok(())
    }

    fn create(&mut self, key: TableName, schema: &TableSchema, offset: Offset) {
        if self.snapshot.tables.contains_key(&key) {
            return;
        }
        self.schemas_changed = true;
        if !self.snapshot.has_schema(&schema.name.schema) {
            self.snapshot.schemas.insert(schema.name.schema.to_string());
        }
        let schema = Arc::new(schema.clone());
        let version = TableVersion::new(schema.clone(), offset, self.record.offset);
        self.snapshot.tables.insert(key, Arc::new(version));
        let table = schema.name.clone();
        (self.sink)(Change::Schema(SchemaChange { table, old: None, new: Some(schema) }));
    }

    fn drop_table(&mut self, key: &TableName) -> Result<(), StoreError> {
        let Some(mut version) = self.snapshot.tables.remove(key) else {
            return Ok(());
        };
        (self.schemas_changed, self.parts_dropped) = (true, true);
        let version = Arc::make_mut(&mut version);
        truncate(version, self.sink)?;
        let schema = version.schema.clone();
        (self.sink)(Change::Schema(SchemaChange {
            table: schema.name.clone(),
            old: Some(schema),
            new: None,
        }));
        Ok(())
    }
}

type Sink<'a> = &'a mut dyn FnMut(Change);

fn times_of<'a>(
    schema: &TableSchema,
    rows: &'a RecordBatch,
) -> Option<&'a arrow::array::PrimitiveArray<TimestampMicrosecondType>> {
    rows.column(schema.timestamp?).as_primitive_opt()
}

/// The rows in stored form: the table's columns in order, absent ones NULL, then `_seq`.
fn stored_rows(version: &TableVersion, batch: &Batch, offset: Offset) -> Result<RecordBatch, StoreError> {
    let mismatch = |cause: String| StoreError::Mismatch { table: batch.table.clone(), offset, cause };
    let rows = batch.rows.num_rows();
    let given = batch.rows.schema_ref().fields();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(version.schema.columns.len() + 1);
    // Admitted batches have the table's columns in the table's order, some left out: one walk finds them.
    let mut next = 0;
    for column in &version.schema.columns {
        match given.get(next) {
            Some(field) if *field.name() == *column.name => {
                columns.push(batch.rows.column(next).clone());
                next += 1;
            }
            _ => columns.push(nulls(column.ty, rows)),
        }
    }
    if let Some(field) = given.get(next) {
        return Err(mismatch(format!("the column {:?} is unknown or out of order", field.name())));
    }
    let seq: UInt64Array = (offset.get()..offset.plus(rows as u64).get()).collect::<Vec<u64>>().into();
    columns.push(Arc::new(seq));
    let rows = RecordBatch::try_new(version.stored.clone(), columns).map_err(|e| mismatch(e.to_string()))?;
    if times_of(&version.schema, &rows).is_some_and(|times| times.null_count() > 0) {
        return Err(mismatch("a time is NULL".into()));
    }
    Ok(rows)
}

fn delete(schema: &Arc<TableSchema>, rows: RecordBatch, sink: Sink<'_>) {
    if rows.num_rows() > 0 {
        sink(Change::Rows(RowChange { schema: schema.clone(), rows, weights: Weights::Deleted }));
    }
}

fn truncate(version: &mut TableVersion, sink: Sink<'_>) -> Result<(), StoreError> {
    for rows in version.scan() {
        delete(&version.schema, rows?, sink);
    }
    version.hot = Hot::default();
    version.parts.clear();
    (version.oldest_us, version.newest_us) = (None, None);
    version.generation = next_generation();
    Ok(())
}

/// Takes away the partitions that end at or before `before_us`: whole parts, the beginning of mixed parts
/// (masked, see [`Part::visible_from_us`]), and hot rows.
fn drop_partitions(version: &mut TableVersion, before_us: i64, sink: Sink<'_>) -> Result<(), StoreError> {
    let schema = version.schema.clone();
    let Some(cutoff_us) = schema.timestamp.and(partition_start_us(schema.partition_by, before_us)) else {
        return Ok(());
    };
    if version.oldest_us.is_none_or(|oldest| oldest >= cutoff_us) {
        return Ok(());
    }
    let mut parts = Vec::with_capacity(version.parts.len());
    for part in &version.parts {
        if part.min_us.is_none_or(|min_us| min_us >= cutoff_us) {
            parts.push(part.clone());
            continue;
        }
        let mut gone = 0;
        for rows in part.read_before(&schema, cutoff_us)? {
            let rows = rows?;
            gone += rows.num_rows() as u64;
            delete(&schema, rows, sink);
        }
        if part.max_us.is_some_and(|max_us| max_us >= cutoff_us) {
            parts.push(Arc::new(Part {
                rows: part.rows.saturating_sub(gone),
                min_us: Some(cutoff_us),
                visible_from_us: Some(cutoff_us),
                ..Part::clone(part)
            }));
        }
    }
    let mut hot_gone = Vec::new();
    let hot = version.hot.try_map(|batch| {
        let Some(times) = times_of(&schema, batch) else { return Ok(batch.clone()) };
        let old: BooleanArray = times.values().iter().map(|&at_us| Some(at_us < cutoff_us)).collect();
        if old.true_count() == 0 {
            return Ok(batch.clone());
        }
        hot_gone.push(filter_record_batch(batch, &old)?);
        filter_record_batch(batch, &not(&old)?)
    })?;
    version.parts = parts;
    if !hot_gone.is_empty() {
        version.hot = hot;
        version.generation = next_generation();
    }
    for rows in hot_gone {
        delete(&schema, rows, sink);
    }
    version.oldest_us = version.oldest_us.map(|_| cutoff_us);
    if version.rows() == 0 {
        (version.oldest_us, version.newest_us) = (None, None);
    }
    Ok(())
}

fn add_columns(version: &mut TableVersion, columns: &[Column], sink: Sink<'_>) -> Result<(), StoreError> {
    let mut new = TableSchema::clone(&version.schema);
    for column in columns {
        if new.index_of(&column.name).is_none() {
            new.columns.push(column.clone());
        }
    }
    let added = new.columns[version.schema.columns.len()..].to_vec();
    if added.is_empty() {
        return Ok(());
    }
    let stored = Arc::new(new.stored());
    version.hot = version.hot.try_map(|batch| {
        let (seq, kept) = batch.columns().split_last().map_or((None, [].as_slice()), |(s, k)| (Some(s), k));
        let mut columns = kept.to_vec();
        columns.extend(added.iter().map(|column| nulls(column.ty, batch.num_rows())));
        columns.extend(seq.cloned());
        RecordBatch::try_new(stored.clone(), columns)
    })?;
    change_schema(version, new, sink);
    Ok(())
}

fn change_schema(version: &mut TableVersion, new: TableSchema, sink: Sink<'_>) {
    let old = std::mem::replace(&mut version.schema, Arc::new(new));
    version.stored = Arc::new(version.schema.stored());
    if old != version.schema {
        let (table, new) = (old.name.clone(), Some(version.schema.clone()));
        sink(Change::Schema(SchemaChange { table, old: Some(old), new }));
    }
}
