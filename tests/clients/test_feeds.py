"""The feeds of other systems, through the clients that they have: `/ws`, `/dashboard/{id}` and Socket.IO."""

import asyncio
import json
import queue
import re
import time
from pathlib import Path

import pandas as pd
import pytest
import socketio
import websockets

COLUMNS = [
    "user_id", "age", "gender", "country", "traffic_source", "order_id", "item_id", "category", "cost",
    "item_status", "sale_price", "created_at",
]


def shop(server):
    server.exec("CREATE TABLE users (id VARCHAR, age INT, gender VARCHAR, country VARCHAR, traffic_source VARCHAR)")
    server.exec("CREATE TABLE products (id LONG, category VARCHAR, cost DOUBLE)")
    server.exec(
        "CREATE TABLE order_items (id VARCHAR, order_id VARCHAR, user_id VARCHAR, product_id LONG, status VARCHAR,"
        " sale_price DOUBLE, created_at TIMESTAMP) TIMESTAMP(created_at) PARTITION BY DAY"
    )
    server.exec("INSERT INTO users VALUES ('u1', 30, 'F', 'Österreich', 'Search'), ('u2', NULL, 'M', 'DE', 'Email')")
    server.exec("INSERT INTO products VALUES (1, 'Jeans', 10.5), (2, 'Socks', 1)")


def sell(server, item, user, product, price, age):
    server.exec(
        f"INSERT INTO order_items VALUES ('{item}', 'o{item}', '{user}', {product}, 'Processing', {price},"
        f" dateadd('m', -{age}, now()))"
    )


def log(server):
    return Path(server.errors.name).read_text()


def test_records_as_a_data_frame_reads_them(own_server):
    server = own_server(env={"REFRESH_SECONDS": "1", "LOOKBACK_MINUTES": "5"})
    shop(server)

    async def scenario():
        async with websockets.connect(f"ws://127.0.0.1:{server.http_port}/ws") as socket:
            # No rows, no message.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 2.5)
            sell(server, "i1", "u1", 1, 20.25, 0)
            sell(server, "i2", "u2", 2, 3, 4)
            sell(server, "i3", "u2", 2, 3, 6)
            while True:
                # What the dashboards of this feed do with a message.
                frame = pd.DataFrame(json.loads(json.loads(await asyncio.wait_for(socket.recv(), 10))))
                if len(frame) == 2:
                    break
            began = time.monotonic()
            for _ in range(2):
                await asyncio.wait_for(socket.recv(), 10)
            return frame, time.monotonic() - began

    frame, seconds = asyncio.run(scenario())
    assert 1.0 < seconds < 4, seconds
    assert list(frame.columns) == COLUMNS
    row = frame.set_index("item_id").loc["i1"]
    assert row.drop("created_at").to_dict() == {
        "user_id": "u1", "age": 30, "gender": "F", "country": "Österreich", "traffic_source": "Search",
        "order_id": "oi1", "category": "Jeans", "cost": 10.5, "item_status": "Processing", "sale_price": 20.25,
    }
    at = pd.to_datetime(row["created_at"], unit="ms", utc=True)
    assert abs((pd.Timestamp.now(tz="UTC") - at).total_seconds()) < 60
    text = log(server)
    for line in [
        r"New WebSocket connection: Address\(host='127.0.0.1', port=\d+\)",
        r"Fetched 0 records from database", r"Fetched 2 records from database",
        r"WebSocket disconnected: Address\(host='127.0.0.1', port=\d+\)",
    ]:
        assert re.search(line, text), f"{line}\n{text}"


def test_records_of_no_minutes_are_one_row_and_errors_are_told(own_server):
    server = own_server(env={"REFRESH_SECONDS": "1", "LOOKBACK_MINUTES": "0"})

    async def first():
        async with websockets.connect(f"ws://127.0.0.1:{server.http_port}/ws") as socket:
            return json.loads(json.loads(await asyncio.wait_for(socket.recv(), 20)))

    async def nothing():
        async with websockets.connect(f"ws://127.0.0.1:{server.http_port}/ws") as socket:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 1.5)

    asyncio.run(nothing())
    assert "Error reading from database: " in log(server)
    shop(server)
    for number in range(3):
        sell(server, f"i{number}", "u1", 1, 5, 60 * 24 * number)
    assert len(asyncio.run(first())) == 1


FEED = """
[[feed]]
query = '''
SELECT board, name, sum(v) AS total, max(ts) AS at, max(unit) AS unit, count() AS n FROM readings GROUP BY board, name
'''
dashboard_id = "board"
metric_name = "name"
value = "total"
timestamp = "at"
metadata = ["unit", "n"]
"""


@pytest.fixture
def boards(own_server, tmp_path):
    config = tmp_path / "feeds.toml"
    config.write_text(FEED)
    server = own_server(command=("serve", "--config", str(config)))
    server.exec(
        "CREATE TABLE readings (board SYMBOL, name SYMBOL, v DOUBLE, unit VARCHAR, ts TIMESTAMP)"
        " TIMESTAMP(ts) PARTITION BY DAY"
    )
    read(server, "sales", "revenue", 1.5)
    read(server, "ops", "cpu", 50)
    return server


def read(server, board, name, value):
    server.exec(f"INSERT INTO readings VALUES ('{board}', '{name}', {value}, 'EUR', '2026-01-01T00:00:01.5Z')")


AT = 1767225601500


def test_a_dashboard_over_a_plain_websocket(boards):
    async def scenario():
        async with websockets.connect(f"ws://127.0.0.1:{boards.http_port}/dashboard/sales") as socket:
            first = json.loads(await asyncio.wait_for(socket.recv(), 20))
            read(boards, "ops", "cpu", 1)
            read(boards, "sales", "revenue", 2)
            second = json.loads(await asyncio.wait_for(socket.recv(), 20))
            metrics = boards.metrics()
            return first, second, metrics

    first, second, metrics = asyncio.run(scenario())
    expected = {"dashboard_id": "sales", "metric_name": "revenue", "value": 1.5, "timestamp": AT}
    assert first == {**expected, "metadata": {"unit": "EUR", "n": 1}}
    assert second == {**expected, "value": 3.5, "metadata": {"unit": "EUR", "n": 2}}
    assert metrics['dashboard_messages_processed_total{dashboard_id="sales"}'] == 2
    assert metrics['dashboard_active_connections{dashboard_id="sales"}'] == 1
    assert metrics["dashboard_processing_seconds_count"] >= 3
    assert metrics['dashboard_processing_seconds_bucket{le="+Inf"}'] >= 3


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
def test_a_dashboard_over_socket_io(boards, transports):
    heard = queue.Queue()
    client = socketio.Client(reconnection=False)
    client.on("initial-state", lambda state: heard.put(("initial-state", state)))
    client.on("update", lambda update: heard.put(("update", update)))
    client.on("error", lambda error: heard.put(("error", error)))
    client.connect(boards.http, transports=transports)
    try:
        client.emit("subscribe", "sales")
        entry = {"value": 1.5, "timestamp": AT, "metadata": {"unit": "EUR", "n": 1}}
        assert heard.get(timeout=20) == ("initial-state", {"revenue": entry})
        read(boards, "ops", "cpu", 1)
        read(boards, "sales", "orders", 7)
        event, update = heard.get(timeout=20)
        assert abs(update.pop("timestamp") - time.time() * 1000) < 30_000
        assert (event, update) == ("update", {"metric": "orders", "value": 7, "metadata": {"unit": "EUR", "n": 1}})
        # A second dashboard on the same connection, and one that has nothing.
        client.emit("subscribe", "ops")
        event, state = heard.get(timeout=20)
        assert (event, state["cpu"]["value"]) == ("initial-state", 51)
        client.emit("subscribe", "none")
        assert heard.get(timeout=20) == ("initial-state", {})
        client.emit("subscribe", None)
        event, error = heard.get(timeout=20)
        assert (event, error["code"]) == ("error", "bad_message")
        assert boards.metrics()['dashboard_active_connections{dashboard_id="sales"}'] == 1
        assert boards.metrics()['nowcast_feed_viewers{transport="socketio"}'] == 1
    finally:
        client.disconnect()
    deadline = time.monotonic() + 20
    while boards.metrics()['nowcast_feed_viewers{transport="socketio"}'] > 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert boards.metrics()['dashboard_active_connections{dashboard_id="sales"}'] == 0


def test_without_feeds_dashboards_say_what_to_set_up(server):
    status, body = server.get("/socket.io/?EIO=4&transport=polling")
    assert (status, json.loads(body)["code"]) == (404, "no_feed")
    status, body = server.get("/dashboard/sales")
    assert (status, json.loads(body)["code"]) == (404, "no_feed")
