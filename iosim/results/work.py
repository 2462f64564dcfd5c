"""Pieces of work with the call chains of their functions, made once and then only added up.

A chain depends on what ran before (`iosim.model.chains`), and a drawn cost may be 0: then its function did not run. A
piece of work is prepared for draws that are all above 0, and knows those that this relies on. If one of them is 0, the
work is gone through item by item.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from iosim.model.chains import CARRIERS, Chains
from iosim.model.chains.outline import Node
from iosim.model.costs import Int64Array
from iosim.model.stages import Stage
from iosim.model.steps import Item, Path, Run, Template

Cell: TypeAlias = tuple[str, Node, int]
"""Whose time it is, in which function at which place, in which stage."""

Step: TypeAlias = tuple[int, int | None]
"""The number of an item's cell, and its cost in ns if that is constant."""

_Before: TypeAlias = list[tuple[Node | None, int | None]]
"""What one carrier may have run last: (place, number of its draw), the latest first, each place once."""


def by_segment(run: Run, drawn: Int64Array) -> list[Int64Array | None]:
    """Return the drawn costs of each segment of *run*, n accesses x variable items; None where nothing is drawn."""
    result: list[Int64Array | None] = []
    at = 0
    for template, n in run.segments:
        width = len(template.variable)
        result.append(drawn[at : at + n * width].reshape(n, width) if width else None)
        at += n * width
    return result


class State:
    """What the carriers of one kind of thread have run last, and what comes of what they run next.

    `places` are in the order of `Chains.carriers`. *resumes*: the thread has waited for a CPU, and goes on with what it
    was doing. `functions`, `waits`, `pieces` and `runs` are what has been asked for so far.
    """

    __slots__ = ("functions", "kind", "pieces", "places", "resumes", "runs", "waits")

    def __init__(self, kind: str, places: tuple[Node | None, ...], resumes: bool) -> None:
        self.kind = kind
        self.places = places
        self.resumes = resumes
        self.functions: dict[tuple[str, int], tuple[int, State]] = {}
        self.waits: dict[tuple[Stage, str], int] = {}
        self.pieces: dict[Path | tuple[Template, int], Piece] = {}
        self.runs: dict[Run, RunWork] = {}


class Piece:
    """A path, or accesses in a row that follow one template: the steps of the first one and of each further one.

    `relied` are the draws, by number, that must not be 0, of the first access and of each further one; `drawn` the
    cells of all of them, `drawn_at` where their items are. `fixed_form` is False if the chains cannot be told in
    advance.
    """

    __slots__ = ("after", "drawn", "drawn_at", "first", "fixed_form", "further", "relied")

    def __init__(
        self,
        items: Sequence[Item],
        first: list[Step],
        further: list[Step],
        relied: list[list[int]],
        after: State,
        fixed_form: bool,
    ) -> None:
        self.drawn_at = [at for at, item in enumerate(items) if item.cost is not None and item.cost.ns is None]
        self.first = first
        self.further = further
        self.relied = relied
        self.after = after
        self.fixed_form = fixed_form
        self.drawn = [[cell for cell, ns in steps if ns is None] for steps in (first, further)]

    def constant(self, n: int) -> dict[int, int]:
        """Return the constant costs of *n* accesses, by cell."""
        sums: dict[int, int] = {}
        for times, steps in ((1, self.first), (n - 1, self.further)):
            if times:
                for cell, ns in steps:
                    if ns is not None:
                        sums[cell] = sums.get(cell, 0) + ns * times
        return sums


class RunWork:
    """A run: its pieces and how many accesses each has; `index` says for each draw which of `cells` it is for.

    `relied` and `fixed_form` as in `Piece`, `relied` among all draws of the run.
    """

    __slots__ = ("after", "cells", "fixed_form", "index", "pieces", "relied")

    def __init__(self, pieces: list[tuple[Piece, int]], after: State) -> None:
        self.pieces = pieces
        self.after = after
        self.fixed_form = all(piece.fixed_form for piece, _ in pieces)
        numbers: dict[int, int] = {}
        index: list[npt.NDArray[np.intp]] = []
        relied: list[npt.NDArray[np.intp]] = []
        at = 0
        for piece, n in pieces:
            width = len(piece.drawn[0])
            if not width:
                continue
            for access, times in ((0, 1), (1, n - 1)):
                if times:
                    columns = [numbers.setdefault(cell, len(numbers)) for cell in piece.drawn[access]]
                    index.append(np.tile(np.array(columns, dtype=np.intp), times))
                    rows = np.arange(access, access + times, dtype=np.intp)[:, None] * width
                    relied.append((rows + np.array(piece.relied[access], dtype=np.intp) + at).ravel())
            at += n * width
        self.cells = list(numbers)
        self.index = np.concatenate(index) if index else np.zeros(0, dtype=np.intp)
        self.relied = np.concatenate(relied) if relied else np.zeros(0, dtype=np.intp)


class Workshop:
    """Prepares work for the requests of one kind (`Chains`); the same work in the same state is prepared once."""

    _MOST = 10_000

    def __init__(self, chains: Chains) -> None:
        self.chains = chains
        self.cells: list[Cell] = []
        self._numbers: dict[Cell, int] = {}
        self._states: dict[tuple[str, tuple[Node | None, ...], bool], State] = {}
        self._n_made = 0

    def texts(self) -> list[tuple[int, tuple[int, str, str]]]:
        """Return every cell as (number, (stage, carrier, stack)), by stage, then carrier, then stack."""
        texts = [
            (number, (stage, carrier, ";".join(node.stack))) for number, (carrier, node, stage) in enumerate(self.cells)
        ]
        return sorted(texts, key=lambda text: (text[1][0], CARRIERS.index(text[1][1]), text[1][2]))

    def begin(self, kind: str) -> State:
        """Return the state in which nothing has run for the request on this kind of thread."""
        return self._state(kind, (None,) * len(self.chains.carriers(kind)), False)

    def function(self, state: State, function: str, stage: int) -> tuple[int, State]:
        """Return the cell of one function that runs, and the state behind it."""
        made = state.functions.get((function, stage))
        if made is None:
            chains, kind = self.chains, state.kind
            slot = chains.slot(kind, function)
            node = _place(chains, kind, function, state.places[slot], state.resumes)
            after = (*state.places[:slot], chains.after(kind, node), *state.places[slot + 1 :])
            made = (self.cell(chains.carriers(kind)[slot], node, stage), self._state(kind, after, False))
            state.functions[function, stage] = made
        return made

    def wait(self, state: State, stage: Stage, function: str) -> int:
        """Return the cell of a wait."""
        made = state.waits.get((stage, function))
        if made is None:
            made = self.cell(*self.chains.wait(state.kind, stage, function, state.places[0]), int(stage))
            state.waits[stage, function] = made
        return made

    def resumed(self, state: State) -> State:
        """Return the state behind a wait for a CPU."""
        return self._state(state.kind, state.places, True)

    def path(self, state: State, path: Path) -> Piece:
        """Return a path as work."""
        return state.pieces.get(path) or self._made(state, path, path.items, 1)

    def template(self, state: State, template: Template, n: int) -> Piece:
        """Return *n* accesses as work; it is the same for all *n* above 2."""
        key = (template, min(n, 3))
        return state.pieces.get(key) or self._made(state, key, template.items, key[1])

    def run(self, state: State, run: Run) -> RunWork:
        """Return a run as work."""
        made = state.runs.get(run)
        if made is None:
            pieces = []
            at = state
            for template, n in run.segments:
                pieces.append((self.template(at, template, n), n))
                at = pieces[-1][0].after
            self._count()
            made = state.runs[run] = RunWork(pieces, at)
        return made

    def _made(self, state: State, key: Path | tuple[Template, int], items: Sequence[Item], n: int) -> Piece:
        """Prepare *n* accesses; one behind two equal ones is taken to be equal to them, if a third one is."""
        maker = _Maker(self, state)
        accesses = [maker.access(items) for _ in range(n)]
        width = sum(ns is None for _, ns in accesses[0])
        relied = maker.relied()
        further = accesses[1] if n > 1 else []
        self._count()
        piece = state.pieces[key] = Piece(
            items,
            accesses[0],
            further,
            [
                sorted(draw for draw in relied if draw < width),
                sorted({draw % width for draw in relied if draw >= width}),
            ],
            self._state(state.kind, maker.places(), False),
            n < 3 or accesses[1] == accesses[2],
        )
        return piece

    def _count(self) -> None:
        """Forget everything, now and then."""
        self._n_made += 1
        if self._n_made > self._MOST:
            self._n_made = 0
            self._states = {}

    def _state(self, kind: str, places: tuple[Node | None, ...], resumes: bool) -> State:
        key = (kind, places, resumes)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = State(kind, places, resumes)
        return state

    def cell(self, carrier: str, node: Node, stage: int) -> int:
        """Return the number of a cell."""
        key = (carrier, node, stage)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.cells)
            self.cells.append(key)
        return number


class _Maker:
    """Goes through accesses one after the other, with what each carrier may have run last."""

    def __init__(self, shop: Workshop, state: State) -> None:
        self._shop = shop
        self._kind = state.kind
        self._before: list[_Before] = [[(node, None)] for node in state.places]
        self._resumes = state.resumes
        self._relied: set[int] = set()
        self._draws = 0

    def access(self, items: Sequence[Item]) -> list[Step]:
        """Return the steps of the items that take time."""
        steps: list[Step] = []
        for item in items:
            if item.cost is None or item.cost.ns == 0:
                continue
            draw = None
            if item.cost.ns is None:
                draw = self._draws
                self._draws += 1
            steps.append((self._place(item, draw), item.cost.ns))
        return steps

    def relied(self) -> set[int]:
        """Return the draws that must not be 0, those that decide what ran last among them."""
        return self._relied | {before[0][1] for before in self._before if before[0][1] is not None}

    def places(self) -> tuple[Node | None, ...]:
        """Return what has run last."""
        return tuple(before[0][0] for before in self._before)

    def _place(self, item: Item, draw: int | None) -> int:
        chains, kind = self._shop.chains, self._kind
        slot = chains.slot(kind, item.function)
        before = self._before[slot]
        node = _place(chains, kind, item.function, before[0][0], self._resumes)
        for (_, relied), (other, _) in pairwise(before):
            if chains.place(kind, item.function, other) is not node:
                self._rely_on(relied)
                break
        if self._resumes:
            self._rely_on(draw)
            self._resumes = False
        following = chains.after(kind, node)
        earlier = [] if draw is None else [other for other in before if other[0] is not following]
        self._before[slot] = [(following, draw), *earlier]
        return self._shop.cell(chains.carriers(kind)[slot], node, int(item.stage))

    def _rely_on(self, draw: int | None) -> None:
        if draw is not None:
            self._relied.add(draw)


def _place(chains: Chains, kind: str, function: str, latest: Node | None, resumes: bool) -> Node:
    """Return the place of a function; one that resumes what it was doing stays where it is."""
    if resumes and latest is not None and latest.name == function:
        return latest
    return chains.place(kind, function, latest)
