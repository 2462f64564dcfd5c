"""What the replications of a point say of its metrics, and of their differences from those of another point."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from iosim.results.summary import is_resolved
from iosim.study.latencies import Latencies, latencies_of, pooled
from iosim.study.metrics import PERCENTILES, in_group
from iosim.study.runner import Run
from iosim.study.statistics import Interval, mean_interval, paired_interval, section_interval

_PERCENTILE = {f"latency_p{p}": p for p in PERCENTILES}
_BEFORE_PERCENTILES = "latency_max"


class Sample:
    """The replications of one point.

    Percentiles of the latency are estimated from the requests of all replications together, with an interval by
    sectioning; every other metric by its mean over replications, with Student's interval.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = {run.replication: run for run in runs}
        self._values: dict[tuple[str, str], dict[int, float]] = {}
        for run in runs:
            for row in run.metrics:
                if row.metric not in _PERCENTILE:
                    self._values.setdefault((row.metric, row.of), {})[run.replication] = row.value
        self._known = list(self._values)
        self._tables: dict[int, pd.DataFrame] | None = None
        self._latencies: dict[str, dict[int, Latencies]] = {}
        self._pools: dict[tuple[str, str, tuple[int, ...]], float | None] = {}

    @property
    def replications(self) -> list[int]:
        """The numbers of the replications."""
        return list(self._runs)

    def metrics(self) -> list[tuple[str, str]]:
        """Return (metric, of) of all that can be estimated, in a fixed order."""
        found: list[tuple[str, str]] = []
        for metric, of in self._known:
            found.append((metric, of))
            if metric == _BEFORE_PERCENTILES:
                found += [(name, of) for name in _PERCENTILE if self._pooled(name, of, self._runs) is not None]
        return found

    def values(self, metric: str, of: str = "") -> dict[int, float]:
        """Return the value of each replication that has one; for percentiles that of its own requests."""
        if metric in _PERCENTILE and (metric, of) not in self._values:
            p = float(_PERCENTILE[metric])
            self._values[metric, of] = {k: each.percentile(p) for k, each in self._of(of).items() if each.n}
        return self._values.get((metric, of), {})

    def estimate(self, metric: str, of: str = "", confidence: float = 0.95) -> Interval | None:
        """Return what the replications say of *metric*; None if none of them has it.

        A percentile is None if no request lies beyond it, or a replication has no requests.
        """
        values = self.values(metric, of)
        if metric in _PERCENTILE:
            pooled = self._pooled(metric, of, self._runs)
            return None if pooled is None else section_interval(list(values.values()), pooled, confidence)
        return mean_interval(list(values.values()), confidence) if values else None

    def difference(
        self, reference: "Sample", metric: str, of: str = "", confidence: float = 0.95
    ) -> tuple[Interval, int] | None:
        """Return by how much *metric* is above that of *reference*, and from how many replications; None if none.

        They are those that both have. Their random numbers are the same, pair by pair, so the interval is that of the
        differences.
        """
        mine, its = self.values(metric, of), reference.values(metric, of)
        both = [k for k in mine if k in its]
        if not both:
            return None
        left, right = [mine[k] for k in both], [its[k] for k in both]
        if metric not in _PERCENTILE:
            return paired_interval(left, right, confidence), len(both)
        pooled, base = self._pooled(metric, of, both), reference._pooled(metric, of, both)
        if pooled is None or base is None:
            return None
        return section_interval(np.subtract(left, right), pooled - base, confidence), len(both)

    def _of(self, of: str) -> dict[int, Latencies]:
        """Return the latencies of the group *of*, by replication."""
        if self._tables is None:
            self._tables = {k: run.latencies() for k, run in self._runs.items()}
        if of not in self._latencies:
            self._latencies[of] = {k: latencies_of(table[in_group(table, of)]) for k, table in self._tables.items()}
        return self._latencies[of]

    def _pooled(self, metric: str, of: str, replications: Collection[int]) -> float | None:
        """Return the percentile of the requests of *replications* together, linear between order statistics."""
        key = metric, of, tuple(replications)
        if key not in self._pools:
            latencies = [self._of(of)[k] for k in replications]
            p = _PERCENTILE[metric]
            known = all(each.n for each in latencies) and is_resolved(p, sum(each.n for each in latencies))
            self._pools[key] = pooled(latencies).percentile(float(p)) if known else None
        return self._pools[key]
