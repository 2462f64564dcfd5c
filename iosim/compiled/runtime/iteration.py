"""The items of any container in their order, and the positions of entries in dictionaries and sets."""

from iosim.compiled.layout import (
    BUFFER,
    DEQUE,
    DEQUE_LENGTH,
    DICT,
    DICT_ENTRIES,
    DICT_FILLED,
    DICT_LENGTH,
    ENTRY_BYTES,
    ENTRY_KEY,
    ENTRY_VALUE,
    FLAG_CONTENT,
    HOLE,
    INTARRAY,
    LIST,
    LIST_BUFFER,
    LIST_LENGTH,
    PAYLOAD,
    SET,
    TRAP_INDEX,
    TRAP_OVERFLOW,
    TRAP_TYPE,
)
from iosim.compiled.raw import ld, st, trap, ult
from iosim.compiled.runtime.compare import rt_deque_at
from iosim.compiled.runtime.memory import rt_alloc, rt_class_flags, rt_class_of, rt_copy_words, rt_size


def rt_tag(number: int) -> int:
    """The int of a raw number, which must fit 63 bits."""
    word = (number << 1) | 1
    return word if word >> 1 == number else trap(TRAP_OVERFLOW)


def rt_index(index: int, n_items: int) -> int:
    """Raw position of an index, which may count from the end."""
    position = index >> 1
    if position < 0:
        position += n_items
    return position if ult(position, n_items) else trap(TRAP_INDEX)


def rt_slice_bound(bound: int, default: int, n_items: int) -> int:
    """Raw position of the start or stop of a slice of *n_items*; *default* for None."""
    if bound == 0:
        return default
    position = bound >> 1
    if position < 0:
        position += n_items
        return position if position > 0 else 0
    return position if position < n_items else n_items


def rt_dict_next(table: int, position: int) -> int:
    """Raw position of the first live entry of a dictionary or set at *position* or after, -1 at the end."""
    n_filled = ld(table + DICT_FILLED) >> 1
    entry = ld(table + DICT_ENTRIES) + PAYLOAD + position * ENTRY_BYTES
    while position < n_filled:
        if ld(entry + ENTRY_KEY) != HOLE:
            return position
        entry += ENTRY_BYTES
        position += 1
    return -1


def rt_dict_key_at(table: int, position: int) -> int:
    """Key of the entry at a raw position; of a set, the item."""
    return ld(ld(table + DICT_ENTRIES) + PAYLOAD + ENTRY_KEY + position * ENTRY_BYTES)


def rt_dict_value_at(table: int, position: int) -> int:
    """Value of the entry at a raw position."""
    return ld(ld(table + DICT_ENTRIES) + PAYLOAD + ENTRY_VALUE + position * ENTRY_BYTES)


def rt_item_count(items: int) -> int:
    """Raw number of items of a list, tuple, deque, dictionary, set or array of ints."""
    class_id = rt_class_of(items)
    if class_id == LIST:
        return ld(items + LIST_LENGTH) >> 1
    if class_id == DICT or class_id == SET:
        return ld(items + DICT_LENGTH) >> 1
    if class_id == DEQUE:
        return ld(items + DEQUE_LENGTH) >> 1
    if class_id == INTARRAY or rt_class_flags(class_id) & FLAG_CONTENT:
        return rt_size(items) - 1
    return trap(TRAP_TYPE)


def rt_copy_items(target: int, items: int) -> int:
    """Store the items of a container, of a dictionary its keys, from address *target* on."""
    class_id = rt_class_of(items)
    n_items = rt_item_count(items)
    if class_id == LIST:
        return rt_copy_words(target, ld(items + LIST_BUFFER) + PAYLOAD, n_items)
    if class_id == DICT or class_id == SET:
        return rt_copy_keys(target, items)
    if class_id == DEQUE:
        for i in range(n_items):
            st(target + (i << 3), rt_deque_at(items, i))
        return 0
    if class_id == INTARRAY:
        for i in range(n_items):
            st(target + (i << 3), rt_tag(ld(items + PAYLOAD + (i << 3))))
        return 0
    return rt_copy_words(target, items + PAYLOAD, n_items)


def rt_copy_keys(target: int, table: int) -> int:
    """Store the keys of a dictionary, or the items of a set, from address *target* on."""
    position = rt_dict_next(table, 0)
    while position >= 0:
        st(target, rt_dict_key_at(table, position))
        target += 8
        position = rt_dict_next(table, position + 1)
    return 0


def rt_buffer_of(items: int, n_items: int) -> int:
    """A new BUFFER of the items of a container, which are *n_items*; 0 for none."""
    if n_items == 0:
        return 0
    buffer = rt_alloc(BUFFER, n_items + 1)
    rt_copy_items(buffer + PAYLOAD, items)
    return buffer
