"""fio's logs of single requests (``write_lat_log``, ``write_bw_log``, ``write_iops_log``, with ``log_offset=1``).

    9, 3882225, 0, 4096, 774144, 0

Milliseconds since the begin at which the request was done, a value, 0 for a read and 1 for a write, bytes, offset in
bytes, priority, and, with log_issue_time, the nanoseconds since the begin at which it was issued. Nothing in the file
says what the value is, so the format must be named: fio-lat, latencies in nanoseconds; fio-bw, anything else.

A request arrives when it was issued; else, if its latency is known, that long before it was done, taken to be in the
middle of its millisecond, in whole milliseconds and not before 0; else when it was done. Such a log has no flushes.
"""

import re
from collections.abc import Iterator
from functools import partial

import numpy as np

from iosim.model.errors import TraceError, shown
from iosim.traces.cells import Ints, choice, ignored, time, whole
from iosim.traces.columns import Layout, Rows
from iosim.traces.reading import Reading
from iosim.traces.requests import READ, WRITE, in_sectors, table, without
from iosim.traces.table import TraceTable

_TRIM = 2
_COLUMNS = (
    time("time", 1_000_000, "milliseconds"),
    whole("value", 62),
    choice("direction", {" 0": READ, " 1": WRITE, " 2": _TRIM, "0": READ, "1": WRITE, "2": _TRIM}, "0, 1 or 2"),
    whole("block size", 57),
    whole("offset", 57),
    ignored("priority"),
    time("issue time", 1, "nanoseconds"),
)
_LOOK = re.compile(rb"^\d+, \d+, [012], \d+(?:, (?:0x)?[0-9a-fA-F]+){0,3}\r?$", re.MULTILINE)
_MS = 1_000_000


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of such a log."""
    return _LOOK.search(head) is not None


def _read(latencies: bool, reading: Reading) -> Iterator[TraceTable]:
    first = reading.source.head.split(b"\n", 1)[0].decode("utf-8", "backslashreplace").strip()
    n = first.count(",") + 1
    if n not in (6, 7):
        rule = "a line must have an offset and a priority (fio: log_offset=1; before 3.20 there is no priority)"
        raise TraceError(f"{reading.path}:1: {rule}, got {shown(first)}")
    for rows in Layout(_COLUMNS[:n]).rows(reading):
        rows = without(rows, reading, rows["direction"] == _TRIM, "a request must be a read or write", "direction")
        empty = rows["block size"] == 0
        rule = "a line must be of one request, not of a time window (log_avg_msec)"
        rows = without(rows, reading, empty, rule, "block size", "block size {}")
        rows = in_sectors(rows, reading, "offset", "block size")
        yield table(_arrivals(rows, latencies), rows, "direction", "offset", "block size")


def _arrivals(rows: Rows, latencies: bool) -> Ints:
    if "issue time" in rows.columns:
        return np.asarray(rows["issue time"])
    if not latencies:
        return np.asarray(rows["time"])
    return np.asarray(np.maximum((rows["time"] + _MS // 2 - rows["value"]) // _MS * _MS, 0))


read_latencies = partial(_read, True)
read_others = partial(_read, False)
