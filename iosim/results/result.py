"""A result: the frames of one run, and the folder that holds them."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from iosim.model.errors import OutputError, ResultError, reason, shown
from iosim.model.scenario import Scenario
from iosim.results import spans
from iosim.results.row_file import Location
from iosim.results.statistics import Statistics
from iosim.results.summary import SUMMARY_KEYS, SUMMARY_VERSION
from iosim.results.tables import EVENT_COLUMNS, EXIT_COLUMNS, REQUEST_COLUMNS, RESOURCE_COLUMNS, SERIES_COLUMNS

MOST_READ = 20_000_000
"""So many requests are read into memory: they take 6 GB there."""
MARKER = "summary.json"
"""A folder with this file, written by iosim, is a result and may be replaced."""
COLUMNS = {
    "requests": REQUEST_COLUMNS,
    "exits": EXIT_COLUMNS,
    "resources": RESOURCE_COLUMNS,
    "spans": spans.COLUMNS,
    "series": SERIES_COLUMNS,
    "events": EVENT_COLUMNS,
}
"""What each table has at least; `series` has columns of each resource besides."""


@dataclass
class Result:
    """What a simulation gives: pandas frames and the summary (docs/results.md has every column).

    *accesses* is None unless the scenario logs port accesses. *found* are the statistics of requests without a
    table.
    """

    scenario: Scenario
    requests: pd.DataFrame
    exits: pd.DataFrame
    resources: pd.DataFrame
    functions: pd.DataFrame
    spans: pd.DataFrame
    series: pd.DataFrame
    events: pd.DataFrame
    accesses: pd.DataFrame | None
    summary: dict[str, Any]
    found: Statistics | None = None

    def statistics(self) -> Statistics:
        """Return what there is to say of the requests in numbers."""
        return Statistics.of(self.requests) if self.found is None else self.found

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the frames by the name of their file."""
        tables = {
            "requests": self.requests,
            "exits": self.exits,
            "resources": self.resources,
            "functions": self.functions,
            "spans": self.spans,
            "series": self.series,
            "events": self.events,
        }
        if self.accesses is not None:
            tables["accesses"] = self.accesses
        return tables


class SummaryResult(Result):
    """The result of a run that has kept no rows of requests: whoever asks for them gets a ResultError.

    *place* is what the error names.
    """

    place = "the run"

    @property
    def requests(self) -> pd.DataFrame:
        """No rows."""
        raise ResultError(f"{self.place}: has kept no requests (--summary-only); run the scenario again without it")

    @requests.setter
    def requests(self, table: pd.DataFrame) -> None:
        """Keep none."""

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the frames that there are by the name of their file."""
        tables = {name: getattr(self, name) for name in COLUMNS if name != "requests"} | {"functions": self.functions}
        return tables if self.accesses is None else tables | {"accesses": self.accesses}


class StoredResult(Result):
    """The result of a run whose table of requests is in a file, at `at`: it is read when it is asked for."""

    at: Location

    @property
    def requests(self) -> pd.DataFrame:
        """The whole table. Raises ResultError if it is too long for memory."""
        n = self.summary["requests"]["in"]
        if n > MOST_READ:
            raise ResultError(
                f"{self.at.path}: has {n:,} requests, more than the {MOST_READ:,} that are read into memory"
            )
        return _table(self.at.path)

    @requests.setter
    def requests(self, table: pd.DataFrame) -> None:
        """Keep none."""

    tables = SummaryResult.tables


def check_target(folder: Path) -> None:
    """Raise OutputError unless *folder* can be made, is empty, or is a result of an earlier run."""
    try:
        place = folder.resolve()
        if not place.exists():
            above = next(parent for parent in place.parents if parent.exists() or parent.is_symlink())
            if not above.is_dir():
                raise OutputError(f"{folder}: cannot be made, {above.name} is not a folder")
            return
        if not place.is_dir():
            raise OutputError(f"{folder}: is not a folder")
        if Path.cwd().is_relative_to(place):
            raise OutputError(f"{folder}: is the working folder or above it; choose another folder")
        if any(place.iterdir()) and not is_result(place):
            raise OutputError(f"{folder}: is not empty and no result of an earlier run; choose another folder")
    except OSError as error:
        raise OutputError(f"{folder}: {reason(error)}") from None
    except (RuntimeError, ValueError):
        raise OutputError(f"{folder}: is no name of a folder") from None


def is_result(folder: Path) -> bool:
    """Tell whether *folder* holds a result, by its summary."""
    try:
        summary = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and "summary_version" in summary and "iosim" in summary


def read(folder: Path) -> Result:
    """Return the result of an earlier run that *folder* holds.

    Raises ResultError if it holds none, or one of another version, or if a table is missing or damaged.
    """
    if not folder.is_dir():
        raise ResultError(f"{folder}: is not a folder")
    if not is_result(folder):
        raise ResultError(f"{folder}: holds no result of iosim run (no {MARKER} of one)")
    summary = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    if summary["summary_version"] != SUMMARY_VERSION:
        raise ResultError(
            f"{folder / MARKER}: summary_version must be {SUMMARY_VERSION}, got {shown(summary['summary_version'])}; "
            "run the scenario again"
        )
    if missing := [key for key in SUMMARY_KEYS if key not in summary]:
        raise ResultError(f"{folder / MARKER}: has no key {missing[0]}; run the scenario again")
    try:
        scenario = Scenario.model_validate(summary["scenario"])
    except ValidationError:
        raise ResultError(f"{folder / MARKER}: its scenario is none that this version of iosim runs") from None
    kind: type[Result] = SummaryResult if summary["percentile_error"] else Result
    if kind is Result and summary["requests"]["in"] > MOST_READ:
        kind = StoredResult
    names = [name for name in (*COLUMNS, "functions") if kind is Result or name != "requests"]
    tables: dict[str, Any] = {name: _table(folder / f"{name}.parquet") for name in names}
    for name in set(COLUMNS).intersection(names):
        if missing := [column for column in COLUMNS[name] if column not in tables[name]]:
            raise ResultError(f"{folder / name}.parquet: has no column {missing[0]}; run the scenario again")
    for column in ("latency_edges_ns", "latency_counts"):
        tables["series"][column] = [entry.tolist() for entry in tables["series"][column]]
    accesses = folder / "accesses.parquet"
    tables["accesses"] = _table(accesses) if accesses.exists() else None
    result = kind(scenario=scenario, summary=summary, **({"requests": None} | tables))
    if isinstance(result, SummaryResult):
        result.place = str(folder)
    if isinstance(result, StoredResult):
        result.at = Location(folder / "requests.parquet")
    return result


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise ResultError(f"{path}: is missing; run the scenario again") from None
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: cannot be read: {error}") from None


def write(result: Result, folder: Path, scenario_toml: str, pictures: bool = True) -> None:
    """Write the result to *folder*, whole or not at all: it is put together beside it and then renamed.

    A result of an earlier run is replaced. Raises OutputError.
    """
    check_target(folder)
    shown, folder = folder, folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{shown}: {reason(error)}") from None
    try:
        made.chmod(0o755)
        for name, table in result.tables().items():
            table.to_parquet(made / f"{name}.parquet", index=False, compression="zstd")
        if isinstance(result, StoredResult):
            shutil.move(result.at.path, made / "requests.parquet")
            (made / "requests.parquet").chmod(0o644)
        (made / "scenario.toml").write_text(scenario_toml, encoding="utf-8")
        if pictures:
            from iosim.results.pictures import draw

            draw(result, made)
        (made / MARKER).write_text(json.dumps(result.summary, indent=1) + "\n", encoding="utf-8")
        put_in_place(made, folder)
        if isinstance(result, StoredResult):
            result.at.path = shown / "requests.parquet"
    except OSError as error:
        raise OutputError(f"{shown}: {reason(error)}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def put_in_place(made: Path, folder: Path) -> None:
    """Put *made* in the place of *folder*, both folders or both files; what was there goes once the new one stands."""
    if made.is_file():
        made.replace(folder)
        return
    old = None
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    try:
        made.rename(folder)
    except BaseException:  # An interrupt too: the earlier result comes back.
        if old is not None and not folder.exists():
            old.rename(folder)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
