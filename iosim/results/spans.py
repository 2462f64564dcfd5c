"""Spans: where a request was from when to when, function by function; what timelines are drawn from."""

from typing import Any

import numpy as np
import pandas as pd

from iosim.model.costs import Int64Array
from iosim.model.stages import Stage
from iosim.model.steps import Item, Path, Run, Template
from iosim.results.raw import KeptLog

COLUMNS = ["vm", "drive", "request", "thread", "stage", "function", "start_ns", "end_ns", "waits"]
MAX_ROWS = 2_000_000
"""A run keeps spans of whole requests up to this many rows; the summary says of how many requests."""


class _Rows:
    """Spans of one request as columns."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.stages: list[int] = []
        self.functions: list[str] = []
        self.waits: list[bool] = []
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add(self, thread: str, stage: int, function: str, start: int, end: int, waits: bool = False) -> None:
        """Add one span; spans without duration are left out."""
        if end > start:
            self.threads.append(thread)
            self.stages.append(stage)
            self.functions.append(function)
            self.waits.append(waits)
            self.starts.append(start)
            self.ends.append(end)


def spans(logs: list[KeptLog]) -> tuple[pd.DataFrame, int]:
    """Return the spans of as many of *logs* as fit into `MAX_ROWS`, and of how many that is.

    Rows are in the order of the requests, and of time within each.
    """
    frames: list[pd.DataFrame] = []
    total = 0
    for log in logs:
        rows = _Rows()
        for entry in log.entries:
            _expand(rows, entry)
        if frames and total + len(rows.starts) > MAX_ROWS:
            break
        total += len(rows.starts)
        frames.append(_frame(log, rows))
    if not frames:
        return _frame(KeptLog("", 0, 0, []), _Rows()), 0
    return pd.concat(frames, ignore_index=True), len(frames)


def _frame(log: KeptLog, rows: _Rows) -> pd.DataFrame:
    order = np.argsort(np.array(rows.starts, dtype=np.int64), kind="stable")
    labels = [stage.label for stage in Stage]
    return pd.DataFrame(
        {
            "vm": log.vm,
            "drive": log.drive,
            "request": log.request,
            "thread": [rows.threads[i] for i in order],
            "stage": [labels[rows.stages[i]] for i in order],
            "function": [rows.functions[i] for i in order],
            "waits": np.array(rows.waits, dtype=bool)[order],
            "start_ns": np.array(rows.starts, dtype=np.int64)[order],
            "end_ns": np.array(rows.ends, dtype=np.int64)[order],
        },
        columns=COLUMNS,
    )


def _expand(rows: _Rows, entry: tuple[Any, ...]) -> None:
    """Add the spans of one entry of a request's log (`iosim.host.thread` and `iosim.model.records` write them)."""
    start, thread, what = entry[0], entry[1], entry[2]
    assert isinstance(start, int)
    assert isinstance(thread, str)
    if isinstance(what, Stage):
        _, _, _, end, function = entry
        assert isinstance(end, int)
        rows.add(thread, what, function, start, end, waits=what is not Stage.DISK_SERVICE)
    elif isinstance(what, Item):
        _, _, _, end, delivering = entry
        assert isinstance(end, int)
        rows.add(thread, Stage.IRQ_DELIVERY if delivering else what.stage, what.function, start, end)
    elif isinstance(what, Path):
        costs = entry[3] if len(entry) > 3 else None
        assert costs is None or isinstance(costs, list)
        _items(rows, thread, start, what.items, costs)
    elif isinstance(what, Run):
        at = start
        draws = what.plan.by_segment(entry[3]) if len(entry) > 3 else [None] * len(what.segments)
        for (template, n), drawn in zip(what.segments, draws, strict=True):
            at = _template(rows, thread, at, template, drawn, n)
    else:
        assert isinstance(what, Template)
        _, _, _, drawn, n = entry
        assert isinstance(n, int)
        _template(rows, thread, start, what, drawn, n)


def _items(rows: _Rows, thread: str, start: int, items: tuple[Item, ...], costs: list[int] | None) -> int:
    for position, item in enumerate(items):
        if item.cost is None:
            continue
        end = start + ((item.cost.ns or 0) if costs is None else costs[position])
        rows.add(thread, item.stage, item.function, start, end)
        start = end
    return start


def _template(rows: _Rows, thread: str, start: int, template: Template, drawn: Int64Array | None, n: int) -> int:
    for access in range(n):
        costs = None
        if drawn is not None:
            costs = [0 if item.cost is None else item.cost.ns or 0 for item in template.items]
            for column, position in enumerate(template.variable):
                costs[position] = int(drawn[access, column])
        start = _items(rows, thread, start, template.items, costs)
    return start
