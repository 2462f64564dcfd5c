"""`iosim sensitivity`: the costs that a scenario spends are scaled, one at a time and together; tables are written."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.text import Text

from iosim.model.errors import IosimError, OutputError, StudyError, reason
from iosim.sensitivity import sensitivity_file, sobol, tornado
from iosim.sensitivity.factors import Factor, factors
from iosim.sensitivity.sensitivity_file import SensitivityStudy, SobolTable
from iosim.sensitivity.sobol import Floats
from iosim.sensitivity.terminal import show
from iosim.simulation import costs_of
from iosim.study.content import Inputs, environment
from iosim.study.estimates import Sample
from iosim.study.metrics import UNITS
from iosim.study.points import Base, flatten
from iosim.study.runner import Run, Runner, check_points
from iosim.study.store import Store
from iosim.study.sweep import check_folder, executor, progress_bar

SENSITIVITY_VERSION = 1
MARKER = "sensitivity.json"


@dataclass(frozen=True)
class Found:
    """What a sensitivity study has found: its tables (docs/sensitivity.md), and what was done."""

    tornado: pd.DataFrame
    runs: pd.DataFrame
    sobol: pd.DataFrame
    sample: pd.DataFrame
    facts: dict[str, Any]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by the names of their files."""
        return {"tornado": self.tornado, "runs": self.runs, "sobol": self.sobol, "sample": self.sample}


def run(
    path: Path,
    out: Path | None,
    options: Sequence[str],
    workers: int | None,
    scheduler: str | None,
    console: Console,
    errors: Console,
) -> None:
    """Run the study in *path* and write its tables to *out* (default: reports/NAME). Raises IosimError.

    *options* ("key.path=value") change the base. Progress is shown on *errors* if it is a terminal.
    """
    study = sensitivity_file.load(path)
    place = str(path)
    base = Base(
        path.parent / study.study.scenario, place, flatten(study.set, f"{place}: set"), options, study.study.seed
    )
    folder = Path("reports") / path.stem if out is None else out
    check_folder(folder, MARKER)

    def note(text: str) -> None:
        errors.print(Text(text), soft_wrap=True)

    inputs = Inputs()
    try:
        check_points([base.point(tornado.BASE, {})], inputs)
    except IosimError as error:
        raise type(error)(f"{path}: {error}") from None
    with (
        executor(workers, scheduler, note) as crew,
        Store(folder / "store") as store,
        progress_bar(errors) as bar,
    ):
        task = bar.add_task(path.stem, total=None, what="runs")
        runner = Runner(store, crew, inputs)
        runner.progress = lambda done, total: bar.update(task, completed=done, total=total)
        try:
            found = analyse(study, base, runner, place, lambda what: bar.reset(task, what=what))
        except KeyboardInterrupt:
            bar.stop()
            note(f"What is finished is kept in {folder}/; the same command goes on from there.")
            raise
        write(folder, found)
    show(console, path.stem, study, found.tornado, found.sobol, found.facts)
    console.print(Text(f"Written to {folder}/; iosim report {folder} makes a page of it"), soft_wrap=True)


def analyse(study: SensitivityStudy, base: Base, runner: Runner, place: str, begin: Callable[[str], object]) -> Found:
    """Return what the study finds; *begin* is called with what is run next. Raises IosimError, naming *place*."""
    wished, confidence = study.sensitivity, study.statistics.confidence
    begin("run to see which costs are spent")
    spent = runner.find_costs(base.point(tornado.BASE, {}))
    chosen = factors(costs_of(base.scenario, base.folder), spent, wished, place)
    begin("runs, one cost at a time")
    points = tornado.points(base, chosen)
    by_point: dict[str, list[Run]] = {}
    for one in runner.run_points(points, study.study.replications):
        by_point.setdefault(one.point.name, []).append(one)
    samples = {name: Sample(own) for name, own in by_point.items()}
    metrics, missing = _metrics(samples, study, place)
    bars = tornado.table(chosen, samples, metrics, wished.of, confidence)
    indices, sampled = [], pd.DataFrame()
    largest: list[Factor] = []
    if wished.sobol:
        largest = most_important(chosen, bars, wished.sobol.factors)
        begin("runs, costs together")
        shares, values = evaluate(largest, base, runner, wished.sobol, metrics, wished.of, place)
        for metric in metrics:
            indices += index_rows(largest, values[metric], wished.sobol, metric, wished.of, confidence)
        sampled = pd.DataFrame(shares, columns=[factor.name for factor in largest]).assign(**values)
    return Found(
        bars,
        _runs_table(by_point, metrics, wished.of),
        pd.DataFrame(indices, columns=list(INDEX_COLUMNS)),
        sampled,
        _facts(study, chosen, largest, missing),
    )


def _metrics(samples: dict[str, Sample], study: SensitivityStudy, place: str) -> tuple[list[str], list[str]]:
    """Return the metrics that every point has, and those that are left out because they were not asked for by name.

    Raises StudyError for one that was.
    """
    wished = study.sensitivity
    missing = [
        metric
        for metric in wished.metrics
        if any(sample.estimate(metric, wished.of) is None for sample in samples.values())
    ]
    known = [metric for metric in wished.metrics if metric not in missing]
    if missing and ("metrics" in wished.model_fields_set or not known):
        of = f" of {wished.of}" if wished.of else ""
        n = study.study.replications
        raise StudyError(f"{place}: sensitivity.metrics: there is no {missing[0]}{of} with {n} replications")
    return known, missing


def most_important(chosen: Sequence[Factor], bars: pd.DataFrame, n: int) -> list[Factor]:
    """Return those *n* of the factors that have the largest share of the squared swings of any metric.

    Those that move nothing are left out.
    """
    shares = bars.groupby("factor", sort=False)["variance_share"].max()
    ordered = sorted(chosen, key=lambda factor: -float(shares[factor.name]))
    return [factor for factor in ordered[:n] if shares[factor.name] > 0]


def evaluate(
    largest: Sequence[Factor],
    base: Base,
    runner: Runner,
    table: SobolTable,
    metrics: Sequence[str],
    of: str,
    place: str,
) -> tuple[Floats, dict[str, Floats]]:
    """Return the points of the sample as shares of the ranges, points x factors, and the values of each metric there.

    Raises StudyError if a point has no such metric.
    """
    if not largest:
        return np.empty((0, 0)), {metric: np.empty(0) for metric in metrics}
    shares = sobol.sample(len(largest), table)
    cost = base.scenario.host.cost or {}
    points = []
    for number, row in enumerate(shares.tolist()):
        changes: dict[str, Any] = {}
        for factor, u in zip(largest, row, strict=True):
            changes |= factor.changes(factor.at(u, table.scale == "log"), cost)
        points.append(base.point(f"sample-{number + 1}", changes))
    runs = runner.run_points(points, table.replications)
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    for at in range(0, len(runs), table.replications):
        sample = Sample(runs[at : at + table.replications])
        for metric in metrics:
            estimate = sample.estimate(metric, of)
            if estimate is None:
                raise StudyError(f"{place}: sensitivity.metrics: point {runs[at].point.name} has no {metric}")
            values[metric].append(estimate.estimate)
    return shares, {metric: np.array(found) for metric, found in values.items()}


INDEX_COLUMNS = (
    "metric", "of", "factor", "evidence", "assumed",
    "first", "first_low", "first_high", "total", "total_low", "total_high",
)  # fmt: skip


def index_rows(
    largest: Sequence[Factor], values: Floats, table: SobolTable, metric: str, of: str, confidence: float
) -> list[tuple[Any, ...]]:
    """Return the indices of each factor; none where the metric does not vary."""
    found = sobol.indices(values, len(largest), table, confidence) if len(largest) else None
    if found is None:
        return []
    rows = []
    for number, factor in enumerate(largest):
        first, first_half = found.first[number], found.first_half[number]
        total, total_half = found.total[number], found.total_half[number]
        rows.append(
            (
                metric, of, factor.name, ", ".join(factor.kinds), factor.is_assumed,
                first, first - first_half, first + first_half, total, total - total_half, total + total_half,
            )
        )  # fmt: skip
    return rows


def _runs_table(by_point: dict[str, list[Run]], metrics: Sequence[str], of: str) -> pd.DataFrame:
    """Return one row per point, replication and metric that the run has a value of."""
    rows = []
    for name, runs in by_point.items():
        sample = Sample(runs)
        factor, _, end = (name, "", "") if name == tornado.BASE else name.rpartition(" ")
        for metric in metrics:
            values = sample.values(metric, of)
            for one in runs:
                if one.replication in values:
                    value = values[one.replication]
                    rows.append((name, factor, end, one.replication, one.seed, metric, of, UNITS[metric], value))
    columns = ["point", "factor", "end", "replication", "seed", "metric", "of", "unit", "value"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.loc[frame["point"] == tornado.BASE, "factor"] = ""
    return frame


def _facts(
    study: SensitivityStudy, chosen: Sequence[Factor], largest: Sequence[Factor], missing: Sequence[str]
) -> dict[str, Any]:
    """Return what was done with which program, for `sensitivity.json`: nothing that depends on who ran it or when."""
    return {
        "sensitivity_version": SENSITIVITY_VERSION,
        **environment(),
        "salib": version("SALib"),
        "study": study.model_dump(mode="json", exclude_none=True),
        "metrics_left_out": list(missing),
        "factors": [
            {"name": factor.name, "costs": {key: list(ends) for key, ends in factor.ranges.items()}}
            for factor in chosen
        ],
        "in_the_sample": [factor.name for factor in largest],
    }


def write(folder: Path, found: Found) -> None:
    """Write the tables and `sensitivity.json`, each whole or not at all. Raises OutputError."""
    made = folder / "store" / "unfinished"
    try:
        for name, table in found.tables().items():
            table.to_parquet(made / f"{name}.parquet", index=False, compression="zstd")
            os.replace(made / f"{name}.parquet", folder / f"{name}.parquet")
        (made / MARKER).write_text(json.dumps(found.facts, indent=1) + "\n", encoding="utf-8")
        os.replace(made / MARKER, folder / MARKER)
    except OSError as error:
        raise OutputError(f"{folder}: {reason(error)}") from None
