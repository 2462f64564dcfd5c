"""QEMU's own trace log (``-trace`` with the log back end): ide_* and virtio_blk_* events to requests with times.

IDE: the register writes are decoded as the device decodes them. A request's time is that of its first task-file write,
or of the command if the log holds no other register.

virtio-blk: a request's time is that of the notification that made QEMU take it from the ring, or, for the second and
further ones of a notification, of their own virtio_blk_handle_* event. QEMU has no event for a flush: what completes
and was neither read nor written was one, and its time is that of the notification that no other request claimed.

Lines need a time stamp: ``TID@SEC.USEC:event ...`` (always in 2.12 to 5.1; with ``-msg timestamp=on`` up to 10.0), or
``2026-01-05T10:11:12.123456Z event ...`` (with that option in 10.2), or simpletrace.py's microseconds since the event
before.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from iosim.model.errors import shown
from iosim.model.trace import OPS
from iosim.model.units import MAX_NS
from iosim.traces.ata import COMMAND, Channel
from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable

EMPTY = "has no read, write or flush command (ide_ioport_write to 0x1f7 or 0x177, virtio_blk_handle_*)"

_STAMP = rb"\[?(?P<tid>\d+)@(?P<sec>\d+)\.(?P<usec>\d{6}):"
_ISO = rb"(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)) "
_LINE = re.compile(rb"(?:" + _STAMP + rb"|" + _ISO + rb")?(?P<event>[a-z_0-9]+)(?: (?P<rest>.*)|\Z)", re.DOTALL)
_STAMPED = re.compile(rb"\[?\d+@\d|\d{4}-\d\d-\d\dT")
_SIMPLE = re.compile(rb"(?P<event>[a-z_0-9]+) (?P<delta>-?\d+\.\d{3})(?: pid=\d+)?(?: |\Z)(?P<rest>.*)")
_KNOWN = rb"(?:ide_|bmdma_|virtio_blk_)[a-z_]+ "
_LOOK = re.compile(rb"^(?:" + _STAMP + rb"|" + _ISO + rb")?" + _KNOWN, re.MULTILINE)
_SIMPLE_LOOK = re.compile(rb"^" + _KNOWN + rb"-?\d+\.\d{3}(?: |$)", re.MULTILINE)

_POINTER = rb"(?:0x)?[0-9a-f]+"
_ARGUMENTS = {
    b"ide_ioport_write": rb"IDE PIO wr @ 0x([0-9a-f]+) \([^)]*\); val 0x([0-9a-f]+); bus ("
    + _POINTER
    + rb") IDEState .*",
    b"ide_ctrl_write": rb"IDE PIO wr @ 0x([0-9a-f]+) \([^)]*\); val 0x([0-9a-f]+); bus (" + _POINTER + rb").*",
    b"virtio_queue_notify": rb"vdev (" + _POINTER + rb") n \d+ vq .*",
    b"virtio_blk_handle_read": rb"(?:vdev (\S+) )?req (\S+) sector (\d+) nsectors (\d+)",
    b"virtio_blk_rw_complete": rb"(?:vdev (\S+) )?req (\S+) ret (-?\d+)",
    b"virtio_blk_req_complete": rb"(?:vdev (\S+) )?req (\S+) status (\d+)",
}
_SIMPLE_ARGUMENTS = {
    b"ide_ioport_write": rb"addr=0x([0-9a-f]+) .*val=0x([0-9a-f]+) bus=(0x[0-9a-f]+) .*",
    b"ide_ctrl_write": rb"addr=0x([0-9a-f]+) val=0x([0-9a-f]+) bus=(0x[0-9a-f]+).*",
    b"virtio_queue_notify": rb"vdev=(\S+) n=\S+ vq=\S+",
    b"virtio_blk_handle_read": rb"(?:vdev=(\S+) )?req=(\S+) sector=(\S+) nsectors=(\S+)",
    b"virtio_blk_rw_complete": rb"(?:vdev=(\S+) )?req=(\S+) ret=(\S+)",
    b"virtio_blk_req_complete": rb"(?:vdev=(\S+) )?req=(\S+) status=(\S+)",
}
_SAME = {b"ide_cmd_write": b"ide_ctrl_write", b"virtio_blk_handle_write": b"virtio_blk_handle_read"}
"""Events with the arguments of another one: the older name, and the other direction."""


def _compiled(patterns: dict[bytes, bytes]) -> dict[bytes, re.Pattern[bytes]]:
    compiled = {event: re.compile(pattern) for event, pattern in patterns.items()}
    return compiled | {event: compiled[other] for event, other in _SAME.items()}


_LOG, _SIMPLE_LOG = _compiled(_ARGUMENTS), _compiled(_SIMPLE_ARGUMENTS)
_BASES = {0x1F0: "0x1f0", 0x170: "0x170"}
_UNITS = ("master", "slave")
_UNSUPPORTED = 2
"""VIRTIO_BLK_S_UNSUPP"""


def fits(head: bytes) -> bool:
    """Tell whether *head* has a line of a QEMU log with events of a disk."""
    return _LOOK.search(head) is not None and not fits_simple(head)


def fits_simple(head: bytes) -> bool:
    """Tell whether *head* has a line of simpletrace.py with an event of a disk."""
    return _SIMPLE_LOOK.search(head) is not None


@dataclass
class _Ring:
    """A virtio-blk device: notifications and requests that have not met yet."""

    kick_ns: int | None = None
    unclaimed: deque[int] = field(default_factory=lambda: deque(maxlen=65_536))
    taken: set[bytes] = field(default_factory=set)
    last_kick_ns: int | None = None


class _Decoder:
    """Events in, requests out."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._channels: dict[str, Channel] = {}
        self._rings: dict[bytes, _Ring] = {}
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.handlers = {
            b"ide_ioport_write": self._ide_ioport_write,
            b"ide_ctrl_write": self._ide_ctrl_write,
            b"ide_cmd_write": self._ide_ctrl_write,
            b"virtio_queue_notify": self._notify,
            b"virtio_blk_handle_read": self._read,
            b"virtio_blk_handle_write": self._write,
            b"virtio_blk_rw_complete": self._rw_complete,
            b"virtio_blk_req_complete": self._req_complete,
        }

    def _ide_ioport_write(self, match: re.Match[bytes], at_ns: int, line: int) -> None:
        port, value = int(match[1], 16), int(match[2], 16)
        name, channel = self._channel(port & ~7, match[3])
        if port & 7 != COMMAND:
            channel.register(port & 7, value, at_ns)
            return
        command = channel.command(value, at_ns, line)
        if command is not None and self._reading.takes(f"{name} {_UNITS[command.unit]}"):
            self.rows.append((command.begun_ns, command.op, command.sector, command.sectors, line))

    def _ide_ctrl_write(self, match: re.Match[bytes], at_ns: int, line: int) -> None:
        port = int(match[1], 16)
        base = {0x3F6: 0x1F0, 0x376: 0x170}.get(port, 0)
        self._channel(base, match[3])[1].control(int(match[2], 16))

    def _channel(self, base: int, bus: bytes) -> tuple[str, Channel]:
        """Return the channel of legacy ports, or of a bus that shows only the number of a register."""
        name = _BASES.get(base) or f"bus {bus.decode()}"
        if name not in self._channels:
            self._channels[name] = Channel(self._reading.refuse, lambda what: self._reading.beside.update([what]))
        return name, self._channels[name]

    def _ring(self, vdev: bytes | None) -> _Ring:
        return self._rings.setdefault(vdev or b"", _Ring())

    def _notify(self, match: re.Match[bytes], at_ns: int, line: int) -> None:
        ring = self._ring(match[1])
        if ring.kick_ns is not None:
            ring.unclaimed.append(ring.kick_ns)
        ring.kick_ns = ring.last_kick_ns = at_ns

    def _read(self, match: re.Match[bytes], at_ns: int, line: int) -> None:
        self._handle("R", match, at_ns, line)

    def _write(self, match: re.Match[bytes], at_ns: int, line: int) -> None:
        self._handle("W", match, at_ns, line)

    def _handle(self, op: str, match: re.Match[bytes], at_ns: int, line: int) -> None:
        ring = self._ring(match[1])
        ring.taken.add(match[2])
        begun_ns = at_ns if ring.kick_ns is None else ring.kick_ns
        ring.kick_ns = None
        if self._reading.takes(self._name(match[1])):
            self.rows.append((begun_ns, OPS.index(op), int(match[3], 0), int(match[4], 0), line))

    def _rw_complete(self, match: re.Match[bytes], at_ns: int, line: int) -> None:
        self._ring(match[1]).taken.add(match[2])

    def _req_complete(self, match: re.Match[bytes], at_ns: int, line: int) -> None:
        ring = self._ring(match[1])
        if match[2] in ring.taken:
            ring.taken.remove(match[2])
            return
        if ring.unclaimed:
            begun_ns = ring.unclaimed.popleft()
        else:
            begun_ns = at_ns if ring.last_kick_ns is None else ring.last_kick_ns
            ring.kick_ns = None
        if int(match[3], 0) == _UNSUPPORTED:
            self._reading.beside["virtio request that the device does not support"] += 1
        elif self._reading.takes(self._name(match[1])):
            self.rows.append((begun_ns, OPS.index("F"), 0, 0, line))

    @staticmethod
    def _name(vdev: bytes | None) -> str:
        return f"vdev {vdev.decode('ascii', 'backslashreplace')}" if vdev else "virtio-blk"


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests that the log shows. Times begin at 0 with the first event of the log.

    Refuses events without time stamps, and events of a disk that cannot be read.
    """
    decoder = _Decoder(reading)
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
            if tid is not None:
                at_ns = int(sec) * 1_000_000_000 + int(usec) * 1000
            elif iso is not None:
                at_ns = _iso_ns(iso)
            else:
                if event in decoder.handlers:
                    reading.refuse(number, "the log has no time stamps (QEMU: -msg timestamp=on)")
                else:
                    beside["other text"] += 1
                continue
            if first_ns is None:
                first_ns = at_ns
            handle = decoder.handlers.get(event)
            if handle is None:
                beside[event.decode()] += 1
                continue
            arguments = _LOG[event].fullmatch(rest or b"")
            if arguments is None:
                reading.refuse(number, f"is no {event.decode()} as QEMU prints it", _text(line))
                continue
            if abs(at_ns - first_ns) >= MAX_NS:
                reading.refuse(number, "time must be below 146 years", f"{shown(sec.decode())} s")
                continue
            handle(arguments, at_ns - first_ns, number)
        yield TraceTable.of_rows(decoder.rows)
        decoder.rows.clear()


def read_simple(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests that a text of simpletrace.py shows; its times are since the record before."""
    decoder = _Decoder(reading)
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
            handle = decoder.handlers.get(event)
            if handle is None:
                reading.beside[event.decode()] += 1
                continue
            arguments = _SIMPLE_LOG[event].fullmatch(rest)
            if arguments is None:
                reading.refuse(number, f"is no {event.decode()} as simpletrace.py prints it", _text(line))
                continue
            handle(arguments, at_ns, number)
        yield TraceTable.of_rows(decoder.rows)
        decoder.rows.clear()


def _iso_ns(text: bytes) -> int:
    whole, _, rest = text.partition(b".")
    digits = re.match(rb"\d*", rest)
    assert digits is not None
    zone = rest[digits.end() :] if rest else whole[19:]
    return _second(whole[:19], zone) * 1_000_000_000 + int(digits[0].ljust(9, b"0"))


@lru_cache(maxsize=64)
def _second(text: bytes, zone: bytes) -> int:
    moment = datetime.fromisoformat(text.decode() + zone.decode().replace("Z", "+00:00"))
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())


def _text(line: bytes) -> str:
    return shown(line.decode("utf-8", "backslashreplace"))
