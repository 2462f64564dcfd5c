"""Tables of the page by request, drive and event, and of what disks and page cache went through."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_time, three_digits
from iosim.report.table import Cell, Column, Row, Table
from iosim.results.result import Result
from iosim.results.summary import counted, is_resolved
from iosim.results.wording import common_unit, figure, percent

MOST_DRIVES = 1000
MOST_REQUESTS = 100
MOST_TIMELINES = 50
MOST_EVENTS = 200
_STAGES = [f"{stage.label}_ns" for stage in Stage]
_UNKNOWN = Cell("-", "")


def drives(result: Result) -> Table | None:
    """Return a row for each drive of each VM, of very many the slowest; None if there is one only."""
    table = counted(result.requests)
    keys = ["vm", "drive"]
    every = result.requests[keys].assign(
        failed=result.requests["status"] == "error", latency=table["latency_ns"].reindex(result.requests.index)
    )
    numbers = every.groupby(keys, observed=True).agg(
        n=("failed", "size"), failed=("failed", "sum"), mean=("latency", "mean")
    )
    if len(numbers) < 2:
        return None
    n_all = len(numbers)
    if n_all > MOST_DRIVES:
        numbers = numbers[numbers["mean"].rank(ascending=False, method="first", na_option="bottom") <= MOST_DRIVES]
    unit = common_unit(float(table["latency_ns"].median()), float(table["latency_ns"].max())) if len(table) else "us"
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
        tall=len(numbers) > 24,
    )
    if n_all > len(numbers):
        shown.note = f"The slowest {len(numbers):,} of {n_all:,} drives; requests.parquet has them all."
    window_ns = max(1, result.summary["end_ns"] - min(result.scenario.run.warmup, result.summary["end_ns"]))
    groups: dict[Any, pd.DataFrame] = dict(iter(table.groupby(keys, observed=True)))
    highest = float(numbers["mean"].max())
    for place, (key, row) in enumerate(numbers.iterrows()):
        vm, drive = key if isinstance(key, tuple) else (key, 0)
        head = [
            Cell(str(vm), place),
            Cell(str(drive), int(drive)),
            Cell(f"{row['n']:,.0f}", row["n"]),
            Cell(f"{row['failed']:,.0f}", row["failed"]),
        ]
        if key in groups:
            shown.add(*head, *_latencies(groups[key], NS_PER_UNIT[unit], window_ns, highest))
        else:
            shown.add(*head, *[_UNKNOWN] * 8, style="none")
    return shown


def _latencies(group: pd.DataFrame, scale: int, window_ns: int, highest_ns: float) -> list[Cell]:
    """Return rate, latencies, a bar of the mean and the largest stage of the requests of one drive."""
    latency = group["latency_ns"].to_numpy()
    rate = len(group) / window_ns * 1e9
    mean = float(latency.mean())
    percentiles = [
        float(np.percentile(latency, float(p))) if is_resolved(p, len(latency)) else None for p in ("50", "99")
    ]
    totals = group[_STAGES].sum()
    share = float(totals.max() / totals.sum()) if totals.sum() else 0.0
    return [
        Cell(three_digits(rate), rate),
        *(_UNKNOWN if t is None else Cell(figure(t / scale), t) for t in (mean, *percentiles, float(latency.max()))),
        Cell("", mean, bar=mean / highest_ns if highest_ns else 0.0),
        Cell(str(totals.idxmax()).removesuffix("_ns")),
        Cell(percent(share), share),
    ]


def with_spans(result: Result) -> pd.DataFrame:
    """Return the rows of `requests` whose spans were kept, the slowest first and no more than `MOST_REQUESTS`."""
    keys = result.spans[["vm", "drive", "request"]].drop_duplicates()
    candidates = result.requests[result.requests["request"].isin(keys["request"])].astype({"vm": str})
    table = candidates.merge(keys, on=["vm", "drive", "request"])
    return table.sort_values("latency_ns", ascending=False, kind="stable").head(MOST_REQUESTS)


Timeline = Callable[[pd.DataFrame, str], Markup]
"""Draws the spans of one request; the text is what a screen reader says."""


def slowest(result: Result, timeline: Timeline | None = None) -> Table:
    """Return the requests whose spans were kept, the slowest first, with a *timeline* below each of the first ones."""
    table = with_spans(result)
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
    if timeline is not None:
        shown.columns.insert(0, Column("", number=False))
    spans = result.spans.groupby(["vm", "drive", "request"], sort=False)
    for place, row in enumerate(table.to_dict("records")):
        largest = max(_STAGES, key=row.__getitem__)
        share = row[largest] / row["latency_ns"] if row["latency_ns"] else 0.0
        cells = [
            Cell(str(row["vm"])),
            Cell(str(row["drive"]), row["drive"]),
            Cell(f"{row['request']:,}", row["request"]),
            Cell(str(row["op"])),
            Cell(figure(row["latency_ns"] / NS_PER_UNIT[unit]), row["latency_ns"]),
            Cell(largest.removesuffix("_ns")),
            Cell(percent(share), share),
            Cell(human_time(row["arrival_ns"]), row["arrival_ns"]),
            Cell(f"{row['sector']:,}", row["sector"]),
            Cell(f"{row['sectors']:,}", row["sectors"]),
            Cell(f"{row['exits']:,}", row["exits"]),
            Cell(str(row["error"] or row["status"])),
        ]
        if timeline is None:
            shown.rows.append(Row(cells))
        elif place >= MOST_TIMELINES:
            shown.rows.append(Row([Cell(), *cells]))
        else:
            what = f"Timeline of request {row['request']:,} of drive {row['drive']} of {row['vm']}"
            drawn = timeline(spans.get_group((row["vm"], row["drive"], row["request"])), what)
            name = f"request-{place}"
            opens = Cell("timeline", place, opens=name, about=what)
            shown.rows.append(Row([opens, *cells], more=drawn, more_id=name, is_open=not place))
    if result.summary["requests"]["with_spans"] > len(table) >= MOST_REQUESTS:
        shown.note = f"The slowest {len(table):,}; spans.parquet has more."
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
