"""The tree of a flame graph: carriers, then call chains, with the time of each operation on each drive."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from iosim.model.chains import CARRIERS, HOST_DISK, WAITS
from iosim.model.stages import N_STAGES, Stage
from iosim.model.trace import OPS
from iosim.results.result import Result
from iosim.results.summary import counted

MOST_DRIVES = 12
"""Drives of more are shown together."""
TOGETHER = "all drives"
ROOT = "all"


@dataclass(frozen=True)
class Group:
    """What can be chosen: one operation on one drive, or on all of them."""

    where: str
    op: str


@dataclass
class Frame:
    """A function at one place of the tree, or a carrier, a stage that is waited in, everything.

    `own_ns` is what it spends itself, by (run, group, stage); `total_ns` with its callees, by run and stage.
    """

    name: str
    parent: int
    depth: int
    below: dict[str, int] = field(default_factory=dict)
    own_ns: dict[tuple[int, int, int], int] = field(default_factory=dict)
    total_ns: list[list[int]] = field(default_factory=list)

    def ns(self, run: int) -> int:
        """Return its time in one run, with its callees."""
        return sum(self.total_ns[run])


@dataclass
class FlameTree:
    """Frames, each behind its caller; `requests` are how many each run counts, by group."""

    frames: list[Frame]
    groups: list[Group]
    requests: list[list[int]]

    def per_request(self, frame: Frame, run: int) -> float:
        """Return the time of a frame in ns per request of the run."""
        n = sum(self.requests[run])
        return frame.ns(run) / n if n else 0.0

    @property
    def n_rows(self) -> int:
        """How many frames stand one above the other at most."""
        return 1 + max(frame.depth for frame in self.frames)


def flame_tree(results: Sequence[Result]) -> FlameTree:
    """Return the tree of one run, or of several together."""
    tables = [_table(result) for result in results]
    drives = {(vm, drive) for table, _ in tables for vm, drive, _ in table.index}
    together = len(drives) > MOST_DRIVES
    keys = sorted(
        {key for table, _ in tables for key in table.index}, key=lambda key: (key[0], key[1], "RWF".find(key[2]))
    )
    frames = [Frame(ROOT, -1, 0)]
    groups: dict[Group, int] = {}
    number = {
        key: groups.setdefault(Group(TOGETHER if together else f"{key[0]} drive {key[1]}", key[2]), len(groups))
        for key in sorted(keys, key=lambda key: (key[0], key[1], OPS.index(key[2])))
    }
    requests = [[0] * len(groups) for _ in results]
    for run, (table, functions) in enumerate(tables):
        for key, n in table.items():
            requests[run][number[key]] += int(n)
        rows = functions[["vm", "drive", "op", "carrier", "stage", "stack", "total_ns"]]
        for vm, drive, op, carrier, label, stack, ns in rows.itertuples(index=False, name=None):
            stage = Stage[label.upper()]
            frame = _place(frames, carrier, stage, stack)
            own = (run, number[vm, drive, op], int(stage))
            frame.own_ns[own] = frame.own_ns.get(own, 0) + int(ns)
    _add_up(frames, len(results))
    return FlameTree(_in_order(frames), list(groups), requests)


def _table(result: Result) -> "tuple[pd.Series[int], pd.DataFrame]":
    """Return how many requests count by (VM, drive, operation), and the table of functions."""
    requests = counted(result.requests).astype({"vm": str, "op": str})
    return requests.groupby(["vm", "drive", "op"]).size(), result.functions


def _place(frames: list[Frame], carrier: str, stage: Stage, stack: str) -> Frame:
    """Return the frame of the innermost function, with all above it."""
    path = [carrier]
    if carrier in (WAITS, HOST_DISK):
        path.append(stage.label)
    at = 0
    for name in (*path, *stack.split(";")):
        below = frames[at].below
        if name not in below:
            below[name] = len(frames)
            frames.append(Frame(name, at, frames[at].depth + 1))
        at = below[name]
    return frames[at]


def _add_up(frames: list[Frame], n_runs: int) -> None:
    """Add the time of each frame to its caller's, from the innermost on."""
    for frame in frames:
        frame.total_ns = [[0] * N_STAGES for _ in range(n_runs)]
        for (run, _, stage), ns in frame.own_ns.items():
            frame.total_ns[run][stage] += ns
    for frame in reversed(frames[1:]):
        for total, part in zip(frames[frame.parent].total_ns, frame.total_ns, strict=True):
            for stage, ns in enumerate(part):
                total[stage] += ns


def _in_order(frames: list[Frame]) -> list[Frame]:
    """Return the frames caller first, carriers in the order of the path, callees the longest first."""

    def rank(at: int) -> tuple[int, int, str]:
        frame = frames[at]
        who = CARRIERS.index(frame.name) if frame.depth == 1 else 0
        return who, -max(sum(total) for total in frame.total_ns), frame.name

    ordered: list[Frame] = []
    waiting = [(0, -1)]
    while waiting:
        at, parent = waiting.pop()
        frame = frames[at]
        frame.parent = parent
        ordered.append(frame)
        number = len(ordered) - 1
        waiting += [(below, number) for below in sorted(frame.below.values(), key=rank, reverse=True)]
    return ordered
