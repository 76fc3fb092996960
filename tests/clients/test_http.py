"""What a browser's page may and may not do, and the answers of /exec."""

import json
import os
import subprocess
import urllib.error

import pytest
from conftest import BINARY


def test_exec_answers_as_questdb_does(server):
    status, body = server.get("/exec?query=SELECT+1+AS+one,+'x'+AS+x")
    answer = json.loads(body)
    assert status == 200
    assert [column["name"] for column in answer["columns"]] == ["one", "x"]
    assert answer["dataset"] == [[1, "x"]] and answer["count"] == 1 and "query" in answer
    status, body = server.get("/exec?query=SELEC+1")
    error = json.loads(body)
    assert status == 400 and error["error"] and error["query"] == "SELEC 1" and "position" in error
    assert json.loads(server.post("/exec", b"CREATE TABLE IF NOT EXISTS made (a LONG)")[1]) == {"ddl": "OK"}


def test_pages_of_other_sites_are_refused(server):
    evil = {"Origin": "https://evil.example.com"}
    assert server.get("/exec?query=SELECT+1", evil)[0] == 403
    assert server.post("/write", b"stolen v=1\n", evil)[0] == 403
    assert server.get("/exec?query=SELECT+1", {"Host": "evil.example.com"})[0] == 421
    own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert server.get("/exec?query=SELECT+1", own)[0] == 200
    assert server.get("/exec?query=CREATE+TABLE+by_get+(a+LONG)", own)[0] == 403
    assert server.get("/exec?query=CREATE+TABLE+by_get+(a+LONG)")[0] == 200


def test_large_and_broken_bodies_are_refused(server):
    assert server.post("/write", b"x" * 100, {"Content-Encoding": "gzip"})[0] == 400
    assert server.post("/write", b"x v=1", {"Content-Encoding": "br"})[0] == 415
    assert server.get("/api/v1/nothing")[0] == 404


def test_a_token_is_asked_for(own_server):
    server = own_server(env={"NOWCAST_HTTP_TOKEN": "secret"})
    assert server.get("/exec?query=SELECT+1")[0] == 401
    assert server.get("/exec?query=SELECT+1", {"Authorization": "Bearer secret"})[0] == 200
    assert server.get("/healthz")[0] == 200
    assert "secret" not in server.banner


def test_an_open_address_needs_a_password(tmp_path):
    arguments = [BINARY, "serve", "--data", str(tmp_path / "d"), "--http", "0.0.0.0:0"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "NOWCAST_PG_PASSWORD" in done.stderr


def test_commands_that_talk_to_the_server(server):
    run = lambda *a: subprocess.run([BINARY, *a], capture_output=True, text=True, timeout=20)
    assert run("health", "--to", server.http).returncode == 0
    assert run("health", "--to", "http://127.0.0.1:1").returncode == 1
    answer = run("sql", "--to", server.http, "--format", "csv", "SELECT 1 AS a, 'b' AS b")
    assert (answer.returncode, answer.stdout) == (0, "a,b\n1,b\n")
    wrong = run("sql", "--to", server.http, "SELECT * FROM nowhere")
    assert wrong.returncode == 1 and "nowhere" in wrong.stderr


def test_a_bad_config_has_a_place(tmp_path):
    file = tmp_path / "nowcast.toml"
    file.write_text("[http]\nbnd = ['127.0.0.1:0']\n")
    done = subprocess.run([BINARY, "check", "--config", str(file)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "line 2" in done.stderr and "did you mean `bind`" in done.stderr
