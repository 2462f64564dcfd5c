"""Requests in order of time: what stands a little too late in a file is put in its place, and the rules are kept."""

from collections.abc import Iterable, Iterator

import numpy as np

from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable, broken

MOST_LATE = 65_536
"""A request may stand behind at most this many that are later; one that is farther behind breaks the rule of time."""


def in_order(tables: Iterable[TraceTable], reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of *tables* in order of time, those of one time in order of the file.

    As many as MOST_LATE are held back. Counts those that stood behind a later one in `reading.n_late`.
    """
    held = TraceTable.of_rows([])
    latest_ns: int | None = None
    for table in tables:
        if not len(table):
            continue
        newest = np.maximum.accumulate(table.times_ns)
        if latest_ns is not None:
            newest = np.maximum(newest, latest_ns)
        reading.n_late += int((table.times_ns < newest).sum())
        latest_ns = int(newest[-1])
        held = TraceTable.joined([held, table])
        if (held.times_ns[1:] < held.times_ns[:-1]).any():
            held = held[np.argsort(held.times_ns, kind="stable")]
        if len(held) > 2 * MOST_LATE:
            yield held[:-MOST_LATE]
            held = held[-MOST_LATE:]
    yield held


def from_zero(tables: Iterable[TraceTable]) -> Iterator[TraceTable]:
    """Yield *tables*, which are in order, moved so that the first request is at 0 if it would be before."""
    moved_ns: int | None = None
    for table in tables:
        if moved_ns is None and len(table):
            moved_ns = min(0, int(table.times_ns[0]))
        if moved_ns:
            table.times_ns = table.times_ns - moved_ns
        yield table


def checked(tables: Iterable[TraceTable], reading: Reading) -> Iterator[TraceTable]:
    """Yield *tables* without the requests that break a rule, which are refused; counts those that are left."""
    after_ns: int | None = None
    for table in tables:
        table = _keeping_the_rules(table, after_ns, reading)
        if len(table):
            after_ns = int(table.times_ns[-1])
            reading.n_requests += len(table)
            yield table


def _keeping_the_rules(table: TraceTable, after_ns: int | None, reading: Reading) -> TraceTable:
    while rules := list(broken(table, after_ns)):
        where, text, got = min(rules, key=lambda rule: int(rule[0].argmax()))
        at = np.flatnonzero(where)
        reading.refuse_rows(at, table.lines, text, got(int(at[0])))
        table = table[~where]
    return table
