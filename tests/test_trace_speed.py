"""A trace at another speed: recorded times divided by it exactly, whatever else is simulated."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from iosim.model.errors import ScenarioError
from iosim.simulation import check
from tests.commandline import SCENARIO, run, write_inputs
from tests.support import Row, constant_profile, same, scenario, simulate, trace

ROWS: list[Row] = [(0, "W", 0, 8), (1_000_001, "W", 8, 8), (2_000_000, "R", 8, 8), (7_000_000, "W", 16, 8)]


def arrivals(speed: float) -> list[int]:
    return simulate(scenario([{"trace_speed": speed}]), ROWS).requests["arrival_ns"].tolist()


def test_recorded_times_are_divided_and_rounded_down() -> None:
    assert arrivals(1) == [0, 1_000_001, 2_000_000, 7_000_000]
    assert arrivals(2) == [0, 500_000, 1_000_000, 3_500_000]
    assert arrivals(0.5) == [0, 2_000_002, 4_000_000, 14_000_000]
    assert arrivals(3) == [0, 333_333, 666_666, 2_333_333]


# 1.1 is eleven tenths, and not the binary number next to it, with which 11 s would become 9,999,999,999 ns.
def test_the_speed_is_the_decimal_number_that_is_written() -> None:
    rows = trace([(11_000_000_000, "W", 0, 8)]).rows(0, scenario([{"trace_speed": 1.1}]).vm[0].drive[0].speed)
    assert next(rows)[0] == 10_000_000_000
    assert scenario([{"trace_speed": 1e-6}]).vm[0].drive[0].speed == Fraction(1, 1_000_000)


@pytest.mark.parametrize("speed", [Fraction("1.000001"), Fraction(3_037_000_507, 3_037_000_500)])
def test_times_beyond_an_int64_are_exact_on_the_way(speed: Fraction) -> None:
    late = 4_000_000_000_000_000_001
    found = next(trace([(late, "W", 0, 8)]).rows(0, speed))[0]
    assert found == late * speed.denominator // speed.numerator


def test_offset_and_phase_stay_as_they_are() -> None:
    described = scenario([{"trace_speed": 2}], count=2, offset="3ms")
    table = simulate(described, ROWS).requests
    assert table.loc[table["vm"] == "web#1", "arrival_ns"].tolist() == [
        3_000_000 + at for at in (0, 500_000, 1_000_000, 3_500_000)
    ]


def test_a_trace_at_double_speed_is_the_trace_with_half_its_times() -> None:
    halved: list[Row] = [(at // 2, op, sector, sectors) for at, op, sector, sectors in ROWS]
    fast, slow = simulate(scenario([{"trace_speed": 2}]), ROWS), simulate(scenario(), halved)
    slow.scenario = fast.scenario
    same(fast, slow)


@pytest.mark.parametrize("other", [{"exact_exits": True}, {"engine": "compiled"}])
def test_coalesced_exact_and_compiled_runs_agree(other: dict[str, Any]) -> None:
    for speed in (1.7, 0.001):
        runs = [simulate(scenario([{"trace_speed": speed}], run=run), ROWS) for run in ({"engine": "simpy"}, other)]
        same(*runs)


def test_a_trace_that_becomes_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("time_us,op,sector,sectors\n0,W,0,8\n10000000000000,W,0,8\n")  # 116 days
    described = scenario([{"trace_speed": 1e-6, "trace": "t.csv"}])
    with pytest.raises(ScenarioError, match=r"^vm\.web\.drive\.0\.trace_speed must keep the trace shorter than 146 ye"):
        check(described, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("vm.web.drive.0.trace_speed=0", "vm.web.drive.0.trace_speed must be at least 0.000001, got 0"),
        ('vm.web.drive.0.trace_speed="2"', "vm.web.drive.0.trace_speed must be a number, got '2'"),
        (
            'vm.web.drive.0={trace="trace.csv", replay="closed", trace_speed=2}',
            "vm.web.drive.0.trace_speed must be 1 with replay closed, which follows no recorded times, got 2.0",
        ),
    ],
)
def test_wrong_speeds_are_refused(
    change: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if "closed" in change:
        write_inputs(tmp_path, SCENARIO.replace('cache = "none"', 'replay = "closed"\ntrace_speed = 2\ncache = "none"'))
        answer = run(capsys, "run", "scenario.toml")
    else:
        write_inputs(tmp_path)
        answer = run(capsys, "run", "scenario.toml", "--set", change)
    assert (answer.status, answer.err) == (2, f"iosim: scenario.toml: {message}\n")


def test_profile_costs_do_not_scale() -> None:
    slow, fast = (simulate(scenario([{"trace_speed": speed}]), ROWS, constant_profile()) for speed in (1, 2))
    assert fast.requests["latency_ns"].tolist() == slow.requests["latency_ns"].tolist()
