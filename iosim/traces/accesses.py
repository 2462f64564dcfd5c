"""Port accesses of a guest: the canonical table, and the ATA requests that they make."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from iosim.traces.ata import COMMAND, Channel
from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable

UNKNOWN = -1


class Access(NamedTuple):
    """A port access of a vCPU: see `AccessTable`."""

    at_ns: int
    vcpu: int
    write: bool
    port: int
    size: int
    items: int
    value: int
    guest_ns: int
    halted: bool
    line: int


@dataclass
class AccessTable:
    """Port accesses in order of time. One element per access, int64 where nothing else is said.

    *times_ns*: when KVM had it. *vcpus*: 0, 1, ... in the order in which they appear. *writes*: bool. *ports*; *sizes*:
    bytes of an item; *counts*: items, more than one with string instructions that KVM took at once; *values*: of the
    (first) item. *guest_ns*: how long the vCPU ran guest code since its access before. *halted*: whether it is known to
    have been halted in between, bool. *lines*: place in the file, from 1. UNKNOWN stands for a value or a time that was
    not recorded.
    """

    times_ns: npt.NDArray[np.int64]
    vcpus: npt.NDArray[np.int64]
    writes: npt.NDArray[np.bool_]
    ports: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    values: npt.NDArray[np.int64]
    guest_ns: npt.NDArray[np.int64]
    halted: npt.NDArray[np.bool_]
    lines: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times_ns)

    def __getitem__(self, rows: npt.NDArray[np.intp]) -> "AccessTable":
        """Return the *rows*, by their indices."""
        return AccessTable(*(getattr(self, column.name)[rows] for column in fields(self)))

    def rows(self) -> Iterator[Access]:
        """Yield the accesses one by one."""
        return map(Access._make, zip(*(getattr(self, column.name).tolist() for column in fields(self)), strict=True))

    @classmethod
    def of_rows(cls, rows: Sequence[Access]) -> "AccessTable":
        """Return the table of *rows*."""
        columns: Any = np.array(rows, dtype=np.int64).reshape(-1, len(fields(cls))).T
        return cls(*(column.astype(np.bool_) if at in (2, 8) else column for at, column in enumerate(columns)))


BASES = (0x1F0, 0x170)
CONTROL = {0x3F6: 0x1F0, 0x376: 0x170}
_REGISTERS = {base + number: (base, number) for base in BASES for number in range(1, 8)}
DISK_PORTS = frozenset(_REGISTERS) | frozenset(CONTROL) | frozenset(BASES)
UNITS = ("master", "slave")
UNKNOWN_VALUE = "a register write must have its value (old kernels, such as 3.10, do not record it)"


class Decoder:
    """Register writes of a guest in, requests out. Both channels of legacy IDE, the drives of which are devices."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._channels = {base: Channel(reading.refuse, lambda what: reading.beside.update([what])) for base in BASES}

    def forget(self) -> None:
        """Accesses were lost: what the registers hold is unknown from here on."""
        for channel in self._channels.values():
            channel.forget()

    def requests(self, accesses: Iterable[Access]) -> TraceTable:
        """Return the requests whose commands are among *accesses*, which are in order of time."""
        rows = []
        for at_ns, _, write, port, size, _, value, _, _, line in accesses:
            if not write or port not in DISK_PORTS or port in BASES:
                continue
            if size != 1:
                self._reading.refuse(line, "a register write must be of 1 byte", f"{size} to 0x{port:x}")
                continue
            if value == UNKNOWN:
                self._reading.refuse(line, UNKNOWN_VALUE)
                continue
            if port in CONTROL:
                self._channels[CONTROL[port]].control(value)
                continue
            base, number = _REGISTERS[port]
            channel = self._channels[base]
            if number != COMMAND:
                channel.register(number, value, at_ns)
                continue
            command = channel.command(value, at_ns, line)
            if command is not None and self._reading.takes(f"0x{base:x} {UNITS[command.unit]}"):
                rows.append((command.begun_ns, command.op, command.sector, command.sectors, line))
        return TraceTable.of_rows(rows)
