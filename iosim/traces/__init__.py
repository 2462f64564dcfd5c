"""Traces: readers that yield the canonical table, checks, and what a trace is like."""

from iosim.traces.reader import read_trace
from iosim.traces.table import TraceTable, to_trace

__all__ = ["TraceTable", "read_trace", "to_trace"]
