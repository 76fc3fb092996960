"""Transactions, cursors, cancelling, timeouts, session variables, the user who may only read."""

import datetime
import json
import threading
import time

import psycopg
import psycopg2
import pytest
from postgres import conninfo, values

SLOW = "SELECT count() FROM generate_series(1, 1000000000000) WHERE value % 7 = 9"


@pytest.fixture
def pg(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("DROP TABLE IF EXISTS rows_of")
        pg.execute("CREATE TABLE rows_of (v LONG, ts TIMESTAMP) timestamp(ts)")
        yield pg


def count(pg):
    return pg.execute("SELECT count() FROM rows_of").fetchone()[0]


def insert(v):
    return f"INSERT INTO rows_of VALUES ({v}, '2024-01-01')"


def records(server, since):
    """How many records hold rows of the table that were written since a time: those of one have one time."""
    lines = server.get(f"/api/v1/log/rows_of?from={since}")[1].splitlines()
    return len({json.loads(line)["at"] for line in lines if "\"row\"" in line})


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_a_transaction_is_one_record(server, pg):
    began = now()
    with psycopg.connect(conninfo(server)) as other:
        for v in range(5):
            other.execute(insert(v))
        assert count(pg) == 0 and count(other) == 0, "not read back inside"
        other.commit()
        assert count(pg) == 5
        other.execute(insert(9))
        other.rollback()
        assert count(pg) == 5
    assert records(server, began) == 1


def test_a_failed_transaction_takes_nothing_but_its_end(server, pg):
    with psycopg.connect(conninfo(server)) as other:
        other.execute(insert(1))
        with pytest.raises(psycopg.errors.UndefinedTable):
            other.execute("SELECT * FROM missing")
        assert other.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            other.execute(insert(2))
        assert other.execute("COMMIT").statusmessage == "ROLLBACK"
        assert other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert count(pg) == 0


def test_begin_twice_and_commit_outside_warn(pg):
    notices = []
    pg.add_notice_handler(lambda notice: notices.append((notice.severity, notice.sqlstate)))
    pg.execute("COMMIT")
    pg.execute("BEGIN")
    pg.execute("BEGIN")
    pg.execute("ROLLBACK")
    pg.execute("ROLLBACK")
    assert notices == [("WARNING", "25P01"), ("WARNING", "25001"), ("WARNING", "25P01")]


def test_tables_change_before_rows_and_not_behind_them(server, pg):
    with psycopg.connect(conninfo(server)) as other:
        notices = []
        other.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        other.execute("DROP TABLE IF EXISTS made_inside")
        other.execute("CREATE TABLE made_inside (v LONG, ts TIMESTAMP) timestamp(ts)")
        other.execute("INSERT INTO made_inside VALUES (1, '2024-01-01')")
        assert any("CREATE TABLE is written at once" in notice for notice in notices)
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            other.execute("TRUNCATE TABLE made_inside")
        other.rollback()
    assert pg.execute("SELECT count() FROM made_inside").fetchone() == (0,)


def test_a_text_of_several_statements_is_one_transaction(server, pg):
    began = now()
    pg.execute(f"{insert(1)}; {insert(2)}; {insert(3)}")
    assert count(pg) == 3 and records(server, began) == 1
    with pytest.raises(psycopg.errors.UndefinedTable):
        pg.execute(f"{insert(4)}; SELECT * FROM missing; {insert(5)}")
    assert count(pg) == 3
    pg.execute(f"{insert(6)}; BEGIN; {insert(7)}")
    assert count(pg) == 3
    pg.execute("ROLLBACK")
    assert count(pg) == 3


def test_a_pipeline_up_to_sync_is_one_transaction(server, pg):
    began = now()
    with pg.pipeline():
        for v in range(10):
            pg.execute("INSERT INTO rows_of VALUES (%s, '2024-01-01')", [v])
    assert count(pg) == 10 and records(server, began) == 1
    with pytest.raises(psycopg.errors.UndefinedTable), pg.pipeline():
        pg.execute(insert(10))
        pg.execute("SELECT * FROM missing")
    assert count(pg) == 10
    with pg.cursor() as cursor:
        cursor.executemany("INSERT INTO rows_of VALUES (%s, %s)", [(v, datetime.datetime(2024, 1, 2)) for v in range(3000)])
    assert count(pg) == 3010


def test_savepoints(server, pg):
    with psycopg.connect(conninfo(server)) as other:
        other.execute(insert(1))
        with other.transaction():
            other.execute(insert(2))
        with pytest.raises(psycopg.errors.UndefinedTable), other.transaction():
            other.execute(insert(3))
            other.execute("SELECT * FROM missing")
        for v in range(2000):  # rows that gather are put together, and not over a savepoint
            other.execute(insert(10 + v))
            if v == 1500:
                other.execute("SAVEPOINT half")
        other.execute("ROLLBACK TO SAVEPOINT half")
        with pytest.raises(psycopg.errors.InvalidSavepointSpecification):
            other.execute("RELEASE missing")
        other.execute("ROLLBACK TO half")
        other.execute("RELEASE SAVEPOINT half")
    rows = {v for (v,) in pg.execute("SELECT v FROM rows_of")}
    assert rows == {1, 2} | set(range(10, 1511))
    with pytest.raises(psycopg.errors.NoActiveSqlTransaction):
        pg.execute("SAVEPOINT nowhere")


def test_cursors(server, pg):
    with pg.cursor() as cursor:
        cursor.executemany("INSERT INTO rows_of VALUES (%s, '2024-01-01')", [(v,) for v in range(100)])
    with psycopg.connect(conninfo(server)) as other:
        other.execute("DECLARE c CURSOR FOR SELECT v FROM rows_of ORDER BY v")
        fetch = lambda sql: [v for (v,) in other.execute(sql).fetchall()]
        assert fetch("FETCH c") == [0]
        assert fetch("FETCH 3 FROM c") == [1, 2, 3]
        assert other.execute("MOVE FORWARD 6 IN c").statusmessage == "MOVE 6"
        assert fetch("FETCH FORWARD 2 FROM c") == [10, 11]
        assert fetch("FETCH ALL FROM c") == list(range(12, 100))
        assert fetch("FETCH NEXT FROM c") == []
        other.execute("CLOSE c")
        with pytest.raises(psycopg.errors.InvalidCursorName):
            other.execute("FETCH c")
        other.rollback()
        with other.cursor("named") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT v FROM rows_of WHERE v >= %s ORDER BY v", [50])
            assert [v for (v,) in cursor] == list(range(50, 100))
        with other.cursor("binary_one", binary=True) as cursor:
            cursor.execute("SELECT v FROM rows_of ORDER BY v")
            assert cursor.fetchmany(2) == [(0,), (1,)]
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                other.execute("FETCH BACKWARD 1 FROM binary_one")
        other.rollback()
    with pytest.raises(psycopg.errors.NoActiveSqlTransaction):
        pg.execute("DECLARE c CURSOR FOR SELECT 1")
    pg.execute("DECLARE held CURSOR WITH HOLD FOR SELECT 1")
    assert pg.execute("FETCH ALL FROM held").fetchall() == [(1,)]
    pg.execute("CLOSE ALL")


def test_psycopg2_named_cursors(server, pg):
    pg.execute(f"{insert(1)}; {insert(2)}")
    other = psycopg2.connect(**values(server))
    with other, other.cursor("of psycopg2") as cursor:
        cursor.itersize = 1
        cursor.execute("SELECT v FROM rows_of ORDER BY v")
        assert cursor.fetchall() == [(1,), (2,)]
    other.close()


def test_cancel(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        timer = threading.Timer(0.3, pg.cancel)
        began = time.monotonic()
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            pg.execute(SLOW)
        assert time.monotonic() - began < 20
        assert pg.execute("SELECT 1").fetchone() == (1,)


def test_statement_timeout_covers_the_rows_as_they_are_sent(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("SET statement_timeout = '300ms'")
        assert pg.execute("SHOW statement_timeout").fetchone() == ("300ms",)
        for query in (SLOW, "SELECT value FROM generate_series(1, 1000000000000)"):
            with pytest.raises(psycopg.errors.QueryCanceled):
                pg.execute(query)
        pg.execute("RESET statement_timeout")
        assert pg.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert pg.execute("SELECT 1").fetchone() == (1,)


def test_session_variables(server):
    with psycopg.connect(conninfo(server, options="'-c statement_timeout=5s -c DateStyle=ISO,DMY'", application_name="tests"), autocommit=True) as pg:
        shown = lambda name: pg.execute(f"SHOW {name}").fetchone()[0]
        assert shown("statement_timeout") == "5s"
        assert shown("DateStyle") == "ISO, DMY"
        assert shown("application_name") == "tests"
        assert shown("client_encoding") == "UTF8"
        assert shown("standard_conforming_strings") == "on"
        assert shown("transaction isolation level") == "repeatable read"
        pg.execute("SET TIME ZONE 'Europe/Berlin'")
        assert pg.info.parameter_status("TimeZone") == "Europe/Berlin"
        pg.execute("SET extra_float_digits = 3")
        pg.execute("SET SESSION my.variable TO 'x'")
        assert shown("my.variable") == "x"
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            pg.execute("SET client_encoding TO 'LATIN1'")
        pg.execute("DISCARD ALL")
        assert pg.info.parameter_status("server_version") == "16.6"
    with pytest.raises(psycopg.OperationalError, match="client_encoding"):
        psycopg.connect(conninfo(server, client_encoding="LATIN1"))


def test_the_user_who_may_only_read_changes_nothing(own_server):
    server = own_server(env={"QDB_PG_READONLY_USER_ENABLED": "true", "NOWCAST_PG_READONLY_PASSWORD": "only reads"})
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("CREATE TABLE kept (v LONG, ts TIMESTAMP) timestamp(ts)")
        pg.execute("INSERT INTO kept VALUES (1, '2024-01-01')")
        reader = psycopg.connect(conninfo(server, user="user", password="'only reads'"), autocommit=True)
        for statement in [
            "INSERT INTO kept VALUES (2, '2024-01-01')",
            "INSERT INTO kept SELECT * FROM kept",
            "COPY kept FROM STDIN",
            "CREATE TABLE other (v LONG)",
            "CREATE SCHEMA other",
            "ALTER TABLE kept ADD COLUMN w LONG",
            "ALTER TABLE kept DROP PARTITION LIST '2024-01-01'",
            "DROP TABLE kept",
            "TRUNCATE TABLE kept",
            "UPDATE kept SET v = 2",
            "DELETE FROM kept WHERE v = 1",
            "DELETE FROM kept",
            "CREATE TABLE other AS (SELECT 1)",
            "ALTER TABLE kept RENAME COLUMN v TO w",
            "ALTER DATABASE qdb SET search_path TO other",
        ]:
            for begin in ("", "BEGIN; "):
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    reader.execute(begin + statement)
                reader.execute("ROLLBACK")
        reader.execute("SET statement_timeout = 1000")
        assert reader.execute("SELECT v FROM kept").fetchall() == [(1,)]
        with reader.cursor() as cursor, cursor.copy("COPY kept (v) TO STDOUT") as copy:
            assert b"".join(copy) == b"1\n"
        reader.close()
        assert pg.execute("SELECT count() FROM kept").fetchone() == (1,)
    server.stop()
    server = own_server()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(conninfo(server, user="user"))


WRITES = [
    "INSERT INTO rows_of VALUES (1, '2024-01-01')",
    "UPDATE rows_of SET v = 2",
    "DELETE FROM rows_of",
    "TRUNCATE TABLE rows_of",
    "CREATE TABLE rows_of_2 (v LONG)",
    "ALTER TABLE rows_of ADD COLUMN w LONG",
    "ALTER TABLE rows_of DROP COLUMN v",
    "RENAME TABLE rows_of TO rows_of_2",
    "DROP TABLE rows_of",
    "COPY rows_of FROM STDIN",
]


@pytest.mark.parametrize("write", WRITES)
def test_a_read_only_transaction_refuses_writes(pg, write):
    for begin in (["BEGIN READ ONLY"], ["START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY"], ["BEGIN", "SET TRANSACTION READ ONLY"]):
        for statement in begin:
            pg.execute(statement)
        assert pg.execute("SHOW transaction_read_only").fetchone() == ("on",)
        assert count(pg) == 0
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            if write.startswith("COPY"):
                with pg.cursor().copy(write):
                    pass
            else:
                pg.execute(write)
        pg.execute("ROLLBACK")
    # It ends with the transaction.
    assert pg.execute("SHOW transaction_read_only").fetchone() == ("off",)
    pg.execute(insert(1))
    assert count(pg) == 1


def test_a_session_may_begin_read_only(server, pg):
    with psycopg.connect(conninfo(server), options="-c default_transaction_read_only=on", autocommit=True) as reader:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="read-only transaction"):
            reader.execute(insert(1))
        reader.execute("BEGIN READ WRITE")
        reader.execute(insert(1))
        reader.execute("COMMIT")
        reader.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        assert reader.execute("SHOW transaction_read_only").fetchone() == ("off",)
        reader.execute(insert(2))
    assert count(pg) == 2
    # As drivers ask for it.
    pg.autocommit = False
    pg.read_only = True
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), pg.transaction():
        pg.execute(insert(3))
    pg.read_only = False
    pg.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    with pg.transaction():
        assert pg.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
        pg.execute(insert(3))
    assert count(pg) == 3
    pg.rollback()


def test_set_local_ends_with_its_transaction(pg):
    show = lambda name: pg.execute(f"SHOW {name}").fetchone()[0]
    before = show("TimeZone")
    for end in ("COMMIT", "ROLLBACK"):
        pg.execute("BEGIN")
        pg.execute("SET LOCAL TimeZone = 'Europe/Berlin'")
        pg.execute("SET LOCAL statement_timeout = '5s'")
        pg.execute("SET LOCAL my.own = 'x'")
        assert (show("TimeZone"), show("statement_timeout"), show("my.own")) == ("Europe/Berlin", "5s", "x")
        assert pg.info.parameter_status("TimeZone") == "Europe/Berlin"
        pg.execute(end)
        assert (show("TimeZone"), show("statement_timeout")) == (before, "0")
        assert pg.info.parameter_status("TimeZone") == before
    # Outside of a transaction it comes to nothing, and says so.
    notices = []
    pg.add_notice_handler(lambda notice: notices.append(notice.sqlstate))
    pg.execute("SET LOCAL statement_timeout = '5s'")
    assert notices == ["25P01"] and show("statement_timeout") == "0"
    # What is set for the session stays.
    pg.execute("BEGIN")
    pg.execute("SET LOCAL statement_timeout = '5s'")
    pg.execute("SET statement_timeout = '7s'")
    pg.execute("COMMIT")
    assert show("statement_timeout") == "7s"
    with pytest.raises(psycopg.errors.SyntaxError):
        pg.execute("BEGIN ISOLATION LEVEL CHAOS")
