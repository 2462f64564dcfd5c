"""Axes of the page's pictures: times and counts as people read them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from iosim.model.units import NS_PER_UNIT, human_unit
from iosim.report.svg import MUTED
from iosim.results.result import Result

Values = npt.NDArray[np.floating[Any]]

_STEPS = ((4.0, [1.0]), (2.2, [1.0, 3.0]), (0.8, [1.0, 2.0, 5.0]), (0.0, [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0]))
"""From how many powers of ten on an axis has these ticks in each."""
PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")
"""Numbers without exponent, thousands set apart."""


def log_times(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis from *low* to *high*: the fewer, the more powers of ten it has."""
    decades = np.log10(high / low)
    within = next(steps for least, steps in _STEPS if decades >= least)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**power for power in powers for step in within]
    return [tick for tick in ticks if 0.999 * low <= tick <= 1.001 * high]


def latency_axis(axes: Axes, which: str, values: Values) -> None:
    """Scale an axis, "x" or "y", for *values* above 0: logarithmic where they differ by more than 5."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if len(values) and values.max() > 5 * values.min():
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        ticks = log_times(float(values.min()), float(values.max()))
        if len(ticks) > 1:
            axis.set_major_locator(FixedLocator(ticks))
            axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    elif which == "y":
        axes.set_ylim(0, float(values.max(initial=0)) * 1.08 or 1)
    axis.set_major_formatter(PLAIN)


def time_unit(result: Result) -> str:
    """Return the unit of the time axis."""
    return human_unit(float(result.summary["end_ns"])) if result.summary["end_ns"] else "s"


def time_axis(axes: Axes, result: Result) -> None:
    """Let the x axis go from the begin to the end of the run, with the end of the warm-up marked."""
    unit = time_unit(result)
    end, warmup = (ns / NS_PER_UNIT[unit] for ns in (result.summary["end_ns"], result.scenario.run.warmup))
    axes.set_xlim(0, end or 1)
    if 0 < warmup < end:
        axes.axvspan(0, warmup, color=MUTED, alpha=0.12, linewidth=0)
        axes.axvline(warmup, color=MUTED, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(PLAIN)
    axes.set_xlabel(f"time ({unit})")
