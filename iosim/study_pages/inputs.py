"""What went into a study, as its page shows it: the study as read, what the points change, the versions."""

import json
from dataclasses import dataclass
from typing import Any

import tomli_w

from iosim.report.table import Column, Table

_VERSIONS = ("iosim", "python", "simpy", "numpy", "pandas", "scipy", "pyarrow", "hdrhistogram", "salib")


@dataclass(frozen=True)
class Inputs:
    """The study as TOML, a table of what each point changes (None if there are none), and the versions."""

    study: str
    changes: Table | None
    versions: list[tuple[str, str]]


def inputs(facts: dict[str, Any], changed: dict[str, dict[str, str]] | None = None, key: str = "study") -> Inputs:
    """Return what *facts*, the JSON file of a study, say went into it; *changed* has what each point changes."""
    table = None
    if changed:
        table = Table(
            [Column("point", number=False, code=True), Column("changes", number=False, code=True)],
            label="What each point changes",
            tall=len(changed) > 24,
        )
        for point, keys in changed.items():
            table.add(point, ", ".join(f"{name}={value}" for name, value in keys.items()) or "-")
    versions = [(name, str(facts[name])) for name in _VERSIONS if name in facts]
    return Inputs(as_toml(facts.get(key, {})), table, versions)


def as_toml(document: Any) -> str:
    """Return a part of a JSON file as TOML, as it was written; as JSON if TOML has no words for it."""
    try:
        return tomli_w.dumps(document)
    except (TypeError, ValueError, AttributeError):
        return json.dumps(document, indent=1, ensure_ascii=False)
