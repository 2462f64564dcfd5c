"""What one run is measured by: numbers with a name, taken from its tables (docs/studies.md has every one)."""

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

import pandas as pd

from iosim.model.stages import Stage
from iosim.results.result import Result
from iosim.results.summary import counted, is_resolved
from iosim.study.statistics import Truncation, mser5

WarmupRule: TypeAlias = Literal["scenario", "mser-5"]
"""Which requests are left out: those of `run.warmup`, or also those that MSER-5 finds to be warm-up."""

PER_REQUEST = ("exits", "userspace_exits", "irqs", "irq_line_ioctls")
PERCENTILES = ("50", "90", "95", "99", "99.9")
UNITS = {
    "requests_in": "count",
    "requests_done": "count",
    "requests_failed": "count",
    "requests_unfinished": "count",
    "requests_counted": "count",
    "end": "ns",
    "throughput": "1/s",
    "bandwidth": "B/s",
    "latency_mean": "ns",
    "latency_min": "ns",
    "latency_max": "ns",
    **{f"latency_p{p}": "ns" for p in PERCENTILES},
    "stage_mean": "ns",
    "stage_share": "share",
    **{f"{name}_per_request": "count" for name in PER_REQUEST},
    "utilisation": "share",
    "utilisation_max": "share",
    "mean_queue": "count",
    "max_queue": "count",
    "page_cache": "pages",
    "write_amplification": "ratio",
    "mser5_cut": "count",
    "mser5_settled": "0 or 1",
    "warmup": "ns",
}
"""The metrics and their units."""


class Measured(NamedTuple):
    """One number of one run: *of* says what part of the run it is about, empty for all of it."""

    metric: str
    of: str
    value: float


def measure(result: Result, warmup: WarmupRule = "scenario") -> list[Measured]:
    """Return every metric of *result*, in a fixed order.

    Numbers are those of `summary.json` and `resources`, unless *warmup* is "mser-5": then requests that arrive before
    the cut are left out of what is counted by request, and resources are averaged over the whole bins of `series`
    behind it.
    """
    table = counted(result.requests)
    found, found_ns = find_warmup(table)
    end_ns = int(result.summary["end_ns"])
    begin_ns = min(result.scenario.run.warmup, end_ns)
    cut = warmup == "mser-5" and found_ns > begin_ns
    if cut:
        begin_ns = found_ns
        table = table[table["arrival_ns"] >= begin_ns]
    counts = result.summary["requests"]
    rows = [Measured(f"requests_{name}", "", counts[name]) for name in ("in", "done", "failed", "unfinished")]
    rows += [Measured("requests_counted", "", len(table)), Measured("end", "", end_ns)]
    for of, group in _groups(result, table):
        rows += _requests(of, group, max(1, end_ns - begin_ns))
    rows += _stages(table)
    rows += _resources(result, begin_ns if cut else None)
    rows += [Measured("page_cache", name, value) for name, value in (result.summary["page_cache"] or {}).items()]
    for disk, wear in result.summary["wear"].items():
        if wear["write_amplification"] is not None:
            rows.append(Measured("write_amplification", f"disk/{disk}", wear["write_amplification"]))
    rows.append(Measured("mser5_cut", "", found.cut))
    rows.append(Measured("mser5_settled", "", found.settled))
    rows.append(Measured("warmup", "", begin_ns))
    return [Measured(row.metric, row.of, float(row.value)) for row in rows]


def find_warmup(table: pd.DataFrame) -> tuple[Truncation, int]:
    """Return what MSER-5 would leave out of the counted requests *table*, and the arrival of the first one it keeps.

    The observations are latencies in the order of arrival, over all VMs and drives.
    """
    ordered = table.sort_values("arrival_ns", kind="stable")
    found = mser5(ordered["latency_ns"].to_numpy())
    return found, int(ordered["arrival_ns"].iloc[found.cut]) if found.cut else 0


def _groups(result: Result, table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the requests that have numbers of their own: all; each operation and each [[vm]] table if several."""
    yield "", table
    ops = [op for op in ("R", "W", "F") if (table["op"] == op).any()]
    if len(ops) > 1:
        for op in ops:
            yield f"op={op}", table[table["op"] == op]
    if len(result.scenario.vm) > 1:
        names = table["vm"].astype(str).str.partition("#")[0]
        for vm in result.scenario.vm:
            yield f"vm={vm.name}", table[names == vm.name]


def _requests(of: str, table: pd.DataFrame, window_ns: int) -> Iterator[Measured]:
    yield Measured("throughput", of, len(table) / window_ns * 1e9)
    yield Measured("bandwidth", of, int(table["sectors"].sum()) * 512 / window_ns * 1e9)
    if table.empty:
        return
    latency = table["latency_ns"]
    yield Measured("latency_mean", of, _mean(latency))
    yield Measured("latency_min", of, int(latency.min()))
    yield Measured("latency_max", of, int(latency.max()))
    known = [p for p in PERCENTILES if is_resolved(p, len(table))]
    for p, value in zip(known, latency.quantile([float(p) / 100 for p in known]), strict=True):
        yield Measured(f"latency_p{p}", of, float(value))


def _stages(table: pd.DataFrame) -> Iterator[Measured]:
    """Yield means per request; without requests there are none."""
    if table.empty:
        return
    total = int(table["latency_ns"].sum())
    for stage in Stage:
        values = table[f"{stage.label}_ns"]
        yield Measured("stage_mean", stage.label, _mean(values))
        yield Measured("stage_share", stage.label, int(values.sum()) / total if total else 0.0)
    for name in PER_REQUEST:
        yield Measured(f"{name}_per_request", "", _mean(table[name]))


def _mean(values: "pd.Series[int]") -> float:
    """Return the mean of whole numbers: the sum is exact, so that every processor gives the same."""
    return int(values.sum()) / len(values)


def _resources(result: Result, begin_ns: int | None) -> Iterator[Measured]:
    """Yield use and queues of each resource, over the clones of a VM together; from *begin_ns* on if it is given."""
    levels = result.resources
    name = levels["resource"].str.replace(r"^([^/#]+)#\d+/", r"\1/", regex=True)
    columns = {"utilisation": levels["utilisation"], "mean_queue": levels["mean_queue"]}
    if begin_ns is not None:
        bins = result.series[result.series["start_ns"] >= begin_ns]
        width = bins["end_ns"] - bins["start_ns"]
        if width.sum():
            for column, prefix in (("utilisation", "utilisation"), ("mean_queue", "queue")):
                columns[column] = pd.Series(
                    [_weighted(bins, width, f"{prefix} {resource}") for resource in levels["resource"]]
                )
    frame = pd.DataFrame({"resource": name, **columns, "max_queue": levels["max_queue"]})
    for resource, group in frame.groupby("resource", sort=False):
        of = str(resource)
        yield Measured("utilisation", of, float(group["utilisation"].mean()))
        yield Measured("utilisation_max", of, float(group["utilisation"].max()))
        yield Measured("mean_queue", of, float(group["mean_queue"].mean()))
        yield Measured("max_queue", of, float(group["max_queue"].max()))


def _weighted(bins: pd.DataFrame, width: "pd.Series[int]", column: str) -> float:
    """Return the average of *column* over *bins* of *width*; 0 for a queue that is not counted."""
    return float((bins[column] * width).sum() / width.sum()) if column in bins else 0.0
