"""Bytes that are no PostgreSQL, connections that do not end, and more of them than there are places."""

import os
import random
import resource
import socket
import struct
import time
import urllib.parse

import psycopg
import pytest
from conftest import PASSWORD
from postgres import conninfo


def raw(server):
    return socket.create_connection(("127.0.0.1", server.pg_port), timeout=20)


def rest(connection):
    """All that comes until the server closes."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


def startup(**parameters):
    body = struct.pack("!i", 3 << 16) + b"".join(f"{k}\0{v}\0".encode() for k, v in parameters.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def is_alive(server):
    with psycopg.connect(conninfo(server)) as pg:
        return pg.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        struct.pack("!ii", 2**31 - 1, 3 << 16),
        struct.pack("!ii", -1, 3 << 16),
        struct.pack("!ii", 8, 3 << 16),
        struct.pack("!ii", 8, 80877103) * 5,
        struct.pack("!ii", 9, 99 << 16) + b"\0",
        startup(user="x") + b"p" + struct.pack("!i", -5),
        startup(user="x") + b"p" + struct.pack("!i", 4),
        startup(user="x") + b"p" + struct.pack("!i", 2**30),
        startup(user="x") + b"p" + struct.pack("!i", 28) + b"SCRAM-SHA-256\0" + struct.pack("!i", 1000) + b"abcdef",
        startup(user="x") + b"Q" + struct.pack("!i", 13) + b"SELECT 1\0",
        startup(user="x", client_encoding="LATIN1"),
    ],
)
def test_what_is_no_login_is_told_so_and_closed(server, first):
    with raw(server) as connection:
        connection.sendall(first)
        answer = rest(connection)
        assert b"FATAL" in answer and len(answer) < 2000
    assert is_alive(server)


def test_a_call_to_cancel_with_a_wrong_secret_does_nothing(server):
    with psycopg.connect(conninfo(server)) as pg, raw(server) as connection:
        pid = pg.info.backend_pid
        connection.sendall(struct.pack("!iiii", 16, 80877102, pid, 12345))
        assert rest(connection) == b""
        assert pg.execute("SELECT 1").fetchone() == (1,)
    for length in (8, 12):
        with raw(server) as connection:
            connection.sendall(struct.pack("!ii", length, 80877102) + bytes(length - 8))
            assert rest(connection) == b""


def logged_in(server):
    """A socket of somebody who logged in, and the connection that it belongs to."""
    pg = psycopg.connect(conninfo(server), autocommit=True)
    return socket.socket(fileno=os.dup(pg.fileno())), pg


@pytest.mark.parametrize(
    "message",
    [
        b"?" + struct.pack("!i", 4),
        b"Q" + struct.pack("!i", 3),
        b"Q" + struct.pack("!i", -1),
        b"Q" + struct.pack("!i", 2**31 - 1),
        b"Q" + struct.pack("!i", 8) + b"abcd",
        b"Q" + struct.pack("!i", 6) + b"\xff\0",
        b"B" + struct.pack("!i", 10) + b"\0\0\xff\xff\0\0",
        b"B" + struct.pack("!i", 12) + b"\0\0\0\0\xff\xff\0\0",
        b"P" + struct.pack("!i", 8) + b"\0\0\xff\xff",
        b"D" + struct.pack("!i", 4),
        b"S" + struct.pack("!i", 5) + b"x",
    ],
)
def test_a_broken_message_ends_its_connection_alone(server, message):
    connection, pg = logged_in(server)
    connection.setblocking(True)
    connection.settimeout(20)
    connection.sendall(message)
    assert b"FATAL" in rest(connection)
    connection.close()
    pg.close()
    assert is_alive(server)


def test_random_bytes(server):
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    kinds = b"QPBDECHSdcfpX"
    for _ in range(60):
        connection, pg = logged_in(server)
        connection.setblocking(True)
        connection.settimeout(5)
        try:
            for _ in range(chance.randrange(1, 6)):
                body = chance.randbytes(chance.randrange(0, 40)) + b"\0" * chance.randrange(0, 4)
                connection.sendall(bytes([chance.choice(kinds)]) + struct.pack("!i", len(body) + 4) + body)
            connection.shutdown(socket.SHUT_WR)
            rest(connection)
        except (BrokenPipeError, OSError):
            pass
        connection.close()
        pg.close()
    assert is_alive(server)


def test_wrong_formats_and_counts_are_errors_and_not_the_end(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        raw_pg = pg.pgconn
        prepared = raw_pg.prepare(b"", b"SELECT $1::bigint + 1, 2, 3")
        assert prepared.status == psycopg.pq.ExecStatus.COMMAND_OK
        assert raw_pg.exec_prepared(b"", [b"1", b"2"]).error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"08P01"
        assert raw_pg.exec_prepared(b"nothing", []).error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"26000"
        short = raw_pg.exec_prepared(b"", [b"abc"], [1])
        assert short.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"22P03"
        assert pg.execute("SELECT 1").fetchone() == (1,)


def test_what_a_connection_holds_is_bounded(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        sqlstate = psycopg.pq.DiagnosticField.SQLSTATE
        padding = b" " * 900_000
        states = [pg.pgconn.prepare(f"s{n}".encode(), b"SELECT 1" + padding + b", 2").error_field(sqlstate) for n in range(80)]
        assert states[0] is None and states[-1] == b"53000"
        assert pg.execute("DEALLOCATE ALL").statusmessage == "DEALLOCATE ALL"
        pg.execute("BEGIN")
        for n in range(64):
            pg.execute(f"DECLARE c{n} CURSOR FOR SELECT value FROM generate_series(1, 1000000)")
        with pytest.raises(psycopg.errors.InsufficientResources):
            pg.execute("DECLARE one_more CURSOR FOR SELECT 1")
        pg.execute("ROLLBACK")
        assert pg.execute("SELECT 1").fetchone() == (1,)


ENDLESS = [
    "SELECT count() FROM generate_series(1, 1000000000000) WHERE value % 7 = 9",
    "SELECT a.x FROM long_sequence(1000000) a CROSS JOIN long_sequence(1000000) b WHERE a.x + b.x = 0",
    "SELECT x FROM long_sequence(1000000000000)",
]


def running(server):
    return server.metrics().get("nowcast_sql_running", 0)


def until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("query", ENDLESS)
def test_a_client_that_leaves_takes_its_query_with_it(own_server, query):
    server = own_server()
    pg = psycopg.connect(conninfo(server), autocommit=True)
    pg.pgconn.send_query(query.encode())
    pg.pgconn.flush()
    until(lambda: running(server) == 1, 20)
    pg.pgconn.finish()
    until(lambda: running(server) == 0 and server.metrics()["nowcast_pg_connections"] == 0, 1.5)


@pytest.mark.parametrize("query", ENDLESS)
@pytest.mark.parametrize("route", ["/exec", "/exp"])
def test_a_closed_request_takes_its_query_with_it(own_server, route, query):
    server = own_server()
    connection = socket.create_connection(("127.0.0.1", server.http_port))
    connection.sendall(f"GET {route}?query={urllib.parse.quote(query)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    until(lambda: running(server) == 1, 20)
    connection.close()
    until(lambda: running(server) == 0, 1.5)


def test_who_does_not_log_in_or_stalls_is_let_go(own_server):
    server = own_server(env={"NOWCAST_PG_LOGIN_TIMEOUT_S": "1", "NOWCAST_PG_STALL_TIMEOUT_S": "1"})
    for first in (b"", startup(user="admin")[:6], startup(user="admin")):
        with raw(server) as connection:
            began = time.monotonic()
            connection.sendall(first)
            rest(connection)
            assert 0.5 < time.monotonic() - began < 5
    # Half a message.
    connection, pg = logged_in(server)
    connection.setblocking(True)
    connection.settimeout(20)
    began = time.monotonic()
    connection.sendall(b"Q\0\0")
    assert b"FATAL" in rest(connection) and 0.5 < time.monotonic() - began < 5
    connection.close()
    pg.close()
    # A reader of nothing.
    connection, pg = logged_in(server)
    text = b"SELECT x, 'some text to fill the socket with' FROM long_sequence(1000000000)\0"
    connection.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text)
    until(lambda: running(server) == 1, 20)
    until(lambda: running(server) == 0 and server.metrics()["nowcast_pg_connections"] == 0, 6)
    connection.close()
    # Silence between messages is no stall.
    with psycopg.connect(conninfo(server)) as quiet:
        time.sleep(2.5)
        assert quiet.execute("SELECT 1").fetchone() == (1,)


def test_connections_beyond_the_limit_are_told_so(own_server):
    server = own_server(env={"NOWCAST_PG_CONNECTIONS_MAX": "20"})
    held = []
    for _ in range(300):
        connection = raw(server)
        held.append(connection)
    # The first twenty wait for a login that does not come; all others are beyond the limit.
    time.sleep(0.5)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(conninfo(server), connect_timeout=10)
    for connection in held[100:]:
        connection.close()
    deadline = time.monotonic() + 20
    while True:
        with pytest.raises(psycopg.OperationalError) as error:
            psycopg.connect(conninfo(server), connect_timeout=10)
        if "too many connections" in str(error.value):
            with raw(server) as connection:
                connection.sendall(startup(user="admin"))
                assert b"C53300\0" in rest(connection)
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for connection in held:
        connection.close()
    while True:
        try:
            assert is_alive(server)
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_requests_for_encryption_are_refused_and_the_login_goes_on(server):
    with psycopg.connect(conninfo(server, sslmode="prefer", gssencmode="prefer")) as pg:
        assert pg.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="SSL"):
        psycopg.connect(conninfo(server, sslmode="require"))
    with raw(server) as connection:
        connection.sendall(struct.pack("!ii", 8, 80877104))
        assert connection.recv(1) == b"N"
        connection.sendall(struct.pack("!ii", 8, 80877103))
        assert connection.recv(1) == b"N"


def test_the_server_tells_its_clients_that_it_ends(own_server):
    server = own_server()
    pg = psycopg.connect(conninfo(server), autocommit=True)
    server.stop()
    with pytest.raises(psycopg.errors.AdminShutdown):
        pg.execute("SELECT 1")


def test_a_thousand_idle_connections(own_server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2_500:
        pytest.skip(f"{hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_500), hard))
    server = own_server(env={"NOWCAST_PG_CONNECTIONS_MAX": "1000"})
    held = [psycopg.connect(conninfo(server), autocommit=True) for _ in range(10)]
    began_with = resident(server)
    held += [psycopg.connect(conninfo(server), autocommit=True) for _ in range(990)]
    each = (resident(server) - began_with) / 990
    print("bytes of an idle connection:", each)
    assert each < 128 << 10
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        psycopg.connect(conninfo(server), connect_timeout=10)
    for connection in (held[0], held[999]):
        assert connection.execute("SELECT 1").fetchone() == (1,)
    for connection in held:
        connection.close()


def resident(server):
    lines = open(f"/proc/{server.process.pid}/status").read().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))
