"""Spans: where a request was from when to when, function by function; what timelines are drawn from."""

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from iosim.model.costs import Int64Array
from iosim.model.stages import Stage
from iosim.model.steps import Item, Path, Run, Template
from iosim.results.logs import StepLog
from iosim.results.raw import KeptLog
from iosim.results.work import by_segment

COLUMNS = ["vm", "drive", "request", "thread", "stage", "function", "start_ns", "end_ns", "waits"]
MAX_ROWS = 2_000_000
"""A run keeps spans of whole requests up to this many rows; the summary says of how many requests."""


_Accesses: TypeAlias = tuple[tuple[Item, ...], Int64Array | None, int]
"""So many accesses with these items, and their drawn costs, a row for each access; None if none is drawn."""

_DTYPES: dict[str, type] = {"drive": np.int64, "request": np.int64, "waits": np.bool_} | dict.fromkeys(
    ("start_ns", "end_ns"), np.int64
)


class _Spans(NamedTuple):
    """Spans one behind the other as columns: stages, numbers of functions, begins and ends in ns from the first."""

    stages: Int64Array
    functions: Int64Array
    begins: Int64Array
    ends: Int64Array


class _Names:
    """Names by number, in the order in which they are first asked for."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return the number of *name*."""
        return self._numbers.setdefault(name, len(self._numbers))

    def column(self, numbers: Int64Array) -> "pd.Index[str]":
        """Return the names of *numbers*."""
        return pd.Index(list(self._numbers)).take(numbers)


class _Columns(NamedTuple):
    """The spans of one request, sorted: begin, number of the log's entry, end, thread, stage, function, waits."""

    begins: Int64Array
    entries: Int64Array
    ends: Int64Array
    threads: Int64Array
    stages: Int64Array
    functions: Int64Array
    waits: Int64Array


_Apart: TypeAlias = tuple[Int64Array, list[_Spans], list[tuple[int, int, int]]]
"""Spans of items and waits as the columns of `_Columns`; those of each other entry; its begin, number and thread."""


class _Reader:
    """Makes spans of logs. What many of their entries have in common is made once."""

    def __init__(self) -> None:
        self.functions = _Names()
        self.threads = _Names()
        self._constant: dict[Path | Run | tuple[Template, int], _Spans] = {}

    def columns(self, log: list[tuple[Any, ...]] | StepLog) -> _Columns:
        """Return the spans of a log, as `iosim.host.thread` and `iosim.model.records` write it or by steps."""
        columns, several, places = self._by_step(log) if isinstance(log, StepLog) else self._by_entry(log)
        if several:
            lengths = [len(spans.begins) for spans in several]
            start, numbers, threads = np.repeat(np.array(places, dtype=np.int64), lengths, axis=0).T
            stages, functions, begins, ends = (np.concatenate(column) for column in zip(*several, strict=True))
            many = (start + begins, numbers, start + ends, threads, stages, functions, np.zeros_like(start))
            columns = np.concatenate((columns, many), axis=1)
        return _Columns(*columns[:, np.lexsort((columns[1], columns[0]))])

    def _by_entry(self, log: list[tuple[Any, ...]]) -> _Apart:
        single = array("q")
        several: list[_Spans] = []
        places: list[tuple[int, int, int]] = []
        for number, entry in enumerate(log):
            begin, what = entry[0], entry[2]
            thread = self.threads.number(entry[1])
            if isinstance(what, Item | Stage):
                _, _, _, end, more = entry
                if end > begin:
                    single.extend((begin, number, end, thread, *self._single(what, more)))
            else:
                drawn = entry[3] if len(entry) > 3 else None
                several.append(self._of(what, drawn, entry[4] if isinstance(what, Template) else 1))
                places.append((begin, number, thread))
        return np.array(single, dtype=np.int64).reshape(-1, len(_Columns._fields)).T, several, places

    def _by_step(self, log: StepLog) -> _Apart:
        known = np.zeros((len(log.steps), 5), dtype=np.int64)
        for number in np.unique(log.numbers).tolist():
            thread, what, more = log.steps[number]
            if isinstance(what, Item | Stage):
                known[number] = (1, self.threads.number(thread), *self._single(what, more))
        is_single = known[log.numbers, 0] == 1
        at = np.flatnonzero(is_single & (log.ns > 0))
        begins = log.starts_ns[at]
        columns = np.stack((begins, at, begins + log.ns[at], *known[log.numbers[at], 1:].T))
        several: list[_Spans] = []
        places: list[tuple[int, int, int]] = []
        for place in np.flatnonzero(~is_single).tolist():
            thread, what, more = log.steps[log.numbers[place]]
            assert isinstance(what, Path | Run | Template)
            several.append(self._of(what, None, more))
            places.append((int(log.starts_ns[place]), place, self.threads.number(thread)))
        return columns, several, places

    def _single(self, what: Item | Stage, more: Any) -> tuple[int, int, bool]:
        """Return the stage and the function of an item or a wait, and whether it waits."""
        if isinstance(what, Item):
            return Stage.IRQ_DELIVERY if more else what.stage, self.functions.number(what.function), False
        return what, self.functions.number(more), what is not Stage.DISK_SERVICE

    def _of(self, what: Path | Run | Template, drawn: Any, n: int) -> _Spans:
        """Return the spans of a path, a run, or *n* accesses of a template; *drawn*: their costs if some are drawn."""
        if isinstance(what, Path):
            return self._known(what, [(what.items, None, 1)]) if drawn is None else self._path(what, drawn)
        if isinstance(what, Run):
            if drawn is None:
                return self._known(what, [(template.items, None, n) for template, n in what.segments])
            parts = zip(what.segments, by_segment(what, drawn), strict=True)
            return self._accesses([(template.items, part, n) for (template, n), part in parts])
        if drawn is None:
            return self._known((what, n), [(what.items, None, n)])
        return self._accesses([(what.items, drawn, n)])

    def _known(self, what: Path | Run | tuple[Template, int], accesses: Sequence[_Accesses]) -> _Spans:
        made = self._constant.get(what)
        if made is None:
            made = self._constant[what] = self._accesses(accesses)
        return made

    def _path(self, path: Path, costs: list[int]) -> _Spans:
        spent = [ns for item, ns in zip(path.items, costs, strict=True) if item.cost is not None]
        return _placed(*self._places(path.items), np.array(spent, dtype=np.int64))

    def _accesses(self, accesses: Sequence[_Accesses]) -> _Spans:
        stages, functions, costs = [], [], []
        for items, drawn, n in accesses:
            stage, function = self._places(items)
            stages.append(np.tile(stage, n))
            functions.append(np.tile(function, n))
            spent = [item.cost.ns for item in items if item.cost is not None]
            each = np.tile(np.array([ns or 0 for ns in spent], dtype=np.int64), (n, 1))
            if drawn is not None:
                each[:, [at for at, ns in enumerate(spent) if ns is None]] = drawn[:n]
            costs.append(each.ravel())
        return _placed(np.concatenate(stages), np.concatenate(functions), np.concatenate(costs))

    def _places(self, items: Sequence[Item]) -> tuple[Int64Array, Int64Array]:
        """Return the stage and the function of each item that takes time."""
        spent = [(item.stage, self.functions.number(item.function)) for item in items if item.cost is not None]
        stages, functions = np.array(spent, dtype=np.int64).reshape(-1, 2).T
        return stages, functions


def _placed(stages: Int64Array, functions: Int64Array, costs: Int64Array) -> _Spans:
    """Return spans of these durations one behind the other, without those that take no time."""
    ends = costs.cumsum()
    spans = _Spans(stages, functions, ends - costs, ends)
    return spans if costs.all() else _Spans(*[column[costs > 0] for column in spans])


def spans(logs: list[KeptLog]) -> tuple[pd.DataFrame, int]:
    """Return the spans of as many of *logs* as fit into `MAX_ROWS`, and of how many that is.

    Rows are in the order of the requests, and of time within each.
    """
    reader = _Reader()
    kept: list[_Columns] = []
    total = 0
    for log in logs:
        columns = reader.columns(log.entries)
        total += len(columns.begins)
        if kept and total > MAX_ROWS:
            break
        kept.append(columns)
    return _table(reader, logs[: len(kept)], kept), len(kept)


def _table(reader: _Reader, logs: list[KeptLog], spans: list[_Columns]) -> pd.DataFrame:
    """Return the table of the spans of requests, of which there are *logs*."""
    lengths = [len(columns.begins) for columns in spans]
    if not any(lengths):
        return pd.DataFrame({name: pd.Series(dtype=_DTYPES.get(name, object)) for name in COLUMNS})
    vms = _Names()
    facts = np.array([(vms.number(log.vm), log.drive, log.request) for log in logs], dtype=np.int64)
    vm, drive, request = np.repeat(facts, lengths, axis=0).T
    begins, _, ends, threads, stages, functions, waits = (np.concatenate(column) for column in zip(*spans, strict=True))
    columns = {
        "vm": vms.column(vm),
        "drive": drive,
        "request": request,
        "thread": reader.threads.column(threads),
        "stage": pd.Index([stage.label for stage in Stage]).take(stages),
        "function": reader.functions.column(functions),
        "waits": waits != 0,
        "start_ns": begins,
        "end_ns": ends,
    }
    return pd.DataFrame(columns, columns=COLUMNS)
