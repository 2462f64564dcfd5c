"""Operations that find out at run time which container they work on."""

from iosim.compiled.layout import (
    DEQUE,
    DICT,
    FLAG_CONTENT,
    INTARRAY,
    LIST,
    PAYLOAD,
    SET,
    STR,
    TRAP_TYPE,
)
from iosim.compiled.raw import ld, st, trap
from iosim.compiled.runtime.deques import rt_deque_contains, rt_deque_get, rt_deque_set
from iosim.compiled.runtime.dicts import rt_dict_at, rt_dict_contains, rt_dict_set
from iosim.compiled.runtime.iteration import rt_index, rt_item_count, rt_tag
from iosim.compiled.runtime.lists import rt_list_contains, rt_list_get, rt_list_set
from iosim.compiled.runtime.memory import rt_class_flags, rt_class_of, rt_size
from iosim.compiled.runtime.text import rt_str_contains, rt_str_len
from iosim.compiled.runtime.tuples import rt_tuple_contains, rt_tuple_get


def rt_len(items: int) -> int:
    """Length of a container or string."""
    if rt_class_of(items) == STR:
        return rt_str_len(items)
    return (rt_item_count(items) << 1) | 1


def rt_getitem(items: int, key: int) -> int:
    """The item of a sequence at an index, or the value of a key of a dictionary; traps if it is not there."""
    class_id = rt_class_of(items)
    if key & 1:
        if class_id == LIST:
            return rt_list_get(items, key)
        if rt_class_flags(class_id) & FLAG_CONTENT:
            return rt_tuple_get(items, key)
        if class_id == DEQUE:
            return rt_deque_get(items, key)
        if class_id == INTARRAY:
            return rt_tag(ld(rt_intarray_slot(items, key)))
    return rt_dict_at(items, key) if class_id == DICT else trap(TRAP_TYPE)


def rt_setitem(items: int, key: int, word: int) -> int:
    """Set the item of a sequence at an index, or the value of a key of a dictionary."""
    class_id = rt_class_of(items)
    if class_id == DICT:
        return rt_dict_set(items, key, word)
    if (key & 1) == 0:
        return trap(TRAP_TYPE)
    if class_id == LIST:
        return rt_list_set(items, key, word)
    if class_id == DEQUE:
        return rt_deque_set(items, key, word)
    if class_id == INTARRAY and (word & 1) == 1:
        return st(rt_intarray_slot(items, key), word >> 1)
    return trap(TRAP_TYPE)


def rt_intarray_slot(items: int, index: int) -> int:
    """Address of the raw value of an array of ints at *index*."""
    return items + PAYLOAD + (rt_index(index, rt_size(items) - 1) << 3)


def rt_contains(items: int, word: int) -> int:
    """Raw 1 if a value is an item of a container, a key of a dictionary, or a part of a string."""
    class_id = rt_class_of(items)
    if class_id == DICT or class_id == SET:
        return rt_dict_contains(items, word)
    if class_id == LIST:
        return rt_list_contains(items, word)
    if class_id == DEQUE:
        return rt_deque_contains(items, word)
    if class_id == STR and rt_class_of(word) == STR:
        return rt_str_contains(items, word)
    if rt_class_flags(class_id) & FLAG_CONTENT:
        return rt_tuple_contains(items, word)
    return trap(TRAP_TYPE)
