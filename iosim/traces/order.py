"""Requests in order of time: what stands a little too late in a file is put in its place, and the rules are kept."""

from collections.abc import Iterable, Iterator

import numpy as np

from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable, broken

MOST_LATE = 65_536
"""So many places further back in the file a request may stand than its time would have it."""
_TOO_LATE = f"time must not go back over {MOST_LATE:,} requests"


def in_order(tables: Iterable[TraceTable], reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests of *tables* in order of time, those of one time in order of the file.

    A request must not be earlier than one that stands MOST_LATE places or more before it: such a one is refused. Holds
    MOST_LATE requests back. Counts those that stood behind a later one in `reading.n_late`.
    """
    held = TraceTable.of_rows([])
    newest = np.full(MOST_LATE, np.iinfo(np.int64).min)
    for table in tables:
        if not len(table):
            continue
        # The latest time up to each place, and MOST_LATE places before it.
        newest = np.maximum.accumulate(np.r_[newest, table.times_ns])
        too_late = table.times_ns < newest[: len(table)]
        reading.n_late += int((table.times_ns < newest[MOST_LATE:]).sum() - too_late.sum())
        newest = newest[-MOST_LATE:]
        if too_late.any():
            at = np.flatnonzero(too_late)
            reading.refuse_rows(at, table.lines, _TOO_LATE, f"{table.times_ns[at[0]] / 1000:.3f} us")
            table = table[~too_late]
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
