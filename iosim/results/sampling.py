"""Where the time of sampled requests goes, function by function: sums, made when a request ends.

A request is sampled by its identity, whatever else happens in the run. Its log is added up and let go; the memory that
this takes does not grow with the number of requests.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from iosim.model.chains import Chains, kind_of, tags_of
from iosim.model.costs import Int64Array
from iosim.model.draws import name_hash
from iosim.model.records import Request
from iosim.model.scenario import Scenario
from iosim.model.stages import Stage
from iosim.model.steps import Item, Path, Run, Template
from iosim.model.trace import OPS
from iosim.results.logs import Step, StepLog
from iosim.results.work import Piece, RunWork, State, Workshop, by_segment

SAMPLE = 1000
"""How many requests of a run are sampled, about; all of them if the traces have no more."""
AT_LEAST = 10
"""How many of each operation on each drive are sampled, about, if there are as many; fewer with many drives."""

WHAT = name_hash("functions")
"""What the hash of a request's identity is made with."""
ALL = 1 << 64
"""The limit of hashes where every request is sampled."""
_KEPT = 1 << 20
"""So many entries of logs are kept to recognise others that are like them."""
_DELIVERY = int(Stage.IRQ_DELIVERY)


class SampledDrive(NamedTuple):
    """Where the time of *n* sampled requests of one operation on a drive went: (stage, carrier, stack, ns), sorted."""

    vm: str
    drive: int
    op: str
    n: int
    rows: list[tuple[int, str, str, int]]


class FunctionSums:
    """Adds up the logs of sampled requests.

    *tables* are the numbers of the VMs' tables by name; *counts* how many requests of each of `OPS` each drive's trace
    has. `limits`: below which hash a request is sampled, by (VM, drive) and operation.
    """

    def __init__(
        self, scenario: Scenario, tables: Mapping[str, int], counts: Mapping[tuple[str, int], Sequence[int]]
    ) -> None:
        self._scenario = scenario
        self._tables = tables
        share = SAMPLE / max(1, sum(map(sum, counts.values())))
        least = min(AT_LEAST, SAMPLE / max(1, len(counts) * len(OPS)))
        self.limits: dict[tuple[str, int], dict[str, int]] = {
            place: {op: _limit(max(share, least / max(1, n))) for op, n in zip(OPS, by_op, strict=True)}
            for place, by_op in counts.items()
        }
        self._shops: dict[frozenset[str], Workshop] = {}
        self._groups: dict[tuple[str, int, str], _Group] = {}
        self._shapes: dict[tuple[Workshop, bytes], _Shape] = {}
        self._n_kept = 0

    def wants(self, request: Request) -> bool:
        """Tell whether the request is sampled, should it be counted."""
        drive = request.drive
        return request.identity ^ WHAT < self.limits[drive.vm, drive.index][request.op]

    def add(self, request: Request) -> None:
        """Add up the log of a sampled request."""
        self.add_log(request.drive.vm, request.drive.index, request.op, request.log or [])

    def add_log(self, vm: str, drive: int, op: str, log: list[tuple[Any, ...]]) -> None:
        """Add up the *log* of a sampled request with operation *op* on a drive."""
        self._group(vm, drive, op).add(log)

    def add_steps(self, vm: str, drive: int, op: str, log: StepLog) -> None:
        """Add up a log likewise.

        Logs of the same numbers are gone through once. So the same number must mean the same until `forget_steps`.
        """
        group = self._group(vm, drive, op)
        key = (group.shop, log.numbers.tobytes())
        shape = self._shapes.get(key)
        if shape is None:
            if self._n_kept > _KEPT:
                self.forget_steps()
            self._n_kept += len(log.numbers)
            shape = self._shapes[key] = group.shape([log.steps[number] for number in log.numbers.tolist()])
        group.add_shape(shape, log.ns)

    def forget_steps(self) -> None:
        """Forget all numbers of `add_steps`."""
        for group in self._groups.values():
            group.fold()
        self._shapes = {}
        self._n_kept = 0

    def _group(self, vm: str, drive: int, op: str) -> "_Group":
        key = (vm, drive, op)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(self._shop(*key))
        return group

    def result(self) -> list[SampledDrive]:
        """Return the sums."""
        texts = {shop: shop.texts() for shop in self._shops.values()}
        found = []
        for (vm, drive, op), group in self._groups.items():
            sums = group.total()
            rows = [(*text, sums[cell]) for cell, text in texts[group.shop] if cell in sums]
            found.append(SampledDrive(vm, drive, op, group.n, rows))
        return found

    def _shop(self, vm: str, drive: int, op: str) -> Workshop:
        table = self._scenario.vm[self._tables[vm]]
        tags = tags_of(table, table.drive[drive], op)
        if tags not in self._shops:
            self._shops[tags] = Workshop(Chains(tags))
        return self._shops[tags]


def _limit(share: float) -> int:
    """Return below which hash a request is sampled, to sample this share of them."""
    return ALL if share >= 1 else int(share * ALL)


class _Sums:
    """Sums by cell; work of constant costs is counted, and multiplied at the end."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self._sums: defaultdict[int, int] = defaultdict(int)
        self._pieces: defaultdict[tuple[Piece, int], int] = defaultdict(int)
        self._runs: defaultdict[RunWork, int] = defaultdict(int)
        self._drawn: dict[RunWork, Int64Array] = {}

    def add_sums(self, other: "_Sums", times: int) -> None:
        """Add what *other* has, which has no drawn costs, so many *times*."""
        for cell, ns in other._sums.items():
            self._sums[cell] += ns * times
        for part, n in other._pieces.items():
            self._pieces[part] += n * times
        for run, n in other._runs.items():
            self._runs[run] += n * times

    def total(self) -> dict[int, int]:
        """Return ns by cell."""
        sums = defaultdict(int, self._sums)
        pieces = self._pieces.copy()
        for run, times in self._runs.items():
            for part in run.pieces:
                pieces[part] += times
        for (piece, n), times in pieces.items():
            for cell, ns in piece.constant(n).items():
                sums[cell] += ns * times
        for run, values in self._drawn.items():
            for cell, ns in zip(run.cells, values.tolist(), strict=True):
                sums[cell] += ns
        return {cell: ns for cell, ns in sums.items() if ns}

    def work(self, state: State, what: Path | Run | Template, drawn: Any, n: int) -> State:
        """Add a path, a run, or *n* accesses of a template, with their *drawn* costs if they have some."""
        if type(what) is Path:
            return self._path(state, what, drawn)
        if type(what) is Run:
            return self._run(state, what, drawn)
        assert isinstance(what, Template)
        return self._template(state, what, drawn, n)

    def _path(self, state: State, path: Path, costs: list[int] | None) -> State:
        piece = self.shop.path(state, path)
        if costs is not None:
            at = piece.drawn_at
            for number in piece.relied[0]:
                if not costs[at[number]]:
                    return self._one_by_one(state, path.items, costs)
            sums = self._sums
            for cell, position in zip(piece.drawn[0], at, strict=True):
                sums[cell] += costs[position]
        self._pieces[piece, 1] += 1
        return piece.after

    def _run(self, state: State, run: Run, drawn: Int64Array | None) -> State:
        work = self.shop.run(state, run)
        if not work.fixed_form or (drawn is not None and not drawn[work.relied].all()):
            parts = [None] * len(run.segments) if drawn is None else by_segment(run, drawn)
            for (template, n), part in zip(run.segments, parts, strict=True):
                state = self._template(state, template, part, n)
            return state
        if drawn is not None:
            sums = np.bincount(work.index, drawn, len(work.cells)).astype(np.int64)
            if work in self._drawn:
                self._drawn[work] += sums
            else:
                self._drawn[work] = sums
        self._runs[work] += 1
        return work.after

    def _template(self, state: State, template: Template, drawn: Int64Array | None, n: int) -> State:
        piece = self.shop.template(state, template, n)
        relied, further = piece.relied
        if not piece.fixed_form or (
            drawn is not None and not (drawn[0, relied].all() and drawn[1:n][:, further].all())
        ):
            costs = [0 if item.cost is None else item.cost.ns or 0 for item in template.items]
            for draws in [[]] * n if drawn is None else drawn[:n].tolist():
                for position, cost in zip(template.variable, draws, strict=False):
                    costs[position] = cost
                state = self._one_by_one(state, template.items, costs)
            return state
        if drawn is not None:
            for cells, rows in zip(piece.drawn, (drawn[:1], drawn[1:n]), strict=True):
                for cell, ns in zip(cells, rows.sum(axis=0).tolist(), strict=False):
                    self._sums[cell] += ns
        self._pieces[piece, n] += 1
        return piece.after

    def _one_by_one(self, state: State, items: tuple[Item, ...], costs: list[int]) -> State:
        for item, cost in zip(items, costs, strict=True):
            if cost:
                cell, state = self.shop.function(state, item.function, int(item.stage))
                self._sums[cell] += cost
        return state


class _Shape(_Sums):
    """Logs that differ in times only: the cells of their items and waits, and what the other entries spend.

    `timed` are the places of the items and waits in the log.
    """

    def __init__(self, shop: Workshop) -> None:
        super().__init__(shop)
        self.cells: list[int] = []
        self.timed: list[int] = []


class _Group(_Sums):
    """The sums of one operation on one drive."""

    def __init__(self, shop: Workshop) -> None:
        super().__init__(shop)
        self.n = 0
        self._kinds: dict[str, str] = {}
        self._shapes: dict[_Shape, list[Any]] = {}

    def add(self, log: list[tuple[Any, ...]]) -> None:
        """Add up one log (`iosim.host.thread` and `iosim.model.records` write it)."""
        self.n += 1
        shop, sums = self.shop, self._sums
        states: dict[str, State] = {}
        thread, kind = "", ""
        state = shop.begin(kind)
        for entry in log:
            if entry[1] != thread:
                states[kind] = state
                thread = entry[1]
                kind = self._kinds.get(thread) or self._kinds.setdefault(thread, kind_of(thread))
                state = states.get(kind) or shop.begin(kind)
            what = entry[2]
            made = type(what)
            if made is Item:
                key = (what.function, _DELIVERY if entry[4] else what.stage)
                cell, state = state.functions.get(key) or shop.function(state, *key)
                sums[cell] += entry[3] - entry[0]
            elif made is Stage:
                sums[shop.wait(state, what, entry[4])] += entry[3] - entry[0]
                if what is Stage.CPU_WAIT:
                    state = shop.resumed(state)
            else:
                state = self.work(
                    state, what, entry[3] if len(entry) > 3 else None, entry[4] if made is Template else 1
                )

    def shape(self, steps: Sequence[Step]) -> _Shape:
        """Return the shape of a log of *steps*."""
        shop = self.shop
        shape = _Shape(shop)
        states: dict[str, State] = {}
        thread, kind = "", ""
        state = shop.begin(kind)
        for place, (name, what, more) in enumerate(steps):
            if name != thread:
                states[kind] = state
                thread = name
                kind = self._kinds.get(thread) or self._kinds.setdefault(thread, kind_of(thread))
                state = states.get(kind) or shop.begin(kind)
            if isinstance(what, Item):
                key = (what.function, _DELIVERY if more else what.stage)
                cell, state = state.functions.get(key) or shop.function(state, *key)
            elif isinstance(what, Stage):
                cell = shop.wait(state, what, more)
                if what is Stage.CPU_WAIT:
                    state = shop.resumed(state)
            else:
                state = shape.work(state, what, None, more)
                continue
            shape.cells.append(cell)
            shape.timed.append(place)
        return shape

    def add_shape(self, shape: _Shape, ns: Int64Array) -> None:
        """Add up a log of that shape; *ns*: how long its items and waits took."""
        self.n += 1
        known = self._shapes.get(shape)
        if known is None:
            self._shapes[shape] = [1, ns.copy()]
        else:
            known[0] += 1
            known[1] += ns

    def fold(self) -> None:
        """Add the logs of `add_shape` to the sums."""
        for shape, (times, ns) in self._shapes.items():
            self.add_sums(shape, times)
            for cell, spent in zip(shape.cells, ns[shape.timed].tolist(), strict=True):
                self._sums[cell] += spent
        self._shapes = {}

    def total(self) -> dict[int, int]:
        """Return ns by cell."""
        self.fold()
        return super().total()
