"""Whole applications as people write them: a pool behind workers and dashboards, a loader, a status page."""

import contextlib
import csv
import datetime
import hashlib
import io
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pandas
import psycopg
import pytest
import sqlalchemy
from postgres import conninfo, url
from psycopg_pool import ConnectionPool
from sqlalchemy.sql import text

# pandas warns of connections that are not SQLAlchemy's, and works.
pytestmark = pytest.mark.filterwarnings("ignore:pandas only supports")


def test_a_dashboard_of_stocks(server):
    pool = ConnectionPool(url(server), min_size=1, max_size=3)
    with pool.connection() as conn:
        conn.execute(
            """
            CREATE TABLE
                  quotes(stock_symbol SYMBOL CAPACITY 5 CACHE INDEX, -- we are in fact just checking 3
                         current_price DOUBLE,
                         high_price DOUBLE,
                         low_price DOUBLE,
                         open_price DOUBLE,
                         percent_change DOUBLE,
                         tradets TIMESTAMP, -- timestamp of the trade
                         ts TIMESTAMP)      -- time of insert in our table
                  timestamp(ts)
            PARTITION BY DAY;
            """
        )

    def fetch(number):
        symbol = ["AAPL", "DOCN", "EBAY"][number % 3]
        quote = {"c": 148.96 + number, "h": 149.7, "l": 147.8, "o": 148.985, "pc": 149.8, "t": 1635796803}
        query = f"""
        INSERT INTO quotes(stock_symbol, current_price, high_price, low_price, open_price, percent_change, tradets, ts)
        VALUES(
            '{symbol}',
            {quote["c"]},
            {quote["h"]},
            {quote["l"]},
            {quote["o"]},
            {quote["pc"]},
            {quote["t"]} * 1000000,
            systimestamp()
        );
        """
        with pool.connection() as conn:
            conn.execute(query)

    def get_stock_data(start, end, stock_symbol):
        def format_date(dt):
            return dt.isoformat(timespec="microseconds") + "Z"

        query = f"quotes WHERE ts BETWEEN '{format_date(start)}' AND '{format_date(end)}'"
        if stock_symbol:
            query += f" AND stock_symbol = '{stock_symbol}' "
        with pool.connection() as conn:
            return pandas.read_sql_query(query, conn)

    with ThreadPoolExecutor(6) as workers:
        list(workers.map(fetch, range(30)))
        end = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(minutes=1)
        start = end - datetime.timedelta(hours=5)
        # Callbacks of several pages at a time.
        frames = list(workers.map(lambda symbol: get_stock_data(start, end, symbol), ["", "AAPL", "DOCN", "EBAY", ""] * 4))
    assert [len(frame) for frame in frames[:5]] == [30, 10, 10, 10, 30]
    assert frames[1]["tradets"].iloc[0] == pandas.Timestamp("2021-11-01 20:00:03")
    assert frames[1].dtypes["current_price"] == "float64"
    pool.close()


def test_frames_of_taxi_trips(server):
    with psycopg.connect(conninfo(server), autocommit=True) as conn:
        conn.execute("CREATE TABLE taxi_trips (passenger_count DOUBLE, total_amount DOUBLE, at TIMESTAMP) timestamp(at)")
        with conn.cursor() as cursor, cursor.copy("COPY taxi_trips FROM STDIN") as copy:
            for i in range(1000):
                copy.write_row((float(i % 8), i * 0.5, datetime.datetime(2022, 1, 1) + datetime.timedelta(minutes=i)))
    conn = psycopg.connect(dbname="questdb", host="127.0.0.1", user="admin", password="quest", port=server.pg_port)
    frame = pandas.read_sql_query(
        """
        SELECT passenger_count, avg(total_amount)
           FROM 'taxi_trips'
           WHERE passenger_count > 0
           GROUP BY passenger_count
        """,
        conn,
    )
    conn.close()
    assert sorted(frame["passenger_count"]) == [1, 2, 3, 4, 5, 6, 7]


def test_a_loader_that_hides_who_bought(server):
    engine = sqlalchemy.create_engine(url(server, "postgresql+psycopg2"))
    with engine.begin() as conn:
        conn.execute(
            text(
                """
                CREATE TABLE
                    purchases(buyer STRING, item_id INT, quantity INT, price INT, purchase_date TIMESTAMP)
                    timestamp(purchase_date);
                """
            )
        )
    query = """
    INSERT INTO purchases(buyer, item_id, quantity, price, purchase_date)
    VALUES(:buyer, :item_id, :quantity, :price, :purchase_date);
    """
    content = "a@example.com,1,2,300,2022-05-01T12:00:00\nb@example.com,2,1,50,2022-05-01T11:00:00\nnot a row\n"
    refused = 0
    for row in csv.reader(io.StringIO(content)):
        with contextlib.ExitStack() as stack:
            try:
                email, item_id, quantity, price, purchase_date = row
            except ValueError:
                refused += 1
                continue
            conn = stack.enter_context(engine.begin())
            buyer = hashlib.sha1(email.encode()).hexdigest()
            record = {"buyer": buyer, "item_id": int(item_id), "quantity": int(quantity), "price": int(price), "purchase_date": purchase_date}
            conn.execute(text(query), record)
    assert refused == 1
    with engine.connect() as conn:
        rows = conn.execute(text("SELECT * FROM purchases ORDER BY purchase_date;")).fetchall()
    assert [row.item_id for row in rows] == [2, 1] and rows[0].buyer == hashlib.sha1(b"b@example.com").hexdigest()
    engine.dispose()


def test_a_status_page(server):
    with ConnectionPool(url(server), min_size=1, max_size=5) as pool:
        with pool.connection() as conn:
            conn.execute(
                """
                CREATE TABLE
                    signals(url STRING, http_status INT, received TIMESTAMP, available BOOLEAN)
                    timestamp(received);
                """
            )
        for status in (200, 503, -1):
            available = 200 <= status < 400
            query = f"""
            INSERT INTO signals(received,url,http_status,available)
            VALUES(systimestamp(), 'https://questdb.io', {status}, {available});
            """
            with pool.connection() as conn:
                conn.execute(query)
        limit = 60
        query = f"""
        SELECT url, http_status, available, received FROM signals
        WHERE url = 'https://questdb.io' ORDER BY received DESC LIMIT {limit};
        """
        signals = defaultdict(list)
        with pool.connection() as conn:
            for result in conn.execute(query):
                signals[result[0]].append(result[1:])
        with pool.connection() as conn:
            assert len(conn.execute(f"SELECT * FROM signals WHERE url = 'https://questdb.io' ORDER BY received DESC LIMIT {limit};").fetchall()) == 3
    assert [signal[:2] for signal in signals["https://questdb.io"]] == [(-1, False), (503, False), (200, True)]
