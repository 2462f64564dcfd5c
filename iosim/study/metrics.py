"""What one run is measured by: numbers with a name, taken from its tables (docs/studies.md has every one)."""

import math
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any, NamedTuple

import pandas as pd

from iosim.model.trace import OPS
from iosim.results.result import Result, SummaryResult
from iosim.results.sketch import Counts
from iosim.results.statistics import Cell, Figures, Statistics
from iosim.results.summary import counted, is_resolved
from iosim.study.latencies import BUCKET_COLUMNS

BATCH = 5
"""Observations of a batch in MSER-5."""
PER_REQUEST = ("exits", "userspace_exits", "irqs", "irq_line_ioctls")
PERCENTILES = ("50", "90", "95", "99", "99.9")
UNITS = {
    "requests_in": "count",
    "requests_done": "count",
    "requests_failed": "count",
    "requests_unfinished": "count",
    "requests_warmup": "count",
    "requests_counted": "count",
    "warmup": "ns",
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
}
"""The metrics and their units."""


class Measured(NamedTuple):
    """One number of one run: *of* says what part of the run it is about, empty for all of it."""

    metric: str
    of: str
    value: float


def measure(result: Result) -> list[Measured]:
    """Return every metric of *result*, in a fixed order. Numbers are those of `summary.json` and `resources`."""
    found = result.statistics()
    counts = result.summary["requests"]
    end_ns = int(result.summary["end_ns"])
    begin_ns = min(result.scenario.run.warmup, end_ns)
    rows = [Measured(f"requests_{name}", "", counts[name]) for name in ("in", "done", "failed", "unfinished")]
    rows += [Measured("requests_warmup", "", counts["warmup"]), Measured("requests_counted", "", found.counted)]
    rows += [Measured("warmup", "", begin_ns), Measured("end", "", end_ns)]
    for of, sectors, latency in _groups(result, found):
        rows += _requests(of, sectors, latency, max(1, end_ns - begin_ns))
    rows += _stages(found)
    rows += _resources(result.resources)
    rows += [Measured("page_cache", name, value) for name, value in (result.summary["page_cache"] or {}).items()]
    rows += _wear(result.summary["wear"])
    return [Measured(row.metric, row.of, float(row.value)) for row in rows]


def vm_tables(names: "pd.Series[Any]") -> "pd.Series[str]":
    """Return the name of the [[vm]] table of each VM: clones are its name and a number."""
    return names.astype(str).str.replace("#.*", "", regex=True)


def groups(cells: pd.DataFrame, vms: Sequence[str]) -> list[str]:
    """Return what requests have numbers of their own: all, each operation and each [[vm]] table if there are several.

    *cells* has columns op and vm.
    """
    found = [""]
    ops = [op for op in OPS if (cells["op"] == op).any()]
    found += [f"op={op}" for op in ops if len(ops) > 1]
    return found + [f"vm={vm}" for vm in vms if len(vms) > 1]


def in_group(cells: pd.DataFrame, of: str) -> "pd.Series[bool]":
    """Tell for each row of *cells* whether it belongs to the group *of*."""
    column, _, value = of.partition("=")
    return cells[column] == value if of else pd.Series(True, index=cells.index)


def latencies(result: Result) -> pd.DataFrame:
    """Return the latency of each counted request: columns vm (of its table), op, latency_ns, sorted by these."""
    table = counted(result.requests)
    frame = pd.DataFrame(
        {"vm": vm_tables(table["vm"]), "op": table["op"].astype(str), "latency_ns": table["latency_ns"]}
    )
    return frame.sort_values(["vm", "op", "latency_ns"], ignore_index=True)


def latency_counts(result: SummaryResult) -> pd.DataFrame:
    """Return the latencies of the counted requests by bucket: vm (of its table), op and `latencies.BUCKET_COLUMNS`."""
    vms = [vm.name for vm in result.scenario.vm]
    columns = ["vm", "op", *BUCKET_COLUMNS]
    parts = [
        pd.DataFrame(dict(zip(columns, (vms[table], op, own.buckets, own.times, own.least, own.most), strict=True)))
        for (table, op), (_, _, own) in result.statistics().cells.items()
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def batches(result: Result) -> pd.DataFrame:
    """Return the latencies in batches of 5 in the order of arrival, over all VMs: arrival_ns of the first, latency_ns.

    The latter is their sum. An incomplete batch at the end is left out.
    """
    ordered = counted(result.requests).sort_values("arrival_ns", kind="stable")
    n = len(ordered) // BATCH * BATCH
    return pd.DataFrame(
        {
            "arrival_ns": ordered["arrival_ns"].to_numpy()[:n:BATCH],
            "latency_ns": ordered["latency_ns"].to_numpy()[:n].reshape(-1, BATCH).sum(axis=1),
        }
    )


def _groups(result: Result, found: Statistics) -> Iterator[tuple[str, int, Figures | None]]:
    """Yield of each group its name, the sum of its sectors, and its latencies, None if it has no requests."""
    vms = [vm.name for vm in result.scenario.vm]
    if isinstance(result, SummaryResult):
        keys = pd.DataFrame([(vms[table], op) for table, op in found.cells], columns=["vm", "op"])
        cells = list(found.cells.values())
        for of in groups(keys, vms):
            own = list(compress(cells, in_group(keys, of)))
            yield of, sum(cell.sectors for cell in own), _merged(own)
        return
    table = counted(result.requests)
    keys = pd.DataFrame({"vm": vm_tables(table["vm"]), "op": table["op"].astype(str)})
    for of in groups(keys, vms):
        chosen = table[in_group(keys, of)]
        latency = Figures.of_values(chosen["latency_ns"]) if len(chosen) else None
        yield of, int(chosen["sectors"].sum()), latency


def _merged(cells: Sequence[Cell]) -> Figures | None:
    if not cells:
        return None
    return Figures.of_counts(Counts.merged([cell.latency for cell in cells]), sum(cell.total_ns for cell in cells))


def _requests(of: str, sectors: int, latency: Figures | None, window_ns: int) -> Iterator[Measured]:
    n = 0 if latency is None else latency.n
    yield Measured("throughput", of, n / window_ns * 1e9)
    yield Measured("bandwidth", of, sectors * 512 / window_ns * 1e9)
    if latency is None:
        return
    yield Measured("latency_mean", of, latency.mean)
    yield Measured("latency_min", of, latency.least)
    yield Measured("latency_max", of, latency.most)
    known = [p for p in PERCENTILES if is_resolved(p, n)]
    for p, value in zip(known, latency.percentiles([float(p) for p in known]), strict=True):
        yield Measured(f"latency_p{p}", of, value)


def _stages(found: Statistics) -> Iterator[Measured]:
    """Yield means per request; without requests there are none."""
    for stage, times in found.stages.items():
        total = found.latency[None].total
        yield Measured("stage_mean", stage.label, times.mean)
        yield Measured("stage_share", stage.label, times.total / total if total else 0.0)
    for name in PER_REQUEST:
        if name in found.means:
            yield Measured(f"{name}_per_request", "", found.means[name])


def _average(values: "pd.Series[float]") -> float:
    """Return the mean of numbers with a fraction, rounded once."""
    return math.fsum(values) / len(values)


def _wear(disks: dict[str, dict[str, Any]]) -> Iterator[Measured]:
    """Yield what is programmed for each page written, over the disks of a table together."""
    for name in dict.fromkeys(disk.partition("#")[0] for disk in disks):
        own = [counts for disk, counts in disks.items() if disk.partition("#")[0] == name]
        if written := sum(counts["pages_written"] for counts in own):
            programmed = sum(counts["pages_programmed"] for counts in own)
            yield Measured("write_amplification", f"disk/{name}", programmed / written)


def _resources(levels: pd.DataFrame) -> Iterator[Measured]:
    """Yield use and queues of each resource, over the clones of a VM, or the disks of a table, together."""
    names = levels["resource"].str.replace(r"^([^/#]+|disk/[^/#]+)#\d+(?=/|$)", r"\1", regex=True)
    for resource, group in levels.groupby(names, sort=False):
        of = str(resource)
        yield Measured("utilisation", of, _average(group["utilisation"]))
        yield Measured("utilisation_max", of, float(group["utilisation"].max()))
        yield Measured("mean_queue", of, _average(group["mean_queue"]))
        yield Measured("max_queue", of, float(group["max_queue"].max()))
