"""A pandas data frame that keeps itself current, for notebooks, Streamlit and Dash: no asyncio to be seen."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from .live import subscribe


class LiveFrame:
    """The newest rows of a live query. A daemon thread takes changes in; any thread may read."""

    def __init__(self, *query: str, **options: Any):
        self._changed = threading.Condition()
        self._df = None
        self._error: BaseException | None = None
        self._count = 0
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task | None = None
        self._closed = False
        self._thread = threading.Thread(
            target=self._run, args=(query, options), name="nowcast-frame", daemon=True
        )
        self._thread.start()

    @property
    def df(self):
        """The newest rows: waits for the first ones. A new object after each change, and nobody else's."""
        with self._changed:
            self._changed.wait_for(lambda: self._df is not None or self._error is not None)
            if self._df is None:
                raise self._error
            return self._df

    @property
    def changes(self) -> int:
        """How many times the rows changed; the first ones are the first change."""
        return self._count

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the next change; False if none came in `timeout` seconds."""
        with self._changed:
            before = self._count
            changed = self._changed.wait_for(lambda: self._count > before or self._error is not None, timeout)
            if self._error is not None:
                raise self._error
            return changed

    def close(self) -> None:
        """Ends the connection. The last rows stay readable."""
        with self._changed:
            self._closed = True
            task = self._task
        if task is not None:
            self._loop.call_soon_threadsafe(task.cancel)
        self._thread.join(timeout=10)

    def __enter__(self) -> LiveFrame:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.df)

    def _repr_html_(self) -> str:
        return self.df._repr_html_()

    def _run(self, query: tuple, options: dict[str, Any]) -> None:
        try:
            self._loop.run_until_complete(self._follow(query, options))
        except asyncio.CancelledError:
            self._end(RuntimeError("the live frame was closed"))
        except BaseException as error:  # told to whoever reads
            self._end(error)
        finally:
            self._loop.close()

    async def _follow(self, query: tuple, options: dict[str, Any]) -> None:
        with self._changed:
            self._task = asyncio.current_task()
            if self._closed:
                raise asyncio.CancelledError
        async for table in subscribe(*query, **options):
            frame = table.frame()
            with self._changed:
                self._df = frame
                self._count += 1
                self._changed.notify_all()

    def _end(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()


def frame(query: str | None = None, **options: Any) -> LiveFrame:
    """A data frame of a live query that keeps itself current; options are those of `subscribe`."""
    return LiveFrame(*([query] if query is not None else []), **options)
