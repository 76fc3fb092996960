"""What test_pg_drivers.py asks of SQLAlchemy 1.4, with pandas of its time. The argument is the address."""

import datetime
import sys

import pandas
import sqlalchemy
from sqlalchemy.sql import text

AT = datetime.datetime(2024, 1, 1)

assert sqlalchemy.__version__.startswith("1.4.")
engine = sqlalchemy.create_engine(sys.argv[1])
with engine.connect() as connection:
    connection.execute(text("CREATE TABLE of_old (name STRING, n INT, ts TIMESTAMP) timestamp(ts)"))
    for n in range(5):
        # Keywords, and a commit of its own for each: the ways of 1.x.
        connection.execute(text("INSERT INTO of_old (name, n, ts) VALUES (:name, :n, :ts)"), name=f"n{n}", n=n, ts=AT)
with engine.begin() as connection:
    connection.execute(text("INSERT INTO of_old (name, n, ts) VALUES (:name, :n, :ts)"), [{"name": "x", "n": 9, "ts": AT}] * 3)
assert engine.execute("SELECT count(), sum(n) FROM of_old").fetchone() == (8, 37)
assert "of_old" in sqlalchemy.inspect(engine).get_table_names()
table = sqlalchemy.Table("of_old", sqlalchemy.MetaData(), autoload_with=engine)
assert [column.name for column in table.columns] == ["name", "n", "ts"]
frame = pandas.DataFrame({"v": [1, 2, 3], "ts": [AT] * 3})
frame.to_sql("of_old_frame", engine, if_exists="replace", index=False)
frame.to_sql("of_old_frame", engine, if_exists="append", index=False)
assert pandas.read_sql("SELECT sum(v) AS v FROM of_old_frame", engine)["v"][0] == 12
