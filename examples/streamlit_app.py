"""A live table and a number in Streamlit: NOWCAST_URL=… streamlit run examples/streamlit_app.py"""

import os

import nowcast
import streamlit as st

URL = os.environ.get("NOWCAST_URL", "http://127.0.0.1:9000")
QUERY = "SELECT city, count() AS rows, avg(t) AS t FROM weather GROUP BY city ORDER BY city"


@st.cache_resource
def weather():
    """One connection for all sessions."""
    return nowcast.frame(QUERY, url=URL)


@st.fragment(run_every=1)
def show():
    df = weather().df
    st.metric("Rows", int(df["rows"].sum()))
    st.dataframe(df, hide_index=True)


st.title("Weather")
show()
