"""A fitted drive as model = "hdd": the same mechanics, one segment for reads and a write buffer."""

from typing import Any

from iosim.drives.drive_fit import DriveFit
from iosim.model.units import exact_size, exact_time, parse_bytes, parse_ns

WRITE_BUFFER = "512KiB"
"""Assumed: how much a drive reports as written before it waits cannot be seen where requests come one by one."""


def simplified(fitted: DriveFit) -> DriveFit:
    """Return the model = "hdd" that is nearest to a fitted model = "disksim".

    There is one overhead of reads: what a missed read takes more than a hit goes into the seek curve. Overheads behind
    a read and behind a write become their mean. What the segments hold becomes one segment.
    """
    drive = fitted.disk
    hit, miss, write = (_mean(drive[key]) for key in ("read_hit", "read_miss", "write"))
    more = max(miss - hit, 0)
    times = [(distance, parse_ns(time) + more) for distance, time in drive["seek"]]
    disk: dict[str, Any] = {
        "model": "hdd",
        "rpm": drive["rpm"],
        "cylinders": sum(zone["cylinders"] for zone in drive["zone"]),
        "heads": drive["heads"],
        "zones": [[zone["first_cylinder"], zone["sectors_per_track"]] for zone in drive["zone"]],
        "seek": [[distance, exact_time(ns)] for distance, ns in times],
        "read_overhead": exact_time(min(hit, miss)),
        "write_overhead": exact_time(write),
        "head_switch": drive["head_switch"],
        "write_settle": "0s",
        "bus_rate": drive["bus_rate"],
        "read_ahead": False if drive["read_ahead"] == "none" else exact_size(parse_bytes(drive["segment_size"])),
        "write_buffer": WRITE_BUFFER if drive["write_back"] else False,
    }
    notes = [*fitted.notes, f"write_buffer is assumed, {WRITE_BUFFER}"] if drive["write_back"] else fitted.notes
    return DriveFit(disk, fitted.parameters, list(notes))


def _mean(pair: list[str]) -> int:
    return sum(parse_ns(time) for time in pair) // len(pair)
