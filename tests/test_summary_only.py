"""Runs that keep no requests: the same tables and summary, but for percentiles, which are within a stated error."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from iosim.model.errors import FaultError, ResultError
from iosim.results import result as results
from iosim.results import sketch
from iosim.results.raw import INT_COLUMNS
from iosim.results.sums import RequestSums
from iosim.simulation import run_and_tabulate
from tests.commandline import run, write_inputs
from tests.support import Row, drawn_profile, scenario, traces

MIXED: list[Row] = [
    (20_000 * n, "RWWF"[n % 4], 0 if n % 4 == 3 else 64 * n % 4096, 0 if n % 4 == 3 else 8) for n in range(600)
]
TIMES = st.one_of(st.integers(0, 5000), st.integers(0, 10**12), st.integers((1 << 62) - 10, 1 << 62))


@given(st.lists(TIMES, min_size=1))
def test_buckets_are_those_of_the_hdr_histogram(times: list[int]) -> None:
    layout = HdrHistogram(1, 1 << 62, 3)
    array = np.array(times)
    buckets = sketch.bucket_of(array)
    assert buckets.tolist() == [layout._counts_index_for(time) for time in times]
    middles = sketch.middle_of(buckets)
    assert (np.abs(middles - array) <= sketch.ERROR * array).all()


@given(st.lists(TIMES, min_size=1, max_size=60))
def test_percentiles_are_within_the_stated_error(times: list[int]) -> None:
    sketches = sketch.Sketches(1)
    sketches.add([np.array(times)])
    of = [0, 1, 37.5, 50, 90, 99.9, 100]
    found = sketches.column(0).percentiles(of)
    assert found == pytest.approx(np.percentile(np.array(times, dtype=float), of), rel=1.001 * sketch.ERROR)
    assert found[-1] == pytest.approx(max(times), rel=sketch.ERROR)


def test_sketches_of_parts_add_up_to_that_of_the_whole() -> None:
    times = np.random.default_rng(1).integers(0, 10**9, (2, 1000))
    whole, parts = sketch.Sketches(2), [sketch.Sketches(2) for _ in range(3)]
    whole.add(list(times))
    for part, columns in zip(parts, np.array_split(times, 3, axis=1), strict=True):
        part.add(list(columns))
    for at in range(2):
        merged, expected = sketch.Counts.merged([part.column(at) for part in parts]), whole.column(at)
        assert np.array_equal(merged.by_bucket(), expected.by_bucket())
        assert (merged.least, merged.most, merged.n) == (times[at].min(), times[at].max(), 1000)


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
def test_everything_but_the_requests_is_as_with_them(engine: str) -> None:
    vms: list[dict[str, Any]] = [{"name": "a", "count": 2, "offset": "1ms", "drive": [{}, {"interface": "virtio-blk"}]},
           {"name": "b", "drive": [{"transfer": "pio"}]}]  # fmt: skip
    timing = {"warmup": "1ms", "duration": "11ms", "slowest": 5, "engine": engine}
    disk = {"model": "constant", "service": "9us", "fault": [{"probability": 0.05}]}
    described = scenario(vms=vms, disks=[disk], run=timing)
    inputs = described, drawn_profile(), traces(described, MIXED)
    whole, summed = (run_and_tabulate(*inputs, rows=rows) for rows in (True, False))
    tables = summed.tables()
    assert set(whole.tables()) - set(tables) == {"requests"}
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, whole.tables()[name], check_exact=True, obj=name)
    assert {"ok", "error", "unfinished"} == set(whole.requests["status"])
    left, right = dict(whole.summary), dict(summed.summary)
    assert (left.pop("percentile_error"), right.pop("percentile_error")) == (0.0, 1 / 2048)
    _compare(left.pop("latency_ns"), right.pop("latency_ns"))
    exact, near = left.pop("stages_ns"), right.pop("stages_ns")
    for stage in exact:
        _compare(exact[stage], near[stage])
    assert left == right
    with pytest.raises(ResultError, match=r"^the run: has kept no requests \(--summary-only\)"):
        _ = summed.requests


def _compare(exact: dict[str, Any], near: dict[str, Any]) -> None:
    assert near.pop("percentile") == pytest.approx(exact.pop("percentile"), rel=1 / 2048)
    assert near == exact


def test_a_run_in_which_nothing_was_done_has_a_summary() -> None:
    described = scenario(run={"duration": "41us"})
    result = run_and_tabulate(described, drawn_profile(), traces(described, MIXED[2:4]), rows=False)
    assert result.summary["requests"]["unfinished"] == 1 == result.summary["requests"]["in"]
    assert result.summary["latency_ns"] == {"mean": None, "min": None, "max": None, "percentile": {}}


def test_a_row_whose_stages_are_not_its_latency_is_a_fault() -> None:
    rows = np.zeros((1, len(INT_COLUMNS)), dtype=np.int64)
    rows[0, INT_COLUMNS.index("done_ns")] = 5
    sums = RequestSums()
    sums.add(rows)
    with pytest.raises(FaultError, match="the stages of request 0 are not its latency"):
        sums.finish()


def test_sums_beyond_64_bits_are_exact() -> None:
    rows = np.zeros((40, len(INT_COLUMNS)), dtype=np.int64)
    for name in ("done_ns", "disk_wait_ns"):
        rows[:, INT_COLUMNS.index(name)] = 1 << 58
    sums = RequestSums()
    for _ in range(4):
        sums.add(rows[:10])
        sums.finish()
    assert [place.stages_ns[10] for place in sums.places.values()] == [40 << 58]


def test_the_command_writes_no_requests_and_what_needs_them_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inputs(tmp_path)
    out = tmp_path / "out"
    answer = run(capsys, "run", str(tmp_path / "scenario.toml"), "--out", str(out), "--summary-only")
    assert (answer.status, answer.err) == (0, "")
    assert "3 requests done" in answer.out
    assert "No requests were kept: percentiles are within 0.05% of the exact ones" in answer.out
    files = {path.name for path in out.iterdir()}
    assert {"summary.json", "exits.parquet", "functions.parquet", "series.parquet", "spans.parquet"} <= files
    assert not {"requests.parquet", "latency.png"} & files
    assert len(results.read(out).spans["request"].unique()) == 3
    name = str(out)
    whole = str(tmp_path / "whole")
    assert run(capsys, "run", str(tmp_path / "scenario.toml"), "--out", whole).status == 0
    for command in (["report", name], ["show", name], ["compare", whole, name], ["report", name, "--export", "fio"]):
        refused = run(capsys, *command)
        assert refused.status == 2, command
        assert f"{name}: has kept no requests (--summary-only); run the scenario again" in refused.err
