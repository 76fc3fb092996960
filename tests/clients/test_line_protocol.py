"""The official QuestDB clients, old and new, and what Telegraf's outputs ask for."""

import gzip
import json
import os
import subprocess
import sys
import textwrap

import pandas as pd
import psycopg
import pytest
from conftest import PASSWORD
from questdb.ingress import Sender, TimestampNanos

ROWS = 1_000_000


def frame(rows):
    index = pd.RangeIndex(rows)
    return pd.DataFrame(
        {
            "host": pd.Categorical.from_codes(index % 7, [f"host_{i}" for i in range(7)]),
            "value": (index % 1000) * 0.25,
            "count": index % 100,
            "at": pd.to_datetime(1_700_000_000_000_000 + index * 1000, unit="us"),
        }
    )


def expected(rows):
    return rows, sum(i % 1000 for i in range(rows)) * 0.25, sum(i % 100 for i in range(rows))


def counted(server, table):
    with psycopg.connect(f"host=127.0.0.1 port={server.pg_port} user=admin password={PASSWORD} dbname=qdb") as pg:
        return pg.execute(f'SELECT count(), sum(value), sum("count") FROM {table}').fetchone()


@pytest.mark.parametrize("protocol", ["http", "tcp"])
@pytest.mark.parametrize("version", ["auto", "1", "2", "3"])
def test_every_protocol_version_writes(server, protocol, version):
    table = f"sender_{protocol}_{version}"
    port = server.http_port if protocol == "http" else server.ilp_port
    conf = f"{protocol}::addr=127.0.0.1:{port};protocol_version={version};"
    with Sender.from_conf(conf) as sender:
        sender.row(
            table,
            symbols={"host": "a b,c=d"},
            columns={"value": 1.5, "n": 7, "ok": True, "text": 'quo"te\\', "big": 2**62},
            at=TimestampNanos(1_700_000_000_123_456_789),
        )
    server.wait_for(f"SELECT count() FROM {table}", 1)
    row = server.exec(f'SELECT host, "value", n, ok, text, big, timestamp FROM {table}')[0]
    assert row == ["a b,c=d", 1.5, 7, True, 'quo"te\\', 2**62, "2023-11-14T22:13:20.123456Z"]


@pytest.mark.parametrize("protocol", ["http", "tcp"])
def test_a_million_rows_of_the_official_client(server, protocol):
    table = f"million_{protocol}"
    port = server.http_port if protocol == "http" else server.ilp_port
    with Sender.from_conf(f"{protocol}::addr=127.0.0.1:{port};") as sender:
        sender.dataframe(frame(ROWS), table_name=table, symbols=["host"], at="at")
    server.wait_for(f"SELECT count() FROM {table}", ROWS, seconds=300)
    assert counted(server, table) == expected(ROWS)


def test_the_client_of_2022_writes_a_million_rows(server, tmp_path):
    python = os.environ.get("NOWCAST_OLD_PYTHON", sys.executable)
    script = tmp_path / "data_loader.py"
    # The loader of QuestDB's tutorial, over a file that is made here.
    script.write_text(
        textwrap.dedent(
            f"""
            import glob, os
            import numpy as np
            import pandas as pd
            from questdb.ingress import Sender

            index = np.arange({ROWS})
            os.makedirs("data", exist_ok=True)
            made = pd.DataFrame({{
                "tpep_pickup_datetime": pd.to_datetime(1_640_995_200_000_000 + index * 1000, unit="us"),
                "passenger_count": (index % 9).astype(float),
                "total_amount": (index % 1000) * 0.25,
                "store_and_fwd_flag": np.where(index % 2 == 0, "N", "Y"),
            }})
            made.to_parquet("data/yellow_tripdata_2022-01.parquet")

            with Sender("127.0.0.1", {server.ilp_port}) as sender:
                for file in glob.glob(os.path.join("data", "*.parquet")):
                    df = pd.read_parquet(file)
                    print(f"ingesting {{len(df.index)}} rows from {{file}}")
                    sender.dataframe(df, table_name="trips", at="tpep_pickup_datetime")
            """
        )
    )
    subprocess.run([python, str(script)], cwd=tmp_path, check=True)
    server.wait_for("SELECT count() FROM trips", ROWS, seconds=300)
    with psycopg.connect(
        dbname="questdb", host="127.0.0.1", user="admin", password=PASSWORD, port=server.pg_port
    ) as conn:
        query = """
        SELECT passenger_count, avg(total_amount)
           FROM 'trips'
           WHERE passenger_count > 0
           GROUP BY passenger_count
        """
        rows = dict(conn.execute(query).fetchall())
    made = pd.DataFrame({"p": [i % 9 for i in range(ROWS)], "t": [(i % 1000) * 0.25 for i in range(ROWS)]})
    means = made[made.p > 0].groupby("p").t.mean()
    assert rows.keys() == {float(p) for p in means.index}
    assert all(abs(rows[float(p)] - mean) < 1e-6 for p, mean in means.items())


def test_telegraf_is_greeted_as_by_influxdb(server):
    assert server.get("/ping")[0] == 204
    status, body = server.post(
        "/query?q=CREATE+DATABASE+%22telegraf%22", b"", {"Authorization": "Basic eDp5"}
    )
    assert (status, json.loads(body)) == (200, {"results": [{"statement_id": 0}]})
    line = b"cpu,host=h usage_idle=99.5 1700000000000000000\n"
    assert server.post("/write?db=telegraf&rp=", gzip.compress(line), {"Content-Encoding": "gzip"})[0] == 204
    v2 = "/api/v2/write?bucket=b&org=o&precision=s"
    assert server.post(v2, b"cpu,host=h usage_idle=98.5 1700000001\n", {"Authorization": "Token any"})[0] == 204
    rows = server.exec("SELECT usage_idle, timestamp FROM cpu ORDER BY timestamp")
    assert rows == [[99.5, "2023-11-14T22:13:20.000000Z"], [98.5, "2023-11-14T22:13:21.000000Z"]]


def test_a_bad_line_writes_nothing_over_http(server):
    status, body = server.post("/write", b"weather t=1\nweather t=2x\n")
    error = json.loads(body)
    assert status == 400
    assert (error["code"], error["line"]) == ("invalid", 2)
    assert error["column"] > 0 and error["message"] and error["hint"]
    assert server.get("/exec?query=SELECT+*+FROM+weather")[0] == 400
    assert server.post("/write", b"weather t=1\n")[0] == 204
    status, body = server.post("/write", b'weather t="warm"\n')
    assert status == 400 and '"t"' in json.loads(body)["message"]
    assert server.exec("SELECT count() FROM weather") == [[1]]


def test_a_bad_line_over_tcp_is_kept_to_be_looked_at(server):
    import socket

    with socket.create_connection(("127.0.0.1", server.ilp_port)) as stream:
        stream.sendall(b"lines,k=a v=1\nlines,k=b v=oops\nlines,k=c v=3\n")
        server.wait_for("SELECT count() FROM lines", 2)
    server.wait_for("SELECT count() FROM rejected WHERE text LIKE '%oops%'", 1)
    row = server.exec("SELECT source, line, line_column, cause FROM rejected WHERE text LIKE '%oops%'")[0]
    assert row[0] == "ilp-tcp" and row[1] == 2 and row[2] > 0 and row[3]


def test_json_and_ndjson(server):
    body = b'[{"sensor": "a", "t": 21.5, "ts": "2024-01-01T00:00:00Z"}, {"sensor": "b", "t": 3, "ts": "2024-01-01T00:00:01Z"}]'
    assert server.post("/api/v1/ingest/readings", body)[0] == 204
    body = b'{"sensor": "c", "t": 1, "at": 1704067202}\n{"sensor": "d", "t": null, "at": 1704067203}\n'
    assert server.post("/api/v1/ingest/readings?timestamp=at&precision=s", body)[0] == 204
    assert server.exec("SELECT sensor, t FROM readings ORDER BY ts") == [["a", 21.5], ["b", 3.0], ["c", 1.0], ["d", None]]
    status, body = server.post("/api/v1/ingest/readings", b'{"sensor": {"id": 1}}')
    error = json.loads(body)
    assert status == 400 and error["line"] == 1 and error["column"] > 1 and error["hint"]
