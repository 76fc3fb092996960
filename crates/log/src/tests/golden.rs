//! The format stays: a log written by the first version is read by every later one.

use std::path::Path;

use arrow::array::RecordBatch;
use nowcast_disk::MemDisk;
use nowcast_model::{Batch, Column, ColumnType, Event, Item, Offset, Producer, TableName};

use super::{open, options, print_items};
use crate::{
    Log,
    codec::{Encoder, tests::array_of},
    frame::{FRAME_HEADER_BYTES, FrameHeader},
    segment::{SegmentHeader, file_name},
};

const FILE: &str = "../../testdata/log-formats/v1/00000000000000000005.log";
const LOG_ID: u64 = 0x0123_4567_89ab_cdef;

/// What is in the file, by record.
fn items() -> Vec<Vec<Item>> {
    let values: Vec<Option<i64>> = (0..11).map(|v| (v % 4 != 1).then_some(v * 1_001 - 3)).collect();
    let all = ColumnType::ALL.map(|ty| (ty.name(), array_of(ty, &values), true));
    let whole = [("timestamp", array_of(ColumnType::Timestamp, &[Some(1), Some(2)]), true)];
    let rows = |batch, timestamp| {
        Item::Rows(Batch { table: TableName::new("ecommerce", "order_items"), rows: batch, timestamp })
    };
    vec![
        vec![
            Item::Event(Event::CreateSchema { schema: "ecommerce".to_owned() }),
            rows(RecordBatch::try_from_iter_with_nullable(all).unwrap(), None),
        ],
        vec![rows(RecordBatch::try_from_iter_with_nullable(whole).unwrap(), Some(0))],
        vec![Item::Event(Event::AddColumns {
            table: TableName::public("t"),
            columns: vec![Column::new("ü", ColumnType::Symbol)],
        })],
    ]
}

/// A segment of two frames: the first record with a producer, then the other two, then the closing mark.
fn file() -> Vec<u8> {
    let first = Offset::new(5);
    let header =
        SegmentHeader { first, previous_end: Offset::new(4), log_id: LOG_ID, at_us: 1_700_000_000_000_000 };
    let mut bytes = header.encode().to_vec();
    let mut records = items().into_iter().map(|items| nowcast_model::Record {
        offset: Offset::ZERO,
        at_us: 1_700_000_000_000_001,
        producer: None,
        items,
    });
    let mut offset = first;
    for group in [1, 2, 0] {
        let (mut body, start) = (Vec::new(), offset);
        for mut record in records.by_ref().take(group) {
            record.offset = offset;
            record.producer = (offset == first).then_some(Producer { id: 7, sequence: 8 });
            offset = record.end();
            Encoder::default().record(&record, &mut body).unwrap();
        }
        let header = FrameHeader {
            body_bytes: body.len() as u32,
            records: group as u32,
            first: start,
            end: offset,
            synced_to: start,
            at_us: 1_700_000_000_000_001,
            log_id: LOG_ID,
            body_crc: crc32c::crc32c(&body),
        };
        bytes.extend(header.encode());
        bytes.extend(body);
    }
    bytes
}

#[test]
fn version_1_is_read() {
    let bytes = std::fs::read(FILE).unwrap();
    let disk = MemDisk::new();
    disk.put(&Path::new("/log").join(file_name(Offset::new(5))), bytes.clone());
    let (log, recovery): (Log, _) = open(options(), &disk).unwrap();
    assert_eq!((recovery.first.get(), recovery.end.get()), (5, 20));
    assert_eq!((recovery.cut, recovery.damages), (None, vec![]));
    let records: Vec<_> = log.read_from(Offset::new(5)).unwrap().collect::<Result<_, _>>().unwrap();
    let items = items();
    assert_eq!(records.len(), items.len());
    for (record, items) in records.iter().zip(&items) {
        assert_eq!(print_items(record.offset, &record.items), print_items(record.offset, items));
        assert_eq!(record.at_us, 1_700_000_000_000_001);
    }
    assert_eq!(records[0].producer, Some(Producer { id: 7, sequence: 8 }));
    assert_eq!(records.iter().map(|r| r.offset.get()).collect::<Vec<_>>(), [5, 17, 19]);
    // As long as version 1 is the one that is written, it is written so.
    assert_eq!(file(), bytes);
    assert_eq!(FRAME_HEADER_BYTES, 64);
}
