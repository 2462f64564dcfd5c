"""Sweeps that keep no requests: the figures of those that do, percentiles within the stated error."""

import json
from pathlib import Path

import pandas as pd
import pytest

from iosim.results import sketch
from iosim.results.result import read
from tests.commandline import run
from tests.studies import SCENARIO, facts, journal, runs, sweep_here, write_study

TWO_TABLES = SCENARIO + '[[vm]]\nname = "db"\n[[vm.drive]]\ncache = "none"\ntrace = "trace.csv"\n'
MIXED = "time_us,op,sector,sectors\n" + "".join(
    f"{300 * k},{'RWWF'[k % 4]},{0 if k % 4 == 3 else 64 * k},{0 if k % 4 == 3 else 8}\n" for k in range(240)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of one study, carried out with requests (`whole`) and without (`summary`)."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, scenario=TWO_TABLES, trace=MIXED)
    sweep_here(folder, out="whole")
    sweep_here(folder, out="summary", summary_only=True)
    return folder


def test_everything_but_percentiles_is_exactly_as_with_the_requests(folder: Path) -> None:
    whole, summary = runs(folder / "whole"), runs(folder / "summary")
    near = whole["metric"].str.startswith("latency_p")
    assert {"", "op=R", "op=W", "op=F", "vm=web", "vm=db"} == set(whole.loc[near, "of"])
    pd.testing.assert_frame_equal(summary[~near], whole[~near], check_exact=True)
    pd.testing.assert_frame_equal(summary[near], whole[near], check_exact=False, rtol=sketch.ERROR, atol=0)
    assert (summary["value"] != whole["value"])[near].any()


def test_percentiles_of_all_replications_are_of_their_counts_together(folder: Path) -> None:
    whole, summary = (pd.read_parquet(folder / name / "summary.parquet") for name in ("whole", "summary"))
    near = whole["metric"].str.startswith("latency_p")
    pd.testing.assert_frame_equal(summary[~near], whole[~near], check_exact=True)
    columns = ["estimate", "mean", "median"]
    pd.testing.assert_frame_equal(
        summary.loc[near, columns], whole.loc[near, columns], check_exact=False, rtol=sketch.ERROR, atol=0
    )
    assert summary.loc[near, ["low", "high"]].notna().all(axis=None)
    assert (summary.loc[near, "pairs"] == whole.loc[near, "pairs"]).all()
    # Both ends of an interval lie at most three times the error of its percentiles from where they should.
    off = (summary.loc[near, ["low", "high"]] - whole.loc[near, ["low", "high"]]).abs().max(axis=1)
    assert (off <= 4 * sketch.ERROR * whole.loc[near, "estimate"]).all()


def test_no_latencies_are_stored_and_the_tables_are_small(folder: Path) -> None:
    for path in (folder / "summary" / "store").glob("*/*.parquet"):
        table = pd.read_parquet(path)
        assert list(table) == ["vm", "op", "bucket", "n", "least_ns", "most_ns"]
        cells = table.groupby(["vm", "op"])
        assert (cells["n"].sum() > 0).all()
        assert (sketch.middle_of(table["bucket"].to_numpy()) <= table["most_ns"] * (1 + sketch.ERROR)).all()


def test_runs_with_requests_are_not_taken_for_runs_without(folder: Path) -> None:
    assert set(journal(folder / "whole")).isdisjoint(journal(folder / "summary"))
    assert facts(folder / "whole")["study"]["output"] == {"keep": False, "summary_only": False}
    assert facts(folder / "summary")["study"]["output"] == {"keep": False, "summary_only": True}


def test_the_same_study_again_runs_nothing_and_kept_results_have_no_requests(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = runs(folder / "summary")
    n = len(journal(folder / "summary"))
    command = ("sweep", str(folder / "study.toml"), "--out", str(folder / "summary"), "--workers", "1")
    answer = run(capsys, *command, "--summary-only")
    assert (answer.status, answer.err) == (0, "")
    assert "No requests were kept: percentiles are within 0.049 %" in " ".join(answer.out.split())
    assert len(journal(folder / "summary")) == n
    pd.testing.assert_frame_equal(runs(folder / "summary"), before)
    assert run(capsys, *command, "--summary-only", "--keep").status == 0
    kept = folder / "summary" / "points" / "base" / "0"
    assert not (kept / "requests.parquet").exists()
    assert read(kept).summary["percentile_error"] == sketch.ERROR
    assert run(capsys, "report", str(folder / "summary")).status == 0
    page = (folder / "summary" / "study.html").read_text(encoding="utf-8")
    assert "No requests were kept" in page


def test_a_run_of_which_nothing_is_counted_has_no_latencies(tmp_path: Path) -> None:
    write_study(tmp_path, scenario=TWO_TABLES + '[run]\nwarmup = "1s"\n')
    whole = runs(sweep_here(tmp_path, out="whole"))
    pd.testing.assert_frame_equal(runs(sweep_here(tmp_path, out="summary", summary_only=True)), whole)
    assert not whole["metric"].str.startswith("latency").any()


@pytest.mark.parametrize("options", [(), ("--summary-only",)])
def test_what_needs_every_request_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    text = '[study]\nscenario = "scenario.toml"\n[statistics]\nwarmup = "mser-5"\n'
    write_study(tmp_path, study=text if options else text + "[output]\nsummary_only = true\n")
    path = tmp_path / "study.toml"
    answer = run(capsys, "sweep", str(path), "--out", str(tmp_path / "out"), *options)
    assert (answer.status, answer.out) == (2, "")
    rule = 'output.summary_only must be false with statistics.warmup "mser-5", got true'
    assert answer.err == f"iosim: {path}: {rule}\n"
    assert not (tmp_path / "out").exists()


def test_the_document_of_a_study_is_the_same_for_any_number_of_workers(folder: Path) -> None:
    two = sweep_here(folder, 2, out="two", summary_only=True)
    for name in ("runs.parquet", "summary.parquet", "study.json"):
        assert (two / name).read_bytes() == (folder / "summary" / name).read_bytes()
    assert json.loads((two / "study.json").read_text())["points"]
