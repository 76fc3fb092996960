//! Items as their tables want them, against a catalogue that does not move meanwhile.
//!
//! Pure: the [`crate::Registry`] hands in its catalogue, and gets the items to queue, with the events that
//! they need before them, and the catalogue as it is with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions},
    datatypes::{Field, Schema, TimestampMicrosecondType},
};
use nowcast_model::{
    Batch, Column, ColumnType, Event, Item, PartitionBy, SchemaError, TableName, TableSchema, check_name,
    limits::{COLUMNS_MAX, TABLES_MAX},
};

use crate::{
    Catalog, Refusal, RefusalKind,
    coerce::{coerce, show},
};

/// Designated times are within the years 1 to 9999, which every client can show: microseconds since 1970.
const TIME_MIN_US: i64 = -62_135_596_800_000_000;
const TIME_MAX_US: i64 = 253_402_300_799_999_999;

/// The items to queue, and the catalogue with them in it if it differs.
pub(crate) struct Conformed {
    pub(crate) items: Vec<Item>,
    pub(crate) catalog: Option<Catalog>,
}

/// # Errors
/// The first item that does not fit.
pub(crate) fn conform(base: &Catalog, items: &[Item]) -> Result<Conformed, Refusal> {
    let mut draft =
        Draft { base, tables: BTreeMap::new(), schemas: BTreeSet::new(), items: Vec::new(), index: 0 };
    for (index, item) in items.iter().enumerate() {
        draft.index = index;
        match item {
            Item::Rows(batch) if batch.rows.num_rows() == 0 => {}
            Item::Rows(batch) => draft.rows(batch)?,
            Item::Event(event) => draft.event(event)?,
        }
    }
    let catalog = draft.catalog();
    Ok(Conformed { items: draft.items, catalog })
}

/// A catalogue with changes over it, so that the many writes that change no schema copy nothing.
struct Draft<'a> {
    base: &'a Catalog,
    /// By key; `None` for a dropped table.
    tables: BTreeMap<TableName, Option<Arc<TableSchema>>>,
    schemas: BTreeSet<String>,
    items: Vec<Item>,
    index: usize,
}

impl Draft<'_> {
    fn catalog(&self) -> Option<Catalog> {
        if self.tables.is_empty() && self.schemas.is_empty() {
            return None;
        }
        let mut catalog = self.base.clone();
        catalog.schemas.extend(self.schemas.iter().cloned());
        for (key, schema) in &self.tables {
            match schema {
                Some(schema) => catalog.tables.insert(key.clone(), schema.clone()),
                None => catalog.tables.remove(key),
            };
        }
        Some(catalog)
    }

    fn table(&self, name: &TableName) -> Option<Arc<TableSchema>> {
        let key = name.key();
        match self.tables.get(&key) {
            Some(changed) => changed.clone(),
            None => self.base.tables.get(&key).cloned(),
        }
    }

    fn refuse(&self, kind: RefusalKind, table: &TableName, cause: String, hint: &str) -> Refusal {
        let (table, hint) = (table.to_string(), hint.to_owned());
        Refusal { kind, table, column: None, cause, hint, batch: self.index, row: None }
    }

    fn existing(&self, name: &TableName) -> Result<Arc<TableSchema>, Refusal> {
        self.table(name).ok_or_else(|| missing_table(name, self.index))
    }

    fn event(&mut self, event: &Event) -> Result<(), Refusal> {
        match event {
            Event::CreateSchema { schema } => {
                if let Err(error) = check_name(schema) {
                    let name = TableName::new(schema, "");
                    let hint = "choose another schema name";
                    return Err(self.refuse(RefusalKind::Name, &name, error.to_string(), hint));
                }
                self.ensure_schema(schema);
                return Ok(());
            }
            Event::CreateTable { schema } => {
                return if self.table(&schema.name).is_some() { Ok(()) } else { self.create(schema.clone()) };
            }
            Event::AddColumns { table, columns } => {
                let schema = self.existing(table)?;
                let new = columns.iter().filter(|c| schema.index_of(&c.name).is_none()).cloned().collect();
                return self.add_columns(&schema, new).map(|_| ());
            }
            Event::RenameColumn { table, from, to } => {
                let schema = self.existing(table)?;
                let Some(renamed) = schema.renamed(from, to) else {
                    let cause = format!("there is no column {from:?}");
                    return Err(self.refuse(
                        RefusalKind::Missing,
                        table,
                        cause,
                        "name a column of the table",
                    ));
                };
                check_new_table(&renamed, self.index)?;
                self.tables.insert(table.key(), Some(Arc::new(renamed)));
            }
            Event::DropColumns { table, columns } => {
                let schema = self.existing(table)?;
                for name in columns {
                    self.check_drop(&schema, name)?;
                }
                let narrower = schema.without_columns(columns.iter().map(|name| &**name));
                if narrower.columns.is_empty() {
                    let cause = "it would have no columns".to_owned();
                    return Err(self.refuse(RefusalKind::Unsupported, table, cause, "drop the table"));
                }
                self.tables.insert(table.key(), Some(Arc::new(narrower)));
            }
            Event::RenameTable { table, to } => {
                let schema = TableSchema { name: to.clone(), ..TableSchema::clone(&*self.existing(table)?) };
                check_new_table(&schema, self.index)?;
                if to.key() != table.key() && self.table(to).is_some() {
                    let hint = "choose another name, or drop that table first";
                    return Err(self.refuse(
                        RefusalKind::Exists,
                        to,
                        "the table exists already".into(),
                        hint,
                    ));
                }
                self.ensure_schema(&to.schema);
                self.tables.insert(table.key(), None);
                self.tables.insert(to.key(), Some(Arc::new(schema)));
            }
            Event::DropTable { table } => {
                self.existing(table)?;
                self.tables.insert(table.key(), None);
            }
            Event::SetDefault { .. } => {}
            Event::Truncate { table }
            | Event::DropPartitions { table, .. }
            | Event::DeleteRows { table, .. }
            | Event::DropRange { table, .. } => {
                self.existing(table)?;
            }
            Event::SetDedupKeys { table, keys } => {
                let mut schema = TableSchema::clone(&*self.existing(table)?);
                schema.dedup_keys.clear();
                for key in keys {
                    let index = schema.index_of(key).ok_or_else(|| {
                        let cause = format!("there is no column {key:?}");
                        self.refuse(RefusalKind::Missing, table, cause, "name columns of the table")
                    })?;
                    schema.dedup_keys.push(index);
                }
                check_new_table(&schema, self.index)?;
                self.tables.insert(table.key(), Some(Arc::new(schema)));
            }
            Event::SetTtl { table, ttl_s } => {
                let schema = TableSchema { ttl_s: *ttl_s, ..TableSchema::clone(&*self.existing(table)?) };
                self.tables.insert(table.key(), Some(Arc::new(schema)));
            }
        }
        self.items.push(Item::Event(event.clone()));
        Ok(())
    }

    fn check_drop(&self, schema: &TableSchema, name: &str) -> Result<(), Refusal> {
        let refuse = |kind, cause: String, hint: &str| Err(self.refuse(kind, &schema.name, cause, hint));
        match schema.index_of(name) {
            None => {
                let cause = format!("there is no column {name:?}");
                refuse(RefusalKind::Missing, cause, "name a column of the table")
            }
            Some(index) if schema.may_drop(index) => Ok(()),
            Some(index) if schema.timestamp == Some(index) => {
                let cause = format!("the column {name:?} is its time, and cannot be dropped");
                refuse(
                    RefusalKind::Time,
                    cause,
                    "create another table, and INSERT INTO it SELECT … FROM this one",
                )
            }
            Some(_) => {
                let cause =
                    format!("the column {name:?} is one of its DEDUP UPSERT KEYS, and cannot be dropped");
                refuse(
                    RefusalKind::Unsupported,
                    cause,
                    "set other keys first, or ALTER TABLE … DEDUP DISABLE",
                )
            }
        }
    }

    /// Queues a schema's event unless it exists.
    fn ensure_schema(&mut self, schema: &str) {
        if !self.base.has_schema(schema)
            && !self.schemas.iter().any(|s| s.to_lowercase() == schema.to_lowercase())
        {
            self.schemas.insert(schema.to_owned());
            self.items.push(Item::Event(Event::CreateSchema { schema: schema.to_owned() }));
        }
    }

    fn create(&mut self, schema: TableSchema) -> Result<(), Refusal> {
        check_new_table(&schema, self.index)?;
        let made = self.tables.values().filter(|change| change.is_some()).count();
        if self.base.tables.len() + made >= TABLES_MAX {
            let cause = format!("there are {TABLES_MAX} tables, the most that are allowed");
            return Err(self.refuse(RefusalKind::TooMany, &schema.name, cause, "drop a table first"));
        }
        self.ensure_schema(&schema.name.schema);
        self.items.push(Item::Event(Event::CreateTable { schema: schema.clone() }));
        self.tables.insert(schema.name.key(), Some(Arc::new(schema)));
        Ok(())
    }

    fn add_columns(&mut self, schema: &TableSchema, new: Vec<Column>) -> Result<Arc<TableSchema>, Refusal> {
        let mut wider = schema.clone();
        if !new.is_empty() {
            // Two of one name among them are refused, where the events of a log that has them take the first.
            wider.columns.extend(new.iter().cloned());
            wider.check().map_err(|error| bad_schema(&wider, &error, self.index))?;
            let wider = Arc::new(schema.with_columns(&new));
            let (table, columns) = (schema.name.clone(), new);
            self.items.push(Item::Event(Event::AddColumns { table, columns }));
            self.tables.insert(schema.name.key(), Some(wider.clone()));
            return Ok(wider);
        }
        Ok(Arc::new(wider))
    }

    fn rows(&mut self, batch: &Batch) -> Result<(), Refusal> {
        let fields = batch.rows.schema_ref().fields().clone();
        let mut types = Vec::with_capacity(fields.len());
        for field in &fields {
            types.push(ColumnType::from_arrow(field.data_type()).ok_or_else(|| {
                let cause = format!(
                    "column {:?} has the type {}, which no column can have",
                    field.name(),
                    field.data_type()
                );
                let refusal = self.refuse(RefusalKind::Type, &batch.table, cause, "cast it to another type");
                Refusal { column: Some(field.name().clone()), ..refusal }
            })?);
        }
        let schema = match self.table(&batch.table) {
            Some(schema) => schema,
            None => {
                let columns = fields.iter().zip(&types).map(|(field, &ty)| Column::new(field.name(), ty));
                let mut columns: Vec<Column> = columns.collect();
                if let Some(time) = batch.timestamp.and_then(|index| columns.get_mut(index)) {
                    time.ty = ColumnType::Timestamp;
                }
                let partition_by =
                    if batch.timestamp.is_some() { PartitionBy::Day } else { PartitionBy::None };
                self.create(TableSchema {
                    name: batch.table.clone(),
                    columns,
                    timestamp: batch.timestamp,
                    partition_by,
                    ttl_s: None,
                    dedup_keys: Vec::new(),
                    dropped: 0,
                })?;
                self.existing(&batch.table)?
            }
        };
        // Where each of the batch's columns goes.
        let mut places: Vec<Option<usize>> = Vec::with_capacity(fields.len());
        // Senders mostly keep the table's order: the next column is looked at before all others.
        let (mut new, mut next) = (Vec::new(), 0);
        for (index, field) in fields.iter().enumerate() {
            let is_time = batch.timestamp == Some(index) && schema.timestamp.is_some();
            let is_next = schema.columns.get(next).is_some_and(|column| *column.name == **field.name());
            let place = if is_time {
                schema.timestamp
            } else if is_next {
                Some(next)
            } else {
                schema.index_of(field.name())
            };
            next = place.map_or(next, |place| place + 1);
            if place.is_none() {
                new.push(Column::new(field.name(), types[index]));
            }
            places.push(place);
        }
        if schema.columns.len() + new.len() > COLUMNS_MAX {
            let cause = format!(
                "it would have {} columns, at most {COLUMNS_MAX} are allowed",
                schema.columns.len() + new.len()
            );
            let hint = "put values into rows rather than column names";
            return Err(self.refuse(RefusalKind::TooMany, &schema.name, cause, hint));
        }
        let known = schema.columns.len();
        let schema = if new.is_empty() { schema } else { self.add_columns(&schema, new)? };
        let mut sources: Vec<Option<usize>> = vec![None; schema.columns.len()];
        let mut next_new = known;
        for (index, place) in places.iter().enumerate() {
            let place = place.unwrap_or_else(|| {
                next_new += 1;
                next_new - 1
            });
            if let Some(earlier) = sources[place].replace(index) {
                let (first, second) = (fields[earlier].name(), fields[index].name());
                let column = schema.columns[place].name.to_string();
                let cause = format!(
                    "{first:?} and {second:?} are both the column {column:?}; names match without case"
                );
                let refusal = self.refuse(RefusalKind::Name, &schema.name, cause, "send one of them");
                return Err(Refusal { column: Some(column), ..refusal });
            }
        }
        let conformed = self.columns(&schema, batch, &types, &sources)?;
        self.items.push(Item::Rows(conformed));
        Ok(())
    }

    /// The batch's columns in the table's order, spelling and types.
    fn columns(
        &self,
        schema: &TableSchema,
        batch: &Batch,
        types: &[ColumnType],
        sources: &[Option<usize>],
    ) -> Result<Batch, Refusal> {
        let (mut fields, mut arrays) = (Vec::<Field>::new(), Vec::<ArrayRef>::new());
        let mut timestamp = None;
        for (place, source) in sources.iter().enumerate() {
            let Some(source) = *source else { continue };
            let column = &schema.columns[place];
            let array = coerce(batch.rows.column(source), types[source], column.ty).map_err(|misfit| {
                let cause = format!("column {:?} is {}, got {}", column.name, column.ty, misfit.got);
                let refusal = self.refuse(RefusalKind::Type, &schema.name, cause, &misfit.hint);
                Refusal { column: Some(column.name.to_string()), row: misfit.row, ..refusal }
            })?;
            if schema.timestamp == Some(place) {
                self.check_times(schema, column, &array)?;
                timestamp = Some(arrays.len());
            }
            fields.push(Field::new(&*column.name, column.ty.arrow(), true));
            arrays.push(array);
        }
        if let (Some(column), None) = (schema.timestamp_column(), timestamp) {
            let cause = format!("the time column {:?} is missing", column.name);
            let refusal = self.refuse(RefusalKind::Time, &schema.name, cause, "give each row a time");
            return Err(Refusal { column: Some(column.name.to_string()), row: Some(0), ..refusal });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|e| {
                self.refuse(
                    RefusalKind::Type,
                    &schema.name,
                    format!("the rows make no batch: {e}"),
                    "report this",
                )
            })?;
        Ok(Batch { table: schema.name.clone(), rows, timestamp })
    }

    fn check_times(&self, schema: &TableSchema, column: &Column, array: &ArrayRef) -> Result<(), Refusal> {
        let times = array.as_primitive::<TimestampMicrosecondType>();
        let refuse = |row: usize, cause: String, hint: &str| {
            let refusal = self.refuse(RefusalKind::Time, &schema.name, cause, hint);
            Err(Refusal { column: Some(column.name.to_string()), row: Some(row), ..refusal })
        };
        if times.null_count() > 0 {
            let row = (0..times.len()).find(|&row| times.is_null(row)).unwrap_or(0);
            return refuse(row, format!("the time column {:?} is NULL", column.name), "give each row a time");
        }
        let outside = |&at_us: &i64| !(TIME_MIN_US..=TIME_MAX_US).contains(&at_us);
        if let Some(row) = times.values().iter().position(outside) {
            let value = show(array, row);
            let cause =
                format!("the time {value} in column {:?} is outside the years 1 to 9999", column.name);
            return refuse(
                row,
                cause,
                "check the unit: times are microseconds here, nanoseconds in line protocol",
            );
        }
        Ok(())
    }
}

pub(crate) fn missing_table(name: &TableName, batch: usize) -> Refusal {
    Refusal {
        kind: RefusalKind::Missing,
        table: name.to_string(),
        column: None,
        cause: "the table does not exist".into(),
        hint: "check the name, or create the table".into(),
        batch,
        row: None,
    }
}

/// What a new table must fulfil beyond [`TableSchema::check`].
fn check_new_table(schema: &TableSchema, batch: usize) -> Result<(), Refusal> {
    schema.check().map_err(|error| bad_schema(schema, &error, batch))?;
    let refuse = |kind, cause: &str, hint: &str| {
        let (cause, hint) = (cause.to_owned(), hint.to_owned());
        Err(Refusal { kind, table: schema.name.to_string(), column: None, cause, hint, batch, row: None })
    };
    if schema.timestamp.is_some_and(|t| t >= schema.columns.len()) {
        return refuse(
            RefusalKind::Time,
            "the time column is not among the columns",
            "name one of the columns",
        );
    }
    if schema.timestamp.is_none() && schema.partition_by != PartitionBy::None {
        let cause = format!("PARTITION BY {} needs a time column", schema.partition_by.name());
        return refuse(RefusalKind::Time, &cause, "add TIMESTAMP(column), or use PARTITION BY NONE");
    }
    if let Some(&key) = schema.dedup_keys.iter().find(|&&key| key >= schema.columns.len()) {
        let cause = format!("DEDUP UPSERT KEYS names column {key}, but there are {}", schema.columns.len());
        return refuse(RefusalKind::Unsupported, &cause, "name columns of the table");
    }
    if !schema.dedup_keys.is_empty() && schema.timestamp.is_none_or(|t| !schema.dedup_keys.contains(&t)) {
        return refuse(
            RefusalKind::Time,
            "DEDUP UPSERT KEYS must name the time column",
            "write … ) timestamp(ts) PARTITION BY DAY DEDUP UPSERT KEYS(ts, …)",
        );
    }
    Ok(())
}

fn bad_schema(schema: &TableSchema, error: &SchemaError, batch: usize) -> Refusal {
    let (kind, column, hint) = match error {
        SchemaError::Name(_) => {
            let column =
                schema.columns.iter().map(|column| &*column.name).find(|name| check_name(name).is_err());
            (RefusalKind::Name, column.map(str::to_owned), "rename it")
        }
        SchemaError::Duplicate { second, .. } => {
            (RefusalKind::Name, Some(second.clone()), "rename one of them")
        }
        SchemaError::TooManyColumns { .. } => {
            (RefusalKind::TooMany, None, "put values into rows rather than column names")
        }
        SchemaError::BadTimestamp { column, .. } => {
            (RefusalKind::Time, Some(column.clone()), "name a TIMESTAMP column")
        }
    };
    let (table, cause, hint) = (schema.name.to_string(), error.to_string(), hint.to_owned());
    Refusal { kind, table, column, cause, hint, batch, row: None }
}
