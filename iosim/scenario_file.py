"""Scenario files: read, changed by --set, checked, with one line that says what is wrong; and written as resolved."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from iosim.model.errors import ScenarioError, reason, shown
from iosim.model.scenario import DiskCommon, DriveTable, Scenario, VmTable

_RULES = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_parsing_size": "is too large",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "list_type": "must be a list",
    "tuple_type": "must be a list of two",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "model_attributes_type": "must be a table",
    "union_tag_not_found": "needs model = one of constant, empirical, hdd, ssd",
    "string_pattern_mismatch": "may have letters, digits, '.', '_' and '-' only",
    "string_too_long": "must have at most 64 characters",
    "too_short": "must have at least one entry",
    "int_from_float": "must be a whole number",
    "finite_number": "must be a finite number",
}
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("above", "gt"),
    "less_than": ("below", "lt"),
}


def load(path: str | Path, changes: Sequence[str] = ()) -> Scenario:
    """Return the scenario in the TOML file *path*, with *changes* ("key.path=value") applied in order.

    File names in it stay relative to the file's folder. Raises ScenarioError.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{path}: {reason(error)}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: is not a text file") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: is not TOML: {error}") from None
    except RecursionError:
        raise ScenarioError(f"{path}: is not TOML that can be read: too many brackets inside each other") from None
    except ValueError:
        raise ScenarioError(f"{path}: is not TOML that can be read: a number of more than 4300 digits") from None
    for change in changes:
        apply_change(data, change)
    return check(data, str(path))


def check(data: dict[str, Any], place: str) -> Scenario:
    """Return the scenario that *data* describes; *place* names its file in errors. Raises ScenarioError."""
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        first = min(error.errors(), key=lambda entry: entry["type"] not in ("extra_forbidden", "rule", "table_rule"))
        raise ScenarioError(f"{place}: {_describe(first, data)}") from None


def _describe(error: Any, data: dict[str, Any]) -> str:
    """Return "key path, rule, value" of a validation error."""
    kind, value = error["type"], error["input"]
    location = _without_tags(error["loc"], data, to_table=kind == "table_rule")
    path = _key_path(location, data)
    context = error.get("ctx", {})
    if kind == "table_rule":
        return f"{path}.{context['text']}" if path else str(context["text"])
    if kind == "extra_forbidden":
        return f"{path} is not a key{_suggest(location)}"
    if kind == "union_tag_invalid":
        tags = context["expected_tags"].replace("'", "")
        return f"{path}.model must be one of {tags}, got {shown(_tag(location, data))}"
    if kind in ("missing", "union_tag_not_found"):
        return f"{path} {_RULES[kind]}"
    if kind == "list_type" and isinstance(value, dict):
        return f"{path} must be an array of tables, [[{_table_name(location)}]], got a table"
    got = context["actual_length"] if kind in ("too_long", "too_short") else shown(value)
    return f"{path} {_rule(kind, context, error['msg'])}, got {got}"


def _rule(kind: str, context: dict[str, Any], message: str) -> str:
    """Return the rule that a value breaks, as what follows its key."""
    if kind == "rule":
        return str(context["text"])
    if kind == "literal_error":
        allowed = context["expected"].replace(" or ", ", ")
        return f"must be one of {allowed}" if ", " in allowed else f"must be {allowed}"
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {Decimal(str(context[key])).normalize():f}"
    if kind == "too_long":
        return f"must have at most {context['max_length']} entries"
    return _RULES.get(kind, message)


def _tag(location: Sequence[Any], data: Any) -> object:
    """Return the value of the key ``model`` of the table at *location*."""
    node = data
    for part in location:
        node = node[part]
    return node["model"]


def _table_name(location: Sequence[Any]) -> str:
    """Return the name of the array of tables at *location* as its header has it."""
    return ".".join(part for part in location if isinstance(part, str))


def _without_tags(location: tuple[Any, ...], data: Any, to_table: bool) -> list[Any]:
    """Return *location* without the parts that name a variant of a table and not a place in the file.

    It leads *to_table* or to a key, which may be missing there.
    """
    result: list[Any] = []
    node = data
    for position, part in enumerate(location):
        if isinstance(node, list) and isinstance(part, int):
            node = node[part] if part < len(node) else None
        elif isinstance(node, dict) and part in node:
            node = node[part]
        elif to_table or position != len(location) - 1 or not isinstance(node, dict):
            continue
        result.append(part)
    return result


def _key_path(location: Sequence[Any], data: Any) -> str:
    """Return "vm.web.drive.0.cache": elements of arrays by their name, or their number if they have none."""
    parts = []
    node = data
    for part in location:
        if isinstance(node, list) and isinstance(part, int):
            node = node[part] if part < len(node) else None
            name = node.get("name") if isinstance(node, dict) else None
            parts.append(name if isinstance(name, str) and _NAME.fullmatch(name) else str(part))
        else:
            node = node.get(part) if isinstance(node, dict) else None
            parts.append(part if isinstance(part, str) and _NAME.fullmatch(part) else shown(part))
    return ".".join(parts)


def _suggest(location: Sequence[Any]) -> str:
    """Return "; did you mean cache?" if a key of the table comes close."""
    table = _model_at(location[:-1])
    close = difflib.get_close_matches(str(location[-1]), table, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _model_at(location: Sequence[Any]) -> list[str]:
    """Return the keys of the table at *location*."""
    names = [part for part in location if isinstance(part, str)]
    keys: list[str] = []
    models: list[type[BaseModel]] = [Scenario]
    for name in names:
        models = [
            model
            for parent in models
            if name in parent.model_fields
            for model in _models_in(parent.model_fields[name].annotation)
        ]
    for model in models:
        keys += list(model.model_fields)
    return keys


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]


# --set


def apply_change(data: dict[str, Any], change: str) -> None:
    """Apply "key.path=value" to the parsed file *data*. Raises ScenarioError.

    The value is TOML if it reads as TOML, otherwise a text. An element of an array is addressed by its name or
    number; a path that goes through an array without either changes every element.
    """
    path, equals, text = change.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise ScenarioError(f"--set must be key.path=value, got {shown(change)}")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    _set(data, keys, value, f"--set {path.strip()}")


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
