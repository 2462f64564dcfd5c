"""Where finished runs are kept: two files for each, under the hash of what it depends on."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Collection
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType

import pandas as pd

from iosim.model.errors import OutputError, reason
from iosim.study.job import Job, Outcome
from iosim.study.metrics import Measured

RECORD_VERSION = 1
JOURNAL = "journal.csv"
_HEAD = "finished,digest,host,pid,seconds\n"
_KEPT_MARK = "digest"
"""A file of a kept result that says which run it is."""


class Store:
    """The finished runs of a study, in *folder*. One process at a time may write to it.

    `DIGEST.json` has its metrics, `DIGEST.parquet` its table, which is written first. A run is either there as a whole
    or not at all, whenever the process ends: files are written in `unfinished` and renamed. What does not have the
    checksum that it should, as after a power failure, is not there. `journal.csv` has one line for each run that was
    carried out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._beside = folder / "unfinished"
        self._lock: int | None = None

    def __enter__(self) -> "Store":
        """Take the store for this process. Raises OutputError if another one has it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self._beside, ignore_errors=True)
            self._beside.mkdir()
        except BlockingIOError:
            self.__exit__(None, None, None)
            raise OutputError(f"{self.folder.parent}: another iosim is at work there") from None
        except OSError as error:
            raise OutputError(f"{self.folder}: {reason(error)}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let others have the store."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def get(self, job: Job) -> list[Measured] | None:
        """Return the metrics of *job* if it is finished, its result folder included if it is to be kept."""
        metrics = self._record(job.digest)
        if metrics is None or (job.keep_in is not None and not _is_kept(job.keep_in, job.digest)):
            return None
        return metrics

    def table(self, digest: str) -> pd.DataFrame:
        """Return the table of a finished run. Raises OutputError if it cannot be read."""
        path = self._path(digest, "parquet")
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise OutputError(f"{path}: cannot be read: {error}; delete it and run the study again") from None

    def put(self, job: Job, outcome: Outcome) -> None:
        """Keep what *job* came to. Raises OutputError."""
        try:
            if outcome.kept is not None:
                assert job.keep_in is not None
                self._write_folder(job.keep_in, {**outcome.kept, _KEPT_MARK: f"{job.digest}\n".encode()})
            table = sha256(outcome.table).hexdigest()
            record = {"record": RECORD_VERSION, "digest": job.digest, "table": table, "metrics": outcome.metrics}
            path = self._path(job.digest, "json")
            path.parent.mkdir(exist_ok=True)
            self._write_file(self._path(job.digest, "parquet"), outcome.table)
            self._write_file(path, json.dumps(record).encode())
            self._note(job, outcome)
        except OSError as error:
            raise OutputError(f"{self.folder}: {reason(error)}") from None

    def _path(self, digest: str, ending: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.{ending}"

    def _record(self, digest: str) -> list[Measured] | None:
        """Return what the record of *digest* has; None if there is none that is whole."""
        try:
            record = json.loads(self._path(digest, "json").read_bytes())
            table = sha256(self._path(digest, "parquet").read_bytes()).hexdigest()
        except (OSError, ValueError):
            return None
        if not isinstance(record, dict):
            return None
        if (record.get("record"), record.get("digest"), record.get("table")) != (RECORD_VERSION, digest, table):
            return None
        return [Measured(metric, of, float(value)) for metric, of, value in record["metrics"]]

    def _note(self, job: Job, outcome: Outcome) -> None:
        """Add a line to the journal, in one write."""
        journal = os.open(self.folder / JOURNAL, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        try:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            line = f"{now},{job.digest},{outcome.host},{outcome.pid},{outcome.seconds:.3f}\n"
            os.write(journal, (line if os.fstat(journal).st_size else _HEAD + line).encode())
        finally:
            os.close(journal)

    def _write_file(self, path: Path, content: bytes) -> None:
        handle, made = tempfile.mkstemp(dir=self._beside)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(made, 0o644)
        os.replace(made, path)

    def _write_folder(self, folder: Path, files: dict[str, bytes]) -> None:
        """Put the folder with *files* in its place; what was there goes away."""
        made = Path(tempfile.mkdtemp(dir=self._beside))
        made.chmod(0o755)
        for name, content in files.items():
            self._write_file(made / name, content)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def drop_others(folder: Path, digests: Collection[str]) -> None:
    """Remove the kept results ``folder/POINT/REPLICATION`` that are of none of the runs *digests*."""
    for mark in folder.glob(f"*/*/{_KEPT_MARK}"):
        if mark.read_text(encoding="utf-8").strip() not in digests:
            shutil.rmtree(mark.parent)
    for point in folder.glob("*"):
        if point.is_dir() and not any(point.iterdir()):
            point.rmdir()


def _is_kept(folder: Path, digest: str) -> bool:
    try:
        return (folder / _KEPT_MARK).read_text(encoding="utf-8").strip() == digest
    except (OSError, UnicodeDecodeError):
        return False
