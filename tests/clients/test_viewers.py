"""Two hundred viewers of one dashboard, and what the server shows of itself."""

import asyncio
import gzip
import json
import re
from pathlib import Path

import msgpack
import pytest
import websockets

VIEWERS = 200


@pytest.fixture
def demo(own_server):
    return own_server(command=("demo", "--users-per-second", "2"))


def test_two_hundred_viewers_cost_one_evaluation_a_query(demo):
    status, body = demo.post("/api/v1/demo", b'{"paused": true}', {"Content-Type": "application/json"})
    assert (status, json.loads(body)) == (200, {"paused": True})
    panels = json.loads(demo.get("/api/v1/dashboards/thelook")[1])["panels"]
    queries = [f"thelook/{panel['id']}" for panel in panels]

    async def watch(viewer, ready, done):
        async with websockets.connect(
            f"ws://127.0.0.1:{demo.http_port}/api/v1/live", subprotocols=["nowcast.v1.json"], max_size=None
        ) as socket:
            for number, panel in enumerate(queries):
                await socket.send(json.dumps({"op": "subscribe", "id": number, "panel": panel}))
            waiting = set(range(len(queries)))
            rounds = 0
            while not done.is_set():
                message = json.loads(await socket.recv())
                assert message["op"] != "error", message
                if message["op"] == "snapshot":
                    waiting.discard(message["id"])
                if message["op"] == "progress" and not waiting:
                    rounds += 1
                    if rounds == 2:
                        ready.release()
            return rounds

    async def scenario():
        ready, done = asyncio.Semaphore(0), asyncio.Event()
        viewers = [asyncio.create_task(watch(number, ready, done)) for number in range(VIEWERS)]
        for _ in range(VIEWERS):
            await asyncio.wait_for(ready.acquire(), 60)
        loop = asyncio.get_running_loop()
        before = await loop.run_in_executor(None, demo.metrics)
        status = json.loads((await loop.run_in_executor(None, demo.get, "/api/v1/status"))[1])
        await asyncio.sleep(5)
        after = await loop.run_in_executor(None, demo.metrics)
        done.set()
        await asyncio.gather(*viewers)
        return before, after, status

    before, after, status = asyncio.run(scenario())
    assert after['nowcast_feed_viewers{transport="websocket"}'] == VIEWERS
    assert after["nowcast_views"] == len(queries)
    assert [view["viewers"] for view in status["views"]] == [VIEWERS] * len(queries)

    def grown(series):
        return after[series] - before[series]

    ticks = grown("nowcast_views_moments_total")
    evaluations = sum(grown(series) for series in after if series.startswith("nowcast_views_evaluations_total"))
    # Each query at most once a moment; a re-evaluated one may lag a moment behind.
    assert 0 < evaluations <= (ticks + 2) * len(queries), (evaluations, ticks)
    # A frame is encoded once for all viewers at its cursor, not once a viewer.
    frames = grown("nowcast_feed_frames_encoded_total")
    assert frames <= 3 * (ticks + 2) * len(queries), (frames, ticks)
    assert grown("nowcast_feed_bytes_sent_total") > 10 * grown("nowcast_feed_bytes_encoded_total")


def test_metrics_are_those_that_the_document_lists(demo):
    document = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    listed = set(re.findall(r"^\| `(nowcast_[a-z_]+)", document, re.M))
    shown = {re.split(r"[ {]", series)[0] for series in demo.metrics()}
    shown = {name for name in shown if name.startswith("nowcast_")}
    assert shown <= listed, shown - listed
    labelled = set(re.findall(r"^\| `(nowcast_[a-z_]+)\{", document, re.M))
    assert listed - labelled <= shown, listed - labelled - shown


def test_an_hour_of_history_is_few_parts_and_a_restart_goes_on(demo):
    first = demo.exec("SELECT count() FROM users")[0][0]
    assert first > 2 * 3600 * 0.5
    span = demo.exec("SELECT max(created_at) - min(created_at) >= interval '55 minutes' FROM orders")
    assert span == [[True]]
    assert demo.metrics()["nowcast_store_parts"] < 200
    demo.stop()
    demo.start()
    assert demo.exec("SELECT count() FROM users")[0][0] >= first
    assert demo.exec("SELECT count() FROM products") == [[29_120]]
    assert demo.metrics()["nowcast_store_parts"] < 200
    same = demo.exec("SELECT count(), count(DISTINCT id) FROM users")[0]
    assert same[0] == same[1]


def deserialize(data):
    """How clients of compressed MessagePack read it: what is no gzip was sent as it is."""
    try:
        return msgpack.unpackb(gzip.decompress(data))
    except gzip.BadGzipFile:
        return msgpack.unpackb(data)


def test_messagepack_is_read_by_what_others_read_it_with(own_server):
    server = own_server()
    server.exec("CREATE TABLE t (k VARCHAR, v DOUBLE, ts TIMESTAMP) TIMESTAMP(ts) PARTITION BY DAY")
    values = ",".join(f"('key {n}', {n}.5, '2026-01-01T00:00:00.000001Z')" for n in range(200))
    server.exec(f"INSERT INTO t VALUES {values}")

    async def scenario():
        url = f"ws://127.0.0.1:{server.http_port}/api/v1/live"
        async with websockets.connect(url, subprotocols=["nowcast.v1.msgpack"]) as socket:
            await socket.send(msgpack.packb({"op": "subscribe", "id": 1, "query": "SELECT k, v, ts FROM t"}))
            messages = [await asyncio.wait_for(socket.recv(), 20)]
            while deserialize(messages[-1])["op"] != "snapshot":
                messages.append(await asyncio.wait_for(socket.recv(), 20))
            messages.append(await asyncio.wait_for(socket.recv(), 20))
            return messages

    *_, snapshot, progress = asyncio.run(scenario())
    assert (snapshot[:2], progress[:1]) == (b"\x1f\x8b", b"\x85")
    rows = {tuple(row[:3]) for row in deserialize(snapshot)["rows"]}
    assert rows == {(f"key {n}", n + 0.5, 1767225600000001) for n in range(200)}
    assert len(snapshot) < len(msgpack.packb(deserialize(snapshot))) / 2
    assert deserialize(progress)["op"] == "progress"
