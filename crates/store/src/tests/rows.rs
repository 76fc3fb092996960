//! Hot batches, parts and retention, by example.

use nowcast_model::{Column, Event, PartitionBy, TableSchema, limits::HOT_BATCH_ROWS};

use super::*;
use crate::partition_start_us;

#[test]
fn single_rows_make_few_batches_and_small_dictionaries() {
    let mut bench = Bench::new(StoreOptions::default());
    for i in 0..3_000i64 {
        let color = ["red", "green", "blue"][usize::try_from(i % 3).unwrap()];
        bench.write(vec![batch("t", vec![("@ts", times(&[i])), ("color", symbols(&[Some(color)]))])]);
    }
    let snapshot = bench.store.snapshot();
    let hot = &snapshot.table(&TableName::public("T")).unwrap().hot;
    assert_eq!(hot.rows(), 3_000);
    assert!(hot.len() <= 28, "{} batches", hot.len());
    let first = hot.iter().next().unwrap().column(1);
    let values = first.as_any().downcast_ref::<arrow::array::DictionaryArray<arrow::datatypes::Int32Type>>();
    assert_eq!(values.unwrap().values().len(), 3);
    let seqs = hot.iter().flat_map(|b| {
        let seq = b.column(2).as_any().downcast_ref::<arrow::array::UInt64Array>().unwrap().clone();
        seq.values().to_vec()
    });
    assert!(seqs.collect::<Vec<_>>().is_sorted());
}

#[test]
fn large_records_are_cut_into_batches() {
    let mut bench = Bench::new(StoreOptions::default());
    let at: Vec<i64> = (0..20_000).collect();
    bench.write(vec![batch("t", vec![("@ts", times(&at))])]);
    let snapshot = bench.store.snapshot();
    let hot = &snapshot.table(&TableName::public("t")).unwrap().hot;
    let sizes: Vec<usize> = hot.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [HOT_BATCH_ROWS, HOT_BATCH_ROWS, 20_000 - 2 * HOT_BATCH_ROWS]);
    assert!(hot.bytes() < 20_000 * 17, "slices count once: {} bytes", hot.bytes());
}

#[test]
fn parts_are_sorted_and_lack_later_columns() {
    let mut bench = Bench::new(StoreOptions::default());
    bench.write(vec![batch(
        "t",
        vec![("@ts", times(&[30, 10])), ("c", symbols(&[Some("late"), Some("early")]))],
    )]);
    bench.write(vec![batch("t", vec![("@ts", times(&[20])), ("c", symbols(&[Some("middle")]))])]);
    bench.flush(true);
    bench.write(vec![batch("t", vec![("@ts", times(&[5])), ("v", longs(&[7]))])]);
    let snapshot = bench.store.snapshot();
    let version = snapshot.table(&TableName::public("t")).unwrap();
    let part = &version.parts[0];
    assert_eq!((part.rows, part.columns, part.min_us, part.max_us), (3, 2, Some(10), Some(30)));
    let read: Vec<RecordBatch> = part.read(&version.schema, &[1, 2]).unwrap().map(Result::unwrap).collect();
    assert_eq!(read[0].column(0).data_type(), &ColumnType::Symbol.arrow());
    let texts: Vec<String> = (0..3).map(|row| row_text(&version.schema.name, &read[0], row)).collect();
    assert_eq!(texts, ["t: c=early _seq=2", "t: c=middle _seq=3", "t: c=late _seq=1"]);
    assert_eq!((version.oldest_us, version.newest_us, version.rows()), (Some(5), Some(30), 4));
}

#[test]
fn ttl_drops_whole_partitions_once() {
    const DAY_US: i64 = 86_400_000_000;
    let mut bench = Bench::new(StoreOptions::default());
    bench.write(vec![batch("t", vec![("@ts", times(&[DAY_US / 2, DAY_US, 5 * DAY_US / 2]))])]);
    assert_eq!(bench.store.expired(100 * DAY_US), []);
    bench.write(vec![Item::Event(Event::SetTtl { table: TableName::public("T"), ttl_s: Some(86_400) })]);
    bench.flush(true);
    let due = bench.store.expired(5 * DAY_US / 2);
    assert_eq!(due.len(), 1);
    let changes = bench.write(due.into_iter().map(Item::Event).collect());
    let mut gone = Counts::new();
    add_changes(&mut gone, &changes);
    assert_eq!(gone.into_iter().collect::<Vec<_>>(), [("t: ts=1970-01-01T12:00:00 _seq=1".to_owned(), -1)]);
    assert_eq!(bench.store.expired(5 * DAY_US / 2), []);
    let (_, changes) = bench.reopen();
    assert_eq!(contents(&bench.store.snapshot()).len(), 2);
    assert_eq!(changes.len(), 1, "the drop is replayed, the rows are not");
}

#[test]
fn memory_and_log_ask_for_a_flush() {
    let mut bench = Bench::new(StoreOptions { hot_bytes_max: 1_000, ..StoreOptions::default() });
    assert!(!bench.store.needs_flush());
    bench.write(vec![batch("t", vec![("@ts", times(&[0; 100]))])]);
    assert!(bench.store.needs_flush());
    bench.flush(false);
    assert!(!bench.store.needs_flush());
    assert_eq!(bench.store.hot_bytes(), 0);
    bench.store.note_replay_bytes(u64::MAX);
    assert!(bench.store.needs_flush());
}

#[test]
fn readers_keep_the_files_of_their_snapshot() {
    let mut bench = Bench::new(StoreOptions::default());
    bench.write(vec![batch("t", vec![("@ts", times(&[0]))])]);
    bench.flush(true);
    let reader = bench.store.snapshot();
    bench.write(vec![Item::Event(Event::DropTable { table: TableName::public("t") })]);
    bench.flush(true);
    assert_eq!(contents(&reader).len(), 1);
    assert_eq!(bench.files().len(), 1);
    drop(reader);
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[test]
fn partitions_begin_where_calendars_say() {
    // 2024-02-29 13:14:15 UTC, a Thursday.
    let at_us = 1_709_212_455_000_000;
    let start = |by| {
        let us = partition_start_us(by, at_us).unwrap();
        array_value_to_string(&times(&[us]), 0).unwrap()
    };
    assert_eq!(start(PartitionBy::Hour), "2024-02-29T13:00:00");
    assert_eq!(start(PartitionBy::Day), "2024-02-29T00:00:00");
    assert_eq!(start(PartitionBy::Week), "2024-02-26T00:00:00");
    assert_eq!(start(PartitionBy::Month), "2024-02-01T00:00:00");
    assert_eq!(start(PartitionBy::Year), "2024-01-01T00:00:00");
    assert_eq!(partition_start_us(PartitionBy::None, at_us), None);
    for by in [PartitionBy::Hour, PartitionBy::Day, PartitionBy::Week, PartitionBy::Month, PartitionBy::Year]
    {
        for at_us in [i64::MIN, -1, 0, i64::MAX] {
            assert!(partition_start_us(by, at_us).is_none_or(|start| start <= at_us), "{by:?} {at_us}");
        }
    }
}

#[test]
fn wide_schemas_cost_no_memory_until_used() {
    let mut bench = Bench::new(StoreOptions::default());
    let at: Vec<i64> = (0..8_192).collect();
    bench.write(vec![batch("t", vec![("@ts", times(&at))])]);
    let columns = (0..500).map(|i| Column::new(&format!("c{i}"), ColumnType::Double)).collect();
    bench.write(vec![Item::Event(Event::AddColumns { table: TableName::public("t"), columns })]);
    let snapshot = bench.store.snapshot();
    let version = snapshot.table(&TableName::public("t")).unwrap();
    let batch = version.hot.iter().next().unwrap();
    assert_eq!(batch.num_columns(), 502);
    assert!(
        batch.column(7).to_data().buffers()[0].as_ptr() == batch.column(8).to_data().buffers()[0].as_ptr()
    );
}

#[test]
fn records_for_tables_that_never_were_are_refused() {
    let bench = Bench::new(StoreOptions::default());
    let item = batch("nowhere", vec![("@ts", times(&[0]))]);
    let record = Record { offset: Offset::new(5), at_us: 0, producer: None, items: vec![item] };
    let error = bench.store.apply(&record).unwrap_err().to_string();
    assert_eq!(error, "the record at 5 is about the table nowhere, which does not exist");
    assert_eq!(bench.store.snapshot().position, Offset::ZERO);
}

#[test]
fn a_table_made_by_sql_keeps_its_form() {
    let bench = Bench::new(StoreOptions::default());
    let schema = TableSchema {
        name: TableName::new("shop", "Orders"),
        columns: vec![Column::new("At", ColumnType::Timestamp)],
        timestamp: Some(0),
        partition_by: PartitionBy::Month,
        ttl_s: None,
        dedup_keys: vec![],
        dropped: 0,
    };
    let registry = bench.store.registry();
    let create = |if_not_exists| registry.create_table(schema.clone(), if_not_exists, |items| items.len());
    assert!(create(false).unwrap_err().to_string().contains("the schema \"shop\" does not exist"));
    assert_eq!(registry.create_schema("shop", false, |items| items.len()).unwrap(), Some(1));
    assert_eq!(registry.create_schema("SHOP", true, |items| items.len()).unwrap(), None);
    assert_eq!(create(false).unwrap(), Some(1));
    assert_eq!(create(true).unwrap(), None);
    assert!(create(false).unwrap_err().to_string().contains("exists already"));
    assert_eq!(
        registry.drop_table(&TableName::new("SHOP", "orders"), false, |items| items.len()).unwrap(),
        Some(1)
    );
    assert_eq!(registry.drop_table(&schema.name, true, |items| items.len()).unwrap(), None);
    assert!(registry.drop_table(&schema.name, false, |_| ()).is_err());
}

/// Rows in parts, in memory, in the log and on their way: under whichever name they were written.
#[test]
fn a_renamed_column_keeps_its_rows() {
    let mut bench = Bench::new(StoreOptions::default());
    let row = |name: &str, at: i64| {
        batch("t", vec![("@ts", times(&[at])), (name, longs(&[at])), ("w", longs(&[0]))])
    };
    let rename = |from: &str, to: &str| {
        let table = TableName::public("t");
        vec![Item::Event(Event::RenameColumn { table, from: from.into(), to: to.into() })]
    };
    bench.write(vec![row("a", 1)]);
    bench.flush(true);
    bench.write(vec![row("a", 2)]);
    bench.write(rename("a", "b"));
    bench.write(vec![row("a", 3)]);
    bench.write(vec![row("b", 4)]);
    let expected: Counts =
        (1..=4).map(|at| (format!("t: ts=1970-01-01T00:00:00.{at:06} b={at} w=0"), 1)).collect();
    let without_seq = |bench: &Bench| -> Counts {
        let cut = |(row, count): (String, i64)| (row[..row.find(" _seq").unwrap()].to_owned(), count);
        contents(&bench.store.snapshot()).into_iter().map(cut).collect()
    };
    assert_eq!(without_seq(&bench), expected);
    bench.reopen();
    assert_eq!(without_seq(&bench), expected);
    bench.flush(true);
    bench.write(vec![row("b", 5)]);
    bench.write(rename("b", "a"));
    bench.write(rename("A", "c"));
    bench.reopen();
    bench.flush(true);
    bench.reopen();
    let schema = bench.store.registry().table(&TableName::public("t")).unwrap();
    assert_eq!((&*schema.columns[1].name, schema.columns[1].file_name()), ("c", "a"));
    let rows = without_seq(&bench);
    assert_eq!(rows.len(), 5);
    assert!(rows.keys().all(|row| row.contains(" c=")), "{rows:?}");
}
