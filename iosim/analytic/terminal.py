"""A curve as a table for the terminal."""

import math
from collections.abc import Sequence

from rich.table import Table

from iosim.analytic.curve import Curve, Measured
from iosim.model.units import NS_PER_UNIT, human_unit, three_digits
from iosim.results.terminal import empty_table


def curve_table(curve: Curve, measured: Sequence[Measured] = ()) -> Table:
    """Return bounds, estimate and measured values side by side, with how far the estimate is off.

    The estimated response time is compared with the measured one. A value that is not there is "-".
    """
    runs = {run.vms: run for run in measured}
    unit = human_unit(max(point.bounds.response_ns for point in curve.points))
    names = ("VMs", "bound", "estimate", "simulated", f"bound ({unit})", "estimate", "simulated", "off", "limit")
    grid = empty_table(f"Throughput (requests/s) and mean response time ({unit})", ("limit",), names, gap=2)
    for point in curve.points:
        run = runs.get(point.vms)
        expected_ns = point.estimate.response_ns
        grid.add_row(
            f"{point.vms:,}",
            three_digits(point.bounds.throughput_per_s),
            "-" if point.estimate.throughput_per_s is None else three_digits(point.estimate.throughput_per_s),
            "-" if run is None else three_digits(run.throughput_per_s),
            *(
                "-" if ns is None or not math.isfinite(ns) else three_digits(ns / NS_PER_UNIT[unit])
                for ns in (point.bounds.response_ns, expected_ns, None if run is None else run.response_ns)
            ),
            "-"
            if run is None or not math.isfinite(expected_ns)
            else f"{round(100 * (expected_ns / run.response_ns - 1)):+d}%",
            point.bounds.limit,
        )
    if curve.saturation is not None:
        name, at = curve.saturation
        grid.caption = f"{name} saturates at {three_digits(at)} VMs; the estimate is {curve.method}"
        grid.caption_justify = "left"
    return grid
