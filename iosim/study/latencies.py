"""The latencies of one replication, or of several together: each of them, or counted by bucket where none is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from iosim.results.sketch import Counts, Int64Array

BUCKET_COLUMNS = ("bucket", "n", "least_ns", "most_ns")
"""Beside vm and op, those of a table of counts: least and most are of all of the operation in the [[vm]] table."""


@dataclass(frozen=True)
class Exact:
    """Latencies in ns, one by one."""

    values: Int64Array

    @property
    def n(self) -> int:
        """How many."""
        return len(self.values)

    def percentile(self, p: float) -> float:
        """Return a percentile (0 to 100) of at least one, linear between order statistics."""
        return float(np.quantile(self.values, p / 100))


@dataclass(frozen=True)
class Bucketed:
    """Latencies in ns, counted by bucket; None: there are none."""

    counts: Counts | None

    @property
    def n(self) -> int:
        """How many."""
        return 0 if self.counts is None else self.counts.n

    def percentile(self, p: float) -> float:
        """Return a percentile (0 to 100) of at least one, within `iosim.results.sketch.ERROR`."""
        assert self.counts is not None
        return self.counts.percentiles([p])[0]


Latencies: TypeAlias = Exact | Bucketed


def latencies_of(rows: pd.DataFrame) -> Latencies:
    """Return what *rows* of a run's table say (`metrics.latencies` or `metrics.latency_counts`)."""
    if "bucket" not in rows:
        return Exact(rows["latency_ns"].to_numpy())
    cells = [own for _, own in rows.groupby(["vm", "op"])]
    return pooled([Bucketed(_counts(own)) for own in cells]) if cells else Bucketed(None)


def _counts(rows: pd.DataFrame) -> Counts:
    least, most = (int(rows[name].iloc[0]) for name in ("least_ns", "most_ns"))
    return Counts(rows["bucket"].to_numpy(), rows["n"].to_numpy(), least, most)


def pooled(parts: Sequence[Latencies]) -> Latencies:
    """Return the latencies of all *parts* together, which are of one kind."""
    if values := [part.values for part in parts if isinstance(part, Exact)]:
        return Exact(np.concatenate(values))
    counts = [part.counts for part in parts if isinstance(part, Bucketed) and part.counts is not None]
    return Bucketed(Counts.merged(counts) if counts else None)
