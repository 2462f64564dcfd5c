"""A rotating disk with an on-board cache of segments: read-ahead, immediate reporting of writes, overheads by history.

After DiskSim's disk module (disksim_diskctlr.c, disksim_diskcache.c of version 4.0), reduced to one request at a time:
what the drive does between requests (reading ahead, writing what it has reported) is worked out when the next one
comes. Geometry and mechanics are `iosim.disk.geometry` and `iosim.disk.mechanics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from iosim.disk.mechanics import Arm, Mechanics, Piece
from iosim.disk.model import DiskIo
from iosim.model.records import FLUSH, READ, WRITE


class ReadAhead(Enum):
    """How far a drive reads on behind a read: DiskSim's "Buffer continuous read", 0 to 4."""

    NONE = "none"
    TRACK = "track"
    CYLINDER = "cylinder"
    SEGMENT = "segment"
    NEXT_TRACK = "next-track"


@dataclass(frozen=True)
class CacheConfig:
    """What the drive's electronics do (docs/scenario.md lists the keys). Times are in ns, sizes in sectors.

    The overheads of commands are pairs: behind a read, and behind a write. *write_sequential_ns* is that of a write
    that goes on where the last one ended. *watermark*: thousandths of a read that have to be in the buffer before
    the bus is taken. *least_buffered*: sectors of a write that have to be in the buffer before the medium is written.
    """

    segments: int
    segment_sectors: int
    read_ahead: ReadAhead
    most_ahead: int
    read_hit_ns: tuple[int, int]
    read_miss_ns: tuple[int, int]
    write_ns: tuple[int, int]
    write_sequential_ns: int
    reconnect_ns: int
    read_end_ns: int
    write_end_ns: int
    bus_sector_ns: int
    write_back: bool
    write_segment: bool = False
    hits_on_writes: bool = True
    ahead_on_hit: bool = False
    read_before: bool = False
    read_at_once: bool = False
    write_at_once: bool = False
    least_write_seek_ns: int = 0
    watermark: int = 0
    least_buffered: int = 1


class Segment(NamedTuple):
    """Logical sectors [first, end) in the buffer; nothing if the two are equal."""

    first: int = 0
    end: int = 0


class CacheState(NamedTuple):
    """What the drive was left with.

    *segments*: least recently used first. With *ahead_end* above 0, read-ahead fills the last segment up to there: it
    had *segments[-1].end* at *stream_ns*. *busy_until_ns*: until then the arm writes what was reported before;
    *written_end* is the end of that.
    """

    arm: Arm
    segments: tuple[Segment, ...]
    last_op: str = ""
    busy_until_ns: int = 0
    written_end: int = -1
    ahead_end: int = 0
    stream_ns: int = 0


class SegmentedHdd:
    """The service model."""

    draws = False

    def __init__(self, mechanics: Mechanics, cache: CacheConfig) -> None:
        self.mechanics = mechanics
        self.cache = cache
        self.geometry = mechanics.geometry
        self.sectors = mechanics.geometry.sectors

    def initial(self) -> CacheState:
        """Arm at cylinder 0, buffer empty."""
        return CacheState(Arm(), (Segment(),) * self.cache.segments)

    def service(self, state: CacheState, io: DiskIo, now_ns: int, draw: int) -> tuple[int, CacheState]:
        """Return the service time and what the drive is left with. A flush waits for what was reported as written."""
        state = self.until(state, now_ns)
        if io.op == READ:
            end, state = self._read(state, io, now_ns)
        elif io.op == FLUSH:
            end = max(now_ns + self._write_overhead(state, io), state.busy_until_ns) + self.cache.write_end_ns
        else:
            end, state = self._write(state, io, now_ns)
        return end - now_ns, state._replace(last_op=io.op)

    def until(self, state: CacheState, now_ns: int) -> CacheState:
        """Return the state at *now_ns*, with what read-ahead has done by then."""
        if not state.ahead_end or now_ns <= state.stream_ns:
            return state
        segment, arm, done_ns = state.segments[-1], state.arm, state.stream_ns
        for piece in self.mechanics.pieces(arm, segment.end, state.ahead_end, done_ns):
            arm = piece.arm
            if piece.end_ns > now_ns:
                done, done_ns = self._done(piece, now_ns, done_ns)
                segment = Segment(segment.first, done)
                break
            segment, done_ns = Segment(segment.first, piece.end), piece.end_ns
        going_on = segment.end < state.ahead_end
        return state._replace(
            arm=arm,
            segments=(*state.segments[:-1], self._wrapped(segment)),
            ahead_end=state.ahead_end if going_on else 0,
            stream_ns=done_ns,
        )

    def _done(self, piece: Piece, now_ns: int, before_ns: int) -> tuple[int, int]:
        """Return how far *piece* has come by *now_ns*, and since when; *before_ns* where it has not begun."""
        if now_ns <= piece.begin_ns:
            return piece.first, before_ns
        sectors = (piece.end - piece.first) * (now_ns - piece.begin_ns) // (piece.end_ns - piece.begin_ns)
        if not sectors:
            return piece.first, before_ns
        place = self.geometry.place(piece.first)
        on_track = self.geometry.place(piece.first + sectors - 1).on_track
        angle = self.geometry.angle(place)
        passed = self.mechanics.angle_ns(place, angle + on_track + 1 - place.on_track)
        return piece.first + sectors, piece.begin_ns + passed - self.mechanics.angle_ns(place, angle)

    def _wrapped(self, segment: Segment) -> Segment:
        """A segment is a ring: its oldest sectors make room."""
        return Segment(max(segment.first, segment.end - self.cache.segment_sectors), segment.end)

    # reads

    def _read(self, state: CacheState, io: DiskIo, now_ns: int) -> tuple[int, CacheState]:
        """From the buffer, as far as a segment has the sectors or read-ahead brings them; otherwise from the medium."""
        cache, end_sector = self.cache, io.sector + io.sectors
        number = self._hit(state, io)
        after_write = state.last_op == WRITE
        start = max(now_ns + cache.read_miss_ns[after_write], state.busy_until_ns)
        if number is None:
            return self._miss(state, io, start)
        streams = bool(state.ahead_end) and number == len(state.segments) - 1
        segment = state.segments[number]
        rest = [*state.segments[:number], *state.segments[number + 1 :]]
        ready = now_ns + cache.read_hit_ns[after_write] + cache.reconnect_ns
        if state.busy_until_ns > now_ns:
            ready = start + cache.reconnect_ns
        pieces: list[Piece] = []
        if segment.end < end_sector:
            stream_ns = state.stream_ns if streams else start
            pieces = list(self.mechanics.pieces(state.arm, segment.end, end_sector, stream_ns))
        delivered = self._delivered(ready, io, pieces)
        ahead_end = self._ahead_end(segment.first, io)
        if streams:
            ahead_end = max(state.ahead_end, ahead_end)
        elif not pieces and not cache.ahead_on_hit:
            ahead_end = 0
        grown = Segment(segment.first, max(segment.end, end_sector))
        arm, stream_ns = (pieces[-1].arm, pieces[-1].end_ns) if pieces else (state.arm, start)
        return delivered + cache.read_end_ns, state._replace(
            arm=arm,
            segments=(*rest, self._wrapped(grown)),
            ahead_end=ahead_end if ahead_end > grown.end else 0,
            stream_ns=state.stream_ns if streams and not pieces else stream_ns,
        )

    def _miss(self, state: CacheState, io: DiskIo, start_ns: int) -> tuple[int, CacheState]:
        cache, end_sector = self.cache, io.sector + io.sectors
        at_once = cache.read_at_once or cache.read_before
        pieces = list(self.mechanics.pieces(state.arm, io.sector, end_sector, start_ns, at_once=at_once))
        needed = max(1, min(io.sectors, cache.segment_sectors) * cache.watermark // 1000)
        ready = self._available(io.sector + needed, pieces) + cache.reconnect_ns
        segment = Segment(pieces[0].seen if cache.read_before else io.sector, end_sector)
        ahead_end = self._ahead_end(segment.first, io)
        return self._delivered(ready, io, pieces) + cache.read_end_ns, state._replace(
            arm=pieces[-1].arm,
            segments=(*self._without_one(state.segments), self._wrapped(segment)),
            ahead_end=ahead_end if ahead_end > end_sector else 0,
            stream_ns=pieces[-1].end_ns,
        )

    def _hit(self, state: CacheState, io: DiskIo) -> int | None:
        """Return the segment that holds the first sector of *io*: one that holds it all, if there is one."""
        found = [n for n, segment in enumerate(state.segments) if segment.first <= io.sector < segment.end]
        whole = [n for n in found if io.sector + io.sectors <= state.segments[n].end]
        return max(whole or found, default=None)

    def _available(self, end: int, pieces: Sequence[Piece]) -> int:
        """Return when the logical sectors in front of *end* are in the buffer."""
        for piece in pieces:
            if end < piece.end:
                sectors = min(end, piece.middle) - piece.first
                return piece.begin_ns + sectors * (piece.end_ns - piece.begin_ns) // (piece.middle - piece.first)
            last_ns = piece.end_ns
        return last_ns

    def _delivered(self, ready_ns: int, io: DiskIo, pieces: Sequence[Piece]) -> int:
        """Return when the last sector of *io* is over the bus, which is taken at *ready_ns*.

        The bus moves one sector after the other, none before it is in the buffer: within a piece its first or its
        last sector decides.
        """
        bus_ns, end = self.cache.bus_sector_ns, io.sector + io.sectors
        done = ready_ns + io.sectors * bus_ns
        for piece in pieces:
            first_ns = piece.begin_ns + (piece.end_ns - piece.begin_ns) // (piece.middle - piece.first)
            done = max(done, first_ns + (end - piece.first) * bus_ns, piece.end_ns + (end - piece.middle + 1) * bus_ns)
        return done

    def _ahead_end(self, first: int, io: DiskIo) -> int:
        """Return up to where the drive reads ahead behind *io*, in a segment that begins with *first*."""
        cache, end = self.cache, io.sector + io.sectors
        if cache.read_ahead is ReadAhead.NONE or end >= self.sectors:
            return 0
        place = self.geometry.place(end)
        if cache.read_ahead is ReadAhead.NEXT_TRACK:
            track_first, track_end = self.geometry.track_bounds(place)
            more = self.geometry.zones[place.zone].sectors_per_track if first < track_first else 0
            return min(track_end + more, self.sectors)
        limit = end + (cache.most_ahead or max(cache.segment_sectors - io.sectors, 0))
        if cache.read_ahead is not ReadAhead.SEGMENT:
            last = self.geometry.place(end - 1)
            behind = (
                last.track + 1 if cache.read_ahead is ReadAhead.TRACK else last.track - last.head + self.geometry.heads
            )
            limit = min(limit, self.geometry.track_start(last.zone, behind))
        return min(limit, self.sectors)

    # writes

    def _write_overhead(self, state: CacheState, io: DiskIo) -> int:
        if state.last_op != WRITE:
            return self.cache.write_ns[0]
        return self.cache.write_sequential_ns if io.sector == state.written_end else self.cache.write_ns[1]

    def _write(self, state: CacheState, io: DiskIo, now_ns: int) -> tuple[int, CacheState]:
        """To the buffer, and from there to the medium at once; done when it is in the one or the other."""
        cache, mechanics, end_sector = self.cache, self.mechanics, io.sector + io.sectors
        asked = now_ns + self._write_overhead(state, io)
        follows = state.busy_until_ns > now_ns and io.sector == state.written_end
        start = asked if follows else max(asked, state.busy_until_ns)
        bus_begin = start + cache.reconnect_ns
        bus_end = bus_begin + io.sectors * cache.bus_sector_ns
        place = self.geometry.place(io.sector)
        moved_ns = mechanics.move_ns(state.arm, place, write=True)
        if not follows:
            moved_ns = max(moved_ns, cache.least_write_seek_ns)
        at = max(start, state.busy_until_ns) + moved_ns
        at = max(at, bus_begin + min(cache.least_buffered, io.sectors) * cache.bus_sector_ns)
        at = max(at, bus_end - mechanics.angle_ns(place, io.sectors))
        pieces = [mechanics.on_track(place, io.sector, end_sector, at, cache.write_at_once)]
        pieces += mechanics.pieces(
            pieces[0].arm, pieces[0].end, end_sector, pieces[0].end_ns, write=True, at_once=cache.write_at_once
        )
        media_end = pieces[-1].end_ns
        if not cache.write_back:
            done = max(media_end, bus_end)
        else:
            beyond = io.sectors - cache.segment_sectors
            done = max(bus_end, self._available(io.sector + beyond, pieces)) if beyond > 0 else bus_end
        return done + cache.write_end_ns, state._replace(
            arm=pieces[-1].arm,
            segments=self._with_written(state, io, follows),
            busy_until_ns=media_end,
            written_end=end_sector,
            ahead_end=0,
        )

    def _with_written(self, state: CacheState, io: DiskIo, follows: bool) -> tuple[Segment, ...]:
        """Return the segments behind a write: those that it overlaps are dropped, and it has the last one itself."""
        end = io.sector + io.sectors
        if follows and not self.cache.write_segment and state.segments[-1].end == io.sector:
            return (*state.segments[:-1], self._wrapped(Segment(state.segments[-1].first, end)))
        kept = tuple(
            Segment() if segment.first < end and io.sector < segment.end else segment for segment in state.segments
        )
        if self.cache.write_segment:
            return kept
        written = Segment(io.sector, end) if self.cache.hits_on_writes else Segment()
        return (*self._without_one(kept), self._wrapped(written))

    def _without_one(self, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
        """Return the segments without an empty one, or without the least recently used."""
        for number, segment in enumerate(segments):
            if segment.first == segment.end:
                return (*segments[:number], *segments[number + 1 :])
        return segments[1:]
