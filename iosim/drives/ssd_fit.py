"""Parameters of model = "ssd" from recorded service times, by least squares.

An idle model takes the overhead, and as many rounds of its units as the pages need, each of a read or program and a
transfer. The objective is the sum of squared relative differences from the median time of each number of pages, reads
and writes, weighted by how many requests have it. It is solved for each number of units and with and without a write
buffer; the best of those is taken. A round's transfer cannot be told from its read or program: it gets the default.
Nothing is seen of flushes, which keep the default, and of erases, which get no time. Behind a write buffer the programs
are as fast as they must be to keep up with the recording.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.drives.drive_fit import DriveFit, Parameter
from iosim.drives.services import Services
from iosim.model.errors import TraceError
from iosim.model.units import exact_time, three_digits

Floats = npt.NDArray[np.float64]

UNITS = (1, 2, 4, 8, 16, 32, 64)
PAGE_SECTORS = 8
TRANSFER_NS = 5_000
"""The default of the scenario."""
PROGRAM_NS = 250_000
"""The default of the scenario."""
LEAST = 20
"""Requests that a number of pages must have."""
BUFFER = "1MiB"
"""Assumed, where writes are done as fast with many pages as with few."""
_NAMES = ("overhead", "read", "program")


@dataclass(frozen=True)
class _Medians:
    """Median time in ns by number of pages, and the number of requests."""

    pages: Floats
    ns: Floats
    n: Floats


def fit(recorded: Services) -> DriveFit:
    """Return a model = "ssd" of the disk that served *recorded*. Raises TraceError where there is too little to see."""
    reads, writes = _medians(recorded, "R"), _medians(recorded, "W")
    tried = [_solve(reads, writes, units, buffered) for units in UNITS for buffered in (False, True)]
    # With equal costs the fewest units explain as much, and a buffer more than programs that take no time.
    _, units, buffered, values, errors = min(tried, key=lambda one: (round(one[0], 9), one[1], not one[2]))
    times = {name: max(0, round(ns)) for name, ns in zip(_NAMES, values, strict=True)}
    for name in ("read", "program"):
        times[name] = max(times[name] - TRANSFER_NS, 0)
    disk: dict[str, Any] = {
        "model": "ssd",
        "units": units,
        "servers": max(16, units, min(recorded.depth, 4096)),
        "overhead": exact_time(times["overhead"]),
        "read": exact_time(times["read"]),
        "transfer": exact_time(TRANSFER_NS),
    }
    disk["erase"] = "0s"
    if buffered:
        disk["write_buffer"] = BUFFER
        times["program"] = _keeping_up(recorded, units)
    disk["program"] = exact_time(times["program"])
    sizes = len(reads.n) + len(writes.n)
    how = f"least squares, medians of {sizes} sizes"
    rows = [Parameter("units", str(units), "", "tried"), Parameter("write buffer", str(buffered).lower(), "", "tried")]
    for name, error in zip(_NAMES, errors, strict=True):
        if name != "program" or not buffered:  # behind a buffer it is no result of the fit
            value = f"{three_digits(times[name] / 1e3)} us"
            rows.append(Parameter(name, value, f"{three_digits(error / 1e3)} us" if sizes > 3 else "", how))
    notes = ["transfer and flush are defaults, erase is set to 0s: service times do not show them"]
    if buffered:
        notes.append("program is as short as the recorded writes need, but no longer than the default")
    if len(reads.n) < 2:
        notes.append("reads of one size only: overhead and read cannot be told apart")
    return DriveFit(disk, rows, notes)


def _keeping_up(recorded: Services, units: int) -> int:
    """Return the longest program of a page with which *units* write all of *recorded* in half of its time, in ns."""
    pages = -(-int(recorded.sectors[recorded.of("W")].sum()) // PAGE_SECTORS)
    span = int(recorded.end_ns.max() - recorded.start_ns.min())
    return max(min(PROGRAM_NS, units * span // (2 * pages) - TRANSFER_NS), 0)


def _medians(recorded: Services, op: str) -> _Medians:
    which = recorded.of(op)
    pages = (recorded.sector + recorded.sectors - 1) // PAGE_SECTORS - recorded.sector // PAGE_SECTORS + 1
    times = {int(n): recorded.service_ns[which & (pages == n)] for n in np.unique(pages[which])}
    kept = {n: values for n, values in times.items() if len(values) >= LEAST}
    if not kept:
        raise TraceError(f"{recorded.source}: has no size of {op} with {LEAST} requests, which model = ssd needs")
    return _Medians(
        np.array(list(kept), dtype=np.float64),
        np.array([max(float(np.median(values)), 1.0) for values in kept.values()]),
        np.array([float(len(values)) for values in kept.values()]),
    )


def _solve(reads: _Medians, writes: _Medians, units: int, buffered: bool) -> tuple[float, int, bool, Floats, Floats]:
    """Return (cost, units, buffered, values, standard errors) of overhead, and of a round of reads and of programs."""
    from scipy import optimize

    rounds = np.concatenate([np.ceil(reads.pages / units), np.ceil(writes.pages / units)])
    is_read = np.arange(len(rounds)) < len(reads.pages)
    design = np.stack([np.ones(len(rounds)), rounds * is_read, rounds * ~is_read * (not buffered)], axis=1)
    measured = np.concatenate([reads.ns, writes.ns])
    weight = np.sqrt(np.concatenate([reads.n, writes.n])) / measured
    solved = optimize.lsq_linear(design * weight[:, None], measured * weight, bounds=(0, np.inf))
    left = (design @ solved.x - measured) * weight
    spread = float(np.sum(left**2)) / max(len(rounds) - 3, 1)
    covariance = np.linalg.pinv((design * weight[:, None]).T @ (design * weight[:, None])) * spread
    return float(np.sum(left**2)), units, buffered, np.asarray(solved.x), np.sqrt(np.diag(covariance))
