"""A rotating disk: overheads, seek curve, rotation, zoned transfer, read-ahead and write buffer, bus rate.

After Ruemmler and Wilkes, "An introduction to disk drive modeling", IEEE Computer 27(3), 1994, and the parameters that
DiskSim describes drives with. Distances are in cylinders, angles are times within one revolution.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from iosim.disk.model import DiskIo
from iosim.model.records import FLUSH, READ


@dataclass(frozen=True)
class HddConfig:
    """Parameters of a rotating disk (docs/scenario.md lists the keys).

    *zones*: (first cylinder, sectors per track), from cylinder 0 on. *seek*: (distance, ns), rising, beginning with
    distance 1. *bus_sector_ns*: time of one sector on the bus. *segment_sectors*: what one read-ahead segment holds;
    0 for no read-ahead. *write_buffer_sectors*: what is reported written before it is on the medium; 0 for none.
    """

    revolution_ns: int
    cylinders: int
    heads: int
    zones: tuple[tuple[int, int], ...]
    seek: tuple[tuple[int, int], ...]
    read_overhead_ns: int
    write_overhead_ns: int
    head_switch_ns: int
    write_settle_ns: int
    bus_sector_ns: int
    segment_sectors: int
    write_buffer_sectors: int

    def capacity(self) -> int:
        """Return the number of sectors."""
        ends = [first for first, _ in self.zones[1:]] + [self.cylinders]
        return sum(
            (end - first) * self.heads * per_track for (first, per_track), end in zip(self.zones, ends, strict=True)
        )


class HddState(NamedTuple):
    """Where the arm is, until when it is busy with buffered writes, and what the read segment holds.

    The segment holds [segment_first, segment_end) at *segment_ns*, nothing if the two are equal; read-ahead goes on
    from there until the next operation, or until it is a whole segment ahead. *dirty* sectors are in the write buffer
    until *busy_until_ns*; *written_end* is the end of the last of them.
    """

    cylinder: int = 0
    busy_until_ns: int = 0
    segment_first: int = 0
    segment_end: int = 0
    segment_ns: int = 0
    dirty: int = 0
    written_end: int = -1


class Hdd:
    """The service model: where the sectors are, how long the arm takes, what the buffer saves."""

    draws = False

    def __init__(self, config: HddConfig) -> None:
        self.config = config
        self._distances = [distance for distance, _ in config.seek]
        starts, total = [], 0
        ends = [first for first, _ in config.zones[1:]] + [config.cylinders]
        for (first, per_track), end in zip(config.zones, ends, strict=True):
            starts.append(total)
            total += (end - first) * config.heads * per_track
        self._zone_starts = starts
        self.sectors = total

    def initial(self) -> HddState:
        """Arm at cylinder 0, buffers empty."""
        return HddState()

    def seek_ns(self, distance: int) -> int:
        """Return the seek time over *distance* cylinders: linear between the points of the curve, 0 for 0."""
        if distance <= 0:
            return 0
        seek = self.config.seek
        index = bisect_right(self._distances, distance) - 1
        if index < 0:
            return seek[0][1]
        if index == len(seek) - 1:
            return seek[-1][1]
        (near, near_ns), (far, far_ns) = seek[index], seek[index + 1]
        return near_ns + (far_ns - near_ns) * (distance - near) // (far - near)

    def locate(self, sector: int) -> tuple[int, int, int, int]:
        """Return (cylinder, track counted over the whole disk, sector within the track, sectors per track)."""
        index = bisect_right(self._zone_starts, sector) - 1
        first, per_track = self.config.zones[index]
        track, offset = divmod(sector - self._zone_starts[index], per_track)
        return first + track // self.config.heads, first * self.config.heads + track, offset, per_track

    def service(self, state: HddState, io: DiskIo, now_ns: int, draw: int) -> tuple[int, HddState]:
        """Flush: the write buffer drains. Read: from the segment or the medium. Write: to the buffer or the medium."""
        if io.op == FLUSH:
            end = max(now_ns, state.busy_until_ns) + self.config.write_overhead_ns
            return end - now_ns, state._replace(dirty=0)
        if io.op == READ:
            return self._read(state, io, now_ns)
        return self._write(state, io, now_ns)

    def _read(self, state: HddState, io: DiskIo, now_ns: int) -> tuple[int, HddState]:
        """From the segment, as far as it holds or is about to hold the sectors; otherwise from the medium."""
        config = self.config
        ready = now_ns + config.read_overhead_ns
        end_sector = io.sector + io.sectors
        bus_ns = io.sectors * config.bus_sector_ns
        ahead_end, streaming = self._ahead(state, now_ns)
        if state.segment_first <= io.sector <= ahead_end and state.segment_first < state.segment_end:
            if end_sector <= (state.segment_end if streaming else ahead_end):
                return ready + bus_ns - now_ns, state
            if streaming:
                streamed = state.segment_ns + (end_sector - state.segment_end) * self._sector_ns(state.segment_end)
                end = max(ready + bus_ns, streamed + config.bus_sector_ns)
                first = max(state.segment_first, end_sector - config.segment_sectors)
                return end - now_ns, state._replace(segment_first=first, segment_end=end_sector, segment_ns=streamed)
        arm = self._arm(state, now_ns)
        begin, media_end, cylinder = self._media(arm, io, max(ready, state.busy_until_ns), 0)
        end = max(media_end, begin + self._rotation_ns(io.sector) + bus_ns - config.bus_sector_ns)
        return end + config.bus_sector_ns - now_ns, state._replace(
            cylinder=cylinder,
            segment_first=max(io.sector, end_sector - config.segment_sectors),
            segment_end=end_sector,
            segment_ns=media_end,
            dirty=0,
        )

    def _ahead(self, state: HddState, now_ns: int) -> tuple[int, bool]:
        """Return the end of what the segment holds by now, and whether read-ahead still goes on there."""
        if state.segment_first >= state.segment_end or now_ns <= state.segment_ns:
            return state.segment_end, True
        ahead = (now_ns - state.segment_ns) // self._sector_ns(state.segment_end)
        room = min(self.config.segment_sectors, self.sectors - state.segment_end)
        return state.segment_end + min(ahead, room), ahead < room

    def _arm(self, state: HddState, now_ns: int) -> int:
        """Return the cylinder where the arm is when read-ahead is broken off."""
        if state.segment_first >= state.segment_end:
            return state.cylinder
        return self._cylinder(self._ahead(state, now_ns)[0])

    def _write(self, state: HddState, io: DiskIo, now_ns: int) -> tuple[int, HddState]:
        config = self.config
        ready = now_ns + config.write_overhead_ns
        bus_end = ready + io.sectors * config.bus_sector_ns
        dirty = 0 if state.busy_until_ns <= now_ns else state.dirty
        sequential = dirty > 0 and io.sector == state.written_end
        if sequential:
            drained = state.busy_until_ns + io.sectors * self._sector_ns(io.sector)
            cylinder = self._cylinder(io.sector + io.sectors)
        else:
            start = max(ready, state.busy_until_ns)
            _, drained, cylinder = self._media(self._arm(state, now_ns), io, start, config.write_settle_ns)
        after = state._replace(
            cylinder=cylinder,
            busy_until_ns=drained,
            segment_first=0,
            segment_end=0,
            dirty=dirty + io.sectors,
            written_end=io.sector + io.sectors,
        )
        if io.sectors > config.write_buffer_sectors:
            return max(drained, bus_end) - now_ns, after._replace(dirty=0)
        if dirty + io.sectors > config.write_buffer_sectors:
            # The buffer is full: what it holds has to be on the medium first.
            return max(state.busy_until_ns, ready) + (bus_end - ready) - now_ns, after._replace(dirty=io.sectors)
        return bus_end - now_ns, after

    def _cylinder(self, end_sector: int) -> int:
        """Return the cylinder of the last sector in front of *end_sector*."""
        return self.locate(min(end_sector, self.sectors) - 1)[0]

    def _rotation_ns(self, sector: int) -> int:
        """Return how long one sector passes under the head there."""
        return self.config.revolution_ns // self.locate(min(sector, self.sectors - 1))[3]

    def _sector_ns(self, sector: int) -> int:
        """Return the same with the switches of head and cylinder shared out among the sectors of a track."""
        per_track = self.locate(min(sector, self.sectors - 1))[3]
        return (self.config.revolution_ns + self.config.head_switch_ns) // per_track

    def _media(self, cylinder: int, io: DiskIo, start_ns: int, settle_ns: int) -> tuple[int, int, int]:
        """Return (begin, end, cylinder at the end) of moving *io* between medium and buffer, asked at *start_ns*."""
        config = self.config
        target, track, offset, _ = self.locate(io.sector)
        at = start_ns + self.seek_ns(abs(target - cylinder)) + settle_ns
        sector_ns = self._rotation_ns(io.sector)
        skew_ns = track * config.head_switch_ns
        begin = at + (offset * sector_ns + skew_ns - at) % config.revolution_ns
        last_cylinder, last_track, _, _ = self.locate(min(io.sector + io.sectors, self.sectors) - 1)
        return begin, begin + io.sectors * sector_ns + (last_track - track) * config.head_switch_ns, last_cylinder


def check(config: HddConfig) -> str | None:
    """Return the rule that *config* breaks, None if it breaks none."""
    firsts = [first for first, _ in config.zones]
    if not firsts or firsts[0] != 0 or sorted(set(firsts)) != firsts or firsts[-1] >= config.cylinders:
        return "zones must begin at cylinder 0, rise, and stay below cylinders"
    if not config.seek or config.seek[0][0] != 1 or any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(config.seek)):
        return "seek must begin with distance 1, with rising distances and times that do not fall"
    return None
