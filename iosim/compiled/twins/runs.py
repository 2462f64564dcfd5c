"""Twin of `iosim.host.runs`: drawn costs are flat lists, access by access the variable items of the template."""

from iosim.compiled.twins.drawing import DrawPlan
from iosim.compiled.twins.levels import Pattern
from iosim.host.runs import End, Outcome
from iosim.model.draws import Subject
from iosim.model.steps import Run, Segment, Template

__all__ = ["End", "Outcome", "Progress", "hold_pattern", "holds", "item_costs", "offsets", "starts"]


class Progress:
    """The position in a run: segment, access within it, and item within that if an access was broken off."""

    __slots__ = (
        "_draws",
        "_whole_ns",
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

    def __init__(self, run: Run, subject: Subject, drawn: list[int] | None = None) -> None:
        self.run = run
        self.subject = subject
        self._whole_ns = -1
        self.segment = 0
        self.access = 0
        self.item = 0
        self.left_ns: int | None = None
        self.item_start_ns: int | None = None
        self.poll_value = 0
        self.plan: DrawPlan | None = None
        self.drawn: list[int] | None = None
        self._draws: list[list[int] | None] | None = None
        if run.total_ns is None:
            if run.plan is None:
                run.plan = DrawPlan(run)
            plan: DrawPlan = run.plan
            self.plan = plan
            self.drawn = plan.draw(subject) if drawn is None else drawn

    @property
    def draws(self) -> list[list[int] | None] | None:
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

    def tail(self) -> "Progress":
        """Return the same position as the begin of a run of its own: that of the segments that remain."""
        rest = self.run.tail(self.segment)
        if self.plan is None or self.drawn is None:
            return Progress(rest, self.subject)
        return Progress(rest, self.subject, self.plan.tail(self.drawn, self.segment))

    def costs(self) -> list[int]:
        """Return the cost in ns of each item of the present access (0 for items without time)."""
        draws = self.draws
        return item_costs(self.template, None if draws is None else draws[self.segment], self.access)

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
            if self._whole_ns < 0:
                self._whole_ns = self.run.const_ns if self.drawn is None else self.run.const_ns + sum(self.drawn)
            return self._whole_ns
        remaining = 0
        for _, _, _, total in self.parts():
            remaining += total
        return remaining

    def parts(self) -> list[tuple[int, int, int, int]]:
        """Return (segment, first access, n accesses, total ns) for what remains."""
        draws = self.draws
        result: list[tuple[int, int, int, int]] = []
        for index in range(self.segment, len(self.run.segments)):
            template, n = self.run.segments[index]
            first = self.access if index == self.segment else 0
            total = template.const_ns * (n - first)
            drawn = None if draws is None else draws[index]
            if drawn is not None:
                total += sum(from_access(template, drawn, first))
            result.append((index, first, n - first, total))
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

    def begin_rest(self) -> "Progress":
        """Return the position behind the present access; what is drawn there is drawn anew."""
        self.next_access()
        if self.plan is None or self.done:
            return self
        template, n = self.run.segments[self.segment]
        segments = [Segment(template, n - self.access)]
        for index in range(self.segment + 1, len(self.run.segments)):
            segments.append(self.run.segments[index])
        return Progress(Run(segments), self.subject)

    def give_back_rest(self) -> None:
        """Return the draws of the rest of a run of one access that will not be executed."""
        _give_back(self.subject, self.template, self.item if self.left_ns is None else self.item + 1, 1)

    def find(self, offset_ns: int, inclusive: bool) -> tuple[int, int, int, int]:
        """Return (segment, access, item, start of the item) of the cost under way *offset_ns* after this position.

        A cost that ends at exactly that instant is under way unless *inclusive*.
        """
        start = 0
        for index, first, n, total in self.parts():
            if total and _is_under_way(start + total, offset_ns, inclusive):
                return self._find_in(index, first, n, start, offset_ns, inclusive)
            start += total
        raise AssertionError("the run has ended before that instant")

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
            while not _is_under_way(end, offset_ns, inclusive):
                start = end
                access += 1
                end += access_ns(template, drawn, access)
        assert access < first + n
        costs = item_costs(template, drawn, access)
        for position in range(len(costs)):
            cost = costs[position]
            if cost and _is_under_way(start + cost, offset_ns, inclusive):
                return index, access, position, start
            start += cost
        raise AssertionError("no cost of the access is under way at that instant")


def _is_under_way(end_ns: int, now_ns: int, inclusive: bool) -> bool:
    """Tell whether what ends at *end_ns* still goes on at *now_ns*; at that very instant it does unless *inclusive*."""
    return end_ns > now_ns or (end_ns == now_ns and not inclusive)


def _give_back(subject: Subject, template: Template, item: int, n: int) -> None:
    """Return the draws of the items from *item* on of *n* accesses."""
    counts = subject.counts
    for position in template.variable:
        cost = template.items[position].cost
        if position >= item and cost is not None:
            counts[cost.place] -= n


def from_access(template: Template, drawn: list[int], first: int) -> list[int]:
    """Return the drawn costs of the accesses from number *first* on."""
    return drawn[first * len(template.variable) :]


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
