"""Twin of `iosim.host.levels`: what is added goes into the totals and bins at once."""

from bisect import bisect_right

from iosim.host.any_level import MAX_BINS, AnyLevel, AnyTimeline
from iosim.model.native_code import apart


class Timeline(AnyTimeline):
    """The time bins of a run."""

    def add(self, level: "Level") -> None:
        """Register a level."""
        self.levels.append(level)

    def fold(self) -> None:
        """Bring every level up to date."""
        for level in self.levels:
            level.fold()


class Pattern:
    """Intervals at fixed places behind a begin, none over another; here in the order of time.

    `span_ns` is the length of the whole, `area` the sum of theirs, `_before` that of those before each of them.
    """

    __slots__ = ("_before", "area", "ends_ns", "span_ns", "starts_ns")

    def __init__(self, starts_ns: list[int], ends_ns: list[int], span_ns: int) -> None:
        self.starts_ns: list[int] = sorted(starts_ns)
        self.ends_ns: list[int] = sorted(ends_ns)
        self.span_ns = span_ns
        self.area = 0
        self._before: list[int] = []
        for index in range(len(self.starts_ns)):
            self._before.append(self.area)
            self.area += self.ends_ns[index] - self.starts_ns[index]

    def area_until(self, ns: int) -> int:
        """Return the sum of the intervals' lengths as far as they lie before *ns* behind the begin."""
        index = bisect_right(self.starts_ns, ns) - 1
        if index < 0:
            return 0
        return self._before[index] + min(ns, self.ends_ns[index]) - self.starts_ns[index]


class Level(AnyLevel):
    """A level and its time integral: `area` since the warm-up, `bins` since 0, both up to date after `fold`.

    `_at` is the bin that was added to last, from `_from_ns` to `_until_ns`: where most of what comes belongs as well.
    What has come there since is `_here`.
    """

    __slots__ = ("_at", "_bins", "_from_ns", "_here", "_until_ns", "area", "timeline")

    def __init__(self, timeline: Timeline, name: str) -> None:
        super().__init__(name)
        self.timeline = timeline
        self.area = 0
        self._bins: list[int] = [0] * MAX_BINS
        self._at = 0
        self._from_ns = 0
        self._until_ns = 0
        self._here = 0
        timeline.add(self)

    @property
    def bins(self) -> list[int]:
        """The integral in level x ns of each bin, up to the last one that is not 0."""
        bins = self._bins
        used = MAX_BINS
        while used and not bins[used - 1]:
            used -= 1
        return bins[:used]

    def fold(self) -> None:
        """Add what has come in the present bin to it and to the total."""
        here = self._here
        self._here = 0
        self.area += here
        self._bins[self._at] += here

    def add_pattern(self, pattern: Pattern, begin_ns: int) -> None:
        """Add 1 over each interval of *pattern*, begun at *begin_ns*."""
        if not self.add_within(begin_ns, begin_ns + pattern.span_ns, pattern.area):
            self._add_pattern_across(pattern, begin_ns)

    @apart
    def _add_pattern_across(self, pattern: Pattern, begin_ns: int) -> None:
        """Do that for one that begins in the present bin and ends behind it."""
        added = 0
        while begin_ns + pattern.span_ns > self._until_ns:
            area = pattern.area_until(self._until_ns - begin_ns)
            self._here += area - added
            added = area
            self._look_at_bin(self._until_ns)
        self._here += pattern.area - added
        self.highest = max(self.highest, 1)

    def add_many(self, starts_ns: list[int], ends_ns: list[int]) -> None:
        """Add 1 over each interval [start, end)."""
        if not self.highest:
            self.highest = 1
        for index in range(len(starts_ns)):
            self._add(starts_ns[index], ends_ns[index], 1)

    def add_within(self, start_ns: int, end_ns: int, area: int) -> bool:
        """Add *area* (level x ns, of a level of 1 at most) if [start, end) lies in one bin; tell whether it does."""
        if start_ns < self._from_ns or end_ns > self._until_ns:
            self.timeline.grow_to(end_ns)
            self._look_at_bin(start_ns)
            if end_ns > self._until_ns:
                return False
        self._here += area
        if not self.highest:
            self.highest = 1
        return True

    def _restart_area(self) -> None:
        self.fold()
        self.area = 0

    def merge_bins(self) -> None:
        """The timeline's width has doubled: two bins become one."""
        self.fold()
        bins = self._bins
        half = MAX_BINS // 2
        for index in range(half):
            bins[index] = bins[2 * index] + bins[2 * index + 1]
        for index in range(half, MAX_BINS):
            bins[index] = 0
        self._at = self._from_ns = self._until_ns = 0

    def _look_at_bin(self, at_ns: int) -> None:
        """The bin of *at_ns*, or the last one, is the one that `_at` says."""
        self.fold()
        width = self.timeline.width_ns
        next_ns = self._until_ns + width
        if self._until_ns <= at_ns < next_ns and self._from_ns < self._until_ns and self._at < MAX_BINS - 1:
            self._at += 1
            self._from_ns = self._until_ns
            self._until_ns = next_ns
            return
        self._at = min(at_ns // width, MAX_BINS - 1)
        self._from_ns = self._at * width
        self._until_ns = self._from_ns + width

    def _add(self, start_ns: int, end_ns: int, weight: int) -> None:
        if start_ns >= self._from_ns and end_ns <= self._until_ns:
            self._here += weight * (end_ns - start_ns)
        else:
            self._add_across(start_ns, end_ns, weight)

    @apart
    def _add_across(self, start_ns: int, end_ns: int, weight: int) -> None:
        """Add *weight* over [start_ns, end_ns), which lies in other bins."""
        self.timeline.grow_to(end_ns)
        self._look_at_bin(start_ns)
        start = start_ns
        while end_ns > self._until_ns:
            self._here += weight * (self._until_ns - start)
            start = self._until_ns
            self._look_at_bin(start)
        self._here += weight * (end_ns - start)
