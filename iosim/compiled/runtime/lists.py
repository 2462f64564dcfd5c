"""Lists."""

from iosim.compiled.layout import (
    BUFFER,
    LIST,
    LIST_BUFFER,
    LIST_LENGTH,
    LIST_WORDS,
    PAYLOAD,
    TRAP_INDEX,
    TRAP_OVERFLOW,
    TRAP_VALUE,
    WORD_ZERO,
)
from iosim.compiled.raw import ld, st, trap
from iosim.compiled.runtime.compare import rt_same
from iosim.compiled.runtime.iteration import rt_buffer_of, rt_copy_items, rt_index, rt_item_count, rt_slice_bound
from iosim.compiled.runtime.memory import rt_alloc, rt_copy_words, rt_copy_words_down, rt_size


def rt_list_new(capacity: int) -> int:
    """An empty list with room for a raw number of items."""
    items = rt_alloc(LIST, LIST_WORDS)
    st(items + LIST_LENGTH, WORD_ZERO)
    if capacity > 0:
        st(items + LIST_BUFFER, rt_alloc(BUFFER, capacity + 1))
    return items


def rt_list_first(items: int) -> int:
    """Address of the first item."""
    return ld(items + LIST_BUFFER) + PAYLOAD


def rt_list_count(items: int) -> int:
    """Raw length."""
    return ld(items + LIST_LENGTH) >> 1


def rt_list_reserve(items: int, n_items: int) -> int:
    """Make room for *n_items* items in all, with more to spare if the buffer must grow; the buffer."""
    old = ld(items + LIST_BUFFER)
    capacity = 0
    if old != 0:
        capacity = rt_size(old) - 1
        if n_items <= capacity:
            return old
    capacity = 2 * capacity + 3
    buffer = rt_alloc(BUFFER, (capacity if capacity > n_items else n_items) + 1)
    if old != 0:
        rt_copy_words(buffer + PAYLOAD, old + PAYLOAD, rt_list_count(items))
    st(items + LIST_BUFFER, buffer)
    return buffer


def rt_put_all(block: int, at: int, items: int) -> int:
    """Store the integers of a list in an array of raw integers, from *at* on (raw)."""
    n = ld(items + LIST_LENGTH) >> 1
    buffer = ld(items + LIST_BUFFER)
    target = block + PAYLOAD + (at << 3)
    for position in range(n):
        st(target + (position << 3), ld(buffer + PAYLOAD + (position << 3)) >> 1)
    return 0


def rt_add_all(items: int, more: int) -> int:
    """Add the ints of *more* to those of a list, place by place; they are as many."""
    n = ld(items + LIST_LENGTH) >> 1
    target = ld(items + LIST_BUFFER) + PAYLOAD
    source = ld(more + LIST_BUFFER) + PAYLOAD
    beyond = 0
    for position in range(n):
        old = ld(target + (position << 3))
        by = ld(source + (position << 3)) - 1
        new = old + by
        beyond = beyond | ((old ^ new) & (by ^ new))
        st(target + (position << 3), new)
    return trap(TRAP_OVERFLOW) if beyond < 0 else 0


def rt_list_append(items: int, word: int) -> int:
    """Append a value."""
    n_items = rt_list_count(items)
    buffer = ld(items + LIST_BUFFER)
    if buffer == 0 or n_items + 1 == rt_size(buffer):
        buffer = rt_list_reserve(items, n_items + 1)
    st(buffer + PAYLOAD + (n_items << 3), word)
    st(items + LIST_LENGTH, ((n_items + 1) << 1) | 1)
    return 0


def rt_list_place(items: int, index: int) -> int:
    """Address of the item at *index*."""
    return rt_list_first(items) + (rt_index(index, rt_list_count(items)) << 3)


def rt_list_pop(items: int) -> int:
    """Take the last item off; traps if there is none."""
    n_items = rt_list_count(items)
    if n_items == 0:
        return trap(TRAP_INDEX)
    place = rt_list_first(items) + ((n_items - 1) << 3)
    word = ld(place)
    st(place, 0)
    st(items + LIST_LENGTH, ((n_items - 1) << 1) | 1)
    return word


def rt_list_pop_at(items: int, index: int) -> int:
    """Take the item at *index* out."""
    position = rt_index(index, rt_list_count(items))
    word = ld(rt_list_first(items) + (position << 3))
    rt_list_replace(items, position, position + 1, 0, 0)
    return word


def rt_list_replace(items: int, start: int, stop: int, source: int, n_words: int) -> int:
    """Put the *n_words* values at *source*, outside of the list, in place of those from raw *start* to *stop*."""
    n_items = rt_list_count(items)
    n_after = n_items - stop
    rt_list_reserve(items, start + n_words + n_after)
    place = rt_list_first(items) + (start << 3)
    grown = start + n_words - stop
    if grown > 0:
        rt_copy_words_down(place + (n_words << 3), rt_list_first(items) + (stop << 3), n_after)
    if grown < 0:
        rt_copy_words(place + (n_words << 3), rt_list_first(items) + (stop << 3), n_after)
        for i in range(n_items + grown, n_items):
            st(rt_list_first(items) + (i << 3), 0)
    rt_copy_words(place, source, n_words)
    st(items + LIST_LENGTH, ((n_items + grown) << 1) | 1)
    return 0


def rt_list_insert(items: int, index: int, word: int) -> int:
    """Insert a value before *index*, which is cut to the list's ends."""
    n_items = rt_list_count(items)
    position = rt_slice_bound(index, n_items, n_items)
    place = rt_list_reserve(items, n_items + 1) + PAYLOAD + (position << 3)
    rt_copy_words_down(place + 8, place, n_items - position)
    st(place, word)
    st(items + LIST_LENGTH, ((n_items + 1) << 1) | 1)
    return 0


def rt_list_get(items: int, index: int) -> int:
    """The item at *index*."""
    return ld(rt_list_first(items) + (rt_index(index, rt_list_count(items)) << 3))


def rt_list_set(items: int, index: int, word: int) -> int:
    """Put a value in place of the item at *index*."""
    return st(rt_list_first(items) + (rt_index(index, rt_list_count(items)) << 3), word)


def rt_list_extend(items: int, more: int) -> int:
    """Append the items of a container."""
    n_items = rt_list_count(items)
    n_more = rt_item_count(more)
    if n_more != 0:
        buffer = rt_list_reserve(items, n_items + n_more)
        rt_copy_items(buffer + PAYLOAD + (n_items << 3), more)
        st(items + LIST_LENGTH, ((n_items + n_more) << 1) | 1)
    return 0


def rt_words_find(first: int, n_words: int, word: int) -> int:
    """Raw position of a value among *n_words* at an address, -1 if it is not there."""
    for i in range(n_words):
        if rt_same(ld(first + (i << 3)), word):
            return i
    return -1


def rt_list_find(items: int, word: int) -> int:
    """Raw position of the first item equal to a value; traps if there is none."""
    position = rt_words_find(rt_list_first(items), rt_list_count(items), word)
    return position if position >= 0 else trap(TRAP_VALUE)


def rt_list_remove(items: int, word: int) -> int:
    """Take out the first item equal to a value; traps if there is none."""
    position = rt_list_find(items, word)
    return rt_list_replace(items, position, position + 1, 0, 0)


def rt_list_index(items: int, word: int) -> int:
    """Index of the first item equal to a value; traps if there is none."""
    return (rt_list_find(items, word) << 1) | 1


def rt_list_contains(items: int, word: int) -> int:
    """Raw 1 if an item equals a value."""
    return rt_words_find(rt_list_first(items), rt_list_count(items), word) >= 0


def rt_list_of_words(first: int, n_words: int) -> int:
    """A new list of the *n_words* values at an address."""
    if n_words <= 0:
        return rt_list_new(0)
    result = rt_list_new(n_words)
    rt_copy_words(rt_list_first(result), first, n_words)
    st(result + LIST_LENGTH, (n_words << 1) | 1)
    return result


def rt_list_slice(items: int, start: int, stop: int) -> int:
    """The items from *start* to before *stop* (None: from the first, to the last) as a new list."""
    n_items = rt_list_count(items)
    first = rt_slice_bound(start, 0, n_items)
    return rt_list_of_words(rt_list_first(items) + (first << 3), rt_slice_bound(stop, n_items, n_items) - first)


def rt_list_slice_assign(items: int, start: int, stop: int, more: int) -> int:
    """Put the items of a container in place of those from *start* to before *stop*."""
    n_items = rt_list_count(items)
    first = rt_slice_bound(start, 0, n_items)
    end = rt_slice_bound(stop, n_items, n_items)
    n_more = rt_item_count(more)
    return rt_list_replace(items, first, end if end > first else first, rt_buffer_of(more, n_more) + PAYLOAD, n_more)


def rt_list_del_slice(items: int, start: int, stop: int) -> int:
    """Take out the items from *start* to before *stop*."""
    n_items = rt_list_count(items)
    first = rt_slice_bound(start, 0, n_items)
    end = rt_slice_bound(stop, n_items, n_items)
    return rt_list_replace(items, first, end if end > first else first, 0, 0)


def rt_list_concat(a: int, b: int) -> int:
    """Two lists as a new one."""
    result = rt_list_new(rt_list_count(a) + rt_list_count(b))
    rt_list_extend(result, a)
    rt_list_extend(result, b)
    return result


def rt_list_repeat(items: int, times: int) -> int:
    """A list repeated *times* times as a new one."""
    n_times = times >> 1
    n_items = rt_list_count(items)
    if n_times <= 0:
        return rt_list_new(0)
    result = rt_list_new(n_items * n_times)
    source = rt_list_first(items)
    target = rt_list_first(result)
    for _ in range(n_times):
        for i in range(n_items):
            st(target, ld(source + (i << 3)))
            target += 8
    st(result + LIST_LENGTH, ((n_items * n_times) << 1) | 1)
    return result


def rt_list_copy(items: int) -> int:
    """A new list of the items of a container."""
    result = rt_list_new(0)
    n_items = rt_item_count(items)
    st(result + LIST_BUFFER, rt_buffer_of(items, n_items))
    st(result + LIST_LENGTH, (n_items << 1) | 1)
    return result


def rt_list_clear(items: int) -> int:
    """Take all items out."""
    st(items + LIST_LENGTH, WORD_ZERO)
    return st(items + LIST_BUFFER, 0)


def rt_list_reverse(items: int) -> int:
    """Reverse the order of the items."""
    low = rt_list_first(items)
    high = low + ((rt_list_count(items) - 1) << 3)
    while low < high:
        word = ld(low)
        st(low, ld(high))
        st(high, word)
        low += 8
        high -= 8
    return 0
