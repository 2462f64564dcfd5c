"""iosim plan: the limits that it finds are the known ones, the same however often it is stopped and whoever runs it."""

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from iosim.plan import command
from iosim.plan.ranking import alike
from iosim.results.result import read
from tests.commandline import run
from tests.plans import (
    PAIR,
    PAIR_PLAN,
    PATH,
    PATH_PLAN,
    QUEUE_PLAN,
    RATE_PER_S,
    SERVICE_NS,
    answer,
    arrivals_us,
    facts,
    plan_here,
    values,
    write_path,
    write_queue,
    written,
)
from tests.studies import journal

PATIENCE_S = 600


# Known limits


def lindley_mean_us(speed: float, runs: int = 400) -> float:
    """The mean latency of the recorded arrivals behind the warm-up, by Lindley's recursion with services of its own."""
    arrival = arrivals_us() / speed
    services = np.random.default_rng(1).exponential(SERVICE_NS / 1000, (len(arrival), runs))
    wait, total = np.zeros(runs), np.zeros(runs)
    counted = arrival >= 20_000
    for k, service in enumerate(services):
        if k:
            wait = np.maximum(0, wait + services[k - 1] - (arrival[k] - arrival[k - 1]))
        if counted[k]:
            total += wait + service
    return float(total.mean()) / int(counted.sum())


def test_the_limit_of_a_queue_is_that_of_the_closed_form(tmp_path: Path) -> None:
    """M/M/1: the mean latency is 1 / (mu - lambda), 180 us at lambda = mu - 1 / 180 us."""
    limit = (1e9 / SERVICE_NS - 1e6 / 180) / RATE_PER_S
    assert "mean < 180us" in QUEUE_PLAN
    write_queue(tmp_path)
    out = plan_here(tmp_path)
    found = answer(out)
    meets, fails = found["meets"]["value"], found["fails"]["value"]
    assert meets <= limit <= fails
    assert fails - meets <= 0.3
    # So it is for these very arrivals, which all replications have.
    assert lindley_mean_us(meets) < 180 < lindley_mean_us(fails)
    assert found["busiest"][0]["resource"] == "disk/queue"
    assert found["grows"]["stage"] == "disk_wait"
    table = values(out)
    assert set(table["replications"]) <= {4, 8}
    left = table[table["verdict"] == "undecided"]
    assert ((left["low"] < 180_000) & (left["high"] > 180_000)).all()
    assert (left["replications"] == 8).all()
    for speed, mean_us in table.loc[table["verdict"] != "undecided", ["value", "estimate"]].to_numpy():
        assert mean_us / 1000 == pytest.approx(lindley_mean_us(speed), rel=0.15)


# 40 requests of 100 us in 39 ms / s and the last service: busy for 4 / (39 / s + 0.1) of the time, 0.75 at s = 7.45.
# 40 requests in 39 ms: the disk has no time left at s = 39 ms / 40 / 100 us = 9.75.
def test_the_limit_without_chance_is_exact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_path(tmp_path, PATH_PLAN.replace("high = 9", "high = 12"))
    reply = run(capsys, "plan", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "out"), "--workers", "1")
    assert (reply.status, reply.err) == (0, "")
    found = answer(tmp_path / "out")
    assert (found["find"], found["outcome"], found["meets"]["setting"], found["fails"]["setting"]) == (
        "largest",
        "limit",
        "7",
        "8",
    )
    assert found["breaks"] == ["utilisation[disk/sda] < 0.75"]
    table = values(tmp_path / "out")
    expected = [min(4 / (39 / speed + 0.1), 1) for speed in table["value"]]
    assert table["estimate"].tolist() == pytest.approx(expected, rel=1e-4)
    assert table["low"].tolist() == table["estimate"].tolist() == table["high"].tolist()
    saturation = facts(tmp_path / "out")["analysis"]["saturation"]
    assert (saturation["resource"], saturation["value"]) == ("disk/sda", pytest.approx(9.75))
    sentence = "met up to vm.web.drive.0.trace_speed = 7; at 8 utilisation[disk/sda] < 0.75 fails."
    assert sentence in " ".join(reply.out.split())
    assert "All replications are equal" in reply.out


def test_the_smallest_resource_is_found(tmp_path: Path) -> None:
    knob = '[knob]\nkey = "host.disk.sda.count"\nlow = 1\nhigh = 12\n'
    scenario = PATH.replace('name = "web"\n', 'name = "web"\ncount = 12\n').replace(
        "trace =", "trace_speed = 2\ntrace ="
    )
    # At speed 2 each VM keeps a disk busy for 4 / 19.6 of the time: three on a disk are 0.61, four 0.81.
    write_path(tmp_path, PATH_PLAN.partition("[knob]")[0].replace("utilisation", "utilisation_max") + knob, scenario)
    found = answer(plan_here(tmp_path))
    assert (found["find"], found["meets"]["setting"], found["fails"]["setting"]) == ("smallest", "4", "3")


def test_a_range_has_both_ends(tmp_path: Path) -> None:
    plan = PATH_PLAN.replace('0.75"', '0.75", "throughput > 3500"')
    write_path(tmp_path, plan)
    out = plan_here(tmp_path)
    found = answer(out)
    # 40 requests in 39 ms / s + 0.1 ms: 3,065 a second at s = 3, 4,061 at s = 4
    assert [end["setting"] for end in found["between"]] == ["4", "7"]


# The whole of it: a limit, changes, costs


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan of PAIR, by a pool of two workers."""
    folder = tmp_path_factory.mktemp("plan")
    write_path(folder, PAIR_PLAN, PAIR)
    return plan_here(folder, workers=2)


def test_changes_are_ranked_by_how_far_they_move_the_limit(out: Path) -> None:
    assert (answer(out)["meets"]["setting"], answer(out)["fails"]["setting"]) == ("5", "6")
    table = pd.read_parquet(out / "ranking.parquet").set_index("change")
    assert table.index.tolist() == ["two", "quick", "slow"]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["outcome"].tolist() == ["all", "limit", "none"]
    # Two disks: nobody waits up to s = 10. 80 us: two of them fit into 1 ms / s up to s = 6. 200 us alone are too long.
    assert table[["meets", "moved", "moved_low"]].values.tolist()[0] == [9, 4, 4]
    assert table[["meets", "fails", "moved", "moved_low", "moved_high"]].values.tolist()[1] == [6, 7, 1, 1, 1]
    assert table[["fails", "moved_high"]].isna().all(axis=1).tolist() == [True, False, False]
    assert table[["meets", "moved"]].isna().all(axis=1).tolist() == [False, False, True]


def test_changes_whose_ranges_overlap_are_named() -> None:
    rows = [
        ("a", 9, 8, None),
        ("b", 7, 6, 8),
        ("c", 5, 5, 5),
        ("d", 2, None, 5),
        ("e", 1, 1, 1),
        ("f", None, None, None),
    ]
    table = pd.DataFrame(rows, columns=["change", "moved", "moved_low", "moved_high"]).convert_dtypes()
    # b may be as good as a; c cannot be as good as b; d may be as good as c, and as bad as anything, so also as e.
    ending = "by the limit, one cannot be told from the next; the ranges overlap."
    assert alike(table) == [f"a, b: {ending}", f"c, d, e: {ending}"]
    assert alike(None) == []


def test_changes_are_compared_at_the_limit_with_the_same_random_numbers(out: Path) -> None:
    table = pd.read_parquet(out / "ranking.parquet").set_index("change")
    assert (table["at"] == 5).all()
    assert (table["metric"] == "latency_mean").all()
    # On a disk of its own each request takes 100 us: what the base has more is its waits, which differ from run to run.
    at_5 = values(out)[values(out)["value"] == 5].iloc[0]
    assert at_5["high"] > at_5["low"]
    assert table.loc["two", "difference"] == pytest.approx(100_000 - at_5["estimate"])
    assert table["difference_low"].tolist()[2] > 100_000


def test_the_cheapest_configuration_of_each_load(out: Path) -> None:
    front = pd.read_parquet(out / "front.parquet")
    # At s = 9 two disks of 100 us (100 EUR) do, and so does one of 50 us (120 EUR); one of 100 us does not.
    columns = ["load", "outcome", "host.disk.sda.count", "host.disk.sda.service", "cost", "pareto"]
    assert front[columns].values.tolist() == [[2, "found", 1, "100us", 50, True], [9, "found", 2, "100us", 100, True]]
    assert front["perhaps"].isna().all()
    costs = pd.read_parquet(out / "costs.parquet")
    assert len(costs) < 8
    assert costs["meets"].tolist() == (costs["verdict"] == "meets").tolist()


def test_resources_and_analysis_are_those_of_the_runs(out: Path) -> None:
    resources = pd.read_parquet(out / "resources.parquet")
    disks = resources[(resources["resource"] == "disk/sda") & (resources["search"] == "two")]
    assert set(disks["kind"]) == {"disk"}
    base = resources[(resources["search"] == "base") & (resources["value"] == 1)].set_index("resource")["utilisation"]
    # 80 requests of 100 us within 39 ms, a phase of up to 1 ms, and the last service
    assert 8 / 40.2 <= base["disk/sda"] <= 8 / 39.1
    analysis = pd.read_parquet(out / "analysis.parquet")
    assert analysis["value"].tolist() == list(range(1, 10))
    measured = values(out).set_index("value")["estimate"]
    bound = analysis.set_index("value")["bound_ns"]
    assert all(measured[at] >= bound[at] for at in measured.index)
    # Two open streams of 40 requests in 39 ms / s each; the disk takes 10,000 a second.
    offered = [2 * 40 / 0.039 * speed for speed in analysis["value"]]
    assert analysis["bound_per_s"].tolist() == pytest.approx([min(rate, 10_000) for rate in offered])
    assert analysis["estimate_ns"].isna().tolist() == [rate >= 10_000 for rate in offered]


def test_whole_results_of_the_easy_end_and_of_the_limit_are_kept(out: Path) -> None:
    for name, speed in (("easy", 1), ("limit", 5)):
        result = read(out / "runs" / name / "0")
        assert result.scenario.vm[0].drive[0].trace_speed == speed


def test_the_terminal_tells_the_answers(out: Path) -> None:
    text = io.StringIO()
    console, quiet = Console(file=text, width=120), Console(file=io.StringIO())
    command.run(out.parent / "plan.toml", out, (), 1, None, console, quiet)
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert lines[0] == "plan: vm.web.drive.0.trace_speed of scenario.toml from 1 to 9, verdicts with 95 %"
    assert lines[2] == "mean < 160us: met up to vm.web.drive.0.trace_speed = 5; at 6 mean < 160us fails."
    assert lines[3].startswith("Busiest at 6: disk/sda 9")
    assert "What grows most is disk_wait" in lines[3]
    heads = {line.split()[0]: line for line in lines if line}
    assert heads["trace_speed"] == "trace_speed runs mean < 160us verdict busiest"
    assert heads["two"].startswith("two 9 or more +4 +4 - -")
    assert heads["quick"].startswith("quick 6 +1 +1 +1 -")
    assert heads["slow"].startswith("slow - - - - +")
    assert heads["load"] == "load count service cost (EUR) perhaps"
    assert "9 2 100us 100 -" in lines


def test_nothing_is_run_twice(out: Path) -> None:
    assert len(journal(out)) == len(set(journal(out)))


def test_single_process_gives_the_bytes_of_the_pool(out: Path, tmp_path: Path) -> None:
    write_path(tmp_path, PAIR_PLAN, PAIR)
    assert written(plan_here(tmp_path, workers=1)) == written(out)


def test_a_plan_without_changes_and_costs_removes_their_tables(out: Path, tmp_path: Path) -> None:
    write_path(tmp_path, PAIR_PLAN, PAIR)
    (tmp_path / "out").symlink_to(out, target_is_directory=True)
    before = written(out)
    n = len(journal(out))
    write_path(tmp_path, PAIR_PLAN.partition("[[change]]")[0], PAIR)
    plan_here(tmp_path)
    assert {path.name for path in out.glob("*.p*")} == {
        "values.parquet",
        "resources.parquet",
        "analysis.parquet",
        "limit.png",
    }
    write_path(tmp_path, PAIR_PLAN, PAIR)
    plan_here(tmp_path)
    assert written(out) == before
    assert len(journal(out)) == n


def test_a_killed_plan_goes_on_where_it_was(out: Path, tmp_path: Path) -> None:
    write_path(tmp_path, PAIR_PLAN, PAIR)
    line = [sys.executable, "-m", "iosim", "plan", "plan.toml", "--out", "out", "--workers", "2"]
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + PATIENCE_S
    while len(journal(tmp_path / "out")) < 5:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = journal(tmp_path / "out")
    assert 5 <= len(finished) < len(journal(out))
    assert not (tmp_path / "out" / "plan.json").exists()
    assert written(plan_here(tmp_path)) == written(out)
    again = journal(tmp_path / "out")
    assert again[: len(finished)] == finished
    assert len(again) == len(set(again)) == len(journal(out))


# What can go wrong


def test_a_percentile_that_no_run_has_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_path(tmp_path, PATH_PLAN.replace("utilisation[disk/sda] < 0.75", "p99 < 1ms"))
    path = tmp_path / "plan.toml"
    reply = run(capsys, "plan", str(path), "--out", str(tmp_path / "out"), "--workers", "1")
    message = (
        f"iosim: {path}: target p99 < 1ms: no latency_p99 at vm.web.drive.0.trace_speed=1 in 2 replications; "
        "percentiles need requests beyond them\n"
    )
    assert (reply.status, reply.err) == (2, message)


def test_the_folder_of_a_sweep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_path(tmp_path)
    (tmp_path / "out" / "store").mkdir(parents=True)
    (tmp_path / "out" / "store" / "lock").touch()
    (tmp_path / "out" / "study.json").touch()
    reply = run(capsys, "plan", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "out"))
    assert reply.err == f"iosim: {tmp_path / 'out'}: is the folder of a sweep; choose another folder\n"


def test_a_knob_that_the_analysis_does_not_know_has_no_bounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    knob = '[knob]\nkey = "host.disk.sda.service"\nlow = "100us"\nhigh = "900us"\nsteps = 4\n'
    write_path(tmp_path, PATH_PLAN.partition("[knob]")[0] + knob)
    reply = run(capsys, "plan", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "out"), "--workers", "1")
    found = answer(tmp_path / "out")
    # Busy for 40 services in 39 ms and one: 0.708 with 700 us, but 500 us is the step before 0.9 ms ... 0.7 ms
    assert (found["meets"]["setting"], found["fails"]["setting"]) == ("700us", "900us")
    assert "No bounds and no estimate: the analysis does not know what host.disk.sda.service does" in reply.out
    assert pd.read_parquet(tmp_path / "out" / "analysis.parquet").empty


# VMs that wait for their requests are not all there all the time: fewer requests are under way than there are VMs.
def test_with_closed_replay_the_bound_of_the_latency_is_that_of_a_request_alone(tmp_path: Path) -> None:
    plan = PATH_PLAN.partition("[knob]")[0].replace("utilisation[disk/sda] < 0.75", "mean < 250us")
    plan += '[knob]\nkey = "vm.web.count"\nlow = 1\nhigh = 4\n'
    scenario = PATH.replace('trace = "even.csv"', 'replay = "closed"\ntrace = "even.csv"')
    write_path(tmp_path, plan, scenario.replace('name = "web"\n', 'name = "web"\noffset = "2ms"\n'))
    out = plan_here(tmp_path)
    analysis = pd.read_parquet(out / "analysis.parquet")
    # One after the other on a disk of 100 us: 10,000 requests/s at most, by whoever is there.
    assert analysis["bound_ns"].tolist() == [100_000] * 4
    assert analysis["bound_per_s"].tolist() == pytest.approx([10_000] * 4)
    assert (values(out)["estimate"] < 100_000 * values(out)["value"]).tolist() == [False, True, True, True]
    assert any("closed replay" in text for text in facts(out)["cautions"])
