"""Dictionaries and sets whose keys no other words are equal to: ints among ints, objects that are themselves only."""

from iosim.compiled.layout import ENTRY_VALUE, TRAP_KEY
from iosim.compiled.raw import ld, st, trap
from iosim.compiled.runtime.dicts import rt_dict_add, rt_dict_find_word, rt_dict_remove
from iosim.compiled.runtime.text import rt_mix


def rt_dict_add_word(table: int, key: int, value: int) -> int:
    """Append an entry for a key that is not there."""
    return rt_dict_add(table, key, (rt_mix(key) << 1) | 1, value)


def rt_dict_get_word(table: int, key: int, default: int) -> int:
    """rt_dict_get."""
    entry = rt_dict_find_word(table, key)
    return default if entry == 0 else ld(entry + ENTRY_VALUE)


def rt_dict_at_word(table: int, key: int) -> int:
    """rt_dict_at."""
    entry = rt_dict_find_word(table, key)
    return trap(TRAP_KEY) if entry == 0 else ld(entry + ENTRY_VALUE)


def rt_dict_set_word(table: int, key: int, value: int) -> int:
    """rt_dict_set."""
    entry = rt_dict_find_word(table, key)
    return rt_dict_add_word(table, key, value) if entry == 0 else st(entry + ENTRY_VALUE, value)


def rt_dict_take_word(table: int, key: int) -> int:
    """rt_dict_take."""
    entry = rt_dict_find_word(table, key)
    return trap(TRAP_KEY) if entry == 0 else rt_dict_remove(table, entry)


def rt_dict_pop_word(table: int, key: int, default: int) -> int:
    """rt_dict_pop."""
    entry = rt_dict_find_word(table, key)
    return default if entry == 0 else rt_dict_remove(table, entry)


def rt_dict_contains_word(table: int, key: int) -> int:
    """rt_dict_contains."""
    return rt_dict_find_word(table, key) != 0


def rt_set_add_word(items: int, word: int) -> int:
    """rt_set_add."""
    return rt_dict_set_word(items, word, 0)


def rt_set_discard_word(items: int, word: int) -> int:
    """rt_set_discard."""
    return rt_dict_pop_word(items, word, 0)


def rt_set_remove_word(items: int, word: int) -> int:
    """rt_set_remove."""
    return rt_dict_take_word(items, word)


def rt_set_contains_word(items: int, word: int) -> int:
    """rt_set_contains."""
    return rt_dict_contains_word(items, word)
