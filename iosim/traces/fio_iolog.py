"""fio's iolog (``write_iolog``), versions 2 and 3: one action of a file on a line, offset and length in bytes.

    /path/y.img read 0 4096              version 2; ``wait`` lines have the microseconds between
    156 /path/y.img read 0 4096          version 3; microseconds since the begin

A device is a file. In version 2 the time of an action is the sum of the waits before it; fio itself writes none, then
all requests are at 0, and only a closed replay makes sense.
"""

import re
from collections.abc import Iterator

from iosim.model.errors import TraceError, shown
from iosim.model.trace import OPS
from iosim.model.units import SECTOR_BYTES
from iosim.traces.reading import Reading
from iosim.traces.source import Block
from iosim.traces.table import TraceTable

_HEADER = re.compile(rb"\s*fio version (\d{1,4}) iolog\s*")
_ACTIONS = {
    b"read": OPS.index("R"),
    b"write": OPS.index("W"),
    b"sync": OPS.index("F"),
    b"datasync": OPS.index("F"),
}
_OF_THE_FILE = (b"add", b"open", b"close")
_FLUSH = OPS.index("F")
_MOST_DIGITS = 18


def fits(head: bytes) -> bool:
    """Tell whether *head* begins with the first line of an iolog."""
    return _HEADER.fullmatch(head.split(b"\n", 1)[0]) is not None


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of one file. Raises TraceError for another version."""
    header = _HEADER.fullmatch(reading.source.head.split(b"\n", 1)[0])
    if header is None or int(header[1]) not in (2, 3):
        first = reading.source.head.split(b"\n", 1)[0].decode("utf-8", "backslashreplace")
        raise TraceError(f"{reading.path}:1: the first line must be fio version 2 iolog, or 3, got {shown(first)}")
    log = _Log(int(header[1]), reading)
    for block in reading.source.blocks():
        yield log.table(block)


class _Log:
    """The actions of a log in order."""

    def __init__(self, version: int, reading: Reading) -> None:
        self._version = version
        self._reading = reading
        self._now_us = 0

    def table(self, block: Block) -> TraceTable:
        rows = []
        for number, line in enumerate(block.text.split(b"\n")[:-1], start=block.first):
            words = line.split()
            if number == 1 or not words:
                continue
            row = self._row(number, line, words)
            if row is not None:
                rows.append(row)
        return TraceTable.of_rows(rows)

    def _row(self, number: int, line: bytes, words: list[bytes]) -> tuple[int, int, int, int, int] | None:
        numbers = words[2:] if self._version == 2 else [words[0], *words[3:]]
        at = 0 if self._version == 2 else 1
        action = words[at + 1] if len(words) > at + 1 else b""
        n = 0 if action in _OF_THE_FILE else 2
        if len(words) != at + 2 + n or not all(word.isdigit() and len(word) <= _MOST_DIGITS for word in numbers):
            form = "file action offset length"
            rule = f"a line must be {form if at == 0 else f'microseconds {form}'}"
            self._reading.refuse(number, rule, shown(line.decode("utf-8", "backslashreplace")))
            return None
        if at:
            self._now_us = int(words[0])
        if n == 0:
            self._reading.beside[f"file {action.decode()}"] += 1
            return None
        return self._request(number, words[at].decode("utf-8", "backslashreplace"), action, *map(int, words[at + 2 :]))

    def _request(
        self, number: int, file: str, action: bytes, offset: int, length: int
    ) -> tuple[int, int, int, int, int] | None:
        if action == b"wait" and self._version == 2:
            self._now_us += offset
            self._reading.beside["wait"] += 1
            return None
        if action not in _ACTIONS:
            rule = "an action must be read, write, sync or datasync"
            self._reading.refuse(number, rule, shown(action.decode("utf-8", "backslashreplace")))
            return None
        if not self._reading.takes(file):
            return None
        if _ACTIONS[action] == _FLUSH:
            return self._now_us * 1000, _FLUSH, 0, 0, number
        for name, value in (("offset", offset), ("length", length)):
            if value % SECTOR_BYTES:
                self._reading.refuse(number, f"{name} must be a multiple of {SECTOR_BYTES} bytes", f"{value}")
                return None
        return self._now_us * 1000, _ACTIONS[action], offset // SECTOR_BYTES, length // SECTOR_BYTES, number
