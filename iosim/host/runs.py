"""How far a thread has come in a run of port accesses."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from iosim.host.any_progress import AnyProgress, End, Outcome, item_under_way
from iosim.host.drawing import DrawPlan
from iosim.host.levels import Pattern
from iosim.model.costs import Int64Array
from iosim.model.steps import Run, Segment, Template

__all__ = [
    "End",
    "Outcome",
    "Progress",
    "charge_drawn",
    "costs_of_one",
    "hold_pattern",
    "holds",
    "item_costs",
    "offsets",
    "starts",
]


class Progress(AnyProgress):
    """A position in a run; `draws` are arrays of n accesses x variable items."""

    __slots__ = ()

    def _new_plan(self, run: Run) -> DrawPlan:
        return DrawPlan(run)

    def _begin_of(self, run: Run, drawn: Any) -> "Progress":
        return Progress(run, self.subject, drawn)

    def costs(self) -> list[int]:
        """Return the cost in ns of each item of the present access (0 for items without time)."""
        return item_costs(self.template, None if self.draws is None else self.draws[self.segment], self.access)

    def remaining_ns(self) -> int:
        """Return how long the accesses from here on take, undisturbed."""
        if self.segment == 0 and self.access == 0:
            return self.run.const_ns if self.drawn is None else self.run.const_ns + int(self.drawn.sum())
        return sum(total for _, _, _, total in self.parts())

    def drawn_ns(self, segment: int, first: int, n: int) -> int:
        """Return the sum of the drawn costs of *n* accesses of a segment from number *first* on."""
        drawn = self.drawn_of(segment, first, n)
        return 0 if drawn is None else int(drawn.sum())

    def drawn_of(self, segment: int, first: int, n: int) -> Int64Array | None:
        """Return the drawn costs of *n* accesses of a segment from number *first* on; None if it has none."""
        drawn: Int64Array | None = None if self.draws is None else self.draws[segment]
        return None if drawn is None else drawn[first : first + n]

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
        assert skip < n
        item, at = item_under_way(item_costs(template, drawn, first + skip), start, offset_ns, inclusive)
        return index, first + skip, item, at


def item_costs(template: Template, drawn: Int64Array | None, access: int) -> list[int]:
    """Return the cost in ns of each item of one access of a segment with the drawn costs *drawn*."""
    costs = [0 if item.cost is None else item.cost.ns or 0 for item in template.items]
    if drawn is not None:
        for column, position in enumerate(template.variable):
            costs[position] = int(drawn[access, column])
    return costs


def costs_of_one(drawn: Int64Array) -> list[int]:
    """Return the drawn costs of a front or back of a round trip, of which there is only one."""
    costs: list[int] = drawn[0].tolist()
    return costs


def charge_drawn(template: Template, drawn: Int64Array, n: int, stages: list[int]) -> None:
    """Add what *n* accesses take, some of it drawn, to the ns per stage."""
    sums = drawn.sum(axis=0).tolist()
    drawn_at = dict(zip(template.variable, sums, strict=True))
    for position, item in enumerate(template.items):
        if item.cost is not None:
            stages[item.stage] += drawn_at[position] if position in drawn_at else (item.cost.ns or 0) * n


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
