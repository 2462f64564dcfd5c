"""The drawn costs of a coalesced run, drawn and added up all at once."""

from collections.abc import Sequence
from operator import add

import numpy as np

from iosim.model.costs import Cost, CostTables, Int64Array
from iosim.model.draws import Subject
from iosim.model.stages import N_STAGES
from iosim.model.steps import Run


class DrawPlan:
    """How the drawn costs of a run lie in one array, and what each of them belongs to.

    The array holds, segment by segment, n accesses x the variable items of the template. Per element: the cost it is
    drawn for, its number among the run's draws for that cost, its stage, the exit whose time it is part of (one more
    than there are for none) and whether the mutex is held meanwhile. The `exits` are those of whole round trips.
    """

    def __init__(self, run: Run) -> None:
        self._sizes = [(n, len(template.variable)) for template, n in run.segments]
        self._parts = [i for i, (template, _) in enumerate(run.segments) if not template.whole]
        self._const = [template.const_ns * n for template, n in run.segments]
        costs: list[Cost] = []
        slots: dict[int, int] = {}
        counts: list[int] = []
        columns: list[list[Int64Array]] = []
        self._exits = sum(template.exits * n for template, n in run.segments if template.whole)
        exit_const: list[int] = []
        userspace: list[bool] = []
        hold_const = 0
        stages_const = np.zeros(N_STAGES, dtype=np.int64)
        for template, n in run.segments:
            spent = [(at, item.cost) for at, item in enumerate(template.items) if item.cost is not None]
            left, entered = template.exit_range
            held = {at for lock, unlock in template.holds for at in range(lock, unlock)}
            first_exit = len(exit_const)
            if entered:
                exit_const += [template.between(left, entered)] * n
                userspace += [template.userspace_exits > 0] * n
            hold_const += template.hold_ns * n
            per_access: dict[int, int] = {}
            mine = []
            for at, cost in spent:
                stage = int(template.items[at].stage)
                if cost.ns is not None:
                    stages_const[stage] += cost.ns * n
                    continue
                if cost.what not in slots:
                    slots[cost.what] = len(costs)
                    costs.append(cost)
                    counts.append(0)
                slot = slots[cost.what]
                nth = per_access.get(slot, 0)
                per_access[slot] = nth + 1
                mine.append((slot, nth, stage, left <= at < entered, at in held))
            access = np.arange(n, dtype=np.int64)
            for slot, nth, stage, in_exit, in_hold in mine:
                columns.append(
                    [
                        np.full(n, slot, dtype=np.int64),
                        counts[slot] + nth + per_access[slot] * access,
                        np.full(n, stage, dtype=np.int64),
                        first_exit + access if in_exit else np.full(n, self._exits, dtype=np.int64),
                        np.full(n, in_hold, dtype=np.int64),
                    ]
                )
            for slot, times in per_access.items():
                counts[slot] += times * n
        self._counts = [(cost.place, count) for cost, count in zip(costs, counts, strict=True)]
        self._tables = CostTables(costs)
        self._slot, local, self._stage, self._exit, held_ = self._in_order(columns)
        self._local = local.astype(np.uint64)
        self._what = np.array([cost.what for cost in costs], dtype=np.uint64)[self._slot]
        self._held = np.flatnonzero(held_)
        self._stages_const = stages_const
        self._exit_const = np.array(exit_const, dtype=np.int64)
        self._hold_const = hold_const
        self.userspace = np.array(userspace, dtype=bool)
        self.all_userspace = bool(self.userspace.all())

    def _in_order(self, columns: Sequence[list[Int64Array]]) -> list[Int64Array]:
        """Return the five arrays with their elements in the order of the array of costs."""
        result: list[list[Int64Array]] = [[], [], [], [], []]
        at = 0
        for _, width in self._sizes:
            for which in range(5):
                if width:
                    result[which].append(np.stack([c[which] for c in columns[at : at + width]], axis=1).ravel())
            at += width
        return [np.concatenate(parts) for parts in result]

    def draw(self, subject: Subject) -> Int64Array:
        """Return the costs in ns of all drawn items, under the numbers that exit-by-exit execution gives them."""
        first = np.array([subject.take(place, n) for place, n in self._counts], dtype=np.uint64)
        return self._tables.sample(subject.identity, self._what, self._local + first[self._slot], self._slot)

    def tail(self, drawn: Int64Array, segment: int) -> Int64Array:
        """Return the part of *drawn* that belongs to *segment* and those behind it."""
        return drawn[sum(n * width for n, width in self._sizes[:segment]) :]

    def by_segment(self, drawn: Int64Array) -> list[Int64Array | None]:
        """Return the costs of each segment, n accesses x variable items; None where nothing is drawn."""
        result: list[Int64Array | None] = []
        at = 0
        for n, width in self._sizes:
            result.append(drawn[at : at + n * width].reshape(n, width) if width else None)
            at += n * width
        return result

    def parts(self, drawn: Int64Array) -> list[tuple[int, int, list[int]]]:
        """Return (segment, begin in ns, drawn costs) of each segment that is not of whole round trips."""
        result = []
        begin = at = 0
        for index, (n, width) in enumerate(self._sizes[: self._parts[-1] + 1] if self._parts else []):
            costs = drawn[at : at + n * width]
            if index in self._parts:
                result.append((index, begin, costs.tolist()))
            begin += self._const[index] + int(costs.sum())
            at += n * width
        return result

    def spent(self, drawn: Int64Array, stages: list[int] | None) -> int:
        """Add the ns per stage of the whole run to *stages*, if given; return how long the mutex is held in all."""
        if stages is not None:
            stages[:] = map(add, stages, self.stage_sums(drawn))
        return self.hold_ns(drawn)

    def stage_sums(self, drawn: Int64Array) -> list[int]:
        """Return the ns per stage of the whole run, constant costs included."""
        sums = np.bincount(self._stage, drawn, N_STAGES)
        result: list[int] = (sums.astype(np.int64) + self._stages_const).tolist()
        return result

    def exit_ns(self, drawn: Int64Array) -> Int64Array:
        """Return the time of each exit, from kvm_exit to kvm_entry."""
        sums = np.bincount(self._exit, drawn, self._exits + 1)[: self._exits]
        return sums.astype(np.int64) + self._exit_const

    def hold_ns(self, drawn: Int64Array) -> int:
        """Return how long the mutex is held in all."""
        return int(drawn[self._held].sum()) + self._hold_const
