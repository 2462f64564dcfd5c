"""Running scenarios from the command line: one, or a batch with a folder each and a joint table."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from iosim import scenario_file
from iosim.model.errors import FaultError, IosimError, OutputError, ScenarioError, reason
from iosim.model.scenario import Scenario
from iosim.model.units import human_time, three_digits
from iosim.report.text import show
from iosim.results.result import Result, check_target, is_result, write
from iosim.results.terminal import WIDE, empty_table
from iosim.results.wording import percent
from iosim.simulation import simulate

JOINT = "batch.csv"


def run_all(
    paths: list[Path],
    out: Path | None,
    changes: list[str],
    console: Console,
    errors: Console,
    complain: Callable[[str], int],
    rows: bool = True,
) -> int:
    """Run every scenario of *paths* and return the worst exit status: 0, or what *complain* returned.

    With *rows* false no requests are kept.

    A single one goes to *out* itself, several go to folders of their names below it. One that fails does not stop
    the others: *complain* is called with what is wrong. Progress is shown on *errors* if it is a terminal.

    Raises FaultError, when all have been run, if a result breaks the laws that every run keeps; it is not written.
    """
    targets = _targets(paths, out)
    status = 0
    joined: list[dict[str, Any]] = []
    faults = []
    for path, target in zip(paths, targets, strict=True):
        try:
            result = _run_one(path, target, changes, errors, rows)
        except IosimError as error:
            status = max(status, complain(str(error)))
            continue
        except FaultError as error:
            faults.append(str(error))
            continue
        if len(paths) > 1:
            console.print(Text(f"{path}\n", style="bold reverse"))
        show(result, console)
        console.print(Text(f"Written to {target}/\n" if len(paths) > 1 else f"Written to {target}/"), soft_wrap=True)
        joined.append(joint_row(path, target, result))
    if len(paths) > 1 and joined:
        joint = targets[0].parent / JOINT
        _write_joint(joined, joint)
        console.print(joint_table(joined, console))
        console.print(Text(f"Written to {joint}"), soft_wrap=True)
    if faults:
        raise FaultError("; ".join(faults))
    return status


def _targets(paths: list[Path], out: Path | None) -> list[Path]:
    """Return the folder of each result. Raises OutputError if two would be the same, or a batch inside a result."""
    base = Path("reports") if out is None else out
    if len(paths) == 1:
        return [base / paths[0].stem if out is None else out]
    if is_result(base):
        raise OutputError(f"{base}: is the result of one scenario; choose another folder for a batch")
    targets = [base / path.stem for path in paths]
    for target in targets:
        if targets.count(target) > 1:
            raise OutputError(f"{target}: two scenarios of the batch have the same name")
    return targets


def _write_joint(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the joint table, whole or not at all. Raises OutputError."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        pd.DataFrame(rows).to_csv(made, index=False)
        made.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: {reason(error)}") from None
    finally:
        made.unlink(missing_ok=True)


def _run_one(path: Path, target: Path, changes: list[str], errors: Console, rows: bool) -> Result:
    scenario = scenario_file.load(path, changes)
    check_target(target)
    _check_inputs(scenario, path.parent, target)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("requests"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(path.stem, total=None)
        try:
            result = simulate(
                scenario,
                path.parent,
                lambda done, total: bar.update(task, description=path.stem, completed=done, total=total),
                say=lambda text: bar.update(task, description=f"{path.stem}: {text}"),
                rows=rows,
                beside=next(folder for folder in target.resolve().parents if folder.is_dir()),
            )
        except ScenarioError as error:
            raise ScenarioError(f"{path}: {error}") from None
        except OSError as error:
            raise OutputError(f"{target}: {reason(error)}") from None
        except FaultError as error:
            raise FaultError(f"{path}: {error}; nothing was written") from None
        bar.update(task, description=f"{path.stem}: writing")
        write(result, target, scenario_file.to_toml(scenario_file.relocated(scenario, path.parent, target)))
    return result


def _check_inputs(scenario: Scenario, folder: Path, target: Path) -> None:
    """Raise OutputError if *target*, which is replaced whole, holds a file that the scenario reads."""
    for name in scenario_file.file_names(scenario):
        if (folder / name).resolve().is_relative_to(target.resolve()):
            raise OutputError(f"{target}: holds {folder / name}, which the scenario reads; choose another folder")


def joint_row(path: Path, target: Path, result: Result) -> dict[str, Any]:
    """Return one line of the joint table of a batch."""
    counts = result.summary["requests"]
    latency = result.statistics().latency.get(None)
    p50, p99 = (None, None) if latency is None else latency.percentiles([50, 99])
    busiest = result.resources.sort_values("utilisation", ascending=False, kind="stable").iloc[0]
    stages = result.summary["stages_ns"]
    largest = max(stages, key=lambda name: stages[name]["total"]) if latency is not None else None
    return {
        "scenario": path.stem,
        "in": counts["in"],
        "done": counts["done"],
        "failed": counts["failed"],
        "unfinished": counts["unfinished"],
        "throughput_per_s": result.summary["throughput_per_s"],
        "mean_ns": None if latency is None else latency.mean,
        "p50_ns": p50,
        "p99_ns": p99,
        "exits_per_request": result.summary["per_request"]["exits"],
        "largest_stage": largest,
        "busiest": busiest["resource"],
        "utilisation": float(busiest["utilisation"]),
        "folder": str(target),
    }


def joint_table(rows: list[dict[str, Any]], console: Console) -> Table:
    """Return the joint table of a batch for the terminal: long names are folded, numbers stay whole."""
    names = ("scenario", "done", "req/s", "mean", "p50", "p99", "exits", "largest stage", "busiest", "busy")
    left = ("scenario", "largest stage", "busiest")
    grid = empty_table("All scenarios", left, names, gap=2 if console.width >= WIDE else 1)
    for column in grid.columns:
        if column.header in left:
            column.no_wrap, column.overflow, column.min_width = False, "fold", 8
    for row in rows:
        times = (row["mean_ns"], row["p50_ns"], row["p99_ns"])
        exits = row["exits_per_request"]
        grid.add_row(
            str(row["scenario"]),
            f"{row['done']:,}",
            three_digits(row["throughput_per_s"]),
            *("-" if time is None else human_time(time) for time in times),
            "-" if exits is None else three_digits(exits),
            str(row["largest_stage"] or "-"),
            str(row["busiest"]),
            percent(row["utilisation"]),
        )
    return grid
