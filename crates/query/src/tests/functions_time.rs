//! Functions over times, against values worked out by hand.

use super::*;

#[test]
fn patterns_read_times() {
    check(
        &mut World::new(),
        &[
            ("SELECT to_timestamp('2022-02-28T23:00:00', 'yyyy-MM-ddTHH:mm:ss') t", "t\n2022-02-28T23:00:00"),
            // `mm` where a month must be is the month.
            ("SELECT to_timestamp('2022-02-28T23:45:00', 'yyyy-mm-ddTHH:mm:ss') t", "t\n2022-02-28T23:45:00"),
            ("SELECT to_timestamp('28/02/2022 07:08', 'dd/mm/yyyy HH:mm') t", "t\n2022-02-28T07:08:00"),
            ("SELECT to_timestamp('07:08', 'HH:mm') t", "t\n1970-01-01T07:08:00"),
            (
                "SELECT to_timestamp('2020-03-01T14:30:15.123456Z', 'yyyy-MM-ddTHH:mm:ss.SSSUUUZ') t",
                "t\n2020-03-01T14:30:15.123456",
            ),
            (
                "SELECT to_timestamp('2020-03-01T14:30:15.5', $$yyyy-MM-dd'T'HH:mm:ss.SSS$$) t",
                "t\n2020-03-01T14:30:15.500",
            ),
            (
                "SELECT to_timestamp('2020-03-01 14:30:15.123456', 'yyyy-MM-dd HH:mm:ss.SSSSSS') t",
                "t\n2020-03-01T14:30:15.123456",
            ),
            ("SELECT to_timestamp('1 Mar 2020', 'd MMM yyyy') t", "t\n2020-03-01T00:00:00"),
            ("SELECT to_timestamp('Sunday, 1 March 20', 'EEEE, d MMMM yy') t", "t\n2020-03-01T00:00:00"),
            ("SELECT to_timestamp('01/02/2020 11:30 PM', 'MM/dd/yyyy hh:mm a') t", "t\n2020-01-02T23:30:00"),
            ("SELECT to_timestamp('01/02/2020 12:30 AM', 'MM/dd/yyyy hh:mm a') t", "t\n2020-01-02T00:30:00"),
            ("SELECT to_timestamp('20200301', 'yyyyMMdd') t", "t\n2020-03-01T00:00:00"),
            ("SELECT to_timestamp('2020-060', 'yyyy-DDD') t", "t\n2020-02-29T00:00:00"),
            (
                "SELECT to_timestamp('2020-07-01 12:00 Europe/Berlin', 'yyyy-MM-dd HH:mm z') t",
                "t\n2020-07-01T10:00:00",
            ),
            ("SELECT to_timestamp('2020-07-01 12:00+0530', 'yyyy-MM-dd HH:mmZ') t", "t\n2020-07-01T06:30:00"),
            ("SELECT to_timestamp('2020-07-01 12', '%Y-%m-%d %H') t", "t\nNULL"),
            ("SELECT to_timestamp('2020-07-01 12:13', '%Y-%m-%d %H:%M') t", "t\n2020-07-01T12:13:00"),
            // No such day, no such form, nothing at all.
            ("SELECT to_timestamp('2021-02-29', 'yyyy-MM-dd') t", "t\nNULL"),
            ("SELECT to_timestamp('2021-02-28x', 'yyyy-MM-dd') t", "t\nNULL"),
            ("SELECT to_timestamp(NULL, 'yyyy-MM-dd') t", "t\nNULL"),
            ("SELECT to_timestamp('2021-02-28') t", "t\n2021-02-28T00:00:00"),
            ("SELECT to_timestamp('2021-02-28T01:02:03.000004Z') t", "t\n2021-02-28T01:02:03.000004"),
            ("SELECT to_timestamp(86400) t", "t\n1970-01-02T00:00:00"),
            ("SELECT to_timestamp(0.5) t", "t\n1970-01-01T00:00:00.500"),
            ("SELECT to_date('2021-02-28', 'yyyy-MM-dd') t", "t\n2021-02-28T00:00:00"),
        ],
    );
}

#[test]
fn patterns_write_times() {
    let time = "'2020-03-01T14:05:09.012345'";
    let cases = [
        ("yyyy-MM-ddTHH:mm:ss.SSSUUUZ", "2020-03-01T14:05:09.012345Z"),
        ("yyyy-mm-dd HH:mm", "2020-03-01 14:05"),
        ("d/M/yy h:mm a", "1/3/20 2:05 PM"),
        ("EEE, d MMM y", "Sun, 1 Mar 2020"),
        ("EEEE MMMM", "Sunday March"),
        ("DDD w Q u", "061 9 1 7"),
        ("SSSSSS", "012345"),
        ("S", "12"),
        ("HH 'o''clock'", "14 o'clock"),
        ("%d.%m.%Y", "01.03.2020"),
    ];
    let mut world = World::new();
    for (pattern, expected) in cases {
        let sql = format!("SELECT to_str({time}::timestamp, '{}') t", pattern.replace('\'', "''"));
        assert_eq!(world.run(&sql), format!("t\n{expected}\n"), "{pattern}");
    }
    check(
        &mut world,
        &[
            (
                "SELECT to_char('2020-03-01T14:05:09.012345'::timestamp, 'YYYY-MM-DD HH24:MI:SS.US HH12 AM Dy Mon MON') t",
                "t\n2020-03-01 14:05:09.012345 02 PM Sun Mar MAR",
            ),
            (
                "SELECT to_str('2020-07-01T12:00:00'::timestamp, 'yyyy-MM-dd HH:mm z', 'Europe/Berlin') t",
                "t\n2020-07-01 14:00 +02:00",
            ),
            ("SELECT to_str(NULL::timestamp, 'yyyy') t", "t\nNULL"),
            (
                "SELECT to_str(ts, 'HH:mm') t FROM long_sequence(2), (SELECT '2020-01-01T05:06:07'::timestamp ts)",
                "t\n05:06\n05:06",
            ),
        ],
    );
}

#[test]
fn times_are_cut_and_moved() {
    let time = "'2024-02-29T13:47:31.123456'";
    let cases = [
        (format!("date_trunc('second', {time})"), "2024-02-29T13:47:31"),
        (format!("date_trunc('minute', {time})"), "2024-02-29T13:47:00"),
        (format!("date_trunc('hour', {time})"), "2024-02-29T13:00:00"),
        (format!("date_trunc('day', {time})"), "2024-02-29T00:00:00"),
        (format!("date_trunc('week', {time})"), "2024-02-26T00:00:00"),
        (format!("date_trunc('month', {time})"), "2024-02-01T00:00:00"),
        (format!("date_trunc('quarter', {time})"), "2024-01-01T00:00:00"),
        (format!("date_trunc('year', {time})"), "2024-01-01T00:00:00"),
        (format!("date_trunc('decade', {time})"), "2020-01-01T00:00:00"),
        (format!("date_trunc('century', {time})"), "2001-01-01T00:00:00"),
        (format!("date_trunc('millennium', {time})"), "2001-01-01T00:00:00"),
        (format!("date_trunc('millisecond', {time})"), "2024-02-29T13:47:31.123"),
        ("date_trunc('day', '1969-12-31T23:59:59')".to_owned(), "1969-12-31T00:00:00"),
        ("date_trunc('day', '2024-06-30T22:30:00', 'Europe/Berlin')".to_owned(), "2024-06-30T22:00:00"),
        (format!("timestamp_floor('5m', {time})"), "2024-02-29T13:45:00"),
        (format!("timestamp_floor('h', {time})"), "2024-02-29T13:00:00"),
        (format!("timestamp_floor('7d', {time})"), "2024-02-26T00:00:00"),
        (format!("timestamp_floor('3M', {time})"), "2024-01-01T00:00:00"),
        (format!("timestamp_floor('5m', {time}, '2024-01-01T00:02:00')"), "2024-02-29T13:47:00"),
        (format!("timestamp_floor('1d', {time}, NULL, '14:00')"), "2024-02-28T14:00:00"),
        (format!("timestamp_floor('1d', {time}, NULL, '00:00', 'Asia/Tokyo')"), "2024-02-28T15:00:00"),
        (format!("timestamp_ceil('h', {time})"), "2024-02-29T14:00:00"),
        (format!("timestamp_ceil('M', {time})"), "2024-03-01T00:00:00"),
        ("timestamp_ceil('d', '2024-03-01')".to_owned(), "2024-03-01T00:00:00"),
        (format!("dateadd('y', 1, {time})"), "2025-02-28T13:47:31.123456"),
        (format!("dateadd('M', 12, {time})"), "2025-02-28T13:47:31.123456"),
        (format!("dateadd('M', -1, {time})"), "2024-01-29T13:47:31.123456"),
        ("dateadd('M', 1, '2024-01-31')".to_owned(), "2024-02-29T00:00:00"),
        (format!("dateadd('w', 1, {time})"), "2024-03-07T13:47:31.123456"),
        (format!("dateadd('d', 1, {time})"), "2024-03-01T13:47:31.123456"),
        (format!("dateadd('h', -14, {time})"), "2024-02-28T23:47:31.123456"),
        (format!("dateadd('s', 29, {time})"), "2024-02-29T13:48:00.123456"),
        (format!("dateadd('d', NULL, {time})"), "NULL"),
        ("datediff('d', '2024-02-28', '2024-03-01')".to_owned(), "2"),
        ("datediff('d', '2024-03-01', '2024-02-28')".to_owned(), "2"),
        ("datediff('M', '2024-01-31', '2024-02-29')".to_owned(), "1"),
        ("datediff('M', '2024-01-31', '2024-03-30')".to_owned(), "1"),
        ("datediff('y', '2020-02-29', '2024-02-28')".to_owned(), "3"),
        ("datediff('h', '2024-03-01T00:30:00', '2024-03-01T02:29:59')".to_owned(), "1"),
        // In summer and in winter, at the hour that comes twice, and at the one that never comes.
        ("to_timezone('2024-07-01T12:00:00', 'Europe/Berlin')".to_owned(), "2024-07-01T14:00:00"),
        ("to_timezone('2024-01-01T12:00:00', 'Europe/Berlin')".to_owned(), "2024-01-01T13:00:00"),
        ("to_timezone('2024-01-01T12:00:00', '-03:30')".to_owned(), "2024-01-01T08:30:00"),
        ("to_utc('2024-07-01T14:00:00', 'Europe/Berlin')".to_owned(), "2024-07-01T12:00:00"),
        ("to_utc('2024-01-01T13:00:00', 'europe/berlin')".to_owned(), "2024-01-01T12:00:00"),
        ("to_utc('2024-10-27T02:30:00', 'Europe/Berlin')".to_owned(), "2024-10-27T00:30:00"),
        ("to_utc('2024-10-27T03:00:00', 'Europe/Berlin')".to_owned(), "2024-10-27T02:00:00"),
        ("to_utc('2024-03-31T02:30:00', 'Europe/Berlin')".to_owned(), "2024-03-31T01:30:00"),
        ("to_utc('2024-03-31T03:00:00', 'Europe/Berlin')".to_owned(), "2024-03-31T01:00:00"),
        ("make_timestamp(2024, 2, 29, 23, 59, 59.5)".to_owned(), "2024-02-29T23:59:59.500"),
        ("age('2024-03-01T04:05:06', '2022-12-28')".to_owned(), "1 year 2 mons 2 days 04:05:06"),
        ("age('2024-01-01', '2024-01-01')".to_owned(), "00:00:00"),
    ];
    let mut world = World::new();
    for (sql, expected) in cases {
        assert_eq!(world.run(&format!("SELECT {sql} AS t")), format!("t\n{expected}\n"), "{sql}");
    }
    let errors = [
        ("SELECT date_trunc('fortnight', ts) FROM trips", "there is no unit of time 'fortnight'"),
        ("SELECT to_timezone(ts, 'Berlin') FROM trips", "there is no time zone 'Berlin'"),
        ("SELECT make_timestamp(2023, 2, 29, 0, 0, 0)", "there is no time 2023-2-29"),
        ("SELECT dateadd('y', 1000000, ts) FROM trips", "leaves the times that there are"),
        ("SELECT dateadd('y', ts) FROM trips", "the function 'dateadd' takes 3 arguments, got 2"),
    ];
    let mut world = World::trips();
    for (sql, expected) in errors {
        let error = world.error(sql);
        assert!(error.contains(expected), "{sql}: {error}");
    }
}

#[test]
fn times_have_parts() {
    let cases = [
        ("year", "2024"),
        ("quarter", "1"),
        ("month", "2"),
        ("day", "29"),
        ("hour", "13"),
        ("minute", "47"),
        ("second", "31"),
        ("millis", "123"),
        ("micros", "456"),
        ("day_of_week", "4"),
        ("day_of_week_sunday_first", "5"),
        ("day_of_year", "60"),
        ("week_of_year", "9"),
        ("days_in_month", "29"),
        ("is_leap_year", "true"),
    ];
    let mut world = World::new();
    for (function, expected) in cases {
        let sql = format!("SELECT {function}('2024-02-29T13:47:31.123456') t");
        assert_eq!(world.run(&sql), format!("t\n{expected}\n"), "{function}");
    }
    check(
        &mut world,
        &[
            (
                "SELECT year('1969-12-31'), day('1900-02-28'), days_in_month('1900-02-01')",
                "year|day|days_in_month\n1969|28|28",
            ),
            (
                "SELECT week_of_year('2021-01-03'), week_of_year('2020-12-31')",
                "week_of_year|week_of_year1\n53|53",
            ),
            (
                "SELECT day_of_week('2024-03-03'), day_of_week_sunday_first('2024-03-03')",
                "day_of_week|day_of_week_sunday_first\n7|1",
            ),
            ("SELECT extract(epoch FROM '2024-03-01'::timestamp) e", "e\n1709251200.0"),
            ("SELECT extract(year FROM '2024-03-01'::timestamp) e", "e\n2024"),
            ("SELECT year(NULL) y", "y\nNULL"),
            (
                "SELECT systimestamp(), sysdate(), now()",
                "systimestamp|sysdate|now\n2026-01-01T00:10:00|2026-01-01T00:10:00|2026-01-01T00:10:00",
            ),
            (
                "SELECT yesterday(), today(), tomorrow()",
                "yesterday|today|tomorrow\n2025-12-31T00:00:00|2026-01-01T00:00:00|2026-01-02T00:00:00",
            ),
        ],
    );
    // As fast as rows come, and as right as chrono.
    let sql = "SELECT x, timestamp_sequence('1890-01-01', 86413000000L) t FROM long_sequence(100000)";
    let sql = format!(
        "SELECT count() FROM ({sql}) WHERE year(t) <> date_part('year', t) OR month(t) <> date_part('month', t) OR day(t) <> date_part('day', t) OR day_of_year(t) <> date_part('doy', t) OR week_of_year(t) <> date_part('week', t)"
    );
    assert_eq!(world.run(&sql), "count\n0\n");
}

#[test]
fn parameters_stand_in_functions() {
    let mut world = World::new();
    for sql in [
        "SELECT to_timestamp($1, 'yyyy-MM-ddTHH:mm:ss')",
        "SELECT dateadd('d', $1, now())",
        "SELECT round($1, 2), $2 || 'x', repeat('x', $3)",
        "SELECT rnd_int(0, $1, 0) FROM long_sequence(3)",
    ] {
        let statement = world.engine.parse_one(sql).unwrap();
        world.engine.describe(&world.ctx(), &statement).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    world.params = Params::positional([Value::Str("2026-02-28T01:02:03".into())]);
    assert_eq!(world.run("SELECT to_timestamp($1, 'yyyy-MM-ddTHH:mm:ss') t"), "t\n2026-02-28T01:02:03\n");
}
