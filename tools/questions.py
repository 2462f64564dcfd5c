"""Measure the tables and pictures of docs/questions.md.

    python tools/questions.py [--write] [NAME ...]

Without --write the tables are printed; with names only these are measured. A table stands in the page between two marks
with its name. What is run is kept in reports/questions/, so that an interrupted measurement goes on.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from iosim import screen
from iosim.model.units import three_digits
from iosim.plan import command

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "questions.md"
PICTURES = ROOT / "docs" / "pictures"
WORK = ROOT / "reports" / "questions"


def markdown(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table of which all columns but the first are numbers."""
    rule = "|---|" + "--:|" * (len(headings) - 1)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join((f"| {' | '.join(headings)} |", rule, *lines)) + "\n"


def planned(name: str) -> Path:
    """Carry out the shipped plan *name*, as `iosim plan` does, copy its pictures and return its folder."""
    folder = WORK / name
    path = ROOT / "scenarios" / "plans" / f"{name}.toml"
    command.run(path, folder, (), None, None, screen.stderr(), screen.stderr())
    for picture in ("limit", "ranking"):
        shutil.copyfile(folder / f"{picture}.png", PICTURES / f"{name}-{picture}.png")
    return folder


# How many VMs do 8 CPUs carry?


def vms_on_8_cpus(folder: Path) -> str:
    """Return the values of the knob that the plan has looked at, up to the first that fail."""
    values = pd.read_parquet(folder / "values.parquet").query("search == 'base'")
    resources = pd.read_parquet(folder / "resources.parquet").query("search == 'base' and resource == 'cpus'")
    busy = dict(zip(resources["value"], resources["utilisation"], strict=True))
    rows: list[tuple[str, ...]] = []
    for value, own in values.groupby("value"):
        p99, mean = (own[own["metric"] == metric].iloc[0] for metric in ("latency_p99", "latency_mean"))
        verdict = "fails" if "fails" in set(own["verdict"]) else "meets"
        if "undecided" in set(own["verdict"]) and verdict != "fails":
            verdict = "undecided"
        rows.append(
            (
                f"{value:.0f}",
                str(p99["replications"]),
                *(three_digits(p99[part] / 1000) for part in ("estimate", "low", "high")),
                three_digits(mean["estimate"] / 1000),
                three_digits(100 * busy[value]),
                verdict,
            )
        )
    headings = ("VMs", "runs", "p99 (us)", "not below", "not above", "mean (us)", "CPUs busy (%)", "verdict")
    return markdown(headings, rows)


def what_moves_the_limit(folder: Path) -> str:
    """Return the ranking of the changes."""
    ranking = pd.read_parquet(folder / "ranking.parquet")
    facts: dict[str, Any] = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    base = facts["answers"][0]
    rows: list[tuple[str, ...]] = [("as it is", base["meets"]["setting"], "", "", "", "")]
    for row in ranking.to_dict("records"):
        low, high = (
            "without limit" if pd.isna(row[name]) else f"{row[name]:+.0f}" for name in ("moved_low", "moved_high")
        )
        half = (row["difference_high"] - row["difference_low"]) / 2
        change = f"{row['difference'] / 1000:+,.0f} ± {half / 1000:,.0f}"
        limit = f"{row['meets']:.0f}" + (" or more" if row["outcome"] == "all" else "")
        rows.append((f"`{row['change']}`", limit, f"{row['moved']:+.0f}", low, high, change))
    headings = (
        "change",
        "limit (VMs)",
        "moved",
        "at least",
        "at most",
        f"p99 with {base['meets']['setting']} VMs (us)",
    )
    return markdown(headings, rows)


TABLES: dict[str, tuple[Callable[[], Path], Callable[[Path], str]]] = {
    "vms-on-8-cpus": (lambda: planned("vms-on-8-cpus"), vms_on_8_cpus),
    "what-moves-the-limit": (lambda: planned("vms-on-8-cpus"), what_moves_the_limit),
}
"""What has to be run for each table of the page, and the table of it."""


def with_table(page: str, name: str, table: str) -> str:
    """Return *page* with *table* between the marks of its name."""
    begin, end = f"<!-- {name}: by tools/questions.py -->\n", f"<!-- end of {name} -->\n"
    pattern = re.compile(f"({re.escape(begin)}).*?({re.escape(end)})", re.DOTALL)
    assert pattern.search(page), f"{PAGE} has no marks of {name}"
    return pattern.sub(lambda match: match[1] + table + match[2], page)


def main(arguments: list[str]) -> None:
    """Print the tables, or write them into the page."""
    names = [argument for argument in arguments if argument != "--write"] or list(TABLES)
    for name in names:
        measure, table = TABLES[name]
        text = table(measure())
        if "--write" in arguments:
            PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), name, text), encoding="utf-8")
        else:
            print(f"{name}\n\n{text}")


if __name__ == "__main__":
    main(sys.argv[1:])
