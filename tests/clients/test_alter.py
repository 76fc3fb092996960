"""Columns that are dropped and tables that are renamed, over kills, restarts, backups and writers that know nothing of it."""

import json
import subprocess
import urllib.error

import psycopg
import pytest
from conftest import BINARY
from postgres import conninfo


def rows(server):
    return server.exec("SELECT k, v FROM moved ORDER BY k")


def nowcast(*arguments):
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def test_dropped_columns_and_old_names_stay_gone(own_server, tmp_path):
    server = own_server()
    write = lambda line: server.post("/write", line.encode())[0] == 204
    assert write("was,s=a k=1i,v=1i 1000000000")
    server.stop()
    # Half of the rows is in parts by now.
    server.start()
    assert write("was,s=a k=2i,v=2i 2000000000")
    server.exec("ALTER TABLE was DROP COLUMN v")
    server.exec("RENAME TABLE was TO moved")
    # Writers know nothing of it: the one makes the column anew, of another type, and the other the table.
    assert write('moved,s=a k=3i,v="three" 3000000000')
    assert write("was,s=a k=9i,v=9.5 4000000000")
    expected = [[1, None], [2, None], [3, "three"]]
    for _ in range(2):
        assert rows(server) == expected
        assert server.exec("SELECT k, v FROM was") == [[9, 9.5]]
        server.kill()
        server.start()
    to = tmp_path / "backup"
    assert nowcast("backup", "--data", server.data, "--to", to).returncode == 0
    server.stop()
    for directory in (server.data, tmp_path / "again"):
        if directory != server.data:
            assert nowcast("restore", "--from", to, "--data", directory).returncode == 0
        checked = nowcast("fsck", "--data", directory)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        restored = own_server(data=directory)
        assert rows(restored) == expected
        assert restored.exec("SELECT k, v FROM was") == [[9, 9.5]]
        restored.stop()
    # As it was sent: each name in its time, with the events between.
    dumped = nowcast("log", "dump", "--data", tmp_path / "again")
    events = [line["event"] for line in map(json.loads, dumped.stdout.splitlines()) if "event" in line]
    kinds = [event["event"] for event in events]
    assert "drop_columns" in kinds and kinds.index("rename_table") > kinds.index("drop_columns"), kinds


def test_keyed_writes_and_keys_go_along(own_server):
    server = own_server()
    server.exec("CREATE TABLE was (ts TIMESTAMP, k LONG, v LONG) timestamp(ts) PARTITION BY DAY TTL 900w DEDUP UPSERT KEYS(ts, k)")
    key = {"Idempotency-Key": "once"}
    assert server.post("/write", b"was k=1i,v=1i 1700000000000000000", key)[0] == 204
    server.exec("ALTER TABLE was RENAME TO moved")
    # The same request again is acknowledged, and makes no table of the old name.
    assert server.post("/write", b"was k=1i,v=1i 1700000000000000000", key)[0] == 204
    for _ in range(2):
        with pytest.raises(urllib.error.HTTPError):
            server.exec("SELECT * FROM was")
        server.exec("INSERT INTO moved VALUES (1700000000000000, 1, 5)")
        assert rows(server) == [[1, 5]]
        server.kill()
        server.start()
    assert server.exec("SELECT dedup, ttlSeconds FROM tables() WHERE table_name = 'moved'") == [[True, 900 * 604_800]]


def test_over_postgresql(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("CREATE TABLE wire_was (ts TIMESTAMP, a INT, b INT) timestamp(ts)")
        pg.execute("INSERT INTO wire_was VALUES ('2026-01-01', 1, 2)")
        cursor = pg.execute("ALTER TABLE wire_was DROP COLUMN a")
        assert cursor.statusmessage == "ALTER TABLE"
        assert pg.execute("RENAME TABLE wire_was TO wire_moved").statusmessage == "RENAME TABLE"
        assert pg.execute("SELECT b FROM wire_moved").fetchall() == [(2,)]
        # A driver finds the columns by the catalogue.
        columns = pg.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'wire_moved'::regclass AND attnum > 0 ORDER BY attnum"
        ).fetchall()
        assert columns == [("ts",), ("b",)]
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="time column"):
            pg.execute("ALTER TABLE wire_moved DROP COLUMN ts")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            pg.execute("SELECT a FROM wire_moved")
        # It is written at once, so it cannot stand behind rows that wait.
        with pytest.raises(psycopg.errors.ActiveSqlTransaction), pg.transaction():
            pg.execute("INSERT INTO wire_moved VALUES ('2026-01-01', 3)")
            pg.execute("RENAME TABLE wire_moved TO wire_other")
        # The server's own tables keep their names.
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="table of the system"):
            pg.execute("RENAME TABLE sys.damaged TO mine")
        pg.execute("DROP TABLE wire_moved")
