"""SPC format (UMass repository: Financial, WebSearch): ``ASU,LBA,size,opcode,timestamp``.

LBA is in sectors of 512 bytes, the size in bytes, the time in seconds since the begin. A device is an ASU (application
specific unit).
"""

import re
from collections.abc import Iterator

from iosim.traces.cells import choice, text, time, whole
from iosim.traces.columns import Layout
from iosim.traces.reading import Reading
from iosim.traces.requests import READ, WRITE, in_sectors, of_device, table
from iosim.traces.table import TraceTable

_LAYOUT = Layout(
    (
        text("ASU"),
        whole("LBA"),
        whole("size", 57),
        choice("opcode", {"R": READ, "r": READ, "W": WRITE, "w": WRITE}, "R or W"),
        time("timestamp", 1_000_000_000, "seconds"),
    )
)
_LOOK = re.compile(rb"^\d+,\d+,\d+,[RWrw],\d+\.\d+\r?$", re.MULTILINE)


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of such a trace."""
    return _LOOK.search(head) is not None


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one ASU, at the times of the file."""
    for rows in _LAYOUT.rows(reading):
        rows = in_sectors(of_device(rows, reading, ("ASU",)), reading, "size")
        yield table(rows["timestamp"], rows, "opcode", "LBA", "size")
