//! Columns that go, and tables that move, as queries see them.

use nowcast_model::Tick;
use nowcast_views::{View, ViewLimits};

use super::*;

const COLUMNS: &str = "SELECT string_agg(\"column\", ',') AS c FROM table_columns('q')";

fn world() -> World {
    let mut world = World::new();
    world.run(
        "CREATE TABLE q (v INT, ts TIMESTAMP, s SYMBOL, w DOUBLE) timestamp(ts) PARTITION BY DAY DEDUP UPSERT KEYS(ts, s);
         INSERT INTO q VALUES (1, '2026-01-01', 'a', 0.5), (2, '2026-01-02', 'b', 1.5)",
    );
    world
}

/// In parts that have it, hot rows, parts that never had it, with what is dead, and merged.
#[test]
fn a_dropped_column_is_read_from_nowhere() {
    let mut world = world();
    world.store.flush(true).unwrap();
    world.run("INSERT INTO q VALUES (3, '2026-01-03', 'a', 2.5); ALTER TABLE q DROP COLUMN v");
    let cases = [
        (
            "SELECT * FROM q WHERE w > 1 ORDER BY ts",
            "ts|s|w\n2026-01-02T00:00:00|b|1.5\n2026-01-03T00:00:00|a|2.5",
        ),
        (COLUMNS, "c\nts,s,w"),
        ("SELECT count(*) AS n FROM q WHERE ts >= '2026-01-02'", "n\n2"),
    ];
    check(&mut world, &cases);
    assert!(world.error("SELECT v FROM q").starts_with("42703"));
    world.store.flush(true).unwrap();
    check(&mut world, &cases);
    // Found by its key in a part whose columns stand elsewhere; what is dead there stays dead.
    world.run("INSERT INTO q (ts, s, w) VALUES ('2026-01-01', 'a', 7); ALTER TABLE q ADD COLUMN v VARCHAR");
    let cases = [
        ("SELECT s, w, v FROM q ORDER BY ts", "s|w|v\na|7.0|NULL\nb|1.5|NULL\na|2.5|NULL"),
        ("SELECT count(*) AS n FROM q WHERE v IS NULL", "n\n3"),
        ("SELECT count(*) AS n FROM q WHERE v = '1' OR v = '2'", "n\n0"),
        ("SELECT count(v) AS n FROM q", "n\n0"),
    ];
    check(&mut world, &cases);
    world.run("INSERT INTO q (ts, s, v) VALUES ('2026-01-04', 'c', 'x'); UPDATE q SET v = 'y' WHERE s = 'b'");
    let cases = [("SELECT s, w, v FROM q ORDER BY ts", "s|w|v\na|7.0|NULL\nb|1.5|y\na|2.5|NULL\nc|NULL|x")];
    check(&mut world, &cases);
    world.store.flush(true).unwrap();
    while world.store.compact(&mut || std::ops::ControlFlow::Continue(())).unwrap() {}
    check(&mut world, &cases);
    world.run("ALTER TABLE q DROP COLUMN IF EXISTS gone, DROP COLUMN v, DROP w");
    check(&mut world, &[(COLUMNS, "c\nts,s"), ("SELECT count(*) AS n FROM q", "n\n4")]);
    // A table that is made like it begins anew.
    world.run("CREATE TABLE r (LIKE q); ALTER TABLE r ADD COLUMN v INT; INSERT INTO r (ts, s, v) VALUES (1, 'a', 1)");
    world.store.flush(true).unwrap();
    check(&mut world, &[("SELECT s, v FROM r", "s|v\na|1")]);
}

#[test]
fn what_cannot_go_is_told() {
    let mut world = world();
    world.run("CREATE TABLE one (x INT); CREATE TABLE Other (x INT)");
    for (sql, expected) in [
        (
            "ALTER TABLE q DROP COLUMN ts",
            ["0A000", "\"ts\" is the time column of q", "column 27", "INSERT INTO"],
        ),
        (
            "ALTER TABLE q DROP COLUMN w, s",
            ["0A000", "one of the DEDUP UPSERT KEYS", "column 30", "DEDUP DISABLE"],
        ),
        ("ALTER TABLE q DROP COLUMN x", ["42703", "no column \"x\"", "column 27", ""]),
        ("ALTER TABLE one DROP COLUMN x", ["0A000", "would have no columns", "column 13", "DROP TABLE"]),
        ("RENAME TABLE q TO OTHER", ["42P07", "the table Other exists already", "column 19", "another name"]),
        (
            "ALTER TABLE q RENAME TO nowhere.q",
            ["3F000", "no schema \"nowhere\"", "column 25", "CREATE SCHEMA nowhere"],
        ),
        ("RENAME TABLE nothing TO something", ["42P01", "nothing", "column 14", ""]),
        ("RENAME TABLE q TO 'a/b'", ["", "'/'", "column 19", ""]),
        ("RENAME TABLE q", ["42601", "TO", "", "RENAME TABLE old TO new"]),
    ] {
        let error = world.error(sql);
        for part in expected {
            assert!(error.contains(part), "{sql}: {error} lacks {part}");
        }
    }
    world.run("RENAME TABLE IF EXISTS nothing TO something; RENAME TABLE q TO Q");
    check(&mut world, &[("SELECT count(*) AS n FROM q", "n\n2")]);
}

#[test]
fn a_renamed_table_leaves_its_name() {
    let mut world = world();
    world.store.flush(true).unwrap();
    world.run(
        "CREATE SCHEMA s; RENAME TABLE q TO s.p; CREATE TABLE q (x INT); INSERT INTO q VALUES (9);
         INSERT INTO s.p VALUES (5, '2026-01-01', 'a', 9.5); ALTER TABLE s.p RENAME TO r",
    );
    let cases = [
        ("SELECT x FROM q", "x\n9"),
        ("SELECT v FROM s.r ORDER BY ts", "v\n5\n2"),
        ("SELECT table_name FROM tables() ORDER BY 1", "table_name\nq\nr"),
    ];
    check(&mut world, &cases);
    assert!(world.error("SELECT * FROM s.p").starts_with("42P01"));
    world.store.flush(true).unwrap();
    check(&mut world, &cases);
}

/// A view that does not read what went goes on, seeded before or after it.
#[test]
fn live_queries_outlive_columns_that_they_do_not_read() {
    let mut world = world();
    let plan = |world: &World, sql: &str| world.engine.plan_live(&world.ctx(), sql).unwrap();
    let (sum, all) = (plan(&world, "SELECT sum(w) FROM q"), plan(&world, "q"));
    let again = plan(&world, "SELECT q.*, b.s FROM q JOIN q b ON q.ts = b.ts");
    let (tick, limits) = (Tick::containing(NOW_US), ViewLimits::default());
    let seed = |world: &World, live: &LiveQuery| -> Result<View, nowcast_views::ViewError> {
        world.runtime.block_on(world.engine.seed(&world.ctx(), live, tick, &limits, |_| {}))
    };
    let (mut early, mut ended) = (seed(&world, &sum).unwrap(), seed(&world, &all).unwrap());
    world.run("ALTER TABLE q DROP COLUMN v");
    let statement = world.engine.parse_one("INSERT INTO q VALUES ('2026-01-05', 'c', 3)").unwrap();
    let items = world.runtime.block_on(world.engine.write_items(&world.ctx(), &statement)).unwrap();
    for change in world.write(items) {
        let nowcast_model::Change::Rows(rows) = change else { panic!("{change:?}") };
        early.apply(&rows).unwrap();
        let error = ended.apply(&rows).unwrap_err().to_string();
        assert_eq!(error, "the column \"v\" of q was dropped; change the query and subscribe again");
    }
    let late = seed(&world, &sum).unwrap();
    for mut view in [early, late] {
        let mut table = nowcast_views::LiveTable::new(
            Arc::new(sum.schema.clone()),
            nowcast_model::Version::ZERO.next(),
            &limits,
        );
        view.publish(nowcast_model::Version::ZERO.next(), &mut table).unwrap();
        let rows = table.changes_since(None).upsert;
        assert_eq!(rows, [Arc::from([Value::Float(5.0)])]);
    }
    assert!(seed(&world, &all).is_err_and(|e| e.to_string().contains("the column \"v\" of q was dropped")));
    let error = world.runtime.block_on(world.engine.evaluate(&world.ctx(), &again, tick, 10)).unwrap_err();
    assert!(error.to_string().contains("other columns than when it was planned"), "{error}");
}
