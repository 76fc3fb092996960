"""Parts are ordinary Parquet files: DuckDB and pyarrow read them."""

import duckdb
import pyarrow.parquet

ROWS = 30_000


def test_parts_are_read_by_duckdb_and_pyarrow(own_server):
    server = own_server()
    # Out of order, so that sorting is the store's work, and on two days.
    second = [(i * 7_919) % ROWS + 86_400 * (i % 2) for i in range(ROWS)]
    body = "".join(
        f'parts,host=h{i % 50} v={i}i,half={i}.5,ok={"true" if i % 3 else "false"},note="n{i % 10}" {at}000000000\n'
        for i, at in enumerate(second)
    )
    assert server.post("/write", body.encode())[0] == 204
    expected = server.exec("SELECT count(), sum(v), sum(half), count(DISTINCT host), max(timestamp) FROM parts")[0]
    assert server.stop() < 5
    files = sorted((server.data / "store" / "parts" / "public.parts").glob("*.parquet"))
    assert files
    found = duckdb.sql(
        "SELECT count(*), sum(v), sum(half), count(DISTINCT host), strftime(max(timestamp), '%Y-%m-%dT%H:%M:%S.%fZ') "
        f"FROM read_parquet({[str(file) for file in files]!r})"
    ).fetchall()[0]
    assert list(found) == expected
    codecs = duckdb.sql(f"SELECT DISTINCT compression FROM parquet_metadata({str(files[0])!r})").fetchall()
    assert codecs == [("ZSTD",)]
    for file in files:
        parquet = pyarrow.parquet.ParquetFile(file)
        table = parquet.read()
        assert table.schema.names == ["host", "v", "half", "ok", "note", "timestamp", "_seq"]
        times = table["timestamp"].to_pylist()
        assert times == sorted(times)
        assert str(table.schema.field("host").type) == "dictionary<values=string, indices=int32, ordered=0>"
        statistics = parquet.metadata.row_group(0).column(1).statistics
        assert statistics.has_min_max and parquet.metadata.row_group(0).column(1).has_offset_index
