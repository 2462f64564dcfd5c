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
MAX_SHIPMENTS = 3
_ADDRESS = re.compile(r"(tcp|tls)://[^/\s]+:\d{1,5}")


class MissingInputError(Exception):
    """A worker has not been sent a file that it needs."""


class Cluster:
    """Runs jobs on the workers of the scheduler at *address*.

    The content of each file is sent to each worker once, and to those that join later; it is known by its SHA-256, so
    that workers which have it keep it. A job whose worker is lost is run again by another one. *note* is called with
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
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
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
        futures = {self._submit(job, 0): (job, 0) for job in jobs}
        completed = as_completed(futures, loop=self._client.loop)
        try:
            for future in completed:
                job, attempt = futures.pop(future)
                try:
                    yield job, future.result()
                except MissingInputError:
                    # Another study that used the file has ended, and with it the scheduler's copy.
                    if attempt == MAX_SHIPMENTS:
                        raise
                    self._ship([job])
                    again = self._submit(job, attempt + 1)
                    futures[again] = (job, attempt + 1)
                    completed.add(again)
        except KilledWorker as error:
            raise StudyError(
                f"{self._address}: a run was lost with each of {error.allowed_failures + 1} workers; "
                "if their memory is short, give them more"
            ) from None
        except CancelledError:
            raise StudyError(f"{self._address}: the scheduler is gone; the same command goes on with another") from None
        finally:
            self._client.cancel(list(futures))

    def _submit(self, job: Job, attempt: int) -> "Future[Outcome]":
        assert self._client is not None
        key = f"iosim-{job.digest}-{job.keep_in is not None}-{attempt}-{self._client.id}"
        return self._client.submit(execute_on_worker, job, key=key)

    def _ship(self, jobs: Sequence[Job]) -> None:
        """Send the content of the files of *jobs* to every worker that is, or will be, there."""
        assert self._client is not None
        for file in dict.fromkeys(file for job in jobs for file in job.files):
            content = file.path.read_bytes()
            if sha256(content).hexdigest() != file.sha256:
                raise changed(file.path)
            plugin = InputPlugin(_stored_name(file), content)
            try:
                self._client.register_plugin(plugin, name=plugin.name)
            except ImportError as error:
                raise StudyError(f"{self._address}: iosim must be installed on every worker: {error}") from None
            self._shipped.add(plugin.name)


class InputPlugin(WorkerPlugin):
    """The content of one file, on its way to each worker's own folder."""

    idempotent = True

    def __init__(self, stored_name: str, content: bytes) -> None:
        self.name = f"{INPUTS}/{stored_name}"
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
    """Run *job* on the Dask worker that this is. Raises MissingInputError if a file has not been shipped to it."""
    folder = Path(get_worker().local_directory) / INPUTS

    def locate(file: InputFile) -> Path:
        path = folder / _stored_name(file)
        if not path.exists():
            raise MissingInputError(file.name)
        return path

    return execute(job, locate)
