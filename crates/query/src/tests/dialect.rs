//! LATEST, intervals, limits, names, implicit groups.

use super::*;

#[test]
fn the_latest_row_of_each_key() {
    let mut world = World::trips();
    world.run("INSERT INTO trips (ts, cab, riders) VALUES ('2026-01-01T00:09:00Z', 'c', 5), ('2026-01-01T00:00:00Z', NULL, 6)");
    check(
        &mut world,
        &[
            (
                "SELECT cab, price, riders FROM trips LATEST ON ts PARTITION BY cab ORDER BY cab",
                "Cab|price|riders\na|5.25|NULL\nb|20.0|2\nc|NULL|5\nNULL|NULL|6",
            ),
            (
                "SELECT cab, price FROM trips WHERE price > 6 LATEST ON ts PARTITION BY cab ORDER BY cab",
                "Cab|price\na|10.5\nb|20.0",
            ),
            (
                "SELECT t.cab, t.ts FROM trips t LATEST BY cab ORDER BY t.ts LIMIT 1",
                "Cab|ts\nNULL|2026-01-01T00:00:00",
            ),
            ("SELECT count() FROM (SELECT * FROM trips LATEST ON ts PARTITION BY cab, price)", "count\n5"),
            ("trips WHERE cab = 'zz' LATEST ON ts PARTITION BY cab", "ts|Cab|price|riders|note"),
            (
                "SELECT cab FROM trips LATEST ON ts",
                "42601 PARTITION BY is expected, found the end of the statement (line 1, column 35); write LATEST ON ts PARTITION BY key, behind WHERE",
            ),
            (
                "SELECT a.cab FROM trips a, trips b LATEST ON ts PARTITION BY cab",
                "0A000 LATEST takes one table or subquery, not a join (line 1, column 36); write it in a subquery: FROM (SELECT * FROM t LATEST ON ts PARTITION BY key) JOIN …",
            ),
        ],
    );
}

#[test]
fn intervals_are_ranges() {
    let mut world = World::trips();
    check(
        &mut world,
        &[
            ("SELECT count() FROM trips WHERE ts IN '2026'", "count\n4"),
            ("SELECT count() FROM trips WHERE ts IN '2026-01'", "count\n4"),
            ("SELECT count() FROM trips WHERE ts NOT IN '2026-01-01T00'", "count\n0"),
            ("SELECT count() FROM trips WHERE ts IN '2026-01-01T00:07'", "count\n1"),
            ("SELECT count() FROM trips WHERE ts IN '2026-01-01;2m'", "count\n1"),
            ("SELECT count() FROM trips WHERE ts IN '2026-01-01T00:01;1m;6m;2'", "count\n2"),
            ("SELECT count() FROM trips WHERE ts IN '2025-12-31;1d;1d;3'", "count\n4"),
            (
                "SELECT count() FROM trips WHERE ts IN ('2026-01-01T00:01:00Z', '2026-01-01T00:09:00')",
                "count\n2",
            ),
            ("SELECT count() FROM trips WHERE ts IN '$today'", "count\n4"),
            ("SELECT count() FROM trips WHERE ts IN $today()", "count\n4"),
            ("SELECT count() FROM trips WHERE ts IN today()", "count\n4"),
            ("SELECT count() FROM trips WHERE ts IN $yesterday()", "count\n0"),
            ("SELECT count() FROM trips WHERE ts IN '$now - 3m..$now'", "count\n2"),
            ("SELECT count() FROM trips WHERE ts IN '$today - 1d..$today'", "count\n4"),
            ("SELECT count() FROM trips WHERE ts = '2026-01'", "count\n0"),
            ("SELECT count() FROM trips WHERE ts >= '2026-01' AND ts < '2026-01-01T00:07'", "count\n2"),
            ("SELECT count() FROM trips WHERE ts BETWEEN '2026-01-01' AND '2026-01-01T00:02'", "count\n2"),
            ("SELECT count() FROM trips WHERE ts > 1767225720000000L", "count\n2"),
            ("SELECT ts + 3600000000L AS t FROM trips WHERE cab = 'c'", "t\n2026-01-01T01:09:00"),
            ("SELECT count() FROM trips WHERE cab IN ('a', 'b')", "count\n3"),
            (
                "SELECT count()\nFROM trips WHERE ts IN 'soon'",
                "42601 \"soon\" is no interval of time (line 2, column 24); write '2026-01', '2026-01-01T10', '2026-01-01;6h', '2026-01-01;6h;1d;3', '$today' or '$now - 1h..$now'",
            ),
        ],
    );
    let plan = world.run("EXPLAIN SELECT count() FROM trips WHERE ts IN '2027'");
    assert!(
        plan.contains("EmptyExec") || !plan.contains("ParquetSource") && !plan.contains("file_groups"),
        "{plan}"
    );
    for (sql, incremental) in [
        ("SELECT count() FROM trips WHERE ts IN '2026-01'", true),
        ("SELECT count() FROM trips WHERE ts IN '$now - 1h..$now'", true),
        ("SELECT count() FROM trips WHERE ts IN '$today'", false),
        ("SELECT count() FROM trips LATEST ON ts PARTITION BY cab", false),
        ("SELECT ts FROM trips LIMIT -2", false),
    ] {
        let live = world.engine.plan_live(&world.ctx(), sql).unwrap();
        assert_eq!(live.reason().is_none(), incremental, "{sql}: {:?}", live.reason());
    }
}

#[test]
fn limits_count_from_both_ends() {
    let mut world = World::new();
    world.run("CREATE TABLE n (ts TIMESTAMP, id LONG) timestamp(ts)");
    world.run("INSERT INTO n SELECT CAST(value AS TIMESTAMP), value FROM generate_series(1, 9)");
    world.run("INSERT INTO n VALUES (9, 10)");
    let mut ids = |limit: &str| {
        let rows = world.try_run(&format!("SELECT id FROM n {limit}")).unwrap_or_else(|e| e.message);
        rows.lines().skip(1).collect::<Vec<_>>().join(" ")
    };
    for (limit, expected) in [
        ("LIMIT -3", "8 9 10"),
        ("LIMIT 2, 4", "3 4"),
        ("LIMIT 4, 2", "3 4"),
        ("LIMIT -4, -2", "7 8"),
        ("LIMIT -2, -4", "7 8"),
        ("LIMIT 7, -1", "8 9"),
        ("LIMIT 7, -5", ""),
        ("LIMIT 3, 0", "1 2 3"),
        ("LIMIT 0, 3", "1 2 3"),
        ("LIMIT -2, 0", "9 10"),
        ("LIMIT 2,", "1 2"),
        ("LIMIT ,2", "1 2"),
        ("LIMIT -100", "1 2 3 4 5 6 7 8 9 10"),
        ("LIMIT 8, 100", "9 10"),
        ("LIMIT 100, 200", ""),
        ("ORDER BY id DESC LIMIT -2", "2 1"),
        ("ORDER BY id % 3, id LIMIT -3", "2 5 8"),
        ("WHERE id > 100 LIMIT -3", ""),
        ("WHERE id > 8 LIMIT -1", "10"),
    ] {
        assert_eq!(ids(limit), expected, "{limit}");
    }
    check(
        &mut world,
        &[
            ("n LIMIT -1", "ts|id\n1970-01-01T00:00:00.000009|10"),
            ("SELECT sum(id) FROM (SELECT id FROM n LIMIT -2)", "sum\n19"),
            ("SELECT id % 2 k, count() c FROM n GROUP BY k ORDER BY c, k LIMIT -1", "k|c\n1|5"),
            (
                "SELECT id FROM n UNION ALL SELECT id FROM n LIMIT -1",
                "42601 LIMIT counts from an end of an order, and nothing is ordered (line 1, column 1); add ORDER BY",
            ),
        ],
    );
}

#[test]
fn names_and_groups_are_those_of_questdb() {
    check(
        &mut World::trips(),
        &[
            ("SELECT 1 + 1, 2 * 3, 5", "column|column1|5\n2|6|5"),
            ("SELECT price * 2, upper(cab) FROM trips WHERE cab = 'b'", "column|upper\n40.0|B"),
            (
                "SELECT cab, avg(price) average FROM trips ORDER BY cab",
                "Cab|average\na|7.875\nb|20.0\nc|NULL",
            ),
            (
                "SELECT cab, riders, count() FROM trips WHERE riders > 0 ORDER BY 1",
                "Cab|riders|count\na|1|1\nb|2|1\nc|4|1",
            ),
            (
                "SELECT upper(cab) u, max(price) - min(price) FROM trips ORDER BY u LIMIT 1",
                "u|column\nA|5.25",
            ),
            ("SELECT count_distinct(cab), 'x' k FROM trips", "count_distinct|k\n3|x"),
            ("SELECT DISTINCT cab FROM trips ORDER BY cab", "Cab\na\nb\nc"),
            ("SELECT cab, sum(price) OVER () s FROM trips WHERE cab = 'b' -- why\n;", "Cab|s\nb|20.0"),
            ("SELECT 3600000000L x", "x\n3600000000"),
        ],
    );
}
