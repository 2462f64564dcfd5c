"""Write the state of the truth into docs/validation.md: recorded bare-metal workloads beside their simulation.

    python tools/validate.py                        prints the tables
    python tools/validate.py --write                puts them into the page, and draws docs/pictures/validation.png
    python tools/validate.py --write RECORDINGS     also the hold-out by workload; RECORDINGS: the public recordings

Measured is what the guest's own clock said, untraced; the profile is made of traced runs only
(tools/make_pvm_nested.py). For the hold-out by workload the profile and the disk's table are made once more for each
workload, without any recording of that program. `iosim validate host` compares one workload in the same way.
"""

import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pandas as pd

import iosim
from iosim.calibrate.overhead import UNKNOWN, Overhead
from iosim.hosts import measured, parts
from iosim.hosts.command import predicted_parts
from iosim.hosts.judge import Judgement, judge
from iosim.model.costs import load_profile
from iosim.model.units import three_digits
from iosim.results.result import Result
from iosim.traces.reading import ReadOptions
from iosim.validate.match import FIGURES
from iosim.validate.picture import draw
from iosim.validate.tables import markdown, signed

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "validation.md"
PICTURE = PROJECT / "docs" / "pictures" / "validation.png"
SCENARIOS = PROJECT / "scenarios" / "validation"
WORKLOADS = ["w30_outw_1", "w30_outw_8", "w30_outw_64", "dma_w_irq_1", "dma_w_irq_8", "dma_w_irq_64", "dma_w_8"]
BLOCKS = ("workloads", "hold-out", "steps")

BM_STATUS_READS_RECORDED = 10.6
"""Reads of the bus-master status per command of dma_w_8, polls included: mean of its light_trace."""
ACCESSES_WITHOUT_THEM = 12
"""The other port accesses of a command of dma_w_8: 9 up to the command, the start, one status read, the stop."""
TRACED = PROJECT / "traces" / "host" / "dma_w_irq_8.ftrace.gz"
TSC = ReadOptions(clock_hz=Fraction(2_596_136_000))
RECORD_US = 0.269
"""What a trace record costs there: head of iosim/profiles/pvm-nested.toml."""


def simulated(workload: str, scenario: Path | None = None, changes: Sequence[str] = ()) -> Result:
    """Return the result of *workload*'s scenario, or of another file."""
    return iosim.simulate(iosim.load(scenario or SCENARIOS / f"{workload}.toml", ['run.log="ports"', *changes]))


def judged(workload: str, result: Result, folder: Path = SCENARIOS) -> dict[str, Judgement]:
    """Return the comparison of each part of *workload*'s commands, by the part's name."""
    path = PROJECT / "traces" / "bare" / f"{workload}.measured.csv.gz"
    found = judge(
        measured.read([path], ReadOptions(), UNKNOWN).parts,
        predicted_parts(result, load_profile(result.scenario.host.profile, folder)),
    )
    return {one.name: one for one in found}


def us(ns: float) -> str:
    """Return a time in whole microseconds."""
    return f"{ns / 1000:,.0f}"


def row(name: str, one: Judgement, figure: str) -> list[str]:
    """Return one line of the table of workloads."""
    spread = one.match.repetitions
    assert spread is not None
    ends = f"{us(spread.low[figure])} to {us(spread.high[figure])}"
    cells = [f"`{name}`", figure, us(one.match.predicted_ns[figure]), us(one.typical_ns[figure]), ends, str(spread.n)]
    cells += [f"{spread.spread(figure):.0%}", signed(one.error(figure)), one.met(figure)]
    first = figure == FIGURES[0]
    return cells + ([f"{one.match.ks:.2f}", us(one.match.demerit_ns)] if first else ["", ""])


def workloads() -> tuple[str, dict[str, dict[str, Judgement]]]:
    """Return the block about all workloads with the shipped profile, and the comparisons."""
    results = {name: simulated(name) for name in WORKLOADS}
    found = {name: judged(name, result) for name, result in results.items()}
    head = ["workload", "us per command", "simulated", "measured: median of the repetitions", "smallest to largest"]
    head += ["repetitions", "spread", "error", "aim met", "KS", "demerit"]
    body = [row(name, found[name][parts.TOTAL], figure) for name in WORKLOADS for figure in FIGURES]
    verdicts = [found[name][parts.TOTAL].met(figure) for name in WORKLOADS for figure in FIGURES]
    text = markdown(head, body) + "\n"
    text += (
        f"Of {len(verdicts)} figures {verdicts.count('yes')} are within 5 % (p90 and p99: 15 %), "
        f"{verdicts.count('spread')} more within the spread of the repetitions, {verdicts.count('no')} neither.\n\n"
    )
    split = [
        "workload",
        "up to the submission: simulated",
        "measured",
        "error",
        "behind it: simulated",
        "measured",
        "error",
    ]
    lines = []
    for name in WORKLOADS:
        cells = [f"`{name}`"]
        for one in (found[name][parts.UP_TO], found[name][parts.BEHIND]):
            cells += [us(one.match.predicted_ns["p50"]), us(one.typical_ns["p50"]), signed(one.error("p50"))]
        lines.append(cells)
    text += "p50, us:\n\n" + markdown(split, lines) + "\n"
    reads = results["dma_w_8"].requests["userspace_exits"].mean() - ACCESSES_WITHOUT_THEM
    text += (
        f"Reads of the bus-master status per command of `dma_w_8`, polls included (mean): simulated {reads:.1f}, "
        f"recorded {BM_STATUS_READS_RECORDED}.\n"
    )
    return text, found


def make_tool() -> ModuleType:
    """Return tools/make_pvm_nested.py as a module."""
    spec = importlib.util.spec_from_file_location("make_pvm_nested", PROJECT / "tools" / "make_pvm_nested.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without(workload: str, recordings: Path, make: ModuleType) -> Judgement:
    """Return how *workload* is predicted by a profile and a disk that *make* made without its recordings."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "profile.toml").write_text(make.profile_text(recordings, {workload}), encoding="utf-8")
        (folder / "disk.csv").write_text(make.disk_text(recordings, {workload}), encoding="utf-8")
        text = (SCENARIOS / f"{workload}.toml").read_text(encoding="utf-8")
        text = text.replace('"pvm-nested"', '"profile.toml"').replace("../disks/pvm-host.csv", "disk.csv")
        text = text.replace("../../traces", str(PROJECT / "traces"))
        (folder / "scenario.toml").write_text(text, encoding="utf-8")
        return judged(workload, simulated(workload, folder / "scenario.toml"), folder)[parts.TOTAL]


def hold_out(shipped: dict[str, dict[str, Judgement]], recordings: Path) -> str:
    """Return the block about profiles made without the workload that is judged."""
    make = make_tool()
    head = ["workload", "profile of", "mean", "p50", "p90", "p99", "aim not met"]
    body = []
    for name in WORKLOADS:
        for label, one in (
            ("all recordings", shipped[name][parts.TOTAL]),
            ("without it", without(name, recordings, make)),
        ):
            missed = ", ".join(figure for figure in FIGURES if one.met(figure) == "no") or "-"
            body.append([f"`{name}`", label, *(signed(one.error(figure)) for figure in FIGURES), missed])
    return markdown(head, body)


def steps() -> str:
    """Return the block about the steps of one traced run."""
    result = simulated("dma_w_irq_8", changes=['run.window={start="0s",end="1h"}'])
    predicted = parts.of_spans(result.spans)
    head = [
        "step",
        "p50, us: recorded",
        "less tracing",
        "simulated",
        "error",
        "p90: less tracing",
        "simulated",
        "error",
    ]
    recorded, free = (
        measured.read([TRACED], TSC, overhead).parts for overhead in (UNKNOWN, Overhead(RECORD_US, "per record"))
    )
    body = []
    for one in judge(free, predicted):
        of_trace = pd.Series(recorded[one.name][0]).median()
        cells = [one.name, three_digits(of_trace / 1000)]
        for figure in ("p50", "p90"):
            times = (one.typical_ns[figure], one.match.predicted_ns[figure])
            cells += [*(three_digits(ns / 1000) for ns in times), signed(one.error(figure))]
        body.append(cells)
    return markdown(head, body)


def put(page: str, block: str, text: str) -> str:
    """Return *page* with *text* between the marks of *block*."""
    begin, end = marks(block)
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return before + begin + text + end + after


def marks(block: str) -> tuple[str, str]:
    """Return what begins and ends *block* in the page."""
    return f"<!-- begin of {block}: tools/validate.py -->\n", f"<!-- end of {block}: tools/validate.py -->\n"


def main(arguments: Sequence[str]) -> None:
    """Print the blocks, or write them into the page."""
    folders = [Path(name) for name in arguments if name != "--write"]
    text, found = workloads()
    blocks = {"workloads": text, "steps": steps()}
    if folders:
        blocks["hold-out"] = hold_out(found, folders[0] / "B_kvm_baremetal")
    if "--write" not in arguments:
        for block in blocks.values():
            print(block)
        return
    page = PAGE.read_text(encoding="utf-8")
    for name, block in blocks.items():
        page = put(page, name, block)
    PAGE.write_text(page, encoding="utf-8")
    curves = [replace(found[name][parts.TOTAL].match, name=name) for name in WORKLOADS]
    draw(curves, PICTURE, "time of a command, profile pvm-nested")


if __name__ == "__main__":
    main(sys.argv[1:])
