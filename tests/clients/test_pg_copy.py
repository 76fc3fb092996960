"""COPY in both directions and all three formats."""

import datetime
import re

import psycopg
import psycopg2
import pytest
from postgres import conninfo, values

AT = datetime.datetime(2024, 1, 1, 12)
ROWS = [("a", 1, 1.5, True, AT), ("b,\"\t\\x\n", None, -2e300, False, AT.replace(day=2)), ("", 3, None, None, AT.replace(day=3))]


@pytest.fixture
def pg(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("DROP TABLE IF EXISTS copied")
        pg.execute("CREATE TABLE copied (name SYMBOL, n INT, x DOUBLE, ok BOOLEAN, ts TIMESTAMP) timestamp(ts)")
        yield pg


def everything(pg):
    return pg.execute("SELECT * FROM copied ORDER BY ts").fetchall()


def test_rows_and_back(pg):
    with pg.cursor() as cursor:
        with cursor.copy("COPY copied FROM STDIN") as copy:
            for row in ROWS:
                copy.write_row(row)
        assert cursor.rowcount == 3
    assert everything(pg) == ROWS
    with pg.cursor() as cursor, cursor.copy("COPY copied (name, n) TO STDOUT") as copy:
        copy.set_types(["text", "int4"])
        assert list(copy.rows()) == [row[:2] for row in ROWS]


def test_binary_and_back(pg):
    with pg.cursor() as cursor, cursor.copy("COPY copied FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["text", "int4", "float8", "bool", "timestamp"])
        for row in ROWS:
            copy.write_row(row)
    assert everything(pg) == ROWS
    with pg.cursor() as cursor, cursor.copy("COPY (SELECT * FROM copied ORDER BY ts) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["text", "int4", "float8", "bool", "timestamp"])
        assert list(copy.rows()) == ROWS


def test_csv_however_it_is_cut(pg):
    lines = b'n;name;ts;x\n1;"a;""b""\nc";2024-01-01T00:00:00Z;NA\n2;"NA";2024-01-02;2.5\n'
    for size in (1, 2, 7, len(lines)):
        pg.execute("TRUNCATE TABLE copied")
        with pg.cursor() as cursor, cursor.copy("COPY copied (n, name, ts, x) FROM STDIN WITH (FORMAT csv, HEADER MATCH, DELIMITER ';', NULL 'NA')") as copy:
            for at in range(0, len(lines), size):
                copy.write(lines[at : at + size])
        assert pg.execute("SELECT n, name, x FROM copied ORDER BY ts").fetchall() == [(1, 'a;"b"\nc', None), (2, "NA", 2.5)]
    with pg.cursor() as cursor, cursor.copy("COPY (SELECT n, name, x FROM copied ORDER BY n) TO STDOUT WITH CSV HEADER") as copy:
        assert b"".join(copy) == b'n,name,x\n1,"a;""b""\nc",\n2,NA,2.5\n'


@pytest.mark.parametrize(
    "options, data, state, says",
    [
        ("", b"a\t1\n", "22P04", "line 1 has 2 values for 5 columns"),
        ("", b"a\t1\t1\tt\t2024-01-01\nb\tx\t1\tt\t2024-01-01\n", "22000", "line 2: column \"n\" is INT"),
        ("", b"a\t1\t1\tt\t\\N\n", "22000", "line 1: the time column"),
        ("(FORMAT csv)", b'"a\n', "22P04", "line 1 ends in the middle"),
        ("(FORMAT binary)", b"PGCOPY\n", "22P04", "ends in the middle"),
        ("(FORMAT binary)", b"something else entirely", "22P04", "no binary COPY"),
        ("(FORMAT csv, HEADER MATCH)", b"a,b\n", "22P04", "\"a\" where a column's name is expected"),
        ("", b"\xff\t1\t1\tt\t2024-01-01\n", "22021", "not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_nothing_is_written(pg, options, data, state, says):
    with pytest.raises(psycopg.Error) as error:
        with pg.cursor() as cursor, cursor.copy(f"COPY copied FROM STDIN {options}") as copy:
            copy.write(data)
    assert error.value.sqlstate == state and says in str(error.value)
    assert everything(pg) == []


def test_statements_that_cannot_be(pg):
    for statement, state in [
        ("COPY copied FROM '/etc/passwd'", "0A000"),
        ("COPY copied TO PROGRAM 'sh'", "0A000"),
        ("COPY missing FROM STDIN", "42P01"),
        ("COPY copied (missing, ts) FROM STDIN", "42703"),
        ("COPY copied (n) FROM STDIN", "22000"),
        ("COPY (SELECT 1) FROM STDIN", "42601"),
        ("COPY copied FROM STDIN (FORMAT xml)", "22023"),
        ("COPY copied FROM STDIN (DELIMITER 'ab')", "22023"),
        ("COPY copied FROM STDIN (FORMAT csv, QUOTE ',')", "22023"),
    ]:
        with pytest.raises(psycopg.Error) as error:
            pg.execute(statement)
        assert error.value.sqlstate == state, statement


def test_a_copy_that_the_client_gives_up_writes_nothing(pg):
    with pytest.raises(ZeroDivisionError):
        with pg.cursor() as cursor, cursor.copy("COPY copied FROM STDIN") as copy:
            copy.write_row(ROWS[0])
            1 / 0
    assert everything(pg) == []


def test_a_copy_belongs_to_its_transaction(server, pg):
    with psycopg.connect(conninfo(server)) as other:
        for end, expected in (("ROLLBACK", 0), ("COMMIT", 2)):
            other.execute("INSERT INTO copied (name, ts) VALUES ('i', '2024-01-01')")
            with other.cursor() as cursor, cursor.copy("COPY copied (name, ts) FROM STDIN") as copy:
                copy.write_row(("c", AT))
            assert everything(pg) == []
            other.execute(end)
            assert len(everything(pg)) == expected


def test_many_rows_are_streamed(server, pg):
    rows = 600_000
    with pg.cursor() as cursor, cursor.copy("COPY copied (name, n, x, ts) FROM STDIN") as copy:
        for begin in range(0, rows, 1000):
            lines = (f"name of {i % 10}\t{i}\t{i}.5\t2024-01-01 00:00:00.{i:06}\n" for i in range(begin, begin + 1000))
            copy.write("".join(lines))
    assert pg.execute("SELECT count(), sum(n), max(x) FROM copied").fetchone() == (rows, rows * (rows - 1) // 2, rows - 0.5)
    with pg.cursor() as cursor, cursor.copy("COPY copied TO STDOUT (FORMAT csv)") as copy:
        assert sum(bytes(part).count(b"\n") for part in copy) == rows


def test_more_than_one_record_is_written_in_several_or_refused_in_a_transaction(server):
    line = "a text that is long, to fill the record soon, " * 20 + "\t2024-01-01\n"
    statement = "COPY long_texts FROM STDIN"
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("CREATE TABLE long_texts (v VARCHAR, ts TIMESTAMP) timestamp(ts)")
        with psycopg.connect(conninfo(server)) as other, pytest.raises(psycopg.Error) as error:
            with other.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(line * 60_000)
        assert error.value.sqlstate == "53000" and "commit more often" in error.value.diag.message_hint
        assert pg.execute("SELECT count() FROM long_texts").fetchone() == (0,)
        with pg.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(line * 60_000)
        assert pg.execute("SELECT count() FROM long_texts").fetchone() == (60_000,)
        with pytest.raises(psycopg.Error, match=r"line 60001 has 1 values for 2 columns; (\d+) rows before it are written") as error:
            with pg.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(line * 60_000 + "half\n")
        written = int(re.search(r"(\d+) rows before", str(error.value)).group(1))
        assert 0 < written < 60_000
        assert pg.execute("SELECT count() FROM long_texts").fetchone() == (60_000 + written,)


def test_psycopg2(server, pg):
    import io

    other = psycopg2.connect(**values(server))
    other.autocommit = True
    with other.cursor() as cursor:
        cursor.copy_from(io.StringIO("a\t1\t2024-01-01\n\\N\t2\t2024-01-02\n"), "copied", columns=("name", "n", "ts"))
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT name, n FROM copied ORDER BY ts) TO STDOUT WITH CSV", out)
        assert out.getvalue() == "a,1\n,2\n"
    other.close()
