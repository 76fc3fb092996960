"""What an orderly end, an owner and a repeated write promise; `test_kills.py` has `kill -9` again and again."""

import http.client
import threading


def test_sigterm_ends_within_five_seconds_and_keeps_everything(own_server):
    server = own_server()
    body = "".join(f"many,k=k{i % 10} v={i}i\n" for i in range(50_000)).encode()
    assert server.post("/write", body)[0] == 204
    assert server.stop() < 5
    server.start()
    assert server.exec("SELECT count(), sum(v) FROM many") == [[50_000, 1_249_975_000]]
    assert server.get("/readyz")[0] == 200


def test_a_data_directory_has_one_owner(own_server, tmp_path):
    import subprocess
    from conftest import BINARY

    server = own_server()
    arguments = [BINARY, "serve", "--data", str(server.data), "--http", "127.0.0.1:0", "--ilp", "off", "--pg", "off"]
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert str(server.data) in second.stderr and "in use" in second.stderr and "--data" in second.stderr


def test_a_port_in_use_is_named(own_server, tmp_path):
    import subprocess
    from conftest import BINARY

    server = own_server()
    arguments = [BINARY, "serve", "--data", str(tmp_path / "other"), "--http", f"127.0.0.1:{server.http_port}"]
    second = subprocess.run(arguments, capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert str(server.http_port) in second.stderr and "--http" in second.stderr


def test_a_write_under_the_same_key_is_applied_once(own_server):
    server = own_server()
    key = {"Idempotency-Key": "c0ffee-1"}
    body = b"once,k=a v=1i 1000000000\nonce,k=b v=2i 2000000000\n"
    assert server.post("/write", body, key)[0] == 204
    assert server.post("/write", body, key)[0] == 204
    # At the same time, from several sides.
    statuses = []

    def again():
        statuses.append(server.post("/api/v1/ingest/once", b'{"v": 3}', {"Idempotency-Key": "c0ffee-2"})[0])

    writers = [threading.Thread(target=again) for _ in range(8)]
    [writer.start() for writer in writers]
    [writer.join() for writer in writers]
    assert statuses == [204] * 8
    assert server.exec("SELECT count(), sum(v) FROM once") == [[3, 6]]
    # Another write under a used key is a mistake, and so is a key that is none.
    status, answer = server.post("/write", b"once,k=c v=4i\n", key)
    assert status == 422 and "another write" in answer
    assert server.post("/write", body, {"Idempotency-Key": "x" * 256})[0] == 400
    # It is remembered by the log, and by what the log leaves behind when rows become parts.
    server.kill()
    server.start()
    assert server.post("/write", body, key)[0] == 204
    server.stop()
    server.start()
    assert server.post("/write", body, key)[0] == 204
    assert server.exec("SELECT count(), sum(v) FROM once") == [[3, 6]]


def test_with_dedup_keys_whoever_is_not_sure_writes_again(own_server):
    server = own_server()
    server.exec(
        "CREATE TABLE sure (timestamp TIMESTAMP, id LONG, v DOUBLE) timestamp(timestamp) PARTITION BY DAY"
        " DEDUP UPSERT KEYS(timestamp, id)"
    )
    lines = [f"sure id={i}i,v={i}.25 {i // 10}000000000\n" for i in range(20_000)]
    written = 0
    for _ in range(4):
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
        killer = threading.Timer(0.15, server.kill)
        killer.start()
        try:
            while True:
                # Nobody was told of these, or not for sure: they go again.
                connection.request("POST", "/write", "".join(lines[written : written + 500]).encode())
                response = connection.getresponse()
                response.read()
                assert response.status == 204
                written = (written + 500) % len(lines)
        except (OSError, http.client.HTTPException):
            pass
        killer.join()
        server.start()
    assert server.post("/write", "".join(lines).encode())[0] == 204
    expected = [[20_000, 20_000, sum(range(20_000))]]
    assert server.exec("SELECT count(), count(DISTINCT id), sum(id) FROM sure") == expected
    assert server.stop() < 5
    server.start()
    assert server.post("/write", "".join(lines).encode())[0] == 204
    assert server.exec("SELECT count(), count(DISTINCT id), sum(id) FROM sure") == expected


def refused(server):
    """What a start says that fails; nothing of the data is changed by it."""
    import subprocess
    from conftest import BINARY

    def files():
        return {path: path.read_bytes() for path in server.data.rglob("*") if path.is_file() and path.name != "lock"}

    before = files()
    arguments = [BINARY, "serve", "--data", str(server.data), "--http", "127.0.0.1:0", "--ilp", "off", "--pg", "off"]
    start = subprocess.run(arguments, capture_output=True, text=True, timeout=20)
    assert start.returncode == 1, start.stdout
    assert files() == before
    return start.stderr


def test_a_log_that_lost_files_is_no_empty_server(own_server, tmp_path):
    server = own_server()
    assert server.post("/write", b"kept v=1i 1000000000\n")[0] == 204
    server.kill()
    # Nothing is in parts yet: all there is of the row is in the log.
    aside = tmp_path / "aside"
    aside.mkdir()
    for segment in (server.data / "log").glob("*.log"):
        segment.rename(aside / segment.name)
    assert "files of it are missing" in refused(server)
    for segment in aside.iterdir():
        segment.rename(server.data / "log" / segment.name)
    server.start()
    assert server.exec("SELECT v FROM kept") == [[1]]
    # Now it is in a part, and the log must reach as far as the parts do.
    server.stop()
    [log] = (server.data / "log").glob("*.log")
    whole = log.read_bytes()
    log.write_bytes(whole[:64])
    said = refused(server)
    assert "is needed from offset" in said and "backup" in said
    log.write_bytes(whole)
    server.start()
    assert server.exec("SELECT v FROM kept") == [[1]]


def test_a_relaxed_log_goes_on_where_the_store_is(own_server):
    server = own_server(env={"NOWCAST_LOG_DURABILITY": "relaxed"})
    assert server.post("/write", b"kept v=1i 1000000000\nkept v=2i 2000000000\n")[0] == 204
    server.stop()
    # What a loss of power may do: the rows are in a part that was synced, the log was not.
    [log] = (server.data / "log").glob("*.log")
    log.write_bytes(log.read_bytes()[:64])
    server.start()
    assert server.post("/write", b"kept v=3i 3000000000\n")[0] == 204
    assert server.exec("SELECT count(), sum(v) FROM kept") == [[2 + 1, 6]]
    server.kill()
    server.start()
    assert server.exec("SELECT count(), sum(v) FROM kept") == [[3, 6]]
    server.stop()
    server.start()
    assert server.exec("SELECT count(), sum(v) FROM kept") == [[3, 6]]
