"""The canonical table of requests, and the rules that every trace keeps."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from iosim.model.errors import TraceError
from iosim.model.trace import OPS, Trace
from iosim.model.units import MAX_NS

MAX_SECTOR = 1 << 48
"""LBA48 addresses 2^48 sectors."""


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
    format: str


def to_trace(table: TraceTable, path: str, sha256: str) -> Trace:
    """Return the trace of *table*. Raises TraceError with ``file:line`` for the first line that breaks a rule.

    The rules: at least one request; times not negative and not going back; reads and writes of at least one sector
    within 2^48; flushes with sector 0 and length 0.
    """
    if not len(table.times_ns):
        raise TraceError(f"{path}: has no requests")
    flush = table.ops == OPS.index("F")
    times, first, count = table.times_ns, table.sectors_first, table.sectors_count
    rules: list[tuple[npt.NDArray[np.bool_], Callable[[int], str]]] = [
        (times < 0, lambda at: f"time must not be negative, got {_us(times[at])}"),
        (times >= MAX_NS, lambda at: f"time must be below 146 years, got {_us(times[at])}"),
        (
            np.r_[False, times[1:] < times[:-1]],
            lambda at: f"time must not go back, got {_us(times[at])} after {_us(times[at - 1])}",
        ),
        (first < 0, lambda at: f"sector must not be negative, got {first[at]}"),
        (
            flush & ((first != 0) | (count != 0)),
            lambda at: f"a flush must have sector 0 and 0 sectors, got {first[at]} and {count[at]}",
        ),
        (~flush & (count <= 0), lambda at: f"a read or write must have at least 1 sector, got {count[at]}"),
        (
            ~flush & (first > MAX_SECTOR - count),
            lambda at: f"sectors must end at or before 2^48, got {int(first[at]) + int(count[at])}",
        ),
    ]
    broken = [(int(where.argmax()), number) for number, (where, _) in enumerate(rules) if where.any()]
    if broken:
        at, number = min(broken)
        raise TraceError(f"{path}:{table.lines[at]}: {rules[number][1](at)}")
    return Trace(times, table.ops, first, count, path, sha256, table.lines)


def _us(ns: int) -> str:
    """Return *ns* as a trace has it: decimal microseconds, every digit."""
    return f"{(Decimal(int(ns)) / 1000).normalize():f} us"


def check_size(trace: Trace, sectors: int, place: str) -> None:
    """Raise TraceError if a request of *trace* goes beyond a drive of *sectors* sectors, as *place* asks."""
    beyond = trace.sectors_first + trace.sectors_count > sectors
    if beyond.any():
        at = int(beyond.argmax())
        end = int(trace.sectors_first[at] + trace.sectors_count[at])
        line = "" if trace.lines is None else f":{trace.lines[at]}"
        raise TraceError(f"{trace.path}{line}: sectors must end at or before {sectors} ({place}), got {end}")
