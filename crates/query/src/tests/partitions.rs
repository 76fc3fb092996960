//! `table_partitions()`, and what `tables()` learns from the server.

use std::collections::BTreeMap;

use arrow::array::{Int64Array, RecordBatch};
use nowcast_model::{TableName, TableSchema};
use nowcast_store::Written;

use super::*;

const COUNTS: &str =
    "SELECT name, minTimestamp, maxTimestamp, numRows, parts, hotRows FROM table_partitions('t')";

/// Rows of `t` at times, each given as ISO 8601.
fn insert(world: &mut World, times: &[&str]) {
    let rows: Vec<String> = times.iter().map(|at| format!("('{at}', 1)")).collect();
    world.run(&format!("INSERT INTO t VALUES {}", rows.join(", ")));
}

#[test]
fn partitions_are_named_as_questdb_names_them() {
    let times =
        ["2025-12-28T23:30:00Z", "2025-12-29T00:10:00Z", "2026-01-01T14:00:00Z", "2026-11-25T14:59:59Z"];
    let cases = [
        ("HOUR", "2025-12-28T23 2025-12-29T00 2026-01-01T14 2026-11-25T14"),
        ("DAY", "2025-12-28 2025-12-29 2026-01-01 2026-11-25"),
        // A week's year is that of its Thursday.
        ("WEEK", "2025-W52 2026-W01 2026-W48"),
        ("MONTH", "2025-12 2026-01 2026-11"),
        ("YEAR", "2025 2026"),
        ("NONE", "default"),
    ];
    for (by, names) in cases {
        let mut world = World::new();
        world.run(&format!("CREATE TABLE t (ts TIMESTAMP, v INT) timestamp(ts) PARTITION BY {by}"));
        check(&mut world, &[("SELECT count() FROM table_partitions('t')", "count\n0")]);
        // In parts, then in memory: the answer is the same.
        insert(&mut world, &times);
        for _ in 0..2 {
            let found = world.run("SELECT name FROM table_partitions('t')");
            assert_eq!(found.split_whitespace().skip(1).collect::<Vec<_>>().join(" "), names, "{by}");
            let found =
                world.run("SELECT sum(numRows) AS n, min(partitionBy) AS by FROM table_partitions('t')");
            assert_eq!(found.trim_end(), format!("n|by\n4|{by}"));
            world.store.flush(true).unwrap();
        }
    }
}

#[test]
fn rows_of_parts_that_span_partitions_and_hide_rows_are_counted() {
    let mut world = World::new();
    world.run("CREATE TABLE t (ts TIMESTAMP, v INT) timestamp(ts) PARTITION BY DAY DEDUP UPSERT KEYS(ts)");
    insert(
        &mut world,
        &["2026-01-01T01:00:00Z", "2026-01-02T02:00:00Z", "2026-01-02T03:00:00Z", "2026-01-03T04:00:00Z"],
    );
    world.store.flush(true).unwrap();
    insert(&mut world, &["2026-01-03T05:00:00Z", "2026-01-03T06:00:00Z"]);
    world.store.flush(true).unwrap();
    insert(&mut world, &["2026-01-03T07:00:00Z", "2026-01-04T08:00:00Z"]);
    check(
        &mut world,
        &[(
            COUNTS,
            "name|minTimestamp|maxTimestamp|numRows|parts|hotRows\n\
             2026-01-01|2026-01-01T01:00:00|2026-01-01T01:00:00|1|1|0\n\
             2026-01-02|2026-01-02T02:00:00|2026-01-02T03:00:00|2|1|0\n\
             2026-01-03|2026-01-03T04:00:00|2026-01-03T07:00:00|4|2|1\n\
             2026-01-04|2026-01-04T08:00:00|2026-01-04T08:00:00|1|0|1",
        )],
    );
    // The last row of a day is replaced: it is hidden in its part, and the new one is in memory.
    world.run("INSERT INTO t VALUES ('2026-01-02T03:00:00Z', 2), ('2026-01-03T06:00:00Z', 2)");
    // A day goes from the middle of a part, another from its beginning.
    world.run("ALTER TABLE t DROP PARTITION LIST '2026-01-01'");
    check(
        &mut world,
        &[(
            COUNTS,
            "name|minTimestamp|maxTimestamp|numRows|parts|hotRows\n\
             2026-01-02|2026-01-02T02:00:00|2026-01-02T03:00:00|2|1|1\n\
             2026-01-03|2026-01-03T04:00:00|2026-01-03T07:00:00|4|2|2\n\
             2026-01-04|2026-01-04T08:00:00|2026-01-04T08:00:00|1|0|1",
        )],
    );
    // However rows lie, partitions say what the rows say.
    let by_rows = "SELECT date_trunc('day', ts) AS day, min(ts) AS a, max(ts) AS b, count() AS n FROM t GROUP BY day ORDER BY day";
    let by_partition = "SELECT date_trunc('day', minTimestamp) AS day, minTimestamp AS a, maxTimestamp AS b, numRows AS n FROM table_partitions('t') ORDER BY day";
    assert_eq!(world.run(by_rows), world.run(by_partition));
    world.store.flush(true).unwrap();
    assert_eq!(world.run(by_rows), world.run(by_partition));
}

#[test]
fn the_bytes_of_a_part_are_shared_out_to_the_last_one() {
    let mut world = World::new();
    world.run("CREATE TABLE t (ts TIMESTAMP, v INT) timestamp(ts) PARTITION BY HOUR");
    let times: Vec<String> = (0..7).map(|n| format!("2026-01-01T0{}:00:00Z", n / 3)).collect();
    insert(&mut world, &times.iter().map(String::as_str).collect::<Vec<_>>());
    world.store.flush(true).unwrap();
    let bytes: u64 = world.ctx().snapshot.tables.values().map(|table| table.parts[0].bytes).sum();
    check(
        &mut world,
        &[
            ("SELECT sum(diskSize) AS bytes FROM table_partitions('t')", &format!("bytes\n{bytes}")),
            (
                "SELECT index, name, active, attached, detached, attachable, readOnly FROM table_partitions('t')",
                "index|name|active|attached|detached|attachable|readOnly\n\
                 0|2026-01-01T00|false|true|false|false|false\n\
                 1|2026-01-01T01|false|true|false|false|false\n\
                 2|2026-01-01T02|true|true|false|false|false",
            ),
            (
                "SELECT count() AS n FROM table_partitions('t') WHERE diskSizeHuman LIKE '% KiB' OR diskSizeHuman LIKE '% B'",
                "n\n3",
            ),
        ],
    );
    let shown = world.run("SHOW PARTITIONS FROM t");
    assert_eq!(shown, world.run("SELECT * FROM table_partitions('public.T')"));
    assert!(
        shown.starts_with("index|partitionBy|name|minTimestamp|maxTimestamp|numRows|diskSize|diskSizeHuman|")
    );
}

#[test]
fn a_table_without_a_time_has_one_partition() {
    let mut world = World::new();
    world.run("CREATE TABLE t (v INT)");
    world.run("INSERT INTO t VALUES (1), (2)");
    world.store.flush(true).unwrap();
    world.run("INSERT INTO t VALUES (3)");
    check(
        &mut world,
        &[
            (COUNTS, "name|minTimestamp|maxTimestamp|numRows|parts|hotRows\ndefault|NULL|NULL|3|1|1"),
            (
                "SELECT * FROM table_partitions('nothing')",
                "42P01 there is no table \"nothing\" (line 1, column 32); the tables there are: t",
            ),
            (
                "SELECT * FROM table_partitions()",
                "42883 table_partitions takes a table's name (line 1, column 15); write table_partitions('table')",
            ),
            (
                "SHOW PARTITIONS FROM nothing",
                "42P01 there is no table \"nothing\" (line 1, column 22); the tables there are: t",
            ),
        ],
    );
}

/// A server that wrote ten bytes and merged five.
struct Known;

impl SystemTables for Known {
    fn tables(&self) -> Vec<TableName> {
        vec![TableName::new("sys", "damaged")]
    }

    fn table(&self, _: &TableName) -> Option<RecordBatch> {
        let rows = Arc::new(Int64Array::from(vec![7])) as _;
        RecordBatch::try_from_iter([("firstOffset", rows)]).ok()
    }

    fn written(&self) -> BTreeMap<TableName, Written> {
        let written = Written { flushed_bytes: 10, merged_bytes: 5 };
        BTreeMap::from([(TableName::public("Trips").key(), written)])
    }

    fn is_own(&self, schema: &TableSchema) -> bool {
        schema.name.key() == TableName::public("own").key()
    }
}

#[test]
fn tables_tell_what_the_server_knows() {
    let mut world = World::trips();
    world.run("CREATE TABLE own (v INT)");
    let figures = "SELECT table_name, parts, hotRows, flushedBytes, mergedBytes, writeAmplification, system FROM tables() ORDER BY table_name";
    check(
        &mut world,
        &[(
            figures,
            "table_name|parts|hotRows|flushedBytes|mergedBytes|writeAmplification|system\n\
             Trips|2|1|NULL|NULL|NULL|false\n\
             own|0|0|NULL|NULL|NULL|false",
        )],
    );
    world.system = Some(Arc::new(Known));
    check(
        &mut world,
        &[
            (
                figures,
                "table_name|parts|hotRows|flushedBytes|mergedBytes|writeAmplification|system\n\
                 Trips|2|1|10|5|1.5|false\n\
                 own|0|0|0|0|NULL|true",
            ),
            ("SHOW TABLES", "table_name\nTrips"),
            ("SELECT * FROM damaged", "firstOffset\n7"),
            ("SELECT firstoffset FROM sys.damaged", "firstOffset\n7"),
            (
                "SELECT \"column\", indexBlockCapacity, symbolCached, symbolCapacity FROM table_columns('trips') LIMIT 2",
                "column|indexBlockCapacity|symbolCached|symbolCapacity\nts|0|false|0\nCab|0|true|0",
            ),
        ],
    );
    world.run("CREATE TABLE damaged (v INT)");
    check(&mut world, &[("SELECT * FROM damaged", "v"), ("SELECT * FROM sys.damaged", "firstOffset\n7")]);
}
