"""blkparse's text in its default format: a request for each Q, or for each D where there is no Q.

    8,0    3        1     0.000000000   697  Q   W 223490 + 8 [kjournald]

Times are those of the file: since the first event that blktrace took. The summary at the end is not read but for events
that it says were lost.
"""

import re
from collections.abc import Iterator

from iosim.model.errors import shown
from iosim.traces.reading import Reading
from iosim.traces.rwbs import KINDS, BlockRequests
from iosim.traces.source import Block
from iosim.traces.table import TraceTable

EMPTY = "has no requests (Q, D or I events)"
LINE = re.compile(
    rb"\s*(\d+,\d+)\s+\d+\s+\d+\s+(\d{1,9})\.(\d{9})\s+\d+\s+([A-Za-z]{1,2})\s+([A-Z]+)"
    rb"(?: (\d{1,20}) \+ (\d{1,10})(?: \(\s*\d+\))?| (\d+ \(.*\)))? \[.*\]"
)
"""An event: device, seconds, nanoseconds, action, flags, first sector and sectors, or a SCSI command."""
_NO_REQUEST = re.compile(rb"\s*\d+,\d+\s+\d+\s+\d+\s+\d+\.\d{9}\s+\d+\s+([A-Za-z]{1,2})(?:\s.*)?")
_BEGIN_OF_SUMMARY = re.compile(rb"(?:CPU\d+|Total) \(.*\):|Throughput \(R/W\): .*|Events \(.*\): \d+ entries")
_SKIPS = re.compile(rb"Skips: (\d{1,18}) forward \((\d{1,18}) -\s+[\d.]+%\)")
_INPUT = re.compile(rb"Input file .* added")
_LOOK = re.compile(rb"^\s*\d+,\d+\s+\d+\s+\d+\s+\d+\.\d{9}\s+\d+\s+[A-Z]{1,2}\s", re.MULTILINE)


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of blkparse."""
    return _LOOK.search(head) is not None


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one device. Refuses discards and other requests without a place in a trace."""
    requests = BlockRequests(reading)
    summary = _Summary(reading)
    for block in reading.source.blocks():
        _add(block, requests, summary, reading)
        yield TraceTable.of_rows(requests.taken())


class _Summary:
    """What blkparse prints behind the events."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._begun = False

    def take(self, number: int, line: bytes) -> bool:
        """Tell whether the line belongs to the summary; refuses it if it tells of lost events."""
        skips = _SKIPS.fullmatch(line)
        if skips is not None and int(skips[1]):
            self._reading.refuse(number, "no events may be lost, as blkparse says they were", f"{int(skips[2]):,}")
            return True
        self._begun = self._begun or _BEGIN_OF_SUMMARY.fullmatch(line) is not None
        if self._begun or not line or line.startswith(b"#") or _INPUT.fullmatch(line):
            self._reading.beside["summary, comment or blank line"] += 1
            return True
        return False


def _add(block: Block, requests: BlockRequests, summary: _Summary, reading: Reading) -> None:
    for number, line in enumerate(block.text.replace(b"\r\n", b"\n").split(b"\n")[:-1], start=block.first):
        match = LINE.fullmatch(line)
        if match is None:
            other = _NO_REQUEST.fullmatch(line)
            if other is not None and other[1].decode() not in KINDS:
                reading.beside[f"event {other[1].decode()}"] += 1
            elif not summary.take(number, line.strip()):
                reading.refuse(number, "a line must be of blkparse", shown(line.decode("utf-8", "backslashreplace")))
            continue
        device, seconds, ns, action, rwbs, sector, sectors, command = match.groups()
        kind = action.decode()
        if kind not in KINDS:
            reading.beside[f"event {kind}"] += 1
            continue
        if command:
            reading.beside["SCSI command passed through"] += 1
            continue
        at_ns = int(seconds) * 1_000_000_000 + int(ns)
        requests.add(device.decode(), kind, rwbs.decode(), int(sector or 0), int(sectors or 0), at_ns, number)
