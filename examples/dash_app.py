"""A live table in Dash: NOWCAST_URL=… python examples/dash_app.py"""

import os

import nowcast
from dash import Dash, Input, Output, dash_table, dcc, html

URL = os.environ.get("NOWCAST_URL", "http://127.0.0.1:9000")
QUERY = "SELECT city, count() AS rows, avg(t) AS t FROM weather GROUP BY city ORDER BY city"

weather = nowcast.frame(QUERY, url=URL)
app = Dash(title="Weather")
app.layout = html.Div(
    [dcc.Interval(id="second", interval=1000), dash_table.DataTable(id="weather", columns=[
        {"id": name, "name": name} for name in ("city", "rows", "t")
    ])]
)


@app.callback(Output("weather", "data"), Input("second", "n_intervals"))
def show(_):
    return weather.df.to_dict("records")


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8050")))
