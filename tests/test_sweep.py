"""iosim sweep: what its tables hold, that they are the same however they came about, and what is run again when."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

import iosim
from iosim.results.result import read
from iosim.study.statistics import mean_interval, paired_interval
from tests.commandline import Answer, read_terminal, run
from tests.studies import (
    POINTS,
    SCENARIO,
    SMALL,
    STUDY,
    TABLES,
    facts,
    journal,
    records,
    runs,
    sweep_here,
    tables,
    write_study,
)

SERIAL = ("--workers", "1")
PATIENCE_S = 600
"""Nothing takes so long, but a machine may be busy, or stand still for minutes."""
LONG = STUDY.replace("replications = 3", "replications = 5")
"""20 runs."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with study.toml, scenario.toml and trace.csv in it."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(capsys: pytest.CaptureFixture[str], *options: str, out: str = "out") -> Answer:
    answer = run(capsys, "sweep", "study.toml", "--out", out, *(options or SERIAL))
    assert (answer.status, answer.err) == (0, "")
    return answer


# The tables


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of `tests.studies`, run by a pool of two workers."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    return sweep_here(folder, workers=2)


def test_every_replication_of_every_point_is_there_with_the_seeds_in_common(out: Path) -> None:
    table = runs(out)[["point", "replication", "seed"]].drop_duplicates()
    assert table.values.tolist() == [[point, k, 1 + k] for point in POINTS for k in range(3)]


def test_changed_keys_have_columns_with_the_value_at_each_point(out: Path) -> None:
    for name in ("runs", "summary"):
        table = pd.read_parquet(out / f"{name}.parquet").drop_duplicates("point")
        assert list(table.columns[:3]) == ["point", "vm.web.count", "vm.web.drive.interface"]
        assert table["vm.web.count"].tolist() == [1, 1, 1, 2, 2]
        assert table["vm.web.drive.interface"].tolist() == ["ide", "ide", "virtio-blk", "ide", "virtio-blk"]


def test_metrics_are_those_of_the_run_by_itself(out: Path) -> None:
    table = runs(out).set_index(["point", "replication", "metric", "of"])["value"]
    for point, changes in (("base", ()), ("grid-4", ("vm.web.count=2", "vm.web.drive.interface=virtio-blk"))):
        result = iosim.simulate(iosim.load(out.parent / "scenario.toml", [*changes, "run.seed=3"]))
        summary, values = result.summary, table.loc[point, 2]
        latency = result.requests["latency_ns"]
        expected = {
            ("requests_done", ""): summary["requests"]["done"],
            ("end", ""): summary["end_ns"],
            ("throughput", ""): summary["throughput_per_s"],
            ("bandwidth", ""): summary["bytes_per_s"],
            ("latency_mean", ""): latency.mean(),
            ("latency_max", ""): latency.max(),
            ("latency_p50", ""): np.percentile(latency, 50),
            ("latency_mean", "op=R"): latency[result.requests["op"] == "R"].mean(),
            ("throughput", "op=W"): summary["throughput_per_s"] * 2 / 3,
            ("stage_mean", "disk_service"): summary["stages_ns"]["disk_service"]["mean"],
            ("stage_share", "disk_service"): summary["stages_ns"]["disk_service"]["share"],
            ("exits_per_request", ""): summary["per_request"]["exits"],
        }
        assert {key: values[key] for key in expected} == pytest.approx(expected, rel=1e-12)
        vcpus = result.resources[result.resources["resource"].str.endswith("/vcpu0")]
        for name, figure in (
            ("utilisation", vcpus["utilisation"].mean()),
            ("utilisation_max", vcpus["utilisation"].max()),
            ("mean_queue", vcpus["mean_queue"].mean()),
            ("max_queue", vcpus["max_queue"].max()),
        ):
            assert values[name, "web/vcpu0"] == pytest.approx(figure, rel=1e-12)


def test_percentiles_are_there_where_a_request_lies_beyond_them(out: Path) -> None:
    table = runs(out)
    known = table[table["metric"].str.startswith("latency_p") & (table["of"] == "")].groupby("point")["metric"].unique()
    assert known.map(sorted).to_dict() == {point: ["latency_p50", "latency_p90", "latency_p95"] for point in POINTS}


def test_summary_has_mean_interval_and_paired_difference_of_the_runs(out: Path) -> None:
    summary = pd.read_parquet(out / "summary.parquet").set_index(["point", "metric", "of"])
    table = runs(out).set_index(["point", "metric", "of"])["value"]
    for point in ("grid-2", "grid-3"):
        row = summary.loc[[(point, "latency_mean", "")]].iloc[0]
        values, base = (table.loc[(name, "latency_mean", "")].to_numpy() for name in (point, "base"))
        assert (row["n"], row["unit"], row["pairs"]) == (3, "ns", 3)
        assert (row["estimate"], row["low"], row["high"]) == pytest.approx(mean_interval(values))
        assert (row["mean"], row["sd"], row["median"]) == pytest.approx(
            (values.mean(), values.std(ddof=1), np.median(values))
        )
        assert np.isnan(row["median_low"])  # three values do not enclose a median with 95 %
        paired = row["difference"], row["difference_low"], row["difference_high"]
        assert paired == pytest.approx(paired_interval(values, base))
    assert summary.loc["base"]["difference"].isna().all()
    assert (summary.loc["base"]["pairs"] == 0).all()


# grid-1 changes nothing: it has the base's runs, and no difference.
def test_points_that_are_equal_share_their_runs(out: Path) -> None:
    summary = pd.read_parquet(out / "summary.parquet")
    assert (summary.loc[summary["point"] == "grid-1", "difference"] == 0).all()
    assert len(journal(out)) == len(set(journal(out))) == len(records(out)) == 4 * 3
    points = facts(out)["points"]
    assert points[0]["runs"] == points[1]["runs"]


def test_percentiles_of_the_summary_are_of_all_replications_together(out: Path) -> None:
    summary = pd.read_parquet(out / "summary.parquet").set_index(["point", "metric", "of"])
    latencies = [
        iosim.simulate(iosim.load(out.parent / "scenario.toml", ["vm.web.count=2", f"run.seed={seed}"])).requests[
            "latency_ns"
        ]
        for seed in (1, 2, 3)
    ]
    row = summary.loc[[("grid-3", "latency_p99", "")]].iloc[0]  # 180 requests together, 60 in each: too few for p99
    assert row["estimate"] == np.percentile(np.concatenate(latencies), 99)
    assert row["mean"] == pytest.approx(np.mean([np.percentile(each, 99) for each in latencies]))
    assert row["low"] < row["estimate"] < row["high"]
    assert ("base", "latency_p99", "") not in summary.index  # 90 together


def test_study_json_says_what_was_run(out: Path) -> None:
    document = facts(out)
    assert document["study_version"] == 1
    assert document["study"]["study"] == {"scenario": "scenario.toml", "replications": 3, "reference": "base"}
    assert [point["name"] for point in document["points"]] == POINTS
    assert document["points"][4]["changes"] == {"vm.web.count": "2", "vm.web.drive.interface": "virtio-blk"}
    assert [point["replications"] for point in document["points"]] == [3] * 5
    assert set(document["points"][2]["runs"]) <= set(records(out))


# The same whoever runs it


def test_runs_of_a_pool_are_those_of_its_workers(out: Path) -> None:
    pids = pd.read_csv(out / "store" / "journal.csv")["pid"]
    assert os.getpid() not in set(pids)
    assert pids.nunique() <= 2


def test_single_process_gives_the_bytes_of_the_pool_and_in_another_order(
    out: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "study.toml").write_text(STUDY.replace("[1, 2]", "[2]"))
    sweep(capsys)
    assert len(journal(folder / "out")) == 9
    (folder / "study.toml").write_text(STUDY)
    sweep(capsys)
    assert tables(folder / "out") == tables(out)


# What is run again


def test_what_is_finished_is_not_run_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(capsys)
    first, written = tables(folder / "out"), records(folder / "out")
    sweep(capsys)
    assert (tables(folder / "out"), records(folder / "out")) == (first, written)
    assert len(journal(folder / "out")) == 12
    (folder / "study.toml").write_text(STUDY.replace("replications = 3", "replications = 4"))
    sweep(capsys)
    assert len(journal(folder / "out")) == len(set(journal(folder / "out"))) == 16
    assert records(folder / "out").items() >= written.items()


PROFILE = (Path(iosim.__file__).parent / "profiles" / "vmx-2013.toml").read_text()
TABLE = "op,sectors,probability,ns\n" + "".join(f"{op},8,{p},90000\n" for op in "RWF" for p in (0, 1))
EMPIRICAL = SCENARIO.replace('"constant"\nservice = "90us"', '"empirical"\ntable = "table.csv"').replace(
    '"vmx-2017"', '"own.toml"'
)


def rewrite(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def rename_trace(folder: Path) -> None:
    (folder / "trace.csv").rename(folder / "other.csv")
    rewrite("scenario.toml", "trace.csv", "other.csv")(folder)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        pytest.param(rewrite("trace.csv", "500,W,64,8", "500,W,72,8"), True, id="content of the trace"),
        pytest.param(rewrite("own.toml", "cycles_per_us = 2600", "cycles_per_us = 2700"), True, id="profile"),
        pytest.param(rewrite("table.csv", "W,8,1,90000", "W,8,1,90001"), True, id="table of the disk"),
        pytest.param(rewrite("scenario.toml", "[host]", "[host]\ncpus = 2"), True, id="key of the scenario"),
        pytest.param(rewrite("study.toml", "replications", "seed = 9\nreplications"), True, id="seed"),
        pytest.param(rewrite("scenario.toml", "[host]", "[host]\n# nothing"), False, id="comment"),
        pytest.param(rewrite("scenario.toml", "[host]", "[run]\nseed = 1\n[host]"), False, id="default in words"),
        pytest.param(rewrite("scenario.toml", "[host]", "[run]\nslowest = 1\n[host]"), False, id="number of spans"),
        pytest.param(rename_trace, False, id="name of the trace"),
    ],
)
def test_a_run_is_its_inputs(
    change: Callable[[Path], None], again: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(folder, SMALL, EMPIRICAL)
    (folder / "own.toml").write_text(PROFILE)
    (folder / "table.csv").write_text(TABLE)
    sweep(capsys)
    change(folder)
    sweep(capsys)
    assert len(journal(folder / "out")) == (2 if again else 1)


def test_a_damaged_record_is_run_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(folder, SMALL.replace("replications = 1", "replications = 2"))
    sweep(capsys)
    first = tables(folder / "out")
    one, other = sorted((folder / "out" / "store").glob("??/*.json"))
    table = one.with_suffix(".parquet")
    text = one.read_text()
    damages: list[Callable[[], object]] = [
        lambda: one.write_text(text[: len(text) // 2]),
        lambda: one.write_text(""),
        lambda: one.write_text(other.read_text()),
        lambda: one.write_text("[]"),
        table.unlink,
        lambda: table.write_bytes(b""),
    ]
    for n, damage in enumerate(damages):
        damage()
        sweep(capsys)
        assert journal(folder / "out")[2:] == [one.stem] * (n + 1)
        assert tables(folder / "out") == first


# Kept results


def test_kept_results_are_those_of_the_runs_by_themselves(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.toml").write_text(SMALL.replace("replications = 1", "replications = 2"))
    sweep(capsys)
    sweep(capsys, "--keep", *SERIAL)
    kept = folder / "out" / "points" / "two" / "1"
    single = iosim.simulate(iosim.load("scenario.toml", ["vm.web.count=2", "run.seed=2"]))
    again = iosim.simulate(iosim.load(kept / "scenario.toml"))
    for name, table in read(kept).tables().items():
        for other in (single, again):
            pd.testing.assert_frame_equal(other.tables()[name], table, check_exact=True, check_dtype=False)
    assert read(kept).summary == json.loads(json.dumps(single.summary))
    assert sorted(path.name for path in (folder / "out" / "points" / "two").iterdir()) == ["0", "1"]
    n = len(journal(folder / "out"))
    sweep(capsys, "--keep", *SERIAL)
    assert len(journal(folder / "out")) == n


def test_kept_results_of_points_that_are_gone_are_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.toml").write_text(SMALL.replace("replications = 1", "replications = 2"))
    sweep(capsys, "--keep", *SERIAL)
    (folder / "out" / "points" / "mine").mkdir()
    (folder / "out" / "points" / "mine" / "notes.txt").write_text("mine")
    (folder / "study.toml").write_text(SMALL)
    sweep(capsys)
    assert [path.name for path in (folder / "out" / "points" / "two").iterdir()] == ["0"]
    (folder / "study.toml").write_text(SMALL.replace("two", "three").replace("= 2", "= 3"))
    sweep(capsys)
    assert [path.name for path in (folder / "out" / "points").iterdir()] == ["mine"]


# Warm-up and stop rule


def ramp(folder: Path) -> None:
    """Bursts that fill the queue: the first 60 requests are quick, later ones wait for each other."""
    rows = [(2000 * k, k) for k in range(60)] + [(120_000 + 100 * k, k) for k in range(240)]
    (folder / "trace.csv").write_text("time_us,op,sector,sectors\n" + "".join(f"{at},W,{64 * k},8\n" for at, k in rows))


def test_the_warm_up_found_by_pilot_runs_is_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(folder, SMALL + '[statistics]\nwarmup = "mser-5"\npilots = 2\n')
    ramp(folder)
    answer = sweep(capsys)
    assert "warm-up" in answer.out
    found = facts(folder / "out")["points"][0]
    table = runs(folder / "out").set_index(["point", "replication", "metric", "of"])["value"]
    assert found["mser5"]["requests"] == table["two", 0, "requests_warmup", ""] > 0
    assert found["mser5"]["until_ns"] == table["two", 0, "warmup", ""]
    warmup = f"run.warmup={found['mser5']['until_ns']}ns"
    result = iosim.simulate(iosim.load("scenario.toml", ["vm.web.count=2", warmup]))
    assert table["two", 0, "throughput", ""] == result.summary["throughput_per_s"]
    assert table["two", 0, "latency_mean", ""] == result.summary["latency_ns"]["mean"]
    disk = result.resources.set_index("resource")["utilisation"]["disk/sda"]
    assert table["two", 0, "utilisation", "disk/sda"] == disk


def test_replications_are_added_until_the_interval_is_short_enough(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = '[statistics.until]\nmetric = "latency_mean"\nwithin = {}\nstep = 2\nmax_replications = 9\n'
    study = SMALL.replace("replications = 1", "replications = 2").replace('reference = "two"\n', "")
    write_study(folder, study + rule.format(0.005))
    answer = sweep(capsys)
    summary = pd.read_parquet(folder / "out" / "summary.parquet")
    rows = summary[(summary["metric"] == "latency_mean") & (summary["of"] == "")]
    half = (rows["high"] - rows["low"]) / 2 / rows["estimate"]
    points = facts(folder / "out")["points"]
    assert rows["n"].tolist() == [point["replications"] for point in points]
    assert [point["precise"] for point in points] == (half <= 0.005).tolist()
    assert set(rows["n"]) <= {2, 4, 6, 8, 9}
    assert rows["n"].max() > 2
    assert (half[rows["n"] < 9] <= 0.005).all()
    assert ("is not known within" in answer.out) == (not all(point["precise"] for point in points))
    # One replication less did not suffice.
    table = runs(folder / "out")
    for point, n in zip(rows["point"], rows["n"], strict=True):
        values = table.loc[
            (table["point"] == point) & (table["metric"] == "latency_mean") & (table["of"] == ""), "value"
        ]
        before = mean_interval(values.to_numpy()[: 8 if n == 9 else n - 2]) if n > 2 else None
        assert before is None or before.half_width > 0.005 * before.estimate


def test_a_stop_rule_on_what_no_run_has_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(folder, STUDY + '[statistics.until]\nmetric = "latency_p99.9"\nwithin = 0.05\n')
    answer = run(capsys, "sweep", "study.toml", "--out", "out", *SERIAL)
    message = "iosim: statistics.until: point base has no latency_p99.9 with 3 replications\n"
    assert (answer.status, answer.err) == (2, message)
    assert len(records(folder / "out")) == 12


# Where it is written


def test_folder_of_something_else_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "notes.txt").write_text("mine")
    run(capsys, "run", "scenario.toml", "--out", "result")
    for out, message in (
        ("other", "other: is not empty and no study; choose another folder"),
        ("result", "result: is the result of a run; choose another folder"),
        ("trace.csv", "trace.csv: is not a folder"),
    ):
        answer = run(capsys, "sweep", "study.toml", "--out", out, *SERIAL)
        assert (answer.status, answer.err) == (2, f"iosim: {message}\n")
    assert (folder / "other" / "notes.txt").read_text() == "mine"


def test_default_folder_is_reports_and_the_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.toml").write_text(STUDY.replace("replications = 3", "replications = 1"))
    assert run(capsys, "sweep", "study.toml", *SERIAL).status == 0
    assert {path.name for path in (folder / "reports" / "study").iterdir()} == {*TABLES, "store"}


# Killed and interrupted


@pytest.fixture
def long_study(folder: Path) -> Path:
    """A study of 20 runs."""
    (folder / "study.toml").write_text(LONG)
    return folder


@pytest.fixture(scope="module")
def undisturbed(out: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of these 20 runs."""
    folder = tmp_path_factory.mktemp("long")
    write_study(folder, LONG)
    shutil.copytree(out, folder / "out")
    return tables(sweep_here(folder))


def started(folder: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "iosim", "sweep", "study.toml", "--out", "out", *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_runs(process: "subprocess.Popen[str]", out: Path, n: int) -> None:
    """Return once *n* runs are finished."""
    end = time.monotonic() + PATIENCE_S
    while len(journal(out)) < n:
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@contextmanager
def running(folder: Path, *options: str, finished: int) -> Iterator["subprocess.Popen[str]"]:
    """A sweep that has finished so many runs; ended with the block."""
    process = started(folder, *options)
    try:
        wait_for_runs(process, folder / "out", finished)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def assert_goes_on(out: Path, capsys: pytest.CaptureFixture[str], undisturbed: dict[str, bytes]) -> None:
    """What is finished is not run again, and the end is that of an undisturbed run."""
    finished = records(out)
    assert 2 <= len(finished) < 20
    assert not (out / "study.json").exists()
    sweep(capsys)
    assert records(out).items() >= finished.items()
    assert len(journal(out)) == len(set(journal(out))) == len(records(out)) == 20
    assert list((out / "store" / "unfinished").iterdir()) == []
    assert tables(out) == undisturbed


def test_killed_sweep_goes_on_where_it_was(
    long_study: Path, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with running(long_study, "--workers", "2", finished=2) as process:
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=PATIENCE_S)
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert len(workers) >= 2
    assert alive == []
    assert_goes_on(long_study / "out", capsys, undisturbed)


def test_interrupted_sweep_goes_on_where_it_was(
    long_study: Path, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    with running(long_study, "--workers", "2", finished=2) as process:
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert errors == "What is finished is kept in out/; the same command goes on from there.\niosim: interrupted\n"
    _, alive = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert alive == []
    assert_goes_on(long_study / "out", capsys, undisturbed)


def test_killed_worker_is_replaced(long_study: Path, undisturbed: dict[str, bytes]) -> None:
    with running(long_study, "--workers", "2", finished=2) as process:
        pids = pd.read_csv(long_study / "out" / "store" / "journal.csv")["pid"].tolist()
        os.kill(pids[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    assert len(journal(long_study / "out")) == len(set(journal(long_study / "out"))) == 20
    assert tables(long_study / "out") == undisturbed


def test_progress_on_a_terminal_says_how_far_and_how_long(folder: Path) -> None:
    (folder / "study.toml").write_text(SMALL.replace("replications = 1", "replications = 3"))
    terminal, stderr = pty.openpty()
    command = [sys.executable, "-m", "iosim", "sweep", "study.toml", "--out", "out", *SERIAL]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=stderr, env=environment)
    os.close(stderr)
    shown = read_terminal(terminal, until=b"3/3").decode()
    assert process.wait(timeout=PATIENCE_S) == 0
    os.close(terminal)
    assert "study: checking" in shown
    assert re.search(r"study .* ?\d/3 runs 0:\d\d:\d\d \S+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))


def test_one_sweep_at_a_time(long_study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(long_study, *SERIAL, finished=1):
        answer = run(capsys, "sweep", "study.toml", "--out", "out", *SERIAL)
    assert (answer.status, answer.err) == (2, "iosim: out: another iosim is at work there\n")
