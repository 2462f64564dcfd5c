"""A curve in a picture: bounds, estimate and measured points over the number of VMs, in one pair of axes."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from matplotlib.ticker import MaxNLocator

from iosim.analytic.curve import Curve, Measured, Point
from iosim.model.units import NS_PER_UNIT, human_unit, three_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Quantity = Literal["throughput", "response"]
"""Throughput of all requests, or their mean response time."""

_BOUND, _ESTIMATE, _RUN, _KNEE = "#444444", "#0072b2", "#d55e00", "#7f7f7f"
_LOGARITHMIC_FROM = 30
"""Ratio of the largest to the smallest time from which on the axis of response times is logarithmic."""


def draw(axes: "Axes", curve: Curve, quantity: Quantity, measured: Sequence[Measured] = ()) -> None:
    """Draw a quantity of a curve: what no run can reach is shaded, the estimate is a dashed line.

    *measured* are dots, with bars where they have an interval. The number of VMs from which on the first shared
    resource has no time left is marked. The estimate ends where requests come faster than they can be served.
    """
    upwards = quantity == "throughput"
    scale, unit = _scale(curve, quantity, measured)
    bound = [(vms, (per_s if upwards else ns) / scale) for vms, per_s, ns in curve.bound_line]
    expected = [(point.vms, value / scale) for point in curve.points if (value := _estimated(point, quantity))]
    runs = [(run.vms, (run.throughput_per_s if upwards else run.response_ns) / scale) for run in measured]
    bars = [
        (vms, value, interval[0] / scale, interval[1] / scale)
        for (vms, value), run in zip(runs, measured, strict=True)
        if (interval := run.throughput_interval if upwards else run.response_interval) is not None
    ]

    axes.plot(*_columns(bound), color=_BOUND, linewidth=1.6, label=f"bound: not {'above' if upwards else 'below'}")
    if expected:
        axes.plot(*_columns(expected), "--", color=_ESTIMATE, linewidth=1.6, label=f"estimate: {curve.method}")
    if runs:
        axes.plot(*_columns(runs), "o", color=_RUN, markersize=5, zorder=3, label="simulated")
    for vms, value, low, high in bars:
        axes.errorbar(vms, value, yerr=[[value - low], [high - value]], fmt="none", color=_RUN, capsize=3, zorder=3)

    ends = [end for _, _, low, high in bars for end in (low, high)]
    _limit(axes, upwards, [value for _, value in [*bound, *expected, *runs]] + ends)
    low, high = axes.get_ylim()
    axes.fill_between(*_columns(bound), high if upwards else low, color=_BOUND, alpha=0.08, linewidth=0)
    axes.set_ylim(low, high)
    _mark_knee(axes, curve)
    axes.set_xlabel(f"VMs ({curve.vm})")
    axes.set_ylabel(f"throughput (requests/{unit})" if upwards else f"mean response time ({unit})")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.grid(alpha=0.25)
    axes.legend(loc="best", framealpha=0.9, fontsize=9)


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _scale(curve: Curve, quantity: Quantity, measured: Sequence[Measured]) -> tuple[float, str]:
    """Return by what values are divided, and the unit they are in then."""
    if quantity == "throughput":
        return 1.0, "s"
    unit = human_unit(max([ns for _, _, ns in curve.bound_line] + [run.response_ns for run in measured]))
    return float(NS_PER_UNIT[unit]), unit


def _estimated(point: Point, quantity: Quantity) -> float | None:
    """Return the estimate of a point, None beyond saturation."""
    if quantity == "throughput":
        return point.estimate.throughput_per_s
    return point.estimate.response_ns if math.isfinite(point.estimate.response_ns) else None


def _limit(axes: "Axes", upwards: bool, values: Sequence[float]) -> None:
    """Leave room around what is drawn; times that differ much get a logarithmic axis, all others begin at 0."""
    least, most = min(values), max(values)
    if not upwards and 0 < least * _LOGARITHMIC_FROM < most:
        axes.set_yscale("log")
        axes.set_ylim(least / 1.6, most * 1.6)
    else:
        axes.set_ylim(0, most * 1.12)


def _mark_knee(axes: "Axes", curve: Curve) -> None:
    """Mark where the first shared resource saturates, if that lies within the picture."""
    if curve.saturation is not None:
        name, at = curve.saturation
        if curve.points[0].vms <= at <= curve.points[-1].vms:
            label = f"{name} saturates at {three_digits(at)} VMs"
            axes.axvline(at, color=_KNEE, linestyle=":", linewidth=1.2, label=label)
