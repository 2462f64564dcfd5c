"""The tables of a study: every metric of every run, and what the runs of each point say (docs/studies.md)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from iosim import scenario_file
from iosim.study.estimates import Sample
from iosim.study.metrics import UNITS
from iosim.study.points import Point, value_text
from iosim.study.runner import Run
from iosim.study.statistics import Interval, quantile_interval


def runs_table(points: Sequence[Point], runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Return one row per point, replication and metric, in the order of the study."""
    ordered = [run for point in points for run in runs[point.name]]
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
        values = {point.name: _value(point, resolved[point.name], key) for point in points}
        frame.insert(1, key, _typed(frame["point"].map(values), [v for v in values.values() if v is not None]))
    return frame


def _value(point: Point, data: dict[str, Any], key: str) -> Any:
    """Return the value of *key* at *point*: as the study has it, else as in the resolved scenario *data*."""
    if key in point.changes:
        return point.changes[key]
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


SUMMARY = (
    "point", "metric", "of", "unit",
    "n", "estimate", "low", "high",
    "mean", "sd", "median", "median_low", "median_high",
    "pairs", "difference", "difference_low", "difference_high",
)  # fmt: skip
"""Columns of the summary; those of the changed keys come behind the first."""


def summary_table(
    points: Sequence[Point], samples: Mapping[str, Sample], reference: str, confidence: float
) -> pd.DataFrame:
    """Return one row per point and metric: what its replications say, and how far that is from *reference*."""
    rows = [
        _summary(point.name, samples[point.name], samples[reference], metric, of, confidence)
        for point in points
        for metric, of in samples[point.name].metrics()
    ]
    return _with_keys(pd.DataFrame(rows, columns=list(SUMMARY)), points)


def _summary(point: str, sample: Sample, base: Sample, metric: str, of: str, confidence: float) -> tuple[Any, ...]:
    """Return one row of the summary; a point is not compared to itself."""
    values = list(sample.values(metric, of).values())
    estimate = sample.estimate(metric, of, confidence)
    assert estimate is not None
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    middle = quantile_interval(values, 0.5, confidence)
    compared = None if sample is base else sample.difference(base, metric, of, confidence)
    difference, pairs = compared or (Interval(math.nan, math.nan, math.nan), 0)
    mean = math.fsum(values) / len(values)
    return (point, metric, of, UNITS[metric], len(values), *estimate, mean, deviation, *middle, pairs, *difference)
