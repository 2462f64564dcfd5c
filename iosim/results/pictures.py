"""latency.png and stages.png: the distribution of the latency, and where the time goes."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_time, human_unit, three_digits
from iosim.results.result import Result
from iosim.results.summary import counted, is_resolved

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MARKED = {"50": "o", "90": "s", "99": "D", "99.9": "^"}
"""The percentiles that are marked on the curve, and how."""
OPERATIONS = {"R": ("reads", "#1f77b4"), "W": ("writes", "#d62728"), "F": ("flushes", "#2ca02c")}
COLOURS = {
    Stage.GUEST_QUEUE: "#c6cbd1",
    Stage.GUEST_RUN: "#6fae73",
    Stage.VM_EXIT: "#b7cde8",
    Stage.KVM_EXIT_HANDLING: "#5488c0",
    Stage.BQL_WAIT: "#8c6a5d",
    Stage.QEMU_DISPATCH: "#f2c58c",
    Stage.QEMU_SUBMIT: "#de8d3d",
    Stage.VM_ENTRY: "#9ad0da",
    Stage.AIO_WAIT: "#ddd998",
    Stage.AIO_WORKER: "#b5ae4b",
    Stage.DISK_WAIT: "#efb0a7",
    Stage.DISK_SERVICE: "#c9564c",
    Stage.COMPLETION_WAIT: "#cdbbde",
    Stage.COMPLETION: "#9877b8",
    Stage.IRQ_DELIVERY: "#da8fbd",
    Stage.CPU_WAIT: "#7b848f",
    Stage.SUBMIT_WAIT: "#4cb0bd",
    Stage.THROTTLE_WAIT: "#a4d59a",
    Stage.DIRTY_WAIT: "#c3a598",
    Stage.PAUSED: "#f1c3d5",
}
_MAX_POINTS = 4000


def draw(result: Result, folder: Path) -> None:
    """Draw both pictures into *folder*; that of the latency only of requests in memory."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    paints = {"latency.png": _latency, "stages.png": _stages}
    if result.found is not None:
        del paints["latency.png"]
    for name, paint in paints.items():
        figure, axes = pyplot.subplots(figsize=(10, 5), dpi=110, layout="constrained")
        paint(result, axes)
        figure.savefig(folder / name)
        pyplot.close(figure)


def _latency(result: Result, axes: "Axes") -> None:
    """Draw the cumulative distribution of the latency, with percentiles marked, and that of each operation."""
    table = counted(result.requests)
    if table.empty:
        _say_nothing(axes)
        return
    latency = table["latency_ns"]
    unit = human_unit(float(latency.median()))
    scale = NS_PER_UNIT[unit]
    for op, (name, colour) in OPERATIONS.items():
        values = latency[table["op"] == op]
        if 0 < len(values) < len(table):
            label = f"{name} ({len(values):,}{'' if values.any() else ', all 0'})"
            axes.step(*_curve(values, scale), where="post", color=colour, linewidth=1, label=label)
    only = [name for op, (name, _) in OPERATIONS.items() if (table["op"] == op).all()]
    label = f"{only[0] if only else 'all requests'} ({len(table):,})"
    axes.step(*_curve(latency, scale), where="post", color="black", linewidth=1.8, label=label)
    for percentile, marker in MARKED.items():
        if is_resolved(percentile, len(table)):
            value = float(latency.quantile(float(percentile) / 100)) / scale
            label = f"p{percentile}  {three_digits(value)} {unit}"
            axes.plot(value, float(percentile), marker, color="black", markersize=6, zorder=3, label=label)
    positive = latency[latency > 0]
    if len(positive) and float(positive.max()) > 5 * float(positive.min()):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=_ticks(positive)))
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
    axes.set_ylim(0, 102)
    axes.set_yticks(range(0, 101, 10))
    axes.set_xlabel(f"latency in the guest ({unit})")
    axes.set_ylabel("requests done within (%)")
    axes.set_title("Latency of a request, from its arrival in the guest's block layer to its completion")
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def _curve(latency: "pd.Series[int]", scale: int) -> "tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]":
    """Return the points of the cumulative distribution, thinned to what a picture can show."""
    values = np.sort(latency.to_numpy()) / scale
    n = len(values)
    keep = np.unique(np.r_[np.arange(0, n, max(1, n // _MAX_POINTS)), n - 1])
    return np.r_[values[0], values[keep]], np.r_[0, (keep + 1) / n * 100]


def _ticks(latency: "pd.Series[int]") -> tuple[float, ...]:
    """Return what to label within a power of ten: less, the more powers there are."""
    decades = np.log10(float(latency.max()) / float(latency.min()))
    if decades < 1.5:
        return (1, 2, 3, 4, 5, 6, 8)
    return (1, 2, 5) if decades < 3 else (1,)


def _stages(result: Result, axes: "Axes") -> None:
    """Draw the mean time of each stage as a bar, in the order of the path, with its share."""
    found = result.statistics()
    if not found.counted:
        _say_nothing(axes)
        return
    means = {stage: found.stages[stage].mean for stage in Stage}
    shown = [stage for stage in Stage if means[stage] > 0]
    total = sum(means.values())
    unit = human_unit(max(means.values()))
    values = [means[stage] / NS_PER_UNIT[unit] for stage in shown]
    axes.barh(range(len(shown)), values, color=[COLOURS[stage] for stage in shown])
    axes.set_yticks(range(len(shown)), [stage.label for stage in shown])
    axes.invert_yaxis()
    for row, (stage, value) in enumerate(zip(shown, values, strict=True)):
        share = means[stage] / total * 100
        percent = f"{share:.1f} %" if share >= 0.05 else "<0.1 %"
        axes.annotate(
            f"{human_time(means[stage])}  {percent}",
            (value, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xlim(0, max(values, default=1) * 1.25)
    axes.set_xlabel(f"mean time per request ({unit})")
    axes.set_title(f"Where the time of a request goes: {human_time(total)} on average, {found.counted:,} requests")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)


def _say_nothing(axes: "Axes") -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no request was done", ha="center", transform=axes.transAxes)
