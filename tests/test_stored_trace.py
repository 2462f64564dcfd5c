"""Traces that are too long for memory: replayed from a temporary file, with the results of those that are not."""

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iosim
from iosim.model.errors import TraceError
from iosim.traces import open_trace, read_trace, reader, stored
from iosim.traces.stored import StoredTrace
from iosim.traces.table import check_size
from tests.commandline import SCENARIO
from tests.support import same


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace of 500 requests with uneven gaps, more than are kept in memory here, and a scenario of clones."""
    monkeypatch.setattr(reader, "MOST_IN_MEMORY", 99)
    monkeypatch.setattr(stored, "BATCH_ROWS", 64)
    monkeypatch.setattr(stored, "_CACHED", 2)
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.integers(0, 90, 500))
    kinds = rng.integers(0, 3, 500)
    lines = [
        f"{time},F,0,0" if kind == 2 else f"{time},{'RW'[kind]},{rng.integers(0, 1 << 20) * 8},{rng.integers(1, 9)}"
        for time, kind in zip(times, kinds, strict=True)
    ]
    (tmp_path / "trace.csv").write_text("time_us,op,sector,sectors\n" + "\n".join(lines) + "\n")
    text = SCENARIO.replace("[[vm]]", '[run]\nslowest = 3\n[[vm]]\ncount = 3\noffset = "7ms"')
    (tmp_path / "scenario.toml").write_text(text.replace("[[vm.drive]]", "[[vm.drive]]\ntrace_speed = 1.5"))
    return tmp_path


def test_a_stored_trace_is_the_one_in_memory(folder: Path) -> None:
    path = folder / "trace.csv"
    found, whole = open_trace(path), read_trace(path)
    assert isinstance(found, StoredTrace)
    assert len(found) == len(whole) == 500
    for name in ("path", "sha256", "ports", "end_sector", "last_ns"):
        assert getattr(found, name) == getattr(whole, name), name
    assert found.by_op() == whole.by_op()
    assert [found.request(at) for at in (0, 63, 64, 499)] == [whole.request(at) for at in (0, 63, 64, 499)]
    for speed in (Fraction(1), Fraction(3, 7)):
        assert list(found.rows(5, speed)) == list(whole.rows(5, speed))
        for n in (7, 64, 1000):
            pieces = list(found.pieces(5, speed, n))
            assert max(map(len, pieces)) <= n
            assert np.array_equal(np.concatenate(pieces), np.concatenate(list(whole.pieces(5, speed, n))))


def test_several_streams_of_one_trace_do_not_disturb_each_other(folder: Path) -> None:
    found = open_trace(folder / "trace.csv")
    expected = list(found.rows(0))
    streams = [found.rows(0) for _ in range(5)]
    heads = [[next(stream) for _ in range(100 * n)] for n, stream in enumerate(streams)]
    assert [head + list(stream) for head, stream in zip(heads, streams, strict=True)] == [expected] * 5


def test_a_short_trace_stays_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_IN_MEMORY", 500)
    assert not isinstance(open_trace(folder / "trace.csv"), StoredTrace)


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
def test_results_are_those_of_the_trace_in_memory(folder: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = iosim.load(folder / "scenario.toml", [f"run.engine={engine}"])
    streamed = iosim.simulate(scenario)
    monkeypatch.setattr(reader, "MOST_IN_MEMORY", 10**6)
    same(streamed, iosim.simulate(scenario))
    assert streamed.summary["requests"]["done"] == 1500


def test_a_request_beyond_the_drive_is_refused_with_its_line(folder: Path) -> None:
    path = folder / "trace.csv"
    ends = [sum(map(int, line.split(",")[2:])) for line in path.read_text().splitlines()[1:]]
    limit = sorted(ends)[-5]
    first = next(at for at, end in enumerate(ends) if end > limit)
    found = open_trace(path)
    check_size(found, max(ends), "vm.web.drive.0.size")
    expected = rf"trace\.csv:{first + 2}: sectors must end at or before {limit} \(.*\), got {ends[first]}$"
    with pytest.raises(TraceError, match=expected):
        check_size(found, limit, "vm.web.drive.0.size")


@pytest.mark.parametrize("wrong", ["7,W,0,8", "100000,W,0,0"])
def test_an_error_behind_what_fits_in_memory_has_its_line(folder: Path, wrong: str) -> None:
    path = folder / "trace.csv"
    with path.open("a") as file:
        file.write(wrong + "\n")
    with pytest.raises(TraceError, match=r"trace\.csv:502: "):
        open_trace(path)


def test_no_room_for_the_temporary_file_is_an_error_of_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **keywords: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(TraceError, match=r"trace\.csv: no temporary file for its requests: No space left on device$"):
        open_trace(folder / "trace.csv")
