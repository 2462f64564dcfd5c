"""validate host: the parts compared are what they claim to be, and the verdict follows from them."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import iosim
from iosim.calibrate import host_events
from iosim.calibrate.overhead import UNKNOWN, Overhead
from iosim.hosts import measured as measured_module
from iosim.hosts import parts
from iosim.hosts.judge import judge, middle, unexplained
from iosim.model.costs import load_profile
from iosim.results.result import Result
from iosim.traces.reading import ReadOptions
from tests.commandline import run
from tests.host_recording import lines, write

PROJECT = Path(__file__).parents[1]
HOST, BARE, SCENARIOS = PROJECT / "traces" / "host", PROJECT / "traces" / "bare", PROJECT / "scenarios" / "validation"
TSC = ReadOptions(clock_hz=Fraction(2_596_136_000))


@pytest.fixture(scope="module")
def simulated() -> Result:
    """The first 40 ms, with the spans of all requests and the port accesses."""
    wish = ['run.window={start="0s",end="40ms"}', 'run.log="ports"']
    return iosim.simulate(iosim.load(SCENARIOS / "dma_w_irq_8.toml", wish))


def test_parts_of_a_run_are_those_that_its_recording_would_show(tmp_path: Path, simulated: Result) -> None:
    recording = host_events.read(write(tmp_path / "host.txt", lines(simulated.spans, True)), ReadOptions())
    predicted = parts.marks(simulated.spans)
    assert len(predicted) == len(recording.steps)
    compared = [pair for pair in parts.INTERVALS if pair not in (("wwake", "in"),)]
    for begin, end in compared:
        theirs = (recording.steps[end] - recording.steps[begin]).to_numpy() * 1000
        assert (predicted[end] - predicted[begin]).to_numpy() == pytest.approx(theirs, abs=2), (begin, end)


def test_a_run_judged_by_its_own_recording_is_perfect(tmp_path: Path, simulated: Result) -> None:
    path = write(tmp_path / "host.txt", lines(simulated.spans, False))
    measured = measured_module.read([path], ReadOptions(), UNKNOWN)
    found = judge(measured.parts, parts.of_spans(simulated.spans))
    assert len(found) == len(parts.INTERVALS)
    for one in found:
        assert one.match.ks < 0.02, one.name
        assert {one.met(figure) for figure in ("mean", "p50", "p99")} == {"yes"}


def test_parts_of_the_guests_clock_add_up_to_the_whole(simulated: Result) -> None:
    assert simulated.accesses is not None
    found = parts.of_requests(simulated.requests, simulated.accesses, load_profile("pvm-nested"))
    assert found[parts.UP_TO] + found[parts.BEHIND] == pytest.approx(found[parts.TOTAL])
    # Ten of the thirteen accesses, some 8 us each, and the submission.
    assert 80_000 < np.median(found[parts.UP_TO]) < 130_000


def test_measured_table_of_a_guest_is_split_into_its_repetitions() -> None:
    measured = measured_module.read([BARE / "dma_w_irq_8.measured.csv.gz"], ReadOptions(), UNKNOWN)
    assert [len(sample) for sample in measured.parts[parts.TOTAL]] == [1000] * 6
    # The first command of the first repetition: 112.44, 106.78, 656.87 us.
    assert measured.parts[parts.TOTAL][-1].dtype == np.float64
    first = [sample[0] for sample in measured.parts[parts.TOTAL]]
    assert pytest.approx(112_440 + 106_780 + 656_870) in first
    assert not measured.traced


def test_error_refers_to_the_median_of_the_repetitions_and_the_curve_to_the_middle_one() -> None:
    runs = [np.full(20, 100.0), np.full(20, 130.0), np.full(20, 110.0), np.full(20, 900.0)]
    (one,) = judge({"part": runs}, {"part": np.full(50, 125.0)})
    assert middle(runs)[0] == 110
    assert one.typical_ns["mean"] == 120
    assert one.error("mean") == pytest.approx(5 / 120)
    assert one.match.demerit_ns == pytest.approx(15)
    assert (one.met("mean"), one.met("p99")) == ("yes", "yes")


@pytest.mark.parametrize(
    ("predicted", "verdict"), [(104.0, "yes"), (96.0, "yes"), (112.0, "spread"), (121.0, "no"), (89.0, "no")]
)
def test_aim_is_five_percent_or_the_spread_of_the_repetitions(predicted: float, verdict: str) -> None:
    runs = [np.full(20, 90.0), np.full(20, 100.0), np.full(20, 120.0)]
    (one,) = judge({"part": runs}, {"part": np.full(20, predicted)})
    assert one.met("mean") == verdict


def test_what_is_not_explained_names_the_part_that_is_off() -> None:
    measured = {
        name: [np.full(20, us * 1000.0)] for name, us in ((parts.TOTAL, 100), (parts.UP_TO, 60), (parts.BEHIND, 40))
    }
    predicted = {
        name: np.full(20, us * 1000.0) for name, us in ((parts.TOTAL, 120), (parts.UP_TO, 61), (parts.BEHIND, 59))
    }
    told = unexplained(judge(measured, predicted), False, "")
    assert told[0] == "whole command: the mean is +20.0 us off (+20.0%)."
    assert told[1] == "Of it, by part: behind the submission +19.0 us."
    assert "Not met: whole command, mean +20.0%, p50 +20.0%, p90 +20.0%, p99 +20.0%." in told
    assert told[-1].startswith("There is one repetition only")


def test_what_tracing_costs_is_taken_out_of_steps_and_their_sum() -> None:
    path = HOST / "dma_w_irq_8.ftrace.gz"
    free = measured_module.read([path], TSC, Overhead(0.2, "as given"))
    whole = measured_module.read([path], TSC, UNKNOWN)
    # 3 records between the worker's wake-up and its system call: 0.6 us.
    wret = parts.name_of("wret", "ws")
    assert np.median(whole.parts[wret][0]) - np.median(free.parts[wret][0]) == pytest.approx(600, abs=15)
    less = [
        np.mean(whole.parts[parts.name_of(*pair)][0]) - np.mean(free.parts[parts.name_of(*pair)][0])
        for pair in parts.CHAIN
    ]
    steps = np.mean(whole.parts[parts.STEPS][0]) - np.mean(free.parts[parts.STEPS][0])
    assert steps == pytest.approx(sum(less), rel=0.01)


def test_command_compares_draws_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(
        capsys,
        "validate",
        "host",
        str(BARE / "dma_w_8.measured.csv.gz"),
        "--scenario",
        str(SCENARIOS / "dma_w_8.toml"),
        "--profile",
        "vmx-2017",
        "--json",
        str(tmp_path / "v.json"),
        "--picture",
        str(tmp_path / "v.png"),
    )
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith("profile vmx-2017\n")
    assert "Not explained\nwhole command: the mean is -" in answer.out
    found = json.loads((tmp_path / "v.json").read_text())
    assert [part["name"] for part in found["parts"]] == [parts.TOTAL, parts.UP_TO, parts.BEHIND]
    rows = pd.read_csv(BARE / "dma_w_8.measured.csv.gz")
    latency = rows[["regs_us", "data_us", "wait_us"]].sum(axis=1) * 1000
    of_runs = latency.groupby([rows["batch"], rows["rep"]]).median()
    assert found["parts"][0]["typical_ns"]["p50"] == pytest.approx(of_runs.median())
    assert found["parts"][0]["repetitions"]["high_ns"]["p50"] == pytest.approx(of_runs.max())
    assert (tmp_path / "v.png").read_bytes()[:4] == b"\x89PNG"


def test_result_of_an_earlier_run_is_judged_with_its_own_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The profile's file is named from the scenario's folder; the result lies elsewhere.
    monkeypatch.chdir(tmp_path)
    profile = PROJECT / "iosim" / "profiles" / "vmx-2017.toml"
    (tmp_path / "mine.toml").write_bytes(profile.read_bytes())
    scenario = (SCENARIOS / "w30_outw_64.toml").read_text()
    scenario = scenario.replace('"pvm-nested"', '"mine.toml"').replace("../../traces", str(PROJECT / "traces"))
    (tmp_path / "s.toml").write_text(scenario.replace("../disks", str(PROJECT / "scenarios" / "disks")))
    wish = ["--set", 'run.log="ports"', "--out", "deeper/result"]
    assert run(capsys, "run", "s.toml", *wish).status == 0
    answer = run(capsys, "validate", "host", str(BARE / "w30_outw_64.measured.csv.gz"), "--result", "deeper/result")
    assert (answer.status, answer.err) == (0, "")
    assert "up to the submission" in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --scenario (to be simulated) and --result (of an earlier run)"),
        (["--scenario", "none.toml"], "none.toml: No such file or directory"),
        (["--scenario", "s.toml", "--picture", "p.gif"], "--picture must end with .png, .svg, .pdf, got p.gif"),
        (["--scenario", "s.toml", "--record-cost", "x"], "--record-cost: "),
        (["--result", "."], ""),
    ],
)
def test_wrong_options_are_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    answer = run(capsys, "validate", "host", str(BARE / "dma_w_8.measured.csv.gz"), *arguments)
    assert answer.status == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("regs_us,data_us,wait_us\n1,2,slow\n", "m.csv: wait_us must be numbers"),
        ("regs_us,data_us\n1,2\n", "m.csv:1: a line must be of perf script, trace-cmd report or ftrace"),
        ("", "m.csv: is empty"),
    ],
)
def test_unusable_measurements_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (tmp_path / "m.csv").write_text(text)
    wish = ["--scenario", str(SCENARIOS / "dma_w_8.toml")]
    answer = run(capsys, "validate", "host", str(tmp_path / "m.csv"), *wish)
    assert answer.status == 2
    assert message in answer.err
