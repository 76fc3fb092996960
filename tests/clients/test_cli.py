"""`nowcast import`, `export` and `sql` against a running server."""

import gzip
import json
import os
import subprocess
import threading

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
    assert "broke off" in export("SELECT n, s, 1 / (n - 19999) FROM out", "--to", "cut.csv", code=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.csv", "out.ndjson", "out.parquet"]
