"""Measured and predicted distribution curves over each other, one small picture for each part."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

from iosim.model.units import NS_PER_UNIT, human_time, human_unit
from iosim.validate.distance import Floats
from iosim.validate.match import Match

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEASURED, _PREDICTED = "#000000", "#d55e00"
_POINTS = 4000
_COLUMNS = 4
_FAR = 0.5


def draw(found: Sequence[Match], path: Path, title: str = "") -> None:
    """Draw *found* to *path*, whose ending (.png, .svg, .pdf) says the kind of file.

    The axis of time is logarithmic where the measured times between the 1st and the 99th percentile differ by a
    factor of more than 20.
    """
    matplotlib.use("agg")
    from matplotlib import pyplot

    columns = min(_COLUMNS, max(1, math.ceil(math.sqrt(len(found)))))
    lines = -(-len(found) // columns)
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(4.4 * columns + 0.2, 3.3 * lines + 0.6), dpi=110, layout="constrained", squeeze=False
    )
    for axes, one in zip(grid.flat, found, strict=False):
        _draw(axes, one)
    for axes in list(grid.flat)[len(found) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("done within (%)")
    if title:
        figure.suptitle(title)
    beside = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        figure.savefig(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
        pyplot.close(figure)


def _draw(axes: "Axes", one: Match) -> None:
    unit = human_unit(one.measured_ns["p50"] or one.measured_ns["mean"] or 1.0)
    scale = NS_PER_UNIT[unit]
    for sample, colour, width, style, label in (
        (one.measured, _MEASURED, 1.8, "-", "measured"),
        (one.predicted, _PREDICTED, 1.4, (0, (4, 1.5)), "predicted"),
    ):
        axes.step(*_curve(sample, scale), where="post", color=colour, linewidth=width, linestyle=style, label=label)
    low, high = np.percentile(one.measured, (1, 99))
    if low > 0 and high > 20 * low:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    ends = [end for sample in (one.measured, one.predicted) for end in np.percentile(sample, (0.1, 99.9)) / scale]
    if axes.get_xscale() == "log":
        axes.set_xlim(min(end for end in ends if end > 0) / 1.2, max(ends) * 1.2)
    else:
        # Curves far from 0 are looked at closely: what is left of them would be blank.
        left = 0.0 if min(ends) < _FAR * max(ends) else min(ends) - (max(ends) - min(ends)) / 2
        axes.set_xlim(min(left, *ends), max(ends) * 1.05 or 1.0)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
    axes.set_ylim(0, 102)
    axes.set_xlabel(f"time ({unit})")
    axes.set_title(f"{one.name}: KS {one.ks:.3f}, demerit {human_time(one.demerit_ns)}", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize=8, framealpha=0.9)


def _curve(sample: Floats, scale: int) -> tuple[Floats, Floats]:
    """Return the points of the distribution curve, thinned to what a picture can show."""
    values = np.sort(sample) / scale
    n = len(values)
    keep = np.unique(np.r_[np.arange(0, n, max(1, n // _POINTS)), n - 1])
    return np.r_[values[0], values[keep]], np.r_[0, (keep + 1) / n * 100]
