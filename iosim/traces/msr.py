"""MSR Cambridge (SNIA): ``Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime``.

Timestamps count 100 ns since 1601 (Windows' filetime); offset and size are in bytes. A device is host and disk, as in
the names of the files: ``hm_0``.
"""

import re
from collections.abc import Iterator

import numpy as np

from iosim.model.units import MAX_NS
from iosim.traces.cells import choice, ignored, text, whole
from iosim.traces.columns import Layout
from iosim.traces.reading import Reading
from iosim.traces.requests import READ, WRITE, Origin, in_sectors, of_device, table, without
from iosim.traces.table import TraceTable

_OPS = {"Read": READ, "Write": WRITE, "read": READ, "write": WRITE}
_LAYOUT = Layout(
    (
        whole("timestamp", 62),
        text("host"),
        text("disk"),
        choice("type", _OPS, "Read or Write"),
        whole("offset", 57),
        whole("size", 57),
        ignored("response time"),
    ),
    header=lambda line: line.lower().startswith("timestamp,"),
)
_LOOK = re.compile(rb"^\d{17,18},[^,\s]+,\d+,(?:Read|Write|read|write),\d+,\d+,-?\d+\r?$", re.MULTILINE)
_TICK_NS = 100


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of such a trace."""
    return _LOOK.search(head) is not None


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one disk. Times begin at 0 with the first line."""
    origin = Origin()
    for rows in _LAYOUT.rows(reading):
        rows = rows.with_columns({"timestamp": origin.since(rows["timestamp"])})
        far = np.abs(rows["timestamp"]) >= MAX_NS // _TICK_NS
        rows = without(rows, reading, far, "time must be below 146 years", "timestamp", "{} ticks after the first")
        rows = in_sectors(of_device(rows, reading, ("host", "disk"), "{}_{}"), reading, "offset", "size")
        yield table(rows["timestamp"] * _TICK_NS, rows, "type", "offset", "size")
