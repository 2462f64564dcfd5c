"""Jobs of a study on a Dask cluster: files shipped by their content, workers lost and replaced.

Imported only for `--scheduler`; needs the extra `cluster` (distributed).
"""

import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from distributed import CancelledError, Client, Future, KilledWorker, Worker, WorkerPlugin, as_completed, get_worker

from iosim.model.errors import StudyError, shown
from iosim.study.content import InputFile
from iosim.study.job import Job, Outcome, changed, execute

INPUTS = "iosim-inputs"
"""Folder within a worker's own folder where the contents of files are."""
CONNECT_S = 10
_ADDRESS = re.compile(r"(tcp|tls)://[^/\s]+:\d{1,5}")


class Cluster:
    """Runs jobs on the workers of the scheduler at *address*.

    The content of each file is sent to each worker once, and to those that join later, and is known there by its
    SHA-256. A job whose worker is lost is run again by another one. *note* is called with
    what the user should know.
    """

    def __init__(self, address: str, note: Callable[[str], None]) -> None:
        self._address = address
        self._note = note
        self._client: Client | None = None
        self._shipped: set[str] = set()

    def __enter__(self) -> Self:
        """Connect to the scheduler. Raises StudyError if none answers."""
        if not _ADDRESS.fullmatch(self._address):
            raise StudyError(f"--scheduler must be tcp://host:port, got {shown(self._address)}")
        # What a lost connection means is said in one line below.
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            self._client = Client(self._address, timeout=CONNECT_S, set_as_default=False)
        except OSError:
            raise StudyError(f"--scheduler {self._address}: no Dask scheduler answers there") from None
        if not self._client.scheduler_info()["workers"]:
            self._note(f"{self._address} has no workers yet; waiting for them")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the scheduler forget the files that were shipped, and leave."""
        assert self._client is not None
        if self._client.status == "running":
            for name in self._shipped:
                self._client.unregister_worker_plugin(name)
        self._client.close(timeout=CONNECT_S)

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with its outcome as they are finished."""
        assert self._client is not None
        self._ship(jobs)
        futures = {self._submit(job): job for job in jobs}
        try:
            for future in as_completed(list(futures), loop=self._client.loop):
                yield futures.pop(future), future.result()
        except KilledWorker as error:
            raise StudyError(
                f"{self._address}: a run was lost with each of {error.allowed_failures + 1} workers; "
                "if their memory is short, give them more"
            ) from None
        except CancelledError:
            raise StudyError(f"{self._address}: the scheduler is gone; the same command goes on with another") from None
        finally:
            self._client.cancel(list(futures))

    def _submit(self, job: Job) -> "Future[Outcome]":
        """Send *job*. Its key is its own, so that nothing else on the cluster is taken for it."""
        assert self._client is not None
        key = f"iosim-{job.digest}-{'whole' if job.keep_in else 'metrics'}-{self._client.id}"
        return self._client.submit(execute_on_worker, job, key=key)

    def _ship(self, jobs: Sequence[Job]) -> None:
        """Send the content of the files of *jobs* to every worker that is, or will be, there."""
        assert self._client is not None
        files = {_stored_name(file): file for job in jobs for file in job.files}
        for stored_name, file in files.items():
            name = f"{INPUTS}-{self._client.id}-{stored_name}"
            if name in self._shipped:
                continue
            content = file.path.read_bytes()
            if sha256(content).hexdigest() != file.sha256:
                raise changed(file.path)
            try:
                self._client.register_plugin(InputPlugin(stored_name, content), name=name)
            except ImportError as error:
                raise StudyError(f"{self._address}: iosim must be installed on every worker: {error}") from None
            self._shipped.add(name)


class InputPlugin(WorkerPlugin):
    """The content of one file, on its way to each worker's own folder."""

    def __init__(self, stored_name: str, content: bytes) -> None:
        self._stored_name = stored_name
        self._content = content

    def setup(self, worker: Worker) -> None:
        """Write the content on the worker that this is, whole or not at all, unless it is there."""
        folder = Path(worker.local_directory) / INPUTS
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self._stored_name
        if not path.exists():
            handle, made = tempfile.mkstemp(dir=folder)
            with os.fdopen(handle, "wb") as file:
                file.write(self._content)
            os.replace(made, path)


def _stored_name(file: InputFile) -> str:
    """Return what *file* is called on a worker: its content, and its ending, by which profiles are known."""
    return f"{file.sha256}{Path(file.name).suffix}"


def execute_on_worker(job: Job) -> Outcome:
    """Run *job* on the Dask worker that this is, from the files that were shipped to it."""
    folder = Path(get_worker().local_directory) / INPUTS

    def locate(file: InputFile) -> Path:
        path = folder / _stored_name(file)
        if not path.exists():
            raise StudyError(f"{path}: has been removed from the worker; run the study again")
        return path

    return execute(job, locate)
