"""Running scenarios from the command line: one, or a batch with a folder each and a joint table."""

import os
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from iosim import scenario_file
from iosim.model.errors import IosimError, OutputError
from iosim.model.scenario import Scenario
from iosim.model.units import human_time, three_digits
from iosim.results.result import Result, check_target, write
from iosim.results.summary import counted
from iosim.results.terminal import show
from iosim.simulation import simulate

JOINT = "batch.csv"


def run_all(paths: list[Path], out: Path | None, changes: list[str], console: Console, errors: Console) -> int:
    """Run every scenario of *paths* and return the worst exit status: 0, or 2 for what the user can mend.

    A single one goes to *out* itself, several go to folders of their names below it. One that fails does not stop
    the others.
    """
    from iosim.cli import fail

    targets = _targets(paths, out)
    status = 0
    rows = []
    for path, target in zip(paths, targets, strict=True):
        try:
            result = _run_one(path, target, changes, errors)
        except IosimError as error:
            status = max(status, fail(str(error)))
            continue
        if len(paths) > 1:
            console.rule(str(path), align="left", style="bold")
        show(result, console)
        console.print(f"\nWritten to {target}/", highlight=False)
        rows.append(joint_row(path, target, result))
    if len(paths) > 1 and rows:
        base = targets[0].parent
        pd.DataFrame(rows).to_csv(base / JOINT, index=False)
        console.print()
        console.print(joint_table(rows))
        console.print(f"Written to {base / JOINT}", highlight=False)
    return status


def _targets(paths: list[Path], out: Path | None) -> list[Path]:
    """Return the folder of each result. Raises OutputError if two would be the same."""
    base = Path("reports") if out is None else out
    if len(paths) == 1:
        return [base / paths[0].stem if out is None else out]
    targets = [base / path.stem for path in paths]
    for target in targets:
        if targets.count(target) > 1:
            raise OutputError(f"{target}: two scenarios of the batch have the same name")
    return targets


def _run_one(path: Path, target: Path, changes: list[str], errors: Console) -> Result:
    scenario = scenario_file.load(path, changes)
    check_target(target)
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
        result = simulate(scenario, path.parent, lambda done, total: bar.update(task, completed=done, total=total))
        bar.update(task, description=f"{path.stem}: writing")
        write(result, target, scenario_file.to_toml(relocated(scenario, path.parent, target)))
    return result


def relocated(scenario: Scenario, old: Path, new: Path) -> Scenario:
    """Return *scenario* with its file names relative to the folder *new* instead of *old*: runnable from there."""

    def move(name: str) -> str:
        return name if os.path.isabs(name) else os.path.relpath(old / name, new)

    data = scenario.model_dump(mode="json", exclude_none=True)
    if data["host"]["profile"].endswith(".toml"):
        data["host"]["profile"] = move(data["host"]["profile"])
    for disk in data["host"]["disk"]:
        if "table" in disk:
            disk["table"] = move(disk["table"])
    for vm in data["vm"]:
        for drive in vm["drive"]:
            drive["trace"] = move(drive["trace"])
    return scenario_file.check(data, str(new))


def joint_row(path: Path, target: Path, result: Result) -> dict[str, object]:
    """Return one line of the joint table of a batch."""
    table = counted(result.requests)
    counts = result.summary["requests"]
    latency = table["latency_ns"]
    busiest = result.resources.sort_values("utilisation", ascending=False, kind="stable").iloc[0]
    stages = result.summary["stages_ns"]
    largest = max(stages, key=lambda name: stages[name]["total"])
    return {
        "scenario": path.stem,
        "in": counts["in"],
        "done": counts["done"],
        "failed": counts["failed"],
        "unfinished": counts["unfinished"],
        "throughput_per_s": result.summary["throughput_per_s"],
        "mean_ns": float(latency.mean()) if len(table) else None,
        "p50_ns": float(latency.quantile(0.5)) if len(table) else None,
        "p99_ns": float(latency.quantile(0.99)) if len(table) else None,
        "exits_per_request": result.summary["per_request"]["exits"],
        "largest_stage": largest,
        "busiest": busiest["resource"],
        "utilisation": float(busiest["utilisation"]),
        "folder": str(target),
    }


def joint_table(rows: list[dict[str, object]]) -> Table:
    """Return the joint table of a batch for the terminal."""
    grid = Table(title="All scenarios", title_justify="left", box=None, pad_edge=False, title_style="bold")
    names = ("scenario", "done", "requests/s", "mean", "p50", "p99", "exits", "largest stage", "busiest", "utilisation")
    for name in names:
        grid.add_column(name, justify="left" if name in ("scenario", "largest stage", "busiest") else "right")
    for row in rows:
        times = [row["mean_ns"], row["p50_ns"], row["p99_ns"]]
        exits = row["exits_per_request"]
        grid.add_row(
            str(row["scenario"]),
            f"{row['done']:,}",
            f"{row['throughput_per_s']:,.0f}",
            *(human_time(t) if isinstance(t, float) else "-" for t in times),
            three_digits(exits) if isinstance(exits, float) else "-",
            str(row["largest_stage"]),
            str(row["busiest"]),
            f"{row['utilisation']:.1%}",
        )
    return grid
