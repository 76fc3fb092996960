//! Statements that change tables.

use super::*;

#[test]
fn create_table_takes_both_dialects() {
    let mut world = World::new();
    world.run("CREATE SCHEMA IF NOT EXISTS Shop; CREATE SCHEMA IF NOT EXISTS shop");
    world.run(
        "CREATE TABLE IF NOT EXISTS shop.Orders (
           id bigint NOT NULL, sku varchar(20), paid boolean NULL, price double precision, small int2,
           at timestamp with time zone, tag SYMBOL CAPACITY 256 CACHE INDEX, key uuid
         ) timestamp(AT) PARTITION BY hour TTL 2 DAYS WAL;",
    );
    check(
        &mut world,
        &[
            (
                "SHOW CREATE TABLE SHOP.orders",
                "ddl\nCREATE TABLE Shop.Orders (\n  \"id\" LONG,\n  \"sku\" VARCHAR,\n  \"paid\" BOOLEAN,\n  \"price\" DOUBLE,\n  \
                 \"small\" SHORT,\n  \"at\" TIMESTAMP,\n  \"tag\" SYMBOL,\n  \"key\" VARCHAR\n) timestamp(\"at\") \
                 PARTITION BY HOUR TTL 172800 SECONDS;",
            ),
            (
                "CREATE TABLE shop.orders (a INT)",
                "42P07 the table Shop.orders exists already (line 1, column 14); write CREATE TABLE IF NOT EXISTS",
            ),
            (
                "CREATE TABLE x (a SERIAL)",
                "0A000 there is no type SERIAL (line 1, column 19); there are no sequences; use LONG and send the number",
            ),
            (
                "CREATE TABLE x (a INT PRIMARY KEY)",
                "0A000 PRIMARY KEY is not supported (line 1, column 23); leave it out, and read the newest row of a key with SELECT DISTINCT ON (key) … ORDER BY key, ts DESC",
            ),
            (
                "CREATE TABLE x (a INT, A LONG)",
                "42701 the columns \"A\" and \"a\" have the same name; names match without case (line 1, column 14)",
            ),
            (
                "CREATE TABLE x (a TIMESTAMP, b INT) timestamp(a) DEDUP UPSERT KEYS(b)",
                "42601 DEDUP UPSERT KEYS must name the time column \"a\" (line 1, column 68); a key holds within one time",
            ),
            (
                "CREATE TABLE x (a INT) DEDUP UPSERT KEYS(a)",
                "42601 DEDUP UPSERT KEYS needs a time column (line 1, column 42); write … ) timestamp(ts) PARTITION BY DAY DEDUP UPSERT KEYS(ts, …)",
            ),
            (
                "CREATE TABLE x (a TIMESTAMP) timestamp(a) DEDUP KEYS(a)",
                "42601 UPSERT KEYS is expected, found \"KEYS\" (line 1, column 49); write DEDUP UPSERT KEYS(ts, key)",
            ),
            (
                "CREATE TABLE x (a DUBLE)",
                "0A000 there is no type DUBLE (line 1, column 19); did you mean \"DOUBLE\"?",
            ),
            (
                "CREATE TABLE x (a INT) timestamp(b)",
                "42703 the table x has no column \"b\" (line 1, column 34); did you mean \"a\"?",
            ),
        ],
    );
}

#[test]
fn upserts_replace_rows_in_memory_and_in_parts() {
    let mut world = World::new();
    world.run(
        "CREATE TABLE q (ts TIMESTAMP, s SYMBOL, v INT) timestamp(ts) PARTITION BY DAY DEDUP UPSERT KEYS(ts, s);
         INSERT INTO q VALUES ('2026-01-01', 'a', 1), ('2026-01-01', 'b', 2), ('2026-01-02', 'a', 3)",
    );
    world.store.flush(true).unwrap();
    world.run("INSERT INTO q VALUES ('2026-01-01', 'a', 10), ('2026-01-03', 'a', 4), ('2026-01-03', 'a', 5)");
    check(
        &mut world,
        &[
            (
                "SELECT ts, s, v FROM q ORDER BY ts, s",
                "ts|s|v\n2026-01-01T00:00:00|a|10\n2026-01-01T00:00:00|b|2\n2026-01-02T00:00:00|a|3\n2026-01-03T00:00:00|a|5",
            ),
            ("SELECT count(*) AS n, sum(v) AS v FROM q", "n|v\n4|20"),
            ("SELECT v FROM q WHERE s = 'a' AND ts < '2026-01-02'", "v\n10"),
            ("SELECT count(*) AS n FROM q WHERE ts >= '2026-01-02'", "n\n2"),
            (
                "SHOW CREATE TABLE q",
                "ddl\nCREATE TABLE q (\n  \"ts\" TIMESTAMP,\n  \"s\" SYMBOL,\n  \"v\" INT\n) timestamp(\"ts\") PARTITION BY DAY DEDUP UPSERT KEYS(\"ts\", \"s\");",
            ),
        ],
    );
    world.run("ALTER TABLE q DEDUP DISABLE; INSERT INTO q VALUES ('2026-01-03', 'a', 6)");
    check(&mut world, &[("SELECT v FROM q WHERE ts = '2026-01-03' ORDER BY v", "v\n5\n6")]);
    world.run("ALTER TABLE q DEDUP ENABLE UPSERT KEYS(ts, s); INSERT INTO q VALUES ('2026-01-03', 'a', 7)");
    check(&mut world, &[("SELECT v FROM q WHERE ts = '2026-01-03' ORDER BY v", "v\n7")]);
}

#[test]
fn partitions_are_dropped_by_name() {
    let mut world = World::new();
    world.run(
        "CREATE TABLE q (ts TIMESTAMP, v INT) timestamp(ts) PARTITION BY MONTH;
         INSERT INTO q VALUES ('2026-01-31', 1), ('2026-02-01', 2), ('2026-02-28T23:59:59', 3), ('2026-03-01', 4)",
    );
    world.store.flush(true).unwrap();
    world.run("INSERT INTO q VALUES ('2026-02-10', 5)");
    world.run("ALTER TABLE q DROP PARTITION LIST '2026-02'");
    check(
        &mut world,
        &[
            ("SELECT v FROM q ORDER BY v", "v\n1\n4"),
            ("SELECT count(*) AS n FROM q", "n\n2"),
            (
                "ALTER TABLE q DROP PARTITION LIST 'soon'",
                "42601 \"soon\" names no partition of q (line 1, column 35); it is partitioned by MONTH: write its beginning, as \"2026-01\"",
            ),
        ],
    );
}

#[test]
fn insert_takes_columns_in_any_order() {
    let mut world = World::trips();
    world.run("CREATE TABLE copy (ts TIMESTAMP, cab VARCHAR, price LONG) timestamp(ts)");
    world.run("INSERT INTO copy (price, ts, cab) SELECT riders, ts, cab FROM trips WHERE riders IS NOT NULL");
    check(
        &mut world,
        &[
            ("SELECT cab, price FROM copy ORDER BY ts", "cab|price\na|1\nb|2\nc|4"),
            (
                "INSERT INTO copy (cab) VALUES ('x')",
                "22000 no value is given for the time column \"ts\" (line 1, column 13); name it among the columns; now() is a value",
            ),
            (
                "INSERT INTO copy VALUES (now(), 'x', 1, 2)",
                "42601 4 values are given for 3 columns (line 1, column 18); the columns are ts, cab, price",
            ),
            (
                "INSERT INTO copy (ts, kab) VALUES (now(), 'x')",
                "42703 the table copy has no column \"kab\" (line 1, column 23); did you mean \"cab\"?",
            ),
            (
                "INSERT INTO copy (ts, price) VALUES (NULL, 1)",
                "22000 the time column \"ts\" cannot be NULL (line 1, column 30); give every row a time; now() is a value",
            ),
        ],
    );
    let error = world.error("INSERT INTO copy (ts, price) VALUES (now(), 1.5)");
    assert!(error.contains("column \"price\" is LONG"), "{error}");
    let error = world.error("INSERT INTO copy (ts) VALUES ('yesterday')");
    assert!(error.contains("column \"ts\" is TIMESTAMP"), "{error}");
}

#[test]
fn tables_go_and_rows_go() {
    let mut world = World::trips();
    world.run("TRUNCATE TABLE trips");
    assert_eq!(world.run("SELECT count() FROM trips"), "count\n0\n");
    world.run("ALTER TABLE trips SET TTL 7d; DROP TABLE trips; DROP TABLE IF EXISTS trips");
    assert!(world.error("trips").contains("there is no table"));
}

#[test]
fn session_statements_are_told_apart() {
    let world = World::new();
    let parse = |sql: &str| format!("{:?}", world.engine.parse_one(sql).unwrap());
    assert_eq!(
        parse("SET application_name TO 'psql'"),
        "Set { name: \"application_name\", value: Some(\"psql\") }"
    );
    assert_eq!(
        parse("SET search_path = ecommerce, public"),
        "Set { name: \"search_path\", value: Some(\"ecommerce, public\") }"
    );
    assert_eq!(parse("RESET all"), "Set { name: \"all\", value: None }");
    assert_eq!(parse("SHOW TRANSACTION ISOLATION LEVEL"), "Show(Variable(\"transaction_isolation\"))");
    for (sql, tag) in [
        ("BEGIN READ ONLY", "BEGIN"),
        ("BEGIN WORK ISOLATION LEVEL SERIALIZABLE, READ WRITE NOT DEFERRABLE", "BEGIN"),
        ("SET TRANSACTION READ ONLY", "SET"),
        ("SET LOCAL statement_timeout = 5", "SET"),
        ("START TRANSACTION", "BEGIN"),
        ("END", "COMMIT"),
        ("ABORT", "ROLLBACK"),
        ("DISCARD ALL", "DISCARD"),
    ] {
        assert_eq!(world.engine.parse_one(sql).unwrap().tag(), tag);
    }
}

#[test]
fn a_renamed_column_is_read_from_parts_of_either_name() {
    let mut world = World::new();
    world.run(
        "CREATE TABLE q (ts TIMESTAMP, s SYMBOL, v INT) timestamp(ts) PARTITION BY DAY;
         INSERT INTO q VALUES ('2026-01-01', 'a', 1), ('2026-01-02', 'b', 2)",
    );
    world.store.flush(true).unwrap();
    world.run(
        "ALTER TABLE q RENAME COLUMN v TO value; ALTER TABLE q RENAME s TO sign;
         INSERT INTO q VALUES ('2026-01-03', 'a', 3)",
    );
    let cases = [
        (
            "SELECT * FROM q ORDER BY ts",
            "ts|sign|value\n2026-01-01T00:00:00|a|1\n2026-01-02T00:00:00|b|2\n2026-01-03T00:00:00|a|3",
        ),
        ("SELECT value FROM q WHERE sign = 'a' AND value < 3", "value\n1"),
        ("SELECT sign, sum(value) AS n FROM q GROUP BY sign ORDER BY sign", "sign|n\na|4\nb|2"),
        ("SELECT count(*) AS n FROM q WHERE value >= 2", "n\n2"),
    ];
    check(&mut world, &cases);
    world.store.flush(true).unwrap();
    check(&mut world, &cases);
    world.run("DELETE FROM q WHERE value = 2; UPDATE q SET value = value * 10, sign = 'c' WHERE sign = 'a'");
    check(
        &mut world,
        &[
            ("SELECT sign, value FROM q ORDER BY ts", "sign|value\nc|10\nc|30"),
            ("SELECT count(*) AS n FROM q WHERE sign = 'a'", "n\n0"),
        ],
    );
    world.store.flush(true).unwrap();
    check(&mut world, &[("SELECT sign, value FROM q ORDER BY ts", "sign|value\nc|10\nc|30")]);
}
