"""[host.cost]: how the costs differ from those of the profile: factors, or times in their place."""

import difflib
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, PlainSerializer

from iosim.model import units
from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import LONGEST_NS
from iosim.model.errors import shown
from iosim.model.scenario.fields import table_rule

ALL = "all"
"""Stands for every cost of the profile, or of one of its groups."""
MOST = 1000.0
LEAST_OF_ALL = 0.01
"""Of many costs at once. With no costs at all a guest that polls would poll for ever in no time."""

_GROUPS = list(dict.fromkeys(key.partition(".")[0] for key in CATALOGUE))


def _changes(value: Any) -> Any:
    """Return the checked table: times as int nanoseconds, factors as float. What is no table is left to the field."""
    if not isinstance(value, dict):
        return value
    checked: dict[str, Any] = {}
    for group, inside in value.items():
        if group == ALL:
            checked[ALL] = _factor(ALL, inside, LEAST_OF_ALL)
            continue
        if group not in _GROUPS:
            raise table_rule(f"{_name(group)} is not a group of costs{_closest(group, [*_GROUPS, ALL])}")
        if not isinstance(inside, dict):
            raise table_rule(
                f"{group} must be a table of costs ({group}.{ALL} is a factor of all of them), got {shown(inside)}"
            )
        checked[group] = {name: _change(f"{group}.{name}", member) for name, member in inside.items()}
    return checked


def _change(key: str, value: object) -> float | int:
    group, _, name = key.partition(".")
    if name == ALL:
        return _factor(key, value, LEAST_OF_ALL)
    if key not in CATALOGUE:
        members = [other.partition(".")[2] for other in CATALOGUE if other.startswith(f"{group}.")]
        raise table_rule(f"{_name(key)} is not a cost of the model{_closest(name, [*members, ALL])}")
    if not isinstance(value, str):
        return _factor(key, value, 0, 'or a time with its unit, such as "900ns"')
    try:
        ns = units.parse_ns(value)
    except ValueError as error:
        raise table_rule(f"{key} {error}, got {shown(value)}") from None
    if ns > LONGEST_NS:
        raise table_rule(f"{key} must be at most 1 h, got {shown(value)}")
    return ns


def _factor(key: str, value: object, least: float, otherwise: str = "") -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= MOST:
        return float(value)
    rule = f"{key} must be a factor from {least:g} to {MOST:g} {otherwise}".rstrip()
    raise table_rule(f"{rule}, got {shown(value)}")


def _name(key: str) -> str:
    """Return *key* as a message shows it."""
    return key if key.isascii() and key.replace(".", "").replace("_", "").isalnum() else shown(key)


def _closest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _written(changes: dict[str, Any]) -> dict[str, Any]:
    return {
        group: inside
        if not isinstance(inside, dict)
        else {name: units.exact_time(v) if isinstance(v, int) else v for name, v in inside.items()}
        for group, inside in changes.items()
    }


CostChanges: TypeAlias = Annotated[
    dict[str, Any], BeforeValidator(_changes), PlainSerializer(_written, return_type=dict[str, Any])
]
"""Checked content of [host.cost]: {"all": factor, group: {"all": factor, name: factor (float) or time in ns (int)}}."""


def factor_of(changes: dict[str, Any], key: str) -> float:
    """Return the product of the factors that *changes* give for the cost *key*: for all, for its group, and its own."""
    group, _, name = key.partition(".")
    inside = changes.get(group, {})
    own = inside.get(name, 1.0)
    product: float = changes.get(ALL, 1.0) * inside.get(ALL, 1.0) * (own if isinstance(own, float) else 1.0)
    return product


def time_of(changes: dict[str, Any], key: str) -> int | None:
    """Return the time in ns that *changes* put in the place of the cost *key*, None if none."""
    group, _, name = key.partition(".")
    own = changes.get(group, {}).get(name)
    return own if isinstance(own, int) else None
