"""The result on the terminal: what a person understands at a glance."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_time, three_digits
from iosim.results.result import Result
from iosim.results.summary import counted, is_resolved
from iosim.results.wording import common_unit, figure, percent, perf_time, plural

SHOWN_PERCENTILES = ("50", "90", "95", "99", "99.5", "99.9")
WIDE = 110
"""From this width on the table of exits has its percentiles and perf's own notation of times."""
BUSY = 0.9
_EIGHTHS = " ▏▎▍▌▋▊▉"


def show(result: Result, console: Console) -> None:
    """Print requests, latency, stages, exits, the busiest resources, and what to keep in mind."""
    blocks: list[Any] = [
        headline(result),
        latency_table(result, console.width),
        stage_table(result, console),
        exit_table(result, console.width),
        resource_table(result, console),
    ]
    if found := cautions(result):
        blocks.append(Text("\n".join(("Keep in mind", *(f"- {line}" for line in found)))))
    console.print(Group(*(part for block in blocks for part in (block, ""))))


def headline(result: Result) -> Text:
    """Return what was simulated and how it ended, in a few lines."""
    summary = result.summary
    scenario = result.scenario
    counts = summary["requests"]
    n_vms = sum(vm.count for vm in scenario.vm)
    n_drives = sum(vm.count * len(vm.drive) for vm in scenario.vm)
    disks = ", ".join(f"{disk.name} ({disk.model})" for disk in scenario.host.disk)
    text = Text()
    text.append(f"{plural(n_vms, 'VM')}, {plural(n_drives, 'drive')}, ")
    text.append(f"disk {disks}, costs of {summary['profile']['name']}, seed {scenario.run.seed}\n")
    text.append(f"{plural(counts['done'], 'request')} done", style="bold")
    text.append(f", {counts['failed']:,} failed{_reasons(result)}, {counts['unfinished']:,} unfinished")
    text.append(f", in {human_time(summary['end_ns'])} of simulated time")
    if counts["in"] < counts["in_trace"]:
        text.append(f"; {counts['in_trace'] - counts['in']:,} of the traces had not arrived")
    text.append(f"\n{three_digits(summary['throughput_per_s'])} requests/s, ")
    text.append(f"{three_digits(summary['bytes_per_s'] / 1e6)} MB/s")
    if counts["warmup"]:
        text.append(f", without the {plural(counts['warmup'], 'request')} of the warm-up, here and below")
    per = summary["per_request"]
    if per["exits"] is not None:
        text.append(
            f"\nper request: {three_digits(per['exits'])} exits ({three_digits(per['userspace_exits'])} to QEMU), "
            f"{three_digits(per['irqs'])} interrupts, {three_digits(per['irq_line_ioctls'])} IRQ-line ioctls"
        )
    return text


def _reasons(result: Result) -> str:
    """Return why requests failed, most frequent first, in brackets; nothing if none did."""
    failed = result.requests.loc[result.requests["status"] == "error", "error"].astype(str).value_counts()
    reasons = ", ".join(f"{n:,} {why}" for why, n in failed.items())
    return f" ({reasons})" if reasons else ""


def cautions(result: Result) -> list[str]:
    """Return reasons to doubt the figures, each in a sentence."""
    found = []
    resources = result.resources
    busy = resources[resources["utilisation"] >= BUSY].sort_values("utilisation", ascending=False, kind="stable")
    if len(busy):
        first = busy.iloc[0]
        others = f" ({plural(len(busy) - 1, 'other resource')} for {BUSY:.0%} or more)" if len(busy) > 1 else ""
        found.append(
            f"{first['resource']} is busy for {first['utilisation']:.0%} of the time{others}: "
            "requests queue, and their latency depends on the length of the run."
        )
    n = len(counted(result.requests))
    missing = [p for p in SHOWN_PERCENTILES if not is_resolved(p, n)]
    if n and missing:
        found.append(f"{plural(n, 'request')} are too few for p{missing[0]}{' and above' if missing[1:] else ''}.")
    profile = result.summary["profile"]
    assumed, total = profile["figures"]["assumed"], sum(profile["figures"].values())
    if assumed:
        found.append(
            f"{assumed} of the {total} costs in {profile['name']} are assumed; "
            f"iosim profiles {profile['name']} says which."
        )
    return found


def empty_table(title: str, left: Sequence[str], names: Sequence[str], gap: int = 1) -> Table:
    """Return an empty table with columns *names*, those in *left* left-justified, *gap* blanks between two."""
    grid = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, gap, 0, 0)
    )
    for name in names:
        grid.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return grid


def latency_table(result: Result, width: int) -> Table:
    """Return mean, extremes and percentiles of the latency, for each operation and for all."""
    table = counted(result.requests)
    unit = common_unit(table["latency_ns"].median(), table["latency_ns"].max(), 10) if len(table) else "us"
    names = ("", "requests", "mean", "min", *(f"p{p}" for p in SHOWN_PERCENTILES), "max")
    grid = empty_table(f"Latency in the guest ({unit})", ("",), names, gap=2 if width >= WIDE else 1)
    groups = {"all": table} | {
        name: table[table["op"] == op] for op, name in (("R", "reads"), ("W", "writes"), ("F", "flushes"))
    }
    for name, group in groups.items():
        if len(group) and (name == "all" or len(group) < len(table)):
            grid.add_row(name, f"{len(group):,}", *_latencies(group["latency_ns"], NS_PER_UNIT[unit]))
    return grid


def _latencies(latency: "pd.Series[int]", scale: int) -> list[str]:
    percentiles = [
        figure(float(latency.quantile(float(p) / 100)) / scale) if is_resolved(p, len(latency)) else "-"
        for p in SHOWN_PERCENTILES
    ]
    ends = [figure(float(value) / scale) for value in (latency.mean(), latency.min(), latency.max())]
    return [*ends[:2], *percentiles, ends[2]]


def bar(share: float, width: int, console: Console) -> str:
    """Return a bar of *share* (0 to 1) of *width* characters, in eighths of one where the encoding has them."""
    if not console.encoding.startswith("utf"):
        return "#" * round(share * width)
    eighths = round(share * width * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).strip()


def stage_table(result: Result, console: Console) -> Table:
    """Return for every stage, in the order of the path, its time and share of all time, as a bar too."""
    table = counted(result.requests)
    stages = result.summary["stages_ns"]
    latency = table["latency_ns"]
    unit = common_unit(latency.mean(), latency.max(), 100) if len(table) else "us"
    scale = NS_PER_UNIT[unit]
    names = ("stage", "mean", "p50", "p99", "share", " ")
    grid = empty_table(f"Where the time of a request goes ({unit})", ("stage", " "), names, gap=2)
    known = is_resolved("99", len(table))
    largest = max((figures["share"] for figures in stages.values()), default=0) or 1
    for stage in Stage:
        figures = stages[stage.label]
        if not figures["total"]:
            grid.add_row(stage.label, *(["-"] * 4), "", style="dim")
            continue
        grid.add_row(
            stage.label,
            figure(figures["mean"] / scale),
            figure(figures["percentile"]["50.000000"] / scale),
            figure(figures["percentile"]["99.000000"] / scale) if known else "-",
            percent(figures["share"]),
            Text(bar(figures["share"] / largest, max(10, min(40, console.width - 60)), console), style="cyan"),
        )
    if len(table):
        mean, median, high = (figure(float(t) / scale) for t in (latency.mean(), *latency.quantile([0.5, 0.99])))
        grid.add_row("latency", mean, median, high if known else "-", "100.0%", style="bold")
    return grid


def exit_table(result: Result, width: int) -> Table:
    """Return the exits by reason in the layout of ``perf kvm stat``, with the number per request beside.

    A wide table also says which exits return to QEMU, and has p50 and p99 where one vCPU had the exits.
    """
    wide = width >= WIDE
    perf = ("Samples", "Samples%", "Time%", "Min Time", "Max Time", "Avg time")
    names = ("VM-EXIT", "to QEMU", *perf, "p50", "p99", "per request") if wide else ("VM-EXIT", *perf, "per req")
    grid = empty_table("VM exits", ("VM-EXIT",), names)
    exits = result.exits
    n_requests = max(1, len(counted(result.requests)))
    samples, time = int(exits["count"].sum()), int(exits["total_ns"].sum())
    groups = list(exits.groupby(["reason", "userspace"], sort=True))
    for (reason, userspace), group in sorted(groups, key=lambda item: -int(item[1]["count"].sum())):
        count, total = int(group["count"].sum()), int(group["total_ns"].sum())
        times = (int(group["min_ns"].min()), int(group["max_ns"].max()), total / count)
        shares = (f"{count:,}", percent(count / samples, 2), percent(total / time, 2) if time else "-")
        per_request = f"{count / n_requests:,.2f}"
        if not wide:
            marked = f"{reason} *" if userspace else str(reason)
            grid.add_row(marked, *shares, *(human_time(t).replace(" ", "") for t in times), per_request)
            continue
        percentiles = ("p50_ns", "p99_ns")
        inner = [perf_time(int(group[name].iloc[0])) if len(group) == 1 else "-" for name in percentiles]
        where = "yes" if userspace else "no"
        grid.add_row(str(reason), where, *shares, *(perf_time(t) for t in times), *inner, per_request)
    grid.caption = f"Total Samples:{samples:,}, Total events handled time:{perf_time(time)}."
    if not wide and exits["userspace"].any():
        grid.caption += "\n* returns to QEMU"
    grid.caption_justify = "left"
    return grid


def resource_table(result: Result, console: Console, most: int = 8) -> Table:
    """Return the busiest resources."""
    resources = result.resources.sort_values("utilisation", ascending=False, kind="stable").head(most)
    names = ("resource", "servers", "utilisation", "mean queue", "max queue", " ")
    grid = empty_table("Busiest", ("resource", " "), names, gap=2)
    grid.columns[0].no_wrap, grid.columns[0].overflow = False, "fold"
    longest = max((len(str(name)) for name in resources["resource"]), default=0)
    for row in resources.itertuples():
        share = float(str(row.utilisation))
        grid.add_row(
            Text(str(row.resource)),
            str(row.servers),
            percent(share),
            figure(float(str(row.mean_queue))),
            str(row.max_queue),
            Text(bar(share, max(5, min(40, console.width - longest - 48)), console), style="magenta"),
        )
    if len(result.resources) > most:
        grid.caption = f"and {len(result.resources) - most} more in resources.parquet"
        grid.caption_justify = "left"
    return grid
