"""Disks in TOML files: read one to judge it, write one that was made."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from iosim import toml_file
from iosim.disk.build import disk_model
from iosim.disk.model import DiskModel
from iosim.model.errors import OutputError, ScenarioError, reason
from iosim.model.scenario import DiskTable, Table


class _Host(Table):
    disk: list[DiskTable] = Field(min_length=1)


class _File(Table):
    host: _Host


def checked(disk: dict[str, Any], place: str) -> DiskTable:
    """Return the table of *disk*, the keys of a [[host.disk]]. Raises ScenarioError, naming *place*."""
    return toml_file.check(_File, {"host": {"disk": [disk]}}, place, ScenarioError).host.disk[0]


def read_disk(path: Path, name: str | None = None) -> tuple[DiskTable, DiskModel]:
    """Return the disk *name* of the file *path*, and its model. Raises ScenarioError.

    The file is a scenario, or has nothing but [[host.disk]]. Without *name* there must be one disk in it.
    """
    data = toml_file.read(path, ScenarioError)
    host = data.get("host")
    only = {"host": {"disk": host.get("disk", [])}} if isinstance(host, dict) else data
    disks = toml_file.check(_File, only, str(path), ScenarioError).host.disk
    names = ", ".join(disk.name for disk in disks)
    chosen = [disk for disk in disks if name in (None, disk.name)]
    if not chosen:
        raise ScenarioError(f"{path}: has no disk {name!r}: it has {names}")
    if len(chosen) > 1:
        raise ScenarioError(f"{path}: has several disks ({names}): choose one by --name")
    return chosen[0], disk_model(chosen[0], path.parent)


def to_toml(disk: dict[str, Any], remarks: Sequence[str]) -> str:
    """Return the file with *disk* as its only [[host.disk]] and *remarks* as comments above it.

    Long lists are filled into lines, which tomli-w does not do.
    """
    lines = [f"# {line}".rstrip() for line in remarks]
    lines += ["", "[[host.disk]]", *_keys(disk)]
    for name, tables in disk.items():
        if _is_tables(tables):
            for table in tables:
                lines += ["", f"[[host.disk.{name}]]", *_keys(table)]
    return "\n".join(lines) + "\n"


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _keys(table: dict[str, Any]) -> list[str]:
    """Return the lines of the keys that are no tables; JSON writes texts, numbers, booleans and lists as TOML does."""
    found = []
    for key, value in table.items():
        if not _is_tables(value):
            line = f"{key} = {json.dumps(value)}"
            found += textwrap.wrap(line, 110, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return found


def write_beside(path: Path, text: str) -> None:
    """Write *text* to *path*, whole or not at all. Raises OutputError."""
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: {reason(error)}") from None
    finally:
        beside.unlink(missing_ok=True)
