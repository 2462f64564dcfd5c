"""Sensitivity: a latency that is a known sum of costs, where every bar and every index has a closed form."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from iosim.model.catalogue import CATALOGUE
from iosim.sensitivity import sobol
from iosim.sensitivity.sensitivity_file import SobolTable
from tests.commandline import Answer, run
from tests.studies import journal, records

US = 1000
PROFILE = """\
name = "known"
title = "costs that are easy to add up"
machine = "none"
origin = "a test"
"""
COSTS_US = {"pool.worker_wake": 8, "main_loop.wake": 6, "worker.pwrite_enter": 4, "kvm.ioeventfd_write": 2}
TIMES = {"pool.worker_wake": 1, "main_loop.wake": 2, "worker.pwrite_enter": 1, "kvm.ioeventfd_write": 1}
"""How often a write of virtio-blk on its own spends each: it wakes a worker, the main loop at the doorbell and at the
completion, calls pwrite, and rings (docs/path.md)."""
KNOWN_US = {key: TIMES[key] * us for key, us in COSTS_US.items()}
SCENARIO = """\
[run]
warmup = "500us"
[host]
profile = "known.toml"
[[host.disk]]
name = "sda"
model = "constant"
service = "90us"
[[vm]]
name = "web"
[[vm.drive]]
interface = "virtio-blk"
cache = "none"
trace = "trace.csv"
"""
TRACE = "time_us,op,sector,sectors\n" + "".join(f"{2000 * k},W,{64 * k},8\n" for k in range(12))
HEAD = '[study]\nscenario = "scenario.toml"\nreplications = 2\n'
SERIAL = ("--workers", "1")
ONLY = f"only = {list(COSTS_US)}\n"
FEW = f'{HEAD}[sensitivity]\nmetrics = ["latency_mean"]\n{ONLY}sobol = false\n'


def profile(uncertain: str = "") -> str:
    """Every cost 1 us but those of COSTS_US; pool.worker_wake is measured, perhaps with an uncertainty."""
    text = PROFILE
    for key in CATALOGUE:
        kind = "measured" if key == "pool.worker_wake" else "assumed"
        text += f'[cost.{key}]\nvalue = "{COSTS_US.get(key, 1)}us"\nkind = "{kind}"\nsource = "a test"\n'
        text += uncertain if key == "pool.worker_wake" else ""
    return text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with scenario.toml, its profile and its trace."""
    for name, text in (("scenario.toml", SCENARIO), ("known.toml", profile()), ("trace.csv", TRACE)):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def study(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs the study with this text in the working folder."""

    def go(text: str, *options: str, out: str = "out") -> Answer:
        (folder / "study.toml").write_text(text)
        return run(capsys, "sensitivity", "study.toml", "--out", out, *(options or SERIAL))

    return go


Study = Callable[..., Answer]


def tornado(out: str = "out") -> pd.DataFrame:
    return pd.read_parquet(Path(out) / "tornado.parquet").set_index("factor")


# One at a time


def test_bars_of_a_sum_of_costs_are_the_costs_themselves(study: Study) -> None:
    assert study(FEW).err == ""
    rows = tornado()
    for key, us in KNOWN_US.items():
        row = rows.loc[key]
        assert (row["low"], row["high"], row["pairs"], row["mean_ns"]) == (0.5, 2, 2, COSTS_US[key] * US)
        found = row["at_low"], row["at_high"], row["swing"]
        assert found == pytest.approx((-0.5 * us * US, us * US, 1.5 * us * US))
        for name in ("at_low", "at_high", "swing"):
            assert row[f"{name}_low"] == row[f"{name}_high"] == pytest.approx(row[name])
    assert rows.index.tolist() == ["main_loop.wake", "pool.worker_wake", "worker.pwrite_enter", "kvm.ioeventfd_write"]
    assert rows["rank"].tolist() == [1, 2, 3, 4]
    squares = np.array([12, 8, 4, 2]) ** 2
    assert rows["variance_share"].tolist() == pytest.approx((squares / squares.sum()).tolist())


def test_assumed_costs_are_marked(study: Study) -> None:
    answer = study(FEW)
    assert tornado()["assumed"].to_dict() == {key: key != "pool.worker_wake" for key in COSTS_US}
    assert tornado().loc["pool.worker_wake", "evidence"] == "measured"
    # Of the squared swings 144 + 16 + 4 of 228 are of assumed costs.
    assert (
        "72% of them are of costs that are assumed; worth measuring first: main_loop.wake, worker.pwrite_enter and "
        "kvm.ioeventfd_write." in " ".join(answer.out.split())
    )


def test_ranges_are_those_of_the_figure_of_its_evidence_or_of_all(study: Study, folder: Path) -> None:
    text = FEW + "low = 0.8\nhigh = 1.5\n[sensitivity.kind.measured]\nlow = 0.9\nhigh = 1.1\n"
    study(text)
    assert tornado()[["low", "high"]].loc[["pool.worker_wake", "main_loop.wake"]].values.tolist() == [
        [0.9, 1.1],
        [0.8, 1.5],
    ]
    (folder / "known.toml").write_text(profile("uncertainty = [0.75, 1]\n"))
    study(text, out="stated")
    row = tornado("stated").loc["pool.worker_wake"]
    assert (row["low"], row["high"], row["at_low"], row["at_high"]) == (0.75, 1, -2 * US, 0)


def test_a_cost_that_may_be_nothing_has_no_logarithm(study: Study, folder: Path) -> None:
    (folder / "known.toml").write_text(profile("uncertainty = [0, 2]\n"))
    answer = study(FEW.replace("sobol = false", ""))
    assert (answer.status, answer.err) == (
        2,
        'iosim: study.toml: sensitivity.sobol.scale must be "linear" with pool.worker_wake, which may be 0 by its '
        "uncertainty\n",
    )
    assert study(FEW.replace("sobol = false", 'sobol = { size = 4, scale = "linear" }'), out="linear").err == ""
    assert tornado("linear").loc["pool.worker_wake", "at_low"] == -8 * US


def test_what_the_scenario_changes_already_is_scaled_from_there(study: Study) -> None:
    settings = ("host.cost.all=0.5", "host.cost.main_loop.wake=3", 'host.cost.pool.worker_wake="10us"')
    study(FEW, *SERIAL, *(part for setting in settings for part in ("--set", setting)))
    high = tornado()["at_high"].to_dict()
    assert high == pytest.approx(
        {
            "main_loop.wake": 0.5 * 3 * 12 * US,
            "pool.worker_wake": 10 * US,
            "worker.pwrite_enter": 0.5 * 4 * US,
            "kvm.ioeventfd_write": 0.5 * 2 * US,
        }
    )


def test_costs_are_those_that_the_run_spends_and_no_others(study: Study) -> None:
    def scaled(out: str, *changes: str) -> tuple[set[str], pd.DataFrame]:
        settings = [part for change in changes for part in ("--set", change)]
        study(
            FEW.replace(ONLY, 'by = "group"\n').replace("replications = 2", "replications = 1"),
            *SERIAL,
            *settings,
            out=out,
        )
        facts = json.loads(Path(out, "sensitivity.json").read_text())
        return {key for factor in facts["factors"] for key in factor["costs"]}, tornado(out)

    found, rows = scaled("out")
    assert set(COSTS_US) < found
    # Neither IDE nor an iothread, and no reads.
    assert not {"qemu.ide_exec_cmd", "guest.bm_w", "iothread.run_poll_handlers_once", "worker.pread_enter"} & found
    # Every other cost ten times as long makes no difference: none has been missed.
    again, others = scaled("others", *(f"host.cost.{key}=10" for key in CATALOGUE if key not in found))
    assert again == found
    pd.testing.assert_frame_equal(others, rows)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("function", {"aio_worker": 12}),
        ("group", {"pool": 8, "main_loop": 12, "worker": 4, "kvm": 2}),
        ("stage", {"aio_wait": 8, "aio_worker": 4}),
    ],
)
def test_costs_can_be_scaled_together(study: Study, by: str, expected: dict[str, int]) -> None:
    study(FEW.replace("sobol", f'by = "{by}"\nsobol'))
    rows = tornado()
    assert rows["costs"].sum() == len(COSTS_US)
    assert rows["at_high"].sum() == pytest.approx(sum(KNOWN_US.values()) * US)
    if by == "function":
        expected = {}
        for key, us in KNOWN_US.items():
            expected[CATALOGUE[key].function] = expected.get(CATALOGUE[key].function, 0) + us
    for name, us in expected.items():
        assert rows.loc[name, "at_high"] == pytest.approx(us * US), name


# All together


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_sample_is_of_scaled_costs_and_its_indices_of_their_sum(study: Study, scale: str) -> None:
    study(FEW.replace("sobol = false\n", f'[sensitivity.sobol]\nsize = 8\nscale = "{scale}"\n'))
    sample = pd.read_parquet("out/sample.parquet")
    assert len(sample) == 8 * (4 + 2)
    extra = np.zeros(len(sample))
    for key, us in KNOWN_US.items():
        u = sample[key].to_numpy()
        extra += us * ((0.5 * 4**u if scale == "log" else 0.5 + 1.5 * u) - 1)
    # Each of five times that a cost is spent is off by half a nanosecond at most.
    assert np.abs(sample["latency_mean"] - tornado()["base"].iloc[0] - extra * US).max() <= 2.5
    rows = pd.read_parquet("out/sobol.parquet").set_index("factor")
    expected = sobol.indices(extra, 4, SobolTable(size=8), 0.95)
    assert expected is not None
    for number, key in enumerate(list(sample.columns[:4])):
        first, half = expected.first[number], expected.first_half[number]
        found = [rows.loc[key, name] for name in ("first", "first_low", "first_high")]
        assert found == pytest.approx([first, first - half, first + half], abs=0.01)
        assert rows.loc[key, "total"] == pytest.approx(expected.total[number], abs=0.01)


def test_indices_of_a_sum_are_the_shares_of_the_variances() -> None:
    weights = np.array([12.0, 8, 4, 2])
    table = SobolTable(size=1024)
    found = sobol.indices(sobol.sample(4, table) @ weights, 4, table, 0.95)
    assert found is not None
    shares = (weights**2 / (weights**2).sum()).tolist()
    assert found.first == pytest.approx(shares, abs=0.01)
    assert found.total == pytest.approx(shares, abs=0.01)
    for estimate, half in ((found.first, found.first_half), (found.total, found.total_half)):
        assert (np.abs(estimate - shares) < half).all()
        assert half.max() < 0.12


def test_indices_of_a_function_with_interplay_are_those_of_the_textbook() -> None:
    """Ishigami's function with a = 7, b = 0.1: Saltelli et al., Global Sensitivity Analysis, 2008, p. 179."""
    table = SobolTable(size=4096, factors=3)
    x = np.pi * (2 * sobol.sample(3, table) - 1)
    values = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    found = sobol.indices(values, 3, table, 0.95)
    assert found is not None
    assert found.first == pytest.approx([0.3139, 0.4424, 0], abs=0.02)
    assert found.total == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.02)
    assert (np.abs(found.first - [0.3139, 0.4424, 0]) < found.first_half).all()


def test_what_does_not_vary_has_no_indices() -> None:
    assert sobol.indices(np.full(4 * 8, 7.0), 2, SobolTable(size=8, factors=2), 0.95) is None


# Files


def test_the_sample_takes_the_factors_that_matter_most(study: Study) -> None:
    study(FEW.replace("sobol = false\n", "[sensitivity.sobol]\nsize = 4\nfactors = 2\n"))
    rows = pd.read_parquet("out/sobol.parquet")
    assert rows["factor"].tolist() == ["main_loop.wake", "pool.worker_wake"]


def test_tables_depend_on_the_study_alone_and_nothing_is_run_twice(study: Study) -> None:
    text = FEW.replace("sobol = false\n", "[sensitivity.sobol]\nsize = 4\n")
    study(text, "--workers", "2")
    once = journal(Path("out"))
    # Costs that are spent, the base and 8 ends with 2 replications, 4 x (4 + 2) points.
    assert len(once) == len(set(once)) == len(records(Path("out"))) == 1 + 2 * 9 + 24
    study(text)
    assert journal(Path("out")) == once
    study(text, out="again")
    for name in ("tornado.parquet", "runs.parquet", "sobol.parquet", "sample.parquet", "sensitivity.json"):
        assert Path("out", name).read_bytes() == Path("again", name).read_bytes(), name


def test_what_is_finished_when_the_study_ends_early_is_not_run_again(study: Study) -> None:
    study(FEW)
    first = journal(Path("out"))
    study(FEW.replace("sobol = false\n", "[sensitivity.sobol]\nsize = 4\n"))
    assert journal(Path("out"))[: len(first)] == first
    assert len(journal(Path("out"))) == len(first) + 24


def test_runs_have_every_value(study: Study) -> None:
    study(FEW)
    runs = pd.read_parquet("out/runs.parquet")
    assert len(runs) == 9 * 2
    row = runs[(runs["factor"] == "main_loop.wake") & (runs["end"] == "high")].iloc[0]
    base = runs[runs["point"] == "base"].iloc[0]
    assert (base["factor"], base["end"], base["seed"], base["unit"]) == ("", "", 1, "ns")
    assert row["value"] - base["value"] == pytest.approx(12 * US)


def test_a_percentile_without_enough_requests_is_left_out_unless_it_was_asked_for(study: Study) -> None:
    answer = study(FEW.replace('metrics = ["latency_mean"]\n', ""))
    assert tornado()["metric"].unique().tolist() == ["latency_mean"]
    assert "There are too few requests for latency_p99." in answer.out


# Input


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sobol = false",
            "sobol = false\nlow = 1.5",
            "sensitivity.low and high must have 1 between them, got 1.5 and 2",
        ),
        ("sobol = false", "sobol = false\nhigh = 2000.0", "sensitivity.high must be at most 1000, got 2000.0"),
        (
            "sobol = false",
            "low = 0.0",
            'sensitivity.low must be above 0 with sensitivity.sobol.scale "log", got 0',
        ),
        (
            "sobol = false",
            'by = "layer"',
            "sensitivity.by must be one of 'cost', 'function', 'group', 'stage', got 'layer'",
        ),
        (
            "sobol = false",
            "sobol = false\nkind = { guessed = { low = 0.5 } }",
            "sensitivity.kind must have tables named published, measured, derived, assumed, got 'guessed'",
        ),
        ("sobol = false", "sobol = { size = 100 }", "sensitivity.sobol.size must be a power of two, got 100"),
        (ONLY, 'only = ["cpus"]\n', "sensitivity.only must have costs or groups of costs, got 'cpus'"),
        (
            ONLY,
            'only = ["cache"]\n',
            "sensitivity.only has cache, for which the scenario spends no time",
        ),
        ('"latency_mean"', '"latency"', "sensitivity.metrics.0 must be a metric of docs/studies.md, got 'latency'"),
        ('"latency_mean"', '"latency_p99"', "sensitivity.metrics: there is no latency_p99 with 2 replications"),
        (
            '"latency_mean"',
            '"latency_mean", "latency_mean"',
            "sensitivity.metrics must name each metric once",
        ),
        ("replications = 2", 'reference = "a"', "study.reference must be left out: costs are compared to the base"),
        ("[sensitivity]", "[grid]\n[sensitivity]", "grid is not a key"),
    ],
)
def test_a_study_that_makes_no_sense_is_one_clear_line(study: Study, old: str, new: str, message: str) -> None:
    assert old in FEW
    answer = study(FEW.replace(old, new))
    assert (answer.status, answer.err) == (2, f"iosim: study.toml: {message}\n")
    assert not Path("out", "sensitivity.json").exists()


def test_sweep_and_sensitivity_keep_apart(study: Study, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study(FEW)
    answer = run(capsys, "sweep", "study.toml", "--out", "other")
    assert (answer.status, answer.err) == (2, "iosim: study.toml: [sensitivity] is for iosim sensitivity\n")
    (folder / "sweep.toml").write_text(f"{HEAD}[grid]\nvm.web.count = [1]\n")
    answer = run(capsys, "sweep", "sweep.toml", "--out", "out")
    assert (answer.status, answer.err) == (
        2,
        "iosim: out: is the folder of a sensitivity study; choose another folder\n",
    )
    answer = run(capsys, "sensitivity", "sweep.toml", "--out", "other")
    message = "[sensitivity] is required; what has none is for iosim sweep or iosim plan"
    assert (answer.status, answer.err) == (2, f"iosim: sweep.toml: {message}\n")
