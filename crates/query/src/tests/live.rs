//! Which queries are maintained, and how.

use nowcast_views::{Bound, Direction};

use super::*;

fn plan(world: &World, sql: &str) -> LiveQuery {
    world.engine.plan_live(&world.ctx(), sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

#[test]
fn queries_over_one_table_are_maintained() {
    let world = World::trips();
    for sql in [
        "SELECT * FROM trips",
        "trips WHERE price > 3",
        "SELECT ts, upper(cab) FROM trips ORDER BY ts DESC LIMIT 10",
        "SELECT cab FROM trips LIMIT 3",
        "SELECT cab FROM trips ORDER BY price * 2 DESC NULLS LAST LIMIT 3",
        "SELECT count(*) FROM trips",
        "SELECT cab, count(), sum(price), avg(riders), min(ts), max(note) FROM trips GROUP BY cab",
        "SELECT date_bin(interval '10 seconds', ts) AS t, count(DISTINCT cab) FROM trips GROUP BY t ORDER BY t",
        "SELECT cab, sum(price) AS s FROM trips GROUP BY cab HAVING sum(price) > 3 ORDER BY s DESC LIMIT 2",
        "SELECT sum(price) FILTER (WHERE cab = 'a') / count(*) FROM trips",
        "SELECT count() FROM trips WHERE ts > now() - interval '1 minute' AND now() >= ts",
        "SELECT DISTINCT cab FROM trips ORDER BY cab",
        "SELECT t.cab, max(t.price) FROM trips AS t GROUP BY 1 ORDER BY 2",
        "SELECT count() FROM trips WHERE cab IN ('a', 'b') AND note LIKE 'f%' OR riders BETWEEN 1 AND 3",
        "SELECT min(cab) FROM trips",
        "SELECT a.cab, b.note FROM trips a JOIN trips b ON a.cab = b.cab AND a.riders < b.riders",
        "SELECT a.cab, count() FROM trips a LEFT JOIN trips b USING (note) GROUP BY 1 ORDER BY 2 DESC LIMIT 3",
        "SELECT a.cab FROM trips a, trips b WHERE a.riders + 1 = b.riders AND a.ts > now() - interval '1 hour'",
        "SELECT count() FROM trips WHERE cab IN (SELECT note FROM trips WHERE riders > 1)",
        "SELECT cab FROM trips UNION ALL SELECT note FROM trips ORDER BY 1",
        "SELECT n, count() FROM (SELECT cab, count() AS n FROM trips GROUP BY cab) x GROUP BY n HAVING n > 1",
        "SELECT cab, first(price), last(note), median(price), stddev(price), variance(riders) FROM trips GROUP BY cab",
        "SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY price DESC) FROM trips",
        "SELECT * FROM trips LATEST ON ts PARTITION BY cab",
        "SELECT avg(price) FROM trips SAMPLE BY 1m",
        "SELECT cab, count() FROM trips GROUP BY cab, tumble(ts, '10s')",
        "SELECT DISTINCT count() FROM trips GROUP BY cab HAVING count() > 1 ORDER BY 1",
        "SELECT DISTINCT x.cab FROM (SELECT cab, price * 2 AS p FROM trips) x WHERE x.p > 3",
    ] {
        let live = plan(&world, sql);
        assert_eq!(live.reason(), None, "{sql}");
    }
}

#[test]
fn others_run_again_with_a_reason() {
    let world = World::trips();
    for (sql, reason, clock) in [
        ("SELECT a.cab FROM trips a JOIN trips b ON a.riders < b.riders", "without an equality", false),
        ("SELECT a.cab FROM trips a JOIN trips b ON a.price = b.price", "without an equality", false),
        ("SELECT a.cab FROM trips a ASOF JOIN trips b ON a.cab = b.cab", "by time", false),
        ("SELECT approx_distinct(price) FROM trips", "approx_distinct()", false),
        ("SELECT DISTINCT ON (cab) * FROM trips ORDER BY cab, ts", "the order of DISTINCT ON", false),
        ("SELECT cab, avg(price) FROM trips SAMPLE BY 1m FILL(PREV)", "fills gaps", false),
        ("SELECT row_number() OVER (ORDER BY ts) FROM trips", "window functions", false),
        ("SELECT cab, count() FROM trips GROUP BY cab LIMIT 3", "LIMIT without ORDER BY", false),
        ("SELECT cab FROM trips ORDER BY ts LIMIT 3 OFFSET 2", "OFFSET", false),
        ("SELECT now() - max(ts) AS age FROM trips", "now() stands outside", true),
        (
            "SELECT count() FROM trips WHERE ts > date_trunc('hour', now())",
            "not a time column against now()",
            true,
        ),
        (
            "SELECT count() FROM trips WHERE ts > now() - interval '1 month'",
            "not a time column against now()",
            true,
        ),
        ("SELECT * FROM (SELECT cab FROM trips ORDER BY ts LIMIT 3) x", "limits its rows", false),
        ("SELECT count() FROM trips WHERE cab NOT IN (SELECT note FROM trips)", "subquery", false),
        ("SELECT sum(DISTINCT price) FROM trips", "sum(DISTINCT …)", false),
        ("SELECT * FROM tables()", "", true),
    ] {
        let live = plan(&world, sql);
        match &live.mode {
            LiveMode::Incremental { .. } => panic!("{sql} is incremental"),
            LiveMode::Reevaluated { reason: actual, clock: names, .. } => {
                assert!(actual.contains(reason), "{sql}: {actual}");
                assert_eq!(*names, clock, "{sql}");
            }
        }
    }
}

#[test]
fn chance_is_refused() {
    let world = World::trips();
    let error = world.engine.plan_live(&world.ctx(), "SELECT random() FROM trips").unwrap_err();
    assert!(error.message.contains("random()"), "{error}");
    assert_eq!(error.column, 8);
}

#[test]
fn ranges_become_windows() {
    let world = World::trips();
    let live = plan(
        &world,
        "SELECT count() FROM trips WHERE ts >= now() - interval '5 minutes' AND ts > now() - interval '1 hour'
         AND ts BETWEEN '2020-01-01' AND now() + interval '10 seconds' AND price > 1",
    );
    let LiveMode::Incremental { plan, .. } = &live.mode else { panic!("{live:?}") };
    let window = plan.flow.window.unwrap();
    assert_eq!(window.lower, Some(Bound { offset_us: -300_000_000, inclusive: true }));
    assert_eq!(window.upper, Some(Bound { offset_us: 10_000_000, inclusive: true }));
    assert!(plan.flow.filter.is_some());
    assert_eq!(plan.flow.leaves()[0].0.columns, [0, 2]);
    let explained = live.explain();
    assert_eq!(explained[3], ("window".into(), "ts from now - 300 s to now + 10 s".into()));
}

#[test]
fn keys_and_orders_are_told() {
    let world = World::trips();
    let shape = |sql: &str| {
        let live = plan(&world, sql);
        let name = |i: &usize| {
            let column = &live.schema.columns[*i];
            if column.hidden { format!("({})", column.name) } else { column.name.to_string() }
        };
        let key: Vec<String> = live.schema.key.iter().map(name).collect();
        let order: Vec<String> = live
            .schema
            .order
            .iter()
            .map(|(i, d)| format!("{}{}", name(i), if *d == Direction::Desc { " desc" } else { "" }))
            .collect();
        format!("{} / {}", key.join(", "), order.join(", "))
    };
    for (sql, expected) in [
        ("SELECT Cab, count() FROM trips GROUP BY cab ORDER BY 2 DESC", "Cab / count desc"),
        ("SELECT count() FROM trips GROUP BY cab, riders", "(_key0), (_key1) / "),
        ("SELECT count() FROM trips", " / "),
        ("SELECT note FROM trips ORDER BY ts DESC LIMIT 3", "(_seq) / (_order1) desc"),
        ("SELECT _seq, note FROM trips ORDER BY _seq DESC LIMIT 3", "_seq / _seq desc"),
        ("SELECT DISTINCT cab FROM trips", "Cab / "),
        (
            "SELECT a.cab, count() FROM trips a JOIN trips b ON a.cab = b.cab GROUP BY a.cab ORDER BY 1",
            "Cab / Cab",
        ),
        ("SELECT a.note FROM trips a JOIN trips b ON a.cab = b.cab", "(_id0), (_id1) / "),
        ("SELECT cab FROM trips UNION ALL SELECT note FROM trips", "(_id0), (_id1), (_id2) / "),
        // Run again:
        ("SELECT a.note FROM trips a JOIN trips b ON a.riders < b.riders", "note, (_n) / "),
        (
            "SELECT a.note FROM trips a JOIN trips b ON a.riders < b.riders ORDER BY b.ts",
            "note, (_n) / (_row)",
        ),
    ] {
        assert_eq!(shape(sql), expected, "{sql}");
    }
}

#[test]
fn identity_is_the_structure() {
    let mut world = World::trips();
    let identity = |world: &World, sql: &str| plan(world, sql).identity;
    let a = identity(&world, "select  count()   from TRIPS where cab = 'a'");
    assert_eq!(a, identity(&world, "SELECT count() FROM trips -- same\n WHERE Cab = 'a';"));
    assert_ne!(a, identity(&world, "SELECT count() FROM trips WHERE Cab = 'A'"));
    world.params.named.insert("cab".into(), Param::Scalar("a".into()));
    assert_eq!(a, identity(&world, "SELECT count() FROM trips WHERE cab = $cab"));
    let sliding = "SELECT count() FROM trips WHERE ts > $from";
    world.params.named.insert("from".into(), Param::Ago { ago_us: 300_000_000 });
    let then = identity(&world, sliding);
    world.now_us += 5_000_000;
    assert_eq!(then, identity(&world, sliding));
    let star = identity(&world, "trips");
    world.run("ALTER TABLE trips ADD COLUMN tip DOUBLE");
    assert_ne!(star, identity(&world, "trips"));
    assert_eq!(then, identity(&world, sliding));
}

#[test]
fn explain_live_is_a_table() {
    let mut world = World::trips();
    let rows = world.run("EXPLAIN LIVE SELECT cab, count() FROM trips GROUP BY cab");
    assert!(rows.starts_with("item|value\nmode|incremental\nreason|"), "{rows}");
    assert!(rows.contains("\ntables|Trips\nwindow|none\nkey|Cab\n"), "{rows}");
}

#[test]
fn operators_are_told() {
    let world = World::trips();
    let told = |sql: &str| {
        let explained = plan(&world, sql).explain();
        explained
            .into_iter()
            .filter(|(item, _)| item == "operators" || item == "window")
            .map(|(_, v)| v)
            .collect::<Vec<_>>()
            .join(" / ")
    };
    for (sql, expected) in [
        ("SELECT cab FROM trips ORDER BY ts DESC LIMIT 3", "none / Trips > rows > first 3"),
        (
            "SELECT b.cab, count() FROM trips a JOIN trips b ON a.cab = b.cab
             WHERE a.ts > now() - interval '5 minutes' AND b.riders > 1 GROUP BY b.cab ORDER BY 2 DESC LIMIT 5",
            "ts from now - 300 s / (Trips [window] join Trips [filter]) > groups by 1 key > first 5",
        ),
        (
            "SELECT count() FROM trips WHERE cab IN (SELECT note FROM trips)",
            "none / (Trips semi join Trips) > one group",
        ),
    ] {
        assert_eq!(told(sql), expected, "{sql}");
    }
}

#[test]
fn rows_that_run_again_are_numbered() {
    let mut world = World::trips();
    let live = plan(&world, "SELECT a.cab FROM trips a, trips b WHERE a.cab = 'a' AND b.cab = 'a'");
    let rows = world.values(&live, Tick::containing(NOW_US));
    let numbers: Vec<&Value> = rows.iter().map(|row| &row[1]).collect();
    assert_eq!(numbers, [&Value::Int(0), &Value::Int(1), &Value::Int(2), &Value::Int(3)]);
}
