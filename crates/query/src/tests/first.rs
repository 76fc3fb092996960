//! `DISTINCT ON` beside the window function that says the same.

use super::*;

/// Many keys, NULLs among them, in two parts and in memory, in no order of time.
fn readings() -> World {
    let mut world = World::new();
    world.run(
        "CREATE TABLE readings (ts TIMESTAMP, host SYMBOL, site VARCHAR, level DOUBLE, n LONG) timestamp(ts)",
    );
    for seed in 1..=3 {
        world.run(&format!(
            "INSERT INTO readings SELECT rnd_timestamp('2026-01-01', '2026-01-03', 0),
               rnd_symbol('a', 'b', 'c', 'd', NULL), rnd_str(1, 2, 5), rnd_double(5), rnd_long(-50, 50, 4)
             FROM long_sequence(30000, {seed}, 7)"
        ));
        if seed < 3 {
            world.store.flush(true).unwrap();
        }
    }
    world
}

#[test]
fn the_first_row_of_each_key_is_that_of_a_window() {
    let mut world = readings();
    let cases = [
        ("host", "ts DESC, level, site, n"),
        ("host", "n NULLS FIRST, ts"),
        ("host, site", "n DESC, ts DESC, level"),
        ("site", "level DESC NULLS LAST, ts, n"),
        ("n", "ts, host, site"),
        ("date_trunc('hour', ts), host", "n DESC NULLS LAST, ts DESC"),
        // Some 60,000 keys: rows are copied together on the way.
        ("ts, site", "n, level, host"),
    ];
    for (keys, order) in cases {
        let first = world.run(&format!(
            "SELECT DISTINCT ON ({keys}) ts, host, site, level, n FROM readings ORDER BY {keys}, {order}"
        ));
        let window = world.run(&format!(
            "SELECT ts, host, site, level, n FROM (
               SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS place FROM readings
             ) r WHERE place = 1 ORDER BY {keys}"
        ));
        assert!(first.lines().count() > 4, "{keys}: {first}");
        assert_eq!(first, window, "{keys} by {order}");
    }
}

#[test]
fn a_condition_on_the_keys_is_asked_first_and_one_on_other_columns_last() {
    let mut world = World::trips();
    let latest = "SELECT cab, price FROM (SELECT * FROM trips LATEST ON ts PARTITION BY cab) l";
    check(
        &mut world,
        &[
            (&format!("{latest} WHERE cab <> 'a' ORDER BY cab"), "Cab|price\nb|20.0\nc|NULL"),
            // The newest row of `a` costs less: the older one must not take its place.
            (&format!("{latest} WHERE price > 6 ORDER BY cab"), "Cab|price\nb|20.0"),
        ],
    );
    let plan = world.run(&format!("EXPLAIN {latest} WHERE cab = 'b' AND price > 6"));
    let below = plan.split("FirstOf").nth(1).unwrap_or_default();
    assert!(below.contains("= Dictionary(Int32, Utf8(\"b\"))") || below.contains("Utf8(\"b\")"), "{plan}");
    assert!(plan.contains("mode=Final, keys=[cab@"), "{plan}");
}

#[test]
fn rows_of_few_symbols_are_picked_where_they_are_read() {
    let mut world = readings();
    let plan =
        world.run("EXPLAIN ANALYZE SELECT max(level) FROM readings WHERE host IN ('a', 'b') AND n > 3");
    assert!(plan.contains("pushdown_rows_pruned="), "{plan}");
    let count = |world: &mut World, condition: &str| {
        world.run(&format!("SELECT count(*) AS n FROM readings WHERE {condition}"))
    };
    // Read apart, and all together.
    let apart = ["host = 'a' AND n > 3", "host IN ('b') AND n > 3", "'c' = host AND n > 3"];
    let apart: u64 = apart.iter().map(|c| count(&mut world, c)[2..].trim().parse::<u64>().unwrap()).sum();
    let whole = count(&mut world, "length(host) = 1 AND host < 'd' AND n > 3");
    assert_eq!(format!("n\n{apart}\n"), whole);
}
