"""The points of a study: the base with changes, from a list, a grid or a Latin hypercube."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

from iosim import scenario_file, toml_file
from iosim.model.errors import ScenarioError, StudyError, shown
from iosim.model.scenario import Scenario
from iosim.study.sample import latin_hypercube
from iosim.study.study_file import MAX_REPLICATIONS, Study

BASE = "base"
"""Name of the unchanged scenario, if it is a point."""
MAX_POINTS = 100_000

Changes: TypeAlias = dict[str, Any]
"""New values by key path, as --set addresses them."""


@dataclass(frozen=True)
class Point:
    """One set of parameters: the base with *changes*.

    File names in *scenario* are relative to *folder*, that of the base; its `run.seed` is that of replication 0.
    """

    name: str
    changes: Changes
    scenario: Scenario
    folder: Path

    def label(self) -> str:
        """Return the changes as --set has them: ``vm.web.count=8, host.disk.sda.service=50us``."""
        return ", ".join(f"{key}={value_text(value)}" for key, value in self.changes.items())


class Base:
    """A scenario file of which points are changed copies.

    *changes* are those of the study, *options* ("key.path=value") those of the command line; *place* names the study
    in errors. Raises ScenarioError for a scenario that breaks a rule, StudyError for a change that does.
    """

    def __init__(
        self,
        path: Path,
        place: str,
        changes: Changes | None = None,
        options: Sequence[str] = (),
        seed: int | None = None,
    ) -> None:
        self.folder = path.parent
        self._place = place
        self._data = toml_file.read(path, ScenarioError)
        scenario_file.check(self._data, str(path))
        try:
            for key, value in (changes or {}).items():
                scenario_file.set_key(self._data, key, copy.deepcopy(value), f"set: {key}")
            for option in options:
                scenario_file.apply_change(self._data, option)
            if seed is not None:
                scenario_file.set_key(self._data, "run.seed", seed, "seed")
            self.scenario = scenario_file.check(self._data, "set")
        except ScenarioError as error:
            raise StudyError(f"{place}: {error}") from None
        if self.scenario.run.seed >= (1 << 63) - MAX_REPLICATIONS:
            raise StudyError(f"{place}: run.seed must leave room for {MAX_REPLICATIONS} replications below 2^63")

    def point(self, name: str, changes: Changes) -> Point:
        """Return the point of this *name*. Raises StudyError, naming it, for a change that breaks a rule."""
        data = copy.deepcopy(self._data)
        try:
            for key, value in changes.items():
                scenario_file.set_key(data, key, copy.deepcopy(value), f"{name}: {key}")
            scenario = scenario_file.check(data, name)
        except ScenarioError as error:
            raise StudyError(f"{self._place}: point {error}") from None
        if scenario.run.seed != self.scenario.run.seed:
            raise StudyError(f"{self._place}: point {name}: run.seed must be left out: replications choose it")
        return Point(name, changes, scenario, self.folder)


def points(study: Study, path: Path, options: Sequence[str] = ()) -> list[Point]:
    """Return the points of *study*, the content of *path*: the base, then those of the list, the grid and the sample.

    The base is no point if `study.reference` names another one. Raises StudyError or ScenarioError.
    """
    place = str(path)
    base = Base(
        path.parent / study.study.scenario, place, flatten(study.set, f"{place}: set"), options, study.study.seed
    )
    wanted = _wanted(study, place)
    if not wanted:
        raise StudyError(f"{place}: a [grid], a [[point]] or a [sample] is required")
    names = Counter([BASE, *(name for name, _ in wanted)])
    if twice := [name for name, count in names.items() if count > 1]:
        raise StudyError(f"{place}: two points have the name {twice[0]}")
    reference = study.study.reference
    if reference not in names:
        raise StudyError(f"{place}: study.reference must be base or the name of a point, got {shown(reference)}")
    if reference == BASE:
        wanted.insert(0, (BASE, {}))
    return [base.point(name, changes) for name, changes in wanted]


def _wanted(study: Study, place: str) -> list[tuple[str, Changes]]:
    """Return (name, changes) of each point that the file asks for."""
    wanted = [
        (table.name or _name("point", number, len(study.point)), flatten(table.set, f"{place}: point.{number}.set"))
        for number, table in enumerate(study.point)
    ]
    axes = flatten(study.grid, f"{place}: grid")
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise StudyError(f"{place}: grid.{key} must be a list of values, got {shown(values)}")
    size = prod(len(values) for values in axes.values()) if axes else 0
    if len(wanted) + size + (study.sample.size if study.sample else 0) > MAX_POINTS:
        raise StudyError(f"{place}: a study has at most {MAX_POINTS} points, got more ({size} of the grid)")
    for number, values in enumerate(product(*axes.values()) if axes else ()):
        wanted.append((_name("grid", number, size), dict(zip(axes, values, strict=True))))
    if study.sample is not None:
        ranges = flatten(study.sample.range, f"{place}: sample.range", leaf="low")
        rows = latin_hypercube(ranges, study.sample.size, study.sample.seed, f"{place}: sample.range")
        wanted += [(_name("sample", number, len(rows)), row) for number, row in enumerate(rows)]
    return wanted


def _name(kind: str, number: int, of: int) -> str:
    """Return ``grid-07``: names of one kind sort as the points do."""
    return f"{kind}-{number + 1:0{len(str(of))}d}"


def flatten(table: Mapping[str, Any], place: str, leaf: str | None = None) -> Changes:
    """Return {"vm.web.count": value} of nested tables; one that has the key *leaf* is a value. Raises StudyError."""
    flat: Changes = {}
    for key, value in table.items():
        if not all(part.strip() for part in key.split(".")):
            raise StudyError(f"{place}: a key path must have no empty part, got {shown(key)}")
        if isinstance(value, dict) and leaf not in value:
            if not value:
                raise StudyError(f"{place}.{key} must have a value, got an empty table")
            inner = flatten(value, f"{place}.{key}", leaf)
            flat.update({f"{key}.{path}": inside for path, inside in inner.items()})
        else:
            flat[key] = value
    return flat


def value_text(value: Any) -> str:
    """Return *value* as one line of TOML, a text without its quotation marks."""
    return value if isinstance(value, str) else _inline(value)


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(inside)}" for key, inside in value.items()) + "}"
    return str(value)
