"""Running points: each replication of each point once, whoever asks for it and however often.

inputs = Inputs()
check_points(points, inputs)
with local(2) as executor, Store(folder) as store:
    runs = Runner(store, executor, inputs).run_points(points, 10)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from iosim.model.errors import IosimError
from iosim.model.scenario import Scenario
from iosim.simulation import check, engine_of
from iosim.study.content import Inputs, environment, run_digest
from iosim.study.executors import Executor
from iosim.study.job import Job, Kind
from iosim.study.metrics import BATCH, Measured
from iosim.study.points import Point
from iosim.study.statistics import mser
from iosim.study.store import Store

Progress = Callable[[int, int], None]
"""Called with (finished, in all), of runs or of points checked."""

PILOT_SEEDS = 1 << 62
"""So far from the seeds of the replications are those of the pilot runs."""
_SEEDS = 1 << 63


@dataclass(frozen=True)
class Run:
    """One finished replication of one point."""

    point: Point
    replication: int
    seed: int
    digest: str
    metrics: list[Measured]
    store: Store

    def value(self, metric: str, of: str = "") -> float | None:
        """Return the value of *metric*, None if the run has none."""
        return next((row.value for row in self.metrics if (row.metric, row.of) == (metric, of)), None)

    def latencies(self) -> pd.DataFrame:
        """Return the latency of each counted request, `metrics.latencies`, or `metrics.latency_counts`."""
        return self.store.table(self.digest)


class Warmup(NamedTuple):
    """What MSER-5 has found for a point: warm-up until *until_ns*, the first *requests* of at least *of* arrivals.

    *settled* is false where the runs are too short to tell, or never become steady.
    """

    until_ns: int
    requests: int
    of: int
    settled: bool


def check_points(points: Sequence[Point], inputs: Inputs, progress: Progress | None = None) -> None:
    """Raise the IosimError of the first point that cannot be run, before anything is; every file is read."""
    for number, point in enumerate(points):
        try:
            check(point.scenario, point.folder, inputs.trace)
        except IosimError as error:
            raise type(error)(f"point {point.name}: {error}") from None
        if progress is not None:
            progress(number + 1, len(points))


@dataclass
class Runner:
    """Runs points with an executor and keeps what is finished in a store.

    *inputs* knows the files that the points read. With *keep_in* the whole result of each run is written to
    ``keep_in/POINT/REPLICATION``. With *rows* false runs keep no requests, but their latencies by bucket.
    """

    store: Store
    executor: Executor
    inputs: Inputs = field(default_factory=Inputs)
    keep_in: Path | None = None
    progress: Progress | None = None
    rows: bool = True

    def run_points(self, points: Sequence[Point], replications: int | Sequence[int]) -> list[Run]:
        """Return the runs of *points*, one after the other, each with its replications 0, 1, ... in order.

        *replications* is their number, or one for each point. Replication k of every point has the seed of the first
        replication + k, so points share their random numbers. What the store has is not run again; what two points
        have in common is run once. Raises the IosimError of a run that fails, naming its point; what is finished by
        then stays in the store.
        """
        counts = [replications] * len(points) if isinstance(replications, int) else replications
        wanted = [(point, k) for point, n in zip(points, counts, strict=True) for k in range(n)]
        kind: Kind = "replication" if self.rows else "summary"
        jobs = [self._job(point, point.scenario.run.seed + k, f"replication {k}", kind, str(k)) for point, k in wanted]
        finished = self._finish(jobs)
        return [
            Run(point, k, job.scenario.run.seed, job.digest, metrics, self.store)
            for (point, k), job, metrics in zip(wanted, jobs, finished, strict=True)
        ]

    def find_warmups(self, points: Sequence[Point], pilots: int) -> list[Warmup]:
        """Return where the warm-up of each of *points* ends by MSER-5, from *pilots* pilot runs of each.

        The rule looks at the latencies in the order of arrival, averaged over the pilot runs: in a single run it would
        take chance for warm-up. Pilot runs have seeds of their own: a cut that was chosen by the runs it is applied to
        would favour those that begin slowly, and bias what is left.
        """
        wanted = [(point, k) for point in points for k in range(pilots)]
        jobs = [
            self._job(point, (point.scenario.run.seed + PILOT_SEEDS + k) % _SEEDS, f"pilot {k}", "pilot")
            for point, k in wanted
        ]
        self._finish(jobs)
        tables = [self.store.table(job.digest) for job in jobs]
        return [_warmup(tables[at : at + pilots]) for at in range(0, len(tables), pilots)]

    def find_costs(self, point: Point) -> list[str]:
        """Return the keys of the costs that a run of *point* spends, in the order of the catalogue."""
        seed = point.scenario.run.seed
        [metrics] = self._finish([self._job(point, seed, "which costs are spent", "costs")])
        return [row.of for row in metrics]

    def _finish(self, jobs: Sequence[Job]) -> list[list[Measured]]:
        """Return the metrics of each of *jobs*, in order, once all are finished."""
        finished = {_key(job): metrics for job in jobs if (metrics := self.store.get(job)) is not None}
        pending = {_key(job): job for job in jobs if _key(job) not in finished}
        total = len(finished) + len(pending)
        if self.progress is not None:
            self.progress(len(finished), total)
        for job, outcome in self.executor.run(list(pending.values())):
            self.store.put(job, outcome)
            finished[_key(job)] = outcome.metrics
            if self.progress is not None:
                self.progress(len(finished), total)
        return [finished[_key(job)] for job in jobs]

    def _job(self, point: Point, seed: int, name: str, kind: Kind, keep_as: str | None = None) -> Job:
        """Return the job of *point* with *seed*; a replication has a name to be kept as."""
        scenario = with_run(point.scenario, seed=seed)
        files = self.inputs.files(scenario, point.folder)
        return Job(
            name=f"point {point.name}, {name}",
            digest=run_digest(scenario, files, kind),
            scenario=scenario,
            files=files,
            environment=environment(),
            folder=point.folder.absolute(),
            keep_in=None if keep_as is None or self.keep_in is None else self.keep_in / point.name / keep_as,
            kind=kind,
            engine="simpy" if kind == "costs" else engine_of(scenario, point.folder, self.inputs.trace),
        )


def with_run(scenario: Scenario, **changes: int) -> Scenario:
    """Return *scenario* with keys of [run] changed, of which the values are known to be allowed."""
    return scenario.model_copy(update={"run": scenario.run.model_copy(update=changes)})


def without_warmup(point: Point, warmup: Warmup) -> Point:
    """Return *point* with *warmup* left out, unless the scenario leaves out more already."""
    return replace(point, scenario=with_run(point.scenario, warmup=max(warmup.until_ns, point.scenario.run.warmup)))


def _key(job: Job) -> tuple[str, Path | None]:
    """Return what makes a run: what its outcome depends on, and where its result is kept."""
    return job.digest, job.keep_in


def _warmup(pilots: Sequence[pd.DataFrame]) -> Warmup:
    """Return the warm-up that the batches of all *pilots* show (`metrics.batches`)."""
    k = min(len(table) for table in pilots)
    found = mser(np.mean([table["latency_ns"].to_numpy()[:k] / BATCH for table in pilots], axis=0))
    until_ns = max(int(table["arrival_ns"].iloc[found.batches]) for table in pilots) if found.batches else 0
    return Warmup(until_ns, found.batches * BATCH, k * BATCH, found.settled)
