"""Starts a real server for the official clients: a process of its own, on free ports, over a fresh directory."""

import os
import re
import signal
import subprocess
import time
import urllib.parse
import urllib.request
import json
from pathlib import Path

import pytest

BINARY = os.environ.get("NOWCAST_BIN", "nowcast")
PASSWORD = "quest"


class Server:
    """A `nowcast serve` (or another command) and its addresses."""

    def __init__(self, data: Path, *, command=("serve",), env=None, wrapper=()):
        self.data = data
        self.command = list(command)
        self.wrapper = list(wrapper)
        # Tests count records of the log: no rows but theirs, unless a test asks for them.
        self.env = {**os.environ, "NOWCAST_METRICS_INTERVAL_S": "0", **(env or {})}
        self.process = None
        self.start()

    def start(self):
        self.launch()
        self.wait_until_ready()

    def launch(self):
        """Starts the process and does not wait for it."""
        arguments = [*self.wrapper, BINARY, *self.command, "--data", str(self.data)]
        arguments += ["--http", "127.0.0.1:0", "--ilp", "127.0.0.1:0", "--pg", "127.0.0.1:0"]
        self.errors = open(self.data.parent / f"{self.data.name}.log", "ab")
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.errors, env=self.env, text=True)

    def wait_until_ready(self):
        banner = []
        for line in self.process.stdout:
            banner.append(line)
            if "Ctrl-C" in line:
                break
        text = "".join(banner)
        assert "is ready" in text, f"{text}\n{Path(self.errors.name).read_text()}"
        self.banner = text
        self.http = re.search(r"page\s+(http://[\d.:]+)", text).group(1)
        self.ilp_port = int(re.search(r"tcp://[\d.]+:(\d+)", text).group(1))
        self.pg_port = int(re.search(r"postgresql://\w+@[\d.]+:(\d+)", text).group(1))
        self.http_port = int(self.http.rsplit(":", 1)[1])

    def exec(self, query: str, **parameters):
        """The answer of /exec, as rows; an error as an exception."""
        form = urllib.parse.urlencode({"query": query, **parameters}).encode()
        with urllib.request.urlopen(f"{self.http}/exec", data=form) as response:
            return json.load(response).get("dataset")

    def post(self, path: str, body: bytes, headers=None):
        """Status and body of a POST, whatever the status."""
        request = urllib.request.Request(self.http + path, data=body, headers=headers or {}, method="POST")
        return self._open(request)

    def get(self, path: str, headers=None):
        """Status and body of a GET, whatever the status."""
        return self._open(urllib.request.Request(self.http + path, headers=headers or {}))

    def _open(self, request):
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_for(self, query: str, expected, seconds: float = 60):
        """Asks until the answer's first cell is `expected`: line protocol over TCP acknowledges nothing."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = self.exec(query)[0][0]
            except urllib.error.HTTPError:
                found = None
            if found == expected:
                return
            assert time.monotonic() < deadline, f"{query}: {found}, expected {expected}"
            time.sleep(0.05)

    def metrics(self):
        """`/metrics` as a dictionary from series to value."""
        lines = self.get("/metrics")[1].splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {series: float(value) for series, value in pairs}

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> float:
        """Ends it as an operator would; the seconds that took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(timeout=10) == 0
        return time.monotonic() - began


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("shared") / "data")
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path):
    started = []

    def start(*, data=None, **options):
        server = Server(data or tmp_path / f"data{len(started)}", **options)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()
