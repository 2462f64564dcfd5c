"""Stable sorting, heaps and bisection, all by rt_lt."""

from iosim.compiled.layout import (
    BUFFER,
    FLAG_CONTENT,
    LIST,
    PAYLOAD,
    TRAP_INDEX,
    TRAP_TYPE,
    TRAP_VALUE,
)
from iosim.compiled.raw import ld, st, trap
from iosim.compiled.runtime.compare import rt_lt
from iosim.compiled.runtime.iteration import rt_item_count
from iosim.compiled.runtime.lists import (
    rt_list_append,
    rt_list_copy,
    rt_list_count,
    rt_list_first,
    rt_list_of_words,
    rt_list_pop,
)
from iosim.compiled.runtime.memory import rt_alloc, rt_class_flags, rt_class_of

RUN_LENGTH = 8
"""So many items at first are sorted by insertion."""


def rt_sorted(items: int) -> int:
    """A new list of the items of a container, sorted."""
    copy = rt_list_copy(items)
    n_items = rt_list_count(copy)
    first = rt_list_first(copy)
    return rt_list_of_words(rt_sort_words(first, first, n_items), n_items)


def rt_sort_by(items: int, keys: int) -> int:
    """A new list of a list's items, sorted by the keys at the same places of another."""
    n_items = rt_list_count(items)
    if rt_list_count(keys) != n_items:
        return trap(TRAP_VALUE)
    first = rt_sort_words(rt_list_first(rt_list_copy(keys)), rt_list_first(rt_list_copy(items)), n_items)
    return rt_list_of_words(first, n_items)


def rt_sort_words(keys: int, items: int, n_items: int) -> int:
    """Sort *n_items* values at address *items* by those at *keys* (or the same); the address where they then are."""
    for start in range(0, n_items, RUN_LENGTH):
        rt_sort_run(keys, items, start, rt_lesser(start + RUN_LENGTH, n_items))
    other_keys = rt_alloc(BUFFER, n_items + 1) + PAYLOAD
    other_items = other_keys if keys == items else rt_alloc(BUFFER, n_items + 1) + PAYLOAD
    width = RUN_LENGTH
    while width < n_items:
        for start in range(0, n_items, 2 * width):
            middle = rt_lesser(start + width, n_items)
            rt_merge(keys, items, other_keys, other_items, start, middle, rt_lesser(middle + width, n_items))
        swapped = keys
        keys = other_keys
        other_keys = swapped
        swapped = items
        items = other_items
        other_items = swapped
        width = 2 * width
    return items


def rt_lesser(a: int, b: int) -> int:
    """The lesser of two raw numbers."""
    return a if a < b else b


def rt_sort_run(keys: int, items: int, start: int, stop: int) -> int:
    """Sort the few values at places *start* to before *stop* by insertion."""
    for i in range(start + 1, stop):
        key = ld(keys + (i << 3))
        item = ld(items + (i << 3))
        place = i
        while place > start and rt_lt(key, ld(keys + ((place - 1) << 3))):
            st(keys + (place << 3), ld(keys + ((place - 1) << 3)))
            st(items + (place << 3), ld(items + ((place - 1) << 3)))
            place -= 1
        st(keys + (place << 3), key)
        st(items + (place << 3), item)
    return 0


def rt_merge(keys: int, items: int, to_keys: int, to_items: int, start: int, middle: int, stop: int) -> int:
    """Merge two sorted runs, *start* to *middle* and *middle* to *stop*, to the same places elsewhere."""
    left = start
    right = middle
    for place in range(start, stop):
        taken = left
        if left == middle or (right < stop and rt_lt(ld(keys + (right << 3)), ld(keys + (left << 3)))):
            taken = right
            right += 1
        else:
            left += 1
        st(to_keys + (place << 3), ld(keys + (taken << 3)))
        st(to_items + (place << 3), ld(items + (taken << 3)))
    return 0


def rt_heappush(heap: int, word: int) -> int:
    """Put a value into a heap, as heapq.heappush."""
    rt_list_append(heap, word)
    return rt_heap_up(rt_list_first(heap), 0, rt_list_count(heap) - 1)


def rt_heappop(heap: int) -> int:
    """Take the least value out of a heap, as heapq.heappop; traps if it is empty."""
    if rt_list_count(heap) == 0:
        return trap(TRAP_INDEX)
    last = rt_list_pop(heap)
    if rt_list_count(heap) == 0:
        return last
    first = rt_list_first(heap)
    least = ld(first)
    st(first, last)
    rt_heap_down(first, rt_list_count(heap))
    return least


def rt_heappush_tuple(heap: int, word: int) -> int:
    """As rt_heappush, for a heap of tuples that begin with two ints."""
    rt_list_append(heap, word)
    return rt_tuple_up(rt_list_first(heap), rt_list_count(heap) - 1)


def rt_heappop_tuple(heap: int) -> int:
    """As rt_heappop, for a heap of tuples that begin with two ints.

    Which child is the lesser is as good as random: no branch depends on it.
    """
    if rt_list_count(heap) == 0:
        return trap(TRAP_INDEX)
    last = rt_list_pop(heap)
    n_items = rt_list_count(heap)
    if n_items == 0:
        return last
    first = rt_list_first(heap)
    least = ld(first)
    end = first + (n_items << 3)
    place = first
    child = first + 8
    while child + 8 < end:
        left = ld(ld(child) + PAYLOAD)
        right = ld(ld(child + 8) + PAYLOAD)
        is_right = 1 if left >= right else 0
        if left == right:
            is_right = 1 - rt_tuple_lt_behind(ld(child), ld(child + 8))
        child += is_right << 3
        st(place, ld(child))
        place = child
        child += child - first + 8
    if child < end:
        st(place, ld(child))
        place = child
    st(place, last)
    rt_tuple_up(first, (place - first) >> 3)
    return least


def rt_tuple_lt(a: int, b: int) -> int:
    """As rt_lt of two tuples that begin with two ints."""
    first_a = ld(a + PAYLOAD)
    first_b = ld(b + PAYLOAD)
    if first_a != first_b:
        return first_a < first_b
    return rt_tuple_lt_behind(a, b)


def rt_tuple_lt_behind(a: int, b: int) -> int:
    """The same, if the first ints are equal."""
    second_a = ld(a + PAYLOAD + 8)
    second_b = ld(b + PAYLOAD + 8)
    if second_a != second_b:
        return second_a < second_b
    return rt_lt(a, b)


def rt_tuple_up(first: int, place: int) -> int:
    """As rt_heap_up to the top, for such tuples."""
    word = ld(first + (place << 3))
    while place > 0:
        parent = (place - 1) >> 1
        above = ld(first + (parent << 3))
        if rt_tuple_lt(word, above) == 0:
            return st(first + (place << 3), word)
        st(first + (place << 3), above)
        place = parent
    return st(first, word)


def rt_heap_up(first: int, start: int, place: int) -> int:
    """Move the value at a place up towards *start*, past greater parents."""
    word = ld(first + (place << 3))
    while place > start:
        parent = (place - 1) >> 1
        above = ld(first + (parent << 3))
        if rt_lt(word, above) == 0:
            return st(first + (place << 3), word)
        st(first + (place << 3), above)
        place = parent
    return st(first + (place << 3), word)


def rt_heap_down(first: int, n_items: int) -> int:
    """Move the top down to a leaf along the lesser children, then up to its place: fewer comparisons."""
    word = ld(first)
    place = 0
    child = 1
    while child < n_items:
        if child + 1 < n_items and rt_lt(ld(first + (child << 3)), ld(first + ((child + 1) << 3))) == 0:
            child += 1
        st(first + (place << 3), ld(first + (child << 3)))
        place = child
        child = 2 * place + 1
    st(first + (place << 3), word)
    return rt_heap_up(first, 0, place)


def rt_bisect_right(items: int, word: int) -> int:
    """Index behind all items of a sorted list or tuple that are not greater than a value."""
    first = rt_first_item(items)
    low = 0
    high = rt_item_count(items)
    while low < high:
        middle = (low + high) >> 1
        if rt_lt(word, ld(first + (middle << 3))):
            high = middle
        else:
            low = middle + 1
    return (low << 1) | 1


def rt_bisect_left(items: int, word: int) -> int:
    """Index before all items of a sorted list or tuple that are not less than a value."""
    first = rt_first_item(items)
    low = 0
    high = rt_item_count(items)
    while low < high:
        middle = (low + high) >> 1
        if rt_lt(ld(first + (middle << 3)), word):
            low = middle + 1
        else:
            high = middle
    return (low << 1) | 1


def rt_first_item(items: int) -> int:
    """Address of the first item of a list or tuple."""
    class_id = rt_class_of(items)
    if class_id == LIST:
        return rt_list_first(items)
    return items + PAYLOAD if rt_class_flags(class_id) & FLAG_CONTENT else trap(TRAP_TYPE)
