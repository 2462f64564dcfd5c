"""TOML files of any kind: read, and checked against a model, with one line that says what is wrong."""

import difflib
import re
import tomllib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from iosim.model.errors import IosimError, reason, shown

Model = TypeVar("Model", bound=BaseModel)

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
    "union_tag_not_found": "needs model = one of constant, empirical, hdd, disksim, ssd",
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


def read(path: Path, error_type: type[IosimError]) -> dict[str, Any]:
    """Return the parsed TOML file *path*. Raises *error_type*, naming it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise error_type(f"{path}: {reason(error)}") from None
    except UnicodeDecodeError:
        raise error_type(f"{path}: is not a text file") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise error_type(f"{path}: is not TOML: {error}") from None
    except RecursionError:
        raise error_type(f"{path}: is not TOML that can be read: too many brackets inside each other") from None
    except ValueError:
        raise error_type(f"{path}: is not TOML that can be read: a number of more than 4300 digits") from None


def check(model: type[Model], data: dict[str, Any], place: str, error_type: type[IosimError]) -> Model:
    """Return the *model* of *data*; *place* names its file in errors. Raises *error_type*."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = min(error.errors(), key=lambda entry: entry["type"] not in ("extra_forbidden", "rule", "table_rule"))
        raise error_type(f"{place}: {_describe(first, data, model)}") from None


def _describe(error: Any, data: dict[str, Any], model: type[BaseModel]) -> str:
    """Return "key path, rule, value" of a validation error."""
    kind, value = error["type"], error["input"]
    location = _without_tags(error["loc"], data, to_table=kind == "table_rule")
    path = _key_path(location, data)
    context = error.get("ctx", {})
    if kind == "table_rule":
        return f"{path}.{context['text']}" if path else str(context["text"])
    if kind == "extra_forbidden":
        return f"{path} is not a key{_suggest(location, model)}"
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


def _suggest(location: Sequence[Any], model: type[BaseModel]) -> str:
    """Return "; did you mean cache?" if a key of the table comes close."""
    table = _keys_at(location[:-1], model)
    close = difflib.get_close_matches(str(location[-1]), table, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _keys_at(location: Sequence[Any], model: type[BaseModel]) -> list[str]:
    """Return the keys of the table at *location* in *model*."""
    names = [part for part in location if isinstance(part, str)]
    keys: list[str] = []
    models = [model]
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
