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
