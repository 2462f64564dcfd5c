"""A workload like a given one: statistics of a trace, learnt in one pass, and requests that have them.

Kept are: the shares of operations and what follows what (a Markov chain over operation and class of gap, so short
bursts and the flush behind a write); the gaps within each class to about one part in a hundred; the sizes of each
operation; the share of reads and of writes that are sequential; where in the drive reads and writes begin, to a
thousandth or so of it, and their alignment. Not kept is the rest: that a sector is used again, bursts longer than from
one request to the next, trends over the trace, and any relation of sizes and addresses to time.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from iosim.model.trace import OPS
from iosim.traces.statistics import Sizes
from iosim.traces.synth import CHUNK, Draws, Ints, Sequences
from iosim.traces.table import TraceTable

_F = OPS.index("F")
_CLASS_ENDS_NS = np.array([1, *(10**power for power in range(4, 10))])
"""Classes of gaps: none, below 10 us, 100 us, 1 ms, 10 ms, 100 ms, 1 s, and longer."""
_N_CLASSES = len(_CLASS_ENDS_NS) + 1
N_STATES = len(OPS) * _N_CLASSES
_BINS_PER_OCTAVE = 64
_N_BINS = 62 * _BINS_PER_OCTAVE
_N_REGIONS = 1024


def gap_percentile(fit: "Fit", percent: float) -> float:
    """Return a percentile of the gaps in ns, to about one part in a hundred; 0 for a trace of one request."""
    cumulated = np.cumsum(fit.gaps.sum(axis=0))
    if not cumulated[-1]:
        return 0.0
    at = np.searchsorted(cumulated, percent / 100 * cumulated[-1])
    return float(np.exp2((at + 0.5) / _BINS_PER_OCTAVE) - 1)


@dataclass
class _Places:
    """How often requests begin in each of _N_REGIONS regions of equal size, a power of two of sectors."""

    region: int = 1
    counts: Ints = field(default_factory=lambda: np.zeros(_N_REGIONS, dtype=np.int64))

    def add(self, sectors: Ints) -> None:
        while int(sectors.max(initial=0)) >= self.region * _N_REGIONS:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.r_[pairs, np.zeros_like(pairs)]
            self.region *= 2
        self.counts += np.bincount(sectors // self.region, minlength=_N_REGIONS)


class Fit:
    """What was learnt of a trace."""

    def __init__(self) -> None:
        self.n = 0
        self.end_sector = 1
        self.states = np.zeros(N_STATES, dtype=np.int64)
        self.transitions = np.zeros((N_STATES, N_STATES), dtype=np.int64)
        self.gaps = np.zeros((_N_CLASSES, _N_BINS), dtype=np.int64)
        self.sizes = {op: Sizes() for op in range(len(OPS)) if op != _F}
        self.follows = dict.fromkeys(self.sizes, 0)
        self.places = {op: _Places() for op in self.sizes}
        self.bits = dict.fromkeys(self.sizes, 0)
        self._ends: dict[int, int] = {}
        self._last: tuple[int, int] | None = None

    def add(self, table: TraceTable) -> None:
        """Learn from *table*; tables come in order of time."""
        if not len(table):
            return
        before_ns, state = self._last or (int(table.times_ns[0]), -1)
        gaps = np.diff(np.r_[before_ns, table.times_ns])
        classes = np.searchsorted(_CLASS_ENDS_NS, gaps, side="right")
        states = classes * len(OPS) + table.ops
        if state < 0:  # the first request follows none: its gap is 0, but is not one
            gaps, classes = gaps[1:], classes[1:]
            self.states[states[0]] += 1
        else:
            states = np.r_[state, states]
        self.states += np.bincount(states[1:], minlength=N_STATES)
        np.add.at(self.transitions, (states[:-1], states[1:]), 1)
        np.add.at(self.gaps, (classes, _bin(gaps)), 1)
        self._last = int(table.times_ns[-1]), int(states[-1])
        self.n += len(table)
        self.end_sector = max(self.end_sector, int((table.sectors_first + table.sectors_count).max()))
        for op in self.sizes:
            self._add_operation(op, table[table.ops == op])

    def _add_operation(self, op: int, table: TraceTable) -> None:
        if not len(table):
            return
        self.sizes[op].add(table.sectors_count)
        ends = table.sectors_first + table.sectors_count
        follows = np.r_[self._ends.get(op, -1) == table.sectors_first[0], table.sectors_first[1:] == ends[:-1]]
        self.follows[op] += int(follows.sum())
        self._ends[op] = int(ends[-1])
        fresh = table.sectors_first[~follows]
        self.places[op].add(fresh)
        self.bits[op] |= int(np.bitwise_or.reduce(fresh, initial=0))


def _bin(gaps: Ints) -> npt.NDArray[np.intp]:
    bins = np.floor(np.log2(gaps + 1.0) * _BINS_PER_OCTAVE).astype(np.intp)
    return np.asarray(bins.clip(0, _N_BINS - 1))


def like(fit: Fit, seed: int) -> Iterator[TraceTable]:
    """Yield requests with the statistics of *fit*, in chunks, without end. The first is at 0."""
    draws = Draws(seed)
    chain = _Chain(fit)
    sequences = Sequences(fit.end_sector)
    first, last_ns = 0, 0
    while True:
        states = chain.states(draws.uniform("state", first, CHUNK))
        classes, ops = states // len(OPS), states % len(OPS)
        gaps = _gaps(fit, classes, draws.uniform("gap", first, CHUNK))
        if first == 0:
            gaps[0] = 0
        times = last_ns + np.cumsum(gaps)
        places, counts = np.zeros(CHUNK, dtype=np.int64), np.zeros(CHUNK, dtype=np.int64)
        u = {what: draws.uniform(what, first, CHUNK) for what in ("size", "sequential", "region", "place")}
        for op in fit.sizes:
            own = ops == op
            if own.any():
                places[own], counts[own] = _requests(
                    fit, op, sequences, {what: numbers[own] for what, numbers in u.items()}
                )
        yield TraceTable(times, ops.astype(np.uint8), places, counts, np.arange(first + 1, first + CHUNK + 1))
        first, last_ns = first + CHUNK, int(times[-1])


class _Chain:
    """The Markov chain of operations and classes of gaps."""

    def __init__(self, fit: Fit) -> None:
        # The last request of the trace may have a state that nothing followed: from it, it goes on anywhere.
        rows = np.where(fit.transitions.sum(axis=1, keepdims=True) > 0, fit.transitions, fit.states)
        self._next = [_cumulated(row) for row in rows]
        self._row = _cumulated(fit.states)

    def states(self, u: npt.NDArray[np.float64]) -> Ints:
        """Return the next states, one for each number."""
        states, row = [], self._row
        for number in u.tolist():
            state = bisect_right(row, number)
            states.append(state)
            row = self._next[state]
        self._row = row
        return np.array(states, dtype=np.int64)


def _cumulated(counts: Ints) -> list[float]:
    """Return the distribution function: exactly 1 from the last one that occurs on."""
    total = np.cumsum(counts)
    return (total / total[-1]).tolist()  # type: ignore[no-any-return]


def _gaps(fit: Fit, classes: Ints, u: npt.NDArray[np.float64]) -> Ints:
    """Return a gap of each class: in a bin as often as in the trace, anywhere in the bin."""
    gaps = np.zeros(len(classes), dtype=np.int64)
    for number in np.unique(classes).tolist():
        own = classes == number
        cumulated = np.cumsum(fit.gaps[number])
        if not cumulated[-1]:
            continue
        at = u[own] * cumulated[-1]
        bins = np.searchsorted(cumulated, at, side="right")
        within = (at - (cumulated[bins] - fit.gaps[number][bins])) / fit.gaps[number][bins]
        gaps[own] = np.exp2((bins + within) / _BINS_PER_OCTAVE).astype(np.int64) - 1
        low = 0 if number == 0 else int(_CLASS_ENDS_NS[number - 1])
        high = int(_CLASS_ENDS_NS[number]) - 1 if number < len(_CLASS_ENDS_NS) else None
        gaps[own] = np.clip(gaps[own], low, high)
    return gaps


def _requests(fit: Fit, op: int, sequences: Sequences, u: dict[str, npt.NDArray[np.float64]]) -> tuple[Ints, Ints]:
    """Return first sectors and sizes of requests of one operation."""
    known = fit.sizes[op].counts
    sizes = np.array(sorted(known), dtype=np.int64)
    cumulated = np.cumsum([known[size] for size in sizes.tolist()])
    counts = sizes[np.searchsorted(cumulated, u["size"] * cumulated[-1], side="right")]
    places = fit.places[op]
    n_fresh = int(places.counts.sum())
    fresh = u["sequential"] >= fit.follows[op] / max(fit.follows[op] + n_fresh, 1)
    cumulated = np.cumsum(places.counts)
    regions = np.searchsorted(cumulated, u["region"] * cumulated[-1], side="right")
    align = (fit.bits[op] & -fit.bits[op]) or 1
    starts = (regions + u["place"]) * places.region
    starts = np.minimum(starts.astype(np.int64), fit.end_sector - counts) // align * align
    return sequences.places(op, fresh, starts, counts, align), counts
