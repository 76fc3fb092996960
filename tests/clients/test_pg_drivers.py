"""Drivers over the PostgreSQL wire: asyncpg, SQLAlchemy 2 and 1.4, pandas, a pool of psycopg, JDBC."""

import asyncio
import datetime
import os
import subprocess
import urllib.request
from hashlib import sha256
from pathlib import Path

import asyncpg
import pandas
import psycopg
import pytest
import sqlalchemy
from conftest import PASSWORD
from postgres import conninfo, url
from psycopg_pool import ConnectionPool
from sqlalchemy import text

AT = datetime.datetime(2024, 1, 1, 12, 30)


# pandas warns of connections that are not SQLAlchemy's, and works.
pytestmark = pytest.mark.filterwarnings("ignore:pandas only supports")


@pytest.fixture(scope="module")
def trades(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("CREATE TABLE trades (sym SYMBOL, price DOUBLE, size LONG, ts TIMESTAMP) timestamp(ts)")
        with pg.cursor() as cursor:
            rows = [(f"s{i % 3}", i + 0.5, i, AT + datetime.timedelta(seconds=i)) for i in range(100)]
            cursor.executemany("INSERT INTO trades VALUES (%s, %s, %s, %s)", rows)
    return "trades"


def test_asyncpg(server, trades):
    async def run():
        pg = await asyncpg.connect(host="127.0.0.1", port=server.pg_port, user="admin", password=PASSWORD, database="qdb")
        assert await pg.fetchval("SELECT count() FROM trades WHERE sym = $1 AND ts >= $2", "s1", AT) == 33
        assert await pg.fetchval("SELECT sum(size) FROM trades WHERE sym = ANY($1)", ["s0", "s1"]) == 3_300
        assert await pg.fetchval("SELECT count() FROM trades WHERE size = ANY($1)", [1, 2, 200]) == 2
        row = await pg.fetchrow("SELECT * FROM trades ORDER BY ts LIMIT 1")
        assert dict(row) == {"sym": "s0", "price": 0.5, "size": 0, "ts": AT}
        await pg.execute("CREATE TABLE of_asyncpg (name VARCHAR, v LONG, x REAL, ts TIMESTAMP) timestamp(ts)")
        await pg.executemany("INSERT INTO of_asyncpg VALUES ($1, $2, $3, $4)", [("a", i, i / 2, AT) for i in range(10)])
        await pg.copy_records_to_table("of_asyncpg", records=[("b", 10, 1.5, AT), (None, 11, None, AT)])
        assert await pg.fetchval("SELECT count() FROM of_asyncpg") == 12
        async with pg.transaction():
            await pg.execute("INSERT INTO of_asyncpg (name, ts) VALUES ('c', '2024-01-01')")
            seen = [r["size"] async for r in pg.cursor("SELECT size FROM trades ORDER BY size", prefetch=7)]
            assert seen == list(range(100))
        with pytest.raises(ZeroDivisionError):
            async with pg.transaction():
                await pg.execute("INSERT INTO of_asyncpg (name, ts) VALUES ('d', '2024-01-01')")
                1 / 0
        assert await pg.fetchval("SELECT count() FROM of_asyncpg") == 13
        with pytest.raises(asyncpg.UndefinedColumnError):
            await pg.fetch("SELECT nothing FROM trades")
        with pytest.raises(asyncio.TimeoutError):
            await pg.fetch("SELECT count() FROM generate_series(1, 1000000000000) WHERE value % 7 = 9", timeout=0.3)
        assert await pg.fetchval("SELECT 1") == 1
        await pg.close()

    asyncio.run(run())


def test_a_pool_of_asyncpg(server, trades):
    async def run():
        async with asyncpg.create_pool(url(server), min_size=1, max_size=2) as pool:
            async def one(n):
                async with pool.acquire() as pg:
                    await pg.execute("SET statement_timeout = '5s'")
                    return await pg.fetchval("SELECT $1::bigint + 1", n)

            assert await asyncio.gather(*(one(n) for n in range(10))) == list(range(1, 11))
            # What a session set is forgotten when the pool takes it back.
            assert await pool.fetchval("SHOW statement_timeout") == "0"

    asyncio.run(run())


def test_a_pool_of_psycopg(server, trades):
    with ConnectionPool(url(server), min_size=1, max_size=3) as pool:
        for i in range(10):
            with pool.connection() as pg:
                pg.execute("INSERT INTO trades (sym, size, ts) VALUES ('pool', %s, now())", [i])
        with pool.connection() as pg:
            assert pg.execute("SELECT count() FROM trades WHERE sym = 'pool'").fetchone() == (10,)
            frame = pandas.read_sql_query("SELECT sym, size FROM trades WHERE sym = 's1' ORDER BY ts LIMIT 2", pg)
    assert frame.to_dict("list") == {"sym": ["s1", "s1"], "size": [1, 4]}


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_sqlalchemy(server, trades, scheme):
    table = "alchemy_" + scheme.split("+")[1]
    if scheme.endswith("asyncpg"):
        return asyncio.run(sqlalchemy_async(url(server, scheme), table))
    engine = sqlalchemy.create_engine(url(server, scheme))
    sqlalchemy_sync(engine, table)
    frame = pandas.DataFrame({"name": ["a", "b"], "x": [0.1, None], "n": [1, 2], "ts": [AT, AT]})
    for how, expected in (("replace", 2), ("append", 4), ("replace", 2)):
        frame.to_sql(f"{table}_frame", engine, if_exists=how, index=False, method=None)
        assert len(pandas.read_sql(f"SELECT * FROM {table}_frame", engine)) == expected
    frame.to_sql(f"{table}_frame", engine, if_exists="append", index=False, method="multi", chunksize=100)
    read = pandas.read_sql_table(f"{table}_frame", engine)
    assert list(read["x"].dropna()) == [0.1, 0.1] and list(read.columns) == ["name", "x", "n", "ts"]
    chunks = pandas.read_sql(text("SELECT size FROM trades WHERE sym <> :sym"), engine, params={"sym": "pool"}, chunksize=30)
    assert sum(len(chunk) for chunk in chunks) == 100
    with engine.connect().execution_options(stream_results=True, max_row_buffer=10) as connection:
        assert len(list(connection.execute(text("SELECT size FROM trades WHERE sym <> 'pool'")))) == 100
    engine.dispose()


def sqlalchemy_sync(engine, table):
    metadata = sqlalchemy.MetaData()
    rows = sqlalchemy.Table(
        table,
        metadata,
        sqlalchemy.Column("name", sqlalchemy.String),
        sqlalchemy.Column("v", sqlalchemy.BigInteger),
        sqlalchemy.Column("x", sqlalchemy.Double),
        sqlalchemy.Column("ts", sqlalchemy.DateTime),
    )
    metadata.create_all(engine)
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(rows.insert(), [{"name": f"n{i}", "v": i, "x": i / 2, "ts": AT} for i in range(50)])
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.select(rows.c.v, rows.c.ts).where(rows.c.name.in_(["n1", "n2"])).order_by(rows.c.v))
        assert found.fetchall() == [(1, AT), (2, AT)]
    inspector = sqlalchemy.inspect(engine)
    assert table in inspector.get_table_names()
    assert inspector.has_table(table) and not inspector.has_table("missing")
    columns = {column["name"]: str(column["type"]) for column in inspector.get_columns(table)}
    assert columns == {"name": "TEXT", "v": "BIGINT", "x": "DOUBLE PRECISION", "ts": "TIMESTAMP"}
    assert inspector.get_pk_constraint(table)["constrained_columns"] == []
    assert inspector.get_indexes(table) == [] and inspector.get_foreign_keys(table) == []
    reflected = sqlalchemy.Table(table, sqlalchemy.MetaData(), autoload_with=engine)
    assert list(reflected.columns.keys()) == ["name", "v", "x", "ts"]


async def sqlalchemy_async(address, table):
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(address)
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE TABLE {table} (v BIGINT, ts TIMESTAMP)"))
        await connection.execute(text(f"INSERT INTO {table} VALUES (:v, :ts)"), [{"v": 1, "ts": AT}, {"v": 2, "ts": AT}])
    async with engine.connect() as connection:
        assert (await connection.execute(text(f"SELECT sum(v) FROM {table}"))).scalar() == 3
        names = await connection.run_sync(lambda sync: sqlalchemy.inspect(sync).get_table_names())
        assert table in names
    await engine.dispose()


def test_sqlalchemy_1_4(server, trades):
    python = os.environ["NOWCAST_SQLALCHEMY_1_4"]
    script = Path(__file__).with_name("sqlalchemy_1_4.py")
    done = subprocess.run([python, script, url(server, "postgresql+psycopg2")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


JDBC = ("https://repo1.maven.org/maven2/org/postgresql/postgresql/42.7.7/postgresql-42.7.7.jar", "157963d60ae66d607e09466e8c0cdf8087e9cb20d0159899ffca96bca2528460")


def test_jdbc(server, trades, tmp_path):
    cache = Path(os.environ.get("NOWCAST_CACHE", Path.home() / ".cache/nowcast")) / "jdbc"
    cache.mkdir(parents=True, exist_ok=True)
    address, digest = JDBC
    jar = cache / address.rsplit("/", 1)[1]
    if not jar.exists() or sha256(jar.read_bytes()).hexdigest() != digest:
        with urllib.request.urlopen(address, timeout=60) as response:
            jar.write_bytes(response.read())
    assert sha256(jar.read_bytes()).hexdigest() == digest
    source = Path(__file__).parent.parent / "jdbc" / "Client.java"
    subprocess.run(["javac", "-cp", jar, "-d", tmp_path, source], check=True, timeout=120)
    address = f"jdbc:postgresql://127.0.0.1:{server.pg_port}/qdb"
    done = subprocess.run(["java", "-cp", f"{tmp_path}:{jar}", "Client", address, "admin", PASSWORD], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.rstrip().endswith("all done")
