"""trace info and check on the terminal: what a file has besides requests, options, progress."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from iosim.trace_view import watching
from iosim.traces import TraceStream
from tests.commandline import run
from tests.trace_files import DATA, command, written

EVENT = "  8,0    3        {0}     {0}.000000000   697  {1}   {2} [x]"


def fields(out: str) -> dict[str, list[str]]:
    """The lines above the table of sizes, by their first word."""
    found: dict[str, list[str]] = {}
    for line in out.split("\n\n")[0].splitlines():
        name, _, text = line.partition("  ")
        found.setdefault(name, []).append(text.strip())
    return found


def test_info_accounts_for_every_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        EVENT.format(1, "Q", "W 8 + 8"),
        EVENT.format(1, "D", "W 8 + 8"),
        EVENT.format(2, "Q", "D 8 + 8"),
        "junk",
        EVENT.format(4, "Q", "R 64 + 16"),
        EVENT.format(3, "Q", "R 16 + 8"),
        EVENT.format(5, "C", "W 8 + 8").replace("[x]", "[0]"),
        "  8,16   3        1     1.000000000   697  Q   W 0 + 8 [x]",
    ]
    path = written(tmp_path, lines)
    answer = run(capsys, "trace", "info", str(path), "--skip", "--device", "8,0")
    assert (answer.status, answer.err) == (0, "")
    found = fields(answer.out)
    assert found["format"] == ["blkparse"]
    assert found["device"] == ["8,0"]
    assert found["others"] == ["1 other devices, not taken"]
    assert found["requests"] == ["3"]
    assert found["span"] == ["3.00 s"]
    assert found["beside"] == ["event C 1, request of another device 1, event D 1"]
    assert found["put in order"] == ["1 requests that stood behind a later one"]
    assert found["skipped"] == [
        "1: a request must be a read, write or flush (first: line 3)",
        "1: a line must be of blkparse (first: line 4)",
    ]


def test_info_shows_notes_of_the_reader(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "trace", "info", str(DATA / "block-ftrace.txt.gz"), "--skip")
    assert fields(answer.out)["note"] == ["14,899 events before the first were overwritten in ftrace's buffer"]


def test_a_clock_and_threads_by_options(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "trace", "check", str(DATA / "kvm-ftrace-tsc.txt.gz"), "--clock", "2.596136 GHz")
    assert answer.status == 0
    assert ": fine: 5 requests over 1.57 ms" in answer.out
    answer = run(capsys, "trace", "check", str(DATA / "kvm-perf-script.txt.gz"), "--threads", "9498")
    assert ": fine: 7 requests over " in answer.out


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--clock", "fast", "--clock must be a rate such as 2.6GHz, got 'fast'"),
        ("--clock", "0Hz", "--clock must be a rate such as 2.6GHz, got '0Hz'"),
        ("--threads", "1,x", "--threads must be numbers such as 812,813, got '1,x'"),
        ("--threads", "", "--threads must be numbers such as 812,813, got ''"),
    ],
)
def test_options_that_are_no_rate_and_no_numbers(
    capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    answer = run(capsys, "trace", "check", "x", option, value)
    assert answer == (2, "", f"iosim: {message}\n")


def test_progress_is_shown_on_a_terminal_only(tmp_path: Path) -> None:
    path = written(tmp_path, command("1", 1.0))
    for is_terminal in (True, False):
        shown = io.StringIO()
        console = Console(file=shown, force_terminal=is_terminal, width=80)
        with TraceStream(path) as stream, watching([stream.reading.source], console):
            list(stream)
        assert ("trace.txt" in shown.getvalue()) is is_terminal
