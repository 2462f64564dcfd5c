"""ATA commands out of the register writes that made them: what the device decodes, decoded again.

A channel has one task file for its two drives: a register write reaches both, a command only the selected one. Each of
the registers 1 to 5 keeps the value before its last one (HOB), which LBA48 commands take as the high half. Sources:
ATA/ATAPI-7, QEMU's hw/ide/core.c.
"""

from collections.abc import Callable
from typing import NamedTuple

from iosim.model.records import FLUSH, READ, WRITE
from iosim.model.trace import OPS

_R, _W, _F = OPS.index(READ), OPS.index(WRITE), OPS.index(FLUSH)

DEVICE, COMMAND = 6, 7
_LBA, _UNIT, _SOFT_RESET = 0x40, 0x10, 0x04

REQUESTS: dict[int, tuple[int, bool]] = {
    0x20: (_R, False),  # READ SECTORS
    0x21: (_R, False),  # without retries
    0x24: (_R, True),  # EXT
    0xC4: (_R, False),  # READ MULTIPLE
    0x29: (_R, True),
    0xC8: (_R, False),  # READ DMA
    0xC9: (_R, False),
    0x25: (_R, True),
    0x30: (_W, False),  # WRITE SECTORS
    0x31: (_W, False),
    0x34: (_W, True),
    0xC5: (_W, False),  # WRITE MULTIPLE
    0x39: (_W, True),
    0xCE: (_W, True),  # FUA EXT
    0xCA: (_W, False),  # WRITE DMA
    0xCB: (_W, False),
    0x35: (_W, True),
    0x3D: (_W, True),  # FUA EXT
    0xE7: (_F, False),  # FLUSH CACHE
    0xEA: (_F, True),
}
"""Commands that are requests: operation, and whether the address is LBA48."""

OTHERS = {
    0x00: "NOP",
    0x08: "DEVICE RESET",
    0x10: "RECALIBRATE",
    0x27: "READ NATIVE MAX ADDRESS EXT",
    0x2F: "READ LOG EXT",
    0x40: "READ VERIFY SECTORS",
    0x41: "READ VERIFY SECTORS",
    0x42: "READ VERIFY SECTORS EXT",
    0x90: "EXECUTE DEVICE DIAGNOSTIC",
    0x91: "INITIALIZE DEVICE PARAMETERS",
    0xA0: "PACKET",
    0xA1: "IDENTIFY PACKET DEVICE",
    0xB0: "SMART",
    0xC6: "SET MULTIPLE MODE",
    0xE0: "STANDBY IMMEDIATE",
    0xE1: "IDLE IMMEDIATE",
    0xE2: "STANDBY",
    0xE3: "IDLE",
    0xE5: "CHECK POWER MODE",
    0xE6: "SLEEP",
    0xEC: "IDENTIFY DEVICE",
    0xEF: "SET FEATURES",
    0xF5: "SECURITY FREEZE LOCK",
    0xF8: "READ NATIVE MAX ADDRESS",
}
"""Commands that move no data of the disk, and so are no requests."""

UNUSABLE = {
    0x06: "DATA SET MANAGEMENT (trim)",
    0x3A: "WRITE STREAM EXT",
    0x60: "READ FPDMA QUEUED (NCQ)",
    0x61: "WRITE FPDMA QUEUED (NCQ)",
}
"""Commands for data of the disk that have no place in a trace."""

Refuse = Callable[[int, str, str], None]
"""Line, rule, and the value as errors show it."""


class Command(NamedTuple):
    """A read, write or flush command: when its first register was written, and the command; what it asks for; where."""

    begun_ns: int
    written_ns: int
    unit: int
    code: int
    op: int
    sector: int
    sectors: int
    line: int


class Channel:
    """The task file of an IDE channel: register writes in, commands out.

    A register is None until it has been written: a trace may begin in the middle of a command, or lack events.
    """

    __slots__ = ("_begun_ns", "_beside", "_hob", "_now", "_refuse")

    def __init__(self, refuse: Refuse, beside: Callable[[str], None]) -> None:
        self._refuse = refuse
        self._beside = beside
        self.forget()

    def forget(self) -> None:
        """Registers are unknown from here on: events were lost, or the channel was reset."""
        self._now: list[int | None] = [None] * 8
        self._hob: list[int | None] = [None] * 8
        self._begun_ns: int | None = None

    def control(self, value: int) -> None:
        """The device control register was written."""
        if value & _SOFT_RESET:
            self.forget()

    def register(self, number: int, value: int, at_ns: int) -> None:
        """Register *number*, 1 to 6, was written."""
        self._hob[number] = self._now[number]
        self._now[number] = value
        if self._begun_ns is None:
            self._begun_ns = at_ns

    def command(self, code: int, at_ns: int, line: int) -> Command | None:
        """The command register was written: return the request, None if it is none."""
        begun_ns = at_ns if self._begun_ns is None else self._begun_ns
        self._begun_ns = None
        if code not in REQUESTS:
            if code in UNUSABLE:
                self._refuse(line, "a command must be a read, write or flush", f"0x{code:02x} {UNUSABLE[code]}")
            else:
                self._beside(f"command {OTHERS.get(code, f'0x{code:02x}')}")
            return None
        op, ext = REQUESTS[code]
        device = self._now[DEVICE]
        if device is None:
            self._unknown(DEVICE, code, line)
            return None
        unit = 1 if device & _UNIT else 0
        if op == _F:
            return Command(begun_ns, at_ns, unit, code, op, 0, 0, line)
        if not device & _LBA:
            self._refuse(
                line, "a command must address by LBA, not by cylinder, head and sector", f"device 0x{device:02x}"
            )
            return None
        values = self._now[2:6] + (self._hob[2:6] if ext else [])
        if None in values:
            self._unknown(2 + values.index(None) % 4, code, line)
            return None
        return Command(begun_ns, at_ns, unit, code, op, *_range(values, device, ext), line)

    def _unknown(self, number: int, code: int, line: int) -> None:
        rule = f"register {number} must have been written since the trace began, events were lost, or a reset"
        self._refuse(line, rule, f"command 0x{code:02x} without it")


def _range(values: list[int | None], device: int, ext: bool) -> tuple[int, int]:
    """Return (first sector, sectors); a count of 0 is 256, or 65536 with LBA48."""
    count, low, mid, high, *hob = (value or 0 for value in values)
    sector = low | mid << 8 | high << 16
    if not ext:
        return sector | (device & 0x0F) << 24, count or 256
    return sector | hob[1] << 24 | hob[2] << 32 | hob[3] << 40, (count | hob[0] << 8) or 65536
