"""One request as pieces of time in lanes: who has it when, joined where a picture could not tell them apart."""

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.model.stages import N_STAGES, Stage

Numbers: TypeAlias = npt.NDArray[np.int64]


class Lane(IntEnum):
    """Where a request is, from the guest down to the disk and back."""

    GUEST = 0
    CPU = 1
    KVM = 2
    QEMU = 3
    WORKER = 4
    DISK = 5
    LOOP = 6


_OF_STAGE = {
    Stage.GUEST_RUN: Lane.GUEST,
    Stage.VM_EXIT: Lane.CPU,
    Stage.VM_ENTRY: Lane.CPU,
    Stage.KVM_EXIT_HANDLING: Lane.KVM,
    Stage.IRQ_DELIVERY: Lane.KVM,
    Stage.DISK_SERVICE: Lane.DISK,
}
"""Lanes of stages that belong in one whoever runs; the others are in the lane of their thread."""


class Pieces(NamedTuple):
    """Pieces of the time of one request, in order and without gaps: arrays with an element for each.

    Lane and stage are the numbers of `Lane` and `Stage`; times are ns from the arrival.
    """

    lane: Numbers
    stage: Numbers
    waits: npt.NDArray[np.bool_]
    begin: Numbers
    end: Numbers

    @property
    def ns(self) -> Numbers:
        """How long each is."""
        return self.end - self.begin


class Bar(NamedTuple):
    """What one stage has of a block: pieces of one lane that are drawn as one.

    *ns* is less than from *begin* to *end* where others have the request in between; *below* is that of the stages of
    the block that are drawn below. *functions* are (function, thread, ns), those with most time first.
    """

    lane: Lane
    stage: Stage
    waits: bool
    begin: int
    end: int
    n: int
    ns: int
    below: int
    functions: list[tuple[str, str, int]]


class Journey:
    """One request on its way through the lanes.

    `pieces` are its spans. A wait is in the lane of whoever takes the request next; the last wait of an unfinished
    request in that of who had it last. `runs` are the pieces with what follows each other in lane and stage as one.
    """

    def __init__(self, spans: pd.DataFrame) -> None:
        threads, thread_names = pd.factorize(spans["thread"])
        functions, function_names = pd.factorize(spans["function"])
        labels, stage_names = pd.factorize(spans["stage"])
        stage = np.array([Stage[name.upper()] for name in stage_names], dtype=np.int64)[labels]
        waits = spans["waits"].to_numpy(dtype=bool)
        places, of = np.unique(threads * N_STAGES + stage, return_inverse=True)
        lanes = [_lane(thread_names[place // N_STAGES], Stage(place % N_STAGES)) for place in places]
        begin = spans["start_ns"].to_numpy(dtype=np.int64)
        end = spans["end_ns"].to_numpy(dtype=np.int64)
        lane = _handed_on(np.array(lanes, dtype=np.int64)[of], waits)
        self.pieces = Pieces(lane, stage, waits, begin - begin[0], end - begin[0])
        self.total: int = int(self.pieces.end[-1])
        self.loops = {str(thread_names[k]) for k in np.unique(threads[(lane == Lane.LOOP) & ~waits])}
        self._names = [(str(function), str(thread)) for function in function_names for thread in thread_names]
        self._name = functions * len(thread_names) + threads
        kind = (lane * N_STAGES + stage) * 2 + waits
        changes = np.r_[True, kind[1:] != kind[:-1]]
        self._run = np.cumsum(changes) - 1
        first = np.flatnonzero(changes)
        last = np.r_[first[1:] - 1, len(kind) - 1]
        self.runs = Pieces(lane[first], stage[first], waits[first], self.pieces.begin[first], self.pieces.end[last])

    def bars(self, shortest_ns: float) -> list[Bar]:
        """Return what a picture has, by lane, begin and stage.

        A run that is shorter than *shortest_ns* makes a block with its like in the same lane, no further away than
        that. VM exits and entries are alike: they alternate.
        """
        runs = self.runs
        block = self._blocks(shortest_ns)
        _, first = np.unique(block, return_index=True)
        end = np.zeros(len(first), dtype=np.int64)
        np.maximum.at(end, block, runs.end)
        parts, start, part = np.unique(block * N_STAGES + runs.stage, return_index=True, return_inverse=True)
        n, ns = np.bincount(part), np.zeros(len(parts), dtype=np.int64)
        np.add.at(ns, part, runs.ns)
        functions = self._functions(part[self._run], len(parts))
        bars: list[Bar] = []
        drawn: dict[int, int] = {}
        for k, number in enumerate((parts // N_STAGES).tolist()):
            run, below = start[k], drawn.get(number, 0)
            drawn[number] = below + int(ns[k])
            of = Lane(runs.lane[run]), Stage(runs.stage[run]), bool(runs.waits[run])
            extent = int(runs.begin[first[number]]), int(end[number])
            bars.append(Bar(*of, *extent, int(n[k]), int(ns[k]), below, functions[k]))
        return bars

    def _blocks(self, shortest_ns: float) -> Numbers:
        """Return the number of the block of each run; blocks are numbered by lane, then time."""
        runs = self.runs
        like = np.where(runs.stage == Stage.VM_ENTRY, Stage.VM_EXIT, runs.stage)
        kind = (runs.lane * 2 + runs.waits) * N_STAGES + like
        order = np.argsort(kind, kind="stable")
        kind, begin, end = kind[order], runs.begin[order], runs.end[order]
        short = end - begin < shortest_ns
        goes_on = (kind[1:] == kind[:-1]) & short[1:] & short[:-1] & (begin[1:] - end[:-1] < shortest_ns)
        block = np.empty(len(order), dtype=np.int64)
        block[order] = np.cumsum(np.r_[True, ~goes_on]) - 1
        return block

    def _functions(self, part: Numbers, n_parts: int) -> list[list[tuple[str, str, int]]]:
        """Return the functions of each of *n_parts*, most time first; *part* is where each piece belongs."""
        keys, key = np.unique(part * len(self._names) + self._name, return_inverse=True)
        ns = np.zeros(len(keys), dtype=np.int64)
        np.add.at(ns, key, self.pieces.ns)
        found: list[list[tuple[str, str, int]]] = [[] for _ in range(n_parts)]
        for k in np.argsort(-ns, kind="stable").tolist():
            number, name = divmod(int(keys[k]), len(self._names))
            found[number].append((*self._names[name], int(ns[k])))
        return found


def _handed_on(lane: Numbers, waits: npt.NDArray[np.bool_]) -> Numbers:
    """Return *lane* with that of each wait replaced: by the next that is none, by the last at the end."""
    runs = np.flatnonzero(~waits)
    if not len(runs):
        return np.full(len(lane), int(Lane.GUEST), dtype=np.int64)
    heir = np.minimum(np.searchsorted(runs, np.arange(len(lane))), len(runs) - 1)
    return lane[runs[heir]]


def _lane(thread: str, stage: Stage) -> Lane:
    if stage in _OF_STAGE:
        return _OF_STAGE[stage]
    if thread.startswith("vcpu"):
        return Lane.QEMU
    is_loop = thread == "main" or (thread.startswith("iothread/") and thread.count("/") == 1)
    return Lane.LOOP if is_loop else Lane.WORKER
