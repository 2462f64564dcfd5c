"""Every table of a result as CSV or Parquet, in one folder."""

import json
from pathlib import Path

import pandas as pd

from iosim.results.result import Result


def write_csv(result: Result, folder: Path) -> None:
    """Write each table to a CSV file in *folder*; a list is a JSON array in its cell."""
    folder.mkdir()
    for name, table in result.tables().items():
        _flat(table).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def write_parquet(result: Result, folder: Path) -> None:
    """Write each table to a Parquet file in *folder*: plain strings, and Snappy, which every reader knows."""
    folder.mkdir()
    for name, table in result.tables().items():
        names = [column for column in table.columns if isinstance(table[column].dtype, pd.CategoricalDtype)]
        table.astype(dict.fromkeys(names, str)).to_parquet(folder / f"{name}.parquet", index=False)


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    lists = [name for name in table.columns if len(table) and isinstance(table[name].iloc[0], list)]
    return table.assign(**{name: [json.dumps(value, separators=(",", ":")) for value in table[name]] for name in lists})
