"""The host's part of requests in the names of blktrace: Q queued, D given to the device, C complete.

Text as blkparse prints it (blkparse(1), "DEFAULT OUTPUT FORMAT"): `"%D %2c %8s %5T.%9t %5p %2a %3d "`, then
`"%S + %n [%C]"`, for C with the error in the brackets.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iosim.exports.selection import KEY
from iosim.model.scenario import DriveTable
from iosim.model.stages import Stage
from iosim.results.result import Result

LATENCIES = "latencies.csv"
TEXT = "blkparse.txt"
_RWBS = {"R": "R", "W": "W", "F": "FWS"}
_ORDER = {"C": 0, "Q": 1, "D": 2}
"""Of the same instant: a device is done with one operation before it takes the next."""


def write_blktrace(result: Result, folder: Path, say: Callable[[str], None]) -> None:
    """Write the latencies of all requests and the text of `operations` to *folder*; *say* is told what lacks there."""
    folder.mkdir()
    latencies(result).to_csv(folder / LATENCIES, index=False, lineterminator="\n")
    table, n_recorded = operations(result)
    (folder / TEXT).write_text("".join(f"{line}\n" for line in blkparse_lines(table, result)), encoding="utf-8")
    if len(table) < n_recorded:
        why = "of the others the result does not tell the place on the disk"
        say(f"{TEXT} has {len(table):,} of the {n_recorded:,} recorded operations of disks: {why}")


def latencies(result: Result) -> pd.DataFrame:
    """Return a row for each request that went to a disk: Q2D, D2C and their sum Q2C in ns.

    A request of several operations has their sums.
    """
    table = result.requests
    visited = table[table["disk_wait_ns"] + table["disk_service_ns"] > 0]
    waited, served = visited["disk_wait_ns"], visited["disk_service_ns"]
    columns = visited[[*KEY, "op", "sector", "sectors", "status", "warmup"]]
    return columns.assign(q2d_ns=waited, d2c_ns=served, q2c_ns=waited + served)


def operations(result: Result) -> tuple[pd.DataFrame, int]:
    """Return the recorded operations of disks whose place is known, and how many are recorded in all.

    One row for each, in order of time, with `vm`, `drive`, `request`, `op`, `sector`, `sectors`, `thread` (which gave
    it to the host's block layer), `Q`, `D` and `C` in ns. The place is that of the request: if it went to the disk
    just once, was done, has not been merged with another, and its image is raw and bypasses the page cache.
    """
    visits = _visits(result.spans)
    requests = result.requests[[*KEY, "op", "sector", "sectors", "status", "arrival_ns", "done_ns"]]
    requests = requests.astype({"vm": str, "op": str, "status": str})
    known = visits.drop_duplicates(KEY, keep=False).merge(requests[requests["status"] == "ok"], on=KEY)
    keep = np.zeros(len(known), dtype=bool)
    for (vm, drive), rows in known.groupby(["vm", "drive"], sort=False):
        table = _drive(result, str(vm), int(str(drive)))
        if table.direct and table.format == "raw":
            keep[rows.index] = True
            if table.is_virtio and table.request_merging:
                of_drive = requests[(requests["vm"] == vm) & (requests["drive"] == drive)]
                keep[rows.index] = [not _may_be_merged(row, of_drive) for row in rows.to_dict("records")]
    return known[keep].sort_values(["Q", *KEY], kind="stable", ignore_index=True), len(visits)


def _visits(spans: pd.DataFrame) -> pd.DataFrame:
    """Return each operation of a disk: the request, the thread that made it, and when it was Q, D and C."""
    stage, thread = spans["stage"].to_numpy(dtype=object), spans["thread"].to_numpy(dtype=object)
    first = ~spans[KEY].eq(spans[KEY].shift()).all(axis=1).to_numpy()
    served = np.flatnonzero(stage == Stage.DISK_SERVICE.label)
    queued = []
    for row in served:
        while not first[row] and stage[row - 1] == Stage.DISK_WAIT.label:
            row -= 1
        queued.append(row)
    threads = ["" if first[row] else thread[row - 1] for row in queued]
    times = {"Q": spans["start_ns"].to_numpy()[queued], "D": spans["start_ns"].to_numpy()[served]}
    visits = spans.iloc[served][KEY].assign(thread=threads, **times, C=spans["end_ns"].to_numpy()[served])
    return visits.astype({"vm": str}).reset_index(drop=True)


def _drive(result: Result, vm: str, drive: int) -> DriveTable:
    name = vm.partition("#")[0]
    return next(table for table in result.scenario.vm if table.name == name).drive[drive]


def _may_be_merged(row: dict[Any, Any], requests: pd.DataFrame) -> bool:
    """Tell whether one of *requests*, of the same drive, is a neighbour under way at the same time."""
    ends = requests["sector"] + requests["sectors"]
    touches = (requests["sector"] == row["sector"] + row["sectors"]) | (ends == row["sector"])
    overlaps = (requests["arrival_ns"] < row["done_ns"]) & (requests["done_ns"] > row["arrival_ns"])
    return bool((touches & overlaps & (requests["op"] == row["op"]) & (row["op"] != "F")).any())


def blkparse_lines(table: pd.DataFrame, result: Result) -> list[str]:
    """Return the lines of blkparse for `operations`: Q, D and C of each, in order of time.

    A drive is a device, 8,0 the first, 8,16 the second; all is on CPU 0, by process 0.
    """
    drives = list(result.requests[["vm", "drive"]].drop_duplicates().itertuples(index=False, name=None))
    actions = [
        (row[action], _ORDER[action], number, action, row)
        for number, row in enumerate(table.to_dict("records"))
        for action in _ORDER
    ]
    lines = []
    for sequence, (ns, _, _, action, row) in enumerate(sorted(actions, key=lambda entry: entry[:3]), start=1):
        device = f"{8:3d},{16 * drives.index((row['vm'], row['drive'])):<3d}"
        seconds, fraction = divmod(ns, 1_000_000_000)
        head = f"{device} {0:2d} {sequence:8d} {seconds:5d}.{fraction:09d} {0:5d} {action:>2s} {_RWBS[row['op']]:>3s}"
        place = f" {row['sector']} + {row['sectors']}" if row["sectors"] else " 0" if action == "C" else ""
        lines.append(f"{head}{place} [{0 if action == 'C' else row['thread']}]")
    return lines
