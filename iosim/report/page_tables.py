"""The tables of the page, from the tables of a run."""

import numpy as np

from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_time, three_digits
from iosim.report.bands import Band
from iosim.report.demand import Demand, demands
from iosim.report.table import Cell, Column, Table
from iosim.results.pictures import COLOURS
from iosim.results.result import Result
from iosim.results.summary import FIO_PERCENTILES, counted, is_resolved
from iosim.results.terminal import by_operation
from iosim.results.wording import common_unit, figure, percent, perf_time

MOST_RESOURCES = 20
MOST_OF_A_KIND = 3
MOST_EVENTS = 200


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
            Column("bound (req/s)", help="servers / demand: as many requests can go through at most"),
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


def drives(result: Result) -> Table | None:
    """Return a row for each drive of each VM; None if there is one only."""
    table = counted(result.requests)
    every = result.requests.groupby(["vm", "drive"], observed=True)
    if every.ngroups < 2:
        return None
    n_failed = (result.requests["status"] == "error").groupby(
        [result.requests["vm"], result.requests["drive"]], observed=True
    )
    failed, n_in = n_failed.sum(), every.size()
    unit = common_unit(float(table["latency_ns"].median()), float(table["latency_ns"].max())) if len(table) else "us"
    scale = NS_PER_UNIT[unit]
    shown = Table(
        [
            Column("VM", number=False, code=True, sorted="ascending"),
            Column("drive"),
            Column("requests"),
            Column("failed"),
            Column("req/s"),
            *(Column(f"{name} ({unit})") for name in ("mean", "p50", "p99", "max")),
            Column("", number=False),
            Column("largest stage", number=False, code=True),
            Column("share"),
        ],
        label="VMs and drives",
        sorts=True,
        tall=len(n_in) > 24,
    )
    window_ns = max(1, result.summary["end_ns"] - min(result.scenario.run.warmup, result.summary["end_ns"]))
    groups = dict(iter(table.groupby(["vm", "drive"], observed=True)))
    highest = max((float(group["latency_ns"].mean()) for group in groups.values()), default=0.0) or 1.0
    columns = [f"{stage.label}_ns" for stage in Stage]
    for number, key in enumerate(n_in.index):
        head = [Cell(str(key[0]), number), Cell(str(key[1]), int(key[1])), Cell(f"{n_in[key]:,}", int(n_in[key]))]
        head.append(Cell(f"{failed[key]:,}", int(failed[key])))
        group = groups.get(key)
        if group is None:
            shown.add(*head, *(Cell("-", "") for _ in range(8)), style="none")
            continue
        latency = np.sort(group["latency_ns"].to_numpy())
        totals = group[columns].to_numpy().sum(axis=0)
        largest = int(totals.argmax())
        share = float(totals[largest] / totals.sum()) if totals.sum() else 0.0
        rate = len(group) / window_ns * 1e9
        times = [
            float(latency.mean()),
            float(np.percentile(latency, 50)),
            float(np.percentile(latency, 99)),
            float(latency[-1]),
        ]
        known = [True, is_resolved("50", len(latency)), is_resolved("99", len(latency)), True]
        shown.add(
            *head,
            Cell(three_digits(rate), rate),
            *(Cell(figure(t / scale), t) if k else Cell("-", "") for t, k in zip(times, known, strict=True)),
            Cell("", times[0], bar=times[0] / highest),
            Stage(largest).label,
            Cell(percent(share), share),
        )
    return shown


def slowest(result: Result) -> Table:
    """Return the requests whose spans were kept, the slowest first."""
    keys = result.spans[["vm", "drive", "request"]].drop_duplicates()
    table = keys.merge(result.requests.astype({"vm": str}), on=["vm", "drive", "request"])
    table = table.sort_values("latency_ns", ascending=False, kind="stable")
    unit = common_unit(float(table["latency_ns"].median()), float(table["latency_ns"].max())) if len(table) else "us"
    shown = Table(
        [
            Column("VM", number=False, code=True),
            Column("drive"),
            Column("request", help="row of the trace, from 0"),
            Column("op", number=False),
            Column(f"latency ({unit})", sorted="descending"),
            Column("largest stage", number=False, code=True),
            Column("share"),
            Column("arrival"),
            Column("sector"),
            Column("sectors"),
            Column("exits"),
            Column("status", number=False),
        ],
        label="The slowest requests",
        sorts=True,
        tall=len(table) > 16,
    )
    columns = [f"{stage.label}_ns" for stage in Stage]
    for row in table.to_dict("records"):
        times = [int(row[column]) for column in columns]
        largest = max(range(len(times)), key=times.__getitem__)
        share = times[largest] / row["latency_ns"] if row["latency_ns"] else 0.0
        shown.add(
            str(row["vm"]),
            Cell(str(row["drive"]), row["drive"]),
            Cell(f"{row['request']:,}", row["request"]),
            str(row["op"]),
            Cell(figure(row["latency_ns"] / NS_PER_UNIT[unit]), row["latency_ns"]),
            Stage(largest).label,
            Cell(percent(share), share),
            Cell(human_time(row["arrival_ns"]), row["arrival_ns"]),
            Cell(f"{row['sector']:,}", row["sector"]),
            Cell(f"{row['sectors']:,}", row["sectors"]),
            Cell(f"{row['exits']:,}", row["exits"]),
            str(row["error"] or row["status"]),
        )
    return shown


def events(result: Result) -> Table | None:
    """Return what went wrong or was done to a VM; None if nothing was."""
    frame = result.events
    if frame.empty:
        return None
    table = Table(
        [
            Column("time", sorted="ascending"),
            Column("VM", number=False, code=True),
            Column("drive"),
            Column("request"),
            Column("event", number=False),
            Column("why", number=False),
        ],
        label="Events",
        sorts=True,
        tall=len(frame) > 24,
    )
    for row in frame.head(MOST_EVENTS).to_dict("records"):
        place = [
            Cell(f"{row[name]:,}", row[name]) if row[name] >= 0 else Cell("-", "") for name in ("drive", "request")
        ]
        table.add(
            Cell(human_time(row["time_ns"]), row["time_ns"]), str(row["vm"]), *place, str(row["event"]), str(row["why"])
        )
    if len(frame) > MOST_EVENTS:
        table.note = f"And {len(frame) - MOST_EVENTS:,} more in events.parquet."
    return table


def page_cache(result: Result) -> Table | None:
    """Return what the host's page cache did; None if no drive uses it."""
    counts = result.summary["page_cache"]
    if counts is None:
        return None
    table = Table([Column("", number=False), Column("pages of 4 KiB"), Column("MiB")], label="Page cache of the host")
    reads = counts["read_hits"] + counts["read_misses"]
    names = {
        "fit": "pages",
        "read, in the cache": "read_hits",
        "read, not in the cache": "read_misses",
        "read because a write covered a part of them": "filled",
        "made dirty": "dirtied",
        "written back": "written_back",
        "evicted": "evicted",
        "dirty at the end of the warm-up": "dirty_at_begin",
        "dirty at the end of the run": "dirty_at_end",
    }
    for name, key in names.items():
        table.add(name, f"{counts[key]:,}", figure(counts[key] * 4 / 1024))
    if reads:
        table.note = f"{percent(counts['read_hits'] / reads)} of the pages that were read were in the cache."
    return table


def wear(result: Result) -> Table | None:
    """Return what was written to disks that collect garbage; None if none does."""
    if not result.summary["wear"]:
        return None
    names = ("pages written", "pages programmed", "blocks erased", "write amplification")
    table = Table([Column("disk", number=False, code=True), *map(Column, names)], label="Wear of SSDs")
    for disk, counts in result.summary["wear"].items():
        amplification = counts["write_amplification"]
        table.add(
            str(disk),
            *(f"{counts[key]:,}" for key in ("pages_written", "pages_programmed", "blocks_erased")),
            "-" if amplification is None else three_digits(amplification),
        )
    return table
