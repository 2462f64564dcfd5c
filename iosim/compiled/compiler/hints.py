"""Hints: what an annotation of the model says about a value, as far as the compiler makes use of it.

A hint never has to be complete (None: nothing is known), but it must be right: the model is checked by mypy --strict.
"""

import ast
import builtins
import enum
import types
import typing
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iosim.compiled.compiler.world import ClassInfo, World


@dataclass(frozen=True)
class Hint:
    """*kind*: int, bool, float, str, none, list, deque, tuple, dict, set, object, generator, callable.

    *of* are the hints of what it holds: items; key and value; fields of a tuple. *optional*: it may be None.
    """

    kind: str
    of: "tuple[Hint | None, ...]" = ()
    info: "ClassInfo | None" = None
    optional: bool = False

    def or_none(self) -> "Hint":
        """Return the hint of this or None."""
        return Hint(self.kind, self.of, self.info, True)

    def given(self) -> "Hint":
        """Return the hint of this where it is known not to be None."""
        return Hint(self.kind, self.of, self.info, False)


INT, BOOL, FLOAT, STR, NONE = Hint("int"), Hint("bool"), Hint("float"), Hint("str"), Hint("none")


def tuple_part(hint: Hint, index: int) -> Hint | None:
    """Return the hint of an item of a tuple; what is known of one field only is known of all of them."""
    if len(hint.of) == 1:
        return hint.of[0]
    return hint.of[index] if -len(hint.of) <= index < len(hint.of) else None


def join(a: Hint | None, b: Hint | None) -> Hint | None:
    """Return the hint of a value that is one or the other."""
    if a is None or b is None:
        return None
    if a == b:
        return a
    if a.kind == "none":
        return b.or_none()
    if b.kind == "none":
        return a.or_none()
    if a.given() == b.given():
        return a.or_none()
    if a.kind == b.kind == "object" and a.info is not None and b.info is not None:
        common = a.info.common_base(b.info)
        return None if common is None else Hint("object", (), common, a.optional or b.optional)
    if a.kind == b.kind and a.kind in ("list", "deque", "dict", "set", "tuple"):
        return Hint(a.kind, (), None, a.optional or b.optional)
    return None


def same_as_words(keys: Hint | None, key: Hint | None) -> bool:
    """Tell whether a key equals one of a table's *keys* only if both are the same word."""
    if keys is not None and key is not None and keys.kind in ("int", "bool"):
        return key.kind in ("int", "bool")
    return any(each is not None and is_only_itself(each) for each in (keys, key))


def is_only_itself(hint: Hint) -> bool:
    """Tell whether a value is an object that equals nothing but itself."""
    return hint.info is not None and not any(each.is_named_tuple for each in hint.info.family())


def from_annotation(node: ast.expr | None, names: dict[str, Any], world: "World") -> Hint | None:
    """Return the hint of an annotation in a module with the global *names*."""
    if node is None:
        return None
    if isinstance(node, ast.Constant):
        if node.value is None:
            return NONE
        if isinstance(node.value, str):
            return from_annotation(ast.parse(node.value, mode="eval").body, names, world)
        return None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left = from_annotation(node.left, names, world)
        right = from_annotation(node.right, names, world)
        return join(left, right) if left is not None and right is not None and NONE in (left, right) else None
    if (
        isinstance(node, ast.Name | ast.Attribute)
        and (node.id if isinstance(node, ast.Name) else node.attr) == "Number64"
    ):
        return None
    if isinstance(node, ast.Name):
        if node.id in names:
            return from_object(names[node.id], world)
        info = world.by_name.get(node.id)
        return from_object(vars(builtins).get(node.id, object), world) if info is None else of_class(info, world)
    if isinstance(node, ast.Subscript):
        base = node.value
        name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if name in ("list", "deque", "set", "frozenset", "Set"):
            return Hint({"frozenset": "set", "Set": "set"}.get(name, name), (from_annotation(parts[0], names, world),))
        if name in ("dict", "OrderedDict", "defaultdict"):
            return Hint("dict", tuple(from_annotation(part, names, world) for part in parts))
        if name == "tuple":
            if len(parts) == 2 and isinstance(parts[1], ast.Constant) and parts[1].value is Ellipsis:
                return Hint("tuple", (from_annotation(parts[0], names, world),))
            return Hint("tuple", tuple(from_annotation(part, names, world) for part in parts))
        if name in ("Steps", "Generator", "Iterator", "Ops", "Process"):
            return Hint("generator")
        if name == "Callable":
            return Hint("callable")
        if name in ("Final", "ClassVar", "Annotated"):
            return from_annotation(parts[0], names, world)
    return None


def from_object(obj: Any, world: "World") -> Hint | None:
    """Return the hint of a type that an annotation names."""
    if obj is int:
        return INT
    if obj is bool:
        return BOOL
    if obj is float:
        return FLOAT
    if obj is str:
        return STR
    if obj is None:
        return NONE
    if obj in (list, deque, dict, set, tuple):
        return Hint(obj.__name__)
    if isinstance(obj, type):
        if issubclass(obj, enum.IntEnum):
            return INT
        info = world.classes.get(obj)
        return None if info is None else of_class(info, world)
    origin = typing.get_origin(obj)
    if origin in (Generator, Iterator):
        return Hint("generator")
    if origin is Callable:
        return Hint("callable")
    if origin is list:
        return Hint("list", (from_object(typing.get_args(obj)[0], world),))
    if origin is tuple:
        found = typing.get_args(obj)
        return Hint("tuple") if Ellipsis in found else Hint("tuple", tuple(from_object(o, world) for o in found))
    if origin is types.UnionType or origin is typing.Union:
        found = typing.get_args(obj)
        kept = [part for part in found if part is not type(None)]
        if len(kept) == 1 and len(found) == 2:
            only = from_object(kept[0], world)
            return None if only is None else only.or_none()
    return None


def of_value(hint: Hint | None) -> Hint | None:
    """Return the hint of a variable that is declared by having a value of *hint* assigned."""
    if hint is None or hint.kind in ("none", "callable", "generator"):
        return None
    return Hint(hint.kind, (), None, hint.optional) if NONE in hint.of else hint


def of_class(info: "ClassInfo", world: "World") -> Hint | None:
    """Return the hint of an instance of *info*; of a Protocol: of the class that implements it, if there is but one."""
    known = world.implementer(info) if info.is_protocol else info
    return None if known is None else Hint("object", (), known)
