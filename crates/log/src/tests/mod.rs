//! Tests of the log as others see it.
#![allow(clippy::unwrap_used)]

mod exhaustive;
mod golden;
mod model;
mod recovery;
mod running;

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use nowcast_disk::Disk;
use nowcast_model::{Batch, Event, Item, ManualClock, Offset, Record, TableName};

use crate::{
    Committed, Durability, Inspection, Log, LogError, LogHandle, LogOptions, RecordReader, Recovery, Tail,
    codec::Encoder,
};

/// As long as a test waits for something that must come.
const LONG: Duration = Duration::from_secs(30);
const NOW_US: i64 = 1_700_000_000_000_000;

fn options() -> LogOptions {
    LogOptions { segment_bytes_max: 4_096, ring_bytes_max: 1 << 20, ..LogOptions::new("/log") }
}

fn relaxed() -> LogOptions {
    LogOptions { durability: Durability::Relaxed, ..options() }
}

/// Opens a log. Whoever only looks, before, finds the same, and the same records.
fn open(options: LogOptions, disk: &Arc<impl Disk>) -> Result<(Log, Recovery), LogError> {
    let looked = Inspection::of(disk.clone(), &options.dir);
    let opened = Log::open(options, disk.clone(), Arc::new(ManualClock::new(NOW_US)));
    match (looked, &opened) {
        (Err(looked), Err(opened)) => assert_eq!(looked, *opened),
        (Ok(looked), Ok((log, recovery))) => {
            let mut found = recovery.clone();
            found.damages.iter_mut().for_each(|damage| damage.quarantine = None);
            assert_eq!(looked.found, found);
            let all = |reader: RecordReader| -> Vec<Vec<u8>> {
                reader.map(|record| print(&record.unwrap())).collect()
            };
            let first = looked.found.first;
            assert_eq!(all(looked.read_from(first).unwrap()), all(log.read_from(first).unwrap()));
        }
        (looked, _) => panic!("only one of them fails: {:?}, {:?}", looked.err(), opened.err()),
    }
    opened
}

fn start(options: LogOptions, disk: &Arc<impl Disk>) -> (LogHandle, Tail, Recovery) {
    let (log, recovery) = open(options, disk).unwrap();
    let end = log.end();
    let (handle, tail) = log.start(end).unwrap();
    (handle, tail, recovery)
}

/// `rows` rows that tell `seed`.
fn rows(seed: u64, rows: usize) -> Item {
    let numbers: Int64Array =
        (0..rows as i64).map(|row| (row % 5 != 3).then_some(seed as i64 * 1_000 + row)).collect();
    let texts: StringArray = (0..rows).map(|row| Some("t".repeat((seed as usize + row) % 40))).collect();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(numbers) as _, true),
        ("t", Arc::new(texts) as _, true),
    ]);
    Item::Rows(Batch { table: TableName::public("t"), rows: batch.unwrap(), timestamp: None })
}

fn event() -> Item {
    Item::Event(Event::CreateSchema { schema: "s".to_owned() })
}

/// Queues a record; the receiver gets the answer.
fn queue(handle: &LogHandle, items: Vec<Item>) -> mpsc::Receiver<Result<Committed, LogError>> {
    let (sender, receiver) = mpsc::channel();
    let bytes = items.iter().map(|item| if let Item::Rows(batch) = item { batch.bytes() } else { 100 }).sum();
    handle.append(items, None, bytes, Box::new(move |result| drop(sender.send(result))));
    receiver
}

fn append(handle: &LogHandle, items: Vec<Item>) -> Result<Committed, LogError> {
    queue(handle, items).recv_timeout(LONG).unwrap()
}

/// What a record holds, but for its time.
fn print(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    let record = Record { at_us: 0, ..record.clone() };
    Encoder::default().record(&record, &mut out).unwrap();
    out
}

fn print_items(offset: Offset, items: &[Item]) -> Vec<u8> {
    print(&Record { offset, at_us: 0, producer: None, items: items.to_vec() })
}

fn read_all(handle: &LogHandle, from: Offset) -> Vec<Record> {
    handle.read_from(from).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Reads `tail` until it gave all before `end`.
fn drain(tail: &mut Tail, end: Offset) -> Vec<Arc<Record>> {
    let mut all: Vec<Arc<Record>> = Vec::new();
    while all.last().is_none_or(|record| record.end() < end) {
        let records = tail.next(LONG).unwrap().unwrap();
        assert!(!records.is_empty(), "nothing came");
        all.extend(records);
    }
    all
}
