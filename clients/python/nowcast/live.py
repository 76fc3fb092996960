"""The connection: one WebSocket for one live query, which comes back by itself and goes on from its cursor."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import websockets

from .table import LiveTable

SUBPROTOCOL = "nowcast.v1.json"
DEFAULT_URL = "http://127.0.0.1:9000"
# The server says something every second; a connection that does not for so long is dead.
SILENCE_S = 10
BACKOFF_S = (0.25, 15)
# Closed because of what this client sent: it would be closed again.
BAD_MESSAGES = 4400


class LiveError(Exception):
    """The server refused the query, or ended it. `code` is for programs, `hint` says what to do."""

    def __init__(self, error: dict[str, Any]):
        super().__init__(error["message"] + (f"; {error['hint']}" if error.get("hint") else ""))
        self.code: str = error["code"]
        self.hint: str | None = error.get("hint")
        self.line: int | None = error.get("line")
        self.column: int | None = error.get("column")


class _Retry(Exception):
    """Try again, after at least so many seconds."""

    def __init__(self, seconds: float):
        super().__init__(seconds)
        self.seconds = seconds


async def subscribe(
    query: str | None = None,
    *,
    panel: str | None = None,
    params: dict[str, Any] | None = None,
    url: str = DEFAULT_URL,
    token: str | None = None,
) -> AsyncIterator[LiveTable]:
    """Yields the live table at once and after each change. It is the same object; the next step changes it.

    Raises LiveError if the server refuses the query for good. What may succeed later is tried again.
    """
    if (query is None) == (panel is None):
        raise TypeError("give a query or a panel")
    target = {"query": query} if panel is None else {"panel": panel}
    feed = _Feed({**target, **({"params": params} if params else {})}, _address(url), token)
    attempts = 0
    while True:
        wait = 0.0
        try:
            async for table in feed.connection():
                attempts = 0
                yield table
        except _Retry as retry:
            wait = retry.seconds
        except websockets.ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code == BAD_MESSAGES:
                raise
        except websockets.InvalidStatus as refused:
            # Busy, or going down; anything else will not get better.
            if refused.response.status_code not in (429, 502, 503, 504):
                raise
            wait = float(refused.response.headers.get("Retry-After", 0))
        except (OSError, TimeoutError, asyncio.TimeoutError, websockets.InvalidHandshake):
            pass
        first, longest = BACKOFF_S
        grown = min(longest, first * 2 ** min(attempts, 16)) * random.uniform(0.5, 1)
        attempts += 1
        await asyncio.sleep(max(wait, grown))


class _Feed:
    """What outlives a connection: the rows and the cursor."""

    def __init__(self, target: dict[str, Any], address: str, token: str | None):
        self.target, self.address = target, address
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.table: LiveTable | None = None
        self.version = 0

    async def connection(self) -> AsyncIterator[LiveTable]:
        async with websockets.connect(
            self.address, subprotocols=[SUBPROTOCOL], additional_headers=self.headers, max_size=None
        ) as socket:
            async def send(op: str, **fields):
                await socket.send(json.dumps({"op": op, **fields}))

            if self.table is not None:
                await send("resume", epoch=self.table.epoch, version=self.version)
            await send("pace", mode="ack")
            await send("subscribe", id=1, **self.target, **({} if self.table else {"snapshot": True}))
            round_: list[dict] = []
            acked = -1
            # Until the query is answered on this connection, its rows may be older than the progress.
            answered = False
            while True:
                message = json.loads(await asyncio.wait_for(socket.recv(), SILENCE_S))
                op = message["op"]
                if op in ("snapshot", "delta"):
                    round_.append(message)
                elif op == "progress":
                    answered = answered or bool(round_)
                    changed, round_ = self._apply(round_), []
                    if answered:
                        self.version = message["version"]
                    if changed and self.table is not None:
                        yield self.table
                    if message["version"] > acked:
                        acked = message["version"]
                        await send("ack", version=acked)
                elif op == "error":
                    if not message["retry"]:
                        raise LiveError(message)
                    # The rows were of a query that ended: a new one begins with a snapshot.
                    self.table = None
                    raise _Retry(message.get("retry_after", 0))

    def _apply(self, messages: list[dict]) -> bool:
        changed = False
        for message in messages:
            if message["op"] == "snapshot":
                self.table, changed = LiveTable(message), True
            elif self.table is not None:
                self.table.apply(message)
                changed = changed or bool(message["upsert"] or message["delete"])
        return changed


def _address(url: str) -> str:
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") or "/api/v1/live", parts.query, ""))
