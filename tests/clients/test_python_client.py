"""The client in clients/python and its examples, over a real server."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "clients/python"))

import nowcast  # noqa: E402
from nowcast.table import LiveTable  # noqa: E402

QUERY = "SELECT country, sum(v) AS total FROM sales GROUP BY country ORDER BY total DESC"


@pytest.fixture
def shop(own_server):
    server = own_server()
    server.exec("CREATE TABLE sales (country VARCHAR, v LONG, ts TIMESTAMP) TIMESTAMP(ts) PARTITION BY DAY")
    sell(server, "DE", 1)
    return server


def sell(server, country, v):
    server.exec(f"INSERT INTO sales VALUES ('{country}', {v}, '2026-01-01T00:00:00.000001Z')")


def test_steps_are_moments_and_a_lost_connection_goes_on(shop):
    async def scenario():
        steps = nowcast.subscribe(QUERY, url=shop.http)
        table = await asyncio.wait_for(anext(steps), 20)
        assert (table.columns, table.rows(), table.mode) == (["country", "total"], [("DE", 1)], "incremental")
        for n in range(20):
            sell(shop, "FR", 1)
        # This loop is slow, so the server merges.
        count = 0
        while ("FR", 20) not in table.rows():
            table = await asyncio.wait_for(anext(steps), 20)
            count += 1
        assert count <= 3, count
        assert table.rows() == [("FR", 20), ("DE", 1)]
        await steps.aclose()

    asyncio.run(scenario())


def test_a_proxy_that_cuts_costs_no_snapshot(shop):
    async def scenario():
        writers = []

        async def pipe(reader, writer):
            try:
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            except ConnectionError:
                pass
            writer.close()

        async def accept(reader, writer):
            there, back = await asyncio.open_connection("127.0.0.1", shop.http_port)
            writers.append(writer)
            await asyncio.gather(pipe(reader, back), pipe(there, writer))

        proxy = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = proxy.sockets[0].getsockname()[1]
        steps = nowcast.subscribe(QUERY, url=f"http://127.0.0.1:{port}")
        table = await asyncio.wait_for(anext(steps), 20)
        before = shop.metrics()
        for n in range(5):
            cut, writers[:] = list(writers), []
            for writer in cut:
                writer.transport.abort()
            sell(shop, "DE", 1)
            again = await asyncio.wait_for(anext(steps), 20)
            assert (again is table, again.rows()) == (True, [("DE", n + 2)])
        after = shop.metrics()
        await steps.aclose()
        proxy.close()
        assert after["nowcast_feed_snapshots_total"] == before["nowcast_feed_snapshots_total"]
        assert after['nowcast_feed_resumes_total{outcome="accepted"}'] >= 5

    asyncio.run(scenario())


def test_a_query_that_is_refused_says_why(shop):
    async def first(query):
        return await anext(nowcast.subscribe(query, url=shop.http))

    with pytest.raises(nowcast.LiveError) as refused:
        asyncio.run(first("SELECT nothing FROM nowhere"))
    assert (refused.value.line, "nowhere" in str(refused.value)) == (1, True)
    with pytest.raises(nowcast.LiveError):
        nowcast.frame("SELECT", url=shop.http).df


def test_a_data_frame_keeps_itself_current(shop):
    with nowcast.frame("SELECT country, v, ts FROM sales", url=shop.http) as live:
        df = live.df
        assert [str(dtype) for dtype in df.dtypes][1:] == ["int64", "datetime64[us, UTC]"]
        assert df.iloc[0].to_dict()["ts"].to_pydatetime() == datetime(2026, 1, 1, 0, 0, 0, 1, timezone.utc)
        threading.Timer(0.3, sell, (shop, "CH", 5)).start()
        assert live.wait(20)
        assert (len(df), len(live.df), live.changes) == (1, 2, 2)
        assert "CH" in live._repr_html_()
        assert not live.wait(0.2)
    assert len(live.df) == 2, "the last rows stay"


@pytest.mark.parametrize("example", ["watch", "frame"])
def test_examples_run(shop, example):
    command = [sys.executable, str(ROOT / f"examples/{example}.py"), QUERY, shop.http]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "clients/python")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        lines = iter(process.stdout.readline, "")
        assert any("DE" in line and "1" in line for line in lines)
        sell(shop, "DE", 41)
        assert any("42" in line for line in lines)
        process.kill()


@pytest.fixture
def weather(own_server):
    server = own_server()
    server.post("/write", b"weather,city=Bern t=21.5")
    return server


def until(check, seconds=20):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_streamlit_shows_what_is_current(weather, monkeypatch):
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("NOWCAST_URL", weather.http)
    page = AppTest.from_file(str(ROOT / "examples/streamlit_app.py"), default_timeout=30).run()
    assert not page.exception
    assert (page.metric[0].value, page.dataframe[0].value.to_dict("records")) == (
        "1", [{"city": "Bern", "rows": 1, "t": 21.5}]
    )
    weather.post("/write", b"weather,city=Chur t=1")
    until(lambda: page.run().metric[0].value == "2")
    assert not page.exception
    assert weather.metrics()['nowcast_feed_viewers{transport="websocket"}'] == 1


def test_dash_shows_what_is_current(weather):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "clients/python"), "NOWCAST_URL": weather.http, "PORT": str(port)}
    update = {
        "output": "weather.data", "outputs": {"id": "weather", "property": "data"},
        "inputs": [{"id": "second", "property": "n_intervals", "value": 1}], "changedPropIds": ["second.n_intervals"],
    }

    def rows():
        try:
            answer = requests.post(f"http://127.0.0.1:{port}/_dash-update-component", json=update, timeout=10)
        except requests.ConnectionError:
            return None
        assert answer.status_code == 200, answer.text
        return answer.json()["response"]["weather"]["data"]

    with subprocess.Popen([sys.executable, str(ROOT / "examples/dash_app.py")], env=env) as process:
        try:
            until(lambda: rows() == [{"city": "Bern", "rows": 1, "t": 21.5}], 60)
            weather.post("/write", b"weather,city=Bern t=22.5")
            until(lambda: rows() == [{"city": "Bern", "rows": 2, "t": 22.0}])
        finally:
            process.kill()


def test_vectors():
    folder = ROOT / "testdata/vectors/live"
    for vector in json.loads((folder / "sessions.json").read_text()):
        tables = {}
        for step in vector["steps"]:
            message = step["message"]
            if message["op"] == "snapshot":
                tables[str(message["id"])] = LiveTable(message)
            elif message["op"] == "delta" and str(message["id"]) in tables:
                tables[str(message["id"])].apply(message)
            if message["op"] != "progress":
                continue
            for name, rows in (step.get("tables") or {}).items():
                found = tables.get(name)
                assert (found and [[wire(cell) for cell in row] for row in found._in_order()]) == rows, vector["name"]


def wire(cell):
    """Python holds what JSON does not."""
    return str(cell) if isinstance(cell, int) and abs(cell) > 2**53 else cell
