"""Running points: each replication of each point once, whoever asks for it and however often.

with Store(folder) as store, local(2) as executor:
    runner = Runner(store, executor)
    runner.check(points)
    runs = runner.run_points(points, 5)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from iosim.model.errors import IosimError
from iosim.simulation import check
from iosim.study.content import Inputs, environment, run_digest
from iosim.study.executors import Executor
from iosim.study.job import Job
from iosim.study.metrics import Measured, WarmupRule
from iosim.study.points import Point
from iosim.study.store import Store

Progress = Callable[[int, int], None]
"""Called with (finished, in all), of runs or of points checked."""


@dataclass(frozen=True)
class Run:
    """One finished replication of one point."""

    point: Point
    replication: int
    seed: int
    digest: str
    metrics: list[Measured]


@dataclass
class Runner:
    """Runs points with an executor and keeps what is finished in a store.

    *warmup* says which requests the metrics leave out; with *keep_in* the whole result of each run is written to
    ``keep_in/POINT/REPLICATION``.
    """

    store: Store
    executor: Executor
    warmup: WarmupRule = "scenario"
    keep_in: Path | None = None
    progress: Progress | None = None
    _inputs: Inputs = field(default_factory=Inputs)

    def check(self, points: Sequence[Point], progress: Progress | None = None) -> None:
        """Raise the error of the first point that cannot be run, before anything is; every file is read."""
        for number, point in enumerate(points):
            try:
                check(point.scenario, point.folder, self._inputs.trace)
            except IosimError as error:
                raise type(error)(f"point {point.name}: {error}") from None
            if progress is not None:
                progress(number + 1, len(points))

    def run_points(self, points: Sequence[Point], replications: int | Sequence[int]) -> list[Run]:
        """Return the runs of *points*, one after the other, each with its replications 0, 1, ... in order.

        *replications* is their number, or one for each point. Replication k of every point has the seed of the first
        replication + k, so points share their random numbers. What the store has is not run again; what two points
        have in common is run once. Raises the IosimError of a run that fails, naming its point; what is finished by
        then stays in the store.
        """
        counts = [replications] * len(points) if isinstance(replications, int) else replications
        wanted = [(point, k) for point, n in zip(points, counts, strict=True) for k in range(n)]
        jobs = [self._job(point, k) for point, k in wanted]
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
        return [
            Run(point, k, job.scenario.run.seed, job.digest, finished[_key(job)])
            for (point, k), job in zip(wanted, jobs, strict=True)
        ]

    def _job(self, point: Point, replication: int) -> Job:
        run = point.scenario.run
        scenario = point.scenario.model_copy(update={"run": run.model_copy(update={"seed": run.seed + replication})})
        files = self._inputs.files(scenario, point.folder)
        return Job(
            name=f"point {point.name}, replication {replication}",
            digest=run_digest(scenario, files, {"warmup": self.warmup}),
            scenario=scenario,
            files=files,
            warmup=self.warmup,
            environment=environment(),
            folder=point.folder.absolute(),
            keep_in=None if self.keep_in is None else self.keep_in / point.name / str(replication),
        )


def _key(job: Job) -> tuple[str, Path | None]:
    """Return what makes a run: what its metrics depend on, and where its result is kept."""
    return job.digest, job.keep_in
