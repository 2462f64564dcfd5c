"""Tables of a result for the terminal: what a person understands at a glance (iosim.report.text puts them together)."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_time, three_digits
from iosim.results.result import Result
from iosim.results.statistics import Figures
from iosim.results.summary import is_resolved
from iosim.results.wording import common_unit, described_disk, figure, percent, perf_time, plural

SHOWN_PERCENTILES = ("50", "90", "95", "99", "99.5", "99.9")
WIDE = 110
"""From this width on the table of exits has its percentiles and perf's own notation of times."""
_LEAST_FOLDED = 16
"""Characters that a column which may be folded has at least."""
OPERATIONS = {"R": "reads", "W": "writes", "F": "flushes"}
_EIGHTHS = " ▏▎▍▌▋▊▉"


def headline(result: Result) -> Text:
    """Return what was simulated and how it ended, in a few lines."""
    summary = result.summary
    scenario = result.scenario
    counts = summary["requests"]
    n_vms = sum(vm.count for vm in scenario.vm)
    n_drives = sum(vm.count * len(vm.drive) for vm in scenario.vm)
    disks = ", ".join(described_disk(disk) for disk in scenario.host.disk)
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
    text.append(_ports(summary["traces"]))
    return text


_DIFFERENCES = {
    "left_out": "left out",
    "stalls": "waits that were not recorded",
    "missed_interrupts": "interrupts that never came",
    "ignored_commands": "ignored commands",
    "aborted_commands": "aborted commands",
    "incomplete_commands": "incomplete commands",
}
"""What may differ between recorded and replayed port accesses, by its key in the summary."""


def _ports(traces: list[dict[str, Any]]) -> str:
    """Return how many port accesses were replayed, and what was otherwise; nothing if none were."""
    found = [trace["ports"] for trace in traces if "ports" in trace]
    if not found:
        return ""
    total = Counter[str]()
    for counts in found:
        total.update(counts)
    differences = "".join(f"; {text}: {total[key]:,}" for key, text in _DIFFERENCES.items() if total[key])
    return f"\nport accesses: {total['accesses']:,} recorded{differences}"


def _reasons(result: Result) -> str:
    """Return why requests failed, most frequent first, in brackets; nothing if none did."""
    reasons = ", ".join(f"{n:,} {why}" for why, n in result.statistics().errors)
    return f" ({reasons})" if reasons else ""


def empty_table(title: str, left: Sequence[str], names: Sequence[str], gap: int = 1) -> Table:
    """Return an empty table with columns *names*, those in *left* left-justified, *gap* blanks between two."""
    grid = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, gap, 0, 0)
    )
    for name in names:
        grid.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return grid


Row = tuple[Sequence[str | Text], str]
"""The cells of a row, and its style."""


def fitted(
    title: str,
    left: Sequence[str],
    names: Sequence[str],
    rows: Sequence[Row],
    width: int,
    gap: int = 1,
    drop: Sequence[str] = (),
    fold: Sequence[str] = (),
) -> Table:
    """Return the table of *rows* without those columns of *drop*, in this order, that *width* has no room for.

    Columns in *fold* may break their cells, the others keep them whole.
    """
    widths = {}
    for position, name in enumerate(names):
        widths[name] = max(cell_len(name), *(cell_len(str(cells[position])) for cells, _ in rows), 0)
        if name in fold:
            widths[name] = min(widths[name], _LEAST_FOLDED)
    kept = list(names)
    for name in drop:
        if sum(widths[kept_name] + gap for kept_name in kept) - gap > width:
            kept.remove(name)
    grid = empty_table(title, left, kept, gap)
    grid.min_width = min(width, cell_len(title))
    for column in grid.columns:
        if column.header in fold:
            column.no_wrap, column.overflow, column.min_width = False, "fold", widths[str(column.header)]
    places = [position for position, name in enumerate(names) if name in kept]
    for cells, style in rows:
        grid.add_row(*(cells[place] for place in places), style=style)
    return grid


def latency_table(result: Result, width: int) -> Table:
    """Return mean, extremes and percentiles of the latency, for each operation and for all."""
    found = result.statistics().latency
    unit = common_unit(found[None].percentiles([50])[0], found[None].most) if found else "us"
    names = ("", "requests", "mean", "min", *(f"p{p}" for p in SHOWN_PERCENTILES), "max")
    rows: list[Row] = [
        (("all" if op is None else OPERATIONS[op], f"{times.n:,}", *_latencies(times, NS_PER_UNIT[unit])), "")
        for op, times in found.items()
        if op is None or times.n < found[None].n
    ]
    drop = ("p99.5", "p95", "min", "p99.9", "p90")
    return fitted(f"Latency in the guest ({unit})", ("",), names, rows, width, 2 if width >= WIDE else 1, drop)


def by_operation(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the requests of *table*, all and by operation where there are several."""
    groups = {name: table[table["op"] == op] for op, name in OPERATIONS.items()}
    return {"all": table} | {name: group for name, group in groups.items() if 0 < len(group) < len(table)}


def _latencies(times: Figures, scale: int) -> list[str]:
    values = times.percentiles([float(p) for p in SHOWN_PERCENTILES])
    percentiles = [
        figure(value / scale) if is_resolved(p, times.n) else "-"
        for p, value in zip(SHOWN_PERCENTILES, values, strict=True)
    ]
    ends = [figure(float(value) / scale) for value in (times.mean, times.least, times.most)]
    return [*ends[:2], *percentiles, ends[2]]


def bar(share: float, width: int, console: Console) -> str:
    """Return a bar of *share* (0 to 1) of *width* characters, in eighths of one where the encoding has them."""
    if not console.encoding.startswith("utf"):
        return "#" * round(share * width)
    eighths = round(share * width * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).strip()


def stage_table(result: Result, console: Console) -> Table:
    """Return for every stage, in the order of the path, its time and share of all time, as a bar too."""
    latency = result.statistics().latency.get(None)
    stages = result.summary["stages_ns"]
    unit = "us" if latency is None else common_unit(latency.mean, latency.most, 100)
    scale = NS_PER_UNIT[unit]
    names = ("stage", "mean", "p50", "p99", "share", " ")
    known = latency is not None and is_resolved("99", latency.n)
    largest = max((figures["share"] for figures in stages.values()), default=0) or 1
    length = max(10, min(40, console.width - 60))
    rows: list[Row] = []
    for stage in Stage:
        figures = stages[stage.label]
        if not figures["total"]:
            rows.append(((stage.label, *(["-"] * 4), ""), "dim"))
            continue
        cells = (
            stage.label,
            figure(figures["mean"] / scale),
            figure(figures["percentile"]["50.000000"] / scale),
            figure(figures["percentile"]["99.000000"] / scale) if known else "-",
            percent(figures["share"]),
            Text(bar(figures["share"] / largest, length, console), style="cyan"),
        )
        rows.append((cells, ""))
    if latency is not None:
        mean, median, high = (figure(t / scale) for t in (latency.mean, *latency.percentiles([50, 99])))
        rows.append((("latency", mean, median, high if known else "-", "100.0%", ""), "bold"))
    title = f"Where the time of a request goes ({unit})"
    return fitted(title, ("stage", " "), names, rows, console.width, gap=2, drop=(" ", "p50"))


def exit_table(result: Result, width: int) -> Table:
    """Return the exits by reason in the layout of ``perf kvm stat``, with the number per request beside.

    A wide table also says which exits return to QEMU, and has p50 and p99 where one vCPU had the exits.
    """
    wide = width >= WIDE
    perf = ("Samples", "Samples%", "Time%", "Min Time", "Max Time", "Avg time")
    names = ("VM-EXIT", "to QEMU", *perf, "p50", "p99", "per request") if wide else ("VM-EXIT", *perf, "per req")
    rows: list[Row] = []
    exits = result.exits
    n_requests = max(1, result.statistics().counted)
    samples, time = int(exits["count"].sum()), int(exits["total_ns"].sum())
    groups = list(exits.groupby(["reason", "userspace"], sort=True))
    for (reason, userspace), group in sorted(groups, key=lambda item: -int(item[1]["count"].sum())):
        count, total = int(group["count"].sum()), int(group["total_ns"].sum())
        times = (int(group["min_ns"].min()), int(group["max_ns"].max()), total / count)
        shares = (f"{count:,}", percent(count / samples, 2), percent(total / time, 2) if time else "-")
        per_request = f"{count / n_requests:,.2f}"
        if not wide:
            marked = f"{reason} *" if userspace else str(reason)
            rows.append(((marked, *shares, *(human_time(t).replace(" ", "") for t in times), per_request), ""))
            continue
        percentiles = ("p50_ns", "p99_ns")
        inner = [perf_time(int(group[name].iloc[0])) if len(group) == 1 else "-" for name in percentiles]
        where = "yes" if userspace else "no"
        rows.append(((str(reason), where, *shares, *(perf_time(t) for t in times), *inner, per_request), ""))
    grid = fitted("VM exits", ("VM-EXIT",), names, rows, width, drop=("Samples%", "Min Time", "Max Time"))
    grid.caption = f"Total Samples:{samples:,}, Total events handled time:{perf_time(time)}."
    if not wide and exits["userspace"].any():
        grid.caption += "\n* returns to QEMU"
    grid.caption_justify = "left"
    return grid


def resource_table(result: Result, console: Console, most: int = 8) -> Table:
    """Return the busiest resources."""
    resources = result.resources.sort_values("utilisation", ascending=False, kind="stable").head(most)
    names = ("resource", "servers", "utilisation", "mean queue", "max queue", " ")
    longest = max((len(str(name)) for name in resources["resource"]), default=0)
    length = max(5, min(40, console.width - longest - 48))
    rows: list[Row] = []
    for row in resources.itertuples():
        share = float(str(row.utilisation))
        cells = (
            Text(str(row.resource)),
            str(row.servers),
            percent(share),
            figure(float(str(row.mean_queue))),
            str(row.max_queue),
            Text(bar(share, length, console), style="magenta"),
        )
        rows.append((cells, ""))
    drop, fold = (" ", "servers", "max queue"), ("resource",)
    grid = fitted("Busiest", ("resource", " "), names, rows, console.width, 2, drop, fold)
    if len(result.resources) > most:
        grid.caption = f"and {len(result.resources) - most} more in resources.parquet"
        grid.caption_justify = "left"
    return grid
