"""What changes in the course of a run, in few enough points to draw: rates, latencies, queues, utilisations."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.analytic.resources import KINDS, kind_of
from iosim.results.result import Result
from iosim.results.summary import is_resolved

Floats = npt.NDArray[np.float64]

MOST_POINTS = 120
"""Points of a line, and columns of the heat map."""
REQUESTS_PER_POINT = 20
"""Points of the latencies are so few that on average this many requests stand behind each."""
MOST_LINES = 3
"""Resources of one kind that are drawn each for itself, where there are more than this and one."""


@dataclass(frozen=True)
class Line:
    """A line of a picture: its name and its value at each point; nan where there is none."""

    name: str
    values: Floats
    is_of_many: bool = False


class Bins:
    """The time bins of the table `series`, put together to at most *most* points."""

    def __init__(self, series: pd.DataFrame, most: int) -> None:
        self._series = series
        each = -(-len(series) // max(1, most))
        self._firsts = np.arange(0, len(series), each)
        starts = series["start_ns"].to_numpy()[self._firsts]
        self.edges_ns: npt.NDArray[np.int64] = np.append(starts, series["end_ns"].to_numpy()[-1])
        self._lengths = (series["end_ns"] - series["start_ns"]).to_numpy().astype(np.float64)
        self.lengths_ns = np.maximum(np.add.reduceat(self._lengths, self._firsts), 1.0)

    @property
    def middles_ns(self) -> Floats:
        """The middle of each point's time."""
        return (self.edges_ns[:-1] + self.edges_ns[1:]) / 2

    def rate_per_s(self, column: str) -> Floats:
        """Return the counts of *column* per second."""
        return np.add.reduceat(self._series[column].to_numpy().astype(np.float64), self._firsts) / self.lengths_ns * 1e9

    def mean(self, values: Floats) -> Floats:
        """Return the mean over time of *values*, one per bin of the table."""
        result: Floats = np.add.reduceat(values * self._lengths, self._firsts) / self.lengths_ns
        return result

    def histogram(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the upper edges of the latency buckets in ns, and completions by point and bucket."""
        edges = np.array(self._series["latency_edges_ns"].iloc[0], dtype=np.int64)
        counts = np.array(self._series["latency_counts"].tolist(), dtype=np.int64).reshape(len(self._series), -1)
        return edges, np.add.reduceat(counts, self._firsts, axis=0)


def latencies(bins: Bins, done: pd.DataFrame) -> list[Line]:
    """Return p50, p90, p99 and the maximum of the latency in ns of the requests *done* (status ok) in each point.

    Requests count where they are done. A percentile is nan where too few requests resolve it.
    """
    done_ns, latency = done["done_ns"].to_numpy(), done["latency_ns"].to_numpy()
    n_points = len(bins.edges_ns) - 1
    point = np.clip(np.searchsorted(bins.edges_ns, done_ns, side="right") - 1, 0, n_points - 1)
    order = np.lexsort((latency, point))
    latency = latency[order].astype(np.float64)
    begins = np.searchsorted(point[order], np.arange(n_points + 1))
    lines = {name: np.full(n_points, np.nan) for name in ("50", "90", "99", "100")}
    for number in range(n_points):
        inside = latency[begins[number] : begins[number + 1]]
        if not len(inside):
            continue
        for name, values in lines.items():
            if name == "100":
                values[number] = inside[-1]
            elif is_resolved(name, len(inside)):
                values[number] = np.interp(float(name) / 100 * (len(inside) - 1), np.arange(len(inside)), inside)
    return [Line("max" if name == "100" else f"p{name}", values) for name, values in lines.items()]


def levels(result: Result, bins: Bins, what: str) -> dict[str, list[Line]]:
    """Return by kind of resource the lines of *what*: "utilisation" or "queue".

    Of more than `MOST_LINES` + 1 resources of a kind the busiest few, and the mean (of queues the sum) of all.
    """
    by_kind = defaultdict(list)
    for name in result.resources["resource"]:
        if f"{what} {name}" in result.series.columns:
            by_kind[kind_of(str(name), result.scenario)].append(str(name))
    found = {}
    for kind in KINDS:
        names = by_kind[kind]
        if not names:
            continue
        columns = result.series[[f"{what} {name}" for name in names]].to_numpy()
        total = columns.sum(axis=1)
        busiest = np.argsort(-columns.sum(axis=0), kind="stable")
        lines = []
        many = len(names) > MOST_LINES + 1
        for at in busiest[:MOST_LINES] if many else busiest:
            lines.append(Line(names[at], bins.mean(columns[:, at])))
        if many:
            every = "sum" if what == "queue" else "mean"
            values = total if what == "queue" else total / len(names)
            lines.append(Line(f"{every} of {len(names):,}", bins.mean(values), is_of_many=True))
        found[kind] = lines
    return found
