"""From DiskSim's parameter files of a drive (.diskspecs, .model, .seek) to a [[host.disk]] with model = "disksim".

The keys and their meaning are those of DiskSim 4.0: src/modules/disk.modspec, diskmodel/modules/*.modspec,
disksim_diskctlr.c, disksim_diskcache.c, layout_g1.c, mech_g1.c.
"""

import math
from pathlib import Path
from typing import Any

from iosim.drives.libparam import Block, read
from iosim.model.errors import TraceError, reason
from iosim.model.units import SECTOR_BYTES, exact_size, exact_time

DEFAULT_BUS_RATE = 19_531 * SECTOR_BYTES
"""Bytes per second where the files name no speed of the bus: Fast SCSI-2. Assumed."""

_AHEAD = ("none", "track", "cylinder", "segment", "next-track")
_TRACK, _PER_TRACK, _AT_END, _PER_RANGE, _PER_ZONE, _PER_ZONE_SLIPPED = 1, 3, 7, 8, 9, 10
_PER_CYLINDER = (2, 4, 5, 6)
MOST_PER_TRACK = 1 << 16
_EXTRA_BUFFERED = 10
"""Sectors that DiskSim wants in the buffer before it writes, with "Extra write disconnect" (below 45 in all)."""
_NS_PER_MS = 1_000_000


def convert(path: Path, bus_rate: int | None = None) -> dict[str, Any]:
    """Return the keys of a [[host.disk]] for the drive whose .diskspecs is *path*; the files it names lie beside it.

    *bus_rate* is used where the files leave the speed of the bus to DiskSim's bus. Raises TraceError.
    """
    drive = read(path)
    model = drive.block("Model")
    mechanics, layout = model.block("Mechanical Model"), model.block("Layout Model")
    if layout.kind != "dm_layout_g1" or mechanics.kind != "dm_mech_g1":
        raise TraceError(
            f"{layout.where}: must be of the kinds dm_layout_g1 and dm_mech_g1, got {layout.kind} and {mechanics.kind}"
        )
    heads = model.whole("Number of data surfaces")
    cylinders = model.whole("Number of cylinders")
    return {
        "model": "disksim",
        "rpm": mechanics.whole("Rotation speed (in rpms)"),
        "heads": heads,
        "seek": [[distance, _time(ms)] for distance, ms in _seek(mechanics, cylinders)],
        "head_switch": _time(mechanics.number("Head switch time")),
        "write_settle": _time(mechanics.number("Add. write settling delay")),
        **_electronics(drive, bus_rate),
        "zone": [_zone(zone, layout, heads) for zone in layout.blocks("Zones")],
    }


def leaves_bus_open(path: Path) -> bool:
    """Tell whether the .diskspecs *path* names no time of a sector on the bus, and so leaves it to DiskSim's bus."""
    return read(path).number("Bulk sector transfer time", 0.0) == 0


def _time(ms: float) -> str:
    return exact_time(round(ms * _NS_PER_MS))


def _electronics(drive: Block, bus_rate: int | None) -> dict[str, Any]:
    scale = drive.number("Time scale for overheads", 1.0)
    every = drive.number("Per-request overhead time", 0.0)

    def ms(key: str) -> float:
        return scale * drive.number(key, 0.0)

    def pair(kind: str) -> list[str]:
        return [
            _time(scale * every + ms(f"{kind} over. after read")),
            _time(scale * every + ms(f"{kind} over. after write")),
        ]

    write_back = drive.whole("Fast write level", 0) > 0
    extra = bool(drive.whole("Extra write disconnect", 0))
    writes = pair("Write hit" if write_back else "Write miss")
    sequential = writes[1]
    prepared = ms("Data preparation overhead")
    write_end = ms("Write completion overhead")
    if not write_back:
        write_end += ms("Other reselect overhead") if extra else ms("First reselect overhead")
    if extra:
        writes[1] = _time(scale * every + ms("Extradisc command overhead") + ms("Extradisc seek delta"))
    per_sector = drive.number("Bulk sector transfer time", 0.0)
    rate = round(1000 / per_sector) * SECTOR_BYTES if per_sector else bus_rate or DEFAULT_BUS_RATE
    most = drive.whole("Maximum read-ahead (blks)", 0)
    if not most and drive.whole("Read-ahead over requested", 0) <= 0:
        most = drive.whole("Segment size (in blks)")
    segments, size = max(1, drive.whole("Number of buffer segments")), drive.whole("Segment size (in blks)")
    if not drive.whole("Enable caching in buffer", 1) and not write_back:
        segments, size = 1, 1  # The buffer only joins medium and bus: a segment of one sector keeps as good as nothing.
    return {
        "least_write_seek": _time(drive.number("Minimum seek delay", 0.0)),
        "least_buffered": exact_size((_EXTRA_BUFFERED if extra else 1) * SECTOR_BYTES),
        "bus_rate": exact_size(rate),
        "segments": segments,
        "segment_size": exact_size(size * SECTOR_BYTES),
        "read_ahead": _AHEAD[_choice(drive, "Buffer continuous read", len(_AHEAD))],
        "most_ahead": exact_size(most * SECTOR_BYTES) if most else False,
        "read_hit": pair("Read hit"),
        "read_miss": pair("Read miss"),
        "write": writes,
        "write_sequential": sequential,
        "reconnect": _time(prepared),
        "read_end": _time(ms("Read completion overhead")),
        "write_end": _time(write_end),
        "write_back": write_back,
        "write_segment": bool(drive.whole("Use separate write segment", 0)) and segments > 1,
        "hits_on_writes": bool(drive.whole("Allow read hits on write data", 0)),
        "ahead_on_hit": bool(drive.whole("Read-ahead on idle hit", 0)),
        "read_before": bool(drive.whole("Read any free blocks", 0)),
        "read_at_once": bool(drive.whole("Immediate buffer read", 0)),
        "write_at_once": bool(drive.whole("Immediate buffer write", 0)),
        "watermark": drive.number("High (read) water mark", 0.0),
    }


def _choice(block: Block, key: str, n: int) -> int:
    value = block.whole(key)
    if not 0 <= value < n:
        raise TraceError(f"{block.where}: {key!r} must be 0 to {n - 1}, got {value}")
    return value


# geometry


def _zone(zone: Block, layout: Block, heads: int) -> dict[str, Any]:
    scheme = layout.whole("Sparing scheme used")
    first, last = zone.whole("First cylinder number"), zone.whole("Last cylinder number")
    per_track, spares = zone.whole("Blocks per track"), zone.whole("Number of spares")
    if not 1 <= per_track <= MOST_PER_TRACK:
        raise TraceError(f"{zone.where}: 'Blocks per track' must be 1 to {MOST_PER_TRACK}, got {per_track}")
    slips = sorted({int(slip) for slip in zone.numbers("slips")})
    unit = per_track if zone.word("Skew units", layout.word("Skew units", "sectors")) == "revolutions" else 1
    found: dict[str, Any] = {
        "first_cylinder": first,
        "cylinders": last - first + 1,
        "sectors_per_track": per_track,
        "offset": round(zone.number("Offset of first block", 0.0) * unit) % per_track,
        "track_skew": round(zone.number("Skew for track switch", 0.0) * unit),
        "cylinder_skew": round(zone.number("Skew for cylinder switch", 0.0) * unit),
        "unused": zone.whole("Empty space at zone front", 0),
        "spares": spares,
    }
    if scheme == _TRACK:
        found["spares"] = spares * per_track
        slips = [track * per_track + sector for track in slips for sector in range(per_track)]
    elif scheme in _PER_CYLINDER:
        found["region_tracks"] = heads
    elif scheme == _PER_TRACK:
        found["region_tracks"] = 1
    elif scheme == _PER_RANGE:
        found["region_tracks"] = heads * layout.whole("Rangesize for sparing")
    elif scheme == _PER_ZONE_SLIPPED:
        found["spares"] = spares + len(slips)
    elif scheme == _AT_END:
        found["spares"] = len(slips)
    elif scheme != _PER_ZONE:
        found["spares"] = 0
    return {**found, "slips": slips}


# seek


def _seek(mechanics: Block, cylinders: int) -> list[tuple[int, float]]:
    """Return the seek curve as (distance, ms), dense enough for linear interpolation."""
    kind = mechanics.word("Seek type")
    if kind == "extracted":
        return _extracted(Path(mechanics.where).parent / mechanics.word("Full seek curve"))
    if kind == "constant":
        return [(1, mechanics.number("Constant seek time"))]
    if kind not in ("linear", "curve", "hpl", "hplplus10"):
        raise TraceError(f"{mechanics.where}: 'Seek type' must be one that DiskSim knows, got {kind!r}")
    one = mechanics.number("Single cylinder seek time", 0.0 if kind == "hplplus10" else None)
    full = mechanics.number("Full strobe seek time", 0.0)
    longest = max(cylinders - 1, 2)
    if kind == "linear":
        third = max(2, cylinders // 3)
        return [(1, one), (third, mechanics.number("Average seek time")), (max(longest, third + 1), full)]
    if kind == "curve":
        # Lee and Katz: the three values are the coefficients of a + b (d - 1) + c sqrt(d - 1).
        average = mechanics.number("Average seek time")
        return [(d, one + average * (d - 1) + full * math.sqrt(d - 1)) for d in _distances(1, longest)]
    return _hpl(mechanics, kind, one, longest)


def _hpl(mechanics: Block, kind: str, one: float, longest: int) -> list[tuple[int, float]]:
    """The curve of Ruemmler and Wilkes: a root up to a distance, a line from there on, and times for the first ones."""
    values = mechanics.numbers("HPL seek equation values")
    if len(values) != 6:
        raise TraceError(f"{mechanics.where}: 'HPL seek equation values' must be 6 numbers, got {len(values)}")
    border, a, b, c, d, single = values
    points: list[tuple[int, float]] = []
    if kind == "hplplus10":
        points = list(enumerate(mechanics.numbers("First ten seek times"), start=1))
    elif single != -1:
        points = [(1, one)]
    near = len(points) + 1
    points += [(n, a + b * math.sqrt(n)) for n in _distances(near, min(math.ceil(border) - 1, longest))]
    points += [(n, c + d * n) for n in sorted({max(near, math.ceil(border)), longest}) if n >= border and n >= near]
    return points


def _distances(first: int, last: int) -> list[int]:
    """Return distances from *first* to *last*, so near to each other that a root is straight in between."""
    found = []
    at = first
    while at < last:
        found.append(at)
        at = max(at + 1, math.ceil(at * 1.1))
    return [*found, last] if last >= first else []


def _extracted(path: Path) -> list[tuple[int, float]]:
    """Return the points of a .seek file: ``Seek distances measured: N``, then lines of ``distance, milliseconds``."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise TraceError(f"{path}: {reason(error)}") from None
    points: dict[int, float] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            distance, ms = line.split(",")[:2]
            points[int(distance)] = float(ms)
        except ValueError:
            raise TraceError(f"{path}:{number}: must be distance, milliseconds, got {line.strip()!r}") from None
    if not points:
        raise TraceError(f"{path}: has no seek times")
    return sorted((distance, ms) for distance, ms in points.items() if distance > 0)
