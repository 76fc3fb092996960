"""The log as people read it: over HTTP while the server runs, with `nowcast log` while it does not."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta

from conftest import BINARY


def lines(server, path):
    """Status, the lines of an NDJSON answer, and where the next one begins."""
    try:
        with urllib.request.urlopen(server.http + path) as response:
            text = response.read().decode()
            return response.status, [json.loads(line) for line in text.splitlines()], response.headers["Nowcast-Next"]
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), None


def nowcast(*arguments):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60)


def test_what_was_written_can_be_read_in_its_order_and_resumed(own_server):
    server = own_server()
    for i in range(5):
        body = "".join(f"trips,cab=c{i} n={i * 10 + j}i {i * 10 + j}000000\n" for j in range(10)) + f"other v={i}\n"
        assert server.post("/write", body.encode())[0] == 204
    server.exec("TRUNCATE TABLE trips")
    assert server.post("/write", b"trips,cab=z n=99i,extra=true 5000000000\n")[0] == 204
    status, first, upto = lines(server, "/api/v1/log/trips?limit=25")
    assert status == 200 and len(first) == 25
    status, rest, end = lines(server, f"/api/v1/log/trips?from={upto}")
    everything = first + rest
    rows = [line["row"]["n"] for line in everything if "row" in line]
    assert rows == [*range(50), 99]
    assert [line["event"]["event"] for line in everything if "event" in line] == [
        "create_table",
        "truncate",
        "add_columns",
    ]
    offsets = [int(line["offset"]) for line in everything]
    assert offsets == sorted(set(offsets))
    assert everything[-1]["row"] == {
        "cab": "z",
        "n": 99,
        "extra": True,
        "timestamp": "1970-01-01T00:00:05.000000Z",
    }
    # Nothing new: no lines, and the same place.
    assert lines(server, f"/api/v1/log/trips?from={end}") == (200, [], end)
    status, error, _ = lines(server, "/api/v1/log/nothing")
    assert status == 404 and "no table" in error["error"]


def test_what_the_log_has_let_go_is_told(own_server):
    small = {"NOWCAST_LOG_SEGMENT_BYTES_MAX": "1048576", "NOWCAST_MEMORY_HOT_BYTES_MAX": "100000"}
    server = own_server(env=small)
    kept = own_server(env={**small, "NOWCAST_LOG_KEEP_S": "3600"})
    for each in (server, kept):
        for i in range(40):
            body = "".join(f"gone n={i * 100 + j}i,text=\"{'x' * 600}\"\n" for j in range(100))
            assert each.post("/write", body.encode())[0] == 204
    deadline = 100
    while (answer := lines(server, "/api/v1/log/gone?from=0"))[0] == 200:
        deadline -= 1
        assert deadline > 0, "segments are never dropped"
        server.post("/write", f"more text=\"{'y' * 100_000}\"\n".encode())
        time.sleep(0.1)
    status, error, _ = answer
    assert status == 410 and int(error["first"]) > 0
    assert lines(server, f"/api/v1/log/gone?from={error['first']}")[0] == 200
    rows = [line["row"]["n"] for line in lines(kept, "/api/v1/log/gone")[1] if "row" in line]
    assert rows == list(range(4_000))


def test_reading_begins_at_a_time(own_server):
    server = own_server()
    for i in range(3):
        assert server.post("/write", f"timed n={i}i\n".encode())[0] == 204
        time.sleep(0.01)
    _, everything, end = lines(server, "/api/v1/log/timed")
    rows = [line for line in everything if "row" in line]
    times = [line["at"] for line in rows]
    assert times == sorted(set(times)) and len(times) == 3
    # At a record's own time with it, a microsecond later without it. The first record made the table, too.
    assert lines(server, f"/api/v1/log/timed?from={times[0]}")[1] == everything
    for i, at in enumerate(times):
        later = (datetime.fromisoformat(at) + timedelta(microseconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert lines(server, f"/api/v1/log/timed?from={later}")[1] == rows[i + 1 :]
        assert lines(server, f"/api/v1/log/timed?from={at}")[1][-3 + i :] == rows[i:]
    assert lines(server, f"/api/v1/log/timed?from={times[1]}&limit=1")[1] == [rows[1]]
    assert lines(server, "/api/v1/log/timed?from=2001-01-01")[1] == everything
    assert lines(server, "/api/v1/log/timed?from=2001-01-01T00:00:00%2B02:00")[1] == everything
    # Nothing is there yet at a time to come; from `Nowcast-Next` on comes what follows.
    status, none, upto = lines(server, "/api/v1/log/timed?from=2100-01-01T00:00:00Z")
    assert (status, none, upto) == (200, [], end)
    assert server.post("/write", b"timed n=3i\n")[0] == 204
    assert [line["row"]["n"] for line in lines(server, f"/api/v1/log/timed?from={upto}")[1]] == [3]
    status, error, _ = lines(server, "/api/v1/log/timed?from=yesterday")
    assert status == 400 and "neither an offset nor a time" in error["error"]
    # The same from the files.
    server.stop()
    server_side = ["log", "dump", "--data", str(server.data), "--table", "timed", "--from"]
    dumped = nowcast(*server_side, times[1])
    assert [json.loads(line)["row"]["n"] for line in dumped.stdout.splitlines()] == [1, 2, 3], dumped.stderr
    assert nowcast(*server_side, "2100-01-01").stdout == ""
    refused = nowcast(*server_side, "yesterday")
    assert refused.returncode == 2 and "neither an offset nor a time" in refused.stderr


def test_a_log_is_verified_and_dumped_while_the_server_is_down(own_server):
    server = own_server()
    for i in range(20):
        assert server.post("/write", f"looked,k=a v={i}i\n".encode())[0] == 204
    running = nowcast("log", "verify", "--data", str(server.data))
    assert running.returncode == 1 and "in use" in running.stderr
    server.kill()
    good = nowcast("log", "verify", "--data", str(server.data))
    assert good.returncode == 0 and "20 records" in good.stdout, good.stdout + good.stderr
    dumped = nowcast("log", "dump", "--data", str(server.data), "--table", "looked", "--limit", "5")
    assert dumped.returncode == 0
    printed = [json.loads(line) for line in dumped.stdout.splitlines()]
    assert [line["row"]["v"] for line in printed if "row" in line] == [0, 1, 2, 3]
    # A byte in the middle of what was durable.
    segment = sorted((server.data / "log").glob("*.log"))[0]
    broken = bytearray(segment.read_bytes())
    broken[len(broken) // 2] ^= 1
    segment.write_bytes(broken)
    bad = nowcast("log", "verify", "--data", str(server.data))
    assert bad.returncode == 1 and segment.name in bad.stdout and "damaged" in bad.stderr
    assert segment.read_bytes() == bytes(broken), "looking changes nothing"
    server.start()
    # One record is lost and named, the others are there.
    assert server.exec("SELECT count() FROM looked") == [[19]]
    assert segment.name in server.get("/readyz")[1]
