//! Tests of the store, and what they share.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{Field, Schema},
    util::display::array_value_to_string,
};
use nowcast_disk::{Dice, MemDisk};
use nowcast_model::{Batch, Change, ColumnType, Item, ManualClock, Offset, Record, SchemaChange, TableName};

use crate::{Snapshot, Store, StoreError, StoreOptions};

mod admit;
mod alter;
mod damage;
mod faults;
mod inspect;
mod keys;
mod manifest;
mod model;
mod rows;

/// A batch from columns; `@name` is the time.
pub(crate) fn batch(table: &str, columns: Vec<(&str, ArrayRef)>) -> Item {
    let timestamp = columns.iter().position(|(name, _)| name.starts_with('@'));
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(name.trim_start_matches('@'), array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    Item::Rows(Batch { table: TableName::public(table), rows, timestamp })
}

pub(crate) fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(crate) fn doubles(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

pub(crate) fn times(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
}

pub(crate) fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(crate) fn symbols(values: &[Option<&str>]) -> ArrayRef {
    cast(&texts(values), &ColumnType::Symbol.arrow()).unwrap()
}

/// A row as text: the cells that are not NULL by name, so that a column added later changes no row.
pub(crate) fn row_text(table: &TableName, rows: &RecordBatch, row: usize) -> String {
    let schema = rows.schema();
    let cells = schema.fields().iter().zip(rows.columns()).filter(|(_, column)| column.is_valid(row));
    let cells: Vec<String> = cells
        .map(|(field, column)| format!("{}={}", field.name(), array_value_to_string(column, row).unwrap()))
        .collect();
    format!("{table}: {}", cells.join(" "))
}

/// Rows and how often each is there.
pub(crate) type Counts = BTreeMap<String, i64>;

pub(crate) fn add(counts: &mut Counts, row: String, weight: i64) {
    let count = counts.entry(row.clone()).or_default();
    *count += weight;
    if *count == 0 {
        counts.remove(&row);
    }
}

pub(crate) fn contents(snapshot: &Snapshot) -> Counts {
    let mut counts = Counts::new();
    for version in snapshot.tables.values() {
        let mut rows = 0;
        for batch in version.scan() {
            let batch = batch.unwrap();
            assert_eq!(batch.schema_ref().fields(), version.stored.fields());
            for row in 0..batch.num_rows() {
                add(&mut counts, row_text(&version.schema.name, &batch, row), 1);
            }
            rows += batch.num_rows() as u64;
        }
        assert_eq!(rows, version.rows(), "{}", version.schema.name);
    }
    counts
}

pub(crate) fn add_changes(counts: &mut Counts, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Rows(change) => {
                for row in 0..change.rows.num_rows() {
                    let text = row_text(&change.schema.name, &change.rows, row);
                    add(counts, text, change.weights.get(row));
                }
            }
            Change::Schema(SchemaChange { old: Some(old), new: Some(new), .. }) => {
                let is_there = |name: &str| new.columns.iter().any(|column| column.file_name() == name);
                let gone = old.columns.iter().filter(|column| !is_there(column.file_name()));
                let gone: Vec<&str> = gone.map(|column| &*column.name).collect();
                *counts = std::mem::take(counts)
                    .into_iter()
                    .map(|(text, count)| (altered(&text, &old.name, &new.name, &gone), count))
                    .collect();
            }
            Change::Schema(_) => {}
        }
    }
}

/// The text of a row, of the table `old` as the table `new`, without its cells that are gone.
pub(crate) fn altered(text: &str, old: &TableName, new: &TableName, gone: &[&str]) -> String {
    let Some(cells) = text.strip_prefix(&format!("{old}: ")) else { return text.to_owned() };
    let is_gone = |cell: &&str| cell.split_once('=').is_some_and(|(name, _)| gone.contains(&name));
    let cells: Vec<&str> = cells.split(' ').filter(|cell| !is_gone(cell)).collect();
    format!("{new}: {}", cells.join(" "))
}

/// A store with the log that it is fed from.
pub(crate) struct Bench {
    pub(crate) disk: Arc<MemDisk>,
    pub(crate) options: StoreOptions,
    pub(crate) store: Arc<Store>,
    pub(crate) log: Vec<Record>,
    pub(crate) end: Offset,
}

impl Bench {
    pub(crate) fn new(options: StoreOptions) -> Bench {
        let disk = MemDisk::new();
        let (store, from) = open(&disk, options.clone()).unwrap();
        assert_eq!(from, Offset::ZERO);
        Bench { disk, options, store, log: Vec::new(), end: Offset::ZERO }
    }

    /// Admits and logs; `None` if nothing is to be written.
    pub(crate) fn log(&mut self, items: Vec<Item>) -> Option<Record> {
        let items = self.store.registry().admit(items, |items| items).unwrap();
        let record = Record { offset: self.end, at_us: 0, producer: None, items };
        if record.is_empty() {
            return None;
        }
        self.end = record.end();
        self.log.push(record.clone());
        Some(record)
    }

    pub(crate) fn write(&mut self, items: Vec<Item>) -> Vec<Change> {
        self.log(items).map(|record| self.store.apply(&record).unwrap()).unwrap_or_default()
    }

    /// Opens anew and replays. Answers the rows before the replay and its changes.
    pub(crate) fn reopen(&mut self) -> (Counts, Vec<Change>) {
        let (store, from) = open(&self.disk, self.options.clone()).unwrap();
        self.store = store;
        let before = contents(&self.store.snapshot());
        let mut changes = Vec::new();
        for record in self.log.iter().filter(|record| record.end() > from) {
            changes.extend(self.store.apply(record).unwrap());
        }
        (before, changes)
    }

    /// Flushes, forgets the log that is not needed any more, and merges what is to be merged.
    pub(crate) fn flush(&mut self, all: bool) {
        if let Ok(needed) = self.store.flush(all) {
            self.log.retain(|record| record.end() > needed);
            while self.store.compact(&mut || ControlFlow::Continue(())).unwrap_or(false) {}
        }
    }

    /// The power goes, and comes back. As for [`Bench::reopen`].
    pub(crate) fn power_loss(&mut self, dice: &mut Dice) -> (Counts, Vec<Change>) {
        self.disk = self.disk.crash(dice);
        self.reopen()
    }

    /// The files in the directory of parts.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let files = self.disk.files().into_iter().map(|(path, _)| path);
        files.filter(|path| path.starts_with("/store/parts")).collect()
    }
}

/// Opens the store on `disk`.
pub(crate) fn open(disk: &Arc<MemDisk>, options: StoreOptions) -> Result<(Arc<Store>, Offset), StoreError> {
    Store::open(Path::new("/store"), options, disk.clone(), Arc::new(ManualClock::default()))
}
