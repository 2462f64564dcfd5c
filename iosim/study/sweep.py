"""`iosim sweep`: a study file is read, its points are run, tables are written and shown."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from iosim.model.errors import IosimError, OutputError, StudyError, reason
from iosim.results.result import is_result
from iosim.study import study_file
from iosim.study.content import environment
from iosim.study.executors import Executor, local, usable_cpus
from iosim.study.points import Point, points, value_text
from iosim.study.runner import Run, Runner
from iosim.study.statistics import is_within
from iosim.study.store import Store
from iosim.study.study_file import Study, UntilTable
from iosim.study.tables import runs_table, summary_table
from iosim.study.terminal import show

STUDY_VERSION = 1
MARKER = "study.json"


def run(
    path: Path,
    out: Path | None,
    options: Sequence[str],
    workers: int | None,
    scheduler: str | None,
    keep: bool,
    console: Console,
    errors: Console,
) -> None:
    """Run the study in *path* and write its tables to *out* (default: reports/NAME). Raises IosimError.

    *options* ("key.path=value") change the base. Progress is shown on *errors* if it is a terminal.
    """
    study = study_file.load(path)
    wanted = points(study, path, options)
    folder = Path("reports") / path.stem if out is None else out
    check_folder(folder)

    def note(text: str) -> None:
        errors.print(Text(text), soft_wrap=True)

    keep_in = (folder / "points").absolute() if keep or study.output.keep else None
    with (
        Store(folder / "store") as store,
        executor(workers, scheduler, note) as crew,
        progress_bar(errors) as bar,
    ):
        runner = Runner(store, crew, study.statistics.warmup, keep_in)
        task = bar.add_task(f"{path.stem}: checking", total=len(wanted), what="points")
        try:
            runner.check(wanted, lambda done, total: bar.update(task, completed=done, total=total))
        except IosimError as error:
            raise type(error)(f"{path}: {error}") from None
        bar.reset(task, description=path.stem, what="runs")
        runner.progress = lambda done, total: bar.update(task, completed=done, total=total)
        try:
            runs = run_until(runner, wanted, study)
        except KeyboardInterrupt:
            bar.stop()
            errors.print(Text(f"What is finished is kept in {folder}/; the same command goes on from there."))
            raise
        table = runs_table(wanted, runs)
        summary = summary_table(table, wanted, study.study.reference, study.statistics.confidence)
        facts = describe(study, wanted, runs)
        write(folder, table, summary, facts)
    show(console, path.stem, study, summary, facts)
    console.print(Text(f"Written to {folder}/"), soft_wrap=True)


def progress_bar(errors: Console) -> Bar:
    """Return the bar that shows how far a study is and how long it will take, on a terminal only."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[what]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Bar(*columns, console=errors, transient=True, disable=not errors.is_terminal)


def executor(workers: int | None, scheduler: str | None, note: Callable[[str], None]) -> Executor:
    """Return who runs the jobs: *workers* processes here (default: one per CPU), or the cluster of *scheduler*.

    *note* is called with what the user should know of the cluster. Raises StudyError without Dask.
    """
    if scheduler is None:
        return local(usable_cpus() if workers is None else workers)
    if workers is not None:
        raise StudyError("--workers and --scheduler cannot be given together: the cluster has its own workers")
    try:
        from iosim.study.cluster import Cluster
    except ImportError:
        raise StudyError("--scheduler needs Dask: pip install 'iosim[cluster]'") from None
    return Cluster(scheduler, note)


def check_folder(folder: Path) -> None:
    """Raise OutputError unless *folder* can be made, is empty, or holds an earlier study, finished or not."""
    try:
        if not folder.exists() or (folder / "store" / "lock").exists():
            return
        if not folder.is_dir():
            raise OutputError(f"{folder}: is not a folder")
        if is_result(folder):
            raise OutputError(f"{folder}: is the result of a run; choose another folder")
        if any(folder.iterdir()):
            raise OutputError(f"{folder}: is not empty and no study; choose another folder")
    except OSError as error:
        raise OutputError(f"{folder}: {reason(error)}") from None


def run_until(runner: Runner, wanted: Sequence[Point], study: Study) -> list[Run]:
    """Return the runs of all points: as many replications as the study says, or as its stop rule asks for.

    Which replications are added depends on what the ones before gave, not on who ran them or when.
    """
    n = study.study.replications
    runs = _by_point(runner.run_points(wanted, n))
    until = study.statistics.until
    while until is not None:
        short = [point for point in wanted if not _is_enough(runs[point.name], until, study.statistics.confidence)]
        if not short:
            break
        counts = [min(len(runs[point.name]) + until.step, until.max_replications) for point in short]
        runs |= _by_point(runner.run_points(short, counts))
    return [one for point in wanted for one in runs[point.name]]


def _by_point(runs: Sequence[Run]) -> dict[str, list[Run]]:
    grouped: dict[str, list[Run]] = {}
    for one in runs:
        grouped.setdefault(one.point.name, []).append(one)
    return grouped


def _is_enough(runs: Sequence[Run], until: UntilTable, confidence: float) -> bool:
    return len(runs) >= until.max_replications or is_within(wanted_values(runs, until), until.within, confidence)


def wanted_values(runs: Sequence[Run], until: UntilTable) -> list[float]:
    """Return what each of *runs* gave for the metric of the stop rule. Raises StudyError if one has none."""
    found = []
    for one in runs:
        value = next((row.value for row in one.metrics if (row.metric, row.of) == (until.metric, until.of)), None)
        if value is None:
            of = f" of {until.of!r}" if until.of else ""
            raise StudyError(
                f"statistics.until: point {one.point.name}, replication {one.replication} has no {until.metric}{of}; "
                "a percentile needs at least one request beyond it"
            )
        found.append(value)
    return found


def describe(study: Study, wanted: Sequence[Point], runs: Sequence[Run]) -> dict[str, Any]:
    """Return what was done with which program, for `study.json`: nothing that depends on who ran it or when."""
    until = study.statistics.until
    grouped = _by_point(runs)
    return {
        "study_version": STUDY_VERSION,
        **environment(),
        "study": study.model_dump(mode="json", exclude_none=True),
        "points": [
            {
                "name": point.name,
                "changes": {key: value_text(value) for key, value in point.changes.items()},
                "replications": len(grouped[point.name]),
                "precise": None
                if until is None
                else is_within(wanted_values(grouped[point.name], until), until.within, study.statistics.confidence),
                "digests": [one.digest for one in grouped[point.name]],
            }
            for point in wanted
        ],
    }


def write(folder: Path, runs: pd.DataFrame, summary: pd.DataFrame, facts: dict[str, Any]) -> None:
    """Write the tables and `study.json`, each whole or not at all. Raises OutputError."""
    made = folder / "store" / "unfinished"
    try:
        for name, table in (("runs.parquet", runs), ("summary.parquet", summary)):
            table.to_parquet(made / name, index=False, compression="zstd")
            os.replace(made / name, folder / name)
        (made / MARKER).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        os.replace(made / MARKER, folder / MARKER)
    except OSError as error:
        raise OutputError(f"{folder}: {reason(error)}") from None
