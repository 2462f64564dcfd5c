"""The canonical table of requests, and the rules that every trace keeps."""

from dataclasses import dataclass

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
    """Return the trace of *table*. Raises TraceError with ``file:line`` for the first request that breaks a rule.

    The rules: at least one request; times not negative and not going back; reads and writes of at least one sector
    within 2^48; flushes with sector 0 and length 0.
    """
    if not len(table.times_ns):
        raise TraceError(f"{path}: has no requests")
    flush = table.ops == OPS.index("F")
    first, count = table.sectors_first, table.sectors_count
    rules: list[tuple[npt.NDArray[np.bool_], str, npt.NDArray[np.int64]]] = [
        (table.times_ns < 0, "time must not be negative", table.times_ns),
        (table.times_ns > MAX_NS, "time must be below 146 years", table.times_ns),
        (first < 0, "sector must not be negative", first),
        (flush & ((first != 0) | (count != 0)), "a flush must have sector 0 and 0 sectors", count),
        (~flush & (count <= 0), "a read or write must have at least 1 sector", count),
        (~flush & (first + count > MAX_SECTOR), "sectors must end at or before 2^48", first),
    ]
    for broken, rule, values in rules:
        if broken.any():
            at = int(broken.argmax())
            shown = values[at] / 1000 if values is table.times_ns else values[at]
            raise TraceError(f"{path}:{table.lines[at]}: {rule}, got {shown:.15g}")
    back = np.flatnonzero(np.diff(table.times_ns) < 0)
    if len(back):
        at = int(back[0]) + 1
        now, before = table.times_ns[at] / 1000, table.times_ns[at - 1] / 1000
        raise TraceError(f"{path}:{table.lines[at]}: time must not go back, got {now:.15g} us after {before:.15g} us")
    return Trace(table.times_ns, table.ops, first, count, path, sha256)


def check_size(trace: Trace, sectors: int, place: str) -> None:
    """Raise TraceError if a request of *trace* goes beyond a drive of *sectors* sectors, given at *place*."""
    beyond = trace.sectors_first + trace.sectors_count > sectors
    if beyond.any():
        at = int(beyond.argmax())
        end = int(trace.sectors_first[at] + trace.sectors_count[at])
        raise TraceError(f"{trace.path}: request {at} ends at sector {end}, beyond the {sectors} sectors of {place}")
