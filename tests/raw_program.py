"""A program of the compiled engine's run-time library, run in plain Python: values in and out of its memory."""

import importlib
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from iosim.compiled import layout, raw, raw_loader

MODULES = (
    *("memory", "text", "compare", "iteration", "lists", "tuples", "dicts", "sets", "deques", "generic"),
    *("numbers", "floats", "sorting", "words"),
)
FUNCTIONS = raw_loader.load([importlib.import_module(f"iosim.compiled.runtime.{name}") for name in MODULES])

PAIR_CLASS = 64
NODE_CLASS = 65
N_CLASSES = 66


class Pair(NamedTuple):
    """A named tuple, of class PAIR_CLASS in the program."""

    first: object
    second: object


class Node:
    """An object that is equal to itself only, of class NODE_CLASS in the program."""

    def __init__(self) -> None:
        self.fields: list[object] = []


class Program:
    """A memory with the table of classes, *n_permanent* words for permanent objects, an arena and a mark stack."""

    def __init__(self, arena_words: int = 1 << 17, n_permanent: int = 0, mark_words: int = 1 << 12) -> None:
        self.memory = raw.reset(8 * (N_CLASSES + arena_words + mark_words))
        table = raw.MEMORY_BASE
        flags = {
            **layout.CLASS_FLAGS,
            PAIR_CLASS: layout.CLASS_FLAGS[layout.TUPLE],
            NODE_CLASS: layout.FLAG_SCANNED | layout.FLAG_IDENTITY,
        }
        for class_id, bits in flags.items():
            raw.st(table + 8 * class_id, bits)
        base = table + 8 * N_CLASSES
        limit = base + 8 * arena_words
        for number, word in (
            (layout.G_CLASS_FLAGS, table),
            (layout.G_BASE, base),
            (layout.G_PERMANENT_END, base + 8 * n_permanent),
            (layout.G_LIMIT, limit),
            (layout.G_MARK_BASE, limit),
            (layout.G_MARK_LIMIT, limit + 8 * mark_words),
        ):
            raw.st(raw.gaddr(number), word)
        self.rt_memory_init()
        self.nodes: dict[int, Node] = {}
        self.addresses: dict[int, int] = {}

    def __getattr__(self, name: str) -> Callable[..., int]:
        return FUNCTIONS[name]

    def object(self, class_id: int, payload: list[int]) -> int:
        """A new object with the given payload words."""
        address = FUNCTIONS["rt_alloc"](class_id, len(payload) + 1)
        for i, word in enumerate(payload):
            raw.st(address + 8 * (i + 1), word)
        return address

    def word(self, value: Any) -> int:
        """The word of a Python value, whose objects are made anew (but Nodes, which keep their address)."""
        if value is None:
            return 0
        if isinstance(value, int):
            if -(2**62) <= value < 2**62:
                return 2 * int(value) + 1
            return self.object(layout.BIGINT, [raw.wrap(value)])
        if isinstance(value, float):
            return self.object(layout.FLOAT, [struct.unpack("<q", struct.pack("<d", value))[0]])
        if isinstance(value, str):
            text = value.encode()
            padded = text + bytes(-len(text) % 8)
            return self.object(layout.STR, [len(text), 0, *struct.unpack(f"<{len(padded) // 8}q", padded)])
        if isinstance(value, tuple):
            class_id = PAIR_CLASS if isinstance(value, Pair) else layout.TUPLE
            return self.object(class_id, [self.word(item) for item in value])
        if isinstance(value, Node):
            if id(value) not in self.addresses:
                address = self.object(NODE_CLASS, [0])
                self.addresses[id(value)], self.nodes[address] = address, value
            return self.addresses[id(value)]
        return self._container(value)

    def _container(self, value: Any) -> int:
        if isinstance(value, dict):
            table = self.rt_dict_new()
            for key, item in value.items():
                self.rt_dict_set(table, self.word(key), self.word(item))
        elif isinstance(value, set):
            table = self.rt_set_new()
            for item in value:
                self.rt_set_add(table, self.word(item))
        else:
            items = [self.word(item) for item in value]
            if isinstance(value, deque):
                ring = 1 << len(items).bit_length()
                buffer = self.object(layout.BUFFER, items + [0] * (ring - len(items)))
                return self.object(layout.DEQUE, [2 * len(items) + 1, 1, buffer])
            assert isinstance(value, list)
            buffer = self.object(layout.BUFFER, items) if items else 0
            return self.object(layout.LIST, [2 * len(items) + 1, buffer])
        return table

    def value(self, word: int) -> Any:
        """The Python value of a word."""
        if word == 0:
            return None
        if word & 1:
            return word >> 1
        header = raw.ld(word)
        class_id, size = header & layout.CLASS_MASK, header >> 32
        payload = [raw.ld(word + 8 * i) for i in range(1, size)]
        if class_id == layout.FLOAT:
            return struct.unpack("<d", struct.pack("<q", payload[0]))[0]
        if class_id == layout.BIGINT:
            return payload[0] % 2**64
        if class_id == layout.STR:
            return struct.pack(f"<{size - 3}q", *payload[2:])[: payload[0]].decode()
        if class_id == layout.TUPLE:
            return tuple(self.value(item) for item in payload)
        if class_id == PAIR_CLASS:
            return Pair(*(self.value(item) for item in payload))
        if class_id == NODE_CLASS:
            return self.nodes[word]
        return self._container_value(class_id, payload)

    def _container_value(self, class_id: int, payload: list[int]) -> Any:
        length, buffer = payload[0] >> 1, payload[-1]
        slots = [raw.ld(buffer + 8 * i) for i in range(1, raw.ld(buffer) >> 32)] if buffer else []
        if class_id == layout.LIST:
            assert not any(slots[length:])
            return [self.value(item) for item in slots[:length]]
        if class_id == layout.DEQUE:
            head = payload[1] >> 1
            turned = slots[head:] + slots[:head]
            assert not any(turned[length:])
            return deque(self.value(item) for item in turned[:length])
        self._check_index(payload, slots)
        entries = [slots[i : i + 3] for i in range(0, 3 * (payload[1] >> 1), 3)]
        live = [(self.value(key), self.value(item)) for _, key, item in entries if key != layout.HOLE]
        assert len(live) == length
        if class_id == layout.DICT:
            return dict(live)
        assert class_id == layout.SET
        return {key for key, _ in live}

    def _check_index(self, payload: list[int], slots: list[int]) -> None:
        """The index table of a dictionary has a slot for each entry, and no entry lies behind the filled ones."""
        filled, index = payload[1] >> 1, payload[2]
        assert not any(slots[3 * filled :])
        if index:
            numbers = [raw.ld(index + 8 * i) & 0xFFFFFFFF for i in range(1, raw.ld(index) >> 32)]
            assert sorted(number for number in numbers if number) == list(range(1, filled + 1))
