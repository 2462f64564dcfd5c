"""A solid-state disk: parallel units with separate read, program and erase times.

Pages go round the units; a unit does one thing at a time. Writes go to the units in turn wherever their address is
(log-structured), and each block's worth of programs on a unit makes it erase one, behind the write that filled it.
After the flash part of MQSim (Tavakkol et al., FAST 2018) and Agrawal et al., "Design tradeoffs for SSD performance",
USENIX ATC 2008, much reduced.
"""

from dataclasses import dataclass
from typing import NamedTuple

from iosim.disk.model import DiskIo
from iosim.model.records import FLUSH, READ


@dataclass(frozen=True)
class SsdConfig:
    """Parameters of a solid-state disk (docs/scenario.md lists the keys)."""

    units: int
    page_sectors: int
    block_pages: int
    read_ns: int
    program_ns: int
    erase_ns: int
    transfer_ns: int
    overhead_ns: int
    flush_ns: int


class SsdState(NamedTuple):
    """Until when each unit is busy, how many pages each has programmed since its last erase, which writes next."""

    busy_until_ns: tuple[int, ...]
    programmed: tuple[int, ...]
    next_unit: int


class Ssd:
    """The service model: the slowest page decides."""

    draws = False

    def __init__(self, config: SsdConfig) -> None:
        self.config = config

    def initial(self) -> SsdState:
        """All units idle and freshly erased."""
        return SsdState((0,) * self.config.units, (0,) * self.config.units, 0)

    def service(self, state: SsdState, io: DiskIo, now_ns: int, draw: int) -> tuple[int, SsdState]:
        """Controller overhead, then the pages on their units, each with its transfer; a flush waits for all units."""
        config = self.config
        start = now_ns + config.overhead_ns
        if io.op == FLUSH:
            return max(start, *state.busy_until_ns) + config.flush_ns - now_ns, state
        first = io.sector // config.page_sectors
        last = (io.sector + io.sectors - 1) // config.page_sectors
        busy, programmed = list(state.busy_until_ns), list(state.programmed)
        unit, end = state.next_unit, start
        for page in range(first, last + 1):
            if io.op == READ:
                at = page % config.units
                busy[at] = max(start, busy[at]) + config.read_ns + config.transfer_ns
                end = max(end, busy[at])
            else:
                busy[unit] = max(start, busy[unit]) + config.transfer_ns + config.program_ns
                end = max(end, busy[unit])
                programmed[unit] += 1
                if programmed[unit] == config.block_pages:
                    programmed[unit] = 0
                    busy[unit] += config.erase_ns
                unit = (unit + 1) % config.units
        return end - now_ns, SsdState(tuple(busy), tuple(programmed), unit)
