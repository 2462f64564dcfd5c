"""Bands of the latency: the requests around a percentile, and where their time goes. It shows what makes the tail."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from iosim.model.stages import Stage
from iosim.results.summary import is_resolved

AROUND = {"50": (45.0, 55.0), "90": (87.5, 92.5), "99": (98.5, 99.5)}
"""From which to which percentile the band around a percentile goes, if that is resolved."""


@dataclass(frozen=True)
class Band:
    """Some of the counted requests: how many, and the mean of their latency and of each stage in ns."""

    short: str
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

    def band(short: str, name: str, begin: int, end: int) -> Band:
        chosen = order[begin:end]
        means = {stage: float(values[chosen].mean()) for stage, values in columns.items()}
        return Band(short, name, len(chosen), float(latency[chosen].mean()), means)

    found = [band("all", "all", 0, n)]
    for percentile, (low, high) in AROUND.items():
        if is_resolved(percentile, n):
            name = "around the median" if percentile == "50" else f"around p{percentile}"
            found.append(band(f"p{percentile}", name, math.floor(n * low / 100), math.ceil(n * high / 100)))
    if n > 1:
        found.append(band("slowest", "the slowest 0.1 %" if n > 1000 else "the slowest", n - math.ceil(n / 1000), n))
    return found
