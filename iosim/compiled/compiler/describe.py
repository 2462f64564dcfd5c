"""The catalogue of a compiled program."""

import ast
import enum
import types
from typing import Any

from iosim.compiled.catalogue import Catalogue, ClassEntry, Constant, FunctionEntry, find
from iosim.compiled.compiler.hints import INT, Hint
from iosim.compiled.compiler.program import Program
from iosim.compiled.compiler.world import ClassInfo, FunctionInfo, World
from iosim.compiled.objects import BOUND

_PLAIN = str | int | float | bytes | None


def catalogue(program: Program) -> Catalogue:
    """Describe *program*, which is compiled."""
    world = program.world
    places = _places(world)
    return Catalogue(
        classes=[_class(program, info) for info in world.all_classes],
        functions=[_function(program, info) for info in program.functions],
        constants=[_constant(value, places) for value in program.constants],
        traps=program.traps,
        twins={_place(old): _place(new) for old, new in world.replaced.items()},
        n_class_ids=program.first_frame_class + len(program.generators),
        bound_class=BOUND,
        checks=program.checks,
    )


def _place(obj: Any) -> tuple[str, str]:
    return (obj.__module__, obj.__qualname__)


def _class(program: Program, info: ClassInfo) -> ClassEntry:
    methods: dict[str, int] = {}
    for each in info.mro():
        for name, method in each.methods.items():
            methods.setdefault(name, method.number)
    return ClassEntry(
        info.number,
        info.type.__module__,
        info.type.__qualname__,
        program.size_of(info),
        dict(info.attributes),
        methods,
        info.is_named_tuple,
        info.is_enum,
        frozenset(name for name, hint in info.hints.items() if hint is not None and hint.kind == "int"),
        frozenset(name for name, hint in info.hints.items() if hint == Hint("list", (INT,))),
    )


def _function(program: Program, info: FunctionInfo) -> FunctionEntry:
    compiled = program.is_compiled(info)
    return FunctionEntry(
        info.number,
        info.module.name,
        info.name,
        "" if info.owner is None else info.owner.name,
        info.code_key[1],
        info.node.col_offset,
        [parameter.name for parameter in info.parameters],
        [name for name, _ in info.captured],
        info.role in ("lambda", "nested"),
        info.is_generator,
        compiled,
        info in program.values,
        program.frame_class(info) if info.is_generator else 0,
        program.frame_sizes.get(info, 0),
    )


def _constant(value: Any, places: dict[int, tuple[str, str]]) -> Constant:
    if isinstance(value, FunctionInfo):
        return Constant("function", value.number)
    if not isinstance(value, str | int | float):
        place = places.get(id(value))
        if place is not None and find(*place) is value:
            return Constant("object", *place)
    if not _is_plain(value):
        raise TypeError(f"a constant has no place in any module: {value!r}")
    return Constant("literal", value)


def _is_plain(value: Any) -> bool:
    """Tell whether a value is as good as an equal one."""
    if isinstance(value, tuple | frozenset):
        return type(value) in (tuple, frozenset) and all(_is_plain(part) for part in value)
    return isinstance(value, _PLAIN)


def _places(world: World) -> dict[int, tuple[str, str]]:
    """Return (module, path) of the objects in the world's modules and classes, and of defaults, by id."""
    places: dict[int, tuple[str, str]] = {}

    def note(value: Any, module: str, path: str) -> None:
        if not isinstance(value, type | types.ModuleType):
            places.setdefault(id(value), (module, path))

    for module in world.modules:
        for name, value in module.names.items():
            if not name.startswith("__"):
                note(value, module.name, name)
            if isinstance(value, types.ModuleType):
                for inner, part in vars(value).items():
                    note(part, value.__name__, inner)
    for info in world.all_classes:
        for name, value in vars(info.type).items():
            if not name.startswith("__") or isinstance(value, enum.Enum):
                note(value, info.module.name, f"{info.type.__qualname__}.{name}")
    for function in world.functions.values():
        _note_defaults(function, function.module.name, function.name, note)
    for info in world.all_classes:
        for method in info.methods.values():
            _note_defaults(method, info.module.name, f"{info.type.__qualname__}.{method.name}", note)
    return places


def _note_defaults(info: FunctionInfo, module: str, path: str, note: Any) -> None:
    if isinstance(info.node, ast.Lambda):
        return
    for number, parameter in enumerate(info.parameters):
        if parameter.default is not None:
            note(parameter.default[0], module, f"{path}(){number}")
