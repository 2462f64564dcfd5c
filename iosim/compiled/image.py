"""The machine that Python has wired, copied into native memory, and what the results are made of, copied back."""

import contextlib
import enum
import inspect
import mmap
import operator
import types
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.compiled import layout
from iosim.compiled.catalogue import Catalogue, ClassEntry, FunctionEntry
from iosim.compiled.objects import BOUND, CLOSURE, FRAME_FIRST, FRAME_STATE, FUNCTION, ITEM_GETTER, PARTIAL, tag
from iosim.compiled.twins.requests import PIECE
from iosim.model.errors import EngineError

_MASK = (1 << 64) - 1
_FIRST_BIG = 1 << 62
_MANY = 64
_MAP_NORESERVE = 0x4000
"""Linux: pages take memory when they are first written to."""
_LEAST_BYTES = 1 << 26
_HELD = 1 << 12
"""So many objects that were made natively can be kept alive."""


def _reserved(n_bytes: int) -> mmap.mmap:
    """Return a block of *n_bytes*; where so much is not allowed (`ulimit -v`), half of what is, as others need some.

    Raises EngineError if that is too little.
    """
    with contextlib.suppress(OSError):
        return _mapped(n_bytes)
    while n_bytes > _LEAST_BYTES:
        n_bytes //= 2
        with contextlib.suppress(OSError):
            _mapped(n_bytes).close()
            return _mapped(n_bytes // 2)
    raise EngineError("the compiled engine finds no memory for the machine")


def _mapped(n_bytes: int) -> mmap.mmap:
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)


class ImageError(EngineError):
    """An object that the compiled engine does not know."""


class Image:
    """An arena of memory and the objects in it.

    *convert* turns what has a twin into it, by class; *remake* says, by class, which attributes of an object made
    natively its like in Python is made of, and how.

    `tables` are the dictionaries and sets, with their entries: they are filled by the run-time library, which knows how
    keys are hashed. `traces` are those that requests are made of: their pieces, and the memory that a piece is put in.
    `unknown` names what the compiled program has no code for.
    """

    FIRST = 8
    """Index of the first object."""

    def __init__(
        self,
        catalogue: Catalogue,
        n_bytes: int,
        convert: dict[type, Callable[[Any], Any]],
        remake: dict[type, tuple[tuple[str, ...], Callable[..., Any]]],
    ) -> None:
        self.catalogue = catalogue
        self._convert = convert
        self._remake = {entry.number: make for kind, make in remake.items() if (entry := catalogue.class_of(kind))}
        self._map = _reserved(n_bytes)
        self.words: npt.NDArray[np.int64] = np.frombuffer(self._map, dtype=np.int64)
        self._view = memoryview(self._map).cast("q")
        self.base = int(self.words.ctypes.data)
        self.n_words = len(self.words)
        self._next = self.FIRST
        self.kept: dict[str, Any] = {}
        self.tables: list[tuple[int, list[tuple[int, int]]]] = []
        self._known: dict[int, int] = {}
        self._texts: dict[Any, int] = {}
        self._kept: list[Any] = []
        self._objects: dict[int, Any] = {}
        self._waiting: list[tuple[Any, int, ClassEntry]] = []
        self.traces: list[tuple[Iterator[npt.NDArray[np.int64]], npt.NDArray[np.int64]]] = []
        self.unknown: set[str] = set()
        self._decoded: dict[int, Any] = {}
        self._hold = self.allocate(layout.BUFFER, 1 + _HELD)
        self._held: set[int] = set()

    # Into memory

    def allocate(self, number: int, n: int) -> int:
        """Return the index of a new permanent object's header."""
        at = self._next
        self._next += n
        if self._next > self.n_words:
            raise ImageError("the arena is too small for the machine")
        self._view[at] = number | layout.PERMANENT | n << layout.SIZE_SHIFT
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
        kind = type(obj)
        if kind is int:
            return obj * 2 + 1 if -_FIRST_BIG <= obj < _FIRST_BIG else self._big(obj)
        if kind is str:
            return self._text(obj)
        if isinstance(obj, int | np.integer):
            return self._encode(int(obj))
        if isinstance(obj, str) and not isinstance(obj, enum.Enum):
            return self._text(obj)
        if isinstance(obj, float):
            at = self.allocate(layout.FLOAT, 2)
            self._view[at + 1] = int(np.float64(obj).view(np.int64))
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
            self._view[at + 1] = value - (1 << 64) if value >> 63 else value
            known = self._texts[number] = self.address(at)
        return known

    def _text(self, text: str) -> int:
        known = self._texts.get(text)
        if known is None:
            data = text.encode()
            n = -(-len(data) // 8)
            at = self.allocate(layout.STR, layout.STR_HEAD_WORDS + n)
            self._view[at + 1] = len(data)
            self.words[at + 3 : at + 3 + n] = np.frombuffer(data.ljust(8 * n, b"\0"), dtype=np.int64)
            known = self._texts[text] = self.address(at)
            self._objects[known] = text
        return known

    def _encode_object(self, obj: Any) -> int:
        kind = type(obj)
        if kind in self._convert:
            twin = self._convert[kind](obj)
            self._kept.append(twin)
            word = self._encode(twin)
            self._known[id(obj)] = word
            self._objects[word] = obj
            return word
        if isinstance(obj, FunctionEntry):
            at = self.allocate(FUNCTION, 2)
            self._view[at + 1] = tag(obj.number)
            return self._note(obj, at)
        info = self.catalogue.class_of(kind)
        if info is not None:
            return self._instance(obj, info)
        if kind is tuple:
            at = self.allocate(layout.TUPLE, 1 + len(obj))
            word = self._note(obj, at)
            for position, item in enumerate(obj):
                self._view[at + 1 + position] = self._encode(item)
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
                self._view[at + 1 + position] = self._encode(item)
            return word
        if kind is operator.itemgetter:
            items = obj.__reduce__()[1]
            at = self.allocate(ITEM_GETTER, 1 + len(items))
            for position, item in enumerate(items):
                self._view[at + 1 + position] = tag(item)
            return self._note(obj, at)
        if kind is types.GeneratorType:
            return self._generator(obj)
        if isinstance(obj, types.BuiltinFunctionType) and isinstance(obj.__self__, types.GeneratorType):
            return self._encode(obj.__self__)
        if kind is object:
            return self._note(obj, self.allocate(layout.RAW, 2))
        if isinstance(obj, slice):
            at = self.allocate(layout.TUPLE, 3)
            self._view[at + 1], self._view[at + 2] = tag(obj.start), tag(obj.stop)
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
                self._view[at + offset] = self._attribute(info, name, getattr(obj, name))
        else:
            self._waiting.append((obj, at, info))
        return word

    def _fill(self, obj: Any, at: int, info: ClassEntry) -> None:
        for name, offset in info.attributes.items():
            value = getattr(obj, name, None) if not info.is_enum else getattr(obj, name)
            self._view[at + offset] = self._attribute(info, name, value)
        for name in getattr(obj, "__dict__", {}):
            if name not in info.attributes and not info.is_enum:
                self.unknown.add(f"{info.name}.{name}")

    def _attribute(self, info: ClassEntry, name: str, value: Any) -> int:
        """Return the word of an attribute's value. Raises ImageError for more bits than its annotation promises."""
        if type(value) is int and not -_FIRST_BIG <= value < _FIRST_BIG and name in info.ints:
            raise ImageError(f"{info.name}.{name} is {value}: more than 63 bits, and not annotated as Number64")
        if type(value) is list and name in info.int_lists and id(value) not in self._known:
            self._kept.append(value)
            return self._list(value, layout.RAW)
        return self._encode(value)

    def _list(self, obj: list[Any], buffer_class: int = layout.BUFFER) -> int:
        """Copy a list; a buffer of ints alone, RAW, is nothing that the garbage collector has to look at."""
        at = self.allocate(layout.LIST, layout.LIST_WORDS)
        word = self._note(obj, at)
        self._view[at + 1] = tag(len(obj))
        if obj:
            buffer = self.allocate(buffer_class, 1 + len(obj))
            self._view[at + 2] = self.address(buffer)
            if len(obj) >= _MANY and set(map(type, obj)) == {int} and max(obj) < _FIRST_BIG and min(obj) >= -_FIRST_BIG:
                self.words[buffer + 1 : buffer + 1 + len(obj)] = np.array(obj, dtype=np.int64) * 2 + 1
                return word
            for position, item in enumerate(obj):
                self._view[buffer + 1 + position] = self._encode(item)
        return word

    def _deque(self, obj: "deque[Any]") -> int:
        at = self.allocate(layout.DEQUE, layout.DEQUE_WORDS)
        word = self._note(obj, at)
        self._view[at + 1] = tag(len(obj))
        self._view[at + 2] = tag(0)
        if obj:
            size = max(4, 1 << (len(obj) - 1).bit_length())
            buffer = self.allocate(layout.BUFFER, 1 + size)
            self._view[at + 3] = self.address(buffer)
            for position, item in enumerate(obj):
                self._view[buffer + 1 + position] = self._encode(item)
        return word

    def _table(self, obj: Any, number: int, items: list[tuple[Any, Any]]) -> int:
        at = self.allocate(number, layout.DICT_WORDS)
        word = self._note(obj, at)
        self._view[at + 1] = self._view[at + 2] = tag(0)
        self.tables.append((word, [(self._encode(key), self._encode(value)) for key, value in items]))
        return word

    def _method(self, obj: types.MethodType) -> int:
        member = self.catalogue.method_of(type(obj.__self__), obj.__func__.__name__)
        if member is None or not member.has_value:
            return self._not_callable(f"method {obj.__qualname__} of {type(obj.__self__)}")
        at = self.allocate(BOUND, 3)
        word = self._note(obj, at)
        self._view[at + 1] = tag(member.number)
        self._view[at + 2] = self._encode(obj.__self__)
        return word

    def _function(self, obj: types.FunctionType) -> int:
        entry = self.catalogue.function_of(obj)
        if entry is not None and entry.has_value:
            word = self._encode(entry)
            self._known[id(obj)] = word
            return word
        entry = self.catalogue.nested_of(obj)
        if entry is None or not entry.has_value:
            return self._not_callable(f"function {obj.__module__}.{obj.__qualname__}")
        at = self.allocate(CLOSURE, 2 + len(entry.captured))
        word = self._note(obj, at)
        self._view[at + 1] = tag(entry.number)
        free = dict(zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True))
        for position, name in enumerate(entry.captured):
            self._view[at + 2 + position] = self._encode(free[name].cell_contents)
        return word

    def _not_callable(self, name: str) -> int:
        """Return the word of a function that ends the program if it is called."""
        self.unknown.add(name)
        at = self.allocate(FUNCTION, 2)
        self._view[at + 1] = tag(len(self.catalogue.functions))
        return self.address(at)

    def _generator(self, obj: "types.GeneratorType[Any, Any, Any]") -> int:
        if inspect.getgeneratorstate(obj) != inspect.GEN_CREATED:
            raise ImageError(f"{obj} has begun")
        frame = obj.gi_frame
        assert frame is not None
        locals_ = frame.f_locals
        name = obj.gi_code.co_qualname
        if name == "AnyTrace.rows":
            block = np.zeros(4 * PIECE, dtype=np.int64)
            arguments = [len(self.traces), block]
            pieces = locals_["self"].pieces(locals_["offset_ns"], locals_["speed"], PIECE)
            self.traces.append((pieces, self.raw(self._encode(block))))
            entry: FunctionEntry | None = self.catalogue.named("iosim.compiled.twins.requests", "rows")
        else:
            entry = self.catalogue.generator_of(obj)
            arguments = [] if entry is None else [locals_[name] for name in entry.parameters]
        if entry is None or not entry.is_compiled:
            raise ImageError(f"the generator {name} is not compiled")
        at = self.allocate(entry.frame_class, entry.frame_words)
        word = self._note(obj, at)
        self._view[at + FRAME_STATE] = tag(0)
        for position, argument in enumerate(arguments):
            self._view[at + FRAME_FIRST + position] = self._encode(argument)
        return word

    @property
    def permanent_end(self) -> int:
        """The address behind the image."""
        return self.address(self._next)

    # Out of memory

    def keep(self, name: str, value: Any) -> None:
        """Let what the native code points to live as long as the image: `kept` has it."""
        self.kept[name] = value

    def word_of(self, obj: Any) -> int:
        """Return the word of an object that has been copied."""
        return self._known[id(obj)]

    def number_of(self, kind: type) -> int:
        """Return the class id of objects of a class that is compiled."""
        entry = self.catalogue.class_of(kind)
        assert entry is not None
        return entry.number

    def class_of(self, word: int) -> int:
        """Return the class id of an object."""
        return self._view[self.at(word)] & layout.CLASS_MASK

    def at(self, word: int) -> int:
        """Return the index of the object at an address."""
        return (word - self.base) >> 3

    def word_in(self, obj: Any, name: str) -> int:
        """Return the word of the attribute *name* that a copied object, or its twin, has now."""
        word = self.word_of(obj)
        entry = self.catalogue.classes[self.class_of(word) - layout.FIRST_USER_CLASS]
        return self._view[self.at(word) + entry.attributes[name]]

    def read(self, obj: Any, name: str) -> Any:
        """Return the value of the attribute *name* that a copied object, or its twin, has now."""
        return self.decode(self.word_in(obj, name))

    def read_anew(self, obj: Any, name: str) -> Any:
        """Return the attribute's value as a new object, with what it holds now, even if it has been copied."""
        word = self.word_in(obj, name)
        return self._remade(self.at(word), self.class_of(word))

    def integers(self, word: int) -> npt.NDArray[np.int64]:
        """Return a list of ints."""
        found: npt.NDArray[np.int64] = self.items(word) >> 1
        return found

    def raw(self, word: int) -> npt.NDArray[np.int64]:
        """Return an array of raw integers as it lies in memory, not a copy."""
        at = self.at(word)
        return self.words[at + 1 : at + (self._view[at] >> layout.SIZE_SHIFT & 0xFFFFFFFF)]

    def rows(self, word: int, width: int) -> npt.NDArray[np.int64]:
        """Return a list of tuples of *width* ints each."""
        return self.tuples(word, width) >> 1

    def tuples(self, word: int, width: int) -> npt.NDArray[np.int64]:
        """Return the words of a list of tuples of *width* items each."""
        first = (self.items(word) - self.base >> 3) + 1
        found: npt.NDArray[np.int64] = self.words[first[:, np.newaxis] + np.arange(width)]
        return found

    def items_of(self, word: int) -> list[int]:
        """Return the words of the items of a tuple."""
        at = self.at(word)
        return self._view[at + 1 : at + (self._view[at] >> layout.SIZE_SHIFT & 0xFFFFFFFF)].tolist()

    def items(self, word: int) -> npt.NDArray[np.int64]:
        """Return the words of a list's items."""
        at = self.at(word)
        n = self._view[at + 1] >> 1
        if not n:
            return np.zeros(0, dtype=np.int64)
        buffer = self.at(self._view[at + 2]) + 1
        return self.words[buffer : buffer + n]

    def decode(self, word: int) -> Any:
        """Return the Python value of a word: constants, containers, objects; those that were copied are themselves.

        Objects that were made natively are made again, each once; containers as often as asked.
        """
        if word & 1:
            return word >> 1
        if word == 0:
            return None
        found = self._objects.get(word)
        if found is not None and not isinstance(found, list | dict | deque | set):
            return found
        at = self.at(word)
        header = self._view[at]
        number, n = header & layout.CLASS_MASK, (header >> layout.SIZE_SHIFT) & 0xFFFFFFFF
        if number == layout.TUPLE:
            return tuple([self.decode(item) for item in self._view[at + 1 : at + n]])
        if number == layout.LIST:
            return self._decode_all(self.items(word))
        if number >= layout.FIRST_USER_CLASS:
            if word not in self._decoded:
                self._decoded[word] = self._remade(at, number)
            return self._decoded[word]
        if number == layout.STR:
            length = self._view[at + 1]
            return self.words[at + 3 : at + n].tobytes()[:length].decode()
        if number == layout.FLOAT:
            return float(self.words[at + 1 : at + 2].view(np.float64)[0])
        if number == layout.BIGINT:
            return self._view[at + 1] & _MASK
        if number in (layout.DICT, layout.SET):
            live = [(key, value) for _, key, value in self._entries(at) if key != layout.HOLE]
            if number == layout.SET:
                return {self.decode(key) for key, _ in live}
            return {self.decode(key): self.decode(value) for key, value in live}
        raise ImageError(f"an object of class {number}")

    def _decode_all(self, words: npt.NDArray[np.int64]) -> list[Any]:
        """Return the values of words; of many tuples, as a log is, column by column."""
        if len(words) >= _MANY and (words & 1 == 0).all() and (words != 0).all():
            at = words - self.base >> 3
            headers = self.words[at]
            if (headers & layout.CLASS_MASK == layout.TUPLE).all():
                return self._tuples(at, headers >> layout.SIZE_SHIFT & 0xFFFFFFFF)
        return [item >> 1 if item & 1 else self.decode(item) for item in words.tolist()]

    def _tuples(self, at: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> list[Any]:
        """Return tuples by their indices and sizes in words."""
        found: list[Any] = [()] * len(at)
        for size in np.unique(sizes).tolist():
            places = np.flatnonzero(sizes == size)
            columns = [self._column(self.words[at[places] + position]) for position in range(1, size)]
            for place, items in zip(places.tolist(), zip(*columns, strict=True), strict=bool(columns)):
                found[place] = items
        return found

    def _column(self, words: npt.NDArray[np.int64]) -> list[Any]:
        """Return the values of words many of which are the same."""
        if (words & 1).all():
            numbers: list[Any] = (words >> 1).tolist()
            return numbers
        different, places = np.unique(words, return_inverse=True)
        values = [self.decode(word) for word in different.tolist()]
        return [values[place] for place in places.tolist()]

    def hold(self, word: int) -> bool:
        """Let a native object live on, so that it is made again once, until `forget`; return whether there is room."""
        if word & 1 or word < self.permanent_end or word in self._held:
            return True
        if len(self._held) == _HELD:
            return False
        self._held.add(word)
        self._view[self._hold + len(self._held)] = word
        return True

    def forget(self) -> None:
        """Forget which objects were made again: native ones may come to an end, and others lie in their places."""
        self._decoded.clear()
        self._held.clear()
        self.words[self._hold + 1 : self._hold + 1 + _HELD] = 0

    def _entries(self, at: int) -> list[list[int]]:
        """Return the entries of a dictionary or set, deleted ones too."""
        filled = self._view[at + 2] >> 1
        if not filled:
            return []
        first = self.at(self._view[at + 4]) + 1
        entries: list[list[int]] = self.words[first : first + 3 * filled].reshape(-1, 3).tolist()
        return entries

    def _remade(self, at: int, number: int) -> Any:
        """Return a new object like the one at an index."""
        if number not in self._remake:
            raise ImageError(f"an object of class {number}")
        names, function = self._remake[number]
        attributes = self.catalogue.classes[number - layout.FIRST_USER_CLASS].attributes
        return function(*[self.decode(self._view[at + attributes[name]]) for name in names])
