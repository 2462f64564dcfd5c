"""What went into a run: scenario, differences from the defaults, costs with their sources, versions, traces."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tomli_w
from pydantic import BaseModel, TypeAdapter

from iosim.model.costs import KINDS, load_profile, shipped_profiles
from iosim.report.table import Cell, Column, Table
from iosim.results.result import Result


@dataclass(frozen=True)
class Inputs:
    """Everything that is needed to run it again, and to judge what it rests on."""

    scenario: str
    differences: Table
    profile: Table
    sources: Table | None
    traces: Table
    versions: list[tuple[str, str]]


def inputs(result: Result) -> Inputs:
    """Return what went into the run."""
    summary = result.summary
    versions = [("iosim", summary["iosim"]), ("Python", summary["python"]), *summary["libraries"].items()]
    return Inputs(
        scenario=tomli_w.dumps(summary["scenario"]),
        differences=_differences(result),
        profile=_profile(summary["profile"]),
        sources=_sources(summary["profile"]["name"]),
        traces=_traces(summary["traces"]),
        versions=[("seed", str(result.scenario.run.seed)), *versions],
    )


def _differences(result: Result) -> Table:
    """Return the keys that differ from their defaults, or have none."""
    table = Table(
        [
            Column("key", number=False, code=True),
            Column("value", number=False, code=True),
            Column("default", number=False, code=True),
        ],
        label="What differs from the defaults",
    )
    for path, value, default in differences(result.scenario):
        table.add(path, value, default)
    return table


def differences(table: BaseModel, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Give key path, value and default of every key of *table* that is not at its default, values as TOML has them.

    The default reads "required" for a key that has none, and "not set" for one that may be left out.
    """
    written = table.model_dump(mode="json", exclude_none=True)
    for name, field in type(table).model_fields.items():
        value, place = getattr(table, name), f"{path}{name}"
        if isinstance(value, BaseModel):
            yield from differences(value, f"{place}.")
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            for number, element in enumerate(value):
                yield from differences(element, f"{place}.{getattr(element, 'name', number)}.")
        elif value is not None and name != "name" and (field.is_required() or value != field.default):
            yield place, _toml(written[name]), _default(type(table), name)


def _default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    if field.default is None:
        return "not set"
    made = model.model_construct(**{name: field.default})
    return _toml(TypeAdapter(model).dump_python(made, mode="json", warnings=False)[name])


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _profile(profile: dict[str, Any]) -> Table:
    table = Table(
        [Column("costs"), Column("are", number=False), Column("which means", number=False)],
        label="Evidence of the costs",
    )
    for kind, n in profile["figures"].items():
        if n:
            table.add(f"{n:,}", str(kind), KINDS.get(kind, ""))
    return table


def _sources(name: str) -> Table | None:
    """Return the sources of a shipped profile and how many costs rest on each; None for a profile of the user."""
    if name not in shipped_profiles():
        return None
    by_source: dict[tuple[str, str], int] = {}
    for cost in load_profile(name).figures.values():
        if cost.kind != "included":
            by_source[cost.kind, cost.source] = by_source.get((cost.kind, cost.source), 0) + 1
    table = Table(
        [Column("costs"), Column("kind", number=False), Column("source", number=False)],
        label="Sources of the costs",
        sorts=True,
    )
    for (kind, source), n in sorted(by_source.items(), key=lambda item: (list(KINDS).index(item[0][0]), -item[1])):
        table.add(Cell(str(n), n), Cell(kind, list(KINDS).index(kind)), source)
    return table


def _traces(traces: list[dict[str, Any]]) -> Table:
    table = Table(
        [
            Column("VM", number=False, code=True),
            Column("drive"),
            Column("trace", number=False, code=True),
            Column("requests"),
            Column("SHA-256", number=False, code=True),
        ],
        label="Traces",
    )
    for trace in traces:
        table.add(trace["vm"], str(trace["drive"]), trace["trace"], f"{trace['requests']:,}", trace["sha256"])
    return table
