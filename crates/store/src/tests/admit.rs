//! What is admitted, and what is told to those that are not.

use std::fmt::Write;

use arrow::array::{BooleanArray, Int32Array, TimestampNanosecondArray};
use expect_test::{Expect, expect};
use nowcast_model::{Column, Event, PartitionBy, TableSchema, limits::COLUMNS_MAX};

use super::*;
use crate::Refusal;

/// A table with a column of each type and the time `at`.
fn bench() -> Bench {
    let mut columns: Vec<Column> = ColumnType::ALL
        .into_iter()
        .map(|ty| Column::new(&format!("c_{}", ty.name().to_lowercase()), ty))
        .collect();
    columns.push(Column::new("At", ColumnType::Timestamp));
    let mut bench = Bench::new(StoreOptions::default());
    bench.write(vec![Item::Event(Event::CreateTable {
        schema: TableSchema {
            name: TableName::public("Types"),
            timestamp: Some(columns.len() - 1),
            columns,
            partition_by: PartitionBy::Day,
            ttl_s: None,
            dedup_keys: vec![],
            dropped: 0,
        },
    })]);
    bench
}

fn shown(result: Result<Vec<Item>, Refusal>) -> String {
    let mut text = String::new();
    match result {
        Ok(items) => {
            for item in items {
                match item {
                    Item::Event(event) => {
                        writeln!(text, "{}", serde_json::to_string(&event).unwrap()).unwrap()
                    }
                    Item::Rows(batch) => {
                        for row in 0..batch.rows.num_rows() {
                            writeln!(text, "{}", row_text(&batch.table, &batch.rows, row)).unwrap();
                        }
                    }
                }
            }
        }
        Err(refusal) => {
            let Refusal { batch, row, column, .. } = &refusal;
            writeln!(text, "batch {batch}, row {row:?}, column {column:?}: {refusal}").unwrap();
        }
    }
    text
}

fn check(columns: Vec<(&str, ArrayRef)>, expected: Expect) {
    expected.assert_eq(&shown(bench().store.registry().admit(vec![batch("types", columns)], |items| items)));
}

/// One column beside the time.
fn check_one(name: &str, array: ArrayRef, expected: Expect) {
    let at = times(&vec![0; array.len()]);
    check(vec![(name, array), ("@timestamp", at)], expected);
}

#[test]
fn names_match_without_case_and_the_time_takes_the_tables_name() {
    check(
        vec![("C_Long", longs(&[1])), ("@timestamp", times(&[0]))],
        expect![[r#"
        Types: c_long=1 At=1970-01-01T00:00:00
    "#]],
    );
    check(
        vec![("AT", times(&[0]))],
        expect![[r#"
        Types: At=1970-01-01T00:00:00
    "#]],
    );
    check(
        vec![("at", texts(&[Some("2024-05-06T07:08:09.123456Z")]))],
        expect![[r#"
        Types: At=2024-05-06T07:08:09.123456
    "#]],
    );
}

#[test]
fn numbers() {
    check_one(
        "c_double",
        longs(&[1, -2]),
        expect![[r#"
        Types: c_double=1.0 At=1970-01-01T00:00:00
        Types: c_double=-2.0 At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_float",
        doubles(&[Some(1.5), None]),
        expect![[r#"
        Types: c_float=1.5 At=1970-01-01T00:00:00
        Types: At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_float",
        doubles(&[Some(1.0), Some(1e300)]),
        expect![[r#"
        batch 0, row Some(1), column Some("c_float"): table "Types": column "c_float" is FLOAT, got DOUBLE 1e300; send a number, or use another column name
    "#]],
    );
    check_one(
        "c_long",
        doubles(&[Some(3.0), Some(-4.0)]),
        expect![[r#"
        Types: c_long=3 At=1970-01-01T00:00:00
        Types: c_long=-4 At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_long",
        doubles(&[Some(3.0), Some(3.5)]),
        expect![[r#"
        batch 0, row Some(1), column Some("c_long"): table "Types": column "c_long" is LONG, got DOUBLE 3.5; send a whole number of 64 bits, or use another column name
    "#]],
    );
    check_one(
        "c_long",
        doubles(&[Some(9.3e18)]),
        expect![[r#"
        batch 0, row Some(0), column Some("c_long"): table "Types": column "c_long" is LONG, got DOUBLE 9.3e18; send a whole number of 64 bits, or use another column name
    "#]],
    );
    check_one(
        "c_long",
        doubles(&[Some(f64::NAN)]),
        expect![[r#"
        batch 0, row Some(0), column Some("c_long"): table "Types": column "c_long" is LONG, got DOUBLE NaN; send a whole number of 64 bits, or use another column name
    "#]],
    );
    check_one(
        "c_byte",
        longs(&[127]),
        expect![[r#"
        Types: c_byte=127 At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_byte",
        longs(&[127, 128]),
        expect![[r#"
        batch 0, row Some(1), column Some("c_byte"): table "Types": column "c_byte" is BYTE, got LONG 128; send a whole number from -128 to 127, or use another column name
    "#]],
    );
    check_one(
        "c_long",
        Arc::new(Int32Array::from(vec![5])),
        expect![[r#"
        Types: c_long=5 At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_int",
        texts(&[Some("5")]),
        expect![[r#"
        batch 0, row Some(0), column Some("c_int"): table "Types": column "c_int" is INT, got VARCHAR "5"; send a whole number from -2147483648 to 2147483647, or use another column name
    "#]],
    );
}

#[test]
fn texts_and_booleans() {
    check_one(
        "c_symbol",
        texts(&[Some("a"), None]),
        expect![[r#"
        Types: c_symbol=a At=1970-01-01T00:00:00
        Types: At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_varchar",
        symbols(&[Some("a"), None]),
        expect![[r#"
        Types: c_varchar=a At=1970-01-01T00:00:00
        Types: At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_varchar",
        longs(&[5]),
        expect![[r#"
        batch 0, row Some(0), column Some("c_varchar"): table "Types": column "c_varchar" is VARCHAR, got LONG 5; send text, or use another column name
    "#]],
    );
    check_one(
        "c_boolean",
        Arc::new(BooleanArray::from(vec![true])),
        expect![[r#"
        Types: c_boolean=true At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_boolean",
        longs(&[1]),
        expect![[r#"
        batch 0, row Some(0), column Some("c_boolean"): table "Types": column "c_boolean" is BOOLEAN, got LONG 1; send true or false, or use another column name
    "#]],
    );
    check_one(
        "c_long",
        Arc::new(BooleanArray::from(vec![true])),
        expect![[r#"
        batch 0, row Some(0), column Some("c_long"): table "Types": column "c_long" is LONG, got BOOLEAN true; send a whole number of 64 bits, or use another column name
    "#]],
    );
    check_one(
        "c_boolean",
        texts(&[None]),
        expect![[r#"
        Types: At=1970-01-01T00:00:00
    "#]],
    );
}

#[test]
fn moments() {
    check_one(
        "c_timestamp",
        texts(&[Some("2024-05-06"), None]),
        expect![[r#"
        Types: c_timestamp=2024-05-06T00:00:00 At=1970-01-01T00:00:00
        Types: At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_timestamp",
        symbols(&[Some("2024-05-06T01:02:03+02:00"), Some("soon")]),
        expect![[r#"
        batch 0, row Some(1), column Some("c_timestamp"): table "Types": column "c_timestamp" is TIMESTAMP, got SYMBOL "soon"; send ISO 8601 text or microseconds since 1970, or use another column name
    "#]],
    );
    check_one(
        "c_timestamp",
        longs(&[1_000_000]),
        expect![[r#"
        Types: c_timestamp=1970-01-01T00:00:01 At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_timestamp_ns",
        times(&[1]),
        expect![[r#"
        Types: c_timestamp_ns=1970-01-01T00:00:00.000001 At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_timestamp_ns",
        times(&[i64::MAX]),
        expect![[r#"
            batch 0, row Some(0), column Some("c_timestamp_ns"): table "Types": column "c_timestamp_ns" is TIMESTAMP_NS, got TIMESTAMP 9223372036854775807; send ISO 8601 text or nanoseconds since 1970, or use another column name
        "#]],
    );
    check_one(
        "c_timestamp",
        Arc::new(TimestampNanosecondArray::from(vec![-1])),
        expect![[r#"
        Types: c_timestamp=1969-12-31T23:59:59.999999 At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_date",
        times(&[1_999]),
        expect![[r#"
        Types: c_date=1970-01-01T00:00:00.001 At=1970-01-01T00:00:00
    "#]],
    );
    check_one(
        "c_long",
        times(&[1]),
        expect![[r#"
        batch 0, row Some(0), column Some("c_long"): table "Types": column "c_long" is LONG, got TIMESTAMP 1970-01-01T00:00:00.000001; send a whole number of 64 bits, or use another column name
    "#]],
    );
}

#[test]
fn the_time_is_never_null_missing_or_absurd() {
    check(
        vec![("@at", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None])))],
        expect![[r#"
        batch 0, row Some(1), column Some("At"): table "Types": the time column "At" is NULL; give each row a time
    "#]],
    );
    check(
        vec![("c_long", longs(&[1]))],
        expect![[r#"
        batch 0, row Some(0), column Some("At"): table "Types": the time column "At" is missing; give each row a time
    "#]],
    );
    check(
        vec![("@at", longs(&[i64::MAX]))],
        expect![[r#"
            batch 0, row Some(0), column Some("At"): table "Types": the time 9223372036854775807 in column "At" is outside the years 1 to 9999; check the unit: times are microseconds here, nanoseconds in line protocol
        "#]],
    );
    check(
        vec![("@timestamp", times(&[0])), ("at", times(&[0]))],
        expect![[r#"
        batch 0, row None, column Some("At"): table "Types": "timestamp" and "at" are both the column "At"; names match without case; send one of them
    "#]],
    );
}

#[test]
fn new_columns_and_tables_come_with_their_events() {
    check(
        vec![("new", longs(&[1])), ("@timestamp", times(&[0])), ("c_long", longs(&[2]))],
        expect![[r#"
        {"event":"add_columns","table":{"schema":"public","table":"Types"},"columns":[{"name":"new","type":"LONG"}]}
        Types: c_long=2 At=1970-01-01T00:00:00 new=1
    "#]],
    );
    check(
        vec![("new", longs(&[1])), ("NEW", longs(&[1])), ("@timestamp", times(&[0]))],
        expect![[r#"
        batch 0, row None, column Some("new"): table "Types": the columns "NEW" and "new" have the same name; names match without case; rename one of them
    "#]],
    );
    check(
        vec![("a.b", longs(&[1])), ("@timestamp", times(&[0]))],
        expect![[r#"
            batch 0, row None, column Some("a.b"): table "Types": the name "a.b" holds the character '.'; use letters, digits, `_` or `-`; rename it
        "#]],
    );
    let registry_of = |items: Vec<Item>| shown(bench().store.registry().admit(items, |items| items));
    let made = registry_of(vec![
        batch("fresh", vec![("v", doubles(&[Some(1.0)])), ("@ts", times(&[0]))]),
        batch("FRESH", vec![("V", longs(&[2])), ("w", texts(&[Some("x")])), ("@time", times(&[1]))]),
        batch("timeless", vec![("v", longs(&[2]))]),
        batch("fresh", vec![("w", longs(&[2])), ("@time", times(&[1]))]),
    ]);
    expect![[r#"
        batch 3, row Some(0), column Some("w"): table "fresh": column "w" is VARCHAR, got LONG 2; send text, or use another column name
    "#]].assert_eq(&made);
    let made = registry_of(vec![
        batch("fresh", vec![("v", doubles(&[Some(1.0)])), ("@ts", times(&[0]))]),
        batch("FRESH", vec![("V", longs(&[2])), ("w", texts(&[Some("x")])), ("@time", times(&[1]))]),
        batch("timeless", vec![("v", longs(&[2]))]),
        batch("timeless", vec![("unused", longs(&[]))]),
    ]);
    expect![[r#"
        {"event":"create_table","schema":{"name":{"schema":"public","table":"fresh"},"columns":[{"name":"v","type":"DOUBLE"},{"name":"ts","type":"TIMESTAMP"}],"timestamp":1,"partition_by":"DAY","ttl_s":null,"dedup_keys":[]}}
        fresh: v=1.0 ts=1970-01-01T00:00:00
        {"event":"add_columns","table":{"schema":"public","table":"fresh"},"columns":[{"name":"w","type":"VARCHAR"}]}
        fresh: v=2.0 ts=1970-01-01T00:00:00.000001 w=x
        {"event":"create_table","schema":{"name":{"schema":"public","table":"timeless"},"columns":[{"name":"v","type":"LONG"}],"timestamp":null,"partition_by":"NONE","ttl_s":null,"dedup_keys":[]}}
        timeless: v=2
    "#]].assert_eq(&made);
}

#[test]
fn events_name_tables_that_exist() {
    let bench = bench();
    let check = |event: Event, expected: Expect| {
        let admitted = bench.store.registry().admit(vec![Item::Event(event)], |items| items);
        expected.assert_eq(&shown(admitted));
    };
    let missing = TableName::public("missing");
    check(
        Event::Truncate { table: missing.clone() },
        expect![[r#"
        batch 0, row None, column None: table "missing": the table does not exist; check the name, or create the table
    "#]],
    );
    check(
        Event::SetTtl { table: missing, ttl_s: None },
        expect![[r#"
        batch 0, row None, column None: table "missing": the table does not exist; check the name, or create the table
    "#]],
    );
    check(Event::CreateSchema { schema: "Public".into() }, expect![""]);
    check(
        Event::CreateSchema { schema: "a b;".into() },
        expect![[r#"
        batch 0, row None, column None: table "a b;.": the name "a b;" holds the character ';'; use letters, digits, `_` or `-`; choose another schema name
    "#]],
    );
    let column = |name| Column::new(name, ColumnType::Long);
    let table = TableName::public("types");
    check(
        Event::AddColumns { table, columns: vec![column("AT"), column("more")] },
        expect![[r#"
        {"event":"add_columns","table":{"schema":"public","table":"Types"},"columns":[{"name":"more","type":"LONG"}]}
    "#]],
    );
    let schema = |partition_by, dedup_keys| TableSchema {
        name: TableName::new("shop", "t"),
        columns: vec![column("a")],
        timestamp: None,
        partition_by,
        ttl_s: None,
        dedup_keys,
        dropped: 0,
    };
    check(
        Event::CreateTable { schema: schema(PartitionBy::Day, vec![]) },
        expect![[r#"
        batch 0, row None, column None: table "shop.t": PARTITION BY DAY needs a time column; add TIMESTAMP(column), or use PARTITION BY NONE
    "#]],
    );
    check(
        Event::CreateTable { schema: schema(PartitionBy::None, vec![0]) },
        expect![[r#"
        batch 0, row None, column None: table "shop.t": DEDUP UPSERT KEYS must name the time column; write … ) timestamp(ts) PARTITION BY DAY DEDUP UPSERT KEYS(ts, …)
    "#]],
    );
    check(
        Event::CreateTable { schema: schema(PartitionBy::None, vec![]) },
        expect![[r#"
        {"event":"create_schema","schema":"shop"}
        {"event":"create_table","schema":{"name":{"schema":"shop","table":"t"},"columns":[{"name":"a","type":"LONG"}],"timestamp":null,"partition_by":"NONE","ttl_s":null,"dedup_keys":[]}}
    "#]],
    );
}

#[test]
fn tables_grow_to_a_bound() {
    let bench = Bench::new(StoreOptions::default());
    let names: Vec<String> = (0..=COLUMNS_MAX).map(|i| format!("c{i}")).collect();
    fn columns(names: &[String]) -> Vec<(&str, ArrayRef)> {
        names.iter().map(|name| (name.as_str(), longs(&[1]))).collect()
    }
    let registry = bench.store.registry();
    let too_wide = registry.admit(vec![batch("t", columns(&names))], |_| ()).unwrap_err();
    expect![[r#"table "t": the table t would have 2001 columns, at most 2000 are allowed; put values into rows rather than column names"#]].assert_eq(&too_wide.to_string());
    registry.admit(vec![batch("t", columns(&names[..COLUMNS_MAX]))], |_| ()).unwrap();
    let too_wide = registry.admit(vec![batch("t", columns(&names[COLUMNS_MAX..]))], |_| ()).unwrap_err();
    expect![[r#"table "t": it would have 2001 columns, at most 2000 are allowed; put values into rows rather than column names"#]].assert_eq(&too_wide.to_string());
}

#[test]
fn writers_that_race_see_one_order() {
    let bench = Bench::new(StoreOptions::default());
    let log = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (log, registry) = (&log, bench.store.registry());
            scope.spawn(move || {
                for i in 0..50 {
                    let name = format!("c{}", (i * 7 + thread * 3) % 60);
                    let item = batch("t", vec![("@ts", times(&[0])), (name.as_str(), longs(&[1]))]);
                    registry.admit(vec![item], |items| log.lock().unwrap().push(items)).unwrap();
                }
            });
        }
    });
    let mut offset = Offset::ZERO;
    for items in log.into_inner().unwrap() {
        let record = Record { offset, at_us: 0, producer: None, items };
        bench.store.apply(&record).unwrap();
        offset = record.end();
    }
    assert_eq!(contents(&bench.store.snapshot()).len(), 200);
}
