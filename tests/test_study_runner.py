"""The runner behind `iosim sweep`, as other commands use it: what it returns, what it refuses while it runs."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iosim.model.errors import ScenarioError, StudyError
from iosim.study.content import Inputs, environment
from iosim.study.estimates import Sample
from iosim.study.executors import Serial
from iosim.study.job import Job, Outcome, execute
from iosim.study.points import Base
from iosim.study.runner import Runner, check_points
from iosim.study.store import Store
from tests.studies import write_study


@pytest.fixture
def base(tmp_path: Path) -> Base:
    """The small scenario."""
    write_study(tmp_path)
    return Base(tmp_path / "scenario.toml", "a test")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "out" / "store") as store:
        yield store


class Counting(Serial):
    """Runs jobs in this process, each as *change* returns it, and counts them."""

    def __init__(self, change: Callable[[Job], Job] = lambda job: job) -> None:
        self._change = change
        self.jobs: list[str] = []

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        for job in jobs:
            self.jobs.append(job.name)
            yield job, execute(self._change(job))


def test_each_point_has_as_many_replications_as_asked_for(base: Base, store: Store) -> None:
    points = [base.point("one", {}), base.point("two", {"vm.web.count": 2})]
    executor = Counting()
    runs = Runner(store, executor).run_points(points, [1, 2])
    assert [(run.point.name, run.replication, run.seed) for run in runs] == [
        ("one", 0, 1),
        ("two", 0, 1),
        ("two", 1, 2),
    ]
    assert executor.jobs == ["point one, replication 0", "point two, replication 0", "point two, replication 1"]


def test_a_search_that_comes_back_to_a_point_does_not_run_it_again(base: Base, store: Store) -> None:
    executor = Counting()
    runner = Runner(store, executor)
    first = runner.run_points([base.point("load 2", {"vm.web.count": 2})], 2)
    again = runner.run_points([base.point("the limit", {"vm.web.count": 2})], 3)
    assert len(executor.jobs) == 3
    assert [run.metrics for run in first] == [run.metrics for run in again[:2]]


def test_progress_counts_what_the_store_has(base: Base, store: Store) -> None:
    shown: list[tuple[int, int]] = []
    runner = Runner(store, Counting(), progress=lambda done, total: shown.append((done, total)))
    runner.run_points([base.point("one", {})], 1)
    runner.run_points([base.point("one", {})], 3)
    assert shown == [(0, 1), (1, 1), (1, 3), (2, 3), (3, 3)]


def test_sample_estimates_metrics_and_differences(base: Base, store: Store) -> None:
    runner = Runner(store, Counting())
    changes = {"one": {}, "slow": {"host.disk.sda.service": "190us"}}
    runs = {name: runner.run_points([base.point(name, changed)], 3) for name, changed in changes.items()}
    one, slow = Sample(runs["one"]), Sample(runs["slow"])
    service = slow.estimate("stage_mean", "disk_service")
    assert service == (190_000, 190_000, 190_000)
    compared = slow.difference(one, "stage_mean", "disk_service")
    assert compared == ((100_000, 100_000, 100_000), 3)
    median = one.estimate("latency_p50", "op=W")
    assert median is not None
    writes = [table.loc[table["op"] == "W", "latency_ns"] for table in (run.latencies() for run in runs["one"])]
    assert median.estimate == np.median(np.concatenate(writes))
    assert one.estimate("latency_p99.9") is None
    assert one.estimate("utilisation", "disk/none") is None
    assert one.difference(slow, "utilisation", "disk/none") is None


# Warm-up


def test_warm_up_is_found_by_runs_with_seeds_of_their_own(base: Base, store: Store) -> None:
    executor = Counting()
    runner = Runner(store, executor)
    (warmup,) = runner.find_warmups([base.point("one", {})], 2)
    assert executor.jobs == ["point one, pilot 0", "point one, pilot 1"]
    assert warmup.of == 30  # the trace, in whole batches of five
    assert warmup.requests <= 15
    runner.run_points([base.point("one", {})], 1)
    assert len(executor.jobs) == 3


# Refused


def test_check_names_the_point_and_runs_nothing(base: Base, store: Store, tmp_path: Path) -> None:
    points = [base.point("one", {}), base.point("two", {"vm.web.drive.size": "1KiB"})]
    with pytest.raises(Exception, match=r"^point two: .*sectors must end at or before 2 ") as caught:
        check_points(points, Inputs())
    assert type(caught.value).__module__ == "iosim.model.errors"


def test_worker_with_another_program_is_refused(base: Base, store: Store) -> None:
    def elsewhere(job: Job) -> Job:
        return replace(job, environment={**job.environment, "numpy": "1.26.0"})

    here = re.escape(environment()["numpy"])
    message = rf": numpy must be that of the machine where the study was started, 1\.26\.0, got {here}$"
    with pytest.raises(StudyError, match=message):
        Runner(store, Counting(elsewhere)).run_points([base.point("one", {})], 1)


def test_file_that_changes_while_the_study_runs_is_refused(base: Base, store: Store) -> None:
    def late(job: Job) -> Job:
        (base.folder / "trace.csv").write_text("time_us,op,sector,sectors\n0,W,0,8\n")
        return job

    message = r"^point one, replication 0: .*trace\.csv: has changed since the study was started; run it again$"
    with pytest.raises(StudyError, match=message):
        Runner(store, Counting(late)).run_points([base.point("one", {})], 1)


def test_run_that_fails_names_its_point_and_keeps_what_is_finished(base: Base, store: Store) -> None:
    points = [base.point("one", {}), base.point("endless", {"host.disk.sda.service": "1200000h"})]
    runner = Runner(store, Counting())
    with pytest.raises(ScenarioError, match=r"^point endless, replication 0: the run takes more than 292 years"):
        runner.run_points(points, 1)
    executor = Counting()
    assert len(Runner(store, executor).run_points(points[:1], 1)) == 1
    assert executor.jobs == []
