"""docs/questions.md: the questions that sweeps answer; commands are accepted, figures are those of fresh runs."""

import re
import shlex

import pytest

import iosim
from iosim.sensitivity import sensitivity_file
from iosim.study import study_file
from iosim.study.points import points
from tools.questions import PAGE, ROOT

TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
IOTHREAD = ("vm.linux.drive.0.interface=virtio-blk", "vm.linux.drive.0.iothread=true")
STEPS = {
    "PIO mode": (),
    "DMA": ("vm.linux.drive.0.transfer=dma",),
    "virtio-blk": IOTHREAD[:1],
    "virtio-blk, iothread": IOTHREAD,
}
DISK = ("host.disk.ssd.read=20us", "host.disk.ssd.program=80us", "host.disk.ssd.flush=170us")
BOUGHT = {"as it is": (), "newer CPU": ("host.cost.all=0.7",), "faster disk": DISK}
BOUGHT["both"] = (*BOUGHT["newer CPU"], *DISK)
WAYS = {"PIO mode": ("vm.linux.drive.0.transfer=pio",), "DMA": (), "virtio-blk": IOTHREAD[:1]}


def rows(name: str) -> list[list[str]]:
    """The cells of each row of a table of the page."""
    (text,) = re.findall(rf"<!-- {name}: by tools/questions.py -->\n(.*?)<!-- end of {name} -->", TEXT, re.DOTALL)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def fresh(scenario: str, *changes: str) -> tuple[float, float]:
    """Mean latency in us and exits per request of one run, with the seed of the first replication."""
    summary = iosim.simulate(iosim.load(ROOT / "scenarios" / scenario, [*changes, "run.slowest=0"])).summary
    return summary["latency_ns"]["mean"] / 1000, summary["per_request"]["exits"]


def is_near(value: float, cell: str) -> bool:
    """Whether a single run is where ten replications with the interval in *cell* say that runs are.

    Half of Student's interval is 2.26 / sqrt(10) standard deviations: six of them are more than four deviations.
    """
    estimate, half = (float(part.replace(",", "")) for part in cell.split(" ±"))
    return abs(value - estimate) <= 6 * half + 0.006 * abs(estimate)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_accepted(command: str) -> None:
    program, verb, path, *options = shlex.split(command)
    assert program == "iosim"
    assert verb in ("sweep", "sensitivity", "plan", "report")
    if verb == "sweep":
        assert options[-2] == "--out"
        assert points(study_file.load(ROOT / path), ROOT / path, options[1:-2:2])
    elif verb == "sensitivity":
        assert sensitivity_file.load(ROOT / path).study.scenario == "../linux-ext4.toml"


@pytest.mark.parametrize("step", STEPS)
def test_figures_of_the_migration_are_those_of_a_fresh_run(step: str) -> None:
    """If this fails because the model has changed: python tools/questions.py --write, and read the page again."""
    (row,) = [row for row in rows("pio-to-virtio") if row[0] == step]
    mean, exits = fresh("linux-pio.toml", *STEPS[step])
    assert is_near(mean, row[1])
    assert is_near(exits, row[4])
    for column, factor in ((6, 0.5), (7, 2)):
        assert is_near(fresh("linux-pio.toml", *STEPS[step], f"host.cost.all={factor}")[0], row[column])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bought", BOUGHT)
def test_figures_of_the_purchase_are_those_of_a_fresh_run(way: str, bought: str) -> None:
    """As above."""
    (row,) = [row for row in rows("disk-or-cpu") if row[:2] == [way, bought]]
    mean, _ = fresh("linux-ext4.toml", "vm.linux.drive.0.replay=closed", *WAYS[way], *BOUGHT[bought])
    assert is_near(mean, row[2])


@pytest.mark.parametrize("row", rows("costs-of-ext4")[:4], ids=lambda row: row[0].strip("`"))
def test_figures_of_the_costs_are_those_of_fresh_runs(row: list[str]) -> None:
    """As above."""
    base, _ = fresh("linux-ext4.toml")
    for column, factor in ((3, 0.5), (4, 2)):
        mean, _ = fresh("linux-ext4.toml", f"host.cost.{row[0].strip('`')}={factor}")
        assert is_near(mean - base, row[column])
