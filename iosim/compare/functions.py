"""Where the time of a request goes by function, as far as runs can be compared by that."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from iosim.compare.pairing import Side
from iosim.results.result import Result
from iosim.results.summary import counted


class Function(NamedTuple):
    """A function and the stage in which it spends the time."""

    name: str
    stage: str


def comparable(side: Side, is_paired: bool) -> Result:
    """Return the result with no more than the functions that are compared, and the requests that they are of.

    The table `functions` has all counted requests of a drive, not single ones. If the runs are paired, these are the
    drives that have a pair.
    """
    result = side.result
    if not is_paired or not side.alone:
        return result
    vms, drives = result.requests["vm"].cat, result.requests["drive"].to_numpy()
    n_drives = int(drives.max()) + 1
    keys = vms.codes.to_numpy().astype(np.int64) * n_drives + drives
    paired = np.unique(keys[side.rows])
    chosen = {(str(vms.categories[key // n_drives]), int(key % n_drives)) for key in paired}
    table = result.functions
    places = zip(table["vm"].astype(str), table["drive"], strict=True)
    kept = np.array([place in chosen for place in places], dtype=bool)
    return replace(result, functions=table[kept], requests=result.requests[np.isin(keys, paired)])


def means_per_request(side: Side, is_paired: bool) -> dict[Function, float]:
    """Return the mean time in ns that a request is in each function itself, not in those that it calls."""
    result = comparable(side, is_paired)
    table, n = result.functions, len(counted(result.requests[["status", "warmup"]]))
    names = table["stack"].astype(str).str.rpartition(";")[2] if len(table) else table["stack"]
    own = pd.DataFrame({"name": names, "stage": table["stage"].astype(str), "ns": table["total_ns"]})
    sums = own.groupby(["name", "stage"], as_index=False)["ns"].sum()
    rows = zip(sums["name"], sums["stage"], sums["ns"], strict=True)
    return {Function(str(name), str(stage)): float(ns) / n for name, stage, ns in rows}


def n_sampled(side: Side) -> int | None:
    """Return how many requests the split by function is taken from; None if it is all."""
    table = side.result.functions
    n = int(table.drop_duplicates(["vm", "drive", "op"])["sampled"].sum())
    return n if n < side.n_counted else None
