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
                "42601 \"soon\" is no interval of time (line 2, column 24); write '2026-01', '2026-01-01T10', '2026-01-01;6h', '2026-01-01;6h;1d;3', '2026-01-[05,10..12]', '2026-01-01@Europe/Berlin', '$today' or '$now - 1h..$now'",
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
        ("SELECT count() FROM trips LATEST ON ts PARTITION BY cab", true),
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

/// Trades and quotes of two symbols: equal times, a key without quotes, quotes after the last trade.
fn market() -> World {
    let mut world = World::new();
    world.run(
        "CREATE TABLE trades (ts TIMESTAMP, sym SYMBOL, p LONG) timestamp(ts);
         CREATE TABLE quotes (ts TIMESTAMP, sym VARCHAR, bid LONG) timestamp(ts);
         INSERT INTO trades VALUES (10, 'a', 1), (20, 'a', 2), (20, 'b', 3), (30, 'c', 4), (40, 'a', 5), (40, NULL, 6);
         INSERT INTO quotes VALUES (5, 'a', 50), (15, 'b', 51), (20, 'a', 52), (20, 'a', 53), (35, NULL, 54), (50, 'a', 55)",
    );
    world
}

#[test]
fn rows_are_joined_by_time() {
    check(
        &mut market(),
        &[
            (
                "SELECT t.p, q.bid FROM trades t ASOF JOIN quotes q ON (sym) ORDER BY p",
                "p|bid\n1|50\n2|53\n3|51\n4|NULL\n5|53\n6|54",
            ),
            (
                "SELECT t.p, q.bid FROM trades t LT JOIN quotes q ON t.sym = q.sym ORDER BY p",
                "p|bid\n1|50\n2|50\n3|51\n4|NULL\n5|53\n6|54",
            ),
            (
                "SELECT p, bid FROM trades ASOF JOIN quotes ORDER BY p",
                "p|bid\n1|50\n2|53\n3|53\n4|53\n5|54\n6|54",
            ),
            (
                "SELECT p, bid FROM trades ASOF JOIN quotes USING (sym) TOLERANCE 5U WHERE p < 4 ORDER BY p",
                "p|bid\n1|50\n2|53\n3|51",
            ),
            (
                "SELECT p, bid FROM trades ASOF JOIN quotes ON (sym) TOLERANCE 4U ORDER BY p",
                "p|bid\n1|NULL\n2|53\n3|NULL\n4|NULL\n5|NULL\n6|NULL",
            ),
            (
                "SELECT * FROM trades t ASOF JOIN (SELECT ts, sym, max(bid) m FROM quotes SAMPLE BY 10U) q ON (sym) WHERE p = 2",
                "ts|sym|p|ts1|sym1|m\n1970-01-01T00:00:00.000020|a|2|1970-01-01T00:00:00.000020|a|53",
            ),
            (
                "SELECT t.sym, avg(bid) b FROM trades t ASOF JOIN quotes q ON (sym) ORDER BY sym",
                "sym|b\na|52.0\nb|51.0\nc|NULL\nNULL|54.0",
            ),
            (
                "SELECT count() c FROM trades t ASOF JOIN (SELECT * FROM quotes WHERE bid > 100) q ON (sym)",
                "c\n6",
            ),
            (
                "SELECT count() c FROM (SELECT * FROM trades WHERE p > 100) t ASOF JOIN quotes q ON (sym)",
                "c\n0",
            ),
            (
                "SELECT t.ts, t.p, q.ts, q.bid FROM trades t SPLICE JOIN quotes q ON (sym) WHERE t.sym = 'a' OR q.sym = 'a' ORDER BY coalesce(t.p, 0), q.bid",
                "ts|p|ts1|bid\nNULL|NULL|1970-01-01T00:00:00.000005|50\n1970-01-01T00:00:00.000010|1|1970-01-01T00:00:00.000005|50\n1970-01-01T00:00:00.000020|2|1970-01-01T00:00:00.000020|52\n1970-01-01T00:00:00.000020|2|1970-01-01T00:00:00.000020|53\n1970-01-01T00:00:00.000040|5|1970-01-01T00:00:00.000020|53\n1970-01-01T00:00:00.000040|5|1970-01-01T00:00:00.000050|55",
            ),
            (
                "SELECT p, q.bid, r.bid b2 FROM trades t ASOF JOIN quotes q ON (sym) LT JOIN quotes r ON (sym) WHERE p = 2",
                "p|bid|b2\n2|53|50",
            ),
            (
                "WITH q AS (SELECT ts, sym, bid FROM quotes) SELECT sum(bid) s FROM trades ASOF JOIN q ON (sym)",
                "s\n261",
            ),
            (
                "SELECT p FROM trades t ASOF JOIN quotes q ON t.sym = q.sym AND q.bid > 3",
                "0A000 the condition of ASOF JOIN is not of equal keys alone (line 1, column 24); write ON (key, …) or ON a.key = b.key AND …; filter in WHERE",
            ),
            (
                "SELECT p FROM trades ASOF JOIN (SELECT bid FROM quotes) q",
                "42601 ASOF JOIN needs a time column, and what it reads has none that is known (line 1, column 22); name it behind the table or the subquery: FROM (SELECT …) timestamp(ts)",
            ),
        ],
    );
    let live = market();
    let live =
        live.engine.plan_live(&live.ctx(), "SELECT p, bid FROM trades ASOF JOIN quotes ON (sym)").unwrap();
    assert!(live.reason().is_some_and(|reason| reason.contains("joins tables")), "{:?}", live.reason());
}

#[test]
fn joins_by_time_hold_over_many_batches() {
    let mut world = World::new();
    world.run(
        "CREATE TABLE l (ts TIMESTAMP, k LONG, x LONG) timestamp(ts);
         CREATE TABLE r (ts TIMESTAMP, k LONG, y LONG) timestamp(ts);
         INSERT INTO l SELECT value * 1000, value % 7, value FROM generate_series(1, 20000, 13);
         INSERT INTO r SELECT value * 100, value % 7, value FROM generate_series(1, 200000)",
    );
    // Of 7 keys the last quote is at most six steps back: y is the greatest of its key up to 10 x.
    check(
        &mut world,
        &[(
            "SELECT count() c, min(10 * x - y) a, max(10 * x - y) b, sum(CASE WHEN y % 7 = x % 7 THEN 0 ELSE 1 END) w FROM (SELECT l.x x, r.y y FROM l ASOF JOIN r ON (k))",
            "c|a|b|w\n1539|0|6|0",
        )],
    );
}

#[test]
fn windows_are_groups() {
    let mut world = World::new();
    world.run(
        "CREATE TABLE w (ts TIMESTAMP, k SYMBOL, x LONG) timestamp(ts);
         INSERT INTO w VALUES ('2026-01-01T00:00:01Z', 'a', 1), ('2026-01-01T00:00:09Z', 'b', 2), ('2026-01-01T00:00:12Z', 'a', 3), ('2026-01-01T00:01:30Z', 'a', 4)",
    );
    check(
        &mut world,
        &[
            (
                "SELECT tumble(ts, '10s') t, sum(x) s FROM w GROUP BY t ORDER BY t",
                "t|s\n2026-01-01T00:00:00|3\n2026-01-01T00:00:10|3\n2026-01-01T00:01:30|4",
            ),
            ("SELECT tumble(ts, '1w'), count() FROM w", "tumble|count\n2025-12-29T00:00:00|4"),
            (
                "SELECT hop(ts, '10s', '20s') h, sum(x) s FROM w WHERE ts < '2026-01-01T00:01' GROUP BY h ORDER BY h",
                "h|s\n2025-12-31T23:59:50|3\n2026-01-01T00:00:00|6\n2026-01-01T00:00:10|3",
            ),
            (
                "SELECT session(ts, '10s') b, count() c FROM w GROUP BY b ORDER BY b",
                "b|c\n2026-01-01T00:00:01|3\n2026-01-01T00:01:30|1",
            ),
            (
                "SELECT k, session(ts, '10s') b, count() c FROM w ORDER BY k, b",
                "k|b|c\na|2026-01-01T00:00:01|1\na|2026-01-01T00:00:12|1\na|2026-01-01T00:01:30|1\nb|2026-01-01T00:00:09|1",
            ),
            ("SELECT count_window(3) n, sum(x) s FROM w ORDER BY n", "n|s\n0|6\n1|4"),
            ("SELECT k, count_window(2) n, sum(x) s FROM w ORDER BY k, n", "k|n|s\na|0|4\na|1|4\nb|0|2"),
            (
                "SELECT hop(ts, '10s', '25s') h, count() FROM w",
                "42601 25s is not a whole number of steps of 10s (line 1, column 8); hop(ts, step, length) takes a length of 1 to 1000 steps",
            ),
            (
                "SELECT tumble(ts, 'x') h, count() FROM w",
                "42601 'x' is no length of time (line 1, column 8); write a whole number and a unit in quotes: U (microseconds), T (milliseconds), s, m, h, d, w, M (months) or y",
            ),
        ],
    );
    let live = world.engine.plan_live(&world.ctx(), "SELECT tumble(ts, '10s') t, k, sum(x) FROM w").unwrap();
    assert_eq!(live.reason(), None);
}

#[test]
fn what_is_cut_short_or_called_by_name_ends_in_an_error() {
    let mut world = World::trips();
    for sql in [
        "SELECT * FROM trips ASOF JOIN",
        "SELECT * FROM trips ASOF JOIN trips ON",
        "SELECT * FROM trips ASOF JOIN trips q ON (cab) TOLERANCE",
        "SELECT * FROM trips LT JOIN trips q ON ()",
        "SELECT count() FROM trips SAMPLE BY",
        "SELECT count() FROM trips SAMPLE BY 99999999999999999999h",
        "SELECT count() FROM trips SAMPLE BY 9223372036854775807y",
        "SELECT count() FROM trips SAMPLE BY 1000000y",
        "SELECT count() FROM trips SAMPLE BY 1h FILL(",
        "SELECT count() FROM trips SAMPLE BY 1h FILL()",
        "SELECT count() FROM trips SAMPLE BY 1h FILL(cab)",
        "SELECT count() FROM trips SAMPLE BY 1h FROM",
        "SELECT count() FROM trips SAMPLE BY 1h FROM 'x' TO 'y'",
        "SELECT count() FROM trips SAMPLE BY $none",
        "SELECT count() FROM trips SAMPLE BY 1h SAMPLE BY 1h",
        "SELECT * FROM trips LATEST ON",
        "SELECT * FROM trips LATEST BY",
        "SELECT cab FROM trips LIMIT ,",
        "SELECT cab FROM trips LIMIT 1, 2, 3",
        "SELECT cab FROM trips LIMIT 'a', 2",
        "SELECT cab FROM trips WHERE ts IN '9999;9999y'",
        "SELECT cab FROM trips WHERE ts IN '0000-00'",
        "SELECT cab FROM trips WHERE ts IN",
        "SELECT _fill()",
        "SELECT _tail(1)",
        "SELECT _bucket(1)",
        "SELECT _asof('ASOF')",
        "SELECT * FROM trips WHERE _fill()",
        "SELECT * FROM trips WHERE _fill('1h +00:00', ts, NULL, NULL, NULL, 'key')",
        "SELECT a.cab FROM trips a LEFT JOIN trips b ON _asof('ASOF', 1)",
        "SELECT a.cab FROM trips a LEFT JOIN trips b ON _asof()",
        "SELECT cab FROM trips LIMIT _tail('x', now())",
        "SELECT cab FROM trips LIMIT _limit(1)",
        "SELECT cab FROM trips WHERE ts IN (_interval())",
        "SELECT hop(ts) FROM trips",
        "SELECT tumble() FROM trips",
        "SELECT session(ts, 5) FROM trips",
        "SELECT count_window(0), count() FROM trips",
        ") SAMPLE BY 1h",
        "SELECT ) LIMIT 1, 2",
    ] {
        match world.try_run(sql) {
            Ok(rows) => assert!(!rows.contains("a|"), "{sql}: {rows}"),
            Err(error) => assert_ne!(error.code, SqlCode::Internal, "{sql}: {error}"),
        }
    }
}
