"""Queries that would take for ever, or all memory: each ends with an error in its time, and nobody else waits."""

import threading
import time
import urllib.parse

import psycopg
import pytest
from postgres import conninfo

MEMORY = 128 << 20
TIMEOUT = 1.0
# What a busy machine may add to a statement's time, and to that of a light query beside it.
LATE = 3.0

NEVER = "a.v + b.v < -1"
JOINS = [
    f"SELECT count() FROM big a JOIN big b ON {NEVER}",
    f"SELECT count() FROM big a LEFT JOIN big b ON {NEVER}",
    f"SELECT count() FROM big a FULL JOIN big b ON {NEVER}",
    f"SELECT count() FROM big a JOIN big b ON a.k = b.k AND {NEVER}",
    f"SELECT count() FROM big a WHERE EXISTS (SELECT 1 FROM big b WHERE {NEVER})",
    "SELECT count() FROM big a JOIN big b ON a.s LIKE '%' || b.s || '%x%'",
    "SELECT sum(a.v * b.v + c.v) FROM big a CROSS JOIN big b CROSS JOIN big c",
    "SELECT count() FROM long_sequence(1000000000000) a CROSS JOIN long_sequence(1000000000000) b",
    "SELECT count() FROM long_sequence(1000000) a JOIN long_sequence(1000000) b ON a.x * b.x < 0",
    "SELECT * FROM long_sequence(1000000000000) a CROSS JOIN long_sequence(1000) b",
]
WINDOWS = [
    "SELECT max(m) FROM (SELECT median(v) OVER (ORDER BY v ROWS BETWEEN 50000 PRECEDING AND 50000 FOLLOWING) m FROM big)",
    "SELECT max(length(m)) FROM (SELECT string_agg(s, ',') OVER (ORDER BY v) m FROM big)",
    "SELECT count() FROM (SELECT sum(x) OVER () FROM long_sequence(10000000000))",
]
GATHERED = [
    "SELECT count() FROM (SELECT unnest(range(0, 100000)) FROM long_sequence(1000000000))",
    "WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r) SELECT count() FROM r",
    "SELECT array_length(array_agg(x)) FROM long_sequence(10000000000)",
    "SELECT length(string_agg(s, ',')) FROM (SELECT x::string s FROM long_sequence(10000000000))",
    "SELECT count() FROM (SELECT x, count() FROM long_sequence(10000000000) GROUP BY x)",
    "SELECT * FROM long_sequence(10000000000) ORDER BY x % 1000003 DESC",
    "SELECT repeat('x', 1000000000)",
]
DEEP = [
    "SELECT " + "(" * 10_000 + "1" + ")" * 10_000,
    "SELECT " + "abs(" * 5_000 + "1" + ")" * 5_000,
    " UNION ALL ".join(["SELECT 1"] * 10_000),
    "SELECT " + "+".join(["k"] * 9_000) + " FROM big",
    "SELECT count() FROM big t0 " + " ".join(f"JOIN big t{n} ON t{n}.k = t0.k" for n in range(1, 1000)),
    "WITH c0 AS (SELECT 1 a)"
    + "".join(f", c{n} AS (SELECT x.a FROM c{n - 1} x, c{n - 1} y)" for n in range(1, 40))
    + " SELECT count() FROM c39",
]
PLANS = [
    "SELECT " + ", ".join(f"v + {i} c{i}" for i in range(900)) + " FROM big",
    "WITH c0 AS (SELECT k a FROM big)"
    + "".join(f", c{n} AS (SELECT a + 1 a FROM c{n - 1})" for n in range(1, 900))
    + " SELECT count() FROM c899",
    "SELECT count() FROM big GROUP BY CUBE(" + ", ".join(f"k + {i}" for i in range(16)) + ")",
    "SELECT count() FROM big GROUP BY CUBE(k, v), " + ", ".join(f"ROLLUP(k + {i}, v)" for i in range(12)),
    " UNION ALL ".join(f"SELECT k + {i} FROM big" for i in range(900)),
    "SELECT count() FROM big GROUP BY " + ", ".join(f"k + {i}" for i in range(900)),
]
WRITES = [
    f"DELETE FROM big WHERE v IN (SELECT a.v FROM big a JOIN big b ON {NEVER})",
    f"INSERT INTO sink SELECT a.k FROM big a JOIN big b ON {NEVER}",
    "CREATE TABLE huge AS (SELECT a.x FROM long_sequence(1000000) a JOIN long_sequence(1000000) b ON a.x * b.x < 0)",
]
EXPECTED = {"57014", "53000", "54001", "42601", "0A000"}


class Beside(threading.Thread):
    """Asks and writes a little all the time; keeps the longest that it waited."""

    def __init__(self, work):
        super().__init__()
        self.work, self.longest, self.error, self.done = work, 0.0, None, threading.Event()

    def run(self):
        while not self.done.wait(0.1):
            began = time.monotonic()
            try:
                self.work()
            except Exception as error:  # told by the test
                self.error = error
                return
            self.longest = max(self.longest, time.monotonic() - began)


@pytest.fixture
def hostile(own_server):
    settings = {"NOWCAST_QUERY_MEMORY_BYTES_MAX": str(MEMORY), "NOWCAST_QUERY_TIMEOUT_S": "4"}
    server = own_server(env=settings)
    server.exec("CREATE TABLE big (ts TIMESTAMP, k LONG, v DOUBLE, s STRING) timestamp(ts) PARTITION BY DAY")
    server.exec("CREATE TABLE sink (x LONG)")
    server.exec(
        "INSERT INTO big SELECT timestamp_sequence('2026-01-01', 1000000), x % 7, x * 1.0, 'host' || (x % 1000)"
        " FROM long_sequence(200000)"
    )
    with psycopg.connect(conninfo(server), autocommit=True) as light:
        beside = [
            Beside(lambda: light.execute("SELECT count() FROM sink").fetchone()),
            Beside(lambda: server.post("/write", b"beside v=1i\n")),
        ]
        for thread in beside:
            thread.start()
        yield server, beside
        for thread in beside:
            thread.done.set()
            thread.join()


def resident(server):
    lines = open(f"/proc/{server.process.pid}/status").read().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize("queries", [JOINS, WINDOWS, GATHERED, DEEP, PLANS, WRITES], ids=["joins", "windows", "gathered", "deep", "plans", "writes"])
def test_it_ends_in_time_and_nobody_waits(hostile, queries):
    server, beside = hostile
    began_with = resident(server)
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        for query in queries:
            pg.execute(f"SET statement_timeout = '{TIMEOUT}s'")
            began = time.monotonic()
            with pytest.raises(psycopg.Error) as error:
                with pg.cursor() as cursor:
                    for _ in cursor.stream(query) if query.startswith(("SELECT", "WITH")) else [cursor.execute(query)]:
                        pass
            took = time.monotonic() - began
            assert error.value.sqlstate in EXPECTED, (query[:200], error.value)
            assert took < TIMEOUT + LATE, (query[:200], took)
    for thread in beside:
        assert thread.error is None and thread.longest < LATE, (thread.error, thread.longest)
    # Nothing goes on behind an answer.
    deadline = time.monotonic() + 10
    while server.metrics()["nowcast_sql_running"] > 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert resident(server) - began_with < 8 * MEMORY


def test_a_plan_without_end_is_refused_at_once(hostile):
    server, _ = hostile
    for query in (DEEP[-1], PLANS[2], PLANS[3]):
        began = time.monotonic()
        with psycopg.connect(conninfo(server), autocommit=True) as pg, pytest.raises(psycopg.Error) as error:
            pg.execute(query)
        assert error.value.sqlstate == "54001" and "100000" in str(error.value), (query[:200], error.value)
        assert time.monotonic() - began < LATE, query[:200]
    assert len(server.exec("SELECT k, count() FROM big GROUP BY CUBE(k, s, v) LIMIT 3")) == 3


def test_calls_inside_each_other_are_read_once(hostile):
    server, _ = hostile
    began = time.monotonic()
    assert server.exec("SELECT " + "abs(" * 30 + "-7" + ")" * 30) == [[7]]
    assert time.monotonic() - began < LATE


def test_it_ends_over_rest(hostile):
    server, beside = hostile
    for query in (JOINS[0], WINDOWS[0], GATHERED[3]):
        began = time.monotonic()
        status, body = server.get("/exec?query=" + urllib.parse.quote(query))
        assert status >= 400 and time.monotonic() - began < 4 + LATE, body
    assert all(thread.error is None and thread.longest < LATE for thread in beside)
