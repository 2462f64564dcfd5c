"""What a trace is like, added up chunk by chunk in constant memory."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from iosim.model.trace import OPS
from iosim.traces.table import TraceTable

NS_PER_S = 1_000_000_000
_READ_WRITE = tuple(code for code, op in enumerate(OPS) if op != "F")


@dataclass
class Sizes:
    """How often requests of one operation have each size, in sectors."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, sizes: npt.NDArray[np.int64]) -> None:
        """Count *sizes*."""
        for size, n in zip(*(part.tolist() for part in np.unique(sizes, return_counts=True)), strict=True):
            self.counts[size] += n

    @property
    def n(self) -> int:
        """Requests."""
        return self.counts.total()

    @property
    def total(self) -> int:
        """Sectors of all requests."""
        return sum(size * n for size, n in self.counts.items())

    @property
    def largest(self) -> int:
        """The largest size, 0 if there is none."""
        return max(self.counts, default=0)

    def percentile(self, percent: float) -> float:
        """Return the percentile, between two requests by linear interpolation (numpy's default)."""
        sizes = np.array(sorted(self.counts))
        last = np.cumsum([self.counts[size] for size in sizes.tolist()]) - 1
        at = percent / 100 * last[-1]
        low, high = (sizes[np.searchsorted(last, position)] for position in (np.floor(at), np.ceil(at)))
        return float(low + (high - low) * (at - np.floor(at)))


class Statistics:
    """Counts, rates, sizes and addresses of the requests seen so far; tables come in order of time."""

    def __init__(self) -> None:
        self.first_ns: int | None = None
        self.last_ns = 0
        self.sizes = {op: Sizes() for op in OPS}
        self.end_sector = 1
        self.n_follow = 0
        self._ends: dict[int, int] = {}
        self._second = 0
        self._in_second = 0
        self._peak = 0

    def add(self, table: TraceTable) -> None:
        """Add the requests of *table*."""
        if not len(table):
            return
        if self.first_ns is None:
            self.first_ns = int(table.times_ns[0])
        self.last_ns = int(table.times_ns[-1])
        self.end_sector = max(self.end_sector, int((table.sectors_first + table.sectors_count).max()))
        self._add_seconds(table)
        for code, op in enumerate(OPS):
            chosen = table.ops == code
            if chosen.any():
                self.sizes[op].add(table.sectors_count[chosen])
        for code in _READ_WRITE:
            self._add_sequence(code, table)

    def _add_seconds(self, table: TraceTable) -> None:
        assert self.first_ns is not None
        seconds, counts = np.unique((table.times_ns - self.first_ns) // NS_PER_S, return_counts=True)
        before = self._in_second if seconds[0] == self._second else 0
        counts[0] += before
        self._peak = max(self._peak, int(counts.max()))
        self._second, self._in_second = int(seconds[-1]), int(counts[-1])

    def _add_sequence(self, code: int, table: TraceTable) -> None:
        chosen = table.ops == code
        if not chosen.any():
            return
        first = table.sectors_first[chosen]
        ends = first + table.sectors_count[chosen]
        self.n_follow += int((first[1:] == ends[:-1]).sum()) + (self._ends.get(code) == int(first[0]))
        self._ends[code] = int(ends[-1])

    @property
    def n(self) -> int:
        """Requests."""
        return sum(sizes.n for sizes in self.sizes.values())

    @property
    def span_ns(self) -> int:
        """From the first to the last request."""
        return self.last_ns - (self.first_ns or 0)

    @property
    def peak(self) -> int:
        """The most requests in one second, counted from the first request."""
        return self._peak

    @property
    def sectors(self) -> int:
        """Sectors read and written."""
        return sum(sizes.total for sizes in self.sizes.values())

    @property
    def sequential(self) -> float:
        """The share of reads and writes that begin at the sector behind the one before of the same operation."""
        n = sum(self.sizes[OPS[code]].n for code in _READ_WRITE)
        return self.n_follow / n if n else 0.0
