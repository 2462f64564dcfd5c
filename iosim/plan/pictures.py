"""The pictures of a plan, drawn from its tables: targets, bounds and estimate over the knob; ranking; cost front."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

from iosim.model.units import BYTES_PER_UNIT, NS_PER_UNIT, human_unit, three_digits
from iosim.plan.answers import Answered
from iosim.study.terminal import short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERDICTS = {"meets": ("#1b7837", "o"), "fails": ("#b2182b", "X"), "undecided": ("#7f7f7f", "D"), "": ("#444444", "o")}
"""Colour and mark of each verdict."""
_BOUND, _ESTIMATE, _BAND, _KNEE, _GOAL = "#444444", "#0072b2", "#d55e00", "#7f7f7f", "#b2182b"
_TITLES = {"latency_mean": "mean latency", "throughput": "throughput", "utilisation": "utilisation"}
_NOT_KEYS = {"load", "outcome", "cost", "perhaps", "pareto"}
_LOGARITHMIC_FROM = 10
"""Ratio of the largest to the smallest value from which on an axis of times is logarithmic."""


class Scale(NamedTuple):
    """By what numbers are divided to be shown, and the unit that they are in then."""

    by: float
    unit: str


def draw_all(found: Answered, folder: Path) -> list[str]:
    """Draw the pictures into *folder* and return their names."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    panels = _panels(found)
    drawn: list[tuple[str, tuple[float, float], int, Callable[[Sequence[Axes]], None]]] = [
        ("limit.png", (9, 3.1 * len(panels)), len(panels), lambda axes: _limit(axes, panels, found))
    ]
    if "ranking" in found.tables:
        ranking = found.tables["ranking"]
        height = 1.7 + 0.5 * len(ranking)
        drawn.append(("ranking.png", (9, height), 1, lambda axes: _ranking(axes[0], ranking, found)))
    if "front" in found.tables:
        drawn.append(("front.png", (9, 5), 1, lambda axes: _front(axes[0], found)))
    for name, size, n, paint in drawn:
        figure, grid = pyplot.subplots(n, 1, figsize=size, dpi=110, layout="constrained", squeeze=False, sharex=True)
        paint([axes for (axes,) in grid])
        figure.savefig(folder / name)
        pyplot.close(figure)
    return [name for name, *_ in drawn]


def knob_scale(found: Answered) -> Scale:
    """Return how values of the knob are shown."""
    kind, high = found.facts["knob"]["kind"], float(found.tables["values"]["value"].max())
    if kind == "time":
        unit = human_unit(high)
        return Scale(NS_PER_UNIT[unit], unit)
    if kind == "size":
        unit = next(name for name, size in reversed(BYTES_PER_UNIT.items()) if high >= size)
        return Scale(BYTES_PER_UNIT[unit], unit)
    return Scale(1, "")


def knob_text(found: Answered, value: float) -> str:
    """Return a value of the knob as people read it."""
    scale = knob_scale(found)
    number = three_digits(value / scale.by) if value % scale.by else f"{value / scale.by:,.0f}"
    return f"{number} {scale.unit}".rstrip()


def _panels(found: Answered) -> list[tuple[str, str]]:
    """Return (metric, of) of each panel: the targets', then mean latency and throughput, to which theory speaks."""
    values = found.tables["values"]
    targets = values[values["target"] != ""]
    wanted = [(str(m), str(of)) for m, of in targets[["metric", "of"]].itertuples(index=False)]
    return list(dict.fromkeys([*wanted, ("latency_mean", ""), ("throughput", "")]))


def _limit(grid: Sequence["Axes"], panels: Sequence[tuple[str, str]], found: Answered) -> None:
    """Draw a panel for each metric over the knob, and the limit through all of them."""
    scale, knob = knob_scale(found), found.facts["knob"]
    answer = found.facts["answers"][0]
    for axes, (metric, of) in zip(grid, panels, strict=True):
        _panel(axes, metric, of, found, scale)
        _mark_limit(axes, answer, scale)
        _mark_saturation(axes, found.facts["analysis"]["saturation"], scale)
        if knob["scale"] == "log":
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.grid(alpha=0.25)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, frameon=False)
    grid[-1].set_xlabel(f"{knob['key']} ({scale.unit})" if scale.unit else str(knob["key"]))


def _panel(axes: "Axes", metric: str, of: str, found: Answered, scale: Scale) -> None:
    values = found.tables["values"]
    rows = values[(values["search"] == "base") & (values["metric"] == metric) & (values["of"] == of)]
    rows = rows.sort_values("value", kind="stable")
    goals = rows.drop_duplicates("target")["goal"].dropna().tolist()
    theory = _theory(found.tables["analysis"], metric) if not of else None
    extremes = [*rows["estimate"].tolist(), *goals]
    y = _y_scale(str(rows["unit"].iloc[0]), extremes)
    once = rows.drop_duplicates("value")
    x = once["value"] / scale.by
    axes.plot(x, once["estimate"] / y.by, color=_BAND, linewidth=1.4, zorder=2, label="simulated")
    axes.fill_between(
        x, once["low"] / y.by, once["high"] / y.by, color=_BAND, alpha=0.25, linewidth=0, label="its interval"
    )
    shown = once.assign(verdict=rows.groupby("value")["verdict"].agg(_joint).reindex(once["value"]).to_numpy())
    for verdict, (colour, mark) in VERDICTS.items():
        own = shown[shown["verdict"] == verdict]
        if len(own):
            label = verdict or None
            axes.plot(
                own["value"] / scale.by, own["estimate"] / y.by, mark, color=colour, markersize=6, zorder=3, label=label
            )
    for goal in goals:
        axes.axhline(goal / y.by, color=_GOAL, linestyle=(0, (6, 3)), linewidth=1.2, label="target")
    _bounds(axes, theory, metric, [*extremes, *once["high"].dropna().tolist()], y, scale)
    name = _TITLES.get(metric, metric.removeprefix("latency_"))
    axes.set_ylabel(f"{name}{f' of {of}' if of else ''}" + (f" ({y.unit})" if y.unit else ""))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _joint(verdicts: "pd.Series[str]") -> str:
    found = set(verdicts)
    return next((verdict for verdict in ("fails", "undecided", "meets") if verdict in found), "")


def _theory(analysis: pd.DataFrame, metric: str) -> pd.DataFrame | None:
    """Return columns value, bound, estimate of what the analysis knows of a metric."""
    columns = {"latency_mean": ("bound_ns", "estimate_ns"), "throughput": ("bound_per_s", "estimate_per_s")}.get(metric)
    if columns is None or analysis.empty:
        return None
    bound, estimate = columns
    return pd.DataFrame({"value": analysis["value"], "bound": analysis[bound], "estimate": analysis[estimate]})


def _y_scale(unit: str, values: Sequence[float]) -> Scale:
    if unit == "ns":
        name = human_unit(float(pd.Series(values).median()))
        return Scale(NS_PER_UNIT[name], name)
    if unit == "share":
        return Scale(0.01, "%")
    return Scale(1, {"1/s": "requests/s", "count": "", "ratio": ""}.get(unit, unit))


def _bounds(axes: "Axes", theory: pd.DataFrame | None, metric: str, drawn: Sequence[float], y: Scale, x: Scale) -> None:
    """Shade what no run can reach, draw the estimate dashed, and leave room for what was simulated."""
    upwards = metric == "throughput"
    every = list(drawn) + ([] if theory is None else theory["bound"].tolist())
    low, high = min((value for value in every if value > 0), default=0.0) / y.by, max(every) / y.by
    if metric.startswith("latency") and 0 < low * _LOGARITHMIC_FROM < high:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low / 1.5, high * 1.5)
    else:
        axes.set_ylim(0, high * 1.1 if high > 0 else 1)
    if theory is None:
        return
    at, bound = theory["value"] / x.by, theory["bound"] / y.by
    side = "above" if upwards else "below"
    axes.plot(at, bound, color=_BOUND, linewidth=1.4, label=f"bound: not {side}")
    bottom, top = axes.get_ylim()
    axes.fill_between(at, bound, top if upwards else bottom, color=_BOUND, alpha=0.08, linewidth=0)
    expected = theory.dropna(subset=["estimate"])
    axes.plot(
        expected["value"] / x.by,
        expected["estimate"].astype(float) / y.by,
        "--",
        color=_ESTIMATE,
        linewidth=1.4,
        label="estimate (MVA)",
    )
    axes.set_ylim(bottom, top)


def _mark_limit(axes: "Axes", answer: dict[str, Any], scale: Scale) -> None:
    """Shade what lies between the last value that surely meets the targets and the first that surely fails."""
    meets, fails = (answer[name] and answer[name]["value"] / scale.by for name in ("meets", "fails"))
    if meets is not None and fails is not None:
        axes.axvspan(min(meets, fails), max(meets, fails), color="#e6ab02", alpha=0.3, linewidth=0, label="limit")
    elif meets is not None or fails is not None:
        axes.axvline(fails if meets is None else meets, color="#e6ab02", linewidth=2, label="limit")


def _mark_saturation(axes: "Axes", saturation: dict[str, Any] | None, scale: Scale) -> None:
    """Mark where, by the analysis, a resource would be busy all the time."""
    if saturation is not None:
        label = f"{saturation['resource']} saturates\n(analysis)"
        axes.axvline(saturation["value"] / scale.by, color=_KNEE, linestyle=":", linewidth=1.4, label=label)


def _ranking(axes: "Axes", ranking: pd.DataFrame, found: Answered) -> None:
    """Draw by how much each change moves the limit, the best at the top, with what is possible."""
    scale = knob_scale(found)
    rows = ranking[::-1].reset_index(drop=True)
    ends = rows[["moved", "moved_low", "moved_high"]].to_numpy(dtype=float, na_value=float("nan")) / scale.by
    known = [0.0, *ends[np.isfinite(ends)].tolist()]
    reach = max(map(abs, known)) or 1.0
    for at, (row, (moved, low, high)) in enumerate(zip(rows.to_dict("records"), ends.tolist(), strict=True)):
        if math.isnan(moved):
            axes.text(0, at, "  no limit within the bounds of the knob", va="center", fontsize=9, color=_KNEE)
            continue
        axes.barh(at, moved, color=VERDICTS["meets" if moved >= 0 else "fails"][0], alpha=0.7, height=0.6)
        low, high = (-1.1 * reach if math.isnan(low) else low), (1.1 * reach if math.isnan(high) else high)
        axes.plot([low, high], [at, at], color="#222222", linewidth=1.3)
        for end, given in ((low, row["moved_low"]), (high, row["moved_high"])):
            axes.plot(end, at, "|" if pd.notna(given) else (">" if end > 0 else "<"), color="#222222", markersize=9)
        limit = f"  limit {knob_text(found, row['meets'])}" + (" or better" if row["outcome"] == "all" else "")
        axes.text(max(high, moved, 0) + 0.01 * reach, at, limit, va="center", fontsize=9)
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_xlim(1.15 * min(known) - 0.03 * reach, 1.35 * reach)
    axes.set_yticks(range(len(rows)), rows["change"])
    better = "higher" if found.facts["answers"][0]["find"] == "largest" else "lower"
    unit = f" ({scale.unit})" if scale.unit else ""
    axes.set_xlabel(f"by how much the limit of {found.facts['knob']['key']} is {better}{unit}")
    axes.grid(alpha=0.25, axis="x")
    axes.set_ylim(-0.6, len(rows) - 0.4)


def _front(axes: "Axes", found: Answered) -> None:
    """Draw every configuration that was tried by load and cost, and the cheapest for each load."""
    scale, unit = knob_scale(found), found.facts["costs"]["unit"]
    costs, front = found.tables["costs"], found.tables["front"]
    joint = costs.groupby(["load", "cost", *config_keys(front)], dropna=False)["verdict"].agg(_joint).reset_index()
    for verdict, text in (("meets", "meets the targets"), ("fails", "fails"), ("undecided", "undecided")):
        own, (colour, mark) = joint[joint["verdict"] == verdict], VERDICTS[verdict]
        if len(own):
            axes.plot(own["load"] / scale.by, own["cost"], mark, color=colour, markersize=6, alpha=0.8, label=text)
    best = front.dropna(subset=["cost"])
    x, y = best["load"] / scale.by, best["cost"].astype(float)
    axes.plot(x, y, color=_ESTIMATE, linewidth=1.4, drawstyle="steps-pre", label="cheapest", zorder=1)
    before = None
    for row in best.to_dict("records"):
        config = config_text(front, row)
        if config != before:
            place = row["load"] / scale.by, row["cost"]
            left = place[0] > (x.min() + x.max()) / 2
            aside: dict[str, Any] = {"xytext": (-7 if left else 7, 6), "ha": "right" if left else "left"}
            axes.annotate(config, place, textcoords="offset points", fontsize=8, **aside)
        before = config
    axes.set_xlabel(f"{found.facts['knob']['key']}" + (f" ({scale.unit})" if scale.unit else ""))
    axes.set_ylabel(f"cost ({unit})" if unit else "cost")
    axes.margins(x=0.1, y=0.1)
    axes.set_ylim(0, None)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", fontsize=9)


def config_keys(front: pd.DataFrame) -> list[str]:
    """Return the keys of the cost table."""
    return [str(name) for name in front.columns if name not in _NOT_KEYS]


def config_text(front: pd.DataFrame, row: Mapping[Any, Any]) -> str:
    """Return a configuration as ``sda.count 2, service 90us``."""
    keys = config_keys(front)
    names = zip(short_names(keys), (row[key] for key in keys), strict=True)
    return ", ".join(
        f"{name} {value:,g}" if isinstance(value, int | float) else f"{name} {value}" for name, value in names
    )
