"""The page of a sweep: its curves, its points as a table, how they differ, what is busy."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from iosim.model.units import human_time, three_digits
from iosim.results.wording import percent, plural
from iosim.study.points import value_text
from iosim.study.study_file import Study
from iosim.study.sweep import MARKER, STUDY_VERSION
from iosim.study.tables import SUMMARY
from iosim.study.terminal import Figures, cautions, relative, short_names
from iosim.study_pages import sweep_pictures, sweep_tables
from iosim.study_pages.axis import Axis, axis_of
from iosim.study_pages.folder import Folder, damaged
from iosim.study_pages.inputs import Inputs, inputs

TEMPLATE = "sweep.html.j2"
_COUNTED = re.compile(r"(?:point|grid|sample)-\d+")
_LONGEST_TITLE = 28


class Sweep:
    """A finished sweep: its points, the keys that they change, and the summary of its metrics."""

    def __init__(self, path: Path) -> None:
        folder = Folder(path, MARKER, "study_version", STUDY_VERSION)
        self.name = folder.name
        self.facts = folder.facts
        self.summary = folder.table("summary", *SUMMARY)
        try:
            self.study = Study.model_validate(self.facts["study"])
            self.figures = Figures(self.summary, self.facts)
            self.points = self.figures.points
            self._changes: dict[str, list[str]] = {p["name"]: list(p["changes"]) for p in self.facts["points"]}
            known = set(self.summary["point"])
            if not self.points or not set(self.points) <= known:
                raise damaged(path)
        except (KeyError, TypeError, ValidationError):
            raise damaged(path) from None
        self.reference = self.study.study.reference
        self.keys: list[str] = self.figures.keys
        self.titles = dict(zip(self.keys, short_names(self.keys), strict=True))

    def title(self, point: str) -> str:
        """Return what *point* is called in pictures: its changes, if its name only counts and they are short."""
        if not _COUNTED.fullmatch(point):
            return point
        names = self.titles
        changed = [f"{names[key]} {value_text(self.value(point, key))}" for key in self._changes[point] if key in names]
        text = ", ".join(changed)
        return text if text and len(text) <= _LONGEST_TITLE else point

    def value(self, point: str, key: str) -> Any:
        """Return the value of *key* at *point*."""
        return self.figures.first[point][key]

    def axes(self) -> dict[str, Axis]:
        """Return the axis of each key whose values are quantities, if it has two or more."""
        found = {
            key: axis_of(self.titles[key], {point: self.value(point, key) for point in self.points})
            for key in self.keys
        }
        return {key: axis for key, axis in found.items() if axis is not None}

    def unit_of(self, metric: str) -> str:
        """Return the unit of *metric* in the summary."""
        return str(self.summary.loc[self.summary["metric"] == metric, "unit"].iloc[0])


def content(path: Path) -> dict[str, Any]:
    """Return what the template shows of the sweep in *path*. Raises ResultError."""
    sweep = Sweep(path)
    return {
        "name": sweep.name,
        "story": story(sweep),
        "facts": facts(sweep),
        "curves": sweep_pictures.curves(sweep),
        "dots": sweep_pictures.dots(sweep),
        "pareto": sweep_pictures.pareto(sweep),
        "differences": sweep_pictures.differences(sweep),
        "busy_curves": sweep_pictures.busy(sweep),
        "points": sweep_tables.points(sweep),
        "changes": sweep_tables.differences(sweep),
        "resources": sweep_tables.resources(sweep),
        "warmups": sweep_tables.warmups(sweep),
        "inputs": _inputs(sweep),
        "doubts": cautions(sweep.figures, sweep.study),
    }


def _inputs(sweep: Sweep) -> Inputs:
    changed = {point["name"]: point["changes"] for point in sweep.facts["points"]}
    return inputs(sweep.facts, changed)


def story(sweep: Sweep) -> list[str]:
    """Return in sentences what was run, and where latency is least and largest."""
    figures, study = sweep.figures, sweep.study
    counts = list(figures.replications.values())
    each = plural(counts[0], "replication") if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)} replications"
    told = [
        f"{plural(len(sweep.points), 'point')} of {study.study.scenario}, {each} each; "
        f"{100 * study.statistics.confidence:.4g} % intervals, differences from {sweep.title(sweep.reference)}."
    ]
    measured = [point for point in sweep.points if figures.get(point, "latency_mean") is not None]
    if len(measured) > 1:
        ordered = sorted(measured, key=lambda point: figures.value(point, "latency_mean"))
        least, most = (f"{sweep.title(point)} ({_latency(sweep, point)})" for point in (ordered[0], ordered[-1]))
        told.append(f"The mean latency is least at {least} and largest at {most}.")
        told.append(_told_apart(sweep, measured))
    return told


def _latency(sweep: Sweep, point: str) -> str:
    text = human_time(sweep.figures.value(point, "latency_mean"))
    change = relative(sweep.figures, point, sweep.reference, "latency_mean")
    return f"{text}, {change}" if change else text


def _told_apart(sweep: Sweep, measured: list[str]) -> str:
    """Say how many points differ from the reference by more than chance."""
    others = [point for point in measured if point != sweep.reference]
    rows = [sweep.figures.get(point, "latency_mean") for point in others]
    known = [row for row in rows if row is not None and not np.isnan(row["difference_low"])]
    apart = [row for row in known if not row["difference_low"] <= 0 <= row["difference_high"]]
    if not known:
        return "With one replication nothing says which differences are chance."
    return (
        f"{len(apart)} of {plural(len(known), 'point')} differ from {sweep.title(sweep.reference)} by more than chance."
    )


def facts(sweep: Sweep) -> list[tuple[str, str, str]]:
    """Return the few figures at the top: what, how much, and what it is about."""
    figures = sweep.figures
    runs = len({run for point in sweep.facts["points"] for run in point["runs"]})
    found = [
        ("points", f"{len(sweep.points):,}", f"{plural(len(sweep.keys), 'key')} changed"),
        ("runs", f"{runs:,}", "with random numbers in common"),
    ]
    for metric, title in (("latency_mean", "least mean latency"), ("latency_p99", "least p99")):
        rows = [row for point in sweep.points if (row := figures.get(point, metric)) is not None]
        if rows:
            least = min(rows, key=lambda row: float(row["estimate"]))
            found.append((title, human_time(least["estimate"]), sweep.title(str(least["point"]))))
    rows = [row for point in sweep.points if (row := figures.get(point, "throughput")) is not None]
    if rows:
        most = max(rows, key=lambda row: float(row["estimate"]))
        found.append(("most throughput", f"{three_digits(most['estimate'])}/s", sweep.title(str(most["point"]))))
    busiest = max(figures.busiest.items(), key=lambda item: item[1][1])
    found.append(("busiest", percent(busiest[1][1]), f"{busiest[1][0]} at {sweep.title(busiest[0])}"))
    return found
