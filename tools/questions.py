"""Measure the tables and pictures of docs/questions.md.

    python tools/questions.py [--write] [NAME ...]

Without --write the tables are printed; with names only these are measured. A table stands in the page between two marks
with its name. What is run is kept in reports/questions/, so that an interrupted measurement goes on.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from iosim import screen
from iosim.model.units import human_time, three_digits
from iosim.plan import command
from iosim.sensitivity import command as sensitivity
from iosim.study import sweep
from iosim.study.terminal import signed, with_interval

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "questions.md"
PICTURES = ROOT / "docs" / "pictures"
WORK = ROOT / "reports" / "questions"


US = 1000
MOST_COSTS = 8
WAYS = {
    "PIO mode": "vm.linux.drive.0.transfer=pio",
    "DMA": "vm.linux.drive.0.transfer=dma",
    "virtio-blk": "vm.linux.drive.0.interface=virtio-blk",
}
"""Ways from a guest to its disk, and the change of the study."""

Row = dict[str, Any]


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Return a table of which the first columns, so many, are texts and the others numbers."""
    rule = "|" + "---|" * texts + "--:|" * (len(headings) - texts)
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


def swept(name: str, folder: Path, *changes: str) -> Path:
    """Run the shipped study *name*, as `iosim sweep` does, and return its folder."""
    path = ROOT / "scenarios" / "studies" / f"{name}.toml"
    sweep.run(path, folder, changes, None, None, False, False, screen.stderr(), screen.stderr())
    return folder


def bought() -> Path:
    """Run the study of a disk and a CPU behind each interface and return the folder of all."""
    for title, change in WAYS.items():
        swept("disk-or-cpu", WORK / "disk-or-cpu" / title, change)
    return WORK / "disk-or-cpu"


def scaled() -> Path:
    """Run the shipped sensitivity study and return its folder."""
    path = ROOT / "scenarios" / "sensitivity" / "costs-of-ext4.toml"
    sensitivity.run(path, WORK / "costs-of-ext4", (), None, None, screen.stderr(), screen.stderr())
    return WORK / "costs-of-ext4"


class Answers:
    """The summary of a sweep in *folder*, by point and metric."""

    def __init__(self, folder: Path) -> None:
        rows = pd.read_parquet(folder / "summary.parquet").to_dict("records")
        self._rows: dict[tuple[str, str, str], Row] = {
            (row["point"], row["metric"], row["of"]): {str(key): value for key, value in row.items()} for row in rows
        }

    def row(self, point: str, metric: str, of: str = "") -> Row:
        """Return the row of *metric* at *point*."""
        return self._rows[point, metric, of]

    def us(self, point: str, metric: str) -> str:
        """Return a latency in us with half the width of its interval."""
        return with_interval(self.row(point, metric), US)

    def change(self, point: str) -> str:
        """Return by how much the mean latency differs from that of the base, with half the width of its interval."""
        row, base = self.row(point, "latency_mean"), self.row("base", "latency_mean")["estimate"]
        half = (row["difference_high"] - row["difference_low"]) / 2
        return f"{signed(row['difference'] / US, half / US)} ({100 * row['difference'] / base:+.1f} %)"


# PIO to virtio: what does a migration gain? A faster disk or a newer CPU? Which cost is worth measuring better?


def pio_to_virtio(folder: Path) -> str:
    """Return the table of the steps from PIO mode to virtio-blk."""
    found = Answers(folder)
    steps = {"base": "PIO mode", "dma": "DMA", "virtio-blk": "virtio-blk", "iothread": "virtio-blk, iothread"}
    rows = []
    for point, title in steps.items():
        name = "pio" if point == "base" else point
        busy = found.row(point, "utilisation", "linux/vcpu0")["estimate"]
        rate = found.row(point, "throughput")["estimate"]
        rows.append(
            [
                title,
                found.us(point, "latency_mean"),
                "" if point == "base" else found.change(point),
                found.us(point, "latency_p99"),
                with_interval(found.row(point, "exits_per_request"), 1),
                f"{busy / rate * 1e6:,.4g}",
                *(found.us(f"{name}-{end}", "latency_mean") for end in ("half", "double")),
            ]
        )
    headings = [
        "", "mean (us)", "change (us)", "p99 (us)", "exits", "vCPU busy (us)", "mean, costs half", "mean, costs double",
    ]  # fmt: skip
    return markdown(headings, rows)


def disk_or_cpu(folder: Path) -> str:
    """Return the table of what a disk and a CPU are worth behind each interface."""
    rows = []
    for title in WAYS:
        found = Answers(folder / title)
        for point, what in (("base", "as it is"), ("cpu", "newer CPU"), ("disk", "faster disk"), ("both", "both")):
            rows.append(
                [
                    title,
                    what,
                    found.us(point, "latency_mean"),
                    "" if point == "base" else found.change(point),
                    found.us(point, "latency_p99"),
                    with_interval(found.row(point, "throughput"), 1),
                ]
            )
    return markdown(["", "", "mean (us)", "change (us)", "p99 (us)", "requests/s"], rows, texts=2)


def costs_of_ext4(folder: Path) -> str:
    """Return the table of the costs that matter most to a guest with ext4."""
    bars = pd.read_parquet(folder / "tornado.parquet")
    indices = pd.read_parquet(folder / "sobol.parquet")
    total = {row["factor"]: row for row in indices[indices["metric"] == "latency_mean"].to_dict("records")}
    rows = []
    for row in bars[bars["metric"] == "latency_mean"].head(MOST_COSTS).to_dict("records"):
        cells = [f"`{row['factor']}`", str(row["evidence"]), human_time(row["mean_ns"])]
        for end in ("at_low", "at_high"):
            cells.append(signed(row[end] / US, (row[f"{end}_high"] - row[f"{end}_low"]) / 2 / US))
        known = total.get(row["factor"])
        half = 0.0 if known is None else (known["total_high"] - known["total_low"]) / 2
        cells.append("-" if known is None else f"{100 * known['total']:.0f} ±{100 * half:.0f}")
        rows.append(cells)
    headings = ["cost", "evidence", "mean", "half of it (us)", "double (us)", "of the variance (%)"]
    return markdown(headings, rows, texts=2)


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
    "pio-to-virtio": (lambda: swept("pio-to-virtio", WORK / "pio-to-virtio"), pio_to_virtio),
    "disk-or-cpu": (bought, disk_or_cpu),
    "costs-of-ext4": (scaled, costs_of_ext4),
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
