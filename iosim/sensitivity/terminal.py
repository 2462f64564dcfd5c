"""A sensitivity study on the terminal: bars of the largest swings, Sobol indices, and what to keep in mind."""

from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from iosim.model.units import NS_PER_UNIT, human_unit, three_digits
from iosim.results.terminal import WIDE, bar, fitted
from iosim.results.wording import percent, plural
from iosim.sensitivity.findings import cautions, sentences
from iosim.sensitivity.sensitivity_file import SensitivityStudy
from iosim.study.terminal import signed

MOST_ROWS = 20
"""So many factors are shown; the rest is in the tables."""
_BAR = 16


def show(
    console: Console,
    name: str,
    study: SensitivityStudy,
    bars: pd.DataFrame,
    indices: pd.DataFrame,
    facts: dict[str, Any],
) -> None:
    """Print what was scaled, a table for each metric, and what to keep in mind."""
    blocks: list[Any] = [headline(name, study, facts), Text(" ".join(sentences(bars, indices)))]
    for metric, rows in bars.groupby("metric", sort=False):
        blocks.append(swing_table(str(metric), rows, console))
    if len(indices):
        blocks.append(index_table(indices, console.width))
    if found := cautions(study.model_dump(), bars, indices, facts):
        blocks.append(Text("\n".join(("Keep in mind", *(f"- {line}" for line in found)))))
    console.print(Group(*(part for block in blocks for part in (block, ""))))


def headline(name: str, study: SensitivityStudy, facts: dict[str, Any]) -> Text:
    """Return what was done."""
    what = {"cost": "cost", "function": "function", "group": "group of costs", "stage": "stage"}[study.sensitivity.by]
    n = len(facts["factors"])
    text = Text(f"{name}: ", style="bold")
    replications = plural(study.study.replications, "replication")
    text.append(
        f"{plural(n, what) if n == 1 or what != 'group of costs' else f'{n} groups of costs'} "
        f"of {study.study.scenario}, scaled one at a time, {replications} each",
        style="not bold",
    )
    return text


def scale_of(rows: pd.DataFrame) -> tuple[float, str]:
    """Return by what figures of *rows*, of one metric, are divided, and the unit that they have then."""
    unit = str(rows["unit"].iloc[0])
    if unit != "ns":
        return 1.0, unit
    human = human_unit(float(rows["base"].iloc[0]))
    return float(NS_PER_UNIT[human]), human


def swing_table(metric: str, rows: pd.DataFrame, console: Console) -> Table:
    """Return a line for each of the largest swings of *metric*."""
    scale, unit = scale_of(rows)
    shown = rows.head(MOST_ROWS)
    largest = float(rows["swing"].abs().max()) or 1.0
    lines: list[tuple[list[str | Text], str]] = []
    for row in shown.to_dict("records"):
        length = bar(abs(row["swing"]) / largest, _BAR, console) if np.isfinite(row["swing"]) else ""
        cells: list[str | Text] = [
            str(row["factor"]),
            str(row["evidence"]),
            f"x {row['low']:g} - {row['high']:g}",
            *(
                signed(row[name] / scale, (row[f"{name}_high"] - row[f"{name}_low"]) / 2 / scale)
                for name in ("at_low", "at_high")
            ),
            Text(length, style="cyan"),
        ]
        lines.append((cells, ""))
    base = three_digits(float(rows["base"].iloc[0]) / scale)
    names = ["cost", "evidence", "range", "at the low end", "at the high end", ""]
    title = f"{metric}: {base} {unit} as it is; differences from it ({unit})"
    grid = fitted(
        title,
        ("cost", "evidence", "range", ""),
        names,
        lines,
        console.width,
        2 if console.width >= WIDE else 1,
        ("", "range", "evidence"),
        ("cost",),
    )
    if len(rows) > len(shown):
        grid.caption, grid.caption_justify = f"{len(rows) - len(shown)} more in tornado.parquet", "left"
    return grid


def index_table(indices: pd.DataFrame, width: int) -> Table:
    """Return a line for each factor and metric of the sample."""
    lines: list[tuple[list[str | Text], str]] = []
    for row in indices.to_dict("records"):
        cells: list[str | Text] = [str(row["metric"]), str(row["factor"]), str(row["evidence"])]
        for name in ("first", "total"):
            half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
            cells.append(f"{percent(row[name], 0)} ±{percent(half, 0)}")
        lines.append((cells, ""))
    names = ["metric", "cost", "evidence", "by itself", "with others"]
    title = "Variance within these ranges: what each is responsible for (Sobol indices)"
    return fitted(title, names[:3], names, lines, width, 2 if width >= WIDE else 1, ("evidence",), ("cost", "metric"))
