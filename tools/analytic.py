"""Measure the tables of docs/analytic.md: bounds and estimate beside runs of shipped scenarios.

    python tools/analytic.py [--write]

Without --write the tables are printed. A table stands in the page between two marks with its name.
"""

import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import iosim
from iosim.analytic.curve import curve, measured
from iosim.analytic.scenario_network import network_of
from iosim.model.units import three_digits
from iosim.results.result import Result

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "analytic.md"
HEAD = """\
| VMs | requests/s: bound | estimate | simulated | mean response, us: bound | estimate | simulated | off |
|--:|--:|--:|--:|--:|--:|--:|--:|
"""


@cache
def run(scenario: str, changes: tuple[str, ...]) -> Result:
    """Simulate a shipped scenario with what --set changes, without spans."""
    return iosim.simulate(iosim.load(ROOT / "scenarios" / scenario, [*changes, "run.slowest=0"]))


class Study(NamedTuple):
    """One table: a scenario with some changes, its VM table, and the numbers of VMs."""

    name: str
    scenario: str
    changes: tuple[str, ...]
    vm: str
    counts: tuple[int, ...]

    def result(self, count: int) -> Result:
        """Simulate it with so many VMs."""
        return run(self.scenario, (*self.changes, f"vm.{self.vm}.count={count}"))

    def line(self, count: int) -> str:
        """Return the row of *count* VMs, measured; bounds and estimate are from the run with one VM alone."""
        point = curve(network_of(self.result(1)), self.vm, [count]).points[0]
        simulated = measured(self.result(count), self.vm)
        expected = point.estimate
        assert expected.throughput_per_s is not None
        rates = (point.bounds.throughput_per_s, expected.throughput_per_s, simulated.throughput_per_s)
        times = (point.bounds.response_ns, expected.response_ns, simulated.response_ns)
        off = round(100 * (expected.response_ns / simulated.response_ns - 1))
        cells = [*map(three_digits, rates), *(three_digits(ns / 1000) for ns in times), f"{off:+d} %"]
        return f"| {count} | {' | '.join(cells)} |\n"

    def table(self) -> str:
        """Return the whole table, measured."""
        return HEAD + "".join(self.line(count) for count in self.counts)

    @property
    def marks(self) -> tuple[str, str]:
        """What stands before and behind the table in the page."""
        return f"<!-- {self.name}: by tools/analytic.py -->\n", f"<!-- end of {self.name} -->\n"


STUDIES = (
    Study("shared-disk", "eight-vms.toml", (), "linux", (1, 2, 4, 8)),
    Study(
        "constant-disk",
        "eight-vms.toml",
        ('host.disk=[{name = "shared", model = "constant", service = "300us", servers = 2}]',),
        "linux",
        (1, 2, 3, 4, 8),
    ),
    Study("cpus", "cpus.toml", (), "linux", (1, 16, 32, 48, 64)),
    Study("two-cpus", "linux-dma.toml", ("host.cpus=2",), "linux", (1, 2, 4, 16)),
)
"""Every table of the page, in its order."""


def shown(study: Study, text: str) -> str:
    """Return what stands between the marks of *study* in *text*."""
    begin, end = study.marks
    return text.split(begin)[1].split(end)[0]


def main() -> None:
    """Print the tables, and write them into the page if asked to."""
    text = PAGE.read_text(encoding="utf-8")
    for study in STUDIES:
        table = study.table()
        print(f"{study.name}\n{table}")
        begin, end = study.marks
        text = text.replace(f"{begin}{shown(study, text)}{end}", f"{begin}{table}{end}")
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
