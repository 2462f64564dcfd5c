"""How far a thread has come in a run of port accesses."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from iosim.host.drawing import DrawPlan
from iosim.host.levels import Pattern
from iosim.model.costs import Int64Array
from iosim.model.draws import Subject
from iosim.model.steps import Run, Segment, Template


class Progress:
    """The position in a run: segment, access within it, and item within that if an access was broken off.

    What is drawn is drawn when the run begins, under the same numbers that exit-by-exit execution gives it. `left_ns`
    is what remains of the item, `item_start_ns` when it began if it is under way.
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

    def __init__(self, run: Run, subject: Subject, drawn: Int64Array | None = None) -> None:
        self.run = run
        self.subject = subject
        self.segment = 0
        self.access = 0
        self.item = 0
        self.left_ns: int | None = None
        self.item_start_ns: int | None = None
        self.poll_value = 0
        self.plan: DrawPlan | None = None
        self.drawn: Int64Array | None = None
        self._draws: list[Int64Array | None] | None = None
        if run.total_ns is None:
            if run.plan is None:
                run.plan = DrawPlan(run)
            self.plan = run.plan
            assert self.plan is not None
            self.drawn = self.plan.draw(subject) if drawn is None else drawn

    @property
    def draws(self) -> list[Int64Array | None] | None:
        """The drawn costs per segment (n accesses x variable items); None if the run has none."""
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

    def tail(self) -> "Progress":
        """Return the same position as the begin of a run of its own: that of the segments that remain."""
        rest = self.run.tail(self.segment)
        if self.plan is None or self.drawn is None:
            return Progress(rest, self.subject)
        return Progress(rest, self.subject, self.plan.tail(self.drawn, self.segment))

    def costs(self) -> list[int]:
        """Return the cost in ns of each item of the present access (0 for items without time)."""
        return item_costs(self.template, None if self.draws is None else self.draws[self.segment], self.access)

    def next_access(self) -> None:
        """Move to the first item of the next access."""
        self.item = 0
        self.left_ns = None
        self.item_start_ns = None
        self.access += 1
        if self.access == self.run.segments[self.segment].n:
            self.segment += 1
            self.access = 0

    def remaining_ns(self) -> int:
        """Return how long the accesses from here on take, undisturbed."""
        if self.segment == 0 and self.access == 0:
            return self.run.const_ns if self.drawn is None else self.run.const_ns + int(self.drawn.sum())
        return sum(total for _, _, _, total in self.parts())

    def parts(self) -> list[tuple[int, int, int, int]]:
        """Return (segment, first access, n accesses, total ns) for what remains."""
        result = []
        for index in range(self.segment, len(self.run.segments)):
            template, n = self.run.segments[index]
            first = self.access if index == self.segment else 0
            total = template.const_ns * (n - first)
            drawn = None if self.draws is None else self.draws[index]
            if drawn is not None:
                total += int(drawn[first:].sum())
            result.append((index, first, n - first, total))
        return result

    def give_back(self) -> None:
        """Return the draws of accesses that will not be executed: a poll that ended early."""
        template, n = self.run.segments[self.segment]
        assert len(self.run.segments) == 1
        for place, per_access in _draws_per_access(template).items():
            self.subject.counts[place] -= per_access * (n - self.access)

    def give_back_from(self, item: int) -> None:
        """Return the draws of the present access from *item* on, and of all accesses behind it."""
        counts = self.subject.counts
        template = self.template
        for position in template.variable:
            cost = template.items[position].cost
            if position >= item and cost is not None:
                counts[cost.place] -= 1
        for index in range(self.segment, len(self.run.segments)):
            behind, n = self.run.segments[index]
            if index == self.segment:
                n -= self.access + 1
            for place, per_access in _draws_per_access(behind).items():
                counts[place] -= per_access * n

    def begin_rest(self) -> "Progress":
        """Return the position behind the present access; what is drawn there is drawn anew."""
        self.next_access()
        if self.plan is None or self.done:
            return self
        template, n = self.run.segments[self.segment]
        behind = self.run.segments[self.segment + 1 :]
        return Progress(Run([Segment(template, n - self.access), *behind]), self.subject)

    def give_back_rest(self) -> None:
        """Return the draws of the rest of a run of one access that will not be executed."""
        template = self.template
        first = self.item if self.left_ns is None else self.item + 1
        for position in template.variable:
            cost = template.items[position].cost
            if position >= first and cost is not None:
                self.subject.counts[cost.place] -= 1

    def find(self, offset_ns: int, inclusive: bool) -> tuple[int, int, int, int]:
        """Return (segment, access, item, start of the item) of the cost under way *offset_ns* after this position.

        A cost that ends at exactly that instant is under way unless *inclusive*.
        """
        start = 0
        for index, first, n, total in self.parts():
            if total == 0:
                continue
            if start + total > offset_ns or (start + total == offset_ns and not inclusive):
                return self._find_in(index, first, n, start, offset_ns, inclusive)
            start += total
        raise AssertionError("the run has ended before that instant")

    def _find_in(
        self, index: int, first: int, n: int, start: int, offset_ns: int, inclusive: bool
    ) -> tuple[int, int, int, int]:
        template = self.run.segments[index].template
        drawn = None if self.draws is None else self.draws[index]
        inside = offset_ns - start
        if drawn is None:
            skip = inside // template.const_ns if inclusive else max(0, (inside - 1) // template.const_ns)
            start += skip * template.const_ns
        else:
            ends = np.cumsum(drawn[first:].sum(axis=1) + template.const_ns)
            skip = int(np.searchsorted(ends, inside, side="right" if inclusive else "left"))
            start += int(ends[skip - 1]) if skip else 0
        access = first + skip
        assert skip < n
        for position, cost in enumerate(item_costs(template, drawn, access)):
            if cost and (start + cost > offset_ns or (start + cost == offset_ns and not inclusive)):
                return index, access, position, start
            start += cost
        raise AssertionError("no cost of the access is under way at that instant")


def item_costs(template: Template, drawn: Int64Array | None, access: int) -> list[int]:
    """Return the cost in ns of each item of one access of a segment with the drawn costs *drawn*."""
    costs = [0 if item.cost is None else item.cost.ns or 0 for item in template.items]
    if drawn is not None:
        for column, position in enumerate(template.variable):
            costs[position] = int(drawn[access, column])
    return costs


def offsets(template: Template, drawn: Int64Array | None, n: int, position: int) -> Int64Array:
    """Return, for each of *n* accesses, the ns from its begin to the begin of the item at *position*."""
    before = template.items[:position]
    const = sum(item.cost.ns or 0 for item in before if item.cost is not None)
    result = np.full(n, const, dtype=np.int64)
    if drawn is not None:
        columns = [column for column, item in enumerate(template.variable) if item < position]
        result += drawn[:, columns].sum(axis=1)
    return result


def starts(template: Template, drawn: Int64Array | None, n: int, start_ns: int) -> Int64Array:
    """Return when each of *n* accesses begins, the first at *start_ns*."""
    if drawn is None:
        return start_ns + template.const_ns * np.arange(n, dtype=np.int64)
    durations = drawn.sum(axis=1) + template.const_ns
    return start_ns + np.concatenate([[0], np.cumsum(durations)[:-1]]).astype(np.int64)


def holds(template: Template, drawn: Int64Array | None, n: int, start_ns: int) -> tuple[Int64Array, Int64Array]:
    """Return when *n* accesses, begun at *start_ns*, take and release the mutex; one entry per hold."""
    begins = starts(template, drawn, n, start_ns)
    taken = [begins + offsets(template, drawn, n, lock) for lock, _ in template.holds]
    released = [begins + offsets(template, drawn, n, unlock) for _, unlock in template.holds]
    return np.concatenate(taken), np.concatenate(released)


def hold_pattern(segments: Sequence[Segment]) -> Pattern:
    """Return the holds of accesses in a row, with constant costs."""
    parts = []
    start = 0
    for template, n in segments:
        if template.holds:
            parts.append(holds(template, None, n, start))
        start += template.const_ns * n
    return Pattern(np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]), start)


def _draws_per_access(template: Template) -> dict[int, int]:
    """Return how many draws one access makes for each cost (by its `place`)."""
    per_access: dict[int, int] = {}
    for position in template.variable:
        cost = template.items[position].cost
        assert cost is not None
        per_access[cost.place] = per_access.get(cost.place, 0) + 1
    return per_access


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
    progress: Progress
