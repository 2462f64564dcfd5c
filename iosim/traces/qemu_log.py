"""QEMU's own trace log (``-trace`` with the log back end): ide_* and bmdma_* events to requests with times.

The register writes are decoded as the device decodes them: the task file of each channel, LBA28 or LBA48, and the
command write that begins a request. A request's time is that of its first task-file write, or of the command if the
log holds no other register. Lines need a time stamp: ``PID@SEC.USEC:event ...`` (``-msg timestamp=on`` in QEMU 7.2;
always in 2.12 to 5.1).
"""

import re
from dataclasses import dataclass, field

import numpy as np

from iosim.model.errors import TraceError, shown
from iosim.model.records import FLUSH, READ, WRITE
from iosim.model.trace import OPS
from iosim.model.units import MAX_NS
from iosim.traces.table import TraceTable

_LINE = re.compile(r"(?:\[?(?P<pid>\d+)@(?P<sec>\d+)\.(?P<usec>\d{6}):)?(?P<event>[a-z_0-9]+)(?: |$)(?P<rest>.*)")
_WRITE = re.compile(r"IDE PIO wr @ 0x(?P<port>[0-9a-f]+) \([^)]*\); val 0x(?P<value>[0-9a-f]+);")

_COMMANDS: dict[int, tuple[str, bool]] = {
    0x20: (READ, False),
    0x21: (READ, False),
    0x24: (READ, True),
    0xC4: (READ, False),
    0x29: (READ, True),
    0xC8: (READ, False),
    0x25: (READ, True),
    0x30: (WRITE, False),
    0x31: (WRITE, False),
    0x34: (WRITE, True),
    0xC5: (WRITE, False),
    0x39: (WRITE, True),
    0xCA: (WRITE, False),
    0x35: (WRITE, True),
    0xE7: (FLUSH, False),
    0xEA: (FLUSH, True),
}
"""Commands that are requests: operation, and whether the address is LBA48. Others (IDENTIFY, SET FEATURES ...) move no
data of the disk."""
_BASES = (0x1F0, 0x170)


@dataclass
class _Channel:
    """The task file as a channel has it: the last and the one before (HOB) of each register, and the open request."""

    registers: list[int] = field(default_factory=lambda: [0] * 8)
    hob: list[int] = field(default_factory=lambda: [0] * 8)
    begun_ns: int | None = None


def looks_like(head: str) -> bool:
    """Tell whether *head* has a line of a QEMU log with IDE events."""
    return re.search(r"^(?:\d+@\d+\.\d+:)?(?:ide_|bmdma_)[a-z_]+ ", head, re.MULTILINE) is not None


def read(text: str, path: str) -> TraceTable:
    """Return the requests of the one drive that the log shows. Times begin at 0 with the first event of the log.

    Raises TraceError for a log without time stamps, without IDE commands, with several drives, or with an ide_ line
    that cannot be read.
    """
    channels = {base: _Channel() for base in _BASES}
    rows: list[tuple[int, int, int, int, int]] = []
    drives: set[tuple[int, int]] = set()
    first_ns: int | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.match(line)
        if match is None:
            continue
        if match["sec"] is not None and first_ns is None:
            first_ns = _stamp_ns(match)
        if match["event"] != "ide_ioport_write":
            continue
        if match["sec"] is None or first_ns is None:
            raise TraceError(f"{path}:{number}: the log has no time stamps (QEMU: -msg timestamp=on)")
        access = _WRITE.match(match["rest"])
        if access is None:
            raise TraceError(f"{path}:{number}: is no ide_ioport_write of QEMU 2.11 to 10.2, got {shown(line)}")
        port, value = int(access["port"], 16), int(access["value"], 16)
        base = port & ~7
        if base not in channels:
            continue
        at = _stamp_ns(match) - first_ns
        if abs(at) >= MAX_NS:
            raise TraceError(f"{path}:{number}: time must be below 146 years, got {shown(match['sec'])} s")
        channel = channels[base]
        register = port & 7
        if register != 7:
            channel.hob[register] = channel.registers[register]
            channel.registers[register] = value
            if channel.begun_ns is None:
                channel.begun_ns = at
            continue
        if value in _COMMANDS:
            op, sector, sectors = _decode(channel, value)
            begun = at if channel.begun_ns is None else channel.begun_ns
            rows.append((begun, OPS.index(op), sector, sectors, number))
            drives.add((base, (channel.registers[6] >> 4) & 1))
        channel.begun_ns = None
    if not rows:
        raise TraceError(f"{path}: has no read, write or flush command (ide_ioport_write to 0x1f7 or 0x177)")
    if len(drives) > 1:
        names = ", ".join(f"0x{base:x} {'slave' if unit else 'master'}" for base, unit in sorted(drives))
        raise TraceError(f"{path}: shows requests of several drives ({names}); only one is supported yet")
    rows.sort(key=lambda row: row[0])
    columns = np.array(rows, dtype=np.int64).T
    return TraceTable(columns[0], columns[1].astype(np.uint8), columns[2], columns[3], columns[4], "qemu-log")


def _stamp_ns(match: re.Match[str]) -> int:
    return int(match["sec"]) * 1_000_000_000 + int(match["usec"]) * 1000


def _decode(channel: _Channel, command: int) -> tuple[str, int, int]:
    """Return (op, first sector, sectors) of the command from the task file; a count of 0 is 256, or 65536 with HOB."""
    op, ext = _COMMANDS[command]
    if op == FLUSH:
        return op, 0, 0
    now, hob = channel.registers, channel.hob
    low = now[3] | now[4] << 8 | now[5] << 16
    if ext:
        return op, low | hob[3] << 24 | hob[4] << 32 | hob[5] << 40, (now[2] | hob[2] << 8) or 65536
    return op, low | (now[6] & 0x0F) << 24, now[2] or 256
