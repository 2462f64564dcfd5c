"""What attributes without an annotation hold: mypy takes each to have the type of what is assigned to it first."""

import ast
from collections.abc import Iterator
from typing import Any

from iosim.compiled.compiler.hints import Hint, of_value
from iosim.compiled.compiler.infer import Inference, assigned_names, infer_locals
from iosim.compiled.compiler.narrowing import Known
from iosim.compiled.compiler.world import ClassInfo, FunctionInfo, World

_ROUNDS = 4
"""An attribute may be set to another one, of which something is known only after a first look at all of them."""


class _NoProgram:
    """Stands for the program, of which nothing is known yet."""

    def attribute_hint(self, name: str) -> Hint | None:
        """Return what every attribute of that name is."""
        return None


class _Method(Inference):
    """Hints of the expressions of one method."""

    def __init__(self, world: World, info: FunctionInfo) -> None:
        self.world = world
        self.info = info
        self.names = info.module.names
        self.slots = {}
        self.captured = {}
        self.loop_hints = {}
        self.known = Known()
        self.program: Any = _NoProgram()
        self.local_hints = {parameter.name: parameter.hint for parameter in info.parameters}
        own = [name for name in assigned_names(info.node) if name not in self.local_hints]
        infer_locals(self, info.node, own)


def infer_attributes(world: World) -> None:
    """Complete the hints of all classes."""
    wanted = {info: _unknown(info) for info in world.all_classes if not info.is_protocol and not info.is_enum}
    for _ in range(_ROUNDS):
        changed = False
        for info, names in wanted.items():
            for name, method, value in _first_values(info, names):
                hint = of_value(_Method(world, method).infer(value))
                if hint is not None:
                    names.discard(name)
                    changed = True
                    for each in info.family():
                        each.hints[name] = hint
        if not changed:
            return


def _unknown(info: ClassInfo) -> set[str]:
    """Return the attributes that the class is the first to have and says nothing of."""
    known = {name for base in info.bases for name in base.attributes}
    for each in info.mro():
        known |= set(_annotated(each))
        if each.is_protocol:
            known |= each.member_names()
    return {name for name, hint in info.hints.items() if hint is None and name not in known}


def _annotated(info: ClassInfo) -> Iterator[str]:
    for member in info.node.body:
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            yield member.target.id
    for node in ast.walk(info.node):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            yield node.target.attr


def _first_values(info: ClassInfo, names: set[str]) -> list[tuple[str, FunctionInfo, ast.expr]]:
    """Return what is assigned to each of *names* first, in the order of the source."""
    found: dict[str, tuple[str, FunctionInfo, ast.expr]] = {}
    for method in info.methods.values():
        if method.role not in ("method", "property") or not method.parameters:
            continue
        me = method.parameters[0].name
        nodes = [node for node in ast.walk(method.node) if isinstance(node, ast.Assign)]
        for node in sorted(nodes, key=lambda each: each.lineno):
            for target, value in _pairs(node):
                own = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == me
                if own and isinstance(target, ast.Attribute) and target.attr in names:
                    found.setdefault(target.attr, (target.attr, method, value))
    return list(found.values())


def _pairs(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    for target in node.targets:
        if not isinstance(target, ast.Tuple):
            yield target, node.value
        elif isinstance(node.value, ast.Tuple) and len(node.value.elts) == len(target.elts):
            yield from zip(target.elts, node.value.elts, strict=True)
