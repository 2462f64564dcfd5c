"""Alibaba block traces of 2020, ``io_traces.csv``: ``device_id,opcode,offset,length,timestamp``.

Offset and length are in bytes, the time in microseconds since 1970.
"""

import re
from collections.abc import Iterator

from iosim.traces.cells import choice, text, time, whole
from iosim.traces.columns import Layout
from iosim.traces.reading import Reading
from iosim.traces.requests import READ, WRITE, Origin, in_sectors, of_device, table
from iosim.traces.table import TraceTable

_LAYOUT = Layout(
    (
        text("device_id"),
        choice("opcode", {"R": READ, "W": WRITE}, "R or W"),
        whole("offset", 57),
        whole("length", 57),
        time("timestamp", 1000, "microseconds"),
    ),
    header=lambda line: line.startswith("device_id,"),
)
_LOOK = re.compile(rb"^\d+,[RW],\d+,\d+,\d{16}\r?$", re.MULTILINE)


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of such a trace."""
    return _LOOK.search(head) is not None


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one device. Times begin at 0 with the first line."""
    origin = Origin()
    for rows in _LAYOUT.rows(reading):
        rows = rows.with_columns({"timestamp": origin.since(rows["timestamp"])})
        rows = in_sectors(of_device(rows, reading, ("device_id",)), reading, "offset", "length")
        yield table(rows["timestamp"], rows, "opcode", "offset", "length")
