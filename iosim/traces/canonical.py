"""The canonical CSV: ``time_us,op,sector,sectors``; times in decimal microseconds, R, W or F, units of 512 bytes."""

from collections.abc import Iterator

import numpy as np

from iosim.model.errors import TraceError, shown
from iosim.model.trace import OPS
from iosim.traces.cells import choice, time, whole
from iosim.traces.columns import Layout, Rows
from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable

HEADER = "time_us,op,sector,sectors"
COLUMNS = HEADER.split(",")
LAYOUT = Layout(
    (
        time("time_us", 1000, "microseconds", exact=True),
        choice("op", {op: code for code, op in enumerate(OPS)}, "R, W or F"),
        whole("sector"),
        whole("sectors"),
    ),
    header=lambda line: line == HEADER,
    blank=False,
    utf8=True,
)


def fits(head: bytes) -> bool:
    """Tell whether the first line of *head* has the header in it."""
    return HEADER.encode() in head.split(b"\n", 1)[0]


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the table of the file. Raises TraceError for a wrong header."""
    first = reading.source.head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].rstrip(b"\r")
    if first != HEADER.encode():
        got = shown(first.decode("utf-8", "backslashreplace").strip())
        raise TraceError(f"{reading.path}:1: the header must be {HEADER}, got {got}")
    for rows in LAYOUT.rows(reading):
        yield as_table(rows)


def as_table(rows: Rows) -> TraceTable:
    """Return *rows*, which have the columns of the canonical CSV."""
    return TraceTable(rows["time_us"], rows["op"].astype(np.uint8), rows["sector"], rows["sectors"], rows.lines)
