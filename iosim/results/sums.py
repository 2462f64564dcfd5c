"""Sums over requests whose rows are not kept: what the summary, the functions and the series say, in bounded memory.

Counts, sums and extremes are exact; percentiles are those of `iosim.results.sketch`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.model.errors import FaultError
from iosim.model.records import ERRORS, STATUSES
from iosim.model.stages import N_STAGES
from iosim.model.trace import OPS
from iosim.results.raw import INT_COLUMNS, RawResult
from iosim.results.sketch import Counts, Int64Array, Sketches
from iosim.results.tables import SUBBUCKETS, bins_of, series_of

MAX_BINS = 1000
"""Bins that the series has at most."""
_ROOM = MAX_BINS + 2
"""Bins that there is room for: what is at the very end of the last one counts in the next."""
_FIRST_WIDTH_NS = 1_000_000
_HELD = 1 << 15
"""Rows that are summed up at once."""
_AT = {name: at for at, name in enumerate(INT_COLUMNS)}
_STAGES = slice(_AT["irq_line_ioctls"] + 1, None)
SUMMED = ("sectors", "exits", "userspace_exits", "irqs", "irq_line_ioctls")
"""Columns whose sums are kept beside those of the stages."""


class Place(NamedTuple):
    """The counted requests of one operation on one drive: how many, and the sums of `SUMMED` and of each stage."""

    n: int
    sums: tuple[int, ...]
    stages_ns: tuple[int, ...]


class RequestSums:
    """Sums over the rows of a run, added as they come, in any order.

    `by_status`, `warmup`: numbers of requests; `errors`: of those that failed, by why. `places`: by number of the VM,
    drive, number of the operation. `latencies` are those of counted requests, by number of the [[vm]] table and of the
    operation. *table_of* has the number of the table of each VM; without it all are of one.
    """

    def __init__(self, table_of: Sequence[int] = ()) -> None:
        self.by_status = [0] * len(STATUSES)
        self.errors: Counter[str] = Counter()
        self.warmup = 0
        self.series = SeriesSums()
        self.latencies: dict[tuple[int, int], Counts] = {}
        self._table_of = np.array(table_of, dtype=np.int64)
        self._sums: dict[tuple[int, int, int], npt.NDArray[Any]] = {}
        self._stages = Sketches(N_STAGES)
        self._held: list[Int64Array] = []
        self._n_held = 0

    def add(self, rows: Int64Array) -> None:
        """Add *rows* of `INT_COLUMNS`. Raises FaultError if the stages of one are not its latency."""
        self._held.append(rows.copy())
        self._n_held += len(rows)
        if self._n_held >= _HELD:
            self.finish()

    def finish(self) -> None:
        """Bring all sums up to date."""
        if self._held:
            rows = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
            self._held, self._n_held = [], 0
            self._add(rows)

    @property
    def places(self) -> dict[tuple[int, int, int], Place]:
        """The counted requests by number of the VM, drive, number of the operation, in this order."""
        n = len(SUMMED)
        return {
            key: Place(int(sums[0]), tuple(map(int, sums[1 : 1 + n])), tuple(map(int, sums[1 + n :])))
            for key, sums in sorted(self._sums.items())
        }

    def table(self, vm: int) -> int:
        """Return the number of the [[vm]] table of a VM."""
        return int(self._table_of[vm]) if len(self._table_of) else 0

    def latency(self, op: int | None = None) -> tuple[Counts, int]:
        """Return latencies of counted requests, at least one, and their sum; of one operation or of all."""
        chosen = [own for (_, k), own in self.latencies.items() if op in (None, k)]
        total = sum(sum(place.stages_ns) for (_, _, k), place in self.places.items() if op in (None, k))
        return Counts.merged(chosen), total

    def stage(self, stage: int) -> tuple[Counts, int]:
        """Return the times of counted requests in *stage* likewise."""
        return self._stages.column(stage), sum(place.stages_ns[stage] for place in self.places.values())

    def _add(self, rows: Int64Array) -> None:
        arrival, done = rows[:, _AT["arrival_ns"]], rows[:, _AT["done_ns"]]
        latency = done - arrival
        stages = rows[:, _STAGES]
        wrong = np.flatnonzero((stages.sum(axis=1) != latency) | (stages < 0).any(axis=1))
        if len(wrong):
            raise FaultError(f"the stages of request {rows[wrong[0], _AT['request']]} are not its latency")
        status = rows[:, _AT["status"]]
        for number, n in enumerate(np.bincount(status, minlength=len(STATUSES)).tolist()):
            self.by_status[number] += n
        failed = rows[status == STATUSES.index("error"), _AT["error"]]
        self.errors.update({ERRORS[why]: n for why, n in enumerate(np.bincount(failed).tolist()) if n})
        late = rows[:, _AT["warmup"]] != 0
        self.warmup += int(late.sum())
        is_done = status == STATUSES.index("ok")
        self.series.add(arrival, done[is_done], latency[is_done])
        chosen = is_done & ~late
        if chosen.any():
            self._count(rows[chosen], latency[chosen])

    def _count(self, rows: Int64Array, latency: Int64Array) -> None:
        vm, drive, op = (rows[:, _AT[name]] for name in ("vm", "drive", "op"))
        n_drives = int(drive.max()) + 1
        key = (vm * n_drives + drive) * len(OPS) + op
        order = np.argsort(key, kind="stable")
        present, first = np.unique(key[order], return_index=True)
        ones, others = np.ones(len(rows), dtype=np.int64), rows[:, [_AT[name] for name in SUMMED]]
        summed = np.column_stack([ones, others, rows[:, _STAGES]])
        # Whole numbers of Python: the sum of many long times may be beyond an int64.
        sums = np.add.reduceat(summed[order], first).astype(object)
        for group, own in zip(present.tolist(), sums, strict=True):
            place, of = divmod(group, len(OPS))
            where = (*divmod(place, n_drives), of)
            self._sums[where] = self._sums[where] + own if where in self._sums else own
        cells = (self._table_of[vm] * len(OPS) if len(self._table_of) else 0) + op
        for cell in np.unique(cells).tolist():
            key, more = divmod(cell, len(OPS)), Counts.of(latency[cells == cell])
            self.latencies[key] = Counts.merged([self.latencies[key], more]) if key in self.latencies else more
        self._stages.add(list(rows[:, _STAGES].T))


def series_of_sums(raw: RawResult, sums: RequestSums) -> pd.DataFrame:
    """Return the table `series` of a run whose requests were summed up."""
    return series_of(raw, *sums.series.of(raw.bin_width_ns, bins_of(raw)))


class SeriesSums:
    """Arrivals, completions and latencies by time: bins of one width, doubled so that there are never too many."""

    def __init__(self) -> None:
        self.width_ns = _FIRST_WIDTH_NS
        self._arrivals = np.zeros(_ROOM, dtype=np.int64)
        self._latencies = np.zeros((_ROOM, 0), dtype=np.int64)
        self._edges: list[int] = []

    def add(self, arrival_ns: Int64Array, done_ns: Int64Array, latency_ns: Int64Array) -> None:
        """Add arrivals, and completions with their latencies."""
        latest = max(int(times.max(initial=0)) for times in (arrival_ns, done_ns))
        while latest > self.width_ns * MAX_BINS:
            self._widen()
        self._arrivals += np.bincount(arrival_ns // self.width_ns, minlength=_ROOM)
        self._reach(int(latency_ns.max(initial=1)))
        bucket = np.searchsorted(np.array(self._edges), latency_ns, side="left")
        cells = done_ns // self.width_ns * len(self._edges) + bucket
        self._latencies += np.bincount(cells, minlength=self._latencies.size).reshape(self._latencies.shape)

    def of(self, width_ns: int, n_bins: int) -> tuple[Int64Array, Int64Array, list[int]]:
        """Return arrivals by bin, latencies by bin and bucket, and the edges of the buckets.

        *width_ns* is a power of two times the present width; what lies behind the last bin belongs to it.
        """
        self._reach(1)
        while self.width_ns < width_ns:
            self._widen()
        assert self.width_ns == width_ns
        arrivals, latencies = self._arrivals[:n_bins].copy(), self._latencies[:n_bins].copy()
        arrivals[-1] += self._arrivals[n_bins:].sum()
        latencies[-1] += self._latencies[n_bins:].sum(axis=0)
        return arrivals, latencies, self._edges

    def _widen(self) -> None:
        self.width_ns *= 2
        self._arrivals, self._latencies = _halved(self._arrivals), _halved(self._latencies)

    def _reach(self, longest_ns: int) -> None:
        power = 1024 << (len(self._edges) // SUBBUCKETS)
        while not self._edges or self._edges[-1] < longest_ns:
            self._edges += [power + power * k // SUBBUCKETS for k in range(1, SUBBUCKETS + 1)]
            power *= 2
        more = len(self._edges) - self._latencies.shape[1]
        if more:
            self._latencies = np.pad(self._latencies, ((0, 0), (0, more)))


def _halved(counts: Int64Array) -> Int64Array:
    """Return *counts* with two bins added up each, and empty ones behind."""
    found = np.zeros_like(counts)
    found[: _ROOM // 2] = counts[0::2] + counts[1::2]
    return found
