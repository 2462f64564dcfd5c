"""Twin of `iosim.host.runs`: drawn costs are flat lists, access by access the variable items of the template."""

from typing import Any

from iosim.compiled.twins.drawing import DrawPlan
from iosim.compiled.twins.levels import Pattern
from iosim.host.any_progress import AnyProgress, is_under_way, item_under_way
from iosim.model.draws import Subject
from iosim.model.steps import Run, Segment, Template


class Progress(AnyProgress):
    """A position in a run."""

    __slots__ = ("_whole_ns",)

    def __init__(self, run: Run, subject: Subject, drawn: list[int] | None = None) -> None:
        self._whole_ns = -1
        super().__init__(run, subject, drawn)

    def _new_plan(self, run: Run) -> DrawPlan:
        return DrawPlan(run)

    def _begin_of(self, run: Run, drawn: Any) -> "Progress":
        return Progress(run, self.subject, drawn)

    def costs(self) -> list[int]:
        """Return the cost in ns of each item of the present access (0 for items without time)."""
        draws = self.draws
        return item_costs(self.template, None if draws is None else draws[self.segment], self.access)

    def remaining_ns(self) -> int:
        """Return how long the accesses from here on take, undisturbed."""
        if self.segment == 0 and self.access == 0:
            if self._whole_ns < 0:
                self._whole_ns = self.run.const_ns if self.drawn is None else self.run.const_ns + sum(self.drawn)
            return self._whole_ns
        remaining = 0
        for _, _, _, total in self.parts():
            remaining += total
        return remaining

    def drawn_ns(self, segment: int, first: int, n: int) -> int:
        """Return the sum of the drawn costs of *n* accesses of a segment from number *first* on."""
        drawn = self.drawn_of(segment, first, n)
        return 0 if drawn is None else sum(drawn)

    def drawn_of(self, segment: int, first: int, n: int) -> Any:
        """Return the drawn costs of *n* accesses of a segment from number *first* on; None if it has none."""
        draws = self.draws
        drawn: Any = None if draws is None else draws[segment]
        width = len(self.run.segments[segment].template.variable)
        return None if drawn is None else drawn[first * width : (first + n) * width]

    def _find_in(
        self, index: int, first: int, n: int, start: int, offset_ns: int, inclusive: bool
    ) -> tuple[int, int, int, int]:
        template = self.run.segments[index].template
        draws = self.draws
        drawn = None if draws is None else draws[index]
        access = first
        if drawn is None:
            inside = offset_ns - start if inclusive else offset_ns - start - 1
            access += max(0, inside) // template.const_ns
            start += (access - first) * template.const_ns
        else:
            end = start + access_ns(template, drawn, access)
            while not is_under_way(end, offset_ns, inclusive):
                start = end
                access += 1
                end += access_ns(template, drawn, access)
        assert access < first + n
        item, at = item_under_way(item_costs(template, drawn, access), start, offset_ns, inclusive)
        return index, access, item, at


def access_ns(template: Template, drawn: list[int] | None, access: int) -> int:
    """Return how long an access takes."""
    total = template.const_ns
    if drawn is not None:
        width = len(template.variable)
        for index in range(access * width, (access + 1) * width):
            total += drawn[index]
    return total


def item_costs(template: Template, drawn: list[int] | None, access: int) -> list[int]:
    """Return the cost in ns of each item of one access of a segment with the drawn costs *drawn*."""
    costs: list[int] = []
    for item in template.items:
        costs.append(0 if item.cost is None else item.cost.ns or 0)
    if drawn is not None:
        at = access * len(template.variable)
        for position in template.variable:
            costs[position] = drawn[at]
            at += 1
    return costs


def costs_of_one(drawn: list[int]) -> list[int]:
    """Return the drawn costs of a front or back of a round trip, of which there is only one."""
    return drawn


def charge_drawn(template: Template, drawn: list[int], n: int, stages: list[int]) -> None:
    """Add what *n* accesses take, some of it drawn, to the ns per stage."""
    for item in template.items:
        if item.cost is not None and item.cost.ns is not None:
            stages[item.stage] += item.cost.ns * n
    at = 0
    for _ in range(n):
        for position in template.variable:
            stages[template.items[position].stage] += drawn[at]
            at += 1


def offsets(template: Template, drawn: list[int] | None, n: int, position: int) -> list[int]:
    """Return, for each of *n* accesses, the ns from its begin to the begin of the item at *position*."""
    const = template.between(0, position)
    if drawn is None:
        return [const] * n
    result: list[int] = []
    width = len(template.variable)
    for access in range(n):
        offset = const
        for column in range(width):
            if template.variable[column] < position:
                offset += drawn[access * width + column]
        result.append(offset)
    return result


def starts(template: Template, drawn: list[int] | None, n: int, start_ns: int) -> list[int]:
    """Return when each of *n* accesses begins, the first at *start_ns*."""
    result: list[int] = []
    at = start_ns
    for access in range(n):
        result.append(at)
        at += access_ns(template, drawn, access)
    return result


def holds(template: Template, drawn: list[int] | None, n: int, start_ns: int) -> tuple[list[int], list[int]]:
    """Return when *n* accesses, begun at *start_ns*, take and release the mutex; one entry per hold."""
    begins = starts(template, drawn, n, start_ns)
    taken: list[int] = []
    released: list[int] = []
    for lock, unlock in template.holds:
        to_lock = offsets(template, drawn, n, lock)
        to_unlock = offsets(template, drawn, n, unlock)
        for access in range(n):
            taken.append(begins[access] + to_lock[access])
            released.append(begins[access] + to_unlock[access])
    return taken, released


def hold_pattern(segments: list[Segment] | tuple[Segment, ...]) -> Pattern:
    """Return the holds of accesses in a row, with constant costs."""
    taken: list[int] = []
    released: list[int] = []
    start = 0
    for template, n in segments:
        if template.holds:
            more_taken, more_released = holds(template, None, n, start)
            taken += more_taken
            released += more_released
        start += template.const_ns * n
    return Pattern(taken, released, start)
