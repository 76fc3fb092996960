//! Aggregates, and windows over them, against values worked out by hand.

use super::*;

/// Trades of two coins, out of order, some without a price.
fn trades() -> World {
    let mut world = World::new();
    world.run("CREATE TABLE trades (ts TIMESTAMP, coin SYMBOL, price DOUBLE, amount LONG, note VARCHAR) timestamp(ts)");
    world.run(
        "INSERT INTO trades VALUES
           ('2026-01-01T00:00:30', 'a', 30.0, 1, 'third'),
           ('2026-01-01T00:00:10', 'a', 10.0, 3, 'first'),
           ('2026-01-01T00:00:20', 'b', 5.0, 2, NULL)",
    );
    world.store.flush(true).unwrap();
    world.run(
        "INSERT INTO trades VALUES
           ('2026-01-01T00:00:05', 'a', NULL, 1, 'none'),
           ('2026-01-01T00:00:40', 'a', NULL, 5, 'late'),
           ('2026-01-01T00:00:20', 'b', 7.0, 2, 'again')",
    );
    world
}

#[test]
fn first_and_last_go_by_time() {
    check(
        &mut trades(),
        &[
            (
                "SELECT coin, first(price) f, last(price) l, first(note) fn, last(note) ln FROM trades GROUP BY coin ORDER BY coin",
                "coin|f|l|fn|ln\na|NULL|NULL|none|late\nb|5.0|7.0|NULL|again",
            ),
            (
                "SELECT coin, first_not_null(price) f, last_not_null(price) l, first_not_null(note) n FROM trades GROUP BY coin ORDER BY coin",
                "coin|f|l|n\na|10.0|30.0|none\nb|5.0|7.0|again",
            ),
            (
                "SELECT first(coin), last(coin), first(amount), last(ts) FROM trades",
                "first|last|first1|last1\na|a|1|2026-01-01T00:00:40",
            ),
            ("SELECT first(price) f FROM trades WHERE price IS NOT NULL", "f\n10.0"),
            (
                "SELECT last(p) l FROM (SELECT ts AS at, price * 2 AS p FROM trades WHERE price > 0) t",
                "l\n60.0",
            ),
            ("SELECT last(price) l, first(price) f FROM trades t WHERE coin = 'b'", "l|f\n7.0|5.0"),
            ("SELECT first(price) f FROM trades WHERE false", "f\nNULL"),
            (
                "SELECT timestamp_floor('20s', ts) t, first(amount) f, last(amount) l FROM trades GROUP BY t ORDER BY t",
                "t|f|l\n2026-01-01T00:00:00|1|3\n2026-01-01T00:00:20|2|1\n2026-01-01T00:00:40|5|5",
            ),
            (
                "SELECT * FROM (SELECT coin, last(amount) n FROM trades GROUP BY coin) ORDER BY coin",
                "coin|n\na|5\nb|2",
            ),
        ],
    );
}

#[test]
fn aggregates_of_time_series() {
    check(
        &mut trades(),
        &[
            ("SELECT vwap(price, amount) v FROM trades", "v\n10.5"),
            (
                "SELECT coin, vwap(price, amount) v, weighted_avg(price, amount) w FROM trades GROUP BY coin ORDER BY coin",
                "coin|v|w\na|15.0|15.0\nb|6.0|6.0",
            ),
            // 10 stood for 10 s, 5 and 7 for none and 10 s.
            ("SELECT twap(price, ts) t FROM trades", "t\n8.5"),
            ("SELECT twap(price, ts) t FROM trades WHERE coin = 'b'", "t\n6.0"),
            ("SELECT twap(price, ts) t FROM trades WHERE false", "t\nNULL"),
            ("SELECT ksum(price) k, nsum(price) n, sum(price) s FROM trades", "k|n|s\n52.0|52.0|52.0"),
            ("SELECT nsum(v) n FROM (VALUES (1e100), (1.0), (-1e100)) t(v)", "n\n1.0"),
            ("SELECT ksum(v) k FROM (SELECT 0.1 v FROM long_sequence(1000000))", "k\n100000.0"),
            ("SELECT ksum(price) k FROM trades WHERE false", "k\nNULL"),
            ("SELECT count_distinct(coin) c, count_distinct(note) n FROM trades", "c|n\n2|5"),
            ("SELECT approx_count_distinct(x) c FROM long_sequence(3)", "c\n3"),
            (
                "SELECT round(approx_percentile(x, 0.5)) p, round(approx_median(x)) m FROM long_sequence(101)",
                "p|m\n51.0|51.0",
            ),
            ("SELECT mode(coin) c, mode(amount) a, mode(price) p FROM trades", "c|a|p\na|1|5.0"),
            ("SELECT mode(price) p FROM trades WHERE false", "p\nNULL"),
            ("SELECT string_agg(coin, ',') s FROM (SELECT coin FROM trades WHERE coin = 'b')", "s\nb,b"),
            ("SELECT string_distinct_agg(coin, ',') s FROM trades WHERE coin = 'b'", "s\nb"),
            ("SELECT bool_and(price > 5) a, bool_or(price > 5) o FROM trades", "a|o\nfalse|true"),
            (
                "SELECT min(note), max(note), min(coin), max(coin) FROM trades",
                "min|max|min1|max1\nagain|third|a|b",
            ),
            ("SELECT isOrdered(x) a, isOrdered(-x) b FROM long_sequence(1000)", "a|b\ntrue|false"),
            (
                "SELECT regr_slope(x * 2 + 1, x) s, regr_intercept(x * 2 + 1, x) i, regr_r2(x * 2 + 1, x) r, corr(x, -x) c FROM long_sequence(10)",
                "s|i|r|c\n2.0|1.0|1.0|-1.0",
            ),
            (
                "SELECT covar_pop(x, x) c, covar_samp(x, 2 * x) s, stddev_pop(x) p FROM long_sequence(2)",
                "c|s|p\n0.25|1.0|0.5",
            ),
            ("SELECT geomean(x) g FROM (VALUES (2), (8)) t(x)", "g\n4.0"),
            (
                "SELECT round(haversine_dist_deg(lat, lon, t), 1) d FROM (VALUES (0.0, 0.0, 1), (0.0, 1.0, 2), (0.0, 3.0, 3)) t(lat, lon, t)",
                "d\n333.6",
            ),
            (
                "SELECT first(amount) FILTER (WHERE coin = 'b') f, vwap(price, amount) FILTER (WHERE coin = 'b') v FROM trades",
                "f|v\n2|6.0",
            ),
        ],
    );
    // Over many groups, in parts and merged.
    let sql = "SELECT k, vwap(v, w) a, sum(v * w * 1.0) / sum(w) b FROM (SELECT x % 1000 k, x v, x % 7 w FROM long_sequence(200000)) GROUP BY k";
    let same = format!("SELECT count() c FROM ({sql}) WHERE abs(a - b) > 1e-6");
    assert_eq!(World::new().run(&same), "c\n0\n");
}

#[test]
fn windows_work() {
    check(
        &mut trades(),
        &[
            (
                "SELECT amount, row_number() OVER (ORDER BY amount, ts) n, rank() OVER (ORDER BY amount) r, dense_rank() OVER (ORDER BY amount) d FROM trades ORDER BY n",
                "amount|n|r|d\n1|1|1|1\n1|2|1|1\n2|3|3|2\n2|4|3|2\n3|5|5|3\n5|6|6|4",
            ),
            (
                "SELECT amount, lag(amount) OVER (ORDER BY ts, amount) p, lead(amount) OVER (ORDER BY ts, amount) q FROM trades WHERE coin = 'a' ORDER BY ts",
                "amount|p|q\n1|NULL|3\n3|1|1\n1|3|5\n5|1|NULL",
            ),
            (
                "SELECT ts, avg(price) OVER (PARTITION BY coin ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) m, first_value(price) OVER (PARTITION BY coin ORDER BY ts) f FROM trades WHERE coin = 'a' AND price > 0 ORDER BY ts",
                "ts|m|f\n2026-01-01T00:00:10|10.0|10.0\n2026-01-01T00:00:30|20.0|10.0",
            ),
            (
                "SELECT x, sum(x) OVER (ORDER BY x) s, max(x) OVER () m FROM long_sequence(3)",
                "x|s|m\n1|1|3\n2|3|3\n3|6|3",
            ),
            (
                "SELECT x, ntile(2) OVER (ORDER BY x) n, percent_rank() OVER (ORDER BY x) p FROM long_sequence(3)",
                "x|n|p\n1|1|0.0\n2|1|0.5\n3|2|1.0",
            ),
        ],
    );
}
