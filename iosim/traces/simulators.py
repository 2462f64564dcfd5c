"""Input of other tools: five columns of numbers, which nothing in the file tells apart. They need --format.

disksim: ``13.191135 30 0 5 1``: ms, device, block, blocks, flags with bit 0 set for a read (DiskSim's ascii format).
mqsim: ``938513000 4 264719034 16 0``: ns, device, sector, sectors, 1 for a read and 0 for a write (MQSim, SSDsim).
heimdall: ``223.412 0 3159347200 36864 0``: ms, device, bytes, bytes, 1 for a read and 0 for a write (the replayer of
LinnOS and Heimdall).
"""

import re
from collections.abc import Iterator

import numpy as np

from iosim.traces.cells import choice, text, time, whole
from iosim.traces.columns import Layout
from iosim.traces.reading import Reading
from iosim.traces.requests import READ, WRITE, in_sectors, of_device, table
from iosim.traces.table import TraceTable

_FLAG = choice("type", {"1": READ, "0": WRITE}, "0 or 1")
_DISKSIM = Layout(
    (time("time", 1_000_000, "milliseconds"), text("device"), whole("block"), whole("blocks"), whole("flags")),
    delimiter=" ",
)
_MQSIM = Layout((time("time", 1, "nanoseconds"), text("device"), whole("LBA"), whole("sectors"), _FLAG), delimiter=" ")
_HEIMDALL = Layout(
    (
        time("time", 1_000_000, "milliseconds"),
        text("device"),
        whole("offset", 57),
        whole("size", 57),
        _FLAG,
    ),
    delimiter=" ",
)
_LOOK = re.compile(rb"^[ \t]*\d+(?P<point>\.\d+)?[ \t]+\d+[ \t]+\d+[ \t]+\d+[ \t]+\d+[ \t]*\r?$", re.MULTILINE)


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of five numbers."""
    return _LOOK.search(head) is not None


def fits_whole(head: bytes) -> bool:
    """Tell whether *head* has a line of five numbers, all of them whole."""
    match = _LOOK.search(head)
    return match is not None and match["point"] is None


def read_disksim(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one device, at the times of the file."""
    for rows in _DISKSIM.rows(reading):
        rows = of_device(rows, reading, ("device",))
        rows = rows.with_columns({"op": np.where(rows["flags"] & 1, READ, WRITE)})
        yield table(rows["time"], rows, "op", "block", "blocks")


def read_mqsim(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one device, at the times of the file."""
    for rows in _MQSIM.rows(reading):
        rows = of_device(rows, reading, ("device",))
        yield table(rows["time"], rows, "type", "LBA", "sectors")


def read_heimdall(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one device, at the times of the file."""
    for rows in _HEIMDALL.rows(reading):
        rows = in_sectors(of_device(rows, reading, ("device",)), reading, "offset", "size")
        yield table(rows["time"], rows, "type", "offset", "size")
