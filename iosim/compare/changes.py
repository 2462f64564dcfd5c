"""What changed from one scenario to another, key by key, as --set would write it."""

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from iosim.model.units import human_time
from iosim.results.result import Result

ABSENT = "-"
PRESENT = "present"
MOST_COSTS = 12
"""Costs that are listed one by one; if more differ, their number is."""


@dataclass(frozen=True)
class Change:
    """A key whose value is not the same in all runs, and its value in each; `ABSENT` where a run has no such key."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    """A file that a scenario names. Two are equal if their content is, whatever they are called."""

    name: str
    checksum: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _File) and self.checksum == other.checksum

    def __hash__(self) -> int:
        return hash(self.checksum)


class _Element:
    """Stands for a table of an array as a whole; all are equal."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Element)

    def __hash__(self) -> int:
        return 0


def changes(runs: Sequence[Result]) -> list[Change]:
    """Return what is not the same in the scenarios of all *runs*, in the order of the keys.

    A table of an array that only some runs have (a VM, a drive) is one entry. Traces and profiles count as changed if
    their content has.
    """
    flat = [_flat(run) for run in runs]
    if any(run.scenario.host.cost for run in runs):
        # The checksums are of the costs as changed; the keys of host.cost say what that was.
        for run, keys in zip(runs, flat, strict=True):
            keys["host.profile"] = run.scenario.host.profile
    differing = {
        key for keys in flat for key in keys if any(key not in each or each[key] != keys[key] for each in flat)
    }
    partial = {key for key in differing if any(isinstance(keys.get(key), _Element) for keys in flat)}
    inside = {key for key in differing if any(_parents(key, partial))}
    found = [Change(key, _texts([keys.get(key) for keys in flat])) for key in _in_order(flat, differing - inside)]
    return found + _costs(runs)


def _parents(key: str, among: set[str]) -> Iterator[str]:
    parts = key.split(".")
    yield from (path for n in range(1, len(parts)) if (path := ".".join(parts[:n])) in among)


def _flat(run: Result) -> dict[str, Any]:
    """Return the value of every key of the scenario by its path."""
    keys = dict(_walk(run.scenario.model_dump(mode="json", exclude_none=True), ""))
    for trace in run.summary["traces"]:
        key = f"vm.{trace['vm']}.drive.{trace['drive']}.trace"
        keys[key] = _File(str(keys[key]), trace["sha256"])
    profile = str(keys["host.profile"])
    keys["host.profile"] = _File(profile, run.summary["profile"]["sha256"])
    return keys


def _walk(table: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        place = f"{path}{name}"
        if isinstance(value, dict):
            yield from _walk(value, f"{place}.")
        elif isinstance(value, list) and value and all(isinstance(element, dict) for element in value):
            for number, element in enumerate(value):
                own = f"{place}.{element.get('name', number)}"
                yield own, _Element()
                yield from _walk({key: inner for key, inner in element.items() if key != "name"}, f"{own}.")
        elif value != []:
            yield place, value


def _in_order(flat: list[dict[str, Any]], chosen: set[str]) -> list[str]:
    """Return the keys in the order of the first run that has them; keys of others behind the one that they follow."""
    places: dict[str, tuple[int, ...]] = {}
    for run, keys in enumerate(flat):
        before: tuple[int, ...] = ()
        for number, key in enumerate(keys):
            if key in places:
                before = places[key]
            else:
                places[key] = (*before[: 2 * run], run, number)
    return sorted(chosen, key=lambda key: places[key])


def _texts(values: list[Any]) -> tuple[str, ...]:
    """Return the values as texts; files of one name and different content with the begin of their checksums."""
    files = [value for value in values if isinstance(value, _File)]
    ambiguous = len({file.name for file in files}) < len(set(files))
    return tuple(
        ABSENT
        if value is None
        else f"{value.name} ({value.checksum[:8]})"
        if value in files and ambiguous
        else _text(value)
        for value in values
    )


def _text(value: Any) -> str:
    if isinstance(value, _Element):
        return PRESENT
    return setting(value.name if isinstance(value, _File) else value)


def setting(value: Any) -> str:
    """Return *value* as --set takes it: a text is bare unless that would be read as something else."""
    if isinstance(value, str) and value == value.strip() and value.isprintable() and value != ABSENT:
        try:
            tomllib.loads(f"value = {value}")
        except tomllib.TOMLDecodeError:
            return value
    return _toml(value)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    """Return *text* as TOML's basic string, with escapes for what cannot be printed."""
    escapes = {'"': '\\"', "\\": "\\\\"}
    escaped = (escapes.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text)
    return '"' + "".join(escaped) + '"'


def _costs(runs: Sequence[Result]) -> list[Change]:
    """Return the costs that differ on average, where profiles of one name do."""
    if len({run.scenario.host.profile for run in runs}) > 1:
        return []
    costs: list[dict[str, float]] = [run.summary["profile"]["costs_ns"] for run in runs]
    differing = [key for key in costs[0] if any(each.get(key) != costs[0][key] for each in costs[1:])]
    if len(differing) <= MOST_COSTS:
        return [Change(f"cost.{key}", tuple(human_time(each[key]) for each in costs)) for key in differing]
    numbers = (sum(each[key] != costs[0][key] for key in differing) for each in costs)
    return [Change("cost", tuple(f"{n} of {len(costs[0])} differ" if n else "as it is" for n in numbers))]
