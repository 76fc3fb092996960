"""Parameters where the dialect has clauses of its own, bound by the server: psycopg and asyncpg."""

import asyncio
import datetime
import re

import asyncpg
import psycopg
import pytest
from conftest import PASSWORD
from postgres import conninfo

AT = datetime.datetime(2026, 1, 1)
DAY = datetime.timedelta(days=1)
UTC = datetime.timezone.utc


@pytest.fixture(scope="module")
def tables(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg, pg.cursor() as cursor:
        pg.execute("CREATE TABLE pt (sym SYMBOL, v DOUBLE, n LONG, ts TIMESTAMP) timestamp(ts) PARTITION BY DAY")
        pg.execute("CREATE TABLE pq (sym SYMBOL, price DOUBLE, ts TIMESTAMP) timestamp(ts) PARTITION BY DAY")
        rows = [(f"s{i % 3}", i * 1.5, i, AT + datetime.timedelta(hours=i)) for i in range(72)]
        cursor.executemany("INSERT INTO pt VALUES (%s, %s, %s, %s)", rows)
        rows = [(f"s{i % 3}", i * 10.0, AT + datetime.timedelta(minutes=60 * i - 30)) for i in range(72)]
        cursor.executemany("INSERT INTO pq VALUES (%s, %s, %s)", rows)


# Each query, its values, and its answer.
QUERIES = [
    ("SELECT count() FROM (SELECT ts, avg(v) FROM pt SAMPLE BY $1)", ["1d"], [(3,)]),
    (
        "SELECT avg(v) FROM pt SAMPLE BY $1 FROM $2 TO $3 FILL($4)",
        ["1d", AT + DAY * 2, AT + DAY * 4, 0.5],
        [(89.25,), (0.5,)],
    ),
    ("SELECT avg(v) FROM pt SAMPLE BY 1d FROM $1 TO $2 FILL(PREV)", [AT + DAY * 2, AT + DAY * 4], [(89.25,), (89.25,)]),
    ("SELECT count() FROM pt SAMPLE BY 1d ALIGN TO CALENDAR TIME ZONE $1", ["Europe/Berlin"], [(23,), (24,), (24,), (1,)]),
    (
        "SELECT count() FROM pt SAMPLE BY 1d ALIGN TO CALENDAR TIME ZONE $1 WITH OFFSET $2",
        ["UTC", "12:00"],
        [(12,), (24,), (24,), (12,)],
    ),
    ("SELECT count() FROM pt WHERE ts IN $1", ["2026-01-02"], [(24,)]),
    ("SELECT count() FROM pt WHERE ts IN $1", ["2026-01-01;6h;1d;3"], [(18,)]),
    ("SELECT count() FROM pt WHERE ts IN $1", ["2026-01-[01,03]T12"], [(2,)]),
    ("SELECT count() FROM pt WHERE ts NOT IN $1", ["2026-01-02"], [(48,)]),
    ("SELECT count() FROM pt WHERE ts IN ($1, $2)", [AT, AT + DAY], [(2,)]),
    ("SELECT count() FROM pt WHERE ts BETWEEN $1 AND $2", [AT, AT + DAY], [(25,)]),
    ("SELECT count() FROM pt WHERE ts = $1::timestamptz", [(AT + DAY).replace(tzinfo=UTC)], [(1,)]),
    ("SELECT count() FROM pt WHERE ts > $1::timestamp + $2::interval", [AT, DAY], [(47,)]),
    ("SELECT n FROM pt LIMIT $1", [2], [(0,), (1,)]),
    ("SELECT n FROM pt LIMIT $1", [-2], [(70,), (71,)]),
    ("SELECT n FROM pt LIMIT -$1", [2], [(70,), (71,)]),
    ("SELECT n FROM pt LIMIT $1, $2", [3, 5], [(3,), (4,)]),
    ("SELECT n FROM pt ORDER BY n DESC LIMIT $1 OFFSET $2", [2, 5], [(66,), (65,)]),
    ("SELECT * FROM pt WHERE ts IN $1 LIMIT $2", ["2026-01-02", 1], [("s0", 36.0, 24, AT + DAY)]),
    ("SELECT sym, n FROM pt WHERE ts < $1 LATEST ON ts PARTITION BY sym", [AT + DAY], [("s0", 21), ("s1", 22), ("s2", 23)]),
    ("SELECT n FROM pt WHERE sym = ANY($1) LATEST ON ts PARTITION BY sym", [["s1", "s2"]], [(70,), (71,)]),
    (
        "SELECT pt.n, pq.price FROM pt ASOF JOIN pq ON (sym) TOLERANCE $1 LIMIT 3",
        ["10m"],
        [(0, None), (1, None), (2, None)],
    ),
    ("SELECT pt.n, pq.price FROM pt ASOF JOIN pq ON (sym) TOLERANCE $1 WHERE n > $2 LIMIT 1", ["30m", 5], [(6, 60.0)]),
    ("SELECT dateadd($1, $2, ts) FROM pt LIMIT 1", ["h", 2], [(AT + datetime.timedelta(hours=2),)]),
    ("SELECT dateadd('h', -$1, $2)", [24, AT], [(AT - DAY,)]),
    ("SELECT datediff('h', $1, ts) FROM pt LIMIT 1", [AT - DAY], [(24,)]),
    ("SELECT count() FROM (SELECT date_trunc($1, ts) d, count() FROM pt)", ["day"], [(3,)]),
    ("SELECT timestamp_floor($1, ts) FROM pt WHERE n = 30", ["1d"], [(AT + DAY,)]),
    ("SELECT to_str(ts, $1) FROM pt LIMIT 1", ["yyyy-MM-dd"], [("2026-01-01",)]),
    ("SELECT to_timezone(ts, $1) FROM pt LIMIT 1", ["+02:00"], [(AT + datetime.timedelta(hours=2),)]),
    ("SELECT count() FROM (SELECT tumble(ts, $1) b, count() FROM pt)", ["1d"], [(3,)]),
    ("SELECT count() FROM (SELECT hop(ts, $1, $2) b, count() FROM pt)", ["12h", "1d"], [(7,)]),
    ("SELECT x FROM long_sequence($1)", [2], [(1,), (2,)]),
    ("SELECT round(v / 7, $1) FROM pt WHERE n = 1", [2], [(0.21,)]),
    ("SELECT lag(n, $1) OVER (ORDER BY ts) FROM pt LIMIT 3", [2], [(None,), (None,), (0,)]),
    ("SELECT approx_percentile(n, $1) FROM pt", [0.5], [(35.5,)]),
    ("SELECT count() FROM pt WHERE n = $1 OR $1 IS NULL", [3], [(1,)]),
    ("SELECT count() FROM pt WHERE n > $1 AND v > $1", [3], [(68,)]),
]


def with_names(query):
    return re.sub(r"\$(\d+)", r"%(p\1)s", query)


@pytest.mark.parametrize("query, values, expected", QUERIES)
def test_psycopg_binds(server, tables, query, values, expected):
    with psycopg.connect(conninfo(server)) as pg:
        named = {f"p{i + 1}": value for i, value in enumerate(values)}
        assert pg.execute(with_names(query), named, prepare=True).fetchall() == expected


def test_asyncpg_is_told_the_types_and_binds(server, tables):
    async def main():
        pg = await asyncpg.connect(host="127.0.0.1", port=server.pg_port, user="admin", password=PASSWORD, database="qdb")
        for query, values, expected in QUERIES:
            rows = await pg.fetch(query, *values)
            assert [tuple(row) for row in rows] == expected, query
        await pg.close()

    asyncio.run(main())


REFUSED = [
    ("SELECT avg(v) FROM pt SAMPLE BY $1", ["soon"], "no length of time"),
    ("SELECT avg(v) FROM pt SAMPLE BY $1", [5], "there is no text for the parameter $1"),
    ("SELECT avg(v) FROM pt SAMPLE BY 1d ALIGN TO CALENDAR TIME ZONE $1", ["Mars"], "no time zone"),
    ("SELECT n FROM pt WHERE ts IN $1", ["soon"], "no interval of time"),
    ("SELECT n FROM pt ASOF JOIN pq ON (sym) TOLERANCE $1", ["1M"], "no length of time"),
    ("SELECT n FROM pt LIMIT $1, $2", [-1, 1], "is not supported"),
]


@pytest.mark.parametrize("query, values, message", REFUSED)
def test_what_does_not_fit_is_refused_with_place_and_hint(server, tables, query, values, message):
    with psycopg.connect(conninfo(server)) as pg, pytest.raises(psycopg.Error) as error:
        pg.execute(with_names(query), {f"p{i + 1}": value for i, value in enumerate(values)})
    assert message in str(error.value)
    assert error.value.diag.message_hint
