"""The page of a plan: the answer, the curve with its targets, what is busy, what moves the limit, what it costs."""

from pathlib import Path
from typing import Any

import pandas as pd

from iosim.plan.answers import PLAN_VERSION, Answered
from iosim.plan.command import MARKER
from iosim.plan.pictures import config_keys, knob_text
from iosim.plan.tables import ANALYSIS, RESOURCES, VALUES
from iosim.plan.targets import written
from iosim.plan.terminal import answer_text
from iosim.report.table import Cell, Column, Table
from iosim.results.wording import percent
from iosim.study.terminal import short_names
from iosim.study_pages import plan_pictures
from iosim.study_pages.folder import Folder, damaged
from iosim.study_pages.inputs import inputs

TEMPLATE = "plan.html.j2"
MOST_RESOURCES = 10
_TALL = 24
_UNKNOWN = Cell("-", "")
_RANKING = (
    "rank", "change", "set", "outcome", "meets", "fails", "moved", "moved_low", "moved_high",
    "metric", "at", "difference", "difference_low", "difference_high",
)  # fmt: skip
_FRONT = ("load", "outcome", "cost", "perhaps", "pareto")


def content(path: Path) -> dict[str, Any]:
    """Return what the template shows of the plan in *path*. Raises ResultError."""
    folder = Folder(path, MARKER, "plan_version", PLAN_VERSION)
    found = read(folder)
    try:
        shown = {
            "name": folder.name,
            "story": answer_text(found).plain.split("\n"),
            "facts": _facts(found),
            "panels": plan_pictures.panels(found),
            "values": values(found),
            "resources": resources(found),
            "ranking": ranking(found) if "ranking" in found.tables else None,
            "ranked": plan_pictures.ranking(found) if "ranking" in found.tables else None,
            "front": front(found) if "front" in found.tables else None,
            "bought": plan_pictures.front(found) if "front" in found.tables else None,
            "inputs": inputs(found.facts, key="plan"),
            "doubts": found.facts["cautions"],
        }
    except (KeyError, TypeError, IndexError, AttributeError):
        raise damaged(path) from None
    return shown


def read(folder: Folder) -> Answered:
    """Return the answers in *folder* as they were when the plan was made. Raises ResultError."""
    tables = {
        "values": folder.table("values", *VALUES),
        "resources": folder.table("resources", *RESOURCES),
        "analysis": folder.table("analysis", *ANALYSIS),
    }
    plan = folder.facts.get("plan", {})
    if plan.get("change"):
        tables["ranking"] = folder.table("ranking", *_RANKING)
    if plan.get("cost"):
        tables["front"] = folder.table("front", *_FRONT)
    if not (tables["values"]["search"] == "base").any():
        raise damaged(folder.path)
    return Answered(tables, folder.facts, frozenset())


def _facts(found: Answered) -> list[tuple[str, str, str]]:
    """Return the few figures at the top."""
    row, knob = found.facts["answers"][0], found.facts["knob"]
    of = str(knob["key"])
    meets = "none" if row["meets"] is None else knob_text(found, row["meets"]["value"])
    shown = [("targets are met " + ("up to" if row["find"] == "largest" else "from"), meets, of)]
    if row["fails"] is not None:
        shown.append(("fails at", knob_text(found, row["fails"]["value"]), ", ".join(row["breaks"])))
    if row["busiest"]:
        one = row["busiest"][0]
        where = knob_text(found, row["looked_at"]["value"])
        shown.append(("busiest", percent(one["utilisation"]), f"{one['resource']} at {where}"))
    if (saturation := found.facts["analysis"]["saturation"]) is not None:
        text = knob_text(found, saturation["value"])
        shown.append(("would saturate at", text, f"{saturation['resource']}, by the analysis"))
    shown.append(("runs of the base", f"{row['replications']:,}", f"{_n_values(found)} values of {of}"))
    if "ranking" in found.tables:
        best = found.tables["ranking"].iloc[0]
        shown.append(("best change", str(best["change"]), f"moves the limit by {_moved(found, best['moved'])}"))
    return shown


def _n_values(found: Answered) -> int:
    rows = found.tables["values"]
    return int(rows.loc[rows["search"] == "base", "value"].nunique())


def _moved(found: Answered, value: float) -> str:
    if pd.isna(value):
        return "-"
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{knob_text(found, abs(value))}"


def values(found: Answered) -> Table:
    """Return a row for each value of the knob that was run: the targets with their intervals and verdicts."""
    rows = found.tables["values"]
    rows = rows[(rows["search"] == "base") & (rows["target"] != "")].sort_values("value", kind="stable")
    targets = list(dict.fromkeys(rows["target"].astype(str)))
    table = Table(
        [
            Column(str(found.facts["knob"]["key"]), sorted="ascending"),
            Column("runs"),
            *(column for target in targets for column in (Column(target), Column("", number=False))),
        ],
        label="Values of the knob",
        sorts=True,
        tall=rows["value"].nunique() > _TALL,
    )
    for _, own in rows.groupby("value", sort=False):
        first = own.iloc[0]
        cells: list[str | Cell] = [
            Cell(str(first["setting"]), float(first["value"])),
            Cell(str(first["replications"]), int(first["replications"])),
        ]
        for target in targets:
            mine = own[own["target"] == target]
            cells += [_UNKNOWN, _UNKNOWN] if mine.empty else _estimate(mine.iloc[0])
        table.add(*cells)
    return table


def _estimate(row: Any) -> list[str | Cell]:
    half = (row["high"] - row["low"]) / 2
    text = written(str(row["metric"]), row["estimate"])
    if half > 0:
        text += f" ±{written(str(row['metric']), half)}"
    return [Cell(text, float(row["estimate"])), Cell(str(row["verdict"]))]


def resources(found: Answered) -> Table:
    """Return how busy the busiest resources are at each value."""
    rows = found.tables["resources"]
    rows = rows[rows["search"] == "base"].sort_values("value", kind="stable")
    top = rows.groupby("resource")["utilisation_max"].max().sort_values(ascending=False, kind="stable")
    chosen = [str(name) for name in top.index if top[name] > 0][:MOST_RESOURCES]
    table = Table(
        [Column(str(found.facts["knob"]["key"]), sorted="ascending"), *(Column(name) for name in chosen)],
        label="Utilisation",
        sorts=True,
        tall=rows["value"].nunique() > _TALL,
    )
    for value, own in rows.groupby("value", sort=False):
        busy = dict(zip(own["resource"], own["utilisation_max"], strict=True))
        cells = [_UNKNOWN if name not in busy else Cell(percent(busy[name]), busy[name]) for name in chosen]
        table.add(Cell(str(own["setting"].iloc[0]), float(str(value))), *cells)
    if len(top) > len(chosen):
        table.note = (
            f"The {len(chosen)} busiest of {len(top)} resources; of clones the busiest one, mean over the runs."
        )
    return table


def ranking(found: Answered) -> Table:
    """Return a row for each change: its limit, how far that is from the base's, the metric at the base's limit."""
    rows = found.tables["ranking"]
    metric = str(rows["metric"].iloc[0])
    at = rows["at"].dropna()
    where = f" at {knob_text(found, float(at.iloc[0]))}" if len(at) else ""
    table = Table(
        [
            Column("rank", sorted="ascending"),
            Column("change", number=False, code=True),
            Column("limit"),
            Column("moved"),
            Column("at least"),
            Column("at most"),
            Column(f"{metric}{where}", help="with the change less without it, pair by pair"),
            Column("what it changes", number=False, code=True),
        ],
        label="Changes",
        sorts=True,
    )
    for row in rows.to_dict("records"):
        difference = _UNKNOWN
        if not pd.isna(row["difference"]):
            half = (row["difference_high"] - row["difference_low"]) / 2
            text = f"{'+' if row['difference'] > 0 else '-' if row['difference'] < 0 else ''}"
            text += written(metric, abs(row["difference"])) + (f" ±{written(metric, half)}" if half > 0 else "")
            difference = Cell(text, float(row["difference"]))
        meets = _UNKNOWN if pd.isna(row["meets"]) else Cell(knob_text(found, row["meets"]), float(row["meets"]))
        moves = [
            Cell(_moved(found, row[name]), "" if pd.isna(row[name]) else float(row[name]))
            for name in ("moved", "moved_low", "moved_high")
        ]
        table.add(
            Cell(str(row["rank"]), int(row["rank"])),
            Cell(str(row["change"])),
            meets,
            *moves,
            difference,
            str(row["set"]),
        )
    return table


def front(found: Answered) -> Table:
    """Return a row for each load: the cheapest configuration that carries it."""
    rows, unit = found.tables["front"], found.facts["costs"]["unit"]
    keys = config_keys(rows)
    table = Table(
        [
            Column(str(found.facts["knob"]["key"]), sorted="ascending"),
            *(Column(name, number=False, help=key) for name, key in zip(short_names(keys), keys, strict=True)),
            Column(f"cost ({unit})" if unit else "cost"),
            Column("perhaps", help="the cheapest of which it is not decided whether it meets the targets"),
        ],
        label="The cheapest configurations",
        sorts=True,
    )
    for row in rows.to_dict("records"):
        costs = [
            _UNKNOWN if pd.isna(row[name]) else Cell(f"{row[name]:,.10g}", float(row[name]))
            for name in ("cost", "perhaps")
        ]
        settings = [_UNKNOWN if pd.isna(row[key]) else Cell(str(row[key])) for key in keys]
        table.add(Cell(knob_text(found, row["load"]), float(row["load"])), *settings, *costs)
    return table
