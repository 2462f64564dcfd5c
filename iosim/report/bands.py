"""Bands of the latency, the requests around a percentile, and where their time goes: so one sees what makes the tail."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from iosim.model.stages import Stage
from iosim.results.summary import is_resolved

_AROUND = (("50", "around the median", 45.0, 55.0), ("90", "around p90", 87.5, 92.5), ("99", "around p99", 98.5, 99.5))
"""The percentile that must be resolved, the name of the band, and from which to which percentile it goes."""


@dataclass(frozen=True)
class Band:
    """Some of the counted requests: how many, and the mean of their latency and of each stage in ns."""

    name: str
    n: int
    mean_ns: float
    stages_ns: dict[Stage, float]

    def share(self, stage: Stage) -> float:
        """Return the stage's share of the latency, 0 to 1."""
        return self.stages_ns[stage] / self.mean_ns if self.mean_ns else 0.0


def bands(table: pd.DataFrame) -> list[Band]:
    """Return the bands of the counted requests *table*: all, around p50, p90 and p99 if resolved, the slowest 0.1 %."""
    n = len(table)
    if not n:
        return []
    order = np.argsort(table["latency_ns"].to_numpy(), kind="stable")
    columns = {stage: table[f"{stage.label}_ns"].to_numpy() for stage in Stage}
    latency = table["latency_ns"].to_numpy()

    def band(name: str, begin: int, end: int) -> Band:
        chosen = order[begin:end]
        means = {stage: float(values[chosen].mean()) for stage, values in columns.items()}
        return Band(name, len(chosen), float(latency[chosen].mean()), means)

    found = [band("all", 0, n)]
    for percentile, name, low, high in _AROUND:
        if is_resolved(percentile, n):
            found.append(band(name, math.floor(n * low / 100), math.ceil(n * high / 100)))
    if n > 1:
        found.append(band("the slowest", n - math.ceil(n / 1000), n))
    return found
