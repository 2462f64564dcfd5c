"""A solid-state disk: parallel units with separate read, program and erase times.

Pages go round the units; a unit does one thing at a time. Without over-provisioning, writes go to the units in turn
wherever their address is (log-structured), and each block's worth of programs on a unit makes it erase one, behind the
write that filled it. With it, a page has its unit, and garbage collection (`iosim.disk.flash`) keeps the unit busy
behind the write that made it necessary. After the flash part of MQSim (Tavakkol et al., FAST 2018)
and Agrawal et al., "Design tradeoffs for SSD performance", USENIX ATC 2008, much reduced.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from iosim.disk.flash import FlashUnit
from iosim.disk.model import DiskIo
from iosim.model.records import FLUSH, READ

MAX_MAPPED_PAGES = 1 << 24
"""The map of pages is kept in memory: 64 GiB of 4 KiB pages."""


@dataclass(frozen=True)
class SsdConfig:
    """Parameters of a solid-state disk (docs/scenario.md lists the keys).

    *buffer_pages*: pages that the write buffer holds, 0 for none. *pages*: logical pages, and *blocks_per_unit*, with
    garbage collection; 0 without.
    """

    units: int
    page_sectors: int
    block_pages: int
    read_ns: int
    program_ns: int
    erase_ns: int
    transfer_ns: int
    overhead_ns: int
    flush_ns: int
    buffer_pages: int = 0
    pages: int = 0
    blocks_per_unit: int = 0
    filled: bool = True


@dataclass
class SsdMemory:
    """What is too large to be copied for each operation: the maps of the units, and when buffered pages leave.

    `buffered`: the ends of the programs of what is in the write buffer, a heap.
    """

    flash: list[FlashUnit] = field(default_factory=list)
    buffered: list[int] = field(default_factory=list)


class SsdState(NamedTuple):
    """Until when each unit is busy, how many pages each has programmed since its last erase, which writes next."""

    busy_until_ns: tuple[int, ...]
    programmed: tuple[int, ...]
    next_unit: int
    memory: SsdMemory


def blocks_per_unit(pages: int, units: int, block_pages: int, over_provisioning: float) -> int:
    """Return the number of blocks that hold a unit's share of *pages* and so much more of it."""
    share = -(-pages // units)
    return -(-round(share * (1 + over_provisioning)) // block_pages)


class Ssd:
    """The service model: the slowest page decides, or the last one to find room in the write buffer."""

    draws = False

    def __init__(self, config: SsdConfig) -> None:
        self.config = config

    def initial(self) -> SsdState:
        """All units idle and freshly erased; with garbage collection, every page written if so configured."""
        config = self.config
        memory = SsdMemory()
        if config.pages:
            share = -(-config.pages // config.units)
            for _ in range(config.units):
                memory.flash.append(FlashUnit(share, config.blocks_per_unit, config.block_pages, config.filled))
        idle = (0,) * config.units
        return SsdState(idle, idle, 0, memory)

    def service(self, state: SsdState, io: DiskIo, now_ns: int, draw: int) -> tuple[int, SsdState]:
        """Controller overhead, then the pages on their units, each with its transfer; a flush waits for all units."""
        start = now_ns + self.config.overhead_ns
        if io.op == FLUSH:
            return max(start, max(state.busy_until_ns)) + self.config.flush_ns - now_ns, state
        first = io.sector // self.config.page_sectors
        last = (io.sector + io.sectors - 1) // self.config.page_sectors
        if io.op == READ:
            end, state = self._read(state, first, last, start)
        else:
            end, state = self._write(state, first, last, start)
        return end - now_ns, state

    def wear(self, state: SsdState) -> dict[str, int] | None:
        """Return pages written by the host and programmed in all, and blocks erased; None without a map of pages."""
        flash = state.memory.flash
        if not flash:
            return None
        return {
            "pages_written": sum(unit.written for unit in flash),
            "pages_programmed": sum(unit.programmed for unit in flash),
            "blocks_erased": sum(unit.erased for unit in flash),
        }

    def _read(self, state: SsdState, first: int, last: int, start: int) -> tuple[int, SsdState]:
        """Each page is read on its unit, then moved to the controller."""
        config = self.config
        busy = list(state.busy_until_ns)
        end = start
        for page in range(first, last + 1):
            unit = page % config.units
            busy[unit] = max(start, busy[unit]) + config.read_ns + config.transfer_ns
            end = max(end, busy[unit])
        return end, state._replace(busy_until_ns=tuple(busy))

    def _write(self, state: SsdState, first: int, last: int, start: int) -> tuple[int, SsdState]:
        """Each page is moved to its unit and programmed there."""
        config = self.config
        busy, programmed = list(state.busy_until_ns), list(state.programmed)
        memory = state.memory
        next_unit = state.next_unit
        end = accepted = start
        for page in range(first, last + 1):
            unit = page % config.units if memory.flash else next_unit
            if config.buffer_pages:
                accepted = self._accept(memory.buffered, accepted)
            busy[unit] = max(accepted, busy[unit]) + config.transfer_ns + config.program_ns
            end = max(end, busy[unit])
            if config.buffer_pages:
                heappush(memory.buffered, busy[unit])
            if memory.flash:
                busy[unit] += self._collect(memory.flash[unit], page // config.units)
            else:
                programmed[unit] += 1
                if programmed[unit] == config.block_pages:
                    programmed[unit] = 0
                    busy[unit] += config.erase_ns
            next_unit = (next_unit + 1) % config.units
        after = SsdState(tuple(busy), tuple(programmed), next_unit, memory)
        return (accepted if config.buffer_pages else end), after

    def _accept(self, buffered: list[int], at_ns: int) -> int:
        """Return when the write buffer has room for a page that comes at *at_ns*."""
        while buffered and buffered[0] <= at_ns:
            heappop(buffered)
        if len(buffered) < self.config.buffer_pages:
            return at_ns
        return heappop(buffered)

    def _collect(self, flash: FlashUnit, page: int) -> int:
        """Return how long the unit is busy with garbage collection behind the write of its *page*."""
        copied = flash.write(page)
        if copied is None:
            return 0
        return copied * (self.config.read_ns + self.config.program_ns) + self.config.erase_ns
