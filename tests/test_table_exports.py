"""Tables as CSV and Parquet: what is read back is what the run gave."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from iosim.exports.tables import write_csv, write_parquet
from iosim.results.result import Result
from tests import handmade
from tests.support import scenario, simulate

LISTS = ("latency_edges_ns", "latency_counts")


@pytest.fixture(scope="module")
def result() -> Result:
    return simulate(scenario([{}, {"transfer": "pio"}], run={"log": "ports"}), [(0, "W", 0, 8), (100_000, "F", 0, 0)])


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """The table with names as strings."""
    return table.astype({name: str for name in table if isinstance(table[name].dtype, pd.CategoricalDtype)})


def test_csv_gives_back_every_table(result: Result, tmp_path: Path) -> None:
    write_csv(result, tmp_path / "csv")
    assert {path.name for path in (tmp_path / "csv").iterdir()} == {f"{name}.csv" for name in result.tables()}
    assert "accesses" in result.tables()
    for name, table in result.tables().items():
        # As docs/exports.md says: no text stands for a missing value, and lists are JSON.
        converters: dict[str, Callable[[str], Any]] = dict.fromkeys(map(str, table.select_dtypes("float")), float)
        converters |= {column: json.loads for column in LISTS if column in table}
        again = pd.read_csv(tmp_path / "csv" / f"{name}.csv", keep_default_na=False, converters=converters)
        expected = plain(table)
        if table.empty:
            assert list(again) == list(expected)
        else:
            pd.testing.assert_frame_equal(again, expected, check_exact=True, obj=name)


def test_a_csv_file_as_text(result: Result, tmp_path: Path) -> None:
    write_csv(result, tmp_path / "csv")
    lines = (tmp_path / "csv" / "series.csv").read_text().splitlines()
    row = pd.read_csv(StringIO("\n".join(lines[:2])))
    assert lines[0].startswith(
        "start_ns,end_ns,arrivals,completions,latency_edges_ns,latency_counts,utilisation web/vcpu0"
    )
    edges = row["latency_edges_ns"][0]
    assert edges.startswith("[1152,1280,1408,")
    assert " " not in edges
    assert b"\r" not in (tmp_path / "csv" / "requests.csv").read_bytes()


def test_parquet_gives_back_every_table_in_a_form_that_all_readers_know(result: Result, tmp_path: Path) -> None:
    write_parquet(result, tmp_path / "parquet")
    for name, table in result.tables().items():
        path = tmp_path / "parquet" / f"{name}.parquet"
        again = pd.read_parquet(path)
        for column in LISTS:
            if column in again:
                again[column] = [entry.tolist() for entry in again[column]]
        pd.testing.assert_frame_equal(again, plain(table), check_exact=True, obj=name)
        file = pq.ParquetFile(path)
        if file.metadata.num_row_groups:
            assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
        assert not any("dictionary" in str(field.type) for field in file.schema_arrow)


def test_hostile_names_survive(tmp_path: Path) -> None:
    name = 'a,"b"\n<script>'
    spans = handmade.spans(handmade.WRITE, vm=name)
    write_csv(handmade.result([handmade.request(spans)], [spans]), tmp_path / "csv")
    assert pd.read_csv(tmp_path / "csv" / "spans.csv")["vm"].unique().tolist() == [name]
