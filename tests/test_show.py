"""The story of a result on the terminal: whole texts at several widths, whose numbers can be redone by hand.

Of 101 requests in 100 ms, 99 are writes of 100 us (20 us the guest's, 80 us the disk's), one is a flush that waits for
900 us and takes 100 us, and one is a read of 50 us of the second drive. So the mean is 10,950 us / 101, and p99 is the
100th of the sorted latencies. The band around p99 is the last two.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from iosim import scenario_file
from iosim.model.stages import Stage
from iosim.results.result import write
from tests.commandline import run
from tests.made import Request, result
from tests.support import scenario

TEXTS = Path(__file__).parent / "texts"
RUN, DISK, QUEUE = Stage.GUEST_RUN, Stage.DISK_SERVICE, Stage.GUEST_QUEUE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [Request(at * 1000, {RUN: 20, DISK: 80}) for at in range(99)]
    rows += [Request(99_000, {QUEUE: 900, DISK: 100}, op="F"), Request(99_500, {RUN: 50}, op="R", drive=1)]
    exits = [
        ("web", 0, "HLT", False, 101, 90_900, 100, 200, 300, 400),
        ("web", 0, "IO_INSTRUCTION", True, 808, 1616, 1, 2, 3, 4),
    ]
    resources = [("web/channel0", 1, 10_050), ("web/vcpu0", 1, 2030), ("disk/ssd", 4, 8020)]
    described = scenario([{}, {}], [{"name": "ssd", "model": "ssd"}])
    figures = {"published": 6, "assumed": 4}
    made = result(rows, described, 100_000, exits, resources, slowest=[99, 0, 100], figures=figures)
    folder = tmp_path_factory.mktemp("show") / "result"
    write(made, folder, scenario_file.to_toml(described), pictures=False)
    return folder


@pytest.mark.parametrize("width", [50, 80, 140])
def test_the_whole_text(
    width: int, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (TEXTS / f"show-{width}.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= width
    monkeypatch.setenv("COLUMNS", str(width))
    answer = run(capsys, "show", str(folder))
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == text


def test_a_pipe_gets_no_colours_and_an_ascii_one_no_other_letters(folder: Path) -> None:
    command = [sys.executable, "-m", "iosim", "show", str(folder)]
    environment = os.environ | {
        "PYTHONIOENCODING": "ascii",
        "COLUMNS": "80",
        "FORCE_COLOR": "",
        "TERM": "xterm-256color",
    }
    out = subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode("ascii")
    assert "\x1b" not in out
    assert "  ####" in out
    text = (TEXTS / "show-80.txt").read_text(encoding="utf-8")
    without_bars = [re.sub(r" +[^ -~]+$", "", line) for line in text.splitlines()]
    assert [re.sub(r" +#+$", "", line) for line in out.splitlines()] == without_bars


def test_long_tables_are_cut_to_their_highest_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vms = [{"name": "web", "count": 30, "drive": [{}]}]
    rows = [Request(0, {RUN: 100 + at}, vm=f"web#{at}") for at in range(30)]
    described = scenario(vms=vms)
    write(result(rows, described, slowest=range(30)), tmp_path / "out", "", pictures=False)
    answer = run(capsys, "show", str(tmp_path / "out"))
    for title, file in (("VMs and drives", "requests"), ("The slowest requests", "requests")):
        block = answer.out[answer.out.index(title) :].split("\n\n")[0].splitlines()
        assert [line.split()[0] for line in block[2:22]] == [f"web#{at}" for at in range(29, 9, -1)]
        assert block[22].endswith(f"first; 10 more in {file}.parquet")


def test_a_result_without_requests_has_nothing_to_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(result([Request(0, {RUN: 100}, status="unfinished")]), tmp_path / "out", "", pictures=False)
    answer = run(capsys, "show", str(tmp_path / "out"))
    assert answer.status == 0
    assert "No request counts: there is no latency to speak of." in answer.out
    assert "Latency in the guest" not in answer.out
    assert "1 request had no end when the run had" in answer.out


def test_what_is_no_result_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for name, rule in (("empty", "holds no result of iosim run (no summary.json of one)"), ("none", "is not a folder")):
        answer = run(capsys, "show", str(tmp_path / name))
        assert answer == (2, "", f"iosim: {tmp_path / name}: {rule}\n")
