"""Who runs the jobs of a study on this machine: this process, or a pool of worker processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Protocol, Self

from iosim import engines
from iosim.model.errors import StudyError
from iosim.study.job import Job, Outcome, execute

MAX_LOSSES = 3
"""So many times in a row a worker may be killed before a run has been finished."""


class Executor(Protocol):
    """Runs jobs, in any order and anywhere. What it returns for a job is the same everywhere."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each of *jobs* with its outcome as they are finished.

        Raises the IosimError of a job that fails. Where the caller stops, or is interrupted, nothing goes on behind
        its back once the executor is closed.
        """
        ...

    def __enter__(self) -> Self:
        """Get ready."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what is under way and let go of everything."""
        ...


def local(workers: int) -> Executor:
    """Return the executor of *workers* processes; a single one is this process."""
    return Serial() if workers == 1 else Pool(workers)


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


class Serial:
    """Runs jobs one after the other in this process."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its outcome, in order."""
        for job in jobs:
            yield job, execute(job)

    def __enter__(self) -> Self:
        """There is nothing to get ready."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to let go of."""


class Pool:
    """Runs jobs in worker processes of this machine.

    A worker ends when this process lets go of the pool or is killed: it watches a pipe whose other end only this
    process has. A worker that is killed is replaced, and what it was at is run again.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._alive: Connection | None = None

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its outcome as they are finished."""
        if any(job.engine == "compiled" for job in jobs):
            engines.prepare()
        left = dict(enumerate(jobs))
        losses = 0
        while left:
            try:
                for number, outcome in self._attempt(left):
                    losses = 0
                    yield left.pop(number), outcome
            except BrokenProcessPool:
                losses += 1
                if losses == MAX_LOSSES:
                    raise StudyError(
                        f"a worker process was killed, {MAX_LOSSES} times in a row; if memory is short, "
                        "go on with fewer --workers"
                    ) from None
                self._stop()

    def _attempt(self, jobs: Mapping[int, Job]) -> Iterator[tuple[int, Outcome]]:
        """Yield the number of each of *jobs* with its outcome. Raises BrokenProcessPool if a worker is lost."""
        pool = self._started()
        futures: dict[Future[Outcome], int] = {}
        waiting = iter(list(jobs.items()))
        try:
            while True:
                # Few more than can run: an interrupt has less to take back.
                for number, job in islice(waiting, 2 * self._workers - len(futures)):
                    futures[pool.submit(execute, job)] = number
                if not futures:
                    return
                done, _ = wait(futures, return_when=FIRST_COMPLETED)
                for future in done:
                    yield futures.pop(future), future.result()
        finally:
            for future in futures:
                future.cancel()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool, self._alive = watching_pool(self._workers)
        return self._pool

    def _stop(self) -> None:
        if self._alive is not None:
            self._alive.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = self._alive = None

    def __enter__(self) -> Self:
        """Workers are started when there is something to do."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers, whatever they are at."""
        self._stop()


def watching_pool(workers: int) -> tuple[ProcessPoolExecutor, Connection]:
    """Return a pool of worker processes, and the end of a pipe without which they end at once."""
    context = multiprocessing.get_context("spawn")
    watched, alive = context.Pipe(duplex=False)
    return ProcessPoolExecutor(workers, context, _begin, (watched,)), alive


def _begin(alive: Connection) -> None:
    """Set up a worker: Ctrl-C is the business of the process that started it, with which it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()


def _end_with(alive: Connection) -> None:
    """Wait for the end of the pipe, to which nobody writes."""
    try:
        alive.recv_bytes()
    except EOFError:
        os._exit(1)
