//! `long_sequence`, `timestamp_sequence` and the `rnd_` family.

use super::*;

/// An answer without its header.
fn rows(world: &mut World, sql: &str) -> Vec<String> {
    world.run(sql).lines().skip(1).map(str::to_owned).collect()
}

fn with_options(batch_rows: usize, target_partitions: usize) -> World {
    let mut world = World::new();
    let options = QueryOptions { batch_rows, target_partitions, ..QueryOptions::default() };
    world.engine = QueryEngine::new(options).unwrap();
    world
}

#[test]
fn a_sequence_is_a_table() {
    check(
        &mut World::trips(),
        &[
            ("SELECT x, x * x FROM long_sequence(3)", "x|column\n1|1\n2|4\n3|9"),
            ("SELECT t.x FROM long_sequence(2) t", "x\n1\n2"),
            ("SELECT * FROM long_sequence(2)", "x\n1\n2"),
            ("SELECT count() FROM long_sequence(100000)", "count\n100000"),
            ("SELECT count() FROM long_sequence(0)", "count\n0"),
            ("SELECT x FROM long_sequence(-1)", "x"),
            ("SELECT sum(x) FROM long_sequence(1000, 1, 2) WHERE x > 998", "sum\n1999"),
            (
                "SELECT a.x, b.x FROM long_sequence(2) a JOIN long_sequence(3) b ON a.x + 1 = b.x ORDER BY 1",
                "x|x1\n1|2\n2|3",
            ),
            (
                "SELECT x, riders FROM long_sequence(4) JOIN trips ON x = riders ORDER BY x",
                "x|riders\n1|1\n2|2\n4|4",
            ),
            ("SELECT x FROM long_sequence(1000000000000) LIMIT 2", "x\n1\n2"),
            (
                "SELECT x FROM long_sequence('n')",
                "42883 the function 'long_sequence' takes whole numbers as arguments, got n (line 1, column 15)",
            ),
            (
                "SELECT x FROM long_sequence(1, 2)",
                "42883 the function 'long_sequence' takes 1 or 3 arguments, got 2 (line 1, column 15)",
            ),
        ],
    );
}

#[test]
fn a_sequence_comes_in_order() {
    let mut world = World::new();
    let got = rows(&mut world, "SELECT x, rnd_int() FROM long_sequence(50000)");
    let numbers: Vec<i64> = got.iter().map(|row| row.split('|').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=50_000).collect::<Vec<_>>());
}

#[test]
fn times_follow_each_other() {
    check(
        &mut World::trips(),
        &[
            (
                "SELECT timestamp_sequence('2022-02-28T23:00:00', 3600000000L) FROM long_sequence(2)",
                "timestamp_sequence\n2022-02-28T23:00:00\n2022-03-01T00:00:00",
            ),
            (
                "SELECT timestamp_sequence_ns(0, 5) t FROM long_sequence(2)",
                "t\n1970-01-01T00:00:00\n1970-01-01T00:00:00.000000005",
            ),
            // Over other rows: as they come.
            (
                "SELECT x, timestamp_sequence(0, 1000000) t FROM long_sequence(9) WHERE x > 7",
                "x|t\n8|1970-01-01T00:00:00\n9|1970-01-01T00:00:01",
            ),
            (
                "SELECT timestamp_sequence(0, x * 1000000) t, x FROM long_sequence(4)",
                "t|x\n1970-01-01T00:00:00|1\n1970-01-01T00:00:01|2\n1970-01-01T00:00:03|3\n1970-01-01T00:00:06|4",
            ),
            ("SELECT count(DISTINCT t) FROM (SELECT timestamp_sequence(0, 1) t FROM trips)", "count\n4"),
            ("SELECT timestamp_sequence('2022-01-01', 5) t", "t\n2022-01-01T00:00:00"),
        ],
    );
    // Steps of chance: each in its range.
    let sql = "SELECT t FROM (SELECT timestamp_sequence(0, rnd_long(1, 3, 0) * 1000000L) t FROM long_sequence(1000, 1, 2))";
    let mut world = World::new();
    let got = rows(&mut world, sql);
    let times: Vec<i64> =
        got.iter().map(|row| row.parse::<chrono::NaiveDateTime>().unwrap().and_utc().timestamp()).collect();
    assert_eq!(times[0], 0);
    assert!(times.windows(2).all(|pair| (1..=3).contains(&(pair[1] - pair[0]))));
    assert_eq!(rows(&mut world, sql), got);
}

const EVERY: &str = "SELECT x, rnd_boolean() a, rnd_byte() b, rnd_short() c, rnd_int() d, rnd_long() e, rnd_float() f,
    rnd_double() g, rnd_char() h, rnd_str('a', 'b', NULL) i, rnd_str(2, 5, 3) j, rnd_str(10, 1, 2, 0) k,
    rnd_symbol('p', 'q') l, rnd_symbol(5, 3, 3, 2) m, rnd_varchar(1, 9, 4) n, rnd_uuid4() o, rnd_ipv4() p,
    rnd_ipv4('10.1.2.0/24', 3) q, rnd_long256() r, rnd_geohash(25) s, rnd_bin(2, 4, 5) t, rnd_decimal(8, 2, 0) u,
    rnd_timestamp('2022-01-01', '2022-12-31', 7) v, rnd_date('2022-01-01', '2022-12-31', 0) w,
    rnd_int(1000, 1500, 0) y, rnd_int(1000, 1500, 0) z FROM long_sequence(5000, 7, 8)";

#[test]
fn the_same_seeds_give_the_same_values() {
    let first = rows(&mut World::new(), EVERY);
    for (batch_rows, target_partitions) in [(8_192, 2), (100, 8), (7, 1)] {
        let mut world = with_options(batch_rows, target_partitions);
        assert_eq!(rows(&mut world, EVERY), first, "{batch_rows} rows, {target_partitions} partitions");
    }
    // Two calls of one form are two columns.
    let (y, z): (Vec<_>, Vec<_>) = first
        .iter()
        .map(|row| {
            let mut cells = row.rsplit('|');
            let z = cells.next().unwrap();
            (cells.next().unwrap(), z)
        })
        .unzip();
    assert_ne!(y, z);
    assert_ne!(rows(&mut World::new(), &EVERY.replace("7, 8)", "7, 9)")), first);
    let unseeded = EVERY.replace(", 7, 8)", ")");
    assert_ne!(rows(&mut World::new(), &unseeded), rows(&mut World::new(), &unseeded));
}

#[test]
fn seeds_reach_through_subqueries_and_joins() {
    let cases = [
        "SELECT rnd_int() r FROM (SELECT 1 AS one FROM long_sequence(2000, 1, 2)) t ORDER BY r",
        "SELECT rnd_int() r FROM (SELECT x AS n FROM long_sequence(2000, 1, 2) WHERE x > 5) ORDER BY r",
        "SELECT rnd_int() r FROM long_sequence(50, 1, 2) a CROSS JOIN long_sequence(60, 3, 4) b ORDER BY r",
        "SELECT max(rnd_double()) FROM long_sequence(2000, 1, 2)",
        "WITH t AS (SELECT rnd_int(0, 9, 0) k, rnd_double() v FROM long_sequence(9000, 1, 2)) SELECT k, count(), max(v) FROM t GROUP BY k ORDER BY k",
        "SELECT x FROM long_sequence(1000, 1, 2) WHERE rnd_boolean()",
        "SELECT rnd_int() r FROM long_sequence(10, 1, 2) UNION ALL SELECT rnd_int() FROM long_sequence(10, 1, 2) ORDER BY r",
    ];
    for sql in cases {
        let first = rows(&mut World::new(), sql);
        assert!(!first.is_empty(), "{sql}");
        assert_eq!(rows(&mut with_options(33, 4), sql), first, "{sql}");
    }
    // A value that is drawn once is one value, wherever it is used.
    let sql = "SELECT count() FROM (SELECT a, a + 1 b, a c FROM (SELECT rnd_int(0, 1000, 0) a FROM long_sequence(1000))) WHERE b = c + 1";
    assert_eq!(rows(&mut World::new(), sql), ["1000"]);
}

#[test]
fn values_lie_where_they_must() {
    check(
        &mut World::new(),
        &[
            (
                "SELECT min(a), max(a), min(b), max(b), min(c), max(c) FROM (SELECT rnd_int(3, 5, 0) a, rnd_byte(1, 2) b, rnd_long(-1, 1, 0) c FROM long_sequence(1000))",
                "min|max|min1|max1|min2|max2\n3|5|1|2|-1|1",
            ),
            (
                "SELECT count(), count(a), count(b) FROM (SELECT rnd_int(0, 9, 1) a, rnd_double(0) b FROM long_sequence(100))",
                "count|count1|count2\n100|0|100",
            ),
            // One in four is NULL, give or take.
            (
                "SELECT count(a) BETWEEN 7300 AND 7700 ok FROM (SELECT rnd_int(0, 9, 4) a FROM long_sequence(10000, 1, 1))",
                "ok\ntrue",
            ),
            (
                "SELECT avg(a) BETWEEN 0.49 AND 0.51 ok FROM (SELECT rnd_double() a FROM long_sequence(100000, 1, 1))",
                "ok\ntrue",
            ),
            (
                "SELECT min(a) >= 0 AND max(a) < 1 ok FROM (SELECT rnd_float() a FROM long_sequence(1000))",
                "ok\ntrue",
            ),
            (
                "SELECT count(DISTINCT a) FROM (SELECT rnd_symbol(5, 8, 8, 0) a FROM long_sequence(1000))",
                "count\n5",
            ),
            (
                "SELECT count(DISTINCT a) FROM (SELECT rnd_str('n', 's') a FROM long_sequence(1000))",
                "count\n2",
            ),
            (
                "SELECT min(length(a)), max(length(a)) FROM (SELECT rnd_str(2, 4, 0) a FROM long_sequence(1000))",
                "min|max\n2|4",
            ),
            (
                "SELECT count() FROM (SELECT rnd_uuid4() a FROM long_sequence(100)) WHERE a ~ '^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'",
                "count\n100",
            ),
            (
                "SELECT count() FROM (SELECT rnd_ipv4('10.1.2.0/24', 0) a FROM long_sequence(100)) WHERE a ~ '^10[.]1[.]2[.][0-9]{1,3}$'",
                "count\n100",
            ),
            (
                "SELECT count() FROM (SELECT rnd_long256() a FROM long_sequence(100)) WHERE a ~ '^0x[0-9a-f]{64}$'",
                "count\n100",
            ),
            (
                "SELECT count() FROM (SELECT rnd_geohash(20) a FROM long_sequence(100)) WHERE a ~ '^[0-9b-hjkmnp-z]{4}$'",
                "count\n100",
            ),
            (
                "SELECT count() FROM (SELECT rnd_decimal(5, 2, 0) a FROM long_sequence(100)) WHERE a ~ '^[0-9]{1,3}[.][0-9]{2}$'",
                "count\n100",
            ),
            (
                "SELECT min(a) >= '2022-01-01' AND max(a) <= '2022-01-02' ok FROM (SELECT rnd_timestamp('2022-01-01', '2022-01-02', 0) a FROM long_sequence(1000))",
                "ok\ntrue",
            ),
            ("SELECT rnd_int(5, 5, 0), rnd_str('z')", "rnd_int|rnd_str\n5|z"),
            (
                "SELECT rnd_int(1)",
                "42883 the function 'rnd_int' takes arguments as rnd_int() or (min, max, null_rate) (line 1, column 8)",
            ),
            (
                "SELECT rnd_int(5, 1, 0)",
                "22000 rnd_int() takes the lower end of a range first, got 5 and 1 (line 1, column 1)",
            ),
            (
                "SELECT rnd_str(1, 2000000, 0)",
                "22000 rnd_str() takes 1 to 1048576 as argument 2, got 2000000 (line 1, column 1)",
            ),
        ],
    );
}

#[test]
fn values_go_into_tables() {
    let mut world = World::new();
    world.run(
        "CREATE TABLE d (name STRING, load INT, fuel DOUBLE, ts TIMESTAMP) timestamp(ts) PARTITION BY YEAR",
    );
    world.run(
        "INSERT INTO d SELECT * FROM (SELECT rnd_str('truck_1', 'truck_2'), rnd_int(1000, 1500, 0), rnd_double(),
           timestamp_sequence('2022-01-01T00:00:00', 3600000000L) FROM long_sequence(87600))",
    );
    assert_eq!(
        world.run("SELECT count(), count(DISTINCT name), min(ts), max(ts) FROM d"),
        "count|count1|min|max\n87600|2|2022-01-01T00:00:00|2031-12-29T23:00:00\n"
    );
    world.run("INSERT INTO d VALUES (rnd_str('a'), rnd_int(1, 1, 0), 0.5, '2040-01-01')");
    assert_eq!(world.run("SELECT name, load FROM d WHERE ts > '2035-01-01'"), "name|load\na|1\n");
}
