"""The classes of the program: sizes, fields, and what their attributes and methods of one name have in common."""

import ast
import dataclasses
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from llvmlite import ir

from iosim.compiled.compiler.containers import BUILTIN_METHODS
from iosim.compiled.compiler.emitter import Emitter
from iosim.compiled.compiler.functions import Functions
from iosim.compiled.compiler.hints import Hint
from iosim.compiled.compiler.values import word_pointer
from iosim.compiled.compiler.world import ClassInfo, FunctionInfo, World


class Classes(Functions):
    """Knows every class of the world."""

    def __init__(self, world: World, library: Iterable[ModuleType], checks: bool = False) -> None:
        super().__init__(world, library, checks)
        self._hints: dict[str, Hint | None] = {}

    def size_of(self, info: ClassInfo) -> int:
        """Return the size of an instance in words."""
        return 1 + max(info.attributes.values(), default=0)

    def fields(self, info: ClassInfo) -> list[tuple[str, tuple[Any] | None]]:
        """Return (name, (default,) or None) of a named tuple or dataclass."""
        if info.is_named_tuple:
            defaults = info.type._field_defaults  # type: ignore[attr-defined]
            return [(name, (defaults[name],) if name in defaults else None) for name in info.attributes]
        result: list[tuple[str, tuple[Any] | None]] = []
        for each in dataclasses.fields(info.type):
            known = each.default is not dataclasses.MISSING
            default = (each.default,) if known else None
            if each.default_factory is list:
                default = (list,)
            result.append((each.name, default))
        return result

    def initial_attributes(self, code: Emitter, info: ClassInfo, obj: ir.Value) -> None:
        """Store what the class says of attributes that __init__ may not set."""
        for each in reversed(list(info.mro())):
            for member in each.node.body:
                if (
                    isinstance(member, ast.AnnAssign)
                    and isinstance(member.target, ast.Name)
                    and member.value is not None
                    and member.target.id in info.attributes
                ):
                    value = code.live(getattr(each.type, member.target.id), member)
                    word = code.word(value)
                    code.builder.store(word, word_pointer(code.builder, obj, info.attributes[member.target.id]))

    # Members of one name

    def attribute_hint(self, name: str) -> Hint | None:
        """Return what every attribute or property of that name is, if they agree."""
        key = f"a.{name}"
        if key not in self._hints:
            found: list[Hint | None] = []
            for info in self.world.all_classes:
                if name in info.attributes:
                    found.append(info.hints.get(name))
                elif name in info.methods and not info.is_protocol:
                    member = info.methods[name]
                    found.append(member.result if member.role == "property" else Hint("callable"))
                elif not info.is_protocol and not info.is_enum and hasattr(info.type, name) and not info.find(name):
                    found.append(None)
            self._hints[key] = found[0] if found and all(hint == found[0] for hint in found) else None
        return self._hints[key]

    def method_hint(self, name: str) -> Hint | None:
        """Return what every method of that name results in, if they agree."""
        key = f"m.{name}"
        if key not in self._hints:
            found = [m.result for m in self._methods(name)]
            agree = bool(found) and all(hint == found[0] for hint in found)
            known = not any(name in info.attributes for info in self.world.all_classes)
            builtin = any(name in methods for methods in BUILTIN_METHODS.values()) or name in ("pop", "get")
            self._hints[key] = found[0] if agree and known and not builtin else None
        return self._hints[key]

    def method_is_generator(self, name: str) -> bool:
        """Tell whether every method of that name is a generator function."""
        found = self._methods(name)
        known = not any(name in info.attributes for info in self.world.all_classes)
        return known and bool(found) and all(m.is_generator for m in found)

    def some_method(self, name: str) -> FunctionInfo | None:
        """Return one method of that name."""
        found = self._methods(name)
        return found[0] if found else None

    def _methods(self, name: str) -> list[FunctionInfo]:
        return [
            info.methods[name]
            for info in self.world.all_classes
            if not info.is_protocol and name in info.methods and info.methods[name].role == "method"
        ]
