"""Scenario files: read, changed by --set, checked, with one line that says what is wrong; and written as resolved."""

import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from iosim import toml_file
from iosim.model.errors import ScenarioError, shown
from iosim.model.scenario import DiskCommon, DriveTable, EmpiricalDiskTable, Scenario, VmTable


def load(path: str | Path, changes: Sequence[str] = ()) -> Scenario:
    """Return the scenario in the TOML file *path*, with *changes* ("key.path=value") applied in order.

    File names in it stay relative to the file's folder. Raises ScenarioError.
    """
    path = Path(path)
    data = toml_file.read(path, ScenarioError)
    for change in changes:
        apply_change(data, change)
    return check(data, str(path))


def check(data: dict[str, Any], place: str) -> Scenario:
    """Return the scenario that *data* describes; *place* names its file in errors. Raises ScenarioError."""
    return toml_file.check(Scenario, data, place, ScenarioError)


# --set


def apply_change(data: dict[str, Any], change: str) -> None:
    """Apply "key.path=value" to the parsed file *data*. Raises ScenarioError.

    The value is TOML if it reads as TOML, otherwise a text. An element of an array is addressed by its name or
    number; a path that goes through an array without either changes every element.
    """
    path, equals, text = change.partition("=")
    if not equals or not all(key.strip() for key in path.split(".")):
        raise ScenarioError(f"--set must be key.path=value, got {shown(change)}")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    set_key(data, path, value, f"--set {path.strip()}")


def set_key(data: dict[str, Any], path: str, value: Any, place: str) -> None:
    """Set the key at *path* of the parsed file *data*, addressed as by --set. Raises ScenarioError, naming *place*."""
    _set(data, [key.strip() for key in path.split(".")], value, place)


def values_at(data: dict[str, Any], path: str) -> list[Any]:
    """Return the values of *data*, a parsed file, that --set would change at *path*; None stands for a missing key.

    Raises ScenarioError if the path leads nowhere.
    """
    return _get(data, [key.strip() for key in path.split(".")], path)


def _get(node: Any, keys: list[str], place: str) -> list[Any]:
    if not keys:
        return [node]
    if isinstance(node, list):
        return [value for element, rest in _elements(node, keys, place) for value in _get(element, rest, place)]
    return _get(node.get(keys[0]), keys[1:], place) if isinstance(node, dict) else [None]


def _set(node: Any, keys: list[str], value: Any, place: str) -> None:
    if isinstance(node, list):
        chosen = _elements(node, keys, place)
        for element, rest in chosen:
            _set(element, rest, value, place)
        return
    if not isinstance(node, dict):
        raise ScenarioError(f"{place} goes through a value that is no table")
    if len(keys) == 1:
        node[keys[0]] = value
        return
    _set(node.setdefault(keys[0], {}), keys[1:], value, place)


def _elements(array: list[Any], keys: list[str], place: str) -> list[tuple[Any, list[str]]]:
    """Return the elements of *array* that *keys* begins with, and what is left of *keys* for each."""
    for length in range(len(keys) - 1, 0, -1):
        name = ".".join(keys[:length])
        named = [element for element in array if isinstance(element, dict) and element.get("name") == name]
        if named:
            return [(element, keys[length:]) for element in named]
    if keys[0].isdigit():
        number = int(keys[0])
        if number >= len(array) or len(keys) < 2:
            raise ScenarioError(f"{place} has no element {number}")
        return [(array[number], keys[1:])]
    if len(keys) > 1 and not any(isinstance(element, dict) and keys[0] in element for element in array):
        known = {*VmTable.model_fields, *DriveTable.model_fields, *DiskCommon.model_fields}
        if keys[0] not in known:
            raise ScenarioError(f"{place} has no element {keys[0]!r}")
    return [(element, keys) for element in array]


def to_toml(scenario: Scenario) -> str:
    """Return the scenario as a TOML file, every key with its value, defaults included."""
    return tomli_w.dumps(scenario.model_dump(mode="json", exclude_none=True))


# File names


def file_names(scenario: Scenario) -> list[str]:
    """Return the names of the files that *scenario* reads, as it has them."""
    profile = [scenario.host.profile] if scenario.host.profile.endswith(".toml") else []
    tables = [disk.table for disk in scenario.host.disk if isinstance(disk, EmpiricalDiskTable)]
    return profile + tables + [drive.trace for vm in scenario.vm for drive in vm.drive]


def renamed(scenario: Scenario, name: Callable[[str], str]) -> dict[str, Any]:
    """Return *scenario* as a parsed file, with *name* of each of its file names in its place."""
    data = scenario.model_dump(mode="json", exclude_none=True)
    if data["host"]["profile"].endswith(".toml"):
        data["host"]["profile"] = name(data["host"]["profile"])
    for disk in data["host"]["disk"]:
        if "table" in disk:
            disk["table"] = name(disk["table"])
    for vm in data["vm"]:
        for drive in vm["drive"]:
            drive["trace"] = name(drive["trace"])
    return data


def relocated(scenario: Scenario, old: Path, new: Path) -> Scenario:
    """Return *scenario* with its file names relative to the folder *new* instead of *old*: runnable from there."""

    def move(name: str) -> str:
        return name if os.path.isabs(name) else os.path.relpath(old / name, new)

    return check(renamed(scenario, move), str(new))
