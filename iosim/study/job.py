"""One run of a study, as it is sent to whoever runs it, and what comes back."""

import io
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

import pandas as pd

from iosim import scenario_file
from iosim.model.errors import FaultError, IosimError, StudyError
from iosim.model.scenario import Scenario
from iosim.model.trace import AnyTrace
from iosim.results import result as results
from iosim.results.result import Result, SummaryResult
from iosim.simulation import TraceReader, simulate, spent_costs
from iosim.study.content import InputFile, environment
from iosim.study.metrics import Measured, batches, latencies, latency_counts, measure
from iosim.traces import ReadOptions, open_trace

Kind: TypeAlias = Literal["replication", "summary", "pilot", "costs"]
COST = "cost"

_NAMES = {"code": "the hash of iosim's modules"}

Locate = Callable[[InputFile], Path]
"""Where whoever runs a job finds the content of a file."""


@dataclass(frozen=True)
class Job:
    """One replication of one point, with everything that it needs but the content of its files.

    *name* is for messages; *digest* says what its outcome depends on (`iosim.study.content`). *keep_in* is the folder
    for its whole result, None if only the metrics are wanted; file names of the kept scenario are relative to it, those
    of *scenario* to *folder*. A summary is a replication that keeps no requests. A pilot run shows where the warm-up
    ends and gives no metrics; one for the costs gives which are spent, as metrics named `COST`. *engine* is the one
    that was chosen where the study was read.
    """

    name: str
    digest: str
    scenario: Scenario
    files: tuple[InputFile, ...]
    environment: dict[str, str]
    folder: Path
    keep_in: Path | None = None
    kind: Kind = "replication"
    engine: str = "simpy"


@dataclass(frozen=True)
class Outcome:
    """What a job came to: its metrics, a table, the files of its whole result by name if it is kept, and where it ran.

    *table* is a Parquet file: `metrics.latencies`, `metrics.latency_counts` or, of a pilot run, `metrics.batches`.
    """

    metrics: list[Measured]
    table: bytes
    kept: dict[str, bytes] | None
    host: str
    pid: int
    seconds: float


def located_here(file: InputFile) -> Path:
    """Return the path of *file* on the machine where the study was read."""
    return file.path


def execute(job: Job, locate: Locate = located_here) -> Outcome:
    """Run *job* and return its outcome.

    Raises StudyError if the program here is another one than where the study was started, or a file has changed
    since; and the error of a run that fails, naming the job.
    """
    if (here := environment()) != job.environment:
        name = next(name for name in {**job.environment, **here} if here.get(name) != job.environment.get(name))
        raise StudyError(
            f"{platform.node()}: {_NAMES.get(name, name)} must be that of the machine where the study was started, "
            f"{job.environment.get(name)}, got {here.get(name)}"
        )
    begin = time.monotonic()
    try:
        if job.kind == "costs":
            metrics, table, kept = _spent(job, locate), pd.DataFrame(), None
        else:
            result = _simulated(job, locate)
            metrics = [] if job.kind == "pilot" else measure(result)
            table = _table(result, job.kind)
            kept = None if job.keep_in is None else _packed(result, job)
    except (IosimError, FaultError) as error:
        raise type(error)(f"{job.name}: {error}") from None
    return Outcome(metrics, _parquet(table), kept, platform.node(), os.getpid(), time.monotonic() - begin)


def _spent(job: Job, locate: Locate) -> list[Measured]:
    here, reader = _prepared(job, locate)
    return [Measured(COST, key, 1.0) for key in spent_costs(here, Path(), reader)]


def _table(result: Result, kind: Kind) -> pd.DataFrame:
    if isinstance(result, SummaryResult):
        return latency_counts(result)
    return batches(result) if kind == "pilot" else latencies(result)


def _parquet(table: pd.DataFrame) -> bytes:
    """Return *table* as a Parquet file; sorted times take about two bytes each."""
    buffer = io.BytesIO()
    times = [name for name in table.columns if name.endswith("_ns")]
    table.to_parquet(
        buffer,
        index=False,
        compression="zstd",
        use_dictionary=[name for name in table.columns if name not in times],
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
    )
    return buffer.getvalue()


def _simulated(job: Job, locate: Locate) -> Result:
    """Return the result of the scenario, with its files read from where they are here, under the names it has."""
    here, reader = _prepared(job, locate)
    result = simulate(here, Path(), reader=reader, rows=job.kind != "summary")
    result.scenario = job.scenario
    result.summary["scenario"] = job.scenario.model_dump(mode="json", exclude_none=True)
    names = [drive.trace for vm in job.scenario.vm for drive in vm.drive]
    for fact, name in zip(result.summary["traces"], names, strict=True):
        fact["trace"] = name
    return result


def _prepared(job: Job, locate: Locate) -> tuple[Scenario, TraceReader]:
    """Return the scenario with its files where they are here, and what reads its traces. Raises StudyError."""
    paths = {file.name: locate(file) for file in job.files}
    digests = {paths[file.name]: file.sha256 for file in job.files}
    for file in job.files:
        if file.name in _not_traces(job.scenario) and sha256(paths[file.name].read_bytes()).hexdigest() != file.sha256:
            raise changed(file.path)
    data = scenario_file.renamed(job.scenario, lambda name: str(paths[name]))
    if job.keep_in is None:
        data["run"]["slowest"] = 0
        for key in ("window", "log"):
            data["run"].pop(key, None)
    if job.engine == "simpy":
        data["run"]["engine"] = "simpy"
    here = scenario_file.check(data, "scenario")
    return here, lambda path, options: _trace(path, options, digests[path])


def _not_traces(scenario: Scenario) -> Sequence[str]:
    traces = {drive.trace for vm in scenario.vm for drive in vm.drive}
    return [name for name in scenario_file.file_names(scenario) if name not in traces]


@lru_cache(maxsize=32)
def _trace(path: Path, options: ReadOptions, digest: str) -> AnyTrace:
    """Return the trace in *path*; the last few stay in memory, as the points of a study share them."""
    trace = open_trace(path, options)
    if trace.sha256 != digest:
        raise changed(path)
    return trace


def changed(path: Path) -> StudyError:
    """Return the error of a file whose content is no longer what the study was started with."""
    return StudyError(f"{path}: has changed since the study was started; run it again")


def _packed(result: Result, job: Job) -> dict[str, bytes]:
    """Return the files of the result folder by their names."""
    assert job.keep_in is not None
    made = Path(tempfile.mkdtemp(prefix="iosim-"))
    try:
        scenario = scenario_file.relocated(job.scenario, job.folder, job.keep_in)
        results.write(result, made, scenario_file.to_toml(scenario), pictures=False)
        return {path.name: path.read_bytes() for path in sorted(made.iterdir())}
    finally:
        shutil.rmtree(made)
