"""/imp as QuestDB's users call it: curl and forms."""

import json
import socket
import subprocess
import threading
import time
import urllib.parse
import uuid

import pytest


def form(*parts):
    """Body and headers of a form: parts are name, file name, bytes."""
    boundary = uuid.uuid4().hex
    body = b""
    for name, file, data in parts:
        file = f'; filename="{file}"' if file else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def upload(server, data: bytes, *, schema=None, file="data.csv", **parameters):
    """Status and answer (JSON, unless asked otherwise)."""
    parts = [("data", file, data)]
    if schema is not None:
        text = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
        parts.insert(0, ("schema", None, text))
    body, headers = form(*parts)
    parameters = {"fmt": "json", **parameters}
    status, answer = server.post(f"/imp?{urllib.parse.urlencode(parameters)}", body, headers)
    return status, json.loads(answer) if parameters["fmt"] == "json" else answer


WEATHER = b"""ts,city,temperature,wet,n
2026-01-31T12:00:00.000000Z,Bern,21.5,true,1
2026-01-31 12:00:01,"Z\xc3\xbcrich, HB",22,FALSE,2
2026-01-31T12:00:02.5+01:00,,,,
"""


def test_curl_sends_a_file(server, tmp_path):
    file = tmp_path / "curled.csv"
    file.write_bytes(WEATHER)
    command = ["curl", "-sS", "-F", f"data=@{file}", f"{server.http}/imp?timestamp=ts&partitionBy=MONTH"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    lines = done.stdout.splitlines()
    assert lines[0] == "+" + "-" * 113 + "+" and all(len(line) == 115 for line in lines)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[1] == ["Location:", "curled", "Pattern", "Locale", "Errors"]
    assert cells[2][:2] == ["Partition by", "MONTH"] and cells[3][:2] == ["Timestamp", "ts"]
    assert cells[5][:2] == ["Rows handled", "3"] and cells[6][:2] == ["Rows imported", "3"]
    assert cells[8:13] == [
        ["0", "ts", "TIMESTAMP", "0"], ["1", "city", "VARCHAR", "0"], ["2", "temperature", "DOUBLE", "0"],
        ["3", "wet", "BOOLEAN", "0"], ["4", "n", "LONG", "0"],
    ]
    assert server.exec("SELECT * FROM curled ORDER BY n") == [
        ["2026-01-31T12:00:00.000000Z", "Bern", 21.5, True, 1],
        ["2026-01-31T12:00:01.000000Z", "Zürich, HB", 22.0, False, 2],
        ["2026-01-31T11:00:02.500000Z", None, None, None, None],
    ]


def test_the_report_is_json(server):
    status, report = upload(server, WEATHER, name="reported", timestamp="ts")
    assert status == 200
    assert {key: report[key] for key in report if key != "columns"} == {
        "status": "OK", "location": "reported", "rowsRejected": 0, "rowsImported": 3, "header": True,
        "partitionBy": "DAY", "timestamp": "ts",
    }
    assert report["columns"][2] == {"name": "temperature", "type": "DOUBLE", "size": 8, "errors": 0}
    # The table is there now: rows are added, by name.
    status, report = upload(server, b"n,ts\n9,2026-02-01\n", name="reported")
    assert status == 200 and report["rowsImported"] == 1
    assert server.exec("SELECT count(), max(n) FROM reported") == [[4, 9]]
    status, report = upload(server, b"a,b\n1,2\n", name="reported", overwrite="true")
    assert status == 200 and server.exec("SELECT * FROM reported") == [[1, 2]]
    assert upload(server, WEATHER, name="not_there", create="false")[0] == 400
    assert upload(server, b"1,2\n3,4\n", file="nums.csv")[1]["header"] is False
    assert server.exec("SELECT f0, f1 FROM nums") == [[1, 2], [3, 4]]


def test_types_come_from_a_schema(server):
    schema = [
        {"name": "when", "type": "TIMESTAMP", "pattern": "dd/MM/yyyy HH:mm:ss"},
        {"name": "k", "type": "SYMBOL"}, {"name": "n", "type": "INT"}, {"name": "x", "type": "FLOAT"},
        {"name": "d", "type": "DATE", "pattern": "yyyyMMdd"}, {"name": "s", "type": "STRING"},
    ]
    data = b"when;k;n;x;d;s\n31/01/2026 12:00:00;a;7;1.5;20260131;01\n31/01/2026 12:00:01;b;3000000000;x;2026;02\n"
    status, report = upload(server, data, schema=schema, name="typed", timestamp="when", delimiter=";")
    assert status == 200, report
    assert {c["name"]: (c["type"], c["errors"]) for c in report["columns"]} == {
        "when": ("TIMESTAMP", 0), "k": ("SYMBOL", 0), "n": ("INT", 1), "x": ("FLOAT", 1), "d": ("DATE", 1),
        "s": ("VARCHAR", 0),
    }
    assert report["rowsImported"] == 2 and report["warnings"][0].startswith("line 3: ")
    assert server.exec("SELECT * FROM typed ORDER BY when") == [
        ["2026-01-31T12:00:00.000000Z", "a", 7, 1.5, "2026-01-31T00:00:00.000Z", "01"],
        ["2026-01-31T12:00:01.000000Z", "b", None, None, None, "02"],
    ]
    assert upload(server, data, schema=[{"name": "when", "type": "TIMESTMP"}], name="t")[0] == 400
    assert upload(server, data, schema=b"{", name="t")[0] == 400
    assert "nope" in upload(server, data, schema=[{"name": "nope", "type": "INT"}], name="t")[1]["status"]


def test_atomicity(server):
    rows = "".join(f"{1_767_225_600_000_000 + i},{i}\n" for i in range(30_000))
    data = f"ts,n\n{rows}1767225600000000,x\n,5\n1767225600000000,6,7\n".encode()
    give = lambda name, **more: upload(server, data, name=name, timestamp="ts", **more)
    status, report = give("skip_col", atomicity="skipCol")
    assert (report["rowsImported"], report["rowsRejected"]) == (30_001, 2)
    assert [c["errors"] for c in report["columns"]] == [1, 1]
    report = give("skip_row", atomicity="skipRow", maxUncommittedRows=1000)[1]
    assert (report["rowsImported"], report["rowsRejected"]) == (30_000, 3)
    report = give("skip_lev", skipLev="true")[1]
    assert (report["rowsImported"], report["rowsRejected"]) == (30_002, 1)
    for word in ("abort", "skipAll"):
        status, report = give("aborted", atomicity=word)
        assert status == 400 and "line 30002" in report["status"] and "nothing was written" in report["status"]
    assert server.get("/api/v1/tables/aborted")[0] == 404


def test_what_is_wrong_is_told_by_name(server):
    for parameters, expected in [
        ({"overwrit": "true"}, "overwrit"), ({"atomicity": "none"}, "atomicity"), ({"fmt": "xml"}, "xml"),
        ({"partitionBy": "SECOND"}, "SECOND"), ({"partitionBy": "DAY"}, "time column"),
        ({"timestamp": "tz"}, "tz"), ({"delimiter": "ab"}, "ab"), ({"skipLev": "2"}, "skipLev"),
        ({"maxUncommittedRows": "x"}, "maxUncommittedRows"), ({"name": "a/b"}, "a/b"),
    ]:
        status, answer = upload(server, b"ts,n\n2026-01-01,1\n", **{"name": "wrong", "fmt": "text", **parameters})
        assert status == 400 and expected in answer, (parameters, answer)
    body, headers = form(("data", "a.csv", b"a,b\n1,2\n"))
    for broken, kind, expected in [
        (body, "text/csv", "multipart"),
        (body, "multipart/form-data", "boundary"),
        (body[:-10], headers["Content-Type"], "boundary"),
        (b"x" * 100_000, headers["Content-Type"], "boundary"),
        (body.replace(b"name=", b"nome="), headers["Content-Type"], "name"),
        (body.replace(b'"data"', b'"date"'), headers["Content-Type"], "date"),
        (b"--b\r\n" + b"h" * 100_000, "multipart/form-data; boundary=b", "head"),
    ]:
        status, answer = server.post("/imp?name=wrong", broken, {"Content-Type": kind})
        assert status == 400 and expected in answer, answer
    assert server.get("/api/v1/tables/wrong")[0] == 404


def test_hostile_files_are_refused_with_their_line(server):
    for data, expected in [
        ("name,n\nBern,1\nZürich,2\n".encode("latin-1"), "line 3: column \"name\" is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"a,n\nx\0y,1\n", "line 2: column \"a\" holds a NUL byte"),
        (b"a," * 100_000 + b"b\n", "more than 2000 cells"),
        (b"", "empty"),
        (b"a,a\n1,2\n", "twice"),
        (b'a,b\n"open,1\n' + b"x" * 5_000_000, "bytes"),
    ]:
        status, answer = upload(server, data, name="hostile")
        assert status == 400 and expected in answer["status"] and "nothing was written" in answer["status"], answer
    assert server.get("/api/v1/tables/hostile")[0] == 404


def rss(server):
    """Resident MiB of the server."""
    for line in open(f"/proc/{server.process.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


def stream(server, path, pieces):
    """Sends a form's data piece by piece, whatever is answered meanwhile; returns the answer."""
    with socket.create_connection(("127.0.0.1", server.http_port)) as connection:
        connection.settimeout(60)
        head = "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
        head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        connection.sendall(head.format(path).encode())
        chunk = lambda data: connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        try:
            chunk(b'--b\r\nContent-Disposition: form-data; name="data"; filename="x.csv"\r\n\r\n')
            for piece in pieces:
                chunk(piece)
            chunk(b"\r\n--b--\r\n")
            connection.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer.decode()


def test_a_line_without_end_takes_no_memory(own_server):
    server = own_server()
    before = rss(server)
    peak = [before]
    done = threading.Event()

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], rss(server))

    watcher = threading.Thread(target=watch)
    watcher.start()
    pieces = (b"x" * (1 << 20) for _ in range(1024))
    answer = stream(server, "/imp?name=endless", pieces)
    done.set()
    watcher.join()
    # The server stops reading after a while; whether the client still reads the answer then is its own matter.
    assert "no record ends" in answer or not answer
    assert peak[0] - before < 100, f"{before:.0f} MiB grew to {peak[0]:.0f}"
    assert server.get("/healthz")[0] == 200


def test_a_large_upload_takes_the_memory_of_a_batch(own_server):
    server = own_server(env={"NOWCAST_MEMORY_HOT_BYTES_MAX": str(16 << 20)})
    line = b"%d,s%d,%d.5,some text that is here to take place %d\n"
    pieces = [b"ts,s,x,t\n"] + [
        b"".join(line % (1_767_225_600_000_000 + i * 1000, i % 10, i, i) for i in range(start, start + 10_000))
        for start in range(0, 600_000, 10_000)
    ]
    peak = 0
    answers = []
    thread = threading.Thread(target=lambda: answers.append(stream(server, "/imp?name=large&timestamp=ts", pieces)))
    thread.start()
    while thread.is_alive():
        peak = max(peak, rss(server))
        time.sleep(0.05)
    assert " 600000  |" in answers[0], answers
    assert server.exec("SELECT count(), count(DISTINCT t) FROM large") == [[600_000, 600_000]]
    assert peak < 400, peak


def test_other_sites_may_not_upload(server):
    body, headers = form(("data", "a.csv", b"a,b\n1,2\n"))
    assert server.post("/imp?name=stolen", body, {**headers, "Origin": "https://evil.example.com"})[0] == 403


def lines_of(mebibytes, last=b""):
    """A CSV file of so many MiB, piece by piece, with `last` as its last line."""
    yield b"ts,s,x,t\n"
    filling = b"some text that is here to take place" * 20
    line = b"%d,s%d,%d.5," + filling + b"\n"
    count = (mebibytes << 20) // 760 + 1
    for start in range(0, count, 1000):
        yield b"".join(line % (1_767_225_600_000_000 + i * 1000, i % 10, i) for i in range(start, min(start + 1000, count)))
    if last:
        yield last


def test_abort_writes_nothing_of_a_file_of_any_size(own_server):
    server = own_server()
    address = "/imp?name=whole&timestamp=ts&atomicity=abort&fmt=json"
    answer = stream(server, address, lines_of(100, b"1767225600000000,s1,no number,x\n"))
    assert "nothing was written" in answer and " 400 " in answer, answer
    assert server.get("/api/v1/tables/whole")[0] == 404
    answer = stream(server, address, lines_of(100))
    assert '"rowsRejected":0' in answer and " 200 " in answer, answer
    count = (100 << 20) // 760 + 1
    assert server.exec("SELECT count(), count(DISTINCT x) FROM whole") == [[count, count]]
    assert not [file for file in server.data.iterdir() if file.is_file() and file.stat().st_size > 1 << 20]


def test_abort_is_bounded_by_the_spool(own_server):
    server = own_server(env={"NOWCAST_HTTP_IMPORT_SPOOL_BYTES_MAX": str(4 << 20)})
    answer = stream(server, "/imp?name=whole&timestamp=ts&atomicity=abort&fmt=json", lines_of(6))
    assert "import_spool_bytes_max" in answer and "nothing was written" in answer, answer
    assert server.get("/api/v1/tables/whole")[0] == 404
