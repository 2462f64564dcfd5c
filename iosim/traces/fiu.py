"""FIU traces (SNIA: SRCMap, IODedup): ``89968195792462 20782 gzip 283193184 8 R 6 0 56f11b71...``.

Nanoseconds, process, its name, sector, sectors of 512 bytes, R or W, major and minor number of the device, hash.
"""

import re
from collections.abc import Iterator

from iosim.traces.cells import choice, ignored, text, time, whole
from iosim.traces.columns import Layout
from iosim.traces.reading import Reading
from iosim.traces.requests import READ, WRITE, Origin, of_device, table
from iosim.traces.table import TraceTable

_LAYOUT = Layout(
    (
        time("time", 1, "nanoseconds"),
        ignored("process"),
        ignored("name"),
        whole("sector"),
        whole("sectors"),
        choice("operation", {"R": READ, "W": WRITE}, "R or W"),
        text("major"),
        text("minor"),
        ignored("hash"),
    ),
    delimiter=" ",
)
_LOOK = re.compile(rb"^\d+ \d+ \S+ \d+ \d+ [RW] \d+ \d+ [0-9a-f]{32}\r?$", re.MULTILINE)


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of such a trace."""
    return _LOOK.search(head) is not None


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one device. Times begin at 0 with the first line."""
    origin = Origin()
    for rows in _LAYOUT.rows(reading):
        rows = rows.with_columns({"time": origin.since(rows["time"])})
        rows = of_device(rows, reading, ("major", "minor"), "{},{}")
        yield table(rows["time"], rows, "operation", "sector", "sectors")
