"""Watch live queries of a Nowcast server: as an async iterator, or as a data frame that keeps itself current."""

from .frame import LiveFrame, frame
from .live import LiveError, subscribe
from .table import LiveTable

__all__ = ["LiveError", "LiveFrame", "LiveTable", "frame", "subscribe"]
