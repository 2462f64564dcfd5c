"""Pictures of the distribution of the latency: done within a time, and the tail."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator

from iosim.model.units import NS_PER_UNIT, human_unit
from iosim.report.axes import Values, latency_axis
from iosim.report.svg import INK, SERIES, Picture, canvas
from iosim.results.result import Result
from iosim.results.summary import counted, is_resolved

SIZE = (440.0, 250.0)
_OPERATIONS = {"R": ("reads", SERIES[0]), "W": ("writes", SERIES[1]), "F": ("flushes", SERIES[2])}
_MARKED = ("50", "90", "99", "99.9")
_TAIL = {0.5: "50", 0.1: "90", 0.01: "99", 0.001: "99.9", 0.0001: "99.99", 0.00001: "99.999"}
_MOST_STEPS = 300
_TAIL_STEPS = 80


def pictures(result: Result) -> list[Picture]:
    """Draw the distribution and the tail of the latency, all requests and each operation; none without requests."""
    table = counted(result.requests)
    if table.empty:
        return []
    latency = table["latency_ns"].to_numpy()
    lines = {}
    for op, (name, colour) in _OPERATIONS.items():
        values = latency[(table["op"] == op).to_numpy()]
        if 0 < len(values) < len(latency):
            lines[name] = (values, colour)
    return draw({**lines, "all": (latency, INK)})


def draw(lines: Mapping[str, tuple[Values, str]]) -> list[Picture]:
    """Draw the distributions of *lines* over each other: by name, latencies in ns and a colour of `iosim.report.svg`.

    Percentiles are marked on the last one.
    """
    latency = np.sort(list(lines.values())[-1][0])
    unit = human_unit(float(np.median(latency)))
    scale = NS_PER_UNIT[unit]
    every = np.concatenate([values for values, _ in lines.values()])
    positive = every[every > 0] / scale
    with canvas("cdf", "Cumulative distribution of the latency", *SIZE) as (_, axes, drawn):
        for values, colour in lines.values():
            times, ranks = _steps(values)
            axes.step(times / scale, ranks / len(values) * 100, where="post", color=colour)
        for percentile in _MARKED[:3]:
            if is_resolved(percentile, len(latency)):
                time = float(np.percentile(latency, float(percentile))) / scale
                axes.plot(time, float(percentile), "o", color=INK, markersize=4)
                axes.annotate(
                    f"p{percentile}", (time, float(percentile)), (6, -9), textcoords="offset points", fontsize=10
                )
        latency_axis(axes, "x", positive)
        axes.set_ylim(0, 103)
        axes.set_yticks(range(0, 101, 25))
        axes.set_xlabel(f"latency ({unit})")
        axes.set_ylabel("done within it (%)")
    key = tuple((name, colour) for name, (_, colour) in lines.items()) if len(lines) > 1 else ()
    found = [Picture("Distribution", drawn[0], key=key)]
    if is_resolved("90", len(latency)):
        found.append(replace(_tail(lines, unit, positive), key=key))
    return found


def _tail(lines: Mapping[str, tuple[Values, str]], unit: str, positive: Values) -> Picture:
    """Draw the share of the requests that take longer, logarithmic: each factor of ten is one more nine."""
    most = max(len(values) for values, _ in lines.values())
    with canvas("tail", "Tail of the latency", *SIZE) as (_, axes, drawn):
        for values, colour in lines.values():
            times, ranks = _steps(values)
            left = 1 - ranks / len(values)
            # The slowest request has none behind it: the line ends at its time, one request high.
            left[-1] = 1 / len(values)
            axes.step(times / NS_PER_UNIT[unit], left, where="post", color=colour)
        latency_axis(axes, "x", positive)
        axes.set_yscale("log")
        axes.set_ylim(1, 0.8 / most)
        ticks = [1.0, *(share for share in _TAIL if share * most >= 0.999)]
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_yticklabels(["0", *(f"p{_TAIL[share]}" for share in ticks[1:])])
        axes.set_xlabel(f"latency ({unit})")
        axes.set_ylabel("percentile")
    return Picture("Tail", drawn[0])


def _steps(values: Values) -> tuple[Values, Values]:
    """Return times and how many requests were done within each: few points, but all of the last requests."""
    values = np.sort(values)
    n = len(values)
    even = np.linspace(0, n - 1, min(n, _MOST_STEPS)).round().astype(np.int64)
    tail = n - np.unique(np.geomspace(1, n, min(n, _TAIL_STEPS)).round().astype(np.int64))
    keep = np.union1d(even, tail)
    return np.r_[values[0], values[keep]], np.r_[0, keep + 1].astype(np.float64)
