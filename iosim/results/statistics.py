"""What the summary and the terminal say of the requests: from their table, or from sums where rows are not kept."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pandas as pd

from iosim.model.records import STATUSES
from iosim.model.stages import Stage
from iosim.model.trace import OPS
from iosim.results import sketch
from iosim.results.row_file import Location, percentiles
from iosim.results.sketch import Counts
from iosim.results.sums import SUMMED, Place, RequestSums


@dataclass(frozen=True)
class Figures:
    """The times of requests, at least one; `percentiles` (0 to 100) are linear between order statistics."""

    n: int
    total: int
    least: int
    most: int
    percentiles: Callable[[Sequence[float]], list[float]]

    @property
    def mean(self) -> float:
        """The mean: the sum is exact, so that every processor gives the same."""
        return self.total / self.n

    @classmethod
    def of_values(cls, values: "pd.Series[int]") -> "Figures":
        """Return the figures of *values*."""
        return cls(
            len(values),
            int(values.sum()),
            int(values.min()),
            int(values.max()),
            lambda of: values.quantile([each / 100 for each in of], interpolation="linear").tolist(),
        )

    @classmethod
    def of_counts(cls, counts: Counts, total: int) -> "Figures":
        """Return the figures of times counted by bucket, the sum of which is *total*."""
        return cls(counts.n, total, counts.least, counts.most, counts.percentiles)


class Cell(NamedTuple):
    """The counted requests of one operation in the VMs of a [[vm]] table, at least one."""

    sectors: int
    total_ns: int
    latency: Counts


@dataclass(frozen=True)
class Statistics:
    """Numbers of requests, and of the counted ones (done, arrived after the warm-up) their times.

    `errors`: numbers of those that failed, by why, most frequent first. `latency`: None for all, then each operation
    that there is; `stages` and `means` are empty without counted requests. `percentile_error`: the largest relative
    error of an order statistic. `cells`: of sums, by number of the [[vm]] table, and operation.
    """

    by_status: dict[str, int]
    errors: list[tuple[str, int]]
    warmup: int
    counted: int
    sectors: int
    latency: dict[str | None, Figures]
    stages: dict[Stage, Figures]
    means: dict[str, float]
    percentile_error: float
    cells: dict[tuple[int, str], Cell] = field(default_factory=dict)

    @classmethod
    def of(cls, requests: "pd.DataFrame | RequestSums", at: Location | None = None) -> "Statistics":
        """Return the statistics of the table of requests, or of its sums; with the table in a file if *at* is given."""
        if not isinstance(requests, RequestSums):
            return cls._of_table(requests)
        found = cls._of_sums(requests)
        return found if at is None else found._exact(requests, at)

    @classmethod
    def _of_table(cls, requests: pd.DataFrame) -> "Statistics":
        table = counted(requests)
        latency = table["latency_ns"]
        by_op: dict[str | None, pd.Series[int]] = {None: latency}
        by_op |= {op: latency[table["op"] == op] for op in OPS}
        failed = requests.loc[requests["status"] == "error", "error"].astype(str).value_counts()
        return cls(
            by_status={status: int((requests["status"] == status).sum()) for status in STATUSES},
            errors=[(str(why), int(n)) for why, n in failed.items()],
            warmup=int(requests["warmup"].sum()),
            counted=len(table),
            sectors=int(table["sectors"].sum()),
            latency={op: Figures.of_values(own) for op, own in by_op.items() if len(own)},
            stages={stage: Figures.of_values(table[f"{stage.label}_ns"]) for stage in Stage if len(table)},
            means={name: int(table[name].sum()) / len(table) for name in SUMMED if len(table)},
            percentile_error=0.0,
        )

    @classmethod
    def _of_sums(cls, sums: RequestSums) -> "Statistics":
        places = sums.places
        n = sum(place.n for place in places.values())
        totals = {name: sum(place.sums[at] for place in places.values()) for at, name in enumerate(SUMMED)}
        ops = sorted({op for _, _, op in places})
        by_op: dict[str | None, Figures] = {OPS[op]: Figures.of_counts(*sums.latency(op)) for op in ops}
        return cls(
            by_status=dict(zip(STATUSES, sums.by_status, strict=True)),
            errors=sums.errors.most_common(),
            warmup=sums.warmup,
            counted=n,
            sectors=totals["sectors"],
            latency={None: Figures.of_counts(*sums.latency()), **by_op} if n else {},
            stages={stage: Figures.of_counts(*sums.stage(stage)) for stage in Stage if n},
            means={name: total / n for name, total in totals.items() if n},
            percentile_error=sketch.ERROR,
            cells=_cells(sums, places),
        )

    def _exact(self, sums: RequestSums, at: Location) -> "Statistics":
        """Return the statistics with percentiles that are looked up in the table of requests."""

        def exact(figures: Figures, column: str, op: str | None, counts: Counts) -> Figures:
            return replace(figures, percentiles=lambda of: percentiles(at.path, column, op, counts.by_bucket(), of))

        latency = {
            op: exact(figures, "latency_ns", op, sums.latency(None if op is None else OPS.index(op))[0])
            for op, figures in self.latency.items()
        }
        stages = {
            stage: exact(figures, f"{stage.label}_ns", None, sums.stage(stage)[0])
            for stage, figures in self.stages.items()
        }
        return replace(self, latency=latency, stages=stages, percentile_error=0.0)


def _cells(sums: RequestSums, places: Mapping[tuple[int, int, int], Place]) -> dict[tuple[int, str], Cell]:
    sectors: Counter[tuple[int, int]] = Counter()
    total_ns: Counter[tuple[int, int]] = Counter()
    for (vm, _, op), place in places.items():
        key = sums.table(vm), op
        sectors[key] += place.sums[SUMMED.index("sectors")]
        total_ns[key] += sum(place.stages_ns)
    return {
        (table, OPS[op]): Cell(sectors[table, op], total_ns[table, op], sums.latencies[table, op])
        for table, op in sorted(sums.latencies)
    }


def counted(requests: pd.DataFrame) -> pd.DataFrame:
    """Return the requests that statistics count: done, and arrived after the warm-up."""
    return requests[(requests["status"] == "ok") & ~requests["warmup"]]
