"""A plan on the terminal: the answer in a sentence, the values that were looked at, and what to keep in mind."""

from typing import Any

import pandas as pd
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from iosim.analytic.resources import HOLDERS, NOT_SERVING
from iosim.model.units import human_time
from iosim.plan.answers import Answered
from iosim.plan.pictures import config_keys, knob_text
from iosim.plan.targets import written
from iosim.results.terminal import WIDE, empty_table
from iosim.results.wording import percent
from iosim.study.terminal import short_names

MOST_VALUES = 40
"""So many values of the knob are shown; the rest is in the tables."""


def show(console: Console, name: str, found: Answered) -> None:
    """Print the answers."""
    blocks: list[Any] = [headline(name, found), answer_text(found), values_table(found, console.width)]
    if "ranking" in found.tables:
        blocks.append(ranking_table(found))
    if "front" in found.tables:
        blocks.append(front_table(found))
    if found.facts["cautions"]:
        blocks.append(Text("\n".join(("Keep in mind", *(f"- {line}" for line in found.facts["cautions"])))))
    console.print(Group(*(part for block in blocks for part in (block, ""))))


def headline(name: str, found: Answered) -> Text:
    """Return what was asked."""
    plan, knob = found.facts["plan"]["plan"], found.facts["knob"]
    text = Text(f"{name}: ", style="bold")
    text.append(f"{knob['key']} of {plan['scenario']} from {knob['low']} to {knob['high']}", style="not bold")
    text.append(f", verdicts with {100 * plan['confidence']:.4g} %", style="not bold")
    return text


def answer_text(found: Answered) -> Text:
    """Return the answer of the base, and what breaks first."""
    row = found.facts["answers"][0]
    text = Text(limit_sentence(found, row), style="bold")
    text.append("\n" + _there(row), style="not bold")
    if (saturation := found.facts["analysis"]["saturation"]) is not None:
        text.append(
            f"\nBy the analysis, {saturation['resource']} would be busy all the time at "
            f"{found.facts['knob']['key']} = {knob_text(found, saturation['value'])}, if nobody waited.",
            style="not bold",
        )
    elif (why := found.facts["analysis"]["why_not"]) is not None:
        text.append(f"\nNo bounds and no estimate: {why}.", style="not bold")
    return text


def limit_sentence(found: Answered, row: dict[str, Any]) -> str:
    """Return the outcome of one search in a sentence."""
    key = found.facts["knob"]["key"]
    targets = " and ".join(found.facts["plan"]["plan"]["targets"])
    largest = row["find"] == "largest"
    if row["outcome"] == "none":
        return f"No {key} between {found.facts['knob']['low']} and {found.facts['knob']['high']} meets {targets}."
    if row["outcome"] == "undecided":
        return f"No {key} surely meets {targets}; {_settings(row['undecided'])} may."
    meets = row["meets"]["setting"]
    if row["outcome"] == "all":
        return f"{targets}: met for every {key} {'up' if largest else 'down'} to {meets}, the bound of the knob."
    sentence = f"{targets}: met {'up to' if largest else 'from'} {key} = {meets}{'' if largest else ' on'}"
    low, high = row["between"]
    if low and high and (low["setting"], high["setting"]) != (meets, meets):
        bound = found.facts["knob"]["low" if largest else "high"]
        other = low if largest else high
        if other["setting"] != bound:
            sentence += f", {'from' if largest else 'up to'} {other['setting']}{' on' if largest else ''}"
    if row["fails"] is not None:
        fail = "fails" if len(row["breaks"]) == 1 else "fail"
        sentence += f"; at {row['fails']['setting']} {' and '.join(row['breaks'])} {fail}"
    if row["undecided"]:
        sentence += ". What lies between is undecided"
    return f"{sentence}."


def _settings(rows: list[dict[str, Any]]) -> str:
    few = ", ".join(str(row["setting"]) for row in rows[:4])
    return few if len(rows) <= 4 else f"{few} and {len(rows) - 4} others"


def _there(row: dict[str, Any]) -> str:
    """Return what is busy, and what requests wait for, where the base was looked at."""
    busy = ", ".join(f"{one['resource']} {percent(one['utilisation'], 0)}" for one in row["busiest"])
    text = f"Busiest at {row['looked_at']['setting']}: {busy}."
    if (grown := row["grows"]) is not None:
        text += (
            f" What grows most is {grown['stage']}, from {human_time(grown['easy_ns'])} of a request "
            f"to {human_time(grown['there_ns'])}."
        )
    return text


def values_table(found: Answered, width: int) -> Table:
    """Return a line for each value of the knob that the base was looked at: targets with intervals and verdict."""
    values = found.tables["values"]
    rows = values[(values["search"] == "base") & (values["target"] != "")]
    resources = found.tables["resources"]
    targets = list(map(str, rows["target"].unique()))
    wide = width >= WIDE
    names = [
        found.facts["knob"]["key"].rpartition(".")[2],
        "runs",
        *map(escape, targets),
        "verdict",
        *(["busiest"] if wide else []),
    ]
    grid = empty_table("", ("verdict", "busiest"), names, gap=2)
    grid.title = None
    settings = rows.drop_duplicates("value").sort_values("value")
    for _, first in settings.head(MOST_VALUES).iterrows():
        own = rows[rows["value"] == first["value"]]
        verdicts = own["verdict"].tolist()
        joint = next((verdict for verdict in ("fails", "undecided") if verdict in verdicts), "meets")
        cells = [first["setting"], str(first["replications"])]
        cells += [_with_interval(own[own["target"] == target].iloc[0]) for target in targets]
        cells.append(joint)
        if wide:
            cells.append(_busiest(resources, float(first["value"])))
        grid.add_row(*cells)
    if len(settings) > MOST_VALUES:
        grid.add_row(f"... {len(settings) - MOST_VALUES:,} more")
    return grid


def _with_interval(row: "pd.Series[Any]") -> str:
    """Return ``0.71 ms ±0.03 ms``."""
    metric = str(row["metric"])
    half = (row["high"] - row["low"]) / 2
    return f"{written(metric, row['estimate'])} ±{written(metric, half)}" if half else written(metric, row["estimate"])


def _busiest(resources: pd.DataFrame, value: float) -> str:
    own = resources[(resources["search"] == "base") & (resources["value"] == value)]
    serving = own[~own["kind"].isin((*NOT_SERVING, *HOLDERS))].sort_values("utilisation_max", kind="stable")
    if serving.empty:
        return "-"
    row = serving.iloc[-1]
    return f"{percent(float(row['utilisation_max']), 0):>4} {row['resource']}"


def ranking_table(found: Answered) -> Table:
    """Return a line for each change: its limit, how far that is from the base's, and the metric at the base's limit."""
    ranking = found.tables["ranking"]
    metric = str(ranking["metric"].iloc[0])
    named = metric.removeprefix("latency_")
    at = ranking["at"].dropna()
    where = f"{named} at {knob_text(found, float(at.iloc[0]))}" if len(at) else named
    names = ["change", "limit", "moved", "at least", "at most", where]
    grid = empty_table("What moves the limit", ("change",), names, gap=2)
    for row in ranking.to_dict("records"):
        moves = [_signed(found, row[name]) for name in ("moved", "moved_low", "moved_high")]
        limit = "-" if pd.isna(row["meets"]) else knob_text(found, row["meets"])
        if row["outcome"] == "all":
            limit += " or more" if found.facts["answers"][0]["find"] == "largest" else " or less"
        difference = "-"
        if not pd.isna(row["difference"]):
            half = (row["difference_high"] - row["difference_low"]) / 2
            sign = "+" if row["difference"] > 0 else "-" if row["difference"] < 0 else ""
            difference = f"{sign}{written(metric, abs(row['difference']))}"
            difference += f" ±{written(metric, half)}" if half > 0 else ""
        grid.add_row(str(row["change"]), limit, *moves, difference)
    return grid


def _signed(found: Answered, value: float) -> str:
    if pd.isna(value):
        return "-"
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{knob_text(found, abs(value))}"


def front_table(found: Answered) -> Table:
    """Return a line for each load: the cheapest configuration that carries it."""
    front, unit = found.tables["front"], found.facts["costs"]["unit"]
    keys = config_keys(front)
    names = ["load", *short_names(keys), f"cost ({unit})" if unit else "cost", "perhaps"]
    grid = empty_table("The cheapest for each load", (), names, gap=2)
    for row in front.to_dict("records"):
        cost, perhaps = ("-" if pd.isna(row[name]) else f"{row[name]:,.10g}" for name in ("cost", "perhaps"))
        values = ["-" if pd.isna(row[key]) else str(row[key]) for key in keys]
        grid.add_row(knob_text(found, row["load"]), *values, cost, perhaps)
    return grid
