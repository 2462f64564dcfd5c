"""`iosim sweep`: a study file is read, its points are run, tables are written and shown."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
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
from iosim.study.content import Inputs, environment
from iosim.study.estimates import Sample
from iosim.study.executors import Executor, local, usable_cpus
from iosim.study.points import Point, points, value_text
from iosim.study.runner import Run, Runner, Warmup, check_points, without_warmup
from iosim.study.statistics import is_within
from iosim.study.store import Store, drop_others
from iosim.study.study_file import Study, UntilTable
from iosim.study.tables import runs_table, summary_table
from iosim.study.terminal import show

STUDY_VERSION = 1
MARKER = "study.json"
KINDS = {MARKER: "a sweep", "sensitivity.json": "a sensitivity study", "plan.json": "a plan"}


def run(
    path: Path,
    out: Path | None,
    options: Sequence[str],
    workers: int | None,
    scheduler: str | None,
    keep: bool,
    summary_only: bool,
    console: Console,
    errors: Console,
) -> None:
    """Run the study in *path* and write its tables to *out* (default: reports/NAME). Raises IosimError.

    *options* ("key.path=value") change the base; *keep* and *summary_only* are those of [output] as well. Progress is
    shown on *errors* if it is a terminal.
    """
    study = study_file.load(path, summary_only)
    wanted = points(study, path, options)
    folder = Path("reports") / path.stem if out is None else out
    check_folder(folder, MARKER)

    def note(text: str) -> None:
        errors.print(Text(text), soft_wrap=True)

    keep_in = (folder / "points").absolute() if keep or study.output.keep else None
    inputs = Inputs()
    with progress_bar(errors) as bar:
        task = bar.add_task(f"{path.stem}: checking", total=len(wanted), what="points")
        try:
            check_points(wanted, inputs, lambda done, total: bar.update(task, completed=done, total=total))
        except IosimError as error:
            raise type(error)(f"{path}: {error}") from None
    with (
        executor(workers, scheduler, note) as crew,
        Store(folder / "store") as store,
        progress_bar(errors) as bar,
    ):
        task = bar.add_task(path.stem, total=None, what="runs")
        runner = Runner(store, crew, inputs, keep_in, rows=not study.output.summary_only)
        runner.progress = lambda done, total: bar.update(task, completed=done, total=total)
        try:
            warmups: dict[str, Warmup] = {}
            if study.statistics.warmup == "mser-5":
                bar.update(task, what="pilot runs")
                found = runner.find_warmups(wanted, study.statistics.pilots)
                warmups = dict(zip([point.name for point in wanted], found, strict=True))
                wanted = [without_warmup(point, warmups[point.name]) for point in wanted]
                bar.reset(task, what="runs")
            runs = run_until(runner, wanted, study)
        except KeyboardInterrupt:
            bar.stop()
            note(f"What is finished is kept in {folder}/; the same command goes on from there.")
            raise
        samples = {name: Sample(own) for name, own in runs.items()}
        table = runs_table(wanted, runs)
        summary = summary_table(wanted, samples, study.study.reference, study.statistics.confidence)
        facts = describe(study, wanted, runs, samples, warmups)
        write(folder, table, summary, facts)
    show(console, path.stem, study, summary, facts)
    console.print(Text(f"Written to {folder}/; iosim report {folder} makes a page of it"), soft_wrap=True)


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


def check_folder(folder: Path, marker: str | None = None) -> None:
    """Raise OutputError unless *folder* can be made, is empty, or holds an earlier study, finished or not.

    *marker* is the file by which a finished study is known: one of another kind is not mixed with it.
    """
    try:
        for other in KINDS if marker in KINDS else ():
            if other != marker and (folder / other).exists():
                raise OutputError(f"{folder}: is the folder of {KINDS[other]}; choose another folder")
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


def run_until(runner: Runner, wanted: Sequence[Point], study: Study) -> dict[str, list[Run]]:
    """Return the runs of each point: as many replications as the study says, or as its stop rule asks for.

    Which replications are added depends on what the ones before gave, not on who ran them or when.
    """
    runs = _by_point(runner.run_points(wanted, study.study.replications))
    until = study.statistics.until
    while until is not None:
        short = [
            point
            for point in wanted
            if len(runs[point.name]) < until.max_replications
            and not is_precise(Sample(runs[point.name]), point.name, until, study.statistics.confidence)
        ]
        if not short:
            break
        counts = [min(len(runs[point.name]) + until.step, until.max_replications) for point in short]
        runs |= _by_point(runner.run_points(short, counts))
    # The reference has a partner for every run, so that differences are those of the means shown.
    most = max(len(own) for own in runs.values())
    reference = [point for point in wanted if point.name == study.study.reference]
    return runs | _by_point(runner.run_points(reference, most))


def _by_point(runs: Sequence[Run]) -> dict[str, list[Run]]:
    grouped: dict[str, list[Run]] = {}
    for one in runs:
        grouped.setdefault(one.point.name, []).append(one)
    return grouped


def is_precise(sample: Sample, name: str, until: UntilTable, confidence: float) -> bool:
    """Tell whether the stop rule *until* holds for the point *name*. Raises StudyError if it has no such metric."""
    interval = sample.estimate(until.metric, until.of, confidence)
    if interval is None:
        of = f" of {until.of}" if until.of else ""
        raise StudyError(
            f"statistics.until: point {name} has no {until.metric}{of} with {len(sample.replications)} replications"
        )
    return is_within(interval, until.within)


def describe(
    study: Study,
    wanted: Sequence[Point],
    runs: Mapping[str, Sequence[Run]],
    samples: Mapping[str, Sample],
    warmups: Mapping[str, Warmup],
) -> dict[str, Any]:
    """Return what was done with which program, for `study.json`: nothing that depends on who ran it or when."""
    until = study.statistics.until
    return {
        "study_version": STUDY_VERSION,
        **environment(),
        "study": study.model_dump(mode="json", exclude_none=True),
        "points": [
            {
                "name": point.name,
                "changes": {key: value_text(value) for key, value in point.changes.items()},
                "replications": len(runs[point.name]),
                "precise": None
                if until is None
                else is_precise(samples[point.name], point.name, until, study.statistics.confidence),
                "mser5": warmups[point.name]._asdict() if warmups else None,
                "runs": [one.digest for one in runs[point.name]],
            }
            for point in wanted
        ],
    }


def write(folder: Path, runs: pd.DataFrame, summary: pd.DataFrame, facts: dict[str, Any]) -> None:
    """Write the tables and `study.json`, each whole or not at all, and remove kept results of other runs.

    Raises OutputError.
    """
    made = folder / "store" / "unfinished"
    try:
        for name, table in (("runs.parquet", runs), ("summary.parquet", summary)):
            table.to_parquet(made / name, index=False, compression="zstd")
            os.replace(made / name, folder / name)
        (made / MARKER).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        os.replace(made / MARKER, folder / MARKER)
        drop_others(folder / "points", {digest for point in facts["points"] for digest in point["runs"]})
    except OSError as error:
        raise OutputError(f"{folder}: {reason(error)}") from None
