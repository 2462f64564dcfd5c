"""One prediction beside its measurement: mean and percentiles, relative errors, distances, spread of repetitions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.validate.distance import Floats, demerit_ns, ks_distance

FIGURES = ("mean", "p50", "p90", "p99")
"""What is compared."""


@dataclass(frozen=True)
class Repetitions:
    """How far repetitions of one measurement are from each other: what a prediction cannot be better than.

    `low` and `high` have the smallest and the largest value of each figure, in ns; `ks` and `demerit_ns` are the
    medians over all pairs of repetitions.
    """

    n: int
    low: dict[str, float]
    high: dict[str, float]
    ks: float
    demerit_ns: float

    def spread(self, figure: str) -> float:
        """Return the largest value of *figure* over the smallest, less 1; infinite where the smallest is 0."""
        if self.high[figure] == self.low[figure]:
            return 0.0
        return self.high[figure] / self.low[figure] - 1 if self.low[figure] > 0 else math.inf


@dataclass(frozen=True)
class Match:
    """A measured and a predicted sample of times in ns, and how far they are from each other.

    `error` is predicted over measured, less 1, for each figure; None where nothing but 0 was measured.
    """

    name: str
    measured: Floats = field(repr=False)
    predicted: Floats = field(repr=False)
    measured_ns: dict[str, float]
    predicted_ns: dict[str, float]
    error: dict[str, float | None]
    ks: float
    demerit_ns: float
    repetitions: Repetitions | None = None

    @property
    def relative_demerit(self) -> float | None:
        """The demerit figure as a share of the measured mean, as Ruemmler and Wilkes give it; None for a mean of 0."""
        mean = self.measured_ns["mean"]
        return self.demerit_ns / mean if mean > 0 else None

    def within_repetitions(self, figure: str) -> bool | None:
        """Tell whether the prediction lies between the smallest and the largest repetition; None without them."""
        if self.repetitions is None:
            return None
        return self.repetitions.low[figure] <= self.predicted_ns[figure] <= self.repetitions.high[figure]

    def as_json(self) -> dict[str, Any]:
        """Return all figures as plain numbers; None instead of what has no value."""
        found: dict[str, Any] = {
            "name": self.name,
            "n_measured": len(self.measured),
            "n_predicted": len(self.predicted),
            "measured_ns": self.measured_ns,
            "predicted_ns": self.predicted_ns,
            "error": self.error,
            "ks": self.ks,
            "demerit_ns": self.demerit_ns,
            "relative_demerit": self.relative_demerit,
        }
        if self.repetitions is not None:
            spread = {figure: self.repetitions.spread(figure) for figure in FIGURES}
            found["repetitions"] = {
                "n": self.repetitions.n,
                "low_ns": self.repetitions.low,
                "high_ns": self.repetitions.high,
                "spread": {figure: value if math.isfinite(value) else None for figure, value in spread.items()},
                "ks": self.repetitions.ks,
                "demerit_ns": self.repetitions.demerit_ns,
                "within": {figure: self.within_repetitions(figure) for figure in FIGURES},
            }
        return found


def figures(sample: npt.ArrayLike) -> dict[str, float]:
    """Return mean and percentiles of *sample*, linear between its values."""
    values = np.asarray(sample, dtype=np.float64)
    p50, p90, p99 = (float(value) for value in np.percentile(values, (50, 90, 99)))
    return {"mean": float(values.mean()), "p50": p50, "p90": p90, "p99": p99}


def match(
    name: str, measured: npt.ArrayLike, predicted: npt.ArrayLike, repetitions: Sequence[npt.ArrayLike] = ()
) -> Match:
    """Compare *predicted* with *measured*, times in ns; neither may be empty, and they may differ in size.

    *repetitions* are samples of the same measurement made several times; the spread needs two of them at least.
    """
    first = np.asarray(measured, dtype=np.float64)
    second = np.asarray(predicted, dtype=np.float64)
    if not len(first) or not len(second):
        raise ValueError(f"{name}: needs a measured and a predicted value at least")
    was, is_now = figures(first), figures(second)
    return Match(
        name=name,
        measured=first,
        predicted=second,
        measured_ns=was,
        predicted_ns=is_now,
        error={figure: is_now[figure] / was[figure] - 1 if was[figure] > 0 else None for figure in FIGURES},
        ks=ks_distance(first, second),
        demerit_ns=demerit_ns(first, second),
        repetitions=_repetitions(repetitions) if len(repetitions) > 1 else None,
    )


def _repetitions(samples: Sequence[npt.ArrayLike]) -> Repetitions:
    each = [figures(sample) for sample in samples]
    pairs = list(combinations(samples, 2))
    return Repetitions(
        n=len(samples),
        low={figure: min(one[figure] for one in each) for figure in FIGURES},
        high={figure: max(one[figure] for one in each) for figure in FIGURES},
        ks=float(np.median([ks_distance(a, b) for a, b in pairs])),
        demerit_ns=float(np.median([demerit_ns(a, b) for a, b in pairs])),
    )
