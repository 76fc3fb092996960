//! Random histories against a list of rows: the snapshot, the sum of all changes and the model agree at
//! every step, over flushes with records in their middle, failures, and restarts.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex, Weak},
};

use arrow::{array::AsArray, datatypes::TimestampMicrosecondType};
use nowcast_disk::Fault;
use nowcast_model::{Change, Column, ColumnType, Event, Item, Record, TableName};
use proptest::prelude::*;

use super::*;
use crate::{partition_start_us, upsert::seqs};

const DAY_US: i64 = 86_400_000_000;

#[derive(Debug, Clone)]
enum Op {
    /// Rows of a table: time in quarter days, symbol, and which of the later columns have a value.
    Write(u8, Vec<(i8, u8, u8)>),
    Truncate(u8),
    Drop(u8),
    DropPartitions(u8, i8),
    /// From one quarter day until another.
    DropRange(u8, i8, u8),
    /// Those of a table's rows whose place, by `_seq`, has its bit set.
    Delete(u8, u16),
    /// Keys of time and color, or none.
    Keys(u8, bool),
    /// One of the later columns.
    DropColumn(u8, u8),
    /// One of the later columns, as LONG or DOUBLE.
    AddColumn(u8, u8, bool),
    Rename(u8, u8),
    Flush(bool),
    /// A flush in whose `usize`th point the operations happen.
    FlushAround(usize, Vec<Op>),
    /// A flush, and a merge before whose `usize`th batch, and commit, the operations and another flush happen. It is
    /// given up there, or goes on.
    MergeAround(usize, bool, Vec<Op>),
    /// A flush that fails at its `usize`th point; the process dies there or goes on.
    FailFlush(usize, bool),
    /// A flush in which an operation of the disk fails; the power goes with it, or the store goes on.
    BreakFlush(u8, Fault),
    /// A loss of power and a start.
    PowerLoss,
    Reopen,
}

fn write() -> impl Strategy<Value = Op> {
    let rows = proptest::collection::vec((-12i8..12, 0u8..5, 0u8..8), 1..6);
    (0u8..3, rows).prop_map(|(table, rows)| Op::Write(table, rows))
}

/// A table with a time column.
fn timed() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![0, 1, 3])
}

fn event() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0u8..4).prop_map(Op::Truncate),
        2 => (0u8..4).prop_map(Op::Drop),
        3 => (0u8..3, -12i8..12).prop_map(|(t, at)| Op::DropPartitions(t, at)),
        2 => (0u8..2, -12i8..12, 0u8..6).prop_map(|(t, at, len)| Op::DropRange(t, at, len)),
        3 => (0u8..3, any::<u16>()).prop_map(|(t, bits)| Op::Delete(t, bits)),
        4 => (0u8..2, prop_oneof![4 => Just(true), 1 => Just(false)]).prop_map(|(t, on)| Op::Keys(t, on)),
        4 => (0u8..4, 0u8..3).prop_map(|(t, column)| Op::DropColumn(t, column)),
        2 => (0u8..4, 0u8..3, any::<bool>()).prop_map(|(t, column, long)| Op::AddColumn(t, column, long)),
        4 => (timed(), timed()).prop_map(|(from, to)| Op::Rename(from, to)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let fault = prop_oneof![Just(Fault::Broken), Just(Fault::Full), Just(Fault::PowerLoss)];
    let inner = proptest::collection::vec(prop_oneof![3 => write(), 1 => event()], 1..4);
    prop_oneof![
        12 => write(),
        3 => event(),
        3 => any::<bool>().prop_map(Op::Flush),
        2 => (0usize..8, inner.clone()).prop_map(|(point, ops)| Op::FlushAround(point, ops)),
        3 => (0usize..6, prop_oneof![1 => Just(true), 3 => Just(false)], inner)
            .prop_map(|(batch, gives_up, ops)| Op::MergeAround(batch, gives_up, ops)),
        1 => (0usize..8, any::<bool>()).prop_map(|(point, dies)| Op::FailFlush(point, dies)),
        3 => (1u8..40, fault).prop_map(|(at, fault)| Op::BreakFlush(at, fault)),
        1 => Just(Op::Reopen),
        1 => Just(Op::PowerLoss),
    ]
}

/// The columns of which only some rows have a value.
const LATER: [&str; 3] = ["x", "y", "z"];

fn name(table: u8) -> TableName {
    TableName::public(["a", "b", "c", "d"][usize::from(table)])
}

/// The items of an operation; table 2 has no time column, and table 3 is what one of the others is renamed to.
fn items(op: &Op, bench: &Bench) -> Vec<Item> {
    let event = |table: u8, event: Event| {
        let exists = bench.store.registry().table(&name(table)).is_some();
        if exists { vec![Item::Event(event)] } else { vec![] }
    };
    match op {
        Op::Write(table, rows) => {
            let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
            let names = ["red", "green", "blue", "black", "white"];
            let symbol: Vec<Option<&str>> = rows.iter().map(|r| Some(names[usize::from(r.1)])).collect();
            columns.push(("color", symbols(&symbol)));
            for (bit, extra) in LATER.into_iter().enumerate() {
                let values: Vec<Option<f64>> =
                    rows.iter().map(|r| (r.2 >> bit & 1 == 1).then(|| f64::from(r.0))).collect();
                if values.iter().any(Option::is_some) {
                    columns.push((extra, doubles(&values)));
                }
            }
            if *table < 2 {
                let at: Vec<i64> = rows.iter().map(|r| i64::from(r.0) * DAY_US / 4).collect();
                columns.push(("@timestamp", times(&at)));
            }
            vec![batch(&name(*table).table, columns)]
        }
        Op::Truncate(table) => event(*table, Event::Truncate { table: name(*table) }),
        Op::Drop(table) => event(*table, Event::DropTable { table: name(*table) }),
        Op::DropPartitions(table, at) => {
            let before_us = i64::from(*at) * DAY_US / 4;
            event(*table, Event::DropPartitions { table: name(*table), before_us })
        }
        Op::DropRange(table, at, len) => {
            let from_us = i64::from(*at) * DAY_US / 4;
            let until_us = from_us + i64::from(*len) * DAY_US / 4;
            event(*table, Event::DropRange { table: name(*table), from_us, until_us })
        }
        Op::Delete(table, bits) => {
            let snapshot = bench.store.snapshot();
            let Some(version) = snapshot.table(&name(*table)) else { return vec![] };
            let mut rows: Vec<(u64, Option<i64>)> = Vec::new();
            for batch in version.scan().map(Result::unwrap) {
                let at = |row| {
                    let column = version.schema.timestamp?;
                    Some(batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row))
                };
                rows.extend(seqs(&batch).iter().enumerate().map(|(row, &seq)| (seq, at(row))));
            }
            rows.sort_unstable();
            let picked: Vec<(u64, Option<i64>)> =
                (0..16).filter(|bit| bits >> bit & 1 == 1).filter_map(|bit| rows.get(bit).copied()).collect();
            let mut seqs: Vec<(u64, u64)> = Vec::new();
            for &(seq, _) in &picked {
                match seqs.last_mut() {
                    Some((_, end)) if *end == seq => *end += 1,
                    _ => seqs.push((seq, seq + 1)),
                }
            }
            let times = picked.iter().filter_map(|&(_, at)| at);
            let times_us = times.clone().min().zip(times.max().map(|at| at + 1));
            event(*table, Event::DeleteRows { table: name(*table), seqs, times_us })
        }
        Op::Keys(table, on) => {
            let keys = if *on { vec!["timestamp".into(), "color".into()] } else { vec![] };
            event(*table, Event::SetDedupKeys { table: name(*table), keys })
        }
        Op::DropColumn(table, column) => {
            let column = LATER[usize::from(*column)];
            let schema = bench.store.registry().table(&name(*table));
            let is_there = schema.is_some_and(|s| s.index_of(column).is_some() && s.columns.len() > 1);
            let columns = vec![column.into()];
            if is_there { event(*table, Event::DropColumns { table: name(*table), columns }) } else { vec![] }
        }
        Op::AddColumn(table, column, long) => {
            let ty = if *long { ColumnType::Long } else { ColumnType::Double };
            let columns = vec![Column::new(LATER[usize::from(*column)], ty)];
            event(*table, Event::AddColumns { table: name(*table), columns })
        }
        Op::Rename(from, to) => {
            let is_free = from == to || bench.store.registry().table(&name(*to)).is_none();
            let renamed = Event::RenameTable { table: name(*from), to: name(*to) };
            if is_free { event(*from, renamed) } else { vec![] }
        }
        _ => vec![],
    }
}

/// What the tables should hold.
#[derive(Default)]
struct Model {
    rows: Vec<Row>,
    /// The tables that have keys.
    keyed: Vec<TableName>,
}

#[derive(Clone)]
struct Row {
    table: TableName,
    at: Option<i64>,
    color: String,
    /// All cells but `_seq`.
    cells: String,
    seq: u64,
}

impl Row {
    fn has_key_of(&self, other: &Row) -> bool {
        (&self.table, self.at, &self.color) == (&other.table, other.at, &other.color)
    }
}

impl Model {
    fn apply(&mut self, record: &Record) {
        for item in &record.items {
            match item {
                Item::Event(Event::Truncate { table } | Event::DropTable { table }) => {
                    self.rows.retain(|row| row.table != *table);
                    if matches!(item, Item::Event(Event::DropTable { .. })) {
                        self.keyed.retain(|keyed| keyed != table);
                    }
                }
                Item::Event(Event::DeleteRows { table, seqs, .. }) => {
                    let is_gone =
                        |row: &Row| seqs.iter().any(|&(first, end)| (first..end).contains(&row.seq));
                    self.rows.retain(|row| row.table != *table || !is_gone(row));
                }
                Item::Event(Event::DropRange { table, from_us, until_us }) => {
                    let gone = |row: &Row| row.at.is_some_and(|at| (*from_us..*until_us).contains(&at));
                    self.rows.retain(|row| row.table != *table || !gone(row));
                }
                Item::Event(Event::SetDedupKeys { table, keys }) => {
                    self.keyed.retain(|keyed| keyed != table);
                    self.keyed.extend((!keys.is_empty()).then(|| table.clone()));
                }
                Item::Event(Event::DropColumns { table, columns }) => {
                    let gone: Vec<&str> = columns.iter().map(|column| &**column).collect();
                    for row in self.rows.iter_mut().filter(|row| row.table == *table) {
                        row.cells = altered(&row.cells, table, table, &gone);
                    }
                }
                Item::Event(Event::RenameTable { table, to }) => {
                    for row in self.rows.iter_mut().filter(|row| row.table == *table) {
                        row.cells = altered(&row.cells, table, to, &[]);
                        row.table = to.clone();
                    }
                    self.keyed
                        .iter_mut()
                        .filter(|keyed| *keyed == table)
                        .for_each(|keyed| *keyed = to.clone());
                }
                Item::Event(Event::DropPartitions { table, before_us }) => {
                    let cutoff = partition_start_us(nowcast_model::PartitionBy::Day, *before_us).unwrap();
                    self.rows.retain(|row| row.table != *table || row.at.is_none_or(|at| at >= cutoff));
                }
                _ => {}
            }
        }
        let mut seq = record.offset.get();
        for item in &record.items {
            let Item::Rows(batch) = item else {
                seq += 1;
                continue;
            };
            let mut new = Vec::new();
            for row in 0..batch.rows.num_rows() {
                let at = batch.timestamp.map(|t| {
                    let times = batch.rows.column(t).as_any().downcast_ref::<TimestampMicrosecondArray>();
                    times.unwrap().value(row)
                });
                let cells = row_text(&batch.table, &batch.rows, row);
                let color = cells.split("color=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
                new.push(Row { table: batch.table.clone(), at, color, cells: sort_cells(&cells), seq });
                seq += 1;
            }
            if self.keyed.contains(&batch.table) {
                for (index, row) in new.iter().enumerate() {
                    if !new[index + 1..].iter().any(|later| later.has_key_of(row)) {
                        self.upsert(row);
                    }
                }
            } else {
                self.rows.extend(new);
            }
        }
    }

    /// Of what the row would replace, what equals it stays in its place.
    fn upsert(&mut self, row: &Row) {
        let is_there = self.rows.iter().any(|old| old.has_key_of(row) && old.cells == row.cells);
        self.rows.retain(|old| !old.has_key_of(row) || old.cells == row.cells);
        if !is_there {
            self.rows.push(row.clone());
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for row in &self.rows {
            add(&mut counts, sort_cells(&format!("{} _seq={}", row.cells, row.seq)), 1);
        }
        counts
    }
}

/// The cells in the order of their names: a table's columns stand in the order in which they appeared.
fn sort_cells(text: &str) -> String {
    let mut cells: Vec<&str> = text.split(' ').collect();
    cells[1..].sort_unstable();
    cells.join(" ")
}

fn sorted(counts: Counts) -> Counts {
    counts.into_iter().map(|(text, count)| (sort_cells(&text), count)).collect()
}

/// Records with their changes.
type Applied = Vec<(Record, Vec<Change>)>;

/// Records that are applied in the middle of something.
#[derive(Clone)]
struct Later {
    store: Weak<Store>,
    records: Vec<Record>,
    applied: Arc<Mutex<Applied>>,
}

impl Later {
    /// Applies the next records, at most `count`.
    fn apply(&self, count: usize) {
        let store = self.store.upgrade().unwrap();
        let mut applied = self.applied.lock().unwrap();
        for record in self.records.iter().skip(applied.len()).take(count).cloned().collect::<Vec<_>>() {
            let changes = store.apply(&record).unwrap();
            applied.push((record, changes));
            contents(&store.snapshot());
        }
    }
}

struct World {
    bench: Bench,
    model: Model,
    sum: Counts,
    dice: Dice,
}

impl World {
    fn step(&mut self, op: &Op) {
        match op {
            Op::Flush(all) => self.bench.flush(*all),
            Op::FlushAround(point, ops) => self.flush_around(*point, ops),
            Op::MergeAround(batch, gives_up, ops) => self.merge_around(*batch, *gives_up, ops),
            Op::FailFlush(point, dies) => {
                let mut left = *point;
                self.hook(move |_| {
                    left = left.wrapping_sub(1);
                    left == usize::MAX
                });
                self.bench.flush(true);
                *self.bench.store.hook.lock().unwrap() = None;
                if *dies {
                    self.reopen();
                }
            }
            Op::BreakFlush(at, fault) => {
                self.bench.disk.fail_at(Some(((*at).into(), *fault)));
                self.bench.flush(true);
                self.bench.disk.fail_at(None);
                if self.bench.disk.is_off() {
                    self.power_loss();
                }
            }
            Op::Reopen => self.reopen(),
            Op::PowerLoss => self.power_loss(),
            op => {
                let items = items(op, &self.bench);
                if let Some(record) = self.bench.log(items) {
                    self.apply(&record);
                }
            }
        }
        self.check();
    }

    fn apply(&mut self, record: &Record) {
        let changes = self.bench.store.apply(record).unwrap();
        add_changes(&mut self.sum, &changes);
        self.model.apply(record);
    }

    fn hook(&self, hook: impl FnMut(&'static str) -> bool + Send + 'static) {
        *self.bench.store.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// The records of operations that are to happen later, and what comes of them then.
    fn later(&mut self, ops: &[Op]) -> Later {
        let records = ops.iter().filter_map(|op| {
            let items = items(op, &self.bench);
            self.bench.log(items)
        });
        let records = records.collect();
        Later { store: Arc::downgrade(&self.bench.store), records, applied: Arc::default() }
    }

    /// What happened of `later` came in its order; the rest comes now.
    fn catch_up(&mut self, later: &Later) {
        let applied = std::mem::take(&mut *later.applied.lock().unwrap());
        for (record, changes) in &applied {
            add_changes(&mut self.sum, changes);
            self.model.apply(record);
        }
        for record in later.records.iter().skip(applied.len()) {
            self.apply(record);
        }
    }

    fn flush_around(&mut self, point: usize, ops: &[Op]) {
        let later = self.later(ops);
        let (mut left, inner) = (point, later.clone());
        self.hook(move |_| {
            left = left.wrapping_sub(1);
            if left == usize::MAX {
                inner.apply(usize::MAX);
            }
            false
        });
        self.bench.flush(true);
        *self.bench.store.hook.lock().unwrap() = None;
        self.catch_up(&later);
    }

    fn merge_around(&mut self, batch: usize, gives_up: bool, ops: &[Op]) {
        let needed = self.bench.store.flush(true).unwrap();
        self.bench.log.retain(|record| record.end() > needed);
        let later = self.later(ops);
        let (store, inner) = (self.bench.store.clone(), later.clone());
        self.hook(move |point| {
            if point == "parts merged" {
                inner.apply(usize::MAX);
                store.flush(true).unwrap();
            }
            false
        });
        let (store, mut left) = (self.bench.store.clone(), batch);
        let merged = store.compact(&mut || {
            left = left.wrapping_sub(1);
            if left != usize::MAX {
                return ControlFlow::Continue(());
            }
            later.apply(ops.len() / 2);
            store.flush(true).unwrap();
            if gives_up { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        *store.hook.lock().unwrap() = None;
        merged.unwrap();
        self.catch_up(&later);
    }

    fn reopen(&mut self) {
        let (before, changes) = self.bench.reopen();
        self.sum = before;
        add_changes(&mut self.sum, &changes);
    }

    fn power_loss(&mut self) {
        let (before, changes) = self.bench.power_loss(&mut self.dice);
        self.sum = before;
        add_changes(&mut self.sum, &changes);
    }

    fn check(&self) {
        let snapshot = self.bench.store.snapshot();
        let held = contents(&snapshot);
        assert_eq!(held, self.sum, "snapshot and sum of changes");
        assert_eq!(sorted(held), self.model.counts(), "snapshot and model");
        assert_eq!(snapshot.position, self.bench.end);
        let admitted = self.bench.store.registry().tables();
        let applied: Vec<_> = snapshot.tables.values().map(|version| version.schema.clone()).collect();
        assert_eq!(admitted, applied, "registry and snapshot");
    }
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn histories_agree_with_a_list_of_rows(seed: u64, ops in proptest::collection::vec(op(), 1..40)) {
        let options = StoreOptions { small_parts_max: 2, own_part_rows_min: 4, ..StoreOptions::default() };
        let bench = Bench::new(options);
        let mut world = World { bench, model: Model::default(), sum: Counts::new(), dice: Dice(seed) };
        for op in &ops {
            world.step(op);
        }
        // In the end nothing lies on disk that nobody names. What a broken disk did not remove goes with a start.
        if world.bench.disk.has_failed() {
            world.step(&Op::Reopen);
        }
        world.step(&Op::Flush(true));
        world.step(&Op::Flush(true));
        let snapshot = world.bench.store.snapshot();
        let parts: usize = snapshot.tables.values().map(|version| version.parts.len()).sum();
        let masked = snapshot.tables.values().flat_map(|version| &version.parts);
        let masked = masked.filter(|part| !part.dead.is_empty()).count();
        prop_assert_eq!(world.bench.files().len(), parts + masked);
    }
}

/// The table is called the same after the first rename; replay over a later manifest must not take it for the second.
#[test]
fn a_table_that_got_its_own_name_keeps_the_next_one() {
    let options = StoreOptions { small_parts_max: 2, own_part_rows_min: 4, ..StoreOptions::default() };
    let bench = Bench::new(options);
    let mut world = World { bench, model: Model::default(), sum: Counts::new(), dice: Dice(0) };
    let write = |table: u8, rows: &[(i8, u8, u8)]| Op::Write(table, rows.to_vec());
    let ops = [
        write(0, &[(0, 0, 0)]),
        write(1, &[(0, 0, 0), (4, 0, 0)]),
        Op::Flush(false),
        write(1, &[(-1, 0, 0), (0, 0, 0)]),
        Op::BreakFlush(1, Fault::Broken),
        Op::FlushAround(0, vec![write(2, &[(0, 0, 0)]), Op::Rename(0, 0)]),
        write(1, &[(0, 0, 0), (-1, 0, 0)]),
        Op::FlushAround(0, vec![Op::Rename(0, 3)]),
        Op::Reopen,
    ];
    for op in &ops {
        world.step(op);
    }
}
