//! SAMPLE BY.

use super::*;

/// Readings of two probes over three hours: equal times, a NULL, a gap.
fn probes() -> World {
    let mut world = World::new();
    world.run("CREATE TABLE Probes (ts TIMESTAMP, Probe SYMBOL, x DOUBLE, n LONG) timestamp(ts)");
    world.run(
        "INSERT INTO probes VALUES
           ('2026-01-01T00:10:00Z', 'a', 1.0, 10),
           ('2026-01-01T00:50:00Z', 'a', 3.0, 20),
           ('2026-01-01T00:50:00Z', 'b', 5.0, 30)",
    );
    world.store.flush(true).unwrap();
    world.run(
        "INSERT INTO probes VALUES
           ('2026-01-01T01:00:00Z', 'b', NULL, NULL),
           ('2026-01-01T04:59:59.999999Z', 'a', 9.0, 50)",
    );
    world
}

#[test]
fn columns_that_are_not_aggregated_are_keys() {
    check(
        &mut probes(),
        &[
            (
                "SELECT ts, avg(x), count() FROM probes SAMPLE BY 1h",
                "ts|avg|count\n2026-01-01T00:00:00|3.0|3\n2026-01-01T01:00:00|NULL|1\n2026-01-01T04:00:00|9.0|1",
            ),
            (
                "SELECT probe, ts AS At, sum(n) FROM probes SAMPLE BY 1h ORDER BY at DESC, probe",
                "Probe|At|sum\na|2026-01-01T04:00:00|50\nb|2026-01-01T01:00:00|NULL\na|2026-01-01T00:00:00|30\nb|2026-01-01T00:00:00|30",
            ),
            ("SELECT count() FROM probes SAMPLE BY 1d", "count\n5"),
            ("SELECT count() FROM probes WHERE probe = 'zz' SAMPLE BY 1h", "count"),
        ],
    );
}

#[test]
fn gaps_are_filled() {
    check(
        &mut probes(),
        &[
            (
                "SELECT ts, avg(x), count() FROM probes SAMPLE BY 1h FILL(NULL, 0)",
                "ts|avg|count\n2026-01-01T00:00:00|3.0|3\n2026-01-01T01:00:00|NULL|1\n2026-01-01T02:00:00|NULL|0\n2026-01-01T03:00:00|NULL|0\n2026-01-01T04:00:00|9.0|1",
            ),
            (
                "SELECT ts, max(x) m FROM probes SAMPLE BY 1h FILL(PREV)",
                "ts|m\n2026-01-01T00:00:00|5.0\n2026-01-01T01:00:00|NULL\n2026-01-01T02:00:00|NULL\n2026-01-01T03:00:00|NULL\n2026-01-01T04:00:00|9.0",
            ),
            (
                "SELECT ts, probe, max(x) m, sum(n) s FROM probes WHERE x > 0 SAMPLE BY 1h FILL(LINEAR, PREV) LIMIT 6",
                "ts|Probe|m|s\n2026-01-01T00:00:00|a|3.0|30\n2026-01-01T00:00:00|b|5.0|30\n2026-01-01T01:00:00|a|4.5|30\n2026-01-01T01:00:00|b|NULL|30\n2026-01-01T02:00:00|a|6.0|30\n2026-01-01T02:00:00|b|NULL|30",
            ),
            (
                "SELECT count() c FROM probes SAMPLE BY 1d FROM '2025-12-31' TO '2026-01-03' FILL(0)",
                "c\n0\n5\n0",
            ),
            (
                "SELECT ts, count() c FROM probes WHERE x > 100 SAMPLE BY 12h FROM '2026-01-01' TO '2026-01-02' FILL(NULL)",
                "ts|c\n2026-01-01T00:00:00|NULL\n2026-01-01T12:00:00|NULL",
            ),
            ("SELECT probe, count() c FROM probes WHERE x > 100 SAMPLE BY 12h FILL(NULL)", "Probe|c"),
            (
                "SELECT probe, count() c FROM probes SAMPLE BY 1d FILL(NONE) ORDER BY probe",
                "Probe|c\na|3\nb|2",
            ),
            ("SELECT sum(c) FROM (SELECT ts, count() c FROM probes SAMPLE BY 1h FILL(7))", "sum\n19"),
        ],
    );
}

#[test]
fn buckets_follow_calendars() {
    let mut world = World::new();
    world.run("CREATE TABLE c (ts TIMESTAMP, x LONG) timestamp(ts)");
    // Berlin: +1 in winter; 2026-03-29 01:00Z forward, 2026-10-25 01:00Z back.
    world.run(
        "INSERT INTO c VALUES ('2026-03-28T22:59:59Z', 1), ('2026-03-28T23:00:00Z', 2), ('2026-03-29T21:59:59Z', 3),
           ('2026-03-29T22:00:00Z', 4), ('2026-10-24T22:00:00Z', 5), ('2026-10-25T00:30:00Z', 6),
           ('2026-10-25T01:30:00Z', 7), ('2026-10-25T22:59:59Z', 8), ('2026-10-25T23:00:00Z', 9),
           ('2028-02-29T12:00:00Z', 10), ('2028-03-01T00:00:00Z', 11)",
    );
    check(
        &mut world,
        &[
            (
                "SELECT ts, sum(x) s FROM c WHERE ts < '2026-06-01' SAMPLE BY 1d ALIGN TO CALENDAR TIME ZONE 'Europe/Berlin'",
                "ts|s\n2026-03-27T23:00:00|1\n2026-03-28T23:00:00|5\n2026-03-29T22:00:00|4",
            ),
            (
                "SELECT ts, sum(x) s FROM c WHERE ts >= '2026-10-01' AND ts < '2027-01-01' SAMPLE BY 1d ALIGN TO CALENDAR TIME ZONE 'Europe/Berlin'",
                "ts|s\n2026-10-24T22:00:00|26\n2026-10-25T23:00:00|9",
            ),
            (
                "SELECT ts, sum(x) s FROM c WHERE ts >= '2026-10-25' AND ts < '2026-10-26' SAMPLE BY 1h ALIGN TO CALENDAR TIME ZONE 'Europe/Berlin' LIMIT 2",
                "ts|s\n2026-10-25T00:00:00|6\n2026-10-25T01:00:00|7",
            ),
            (
                "SELECT ts, count() s FROM c WHERE ts >= '2026-10-24T22' AND ts < '2026-10-25T02' SAMPLE BY 1h FILL(0) ALIGN TO CALENDAR TIME ZONE 'Europe/Berlin'",
                "ts|s\n2026-10-24T22:00:00|1\n2026-10-24T23:00:00|0\n2026-10-25T00:00:00|1\n2026-10-25T01:00:00|1",
            ),
            (
                "SELECT ts, sum(x) s FROM c WHERE ts > '2028-01-01' SAMPLE BY 1M",
                "ts|s\n2028-02-01T00:00:00|10\n2028-03-01T00:00:00|11",
            ),
            (
                "SELECT ts, count() s FROM c SAMPLE BY 1y FILL(0)",
                "ts|s\n2026-01-01T00:00:00|9\n2027-01-01T00:00:00|0\n2028-01-01T00:00:00|2",
            ),
            (
                "SELECT ts, count() s FROM c WHERE ts > '2028-01-01' SAMPLE BY 1w",
                "ts|s\n2028-02-28T00:00:00|2",
            ),
            (
                "SELECT ts, count() s FROM c WHERE ts > '2028-01-01' SAMPLE BY 1d ALIGN TO CALENDAR WITH OFFSET '12:30'",
                "ts|s\n2028-02-28T12:30:00|1\n2028-02-29T12:30:00|1",
            ),
            (
                "SELECT ts, count() s FROM c WHERE ts > '2028-01-01' SAMPLE BY 10h FILL(0) ALIGN TO FIRST OBSERVATION",
                "ts|s\n2028-02-29T12:00:00|1\n2028-02-29T22:00:00|1",
            ),
        ],
    );
}

#[test]
fn blocks_are_told_apart() {
    check(
        &mut probes(),
        &[
            (
                "WITH h AS (SELECT ts, count() c FROM probes SAMPLE BY 1h) SELECT ts, sum(c) s FROM h SAMPLE BY 1d",
                "ts|s\n2026-01-01T00:00:00|5",
            ),
            (
                "SELECT * FROM (SELECT ts, count() c FROM probes SAMPLE BY 1d UNION ALL SELECT ts, count() c FROM probes WHERE n > 20 SAMPLE BY 1d) ORDER BY c",
                "ts|c\n2026-01-01T00:00:00|2\n2026-01-01T00:00:00|5",
            ),
            (
                "SELECT a.ts, a.c, b.s FROM (SELECT ts, count() c FROM probes SAMPLE BY 1h) a JOIN (SELECT ts, sum(x) s FROM probes SAMPLE BY 1h) b ON a.ts = b.ts ORDER BY a.ts",
                "ts|c|s\n2026-01-01T00:00:00|3|9.0\n2026-01-01T01:00:00|1|NULL\n2026-01-01T04:00:00|1|9.0",
            ),
            ("SELECT count() c FROM (SELECT ts t, x FROM probes) SAMPLE BY 1d", "c\n5"),
            (
                "SELECT count() c FROM (SELECT ts + interval '1 day' AS t FROM probes) timestamp(t) SAMPLE BY 1d",
                "c\n5",
            ),
            (
                "SELECT a.probe, avg(a.x) m, a.ts AS ts FROM probes a INNER JOIN probes b ON a.probe = b.probe SAMPLE BY 1d ORDER BY ts DESC, m",
                "Probe|m|ts\na|4.333333333333333|2026-01-01T00:00:00\nb|5.0|2026-01-01T00:00:00",
            ),
            (
                "probes SAMPLE BY 1h",
                "42601 SAMPLE BY does not go with * (line 1, column 8); name the columns to group by, and the aggregates",
            ),
        ],
    );
}

#[test]
fn mistakes_have_places() {
    check(
        &mut probes(),
        &[
            (
                "SELECT count() FROM probes SAMPLE BY 5q",
                "42601 \"5q\" is no length of time (line 1, column 38); write a whole number and a unit: U (microseconds), T (milliseconds), s, m, h, d, w, M (months) or y; as in SAMPLE BY 5m",
            ),
            (
                "SELECT count()\nFROM probes\nSAMPLE BY 0m",
                "42601 \"0m\" is no length of time (line 3, column 11); write a whole number and a unit: U (microseconds), T (milliseconds), s, m, h, d, w, M (months) or y; as in SAMPLE BY 5m",
            ),
            (
                "SELECT count() FROM probes SAMPLE BY 1h ALIGN TO CALENDAR TIME ZONE 'Mars/X'",
                "42601 \"Mars/X\" is no time zone (line 1, column 69); write a name of the IANA database, 'Europe/Berlin', or '+02:00'",
            ),
            (
                "SELECT count(), sum(x), max(x) FROM probes SAMPLE BY 1h FILL(0, 1)",
                "42601 FILL has 2 values for 3 aggregates (line 1, column 57); give one for all of them, or one for each, in their order",
            ),
            (
                "SELECT count() FROM (SELECT x FROM probes) SAMPLE BY 1h",
                "42601 SAMPLE BY needs a time column, and what it reads has none that is known (line 1, column 44); name it behind the table or the subquery: FROM (SELECT …) timestamp(ts)",
            ),
            (
                "SELECT count() FROM probes SAMPLE BY 1T FILL(0)",
                "53000 FILL would make more than 10000000 rows (line 1, column 1); narrow the time range with WHERE or FROM … TO …, group by fewer keys, or sample by a longer step",
            ),
            (
                "SELECT max(probe) FROM probes SAMPLE BY 1h FILL(LINEAR)",
                "42601 FILL(LINEAR) needs a number, got VARCHAR (line 1, column 44); use PREV or NULL",
            ),
            (
                "SELECT count() FROM probes FILL(NULL)",
                "42601 FILL stands without a SAMPLE BY (line 1, column 28); write SAMPLE BY 5m FILL(PREV) ALIGN TO CALENDAR, behind WHERE",
            ),
        ],
    );
}

#[test]
fn live_queries_stay_incremental_without_fill() {
    let world = probes();
    for (sql, reason) in [
        ("SELECT ts, probe, avg(x) FROM probes SAMPLE BY 1h", None),
        ("SELECT ts, count() FROM probes WHERE ts > now() - interval '1 hour' SAMPLE BY 1w", None),
        ("SELECT ts, count() FROM probes SAMPLE BY 1d ALIGN TO CALENDAR TIME ZONE 'Europe/Berlin'", None),
        ("SELECT ts, count() FROM probes SAMPLE BY 1h FILL(PREV)", Some("fills gaps")),
    ] {
        let live = world.engine.plan_live(&world.ctx(), sql).unwrap();
        match (live.reason(), reason) {
            (None, None) => {}
            (Some(actual), Some(reason)) if actual.contains(reason) => {}
            (actual, _) => panic!("{sql}: {actual:?}"),
        }
    }
}
