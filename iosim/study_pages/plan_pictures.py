"""Pictures of a plan's page: metrics over the knob with targets, bounds and estimate; the ranking; the cost front."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from iosim.plan.answers import Answered
from iosim.plan.pictures import config_text, knob_scale
from iosim.report.axes import PLAIN, latency_axis
from iosim.report.svg import INK, MUTED, SERIES, Picture, canvas
from iosim.study_pages.quantity import Quantity, quantity

SIZE = (440.0, 270.0)
_LINE, _FAILS, _MEETS, _ESTIMATE, _LIMIT = SERIES
_MARKS = {"meets": (_MEETS, "o"), "undecided": (MUTED, "D"), "fails": (_FAILS, "X")}
_WORST_FIRST = ("fails", "undecided", "meets")
_THEORY = {"latency_mean": ("bound_ns", "estimate_ns"), "throughput": ("bound_per_s", "estimate_per_s")}


def panels(found: Answered) -> list[Picture]:
    """Draw each metric of a target, mean latency and throughput over the knob."""
    values = found.tables["values"]
    targets = values[values["target"] != ""]
    wanted = [(str(metric), str(of)) for metric, of in zip(targets["metric"], targets["of"], strict=True)]
    wanted += [("latency_mean", ""), ("throughput", "")]
    drawn = [_panel(found, number, *one) for number, one in enumerate(dict.fromkeys(wanted))]
    return [picture for picture in drawn if picture is not None]


def _panel(found: Answered, number: int, metric: str, of: str) -> Picture | None:
    values = found.tables["values"]
    rows = values[(values["search"] == "base") & (values["metric"] == metric) & (values["of"] == of)]
    if rows.empty:
        return None
    rows = rows.sort_values("value", kind="stable")
    goals = [float(goal) for goal in rows.drop_duplicates("target")["goal"].dropna()]
    middle = float(np.median([*rows["estimate"], *goals]))
    what = quantity(metric, str(rows["unit"].iloc[0]), middle, of)
    key = [("simulated", _LINE)]
    with canvas(f"plan-{number}", f"{what.label} over {found.facts['knob']['key']}", *SIZE) as (_, axes, drawn):
        shown = _simulated(axes, found, rows, what)
        extremes = [*shown, *goals]
        for goal in goals:
            axes.axhline(goal / what.scale, color=_FAILS, linestyle=(0, (6, 3)), linewidth=1.2)
        key += [("target", _FAILS)] if goals else []
        theory = None if of else _theory(found.tables["analysis"], metric)
        if theory is not None:
            bounds = theory["bound"].dropna().tolist()
            extremes += bounds
            key += [("bound", INK)] if bounds else []
            key += [("estimate (MVA)", _ESTIMATE)] if theory["estimate"].notna().any() else []
        _scale(axes, metric, np.array(extremes, dtype=float) / what.scale)
        if theory is not None:
            _draw_theory(axes, found, theory, what, upwards=metric == "throughput")
        key += _mark_limit(axes, found)
        _knob_axis(axes, found)
        axes.set_ylabel(what.label, parse_math=False)
    return Picture(f"{what.name[0].upper()}{what.name[1:]}", drawn[0], key=tuple(key))


def _simulated(axes: Axes, found: Answered, rows: pd.DataFrame, what: Quantity) -> list[float]:
    """Draw line, band, and a mark for each verdict; return the values drawn, in the metric's own unit."""
    by = knob_scale(found).by
    once = rows.drop_duplicates("value")
    at = once["value"].to_numpy(dtype=float) / by
    middle, low, high = (once[name].to_numpy(dtype=float) for name in ("estimate", "low", "high"))
    axes.plot(at, middle / what.scale, color=_LINE)
    axes.fill_between(at, low / what.scale, high / what.scale, color=_LINE, alpha=0.22, linewidth=0)
    worst = {
        value: next((one for one in _WORST_FIRST if (own["verdict"] == one).any()), "")
        for value, own in rows.groupby("value", sort=False)
    }
    for value, y in zip(once["value"], middle / what.scale, strict=True):
        colour, mark = _MARKS.get(worst[value], (_LINE, "."))
        axes.plot([value / by], [y], mark, color=colour, markersize=6 if worst[value] else 5)
    every = np.concatenate([middle, low, high])
    finite: list[float] = every[np.isfinite(every)].tolist()
    return finite


def _theory(analysis: pd.DataFrame, metric: str) -> pd.DataFrame | None:
    """Return columns value, bound and estimate of what the analysis knows of *metric*; None if nothing."""
    if metric not in _THEORY or analysis.empty:
        return None
    bound, estimate = _THEORY[metric]
    return pd.DataFrame({"value": analysis["value"], "bound": analysis[bound], "estimate": analysis[estimate]})


def _draw_theory(axes: Axes, found: Answered, theory: pd.DataFrame, what: Quantity, upwards: bool) -> None:
    """Shade what no run can reach, and draw the estimate dashed where it is in the picture."""
    by = knob_scale(found).by
    at, bound = theory["value"].to_numpy(dtype=float) / by, theory["bound"].to_numpy(dtype=float) / what.scale
    bottom, top = axes.get_ylim()
    axes.plot(at, bound, color=INK, linewidth=1.2)
    axes.fill_between(at, bound, top if upwards else bottom, color=INK, alpha=0.07, linewidth=0)
    known = theory.dropna(subset=["estimate"])
    values = known["estimate"].to_numpy(dtype=float) / what.scale
    axes.plot(known["value"].to_numpy(dtype=float) / by, values, "--", color=_ESTIMATE, linewidth=1.3)
    axes.set_ylim(bottom, top)


def _scale(axes: Axes, metric: str, values: "np.ndarray[Any, np.dtype[np.float64]]") -> None:
    if metric.startswith("latency"):
        latency_axis(axes, "y", values[values > 0])
        return
    axes.set_ylim(0, float(values.max(initial=0)) * 1.08 or 1)
    axes.yaxis.set_major_formatter(PLAIN)


def _mark_limit(axes: Axes, found: Answered) -> list[tuple[str, str]]:
    """Shade what lies between the last value that meets the targets and the first that fails; mark the saturation."""
    by = knob_scale(found).by
    answer, saturation = found.facts["answers"][0], found.facts["analysis"]["saturation"]
    meets, fails = (None if answer[name] is None else answer[name]["value"] / by for name in ("meets", "fails"))
    key = []
    if meets is not None and fails is not None:
        axes.axvspan(min(meets, fails), max(meets, fails), color=_LIMIT, alpha=0.3, linewidth=0)
        key.append(("limit", _LIMIT))
    elif (alone := fails if meets is None else meets) is not None:
        axes.axvline(alone, color=_LIMIT, linewidth=2)
        key.append(("limit", _LIMIT))
    if saturation is not None:
        axes.axvline(saturation["value"] / by, color=MUTED, linestyle=":", linewidth=1.4)
        key.append((f"{saturation['resource']} saturates (analysis)", MUTED))
    return key


def _knob_axis(axes: Axes, found: Answered) -> None:
    knob, scale = found.facts["knob"], knob_scale(found)
    if knob["scale"] == "log":
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(PLAIN)
    axes.set_xlabel(f"{knob['key']} ({scale.unit})" if scale.unit else str(knob["key"]), parse_math=False)


def ranking(found: Answered) -> Picture | None:
    """Draw by how much each change moves the limit; the line is what is possible, given what is undecided."""
    scale, rows = knob_scale(found), found.tables["ranking"].to_dict("records")
    known = [row for row in rows if not pd.isna(row["moved"])]
    if not known:
        return None
    bounds = [0.0]
    with canvas("plan-ranking", "By how much each change moves the limit", 900, 58 + 26 * len(rows)) as (
        _,
        axes,
        drawn,
    ):
        for place, row in enumerate(rows):
            moved, low, high = (
                None if pd.isna(row[name]) else row[name] / scale.by for name in ("moved", "moved_low", "moved_high")
            )
            if moved is None:
                continue
            axes.barh(place, moved, 0.6, color=_MEETS if moved >= 0 else _FAILS)
            ends = [moved if low is None else low, moved if high is None else high]
            if ends[0] != ends[1]:
                axes.plot(ends, [place, place], color=INK, linewidth=1.3, marker="|", markersize=6)
            bounds += [moved, *ends]
        axes.axvline(0, color=MUTED, linewidth=0.9)
        _rows(axes, [str(row["change"]) for row in rows])
        room = 0.05 * (max(bounds) - min(bounds)) or 1.0
        axes.set_xlim(min(bounds) - room * (min(bounds) < 0), max(bounds) + room)
        axes.xaxis.set_major_formatter(PLAIN)
        axes.set_xlabel(f"limit moved ({scale.unit})" if scale.unit else "limit moved", parse_math=False)
    return Picture(
        f"{found.facts['knob']['key']}: better by", drawn[0], "Lines: what it may be, given what is undecided."
    )


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), list(names), parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def front(found: Answered) -> Picture | None:
    """Draw the cost of the cheapest configuration for each load; those joined carry the most for their cost."""
    scale, unit = knob_scale(found), found.facts["costs"]["unit"]
    table = found.tables["front"]
    rows = [row for row in table.to_dict("records") if not pd.isna(row["cost"])]
    if not rows:
        return None
    best = [row for row in rows if row["pareto"] is True or row["pareto"] == 1]
    with canvas("plan-front", "The cheapest configuration for each load", 900, 320) as (_, axes, drawn):
        axes.plot(
            [row["load"] / scale.by for row in rows], [row["cost"] for row in rows], "o", color=MUTED, markersize=5
        )
        axes.plot([row["load"] / scale.by for row in best], [row["cost"] for row in best], color=_LINE, marker="o")
        maybe = [row for row in rows if not pd.isna(row["perhaps"])]
        axes.plot([row["load"] / scale.by for row in maybe], [row["perhaps"] for row in maybe], "D", color=_LIMIT)
        before = ""
        for row in rows:
            text = config_text(table, row)
            if text != before:
                place = (row["load"] / scale.by, row["cost"])
                axes.annotate(text, place, xytext=(5, -12), textcoords="offset points", fontsize=9, parse_math=False)
            before = text
        axes.set_ylim(0, max(row["cost"] for row in rows) * 1.12 or 1)
        axes.margins(x=0.12)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PLAIN)
        key = str(found.facts["knob"]["key"])
        axes.set_xlabel(f"{key} ({scale.unit})" if scale.unit else key, parse_math=False)
        axes.set_ylabel(f"cost ({unit})" if unit else "cost", parse_math=False)
    note = "Joined: no other load is higher at the same cost." + (" Diamonds: perhaps." if maybe else "")
    return Picture("The cheapest configuration for each load", drawn[0], note)
