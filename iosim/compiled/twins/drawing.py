"""Twin of `iosim.host.drawing`: the drawn costs of a coalesced run are one flat list."""

from typing import Any

from iosim.compiled.twins.costs import sample
from iosim.compiled.twins.durations import Durations
from iosim.model.draws import Subject
from iosim.model.stages import N_STAGES
from iosim.model.steps import Item, Run, Template


class Column:
    """A variable item of a segment: its cost at access a is number `first` + a x `step` of the run's draws for it.

    `slot` is the number of the cost among those of the run. `in_hold`: the mutex is held.
    """

    __slots__ = ("cost", "first", "in_hold", "slot", "stage", "step")

    def __init__(self, item: Item, slot: int, first: int, in_hold: bool) -> None:
        self.cost: Any = item.cost
        self.stage = int(item.stage)
        self.slot = slot
        self.first = first
        self.step = 0
        self.in_hold = in_hold


class SegmentPlan:
    """The columns of one segment.

    Each access has one exit if there are `exits`: `exit_const_ns` and the columns from `exit_from` to before `exit_to`.
    """

    __slots__ = (
        "access_const_ns",
        "columns",
        "const_ns",
        "exit_const_ns",
        "exit_from",
        "exit_to",
        "exits",
        "hold_const_ns",
        "n",
        "template",
        "userspace",
        "whole",
    )

    def __init__(self, template: Template, n: int) -> None:
        self.n = n
        self.template = template
        self.whole = template.whole
        self.access_const_ns = template.const_ns
        self.const_ns = template.const_ns * n
        self.hold_const_ns = template.hold_ns
        left, entered = template.exit_range
        self.exits = entered > 0
        self.userspace = template.userspace_exits > 0
        self.exit_const_ns = template.between(left, entered)
        self.exit_from = 0
        self.exit_to = 0
        for column in range(len(template.variable)):
            if template.variable[column] < left:
                self.exit_from = column + 1
            if template.variable[column] < entered:
                self.exit_to = column + 1
        self.columns: list[Column] = []


class DrawPlan:
    """How the drawn costs of a run lie in one list, and what each of them belongs to.

    The list holds, segment by segment, n accesses x the variable items of the template.
    """

    def __init__(self, run: Run) -> None:
        self.segments: list[SegmentPlan] = []
        self._places: list[int] = []
        self._counts: list[int] = []
        self._slots: dict[int, int] = {}
        self._stages_const = [0] * N_STAGES
        self._hold_const = 0
        self._last_part = -1
        self._n_draws = 0
        for index in range(len(run.segments)):
            template, n = run.segments[index]
            if not template.whole:
                self._last_part = index
            self._add(template, n)
        self._blank = [0] * self._n_draws

    def _add(self, template: Template, n: int) -> None:
        """Add *n* accesses of *template* behind the others."""
        segment = SegmentPlan(template, n)
        self.segments.append(segment)
        self._hold_const += template.hold_ns * n
        held = [False] * len(template.items)
        for lock, unlock in template.holds:
            for at in range(lock, unlock):
                held[at] = True
        per_access: dict[int, int] = {}
        for at in range(len(template.items)):
            item = template.items[at]
            if item.cost is None:
                continue
            if item.cost.ns is not None:
                self._stages_const[item.stage] += item.cost.ns * n
                continue
            slot = self._slot(item.cost.place)
            nth = per_access.get(slot, 0)
            per_access[slot] = nth + 1
            segment.columns.append(Column(item, slot, self._counts[slot] + nth, held[at]))
        for column in segment.columns:
            column.step = per_access[column.slot]
        for slot, times in per_access.items():
            self._counts[slot] += times * n
        self._n_draws += n * len(segment.columns)

    def _slot(self, place: int) -> int:
        """Return the number of the cost whose draws are counted at *place*."""
        slot = self._slots.get(place)
        if slot is None:
            slot = len(self._places)
            self._slots[place] = slot
            self._places.append(place)
            self._counts.append(0)
        return slot

    def draw(self, subject: Subject) -> list[int]:
        """Return the costs in ns of all drawn items, under the numbers that exit-by-exit execution gives them."""
        first: list[int] = []
        for slot in range(len(self._places)):
            first.append(subject.take(self._places[slot], self._counts[slot]))
        identity = subject.identity
        drawn: list[int] = self._blank[:]
        begin = 0
        for segment in self.segments:
            columns = segment.columns
            width = len(columns)
            for index in range(width):
                column = columns[index]
                cost = column.cost
                k: int = first[column.slot] + column.first
                step: int = column.step
                at = begin + index
                for _ in range(segment.n):
                    drawn[at] = sample(cost, identity, k)
                    k += step
                    at += width
            begin += segment.n * width
        return drawn

    def tail(self, drawn: list[int], segment: int) -> list[int]:
        """Return the part of *drawn* that belongs to *segment* and those behind it."""
        at = 0
        for index in range(segment):
            at += self.segments[index].n * len(self.segments[index].columns)
        return drawn[at:]

    def by_segment(self, drawn: list[int]) -> list[list[int] | None]:
        """Return the costs of each segment, access by access; None where nothing is drawn."""
        result: list[list[int] | None] = []
        at = 0
        for segment in self.segments:
            size = segment.n * len(segment.columns)
            result.append(drawn[at : at + size] if segment.columns else None)
            at += size
        return result

    def parts(self, drawn: list[int]) -> list[tuple[int, int, list[int]]]:
        """Return (segment, begin in ns, drawn costs) of each segment that is not of whole round trips."""
        result: list[tuple[int, int, list[int]]] = []
        begin = 0
        at = 0
        for index in range(self._last_part + 1):
            segment = self.segments[index]
            size = segment.n * len(segment.columns)
            costs = drawn[at : at + size]
            if not segment.whole:
                result.append((index, begin, costs))
            begin += segment.const_ns + sum(costs)
            at += size
        return result

    def spent(self, drawn: list[int], stages: list[int] | None) -> int:
        """Add the ns per stage of the whole run to *stages*, if given; return how long the mutex is held in all."""
        if stages is not None:
            for stage in range(N_STAGES):
                stages[stage] += self._stages_const[stage]
        held = self._hold_const
        begin = 0
        for segment in self.segments:
            columns = segment.columns
            width = len(columns)
            for index in range(width):
                column = columns[index]
                total = 0
                at = begin + index
                for _ in range(segment.n):
                    total += drawn[at]
                    at += width
                if stages is not None:
                    stages[column.stage] += total
                if column.in_hold:
                    held += total
            begin += segment.n * width
        return held

    def add_exits(self, drawn: list[int], userspace: Durations, others: Durations) -> None:
        """Add the time of each exit, from kvm_exit to kvm_entry: of returns to userspace, and of all others."""
        begin = 0
        for segment in self.segments:
            width = len(segment.columns)
            if segment.exits:
                durations = userspace if segment.userspace else others
                low = begin + segment.exit_from
                high = begin + segment.exit_to
                for _ in range(segment.n):
                    ns: int = segment.exit_const_ns
                    for at in range(low, high):
                        ns += drawn[at]
                    durations.add(ns, 1)
                    low += width
                    high += width
            begin += segment.n * width

    def has_exits(self, userspace: bool) -> bool:
        """Tell whether the run has exits to userspace, or others."""
        return any(segment.exits and segment.userspace == userspace for segment in self.segments)
