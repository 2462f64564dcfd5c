"""latency.png and stages.png: the distribution of the latency, and where the time goes."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np

from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT, human_time, human_unit, three_digits
from iosim.results.summary import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from iosim.results.result import Result

MARKED = (50, 90, 99, 99.9)
COLOURS = {
    Stage.GUEST_QUEUE: "#c7c7c7",
    Stage.GUEST_RUN: "#2ca02c",
    Stage.VM_EXIT: "#aec7e8",
    Stage.KVM_EXIT_HANDLING: "#1f77b4",
    Stage.BQL_WAIT: "#8c564b",
    Stage.QEMU_DISPATCH: "#ffbb78",
    Stage.QEMU_SUBMIT: "#ff7f0e",
    Stage.VM_ENTRY: "#9edae5",
    Stage.AIO_WAIT: "#dbdb8d",
    Stage.AIO_WORKER: "#bcbd22",
    Stage.DISK_WAIT: "#ff9896",
    Stage.DISK_SERVICE: "#d62728",
    Stage.COMPLETION_WAIT: "#c5b0d5",
    Stage.COMPLETION: "#9467bd",
    Stage.IRQ_DELIVERY: "#e377c2",
    Stage.CPU_WAIT: "#7f7f7f",
}
_MAX_POINTS = 4000


def draw(result: "Result", folder: Path) -> None:
    """Draw both pictures into *folder*."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    for name, paint in (("latency.png", _latency), ("stages.png", _stages)):
        figure, axes = pyplot.subplots(figsize=(9, 5), dpi=110, layout="constrained")
        paint(result, axes)
        figure.savefig(folder / name)
        pyplot.close(figure)


def _latency(result: "Result", axes: "Axes") -> None:
    """Draw the cumulative distribution of each operation's latency, with percentiles of all marked."""
    table = counted(result.requests)
    if table.empty:
        axes.text(0.5, 0.5, "no request was completed", ha="center", transform=axes.transAxes)
        return
    unit = human_unit(float(table["latency_ns"].median()))
    scale = NS_PER_UNIT[unit]
    names = {"R": "reads", "W": "writes", "F": "flushes"}
    colours = {"R": "#1f77b4", "W": "#d62728", "F": "#2ca02c"}
    for op, name in names.items():
        values = np.sort(table.loc[table["op"] == op, "latency_ns"].to_numpy()) / scale
        if len(values):
            share = np.arange(1, len(values) + 1) / len(values) * 100
            step = max(1, len(values) // _MAX_POINTS)
            keep = np.unique(np.r_[np.arange(0, len(values), step), len(values) - 1])
            axes.step(values[keep], share[keep], where="post", color=colours[op], label=f"{name} ({len(values):,})")
    latency = table["latency_ns"]
    for percentile in MARKED:
        if len(table) * (100 - percentile) < 100:
            continue
        value = float(latency.quantile(percentile / 100)) / scale
        axes.axvline(value, color="#555555", linewidth=0.7, linestyle=":")
        axes.annotate(
            f"p{percentile:g}\n{three_digits(value)} {unit}",
            (value, 1.5),
            fontsize=8,
            color="#333333",
            ha="left",
            va="bottom",
            xytext=(3, 0),
            textcoords="offset points",
        )
    if float(latency.max()) > 5 * float(latency.min()):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda x, _: three_digits(x))
    axes.set_ylim(0, 101)
    axes.set_xlabel(f"latency in the guest ({unit})")
    axes.set_ylabel("requests completed within (%)")
    axes.set_title("Latency of a request, arrival in the guest's block layer to completion")
    axes.grid(alpha=0.25)
    axes.legend(loc="center right")


def _stages(result: "Result", axes: "Axes") -> None:
    """Draw the mean time of each stage as a bar, in the order of the path, with its share."""
    table = counted(result.requests)
    if table.empty:
        axes.text(0.5, 0.5, "no request was completed", ha="center", transform=axes.transAxes)
        return
    means = {stage: float(table[f"{stage.label}_ns"].mean()) for stage in Stage}
    shown = [stage for stage in Stage if means[stage] > 0]
    total = sum(means.values())
    unit = human_unit(max(means.values()))
    values = [means[stage] / NS_PER_UNIT[unit] for stage in shown]
    axes.barh(range(len(shown)), values, color=[COLOURS[stage] for stage in shown])
    axes.set_yticks(range(len(shown)), [stage.label for stage in shown])
    axes.invert_yaxis()
    for row, (stage, value) in enumerate(zip(shown, values, strict=True)):
        share = means[stage] / total * 100
        axes.annotate(
            f"{human_time(means[stage])}  {share:.1f} %",
            (value, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xlim(0, max(values) * 1.25)
    axes.set_xlabel(f"mean time per request ({unit})")
    axes.set_title(f"Where the time of a request goes: {human_time(total)} on average, {len(table):,} requests")
    axes.grid(axis="x", alpha=0.25)
