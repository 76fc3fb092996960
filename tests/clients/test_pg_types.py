"""Types over the PostgreSQL wire: parameters and results, in text and in binary."""

import datetime
import decimal
import math
import uuid

import psycopg
import psycopg2
import pytest
from postgres import conninfo, values
from psycopg.types.json import Json
from psycopg.types.numeric import Float4, Float8, Int2, Int4, Int8

AT = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012)

COLUMNS = """ok BOOLEAN, b BYTE, s SHORT, i INT, l LONG, f FLOAT, d DOUBLE, sym SYMBOL, v VARCHAR,
    day DATE, ns TIMESTAMP_NS, ts TIMESTAMP"""

ROW = (True, 1, 2, 3, 4, 1.5, -2.25, "x", "ä,\"\\\n'", AT.replace(microsecond=789000), AT, AT)


@pytest.fixture(scope="module")
def table(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute(f"CREATE TABLE every_type ({COLUMNS}) timestamp(ts)")
        pg.execute(f"INSERT INTO every_type VALUES ({', '.join(['%s'] * 12)})", ROW)
        pg.execute("INSERT INTO every_type (ts) VALUES ('2024-03-01')")
    return "every_type"


@pytest.mark.parametrize("binary", [False, True])
def test_every_column_type_reads_as_it_was_written(server, table, binary):
    with psycopg.connect(conninfo(server)) as pg, pg.cursor(binary=binary) as cursor:
        rows = cursor.execute("SELECT * FROM every_type ORDER BY ts").fetchall()
        assert rows == [ROW, (None,) * 11 + (datetime.datetime(2024, 3, 1),)]


def test_psycopg2_reads_every_column_type(server, table):
    pg = psycopg2.connect(**values(server))
    with pg, pg.cursor() as cursor:
        cursor.execute("SELECT * FROM every_type WHERE sym = %s AND ts = %s AND l = %s", ("x", AT, 4))
        assert cursor.fetchall() == [ROW]
        cursor.execute("SELECT count() FROM every_type WHERE sym = ANY(%s) OR l IN %s", (["x", "y"], (4, 5)))
        assert cursor.fetchone() == (1,)
    pg.close()


PARAMETERS = [
    ("ok = %s", True),
    ("s = %s", Int2(2)),
    ("i = %s", Int4(3)),
    ("l = %s", Int8(4)),
    ("l = %s", 4),
    ("l < %s", 2**62),
    ("f = %s", Float4(1.5)),
    ("d = %s", Float8(-2.25)),
    ("d = %s", decimal.Decimal("-2.25")),
    ("l = %s", decimal.Decimal("4")),
    ("d <= %s", math.inf),
    ("v = %s", ROW[8]),
    ("sym = %s", "x"),
    ("ts = %s", AT),
    ("ts = %s", AT.replace(tzinfo=datetime.timezone.utc)),
    ("ts = %s", AT.replace(tzinfo=datetime.timezone.utc).astimezone(datetime.timezone(datetime.timedelta(hours=2)))),
    ("ts < %s", datetime.date(2024, 3, 1)),
    ("ts < '2024-02-28'::timestamp + %s", datetime.timedelta(days=1, hours=24)),
    ("sym = ANY(%s)", ["x", "y"]),
    ("l = ANY(%s)", [4, 5]),
    ("d = ANY(%s)", [-2.25]),
    ("sym <> %s AND ok", None),
    ("v <> %s AND ok", uuid.UUID(int=7)),
    ("v <> %s AND ok", Json({"a": 1})),
]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("where, value", PARAMETERS, ids=lambda value: str(value)[:40])
def test_every_parameter_type(server, table, where, value, binary):
    if binary:
        where = where.replace("%s", "%b")
    expected = 0 if value is None else 1
    with psycopg.connect(conninfo(server)) as pg:
        query = f"SELECT count() FROM every_type WHERE {where}"
        assert pg.execute(query, [value], prepare=True).fetchone() == (expected,)


def test_types_that_are_not_taken_are_refused_by_name(server, table):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        for value in (b"\x00\x01", datetime.time(12)):
            with pytest.raises(psycopg.errors.FeatureNotSupported) as error:
                pg.execute("SELECT count() FROM every_type WHERE v = %b", [value])
            assert "parameter $1" in str(error.value)
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            pg.execute("SELECT count() FROM every_type WHERE l = %s::bigint AND l = %t", [1, "four"])
        assert pg.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("binary", [False, True])
def test_values_that_are_no_column(server, binary):
    queries = [
        ("SELECT 1.5::numeric(10, 2)", decimal.Decimal("1.50")),
        ("SELECT '2024-02-29'::date", datetime.date(2024, 2, 29)),
        ("SELECT interval '1 day 2 hours'", datetime.timedelta(days=1, hours=2)),
        ("SELECT make_array(1, NULL, 3)", [1, None, 3]),
        ("SELECT make_array('a', 'b,c', '')", ["a", "b,c", ""]),
        ("SELECT NULL", None),
        ("SELECT 1e300", 1e300),
        ("SELECT 'NaN'::double precision = 'NaN'::double precision", True),
        ("SELECT to_timestamp(0)", datetime.datetime(1970, 1, 1)),
    ]
    with psycopg.connect(conninfo(server)) as pg, pg.cursor(binary=binary) as cursor:
        for query, expected in queries:
            value = cursor.execute(query).fetchone()[0]
            if isinstance(value, datetime.datetime):
                value = value.replace(tzinfo=None)
            assert value == expected, query
