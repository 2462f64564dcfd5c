"""The tables of a study: every metric of every run, and what the runs of each point say (docs/studies.md)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim import scenario_file
from iosim.study.metrics import UNITS
from iosim.study.points import Point, value_text
from iosim.study.runner import Run
from iosim.study.statistics import mean_intervals, quantile_ranks

Floats = npt.NDArray[np.float64]


def runs_table(points: Sequence[Point], runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per point, replication and metric, in the order of the study."""
    number = {point.name: n for n, point in enumerate(points)}
    ordered = sorted(runs, key=lambda run: (number[run.point.name], run.replication))
    sizes = [len(run.metrics) for run in ordered]
    metrics = [row for run in ordered for row in run.metrics]
    frame = pd.DataFrame(
        {
            "point": np.repeat([run.point.name for run in ordered], sizes),
            "replication": np.repeat(np.array([run.replication for run in ordered], dtype=np.int64), sizes),
            "seed": np.repeat(np.array([run.seed for run in ordered], dtype=np.int64), sizes),
            "metric": [row.metric for row in metrics],
            "of": [row.of for row in metrics],
            "unit": [UNITS[row.metric] for row in metrics],
            "value": np.array([row.value for row in metrics], dtype=np.float64),
        }
    )
    return _with_keys(frame, points)


def _with_keys(frame: pd.DataFrame, points: Sequence[Point]) -> pd.DataFrame:
    """Return *frame* with a column for each key that any point changes, behind that of the point: the value there.

    It is empty where the key is left out, or is that of several tables that differ.
    """
    resolved = {point.name: point.scenario.model_dump(mode="json") for point in points}
    for key in reversed(dict.fromkeys(key for point in points for key in point.changes)):
        values = {name: _value(data, key) for name, data in resolved.items()}
        frame.insert(1, key, _typed(frame["point"].map(values), [v for v in values.values() if v is not None]))
    return frame


def _value(data: dict[str, Any], key: str) -> Any:
    found = scenario_file.values_at(data, key)
    return found[0] if all(value == found[0] for value in found) else None


def _typed(column: "pd.Series[Any]", values: list[Any]) -> "pd.Series[Any]":
    """Return *column* as whole numbers, numbers or booleans if all its *values* are, else as text."""
    if all(isinstance(value, bool) for value in values):
        return column.astype("boolean")
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return column.astype("Int64")
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return column.astype("Float64")
    return column.map(value_text, na_action="ignore").astype("string")


def summary_table(runs: pd.DataFrame, points: Sequence[Point], reference: str, confidence: float) -> pd.DataFrame:
    """Return one row per point and metric: what the replications in *runs* say, and the difference from *reference*."""
    order = {point.name: n for n, point in enumerate(points)}
    keys = ["point", "metric", "of", "unit"]
    groups: dict[tuple[str, str, str, str], dict[int, float]] = {}
    columns = (runs[name].tolist() for name in (*keys, "replication", "value"))
    for point, metric, of, unit, replication, value in zip(*columns, strict=True):
        groups.setdefault((point, metric, of, unit), {})[replication] = value
    summary = pd.DataFrame(list(groups), columns=keys)
    for name, figures in _figures(list(groups.values()), confidence).items():
        summary[name] = figures
    summary["n"] = summary["n"].astype(np.int64)
    pairs = [_differences(values, groups.get((reference, *key[1:]), {})) for key, values in groups.items()]
    for name, figures in _figures(pairs, confidence).items():
        if name in ("n", "mean", "low", "high"):
            summary[{"n": "pairs", "mean": "difference"}.get(name, f"difference_{name}")] = figures
    summary["pairs"] = summary["pairs"].astype(np.int64)
    of_reference = summary["point"] == reference
    summary.loc[of_reference, ["difference", "difference_low", "difference_high"]] = np.nan
    summary.loc[of_reference, "pairs"] = 0
    summary = summary.iloc[np.argsort(summary["point"].map(order).to_numpy(), kind="stable")].reset_index(drop=True)
    return _with_keys(summary, points)


def _differences(values: dict[int, float], reference: dict[int, float]) -> dict[int, float]:
    return {k: value - reference[k] for k, value in values.items() if k in reference}


def _figures(samples: list[dict[int, float]], confidence: float) -> dict[str, Floats]:
    """Return, for each sample, its size, mean, deviation, Student's interval, median and the exact interval for it."""
    names = ("n", "mean", "sd", "low", "high", "median", "median_low", "median_high")
    found = {name: np.full(len(samples), np.nan) for name in names}
    sizes = np.array([len(sample) for sample in samples])
    found["n"] = sizes.astype(np.float64)
    for n in np.unique(sizes[sizes > 0]).tolist():
        where = np.flatnonzero(sizes == n)
        rows = np.array([list(samples[at].values()) for at in where.tolist()], dtype=np.float64)
        found["mean"][where], found["low"][where], found["high"][where] = mean_intervals(rows, confidence).T
        found["sd"][where] = rows.std(axis=1, ddof=1) if n > 1 else np.nan
        ordered = np.sort(rows, axis=1)
        found["median"][where] = np.median(ordered, axis=1)
        if ranks := quantile_ranks(n, 0.5, confidence):
            found["median_low"][where] = ordered[:, ranks.low - 1]
            found["median_high"][where] = ordered[:, ranks.high - 1]
    return found
