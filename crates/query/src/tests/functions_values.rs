//! Functions over text and numbers, casts, and what bounds them.

use super::*;

#[test]
fn text() {
    let cases = [
        ("to_lowercase('AbC')", "abc"),
        ("to_uppercase('AbC')", "ABC"),
        ("toupper('x')", "X"),
        ("lower('ÄB')", "äb"),
        ("strpos('timestamp', 'stamp')", "5"),
        ("position('b' IN 'abc')", "2"),
        ("left('timestamp', 4)", "time"),
        ("right('timestamp', 5)", "stamp"),
        ("length('größe')", "5"),
        ("size_pretty(1536)", "1.5 KiB"),
        ("size_pretty(-1048576)", "-1.0 MiB"),
        ("concat('a', 1, NULL, 'b')", "a1b"),
        ("'a' || 'b' || 1", "ab1"),
        ("'a' || NULL", "NULL"),
        ("replace('abab', 'b', 'cc')", "accacc"),
        ("lpad('7', 3, '0')", "007"),
        ("rpad('7', 3, '-')", "7--"),
        ("repeat('ab', 3)", "ababab"),
        ("substring('timestamp', 5, 3)", "sta"),
        ("substring('timestamp' FROM 5)", "stamp"),
        ("trim('  a ')", "a"),
        ("split_part('a.b.c', '.', 2)", "b"),
        ("starts_with('abc', 'ab')", "true"),
        ("reverse('abc')", "cba"),
        ("'timestamp' ~ '^t.*p$'", "true"),
        ("'timestamp' !~ 'x'", "true"),
        ("'Timestamp' ~* 'STAMP'", "true"),
        ("'Timestamp' ILIKE 'time%'", "true"),
        ("'Timestamp' LIKE 'time%'", "false"),
        ("regexp_replace('a1b22', '[0-9]+', '#', 'g')", "a#b#"),
        ("nullif('a', 'a')", "NULL"),
        ("coalesce(NULL, 'b', 'c')", "b"),
        ("CASE 2 WHEN 1 THEN 'one' WHEN 2 THEN 'two' ELSE 'many' END", "two"),
        ("CASE WHEN 1 > 2 THEN 'a' END", "NULL"),
        ("typeOf(1)", "LONG"),
        ("typeOf(1.5)", "DOUBLE"),
        ("typeOf('a')", "VARCHAR"),
        ("typeOf(now())", "TIMESTAMP"),
        ("typeOf(NULL)", "NULL"),
        ("typeOf(rnd_byte())", "BYTE"),
        ("typeOf(to_date('2020', 'yyyy'))", "DATE"),
        ("'x'::symbol", "x"),
        ("'12'::int + 1", "13"),
        ("'2024-02-29'::timestamp", "2024-02-29T00:00:00"),
        ("cast('1.5' AS double) * 2", "3.0"),
        ("cast(1.9 AS long)", "1"),
        ("cast(5 AS varchar) || 'x'", "5x"),
        ("cast('true' AS boolean)", "true"),
        ("cast(300 AS short)", "300"),
        ("cast(3 AS byte)", "3"),
        ("cast(3 AS float)", "3.0"),
    ];
    let mut world = World::new();
    for (sql, expected) in cases {
        assert_eq!(world.run(&format!("SELECT {sql} AS t")), format!("t\n{expected}\n"), "{sql}");
    }
    assert_eq!(
        World::trips().run("SELECT cab || '-' || riders t, typeOf(cab) y FROM trips WHERE riders = 1"),
        "t|y\na-1|SYMBOL\n"
    );
}

#[test]
fn numbers() {
    let cases = [
        ("round(2.5)", "3.0"),
        ("round(-2.5)", "-3.0"),
        ("round(3.14159, 2)", "3.14"),
        ("round(1.005, 2)", "1.01"),
        ("round(1234.5, -2)", "1200.0"),
        ("round(1250, -2)", "1300"),
        ("round(7)", "7"),
        ("round(NULL, 2)", "NULL"),
        ("round(1e300, 300)", "1e300"),
        ("round_half_even(2.5)", "2.0"),
        ("round_half_even(0.125, 2)", "0.12"),
        ("round_up(1.21, 1)", "1.3"),
        ("round_up(-1.21, 1)", "-1.3"),
        ("round_down(1.29, 1)", "1.2"),
        ("trunc(-1.9)", "-1.0"),
        ("floor(-1.5)", "-2.0"),
        ("ceil(1.2)", "2.0"),
        ("ceiling(-1.2)", "-1.0"),
        ("abs(-5)", "5"),
        ("abs(-5.5)", "5.5"),
        ("sign(-3)", "-1"),
        ("sqrt(9)", "3.0"),
        ("sqrt(-1)", "NULL"),
        ("power(2, 10)", "1024.0"),
        ("exp(0)", "1.0"),
        ("ln(1)", "0.0"),
        ("log(1)", "0.0"),
        ("log(2, 8)", "3.0"),
        ("log10(1000)", "3.0"),
        ("log2(8)", "3.0"),
        ("round(pi(), 4)", "3.1416"),
        ("degrees(pi())", "180.0"),
        ("round(sin(radians(90)), 9)", "1.0"),
        ("atan2(0, 1)", "0.0"),
        ("gcd(12, 18)", "6"),
        ("lcm(4, 6)", "12"),
        ("greatest(1, 3, 2)", "3"),
        ("least(1, 3, 2)", "1"),
        ("7 % 3", "1"),
        ("7 / 2", "3"),
        ("rnd() < 1", "true"),
        ("random() >= 0", "true"),
    ];
    let mut world = World::new();
    for (sql, expected) in cases {
        assert_eq!(world.run(&format!("SELECT {sql} AS t")), format!("t\n{expected}\n"), "{sql}");
    }
    let error = world.error("SELECT abs(x - 9223372036854775807 - 2) FROM long_sequence(1)");
    assert!(error.contains("no LONG"), "{error}");
}

#[test]
fn long_values_are_refused() {
    let refused = [
        "SELECT repeat('x', 2000000)",
        "SELECT length(repeat('x', 2000000))",
        "SELECT length(repeat('ab', x * 1000000)) FROM long_sequence(10)",
        "SELECT max(length(repeat('x', 900000))) FROM (SELECT x FROM long_sequence(10000)) WHERE length(repeat('x', 900000 + x % 2)) > 0",
        "SELECT lpad('x', 2000000, 'y')",
        "SELECT rpad('x', 2000000)",
        "SELECT length(concat(a, a)) FROM (SELECT repeat('x', 600000) a)",
        "SELECT length(a || a) FROM (SELECT repeat('x', 600000) a)",
        "SELECT length(replace(repeat('x', 1000), 'x', repeat('y', 2000)))",
        "SELECT length(replace(a, 'x', a)) FROM (SELECT repeat('x', x * 2000) a FROM long_sequence(3))",
        "SELECT levenshtein(repeat('x', 100000), repeat('y', 100000))",
        "SELECT range(0, 1000000000000)",
        "SELECT generate_series(1, x * 1000000000) FROM long_sequence(3)",
        "SELECT array_repeat('x', 100000000)",
        "SELECT array_resize([1], 100000000)",
        "SELECT length(regexp_replace(repeat('x', 100000), 'x', repeat('y', 1000), 'g'))",
        "SELECT rnd_str(1000000, 1000000, 0) FROM long_sequence(100)",
    ];
    let mut world = World::new();
    for sql in refused {
        let error = world.error(sql);
        assert!(error.starts_with("53000") && error.contains("allowed"), "{sql}: {error}");
    }
    // What is near the bound goes through.
    check(
        &mut world,
        &[
            ("SELECT length(repeat('x', 1000000)) l", "l\n1000000"),
            ("SELECT length(replace(repeat('ab', 100000), 'b', 'ccc')) l", "l\n400000"),
            ("SELECT sum(length(repeat('x', 1000))) l FROM long_sequence(10000)", "l\n10000000"),
            ("SELECT array_length(range(0, 1000)) l", "l\n1000"),
            // A long constant beside many rows: fewer rows at a time.
            (
                "SELECT count(DISTINCT t) n, count(t) c FROM (SELECT repeat('x', 1000000) t, x FROM long_sequence(2000)) WHERE x % 2 = 0",
                "n|c\n1|1000",
            ),
        ],
    );
}

/// A tree that is too deep would end the process.
#[test]
fn long_expressions_are_refused() {
    let mut world = World::new();
    for sql in [
        format!("SELECT 1{}", " + 1".repeat(9_000)),
        format!("SELECT 1 WHERE {}", vec!["1 = 1"; 4_000].join(" OR ")),
        format!("SELECT (1{})", "::int".repeat(5_000)),
        vec!["SELECT 1"; 5_000].join(" UNION ALL "),
        format!("SELECT {}1{}", "(".repeat(9_000), ")".repeat(9_000)),
    ] {
        let error = world.error(&sql);
        assert!(error.starts_with("53000"), "{sql:.40}: {error:.200}");
    }
    assert_eq!(
        world.run(&format!("SELECT x IN ({}) t FROM long_sequence(1)", vec!["1"; 5_000].join(", "))),
        "t\ntrue\n"
    );
}

/// What the whole query gathers is bounded by its memory.
#[test]
fn sums_of_texts_are_refused() {
    let mut world = World::new();
    let options = QueryOptions { memory_bytes_max: 16 << 20, ..QueryOptions::default() };
    world.engine = QueryEngine::new(options).unwrap();
    for sql in [
        "SELECT length(string_agg(repeat('x', 1000), ',')) FROM long_sequence(1000000)",
        "SELECT array_agg(repeat('x', 1000)) FROM long_sequence(1000000)",
        "SELECT twap(x, x) FROM long_sequence(100000000)",
        "SELECT count() FROM long_sequence(1000000000000) a CROSS JOIN long_sequence(1000000000000) b",
        "SELECT count() FROM generate_series(1, 1000000000000) a CROSS JOIN generate_series(1, 1000000000000) b",
        "SELECT sum(a.x + b.x) FROM long_sequence(1000000000000) a CROSS JOIN long_sequence(1000000000000) b",
        "SELECT x FROM long_sequence(100000000) ORDER BY rnd_int()",
    ] {
        let error = world.error(sql);
        assert!(error.starts_with("53000"), "{sql}: {error}");
    }
}
