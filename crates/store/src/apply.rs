//! A record's items, applied one by one to a snapshot that nobody sees yet, and what they changed.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array},
    compute::{filter_record_batch, max, min, not},
    datatypes::TimestampMicrosecondType,
};
use nowcast_model::{
    Batch, Change, Event, Item, Offset, Record, RowChange, SchemaChange, TableName, TableSchema, Weights,
};

use crate::{
    Hot, Part, Snapshot, StoreError, TableVersion,
    alter::{add_columns, change_schema, drop_columns, rename_column},
    columns::nulls,
    delete::delete_rows,
    partition_start_us,
    snapshot::next_generation,
    store::Recovered,
    upsert::{KeyIndex, Upserted, seqs},
};

/// The indexes of the tables that have keys.
pub(crate) type KeyIndexes = BTreeMap<TableName, KeyIndex>;

/// A record on its way into a snapshot that nobody sees yet.
pub(crate) struct Applying<'a> {
    pub(crate) snapshot: Snapshot,
    pub(crate) record: &'a Record,
    pub(crate) sink: &'a mut dyn FnMut(Change),
    /// By table, where rows are found by their key.
    pub(crate) keys: &'a mut KeyIndexes,
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
            Item::Rows(batch) => Some(&batch.table),
            Item::Event(event) => event.table(),
        };
        let Some(table) = table else {
            match item {
                Item::Event(Event::CreateSchema { schema }) if !self.snapshot.has_schema(schema) => {
                    self.schemas_changed = true;
                    self.snapshot.schemas.insert(schema.clone());
                }
                Item::Event(Event::SetDefault { name, value: Some(value) }) => {
                    self.snapshot.defaults.insert(name.clone(), value.clone());
                }
                Item::Event(Event::SetDefault { name, value: None }) => {
                    self.snapshot.defaults.remove(name);
                }
                _ => {}
            }
            return Ok(());
        };
        // To be asked before the table is: what gives it its own name in other letters would find it.
        if matches!(item, Item::Event(Event::RenameTable { .. })) && recovered.has_renamed(offset) {
            return Ok(());
        }
        let Some(key) = recovered.table_at(table, offset) else { return Ok(()) };
        match item {
            Item::Rows(batch) => self.rows(&key, batch, offset),
            Item::Event(Event::CreateTable { schema }) => {
                self.create(key, schema, offset);
                Ok(())
            }
            Item::Event(Event::DropTable { .. }) => self.drop_table(&key),
            Item::Event(Event::RenameTable { to, .. }) => self.rename_table(&key, to, offset),
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
                    Event::DropRange { from_us, until_us, .. } => {
                        self.parts_dropped = true;
                        drop_range(version, *from_us..*until_us, self.sink)
                    }
                    Event::DeleteRows { seqs, times_us, .. } => {
                        let gone: Vec<Range<u64>> = seqs.iter().map(|&(first, end)| first..end).collect();
                        let times = times_us.map(|(from_us, until_us)| from_us..until_us);
                        self.parts_dropped |= delete_rows(version, &gone, times, self.sink)?;
                        Ok(())
                    }
                    Event::SetDedupKeys { keys, .. } => {
                        self.schemas_changed = true;
                        let dedup_keys = keys.iter().filter_map(|key| version.schema.index_of(key)).collect();
                        let new = TableSchema { dedup_keys, ..TableSchema::clone(&version.schema) };
                        change_schema(version, new, self.sink);
                        // Rows that came without keys are in no index.
                        self.keys.remove(&key);
                        Ok(())
                    }
                    Event::AddColumns { columns, .. } => {
                        self.schemas_changed = true;
                        add_columns(version, columns, self.sink)
                    }
                    Event::RenameColumn { from, to, .. } => {
                        self.schemas_changed = true;
                        rename_column(version, from, to, self.sink)
                    }
                    Event::DropColumns { columns, .. } => {
                        self.schemas_changed = true;
                        // Its columns have moved.
                        self.keys.remove(&key);
                        drop_columns(version, columns, self.sink)
                    }
                    Event::SetTtl { ttl_s, .. } => {
                        self.schemas_changed = true;
                        let new = TableSchema { ttl_s: *ttl_s, ..TableSchema::clone(&version.schema) };
                        change_schema(version, new, self.sink);
                        Ok(())
                    }
                    Event::CreateSchema { .. }
                    | Event::SetDefault { .. }
                    | Event::CreateTable { .. }
                    | Event::RenameTable { .. }
                    | Event::DropTable { .. } => Ok(()),
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
        let schema = version.schema.clone();
        if !schema.dedup_keys.is_empty() {
            let index = match self.keys.entry(key.clone()) {
                Entry::Occupied(entry) if entry.get().fits(version) => entry.into_mut(),
                entry => entry.insert_entry(KeyIndex::new(version)?).into_mut(),
            };
            if let Some(Upserted { rows, weights }) = index.upsert(version, rows)? {
                (self.sink)(Change::Rows(RowChange { schema, rows, weights }));
            }
            return Ok(());
        }
        let stored = version.stored.clone();
        version.hot.push(&stored, rows.clone())?;
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
        self.keys.remove(key);
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

pub(crate) type Sink<'a> = &'a mut dyn FnMut(Change);

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
            Some(field) if column.has_name(field.name()) => {
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

/// Hands out rows that went.
pub(crate) fn delete(schema: &Arc<TableSchema>, rows: RecordBatch, sink: Sink<'_>) {
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
        for rows in part.read_between(&schema, i64::MIN..cutoff_us)? {
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
    version.parts = parts;
    drop_hot(version, i64::MIN..cutoff_us, sink)?;
    version.oldest_us = version.oldest_us.map(|_| cutoff_us);
    if version.rows() == 0 {
        (version.oldest_us, version.newest_us) = (None, None);
    }
    Ok(())
}

/// Takes away the rows of a stretch of time: parts that lie in it as a whole, rows of other parts as dead
/// ones, and hot rows.
fn drop_range(version: &mut TableVersion, times: Range<i64>, sink: Sink<'_>) -> Result<(), StoreError> {
    let schema = version.schema.clone();
    let mut parts = Vec::with_capacity(version.parts.len());
    for part in &version.parts {
        let (Some(min_us), Some(max_us)) = (part.min_us, part.max_us) else {
            parts.push(part.clone());
            continue;
        };
        if max_us < times.start || min_us >= times.end {
            parts.push(part.clone());
            continue;
        }
        let mut dead = Vec::new();
        for rows in part.read_between(&schema, times.clone())? {
            let rows = rows?;
            dead.extend_from_slice(seqs(&rows));
            delete(&schema, rows, sink);
        }
        if (dead.len() as u64) < part.rows {
            let mut left = Part::clone(part);
            left.bury(dead);
            parts.push(Arc::new(left));
        }
    }
    version.parts = parts;
    drop_hot(version, times, sink)?;
    if version.rows() == 0 {
        (version.oldest_us, version.newest_us) = (None, None);
    }
    Ok(())
}

/// Takes away the hot rows of a stretch of time.
fn drop_hot(version: &mut TableVersion, gone: Range<i64>, sink: Sink<'_>) -> Result<(), StoreError> {
    let schema = version.schema.clone();
    let mut hot_gone = Vec::new();
    let hot = version.hot.try_map(|batch| {
        let Some(times) = times_of(&schema, batch) else { return Ok(batch.clone()) };
        let old: BooleanArray = times.values().iter().map(|at_us| Some(gone.contains(at_us))).collect();
        if old.true_count() == 0 {
            return Ok(batch.clone());
        }
        hot_gone.push(filter_record_batch(batch, &old)?);
        filter_record_batch(batch, &not(&old)?)
    })?;
    if !hot_gone.is_empty() {
        version.hot = hot;
        version.generation = next_generation();
    }
    for rows in hot_gone {
        delete(&schema, rows, sink);
    }
    Ok(())
}
