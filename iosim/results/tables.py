"""The tables of a result as pandas frames, built from what the run recorded (docs/results.md has every column)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from iosim.model.costs import Int64Array
from iosim.model.records import ERRORS, STATUSES
from iosim.model.trace import OPS
from iosim.results.raw import INT_COLUMNS, RawResult

_DONE = INT_COLUMNS.index("done_ns") + 1
REQUEST_COLUMNS = [*INT_COLUMNS[:_DONE], "latency_ns", *INT_COLUMNS[_DONE:]]
EXIT_COLUMNS = ["vm", "vcpu", "reason", "userspace", "count", "total_ns", "min_ns", "p50_ns", "p99_ns", "max_ns"]
RESOURCE_COLUMNS = ["resource", "servers", "busy_ns", "utilisation", "mean_queue", "max_queue"]
EVENT_COLUMNS = ["time_ns", "vm", "drive", "request", "event", "why"]
SERIES_COLUMNS = ["start_ns", "end_ns", "arrivals", "completions", "latency_edges_ns", "latency_counts"]
"""Those that every `series` has; each resource adds its own."""
SUBBUCKETS = 8
"""Buckets of the latency histogram in `series` per factor of two."""


def _categorical(codes: Int64Array, names: Sequence[str]) -> "pd.Categorical[str]":
    return pd.Categorical.from_codes(codes, pd.Index(names))


def requests(raw: RawResult) -> pd.DataFrame:
    """Return one row per request that arrived, by VM, drive and number."""
    arrived = raw.requests[:, INT_COLUMNS.index("vm")] >= 0
    return request_frame(raw.requests if arrived.all() else raw.requests[arrived], raw.vm_names)


def request_frame(array: Int64Array, vms: Sequence[str]) -> pd.DataFrame:
    """Return the table of rows of `INT_COLUMNS`; *vms* are the names of the VMs by number."""
    column = {name: array[:, i] for i, name in enumerate(INT_COLUMNS)}
    columns = {
        "vm": _categorical(column["vm"], vms),
        "op": _categorical(column["op"], OPS),
        "status": _categorical(column["status"], STATUSES),
        "error": _categorical(column["error"], ERRORS),
        "warmup": column["warmup"].astype(bool),
        "latency_ns": column["done_ns"] - column["arrival_ns"],
    }
    return pd.DataFrame({name: columns.get(name, column.get(name)) for name in REQUEST_COLUMNS}, copy=False)


def exits(raw: RawResult) -> pd.DataFrame:
    """Return one row per vCPU, exit reason and whether it went to userspace."""
    return pd.DataFrame(raw.exits, columns=EXIT_COLUMNS)


def resources(raw: RawResult) -> pd.DataFrame:
    """Return one row per resource, over [end of the warm-up, end of the run]."""
    window = raw.end_ns - min(raw.scenario.run.warmup, raw.end_ns)
    rows = [
        (
            level.resource,
            level.servers,
            level.busy_area,
            level.busy_area / (level.servers * window) if window else 0.0,
            level.queue_area / window if window else 0.0,
            level.queue_highest,
        )
        for level in raw.levels
    ]
    return pd.DataFrame(rows, columns=RESOURCE_COLUMNS)


def accesses(raw: RawResult) -> pd.DataFrame | None:
    """Return one row per port access in order of VM and time, None if they were not logged."""
    if raw.accesses is None:
        return None
    names = ["vcpu", "drive", "request", "time_ns", "port", "direction", "width", "count"]
    frames = []
    for vm, rows in raw.accesses:
        frame = pd.DataFrame(rows, columns=names).sort_values(["time_ns", "vcpu"], kind="stable", ignore_index=True)
        frame["direction"] = np.where(frame["direction"].astype(bool), "out", "in")
        frame.insert(0, "vm", vm)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def events(raw: RawResult) -> pd.DataFrame:
    """Return one row per thing that went wrong or was scheduled, in order of time and VM."""
    rows = [(at, vm, drive, request, event, why) for vm, own in raw.events for at, drive, request, event, why in own]
    frame = pd.DataFrame(rows, columns=EVENT_COLUMNS)
    frame = frame.astype({"time_ns": np.int64, "drive": np.int64, "request": np.int64})
    return frame.sort_values("time_ns", kind="stable", ignore_index=True)


def bucket_edges_ns(longest_ns: int) -> list[int]:
    """Return the upper edges of the latency buckets up to *longest_ns*: 8 per factor of two, from 1024 ns on."""
    edges: list[int] = []
    power = 1024
    while not edges or edges[-1] < longest_ns:
        edges += [power + power * k // SUBBUCKETS for k in range(1, SUBBUCKETS + 1)]
        power *= 2
    return edges


def bins_of(raw: RawResult) -> int:
    """Return how many time bins a run has."""
    return max(1, -(-raw.end_ns // raw.bin_width_ns))


def series(raw: RawResult, table: pd.DataFrame) -> pd.DataFrame:
    """Return `series_of` the rows of *table*, which is `requests`."""
    n_bins = bins_of(raw)
    done = table[table["status"] == "ok"]
    arrival_bin = np.minimum(table["arrival_ns"].to_numpy() // raw.bin_width_ns, n_bins - 1)
    done_bin = np.minimum(done["done_ns"].to_numpy() // raw.bin_width_ns, n_bins - 1)
    latency = done["latency_ns"].to_numpy()
    edges = bucket_edges_ns(int(latency.max(initial=1)))
    bucket = np.searchsorted(np.array(edges), latency, side="left")
    histogram = np.zeros((n_bins, len(edges)), dtype=np.int64)
    np.add.at(histogram, (done_bin, bucket), 1)
    return series_of(raw, np.bincount(arrival_bin, minlength=n_bins), histogram, edges)


def series_of(raw: RawResult, arrivals: Int64Array, histogram: Int64Array, edges: list[int]) -> pd.DataFrame:
    """Return one row per time bin: arrivals, completions, latency histogram, level of each resource.

    The latency histogram counts the completions of the bin; its buckets end at *edges*, which are in the column
    `latency_edges_ns`, the same in each row.
    """
    n_bins = bins_of(raw)
    starts = np.arange(n_bins, dtype=np.int64) * raw.bin_width_ns
    ends = np.minimum(starts + raw.bin_width_ns, raw.end_ns)
    columns: dict[str, object] = {
        "start_ns": starts,
        "end_ns": ends,
        "arrivals": arrivals,
        "completions": histogram.sum(axis=1),
        "latency_edges_ns": [edges] * n_bins,
        "latency_counts": histogram.tolist(),
    }
    lengths = np.maximum(ends - starts, 1)
    for level in raw.levels:
        columns[f"utilisation {level.resource}"] = _bins(level.busy_bins, n_bins) / (lengths * level.servers)
        if level.has_queue:
            columns[f"queue {level.resource}"] = _bins(level.queue_bins, n_bins) / lengths
    return pd.DataFrame(columns)


def _bins(values: list[int], n_bins: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    result = np.zeros(n_bins)
    result[: min(len(values), n_bins)] = values[:n_bins]
    return result
