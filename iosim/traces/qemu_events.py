"""QEMU's trace events of disks, in and out of order of the log: ide_* and virtio_blk_* to requests.

IDE: the register writes are decoded as the device decodes them. A request's time is that of its first task-file write,
or of the command if the log holds no other register.

virtio-blk: a request's time is that of the notification that made QEMU take it from the ring, or, for the second and
further ones of a notification, of their own virtio_blk_handle_* event. QEMU has no event for a flush: what completes
and was neither read nor written was one, and its time is that of the notification that no other request claimed.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from iosim.model.trace import OPS
from iosim.traces.accesses import CONTROL, UNITS
from iosim.traces.ata import COMMAND, Channel
from iosim.traces.reading import Reading

_R, _W, _F = (OPS.index(op) for op in "RWF")
_POINTER = rb"((?:0x)?[0-9a-f]+)"
_HEX = rb"(0x[0-9a-f]{1,15})"
_OF_LOG = {
    b"ide_ioport_write": rb"IDE PIO wr @ (0x[0-9a-f]{1,4}) \([^)]*\); val (0x[0-9a-f]{2}); bus " + _POINTER + rb" .*",
    b"ide_ctrl_write": rb"IDE PIO wr @ (0x[0-9a-f]{1,4}) \([^)]*\); val (0x[0-9a-f]{2}); bus " + _POINTER + rb".*",
    b"virtio_queue_notify": rb"vdev " + _POINTER + rb" n \d+ vq .*",
    b"virtio_blk_handle_read": rb"(?:vdev (\S+) )?req (\S+) sector (\d{1,18}) nsectors (\d{1,18})",
    b"virtio_blk_rw_complete": rb"(?:vdev (\S+) )?req (\S+) ret -?\d+",
    b"virtio_blk_req_complete": rb"(?:vdev (\S+) )?req (\S+) status (\d{1,3})",
}
_OF_SIMPLETRACE = {
    b"ide_ioport_write": rb"addr=(0x[0-9a-f]{1,4}) .*val=(0x[0-9a-f]{1,2}) bus=" + _POINTER + rb" .*",
    b"ide_ctrl_write": rb"addr=(0x[0-9a-f]{1,4}) val=(0x[0-9a-f]{1,2}) bus=" + _POINTER + rb".*",
    b"virtio_queue_notify": rb"vdev=(\S+) n=\S+ vq=\S+",
    b"virtio_blk_handle_read": rb"(?:vdev=(\S+) )?req=(\S+) sector=" + _HEX + rb" nsectors=" + _HEX,
    b"virtio_blk_rw_complete": rb"(?:vdev=(\S+) )?req=(\S+) ret=\S+",
    b"virtio_blk_req_complete": rb"(?:vdev=(\S+) )?req=(\S+) status=(0x[0-9a-f]{1,3})",
}
_SAME = {b"ide_cmd_write": b"ide_ctrl_write", b"virtio_blk_handle_write": b"virtio_blk_handle_read"}
"""Events with the arguments of another one: the name until QEMU 5.1, and the other direction."""


def _compiled(patterns: dict[bytes, bytes]) -> dict[bytes, re.Pattern[bytes]]:
    compiled = {event: re.compile(pattern) for event, pattern in patterns.items()}
    return compiled | {event: compiled[other] for event, other in _SAME.items()}


LOG_ARGUMENTS, SIMPLETRACE_ARGUMENTS = _compiled(_OF_LOG), _compiled(_OF_SIMPLETRACE)
"""What the arguments of each event look like in the log, and in simpletrace.py's text."""

_BASES = {0x1F0: "0x1f0", 0x170: "0x170"}
_UNSUPPORTED = 2
"""VIRTIO_BLK_S_UNSUPP"""
_MOST_KICKS = 65_536

Handler = Callable[[re.Match[bytes], int, int], None]
"""Arguments of an event, its time in ns, and its line."""


@dataclass
class _Ring:
    """A virtio-blk device: notifications that no request has claimed, and requests that have not completed."""

    kick_ns: int | None = None
    unclaimed: deque[int] = field(default_factory=lambda: deque(maxlen=_MOST_KICKS))
    taken: set[bytes] = field(default_factory=set)
    last_kick_ns: int | None = None


class DiskEvents:
    """Events in, requests out: `handlers` by the name of the event, `rows` as `TraceTable.of_rows` takes them."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._channels: dict[str, Channel] = {}
        self._rings: dict[bytes, _Ring] = {}
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.handlers: dict[bytes, Handler] = {
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
        if command is not None and self._reading.takes(f"{name} {UNITS[command.unit]}"):
            self.rows.append((command.begun_ns, command.op, command.sector, command.sectors, line))

    def _ide_ctrl_write(self, match: re.Match[bytes], at_ns: int, line: int) -> None:
        base = CONTROL.get(int(match[1], 16), 0)
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
        self._handle(_R, match, at_ns, line)

    def _write(self, match: re.Match[bytes], at_ns: int, line: int) -> None:
        self._handle(_W, match, at_ns, line)

    def _handle(self, op: int, match: re.Match[bytes], at_ns: int, line: int) -> None:
        ring = self._ring(match[1])
        ring.taken.add(match[2])
        begun_ns = at_ns if ring.kick_ns is None else ring.kick_ns
        ring.kick_ns = None
        if self._reading.takes(_name(match[1])):
            self.rows.append((begun_ns, op, int(match[3], 0), int(match[4], 0), line))

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
        elif self._reading.takes(_name(match[1])):
            self.rows.append((begun_ns, _F, 0, 0, line))


def _name(vdev: bytes | None) -> str:
    return f"vdev {vdev.decode('ascii', 'backslashreplace')}" if vdev else "virtio-blk"
