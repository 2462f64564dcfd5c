"""Measure the tables of docs/answers.md.

    python tools/answers.py [--write]

Without --write the tables are printed. A table stands in the page between two marks with its name.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

import iosim
from iosim.model.units import three_digits
from iosim.results.result import Result
from iosim.results.summary import counted

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "answers.md"


class Run(NamedTuple):
    """One run: a shipped scenario, and what --set changes."""

    scenario: str
    changes: tuple[str, ...] = ()

    def result(self) -> Result:
        """Simulate it, without spans."""
        return iosim.simulate(iosim.load(ROOT / "scenarios" / self.scenario, [*self.changes, "run.slowest=0"]))


class Column(NamedTuple):
    """A figure of one of a row's runs."""

    heading: str
    figure: Callable[[Result], float]
    run: int = 0


class Row(NamedTuple):
    """What the first cells say, and the runs that the others are measured in."""

    labels: tuple[str, ...]
    runs: tuple[Run, ...]


class Answer(NamedTuple):
    """One table of the page."""

    name: str
    headings: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def head(self) -> str:
        """Return the two lines above the rows."""
        headings = [*self.headings, *(column.heading for column in self.columns)]
        rule = ["---"] * len(self.headings) + ["--:"] * len(self.columns)
        return f"| {' | '.join(headings)} |\n|{'|'.join(rule)}|\n"

    def line(self, row: Row) -> str:
        """Return *row*, measured."""
        results = [run.result() for run in row.runs]
        cells = [three_digits(column.figure(results[column.run])) for column in self.columns]
        return f"| {' | '.join([*row.labels, *cells])} |\n"

    def table(self) -> str:
        """Return the whole table, measured."""
        return self.head() + "".join(self.line(row) for row in self.rows)

    @property
    def marks(self) -> tuple[str, str]:
        """What stands before and behind the table in the page."""
        return f"<!-- {self.name}: by tools/answers.py -->\n", f"<!-- end of {self.name} -->\n"


# Figures


def _latency(result: Result, op: str | None = None) -> "pd.Series[int]":
    table = counted(result.requests)
    return table["latency_ns"] if op is None else table.loc[table["op"] == op, "latency_ns"]


def mean_us(result: Result) -> float:
    """Mean latency."""
    return float(_latency(result).mean()) / 1000


def mean_of(op: str) -> Callable[[Result], float]:
    """Return the mean latency of the requests of one kind."""
    return lambda result: float(_latency(result, op).mean()) / 1000


def percentile(p: float) -> Callable[[Result], float]:
    """Return a percentile of the latency."""
    return lambda result: float(_latency(result).quantile(p)) / 1000


def stage_us(*labels: str) -> Callable[[Result], float]:
    """Return the mean time in some stages."""
    return lambda result: sum(float(counted(result.requests)[f"{label}_ns"].mean()) for label in labels) / 1000


def beside_the_disk_us(result: Result) -> float:
    """Mean latency without the disk's own time and its queue."""
    return mean_us(result) - stage_us("disk_wait", "disk_service")(result)


def per_request(name: str) -> Callable[[Result], float]:
    """Return the mean of a counter of the requests."""
    return lambda result: float(counted(result.requests)[name].mean())


def busy_percent(resource: str) -> Callable[[Result], float]:
    """Return the utilisation of a resource."""
    return lambda result: 100 * result.resources.set_index("resource")["utilisation"].to_dict()[resource]


def p99_ms(vm: str, drive: int) -> Callable[[Result], float]:
    """Return the 99th percentile of one drive."""

    def figure(result: Result) -> float:
        table = counted(result.requests)
        latency = table.loc[(table["vm"] == vm) & (table["drive"] == drive), "latency_ns"]
        return float(latency.quantile(0.99)) / 1_000_000

    return figure


def whole_run_ms(result: Result) -> float:
    """Time from the first arrival to the last completion."""
    return float(result.requests["done_ns"].max() - result.requests["arrival_ns"].min()) / 1_000_000


# Questions

SLOWER_DISK = ("host.disk.nvme.service=200us", "host.disk.nvme.flush=500us")

INTERFACES = Answer(
    "interfaces",
    ("scenario",),
    (
        Column("exits", per_request("exits")),
        Column("to QEMU", per_request("userspace_exits")),
        Column("mean (us)", mean_us),
        Column("p99 (us)", percentile(0.99)),
        Column("without the disk (us)", beside_the_disk_us),
        Column("mean, disk of 200 us", mean_us, 1),
    ),
    tuple(
        Row((f"`{name}`",), (Run(f"interfaces/{name}.toml"), Run(f"interfaces/{name}.toml", SLOWER_DISK)))
        for name in ("ide-pio", "ide-dma", "virtio-blk", "virtio-blk-iothread")
    ),
)

CPUS = Answer(
    "cpus",
    ("VMs",),
    (
        Column("CPUs busy (%)", busy_percent("cpus")),
        Column("mean (us)", mean_us),
        Column("p50 (us)", percentile(0.5)),
        Column("p99 (us)", percentile(0.99)),
        Column("of the mean, waiting for a CPU (us)", stage_us("cpu_wait")),
    ),
    tuple(Row((str(n),), (Run("cpus.toml", (f"vm.linux.count={n}",)),)) for n in (1, 8, 16, 32, 40, 48, 56, 64)),
)

CACHE_MODES = Answer(
    "cache-modes",
    ("`cache`",),
    (
        Column("read (us)", mean_of("R")),
        Column("write (us)", mean_of("W")),
        Column("flush (us)", mean_of("F")),
        Column("mean (us)", mean_us),
        Column("p99 (us)", percentile(0.99)),
        Column("whole run (ms)", whole_run_ms),
        Column("mean, recorded times (us)", mean_us, 1),
    ),
    tuple(
        Row(
            (f"`{mode}`",),
            (
                Run("cache-modes.toml", (f"vm.linux.drive.0.cache={mode}",)),
                Run("cache-modes.toml", (f"vm.linux.drive.0.cache={mode}", "vm.linux.drive.0.replay=open")),
            ),
        )
        for mode in ("writeback", "none", "writethrough", "directsync", "unsafe")
    ),
)

KINDS = {
    "DMA": (),
    "PIO mode": ("vm.linux.drive.0.transfer=pio",),
    "virtio-blk": ("vm.linux.drive.0.interface=virtio-blk",),
    "DMA, qcow2": ("vm.linux.drive.0.format=qcow2",),
}

VERSIONS = Answer(
    "versions",
    ("QEMU", "Linux"),
    (
        *(Column(f"{kind} (us)", mean_us, run) for run, kind in enumerate(KINDS)),
        Column("exits (DMA)", per_request("exits")),
        Column("IRQ-line ioctls (DMA)", per_request("irq_line_ioctls")),
    ),
    tuple(
        Row(
            (qemu, kernel),
            tuple(
                Run("versions.toml", (f'vm.linux.qemu="{qemu}"', f'vm.linux.kernel="{kernel}"', *changes))
                for changes in KINDS.values()
            ),
        )
        for qemu, kernel in (("1.6", "3.10"), ("1.6", "6.1"), ("7.2", "3.10"), ("7.2", "6.1"))
    ),
)

NO_WINDOW = "host.disk.bad.window=[]"
SLOW = 'host.disk.bad.window=[{start="200ms", end="300ms", factor=10}]'
ERRORS = 'host.disk.bad.fault=[{start="200ms", end="300ms"}]'
VIRTIO = "vm.drive.interface=virtio-blk"
SMALL_CACHE = (
    "vm.drive.cache=writeback",
    'host.page_cache={dirty_background_bytes="128KiB", dirty_bytes="256KiB"}',
)

FAILING_DISK = Answer(
    "failing-disk",
    ("the disk `bad`", "drives"),
    (
        Column("`on-bad`", p99_ms("on-bad", 0)),
        Column("`on-both` 0: bad", p99_ms("on-both", 0)),
        Column("1: good, its slave", p99_ms("on-both", 1)),
        Column("2: good, other channel", p99_ms("on-both", 2)),
        Column("`on-good`", p99_ms("on-good", 0)),
    ),
    tuple(
        Row((disk, drives), (Run("failing-disk.toml", changes),))
        for disk, drives, changes in (
            ("healthy", "IDE", (NO_WINDOW,)),
            ("stands still", "IDE", ()),
            ("10 times slower", "IDE", (SLOW,)),
            ("EIO", "IDE", (NO_WINDOW, ERRORS)),
            ("healthy", "virtio-blk", (NO_WINDOW, VIRTIO)),
            ("stands still", "virtio-blk", (VIRTIO,)),
            ("stands still", "virtio-blk, `aio=native`", (VIRTIO, "vm.drive.aio=native")),
            ("healthy", "IDE, `writeback`", (NO_WINDOW, *SMALL_CACHE)),
            ("stands still", "IDE, `writeback`", SMALL_CACHE),
        )
    ),
)

ANSWERS = (INTERFACES, CPUS, CACHE_MODES, FAILING_DISK, VERSIONS)


def shown(answer: Answer, page: str) -> str:
    """Return the table of *answer* that stands in *page*."""
    begin, end = answer.marks
    found = re.search(f"{re.escape(begin)}(.*?){re.escape(end)}", page, re.DOTALL)
    assert found, answer.name
    return found[1]


def main() -> None:
    """Print the tables, or write them between their marks."""
    page = PAGE.read_text(encoding="utf-8")
    for answer in ANSWERS:
        table = answer.table()
        if "--write" in sys.argv[1:]:
            begin, end = answer.marks
            page = page.replace(f"{begin}{shown(answer, page)}{end}", f"{begin}{table}{end}")
        else:
            print(f"{answer.name}\n{table}")
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
