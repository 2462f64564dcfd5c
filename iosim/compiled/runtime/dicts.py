"""Dictionaries and sets: entries in the order of insertion, found by an index table of hashes."""

from iosim.compiled.layout import (
    BUFFER,
    CLASS_MASK,
    DICT,
    DICT_ENTRIES,
    DICT_FILLED,
    DICT_INDEX,
    DICT_LENGTH,
    DICT_WORDS,
    ENTRY_BYTES,
    ENTRY_HASH,
    ENTRY_KEY,
    ENTRY_VALUE,
    ENTRY_WORDS,
    HOLE,
    PAYLOAD,
    RAW,
    TRAP_KEY,
    TUPLE,
    WORD_ZERO,
)
from iosim.compiled.raw import ld, sdiv, st, trap
from iosim.compiled.runtime.compare import rt_hash, rt_same
from iosim.compiled.runtime.iteration import (
    rt_dict_key_at,
    rt_dict_next,
    rt_dict_value_at,
)
from iosim.compiled.runtime.lists import rt_list_append, rt_list_copy, rt_list_new
from iosim.compiled.runtime.memory import rt_alloc, rt_copy_words, rt_size, rt_zero_words
from iosim.compiled.runtime.text import rt_mix

SMALLEST_CAPACITY = 4
LINEAR_CAPACITY = 8
"""Up to this many entries are searched in order, without an index table."""
UPPER_HASH = -0x100000000
ENTRY_NUMBER = 0xFFFFFFFF


def rt_table_new(class_id: int) -> int:
    """An empty dictionary or set."""
    table = rt_alloc(class_id, DICT_WORDS)
    st(table + DICT_LENGTH, WORD_ZERO)
    st(table + DICT_FILLED, WORD_ZERO)
    return table


def rt_dict_new() -> int:
    """An empty dictionary."""
    return rt_table_new(DICT)


def rt_hash_word(key: int) -> int:
    """Hash of *key* as it stands in an entry: an int."""
    return (rt_hash(key) << 1) | 1


def rt_dict_find(table: int, key: int) -> int:
    """Address of the entry of *key*; 0 if there is none."""
    if ld(table + DICT_LENGTH) == WORD_ZERO:
        return 0
    if ld(table + DICT_INDEX) == 0:
        entry = rt_dict_scan(table, key)
        if entry != 0:
            return entry
    return rt_dict_find_equal(table, key, rt_hash_word(key))


def rt_dict_scan(table: int, key: int) -> int:
    """Address of the entry whose key is the very word *key*, 0 if there is none; all are looked at."""
    entry = ld(table + DICT_ENTRIES) + PAYLOAD
    end = entry + (ld(table + DICT_FILLED) >> 1) * ENTRY_BYTES
    while entry != end:
        if ld(entry + ENTRY_KEY) == key:
            return entry
        entry += ENTRY_BYTES
    return 0


def rt_dict_find_equal(table: int, key: int, hash_word: int) -> int:
    """Address of the entry of *key*, whose rt_hash_word is given; 0 if there is none."""
    entry = ld(table + DICT_ENTRIES) + PAYLOAD
    index = ld(table + DICT_INDEX)
    if index != 0:
        return rt_dict_probe(index, entry, key, hash_word)
    end = entry + (ld(table + DICT_FILLED) >> 1) * ENTRY_BYTES
    while entry != end:
        if ld(entry + ENTRY_HASH) == hash_word and rt_same(ld(entry + ENTRY_KEY), key):
            return entry
        entry += ENTRY_BYTES
    return 0


def rt_dict_probe(index: int, entries: int, key: int, hash_word: int) -> int:
    """Address of the entry of *key* by the index table; 0 if there is none. *entries* is the first entry's address."""
    mask = rt_size(index) - 2
    position = (hash_word >> 1) & mask
    slot = ld(index + PAYLOAD + (position << 3))
    while slot != 0:
        if ((slot ^ hash_word) & UPPER_HASH) == 0:
            entry = entries + ((slot & ENTRY_NUMBER) - 1) * ENTRY_BYTES
            if ld(entry + ENTRY_HASH) == hash_word and rt_same(ld(entry + ENTRY_KEY), key):
                return entry
        position = (position + 1) & mask
        slot = ld(index + PAYLOAD + (position << 3))
    return 0


def rt_dict_find_word(table: int, key: int) -> int:
    """rt_dict_find of a key that no other word is equal to: an int among ints, or an object that is itself only."""
    index = ld(table + DICT_INDEX)
    if index == 0:
        return rt_dict_scan(table, key)
    mask = rt_size(index) - 2
    entries = ld(table + DICT_ENTRIES) + PAYLOAD
    hash_word = (rt_mix(key) << 1) | 1
    position = (hash_word >> 1) & mask
    slot = ld(index + PAYLOAD + (position << 3))
    while slot != 0:
        entry = entries + ((slot & ENTRY_NUMBER) - 1) * ENTRY_BYTES
        if ld(entry + ENTRY_KEY) == key:
            return entry
        position = (position + 1) & mask
        slot = ld(index + PAYLOAD + (position << 3))
    return 0


def rt_dict_enter(index: int, number: int, hash_word: int) -> int:
    """Enter an entry's raw number into the index table."""
    mask = rt_size(index) - 2
    position = (hash_word >> 1) & mask
    while ld(index + PAYLOAD + (position << 3)) != 0:
        position = (position + 1) & mask
    return st(index + PAYLOAD + (position << 3), (hash_word & UPPER_HASH) | (number + 1))


def rt_dict_capacity(table: int) -> int:
    """Raw number of entries that there is room for, deleted ones included."""
    entries = ld(table + DICT_ENTRIES)
    return 0 if entries == 0 else sdiv(rt_size(entries) - 1, ENTRY_WORDS)


def rt_dict_rebuild(table: int) -> int:
    """Make room: move the live entries together, to a buffer that is then at most half full, and index them."""
    n_live = ld(table + DICT_LENGTH) >> 1
    capacity = SMALLEST_CAPACITY
    while capacity < 2 * n_live:
        capacity = capacity << 1
    entries = ld(table + DICT_ENTRIES)
    if rt_dict_capacity(table) != capacity:
        entries = rt_alloc(BUFFER, ENTRY_WORDS * capacity + 1)
    rt_dict_move(table, entries + PAYLOAD, n_live)
    n_filled = ld(table + DICT_FILLED) >> 1
    if entries == ld(table + DICT_ENTRIES):
        rt_zero_words(entries + PAYLOAD + n_live * ENTRY_BYTES, (n_filled - n_live) * ENTRY_WORDS)
    st(table + DICT_ENTRIES, entries)
    st(table + DICT_FILLED, (n_live << 1) | 1)
    return rt_dict_index(table, capacity)


def rt_dict_move(table: int, target: int, n_live: int) -> int:
    """Move the live entries together to address *target*."""
    position = 0
    for _ in range(n_live):
        position = rt_dict_next(table, position)
        rt_copy_words(target, ld(table + DICT_ENTRIES) + PAYLOAD + position * ENTRY_BYTES, ENTRY_WORDS)
        target += ENTRY_BYTES
        position += 1
    return 0


def rt_dict_index(table: int, capacity: int) -> int:
    """Make the index table of entries that are all live, if there is room for more than LINEAR_CAPACITY."""
    if capacity <= LINEAR_CAPACITY:
        return st(table + DICT_INDEX, 0)
    index = ld(table + DICT_INDEX)
    if index != 0 and rt_size(index) == 2 * capacity + 1:
        rt_zero_words(index + PAYLOAD, 2 * capacity)
    else:
        index = rt_alloc(RAW, 2 * capacity + 1)
    entry = ld(table + DICT_ENTRIES) + PAYLOAD
    for number in range(ld(table + DICT_FILLED) >> 1):
        rt_dict_enter(index, number, ld(entry + ENTRY_HASH))
        entry += ENTRY_BYTES
    return st(table + DICT_INDEX, index)


def rt_dict_add(table: int, key: int, hash_word: int, value: int) -> int:
    """Append an entry for a key that is not there."""
    entries = ld(table + DICT_ENTRIES)
    number = ld(table + DICT_FILLED) >> 1
    if entries == 0 or (number + 1) * ENTRY_WORDS >= rt_size(entries):
        rt_dict_rebuild(table)
        entries = ld(table + DICT_ENTRIES)
        number = ld(table + DICT_FILLED) >> 1
    entry = entries + PAYLOAD + number * ENTRY_BYTES
    st(entry + ENTRY_HASH, hash_word)
    st(entry + ENTRY_KEY, key)
    st(entry + ENTRY_VALUE, value)
    index = ld(table + DICT_INDEX)
    if index != 0:
        rt_dict_enter(index, number, hash_word)
    st(table + DICT_FILLED, ((number + 1) << 1) | 1)
    return st(table + DICT_LENGTH, ld(table + DICT_LENGTH) + 2)


def rt_dict_remove(table: int, entry: int) -> int:
    """Delete the entry at an address and give its value; the index table still leads to it, and on."""
    value = ld(entry + ENTRY_VALUE)
    st(entry + ENTRY_HASH, 0)
    st(entry + ENTRY_KEY, HOLE)
    st(entry + ENTRY_VALUE, 0)
    st(table + DICT_LENGTH, ld(table + DICT_LENGTH) - 2)
    if ld(table + DICT_INDEX) == 0:
        n_filled = ld(table + DICT_FILLED) >> 1
        if entry == ld(table + DICT_ENTRIES) + PAYLOAD + (n_filled - 1) * ENTRY_BYTES:
            st(entry + ENTRY_KEY, 0)
            st(table + DICT_FILLED, ((n_filled - 1) << 1) | 1)
    return value


def rt_dict_get(table: int, key: int, default: int) -> int:
    """Value of *key*, *default* if it is not there."""
    entry = rt_dict_find(table, key)
    return default if entry == 0 else ld(entry + ENTRY_VALUE)


def rt_dict_at(table: int, key: int) -> int:
    """Value of *key*; traps if it is not there."""
    entry = rt_dict_find(table, key)
    return trap(TRAP_KEY) if entry == 0 else ld(entry + ENTRY_VALUE)


def rt_dict_set(table: int, key: int, value: int) -> int:
    """Set the value of *key*."""
    entry = rt_dict_find(table, key)
    return rt_dict_add(table, key, rt_hash_word(key), value) if entry == 0 else st(entry + ENTRY_VALUE, value)


def rt_dict_setdefault(table: int, key: int, default: int) -> int:
    """Value of *key*, which is set to *default* if it is not there."""
    entry = rt_dict_find(table, key)
    if entry != 0:
        return ld(entry + ENTRY_VALUE)
    rt_dict_add(table, key, rt_hash_word(key), default)
    return default


def rt_dict_take(table: int, key: int) -> int:
    """Delete *key* and give its value; traps if it is not there."""
    entry = rt_dict_find(table, key)
    return trap(TRAP_KEY) if entry == 0 else rt_dict_remove(table, entry)


def rt_dict_pop(table: int, key: int, default: int) -> int:
    """Delete *key* and give its value, *default* if it is not there."""
    entry = rt_dict_find(table, key)
    return default if entry == 0 else rt_dict_remove(table, entry)


def rt_dict_contains(table: int, key: int) -> int:
    """Raw 1 if *key* is there."""
    return rt_dict_find(table, key) != 0


def rt_dict_clear(table: int) -> int:
    """Delete all entries."""
    st(table + DICT_LENGTH, WORD_ZERO)
    st(table + DICT_FILLED, WORD_ZERO)
    st(table + DICT_INDEX, 0)
    return st(table + DICT_ENTRIES, 0)


def rt_dict_keys(table: int) -> int:
    """A new list of the keys."""
    return rt_list_copy(table)


def rt_dict_values(table: int) -> int:
    """A new list of the values."""
    values = rt_list_new(ld(table + DICT_LENGTH) >> 1)
    position = rt_dict_next(table, 0)
    while position >= 0:
        rt_list_append(values, rt_dict_value_at(table, position))
        position = rt_dict_next(table, position + 1)
    return values


def rt_dict_items(table: int) -> int:
    """A new list of tuples (key, value)."""
    items = rt_list_new(ld(table + DICT_LENGTH) >> 1)
    position = rt_dict_next(table, 0)
    while position >= 0:
        pair = rt_alloc(TUPLE, 3)
        st(pair + PAYLOAD, rt_dict_key_at(table, position))
        st(pair + PAYLOAD + 8, rt_dict_value_at(table, position))
        rt_list_append(items, pair)
        position = rt_dict_next(table, position + 1)
    return items


def rt_dict_update(table: int, other: int) -> int:
    """Set the entries of another dictionary, or add the items of another set."""
    position = rt_dict_next(other, 0)
    while position >= 0:
        rt_dict_set(table, rt_dict_key_at(other, position), rt_dict_value_at(other, position))
        position = rt_dict_next(other, position + 1)
    return table


def rt_dict_copy(table: int) -> int:
    """A copy of a dictionary or set."""
    return rt_dict_update(rt_table_new(ld(table) & CLASS_MASK), table)
