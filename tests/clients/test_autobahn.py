"""Autobahn's cases 1 to 10 against the feed's WebSocket, through a route that sends back what it hears."""

import asyncio
import os
import subprocess
from pathlib import Path

import kosoku
import pytest

ECHO = os.environ.get("NOWCAST_ECHO", str(Path(os.environ.get("NOWCAST_BIN", "nowcast")).parent / "examples/echo"))


@pytest.fixture
def echo():
    with subprocess.Popen([ECHO], stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.kill()


# Autobahn has no case 8.
GROUPS = [1, 2, 3, 4, 5, 6, 7, 9, 10]


def test_cases_1_to_10(echo):
    groups = [f"{group}.*" for group in GROUPS]

    async def run():
        return await kosoku.run_fuzzingclient(echo, cases=groups, concurrency=2)

    try:
        results = asyncio.run(run())
    except kosoku.FailureError as failure:
        told = [f"{r.case_id}: {r.behavior.value}, close {r.behavior_close.value}: {r.expectation}" for r in failure.results]
        pytest.fail("\n".join(told))
    assert len(results) >= 240, len(results)
    assert {result.case_id.split(".")[0] for result in results} == {str(group) for group in GROUPS}
