//! Columns that go and come back, and tables that move, wherever their rows are.

use nowcast_model::{Column, Event};

use super::*;
use crate::{Depth, StoreInspection};

fn drop_column(table: &str, column: &str) -> Vec<Item> {
    let table = TableName::public(table);
    vec![Item::Event(Event::DropColumns { table, columns: vec![column.into()] })]
}

fn rename(from: &str, to: &str) -> Vec<Item> {
    vec![Item::Event(Event::RenameTable { table: TableName::public(from), to: TableName::public(to) })]
}

fn row(table: &str, at: i64, column: &str, value: ArrayRef) -> Vec<Item> {
    vec![batch(table, vec![("k", longs(&[at])), (column, value), ("@ts", times(&[at]))])]
}

/// The rows, without times and `_seq`.
fn shown(bench: &Bench) -> Vec<String> {
    let is_shown = |cell: &&str| !cell.starts_with("ts=") && !cell.starts_with("_seq=");
    let text = |row: &String| row.split(' ').filter(is_shown).collect::<Vec<_>>().join(" ");
    let mut rows: Vec<String> = contents(&bench.store.snapshot()).keys().map(text).collect();
    rows.sort();
    rows
}

/// A history; after each step what the tables hold, now and after a start, and that no file is taken for damaged.
fn check(bench: &mut Bench, items: Vec<Item>, expected: &[&str]) {
    bench.write(items);
    assert_eq!(shown(bench), expected);
    let found = StoreInspection::of(bench.disk.clone(), Path::new("/store")).unwrap().check(Depth::Rows);
    assert!(found.damages.is_empty() && found.orphans.is_empty(), "{found:?}");
    bench.reopen();
    assert_eq!(shown(bench), expected, "after a start");
}

/// Old values never come back: from parts, hot rows, the log, or a merge of all of them.
#[test]
fn a_column_that_is_added_again_begins_empty() {
    // What is flushed between the steps: nothing, or all before the drop, after it, after the column is back.
    for flushed in 0..8 {
        let mut bench = Bench::new(StoreOptions { small_parts_max: 1, ..StoreOptions::default() });
        let flush = |bench: &mut Bench, bit: u8| {
            if flushed >> bit & 1 == 1 {
                bench.flush(true);
            }
        };
        bench.write(row("t", 1, "v", doubles(&[Some(0.5)])));
        flush(&mut bench, 0);
        check(&mut bench, row("t", 2, "v", doubles(&[Some(1.5)])), &["t: k=1 v=0.5", "t: k=2 v=1.5"]);
        check(&mut bench, drop_column("t", "V"), &["t: k=1", "t: k=2"]);
        flush(&mut bench, 1);
        let long = Column::new("v", ColumnType::Long);
        let add = Event::AddColumns { table: TableName::public("t"), columns: vec![long] };
        check(&mut bench, vec![Item::Event(add)], &["t: k=1", "t: k=2"]);
        check(&mut bench, row("t", 3, "v", longs(&[7])), &["t: k=1", "t: k=2", "t: k=3 v=7"]);
        flush(&mut bench, 2);
        check(&mut bench, drop_column("t", "v"), &["t: k=1", "t: k=2", "t: k=3"]);
        // A writer that still sends it makes a third one.
        let expected = ["t: k=1", "t: k=2", "t: k=3", "t: k=4 v=x"];
        check(&mut bench, row("t", 4, "v", texts(&[Some("x")])), &expected);
        bench.flush(true);
        bench.flush(true);
        bench.reopen();
        assert_eq!(shown(&bench), expected, "flushed: {flushed:03b}");
        let schema = bench.store.registry().table(&TableName::public("t")).unwrap();
        let names: Vec<(&str, &str)> = schema.columns.iter().map(|c| (&*c.name, c.file_name())).collect();
        assert_eq!(names, [("k", "k"), ("ts", "ts"), ("v", "v~2")]);
        assert_eq!((schema.timestamp, schema.dropped), (Some(1), 2));
    }
}

#[test]
fn a_column_that_was_renamed_is_dropped_under_both_names() {
    let mut bench = Bench::new(StoreOptions::default());
    let to_b = Event::RenameColumn { table: TableName::public("t"), from: "a".into(), to: "b".into() };
    bench.write(row("t", 1, "a", longs(&[1])));
    bench.flush(true);
    check(&mut bench, vec![Item::Event(to_b)], &["t: k=1 b=1"]);
    check(&mut bench, drop_column("t", "b"), &["t: k=1"]);
    check(&mut bench, row("t", 2, "a", longs(&[2])), &["t: k=1", "t: k=2 a=2"]);
    check(&mut bench, row("t", 3, "b", longs(&[3])), &["t: k=1", "t: k=2 a=2", "t: k=3 b=3"]);
    bench.flush(true);
    bench.reopen();
    assert_eq!(shown(&bench), ["t: k=1", "t: k=2 a=2", "t: k=3 b=3"]);
}

#[test]
fn the_time_the_keys_and_the_last_column_stay() {
    let mut bench = Bench::new(StoreOptions::default());
    bench.write(row("t", 1, "v", longs(&[1])));
    bench.write(vec![batch("one", vec![("v", longs(&[1]))])]);
    let keys = Event::SetDedupKeys { table: TableName::public("t"), keys: vec!["ts".into(), "k".into()] };
    bench.write(vec![Item::Event(keys)]);
    let refusal = |items| bench.store.registry().admit(items, |_| ()).unwrap_err().to_string();
    let refusals = [
        refusal(drop_column("t", "ts")),
        refusal(drop_column("t", "k")),
        refusal(drop_column("t", "w")),
        refusal(drop_column("one", "v")),
        refusal(rename("t", "ONE")),
        refusal(rename("two", "three")),
        refusal(rename("t", "a.b")),
    ];
    let expected = [
        "table \"t\": the column \"ts\" is its time, and cannot be dropped; create another table, and INSERT INTO it SELECT … FROM this one",
        "table \"t\": the column \"k\" is one of its DEDUP UPSERT KEYS, and cannot be dropped; set other keys first, or ALTER TABLE … DEDUP DISABLE",
        "table \"t\": there is no column \"w\"; name a column of the table",
        "table \"one\": it would have no columns; drop the table",
        "table \"ONE\": the table exists already; choose another name, or drop that table first",
        "table \"two\": the table does not exist; check the name, or create the table",
        "table \"a.b\": the name \"a.b\" holds the character '.'; use letters, digits, `_` or `-`; rename it",
    ];
    assert_eq!(refusals, expected);
    // The keys' places move with what goes before them.
    check(&mut bench, drop_column("t", "v"), &["one: v=1", "t: k=1"]);
    bench.flush(true);
    check(&mut bench, row("t", 1, "w", longs(&[2])), &["one: v=1", "t: k=1 w=2"]);
}

/// The old name is free at once, and each table keeps what was written to it under whichever name.
#[test]
fn names_that_are_freed_and_taken_are_tables_of_their_own() {
    for flushed in 0..32 {
        let mut bench = Bench::new(StoreOptions { small_parts_max: 1, ..StoreOptions::default() });
        let flush = |bench: &mut Bench, bit: u8| {
            if flushed >> bit & 1 == 1 {
                // The largest table alone, so that the others are replayed from before.
                bench.flush(bit.is_multiple_of(2));
            }
        };
        let row = |table: &str, at: i64| row(table, at, "v", longs(&[at]));
        bench.write(row("a", 1));
        flush(&mut bench, 0);
        bench.write(row("a", 2));
        check(&mut bench, rename("a", "b"), &["b: k=1 v=1", "b: k=2 v=2"]);
        flush(&mut bench, 1);
        check(&mut bench, row("a", 3), &["a: k=3 v=3", "b: k=1 v=1", "b: k=2 v=2"]);
        check(&mut bench, row("b", 4), &["a: k=3 v=3", "b: k=1 v=1", "b: k=2 v=2", "b: k=4 v=4"]);
        flush(&mut bench, 2);
        bench.write(rename("a", "c"));
        check(&mut bench, rename("b", "a"), &["a: k=1 v=1", "a: k=2 v=2", "a: k=4 v=4", "c: k=3 v=3"]);
        flush(&mut bench, 3);
        bench.write(row("b", 5));
        let drop = Event::DropTable { table: TableName::public("b") };
        bench.write(vec![Item::Event(drop)]);
        bench.write(rename("c", "b"));
        flush(&mut bench, 4);
        let expected = ["A: k=1 v=1", "A: k=2 v=2", "A: k=4 v=4", "b: k=3 v=3", "b: k=6 v=6"];
        bench.write(rename("a", "A"));
        check(&mut bench, row("B", 6), &expected);
        bench.flush(true);
        bench.flush(true);
        bench.reopen();
        assert_eq!(shown(&bench), expected, "flushed: {flushed:05b}");
        let parts: usize = bench.store.snapshot().tables.values().map(|version| version.parts.len()).sum();
        assert_eq!(bench.files().len(), parts);
    }
}

/// Keys, the age of rows and the form go along.
#[test]
fn a_renamed_table_is_what_it_was() {
    let mut bench = Bench::new(StoreOptions::default());
    bench.write(row("a", 1, "v", longs(&[1])));
    let table = TableName::public("a");
    bench.write(vec![
        Item::Event(Event::SetDedupKeys { table: table.clone(), keys: vec!["ts".into()] }),
        Item::Event(Event::SetTtl { table: table.clone(), ttl_s: Some(60) }),
    ]);
    let before = bench.store.registry().table(&table).unwrap();
    bench.write(rename("a", "b"));
    check(&mut bench, row("b", 1, "v", longs(&[2])), &["b: k=1 v=2"]);
    let after = bench.store.registry().table(&TableName::public("b")).unwrap();
    assert_eq!((after.dedup_keys.as_slice(), after.ttl_s), (before.dedup_keys.as_slice(), Some(60)));
    assert_eq!(after.columns, before.columns);
    assert!(bench.store.registry().table(&table).is_none());
    let expired = bench.store.expired(1_000_000_000_000_000);
    assert!(matches!(&expired[..], [Event::DropPartitions { table, .. }] if *table == after.name));
}
