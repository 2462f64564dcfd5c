"""Tables of a sweep's page: every point, every difference, what is busy, where the warm-up was cut."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from iosim.model.units import human_time, three_digits
from iosim.report.table import Cell, Column, Table
from iosim.results.wording import percent
from iosim.study.points import value_text
from iosim.study.terminal import relative, signed, with_interval
from iosim.study_pages.quantity import Quantity, quantity

if TYPE_CHECKING:
    from iosim.study_pages.sweep import Sweep

MOST_POINTS = 1000
MOST_RESOURCES = 12
_TALL = 24
_UNKNOWN = Cell("-", "")
_LATENCIES = ("latency_mean", "latency_p50", "latency_p99", "latency_p99.9")


def points(sweep: "Sweep") -> Table:
    """Return a row for each point: its keys, latencies with intervals, throughput, the change, the busiest resource."""
    figures = sweep.figures
    middle = float(np.median([figures.value(point, "latency_mean") for point in sweep.points]))
    what = quantity("latency_mean", "ns", middle)
    latencies = [name for name in _LATENCIES if any(figures.get(point, name) is not None for point in sweep.points)]
    table = Table(
        [
            Column("point", number=False, code=True),
            *(Column(sweep.titles[key], number=key in sweep.axes(), help=key) for key in sweep.keys),
            Column("runs"),
            *(Column(f"{name.removeprefix('latency_')} ({what.unit})") for name in latencies),
            Column("req/s"),
            Column("mean, change", help=f"from {sweep.reference}, pair by pair"),
            Column("busiest", number=False, code=True),
            Column("busy"),
        ],
        label="Points",
        sorts=True,
        tall=len(sweep.points) > _TALL,
    )
    for point in sweep.points[:MOST_POINTS]:
        resource, busy = figures.busiest[point]
        table.add(
            Cell(point),
            *(_key(sweep, point, key) for key in sweep.keys),
            Cell(f"{figures.replications[point]:,}", figures.replications[point]),
            *(_estimate(figures.get(point, name), what) for name in latencies),
            _rate(figures.get(point, "throughput")),
            _change(sweep, point),
            str(resource),
            Cell(percent(busy), busy),
        )
    if len(sweep.points) > MOST_POINTS:
        table.note = f"And {len(sweep.points) - MOST_POINTS:,} more in summary.parquet."
    return table


def _key(sweep: "Sweep", point: str, key: str) -> Cell:
    value = sweep.value(point, key)
    if pd.isna(value):
        return _UNKNOWN
    axis = sweep.axes().get(key)
    return Cell(value_text(value), None if axis is None else axis.values[point])


def _estimate(row: dict[str, Any] | None, what: Quantity) -> Cell:
    return _UNKNOWN if row is None else Cell(with_interval(row, what.scale), float(row["estimate"]))


def _rate(row: dict[str, Any] | None) -> Cell:
    return _UNKNOWN if row is None else Cell(three_digits(row["estimate"]), float(row["estimate"]))


def _change(sweep: "Sweep", point: str) -> Cell:
    row = sweep.figures.get(point, "latency_mean")
    text = relative(sweep.figures, point, sweep.reference, "latency_mean")
    if row is None or not text or text == "-":
        return Cell(text or "", "")
    return Cell(text, float(row["difference"]))


def differences(sweep: "Sweep") -> Table | None:
    """Return the differences of the latencies from the reference, and whether they are more than chance."""
    names = [name for name in _LATENCIES if any(sweep.figures.get(point, name) is not None for point in sweep.points)]
    rows = {
        (point, name): row
        for point in sweep.points
        for name in names
        if point != sweep.reference and (row := sweep.figures.get(point, name)) is not None and row["pairs"]
    }
    if not rows:
        return None
    middle = float(np.median([abs(row["difference"]) for row in rows.values()])) or 1.0
    what = quantity("latency_mean", "ns", middle)
    table = Table(
        [
            Column("point", number=False, code=True),
            *(Column(f"{name.removeprefix('latency_')} ({what.unit})") for name in names),
            Column("throughput (1/s)"),
            Column("mean: more than chance?", number=False),
        ],
        label="Differences from the reference",
        sorts=True,
        tall=len(sweep.points) > _TALL,
    )
    for point in sweep.points[:MOST_POINTS]:
        if point == sweep.reference:
            continue
        cells = [_difference(rows.get((point, name)), what.scale) for name in names]
        throughput = _difference(sweep.figures.get(point, "throughput"), 1.0)
        table.add(Cell(point), *cells, throughput, _verdict(rows.get((point, "latency_mean"))))
    return table


def _difference(row: dict[str, Any] | None, scale: float) -> Cell:
    if row is None or not row["pairs"]:
        return _UNKNOWN
    half = (row["difference_high"] - row["difference_low"]) / 2 / scale
    return Cell(signed(row["difference"] / scale, half), float(row["difference"]))


def _verdict(row: dict[str, Any] | None) -> Cell:
    if row is None or np.isnan(row["difference_low"]):
        return Cell("not known")
    if row["difference_low"] <= 0 <= row["difference_high"]:
        return Cell("no")
    return Cell("slower" if row["difference"] > 0 else "quicker")


def resources(sweep: "Sweep") -> Table | None:
    """Return the utilisation of each resource at each point, the busiest resources first."""
    rows = sweep.summary[sweep.summary["metric"] == "utilisation_max"]
    if rows.empty:
        return None
    top = rows.groupby("of")["estimate"].max().sort_values(ascending=False, kind="stable")
    chosen = [str(of) for of in top.index if top[of] > 0][:MOST_RESOURCES]
    values = rows.set_index(["point", "of"])["estimate"].to_dict()
    table = Table(
        [Column("point", number=False, code=True), *(Column(of) for of in chosen)],
        label="Utilisation",
        sorts=True,
        tall=len(sweep.points) > _TALL,
    )
    for point in sweep.points[:MOST_POINTS]:
        cells = [values.get((point, of)) for of in chosen]
        table.add(Cell(point), *(_UNKNOWN if cell is None else Cell(percent(cell), cell) for cell in cells))
    if len(top) > len(chosen):
        table.note = (
            f"The {len(chosen)} busiest of {len(top)} resources; of clones the busiest one, mean over the runs."
        )
    return table


def warmups(sweep: "Sweep") -> Table | None:
    """Return where MSER-5 cut the warm-up of each point; None if it was not asked for."""
    if not any(point["mser5"] for point in sweep.facts["points"]):
        return None
    table = Table(
        [
            Column("point", number=False, code=True),
            Column("warm-up until"),
            Column("requests"),
            Column("of"),
            Column("settled", number=False),
        ],
        label="Warm-up",
        sorts=True,
        tall=len(sweep.points) > _TALL,
    )
    for point in sweep.facts["points"]:
        cut = point["mser5"]
        table.add(
            Cell(str(point["name"])),
            Cell(human_time(cut["until_ns"]), cut["until_ns"]),
            Cell(f"{cut['requests']:,}", cut["requests"]),
            Cell(f"{cut['of']:,}", cut["of"]),
            "yes" if cut["settled"] else "no",
        )
    return table
