"""The result on the terminal: what a person understands at a glance."""

from typing import Any

import pandas as pd
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_time, human_unit, three_digits
from iosim.results.result import Result
from iosim.results.summary import counted

SHOWN_PERCENTILES = (50, 90, 95, 99, 99.5, 99.9)
BAR_WIDTH = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"


def show(result: Result, console: Console) -> None:
    """Print requests, latency, stages, exits and the busiest resources."""
    console.print(
        Group(
            headline(result),
            "",
            latency_table(result),
            "",
            stage_table(result),
            "",
            exit_table(result),
            "",
            resource_table(result),
        )
    )


def headline(result: Result) -> Text:
    """Return what was simulated and how it ended, in a few lines."""
    summary = result.summary
    counts = summary["requests"]
    end_ns = summary["end_ns"]
    text = Text()
    text.append(f"{counts['done']:,} requests done", style="bold")
    text.append(f", {counts['failed']:,} failed, {counts['unfinished']:,} unfinished, in {human_time(end_ns)}")
    if counts["in"] < counts["in_trace"]:
        text.append(f" ({counts['in_trace'] - counts['in']:,} of the traces had not arrived)")
    text.append("\n")
    text.append(f"{summary['throughput_per_s']:,.0f} requests/s, {summary['bytes_per_s'] / 1e6:,.2f} MB/s")
    if counts["warmup"]:
        text.append(f", without the {counts['warmup']:,} requests of the warm-up")
    per = summary["per_request"]
    if per["exits"] is not None:
        text.append(
            f"\nper request: {per['exits']:,.1f} exits ({per['userspace_exits']:,.1f} to QEMU), "
            f"{per['irqs']:.2g} interrupts, {per['irq_line_ioctls']:,.1f} IRQ-line ioctls"
        )
    return text


def latency_table(result: Result) -> Table:
    """Return mean, extremes and percentiles of the latency, for each operation and for all."""
    table = counted(result.requests)
    grid = Table(title="Latency in the guest", title_justify="left", box=None, pad_edge=False, title_style="bold")
    unit = human_unit(float(table["latency_ns"].median())) if len(table) else "us"
    grid.add_column(unit)
    for name in ("requests", "mean", "min", *(f"p{p:g}" for p in SHOWN_PERCENTILES), "max"):
        grid.add_column(name, justify="right")
    groups = {"all": table} | {
        name: table[table["op"] == op] for op, name in (("R", "read"), ("W", "write"), ("F", "flush"))
    }
    for name, group in groups.items():
        if len(group) and (name == "all" or len(group) < len(table)):
            grid.add_row(name, f"{len(group):,}", *_latencies(group["latency_ns"], NS_PER_UNIT[unit]))
    return grid


def _latencies(latency: "pd.Series[int]", scale: int) -> list[str]:
    percentiles = [latency.quantile(p / 100) for p in SHOWN_PERCENTILES]
    # A percentile needs at least one request beyond it.
    known = [len(latency) * (100 - p) >= 100 for p in SHOWN_PERCENTILES]
    cells = [three_digits(v / scale) if k else "-" for v, k in zip(percentiles, known, strict=True)]
    return [
        three_digits(latency.mean() / scale),
        three_digits(latency.min() / scale),
        *cells,
        three_digits(latency.max() / scale),
    ]


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """Return a bar of *share* (0 to 1) of *width* characters, in eighths."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def stage_table(result: Result) -> Table:
    """Return every stage in the order of the path: mean, share, percentiles, bar."""
    stages: dict[str, dict[str, Any]] = result.summary["stages_ns"]
    grid = Table(
        title="Where the time of a request goes", title_justify="left", box=None, pad_edge=False, title_style="bold"
    )
    unit = human_unit(max((s["mean"] or 0) for s in stages.values()))
    scale = NS_PER_UNIT[unit]
    grid.add_column("stage", no_wrap=True)
    for name in (f"mean {unit}", "p50", "p99", "share"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("", no_wrap=True)
    largest = max((s["share"] for s in stages.values()), default=0) or 1
    for stage in Stage:
        figures = stages[stage.label]
        if not figures["total"]:
            grid.add_row(stage.label, *(["-"] * 4), "", style="dim")
            continue
        percentile = figures["percentile"]
        grid.add_row(
            stage.label,
            three_digits(figures["mean"] / scale),
            three_digits(percentile["50.000000"] / scale),
            three_digits(percentile["99.000000"] / scale),
            f"{figures['share']:.1%}",
            Text(bar(figures["share"] / largest), style="cyan"),
        )
    return grid


def exit_table(result: Result) -> Table:
    """Return the exits by reason in the layout of ``perf kvm stat``, with per request, p50 and p99 beside."""
    exits = result.exits
    grid = Table(title="VM exits", title_justify="left", box=None, pad_edge=False, title_style="bold")
    names = ("VM-EXIT", "to QEMU", "Samples", "Samples%", "Time%", "Min Time", "Max Time", "Avg time", "p50", "p99")
    for name in (*names, "per request"):
        grid.add_column(name, justify="left" if name == "VM-EXIT" else "right", no_wrap=True)
    n_requests = max(1, len(counted(result.requests)))
    samples, time = int(exits["count"].sum()), int(exits["total_ns"].sum())
    grouped = exits.groupby(["reason", "userspace"], sort=False)
    rows = []
    for (reason, userspace), group in grouped:
        count, total = int(group["count"].sum()), int(group["total_ns"].sum())
        one = len(group) == 1
        rows.append(
            (
                count,
                reason,
                "yes" if userspace else "no",
                f"{count:,}",
                f"{count / samples:.2%}",
                f"{total / time:.2%}" if time else "-",
                _us(int(group["min_ns"].min())),
                _us(int(group["max_ns"].max())),
                _us(total / count),
                _us(int(group["p50_ns"].iloc[0])) if one else "-",
                _us(int(group["p99_ns"].iloc[0])) if one else "-",
                f"{count / n_requests:.2f}",
            )
        )
    for _, *cells in sorted(rows, key=lambda row: (-row[0], row[1], row[2])):
        grid.add_row(*cells)
    grid.caption = f"Total Samples:{samples:,}, Total events handled time:{time / 1000:,.2f}us."
    grid.caption_justify = "left"
    return grid


def _us(ns: float) -> str:
    """Return a time as perf kvm stat prints it: microseconds with two decimals."""
    return f"{ns / 1000:,.2f}us"


def resource_table(result: Result, most: int = 8) -> Table:
    """Return the busiest resources."""
    resources = result.resources.sort_values("utilisation", ascending=False, kind="stable").head(most)
    grid = Table(title="Busiest", title_justify="left", box=None, pad_edge=False, title_style="bold")
    for name in ("resource", "servers", "utilisation", "mean queue", "max queue", ""):
        grid.add_column(name, justify="left" if name in ("resource", "") else "right", no_wrap=True)
    for row in resources.itertuples():
        grid.add_row(
            Text(str(row.resource)),
            str(row.servers),
            f"{row.utilisation:.1%}",
            three_digits(float(row.mean_queue)),
            str(row.max_queue),
            Text(bar(float(row.utilisation)), style="magenta"),
        )
    return grid
