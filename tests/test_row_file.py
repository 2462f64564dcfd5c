"""Tables of requests too long for memory: written as rows come, with the same content as those made in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from iosim import simulation
from iosim.model.errors import ResultError
from iosim.results import result as results
from iosim.results import row_file, sketch
from iosim.results.raw import INT_COLUMNS
from iosim.results.row_file import RowFile
from iosim.simulation import run_and_tabulate
from tests.commandline import run, write_inputs
from tests.support import drawn_profile, same, scenario, traces
from tests.test_summary_only import MIXED


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are too many for memory, and blocks and row groups are small."""
    monkeypatch.setattr(simulation, "ROWS_IN_MEMORY", 2)
    monkeypatch.setattr(row_file, "ROW_GROUP", 150)
    monkeypatch.setattr(row_file, "_HELD", 100)


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
@pytest.mark.usefixtures("streamed")
def test_a_result_in_a_file_is_the_one_in_memory(engine: str, tmp_path: Path) -> None:
    vms: list[dict[str, Any]] = [
        {"name": "a", "count": 2, "offset": "1ms", "drive": [{}, {"interface": "virtio-blk"}]},
        {"name": "b", "drive": [{"transfer": "pio"}]},
    ]
    timing = {"warmup": "1ms", "duration": "11ms", "slowest": 5, "engine": engine}
    disk = {"model": "constant", "service": "9us", "fault": [{"probability": 0.05}]}
    described = scenario(vms=vms, disks=[disk], run=timing)
    inputs = described, drawn_profile(), traces(described, MIXED)
    whole, stored = run_and_tabulate(*inputs), run_and_tabulate(*inputs, beside=tmp_path)
    assert set(whole.requests["status"]) == {"ok", "error", "unfinished"}
    results.write(whole, tmp_path / "whole", "", pictures=False)
    results.write(stored, tmp_path / "stored", "", pictures=False)
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "stored"}
    assert parquet.read_metadata(tmp_path / "stored" / "requests.parquet").num_row_groups >= 5
    left, right = (results.read(tmp_path / name) for name in ("whole", "stored"))
    assert left.summary == right.summary
    same(left, right)
    pd.testing.assert_frame_equal(stored.requests, whole.requests, check_exact=True)


@given(
    st.lists(st.one_of(st.integers(0, 3000), st.integers(0, 10**12)), min_size=1, max_size=80),
    st.lists(st.floats(0, 100), min_size=1, max_size=5),
)
def test_percentiles_of_the_file_are_those_of_numpy(tmp_path_factory: Any, times: list[int], of: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "percentiles.parquet"
    frame = pd.DataFrame({"latency_ns": times, "op": "R", "status": "ok", "warmup": False})
    failed = frame.assign(latency_ns=7, status="error")
    early = frame.assign(latency_ns=7, warmup=True)
    writes = frame.assign(latency_ns=7, op="W")
    pd.concat([failed, frame, early, writes]).to_parquet(path, row_group_size=9)
    sketches = sketch.Sketches(1)
    sketches.add([np.array(times)])
    found = row_file.percentiles(path, "latency_ns", "R", sketches.column(0).by_bucket(), of)
    assert found == pytest.approx(np.percentile(np.array(times), of).tolist(), rel=1e-12)


@given(st.permutations(range(30)), st.integers(1, 9))
def test_rows_are_put_in_order_whatever_order_they_come_in(order: list[int], size: int) -> None:
    rows = np.zeros((30, len(INT_COLUMNS)), dtype=np.int64)
    rows[:, 1], rows[:, 2] = np.repeat([0, 1], 15), np.tile(np.arange(15), 2)
    kept = RowFile()
    for at in range(0, 30, size):
        kept.add(rows[order[at : at + size]])
        kept._sort_out()
    kept.finish()
    found = [rows for _, chunks in sorted(kept._chunks.items()) for rows in kept._in_groups(chunks)]
    assert np.array_equal(np.concatenate(found), rows)


@pytest.mark.usefixtures("streamed")
def test_the_command_writes_a_whole_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(tmp_path)
    out = tmp_path / "out"
    answer = run(capsys, "run", str(tmp_path / "scenario.toml"), "--out", str(out))
    assert (answer.status, answer.err) == (0, "")
    assert len(pd.read_parquet(out / "requests.parquet")) == 3
    assert (out / "requests.parquet").stat().st_mode & 0o777 == 0o644
    assert {path.name for path in tmp_path.iterdir()} == {"scenario.toml", "trace.csv", "out"}
    assert run(capsys, "report", str(out)).status == 0
    monkeypatch.setattr(results, "MOST_READ", 2)
    refused = run(capsys, "show", str(out))
    assert refused.status == 2
    assert f"{out}/requests.parquet: has 3 requests, more than the 2 that are read into memory" in refused.err
    with pytest.raises(ResultError, match="more than the 2"):
        _ = results.read(out).requests
