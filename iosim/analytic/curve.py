"""Bounds and estimate as a function of the number of VMs, and what runs with so many have measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from iosim.analytic.bounds import Bounds, bounds, knees
from iosim.analytic.demands import rows_by_drive
from iosim.analytic.estimate import Estimate, estimate
from iosim.analytic.network import Network
from iosim.analytic.resources import Inventory
from iosim.results.result import Result


@dataclass(frozen=True)
class Point:
    """What holds and what is expected with *vms* VMs of the table that the curve is about."""

    vms: int
    bounds: Bounds
    estimate: Estimate


@dataclass(frozen=True)
class Curve:
    """Points by number of VMs of table *vm*.

    *knees* as `iosim.analytic.bounds.knees` gives them, smallest first. *bound_line* has the bounds where the points
    are and at the knees between them, where they bend: number of VMs, throughput per second, response time in ns.
    """

    vm: str
    points: tuple[Point, ...]
    knees: dict[str, float]
    bound_line: tuple[tuple[float, float, float], ...]
    method: str

    @property
    def saturation(self) -> tuple[str, float] | None:
        """The shared centre that saturates first, and the number of VMs at which it does."""
        return next(iter(self.knees.items()), None)


@dataclass(frozen=True)
class Measured:
    """What runs with *vms* VMs gave; *low* and *high* are the ends of an interval, None if there is none."""

    vms: int
    throughput_per_s: float
    response_ns: float
    throughput_interval: tuple[float, float] | None = None
    response_interval: tuple[float, float] | None = None


def curve(network: Network, vm: str, counts: Sequence[int], others: Sequence[Network] = ()) -> Curve:
    """Return bounds and estimate with each of *counts* (at least one) VMs of table *vm*.

    The estimate has the demands of *network*, best those of a run with few VMs, in which hardly anybody waits. The
    bounds have what no request can do without, or the least that a request has cost in this run and those of *others*.
    """
    kept = network.with_least_of(others)
    points = []
    for count in sorted(set(counts)):
        bound, expected = bounds(kept.scaled({vm: count})), estimate(network.scaled({vm: count}))
        points.append(Point(count, bound, expected))
    places = knees(kept, vm)
    bends = [at for at in places.values() if points[0].vms < at < points[-1].vms]
    line = [(float(point.vms), point.bounds) for point in points]
    line += [(at, bounds(kept.scaled({vm: at}))) for at in bends]
    return Curve(
        vm,
        tuple(points),
        places,
        tuple(
            (at, bound.throughput_per_s, bound.response_ns) for at, bound in sorted(line, key=lambda entry: entry[0])
        ),
        points[-1].estimate.method,
    )


def measured(result: Result, vm: str) -> Measured:
    """Return what a run has measured, with the number of its VMs of table *vm*.

    With closed replay only the time counts in which all such drives were at work: from when the last of them has got
    its first request (and the warm-up is over) until the first of them has done its last one. Outside of it there are
    fewer customers than the analysis has. Requests that were done then count; all of the run if there is no such time.
    """
    table = result.requests
    arrival, done = table["arrival_ns"].to_numpy(), table["done_ns"].to_numpy()
    begin, end = min(result.scenario.run.warmup, int(result.summary["end_ns"])), int(result.summary["end_ns"])
    tables = Inventory(result.scenario).tables
    closed = [
        rows for (name, number), rows in rows_by_drive(table).items() if tables[name].drive[number].replay != "open"
    ]
    first = max([begin, *(int(arrival[rows].min()) for rows in closed)])
    last = min([end, *(int(done[rows].max()) for rows in closed)])
    if first < last:
        begin, end = first, last
    within = (table["status"] == "ok").to_numpy() & (done >= begin) & (done <= end)
    latency = table["latency_ns"].to_numpy()[within]
    vms = next(own.count for own in result.scenario.vm if own.name == vm)
    n = len(latency)
    return Measured(vms, n / max(1, end - begin) * 1e9, float(latency.mean()) if n else math.nan)
