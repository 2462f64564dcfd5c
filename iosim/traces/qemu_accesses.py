"""Port accesses in QEMU's log: memory_region_ops_read and memory_region_ops_write of port space, one for each item.

    28448@1795358933.352397:memory_region_ops_write cpu 0 mr 0x562be8549b30 addr 0x1f6 value 0xa0 size 1 name 'ide'

Unlike the ide_* events these have the ports of the bus master and the vCPU. The log does not tell how long the guest
ran in between, and under KVM a string read of many items in one exit is as many events.
"""

import re
from collections.abc import Iterator

from iosim.model.errors import shown
from iosim.model.units import MAX_NS
from iosim.traces.accesses import UNKNOWN, Access, AccessTable
from iosim.traces.reading import Reading

_LINE = re.compile(rb"\[?\d{1,10}@(\d{1,18})\.(\d{6}):memory_region_ops_(read|write) (.*)", re.DOTALL)
_ARGUMENTS = re.compile(
    rb"cpu (-1|\d{1,6}) mr \S+ addr 0x([0-9a-f]{1,16}) value 0x([0-9a-f]{1,16}) size ([1248]) name '.*'"
)
_LOOK = re.compile(rb"^\[?\d{1,10}@\d{1,18}\.\d{6}:memory_region_ops_(?:read|write) ", re.MULTILINE)
_PORTS = 1 << 16
_WIDEST = 4


def fits(head: bytes) -> bool:
    """Tell whether *head* has such an event."""
    return _LOOK.search(head) is not None


def tables(reading: Reading) -> Iterator[AccessTable]:
    """Yield the port accesses; times begin at 0 with the first one. Accesses of memory are counted beside them."""
    first_ns: int | None = None
    for block in reading.source.blocks():
        rows = []
        for number, line in enumerate(block.text.replace(b"\r\n", b"\n").split(b"\n")[:-1], start=block.first):
            match = _LINE.fullmatch(line)
            if match is None:
                reading.beside["other line"] += 1
                continue
            seconds, us, direction, rest = match.groups()
            arguments = _ARGUMENTS.fullmatch(rest)
            if arguments is None:
                got = shown(line.decode("utf-8", "backslashreplace"))
                reading.refuse(number, f"is no memory_region_ops_{direction.decode()} as QEMU prints it", got)
                continue
            cpu, address, value, size = arguments.groups()
            if cpu == b"-1":
                reading.beside["access that no vCPU made"] += 1
                continue
            if int(address, 16) >= _PORTS or int(size) > _WIDEST:
                reading.beside["access of memory"] += 1
                continue
            at_ns = int(seconds) * 1_000_000_000 + int(us) * 1000
            if first_ns is None:
                first_ns = at_ns
            if abs(at_ns - first_ns) >= MAX_NS:
                reading.refuse(number, "time must be below 146 years", f"{seconds.decode()} s")
                continue
            rows.append(
                Access(
                    at_ns - first_ns,
                    int(cpu),
                    direction == b"write",
                    int(address, 16),
                    int(size),
                    1,
                    int(value, 16) & ((1 << 8 * int(size)) - 1),
                    UNKNOWN,
                    False,
                    number,
                )
            )
        yield AccessTable.of_rows(rows)
