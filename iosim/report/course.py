"""Pictures of the course of a run: rates, latencies, utilisations, queues, and the heat map of the latency."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from iosim.analytic.resources import TITLES
from iosim.model.units import NS_PER_UNIT, human_time, human_unit
from iosim.report.axes import PLAIN, Values, latency_axis, log_times, time_axis, time_unit
from iosim.report.over_time import MOST_POINTS, REQUESTS_PER_POINT, Bins, Line, latencies, levels
from iosim.report.svg import ACCENT, INK, MUTED, SERIES, Picture, canvas
from iosim.results.result import Result

SIZE = (440.0, 250.0)
SMALL = (300.0, 150.0)
WIDE = (900.0, 270.0)
_HEAT = (0x2F, 0x78, 0xC4)
"""Colour of the heat map; the more requests, the less of the paper shines through."""
_LATENCIES = {"p50": INK, "p90": SERIES[0], "p99": SERIES[1], "max": MUTED}


def pictures(result: Result) -> list[Picture]:
    """Draw throughput and latency over time; nothing without requests."""
    if result.requests.empty:
        return []
    done = result.requests[result.requests["status"] == "ok"]
    found = [_throughput(result, Bins(result.series, MOST_POINTS))]
    if len(done):
        n_points = int(np.clip(len(done) // REQUESTS_PER_POINT, 12, MOST_POINTS))
        found.append(_latency(result, Bins(result.series, n_points), done))
    return found


def _throughput(result: Result, bins: Bins) -> Picture:
    key = (("arrive", MUTED), ("are done", ACCENT))
    with canvas("throughput", "Requests per second over time", *SIZE) as (_, axes, drawn):
        for column, (_, colour) in zip(("arrivals", "completions"), key, strict=True):
            _stairs(axes, result, bins, bins.rate_per_s(column), colour)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(PLAIN)
        axes.set_ylabel("requests per second")
        time_axis(axes, result)
    return Picture("Throughput", drawn[0], f"Means over {human_time(float(bins.lengths_ns[0]))}.", key=key)


def _stairs(axes: Axes, result: Result, bins: Bins, values: Values, colour: str) -> None:
    axes.stairs(values, bins.edges_ns / NS_PER_UNIT[time_unit(result)], color=colour, linewidth=1.3)


def _latency(result: Result, bins: Bins, done: pd.DataFrame) -> Picture:
    unit = human_unit(float(done["latency_ns"].median()))
    lines = [line for line in latencies(bins, done) if not np.isnan(line.values).all()]
    with canvas("latencies", "Percentiles of the latency over time", *SIZE) as (_, axes, drawn):
        at = bins.middles_ns / NS_PER_UNIT[time_unit(result)]
        for line in lines:
            values = line.values / NS_PER_UNIT[unit]
            style = ":" if line.name == "max" else "-"
            axes.plot(at, values, style, color=_LATENCIES[line.name], marker=".", markersize=4)
        every = np.concatenate([line.values for line in lines]) / NS_PER_UNIT[unit]
        latency_axis(axes, "y", every[every > 0])
        axes.set_ylabel(f"latency ({unit})")
        time_axis(axes, result)
    note = (
        f"Exact, of the requests done within {human_time(float(bins.lengths_ns[0]))} each; "
        "percentiles where at least one request lies beyond."
    )
    return Picture("Latency", drawn[0], note, key=tuple((line.name, _LATENCIES[line.name]) for line in lines))


def utilisations(result: Result) -> list[Picture]:
    """Draw the utilisation of each kind of resource over time."""
    bins = Bins(result.series, MOST_POINTS)
    found = []
    for kind, lines in levels(result, bins, "utilisation").items():
        percents = [replace(line, values=line.values * 100) for line in lines]
        top = max(float(line.values.max()) for line in percents)
        ceiling = next((limit for limit in (1, 5, 10, 20, 50) if top <= limit), 100)
        found.append(_level(result, bins, f"utilisation-{kind}", kind, percents, ceiling, "busy (%)"))
    return found


def queues(result: Result) -> list[Picture]:
    """Draw how many wait for each kind of resource over time, where any do; a sum of many has a picture of its own."""
    bins = Bins(result.series, MOST_POINTS)
    found = []
    for kind, lines in levels(result, bins, "queue").items():
        label = "dirty pages" if kind == "page_cache" else "waiting"
        for name, some in (
            (f"queues-{kind}", [line for line in lines if line.is_of_many]),
            (f"queue-{kind}", [line for line in lines if not line.is_of_many]),
        ):
            if top := max((float(line.values.max()) for line in some), default=0.0):
                found.append(_level(result, bins, name, kind, some, _round_up(top), label))
    return found


def _round_up(top: float) -> float:
    """Return the next of 1, 2, 4, 6, 8, 10 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(top))
    return float(next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= top * 0.9999))


def _level(result: Result, bins: Bins, name: str, kind: str, lines: list[Line], ceiling: float, label: str) -> Picture:
    """Draw lines of one kind of resource; a single one is named in the title."""
    colours = iter(SERIES)
    key = tuple((line.name, INK if line.is_of_many else next(colours)) for line in lines)
    with canvas(name, f"{TITLES[kind]} over time: {label}", *SMALL) as (_, axes, drawn):
        for line, (_, colour) in zip(lines, key, strict=True):
            _stairs(axes, result, bins, line.values, colour)
        axes.set_ylim(0, ceiling * 1.02)
        axes.set_yticks([0, ceiling / 2, ceiling])
        axes.yaxis.set_major_formatter(PLAIN)
        axes.set_ylabel(label)
        time_axis(axes, result)
    alone = len(lines) == 1
    return Picture(TITLES[kind], drawn[0], about=lines[0].name if alone else "", key=() if alone else key)


def heat_map(result: Result) -> Picture | None:
    """Draw how many requests were done with which latency at which time; None if none was done, or in no time."""
    bins = Bins(result.series, MOST_POINTS)
    edges, counts = bins.histogram()
    if not counts.any() or not bins.edges_ns[-1]:
        return None
    used = np.flatnonzero(counts.any(axis=0))
    first, last = int(used[0]), int(used[-1])
    counts = counts[:, first : last + 1]
    bounds = np.append(edges[first - 1] if first else edges[0] - (edges[1] - edges[0]), edges[first : last + 1])
    unit = human_unit(float(result.requests.loc[result.requests["status"] == "ok", "latency_ns"].median()))
    with canvas("heat", "Requests by latency over time", *WIDE) as (_, axes, drawn):
        # Eight buckets per factor of two are as good as even on a logarithmic axis, so each is a row of one height.
        axes.imshow(
            _shades(counts),
            aspect="auto",
            origin="lower",
            interpolation="nearest",
            extent=(0, bins.edges_ns[-1] / NS_PER_UNIT[time_unit(result)], *np.log2(bounds[[0, -1]])),
        )
        ticks = log_times(float(bounds[0]) / NS_PER_UNIT[unit], float(bounds[-1]) / NS_PER_UNIT[unit])
        axes.set_yticks([np.log2(tick * NS_PER_UNIT[unit]) for tick in ticks], [PLAIN(tick) for tick in ticks])
        axes.set_ylabel(f"latency ({unit})")
        time_axis(axes, result)
    width = human_time(float(bins.lengths_ns[0]))
    most = f"{counts.max():,} request{'s' if counts.max() > 1 else ''}"
    return Picture(
        "Requests by latency",
        drawn[0],
        f"A field is {width} wide and an eighth of a factor of two high; the darkest has {most}. "
        "The shade goes with the logarithm of the number.",
    )


def _shades(counts: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> Values:
    """Return red, green, blue and opacity by row and column of the map; no request, no colour."""
    image = np.zeros((*counts.T.shape, 4))
    image[..., :3] = np.array(_HEAT) / 255
    share = np.log1p(counts.T) / np.log1p(counts.max())
    image[..., 3] = np.where(counts.T > 0, 0.2 + 0.8 * share, 0)
    return image
