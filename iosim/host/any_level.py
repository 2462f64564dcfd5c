"""What levels and their time bins are, whichever way an engine keeps them."""

from abc import ABC, abstractmethod
from typing import Any

MAX_BINS = 1000


class AnyTimeline:
    """The time bins of a run, all of one width that doubles whenever a run outgrows `MAX_BINS` of them.

    Every entry is an integral over time, so merging two neighbours is exact, and the final bins depend on the end of
    the run only. `levels` are `AnyLevel`s.
    """

    FIRST_WIDTH_NS = 1_000_000

    def __init__(self) -> None:
        self.width_ns: int = self.FIRST_WIDTH_NS
        self.levels: list[Any] = []

    def grow_to(self, end_ns: int) -> None:
        """Double the width until a bin exists for every instant before *end_ns*."""
        while end_ns > self.width_ns * MAX_BINS:
            self.width_ns *= 2
            for level in self.levels:
                level.merge_bins()


class AnyLevel(ABC):
    """A level that steps up and down (a number busy, a number waiting) and its time integral.

    `highest` is the largest level since the warm-up; `value` is what it has been since `since_ns`.
    """

    __slots__ = ("highest", "name", "since_ns", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0
        self.since_ns = 0
        self.highest = 0

    @abstractmethod
    def _add(self, start_ns: int, end_ns: int, weight: int) -> None:
        """Add *weight* over [start_ns, end_ns)."""

    @abstractmethod
    def _restart_area(self) -> None:
        """What has been added so far is no part of the total."""

    @abstractmethod
    def merge_bins(self) -> None:
        """The timeline's width has doubled: two bins become one."""

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

    def restart(self, now_ns: int) -> None:
        """The warm-up ends at *now_ns*: totals count from here."""
        self.set(now_ns, self.value)
        self._restart_area()
        self.highest = self.value
