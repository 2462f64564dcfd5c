"""A study on the terminal: a line for each point, and what to keep in mind."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from iosim.model.units import NS_PER_UNIT, human_time, human_unit, three_digits
from iosim.results.sketch import ERROR
from iosim.results.terminal import WIDE, empty_table
from iosim.results.wording import BUSY, percent
from iosim.study.points import value_text
from iosim.study.study_file import Study

MOST_POINTS = 60
"""So many points are shown; the rest is in the tables."""
MOST_KEYS = 3
"""So many keys have a column of their own; one on a narrow terminal."""
_NOT_BUSY = r"page_cache|cpu\d+"
"""Resources that are not candidates for the busiest: a full page cache is no bottleneck, and `cpus` stands for each."""


def show(console: Console, name: str, study: Study, summary: pd.DataFrame, facts: dict[str, Any]) -> None:
    """Print what was run, a line for each point, and what to keep in mind."""
    figures = Figures(summary, facts)
    blocks: list[Any] = [headline(name, study, facts), point_table(figures, study, console.width)]
    if found := cautions(figures, study):
        blocks.append(Text("\n".join(("Keep in mind", *(f"- {line}" for line in found)))))
    console.print(Group(*(part for block in blocks for part in (block, ""))))


class Figures:
    """The summary of a study by point and metric."""

    def __init__(self, summary: pd.DataFrame, facts: dict[str, Any]) -> None:
        self.points: list[str] = [point["name"] for point in facts["points"]]
        self.replications: dict[str, int] = {point["name"]: point["replications"] for point in facts["points"]}
        self.imprecise = [point["name"] for point in facts["points"] if point["precise"] is False]
        self.unsettled = [
            point["name"] for point in facts["points"] if point["mser5"] and not point["mser5"]["settled"]
        ]
        self.keys = [key for key in summary.columns if "." in key]
        whole = _rows(summary[summary["of"] == ""])
        self._by_metric = {(row["point"], row["metric"]): row for row in whole}
        self.first = {row["point"]: row for row in reversed(whole)}
        busy = summary[(summary["metric"] == "utilisation_max") & ~summary["of"].str.fullmatch(_NOT_BUSY)]
        ordered = busy.sort_values("estimate", ascending=False, kind="stable").drop_duplicates("point")
        self.busiest = {row["point"]: (row["of"], row["estimate"]) for row in _rows(ordered)}

    def get(self, point: str, metric: str) -> dict[str, Any] | None:
        """Return the row of *metric* at *point*, None if no run has it."""
        return self._by_metric.get((point, metric))

    def value(self, point: str, metric: str) -> float:
        """Return the estimate of *metric* at *point*, 0 if no run has it."""
        row = self.get(point, metric)
        return 0.0 if row is None else float(row["estimate"])


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def headline(name: str, study: Study, facts: dict[str, Any]) -> Text:
    """Return what was run."""
    counts = Counter(point["replications"] for point in facts["points"])
    low, high = min(counts), max(counts)
    each = _number(low, "replication") if low == high else f"{low} to {high} replications"
    text = Text(f"{name}: ", style="bold")
    text.append(f"{_number(len(facts['points']), 'point')} of {study.study.scenario}, {each} each", style="not bold")
    level = f"{100 * study.statistics.confidence:.4g} %"
    text.append(f", {level} intervals, differences from {study.study.reference}", style="not bold")
    return text


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def point_table(figures: Figures, study: Study, width: int) -> Table:
    """Return a line for each point: what it changes, latency and throughput, the busiest resource.

    Below a *width* of WIDE throughput and resource are left out. Names are folded where they do not fit, numbers never.
    """
    wide = width >= WIDE
    unit = human_unit(float(np.median([figures.value(point, "latency_mean") for point in figures.points])))
    keys = figures.keys if len(figures.keys) <= (MOST_KEYS if wide else 1) else []
    names = ["point", *short_names(keys), "runs", f"mean ({unit})", f"p99 ({unit})", "req/s", "mean, change", "busiest"]
    if cut := study.statistics.warmup == "mser-5":
        names.insert(-1, "warm-up")
    left_out = () if wide else ("req/s", "busiest")
    shown = [name not in left_out for name in names]
    grid = empty_table("", ("point", "busiest"), list(compress(names, shown)), gap=2 if wide and len(keys) < 2 else 1)
    grid.title = None
    for column in grid.columns:
        if column.header in ("point", "busiest"):
            column.no_wrap, column.overflow, column.min_width = False, "fold", 10
    for point in figures.points[:MOST_POINTS]:
        resource, busy = figures.busiest[point]
        cells = [
            point,
            *(_key_cell(figures.first[point][key]) for key in keys),
            str(figures.replications[point]),
            *(with_interval(figures.get(point, name), NS_PER_UNIT[unit]) for name in ("latency_mean", "latency_p99")),
            three_digits(figures.value(point, "throughput")),
            relative(figures, point, study.study.reference, "latency_mean"),
            f"{percent(busy, 0):>4} {resource}",
        ]
        if cut:
            requests, until_ns = figures.value(point, "requests_warmup"), figures.value(point, "warmup")
            cells.insert(-1, f"{requests:,.0f} ({human_time(until_ns)})")
        grid.add_row(*compress(cells, shown))
    if len(figures.points) > MOST_POINTS:
        grid.add_row(f"... {len(figures.points) - MOST_POINTS:,} more")
    return grid


def short_names(keys: Sequence[str]) -> list[str]:
    """Return each key path without what is not needed to tell it from the others: ``count`` of ``vm.web.count``."""
    short = []
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[-length:])
            if sum(other == name or other.endswith(f".{name}") for other in keys) == 1:
                break
        short.append(name)
    return short


def _key_cell(value: Any) -> str:
    return "-" if pd.isna(value) else value_text(value)


def with_interval(row: dict[str, Any] | None, scale: float) -> str:
    """Return ``177.0 ±0.32``: mean and half the width of its interval, which one replication does not have."""
    if row is None:
        return "-"
    mean, half = row["estimate"] / scale, (row["high"] - row["low"]) / 2 / scale
    if np.isnan(half):
        return three_digits(mean)
    whole_digits = len(f"{abs(mean):.0f}")
    decimals = min(_decimals(half), max(0, 4 - whole_digits)) if half else max(0, 3 - whole_digits)
    return f"{mean:,.{decimals}f} ±{_rounded(half, _decimals(half))}"


def relative(figures: Figures, point: str, reference: str, metric: str) -> str:
    """Return ``+12% ±3%``: the paired difference from the reference, of the reference's mean."""
    row, base = figures.get(point, metric), figures.value(reference, metric)
    if point == reference:
        return ""
    if row is None or not row["pairs"] or not base:
        return "-"
    change, half = 100 * row["difference"] / base, 50 * (row["difference_high"] - row["difference_low"]) / base
    decimals = _decimals(half if half else change)
    text = f"{change:+,.{decimals}f}%" if change else "0%"
    return text if np.isnan(half) else f"{text} ±{_rounded(half, decimals)}%"


def signed(value: float, half: float) -> str:
    """Return ``+12.3 ±0.4``: a difference and half the width of its interval, if it has one; 0 is ``0``."""
    if np.isnan(value):
        return "-"
    if not value and not half:
        return "0"
    if np.isnan(half) or not half:
        return ("-" if value < 0 else "+") + three_digits(abs(value))
    decimals = _decimals(half)
    return f"{value:+,.{decimals}f} ±{_rounded(half, decimals)}"


def _rounded(half: float, decimals: int) -> str:
    """Return *half* with *decimals*; what is above 0 never reads as 0."""
    least = 10.0**-decimals
    return f"<{least:g}" if 0 < half < least / 2 else f"{half:,.{decimals}f}"


def _decimals(half: float) -> int:
    """Return how many decimals show two significant digits of *half*: two at most, none if it is unknown or 0."""
    if np.isnan(half) or half == 0:
        return 0
    return min(2, max(0, 1 - math.floor(math.log10(abs(half)))))


def cautions(figures: Figures, study: Study) -> list[str]:
    """Return reasons to doubt the figures, each in a sentence."""
    found = []
    if study.study.replications == 1:
        found.append("One replication says nothing about how far a figure moves with other random numbers.")
    constant = [point for point in figures.points if _is_constant(figures, point)]
    if constant:
        found.append(
            f"All replications of {_names(constant)} are equal: nothing that is drawn at random matters there. "
            "Arrivals come from the trace and are the same in each."
        )
    until = study.statistics.until
    if until is not None and figures.imprecise:
        found.append(
            f"{_names(figures.imprecise)}: {until.metric} is not known within {100 * until.within:.2g} % "
            f"after {until.max_replications} replications."
        )
    busy = [point for point in figures.points if figures.busiest[point][1] >= BUSY]
    if busy:
        found.append(
            f"{_names(busy)}: the busiest resource is busy for {BUSY:.0%} of the time or more: requests queue, "
            "and their latency depends on the length of the run."
        )
    if figures.unsettled:
        found.append(
            f"{_names(figures.unsettled)}: latency does not settle within the run (MSER-5), or the run is very short."
        )
    for metric, what in (("requests_failed", "failed"), ("requests_unfinished", "did not finish")):
        if points := [point for point in figures.points if figures.value(point, metric)]:
            found.append(f"{_names(points)}: requests {what}; the figures leave them out.")
    if study.output.summary_only:
        found.append(
            f"No requests were kept: percentiles are within {100 * ERROR:.2g} %, which their intervals do not contain; "
            "all other figures are exact."
        )
    if points := [point for point in figures.points if figures.get(point, "latency_p99") is None]:
        found.append(f"{_names(points)}: too few requests for p99, which needs 100.")
    return found


def _is_constant(figures: Figures, point: str) -> bool:
    row = figures.get(point, "latency_mean")
    return row is not None and figures.replications[point] > 1 and row["sd"] == 0


def _names(points: Sequence[str]) -> str:
    """Return the first few of *points*, and how many others there are."""
    few = ", ".join(points[:4])
    return few if len(points) <= 4 else f"{few} and {len(points) - 4} others"
