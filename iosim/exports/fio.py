"""fio's JSON (``--output-format=json+``): a job for each drive, with the figures that fio 3.33 would print."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.exports.fio_buckets import Latencies, distribution, shares, statistics
from iosim.model.units import SECTOR_BYTES
from iosim.results.result import Result
from iosim.results.summary import counted

VERSION = "fio-3.33"
"""The version whose format this is; readers ask for it."""
ERRNO = {"EIO": 5, "ENOSPC": 28}
"""Linux's numbers; whatever else ends a request is an I/O error to the guest."""
_NONE = np.empty(0, dtype=np.int64)
_DEPTHS = ("1", "2", "4", "8", "16", "32", ">=64")
_BATCHES = ("0", "4", "8", "16", "32", "64", ">=64")


def write_fio(result: Result, path: Path) -> None:
    """Write the requests that statistics count to *path*."""
    path.write_text(json.dumps(document(result), indent=2) + "\n", encoding="utf-8")


def document(result: Result) -> dict[str, Any]:
    """Return the document. What is not simulated is 0, as in fio's own output what it has not measured."""
    warmup = min(result.scenario.run.warmup, int(result.summary["end_ns"]))
    window_ns = int(result.summary["end_ns"]) - warmup
    jobs = [
        _job(f"{vm}/drive{drive}", requests, window_ns)
        for (vm, drive), requests in result.requests.groupby(["vm", "drive"], sort=False, observed=True)
    ]
    return {
        "fio version": f"{VERSION} json+, by iosim {result.summary['iosim']}",
        "timestamp": 0,
        "timestamp_ms": 0,
        "time": "Thu Jan  1 00:00:00 1970",
        "jobs": jobs,
        "disk_util": [],
    }


def _job(name: str, requests: pd.DataFrame, window_ns: int) -> dict[str, Any]:
    """Return the job of one drive, whose requests statistics count over *window_ns*."""
    done = counted(requests)
    failed = requests[(requests["status"] == "error") & ~requests["warmup"]]
    of = {op: done[done["op"] == op] for op in "RWF"}
    transfers = done[done["op"] != "F"]
    depths = _depths(requests)[requests.index.isin(transfers.index)]
    errors = {} if failed.empty else {"total_err": len(failed), "first_error": ERRNO.get(str(_first(failed)), 5)}
    return {
        "jobname": name,
        "groupid": 0,
        "error": 0,
        "eta": 0,
        "elapsed": -(-window_ns // 1_000_000_000),
        "job options": {"name": name},
        "read": _direction(of["R"], window_ns),
        "write": _direction(of["W"], window_ns),
        "trim": _direction(done.iloc[:0], 0),
        "sync": {"total_ios": len(of["F"]), "lat_ns": distribution(_latencies(of["F"]))},
        "job_runtime": round(window_ns / 1e6),
        "usr_cpu": 0.0,
        "sys_cpu": 0.0,
        "ctx": 0,
        "majf": 0,
        "minf": 0,
        "iodepth_level": _levels(depths),
        "iodepth_submit": _each_alone(len(transfers)),
        "iodepth_complete": _each_alone(len(transfers)),
        **shares(_latencies(transfers)),
        **errors,
        "latency_depth": int(depths.max(initial=1)),
        "latency_target": 0,
        "latency_percentile": 100.0,
        "latency_window": 0,
    }


def _first(failed: pd.DataFrame) -> object:
    return failed.sort_values("done_ns", kind="stable")["error"].iloc[0]


def _latencies(requests: pd.DataFrame) -> Latencies:
    return requests["latency_ns"].to_numpy(dtype=np.int64)


def _direction(requests: pd.DataFrame, window_ns: int) -> dict[str, Any]:
    """Return what fio says of reads, writes or trims; *window_ns* is the time over which rates are taken."""
    size = int(requests["sectors"].sum()) * SECTOR_BYTES
    active = window_ns if len(requests) else 0
    latencies = _latencies(requests)
    return {
        "io_bytes": size,
        "io_kbytes": size // 1024,
        "bw_bytes": size * 1_000_000_000 // active if active else 0,
        "bw": size * 1_000_000_000 // active // 1024 if active else 0,
        "iops": round(len(requests) * 1e9 / active, 6) if active else 0.0,
        "runtime": round(active / 1e6),
        "total_ios": len(requests),
        "short_ios": 0,
        "drop_ios": 0,
        "slat_ns": statistics(_NONE),
        "clat_ns": distribution(latencies),
        "lat_ns": statistics(latencies),
        "bw_min": 0,
        "bw_max": 0,
        "bw_agg": 0.0,
        "bw_mean": 0.0,
        "bw_dev": 0.0,
        "bw_samples": 0,
        "iops_min": 0,
        "iops_max": 0,
        "iops_mean": 0.0,
        "iops_stddev": 0.0,
        "iops_samples": 0,
    }


def _depths(requests: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return for each request how many of the drive are under way when it arrives, itself included."""
    arrival = requests["arrival_ns"].to_numpy()
    order = np.argsort(arrival, kind="stable")
    ended = np.searchsorted(np.sort(requests["done_ns"].to_numpy()), arrival[order], side="right")
    depths = np.empty(len(requests), dtype=np.int64)
    depths[order] = np.maximum(np.arange(1, len(requests) + 1) - ended, 1)
    return depths


def _levels(depths: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return the percentages of depths 1, 2 to 3, 4 to 7 ... as fio has them, each by its least depth."""
    levels = np.minimum(np.frexp(depths)[1] - 1, len(_DEPTHS) - 1)
    counts = np.bincount(levels, minlength=len(_DEPTHS))
    return {name: round(100 * int(n) / max(1, len(depths)), 6) for name, n in zip(_DEPTHS, counts, strict=True)}


def _each_alone(n: int) -> dict[str, float]:
    """Return fio's distribution of batches of *n* requests that are submitted one by one: all in 1 to 4."""
    return {name: 100.0 if n and name == "4" else 0.0 for name in _BATCHES}
