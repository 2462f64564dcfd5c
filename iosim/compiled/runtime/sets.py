"""Sets: dictionaries without values, in the order of insertion."""

from iosim.compiled.layout import DICT, SET
from iosim.compiled.raw import ld
from iosim.compiled.runtime.dicts import (
    rt_dict_clear,
    rt_dict_contains,
    rt_dict_copy,
    rt_dict_pop,
    rt_dict_set,
    rt_dict_take,
    rt_table_new,
)
from iosim.compiled.runtime.iteration import rt_dict_key_at, rt_dict_next
from iosim.compiled.runtime.lists import rt_list_copy, rt_list_count, rt_list_first
from iosim.compiled.runtime.memory import rt_class_of


def rt_set_new() -> int:
    """An empty set."""
    return rt_table_new(SET)


def rt_set_add(items: int, word: int) -> int:
    """Add a value."""
    return rt_dict_set(items, word, 0)


def rt_set_discard(items: int, word: int) -> int:
    """Take a value out if it is there."""
    return rt_dict_pop(items, word, 0)


def rt_set_remove(items: int, word: int) -> int:
    """Take a value out; traps if it is not there."""
    return rt_dict_take(items, word)


def rt_set_contains(items: int, word: int) -> int:
    """Raw 1 if a value is there."""
    return rt_dict_contains(items, word)


def rt_set_clear(items: int) -> int:
    """Take all values out."""
    return rt_dict_clear(items)


def rt_set_update(items: int, more: int) -> int:
    """Add the items of a container to a set; the set."""
    copy = rt_list_copy(more)
    first = rt_list_first(copy)
    for i in range(rt_list_count(copy)):
        rt_set_add(items, ld(first + (i << 3)))
    return items


def rt_set_from(items: int) -> int:
    """A new set of the items of a container."""
    return rt_set_update(rt_set_new(), items)


def rt_set_union(a: int, b: int) -> int:
    """A new set of the items of a set and of a container."""
    return rt_set_update(rt_dict_copy(a), b)


def rt_set_filter(a: int, b: int, wanted: int) -> int:
    """A new set of the items of *a* of which "is in the container *b*" is raw *wanted*."""
    class_b = rt_class_of(b)
    others = b if class_b == SET or class_b == DICT else rt_set_from(b)
    result = rt_set_new()
    position = rt_dict_next(a, 0)
    while position >= 0:
        word = rt_dict_key_at(a, position)
        if rt_set_contains(others, word) == wanted:
            rt_set_add(result, word)
        position = rt_dict_next(a, position + 1)
    return result


def rt_set_difference(a: int, b: int) -> int:
    """A new set of the items of a set that are not in a container."""
    return rt_set_filter(a, b, 0)


def rt_set_intersection(a: int, b: int) -> int:
    """A new set of the items of a set that are in a container."""
    return rt_set_filter(a, b, 1)
