"""A live table: rows by key, changed when a round closes and sorted when they are asked for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
INTEGERS = {"BYTE", "SHORT", "INT", "LONG", "UINT"}
FLOATS = {"FLOAT", "DOUBLE"}
MICROSECONDS = {"TIMESTAMP", "DATE"}


class LiveTable:
    """The rows of a query at one moment of the server."""

    def __init__(self, snapshot: dict[str, Any]):
        self._schema = snapshot["schema"]
        self._types = [column["type"] for column in self._schema["columns"]]
        self._shown = [i for i, column in enumerate(self._schema["columns"]) if not column.get("hidden")]
        self._rows: dict[tuple, list] = {}
        self._sorted: list[list] | None = None
        self.columns: list[str] = [self._schema["columns"][i]["name"] for i in self._shown]
        self.types: list[str] = [self._types[i] for i in self._shown]
        self.mode: str = snapshot["mode"]
        self.epoch: str = snapshot["epoch"]
        self._take(snapshot, snapshot["rows"])

    def apply(self, delta: dict[str, Any]) -> None:
        """Takes a delta in; one that overlaps what is held does no harm."""
        for key in delta["delete"]:
            self._rows.pop(tuple(key), None)
        self._take(delta, delta["upsert"])

    def _take(self, message: dict[str, Any], rows: list[list]) -> None:
        for row in rows:
            # The key is made of the values as they travel, so that one in `delete` finds it.
            self._rows[tuple(row[i] for i in self._schema["key"])] = [
                _read(cell, type_) for cell, type_ in zip(row, self._types)
            ]
        self._sorted = None
        self.version: int = message["version"]
        self.truncated: bool = message.get("truncated", False)

    def __len__(self) -> int:
        return len(self._rows)

    def _in_order(self) -> list[list]:
        if self._sorted is None:
            rows = list(self._rows.values())
            by = [*self._schema["order"], *([i, "asc"] for i in self._schema["key"])]
            # From the least significant on: the sort is stable. NULL is greater than every value.
            for index, direction in reversed(by):
                rows.sort(key=lambda row: (row[index] is None, row[index]) if row[index] is not None else (True,),
                          reverse=direction == "desc")
            self._sorted = rows
        return self._sorted

    def rows(self) -> list[tuple]:
        """The rows in the query's order; times are `datetime` in UTC."""
        return [
            tuple(
                EPOCH + timedelta(microseconds=row[i]) if self._types[i] in MICROSECONDS and row[i] is not None else row[i]
                for i in self._shown
            )
            for row in self._in_order()
        ]

    def frame(self):
        """The rows as a pandas data frame: whole numbers with NULLs as `Int64`, times as `datetime64` in UTC."""
        import pandas as pd

        rows, columns = self._in_order(), {}
        for name, index in zip(self.columns, self._shown):
            values, type_ = [row[index] for row in rows], self._types[index]
            if type_ in MICROSECONDS:
                columns[name] = pd.to_datetime(pd.Series(values, dtype="Int64"), unit="us", utc=True)
            elif type_ == "TIMESTAMP_NS":
                columns[name] = pd.to_datetime(pd.Series(values, dtype="Int64"), unit="ns", utc=True)
            elif type_ in INTEGERS:
                columns[name] = pd.Series(values, dtype="Int64" if None in values else "int64")
            elif type_ in FLOATS:
                columns[name] = pd.Series(values, dtype="float64")
            else:
                columns[name] = pd.Series(values, dtype="object" if type_ == "BOOLEAN" and None in values else None)
        return pd.DataFrame(columns, columns=self.columns)


def _read(cell: Any, type_: str) -> Any:
    """Whole numbers that JSON would not hold, and infinities, travel as text."""
    if isinstance(cell, str):
        if type_ in FLOATS:
            return float(cell)
        if type_ in INTEGERS or type_ in MICROSECONDS or type_ == "TIMESTAMP_NS":
            return int(cell)
    elif type_ in FLOATS and cell is not None:
        return float(cell)
    return cell
