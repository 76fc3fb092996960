"""Prints a live query: python examples/watch.py "SELECT count() FROM weather" [URL]"""

import asyncio
import sys

import nowcast


async def main(query, url="http://127.0.0.1:9000"):
    async for table in nowcast.subscribe(query, url=url):
        print(table.version, table.columns, table.rows(), flush=True)


asyncio.run(main(*sys.argv[1:]))
