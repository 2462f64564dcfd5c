"""One at a time: what a metric does when one factor goes to either end of its range and all else stays."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from iosim.sensitivity.factors import Factor
from iosim.study.estimates import Sample
from iosim.study.metrics import UNITS
from iosim.study.points import Base, Point
from iosim.study.statistics import Interval

BASE = "base"
ENDS = ("low", "high")
NOWHERE = Interval(math.nan, math.nan, math.nan)


def end_name(factor: Factor, end: int) -> str:
    """Return the name of the point at which *factor* is at an end of its range."""
    return f"{factor.name} {ENDS[end]}"


def points(base: Base, factors: Sequence[Factor]) -> list[Point]:
    """Return the base, and for each factor the points at the ends of its range that are not the base."""
    cost = base.scenario.host.cost or {}
    found = [base.point(BASE, {})]
    for factor in factors:
        for end in (0, 1):
            scaled = {key: at for key, at in factor.at_end(end).items() if at != 1}
            if scaled:
                found.append(base.point(end_name(factor, end), factor.changes(scaled, cost)))
    return found


def table(
    factors: Sequence[Factor], samples: Mapping[str, Sample], metrics: Sequence[str], of: str, confidence: float
) -> pd.DataFrame:
    """Return one row per metric and factor, the largest swing of each metric first (docs/sensitivity.md)."""
    frames = []
    for metric in metrics:
        rows = [_row(factor, samples, metric, of, confidence) for factor in factors]
        frame = pd.DataFrame(rows)
        squares = frame["swing"] ** 2
        frame["variance_share"] = squares / squares.sum() if squares.sum() else 0.0
        frame = frame.sort_values("swing", key=np.abs, ascending=False, kind="stable", ignore_index=True)
        frame.insert(0, "rank", frame["swing"].abs().rank(ascending=False, method="min").astype("int64"))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _row(factor: Factor, samples: Mapping[str, Sample], metric: str, of: str, confidence: float) -> dict[str, Any]:
    base = samples[BASE]
    low, high = (samples.get(end_name(factor, end), base) for end in (0, 1))
    estimate = base.estimate(metric, of, confidence)
    assert estimate is not None
    row: dict[str, Any] = {
        "metric": metric,
        "of": of,
        "unit": UNITS[metric],
        "factor": factor.name,
        "costs": len(factor.ranges),
        "evidence": ", ".join(factor.kinds),
        "assumed": factor.is_assumed,
        "stage": ", ".join(factor.stages),
        "function": ", ".join(factor.functions),
        "mean_ns": factor.mean_ns,
        "low": min(ends[0] for ends in factor.ranges.values()),
        "high": max(ends[1] for ends in factor.ranges.values()),
        "base": estimate.estimate,
        "base_low": estimate.low,
        "base_high": estimate.high,
        "pairs": len(base.replications),
    }
    pairs = (("at_low", low, base), ("at_high", high, base), ("swing", high, low))
    for name, one, other in pairs:
        difference = _difference(one, other, metric, of, confidence)
        row |= {name: difference.estimate, f"{name}_low": difference.low, f"{name}_high": difference.high}
    return row


def _difference(one: Sample, other: Sample, metric: str, of: str, confidence: float) -> Interval:
    """Return by how much *metric* of *one* is above that of *other*, in pairs with the same random numbers."""
    if one is other:
        return Interval(0.0, 0.0, 0.0)
    found = one.difference(other, metric, of, confidence)
    return NOWHERE if found is None else found[0]
