"""Operations that compiled code needs beside those of the containers."""

from iosim.compiled.layout import (
    DICT,
    LIST,
    LIST_BUFFER,
    LIST_LENGTH,
    PAYLOAD,
    SET,
    STR,
    TRAP_KEY,
    TRAP_TYPE,
    TRAP_VALUE,
    TUPLE,
)
from iosim.compiled.raw import ld, st, trap, ult
from iosim.compiled.runtime.compare import rt_same
from iosim.compiled.runtime.dicts import (
    rt_dict_new,
    rt_dict_set,
    rt_dict_take,
)
from iosim.compiled.runtime.generic import rt_getitem, rt_len
from iosim.compiled.runtime.iteration import rt_dict_key_at, rt_dict_next, rt_dict_value_at
from iosim.compiled.runtime.lists import rt_list_copy, rt_list_insert, rt_list_slice, rt_list_slice_assign
from iosim.compiled.runtime.memory import rt_alloc, rt_class_of, rt_copy_words, rt_size
from iosim.compiled.runtime.sets import rt_set_discard
from iosim.compiled.runtime.sorting import rt_bisect_right, rt_lesser
from iosim.compiled.runtime.text import rt_int_to_str
from iosim.compiled.runtime.tuples import rt_tuple_far, rt_tuple_get, rt_tuple_slice


def rt_iterable(value: int) -> int:
    """*value* if it has items by index, else a list of its items."""
    kind = rt_class_of(value)
    if kind == DICT or kind == SET:
        return rt_list_copy(value)
    return value


def rt_dict_from(pairs: int) -> int:
    """A dictionary of (key, value) pairs."""
    table = rt_dict_new()
    n = rt_len(pairs) >> 1
    for position in range(n):
        pair = rt_getitem(pairs, position * 2 + 1)
        rt_dict_set(table, rt_getitem(pair, 1), rt_getitem(pair, 3))
    return table


def rt_item_getter(class_id: int, places: int) -> int:
    """operator.itemgetter of the places in a tuple."""
    n = rt_size(places) - 1
    result = rt_alloc(class_id, n + 1)
    rt_copy_words(result + PAYLOAD, places + PAYLOAD, n)
    return result


def rt_pick(getter: int, values: int) -> int:
    """operator.itemgetter: the item at the getter's index, or a tuple of those at its indices."""
    n = rt_size(getter) - 1
    if n == 1:
        return rt_tuple_get(values, ld(getter + PAYLOAD))
    result = rt_alloc(TUPLE, n + 1)
    n_values = (rt_size(values) - 1) * 2
    for place in range(PAYLOAD, PAYLOAD + n * 8, 8):
        index = ld(getter + place)
        st(result + place, ld(values + 4 + index * 4) if ult(index, n_values) else rt_tuple_far(values, index))
    return result


def rt_list_put_range(items: int, low: int, high: int, source: int) -> int:
    """items[low:high] = source, of which it mostly is the length."""
    kind = rt_class_of(source)
    if low & high & 1 and low > 0 and low <= high and high <= ld(items + LIST_LENGTH) and source != items:
        n_words = (high - low) >> 1
        first = source + PAYLOAD
        n_source = rt_size(source) - 1
        if kind == LIST:
            first = ld(source + LIST_BUFFER) + PAYLOAD
            n_source = ld(source + LIST_LENGTH) >> 1
        if (kind == LIST or kind == TUPLE) and n_source == n_words:
            return rt_copy_words(ld(items + LIST_BUFFER) + 4 + low * 4, first, n_words)
    return rt_list_slice_assign(items, low, high, source)


def rt_list_put_same(items: int, low: int, high: int, source: int) -> int:
    """items[low:high] = source[low:high], for two lists."""
    length = rt_lesser(ld(items + LIST_LENGTH), ld(source + LIST_LENGTH))
    if low & high & 1 and low > 0 and low <= high and high <= length:
        first = ld(source + LIST_BUFFER) + 4 + low * 4
        return rt_copy_words(ld(items + LIST_BUFFER) + 4 + low * 4, first, (high - low) >> 1)
    return rt_list_slice_assign(items, low, high, rt_list_slice(source, low, high))


def rt_to_str(value: int) -> int:
    """str() of an int or a text."""
    if value & 1:
        return rt_int_to_str(value)
    return value if rt_class_of(value) == STR else trap(TRAP_TYPE)


def rt_slice(value: int, low: int, high: int) -> int:
    """A slice of a list or tuple."""
    if rt_class_of(value) == LIST:
        return rt_list_slice(value, low, high)
    return rt_tuple_slice(value, low, high)


def rt_tuple_index(items: int, word: int) -> int:
    """tuple.index."""
    n = rt_size(items) - 1
    for position in range(n):
        if rt_same(ld(items + PAYLOAD + position * 8), word):
            return position * 2 + 1
    return trap(TRAP_VALUE)


def rt_set_difference_update(target: int, items: int) -> int:
    """set.difference_update."""
    less = rt_iterable(items)
    n = rt_len(less) >> 1
    for position in range(n):
        rt_set_discard(target, rt_getitem(less, position * 2 + 1))
    return 0


def rt_dict_move_to_end(table: int, key: int) -> int:
    """OrderedDict.move_to_end."""
    value = rt_dict_take(table, key)
    rt_dict_set(table, key, value)
    return 0


def rt_dict_popitem_first(table: int) -> int:
    """OrderedDict.popitem(last=False): the first entry as a tuple."""
    position = rt_dict_next(table, 0)
    if position < 0:
        return trap(TRAP_KEY)
    result = rt_alloc(TUPLE, 3)
    key = rt_dict_key_at(table, position)
    st(result + PAYLOAD, key)
    st(result + PAYLOAD + 8, rt_dict_value_at(table, position))
    rt_dict_take(table, key)
    return result


def rt_insort(items: int, word: int) -> int:
    """bisect.insort."""
    rt_list_insert(items, rt_bisect_right(items, word), word)
    return 0
