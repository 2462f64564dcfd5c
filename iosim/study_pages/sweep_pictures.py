"""Pictures of a sweep: metrics against what was varied, points beside each other, differences, utilisations."""

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes

from iosim.report.axes import PLAIN, latency_axis
from iosim.report.svg import INK, MUTED, SERIES, Picture, canvas
from iosim.study.points import value_text
from iosim.study.terminal import short_names
from iosim.study_pages.axis import Axis
from iosim.study_pages.quantity import Quantity, quantity

if TYPE_CHECKING:
    from iosim.study_pages.sweep import Sweep

SIZE = (440.0, 250.0)
MOST_ROWS = 40
"""So many points stand beside each other; the table has all."""
_LEAST_FOR_A_FRONT = 4
_MOST_NAMES = 6
_PARETO = ("throughput", "latency_p99")
_CURVES = ("latency_mean", "latency_p99", "throughput")
_NOT_BUSY = r"page_cache|cpu\d+"

Rows = list[dict[str, Any]]


def curves(sweep: "Sweep") -> list[Picture]:
    """Draw each metric against each key that is a quantity: a line with its band for the points that differ in it only.

    Points that have no such neighbour are drawn by themselves.
    """
    found = []
    for number, (key, axis) in enumerate(sweep.axes().items()):
        lines = _lines(sweep, key, axis)
        for metric in _CURVES:
            picture = _curve(sweep, f"curve-{number}-{metric}", metric, axis, lines)
            if picture is not None:
                found.append(picture)
    return found


def _lines(sweep: "Sweep", key: str, axis: Axis) -> list[tuple[str, list[str]]]:
    """Return (name, points in the order of the axis) of each line: the points that agree in all other keys."""
    others = [other for other in sweep.keys if other != key]
    titles = dict(zip(others, short_names(others), strict=True))
    groups: dict[tuple[str, ...], list[str]] = {}
    for point in sweep.points:
        if not np.isnan(axis.values[point]):
            values = tuple(_text(sweep.value(point, other)) for other in others)
            groups.setdefault(values, []).append(point)
    differing = [at for at in range(len(others)) if len({values[at] for values in groups}) > 1]
    named = []
    for values, members in groups.items():
        parts = [f"{titles[others[at]]} {values[at]}" for at in differing]
        named.append((", ".join(parts), sorted(members, key=lambda point: axis.values[point])))
    return named


def _text(value: Any) -> str:
    return "-" if value is None or value != value else value_text(value)


def _curve(
    sweep: "Sweep", name: str, metric: str, axis: Axis, lines: Sequence[tuple[str, list[str]]]
) -> Picture | None:
    rows = {point: row for point in sweep.points if (row := sweep.figures.get(point, metric)) is not None}
    shown = [(title, [point for point in members if point in rows]) for title, members in lines]
    if len({axis.values[point] for _, members in shown for point in members}) < 2:
        return None
    what = quantity(metric, sweep.unit_of(metric), float(np.median([row["estimate"] for row in rows.values()])))
    drawn_lines = [(title, members) for title, members in shown if len({axis.values[p] for p in members}) > 1]
    loose = [point for _, members in shown for point in members] if len(drawn_lines) < 1 else []
    key = []
    with canvas(name, f"{what.label} against {axis.label}", *SIZE) as (_, axes, drawn):
        for (title, members), colour in zip(drawn_lines[: len(SERIES)], SERIES, strict=False):
            _band(axes, axis, [rows[point] for point in members], what, colour)
            key.append((title or what.name, colour))
        for title, members in _by_colour(sweep, loose):
            colour = SERIES[len(key) % len(SERIES)]
            _dots(axes, axis, [rows[point] for point in members], what, colour)
            key.append((title, colour))
        axis.draw(axes)
        drawn_rows = [rows[point] for _, members in shown for point in members]
        ends = np.array([row[end] for row in drawn_rows for end in ("estimate", "low", "high")], dtype=float)
        _scale(axes, metric, ends[np.isfinite(ends)] / what.scale)
        axes.set_ylabel(what.label, parse_math=False)
    note = (
        "Lines join points that differ in nothing else; bands are confidence intervals."
        if drawn_lines
        else "Points that differ in other keys as well; lines are intervals."
    )
    if len(drawn_lines) > len(SERIES):
        note += f" {len(drawn_lines) - len(SERIES)} further lines are left out; the table has all points."
    title = f"{what.name[0].upper()}{what.name[1:]} by {axis.name}"
    return Picture(title, drawn[0], note, key=tuple(key) if len(key) > 1 else ())


def _scale(axes: Axes, metric: str, values: "np.ndarray[Any, Any]") -> None:
    if metric.startswith("latency"):
        latency_axis(axes, "y", values[values > 0])
    else:
        axes.set_ylim(0, float(values.max(initial=0)) * 1.08 or 1)
        axes.yaxis.set_major_formatter(PLAIN)


def _band(axes: Axes, axis: Axis, rows: Rows, what: Quantity, colour: str) -> None:
    at = [axis.values[row["point"]] for row in rows]
    middle, low, high = (np.array([row[end] for row in rows]) / what.scale for end in ("estimate", "low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    if known.any():
        axes.fill_between(at, low, high, where=known, color=colour, alpha=0.22, linewidth=0)
    axes.plot(at, middle, color=colour, marker=".", markersize=5)


def _by_colour(sweep: "Sweep", loose: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return *loose* points in groups of a colour each: by the first key that is no quantity, if it is coarse."""
    for key in (key for key in sweep.keys if key not in sweep.axes()):
        groups: dict[str, list[str]] = {}
        for point in loose:
            groups.setdefault(f"{sweep.titles[key]} {_text(sweep.value(point, key))}", []).append(point)
        if 1 < len(groups) <= len(SERIES):
            return list(groups.items())
    return [("", list(loose))] if loose else []


def _dots(axes: Axes, axis: Axis, rows: Rows, what: Quantity, colour: str) -> None:
    for row in rows:
        at = axis.values[row["point"]]
        axes.plot([at, at], np.array([row["low"], row["high"]]) / what.scale, color=MUTED, linewidth=1)
        axes.plot([at], [row["estimate"] / what.scale], color=colour, marker="o", markersize=4)


def pareto(sweep: "Sweep") -> Picture | None:
    """Draw p99 against throughput, those points joined that no other one beats in both; None for few."""
    figures = sweep.figures
    known = [
        (float(rate["estimate"]), float(tail["estimate"]), point)
        for point in sweep.points
        if (rate := figures.get(point, "throughput")) and (tail := figures.get(point, "latency_p99"))
    ]
    if len(known) < _LEAST_FOR_A_FRONT:
        return None
    front = not_beaten(known)
    if len(front) < 2:
        return None
    middle = known[len(known) // 2]
    load, price = (quantity(m, sweep.unit_of(m), about) for m, about in zip(_PARETO, middle[:2], strict=True))
    with canvas("pareto", f"{price.label} against {load.label}", *SIZE) as (_, axes, drawn):
        beaten = [(x, y) for x, y, point in known if point not in {point for _, _, point in front}]
        axes.plot([x for x, _ in beaten], [y / price.scale for _, y in beaten], "o", color=MUTED, markersize=4)
        axes.plot(
            [x for x, _, _ in front], [y / price.scale for _, y, _ in front], color=SERIES[0], marker="o", markersize=5
        )
        latency_axis(axes, "y", np.array([y for _, y, _ in known]) / price.scale)
        axes.set_xlim(0, max(x for x, _, _ in known) * 1.06)
        axes.xaxis.set_major_formatter(PLAIN)
        axes.set_xlabel(load.label, parse_math=False)
        axes.set_ylabel(price.label, parse_math=False)
    names = ", ".join(sweep.title(point) for _, _, point in front[:_MOST_NAMES])
    more = f" and {len(front) - _MOST_NAMES} more" if len(front) > _MOST_NAMES else ""
    note = (
        f"Joined: no other point has more throughput and a lower p99 ({names}{more}). By estimates, without intervals."
    )
    return Picture("P99 and throughput", drawn[0], note)


def not_beaten(known: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Return those of *known*, (gain, price, name), than which no other has more gain for no higher price.

    They come by rising gain.
    """
    front: list[tuple[float, float, str]] = []
    for gain, price, name in sorted(known, key=lambda one: (-one[0], one[1])):
        if not front or price < front[-1][1]:
            front.append((gain, price, name))
    return front[::-1]


def dots(sweep: "Sweep") -> list[Picture]:
    """Draw mean latency and p99 of each point beside each other, where they are few enough to be read."""
    if len(sweep.points) > MOST_ROWS:
        return []
    found = []
    for metric in ("latency_mean", "latency_p99"):
        rows = [row for point in sweep.points if (row := sweep.figures.get(point, metric)) is not None]
        if len(rows) > 1:
            what = quantity(metric, sweep.unit_of(metric), float(np.median([row["estimate"] for row in rows])))
            found.append(_dot_plot(f"dots-{metric}", sweep, rows, what))
    return found


def _dot_plot(name: str, sweep: "Sweep", rows: Rows, what: Quantity) -> Picture:
    with canvas(name, f"{what.label} of each point", 440, 60 + 20 * len(rows)) as (_, axes, drawn):
        for place, row in enumerate(rows):
            colour = INK if row["point"] == sweep.reference else SERIES[0]
            ends = np.array([row["low"], row["high"]]) / what.scale
            if np.isfinite(ends).all():
                axes.plot(ends, [place, place], color=colour, linewidth=1.6, marker="|", markersize=6)
            axes.plot([row["estimate"] / what.scale], [place], color=colour, marker="o", markersize=4.5)
        _rows_axis(axes, [sweep.title(str(row["point"])) for row in rows])
        values = np.array([row[end] for row in rows for end in ("estimate", "low", "high")], dtype=float)
        values = values[np.isfinite(values)] / what.scale
        if values.max() > 5 * max(values.min(), 1e-12):
            latency_axis(axes, "x", values[values > 0])
        else:
            axes.set_xlim(0, float(values.max()) * 1.06 or 1)
            axes.xaxis.set_major_formatter(PLAIN)
        axes.set_xlabel(what.label, parse_math=False)
    return Picture(f"{what.name[0].upper()}{what.name[1:]}", drawn[0], "With confidence intervals.")


def _rows_axis(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(
        range(len(names)), [name if len(name) <= 28 else f"{name[:27]}…" for name in names], parse_math=False
    )
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def differences(sweep: "Sweep") -> list[Picture]:
    """Draw by how much the latency of each point is above that of the reference, with its interval."""
    found = []
    for metric in ("latency_mean", "latency_p99"):
        rows = [
            row
            for point in sweep.points
            if point != sweep.reference and (row := sweep.figures.get(point, metric)) is not None and row["pairs"]
        ]
        if rows and len(rows) <= MOST_ROWS and any(row["difference"] for row in rows):
            middle = float(np.median([abs(row["difference"]) for row in rows if row["difference"]]))
            found.append(
                _difference_bars(f"differences-{metric}", sweep, rows, quantity(metric, sweep.unit_of(metric), middle))
            )
    return found


def _difference_bars(name: str, sweep: "Sweep", rows: Rows, what: Quantity) -> Picture:
    bounds = [0.0]
    with canvas(name, f"Differences of {what.label}", 440, 60 + 20 * len(rows)) as (_, axes, drawn):
        for place, row in enumerate(rows):
            value = row["difference"] / what.scale
            ends = np.array([row["difference_low"], row["difference_high"]]) / what.scale
            sure = bool(np.isfinite(ends).all())
            axes.barh(place, value, 0.6, color=SERIES[1] if value > 0 else SERIES[2], alpha=1.0 if sure else 0.4)
            bounds.append(value)
            if sure:
                axes.plot(ends, [place, place], color=INK, linewidth=1.3, marker="|", markersize=6)
                bounds += ends.tolist()
        axes.axvline(0, color=MUTED, linewidth=0.9)
        _rows_axis(axes, [sweep.title(str(row["point"])) for row in rows])
        room = 0.04 * (max(bounds) - min(bounds)) or 1
        axes.set_xlim(min(bounds) - room * (min(bounds) < 0), max(bounds) + room * (max(bounds) > 0))
        axes.xaxis.set_major_formatter(PLAIN)
        axes.set_xlabel(f"difference ({what.unit})" if what.unit else "difference", parse_math=False)
    return Picture(f"{what.name[0].upper()}{what.name[1:]}: differences", drawn[0])


def busy(sweep: "Sweep") -> list[Picture]:
    """Draw how busy the busiest resources are against each key that is a quantity, along its first lines."""
    rows = sweep.summary[(sweep.summary["metric"] == "utilisation_max") & ~sweep.summary["of"].str.fullmatch(_NOT_BUSY)]
    found = []
    for number, (key, axis) in enumerate(sweep.axes().items()):
        lines = [(title, members) for title, members in _lines(sweep, key, axis) if len(members) > 1]
        for at, (title, members) in enumerate(lines[:4]):
            mine = rows[rows["point"].isin(members)]
            top = mine.groupby("of")["estimate"].max().sort_values(ascending=False, kind="stable")
            chosen = [str(of) for of in top.head(len(SERIES)).index if top[of] > 0]
            if chosen:
                values = mine.set_index(["of", "point"])["estimate"]
                found.append(_busy(f"busy-{number}-{at}", title, axis, members, chosen, values.to_dict()))
    return found


def _busy(
    name: str, title: str, axis: Axis, members: Sequence[str], chosen: Sequence[str], values: dict[Any, float]
) -> Picture:
    highest = max(values.values())
    with canvas(name, f"Utilisation against {axis.label}", *SIZE) as (_, axes, drawn):
        for of, colour in zip(chosen, cycle(SERIES), strict=False):
            points = [point for point in members if (of, point) in values]
            at = [axis.values[point] for point in points]
            axes.plot(at, [100 * values[of, point] for point in points], color=colour, marker=".", markersize=5)
        axis.draw(axes)
        axes.set_ylim(0, 102 if highest > 0.5 else max(100 * highest * 1.1, 0.1))
        if highest > 0.5:
            axes.axhline(100, color=MUTED, linewidth=0.8, linestyle=":")
        axes.yaxis.set_major_formatter(PLAIN)
        axes.set_ylabel("busy (%)", parse_math=False)
    return Picture(f"Utilisation by {axis.name}", drawn[0], about=title, key=tuple(zip(chosen, SERIES, strict=False)))
