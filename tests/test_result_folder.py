"""A result read from its folder is what was written, and a folder that is none is refused in one line."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import iosim
from iosim.model.errors import ResultError
from iosim.results.result import COLUMNS, Result, read
from iosim.results.summary import SUMMARY_KEYS
from tests.commandline import SCENARIO, run, write_inputs


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a result whose scenario logs port accesses."""
    write_inputs(tmp_path, f'[run]\nlog = "ports"\n{SCENARIO}')
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "run", "scenario.toml", "--out", "out").status == 0
    return tmp_path / "out"


def simulated(folder: Path) -> Result:
    return iosim.simulate(iosim.load(folder / "scenario.toml"))


def test_what_was_written_is_read(written: Path) -> None:
    again, expected = read(written), simulated(written)
    assert again.tables().keys() == expected.tables().keys()
    assert "accesses" in again.tables()
    for name, table in expected.tables().items():
        pd.testing.assert_frame_equal(again.tables()[name], table, check_exact=True, obj=name)
    assert again.scenario.model_dump() == iosim.load(written.parent / "scenario.toml").model_dump()
    assert again.summary == json.loads((written / "summary.json").read_text())


def test_a_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    for folder, words in ((tmp_path, "holds no result of iosim run"), (tmp_path / "no", "is not a folder")):
        with pytest.raises(ResultError, match=f"^{re.escape(str(folder))}: {words}"):
            read(folder)


def test_another_version_is_refused(written: Path) -> None:
    path = written / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "summary_version": 0}))
    with pytest.raises(ResultError) as caught:
        read(written)
    assert str(caught.value) == f"{path}: summary_version must be 1, got 0; run the scenario again"


@pytest.mark.parametrize("table", ["requests", "series"])
def test_a_missing_or_damaged_table_is_named(written: Path, table: str) -> None:
    path = written / f"{table}.parquet"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ResultError, match=f"^{re.escape(str(path))}: cannot be read: "):
        read(written)
    path.unlink()
    with pytest.raises(ResultError) as caught:
        read(written)
    assert str(caught.value) == f"{path}: is missing; run the scenario again"


def test_what_a_result_must_have_is_what_it_has(written: Path) -> None:
    result = read(written)
    assert set(result.summary) == set(SUMMARY_KEYS)
    for name, columns in COLUMNS.items():
        own = [column for column in result.tables()[name] if not str(column).startswith(("utilisation ", "queue "))]
        assert own == columns


def test_a_missing_column_is_named(written: Path) -> None:
    path = written / "requests.parquet"
    pd.read_parquet(path).drop(columns="bql_wait_ns").to_parquet(path)
    with pytest.raises(ResultError) as caught:
        read(written)
    assert str(caught.value) == f"{path}: has no column bql_wait_ns; run the scenario again"


def test_a_missing_key_of_the_summary_is_named(written: Path) -> None:
    path = written / "summary.json"
    summary = json.loads(path.read_text())
    del summary["profile"]
    path.write_text(json.dumps(summary))
    with pytest.raises(ResultError) as caught:
        read(written)
    assert str(caught.value) == f"{path}: has no key profile; run the scenario again"
