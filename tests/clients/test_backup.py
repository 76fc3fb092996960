"""Backups of a server that runs, what is brought back from them, and how damage is found."""

import http.client
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from conftest import BINARY


DASHBOARD = """
title = "Mine"

[[panel]]
title = "Rows"
chart = "stat"
at = [0, 0, 3, 2]
query = "SELECT count(*) AS n FROM kept"
"""


def run(*arguments, env=None):
    """Exit code, standard output, standard error."""
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=env)
    return done.returncode, done.stdout, done.stderr


class Writer(threading.Thread):
    """Writes rows with rising numbers until told to stop; `done` of them are acknowledged."""

    def __init__(self, port, name):
        super().__init__()
        self.port, self.writer, self.done, self.stop = port, name, 0, threading.Event()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.stop.is_set():
            rows = range(self.done, self.done + 200)
            body = "".join(f"kept,writer={self.writer} id={row}i,half={row / 2}\n" for row in rows)
            connection.request("POST", "/write", body.encode())
            response = connection.getresponse()
            response.read()
            assert response.status == 204
            self.done += 200


@pytest.fixture
def elsewhere(tmp_path):
    """A directory on another file system than the data's."""
    memory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    assert memory.stat().st_dev != tmp_path.stat().st_dev
    yield memory
    shutil.rmtree(memory)


def wait_for_flushes(server, count):
    """Returns when rows have become parts so many times more."""

    def flushes():
        return server.metrics()["nowcast_store_flushes_total"]

    wanted, deadline = flushes() + count, time.monotonic() + 60
    while flushes() < wanted:
        assert time.monotonic() < deadline, f"{flushes()} flushes, expected {wanted}"
        time.sleep(0.05)


def test_a_backup_of_a_running_server_has_what_was_acknowledged(own_server, tmp_path, elsewhere):
    # So little room that rows become parts, parts are merged and segments go all the while.
    small = {"NOWCAST_MEMORY_HOT_BYTES_MAX": "200000", "NOWCAST_LOG_SEGMENT_BYTES_MAX": "1048576"}
    server = own_server(env=small)
    (server.data / "dashboards").mkdir(exist_ok=True)
    (server.data / "dashboards/mine.toml").write_text(DASHBOARD)
    settings = tmp_path / "my.toml"
    settings.write_text('[pg]\nuser = "someone"\n')
    writers = [Writer(server.http_port, f"w{number}") for number in range(4)]
    [writer.start() for writer in writers]
    # Each backup falls into other flushes, however fast the machine is.
    wait_for_flushes(server, 1)
    backups = []
    for number in range(4):
        acknowledged = [writer.done for writer in writers]
        # The last to another file system, where nothing can be linked to.
        to = (tmp_path if number < 3 else elsewhere) / f"backup{number}"
        code, out, errors = run("backup", "--data", server.data, "--config", settings, "--to", to)
        assert code == 0, errors
        assert (" 0 files shared with the data directory" in out) == (number == 3) and "damaged" not in out, out
        assert not list(server.data.glob("backing-up-*"))
        backups.append((to, acknowledged))
        wait_for_flushes(server, 2)
    [writer.stop.set() for writer in writers]
    [writer.join() for writer in writers]
    server.stop()
    for to, acknowledged in backups:
        code, out, errors = run("restore", "--from", to, "--verify")
        assert code == 0 and "good" in out, errors
        data = tmp_path / f"restored-{to.name}"
        code, out, errors = run("restore", "--from", to, "--data", data)
        assert code == 0 and "nowcast serve --data" in out, errors
        assert (data / "nowcast.toml").read_text() == settings.read_text()
        assert (data / "dashboards/mine.toml").read_text() == DASHBOARD
        code, out, errors = run("fsck", "--data", data)
        assert code == 0 and "1 tables" in out, out + errors
        restored = own_server(data=data)
        counts = restored.exec("SELECT writer, count(), count(DISTINCT id), max(id) FROM kept GROUP BY writer ORDER BY writer")
        for (_, count, distinct, last), least in zip(counts, acknowledged, strict=True):
            # A beginning of what the writer wrote: nothing missing, nothing twice.
            assert count == distinct == last + 1 >= least
        restored.post("/write", b"kept,writer=new id=1i\n")
        assert restored.exec("SELECT count() FROM kept WHERE writer = 'new'") == [[1]]
        restored.stop()


def test_damage_is_found_named_and_never_returned(own_server):
    server = own_server()
    rows = "".join(f"parts,k=k{row % 9} v={row}i {row * 1_000_000_000}\n" for row in range(20_000))
    assert server.post("/write", rows.encode())[0] == 204
    server.stop()
    code, out, errors = run("fsck", "--data", server.data)
    assert code == 0 and "1 parts with 20000 rows" in out, out + errors
    [part] = (server.data / "store/parts").rglob("*.parquet")
    whole = part.read_bytes()
    for place in (5_000, len(whole) - 100):
        part.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        code, out, errors = run("fsck", "--data", server.data)
        assert code == 1 and part.name in errors and "checksum" in errors and "1 found wrong" in errors, out + errors
        server.start()
        status, body = server.get("/exec?query=SELECT%20*%20FROM%20parts")
        assert status == 500 and part.name in body and "checksum" in body, body
        # Everything else goes on: what is written now, and what does not need the damaged part.
        assert server.post("/write", b"parts,k=new v=1i\n")[0] == 204
        assert server.exec("SELECT v FROM parts WHERE timestamp > '2020-01-01' LIMIT 1") == [[1]]
        code, _, errors = run("fsck", "--data", server.data)
        assert code == 1 and "in use" in errors
        server.kill()
        part.write_bytes(whole)
    code, out, errors = run("fsck", "--data", server.data)
    assert code == 0, out + errors
    code, _, errors = run("fsck", "--data", server.data / "log")
    assert code == 1 and "no data directory" in errors
