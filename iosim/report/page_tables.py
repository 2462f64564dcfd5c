"""Tables of the page about latency, stages, exits and resources."""

import numpy as np

from iosim.analytic.demands import Demand, demands
from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_time, three_digits
from iosim.report.bands import Band
from iosim.report.table import Cell, Column, Table
from iosim.results.pictures import COLOURS
from iosim.results.result import Result
from iosim.results.summary import FIO_PERCENTILES, counted, is_resolved
from iosim.results.terminal import by_operation
from iosim.results.wording import common_unit, figure, percent, perf_time

MOST_RESOURCES = 20
MOST_OF_A_KIND = 3


def percentiles(result: Result) -> Table:
    """Return mean, extremes and fio's percentiles of the latency, for all requests and each operation."""
    groups = by_operation(counted(result.requests))
    every = groups["all"]["latency_ns"]
    unit = common_unit(float(every.median()), float(every.max())) if len(every) else "us"
    scale = NS_PER_UNIT[unit]
    table = Table(
        [Column("", number=False), *(Column(name) for name in groups)], caption=f"Latency in the guest ({unit})"
    )
    table.add("requests", *(f"{len(group):,}" for group in groups.values()))
    latencies = {name: np.sort(group["latency_ns"].to_numpy()) for name, group in groups.items()}
    if not len(every):
        return table
    table.add("mean", *(figure(float(values.mean()) / scale) for values in latencies.values()))
    table.add("min", *(figure(float(values[0]) / scale) for values in latencies.values()))
    for percentile in FIO_PERCENTILES:
        text = f"{percentile:g}"
        cells = [
            figure(float(np.percentile(values, percentile)) / scale) if is_resolved(text, len(values)) else "-"
            for values in latencies.values()
        ]
        table.add(f"p{text}", *cells)
    table.add("max", *(figure(float(values[-1]) / scale) for values in latencies.values()))
    table.note = "A dash: too few requests for this percentile, at least one must lie beyond it."
    return table


def stages(in_bands: list[Band]) -> Table:
    """Return for every stage that took time its mean and share in each band."""
    unit = common_unit(in_bands[0].mean_ns, max(band.mean_ns for band in in_bands), 100) if in_bands else "us"
    scale = NS_PER_UNIT[unit]
    columns = [Column("stage", number=False, code=True)]
    for band in in_bands:
        columns += [Column(band.short), Column("%")]
    table = Table(columns, caption=f"Mean time ({unit}) and share (%) of each stage in each band")
    for stage in Stage:
        if not any(band.stages_ns[stage] for band in in_bands):
            continue
        cells: list[str | Cell] = [Cell(stage.label, colour=COLOURS[stage])]
        for band in in_bands:
            time = band.stages_ns[stage]
            share = percent(band.share(stage)).removesuffix("%")
            cells += [figure(time / scale), share] if time else ["-", "-"]
        table.add(*cells)
    total: list[str | Cell] = ["latency"]
    for band in in_bands:
        total += [figure(band.mean_ns / scale), "100"]
    table.add(*total, style="sum")
    missing = [stage.label for stage in Stage if not any(band.stages_ns[stage] for band in in_bands)]
    if missing:
        table.note = f"No time at all in {', '.join(missing)}."
    return table


def exits(result: Result) -> Table:
    """Return the exits by reason in the layout of perf kvm stat, with percentiles where one vCPU had them."""
    names = ("Samples", "Samples%", "Time%", "Min Time", "Max Time", "Avg time", "p50", "p99", "per request")
    table = Table(
        [
            Column("VM-EXIT", number=False, code=True),
            Column("to QEMU", number=False, help="KVM_RUN returned to QEMU"),
            *(Column(name, sorted="descending" if name == "Samples" else "") for name in names),
        ],
        label="VM exits by reason",
        sorts=True,
    )
    frame = result.exits
    n_requests = max(1, len(counted(result.requests)))
    samples, time = int(frame["count"].sum()), int(frame["total_ns"].sum())
    groups = list(frame.groupby(["reason", "userspace"], sort=True))
    for (reason, userspace), group in sorted(groups, key=lambda item: -int(item[1]["count"].sum())):
        count, total = int(group["count"].sum()), int(group["total_ns"].sum())
        alone = len(group) == 1
        p50, p99 = (_time(int(group[name].iloc[0])) if alone else Cell("-", "") for name in ("p50_ns", "p99_ns"))
        table.add(
            str(reason),
            "yes" if userspace else "no",
            Cell(f"{count:,}", count),
            Cell(percent(count / samples, 2), count),
            Cell(percent(total / time, 2) if time else "-", total),
            _time(int(group["min_ns"].min())),
            _time(int(group["max_ns"].max())),
            _time(total / count),
            p50,
            p99,
            Cell(f"{count / n_requests:,.2f}", count),
        )
    table.note = f"Total Samples:{samples:,}, Total events handled time:{perf_time(time)}."
    if any(len(group) > 1 for _, group in groups):
        table.note += " exits.parquet has percentiles of each vCPU, so none where several had the exits."
    return table


def _time(ns: float) -> Cell:
    return Cell(perf_time(ns), ns)


def resources(result: Result) -> Table:
    """Return the busiest resources with what a request demands of them and the bound that this sets."""
    found = demands(result)
    table = Table(
        [
            Column("resource", number=False, code=True),
            Column("servers"),
            Column("utilisation", sorted="descending"),
            Column("", number=False),
            Column("per request", help="service demand: how long a request keeps one server busy, on average"),
            Column(
                "bound (req/s)",
                help="servers / demand: as many requests can go through at most, as things were in this run",
            ),
            Column("mean queue"),
            Column("max queue"),
        ],
        label="The busiest resources",
        sorts=True,
    )
    shown = found
    if len(found) > MOST_RESOURCES:
        by_kind: dict[str, list[Demand]] = {}
        for demand in found:
            by_kind.setdefault(demand.kind, []).append(demand)
        shown = [demand for demand in found if demand in by_kind[demand.kind][:MOST_OF_A_KIND]]
        table.note = f"The busiest {MOST_OF_A_KIND} of each kind; resources.parquet has all {len(found):,}."
    for demand in shown:
        table.add(
            demand.resource,
            Cell(f"{demand.servers:,}", demand.servers),
            Cell(percent(demand.utilisation), demand.utilisation),
            Cell("", demand.utilisation, bar=demand.utilisation),
            Cell(human_time(demand.demand_ns), demand.demand_ns) if demand.demand_ns else Cell("-", ""),
            Cell(three_digits(demand.bound_per_s), demand.bound_per_s) if demand.bound_per_s else Cell("-", ""),
            Cell(figure(demand.mean_queue), demand.mean_queue),
            Cell(f"{demand.max_queue:,}", demand.max_queue),
        )
    return table
