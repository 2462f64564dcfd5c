"""What differs between two runs: latency, stages, and the figures of the whole run, each with its confidence."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.compare import intervals
from iosim.compare.functions import Function, means_per_request
from iosim.compare.intervals import Interval
from iosim.compare.pairing import Drive, Pairing, pair
from iosim.model.stages import Stage
from iosim.results.result import Result
from iosim.results.summary import is_resolved
from iosim.results.terminal import OPERATIONS

PERCENTILES = ("50", "90", "95", "99", "99.9")
PER_REQUEST = {
    "exits": "exits",
    "userspace_exits": "exits to QEMU",
    "irqs": "interrupts",
    "irq_line_ioctls": "IRQ-line ioctls",
}
"""Columns of `requests` that count something, and what that is called."""
MOST_DRIVES = 200
"""Drives that are compared one by one: those whose mean differs most."""


@dataclass(frozen=True)
class Difference:
    """A figure of both runs; *interval* is that of the difference, None if it cannot be known.

    *constant*: each single pair differs by exactly this, so nothing is left to chance.
    """

    base: float
    other: float
    interval: Interval | None = None
    constant: bool = False

    @property
    def value(self) -> float:
        """The other run less the base."""
        return self.other - self.base

    @property
    def ratio(self) -> float | None:
        """The difference in parts of the base; None if that is 0."""
        return self.value / self.base if self.base else None

    @property
    def is_clear(self) -> bool:
        """Whether the runs differ beyond chance, as far as that is known."""
        return bool(self.value) and (self.constant or (self.interval is not None and 0.0 not in self.interval))


@dataclass(frozen=True)
class Run:
    """A result with the short *name* that texts use and the *folder* it is in."""

    name: str
    folder: str
    result: Result


@dataclass(frozen=True)
class Comparison:
    """Two runs; times are in ns. Without a request on either side everything but *rates* and *busy* is empty.

    *mean*: of the latency; *by_operation*, *by_drive*: with the number of pairs (of the other run's requests if there
    are no pairs); *functions*: the mean time of a request in each function itself; *busy*: utilisations, None where a
    run has no such resource.
    """

    base: Run
    other: Run
    pairing: Pairing
    mean: Difference | None
    percentiles: dict[str, Difference]
    by_operation: dict[str, tuple[int, Difference]]
    by_drive: dict[Drive, tuple[int, Difference]]
    n_drives: int
    stages: dict[Stage, Difference]
    functions: dict[Function, Difference]
    per_request: dict[str, Difference]
    rates: dict[str, Difference]
    busy: dict[str, tuple[float | None, float | None]]
    reach: float
    """So many requests in a row have similar differences (latencies, if there are no pairs)."""

    @property
    def n(self) -> int:
        """The number of pairs; without pairs the smaller number of requests."""
        return min(len(self.pairing.base.rows), len(self.pairing.other.rows))


def compare(base: Run, other: Run) -> Comparison:
    """Return what differs in *other* from *base*."""
    pairing = pair(base.result, other.result)
    rates = {
        name: Difference(*(run.result.summary[key] / scale for run in (base, other)))
        for name, key, scale in (("requests/s", "throughput_per_s", 1.0), ("MB/s", "bytes_per_s", 1e6))
    }
    busy = _busy(base.result, other.result)
    if not len(pairing.base.rows) or not len(pairing.other.rows):
        return Comparison(base, other, pairing, None, {}, {}, {}, 0, {}, {}, {}, rates, busy, 1.0)
    a, b = (side.column("latency_ns") for side in (pairing.base, pairing.other))
    by_drive, n_drives = _by_drive(pairing, a, b)
    return Comparison(
        base,
        other,
        pairing,
        _mean(a, b, pairing.is_paired),
        {p: _percentile(a, b, p, pairing.is_paired) for p in PERCENTILES if is_resolved(p, min(len(a), len(b)))},
        _by_operation(pairing, a, b),
        by_drive,
        n_drives,
        {stage: _column(pairing, f"{stage.label}_ns") for stage in Stage},
        _functions(pairing),
        {name: _column(pairing, name) for name in PER_REQUEST},
        rates,
        busy,
        _reach(a, b, pairing.is_paired),
    )


def _column(pairing: Pairing, name: str) -> Difference:
    return _mean(pairing.base.column(name), pairing.other.column(name), pairing.is_paired)


def _functions(pairing: Pairing) -> dict[Function, Difference]:
    first, second = (means_per_request(side, pairing.is_paired) for side in (pairing.base, pairing.other))
    return {key: Difference(first.get(key, 0.0), second.get(key, 0.0)) for key in {**first, **second}}


def _mean(base: npt.NDArray[Any], other: npt.NDArray[Any], is_paired: bool) -> Difference:
    if not is_paired:
        return Difference(float(base.mean()), float(other.mean()), intervals.mean_of_unpaired(base, other))
    differences = other - base
    constant = bool((differences == differences[0]).all())
    interval = None if constant else intervals.mean_of_pairs(differences)
    return Difference(float(base.mean()), float(other.mean()), interval, constant)


def _percentile(base: npt.NDArray[Any], other: npt.NDArray[Any], percentile: str, is_paired: bool) -> Difference:
    p = float(percentile)
    values = (float(np.percentile(base, p)), float(np.percentile(other, p)))
    if not is_paired:
        return Difference(*values, intervals.percentile_of_unpaired(base, other, p))
    differences = other - base
    if (differences == differences[0]).all():
        return Difference(*values, constant=True)
    return Difference(*values, intervals.percentile_of_pairs(base, other, p))


def _reach(base: npt.NDArray[Any], other: npt.NDArray[Any], is_paired: bool) -> float:
    if is_paired:
        return intervals.correlation_length(other - base)
    return max(intervals.correlation_length(base), intervals.correlation_length(other))


def _by_operation(
    pairing: Pairing, base: npt.NDArray[Any], other: npt.NDArray[Any]
) -> dict[str, tuple[int, Difference]]:
    """Return the mean latency of reads, writes and flushes, if there are several."""
    ops = [side.column("op") for side in (pairing.base, pairing.base if pairing.is_paired else pairing.other)]
    found = {}
    for op, name in OPERATIONS.items():
        chosen = [np.asarray(column == op) for column in ops]
        if all(mask.any() for mask in chosen) and not all(mask.all() for mask in chosen):
            found[name] = (int(chosen[1].sum()), _mean(base[chosen[0]], other[chosen[1]], pairing.is_paired))
    return found


def _by_drive(
    pairing: Pairing, base: npt.NDArray[Any], other: npt.NDArray[Any]
) -> tuple[dict[Drive, tuple[int, Difference]], int]:
    """Return the mean latency of each drive that both runs have, and how many these are; nothing of a single one.

    Of many the `MOST_DRIVES` with the largest differences.
    """
    sides = [_drives(side) for side in (pairing.base, pairing.other)]
    means = {
        drive: other[sides[1][drive]].mean() - base[sides[0][drive]].mean() for drive in sides[0] if drive in sides[1]
    }
    if len(means) < 2:
        return {}, len(means)
    kept = set(sorted(means, key=lambda drive: -abs(means[drive]))[:MOST_DRIVES])
    found = {
        drive: (len(sides[1][drive]), _mean(base[sides[0][drive]], other[sides[1][drive]], pairing.is_paired))
        for drive in means
        if drive in kept
    }
    return found, len(means)


def _drives(side: Any) -> dict[Drive, npt.NDArray[np.int64]]:
    """Return the places of each drive's requests among the rows of *side*, in their order."""
    names = side.result.requests["vm"].cat
    numbers = side.result.requests["drive"].to_numpy()[side.rows]
    n_drives = int(numbers.max()) + 1
    key = names.codes.to_numpy()[side.rows].astype(np.int64) * n_drives + numbers
    order = np.argsort(key, kind="stable")
    found, first = np.unique(key[order], return_index=True)
    parts = np.split(order, first[1:])
    return {
        (str(names.categories[k // n_drives]), int(k % n_drives)): part for k, part in zip(found, parts, strict=True)
    }


def _busy(base: Result, other: Result) -> dict[str, tuple[float | None, float | None]]:
    """Return the utilisation of each resource in both runs, the busiest first."""
    first, second = (
        {
            str(name): float(share)
            for name, share in zip(run.resources["resource"], run.resources["utilisation"], strict=True)
        }
        for run in (base, other)
    )
    found = {name: (first.get(name), second.get(name)) for name in [*first, *(set(second) - set(first))]}
    return dict(sorted(found.items(), key=lambda item: (-max(item[1][0] or 0.0, item[1][1] or 0.0), item[0])))
