"""QEMU's own trace log (``-trace``), and the text of its simpletrace.py.

Lines need a time stamp: ``TID@SEC.USEC:event ...`` (always in 2.12 to 5.1; with ``-msg timestamp=on`` up to 10.0), or
``2026-01-05T10:11:12.123456Z event ...`` (with that option in 10.2), or simpletrace.py's microseconds since the event
before: ``event 12.500 pid=812 addr=0x1f7 ...``.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from iosim.model.errors import shown
from iosim.model.units import MAX_NS
from iosim.traces.qemu_events import LOG_ARGUMENTS, SIMPLETRACE_ARGUMENTS, DiskEvents
from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable

EMPTY = "has no read, write or flush command (ide_ioport_write to 0x1f7 or 0x177, virtio_blk_handle_*)"

_STAMP = rb"\[?(?P<tid>\d{1,10})@(?P<sec>\d{1,18})\.(?P<usec>\d{6}):"
_ISO = rb"(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)) "
_LINE = re.compile(rb"(?:" + _STAMP + rb"|" + _ISO + rb")?(?P<event>[a-z_0-9]+)(?: (?P<rest>.*)|\Z)", re.DOTALL)
_STAMPED = re.compile(rb"\[?\d+@\d|\d{4}-\d\d-\d\dT")
_SIMPLE = re.compile(rb"(?P<event>[a-z_0-9]+) (?P<delta>-?\d{1,15}\.\d{3})(?: pid=\d+)?(?: |\Z)(?P<rest>.*)")
_KNOWN = rb"(?:ide_|bmdma_|virtio_blk_)[a-z_]+ "
_LOOK = re.compile(rb"^(?:" + _STAMP + rb"|" + _ISO + rb")?" + _KNOWN, re.MULTILINE)
_SIMPLE_LOOK = re.compile(rb"^" + _KNOWN + rb"-?\d+\.\d{3}(?: |$)", re.MULTILINE)


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of a QEMU log with events of a disk."""
    return _LOOK.search(head) is not None and not fits_simple(head)


def fits_simple(head: bytes) -> bool:
    """Tell whether *head* has a line of simpletrace.py with an event of a disk."""
    return _SIMPLE_LOOK.search(head) is not None


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests that the log shows. Times begin at 0 with the first event of the log.

    Refuses events without time stamps, and events of a disk that cannot be read.
    """
    disk = DiskEvents(reading)
    beside = reading.beside
    first_ns: int | None = None
    for block in reading.source.blocks():
        for number, line in enumerate(block.text.replace(b"\r\n", b"\n").split(b"\n")[:-1], start=block.first):
            match = _LINE.match(line)
            if match is None:
                if _STAMPED.match(line):
                    reading.refuse(number, "a stamp must be followed by an event", _text(line))
                elif line:
                    beside["other text"] += 1
                continue
            tid, sec, usec, iso, event, rest = match.groups()
            handle = disk.handlers.get(event)
            if tid is None and iso is None:
                if handle is None:
                    beside["other text"] += 1
                else:
                    reading.refuse(number, "the log has no time stamps (QEMU: -msg timestamp=on)")
                continue
            at_ns = _iso_ns(iso) if iso is not None else int(sec) * 1_000_000_000 + int(usec) * 1000
            if at_ns is None:
                reading.refuse(number, "a stamp must be a date and a time", _text(iso))
                continue
            if first_ns is None:
                first_ns = at_ns
            if handle is None:
                beside[event.decode()] += 1
                continue
            arguments = LOG_ARGUMENTS[event].fullmatch(rest or b"")
            if arguments is None:
                reading.refuse(number, f"is no {event.decode()} as QEMU prints it", _text(line))
            elif abs(at_ns - first_ns) >= MAX_NS:
                reading.refuse(number, "time must be below 146 years", _text(line))
            else:
                handle(arguments, at_ns - first_ns, number)
        yield TraceTable.of_rows(disk.rows)
        disk.rows.clear()


def read_simple(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests that a text of simpletrace.py shows; its times are since the record before."""
    disk = DiskEvents(reading)
    at_ns = 0
    for block in reading.source.blocks():
        for number, line in enumerate(block.text.replace(b"\r\n", b"\n").split(b"\n")[:-1], start=block.first):
            match = _SIMPLE.fullmatch(line)
            if match is None:
                if line.strip():
                    reading.refuse(number, "a line must be an event, microseconds and arguments", _text(line))
                continue
            event, delta, rest = match["event"], match["delta"], match["rest"]
            at_ns += int(Decimal(delta.decode()) * 1000)
            handle = disk.handlers.get(event)
            if handle is None:
                reading.beside[event.decode()] += 1
                continue
            arguments = SIMPLETRACE_ARGUMENTS[event].fullmatch(rest)
            if arguments is None:
                reading.refuse(number, f"is no {event.decode()} as simpletrace.py prints it", _text(line))
            elif abs(at_ns) >= MAX_NS:
                reading.refuse(number, "time must be below 146 years", _text(line))
            else:
                handle(arguments, at_ns, number)
        yield TraceTable.of_rows(disk.rows)
        disk.rows.clear()


def _iso_ns(text: bytes) -> int | None:
    """Return the nanoseconds since 1970, None for a stamp that is no date and time."""
    whole, _, rest = text.partition(b".")
    digits = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
    second = _second(whole[:19], rest[len(digits) :] if rest else whole[19:])
    return None if second is None else second * 1_000_000_000 + int(digits.ljust(9, b"0"))


@lru_cache(maxsize=64)
def _second(text: bytes, zone: bytes) -> int | None:
    try:
        moment = datetime.fromisoformat(text.decode() + zone.decode().replace("Z", "+00:00"))
    except ValueError:
        return None
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


def _text(line: bytes) -> str:
    return shown(line.decode("utf-8", "backslashreplace"))
