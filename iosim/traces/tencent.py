"""Tencent CBS: ``timestamp,offset,size,io type,volume id``.

The time is in whole seconds since 1970, so all requests of a second arrive together. Offset and size are in sectors of
512 bytes; io type 0 is a read, 1 a write.
"""

import re
from collections.abc import Iterator

from iosim.traces.cells import choice, text, time, whole
from iosim.traces.columns import Layout
from iosim.traces.reading import Reading
from iosim.traces.requests import READ, WRITE, Origin, of_device, table
from iosim.traces.table import TraceTable

_LAYOUT = Layout(
    (
        time("timestamp", 1_000_000_000, "seconds"),
        whole("offset"),
        whole("size"),
        choice("io type", {"0": READ, "1": WRITE}, "0 or 1"),
        text("volume id"),
    )
)
_LOOK = re.compile(rb"^\d{10},\d+,\d+,[01],\d+\r?$", re.MULTILINE)


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of such a trace."""
    return _LOOK.search(head) is not None


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one volume. Times begin at 0 with the first line."""
    reading.notes.append("times are in whole seconds: the requests of a second arrive together")
    origin = Origin()
    for rows in _LAYOUT.rows(reading):
        rows = rows.with_columns({"timestamp": origin.since(rows["timestamp"])})
        rows = of_device(rows, reading, ("volume id",))
        yield table(rows["timestamp"], rows, "io type", "offset", "size")
