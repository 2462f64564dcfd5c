"""Whether the model does what was recorded of a real Linux guest under emulation: counts and order, run by run.

    python tools/tcg_equality.py RECORDINGS            prints the table
    python tools/tcg_equality.py RECORDINGS --short    without the replays of port accesses, which take longest
    python tools/tcg_equality.py RECORDINGS --write    puts it into docs/validation.md

RECORDINGS is the folder of the public recordings. Their times say nothing about KVM (emulation slows the guest), but
what the guest's driver did, and what QEMU did with it, is the same under KVM. Each run's requests are replayed, each
when the one before is done, by the described driver; of runs with every port access these are replayed as well
(`replay = "ports"`). Compared are, in order and without any tolerance:

* commands: operation, first sector, sectors;
* accesses of the IDE ports: of `full` runs every one, data words by item; of `light` runs those that QEMU's log has
  (register writes, status reads, writes to the bus master); of the runs without either, how many each command has;
* interrupts: how often the line is raised, and how many changes of its level QEMU asks for;
* virtio-blk: the events of each request between kick and notification, kicks, notifications, operations of the disk.
"""

import csv
import gzip
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iosim.model.costs import load_profile
from iosim.model.scenario import Scenario
from iosim.model.trace import OPS, Trace
from iosim.results.result import Result
from iosim.simulation import run_and_tabulate
from iosim.traces import AccessTable, ReadOptions, read_trace
from iosim.traces.access_reader import write_accesses
from iosim.traces.accesses import UNKNOWN, Access
from iosim.traces.reading import PortDrive

PAGE = Path(__file__).resolve().parents[1] / "docs" / "validation.md"
BEGIN, END = "<!-- begin of tcg -->\n", "<!-- end of tcg -->\n"

FOLDERS = ("A_tcg_linux", "A_v1_busybox_dd")
PROFILE = "vmx-2017"
"""Any will do: counts and order do not depend on it."""
DATA, MARK = 0x1F0, 0x172
"""The workload marks its phases by writes to port 0x172 of the empty secondary channel."""
BUS_MASTER = range(0xC000, 0xC010)
_LINE = re.compile(r"[\d@.]+:(\w+) ?(.*)")
_PORT = re.compile(r"@ 0x([0-9a-f]+) ")
_BMDMA = re.compile(r"writeb 0x([0-9a-f]+) :")

Step = tuple[str, int, int, int]
"""direction, port, width, items."""


@dataclass
class Comparison:
    """One recording: what was compared, how much of it, and what differs (empty: all equal)."""

    recording: str
    replayed: str
    commands: int = 0
    accesses: int = 0
    interrupts: int = 0
    order: str = ""
    differences: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def same(self, what: str, recorded: Any, simulated: Any) -> None:
        """Note a difference unless both are equal."""
        if recorded != simulated:
            self.differences.append(f"{what}: recorded {recorded}, simulated {simulated}")

    def same_order(self, what: str, recorded: Sequence[Any], simulated: Sequence[Any]) -> None:
        """Note the first place where two sequences differ."""
        if recorded == simulated:
            return
        at = next((n for n, (a, b) in enumerate(zip(recorded, simulated, strict=False)) if a != b), -1)
        if at < 0:
            self.same(f"number of {what}", len(recorded), len(simulated))
        else:
            self.differences.append(
                f"{what}: number {at} of {len(recorded)} is {recorded[at]}, simulated {simulated[at]}"
            )


# The recordings


@dataclass(frozen=True)
class Run:
    """A recorded run: its folder, and what its name says of it."""

    folder: Path

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.folder.name

    @property
    def is_virtio(self) -> bool:
        """Whether the disk is a virtio-blk device."""
        return self.name.startswith("virtio")

    def commands(self) -> pd.DataFrame:
        """Return the commands (virtio: requests) of the run."""
        return pd.read_csv(self.folder / "commands.csv.gz")

    def log(self) -> Iterator[tuple[str, str]]:
        """Yield (event, arguments) of QEMU's log."""
        with gzip.open(self.folder / "qemu_work.trace.gz", "rt", encoding="utf-8") as lines:
            for match in filter(None, map(_LINE.match, lines)):
                yield match[1], match[2]

    def events(self) -> Iterator[dict[str, str]]:
        """Yield the rows of a full run's table of events."""
        with gzip.open(self.folder / "events.csv.gz", "rt", newline="") as file:
            yield from csv.DictReader(file)

    def drive(self) -> dict[str, Any]:
        """Return the drive that the run had."""
        mode, *words = self.name.split("_")
        cache = next((word for word in ("writeback", "writethrough") if word in words), "none")
        drive: dict[str, Any] = {"cache": cache, "trace": "none.csv", "size": "1GiB"}
        drive["aio"] = "native" if "native" in words else "io_uring" if "uring" in words else "threads"
        if self.is_virtio:
            return drive | {"interface": "virtio-blk"}
        return drive | {"transfer": mode[:3], "data_width": 16 if mode == "pio16" else 32}


def runs(recordings: Path) -> list[Run]:
    """Return the recorded runs."""
    return [Run(path.parent) for folder in FOLDERS for path in sorted((recordings / folder).glob("*/commands.csv.gz"))]


# The simulation


def simulated(drive: dict[str, Any], trace: Trace, every_span: bool = False) -> Result:
    """Return what becomes of *trace* on *drive*."""
    described = Scenario.model_validate(
        {
            "run": {"log": "ports", "slowest": len(trace) if every_span else 0},
            "host": {"disk": [{"name": "sda", "model": "constant", "service": "90us"}]},
            "vm": [{"name": "guest", "drive": [drive]}],
        }
    )
    return run_and_tabulate(described, load_profile(PROFILE, Path()), {(0, 0): trace})


def request_trace(commands: pd.DataFrame) -> Trace:
    """Return the requests of *commands*, all at once, for closed replay."""
    ops = np.array([OPS.index(op) for op in commands["op"]], dtype=np.uint8)
    first, count = (commands[name].to_numpy(dtype=np.int64).copy() for name in ("lba", "nsect"))
    flush = ops == OPS.index("F")
    first[flush] = count[flush] = 0
    return Trace(np.zeros(len(ops), dtype=np.int64), ops, first, count, "recorded", "")


def steps(result: Result) -> list[Step]:
    """Return the simulated accesses."""
    assert result.accesses is not None
    columns = ("direction", "port", "width", "count")
    return list(zip(*(result.accesses[name].tolist() for name in columns), strict=True))


def by_item(accesses: Iterable[Step]) -> list[Step]:
    """Return accesses with words of the data port in a row joined, whatever exits they came in."""
    found: list[Step] = []
    for direction, port, width, items in accesses:
        if port == DATA and found and found[-1][:3] == (direction, port, width):
            items += found.pop()[3]
        found.append((direction, port, width, items))
    return found


# IDE


def recorded_steps(run: Run) -> tuple[list[Step], list[int], AccessTable]:
    """Return a full run's accesses of the IDE ports, the levels of its interrupt line, and the accesses as a table."""
    found: list[Step] = []
    levels: list[int] = []
    rows: list[Access] = []
    for row in run.events():
        if row["event"] == "irq14_level":
            levels.append(int(row["value"]))
        if row["event"] not in ("pio_ide", "pio_bmdma", "pio_piix-bmdma") or int(row["port"], 16) == MARK:
            continue
        port, width, n = int(row["port"], 16), int(row["width"]), int(row["n"])
        write = row["dir"] == "W"
        found.append(("out" if write else "in", port, width, n))
        value = UNKNOWN if row["value"] == "-" else int(row["value"], 16)
        rows.append(Access(int(row["ts_us"]) * 1000, 0, write, port, width, 1, value, UNKNOWN, False, n))
    # The table of events has equal words in a row as one row; the number of them stands in the place of the line.
    table = AccessTable.of_rows(rows)
    return by_item(found), levels, table[np.repeat(np.arange(len(table)), table.lines)]


def logged_steps(run: Run) -> tuple[list[tuple[str, int]], list[int]]:
    """Return the accesses that a light run's log has, and the levels of the interrupt line."""
    found: list[tuple[str, int]] = []
    levels: list[int] = []
    for event, arguments in run.log():
        if event in ("ide_ioport_write", "ide_ioport_read") and (port := _PORT.search(arguments)):
            if int(port[1], 16) != MARK:
                found.append(("out" if event.endswith("write") else "in", int(port[1], 16)))
        elif event == "bmdma_write" and (offset := _BMDMA.search(arguments)):
            found.append(("out", BUS_MASTER.start + int(offset[1], 16)))
        elif event == "ioapic_set_irq" and arguments.startswith("vector: 14 "):
            levels.append(int(arguments[-1]))
    return found, levels


def in_log(step: Step) -> bool:
    """Tell whether a light run's log has such an access."""
    direction, port, *_ = step
    if port in BUS_MASTER:
        return direction == "out" and port != BUS_MASTER.start + 4
    return 0x1F1 <= port <= 0x1F7


def compare_counts(run: Run, commands: pd.DataFrame, result: Result, found: Comparison) -> None:
    """Compare how many accesses of each kind each command has; QEMU's log of light runs does not have all kinds."""
    assert result.accesses is not None
    table = result.accesses[result.accesses["request"] >= 0]
    ports, writes = table["port"], table["direction"] == "out"
    in_bus_master = ports.between(BUS_MASTER.start, BUS_MASTER.stop)
    data = ports == DATA
    kinds = {"reg_w": writes & ports.between(0x1F1, 0x1F7)}
    if run.name.endswith("full"):
        kinds |= {"alt_rd": ports == 0x3F6, "bm_r": ~writes & in_bus_master, "bm_w": writes & in_bus_master}
        kinds |= {
            f"d{8 * width}{way}": data & (table["width"] == width) & (writes if way == "w" else ~writes)
            for width in (2, 4)
            for way in "wr"
        }
    for name, chosen in kinds.items():
        mine = table[chosen].groupby("request")["count"].sum().reindex(range(len(commands)), fill_value=0)
        wrong = np.flatnonzero(mine.to_numpy() != commands[name].to_numpy())
        if len(wrong):
            at = int(wrong[0])
            found.differences.append(
                f"{name} of {len(wrong)} commands, first number {at}: "
                f"recorded {commands[name][at]}, simulated {mine[at]}"
            )
    # The recording's table begins at the first register write, and gives a status read between two commands to the
    # former: the sum is compared, without what the driver reads before it writes for the first time.
    status = ~writes & (ports == 0x1F7)
    before = status & ~writes.cummax()
    found.same("status reads", int(commands["st_rd"].sum()), int((status & ~before).sum()))
    found.same("interrupts of commands", commands["irq"].tolist(), result.requests["irqs"].tolist())


def compare_ide(run: Run) -> Comparison:
    """Compare a run with an IDE disk."""
    commands = run.commands()
    result = simulated(run.drive() | {"replay": "closed"}, request_trace(commands))
    found = Comparison(run.name, "driver", commands=len(commands))
    made = steps(result)
    levels: list[int] = []
    if (run.folder / "events.csv.gz").exists():
        recorded, levels, _ = recorded_steps(run)
        found.order = "every access"
        found.accesses = sum(step[3] for step in recorded)
        found.same_order("accesses", recorded, by_item(made))
    elif (run.folder / "qemu_work.trace.gz").exists():
        logged, levels = logged_steps(run)
        found.order = "logged accesses"
        found.accesses = len(logged)
        found.same_order("accesses", logged, [step[:2] for step in made if in_log(step)])
    else:
        found.order = "counts only"
        found.accesses = int(commands[["reg_w", "st_rd", "alt_rd", "bm_r", "bm_w"]].sum().sum())
    compare_counts(run, commands, result, found)
    _compare_interrupts(levels, result, found)
    return found


def _compare_interrupts(levels: list[int], result: Result, found: Comparison) -> None:
    found.interrupts = int(result.requests["irqs"].sum())
    if levels:
        found.interrupts = sum(levels)
        found.same("interrupts raised", sum(levels), int(result.requests["irqs"].sum()))
        # QEMU 7.2 makes two ioctls of each change of the level under KVM, one call of the IOAPIC under emulation.
        found.same("changes of the line", len(levels), int(result.requests["irq_line_ioctls"].sum()) // 2)


def compare_ports(run: Run, folder: Path) -> Comparison:
    """Replay the port accesses of a full run; *folder* is for temporary files."""
    recorded, levels, rows = recorded_steps(run)
    path = folder / f"{run.name}.parquet"
    write_accesses([rows], path)
    trace = read_trace(path, ReadOptions(ports=PortDrive(0, 0, 16, True, "auto")))
    path.unlink()
    result = simulated(run.drive() | {"replay": "ports"}, trace)
    commands = run.commands()
    found = Comparison(run.name, "ports", len(commands), len(rows), order="every access")
    found.same_order("accesses", recorded, by_item(steps(result)))
    mine = result.requests[["op", "sector", "sectors"]].astype({"op": str}).to_numpy().tolist()
    expected = request_trace(commands)
    found.same_order("commands", [list(expected.request(number)) for number in range(len(expected))], mine)
    _compare_interrupts(levels, result, found)
    return found


# virtio-blk

VIRTIO_EVENTS = {
    "ioeventfd_write": dict.fromkeys("RWF", "virtio_queue_notify"),
    "virtio_blk_handle_request": {"R": "virtio_blk_handle_read", "W": "virtio_blk_handle_write"},
    "blk_aio_prwv": {"R": "blk_co_preadv", "W": "blk_co_pwritev"},
    "thread_pool_submit_aio": dict.fromkeys("RWF", "thread_pool_submit"),
    "thread_pool_completion_bh": dict.fromkeys("RWF", "thread_pool_complete"),
    "virtio_blk_rw_complete": dict.fromkeys("RW", "virtio_blk_rw_complete"),
    "virtqueue_push": dict.fromkeys("RWF", "virtio_blk_req_complete"),
    "virtio_notify_irqfd": dict.fromkeys("RWF", "virtio_notify_irqfd"),
}
"""Trace event that each function of the path stands for, by operation; a flush has no event of its own."""
_COMPARED = {event for by_op in VIRTIO_EVENTS.values() for event in by_op.values()}


def virtio_events(run: Run) -> list[str]:
    """Return the recorded events from kicks to notifications."""
    if (run.folder / "events.csv.gz").exists():
        names: Iterable[str] = (row["event"] for row in run.events())
    elif (run.folder / "qemu_work.trace.gz").exists():
        names = (event for event, _ in run.log())
    else:
        return []
    return [name for name in names if name in _COMPARED]


def compare_virtio(run: Run) -> Comparison:
    """Compare a run with a virtio-blk disk."""
    commands = run.commands()
    trace = request_trace(commands)
    result = simulated(run.drive() | {"replay": "closed"}, trace, every_span=True)
    recorded = virtio_events(run)
    found = Comparison(run.name, "driver", commands=len(commands))
    found.order = "events of requests" if recorded else "counts only"
    kicks = int(result.exits.loc[result.exits["reason"] == "EPT_MISCONFIG", "count"].sum())
    found.interrupts = int(result.requests["irqs"].sum())
    found.same("kicks", len(commands), kicks)
    found.same("interrupts", len(commands), found.interrupts)
    if recorded:
        spans = result.spans[result.spans["function"].isin(VIRTIO_EVENTS) & ~result.spans["waits"]]
        by_request = {number: group["function"].tolist() for number, group in spans.groupby("request")}
        made = []
        for number, op in enumerate(result.requests["op"]):
            functions = [name for name, _ in groupby(by_request.get(number, []))]
            made += [VIRTIO_EVENTS[name][op] for name in functions if op in VIRTIO_EVENTS[name]]
        found.accesses = len(recorded)
        found.same_order("events", recorded, made)
        found.same("events by name", dict(sorted(Counter(recorded).items())), dict(sorted(Counter(made).items())))
    return found


# The table


def compare(recordings: Path, folder: Path | None = None) -> Iterator[Comparison]:
    """Yield the comparisons of all runs, one after another; with *folder* also the replays of port accesses."""
    for run in runs(recordings):
        yield compare_virtio(run) if run.is_virtio else compare_ide(run)
        if folder is not None and not run.is_virtio and (run.folder / "events.csv.gz").exists():
            yield compare_ports(run, folder)


def table(found: Sequence[Comparison]) -> str:
    """Return the Markdown table of the comparisons."""
    lines = [
        "| recording | replayed by | commands | accesses or events | interrupts | compared in order | equal |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        verdict = "yes" if one.equal else f"no: {'; '.join(one.differences)}"
        lines.append(
            f"| `{one.recording}` | {one.replayed} | {one.commands:,} | {one.accesses:,} | {one.interrupts:,} | "
            f"{one.order} | {verdict} |"
        )
    n_equal = sum(one.equal for one in found)
    return "\n".join([*lines, "", f"{n_equal} of {len(found)} comparisons are equal."]) + "\n"


def main() -> None:
    """Print the table, or put it into docs/validation.md with --write."""
    import tempfile

    recordings = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        found = table(list(compare(recordings, None if "--short" in sys.argv else Path(folder))))
    if "--write" not in sys.argv:
        print(found, end="")
        return
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{found}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
