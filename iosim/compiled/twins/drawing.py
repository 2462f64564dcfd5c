"""Twin of `iosim.host.drawing`: the drawn costs of a coalesced run are one flat list."""

from typing import Any

from iosim.compiled.twins.costs import sample
from iosim.model.draws import Number64, Subject
from iosim.model.stages import N_STAGES
from iosim.model.steps import Item, Run, Template


class Column:
    """A variable item of a segment: its cost at access a is number `first` + a x `step` of the run's draws for it.

    `slot` is the number of the cost among those of the run. `in_exit`: part of the time of an exit; `in_hold`: the
    mutex is held.
    """

    __slots__ = ("cost", "first", "in_exit", "in_hold", "slot", "stage", "step")

    def __init__(self, item: Item, slot: int, first: int, in_exit: bool, in_hold: bool) -> None:
        self.cost: Any = item.cost
        self.stage = int(item.stage)
        self.slot = slot
        self.first = first
        self.step = 0
        self.in_exit = in_exit
        self.in_hold = in_hold


class SegmentPlan:
    """The columns of one segment; `first_exit` is the number of its first exit among those of the run."""

    __slots__ = ("columns", "const_ns", "first_exit", "n", "whole")

    def __init__(self, template: Template, n: int, first_exit: int) -> None:
        self.n = n
        self.whole = template.whole
        self.const_ns = template.const_ns * n
        self.first_exit = first_exit
        self.columns: list[Column] = []


class DrawPlan:
    """How the drawn costs of a run lie in one list, and what each of them belongs to.

    The list holds, segment by segment, n accesses x the variable items of the template.
    """

    def __init__(self, run: Run) -> None:
        self.userspace: list[bool] = []
        self._segments: list[SegmentPlan] = []
        self._whats: list[Number64] = []
        self._counts: list[int] = []
        self._slots: dict[Number64, int] = {}
        self._exit_const: list[int] = []
        self._stages_const = [0] * N_STAGES
        self._hold_const = 0
        self._last_part = -1
        for index in range(len(run.segments)):
            template, n = run.segments[index]
            if not template.whole:
                self._last_part = index
            self._add(template, n)
        self.all_userspace = all(self.userspace)

    def _add(self, template: Template, n: int) -> None:
        """Add *n* accesses of *template* behind the others."""
        segment = SegmentPlan(template, n, len(self._exit_const))
        self._segments.append(segment)
        left, entered = template.exit_range
        if entered:
            self._exit_const += [template.between(left, entered)] * n
            self.userspace += [template.userspace_exits > 0] * n
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
            slot = self._slot(item.cost.what)
            nth = per_access.get(slot, 0)
            per_access[slot] = nth + 1
            in_exit = left <= at and at < entered
            segment.columns.append(Column(item, slot, self._counts[slot] + nth, in_exit, held[at]))
        for column in segment.columns:
            column.step = per_access[column.slot]
        for slot, times in per_access.items():
            self._counts[slot] += times * n

    def _slot(self, what: Number64) -> int:
        """Return the number of the cost that is drawn by *what*."""
        slot = self._slots.get(what)
        if slot is None:
            slot = len(self._whats)
            self._slots[what] = slot
            self._whats.append(what)
            self._counts.append(0)
        return slot

    def draw(self, subject: Subject) -> list[int]:
        """Return the costs in ns of all drawn items, under the numbers that exit-by-exit execution gives them."""
        first: list[int] = []
        for slot in range(len(self._whats)):
            first.append(subject.take(self._whats[slot], self._counts[slot]))
        identity = subject.identity
        drawn: list[int] = []
        for segment in self._segments:
            for access in range(segment.n):
                for column in segment.columns:
                    k = first[column.slot] + column.first + column.step * access
                    drawn.append(sample(column.cost, identity, k))
        return drawn

    def tail(self, drawn: list[int], segment: int) -> list[int]:
        """Return the part of *drawn* that belongs to *segment* and those behind it."""
        at = 0
        for index in range(segment):
            at += self._segments[index].n * len(self._segments[index].columns)
        return drawn[at:]

    def by_segment(self, drawn: list[int]) -> list[list[int] | None]:
        """Return the costs of each segment, access by access; None where nothing is drawn."""
        result: list[list[int] | None] = []
        at = 0
        for segment in self._segments:
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
            segment = self._segments[index]
            size = segment.n * len(segment.columns)
            costs = drawn[at : at + size]
            if not segment.whole:
                result.append((index, begin, costs))
            begin += segment.const_ns + sum(costs)
            at += size
        return result

    def stage_sums(self, drawn: list[int]) -> list[int]:
        """Return the ns per stage of the whole run, constant costs included."""
        sums = self._stages_const[:]
        at = 0
        for segment in self._segments:
            for _ in range(segment.n):
                for column in segment.columns:
                    sums[column.stage] += drawn[at]
                    at += 1
        return sums

    def exit_ns(self, drawn: list[int]) -> list[int]:
        """Return the time of each exit, from kvm_exit to kvm_entry."""
        sums = self._exit_const[:]
        at = 0
        for segment in self._segments:
            for access in range(segment.n):
                for column in segment.columns:
                    if column.in_exit:
                        sums[segment.first_exit + access] += drawn[at]
                    at += 1
        return sums

    def hold_ns(self, drawn: list[int]) -> int:
        """Return how long the mutex is held in all."""
        held = self._hold_const
        at = 0
        for segment in self._segments:
            for _ in range(segment.n):
                for column in segment.columns:
                    if column.in_hold:
                        held += drawn[at]
                    at += 1
        return held
