"""Port accesses by hand: what a guest does to the primary channel, as rows of an access table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iosim.model.trace import Trace
from iosim.traces import AccessTable, ReadOptions, read_trace
from iosim.traces.access_reader import write_accesses
from iosim.traces.accesses import UNKNOWN, Access
from iosim.traces.reading import PortDrive

DATA, COUNT, STATUS, CONTROL = 0x1F0, 0x1F2, 0x1F7, 0x3F6
BM_COMMAND, BM_STATUS, BM_PRD = 0xC000, 0xC002, 0xC004
READY, BUSY, DRQ = 0x50, 0xD0, 0x58


class Recorder:
    """Writes down accesses, each *every_us* after the one before, on vCPU *vcpu*."""

    def __init__(self, every_us: int = 10) -> None:
        self.rows: list[Access] = []
        self.every_us = every_us
        self.now_ns = 0
        self.vcpu = 0

    def add(
        self, write: bool, port: int, value: int, size: int = 1, items: int = 1, guest_ns: int = UNKNOWN,
        halted: bool = False, after_us: int | None = None,
    ) -> None:  # fmt: skip
        self.now_ns += (self.every_us if after_us is None else after_us) * 1000
        line = len(self.rows) + 1
        self.rows.append(Access(self.now_ns, self.vcpu, write, port, size, items, value, guest_ns, halted, line))

    def out(self, port: int, value: int, **more: Any) -> None:
        self.add(True, port, value, **more)

    def inp(self, port: int, value: int, **more: Any) -> None:
        self.add(False, port, value, **more)

    def task_file(self, sectors: int, lba: int, device: int = 0xE0, **first: Any) -> None:
        """Count, address and drive; *first* is for the first of the writes."""
        self.out(COUNT, sectors & 0xFF, **first)
        for number, port in enumerate((0x1F3, 0x1F4, 0x1F5)):
            self.out(port, lba >> 8 * number & 0xFF)
        self.out(0x1F6, device | lba >> 24 & 0x0F)

    def dma(self, lba: int, sectors: int = 8, write: bool = True, **first: Any) -> None:
        """A DMA command up to the write that starts the bus master."""
        direction = 0 if write else 8
        self.out(BM_PRD, 0x600, size=4, **first)
        self.out(BM_COMMAND, direction)
        self.task_file(sectors, lba)
        self.out(STATUS, 0xCA if write else 0xC8)
        self.out(BM_COMMAND, direction | 1)


def recorded(rows: Sequence[Access], folder: Path, name: str = "a.csv", **drive: Any) -> Trace:
    """The trace that replay = "ports" reads out of *rows*."""
    path = folder / name
    write_accesses([AccessTable.of_rows(rows)], path)
    place: dict[str, Any] = {
        "channel": 0,
        "unit": 0,
        "multiple": 1,
        "other_channel": True,
        "completion": "auto",
        **drive,
    }
    return read_trace(path, ReadOptions(ports=PortDrive(**place)))
