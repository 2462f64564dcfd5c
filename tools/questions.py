"""Measure the tables of docs/questions.md.

    python tools/questions.py [--write] [NAME ...]

Without --write the tables are printed. A table stands in the page between two marks with its name; with names only
these are measured.
"""

import argparse
import io
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from iosim.model.units import human_time
from iosim.sensitivity import command as sensitivity
from iosim.study import sweep
from iosim.study.terminal import signed, with_interval

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "questions.md"
US = 1000
MOST_COSTS = 8

Row = dict[str, Any]


class Answers:
    """The summary of a sweep, by point and metric."""

    def __init__(self, study: str, scratch: Path, *changes: str) -> None:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        console = Console(file=io.StringIO())
        sweep.run(ROOT / "scenarios" / "studies" / study, folder, changes, None, None, False, console, console)
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


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Return a table of which the first columns, so many, are texts and the others numbers."""
    rule = ["---"] * texts + ["--:"] * (len(headings) - texts)
    lines = [f"| {' | '.join(headings)} |", f"|{'|'.join(rule)}|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines) + "\n"


def pio_to_virtio(scratch: Path) -> str:
    """Return the table of the steps from PIO mode to virtio-blk."""
    found = Answers("pio-to-virtio.toml", scratch)
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


def disk_or_cpu(scratch: Path) -> str:
    """Return the table of what a disk and a CPU are worth behind each interface."""
    rows = []
    for title, change in (
        ("PIO mode", "vm.linux.drive.0.transfer=pio"),
        ("DMA", "vm.linux.drive.0.transfer=dma"),
        ("virtio-blk", "vm.linux.drive.0.interface=virtio-blk"),
    ):
        found = Answers("disk-or-cpu.toml", scratch, change)
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


def costs_of_ext4(scratch: Path) -> str:
    """Return the table of the costs that matter most to a guest with ext4."""
    console = Console(file=io.StringIO())
    path = ROOT / "scenarios" / "sensitivity" / "costs-of-ext4.toml"
    sensitivity.run(path, scratch / "out", (), None, None, console, console)
    bars = pd.read_parquet(scratch / "out" / "tornado.parquet")
    indices = pd.read_parquet(scratch / "out" / "sobol.parquet")
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


TABLES: dict[str, Callable[[Path], str]] = {
    "pio-to-virtio": pio_to_virtio,
    "disk-or-cpu": disk_or_cpu,
    "costs-of-ext4": costs_of_ext4,
}
"""What measures each table of the page, given a folder to work in."""


def marks(name: str) -> tuple[str, str]:
    """Return what stands before and behind a table in the page."""
    return f"<!-- {name}: by tools/questions.py -->\n", f"<!-- end of {name} -->\n"


def shown(name: str, page: str) -> str:
    """Return the table that stands in *page*."""
    begin, end = marks(name)
    found = re.search(f"{re.escape(begin)}(.*?){re.escape(end)}", page, re.DOTALL)
    assert found, name
    return found[1]


def main() -> None:
    """Print the tables, or write them between their marks."""
    parser = argparse.ArgumentParser(description="Measure the tables of docs/questions.md.")
    parser.add_argument("--write", action="store_true", help="write them into the page")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(TABLES)}")
    wish = parser.parse_args()
    for name in wish.names or TABLES:
        with tempfile.TemporaryDirectory() as scratch:
            table = TABLES[name](Path(scratch))
        if wish.write:
            page = PAGE.read_text(encoding="utf-8")
            begin, end = marks(name)
            PAGE.write_text(page.replace(f"{begin}{shown(name, page)}{end}", f"{begin}{table}{end}"), encoding="utf-8")
        else:
            print(f"{name}\n{table}")


if __name__ == "__main__":
    main()
