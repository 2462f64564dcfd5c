"""A comparison on the terminal: whole texts at several widths, whose numbers can be redone by hand.

The base has 300 requests a millisecond apart, in turn of two VMs, every third a read. Each takes 20 us in the guest and
80 us at the disk, each 50th waits for 400 us before. In the second run the guest takes 5 us, the virtqueue 3 to 11 us
(by a rule without pattern), and nobody waits; the third has a disk of 60 us instead of 80 us and no other change.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from iosim import scenario_file
from iosim.model.stages import Stage
from iosim.results.result import write
from tests.commandline import run
from tests.made import Request, result, with_functions
from tests.support import scenario

TEXTS = Path(__file__).parent / "texts"
RUN, DISK, QUEUE, WAIT = Stage.GUEST_RUN, Stage.DISK_SERVICE, Stage.GUEST_QUEUE, Stage.SUBMIT_WAIT
N = 300


def write_run(folder: Path, stages: Sequence[dict[Stage, int]], interface: str, service: str, busy_us: int) -> None:
    rows = [Request(at * 1000, each, op="WWR"[at % 3], vm="web" if at % 2 else "db") for at, each in enumerate(stages)]
    vms = [{"name": name, "drive": [{"interface": interface}]} for name in ("web", "db")]
    described = scenario(disks=[{"model": "constant", "service": service}], vms=vms)
    resources = [("disk/sda", 1, busy_us), ("web/bql", 1, 3000)]
    if interface == "ide":
        resources.append(("web/channel0", 1, 15_000))
    made = result(rows, described, N * 1000, resources=resources, figures={"published": 6, "assumed": 4})
    write(with_functions(made), folder, scenario_file.to_toml(described), pictures=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    waits = [400 if at % 50 == 10 else 0 for at in range(N)]
    ide = [{QUEUE: wait, RUN: 20, DISK: 80} for wait in waits]
    write_run(folder / "ide", ide, "ide", "80us", 24_000)
    virtio = [{RUN: 5, WAIT: 3 + at * at * 7919 % 1009 % 9, DISK: 80} for at in range(N)]
    write_run(folder / "virtio", virtio, "virtio-blk", "80us", 24_000)
    write_run(folder / "fast", [each | {DISK: 60} for each in ide], "ide", "60us", 18_000)
    return folder


@pytest.mark.parametrize(
    ("text", "width", "folders"),
    [
        ("compare-80", 80, ("ide", "virtio")),
        ("compare-120", 120, ("ide", "virtio")),
        ("compare-140", 140, ("ide", "virtio")),
        ("compare-three-80", 80, ("ide", "virtio", "fast")),
        ("compare-three-120", 120, ("ide", "virtio", "fast")),
        ("compare-same-80", 80, ("ide", "again")),
    ],
)
def test_the_whole_text(
    text: str,
    width: int,
    folders: tuple[str, ...],
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    if not Path("again").exists():
        Path("again").mkdir()
        for path in Path("ide").iterdir():
            (Path("again") / path.name).write_bytes(path.read_bytes())
    expected = (TEXTS / f"{text}.txt").read_text(encoding="utf-8")
    assert max(map(len, expected.splitlines())) <= width
    monkeypatch.setenv("COLUMNS", str(width))
    answer = run(capsys, "compare", *folders)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == expected


def test_a_pipe_gets_120_columns_no_colours_and_an_ascii_one_no_other_letters(folder: Path) -> None:
    command = [sys.executable, "-m", "iosim", "compare", "ide", "virtio"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "FORCE_COLOR": "", "TERM": "xterm-256color"}
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    out = answer.stdout.decode("ascii")
    assert answer.stderr == b""
    assert "\x1b" not in out
    assert "  ####" in out
    text = (TEXTS / "compare-120.txt").read_text(encoding="utf-8")
    without_bars = [re.sub(r" +[^ -~]+$", "", line) for line in text.splitlines()]
    assert [re.sub(r" +#+$", "", line) for line in out.splitlines()] == without_bars


@pytest.mark.parametrize("width", [50, 60, 100, 200])
def test_other_widths_keep_every_number(
    width: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", str(width))
    answer = run(capsys, "compare", "ide", "virtio", "fast")
    assert "…" not in answer.out
    for number in ("-16.0", "-404", "+6.98", "-20.0", "-22.1 to -9.98"):
        assert number in answer.out
