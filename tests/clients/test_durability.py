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
