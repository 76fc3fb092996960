"""A data frame that keeps itself current: python examples/frame.py "SELECT * FROM weather" [URL]"""

import sys

import nowcast

query, url = (*sys.argv[1:], "http://127.0.0.1:9000")[:2]
with nowcast.frame(query, url=url) as live:
    while True:
        print(live.df.to_string(index=False), flush=True)
        live.wait()
