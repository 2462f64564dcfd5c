"""Levels over time: how many are busy, how many wait. Kept per time bin and in total, exact in integer nanoseconds."""

import numpy as np

from iosim.host.any_level import MAX_BINS, AnyLevel, AnyTimeline
from iosim.model.costs import Int64Array

_FOLD_AT = 6144
"""How many numbers a level collects before they are folded, at most."""
_FOLD_ALL_AT = 1 << 19
"""How many all levels of a run together may hold so."""


class Timeline(AnyTimeline):
    """The time bins of a run; what its levels collect is folded into them in blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.fold_at = _FOLD_AT

    def add(self, level: "Level") -> None:
        """Register a level: the more there are, the less each of them keeps before it is folded."""
        self.levels.append(level)
        self.fold_at = max(192, min(_FOLD_AT, _FOLD_ALL_AT // len(self.levels)))

    def fold(self) -> None:
        """Bring every level up to date: only then the width is that of the whole run, and so are all bins."""
        for level in self.levels:
            level.fold()


class Pattern:
    """Intervals at fixed places behind a begin: the times that a coalesced run holds a mutex, say.

    `starts_ns` and `ends_ns`: int64, one entry per interval; `span_ns` is the length of the whole, `area` the sum of
    the intervals' lengths.
    """

    __slots__ = ("area", "ends_ns", "span_ns", "starts_ns")

    def __init__(self, starts_ns: Int64Array, ends_ns: Int64Array, span_ns: int) -> None:
        self.starts_ns = starts_ns
        self.ends_ns = ends_ns
        self.span_ns = span_ns
        self.area = int((ends_ns - starts_ns).sum())


class Level(AnyLevel):
    """A level and its time integral.

    `area` is the integral in level x ns since the warm-up, `bins` the same per bin of the timeline since time 0. What
    was added is kept as it came and folded into these in blocks.
    """

    __slots__ = ("_area", "_bins", "_intervals", "_patterns", "timeline")

    def __init__(self, timeline: Timeline, name: str) -> None:
        super().__init__(name)
        self.timeline = timeline
        self._area = 0
        self._bins: Int64Array = np.zeros(MAX_BINS, dtype=np.int64)
        self._intervals: list[int] = []
        self._patterns: dict[Pattern, list[int]] = {}
        timeline.add(self)

    @property
    def area(self) -> int:
        """The integral in level x ns since the warm-up."""
        self.fold()
        return self._area

    @property
    def bins(self) -> list[int]:
        """The integral in level x ns of each bin, up to the last one that is not 0."""
        self.fold()
        used = np.flatnonzero(self._bins)
        return self._bins[: int(used[-1]) + 1].tolist() if len(used) else []

    def _add(self, start_ns: int, end_ns: int, weight: int) -> None:
        self._intervals += (start_ns, end_ns, weight)
        if len(self._intervals) > self.timeline.fold_at:
            self.fold()

    def add_pattern(self, pattern: Pattern, begin_ns: int) -> None:
        """Add 1 over each interval of *pattern*, begun at *begin_ns*."""
        begins = self._patterns.get(pattern)
        if begins is None:
            begins = self._patterns[pattern] = []
            if not self.highest:
                self.highest = 1
        begins.append(begin_ns)
        if len(begins) > self.timeline.fold_at:
            self.fold()

    def add_many(self, starts_ns: Int64Array, ends_ns: Int64Array) -> None:
        """Add 1 over each interval [start, end)."""
        if not self.highest:
            self.highest = 1
        self._area += int((ends_ns - starts_ns).sum())
        self._add_to_bins(starts_ns, ends_ns, np.ones(len(starts_ns), dtype=np.int64))

    def add_within(self, start_ns: int, end_ns: int, area: int) -> bool:
        """Add *area* (level x ns, of a level of 1 at most) if [start, end) lies in one bin; tell whether it does."""
        self.timeline.grow_to(end_ns)
        width = self.timeline.width_ns
        at = min(start_ns // width, MAX_BINS - 1)
        if end_ns > (at + 1) * width:
            return False
        self._bins[at] += area
        self._area += area
        if not self.highest:
            self.highest = 1
        return True

    def _restart_area(self) -> None:
        self.fold()
        self._area = 0

    def merge_bins(self) -> None:
        """The timeline's width has doubled: two bins become one."""
        pairs = self._bins.reshape(-1, 2).sum(axis=1)
        self._bins = np.concatenate([pairs, np.zeros(MAX_BINS - len(pairs), dtype=np.int64)])

    def fold(self) -> None:
        """Add what has been collected to the totals and bins."""
        if self._intervals:
            starts, ends, weights = np.array(self._intervals, dtype=np.int64).reshape(-1, 3).T
            self._intervals = []
            self._area += int((weights * (ends - starts)).sum())
            self._add_to_bins(starts, ends, weights)
        patterns, self._patterns = self._patterns, {}
        for pattern, collected in patterns.items():
            begins = np.array(collected, dtype=np.int64)
            self._area += pattern.area * len(begins)
            self.timeline.grow_to(int(begins.max()) + pattern.span_ns)
            width = self.timeline.width_ns
            first, last = _bins_of(begins, begins + pattern.span_ns, width)
            within = first == last
            np.add.at(self._bins, first[within], pattern.area)
            for begin in begins[~within].tolist():
                starts, ends = begin + pattern.starts_ns, begin + pattern.ends_ns
                self._add_to_bins(starts, ends, np.ones(len(starts), dtype=np.int64))

    def _add_to_bins(self, starts: Int64Array, ends: Int64Array, weights: Int64Array) -> None:
        if not len(ends):
            return
        self.timeline.grow_to(int(ends.max()))
        width = self.timeline.width_ns
        bins = self._bins
        first, last = _bins_of(starts, ends, width)
        within = first == last
        np.add.at(bins, first[within], (weights * (ends - starts))[within])
        for i, j, start, end, weight in zip(
            *(column[~within].tolist() for column in (first, last, starts, ends, weights)), strict=True
        ):
            bins[i] += weight * ((i + 1) * width - start)
            bins[i + 1 : j] += weight * width
            bins[j] += weight * (end - j * width)


def _bins_of(starts: Int64Array, ends: Int64Array, width_ns: int) -> tuple[Int64Array, Int64Array]:
    """Return the first and the last bin of each interval; what has no length may lie at the end of the last bin."""
    first = np.minimum(starts // width_ns, MAX_BINS - 1)
    return first, np.maximum((ends - 1) // width_ns, first)
