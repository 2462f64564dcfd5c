"""Deques: rings of a power of two of slots."""

from iosim.compiled.layout import (
    BUFFER,
    DEQUE,
    DEQUE_BUFFER,
    DEQUE_HEAD,
    DEQUE_LENGTH,
    DEQUE_WORDS,
    PAYLOAD,
    TRAP_INDEX,
    TRAP_VALUE,
    WORD_ZERO,
)
from iosim.compiled.raw import ld, st, trap
from iosim.compiled.runtime.compare import rt_deque_at, rt_same
from iosim.compiled.runtime.iteration import rt_buffer_of, rt_copy_items, rt_index, rt_item_count, rt_slice_bound
from iosim.compiled.runtime.memory import rt_alloc, rt_size

SMALLEST_RING = 4


def rt_deque_new() -> int:
    """An empty deque."""
    deque = rt_alloc(DEQUE, DEQUE_WORDS)
    st(deque + DEQUE_LENGTH, WORD_ZERO)
    st(deque + DEQUE_HEAD, WORD_ZERO)
    return deque


def rt_deque_count(deque: int) -> int:
    """Raw length."""
    return ld(deque + DEQUE_LENGTH) >> 1


def rt_deque_slot(deque: int, position: int) -> int:
    """Address of the slot at a raw position from -1 to the capacity - 1."""
    buffer = ld(deque + DEQUE_BUFFER)
    slot = ((ld(deque + DEQUE_HEAD) >> 1) + position) & (rt_size(buffer) - 2)
    return buffer + PAYLOAD + (slot << 3)


def rt_deque_reserve(deque: int, n_items: int) -> int:
    """Make room for *n_items* items in all."""
    old = ld(deque + DEQUE_BUFFER)
    capacity = 0 if old == 0 else rt_size(old) - 1
    if n_items <= capacity:
        return 0
    return rt_deque_grow(deque, n_items)


def rt_deque_grow(deque: int, n_items: int) -> int:
    """Make the smallest ring for *n_items* items and no fewer than it has."""
    capacity = SMALLEST_RING
    while capacity < n_items:
        capacity = capacity << 1
    buffer = rt_alloc(BUFFER, capacity + 1)
    rt_copy_items(buffer + PAYLOAD, deque)
    st(deque + DEQUE_BUFFER, buffer)
    st(deque + DEQUE_HEAD, WORD_ZERO)
    return 0


def rt_deque_append(deque: int, word: int) -> int:
    """Append a value."""
    n_items = rt_deque_count(deque)
    rt_deque_reserve(deque, n_items + 1)
    st(rt_deque_slot(deque, n_items), word)
    return st(deque + DEQUE_LENGTH, ((n_items + 1) << 1) | 1)


def rt_deque_appendleft(deque: int, word: int) -> int:
    """Put a value before the first."""
    n_items = rt_deque_count(deque)
    rt_deque_reserve(deque, n_items + 1)
    rt_deque_turn(deque, -1)
    st(rt_deque_slot(deque, 0), word)
    return st(deque + DEQUE_LENGTH, ((n_items + 1) << 1) | 1)


def rt_deque_turn(deque: int, steps: int) -> int:
    """Move the head by a raw number of slots."""
    mask = rt_size(ld(deque + DEQUE_BUFFER)) - 2
    head = ((ld(deque + DEQUE_HEAD) >> 1) + steps) & mask
    return st(deque + DEQUE_HEAD, (head << 1) | 1)


def rt_deque_pop(deque: int) -> int:
    """Take the last item off; traps if there is none."""
    n_items = rt_deque_count(deque)
    if n_items == 0:
        return trap(TRAP_INDEX)
    slot = rt_deque_slot(deque, n_items - 1)
    word = ld(slot)
    st(slot, 0)
    st(deque + DEQUE_LENGTH, ((n_items - 1) << 1) | 1)
    return word


def rt_deque_popleft(deque: int) -> int:
    """Take the first item off; traps if there is none."""
    n_items = rt_deque_count(deque)
    if n_items == 0:
        return trap(TRAP_INDEX)
    slot = rt_deque_slot(deque, 0)
    word = ld(slot)
    st(slot, 0)
    rt_deque_turn(deque, 1)
    st(deque + DEQUE_LENGTH, ((n_items - 1) << 1) | 1)
    return word


def rt_deque_get(deque: int, index: int) -> int:
    """The item at *index*."""
    return rt_deque_at(deque, rt_index(index, rt_deque_count(deque)))


def rt_deque_set(deque: int, index: int, word: int) -> int:
    """Put a value in place of the item at *index*."""
    return st(rt_deque_slot(deque, rt_index(index, rt_deque_count(deque))), word)


def rt_deque_find(deque: int, word: int) -> int:
    """Raw position of the first item equal to a value, -1 if there is none."""
    for i in range(rt_deque_count(deque)):
        if rt_same(rt_deque_at(deque, i), word):
            return i
    return -1


def rt_deque_contains(deque: int, word: int) -> int:
    """Raw 1 if an item equals a value."""
    return rt_deque_find(deque, word) >= 0


def rt_deque_remove(deque: int, word: int) -> int:
    """Take out the first item equal to a value; traps if there is none."""
    position = rt_deque_find(deque, word)
    if position < 0:
        return trap(TRAP_VALUE)
    for i in range(position, 0, -1):
        st(rt_deque_slot(deque, i), rt_deque_at(deque, i - 1))
    rt_deque_popleft(deque)
    return 0


def rt_deque_insert(deque: int, index: int, word: int) -> int:
    """Insert a value before *index*, which is cut to the deque's ends."""
    n_items = rt_deque_count(deque)
    position = rt_slice_bound(index, n_items, n_items)
    rt_deque_append(deque, 0)
    for i in range(n_items, position, -1):
        st(rt_deque_slot(deque, i), rt_deque_at(deque, i - 1))
    return st(rt_deque_slot(deque, position), word)


def rt_deque_extend(deque: int, more: int) -> int:
    """Append the items of a container."""
    n_more = rt_item_count(more)
    place = rt_buffer_of(more, n_more) + PAYLOAD
    for i in range(n_more):
        rt_deque_append(deque, ld(place + (i << 3)))
    return 0


def rt_deque_clear(deque: int) -> int:
    """Take all items out."""
    st(deque + DEQUE_LENGTH, WORD_ZERO)
    st(deque + DEQUE_HEAD, WORD_ZERO)
    return st(deque + DEQUE_BUFFER, 0)
