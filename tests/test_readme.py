"""The README is true: its commands exist and run, its example prints what stands there, its links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from iosim.traces import read_trace
from tests.commandline import run
from tools.readme_example import BEGIN, END, output

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of this language, without those of the example's output."""
    text = README.split(BEGIN)[0] + README.split(END)[1]
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name == language]


QUOTED = " ".join(re.findall(r"^> (.*)$", README, re.MULTILINE))
LINES = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture
def beside_the_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder from which scenarios/ and traces/ are found as in the project."""
    for name in ("scenarios", "traces"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_make_targets_exist() -> None:
    targets = [line.split()[1] for line in LINES if line.startswith("make ")]
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith("make ")])
def test_commands_run(line: str, beside_the_inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = shlex.split(line)
    assert program == ".venv/bin/iosim"
    for other in LINES:
        *earlier, last = shlex.split(other)
        if earlier[-1:] == ["--out"] and last in arguments and other != line:
            assert run(capsys, *earlier[1:], last).status == 0
    answer = run(capsys, *arguments)
    assert (answer.status, answer.err) == (0, "")
    if "--out" in arguments:
        assert (beside_the_inputs / arguments[arguments.index("--out") + 1]).exists()
    if arguments[0] == "compare":
        assert QUOTED in " ".join(answer.out.split())


def test_make_demo_is_the_example() -> None:
    example = next(line for line in LINES if line.endswith("reports/demo"))
    recipe = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    assert f"\t{example}\n" in recipe


def test_output_of_the_example_is_real() -> None:
    """If this fails because the model has changed: python tools/readme_example.py --write, and read it again."""
    assert README.split(BEGIN)[1].split(END)[0] == output()


def test_python_example_runs(beside_the_inputs: Path) -> None:
    (code,) = blocks("python")
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = [re.fullmatch(r"67 flushes: (\d+) us, (\d+) us of them disk", line) for line in answer.stdout.splitlines()]
    slow, fast = [(int(line[1]), int(line[2])) for line in found if line]
    assert fast[1] < slow[1] < slow[0]
    assert fast[0] < slow[0]


def test_trace_example_is_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(next(block for block in blocks("") if block.startswith("time_us")))
    trace = read_trace(path)
    assert list(trace.rows(0)) == [
        (0, "W", 2048, 8),
        (812_500, "R", 4096, 64),
        (1_430_000, "F", 0, 0),
    ]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)]+)\)", README))
def test_links_lead_to_files(target: str) -> None:
    assert (ROOT / target).is_file()
