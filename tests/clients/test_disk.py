"""A disk that fills up: nothing acknowledged is lost, and everything goes on once there is space."""

import http.client
import json
import os
import time
from pathlib import Path

DISK_MIB = 16
HOT_BYTES_MAX = 2 << 20


def small_disk(own_server, tmp_path, **settings):
    """A server whose data lies on a file system of its own, and the way to that file system from here."""
    mount = tmp_path / "disk"
    mount.mkdir()
    script = f'mount -t tmpfs -o size={DISK_MIB}m tmpfs "$0" && exec "$@"'
    wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(mount)]
    env = {"NOWCAST_LOG_SEGMENT_BYTES_MAX": str(1 << 20), "NOWCAST_MEMORY_HOT_BYTES_MAX": str(HOT_BYTES_MAX)}
    env.update({f"NOWCAST_{name}": str(value) for name, value in settings.items()})
    server = own_server(wrapper=wrapper, env=env, data=mount / "data")
    return server, Path(f"/proc/{server.process.pid}/root{mount}")


def free_bytes(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def fill(disk: Path, leave: int):
    """Takes all but `leave` bytes of what is free."""
    with open(disk / "filler", "wb") as file:
        file.write(bytes(free_bytes(disk) - leave))
    assert free_bytes(disk) <= leave


class Writer:
    """Writes 1,000 rows a request, one request after another, and counts what was acknowledged."""

    def __init__(self, port):
        self.port = port
        self.acknowledged = 0
        self.unknown = 0
        self.refusal = None

    def write(self, timeout=30.0):
        first = self.acknowledged + self.unknown
        lines = "".join(f"filling,k=k{i % 7} id={i}i,v={i * 0.37}\n" for i in range(first, first + 1_000))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", "/write", lines.encode())
            response = connection.getresponse()
            body = response.read().decode()
        except OSError:
            self.unknown += 1_000
            return None
        finally:
            connection.close()
        if response.status == 204:
            self.acknowledged += 1_000
        else:
            self.refusal = body
        return response.status


def ready(server):
    status, body = server.get("/readyz")
    return status, json.loads(body)


def test_below_the_minimum_writes_are_refused_and_reads_go_on(own_server, tmp_path):
    # Nothing is flushed: that would make room by itself.
    server, disk = small_disk(own_server, tmp_path, DISK_FREE_BYTES_MIN=5 << 20, MEMORY_HOT_BYTES_MAX=64 << 20)
    writer = Writer(server.http_port)
    assert writer.write() == 204
    fill(disk, leave=7 << 20)
    while (status := writer.write()) == 204:
        assert writer.acknowledged < 10_000_000
    assert status == 507 and "disk.free_bytes_min = 5242880" in writer.refusal, writer.refusal
    assert server.exec("SELECT count() FROM filling") == [[writer.acknowledged]]
    status, body = ready(server)
    assert status == 503 and "make space" in json.dumps(body)
    # What makes space is not refused.
    server.exec("ALTER TABLE filling SET TTL 20 YEARS")
    (disk / "filler").unlink()
    deadline = time.monotonic() + 10
    while writer.write() != 204:
        assert time.monotonic() < deadline, writer.refusal
    assert server.exec("SELECT count(), count(DISTINCT id) FROM filling") == [[writer.acknowledged] * 2]
    assert ready(server)[0] == 200


def test_a_disk_that_is_full_loses_nothing_and_heals(own_server, tmp_path):
    server, disk = small_disk(own_server, tmp_path, DISK_FREE_BYTES_MIN=0)
    writer = Writer(server.http_port)
    # Until a flush is near: what is left then is less than its part, and enough for a few writes.
    hot_bytes = 0
    while not HOT_BYTES_MAX * 0.8 < hot_bytes < HOT_BYTES_MAX:
        assert writer.write() == 204
        hot_bytes = server.metrics()["nowcast_store_hot_bytes"]
        assert writer.acknowledged < 1_000_000
    fill(disk, leave=384 << 10)
    told = set()

    def note():
        told.update(reason for reason in ("writes wait", "rows cannot be moved") if reason in json.dumps(ready(server)[1]))

    # Until a write hangs: the log found no space in the middle of a group.
    status = 204
    while status == 204:
        status = writer.write(timeout=3)
        assert writer.acknowledged < 10_000_000
        note()
    assert status is None, writer.refusal
    # And the flush none in the middle of a part.
    deadline = time.monotonic() + 20
    while len(told) < 2:
        assert time.monotonic() < deadline, (told, ready(server))
        time.sleep(0.05)
        note()
    assert free_bytes(disk) < 384 << 10
    assert not list((disk / "data/store").rglob("*.tmp")), "a half-written part stays"
    count = server.exec("SELECT count() FROM filling")[0][0]
    assert count == writer.acknowledged
    (disk / "filler").unlink()
    # The write that nobody waited for is finished, and others follow.
    server.wait_for("SELECT count() FROM filling", writer.acknowledged + writer.unknown, seconds=20)
    while writer.acknowledged < count + 20_000:
        assert writer.write() == 204
    total = writer.acknowledged + writer.unknown
    expected = [[total, total, total * (total - 1) // 2]]
    assert server.exec("SELECT count(), count(DISTINCT id), sum(id) FROM filling") == expected
    # A flush that failed is tried again in a while, and told until then.
    deadline = time.monotonic() + 20
    while ready(server)[0] != 200:
        assert time.monotonic() < deadline, ready(server)
        time.sleep(0.1)
    deadline = time.monotonic() + 20
    while server.metrics()["nowcast_store_parts"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert server.exec("SELECT count(), count(DISTINCT id), sum(id) FROM filling") == expected
