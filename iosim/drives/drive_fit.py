"""Parameters of a rotating disk from its recorded service times alone.

Least squares for what is continuous (`command_fit`: overheads and bus; `seek_fit`: rotation and seek), then trial for
what is not: the buffer's segments and how the drive reads ahead, by replaying the recording on the model. Geometry
cannot be seen in service times but for the speed of the medium: heads and skews are assumed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from iosim.disk.build import disk_model
from iosim.drives import command_fit, seek_fit
from iosim.drives.command_fit import Overheads
from iosim.drives.disk_file import checked
from iosim.drives.replay import replay
from iosim.drives.seek_fit import Seek
from iosim.drives.services import Mask, Services
from iosim.model.errors import TraceError
from iosim.model.units import SECTOR_BYTES, exact_size, exact_time, three_digits
from iosim.validate.distance import demerit_ns

HEADS = 4
"""Assumed: only the number of sectors per cylinder counts for seeks."""
HEAD_SWITCH_NS = 800_000
"""Assumed, as the default of the scenario."""
LEAST_READS = 100
ZONES = 4
"""Where the speed of the medium can be seen."""
_NEAR = 1e-3
_SEEK_POINTS = 24
_TRIED: dict[str, tuple[Any, ...]] = {
    "read_ahead": ("none", "segment", "track", "next-track"),
    "segment_size": tuple(f"{size}KiB" for size in (32, 64, 128, 256, 512)),
    "segments": (1, 2, 4, 8, 16),
    "read_before": (False, True),
    "hits_on_writes": (True, False),
    "sectors_per_track": (1.0, 1.5, 2.5, 4.0),
}
"""What is tried, each key in turn, twice. The last one: times the sectors that the bus moves in one revolution."""
_TRIED_SEEN = (0.8, 1.0, 1.25, 1.5)
"""Instead, where the medium is seen: times the sectors that one revolution and head switch have time for."""
_TRIED_BUFFERED = ("512B", "2KiB", "4KiB", "8KiB")
"""Where writes are not reported before they are on the medium."""


Step: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Parameter:
    """A fitted parameter as text: its value, its standard error ("" where it has none), and how it was found."""

    name: str
    value: str
    error: str
    how: str


@dataclass(frozen=True)
class DriveFit:
    """The keys of a [[host.disk]], the parameters with their errors, and what the user should know."""

    disk: dict[str, Any]
    parameters: list[Parameter]
    notes: list[str]


@dataclass
class _Found:
    """What least squares have found so far; times in ns."""

    recorded: Services
    span: int
    bus_ns: float
    hit: Overheads | None
    write: Overheads | None
    seek: Seek
    miss_ns: float
    through_ns: float
    medium_ns: tuple[float, ...] | None
    notes: list[str] = field(default_factory=list)


def fit(recorded: Services, capacity: int | None = None, step: Step = lambda what: None) -> DriveFit:
    """Return a model = "disksim" of the drive that served *recorded*; *capacity*: its sectors, if they are known.

    *step* is told what is done. Raises TraceError where the recording does not show enough.
    """
    step("overheads and bus")
    found = _least_squares(recorded, max(recorded.end_sector, capacity or 0), step)
    step("buffer")
    choice, tried = _search(found, step)
    disk = _disk(found, choice)
    return DriveFit(disk, _parameters(found, choice, tried), found.notes)


def _least_squares(recorded: Services, span: int, step: Step) -> _Found:
    back = command_fit.written_back(recorded)
    write = command_fit.fit(recorded, recorded.of("W")) if back else None
    hits = command_fit.hits(recorded, write.sector_ns if write else None)
    hit = command_fit.fit(recorded, hits)
    medium = recorded.of("R") & ~hits & (recorded.distance > _NEAR * span)
    if medium.sum() < LEAST_READS:
        raise TraceError(
            f"{recorded.source}: has {int(medium.sum())} reads far from the request before that the buffer did not "
            f"serve: rotation and seek need {LEAST_READS}"
        )
    buses = [one.sector_ns for one in (hit, write) if one is not None and one.sector_ns > 0]
    bus = buses[0] if buses else _slope(recorded, medium)
    step("rotation and seek")
    small = medium & (recorded.sectors <= np.median(recorded.sectors[medium]))
    seek = seek_fit.fit(recorded.distance[small], recorded.service_ns[small] - recorded.sectors[small] * bus, span)
    near = recorded.of("R") & ~hits & (recorded.distance <= _NEAR * span / 4)
    miss = hit.after_read_ns if hit else 0.5 * seek.base_ns
    if near.sum() >= LEAST_READS:
        miss = float(np.quantile((recorded.service_ns - recorded.sectors * bus)[near], 0.02))
    miss = min(max(miss, 0.0), 0.9 * seek.base_ns)
    shown = medium if back else recorded.of("W") & (recorded.distance > _NEAR * span)
    per_sector = _slope(recorded, shown)
    through = 0.0
    if not back:
        far = recorded.of("W") & (recorded.distance > _NEAR * span)
        if far.sum() >= LEAST_READS:
            left = (
                recorded.service_ns[far] - seek.beyond_ns(recorded.distance[far]) - recorded.sectors[far] * per_sector
            )
            through = max(float(np.mean(left)) - seek.revolution_ns / 2 - seek.base_ns + miss, 0.0)
    seen = _medium(recorded, shown, seek, per_sector) if per_sector > 1.1 * bus or not back else None
    return _Found(recorded, span, bus, hit, write, seek, miss, through, seen)


def _medium(recorded: Services, which: Mask, seek: Seek, per_sector_ns: float) -> tuple[float, ...]:
    """Return the time of one more sector in each of ZONES equal parts of the disk, along a line by least squares.

    *per_sector_ns* where no more can be said: with few requests, or sizes that hardly differ.
    """
    sectors = recorded.sectors[which].astype(np.float64)
    if len(sectors) < LEAST_READS or np.ptp(sectors) == 0:
        return (per_sector_ns,) * ZONES
    left = recorded.service_ns[which] - seek.beyond_ns(recorded.distance[which])
    share = recorded.sector[which] / seek.span
    design = np.stack([np.ones(len(sectors)), sectors, sectors * share], axis=1)
    _, outer, more = (float(value) for value in np.linalg.lstsq(design, left, rcond=None)[0])
    parts = [outer + more * (number + 0.5) / ZONES for number in range(ZONES)]
    return tuple(parts) if min(parts) > 0 else (per_sector_ns,) * ZONES


def _slope(recorded: Services, which: Mask) -> float:
    """Return what one more sector costs the requests *which*: the slope of their median by size."""
    sizes, times = recorded.sectors[which], recorded.service_ns[which]
    if len(sizes) < 2 or np.ptp(sizes) == 0:
        return 0.0
    medians = {int(size): float(np.median(times[sizes == size])) for size in np.unique(sizes)}
    weights = [math.sqrt(float((sizes == size).sum())) for size in medians]
    return max(float(np.polyfit(list(medians), list(medians.values()), 1, w=weights)[0]), 0.0)


# What cannot be differentiated is tried


def _search(found: _Found, step: Step) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the best values of what is tried, and for each key how much worse the next one is."""
    keys = dict(_TRIED) if found.hit else {"sectors_per_track": _TRIED["sectors_per_track"]}
    if found.medium_ns:
        keys["sectors_per_track"] = _TRIED_SEEN
    if found.write is None:
        keys["least_buffered"] = _TRIED_BUFFERED
    choice: dict[str, Any] = {
        "read_ahead": "segment" if found.hit else "none",
        "segment_size": "128KiB",
        "segments": 4,
        "read_before": False,
        "hits_on_writes": True,
        "sectors_per_track": 1.0 if found.medium_ns else 1.5,
        "least_buffered": "512B",
    }
    seen: dict[tuple[Any, ...], float] = {}
    margin: dict[str, str] = {}
    for _ in range(2):
        for key, values in keys.items():
            costs = {}
            for value in values:
                step(f"buffer: {key} = {value}")
                tried = {**choice, key: value}
                mark = tuple(tried.values())
                if mark not in seen:
                    seen[mark] = _cost(found, tried)
                costs[value] = seen[mark]
            best = min(costs, key=costs.__getitem__)
            choice[key] = best
            others = sorted(cost for value, cost in costs.items() if value != best)
            margin[key] = f"next best {others[0] / costs[best] - 1:+.0%}" if costs[best] > 0 else ""
    return choice, margin


def _cost(found: _Found, choice: dict[str, Any]) -> float:
    """Return the root of the mean squared demerit figures of sequential reads, other reads and writes."""
    recorded = found.recorded
    model = disk_model(checked({"name": "trial", **_disk(found, choice)}, "fit"), Path())
    predicted = replay(model, recorded)
    reads = recorded.of("R")
    parts = (reads & recorded.sequential, reads & ~recorded.sequential, recorded.of("W"))
    squares = [
        demerit_ns(recorded.service_ns[part], predicted[part]) ** 2 * float(part.mean()) for part in parts if part.any()
    ]
    return math.sqrt(sum(squares))


# The table


def _disk(found: _Found, choice: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of the [[host.disk]]."""
    revolution = found.seek.revolution_ns
    tracks = _sectors_per_track(found, choice)
    shortest = max(found.seek.base_ns - found.miss_ns, 0.0)
    zones = _zones(found, tracks, revolution, shortest)
    cylinders = sum(zone["cylinders"] for zone in zones)
    per_cylinder = max(1, found.span // cylinders)
    hit = found.hit
    write = (found.write.after_read_ns, found.write.after_write_ns) if found.write else (found.through_ns,) * 2
    return {
        "model": "disksim",
        "rpm": round(60e9 / revolution),
        "heads": HEADS,
        "seek": _curve(found.seek, shortest, per_cylinder, cylinders),
        "head_switch": exact_time(HEAD_SWITCH_NS),
        "write_settle": "0s",
        "bus_rate": exact_size(max(1, round(1e9 / _bus_ns(found))) * SECTOR_BYTES),
        "segments": choice["segments"],
        "segment_size": choice["segment_size"],
        "read_ahead": choice["read_ahead"],
        "read_hit": [_time(hit.after_read_ns), _time(hit.after_write_ns)] if hit else [_time(found.miss_ns)] * 2,
        "read_miss": [_time(found.miss_ns)] * 2,
        "write": [_time(ns) for ns in write],
        "write_back": found.write is not None,
        "hits_on_writes": choice["hits_on_writes"] and hit is not None,
        "read_before": choice["read_before"],
        "least_buffered": choice["least_buffered"],
        "zone": zones,
    }


def _zones(found: _Found, tracks: tuple[int, ...], revolution: float, shortest: float) -> list[dict[str, Any]]:
    """Return the zones: equal parts of the disk, with skews that cover head switch and shortest seek."""
    zones: list[dict[str, Any]] = []
    first = 0
    for per_track in tracks:
        per_cylinder = HEADS * per_track
        cylinders = max(1, math.ceil(found.span / len(tracks) / per_cylinder))
        sector_ns = revolution / per_track
        zones.append(
            {
                "first_cylinder": first,
                "cylinders": cylinders,
                "sectors_per_track": per_track,
                "track_skew": math.ceil(HEAD_SWITCH_NS / sector_ns) + 1,
                "cylinder_skew": math.ceil((shortest + float(found.seek.beyond_ns(per_cylinder))) / sector_ns) + 1,
            }
        )
        first += cylinders
    return zones


_FAST_BUS = 600 * 1024 * 1024
"""Bytes per second where the sizes of the requests show no time on the bus: SATA at 6 Gbit/s."""


def _time(ns: float) -> str:
    return exact_time(round(ns))


def _sectors_per_track(found: _Found, choice: dict[str, Any]) -> tuple[int, ...]:
    """From the speed of the medium, by zone, where the bus does not hide it, else a multiple of what the bus moves."""
    revolution = found.seek.revolution_ns
    times = [ns / (revolution + HEAD_SWITCH_NS) for ns in found.medium_ns or ()] or [_bus_ns(found) / revolution]
    return tuple(min(max(4, round(float(choice["sectors_per_track"]) / time)), 1 << 16) for time in times)


def _bus_ns(found: _Found) -> float:
    return found.bus_ns or SECTOR_BYTES * 1e9 / _FAST_BUS


def _curve(seek: Seek, shortest_ns: float, per_cylinder: int, cylinders: int) -> list[list[Any]]:
    distances = np.unique(np.rint(np.geomspace(1, max(cylinders - 1, 1), _SEEK_POINTS)).astype(np.int64))
    times = shortest_ns + seek.beyond_ns(distances * per_cylinder)
    return [[int(distance), _time(float(ns))] for distance, ns in zip(distances, times, strict=True)]


def _parameters(found: _Found, choice: dict[str, Any], tried: dict[str, str]) -> list[Parameter]:
    seek = found.seek
    squares = f"least squares, {seek.n:,} reads from the medium"
    rpm = 60e9 / seek.revolution_ns
    rows = [Parameter("rpm", f"{rpm:.0f}", f"{rpm * seek.errors[0] / seek.revolution_ns:.0f}", squares)]
    values = (seek.base_ns, seek.root_ns, seek.line_ns)
    for name, value, error in zip(seek_fit.NAMES[1:4], values, seek.errors[1:4], strict=True):
        rows.append(_time_row(name, value, error, squares))
    rows.append(Parameter("border", f"{seek.border:.3f}", f"{seek.errors[4]:.3f}", squares))
    rows.append(Parameter("read_miss", f"{three_digits(found.miss_ns / 1e3)} us", "", "splits overhead and seek"))
    for name, fitted in (("read_hit", found.hit), ("write", found.write)):
        if fitted is None:
            continue
        how = f"least squares, {int(fitted.which.sum()):,} requests"
        rows.append(_time_row(f"{name} behind a read", fitted.after_read_ns, fitted.errors[0], how))
        rows.append(_time_row(f"{name} behind a write", fitted.after_write_ns, fitted.errors[1], how))
        rows.append(_time_row(f"{name}: sector on the bus", fitted.sector_ns, fitted.errors[2], how))
    if found.write is None:
        rows.append(Parameter("write", f"{three_digits(found.through_ns / 1e3)} us", "", "mean of far writes"))
    for key, how in tried.items():
        chosen = _sectors_per_track(found, choice) if key == "sectors_per_track" else (choice[key],)
        rows.append(Parameter(key, ", ".join(map(str, chosen)), "", f"tried; {how}"))
    return rows


def _time_row(name: str, value_ns: float, error_ns: float, how: str) -> Parameter:
    return Parameter(name, f"{three_digits(value_ns / 1e3)} us", f"{three_digits(error_ns / 1e3)} us", how)
