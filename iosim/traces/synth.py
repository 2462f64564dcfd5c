"""Made-up workloads: arrivals, operations, sizes and addresses of requests, chunk by chunk.

Each request draws by its number (`iosim.model.draws`): a workload with other sizes has the same arrivals, and a longer
one begins like a shorter one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from iosim.model.draws import draw_many, name_hash, source
from iosim.model.trace import OPS
from iosim.traces.table import TraceTable

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
CHUNK = 65_536
_R, _W, _F = (OPS.index(op) for op in "RWF")
_LONGEST_NS = 1 << 60


class Draws:
    """Numbers from 0 to 1, the same for the same seed, subject and count, whatever else is drawn."""

    def __init__(self, seed: int) -> None:
        self._identity = source(seed, "trace", "synth")

    def uniform(self, what: str, first: int, n: int) -> Floats:
        """Return *n* numbers of [0, 1) for *what*, from count *first* on."""
        counts = np.arange(first, first + n, dtype=np.uint64)
        bits = draw_many(self._identity, name_hash(what), counts) >> np.uint64(11)
        return bits.astype(np.float64) / (1 << 53)

    def exponential_ns(self, what: str, first: int, n: int, mean_ns: float) -> Ints:
        """Return *n* exponential times in whole nanoseconds."""
        ns = -np.log1p(-self.uniform(what, first, n)) * mean_ns
        return np.rint(np.minimum(ns, _LONGEST_NS)).astype(np.int64)


class Arrivals(Protocol):
    """When requests arrive."""

    def chunks(self, draws: Draws) -> Iterator[Ints]:
        """Yield the times of CHUNK requests after the other, in ns, without end."""
        ...


@dataclass(frozen=True)
class Poisson:
    """Requests arrive independently of each other, *rate* a second on average (a Poisson process)."""

    rate: float

    def chunks(self, draws: Draws) -> Iterator[Ints]:
        """Yield the times of CHUNK requests after the other, in ns, without end."""
        first, last_ns = 0, 0
        while True:
            times = last_ns + np.cumsum(draws.exponential_ns("gap", first, CHUNK, 1e9 / self.rate))
            yield times
            first, last_ns = first + CHUNK, int(times[-1])


@dataclass(frozen=True)
class OnOff:
    """Bursts: *rate* a second while on, none while off (an interrupted Poisson process).

    Both last exponentially distributed times with the means *on_ns* and *off_ns*, beginning with on.
    """

    rate: float
    on_ns: int
    off_ns: int

    def chunks(self, draws: Draws) -> Iterator[Ints]:
        """Yield the times of CHUNK requests after the other, in ns, without end.

        On its own clock, which stands still while off, the process is Poisson; each off period is put in behind the
        on period with the same number.
        """
        ends, pauses = np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
        n_periods = 0
        for times in Poisson(self.rate).chunks(draws):
            while not len(ends) or ends[-1] <= times[-1]:
                on = draws.exponential_ns("on", n_periods, CHUNK, self.on_ns)
                off = draws.exponential_ns("off", n_periods, CHUNK, self.off_ns)
                ends = np.r_[ends, (ends[-1] if len(ends) else 0) + np.cumsum(on)]
                pauses = np.r_[pauses, pauses[-1] + np.cumsum(off)]
                n_periods += CHUNK
            over = np.searchsorted(ends, times, side="right")
            yield times + pauses[over]
            ends, pauses = ends[over[-1] :], pauses[over[-1] :]


@dataclass(frozen=True)
class Mix:
    """What requests are: operations, sizes, addresses.

    *reads*: the share of reads among reads and writes. *flushes*: the share of flushes among all. *sizes*: sectors, and
    how often each relative to the others. *sequential*: the share of reads and writes that begin where the last one of
    the same operation ended; the others begin anywhere in *span_sectors*, at a multiple of *align_sectors*. A sequence
    that comes to the end of the span goes on at its begin.
    """

    reads: float = 0.5
    flushes: float = 0.0
    sizes: tuple[tuple[int, float], ...] = ((8, 1.0),)
    sequential: float = 0.0
    span_sectors: int = 1 << 21
    align_sectors: int = 8


@dataclass
class Sequences:
    """Where the next request of each operation would go on, in sectors."""

    span: int
    ends: dict[int, int] = field(default_factory=dict)

    def places(self, op: int, fresh: npt.NDArray[np.bool_], starts: Ints, sizes: Ints, align: int = 1) -> Ints:
        """Return the first sectors of requests of one operation in order.

        *fresh* ones begin at their *starts*, others where the one before ended. A sequence that comes to the end of
        `span` sectors begins at 0 again, and stays at multiples of *align* if it was.
        """
        if not len(sizes):
            return sizes
        if op not in self.ends:
            fresh = np.r_[True, fresh[1:]]
        before = np.cumsum(sizes) - sizes
        leader = np.maximum.accumulate(np.where(fresh, np.arange(len(sizes)), -1))
        begun = leader >= 0
        base = np.where(begun, starts[leader] - before[leader], self.ends.get(op, 0))
        room = max(self.span - int(sizes.max()), 0) // align * align + align
        places: Ints = np.minimum((base + before) % room, self.span - sizes)
        self.ends[op] = int(places[-1] + sizes[-1])
        return places


def requests(arrivals: Arrivals, mix: Mix, seed: int) -> Iterator[TraceTable]:
    """Yield a workload in chunks, without end."""
    draws = Draws(seed)
    sizes = np.array([size for size, _ in mix.sizes], dtype=np.int64)
    cumulated = np.cumsum([weight for _, weight in mix.sizes])
    slots = (mix.span_sectors - int(sizes.max())) // mix.align_sectors + 1
    sequences = Sequences(mix.span_sectors)
    first = 0
    for times in arrivals.chunks(draws):
        u = draws.uniform("operation", first, CHUNK)
        read = draws.uniform("direction", first, CHUNK) < mix.reads
        ops = np.where(u < mix.flushes, _F, np.where(read, _R, _W))
        chosen = np.searchsorted(cumulated, draws.uniform("size", first, CHUNK) * cumulated[-1], side="right")
        counts = sizes[np.minimum(chosen, len(sizes) - 1)]
        fresh = draws.uniform("sequential", first, CHUNK) >= mix.sequential
        starts = (draws.uniform("place", first, CHUNK) * slots).astype(np.int64) * mix.align_sectors
        places = np.zeros(CHUNK, dtype=np.int64)
        for op in (_R, _W):
            own = ops == op
            places[own] = sequences.places(op, fresh[own], starts[own], counts[own], mix.align_sectors)
        counts = np.where(ops == _F, 0, counts)
        yield TraceTable(times, ops.astype(np.uint8), places, counts, np.arange(first + 1, first + CHUNK + 1))
        first += CHUNK


def limited(tables: Iterator[TraceTable], n: int | None, duration_ns: int | None) -> Iterator[TraceTable]:
    """Yield the first *n* requests, and of them those before *duration_ns*; at least one of the two is given."""
    left = n
    for table in tables:
        if left is not None:
            table = table[:left]
            left -= len(table)
        end = len(table) if duration_ns is None else int(np.searchsorted(table.times_ns, duration_ns))
        yield table[:end]
        if end < len(table) or left == 0:
            return
