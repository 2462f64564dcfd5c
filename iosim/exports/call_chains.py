"""The call chain of each span of a request: where its function hangs, given what ran before."""

from itertools import pairwise
from typing import NamedTuple

import pandas as pd

from iosim.model.chains import Chains, kind_of, tags_of
from iosim.model.chains.outline import Node
from iosim.model.scenario import Scenario, VmTable
from iosim.model.stages import Stage
from iosim.results.work import State, Workshop


class Call(NamedTuple):
    """A function on a thread from its call to its return: its stage is that of its own time, empty if it has none."""

    name: str
    stage: str
    begin: int
    end: int


class CallChains:
    """Finds call chains as `iosim.results.sampling` does for the table `functions`."""

    def __init__(self, scenario: Scenario) -> None:
        self._tables: dict[str, VmTable] = {table.name: table for table in scenario.vm}
        self._shops: dict[frozenset[str], Workshop] = {}
        self._alone: dict[str, Node] = {}

    def nodes(self, spans: pd.DataFrame, vm: str, drive: int, op: str) -> list[Node | None]:
        """Return the place of each span of one request, None for waits.

        Of a VM that the scenario has not, no callers are known.
        """
        table = self._tables.get(vm.partition("#")[0])
        if table is None:
            names = zip(spans["function"], spans["waits"], strict=True)
            return [None if waits else self._alone.setdefault(name, Node(name, None)) for name, waits in names]
        shop = self._shop(tags_of(table, table.drive[drive], op))
        states: dict[str, State] = {}
        thread, kind, state = "", "", shop.begin("")
        found: list[Node | None] = []
        columns = (spans[name].tolist() for name in ("thread", "stage", "function", "waits"))
        for name, label, function, waits in zip(*columns, strict=True):
            if name != thread:
                states[kind] = state
                thread, kind = name, kind_of(name)
                state = states.get(kind) or shop.begin(kind)
            if waits:
                found.append(None)
                if label == Stage.CPU_WAIT.label:
                    state = shop.resumed(state)
                continue
            cell, state = shop.function(state, function, Stage[label.upper()])
            found.append(shop.cells[cell][1])
        return found

    def _shop(self, tags: frozenset[str]) -> Workshop:
        if tags not in self._shops:
            self._shops[tags] = Workshop(Chains(tags))
        return self._shops[tags]


class _Open(NamedTuple):
    node: Node
    number: int


def calls(nodes: list[Node], stages: list[str], bounds: list[int]) -> list[Call]:
    """Return the calls of a stay on a thread, each before those within it.

    *nodes* are the places of its spans, *stages* their stages; span k goes from *bounds* k to k + 1. What hangs below
    the same functions without a break is within the same calls; a call whose own time changes its stage is two.
    """
    names: list[str] = []
    own: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    open_: list[_Open] = []
    for node, stage, (begin, _) in zip(nodes, stages, pairwise(bounds), strict=True):
        path = _path(node)
        kept = 0
        while kept < min(len(open_), len(path)) and open_[kept].node is path[kept]:
            kept += 1
        if kept == len(path) and own[open_[kept - 1].number] not in ("", stage):
            kept -= 1
        while len(open_) > kept:
            ends[open_.pop().number] = begin
        for called in path[kept:]:
            open_.append(_Open(called, len(names)))
            names.append(called.name)
            own.append("")
            begins.append(begin)
            ends.append(bounds[-1])
        own[open_[-1].number] = stage
    return [Call(*call) for call in zip(names, own, begins, ends, strict=True)]


def _path(node: Node | None) -> list[Node]:
    """Return the functions from the outermost one to *node*."""
    path = []
    while node is not None:
        path.append(node)
        node = node.parent
    return path[::-1]
