"""/exec and /exp as QuestDB's users call them."""

import csv
import gzip
import http.client
import io
import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request

import pyarrow.parquet as pq
import pytest

ROWS = 20_000


@pytest.fixture(scope="module")
def table(server):
    server.exec("CREATE TABLE rest (ts TIMESTAMP, n LONG, x DOUBLE, s SYMBOL, t VARCHAR) timestamp(ts) PARTITION BY DAY")
    lines = [
        json.dumps({"ts": 1_767_225_600_000 + i, "n": i, "x": i / 2, "s": f"s{i % 7}", "t": f'a "text", {i}'})
        for i in range(ROWS)
    ]
    status, body = server.post("/api/v1/ingest/rest?timestamp=ts&precision=ms", "\n".join(lines).encode())
    assert status == 204, body
    return server


@pytest.fixture(scope="module")
def late(server):
    """A table whose rows came late, in many pieces, some of them at one time."""
    server.exec("CREATE TABLE late (ts TIMESTAMP, n LONG) timestamp(ts) PARTITION BY DAY")
    for i in range(12):
        lines = [json.dumps({"ts": 1_767_225_600_000 + (11 - i) * 86_400_000 + j // 2, "n": (11 - i) * 1000 + j}) for j in range(1000)]
        assert server.post("/api/v1/ingest/late?timestamp=ts&precision=ms", "\n".join(lines).encode())[0] == 204
    return server


def get(server, route, headers=None, **parameters):
    """Status, headers and bytes."""
    request = urllib.request.Request(f"{server.http}{route}?{urllib.parse.urlencode(parameters)}", headers=headers or {})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def exec_(server, **parameters):
    status, _, body = get(server, "/exec", **parameters)
    assert status == 200, body
    return json.loads(body)


def test_the_shape_of_an_answer(table):
    answer = exec_(table, query="SELECT * FROM rest ORDER BY ts LIMIT 2")
    assert answer["query"] == "SELECT * FROM rest ORDER BY ts LIMIT 2"
    assert [(c["name"], c["type"]) for c in answer["columns"]] == [
        ("ts", "TIMESTAMP"), ("n", "LONG"), ("x", "DOUBLE"), ("s", "SYMBOL"), ("t", "VARCHAR"),
    ]
    assert answer["timestamp"] == 0 and answer["count"] == 2
    assert answer["dataset"][1] == ["2026-01-01T00:00:00.001000Z", 1, 0.5, "s1", 'a "text", 1']
    assert exec_(table, query="SELECT n, ts FROM rest LIMIT 1")["timestamp"] == 1
    assert exec_(table, query="SELECT count() FROM rest")["timestamp"] == -1


@pytest.mark.parametrize("query", ["late", "SELECT n FROM late", "SELECT * FROM late WHERE n >= 0"])
@pytest.mark.parametrize("count", ["true", "false"])
def test_pages_without_an_order_are_in_the_order_of_time(late, query, count):
    column = -1
    for limit, expected in [
        ("0,10", range(10)), ("10,20", range(9, 20)), ("11,20", range(10, 20)), ("1001,1003", range(1000, 1003)),
        ("3", range(3)), ("11990,", range(11989, 12000)), ("-3", range(11997, 12000)), ("-12,-10", range(11988, 11990)),
    ]:
        answer = exec_(late, query=query, limit=limit, count=count)
        if limit != "11990,":
            assert [row[column] for row in answer["dataset"]] == list(expected), limit
        assert answer["count"] == (12_000 if count == "true" else len(expected))
        rows = list(csv.reader(io.StringIO(get(late, "/exp", query=query, limit=limit, nm="true")[2].decode())))
        if limit != "11990,":
            assert [int(row[column]) for row in rows] == list(expected), limit


@pytest.mark.parametrize(
    "query, limit, rows, count",
    [
        ("SELECT n FROM late ORDER BY n DESC", "2", [[11_999], [11_998]], 12_000),
        ("SELECT n FROM late ORDER BY n DESC", "-2", [[1], [0]], 12_000),
        ("SELECT n FROM late ORDER BY n LIMIT 5", "2,3", [[1], [2]], 5),
        ("SELECT n FROM late LIMIT -5", "2", [[11_995], [11_996]], 5),
        ("SELECT count() FROM late", "10", [[12_000]], 1),
        ("SELECT n / 6000 k, count() FROM late ORDER BY k", "1", [[0, 6000]], 2),
        ("SELECT ts, count() FROM late SAMPLE BY 1d", "1", [["2026-01-01T00:00:00.000000Z", 1000]], 12),
        ("SELECT DISTINCT n / 6000 k FROM late ORDER BY k", "1", [[0]], 2),
        ("SELECT abs(n) a FROM late WHERE n < 7", "2", [[0], [1]], 7),
        ("SELECT 1 a UNION ALL SELECT 1", "1", [[1]], 2),
        ("SELECT x FROM long_sequence(5)", "2", [[1], [2]], 5),
        ("SELECT x FROM long_sequence(5)", "-2", [[4], [5]], 5),
        ("SELECT n FROM late", "0", [], 12_000),
    ],
)
def test_a_limit_beside_the_text(late, query, limit, rows, count):
    assert exec_(late, query=query, limit=limit)["dataset"] == rows
    answer = exec_(late, query=query, limit=limit, count="true")
    assert (answer["dataset"], answer["count"]) == (rows, count)


@pytest.mark.parametrize(
    "limit, expected",
    [
        ("3", [0, 1, 2]),
        ("0", []),
        ("1,3", [0, 1, 2]),
        ("10,12", [9, 10, 11]),
        ("-2", [ROWS - 2, ROWS - 1]),
        ("-4,-2", [ROWS - 4, ROWS - 3]),
        (f"{ROWS},{ROWS + 10}", [ROWS - 1]),
    ],
)
def test_limits(table, limit, expected):
    answer = exec_(table, query="SELECT n FROM rest ORDER BY ts", limit=limit)
    assert [row[0] for row in answer["dataset"]] == expected
    assert answer["count"] == len(expected)
    body = get(table, "/exp", query="SELECT n FROM rest ORDER BY ts", limit=limit, nm="true")[2]
    assert [int(line) for line in body.split()] == expected


def test_what_can_be_asked_for_besides(table):
    query = "SELECT n FROM rest ORDER BY ts"
    counted = exec_(table, query=query, limit="2", count="true")
    assert (len(counted["dataset"]), counted["count"]) == (2, ROWS)
    assert "columns" not in exec_(table, query=query, limit="2", nm="true")
    assert exec_(table, query=query, limit="2,2", quoteLargeNum="true")["dataset"] == [["1"]]
    more = exec_(table, query=query, limit="1", timings="true", explain="true", src="con", version="2")
    assert more["timings"]["compiler"] > 0 and more["explain"] == {"jitCompiled": False}


def test_errors_have_a_place(table):
    status, _, body = get(table, "/exec", query="SELECT nn FROM rest")
    error = json.loads(body)
    assert status == 400 and error["query"] == "SELECT nn FROM rest" and error["position"] == 7 and error["error"]
    for route in ("/exec", "/exp"):
        assert get(table, route)[0] == 400
        for wrong, hint in (("limt", "limit"), ("querry", "query")):
            status, _, body = get(table, route, query="SELECT 1", **{wrong: "1"})
            assert status == 400 and wrong in str(body) and f"did you mean {hint}?" in str(body)
    assert get(table, "/exec", query="SELECT 1", limit="a,b")[0] == 400
    assert get(table, "/exec", query="SELECT 1", nm="maybe")[0] == 400


def test_post_takes_forms_and_plain_sql(table):
    for body, kind in [
        (b"query=SELECT+1+AS+one&nm=true", "application/x-www-form-urlencoded"),
        (b"SELECT 1 AS one", "application/x-www-form-urlencoded"),
        (b"SELECT 1 AS one", "text/plain"),
    ]:
        status, answer = table.post("/exec", body, {"Content-Type": kind})
        assert status == 200 and json.loads(answer)["dataset"] == [[1]], answer
    assert table.post("/exec", b"SELECT '\xff'", {"Content-Type": "text/plain"})[0] == 400
    assert table.post("/exp", b"SELECT 1 AS one")[1] == '"one"\r\n1\r\n'


def test_csv_is_quoted_as_questdb_quotes(table):
    status, headers, body = get(table, "/exp", query="SELECT * FROM rest ORDER BY ts LIMIT 2", filename="a/b")
    assert status == 200 and headers["Content-Type"] == "text/csv; charset=utf-8"
    assert headers["Content-Disposition"] == 'attachment; filename="a_b.csv"'
    assert body.decode().splitlines()[:2] == [
        '"ts","n","x","s","t"', '"2026-01-01T00:00:00.000000Z",0,0.0,"s0","a ""text"", 0"',
    ]
    body = get(table, "/exp", query="rest", delimiter=";")[2].decode()
    rows = list(csv.reader(io.StringIO(body), delimiter=";"))
    assert len(rows) == ROWS + 1
    assert get(table, "/exp", query="SELECT 1", delimiter="ab")[0] == 400
    assert "/exec" in get(table, "/exp", query="CREATE TABLE by_exp (a LONG)")[2].decode()


@pytest.mark.parametrize("codec", ["zstd", "snappy", "gzip", "uncompressed", "lz4_raw", "brotli"])
def test_parquet_has_the_rows(table, codec):
    status, headers, body = get(
        table, "/exp", {"Accept-Encoding": "gzip"}, query="SELECT * FROM rest ORDER BY ts", fmt="parquet",
        compression_codec=codec, row_group_size="6000", rmode="nodelay",
    )
    assert status == 200 and headers["Content-Encoding"] is None and ".parquet" in headers["Content-Disposition"]
    file = pq.ParquetFile(io.BytesIO(body))
    assert file.num_row_groups == 4
    rows = file.read()
    assert rows.column("n").to_pylist() == list(range(ROWS))
    assert rows.column("s").to_pylist()[:3] == ["s0", "s1", "s2"]
    assert get(table, "/exp", query="rest", fmt="parquet", compression_codec="lzma")[0] == 400


def test_answers_are_compressed(table):
    query = "SELECT * FROM rest ORDER BY ts"
    plain = get(table, "/exp", query=query)[2].decode().splitlines()
    status, headers, packed = get(table, "/exp", {"Accept-Encoding": "gzip"}, query=query)
    unpacked = gzip.decompress(packed).decode().splitlines()
    assert headers["Content-Encoding"] == "gzip" and len(unpacked) == len(plain)
    # One by one: pytest takes hours to tell two such answers apart.
    assert next(((a, b) for a, b in zip(plain, unpacked) if a != b), None) is None
    headers = get(table, "/exec", {"Accept-Encoding": "zstd"}, query="rest")[1]
    assert headers["Content-Encoding"] == "zstd"


def cross(server, columns="a.n + b.n"):
    return f"SELECT {columns} FROM rest a CROSS JOIN rest b"


def running(server):
    return server.metrics()["nowcast_sql_running"]


def wait_for_running(server, expected):
    deadline = time.monotonic() + 20
    while running(server) != expected:
        assert time.monotonic() < deadline, f"{running(server)} queries run, expected {expected}"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "path, query",
    [
        ("/exec", "SELECT count(DISTINCT a.x * b.n) FROM rest a CROSS JOIN rest b"),
        ("/exp", "SELECT sum(sqrt(a.x * b.n)) FROM rest a CROSS JOIN rest b"),
        ("/exp", "SELECT a.n, b.n FROM rest a CROSS JOIN rest b"),
    ],
)
def test_a_client_that_leaves_ends_its_query(table, path, query):
    wait_for_running(table, 0)
    with socket.create_connection(("127.0.0.1", table.http_port)) as connection:
        address = f"{path}?{urllib.parse.urlencode({'query': query})}"
        connection.sendall(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        wait_for_running(table, 1)
    wait_for_running(table, 0)


def test_rows_go_out_while_the_query_runs(table):
    """400 million rows: nothing could hold them."""
    connection = http.client.HTTPConnection("127.0.0.1", table.http_port)
    for form in ("csv", "ndjson", "parquet"):
        query = urllib.parse.urlencode({"query": cross(table, "a.n, b.n m, a.t"), "fmt": form})
        connection.request("GET", f"/exp?{query}")
        response = connection.getresponse()
        assert response.status == 200 and response.getheader("Transfer-Encoding") == "chunked"
        assert len(response.read(1 << 20)) == 1 << 20
        assert running(table) == 1
        connection.close()
        wait_for_running(table, 0)


def test_an_error_in_the_middle_breaks_the_transfer(table):
    # A division by zero in the last of 200,000 rows, far behind what the first bytes hold.
    numbered = "SELECT t, row_number() OVER (ORDER BY ts) r FROM rest CROSS JOIN generate_series(1, 10)"
    query = f"SELECT r, t, 1 / (r - 200000) FROM ({numbered})"
    for route in ("/exec", "/exp"):
        with pytest.raises(http.client.IncompleteRead):
            get(table, route, query=query)
    status, _, body = get(table, "/exp", query="SELECT 1 / (n - 1) FROM rest ORDER BY ts LIMIT 3")
    assert status == 400 and json.loads(body)["error"]


def test_answers_are_bounded_and_say_so(own_server):
    server = own_server(env={"NOWCAST_QUERY_ROWS_MAX": "10"})
    server.exec("CREATE TABLE few (n LONG)")
    server.exec("INSERT INTO few VALUES " + ",".join(f"({i})" for i in range(20)))
    answer = exec_(server, query="few")
    assert (len(answer["dataset"]), answer["truncated"]) == (10, True)
    assert "truncated" not in exec_(server, query="few LIMIT 10")
    assert exec_(server, query="few", count="true")["count"] == 20
    assert get(server, "/exec", query="few", limit="-11")[0] == 400
    assert len(get(server, "/exp", query="few")[2].split()) == 21


def test_curl_saves_a_file(table, tmp_path):
    query = ["-G", "--data-urlencode", "query=SELECT n FROM rest LIMIT 5", "-d", "filename=five"]
    done = subprocess.run(["curl", "-sfOJ", *query, f"{table.http}/exp"], cwd=tmp_path, timeout=20)
    assert done.returncode == 0 and (tmp_path / "five.csv").read_text().startswith('"n"')


def test_changed_rows_are_counted(server):
    server.exec("CREATE TABLE changed (v LONG)")
    said = lambda text: json.loads(server.post("/exec", urllib.parse.urlencode({"query": text}).encode(), {"Content-Type": "application/x-www-form-urlencoded"})[1])
    assert said("INSERT INTO changed VALUES (1), (2), (3)") == {"dml": "OK", "updated": 3}
    assert said("UPDATE changed SET v = 0 WHERE v > 1") == {"dml": "OK", "updated": 2}
    assert said("DELETE FROM changed WHERE v = 0") == {"dml": "OK", "updated": 2}
    assert said("DELETE FROM changed") == {"dml": "OK", "updated": 1}
