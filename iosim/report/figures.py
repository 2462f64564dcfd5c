"""The pictures of the page that matplotlib draws: distribution, course of the run, heat map."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from iosim.model.units import NS_PER_UNIT, human_time, human_unit, three_digits
from iosim.report.over_time import MOST_POINTS, REQUESTS_PER_POINT, Bins, Line, latencies, levels
from iosim.report.svg import ACCENT, INK, MUTED, SERIES, Picture, canvas
from iosim.results.result import Result
from iosim.results.summary import counted, is_resolved

LARGE = (440.0, 270.0)
SMALL = (300.0, 165.0)
OPERATIONS = {"R": ("reads", SERIES[0]), "W": ("writes", SERIES[1]), "F": ("flushes", SERIES[2])}
_MARKED = ("50", "90", "99", "99.9")
_MOST_STEPS = 400
_HEAT = (0x2F, 0x78, 0xC4)
"""Colour of the heat map; the more requests, the less of the paper shines through."""


def distribution(result: Result) -> Picture | None:
    """Draw the cumulative distribution of the latency, for each operation and for all; None without requests."""
    table = counted(result.requests)
    if table.empty:
        return None
    latency = table["latency_ns"].to_numpy()
    unit = human_unit(float(np.median(latency)))
    scale = NS_PER_UNIT[unit]
    with canvas("cdf", "Cumulative distribution of the latency", *LARGE) as (_, axes, drawn):
        for op, (name, colour) in OPERATIONS.items():
            values = latency[(table["op"] == op).to_numpy()]
            if 0 < len(values) < len(latency):
                axes.step(*_steps(values, scale), where="post", color=colour, label=name)
        axes.step(*_steps(latency, scale), where="post", color=INK, label="all")
        marked = [p for p in _MARKED if is_resolved(p, len(latency))]
        times = [float(np.percentile(latency, float(p))) / scale for p in marked]
        axes.plot(times, [float(p) for p in marked], "o", color=INK, markersize=4)
        for percentile, time in zip(marked, times, strict=True):
            axes.annotate(
                f"p{percentile}",
                (time, float(percentile)),
                (5, -10),
                textcoords="offset points",
                fontsize=10,
                color=INK,
            )
        _latency_axis(axes, latency[latency > 0] / scale)
        axes.set_ylim(0, 103)
        axes.set_yticks(range(0, 101, 25))
        axes.set_xlabel(f"latency ({unit})")
        axes.set_ylabel("done within (%)")
        _legend(axes)
    return Picture("", drawn[0])


def _steps(values: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Return the points of the distribution, at most `_MOST_STEPS` and evenly over the share of the requests."""
    values = np.sort(values) / scale
    n = len(values)
    keep = np.unique(np.linspace(0, n - 1, min(n, _MOST_STEPS)).round().astype(np.int64))
    tail = n - 1 - np.unique(np.geomspace(1, n, min(n, 60)).astype(np.int64) - 1)
    keep = np.union1d(keep, tail)
    return np.r_[values[0], values[keep]], np.r_[0, (keep + 1) / n * 100]


def _latency_axis(axes: Axes, values: np.ndarray) -> None:  # type: ignore[type-arg]
    """Make the axis logarithmic where the times differ by more than 5, with ticks that are few enough to read."""
    if len(values) and values.max() > 5 * values.min():
        axes.set_xscale("log")
        decades = np.log10(values.max() / values.min())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))


def _legend(axes: Axes) -> None:
    if len(axes.get_lines()) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, borderaxespad=0.1, labelcolor=INK)


def course(result: Result) -> list[Picture]:
    """Draw throughput and latency over time."""
    if not len(result.requests):
        return []
    done = result.requests[result.requests["status"] == "ok"]
    bins = Bins(result.series, MOST_POINTS)
    few = Bins(result.series, int(np.clip(len(done) // REQUESTS_PER_POINT, 12, MOST_POINTS)))
    pictures = [_throughput(result, bins)]
    if len(done):
        pictures.append(_latency_over_time(result, few, done))
    return pictures


def _throughput(result: Result, bins: Bins) -> Picture:
    with canvas("throughput", "Requests per second over time", *LARGE) as (_, axes, drawn):
        for column, name, colour in (("arrivals", "arrive", MUTED), ("completions", "are done", ACCENT)):
            axes.stairs(
                bins.rate_per_s(column), bins.edges_ns / 1e9 * _per_s(result), color=colour, label=name, linewidth=1.4
            )
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}"))
        axes.set_ylabel("requests per second")
        _time_axis(axes, result)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=4, borderaxespad=0.1, labelcolor=INK)
    width = human_time(float(bins.lengths_ns[0]))
    return Picture("Requests per second", drawn[0], f"Means over {width}.")


def _latency_over_time(result: Result, bins: Bins, done: pd.DataFrame) -> Picture:
    lines = latencies(bins, done)
    unit = human_unit(float(done["latency_ns"].median()))
    looks = {"p50": (INK, "-"), "p90": (SERIES[0], "-"), "p99": (SERIES[1], "-"), "max": (MUTED, ":")}
    with canvas("latencies", "Percentiles of the latency over time", *LARGE) as (_, axes, drawn):
        at = bins.middles_ns / 1e9 * _per_s(result)
        for line in lines:
            if not np.isnan(line.values).all():
                colour, style = looks[line.name]
                values = line.values / NS_PER_UNIT[unit]
                axes.plot(at, values, style, color=colour, label=line.name, marker=".", markersize=3.5)
        if float(done["latency_ns"].max()) > 20 * max(1.0, float(done["latency_ns"].median())):
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}"))
        axes.set_ylabel(f"latency ({unit})")
        _time_axis(axes, result)
        _legend(axes)
    width = human_time(float(bins.lengths_ns[0]))
    return Picture(
        "Latency",
        drawn[0],
        f"Exact, of the requests that were done within {width} each; "
        "a percentile is left out where too few requests resolve it.",
    )


def _unit_of_time(result: Result) -> str:
    return human_unit(float(result.summary["end_ns"]) / 2) if result.summary["end_ns"] else "s"


def _per_s(result: Result) -> float:
    """Return how many of the units of the time axis a second has."""
    return 1e9 / NS_PER_UNIT[_unit_of_time(result)]


def _time_axis(axes: Axes, result: Result) -> None:
    end = float(result.summary["end_ns"]) / 1e9 * _per_s(result)
    warmup = result.scenario.run.warmup / 1e9 * _per_s(result)
    axes.set_xlim(0, end or 1)
    if 0 < warmup < end:
        axes.axvline(warmup, color=MUTED, linewidth=0.8, linestyle="--")
        axes.annotate("warm-up", (warmup, 1), (-3, -2), xycoords=("data", "axes fraction"),
                      textcoords="offset points", ha="right", va="top", fontsize=9.5, color=MUTED)  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
    axes.set_xlabel(f"time ({_unit_of_time(result)})")


TITLES = {
    "cpus": "CPUs of the host",
    "cpu": "Single CPUs",
    "vcpu": "vCPUs",
    "bql": "BQL",
    "main_loop": "Main loops",
    "iothread": "iothreads",
    "pool": "aio workers",
    "channel": "IDE channels",
    "ring": "virtio-blk rings",
    "qcow2": "Locks of qcow2 images",
    "throttle": "Limits of drives",
    "disk": "Disks of the host",
    "page_cache": "Page cache",
}


def utilisations(result: Result) -> list[Picture]:
    """Draw the utilisation of each kind of resource over time."""
    bins = Bins(result.series, MOST_POINTS)
    return [
        _lines(
            result, bins, "utilisation", kind, [Line(l.name, l.values * 100, l.is_of_many) for l in lines], "busy (%)"
        )
        for kind, lines in levels(result, bins, "utilisation").items()
    ]


def queues(result: Result) -> list[Picture]:
    """Draw how many wait for each kind of resource over time, where any do."""
    bins = Bins(result.series, MOST_POINTS)
    return [
        _lines(result, bins, "queue", kind, lines, "waiting")
        for kind, lines in levels(result, bins, "queue").items()
        if any(line.values.max() > 0 for line in lines)
    ]


def _lines(result: Result, bins: Bins, what: str, kind: str, lines: list[Line], label: str) -> Picture:
    title = TITLES[kind]
    with canvas(f"{what}-{kind}", f"{title}: {what} over time", *SMALL) as (_, axes, drawn):
        colours = iter(SERIES)
        for line in lines:
            colour = INK if line.is_of_many else next(colours)
            axes.stairs(line.values, bins.edges_ns / 1e9 * _per_s(result), color=colour, label=line.name, linewidth=1.2)
        top = max(float(line.values.max()) for line in lines)
        axes.set_ylim(0, _ceiling(top, what))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}"))
        axes.set_ylabel(label)
        _time_axis(axes, result)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0.1, labelcolor=MUTED)
    return Picture(title, drawn[0])


def _ceiling(top: float, what: str) -> float:
    """Return the upper end of an axis: of a utilisation 1, 5, 20, 50 or 100 %."""
    if what == "queue":
        return top * 1.08
    return next((limit for limit in (1, 5, 20, 50) if top <= limit), 102)


def heat_map(result: Result) -> Picture | None:
    """Draw how many requests were done with which latency at which time; None if none was done."""
    bins = Bins(result.series, MOST_POINTS)
    edges, counts = bins.histogram()
    if not counts.any():
        return None
    used = np.flatnonzero(counts.any(axis=0))
    first, last = int(used[0]), int(used[-1])
    counts = counts[:, first : last + 1]
    lowest = edges[first - 1] if first else edges[0] - 128
    heights = np.append(lowest, edges[first : last + 1])
    unit = human_unit(float(np.median(heights)))
    share = np.log1p(counts) / np.log1p(counts.max())
    image = np.zeros((*counts.T.shape, 4))
    image[..., :3] = np.array(_HEAT) / 255
    image[..., 3] = np.where(counts.T > 0, 0.12 + 0.88 * share.T, 0)
    with canvas("heat", "Latency over time: how many requests", 900, 280) as (_, axes, drawn):
        # Buckets are as good as even on a logarithmic scale, so rows of one height stand for them.
        axes.imshow(
            image,
            aspect="auto",
            origin="lower",
            extent=(0, bins.edges_ns[-1] / 1e9 * _per_s(result), np.log2(heights[0]), np.log2(heights[-1])),
            interpolation="nearest",
        )
        ticks = [t for t in _round_times(int(heights[0]), int(heights[-1]))]
        axes.set_yticks([np.log2(t) for t in ticks], [f"{t / NS_PER_UNIT[unit]:,.10g}" for t in ticks])
        axes.set_ylabel(f"latency ({unit})")
        _time_axis(axes, result)
    width = human_time(float(bins.lengths_ns[0]))
    return Picture(
        "",
        drawn[0],
        f"Each field is {width} wide and an eighth of a factor of two high; the darkest has {counts.max():,} requests. "
        "Shades are logarithmic.",
    )


def _round_times(low_ns: int, high_ns: int) -> list[int]:
    """Return round times between the two, few enough to read."""
    subs = (1, 2, 5) if high_ns < 300 * low_ns else (1,)
    times = [sub * 10**power for power in range(3, 19) for sub in subs if low_ns <= sub * 10**power <= high_ns]
    return times or [low_ns]


__all__ = ["course", "distribution", "heat_map", "queues", "three_digits", "utilisations"]
