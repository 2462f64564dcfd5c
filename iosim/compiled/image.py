"""The machine that Python has wired, copied into native memory, and what the results are made of, copied back."""

import enum
import inspect
import mmap
import operator
import types
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.compiled import layout
from iosim.compiled.catalogue import Catalogue, ClassEntry, FunctionEntry
from iosim.compiled.objects import BOUND, CLOSURE, FRAME_FIRST, FRAME_STATE, FUNCTION, ITEM_GETTER, PARTIAL, tag

_MASK = (1 << 64) - 1


class ImageError(Exception):
    """An object that the compiled engine does not know."""


class Image:
    """An arena of memory and the objects in it. *convert* turns what has a twin into it, by class."""

    def __init__(self, catalogue: Catalogue, n_bytes: int, convert: dict[type, Callable[[Any], Any]]) -> None:
        self.catalogue = catalogue
        self._convert = convert
        self._map = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
        self.words: npt.NDArray[np.int64] = np.frombuffer(self._map, dtype=np.int64)
        self.base = int(self.words.ctypes.data)
        self.n_words = len(self.words)
        self._next = 8
        self._known: dict[int, int] = {}
        self._texts: dict[Any, int] = {}
        self._kept: list[Any] = []
        self._objects: dict[int, Any] = {}
        self._waiting: list[tuple[Any, int, ClassEntry]] = []
        self.unknown: set[str] = set()
        self._converted: dict[int, Any] = {}

    # Into memory

    def allocate(self, number: int, n: int) -> int:
        """Return the index of a new permanent object's header."""
        at = self._next
        self._next += n
        if self._next > self.n_words:
            raise ImageError("the arena is too small for the machine")
        self.words[at] = number | layout.PERMANENT | n << layout.SIZE_SHIFT
        return at

    def address(self, at: int) -> int:
        """Return the address of an object."""
        return self.base + 8 * at

    def encode(self, obj: Any) -> int:
        """Return the word of *obj*, copying it and all that it reaches."""
        word = self._encode(obj)
        while self._waiting:
            instance, at, info = self._waiting.pop()
            self._fill(instance, at, info)
        return word

    def _encode(self, obj: Any) -> int:
        if obj is None:
            return 0
        if isinstance(obj, bool | enum.IntEnum | int | np.integer) and not (
            isinstance(obj, enum.Enum) and not isinstance(obj, int)
        ):
            number = int(obj)
            if -(1 << 62) <= number < 1 << 62:
                return number * 2 + 1
            return self._big(number)
        if isinstance(obj, str) and not isinstance(obj, enum.Enum):
            return self._text(obj)
        if isinstance(obj, float):
            at = self.allocate(layout.FLOAT, 2)
            self.words[at + 1] = np.float64(obj).view(np.int64)
            return self.address(at)
        known = self._known.get(id(obj))
        if known is not None:
            return known
        self._kept.append(obj)
        return self._encode_object(obj)

    def _note(self, obj: Any, at: int) -> int:
        word = self._known[id(obj)] = self.address(at)
        self._objects[word] = obj
        return word

    def _big(self, number: int) -> int:
        known = self._texts.get(number)
        if known is None:
            at = self.allocate(layout.BIGINT, 2)
            value = number & _MASK
            self.words[at + 1] = value - (1 << 64) if value >> 63 else value
            known = self._texts[number] = self.address(at)
        return known

    def _text(self, text: str) -> int:
        known = self._texts.get(text)
        if known is None:
            data = text.encode()
            n = -(-len(data) // 8)
            at = self.allocate(layout.STR, layout.STR_HEAD_WORDS + n)
            self.words[at + 1] = len(data)
            self.words[at + 3 : at + 3 + n] = np.frombuffer(data.ljust(8 * n, b"\0"), dtype=np.int64)
            known = self._texts[text] = self.address(at)
            self._objects[known] = text
        return known

    def _encode_object(self, obj: Any) -> int:
        kind = type(obj)
        if kind in self._convert:
            twin = self._convert[kind](obj)
            self._kept.append(twin)
            self._converted[id(obj)] = twin
            word = self._encode(twin)
            self._known[id(obj)] = word
            return word
        if isinstance(obj, FunctionEntry):
            at = self.allocate(FUNCTION, 2)
            self.words[at + 1] = tag(obj.number)
            return self._note(obj, at)
        info = self.catalogue.class_of(kind)
        if info is not None:
            return self._instance(obj, info)
        if kind is tuple:
            at = self.allocate(layout.TUPLE, 1 + len(obj))
            word = self._note(obj, at)
            for position, item in enumerate(obj):
                self.words[at + 1 + position] = self._encode(item)
            return word
        if kind is list:
            return self._list(obj)
        if kind in (array, bytearray, range):
            word = self._list(list(obj))
            self._known[id(obj)] = word
            return word
        if kind is deque:
            return self._deque(obj)
        if kind in (dict, OrderedDict):
            return self._table(obj, layout.DICT, list(obj.items()))
        if kind in (set, frozenset):
            return self._table(obj, layout.SET, [(item, None) for item in obj])
        if isinstance(obj, np.ndarray):
            at = self.allocate(layout.INTARRAY, 1 + len(obj))
            self.words[at + 1 : at + 1 + len(obj)] = obj.astype(np.int64)
            return self._note(obj, at)
        if kind is types.MethodType:
            return self._method(obj)
        if kind is types.FunctionType:
            return self._function(obj)
        if kind is partial:
            if obj.keywords:
                raise ImageError(f"keywords of {obj}")
            at = self.allocate(PARTIAL, 2 + len(obj.args))
            word = self._note(obj, at)
            for position, item in enumerate((obj.func, *obj.args)):
                self.words[at + 1 + position] = self._encode(item)
            return word
        if kind is operator.itemgetter:
            items = obj.__reduce__()[1]
            at = self.allocate(ITEM_GETTER, 1 + len(items))
            for position, item in enumerate(items):
                self.words[at + 1 + position] = tag(item)
            return self._note(obj, at)
        if kind is types.GeneratorType:
            return self._generator(obj)
        if isinstance(obj, types.BuiltinFunctionType) and isinstance(obj.__self__, types.GeneratorType):
            return self._encode(obj.__self__)
        if kind is object:
            return self._note(obj, self.allocate(layout.RAW, 2))
        if isinstance(obj, slice):
            at = self.allocate(layout.TUPLE, 3)
            self.words[at + 1], self.words[at + 2] = tag(obj.start), tag(obj.stop)
            return self._note(obj, at)
        if isinstance(obj, type):
            found = self.catalogue.class_of(obj)
            if found is not None:
                return tag(found.number)
        if isinstance(obj, type | types.BuiltinFunctionType | types.ModuleType):
            self.unknown.add(repr(obj))
            return 0
        self.unknown.add(f"{kind.__module__}.{kind.__qualname__}")
        return 0

    def _instance(self, obj: Any, info: ClassEntry) -> int:
        at = self.allocate(info.number, info.words)
        word = self._note(obj, at)
        if info.is_named_tuple:
            for name, offset in info.attributes.items():
                self.words[at + offset] = self._encode(getattr(obj, name))
        else:
            self._waiting.append((obj, at, info))
        return word

    def _fill(self, obj: Any, at: int, info: ClassEntry) -> None:
        for name, offset in info.attributes.items():
            value = getattr(obj, name, None) if not info.is_enum else getattr(obj, name)
            self.words[at + offset] = self._encode(value)
        for name in getattr(obj, "__dict__", {}):
            if name not in info.attributes and not info.is_enum:
                self.unknown.add(f"{info.name}.{name}")

    def _list(self, obj: list[Any]) -> int:
        at = self.allocate(layout.LIST, layout.LIST_WORDS)
        word = self._note(obj, at)
        self.words[at + 1] = tag(len(obj))
        if obj:
            buffer = self.allocate(layout.BUFFER, 1 + len(obj))
            self.words[at + 2] = self.address(buffer)
            for position, item in enumerate(obj):
                self.words[buffer + 1 + position] = self._encode(item)
        return word

    def _deque(self, obj: "deque[Any]") -> int:
        at = self.allocate(layout.DEQUE, layout.DEQUE_WORDS)
        word = self._note(obj, at)
        self.words[at + 1] = tag(len(obj))
        self.words[at + 2] = tag(0)
        if obj:
            size = max(4, 1 << (len(obj) - 1).bit_length())
            buffer = self.allocate(layout.BUFFER, 1 + size)
            self.words[at + 3] = self.address(buffer)
            for position, item in enumerate(obj):
                self.words[buffer + 1 + position] = self._encode(item)
        return word

    def _table(self, obj: Any, number: int, items: list[tuple[Any, Any]]) -> int:
        """Tables are filled by the run-time library, which knows how keys are hashed (`Engine.load`)."""
        at = self.allocate(number, layout.DICT_WORDS)
        word = self._note(obj, at)
        self.words[at + 1] = self.words[at + 2] = tag(0)
        self.tables.append((word, [(self._encode(key), self._encode(value)) for key, value in items]))
        return word

    @property
    def tables(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """The dictionaries and sets, with their entries."""
        if not hasattr(self, "_tables"):
            self._tables: list[tuple[int, list[tuple[int, int]]]] = []
        return self._tables

    def _method(self, obj: types.MethodType) -> int:
        member = self.catalogue.method_of(type(obj.__self__), obj.__func__.__name__)
        if member is None or not member.has_value:
            self.unknown.add(f"method {obj.__qualname__} of {type(obj.__self__)}")
            return 0
        at = self.allocate(BOUND, 3)
        word = self._note(obj, at)
        self.words[at + 1] = tag(member.number)
        self.words[at + 2] = self._encode(obj.__self__)
        return word

    def _function(self, obj: types.FunctionType) -> int:
        entry = self.catalogue.function_of(obj)
        if entry is not None and entry.has_value:
            word = self._encode(entry)
            self._known[id(obj)] = word
            return word
        entry = self.catalogue.nested_of(obj)
        if entry is None or not entry.has_value:
            self.unknown.add(f"function {obj.__module__}.{obj.__qualname__}")
            return 0
        at = self.allocate(CLOSURE, 2 + len(entry.captured))
        word = self._note(obj, at)
        self.words[at + 1] = tag(entry.number)
        free = dict(zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True))
        for position, name in enumerate(entry.captured):
            self.words[at + 2 + position] = self._encode(free[name].cell_contents)
        return word

    def _generator(self, obj: "types.GeneratorType[Any, Any, Any]") -> int:
        if inspect.getgeneratorstate(obj) != inspect.GEN_CREATED:
            raise ImageError(f"{obj} has begun")
        frame = obj.gi_frame
        assert frame is not None
        locals_ = frame.f_locals
        name = obj.gi_code.co_qualname
        if name == "Trace.rows":
            trace = locals_["self"]
            arguments = [trace.times_ns, trace.ops, trace.sectors_first, trace.sectors_count, locals_["offset_ns"]]
            entry: FunctionEntry | None = self.catalogue.named("iosim.compiled.twins.requests", "rows")
        else:
            entry = self.catalogue.generator_of(obj)
            arguments = [] if entry is None else [locals_[name] for name in entry.parameters]
        if entry is None or not entry.is_compiled:
            self.unknown.add(f"generator {name}")
            return 0
        at = self.allocate(entry.frame_class, entry.frame_words)
        word = self._note(obj, at)
        self.words[at + FRAME_STATE] = tag(0)
        for position, argument in enumerate(arguments):
            self.words[at + FRAME_FIRST + position] = self._encode(argument)
        return word

    @property
    def permanent_end(self) -> int:
        """The address behind the image."""
        return self.address(self._next)

    # Out of memory

    def at(self, word: int) -> int:
        """Return the index of the object at an address."""
        return (word - self.base) >> 3

    def attribute(self, word: int, info: ClassEntry, name: str) -> int:
        """Return the word of an attribute."""
        return int(self.words[self.at(word) + info.attributes[name]])

    def integers(self, word: int) -> npt.NDArray[np.int64]:
        """Return a list of ints."""
        at = self.at(word)
        n = int(self.words[at + 1]) >> 1
        if not n:
            return np.zeros(0, dtype=np.int64)
        buffer = self.at(int(self.words[at + 2]))
        return self.words[buffer + 1 : buffer + 1 + n] >> 1

    def decode(self, word: int) -> Any:
        """Return the Python value of a word: constants, containers, objects that were copied in."""
        if word == 0:
            return None
        if word & 1:
            return word >> 1
        if word in self._objects:
            found = self._objects[word]
            if not isinstance(found, list | dict | deque | set):
                return found
        at = self.at(word)
        header = int(self.words[at])
        number, n = header & layout.CLASS_MASK, (header >> 32) & 0xFFFFFFFF
        if number == layout.STR:
            length = int(self.words[at + 1])
            return self.words[at + 3 : at + n].tobytes()[:length].decode()
        if number == layout.FLOAT:
            return float(self.words[at + 1 : at + 2].view(np.float64)[0])
        if number == layout.BIGINT:
            return int(self.words[at + 1]) & _MASK
        if number == layout.TUPLE:
            return tuple(self.decode(int(item)) for item in self.words[at + 1 : at + n])
        if number == layout.LIST:
            length = int(self.words[at + 1]) >> 1
            buffer = self.at(int(self.words[at + 2]))
            return [self.decode(int(item)) for item in self.words[buffer + 1 : buffer + 1 + length]] if length else []
        if number in (layout.DICT, layout.SET):
            filled = int(self.words[at + 2]) >> 1
            if not filled:
                return {} if number == layout.DICT else set()
            entries = self.at(int(self.words[at + 4])) + 1
            table = self.words[entries : entries + 3 * filled].reshape(-1, 3)
            live = [(int(key), int(value)) for _, key, value in table if key != layout.HOLE]
            if number == layout.SET:
                return {self.decode(key) for key, _ in live}
            return {self.decode(key): self.decode(value) for key, value in live}
        raise ImageError(f"an object of class {number}")
