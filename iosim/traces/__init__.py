"""Traces: readers that yield the canonical table, checks, and what a trace is like."""

from iosim.traces.access_reader import AccessStream
from iosim.traces.accesses import AccessTable
from iosim.traces.reader import TraceStream, open_trace, read_trace
from iosim.traces.reading import ReadOptions
from iosim.traces.table import TraceTable, to_trace

__all__ = [
    "AccessStream",
    "AccessTable",
    "ReadOptions",
    "TraceStream",
    "TraceTable",
    "open_trace",
    "read_trace",
    "to_trace",
]
