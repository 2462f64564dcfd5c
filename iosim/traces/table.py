"""The canonical table of requests, and the rules that every trace keeps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.model.errors import TraceError
from iosim.model.trace import OPS, AnyTrace, Trace
from iosim.model.units import MAX_NS

MAX_SECTOR = 1 << 48
"""LBA48 addresses 2^48 sectors."""

Got = Callable[[int], str]
Rule = tuple[npt.NDArray[np.bool_], str, Got]
"""Which rows break it, its text, and the value of the row at an index as errors show it."""


@dataclass
class TraceTable:
    """Requests as a reader found them. One element per request; *lines* are their places in the file, from 1.

    *times_ns*: int64. *ops*: uint8, index into `iosim.model.trace.OPS`. *sectors_first*, *sectors_count*: int64.
    """

    times_ns: npt.NDArray[np.int64]
    ops: npt.NDArray[np.uint8]
    sectors_first: npt.NDArray[np.int64]
    sectors_count: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times_ns)

    def __getitem__(self, rows: Any) -> "TraceTable":
        """Return the *rows*: a slice, a mask, or indices in the order that is wanted."""
        return TraceTable(*(getattr(self, column.name)[rows] for column in fields(self)))

    @classmethod
    def of_rows(cls, rows: Sequence[tuple[int, int, int, int, int]]) -> "TraceTable":
        """Return the table of *rows*: time in ns, operation, sector, sectors, line."""
        columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
        return cls(columns[0], columns[1].astype(np.uint8), columns[2], columns[3], columns[4])

    @classmethod
    def joined(cls, tables: Sequence["TraceTable"]) -> "TraceTable":
        """Return one table with the rows of all, in this order."""
        if not tables:
            return cls.of_rows([])
        return cls(*(np.concatenate([getattr(table, column.name) for table in tables]) for column in fields(cls)))


def broken(table: TraceTable, after_ns: int | None = None) -> Iterator[Rule]:
    """Yield the rules that rows of *table* break; *after_ns* is the time of the request before, if there is one.

    The rules: times not negative and not going back; reads and writes of at least one sector within 2^48; flushes with
    sector 0 and length 0.
    """
    flush = table.ops == OPS.index("F")
    times, first, count = table.times_ns, table.sectors_first, table.sectors_count
    sane = np.where((times >= 0) & (times < MAX_NS), times, 0)
    before = np.maximum.accumulate(np.r_[0 if after_ns is None else after_ns, sane])[:-1]
    rules: list[Rule] = [
        (times < 0, "time must not be negative", lambda at: _us(times[at])),
        (times >= MAX_NS, "time must be below 146 years", lambda at: _us(times[at])),
        (
            (times >= 0) & (times < before),
            "time must not go back",
            lambda at: f"{_us(times[at])} after {_us(before[at])}",
        ),
        (first < 0, "sector must not be negative", lambda at: f"{first[at]}"),
        (
            flush & ((first != 0) | (count != 0)),
            "a flush must have sector 0 and 0 sectors",
            lambda at: f"{first[at]} and {count[at]}",
        ),
        (~flush & (count <= 0), "a read or write must have at least 1 sector", lambda at: f"{count[at]}"),
        (
            ~flush & (first > MAX_SECTOR - count),
            "sectors must end at or before 2^48",
            lambda at: f"{int(first[at]) + int(count[at])}",
        ),
    ]
    return ((where, text, got) for where, text, got in rules if where.any())


def to_trace(table: TraceTable, path: str, sha256: str) -> Trace:
    """Return the trace of *table*. Raises TraceError with ``file:line`` for the first line that breaks a rule."""
    if not len(table):
        raise TraceError(f"{path}: has no requests")
    worst = min(((int(where.argmax()), text, got) for where, text, got in broken(table)), default=None, key=_place)
    if worst is not None:
        at, text, got = worst
        raise TraceError(f"{path}:{table.lines[at]}: {text}, got {got(at)}")
    return as_trace(table, path, sha256)


def as_trace(table: TraceTable, path: str, sha256: str) -> Trace:
    """Return the trace of *table*, which keeps the rules."""
    return Trace(table.times_ns, table.ops, table.sectors_first, table.sectors_count, path, sha256, table.lines)


def _place(rule: tuple[int, str, Got]) -> int:
    return rule[0]


def _us(ns: int) -> str:
    """Return *ns* as a trace has it: decimal microseconds, every digit."""
    return f"{(Decimal(int(ns)) / 1000).normalize():f} us"


def check_size(trace: AnyTrace, sectors: int, place: str) -> None:
    """Raise TraceError if a request of *trace* goes beyond a drive of *sectors* sectors, as *place* asks."""
    found = trace.first_beyond(sectors)
    if found is not None:
        end, line = found
        where = trace.path if line is None else f"{trace.path}:{line}"
        raise TraceError(f"{where}: sectors must end at or before {sectors} ({place}), got {end}")
