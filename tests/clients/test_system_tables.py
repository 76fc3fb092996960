"""What the server tells about itself over SQL, and the settings that bound it."""

import json
import os
import socket
import subprocess
import time

import psycopg

from conftest import BINARY, PASSWORD

HOUR_US = 3_600_000_000
# 2026-11-25T10:00:00Z
BASE_US = 1_795_600_800_000_000


def over_pg(server, query):
    """The answer of the PostgreSQL wire, as rows."""
    with psycopg.connect(
        host="127.0.0.1", port=server.pg_port, user="admin", password=PASSWORD, dbname="qdb", autocommit=True
    ) as connection:
        return connection.execute(query).fetchall()


def test_tables_tell_what_their_parts_cost(own_server):
    server = own_server(env={"NOWCAST_MEMORY_HOT_BYTES_MAX": "100000"})
    figures = (
        "SELECT parts, hotRows, flushedBytes, mergedBytes, writeAmplification FROM tables() WHERE table_name = 'costs'"
    )
    assert server.post("/write", b"costs n=0i\n")[0] == 204
    assert server.exec(figures) == [[0, 1, 0, 0, None]]
    deadline = time.monotonic() + 60
    while (row := server.exec(figures)[0])[3] == 0:
        assert time.monotonic() < deadline, f"nothing is merged: {row}"
        body = "".join(f"costs n={i}i,text=\"{'x' * 100}\"\n" for i in range(2_000))
        assert server.post("/write", body.encode())[0] == 204
    parts, hot, flushed, merged, amplification = row
    assert parts > 0 and hot >= 0 and flushed > 0
    assert amplification == (flushed + merged) / flushed > 1
    assert server.metrics()["nowcast_store_merged_bytes_total"] >= merged
    # Over the other wire the same columns.
    assert over_pg(server, "SELECT writeAmplification > 1 FROM tables() WHERE table_name = 'costs'") == [(True,)]


def test_partitions_say_what_the_rows_say(own_server):
    server = own_server()
    server.exec("CREATE TABLE parted (ts TIMESTAMP, v LONG) timestamp(ts) PARTITION BY HOUR")

    def write(hours):
        body = "".join(f"parted v={h}i {(BASE_US + h * HOUR_US + n) * 1_000}\n" for h in hours for n in range(h + 1))
        assert server.post("/write", body.encode())[0] == 204

    def check():
        rows = server.exec("SELECT min(ts), max(ts), count() FROM parted GROUP BY date_trunc('hour', ts) ORDER BY 1")
        told = "SELECT minTimestamp, maxTimestamp, numRows FROM table_partitions('parted') ORDER BY index"
        assert server.exec(told) == rows

    write([0, 1, 2])
    check()
    server.stop()
    server.start()
    # One part over three hours, then another, and rows in memory.
    check()
    write([2, 3])
    check()
    shown = server.exec("SHOW PARTITIONS FROM parted")
    assert [row[2] for row in shown] == ["2026-11-25T10", "2026-11-25T11", "2026-11-25T12", "2026-11-25T13"]
    assert [row[0] for row in shown] == [0, 1, 2, 3]
    # A part lies over three hours, so its bytes are shared out.
    disk = sum(path.stat().st_size for path in server.data.glob("store/parts/*parted/*.parquet"))
    assert sum(row[6] for row in shown) == disk > 0
    server.exec("ALTER TABLE parted DROP PARTITION LIST '2026-11-25T11'")
    check()
    counted = over_pg(server, "SELECT name, numRows, hotRows, parts FROM table_partitions('parted')")
    assert counted == [("2026-11-25T10", 1, 0, 1), ("2026-11-25T12", 6, 3, 1), ("2026-11-25T13", 4, 4, 0)]
    assert over_pg(server, "SHOW PARTITIONS FROM parted")[0][2] == "2026-11-25T10"


def test_what_the_log_lost_can_be_asked(own_server):
    server = own_server()
    assert server.exec("SELECT count() FROM damaged") == [[0]]
    for i in range(20):
        assert server.post("/write", f"looked v={i}i\n".encode())[0] == 204
    server.kill()
    segment = sorted((server.data / "log").glob("*.log"))[0]
    broken = bytearray(segment.read_bytes())
    broken[len(broken) // 2] ^= 1
    segment.write_bytes(broken)
    server.start()
    [told] = json.loads(server.get("/readyz")[1])["damaged"]
    [row] = server.exec("SELECT file, fromByte, toByte, firstOffset, endOffset, cause, copy FROM sys.damaged")
    file, from_byte, to_byte, first, end, cause, copy = row
    assert file == str(segment) and 0 < from_byte < to_byte and end == first + 1
    assert told == (
        f"{file}, bytes {from_byte} to {to_byte}: the records at offsets {first} to {end} are lost: {cause}; "
        f"copied to {copy}"
    )
    with open(copy, "rb") as kept:
        assert kept.read() == bytes(broken[from_byte:to_byte])
    assert over_pg(server, "SELECT count(*) FROM damaged") == [(1,)]


def test_the_servers_metrics_are_a_table(own_server):
    server = own_server(env={"NOWCAST_METRICS_INTERVAL_S": "1", "NOWCAST_METRICS_KEEP_S": "7200"})
    ready = "SELECT count(DISTINCT timestamp) >= 2 FROM _metrics"
    server.wait_for(ready, True)
    names = {row[0] for row in server.exec("SELECT DISTINCT name FROM _metrics")}
    assert names <= {series.split("{")[0] for series in server.metrics()}
    assert {"nowcast_log_records_total", "nowcast_store_tables", "nowcast_views_evaluations_total"} <= names
    labelled = "SELECT DISTINCT labels FROM _metrics WHERE name = 'nowcast_views_evaluations_total' ORDER BY labels"
    assert server.exec(labelled) == [['mode="incremental"'], ['mode="reevaluated"']]
    assert server.exec("SELECT count(labels) FROM _metrics WHERE name = 'nowcast_log_records_total'") == [[0]]
    # Nobody made it: it is no row that came, and no table among the others.
    assert server.metrics()["nowcast_ingest_rows_total"] == 0
    assert server.exec("SHOW TABLES") == []
    assert server.exec("SELECT table_name, partitionBy, ttlSeconds, system FROM tables()") == [
        ["_metrics", "HOUR", 7200, True]
    ]
    [table] = json.loads(server.get("/api/v1/tables")[1])["tables"]
    assert table["name"] == "_metrics" and table["system"]
    assert json.loads(server.get("/api/v1/status")[1])["rows_per_second"] == 0
    # The setting is the table's at the next start, also where nothing is written any more.
    server.stop()
    server.env.update({"NOWCAST_METRICS_INTERVAL_S": "0", "NOWCAST_METRICS_KEEP_S": "0"})
    server.start()
    server.wait_for("SELECT ttlSeconds FROM tables() WHERE table_name = '_metrics'", None)
    rows = server.exec("SELECT count() FROM _metrics")
    # Longer than the interval that it had.
    time.sleep(1.5)
    assert server.exec("SELECT count() FROM _metrics") == rows


def test_a_table_that_somebody_made_is_theirs(own_server):
    server = own_server()
    server.exec("CREATE TABLE _metrics (ts TIMESTAMP, host SYMBOL, cpu DOUBLE) timestamp(ts) PARTITION BY DAY")
    server.exec("INSERT INTO _metrics VALUES ('2001-01-01T00:00:00Z', 'a', 0.5)")
    server.stop()
    server.env["NOWCAST_METRICS_INTERVAL_S"] = "1"
    server.start()
    # A second's work of the server: what is written is seen, and more than the interval has passed.
    with socket.create_connection(("127.0.0.1", server.ilp_port)) as stream:
        for n in range(1, 4):
            stream.sendall(b"lines v=1\nlines v=oops\n")
            server.wait_for("SELECT count() FROM rejected", n)
    assert server.exec("SELECT * FROM _metrics") == [["2001-01-01T00:00:00.000000Z", "a", 0.5]]
    assert server.exec("SELECT ttlSeconds, system FROM tables() WHERE table_name = '_metrics'") == [[None, False]]
    assert server.exec("SHOW TABLES") == [["_metrics"], ["lines"]]


def test_refused_lines_are_kept_as_the_setting_says(own_server):
    server = own_server()
    with socket.create_connection(("127.0.0.1", server.ilp_port)) as stream:
        stream.sendall(b"lines v=1\nlines v=oops\n")
        server.wait_for("SELECT count() FROM rejected", 1)
    ttl = "SELECT ttlSeconds, system FROM tables() WHERE table_name = 'rejected'"
    assert server.exec(ttl) == [[7 * 86_400, True]]
    assert server.exec("SHOW TABLES") == [["lines"]]
    server.stop()
    server.env["NOWCAST_REJECTED_KEEP_S"] = "3600"
    server.start()
    server.wait_for("SELECT ttlSeconds FROM tables() WHERE table_name = 'rejected'", 3600)


def test_the_keys_that_are_remembered_are_bounded(own_server):
    server = own_server(env={"NOWCAST_IDEMPOTENCY_KEYS_MAX": "2"})

    def write(key):
        assert server.post("/write", f"once key=\"{key}\"\n".encode(), {"Idempotency-Key": key})[0] == 204

    for key in "abc":
        write(key)
    for _ in range(2):
        # The last two are remembered, over a restart as well.
        write("b")
        write("c")
        assert server.exec("SELECT count() FROM once") == [[3]]
        server.kill()
        server.start()
    write("a")
    assert server.exec("SELECT count() FROM once WHERE key = 'a'") == [[2]]


def test_keys_that_cannot_be_remembered_are_refused():
    for name, value in [("KEYS_MAX", "0"), ("KEYS_MAX", "1000001"), ("KEEP_S", "0")]:
        env = {**os.environ, f"NOWCAST_IDEMPOTENCY_{name}": value}
        checked = subprocess.run([BINARY, "check"], capture_output=True, text=True, timeout=60, env=env)
        assert checked.returncode == 1 and f"idempotency.{name.lower()}" in checked.stderr, checked.stderr
