"""`nowcast import`, `export` and `sql` against a running server."""

import gzip
import json
import os
import pty
import select
import subprocess
import threading
import time

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from conftest import BINARY


def run(server, *arguments, stdin=None, code=0, **options):
    """Standard output; standard error where it fails as expected."""
    env = {**os.environ, "NOWCAST_URL": server.http}
    done = subprocess.run([BINARY, *arguments], input=stdin, capture_output=True, timeout=120, env=env, **options)
    assert done.returncode == code, done.stderr.decode()
    return (done.stdout if code == 0 else done.stderr).decode()


def rows_csv(rows):
    lines = (f"2026-01-01T00:{i // 60 % 60:02}:{i % 60:02}.{i:06}Z,s{i % 5},{i},{i}.5,a {i}\n" for i in range(rows))
    return "ts,s,n,x,t\n" + "".join(lines)


def test_a_dry_run_shows_the_table(server, tmp_path):
    (tmp_path / "dry.csv").write_text(rows_csv(100))
    shown = run(server, "import", "dry.csv", "--table", "dry", "--timestamp", "ts", "--partition-by", "month",
                "--dry-run", cwd=tmp_path)
    assert 'CREATE TABLE IF NOT EXISTS "dry" ("ts" TIMESTAMP, "s" SYMBOL, "n" LONG, "x" DOUBLE, "t" VARCHAR)' in shown
    assert 'timestamp("ts") PARTITION BY MONTH' in shown and "CSV" in shown
    assert server.get("/api/v1/tables/dry")[0] == 404


@pytest.mark.parametrize("form", ["csv", "csv.gz", "ndjson", "ndjson.zst", "parquet", "stdin"])
def test_files_of_each_form_are_imported(server, tmp_path, form):
    table = form.replace(".", "_") + "_in"
    text = rows_csv(3_000)
    arrow = pa.csv.read_csv(pa.BufferReader(text.encode()))
    lines = "".join(json.dumps(row, default=lambda time: time.isoformat()) + "\n" for row in arrow.to_pylist())
    file, arguments, stdin = tmp_path / f"rows.{form}", [], None
    if form == "csv":
        file.write_text(text)
    elif form == "csv.gz":
        file.write_bytes(gzip.compress(text.encode()))
    elif form == "ndjson":
        file.write_text(lines)
    elif form == "ndjson.zst":
        with pa.output_stream(str(file), compression="zstd") as out:
            out.write(lines.encode())
    elif form == "parquet":
        pq.write_table(arrow, file, row_group_size=500)
    else:
        file, arguments, stdin = "-", ["--format", "csv"], text.encode()
    command = ["import", str(file), "--table", table, "--timestamp", "ts", "--batch-rows", "700", *arguments]
    said = run(server, *command, stdin=stdin)
    assert f"3000 rows written to {table}" in said
    query = f"SELECT count(), sum(n), sum(x), count(DISTINCT s), min(ts), max(t) FROM {table}"
    expected = [[3_000, 4_498_500, 4_500_000.0, 5, "2026-01-01T00:00:00.000000Z", "a 999"]]
    assert server.exec(query) == expected
    # Once more: nothing is written twice.
    assert "0 rows written" in run(server, *command, stdin=stdin)
    assert server.exec(query) == expected
    assert "3000 rows written" in run(server, *command, "--again", stdin=stdin)
    assert server.exec(f"SELECT count() FROM {table}") == [[6_000]]


def test_an_import_goes_on_after_a_cut(own_server, tmp_path):
    server = own_server()
    (tmp_path / "cut.csv").write_text(rows_csv(200_000))
    command = [BINARY, "import", "cut.csv", "--table", "cut", "--timestamp", "ts", "--batch-rows", "5000"]
    env = {**os.environ, "NOWCAST_URL": server.http}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server.wait_for("SELECT count() >= 20000 FROM cut", True)
    process.kill()
    process.wait()
    there = server.exec("SELECT count() FROM cut")[0][0]
    assert 20_000 <= there < 200_000
    # The server is cut off, too.
    server.kill()
    server.start()
    said = run(server, *command[1:], cwd=tmp_path)
    assert "were there from an import before" in said
    assert server.exec("SELECT count(), count(DISTINCT n) FROM cut") == [[200_000, 200_000]]
    server.exec("TRUNCATE TABLE cut")
    assert "--again" in run(server, *command[1:], cwd=tmp_path, code=1)


def test_what_cannot_be_imported_is_told(server, tmp_path):
    def fails(name, data, *arguments):
        (tmp_path / name).write_bytes(data)
        return run(server, "import", name, "--table", "told", *arguments, cwd=tmp_path, code=1)

    assert "line 3" in fails("latin.csv", "a,n\nBern,1\nZürich,2\n".encode("latin-1"))
    assert "line 2000" in fails("late.csv", b"n\n" + b"1\n" * 1_998 + b"x\n")
    assert "line 2" in fails("bad.ndjson", b'{"a":1}\n{"a":x}\n')
    assert "--format" in fails("what.bin", b"x")
    assert "no Parquet" in fails("no.parquet", b"no parquet at all, really")
    assert '"when"' in fails("time.csv", b"a,b\n1,2\n", "--timestamp", "when")
    assert "no such file" in run(server, "import", "absent.csv", "--table", "told", cwd=tmp_path, code=1).lower()
    lists = pa.table({"n": [1], "l": [[1, 2]]})
    pq.write_table(lists, tmp_path / "lists.parquet")
    assert '"l"' in run(server, "import", "lists.parquet", "--table", "told", cwd=tmp_path, code=1)
    (tmp_path / "ok.csv").write_text("n\n1\nx\n")
    assert server.get("/api/v1/tables/told")[0] == 404
    late = "n\n" + "1\n" * 1_998 + "x\n2\n"
    (tmp_path / "late.csv").write_text(late)
    said = run(server, "import", "late.csv", "--table", "told", "--skip-errors", cwd=tmp_path)
    assert "1999 rows written" in said and "1 left out" in said and "line 2000" in said
    closed = subprocess.run([BINARY, "import", "ok.csv", "--table", "t", "--to", "http://127.0.0.1:1"], cwd=tmp_path,
                            capture_output=True, text=True, timeout=20)
    assert closed.returncode == 1 and "cannot reach" in closed.stderr


def test_an_import_takes_little_memory(own_server, tmp_path):
    """A file three times as large as what the command may hold in memory for it."""
    server = own_server(env={"NOWCAST_MEMORY_HOT_BYTES_MAX": str(32 << 20)})
    file = tmp_path / "large.csv"
    with open(file, "w") as out:
        out.write("ts,s,n,x,t\n")
        filler = "some text that takes its place " * 4
        for start in range(0, 600_000, 10_000):
            out.write("".join(f"{1_767_225_600_000_000 + i},s{i % 9},{i},{i}.25,{filler}{i}\n"
                              for i in range(start, start + 10_000)))
    assert file.stat().st_size > 95 << 20
    env = {**os.environ, "NOWCAST_URL": server.http}
    process = subprocess.Popen([BINARY, "import", str(file), "--table", "large", "--timestamp", "ts"], env=env,
                               stdout=subprocess.PIPE, text=True)
    peak = 0
    done = threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            try:
                for line in open(f"/proc/{process.pid}/status"):
                    if line.startswith("VmHWM"):
                        peak = max(peak, int(line.split()[1]) / 1024)
            except (FileNotFoundError, ProcessLookupError):
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    said, _ = process.communicate(timeout=120)
    done.set()
    watcher.join()
    assert process.returncode == 0 and "600000 rows" in said
    print(f"peak {peak:.0f} MiB for {file.stat().st_size >> 20} MiB")
    assert 0 < peak < 200, peak
    assert server.exec("SELECT count(), sum(n) FROM large") == [[600_000, 600_000 * 599_999 // 2]]


@pytest.fixture(scope="module")
def filled(server):
    server.exec("CREATE TABLE out (ts TIMESTAMP, n LONG, s VARCHAR) timestamp(ts)")
    rows = "\n".join(json.dumps({"ts": i, "n": i, "s": f"text {i}"}) for i in range(20_000))
    assert server.post("/api/v1/ingest/out?timestamp=ts&precision=s", rows.encode())[0] == 204
    return server


def test_exports_are_whole_or_not_there(filled, tmp_path):
    export = lambda *arguments, **more: run(filled, "export", *arguments, cwd=tmp_path, **more)
    for ending in ("csv", "ndjson", "parquet"):
        assert "bytes" in export("SELECT * FROM out ORDER BY n", "--to", f"out.{ending}", "--from", filled.http)
    assert pq.read_table(tmp_path / "out.parquet").column("n").to_pylist() == list(range(20_000))
    assert pa.csv.read_csv(tmp_path / "out.csv").num_rows == 20_000
    lines = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert lines[1] == {"ts": "1970-01-01T00:00:01.000000Z", "n": 1, "s": "text 1"}
    assert export("SELECT n FROM out ORDER BY n LIMIT 2", "--to", "-") == '"n"\r\n0\r\n1\r\n'
    assert "--force" in export("out", "--to", "out.csv", code=1)
    export("out", "--to", "out.csv", "--force")
    assert "nowhere" in export("nowhere", "--to", "nowhere.csv", code=1)
    numbered = "SELECT s, row_number() OVER (ORDER BY ts) r FROM out CROSS JOIN generate_series(1, 10)"
    cut = f"SELECT r, s, 1 / (r - 200000) FROM ({numbered})"
    assert "broke off" in export(cut, "--to", "cut.csv", code=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.csv", "out.ndjson", "out.parquet"]


def test_answers_have_the_form_that_is_asked_for(filled, tmp_path):
    query = "SELECT n, s FROM out ORDER BY n LIMIT 2"
    sql = lambda *arguments, **more: run(filled, "sql", *arguments, **more)
    assert sql(query) == "n  s\n-  ------\n0  text 0\n1  text 1\n(2 rows)\n"
    assert sql("--format", "csv", "-c", query) == "n,s\r\n0,text 0\r\n1,text 1\r\n"
    assert sql("--format", "ndjson", query) == '{"n":0,"s":"text 0"}\n{"n":1,"s":"text 1"}\n'
    assert sql("--format", "markdown", query).splitlines()[1] == "| ---: | --- |"
    assert json.loads(sql("--format", "json", query))["count"] == 2
    script = tmp_path / "script.sql"
    script.write_text("CREATE TABLE by_script (n LONG); -- a comment;\nBEGIN; INSERT INTO by_script VALUES (1);\n"
                      "INSERT INTO by_script VALUES (2); COMMIT;\nSELECT sum(n) FROM by_script;\n")
    assert sql("-f", str(script), "--format", "csv").splitlines()[-1] == "3"
    assert sql("-", stdin=b"SELECT 1 AS one; SELECT 2 AS two", code=0).count("(1 row)") == 2
    timed = subprocess.run([BINARY, "sql", "--to", filled.http, "--timing", "SELECT 1"], capture_output=True, text=True)
    assert "Time: " in timed.stderr and "Time" not in timed.stdout and "\x1b" not in timed.stdout


def test_exit_codes_tell_what_went_wrong(filled):
    assert "nowhere" in run(filled, "sql", "SELECT * FROM nowhere", code=1)
    assert "transaction" in run(filled, "sql", "BEGIN; INSERT INTO out VALUES (1, 1, 'x')", code=1)
    assert "--format" in run(filled, "sql", "--format", "xml", "SELECT 1", code=2)
    assert "cannot reach" in run(filled, "sql", "--to", "http://127.0.0.1:1", "SELECT 1", code=3)
    assert "http://" in run(filled, "sql", "--to", "nonsense", "SELECT 1", code=1)


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, server, home, **env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"NOWCAST_URL": server.http, "XDG_STATE_HOME": str(home), "TERM": "xterm", **env})
            os.execv(BINARY, [BINARY, "sql"])
        self.seen = ""
        self.expect("=> ")

    def expect(self, text, seconds=20):
        """Reads until `text`; returns what came before and it."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.seen!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    assert text in self.seen, f"ended before {text!r}: {self.seen!r}"
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def type(self, text):
        os.write(self.fd, text.encode())

    def enter(self, line):
        """Types a line and reads until it was taken: what comes behind is its answer."""
        self.type(line + "\r")
        self.expect("\x1b[?2004l")

    def leave(self):
        self.type("\\q\r")
        # What it still writes is read: it waits for that before it ends.
        deadline = time.monotonic() + 20
        while True:
            assert time.monotonic() < deadline, f"it does not end: {self.seen!r}"
            try:
                if select.select([self.fd], [], [], 0.1)[0] and not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_the_shell(filled, tmp_path):
    terminal = Terminal(filled, tmp_path, NO_COLOR="1")
    terminal.enter("SELECT n, s")
    terminal.expect("-> ")
    terminal.enter("FROM out ORDER BY n LIMIT 1; SELECT 'a;b' AS two;")
    assert "text 0" in terminal.expect("(1 row)")
    assert "a;b" in terminal.expect("(1 row)")
    terminal.expect("=> ")
    for typed, expected in [
        ("\\dt", "out"), ("\\d out", "TIMESTAMP"), ("\\timing", "timing is on"), ("SELECT 1;", "Time: "),
        ("\\x", "each cell"), ("SELECT 7 AS seven;", "-[ 1 ]-"), ("\\?", "\\watch"), ("\\nonsense", "no command"),
        ("SELECT nowhere;", "error:"), ("\\format csv", "=> "), ("SELECT 5 AS five, 6 AS six;", "five,six"),
    ]:
        terminal.enter(typed)
        terminal.expect(expected)
        if not expected.endswith("=> "):
            terminal.expect("=> ")
    # Tab completes keywords and tables.
    terminal.enter("SELE\t 8 AS eight FROM ou\t LIMIT 1;")
    terminal.expect("eight\r\r\n")
    terminal.expect("=> ")
    # The line before comes back.
    terminal.enter("\x1b[A")
    terminal.expect("eight\r\r\n")
    terminal.expect("=> ")
    assert terminal.leave() == 0
    history = tmp_path / "nowcast" / "history"
    assert history.stat().st_mode & 0o777 == 0o600 and "AS seven" in history.read_text()
    terminal = Terminal(filled, tmp_path)
    terminal.enter("SELECT 1 AS one;")
    assert "\x1b[1m" in terminal.expect("(1 row)")
    terminal.expect("=> ")
    assert terminal.leave() == 0


def test_ctrl_c_ends_the_query(filled, tmp_path):
    terminal = Terminal(filled, tmp_path)
    terminal.enter("SELECT count(DISTINCT a.n * b.n) FROM out a CROSS JOIN out b;")
    deadline = time.monotonic() + 20
    while filled.metrics()["nowcast_sql_running"] != 1:
        assert time.monotonic() < deadline
    terminal.type("\x03")
    terminal.expect("the query was ended")
    while filled.metrics()["nowcast_sql_running"] != 0:
        assert time.monotonic() < deadline
    terminal.expect("=> ")
    terminal.enter("SELECT 40 + 2 AS answer;")
    terminal.expect("42")
    terminal.expect("=> ")
    terminal.enter("\\watch 0.1")
    terminal.expect("42")
    terminal.expect("42")
    terminal.type("\x03")
    terminal.expect("=> ")
    assert terminal.leave() == 0
