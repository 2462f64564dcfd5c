"""Levels over time: how many are busy, how many wait. Kept per time bin and in total, exact in integer nanoseconds."""

MAX_BINS = 1000


class Timeline:
    """The time bins of a run, all of one width that doubles whenever a run outgrows `MAX_BINS` of them.

    Every entry is an integral over time, so merging two neighbours is exact, and the final bins depend on the end of
    the run only.
    """

    FIRST_WIDTH_NS = 1_000_000

    def __init__(self) -> None:
        self.width_ns = self.FIRST_WIDTH_NS
        self.levels: list[Level] = []

    def grow_to(self, end_ns: int) -> None:
        """Double the width until a bin exists for every instant before *end_ns*."""
        while end_ns > self.width_ns * MAX_BINS:
            self.width_ns *= 2
            for level in self.levels:
                level.merge_bins()


class Level:
    """A level that steps up and down (a number busy, a number waiting) and its time integral.

    `area` is the integral in level x ns since the warm-up, `bins` the same per bin of the timeline since time 0,
    `highest` the largest level since the warm-up. The bin that is being filled is kept apart: [`_begin`, `_end`).
    """

    __slots__ = ("_begin", "_bins", "_end", "_filling", "area", "highest", "name", "since_ns", "timeline", "value")

    def __init__(self, timeline: Timeline, name: str) -> None:
        self.name = name
        self.timeline = timeline
        self.value = 0
        self.since_ns = 0
        self.area = 0
        self.highest = 0
        self._bins: list[int] = []
        self._begin = 0
        self._end = timeline.width_ns
        self._filling = 0
        timeline.levels.append(self)

    @property
    def bins(self) -> list[int]:
        """The integral in level x ns of each bin so far."""
        self._store()
        return self._bins

    def set(self, now_ns: int, value: int) -> None:
        """The level is *value* from *now_ns* on."""
        present = self.value
        if present:
            since = self.since_ns
            if since >= self._begin and now_ns <= self._end:
                area = present * (now_ns - since)
                self.area += area
                self._filling += area
            else:
                self.add(since, now_ns, present)
        self.since_ns = now_ns
        self.value = value
        if value > self.highest:
            self.highest = value

    def change(self, now_ns: int, by: int) -> None:
        """The level goes up or down *by* at *now_ns*."""
        self.set(now_ns, self.value + by)

    def add(self, start_ns: int, end_ns: int, weight: int = 1) -> None:
        """Add *weight* over [start_ns, end_ns)."""
        if end_ns <= start_ns:
            return
        self.area += weight * (end_ns - start_ns)
        if start_ns >= self._begin and end_ns <= self._end:
            self._filling += weight * (end_ns - start_ns)
            return
        timeline = self.timeline
        if end_ns > timeline.width_ns * MAX_BINS:
            timeline.grow_to(end_ns)
        self._store()
        width = timeline.width_ns
        last = (end_ns - 1) // width
        bins = self._bins
        if last >= len(bins):
            bins.extend([0] * (last + 1 - len(bins)))
        for i in range(start_ns // width, last + 1):
            bins[i] += weight * (min(end_ns, (i + 1) * width) - max(start_ns, i * width))
        self._begin = last * width
        self._end = self._begin + width

    def within_one_bin(self, start_ns: int, end_ns: int) -> bool:
        """Tell whether [start_ns, end_ns] lies in one bin; if it does, that bin is filled from here on."""
        if start_ns >= self._begin and end_ns <= self._end:
            return True
        width = self.timeline.width_ns
        begin = start_ns // width * width
        if end_ns > begin + width or end_ns > width * MAX_BINS:
            return False
        self._store()
        self._begin = begin
        self._end = begin + width
        return True

    def add_area(self, area: int) -> None:
        """Add *area* (level x ns) to the bin that is being filled: for what is known to lie within it."""
        self.area += area
        self._filling += area

    def restart(self, now_ns: int) -> None:
        """The warm-up ends at *now_ns*: totals count from here."""
        self.set(now_ns, self.value)
        self.area = 0
        self.highest = self.value

    def merge_bins(self) -> None:
        """The timeline's width has doubled: two bins become one."""
        self._store()
        bins = self._bins
        self._bins = [sum(bins[i : i + 2]) for i in range(0, len(bins), 2)]
        width = self.timeline.width_ns
        self._begin = self._begin // width * width
        self._end = self._begin + width

    def _store(self) -> None:
        """Put the bin that is being filled into the list."""
        if self._filling:
            i = self._begin // (self._end - self._begin)
            bins = self._bins
            if i >= len(bins):
                bins.extend([0] * (i + 1 - len(bins)))
            bins[i] += self._filling
            self._filling = 0
