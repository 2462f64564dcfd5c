"""What a run has to know about the native code: where attributes lie, which function has which number, constants.

It consists of names and numbers only, so that it can lie on disk beside the code, and is looked up by live classes,
functions and generators without the compiler.
"""

import importlib
import inspect
import types
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from iosim.compiled import layout


@dataclass(eq=False)
class FunctionEntry:
    """A compiled function. *line* and *column* are where its definition begins (decorators included).

    *frame_words* is the size of a generator's frame, 0 for other functions; *has_value* tells whether it can be called
    as a value, *is_compiled* whether there is code of it.
    """

    number: int
    module: str
    name: str
    owner: str
    line: int
    column: int
    parameters: list[str]
    captured: list[str]
    is_nested: bool
    is_generator: bool
    is_compiled: bool
    has_value: bool
    frame_class: int = 0
    frame_words: int = 0


@dataclass(eq=False)
class ClassEntry:
    """A class: its class id, the words of an instance, the word of each attribute; *methods* are function numbers.

    *ints* are the attributes that the compiler takes for ints of at most 63 bits, *int_lists* those for lists of them.
    """

    number: int
    module: str
    name: str
    words: int
    attributes: dict[str, int]
    methods: dict[str, int]
    is_named_tuple: bool
    is_enum: bool
    ints: frozenset[str] = frozenset()
    int_lists: frozenset[str] = frozenset()


class Constant(NamedTuple):
    """Where a constant comes from: a *literal*, a *function* by its number, or the object *path* in a *module*."""

    kind: str
    what: Any
    path: str = ""


@dataclass
class Catalogue:
    """All of it. *twins* gives the place of the class or function that stands for another one, by (module, name)."""

    classes: list[ClassEntry]
    functions: list[FunctionEntry]
    constants: list[Constant]
    traps: list[str]
    twins: dict[tuple[str, str], tuple[str, str]]
    n_class_ids: int
    bound_class: int
    checks: bool
    _by_type: dict[type, ClassEntry | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._classes = {(entry.module, entry.name): entry for entry in self.classes}
        self._named: dict[tuple[str, str], FunctionEntry] = {}
        self._generators: dict[tuple[str, int], FunctionEntry] = {}
        self._nested: dict[tuple[str, int], list[FunctionEntry]] = {}
        for entry in self.functions:
            if entry.is_nested:
                self._nested.setdefault((entry.module, entry.line), []).append(entry)
            else:
                self._named[entry.module, f"{entry.owner}.{entry.name}" if entry.owner else entry.name] = entry
            if entry.is_generator:
                self._generators[entry.module, entry.line] = entry

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in STORED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    # Classes

    def class_of(self, kind: type) -> ClassEntry | None:
        """Return the entry of a live class, None if it is not compiled; of one that has a twin, the twin's."""
        if kind not in self._by_type:
            place = (kind.__module__, kind.__qualname__)
            self._by_type[kind] = self._classes.get(self.twins.get(place, place))
        return self._by_type[kind]

    def class_flags(self) -> npt.NDArray[np.int64]:
        """Return the table of flags by class id."""
        flags = np.full(self.n_class_ids + 1, layout.FLAG_SCANNED | layout.FLAG_IDENTITY, dtype=np.int64)
        for number, value in layout.CLASS_FLAGS.items():
            flags[number] = value
        flags[self.bound_class] = layout.FLAG_SCANNED | layout.FLAG_CONTENT
        for entry in self.classes:
            if entry.is_named_tuple:
                flags[entry.number] = layout.FLAG_SCANNED | layout.FLAG_CONTENT
        return flags

    # Functions

    def method_of(self, kind: type, name: str) -> FunctionEntry | None:
        """Return the entry of the method *name* of a live class."""
        entry = self.class_of(kind)
        number = None if entry is None else entry.methods.get(name)
        return None if number is None else self.functions[number]

    def function_of(self, function: types.FunctionType) -> FunctionEntry | None:
        """Return the entry of a live function of a module or class, or of its twin."""
        place = (function.__module__, function.__qualname__)
        return self._named.get(self.twins.get(place, place))

    def nested_of(self, function: types.FunctionType) -> FunctionEntry | None:
        """Return the entry of a live lambda or function within a function."""
        code = function.__code__
        found = self._nested.get((function.__module__, code.co_firstlineno), [])
        found = [entry for entry in found if set(entry.captured) == set(code.co_freevars)]
        if len(found) > 1:
            first = min((place[2] for place in code.co_positions() if place[0] and place[2] is not None), default=0)
            found = [entry for entry in found if entry.column < first]
        return found[-1] if found else None

    def generator_of(self, generator: "types.GeneratorType[Any, Any, Any]") -> FunctionEntry | None:
        """Return the entry of the function of a live generator that has not ended."""
        frame = generator.gi_frame
        assert frame is not None
        return self._generators.get((frame.f_globals["__name__"], generator.gi_code.co_firstlineno))

    def named(self, module: str, name: str) -> FunctionEntry:
        """Return the entry of a function or method."""
        return self._named[module, name]

    # Constants

    def constant(self, number: int) -> Any:
        """Return a constant; functions are given as their entries."""
        return self.value(self.constants[number])

    def value(self, constant: Constant) -> Any:
        """Return the value of a constant."""
        if constant.kind == "literal":
            return constant.what
        if constant.kind == "function":
            return self.functions[constant.what]
        return find(constant.what, constant.path)


STORED = ("classes", "functions", "constants", "traps", "twins", "n_class_ids", "bound_class", "checks")


def find(module: str, path: str) -> Any:
    """Return what lies at a path in a module: names with points between; `name()3` is the default of parameter 3."""
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        name, is_default, number = name.partition("()")
        found = inspect.getattr_static(found, name) if is_default else getattr(found, name)
        if is_default:
            found = list(inspect.signature(inspect.unwrap(found)).parameters.values())[int(number)].default
    return found
