"""Tuples, and named tuples as such."""

from iosim.compiled.layout import PAYLOAD, TUPLE
from iosim.compiled.raw import ld
from iosim.compiled.runtime.iteration import rt_copy_items, rt_index, rt_item_count, rt_slice_bound
from iosim.compiled.runtime.lists import rt_words_find
from iosim.compiled.runtime.memory import rt_alloc, rt_copy_words, rt_size


def rt_tuple_get(items: int, index: int) -> int:
    """The item at *index*."""
    return ld(items + PAYLOAD + (rt_index(index, rt_size(items) - 1) << 3))


def rt_tuple_far(items: int, index: int) -> int:
    """The item at an *index* that may count from the end."""
    return rt_tuple_get(items, index)


def rt_tuple_slice(items: int, start: int, stop: int) -> int:
    """The items from *start* to before *stop* as a new tuple."""
    n_items = rt_size(items) - 1
    first = rt_slice_bound(start, 0, n_items)
    n_taken = rt_slice_bound(stop, n_items, n_items) - first
    if n_taken < 0:
        n_taken = 0
    result = rt_alloc(TUPLE, n_taken + 1)
    rt_copy_words(result + PAYLOAD, items + PAYLOAD + (first << 3), n_taken)
    return result


def rt_tuple_concat(a: int, b: int) -> int:
    """Two tuples as one."""
    n_a = rt_size(a) - 1
    n_b = rt_size(b) - 1
    result = rt_alloc(TUPLE, n_a + n_b + 1)
    rt_copy_words(result + PAYLOAD, a + PAYLOAD, n_a)
    rt_copy_words(result + PAYLOAD + (n_a << 3), b + PAYLOAD, n_b)
    return result


def rt_tuple_repeat(items: int, times: int) -> int:
    """A tuple repeated *times* times."""
    n_items = rt_size(items) - 1
    n_times = times >> 1 if times > 0 else 0
    result = rt_alloc(TUPLE, n_items * n_times + 1)
    for i in range(n_times):
        rt_copy_words(result + PAYLOAD + ((i * n_items) << 3), items + PAYLOAD, n_items)
    return result


def rt_tuple_from(items: int) -> int:
    """A tuple of the items of a container."""
    result = rt_alloc(TUPLE, rt_item_count(items) + 1)
    rt_copy_items(result + PAYLOAD, items)
    return result


def rt_tuple_contains(items: int, word: int) -> int:
    """Raw 1 if an item equals a value."""
    return rt_words_find(items + PAYLOAD, rt_size(items) - 1, word) >= 0
