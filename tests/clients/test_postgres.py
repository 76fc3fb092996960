"""The PostgreSQL wire: psycopg 3 and 2, psql."""

import datetime
import os
import subprocess

import psycopg
import psycopg2
import pytest
from conftest import PASSWORD
from postgres import conninfo


@pytest.fixture(scope="module")
def table(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("CREATE TABLE people (name VARCHAR, kind SYMBOL, age LONG, score DOUBLE, ok BOOLEAN, ts TIMESTAMP) timestamp(ts) PARTITION BY DAY")
        pg.execute(
            "INSERT INTO people (name, kind, age, score, ok, ts) VALUES ('Ada', 'x', 36, 1.5, true, '2024-01-01T00:00:00Z'), ('Bob', 'y', NULL, NULL, false, '2024-01-02T00:00:00Z')"
        )
    return "people"


def test_a_wrong_password_is_refused(server):
    for changes in ({"password": "wrong"}, {"user": "nobody"}):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(conninfo(server, **changes))


def test_psycopg3_reads_types_and_binds_parameters(server, table):
    with psycopg.connect(conninfo(server)) as pg:
        row = pg.execute("SELECT * FROM people WHERE name = %s", ["Ada"]).fetchone()
        assert row == ("Ada", "x", 36, 1.5, True, datetime.datetime(2024, 1, 1))
        assert pg.execute("SELECT count() FROM people WHERE age > %s OR age IS NULL", [30]).fetchone() == (2,)
        since = datetime.datetime(2024, 1, 2)
        assert pg.execute("SELECT name FROM people WHERE ts >= %s", [since]).fetchall() == [("Bob",)]
        with pg.cursor(binary=True) as cursor:
            assert cursor.execute("SELECT age, score FROM people ORDER BY ts").fetchall() == [(36, 1.5), (None, None)]
        with pg.cursor() as cursor:
            for _ in range(8):  # past psycopg's threshold for server-side statements
                assert cursor.execute("SELECT age + %s FROM people WHERE name = 'Ada'", [1]).fetchone() == (37,)


def test_psycopg2(server, table):
    pg = psycopg2.connect(conninfo(server))
    with pg, pg.cursor() as cursor:
        cursor.execute("SELECT name, score FROM people WHERE kind = %s", ("x",))
        assert cursor.fetchall() == [("Ada", 1.5)]
    pg.close()


def test_a_transaction_is_written_at_commit_and_dropped_at_rollback(server):
    with psycopg.connect(conninfo(server)) as pg:
        pg.execute("CREATE TABLE IF NOT EXISTS ledger (v LONG, ts TIMESTAMP) timestamp(ts)")
        pg.execute("INSERT INTO ledger VALUES (%s, %s)", [1, datetime.datetime(2024, 1, 1)])
        pg.commit()
        pg.execute("INSERT INTO ledger VALUES (2, '2024-01-01')")
        pg.rollback()
        assert pg.execute("SELECT count() FROM ledger").fetchone() == (1,)


def test_errors_name_the_place_and_the_remedy(server, table):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        with pytest.raises(psycopg.errors.UndefinedColumn) as error:
            pg.execute("SELECT nme FROM people")
        assert error.value.diag.statement_position == "8"
        assert "name" in error.value.diag.message_hint
        with pytest.raises(psycopg.errors.FeatureNotSupported) as error:
            pg.execute("CREATE VIEW v AS SELECT 1")
        assert "CREATE VIEW" in str(error.value) and "live" in error.value.diag.message_hint
        assert pg.execute("SELECT 1").fetchone() == (1,)


def test_schemas(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("CREATE SCHEMA IF NOT EXISTS ecommerce")
        pg.execute("CREATE TABLE IF NOT EXISTS ecommerce.items (id TEXT, price DOUBLE PRECISION, created_at TIMESTAMP)")
        pg.execute("INSERT INTO ecommerce.items VALUES ('a', 1.5, '2024-01-01')")
        assert pg.execute("SELECT count() FROM ecommerce.items").fetchone() == (1,)
        pg.execute("SET search_path TO ecommerce")
        assert pg.execute("SELECT price FROM items").fetchone() == (1.5,)


def psql(server, command):
    environment = dict(os.environ, PGPASSWORD=PASSWORD)
    arguments = ["psql", "-h", "127.0.0.1", "-p", str(server.pg_port), "-U", "admin", "-d", "qdb", "-c", command]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_psql_lists_and_describes(server, table):
    assert "people" in psql(server, r"\dt")
    described = psql(server, r"\d people")
    assert "score" in described and "double precision" in described
    assert "Ada" in psql(server, "SELECT * FROM people")
