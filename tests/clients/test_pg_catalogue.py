"""What psql, Grafana, DBeaver and Metabase ask of the catalogue."""

import datetime
import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from conftest import PASSWORD
from postgres import conninfo


AT = datetime.datetime(2024, 1, 1)


@pytest.fixture(scope="module")
def pg(server):
    with psycopg.connect(conninfo(server), autocommit=True) as pg:
        pg.execute("CREATE SCHEMA IF NOT EXISTS side")
        pg.execute("CREATE TABLE metrics (host SYMBOL, value DOUBLE, ts TIMESTAMP) timestamp(ts)")
        pg.execute("CREATE TABLE side.beside (n LONG)")
        with pg.cursor() as cursor:
            rows = [(f"h{i % 2}", i, AT + datetime.timedelta(minutes=i)) for i in range(60)]
            cursor.executemany("INSERT INTO metrics VALUES (%s, %s, %s)", rows)
        yield pg


def psql(server, *commands, stdin=None):
    environment = dict(os.environ, PGPASSWORD=PASSWORD)
    arguments = ["psql", "-X", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(server.pg_port), "-U", "admin", "-d", "qdb"]
    for command in commands:
        arguments += ["-c", command]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, input=stdin, timeout=60)
    assert done.returncode == 0, f"{commands}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    "command, shows",
    [
        (r"\d", "metrics"),
        (r"\dt", "metrics"),
        (r"\dt+", "metrics"),
        (r"\dt side.*", "beside"),
        (r"\d metrics", "double precision"),
        (r"\d+ metrics", "double precision"),
        (r"\l", "nowcast"),
        (r"\dn", "side"),
        (r"\dn+", "side"),
        (r"\df", "List of functions"),
        (r"\du", "List of roles"),
        (r"\dv", ""),
        (r"\di", ""),
        (r"\dT", ""),
        (r"\dx", ""),
        (r"\dp", ""),
        (r"\conninfo", "admin"),
        (r"\encoding", "UTF8"),
        (r"\z", ""),
    ],
)
def test_psql_backslash_commands(server, pg, command, shows):
    assert shows in psql(server, command)


def test_psql_reads_and_copies(server, pg, tmp_path):
    assert "Time:" in psql(server, r"\timing on", "SELECT 1")
    out = tmp_path / "out.csv"
    psql(server, rf"\copy (SELECT host, value FROM metrics ORDER BY ts LIMIT 2) TO '{out}' CSV HEADER")
    assert out.read_text() == "host,value\nh0,0\nh1,1\n"
    psql(server, "CREATE TABLE of_psql (host SYMBOL, value DOUBLE)")
    assert "COPY 2" in psql(server, rf"\copy of_psql FROM '{out}' CSV HEADER")
    psql(server, stdin="COPY of_psql FROM STDIN;\nh2\t2\n\\.\nBEGIN;\nINSERT INTO of_psql VALUES ('h3', 3);\nCOMMIT;\n")
    assert psql(server, r"\pset format unaligned", "SELECT count(), sum(value) FROM of_psql").splitlines()[-2] == "4|6"
    assert "SELECT 1" in psql(server, r"\set ECHO queries", "SELECT 1")


COMPLETION = [
    # What psql sends for TAB behind SELECT * FROM, for a table's columns, and for SET.
    """SELECT c.relname, NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'S', 'v', 'm', 'f', 'p')
       AND (c.relname) LIKE 'met%' AND pg_catalog.pg_table_is_visible(c.oid)
       AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pg_catalog')
       UNION ALL SELECT NULL::pg_catalog.text, n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname LIKE 'met%' AND n.nspname NOT LIKE E'pg\\\\_%'
       LIMIT 1000""",
    """SELECT attname FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c WHERE c.oid = a.attrelid AND a.attnum > 0
       AND NOT a.attisdropped AND (attname) LIKE 'va%' AND c.relname = 'metrics' AND pg_catalog.pg_table_is_visible(c.oid) LIMIT 1000""",
    "SELECT pg_catalog.lower(name) FROM pg_catalog.pg_settings WHERE context IN ('user', 'superuser') AND pg_catalog.lower(name) LIKE 'date%' LIMIT 1000",
]

GRAFANA = [
    "SELECT current_setting('server_version_num')::int/100 as version",
    "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'",
    """SELECT quote_ident(table_name) AS "table" FROM information_schema.tables
       WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache', '_timescaledb_catalog', '_timescaledb_internal', '_timescaledb_config', 'timescaledb_information', 'timescaledb_experimental')
       AND table_type = 'BASE TABLE' ORDER BY 1""",
    """select quote_ident(table_name) as "table" from information_schema.tables
    where quote_ident(table_schema) not in ('information_schema', 'pg_catalog', 'timescaledb_information', 'timescaledb_experimental')
      and quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          )""",
    """SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns
       WHERE quote_ident(table_name) = 'metrics' AND quote_ident(table_schema) = 'public'""",
    "SELECT DISTINCT quote_literal(host) FROM metrics LIMIT 100",
    """SELECT floor(extract(epoch from ts)/300)*300 AS "time", host AS metric, avg(value) AS value FROM metrics
       WHERE ts BETWEEN '2024-01-01T00:00:00Z' AND '2024-01-01T01:00:00Z' GROUP BY 1, 2 ORDER BY 1, 2""",
    "SELECT ts AS \"time\", value FROM metrics WHERE ts >= '2024-01-01T00:00:00Z' AND ts <= '2024-01-01T00:10:00.999Z' ORDER BY 1 LIMIT 50",
    "SELECT date_trunc('hour', ts) AS \"time\", max(value) FROM metrics WHERE extract(epoch from ts) BETWEEN 1704067200 AND 1704070800 GROUP BY 1",
    "SELECT extract(epoch from ts) AS \"time\", value FROM metrics WHERE ts >= to_timestamp(1704067200) LIMIT 1",
    "SELECT 1",
]

# The table that a new panel begins with.
GRAFANA_FIRST = """
  SELECT
      quote_ident(table_name) as table_name,
      ( SELECT
          quote_ident(column_name) as column_name
        FROM information_schema.columns c
        WHERE
          c.table_schema = t.table_schema AND
          c.table_name = t.table_name AND
          udt_name IN ('timestamptz','timestamp')
        ORDER BY ordinal_position LIMIT 1
      ) AS time_column,
      ( SELECT
          quote_ident(column_name) AS column_name
        FROM information_schema.columns c
        WHERE
          c.table_schema = t.table_schema AND
          c.table_name = t.table_name AND
          udt_name='float8'
        ORDER BY ordinal_position LIMIT 1
      ) AS value_column
    FROM information_schema.tables t
    WHERE quote_ident(table_schema) IN (
          SELECT
            CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM
            generate_series(
              array_lower(string_to_array(current_setting('search_path'),','),1),
              array_upper(string_to_array(current_setting('search_path'),','),1)
            ) as i,
            string_to_array(current_setting('search_path'),',') s
          ) AND
      EXISTS
      ( SELECT 1
        FROM information_schema.columns c
        WHERE
          c.table_schema = t.table_schema AND
          c.table_name = t.table_name AND
          udt_name IN ('timestamptz','timestamp')
      ) AND
      EXISTS
      ( SELECT 1
        FROM information_schema.columns c
        WHERE
          c.table_schema = t.table_schema AND
          c.table_name = t.table_name AND
          udt_name='float8'
      )
    LIMIT 1
;"""

DBEAVER = [
    "SELECT session_user, current_user, current_schema()",
    "SELECT version()",
    "SHOW server_version_num",
    "SET extra_float_digits = 3",
    "SET application_name = 'DBeaver - Main'",
    "SELECT current_schema(), session_user",
    "SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass ORDER BY nspname",
    "SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE 1 = 1 ORDER BY db.datname",
    "SELECT t.oid, t.*, c.relkind, format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid = t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid = d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') LIMIT 10",
    "SELECT c.oid, c.*, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass WHERE c.relkind NOT IN ('i', 'I', 'c') LIMIT 10",
    "SELECT c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value, dsc.description FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid = c.oid) LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid = ad.adrelid AND a.attnum = ad.adnum) LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid) WHERE NOT a.attisdropped AND c.relname = 'metrics' ORDER BY a.attnum",
    "SELECT i.*, i.indkey as keys, c.relname FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid LIMIT 10",
    "SELECT * FROM pg_catalog.pg_settings LIMIT 5",
    "SELECT * FROM pg_catalog.pg_roles ORDER BY rolname",
    "SELECT x.* FROM public.metrics x LIMIT 200",
]

METABASE = [
    "SHOW TIMEZONE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
    "SELECT current_database()",
    """SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'v' THEN 'VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS type, d.description AS description
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON c.relnamespace = n.oid LEFT JOIN pg_catalog.pg_description d ON c.oid = d.objoid AND d.objsubid = 0
       WHERE c.relnamespace = n.oid AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'f', 'm') ORDER BY type, schema, name""",
    """SELECT c.column_name AS name, c.udt_name AS database_type, c.ordinal_position - 1 AS database_position, c.table_schema AS table_schema, c.table_name AS table_name
       FROM information_schema.columns c WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND c.table_schema IN ('public') ORDER BY table_schema, table_name, database_position""",
    """SELECT "public"."metrics"."host" AS "host", AVG("public"."metrics"."value") AS "avg" FROM "public"."metrics" GROUP BY "public"."metrics"."host" ORDER BY "avg" DESC, "public"."metrics"."host" ASC""",
    """SELECT DATE_TRUNC('hour', "public"."metrics"."ts") AS "ts", COUNT(*) AS "count" FROM "public"."metrics" GROUP BY DATE_TRUNC('hour', "public"."metrics"."ts") ORDER BY 1 ASC""",
    """SELECT SUBSTRING("public"."metrics"."host", 1, 1234) AS "substring" FROM "public"."metrics" LIMIT 10000""",
    "SELECT TRUE AS \"_\" FROM \"public\".\"metrics\" WHERE 1 <> 1 LIMIT 0",
]


MORE = [line for line in Path(__file__).with_name("catalogue.sql").read_text().splitlines() if not line.startswith("--")]


@pytest.mark.parametrize("query", COMPLETION + GRAFANA + DBEAVER + METABASE + MORE)
def test_tools_get_answers(pg, query):
    pg.execute(query)


def test_what_tools_are_answered(pg):
    assert pg.execute(COMPLETION[1]).fetchall() == [("value",)]
    assert pg.execute(GRAFANA[0]).fetchall() == [(1600,)]
    for query in GRAFANA[2:4]:
        assert ("metrics",) in pg.execute(query).fetchall()
    assert ("beside",) not in pg.execute(GRAFANA[3]).fetchall()
    assert ("value", "double precision") in pg.execute(GRAFANA[4]).fetchall()
    assert len(pg.execute(GRAFANA[6]).fetchall()) == 24
    tables = pg.execute(METABASE[3]).fetchall()
    assert ("public", "metrics", "TABLE", None) in tables and ("side", "beside", "TABLE", None) in tables
    assert [row[:2] for row in pg.execute(METABASE[4]).fetchall() if row[4] == "metrics"] == [("host", "text"), ("value", "float8"), ("ts", "timestamp")]


def test_subqueries_of_a_select_list_are_answered(pg):
    # Which table it is depends on what other tests made.
    [(table, time, value)] = pg.execute(GRAFANA_FIRST).fetchall()
    columns = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
    types = dict(pg.execute(columns, [table]).fetchall())
    assert types[time].startswith("timestamp")
    assert types[value] == "double precision"
    assert pg.execute(
        """SELECT c.relname, (SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.oid = c.relnamespace) AS schema,
                  (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
                  (SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum DESC LIMIT 1) AS last,
                  (SELECT d.description FROM pg_catalog.pg_description d WHERE d.objoid = c.oid) AS comment
           FROM pg_catalog.pg_class c WHERE c.relname IN ('metrics', 'beside') ORDER BY 1 DESC"""
    ).fetchall()[0] == ("metrics", "public", 3, "ts", None)
    assert pg.execute(
        "SELECT (SELECT table_name FROM information_schema.tables WHERE table_name = %s LIMIT 1), (SELECT 7)", ("metrics",)
    ).fetchall() == [("metrics", 7)]
    assert pg.execute("SELECT (SELECT min(information_schema.tables.table_name) FROM information_schema.tables WHERE table_schema = 'side')").fetchone() == ("beside",)


def test_what_is_looked_up_by_name(pg):
    def one(query):
        return pg.execute(query).fetchone()[0]

    oid = one("SELECT oid FROM pg_class WHERE relname = 'metrics'")
    assert one("SELECT to_regclass('metrics')") == one("SELECT to_regclass('public.\"metrics\"')") == oid
    assert one("SELECT to_regclass('beside')") is None
    assert one("SELECT to_regclass('side.beside') IS NOT NULL") is True
    assert one("SELECT to_regclass('nothing') IS NULL") is True
    exists = "SELECT EXISTS (SELECT FROM information_schema.tables WHERE table_name = %s)"
    assert one("SELECT EXISTS (SELECT 1 FROM pg_tables WHERE tablename = 'metrics')") is True
    assert pg.execute(exists, ["metrics"]).fetchone() == (True,)
    assert pg.execute(exists, ["nothing"]).fetchone() == (False,)
    assert one("SELECT pg_catalog.format('%I.%I = %L, %s%%', 'a', 'B c', 'it''s', 5)") == "a.\"B c\" = 'it''s', 5%"
    assert one("SELECT usename FROM pg_user") == "admin"
    assert ("statement_timeout" in {name for name, _, _ in pg.execute("SHOW ALL").fetchall()}) is True
    names = [column.name for column in pg.execute("SELECT EXISTS (SELECT 1 FROM metrics), EXISTS (SELECT 1 FROM metrics) AS x").description]
    assert names == ["exists", "x"]
