"""A position in a run of port accesses, whichever way an engine keeps the costs that it has drawn."""

from abc import ABC, abstractmethod
from enum import Enum
from typing import Any, NamedTuple, Self

from iosim.model.draws import Subject
from iosim.model.steps import Run, Segment, Template


class AnyProgress(ABC):
    """The position in a run: segment, access within it, and item within that if an access was broken off.

    What is drawn is drawn when the run begins, under the same numbers that exit-by-exit execution gives it: `plan` says
    how it lies in `drawn`. `left_ns` is what remains of the item, `item_start_ns` when it began if it is under way.
    """

    __slots__ = (
        "_draws",
        "access",
        "drawn",
        "item",
        "item_start_ns",
        "left_ns",
        "plan",
        "poll_value",
        "run",
        "segment",
        "subject",
    )

    def __init__(self, run: Run, subject: Subject, drawn: Any = None) -> None:
        self.run = run
        self.subject = subject
        self.segment = 0
        self.access = 0
        self.item = 0
        self.left_ns: int | None = None
        self.item_start_ns: int | None = None
        self.poll_value = 0
        self.plan: Any = None
        self.drawn: Any = None
        self._draws: list[Any] | None = None
        if run.total_ns is None:
            if run.plan is None:
                run.plan = self._new_plan(run)
            self.plan = run.plan
            self.drawn = self.plan.draw(subject) if drawn is None else drawn

    @abstractmethod
    def _new_plan(self, run: Run) -> Any:
        """Return how the drawn costs of *run* lie."""

    @abstractmethod
    def _begin_of(self, run: Run, drawn: Any) -> Self:
        """Return the begin of another run of the same subject; *drawn* is None if its costs are to be drawn."""

    @abstractmethod
    def costs(self) -> list[int]:
        """Return the cost in ns of each item of the present access (0 for items without time)."""

    @abstractmethod
    def remaining_ns(self) -> int:
        """Return how long the accesses from here on take, undisturbed."""

    @abstractmethod
    def drawn_ns(self, segment: int, first: int, n: int) -> int:
        """Return the sum of the drawn costs of *n* accesses of a segment from number *first* on."""

    @abstractmethod
    def drawn_of(self, segment: int, first: int, n: int) -> Any:
        """Return the drawn costs of *n* accesses of a segment from number *first* on; None if it has none."""

    @abstractmethod
    def _find_in(
        self, index: int, first: int, n: int, start: int, offset_ns: int, inclusive: bool
    ) -> tuple[int, int, int, int]:
        """Return what `find` does, within a segment of which *n* accesses from number *first* on begin at *start*."""

    @property
    def draws(self) -> list[Any] | None:
        """The drawn costs per segment; None if the run has none."""
        if self._draws is None and self.plan is not None:
            assert self.drawn is not None
            self._draws = self.plan.by_segment(self.drawn)
        return self._draws

    @property
    def at_access(self) -> bool:
        """Whether the next thing to do is a whole access."""
        return self.item == 0 and self.left_ns is None

    @property
    def done(self) -> bool:
        """Whether every access has been executed."""
        return self.segment >= len(self.run.segments)

    @property
    def template(self) -> Template:
        """The template of the present access."""
        return self.run.segments[self.segment].template

    def tail(self) -> Self:
        """Return the same position as the begin of a run of its own: that of the segments that remain."""
        rest = self.run.tail(self.segment)
        return self._begin_of(rest, None if self.plan is None else self.plan.tail(self.drawn, self.segment))

    def next_access(self) -> None:
        """Move to the first item of the next access."""
        self.item = 0
        self.left_ns = None
        self.item_start_ns = None
        self.access += 1
        if self.access == self.run.segments[self.segment].n:
            self.segment += 1
            self.access = 0

    def parts(self) -> list[tuple[int, int, int, int]]:
        """Return (segment, first access, n accesses, total ns) for what remains."""
        result: list[tuple[int, int, int, int]] = []
        for index in range(self.segment, len(self.run.segments)):
            template, n = self.run.segments[index]
            first = self.access if index == self.segment else 0
            n -= first
            total = template.const_ns * n
            if self.plan is not None:
                total += self.drawn_ns(index, first, n)
            result.append((index, first, n, total))
        return result

    def give_back(self) -> None:
        """Return the draws of accesses that will not be executed: a poll that ended early."""
        template, n = self.run.segments[self.segment]
        assert len(self.run.segments) == 1
        _give_back(self.subject, template, 0, n - self.access)

    def give_back_from(self, item: int) -> None:
        """Return the draws of the present access from *item* on, and of all accesses behind it."""
        _give_back(self.subject, self.template, item, 1)
        for index in range(self.segment, len(self.run.segments)):
            behind, n = self.run.segments[index]
            if index == self.segment:
                n -= self.access + 1
            _give_back(self.subject, behind, 0, n)

    def give_back_rest(self) -> None:
        """Return the draws of the rest of a run of one access that will not be executed."""
        _give_back(self.subject, self.template, self.item if self.left_ns is None else self.item + 1, 1)

    def begin_rest(self) -> Self:
        """Return the position behind the present access; what is drawn there is drawn anew."""
        self.next_access()
        if self.plan is None or self.done:
            return self
        template, n = self.run.segments[self.segment]
        segments = [Segment(template, n - self.access)]
        segments += self.run.segments[self.segment + 1 :]
        return self._begin_of(Run(segments), None)

    def find(self, offset_ns: int, inclusive: bool) -> tuple[int, int, int, int]:
        """Return (segment, access, item, start of the item) of the cost under way *offset_ns* after this position.

        A cost that ends at exactly that instant is under way unless *inclusive*.
        """
        start = 0
        for index, first, n, total in self.parts():
            if total and is_under_way(start + total, offset_ns, inclusive):
                return self._find_in(index, first, n, start, offset_ns, inclusive)
            start += total
        raise AssertionError("the run has ended before that instant")


def is_under_way(end_ns: int, now_ns: int, inclusive: bool) -> bool:
    """Tell whether what ends at *end_ns* still goes on at *now_ns*; at that very instant it does unless *inclusive*."""
    return end_ns > now_ns or (end_ns == now_ns and not inclusive)


def item_under_way(costs: list[int], start: int, offset_ns: int, inclusive: bool) -> tuple[int, int]:
    """Return (item, its start) of the one under way at *offset_ns*, of an access begun at *start*."""
    for position, cost in enumerate(costs):
        if cost and is_under_way(start + cost, offset_ns, inclusive):
            return position, start
        start += cost
    raise AssertionError("no cost of the access is under way at that instant")


def _give_back(subject: Subject, template: Template, item: int, n: int) -> None:
    """Return the draws of the items from *item* on of *n* accesses."""
    for position in template.variable:
        cost = template.items[position].cost
        if position >= item and cost is not None:
            subject.counts[cost.place] -= n


class End(Enum):
    """Why a run came back before its last access."""

    AT_CHECK = 1
    """At a vcpu_enter_guest something was pending."""
    KICKED = 2
    """An IPI took the vCPU out of the guest."""
    POLLED = 3
    """A poll was disturbed: its register has been read again, and what was read is in `poll_value`."""
    RELAUNCHED = 4
    """The access ended with a VMLAUNCH; `HostThread` itself goes on with the rest."""


class Outcome(NamedTuple):
    """A run that did not reach its last access: why, and where it goes on."""

    end: End
    progress: AnyProgress
