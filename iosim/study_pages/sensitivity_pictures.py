"""Pictures of a sensitivity study: bars to both ends of each range, and Sobol indices."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from iosim.report.axes import PLAIN
from iosim.report.svg import INK, MUTED, SERIES, Picture, canvas
from iosim.study_pages.quantity import quantity

MOST_BARS = 20
_ASSUMED, _OTHER = SERIES[1], SERIES[0]
_KEY = (("assumed", _ASSUMED), ("with a source", _OTHER))


def _colour(assumed: bool) -> str:
    return _ASSUMED if assumed else _OTHER


def _names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(
        range(len(names)), [name if len(name) <= 34 else f"{name[:33]}…" for name in names], parse_math=False
    )
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def tornado(name: str, rows: pd.DataFrame) -> Picture | None:
    """Draw the largest swings of one metric, to the low end pale, to the high end dark; None if nothing moves it."""
    shown = rows[rows["swing"] != 0].head(MOST_BARS).to_dict("records")
    if not shown:
        return None
    what = quantity(str(shown[0]["metric"]), str(shown[0]["unit"]), float(shown[0]["base"]))
    bounds = [0.0]
    with canvas(name, f"Swings of {what.name}", 900, 64 + 22 * len(shown)) as (_, axes, drawn):
        for place, row in enumerate(shown):
            for end, alpha in (("at_low", 0.45), ("at_high", 1.0)):
                value = row[end] / what.scale
                ends = np.array([row[f"{end}_low"], row[f"{end}_high"]]) / what.scale
                axes.barh(place, value, 0.62, color=_colour(row["assumed"]), alpha=alpha)
                bounds.append(value)
                if np.isfinite(ends).all() and ends[0] < ends[1]:
                    axes.plot(ends, [place, place], color=INK, linewidth=1.2, marker="|", markersize=6)
                    bounds += ends.tolist()
        axes.axvline(0, color=MUTED, linewidth=0.9)
        _names(axes, [str(row["factor"]) for row in shown])
        room = 0.03 * (max(bounds) - min(bounds)) or 1.0
        axes.set_xlim(min(bounds) - room * (min(bounds) < 0), max(bounds) + room * (max(bounds) > 0))
        axes.xaxis.set_major_formatter(PLAIN)
        base = f"{shown[0]['base'] / what.scale:,.4g} {what.unit}".strip()
        unit = f" ({what.unit})" if what.unit else ""
        axes.set_xlabel(f"difference{unit} from {base}", parse_math=False)
    left = len(rows) - len(shown)
    note = "Pale: at the low end of the range, dark: at the high end; lines are confidence intervals."
    note += f" The {left} others move less; the table has all." if left else ""
    return Picture(f"{what.name[0].upper()}{what.name[1:]}", drawn[0], note, key=_KEY)


def sobol(name: str, metric: str, rows: pd.DataFrame) -> Picture:
    """Draw the indices of one metric: by itself dark, together with others pale."""
    shown = rows.sort_values("total", ascending=False, kind="stable").to_dict("records")
    title = quantity(metric, "", 1).name
    bounds = [0.0]
    with canvas(name, f"Sobol indices of {title}", 440, 64 + 34 * len(shown)) as (_, axes, drawn):
        for place, row in enumerate(shown):
            for kind, at, alpha in (("first", place - 0.19, 1.0), ("total", place + 0.19, 0.45)):
                axes.barh(at, 100 * row[kind], 0.36, color=_colour(row["assumed"]), alpha=alpha)
                ends = [100 * row[f"{kind}_low"], 100 * row[f"{kind}_high"]]
                axes.plot(ends, [at, at], color=INK, linewidth=1.2, marker="|", markersize=5)
                bounds += [100 * row[kind], *ends]
        axes.axvline(0, color=MUTED, linewidth=0.9)
        _names(axes, [str(row["factor"]) for row in shown])
        axes.set_xlim(min(0, min(bounds)) * 1.04, max(bounds) * 1.04)
        axes.xaxis.set_major_formatter(PLAIN)
        axes.set_xlabel("of the variance (%)", parse_math=False)
    note = "Dark: by itself (first-order index), pale: together with others (total index), with bootstrap intervals."
    return Picture(f"{title[0].upper()}{title[1:]}", drawn[0], note, key=_KEY)
