"""The page of a sensitivity study: the tornado, Sobol indices, every cost as a table."""

from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from iosim.model.units import human_time
from iosim.report.table import Cell, Column, Table
from iosim.results.wording import percent, plural
from iosim.sensitivity.command import INDEX_COLUMNS, MARKER, SENSITIVITY_VERSION
from iosim.sensitivity.findings import cautions, sentences
from iosim.sensitivity.sensitivity_file import SensitivityStudy
from iosim.study.terminal import signed
from iosim.study_pages import sensitivity_pictures
from iosim.study_pages.folder import Folder, damaged
from iosim.study_pages.inputs import inputs
from iosim.study_pages.quantity import quantity

TEMPLATE = "sensitivity.html.j2"
_WHAT = {"cost": "costs", "function": "functions", "group": "groups of costs", "stage": "stages"}
_TORNADO = (
    "rank", "metric", "of", "unit", "factor", "costs", "evidence", "assumed", "stage", "function", "mean_ns",
    "low", "high", "base", "base_low", "base_high", "pairs", "at_low", "at_low_low", "at_low_high",
    "at_high", "at_high_low", "at_high_high", "swing", "swing_low", "swing_high", "variance_share",
)  # fmt: skip
_TALL = 24


def content(path: Path) -> dict[str, Any]:
    """Return what the template shows of the sensitivity study in *path*. Raises ResultError."""
    folder = Folder(path, MARKER, "sensitivity_version", SENSITIVITY_VERSION)
    bars, indices = folder.table("tornado", *_TORNADO), folder.table("sobol", *INDEX_COLUMNS)
    try:
        study = SensitivityStudy.model_validate(folder.facts["study"])
        scaled = {factor["name"]: factor["costs"] for factor in folder.facts["factors"]}
        doubts = cautions(study.model_dump(), bars, indices, folder.facts)
    except (KeyError, TypeError, ValidationError):
        raise damaged(path) from None
    if bars.empty or not set(bars["factor"]) <= set(scaled):
        raise damaged(path)
    metrics = list(dict.fromkeys(bars["metric"]))
    parts = []
    for metric in metrics:
        rows = bars[bars["metric"] == metric]
        mine = indices[indices["metric"] == metric]
        parts.append(
            {
                "metric": metric,
                "tornado": sensitivity_pictures.tornado(f"tornado-{metric}", rows),
                "table": swings(rows, study.sensitivity.by),
                "sobol": sensitivity_pictures.sobol(f"sobol-{metric}", metric, mine) if len(mine) else None,
            }
        )
    return {
        "name": folder.name,
        "story": _story(study, folder.facts, bars, indices),
        "facts": _facts(study, folder.facts, bars),
        "parts": parts,
        "indices": index_table(indices) if len(indices) else None,
        "n_sampled": len(folder.facts["in_the_sample"]),
        "inputs": inputs(folder.facts),
        "doubts": doubts,
    }


def _story(study: SensitivityStudy, facts: dict[str, Any], bars: pd.DataFrame, indices: pd.DataFrame) -> list[str]:
    n, what = len(facts["factors"]), _WHAT[study.sensitivity.by]
    told = [
        f"{n} {what if n > 1 else what.rstrip('s')} of {study.study.scenario}, scaled one at a time, "
        f"{plural(study.study.replications, 'replication')} each."
    ]
    return told + sentences(bars, indices)


def _facts(study: SensitivityStudy, facts: dict[str, Any], bars: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return the few figures at the top."""
    metric = str(bars["metric"].iloc[0])
    rows = bars[bars["metric"] == metric]
    costs = sum(len(factor["costs"]) for factor in facts["factors"])
    assumed = float(rows.loc[rows["assumed"], "variance_share"].sum())
    top = rows.iloc[0]
    what = quantity(metric, str(top["unit"]), float(top["base"]))
    return [
        ("costs scaled", f"{costs:,}", "those that the run spends"),
        (what.name, f"{top['base'] / what.scale:,.4g} {what.unit}", "as it is"),
        ("largest swing", f"{signed(top['swing'] / what.scale, float('nan'))} {what.unit}", str(top["factor"])),
        ("of assumed costs", percent(assumed, 0), f"of the squared swings of {what.name}"),
    ]


def swings(rows: pd.DataFrame, by: str) -> Table:
    """Return a row for each cost: evidence, range, what the metric does at both ends."""
    what = quantity(str(rows["metric"].iloc[0]), str(rows["unit"].iloc[0]), float(rows["base"].iloc[0]))
    unit = f" ({what.unit})" if what.unit else ""
    alone = by == "cost"
    table = Table(
        [
            Column("rank", sorted="ascending"),
            Column(by, number=False, code=True),
            Column("evidence", number=False),
            Column("function", number=False, code=True) if alone else Column("costs"),
            Column("mean", help="of the cost; of several their sum"),
            Column("range"),
            Column(f"low end{unit}"),
            Column(f"high end{unit}"),
            Column("share", help="of the squared swings"),
        ],
        label=f"Swings of {what.name}",
        sorts=True,
        tall=len(rows) > _TALL,
    )
    for row in rows.to_dict("records"):
        table.add(
            Cell(str(row["rank"]), row["rank"]),
            Cell(str(row["factor"])),
            str(row["evidence"]),
            str(row["function"]) if alone else Cell(str(row["costs"]), row["costs"]),
            Cell(human_time(row["mean_ns"]), row["mean_ns"]),
            Cell(f"{row['low']:g} – {row['high']:g}", row["high"] - row["low"]),
            *(
                Cell(signed(row[end] / what.scale, (row[f"{end}_high"] - row[f"{end}_low"]) / 2 / what.scale), row[end])
                for end in ("at_low", "at_high")
            ),
            Cell(percent(row["variance_share"]), row["variance_share"]),
        )
    return table


def index_table(indices: pd.DataFrame) -> Table:
    """Return the Sobol indices with their intervals."""
    table = Table(
        [
            Column("metric", number=False),
            Column("cost", number=False, code=True),
            Column("evidence", number=False),
            Column("by itself", help="first-order index"),
            Column("with others", help="total index"),
        ],
        label="Sobol indices",
        sorts=True,
    )
    for row in indices.to_dict("records"):
        cells = []
        for name in ("first", "total"):
            half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
            cells.append(Cell(f"{percent(row[name], 0)} ±{percent(half, 0)}", row[name]))
        table.add(str(row["metric"]), Cell(str(row["factor"])), str(row["evidence"]), *cells)
    return table
