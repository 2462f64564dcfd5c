"""The command `validate host`: measured repetitions of a workload beside its simulation with a profile."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from iosim import scenario_file
from iosim.calibrate.overhead import UNKNOWN, Overhead
from iosim.hosts import parts
from iosim.hosts.judge import Judgement, judge, unexplained
from iosim.hosts.measured import read
from iosim.model import units
from iosim.model.costs import Profile, load_profile
from iosim.model.errors import OutputError, ProfileError, ScenarioError, shown
from iosim.model.units import NS_PER_UNIT, three_digits
from iosim.results import result as results
from iosim.results.result import Result
from iosim.results.wording import common_unit
from iosim.simulation import simulate
from iosim.traces.reading import parsed_options
from iosim.traces.writer import replaced
from iosim.validate.match import FIGURES
from iosim.validate.picture import draw
from iosim.validate.tables import signed

Floats = npt.NDArray[np.float64]
_PICTURES = (".png", ".svg", ".pdf")
_ALL = '{start="0s",end="1h"}'
_SOME = '{start="0s",end="1s"}'
"""Spans of PIO-mode commands are many: one second is enough to compare steps."""


@dataclass(frozen=True)
class Wish:
    """What the command was asked for, as texts of the command line."""

    measured: list[Path]
    scenario: Path | None
    result: Path | None
    profile: str | None
    changes: list[str]
    record_cost: str | None
    json_file: Path | None
    picture: Path | None
    clock: str | None
    threads: str | None
    skip: bool


def run(wish: Wish, stdout: Console, stderr: Console) -> None:
    """Compare, show, and write what was asked for. Raises IosimError for what the user can mend."""
    if (wish.scenario is None) == (wish.result is None):
        raise ScenarioError("give one of --scenario (to be simulated) and --result (of an earlier run)")
    if wish.picture is not None and wish.picture.suffix not in _PICTURES:
        raise OutputError(f"--picture must end with {', '.join(_PICTURES)}, got {wish.picture}")
    overhead = _overhead(wish.record_cost)
    options = parsed_options(None, None, wish.skip, False, wish.clock, wish.threads)
    with stderr.status("reading the measurement"):
        measured = read(wish.measured, options, overhead)
    with stderr.status("simulating"):
        result, profile = _predicted(wish, measured.traced)
    found = judge(measured.parts, predicted_parts(result, profile))
    if not found:
        raise ScenarioError(f"{wish.measured[0]}: nothing in it can be compared with the result of this scenario")
    lines = unexplained(found, measured.traced, overhead_text(overhead)) + measured.notes
    show(stdout, found, lines, result)
    if wish.json_file is not None:
        data = {
            "scenario": str(wish.scenario or wish.result),
            "profile": result.scenario.host.profile,
            "parts": [one.as_json() for one in found],
            "not_explained": lines,
        }
        with replaced(wish.json_file) as file:
            file.write((json.dumps(data, indent=1) + "\n").encode())
    if wish.picture is not None:
        draw([one.match for one in found], wish.picture, f"profile {result.scenario.host.profile}")


def overhead_text(overhead: Overhead) -> str:
    """Return how the overhead of tracing is told."""
    if overhead.record_us is None:
        return overhead.source
    return f"{1000 * overhead.record_us:.0f} ns {overhead.source}, taken out of the measured steps"


def _overhead(text: str | None) -> Overhead:
    if text is None:
        return UNKNOWN
    try:
        return Overhead(units.parse_ns(text) / 1000, "per record, as given")
    except ValueError as error:
        raise ProfileError(f"--record-cost: {error}, got {shown(text)}") from None


def _predicted(wish: Wish, traced: bool) -> tuple[Result, Profile]:
    """Return the result to judge, and its profile."""
    if wish.result is not None:
        earlier = results.read(wish.result)
        # The scenario in the folder names files as seen from there.
        scenario = scenario_file.load(wish.result / "scenario.toml", [])
        return earlier, load_profile(scenario.host.profile, wish.result)
    assert wish.scenario is not None
    changes = [*wish.changes, 'run.log="ports"']
    if wish.profile is not None:
        name = str(Path(wish.profile).absolute()) if wish.profile.endswith(".toml") else wish.profile
        changes.append(f"host.profile={json.dumps(name)}")
    scenario = scenario_file.load(wish.scenario, changes)
    if traced:
        pio = any(drive.transfer == "pio" for vm in scenario.vm for drive in vm.drive)
        scenario = scenario_file.load(wish.scenario, [*changes, f"run.window={_SOME if pio else _ALL}"])
    return simulate(scenario, wish.scenario.parent), load_profile(scenario.host.profile, wish.scenario.parent)


def predicted_parts(result: Result, profile: Profile) -> dict[str, Floats]:
    """Return the samples of *result* in ns by the name of a part."""
    found: dict[str, Floats] = {}
    if result.accesses is not None:
        found |= parts.of_requests(result.requests, result.accesses, profile)
    else:
        ended = result.requests[result.requests["status"] == "ok"]
        found[parts.TOTAL] = ended["latency_ns"].to_numpy(dtype=np.float64)
    return found | (parts.of_spans(result.spans) if len(result.spans) else {})


def show(console: Console, found: list[Judgement], lines: list[str], result: Result) -> None:
    """Print the table, and what is not explained."""
    head, body = rows(found)
    table = Table(box=None, pad_edge=False)
    for at, name in enumerate(head):
        table.add_column(name, justify="right" if at else "left", overflow="fold")
    for row in body:
        table.add_row(*(escape(cell) for cell in row))
    console.print(f"profile {escape(result.scenario.host.profile)}", highlight=False)
    console.print()
    console.print(table)
    console.print()
    console.print("Not explained", style="bold")
    for line in lines:
        console.print(escape(line), soft_wrap=True, highlight=False)


def rows(found: list[Judgement]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: a row for each part and figure, times in one unit that the head names."""
    longest = max(one.match.predicted_ns["p99"] for one in found)
    unit = common_unit(min(one.typical_ns["p50"] for one in found), longest)
    scale = NS_PER_UNIT[unit]
    head = [
        "part",
        "figure",
        f"measured ({unit})",
        "repetitions",
        "predicted",
        "error",
        "aim met",
        "KS",
        f"demerit ({unit})",
    ]
    body = []
    for one in found:
        spread = one.match.repetitions
        for at, figure in enumerate(FIGURES):
            several = "-"
            if spread is not None:
                ends = (three_digits(end[figure] / scale) for end in (spread.low, spread.high))
                several = f"{spread.n}: {' to '.join(ends)}"
            cells = ["" if at else one.name, figure, three_digits(one.typical_ns[figure] / scale), several]
            cells += [three_digits(one.match.predicted_ns[figure] / scale), signed(one.error(figure)), one.met(figure)]
            cells += ["", ""] if at else [f"{one.match.ks:.3f}", three_digits(one.match.demerit_ns / scale)]
            body.append(cells)
    return head, body
