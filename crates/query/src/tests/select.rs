//! Queries: the dialect, names, parameters, scans.

use std::collections::BTreeMap;

use super::*;

#[test]
fn names_match_without_case_and_results_keep_it() {
    check(
        &mut World::trips(),
        &[
            ("SELECT CAB, Price FROM TRIPS WHERE \"PRICE\" > 10 ORDER BY price", "Cab|price\na|10.5\nb|20.0"),
            ("SELECT cab AS Taxi FROM 'trips' t WHERE T.price = 20", "Taxi\nb"),
            ("SELECT \"Cab\" FROM \"Trips\" WHERE \"cab\" = 'c'", "Cab\nc"),
            ("SELECT x.Taxi FROM (SELECT cab AS TAXI FROM trips) x WHERE taxi = 'b'", "TAXI\nb"),
            ("SELECT count() FROM trips", "count\n4"),
            (
                "SELECT count(), COUNT(*), sum(price) FROM public.trips -- a comment\n;",
                "count|count1|sum\n4|4|35.75",
            ),
            ("SELECT count(*) AS N FROM nowcast.public.trips", "N\n4"),
            ("SELECT 1; /* nothing */ ; SELECT 2 AS two", "1\n1\ntwo\n2"),
            ("SELECT extract(minute FROM ts) FROM trips WHERE cab = 'c'", "extract\n9"),
        ],
    );
}

#[test]
fn a_table_alone_is_a_query() {
    check(
        &mut World::trips(),
        &[
            ("trips WHERE cab = 'b'", "ts|Cab|price|riders|note\n2026-01-01T00:02:00|b|20.0|2|NULL"),
            ("'trips' LIMIT 0", "ts|Cab|price|riders|note"),
        ],
    );
}

#[test]
fn the_present_is_the_context_s_and_has_no_zone() {
    check(
        &mut World::trips(),
        &[
            ("SELECT now()", "now\n2026-01-01T00:10:00"),
            (
                "SELECT current_timestamp AS t, systimestamp() AS s",
                "t|s\n2026-01-01T00:10:00|2026-01-01T00:10:00",
            ),
            ("SELECT count() FROM trips WHERE ts >= now() - interval '5 minutes'", "count\n2"),
            ("SELECT count() FROM trips WHERE ts > current_timestamp - interval '3 minute'", "count\n1"),
            ("SELECT count() FROM trips WHERE ts < '2026-01-01T00:02:00.000001Z'", "count\n2"),
            (
                "SELECT date_bin(interval '5 minutes', ts) AS bucket, count() FROM trips GROUP BY bucket ORDER BY 1",
                "bucket|count\n2026-01-01T00:00:00|2\n2026-01-01T00:05:00|2",
            ),
            ("SELECT max(ts)::timestamptz AS m FROM trips", "m\n2026-01-01T00:09:00"),
        ],
    );
}

#[test]
fn seq_is_hidden_and_can_be_named() {
    check(
        &mut World::trips(),
        &[
            ("SELECT _seq, cab FROM trips ORDER BY _seq", "_seq|Cab\n1|a\n2|b\n3|a\n4|c"),
            (
                "SELECT * FROM trips WHERE _seq = 3",
                "ts|Cab|price|riders|note\n2026-01-01T00:07:00|a|5.25|NULL|NULL",
            ),
            (
                "SELECT t.* FROM trips t ORDER BY t._seq LIMIT 1",
                "ts|Cab|price|riders|note\n2026-01-01T00:01:00|a|10.5|1|first",
            ),
        ],
    );
}

#[test]
fn parts_older_than_a_column_have_nulls() {
    let mut world = World::trips();
    world.run("ALTER TABLE trips ADD COLUMN Tip DOUBLE");
    world.run("INSERT INTO trips (ts, tip) VALUES (now(), 1.5)");
    check(
        &mut world,
        &[
            ("SELECT count(tip), count() FROM trips", "count|count1\n1|5"),
            ("SELECT cab, tip FROM trips WHERE ts < '2026-01-01T00:02:00Z'", "Cab|Tip\na|NULL"),
            ("SELECT tip FROM trips WHERE tip > 1", "Tip\n1.5"),
        ],
    );
}

#[test]
fn limits_break_ties_by_seq() {
    let mut world = World::trips();
    world.run("INSERT INTO trips (ts, note) VALUES (now(), 'x'), (now(), 'y'), (now(), 'z')");
    check(
        &mut world,
        &[
            ("SELECT note FROM trips ORDER BY ts DESC LIMIT 2", "note\nx\ny"),
            (
                "SELECT cab, count() AS n FROM trips GROUP BY cab ORDER BY n DESC LIMIT 3",
                "Cab|n\nNULL|3\na|2\nb|1",
            ),
        ],
    );
}

#[test]
fn tables_about_tables() {
    check(
        &mut World::trips(),
        &[
            ("SHOW TABLES", "table_name\nTrips"),
            (
                "SELECT table_name, designatedTimestamp, partitionBy, rows FROM tables()",
                "table_name|designatedTimestamp|partitionBy|rows\nTrips|ts|DAY|4",
            ),
            (
                "SELECT \"column\", type FROM table_columns('trips') LIMIT 2",
                "column|type\nts|TIMESTAMP\nCab|SYMBOL",
            ),
            (
                "SELECT column_name FROM information_schema.columns WHERE ordinal_position = 3",
                "column_name\nprice",
            ),
            ("SELECT x FROM generate_series(1, 3) AS t(x)", "x\n1\n2\n3"),
        ],
    );
}

#[test]
fn parameters_take_the_type_of_their_place() {
    let mut world = World::trips();
    let mut with = |positional: Vec<Value>, sql: &str| {
        world.params = Params::positional(positional);
        world.run(sql).trim_end().to_owned()
    };
    assert_eq!(with(vec![Value::from("20")], "SELECT cab FROM trips WHERE price = $1"), "Cab\nb");
    assert_eq!(with(vec![Value::Int(2)], "SELECT count() FROM trips WHERE riders >= $1"), "count\n2");
    assert_eq!(with(vec![Value::Int(-1)], "SELECT 1 - $1 AS x"), "x\n2");
    let at = Value::Timestamp(NOW_US - 180_000_000);
    assert_eq!(with(vec![at], "SELECT count() FROM trips WHERE ts >= $1"), "count\n2");
    assert_eq!(
        with(vec![Value::from("2026-01-01T00:09:00Z")], "SELECT count() FROM trips WHERE ts >= $1"),
        "count\n1"
    );
    assert_eq!(with(vec![Value::from("o'; DROP TABLE x; --")], "SELECT $1 AS x"), "x\no'; DROP TABLE x; --");
}

#[test]
fn named_parameters_are_values_lists_times_or_all() {
    let mut world = World::trips();
    let cases: [(&str, Param, &str); 9] = [
        ("cab = $x", Param::All, "4"),
        ("cab IN ($X)", Param::All, "4"),
        ("cab = $x", Param::Scalar("a".into()), "2"),
        ("cab = $x", Param::List(vec!["a".into(), "b".into()]), "3"),
        ("cab IN ($x)", Param::List(vec!["b".into(), "c".into()]), "2"),
        ("cab IN ($x)", Param::List(vec![]), "0"),
        ("cab = ANY($x)", Param::List(vec!["c".into()]), "1"),
        ("ts >= $x", Param::Ago { ago_us: 300_000_000 }, "2"),
        ("ts BETWEEN $x AND now()", Param::All, "4"),
    ];
    for (predicate, param, expected) in cases {
        world.params = Params { positional: vec![], named: BTreeMap::from([("x".to_owned(), param)]) };
        let rows = world.run(&format!("SELECT count() FROM trips WHERE {predicate}"));
        assert_eq!(rows, format!("count\n{expected}\n"), "{predicate}");
    }
}

#[test]
fn statements_describe_themselves() {
    let world = World::trips();
    let describe = |sql: &str| {
        let statement = world.engine.parse_one(sql).unwrap();
        let described = world.engine.describe(&world.ctx(), &statement).unwrap();
        let params: Vec<String> =
            described.params.iter().map(|p| p.as_ref().map_or("?".into(), ToString::to_string)).collect();
        let names: Vec<String> = described.schema.fields().iter().map(|f| f.name().clone()).collect();
        format!("({}) -> {}", params.join(", "), names.join(", "))
    };
    assert_eq!(
        describe("SELECT Cab, count() FROM trips WHERE price > $1 GROUP BY cab"),
        "(Float64) -> Cab, count"
    );
    assert_eq!(describe("INSERT INTO trips (cab, ts) VALUES ($2, $1)"), "(Timestamp(µs), Utf8) -> ");
    assert_eq!(describe("SHOW TABLES"), "() -> table_name");
    assert_eq!(describe("BEGIN"), "() -> ");
}

#[test]
fn a_count_of_all_rows_reads_none() {
    let mut world = World::trips();
    let plan = world.run("EXPLAIN SELECT count(*) FROM trips");
    assert!(!plan.contains("DataSourceExec"), "{plan}");
}

#[test]
fn time_columns_are_compared_without_casts() {
    let mut world = World::trips();
    for predicate in [
        "ts > '2026-01-01'",
        "ts BETWEEN '2026-01-01' AND now()",
        "ts >= now() - interval '1 day' AND ts < '2026-02-01T00:00:00Z'::timestamptz",
        "ts = timestamp '2026-01-01 00:00:00'",
        "date_trunc('hour', now()) <= ts",
    ] {
        let plan = world.run(&format!("EXPLAIN SELECT price FROM trips WHERE {predicate}"));
        assert!(!plan.contains("CAST"), "{predicate}: {plan}");
    }
}

#[test]
fn the_newest_row_of_each_key() {
    let sql = "SELECT DISTINCT ON (cab) cab, price FROM trips ORDER BY cab, ts DESC";
    check(&mut World::trips(), &[(sql, "Cab|price\na|5.25\nb|20.0\nc|NULL")]);
}

#[test]
fn parts_out_of_range_are_not_opened() {
    let mut world = World::trips();
    let plan = world.run("EXPLAIN SELECT price FROM trips WHERE ts >= now() - interval '4 minutes'");
    assert_eq!(plan.matches(".parquet").count(), 1, "{plan}");
}

#[test]
fn cells_of_a_dictionary_without_values_are_null() {
    let none: arrow::array::DictionaryArray<arrow::datatypes::Int32Type> =
        [None::<&str>, None].into_iter().collect();
    assert_eq!(cells(&(Arc::new(none) as _)).unwrap(), [Value::Null, Value::Null]);
}
