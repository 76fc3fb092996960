"""`kill -9` of the real server under four writers, again and again: no acknowledged row is lost, none is doubled.

Two writers write to a table with dedup keys: each batch writes half of the rows of the batch before once more, with
other values, so that rows are replaced in memory, in parts and across them. Two write to a table without, each
request under an `Idempotency-Key`. A write that was not acknowledged is sent again after the restart, as it was.

A batch is one atomic write, so at any time a writer's rows are those of the batches that it knows of, and perhaps the
one under way: counts and sums by writer tell every row that is missing, doubled or half replaced.

`NOWCAST_SOAK_KILLS` sets how often (30); past a hundred it begins anew over an empty directory, so that checks stay
cheap. `NOWCAST_SEED` repeats the choices of a round, though not how the threads meet them.
"""

import http.client
import os
import random
import threading
import time

import pytest

KILLS = int(os.environ.get("NOWCAST_SOAK_KILLS", 30))
ROUND = 100
ROWS = 200
HALF = ROWS // 2
# Small, so that flushes, merges and dropped segments are many; the least that a segment may have.
SETTINGS = {
    "NOWCAST_LOG_SEGMENT_BYTES_MAX": str(1 << 20),
    "NOWCAST_MEMORY_HOT_BYTES_MAX": str(256 << 10),
    "NOWCAST_MEMORY_HOT_BYTES_HARD_MAX": str(64 << 20),
}


def time_s(row: int) -> int:
    """Three days, again and again, so that merges have partitions to split."""
    return 1_700_000_000 + row * 13 % 259_200


class Writer:
    """Writes batch after batch until the server is gone, and knows what was acknowledged."""

    def __init__(self, number: int, run: str):
        self.name = f"w{number}"
        self.run = run
        self.batches = 0
        self.trouble = None

    def write_until_killed(self, port: int):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            while True:
                connection.request("POST", "/write", self.body(), self.headers())
                response = connection.getresponse()
                answer = response.read()
                if response.status == 503:
                    time.sleep(0.02)
                elif 200 <= response.status < 300:
                    self.batches += 1
                else:
                    self.trouble = f"{response.status} {answer}"
                    return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    def write_once(self, server):
        """The write that nobody knows of, once more."""
        while (status := server.post("/write", self.body().encode(), self.headers())[0]) == 503:
            time.sleep(0.02)
        assert status == 204
        self.batches += 1


class KeyedWriter(Writer):
    table = "kills_keyed"

    def body(self):
        rows = range(self.batches * HALF, self.batches * HALF + ROWS)
        return "".join(
            f"{self.table},writer={self.name} id={row}i,v={self.batches}i {time_s(row)}000000000\n" for row in rows
        )

    def headers(self):
        return {}

    def expected(self, batches: int):
        """Rows, the sum of ids, the sum of values: a row has the value of the last batch that wrote it."""
        if batches == 0:
            return (0, 0, 0)
        rows = (batches + 1) * HALF
        return (rows, rows * (rows - 1) // 2, HALF * (batches * (batches - 1) // 2 + batches - 1))


class OnceWriter(Writer):
    table = "kills_once"

    def body(self):
        rows = range(self.batches * ROWS, (self.batches + 1) * ROWS)
        return "".join(
            f"{self.table},writer={self.name} id={row}i,v={row % 7}i {time_s(row)}000000000\n" for row in rows
        )

    def headers(self):
        return {"Idempotency-Key": f"{self.run}-{self.name}-{self.batches}"}

    def expected(self, batches: int):
        rows = batches * ROWS
        weeks, days = divmod(rows, 7)
        return (rows, rows * (rows - 1) // 2, weeks * 21 + days * (days - 1) // 2)


def stored(server):
    """What the tables hold, by table and writer."""
    found = {}
    for table in (KeyedWriter.table, OnceWriter.table):
        for name, *sums in server.exec(f"SELECT writer, count(), sum(id), sum(v) FROM {table} GROUP BY writer"):
            found[table, name] = tuple(sums)
    return found


def check(server, writers):
    """After a restart: what was acknowledged, and perhaps the write that was under way."""
    found = stored(server)
    for writer in writers:
        sums = found.get((writer.table, writer.name), (0, 0, 0))
        allowed = [writer.expected(writer.batches), writer.expected(writer.batches + 1)]
        assert sums in allowed, f"{writer.table} {writer.name}: {sums} after {writer.batches} batches, not {allowed}"


class Seen:
    """What the server did, summed over its lives: whatever its counters said last before it was killed."""

    SERIES = ("nowcast_store_flushes_total", "nowcast_store_merged_bytes_total")

    def __init__(self):
        self.flushes = self.merged_bytes = self.in_flush = self.before_ready = self.first_segment = 0

    def life(self, server):
        """Watches until the server is gone."""
        last = (0, 0)
        try:
            while True:
                metrics = server.metrics()
                last = tuple(metrics.get(series, 0) for series in self.SERIES)
                time.sleep(0.05)
        except (OSError, http.client.HTTPException, ValueError):
            pass
        self.flushes += last[0]
        self.merged_bytes += last[1]
        names = (file.name for file in (server.data / "log").glob("*.log"))
        self.first_segment = max(self.first_segment, int(min(names).split(".")[0]))

    def all(self, planned):
        """True once there was everything that a kill should fall into."""
        return self.flushes > planned / 10 and self.merged_bytes > 0 and self.in_flush > 0 and self.first_segment > 0


def half_written(server):
    return next((server.data / "store").rglob("*.tmp"), None)


def kill_in_a_flush(server, chance, seen):
    """Kills it while a part or the manifest is being written, if that happens soon."""
    deadline = time.monotonic() + 1.5
    while half_written(server) is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(chance.uniform(0, 0.01))
    server.kill()
    seen.in_flush += half_written(server) is not None


def kill_before_ready(server, chance, start_s, seen):
    """Starts it and kills it on the way: while it opens its files, replays the log, or begins to listen."""
    server.launch()
    time.sleep(chance.uniform(0, start_s))
    server.kill()
    seen.before_ready += "is ready" not in server.process.stdout.read()


@pytest.mark.parametrize("before", range(0, KILLS, ROUND))
def test_kill_9_loses_no_acknowledged_row_and_doubles_none(own_server, before):
    planned = min(KILLS - before, ROUND)
    seed = int(os.environ.get("NOWCAST_SEED") or random.randrange(1 << 32)) + before
    print(f"\nNOWCAST_SOAK_KILLS={planned} NOWCAST_SEED={seed}")
    chance = random.Random(seed)
    run = f"{seed:x}-{time.time_ns():x}"
    writers = [kind(number, run) for number, kind in enumerate((KeyedWriter, KeyedWriter, OnceWriter, OnceWriter))]
    server = own_server(env=SETTINGS)
    server.exec(
        f"CREATE TABLE {KeyedWriter.table} (timestamp TIMESTAMP, writer SYMBOL, id LONG, v LONG) timestamp(timestamp)"
        " PARTITION BY DAY DEDUP UPSERT KEYS(timestamp, writer, id)"
    )
    seen = Seen()
    start_s = 0.5
    kills = 0
    # A few more if they did not fall into all that they should: when it flushes and merges is for the server to choose.
    while kills < planned or (not seen.all(planned) and kills < 2 * planned + 20):
        threads = [threading.Thread(target=writer.write_until_killed, args=(server.http_port,)) for writer in writers]
        threads.append(threading.Thread(target=seen.life, args=(server,)))
        [thread.start() for thread in threads]
        if seen.in_flush and chance.random() < 0.5:
            time.sleep(chance.uniform(0, 1.5))
            server.kill()
        else:
            kill_in_a_flush(server, chance, seen)
        kills += 1
        [thread.join() for thread in threads]
        assert [writer.trouble for writer in writers] == [None] * len(writers)
        while kills < planned and (kills == 1 or chance.random() < 0.4):
            kill_before_ready(server, chance, start_s, seen)
            kills += 1
        began = time.monotonic()
        server.start()
        start_s = time.monotonic() - began
        check(server, writers)
        if chance.random() < 0.5:
            # Else the writers do the same, with others beside them.
            [writer.write_once(server) for writer in writers]
    [writer.write_once(server) for writer in writers]
    for _ in range(2):
        everything(server, writers)
        server.stop()
        server.start()
    everything(server, writers)
    print({writer.name: writer.batches for writer in writers}, vars(seen))
    assert min(writer.batches for writer in writers) > planned / 2
    assert seen.all(planned) and seen.before_ready > 0, vars(seen)
    assert not list((server.data / "log").glob("quarantine/*"))


def everything(server, writers):
    """Row by row: each id once, with its time and its value."""
    for writer in writers:
        rows = server.exec(
            f"SELECT id, v, (timestamp::LONG) / 1000000 FROM {writer.table} WHERE writer = '{writer.name}' ORDER BY id"
        )
        count = writer.expected(writer.batches)[0]
        last = writer.batches - 1
        keyed = isinstance(writer, KeyedWriter)
        expected = ([row, min(row // HALF, last) if keyed else row % 7, time_s(row)] for row in range(count))
        assert len(rows) == count
        for row, wanted in zip(rows, expected):
            assert row == wanted, f"{writer.table} {writer.name}"
