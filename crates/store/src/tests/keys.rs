//! Upserts, dead rows, and how parts are merged and split, by example.

use nowcast_model::{Column, Event, PartitionBy, TableSchema, Weights};

use super::*;
use crate::Written;

const DAY_US: i64 = 86_400_000_000;

/// A table of time, symbol and value, keyed by the first two.
fn keyed(options: StoreOptions) -> Bench {
    let mut bench = Bench::new(options);
    let schema = TableSchema {
        name: TableName::public("t"),
        columns: vec![
            Column::new("ts", ColumnType::Timestamp),
            Column::new("k", ColumnType::Symbol),
            Column::new("v", ColumnType::Long),
        ],
        timestamp: Some(0),
        partition_by: PartitionBy::Day,
        ttl_s: None,
        dedup_keys: vec![0, 1],
        dropped: 0,
    };
    bench.write(vec![Item::Event(Event::CreateTable { schema })]);
    bench
}

fn rows(values: &[(i64, &str, i64)]) -> Vec<Item> {
    let at: Vec<i64> = values.iter().map(|v| v.0).collect();
    let keys: Vec<Option<&str>> = values.iter().map(|v| Some(v.1)).collect();
    let longs_of: Vec<i64> = values.iter().map(|v| v.2).collect();
    vec![batch("t", vec![("@ts", times(&at)), ("k", symbols(&keys)), ("v", longs(&longs_of))])]
}

/// The change's rows as text, with their weights.
fn told(changes: &[Change]) -> Vec<String> {
    let mut told = Vec::new();
    for change in changes {
        let Change::Rows(change) = change else { continue };
        for row in 0..change.rows.num_rows() {
            let text = row_text(&change.schema.name, &change.rows, row);
            let (time, rest) = text.split_once(" k=").unwrap();
            let _ = time;
            told.push(format!("{:+} k={rest}", change.weights.get(row)));
        }
    }
    told
}

#[test]
fn the_last_write_wins_in_a_batch_hot_and_in_parts() {
    let mut bench = keyed(StoreOptions::default());
    let one_batch = bench.write(rows(&[(1, "a", 1), (1, "b", 2), (1, "a", 3)]));
    assert_eq!(told(&one_batch), ["+1 k=b v=2 _seq=2", "+1 k=a v=3 _seq=3"]);
    let hot = bench.write(rows(&[(1, "a", 4), (2, "a", 5)]));
    assert_eq!(told(&hot), ["-1 k=a v=3 _seq=3", "+1 k=a v=4 _seq=4", "+1 k=a v=5 _seq=5"]);
    bench.flush(true);
    let cold = bench.write(rows(&[(1, "a", 6), (3, "a", 7)]));
    assert_eq!(told(&cold), ["-1 k=a v=4 _seq=4", "+1 k=a v=6 _seq=6", "+1 k=a v=7 _seq=7"]);
    let snapshot = bench.store.snapshot();
    let version = snapshot.table(&TableName::public("t")).unwrap();
    assert_eq!((version.parts[0].rows, version.parts[0].dead.len(), version.rows()), (2, 1, 4));
    let before = contents(&snapshot);
    bench.flush(true);
    let (reopened, replayed) = bench.reopen();
    assert_eq!((reopened, replayed.len()), (before, 0));
    assert!(bench.files().iter().any(|file| file.ends_with("00000001.1.dead")), "{:?}", bench.files());
}

#[test]
fn a_repeated_write_changes_nothing() {
    let mut bench = keyed(StoreOptions::default());
    let write = rows(&[(1, "a", 1), (1, "b", 2)]);
    bench.write(write.clone());
    assert!(bench.write(write.clone()).is_empty());
    bench.flush(true);
    assert!(bench.write(write).is_empty());
    let snapshot = bench.store.snapshot();
    let version = snapshot.table(&TableName::public("t")).unwrap();
    assert!(version.hot.is_empty() && version.parts[0].dead.is_empty());
}

#[test]
fn inserts_alone_are_told_as_such() {
    let mut bench = keyed(StoreOptions::default());
    let changes = bench.write(rows(&[(1, "a", 1), (2, "a", 2)]));
    let Change::Rows(change) = &changes[0] else { panic!("{changes:?}") };
    assert_eq!(change.weights, Weights::Inserted);
}

#[test]
fn a_part_that_is_a_tenth_dead_is_written_again() {
    let mut bench = keyed(StoreOptions::default());
    let all: Vec<(i64, &str, i64)> = (0..10_000).map(|i| (i, "a", i)).collect();
    bench.write(rows(&all));
    bench.flush(true);
    bench.write(rows(&all.iter().take(1_000).map(|&(at, key, _)| (at, key, -1)).collect::<Vec<_>>()));
    bench.flush(true);
    let snapshot = bench.store.snapshot();
    let version = snapshot.table(&TableName::public("t")).unwrap();
    let sizes: Vec<(u64, u64)> = version.parts.iter().map(|part| (part.rows, part.dead.len())).collect();
    assert_eq!(sizes, [(1_000, 0), (9_000, 0)]);
    assert_eq!(bench.files().len(), 2);
    let written = bench.store.written();
    let Written { flushed_bytes, merged_bytes } = written[&TableName::public("t")];
    assert!(flushed_bytes > 0 && merged_bytes > 0);
}

#[test]
fn merging_gives_large_partitions_parts_of_their_own() {
    let options = StoreOptions { small_parts_max: 3, own_part_rows_min: 10, ..StoreOptions::default() };
    let mut bench = keyed(options);
    // Each flush has a row on each of thirty days, and many on the last.
    for flush in 0..4_i64 {
        let mut values: Vec<(i64, &str, i64)> = (0..30).map(|day| (day * DAY_US + flush, "a", day)).collect();
        values.extend((0..20).map(|i| (29 * DAY_US + 1_000 + flush * 20 + i, "a", i)));
        bench.write(rows(&values));
        bench.flush(true);
    }
    let snapshot = bench.store.snapshot();
    let version = snapshot.table(&TableName::public("t")).unwrap();
    let mut parts: Vec<(u64, i64)> =
        version.parts.iter().map(|part| (part.rows, part.min_us.unwrap() / DAY_US)).collect();
    parts.sort_unstable();
    assert_eq!(parts, [(4 * 20 + 4, 29), (4 * 29, 0)]);
    for part in &version.parts {
        let at: Vec<i64> = part
            .read(&version.schema, &[0])
            .unwrap()
            .flat_map(|rows| {
                let rows = rows.unwrap();
                let at = rows.column(0).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap();
                at.values().to_vec()
            })
            .collect();
        assert!(at.is_sorted());
    }
}

#[test]
fn a_stretch_of_time_goes_from_hot_rows_and_parts() {
    let mut bench = keyed(StoreOptions::default());
    bench.write(rows(&[(1, "a", 1), (10, "a", 2), (20, "a", 3)]));
    bench.flush(true);
    bench.write(rows(&[(11, "a", 4), (21, "a", 5)]));
    let table = TableName::public("t");
    let changes = bench.write(vec![Item::Event(Event::DropRange { table, from_us: 10, until_us: 20 })]);
    assert_eq!(told(&changes), ["-1 k=a v=2 _seq=2", "-1 k=a v=4 _seq=4"]);
    let snapshot = bench.store.snapshot();
    let version = snapshot.table(&TableName::public("t")).unwrap();
    assert_eq!((version.rows(), version.parts[0].rows, version.parts[0].dead.len()), (3, 2, 1));
}
