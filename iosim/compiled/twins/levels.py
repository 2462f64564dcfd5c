"""Twin of `iosim.host.levels`: what is added goes into the totals and bins at once."""

MAX_BINS = 1000
_FIRST_WIDTH_NS = 1_000_000


class Timeline:
    """The time bins of a run, all of one width that doubles whenever a run outgrows `MAX_BINS` of them."""

    def __init__(self) -> None:
        self.width_ns = _FIRST_WIDTH_NS
        self.levels: list[Level] = []

    def add(self, level: "Level") -> None:
        """Register a level."""
        self.levels.append(level)

    def grow_to(self, end_ns: int) -> None:
        """Double the width until a bin exists for every instant before *end_ns*."""
        while end_ns > self.width_ns * MAX_BINS:
            self.width_ns *= 2
            for level in self.levels:
                level.merge_bins()

    def fold(self) -> None:
        """Every level is up to date."""


class Pattern:
    """Intervals at fixed places behind a begin; `span_ns` is the length of the whole, `area` the sum of theirs."""

    __slots__ = ("area", "ends_ns", "span_ns", "starts_ns")

    def __init__(self, starts_ns: list[int], ends_ns: list[int], span_ns: int) -> None:
        self.starts_ns = starts_ns
        self.ends_ns = ends_ns
        self.span_ns = span_ns
        self.area = sum(ends_ns) - sum(starts_ns)


class Level:
    """A level that steps up and down and its time integral: `area` and `highest` since the warm-up, `bins` since 0.

    `_at` is the bin that was added to last, from `_from_ns` to `_until_ns`: where most of what comes belongs as well.
    """

    __slots__ = (
        "_at",
        "_bins",
        "_from_ns",
        "_until_ns",
        "area",
        "highest",
        "name",
        "since_ns",
        "timeline",
        "value",
    )

    def __init__(self, timeline: Timeline, name: str) -> None:
        self.name = name
        self.timeline = timeline
        self.value = 0
        self.since_ns = 0
        self.highest = 0
        self.area = 0
        self._bins: list[int] = [0] * MAX_BINS
        self._at = 0
        self._from_ns = 0
        self._until_ns = 0
        timeline.add(self)

    @property
    def bins(self) -> list[int]:
        """The integral in level x ns of each bin, up to the last one that is not 0."""
        bins = self._bins
        used = MAX_BINS
        while used and not bins[used - 1]:
            used -= 1
        return bins[:used]

    def set(self, now_ns: int, value: int) -> None:
        """The level is *value* from *now_ns* on."""
        if self.value:
            self._add(self.since_ns, now_ns, self.value)
        self.since_ns = now_ns
        self.value = value
        if value > self.highest:
            self.highest = value

    def change(self, now_ns: int, by: int) -> None:
        """The level goes up or down *by* at *now_ns*."""
        self.set(now_ns, self.value + by)

    def add(self, start_ns: int, end_ns: int) -> None:
        """Add 1 over [start_ns, end_ns)."""
        self._add(start_ns, end_ns, 1)
        if not self.highest:
            self.highest = 1

    def add_pattern(self, pattern: Pattern, begin_ns: int) -> None:
        """Add 1 over each interval of *pattern*, begun at *begin_ns*."""
        if not self.highest:
            self.highest = 1
        end = begin_ns + pattern.span_ns
        if begin_ns < self._from_ns or end > self._until_ns:
            self.timeline.grow_to(end)
            self._look_at_bin(begin_ns)
        if end <= self._until_ns:
            self._bins[self._at] += pattern.area
            self.area += pattern.area
            return
        starts, ends = pattern.starts_ns, pattern.ends_ns
        for index in range(len(starts)):
            self._add(begin_ns + starts[index], begin_ns + ends[index], 1)

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
        self._bins[self._at] += area
        self.area += area
        if not self.highest:
            self.highest = 1
        return True

    def restart(self, now_ns: int) -> None:
        """The warm-up ends at *now_ns*: totals count from here."""
        self.set(now_ns, self.value)
        self.area = 0
        self.highest = self.value

    def merge_bins(self) -> None:
        """The timeline's width has doubled: two bins become one."""
        bins = self._bins
        half = MAX_BINS // 2
        for index in range(half):
            bins[index] = bins[2 * index] + bins[2 * index + 1]
        for index in range(half, MAX_BINS):
            bins[index] = 0
        self._at = self._from_ns = self._until_ns = 0

    def _look_at_bin(self, at_ns: int) -> None:
        """The bin of *at_ns*, or the last one, is the one that `_at` says."""
        width = self.timeline.width_ns
        at = min(at_ns // width, MAX_BINS - 1)
        self._at = at
        self._from_ns = at * width
        self._until_ns = self._from_ns + width

    def _add(self, start_ns: int, end_ns: int, weight: int) -> None:
        """Add *weight* over [start_ns, end_ns)."""
        bins = self._bins
        if start_ns >= self._from_ns and end_ns <= self._until_ns:
            bins[self._at] += weight * (end_ns - start_ns)
            self.area += weight * (end_ns - start_ns)
            return
        self.area += weight * (end_ns - start_ns)
        self.timeline.grow_to(end_ns)
        self._look_at_bin(start_ns)
        start = start_ns
        while end_ns > self._until_ns:
            bins[self._at] += weight * (self._until_ns - start)
            start = self._until_ns
            self._at += 1
            self._from_ns = start
            self._until_ns = start + self.timeline.width_ns
        bins[self._at] += weight * (end_ns - start)
