"""An IDE channel as a recorded guest saw it: when a command was under way, and which access found it done.

What the accesses say is all that is known: what was written, and the status that was read.
"""

from typing import NamedTuple

from iosim.model.ata import Reg
from iosim.model.ports import UNKNOWN

BUSY, DRQ = 0x80, 0x08
BM_ACTIVE, BM_START = 0x01, 0x01
DISABLE_IRQ, SOFT_RESET = 0x02, 0x04

STATUS = (Reg.COMMAND, Reg.CONTROL)
PIO_READS = {0x20: 1, 0x21: 1, 0x24: 1, 0xC4: 0, 0x29: 0}
"""PIO-mode reads, and the sectors of a block; 0: as SET MULTIPLE MODE says."""
PIO_WRITES = {0x30: 1, 0x31: 1, 0x34: 1, 0xC5: 0, 0x39: 0, 0xCE: 0}
EXT = (0x24, 0x29, 0x34, 0x39, 0xCE, 0x25, 0x35, 0x3D)
DMA = (0xC8, 0xC9, 0x25, 0xCA, 0xCB, 0x35, 0x3D)
SET_MULTIPLE_MODE = 0xC6
_FOR_EVER = 1 << 62


class Seen(NamedTuple):
    """What an access means: it finds the command under way *busy*, or is the first behind its end (*observes*)."""

    busy: bool = False
    observes: bool = False


class RecordedChannel:
    """The channel's state, as far as it matters to when the guest has to wait.

    *working* is what the device is busy with, as the guest knows: "data" (a block of PIO mode), "dma", "other", or
    nothing. *polled* is nIEN, None as long as it was not written.
    """

    def __init__(self, multiple: int) -> None:
        self.working = ""
        self.polled: bool | None = None
        self._multiple = multiple
        self._count, self._count_before = 0, 0
        self._dma_waits = self._started = False
        self._sectors_left = self._block = self._bytes_left = 0

    def room(self, n_bytes: int) -> int:
        """Return how many accesses of the data port, of *n_bytes* each, there are up to the end of the block."""
        return -(-self._bytes_left // n_bytes) if self._sectors_left else _FOR_EVER

    def see(self, register: Reg, write: bool, value: int, n_bytes: int) -> Seen:
        """Take the next access, which moves *n_bytes*; *value* may be UNKNOWN for a read."""
        seen = self._meaning(register, write, value) if self.working else Seen()
        if seen.observes:
            self.working = ""
        if register is Reg.DATA:
            self._data(write, n_bytes)
        elif write:
            self._write(register, value)
        return seen

    def _meaning(self, register: Reg, write: bool, value: int) -> Seen:
        if write:
            stops = register is Reg.BM_COMMAND and self.working == "dma" and not value & BM_START
            harmless = register in (Reg.CONTROL, Reg.BM_STATUS, Reg.BM_COMMAND) and not stops
            return Seen(observes=not harmless)
        if register in (Reg.BM_COMMAND, Reg.BM_PRD) or (register is Reg.BM_STATUS and self.working != "dma"):
            return Seen()
        if register is Reg.BM_STATUS:
            busy = value != UNKNOWN and bool(value & BM_ACTIVE)
        elif register in STATUS:
            busy = value != UNKNOWN and bool(value & (BUSY | DRQ if self.working == "dma" else BUSY))
        else:
            busy = False
        return Seen(busy=busy, observes=not busy)

    def _write(self, register: Reg, value: int) -> None:
        if register is Reg.CONTROL:
            self.polled = bool(value & DISABLE_IRQ)
            if value & SOFT_RESET:
                self.working = ""
                self._dma_waits, self._sectors_left = False, 0
        elif register is Reg.NSECTOR:
            self._count_before, self._count = self._count, value
        elif register is Reg.COMMAND:
            self._command(value)
        elif register is Reg.BM_COMMAND:
            self._started = bool(value & BM_START)
            if self._started and self._dma_waits:
                self.working, self._dma_waits = "dma", False

    def _command(self, code: int) -> None:
        self._dma_waits, self._sectors_left = False, 0
        count = (self._count | self._count_before << 8) or 65536 if code in EXT else self._count or 256
        if code in PIO_READS or code in PIO_WRITES:
            self._block = PIO_READS.get(code, 0) or PIO_WRITES.get(code, 0) or self._multiple
            self._sectors_left = count
            self._next_block()
            self.working = "data" if code in PIO_READS else ""
        elif code in DMA:
            self._dma_waits = not self._started
            self.working = "dma" if self._started else ""
        else:
            self.working = "other"
            if code == SET_MULTIPLE_MODE and self._count:
                self._multiple = self._count

    def _next_block(self) -> None:
        self._bytes_left = min(self._block, self._sectors_left) * 512

    def _data(self, write: bool, n_bytes: int) -> None:
        if not self._sectors_left:
            return
        self._bytes_left -= n_bytes
        if self._bytes_left > 0:
            return
        self._sectors_left -= min(self._block, self._sectors_left)
        if write or self._sectors_left:
            self.working = "data"
        self._next_block()
