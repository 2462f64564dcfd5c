"""Lists, tuples, deques, dictionaries and sets of the compiled engine, operation by operation beside Python's."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iosim.compiled import layout, raw
from iosim.compiled.raw import TrapError
from tests.raw_program import Node, Pair, Program

Case = tuple[str, tuple[Any, ...]]
TRAPS = {
    IndexError: layout.TRAP_INDEX,
    KeyError: layout.TRAP_KEY,
    ValueError: layout.TRAP_VALUE,
}

FEW = settings().max_examples // 10
NODES = [Node() for _ in range(4)]
small = st.integers(-8, 8)
usual = st.sampled_from(
    [0, 1, 2, 3, 1.0, 2.5, "", "a", "other", None, (1, "a"), (1.0, "a"), Pair(1, (2,)), 2**63, -(2**62), *NODES]
)
unusual = st.one_of(
    st.integers(-(2**62), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.tuples(small, st.text(max_size=2)),
    st.builds(Pair, small, st.tuples(small)),
)
keys = st.booleans().flatmap(lambda often: usual if often else unusual)
values = keys
few = st.lists(values, max_size=9)
iterables = few.map(list) | few.map(tuple) | few.map(deque) | few.map(dict.fromkeys)
places = st.integers(-10, 10)
bounds = st.none() | places


def same(a: object, b: object) -> bool:
    """Whether two values are equal, of the same types, in the same order."""
    return repr(a) == repr(b)


def both(expected: Callable[[], Any], found: Callable[[], Any]) -> None:
    """An operation must give the same in Python and in *program*, or fail in both alike."""
    try:
        result = expected()
    except (IndexError, KeyError, ValueError) as error:
        code = TRAPS[type(error)]
    else:
        assert same(found(), result)
        return
    with pytest.raises(TrapError) as trap:
        found()
    assert trap.value.code == code


def cases(**arguments: Iterable[st.SearchStrategy[Any]]) -> st.SearchStrategy[list[Case]]:
    """Lists of (operation, its arguments)."""
    return st.lists(
        st.one_of([st.tuples(st.just(name), st.tuples(*parts)) for name, parts in arguments.items()]),
        min_size=5,
        max_size=30,
    )


def delete(items: list[Any], start: int | None, stop: int | None) -> None:
    del items[start:stop]


LISTS: dict[str, Callable[..., Any]] = {
    "append": list.append,
    "pop": list.pop,
    "pop_at": list.pop,
    "insert": list.insert,
    "get": list.__getitem__,
    "set": list.__setitem__,
    "len": len,
    "extend": list.extend,
    "remove": list.remove,
    "index": list.index,
    "contains": list.__contains__,
    "slice": lambda items, start, stop: items[start:stop],
    "slice_assign": lambda items, start, stop, more: items.__setitem__(slice(start, stop), more),
    "del_slice": delete,
    "concat": list.__add__,
    "repeat": list.__mul__,
    "copy": list,
    "clear": list.clear,
    "reverse": list.reverse,
}
RAW_RESULTS = {"contains", "contains_word"}
NOTHING = {
    *("append", "insert", "set", "extend", "remove", "slice_assign", "del_slice", "clear", "reverse"),
    *("appendleft", "set_word", "add", "discard", "update"),
}


def run(program: Program, prefix: str, address: int, mirror: Any, operation: Callable[..., Any], case: Case) -> None:
    """Do one operation on a container and on its mirror in Python."""
    name, arguments = case

    def found() -> Any:
        words = [program.word(argument) for argument in arguments]
        word = getattr(program, "rt_len" if name == "len" else f"{prefix}_{name}")(address, *words)
        if name in NOTHING:
            return None
        return bool(word) if name in RAW_RESULTS else program.value(word)

    both(lambda: operation(mirror, *arguments), found)
    assert same(program.value(address), mirror)


item_cases = cases(
    append=[values],
    pop=[],
    pop_at=[places],
    insert=[places, values],
    get=[places],
    set=[places, values],
    len=[],
    remove=[values],
    index=[values],
    contains=[values],
)
slice_cases = cases(
    extend=[iterables],
    slice=[bounds, bounds],
    slice_assign=[bounds, bounds, iterables],
    del_slice=[bounds, bounds],
    concat=[few],
    repeat=[st.integers(-1, 3)],
    copy=[],
    clear=[],
    reverse=[],
)


@given(few, item_cases | slice_cases)
def test_lists_do_as_in_python(start: list[Any], todo: list[Case]) -> None:
    program = Program()
    address = program.word(start)
    mirror = list(start)
    for case in todo:
        run(program, "rt_list", address, mirror, LISTS[case[0]], case)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 6))
def test_a_slice_gives_way_to_more_or_fewer_items(start: int, stop: int, n_items: int) -> None:
    program = Program()
    mirror = list(range(12))
    items = program.word(mirror)
    program.rt_list_slice_assign(items, program.word(start), program.word(stop), program.word([-1] * n_items))
    mirror[start:stop] = [-1] * n_items
    assert program.value(items) == mirror


def test_a_list_is_extended_by_itself() -> None:
    program = Program()
    items = program.word([1, 2, 3])
    program.rt_list_extend(items, items)
    program.rt_list_slice_assign(items, program.word(1), program.word(1), items)
    assert program.value(items) == [1, 1, 2, 3, 1, 2, 3, 2, 3, 1, 2, 3]


def test_an_array_of_ints_is_read_and_written_by_index() -> None:
    program = Program()
    numbers = program.object(layout.INTARRAY, [5, -6, 2**62])
    assert program.value(program.rt_getitem(numbers, program.word(1))) == -6
    program.rt_setitem(numbers, program.word(0), program.word(9))
    assert program.value(program.rt_getitem(numbers, program.word(-3))) == 9
    assert program.value(program.rt_len(numbers)) == 3
    with pytest.raises(TrapError, match="does not fit"):
        program.rt_getitem(numbers, program.word(2))


@given(few, few, bounds, bounds, values, st.integers(-8, 8), st.integers(-1, 3))
def test_tuples_do_as_in_python(
    first: list[Any], more: list[Any], start: int | None, stop: int | None, value: Any, index: int, times: int
) -> None:
    program = Program()
    a, b = program.word(tuple(first)), program.word(tuple(more))
    mirror = tuple(first)
    both(lambda: mirror[index], lambda: program.value(program.rt_tuple_get(a, program.word(index))))
    assert program.value(program.rt_len(a)) == len(first)
    assert same(program.value(program.rt_tuple_slice(a, program.word(start), program.word(stop))), mirror[start:stop])
    assert same(program.value(program.rt_tuple_concat(a, b)), (*first, *more))
    assert same(program.value(program.rt_tuple_repeat(a, program.word(times))), mirror * times)
    assert program.rt_tuple_contains(a, program.word(value)) == (value in mirror)
    assert same(program.value(program.rt_tuple_from(program.word(deque(more)))), tuple(more))


DEQUES: dict[str, Callable[..., Any]] = {
    "append": deque.append,
    "appendleft": deque.appendleft,
    "pop": deque.pop,
    "popleft": deque.popleft,
    "get": deque.__getitem__,
    "set": deque.__setitem__,
    "len": len,
    "remove": deque.remove,
    "contains": deque.__contains__,
    "insert": deque.insert,
    "extend": deque.extend,
    "clear": deque.clear,
}


@given(
    few,
    cases(
        append=[values],
        appendleft=[values],
        pop=[],
        popleft=[],
        get=[places],
        set=[places, values],
        len=[],
        remove=[values],
        contains=[values],
        insert=[places, values],
        extend=[iterables],
        clear=[],
    ),
)
def test_deques_do_as_in_python(start: list[Any], todo: list[Case]) -> None:
    program = Program()
    address = program.word(deque(start))
    mirror = deque(start)
    for case in todo:
        run(program, "rt_deque", address, mirror, DEQUES[case[0]], case)
    assert [program.value(program.rt_deque_at(address, i)) for i in range(len(mirror))] == list(mirror)


DICTS: dict[str, Callable[..., Any]] = {
    "get": dict.get,
    "at": dict.__getitem__,
    "set": dict.__setitem__,
    "take": lambda table, key: table.pop(key),
    "pop": dict.pop,
    "setdefault": dict.setdefault,
    "contains": dict.__contains__,
    "len": len,
    "clear": dict.clear,
    "keys": list,
    "values": lambda table: list(table.values()),
    "items": lambda table: list(table.items()),
    "copy": dict,
}
some_dict = st.dictionaries(keys, values, max_size=20)
dict_cases = cases(
    get=[keys, values],
    at=[keys],
    set=[keys, values],
    take=[keys],
    pop=[keys, values],
    setdefault=[keys, values],
    contains=[keys],
    len=[],
    keys=[],
    values=[],
    items=[],
    copy=[],
)


@given(some_dict, dict_cases, dict_cases)
def test_dictionaries_do_as_in_python(start: dict[Any, Any], first: list[Case], second: list[Case]) -> None:
    program = Program()
    address = program.word(start)
    mirror = dict(start)
    for case in [*first, ("clear", ()), *second] if len(first) % 2 else [*first, *second]:
        run(program, "rt_dict", address, mirror, DICTS[case[0]], case)


words = st.sampled_from([*NODES, *range(12)]) | st.integers(-(2**62), 2**62 - 1)
word_cases = cases(
    get_word=[words, values],
    at_word=[words],
    set_word=[words, values],
    take_word=[words],
    pop_word=[words, values],
    contains_word=[words],
    set=[words, values],
    take=[words],
    at=[words],
    clear=[],
    items=[],
)


@given(st.dictionaries(words, values, max_size=20), word_cases)
def test_ints_and_objects_are_found_by_their_words(start: dict[Any, Any], todo: list[Case]) -> None:
    program = Program()
    address = program.word(start)
    mirror = dict(start)
    for case in todo:
        run(program, "rt_dict", address, mirror, DICTS[case[0].removesuffix("_word")], case)


@settings(max_examples=FEW)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), min_size=200, max_size=400))
def test_a_dictionary_that_shrinks_and_grows_keeps_its_order(todo: list[tuple[bool, int]]) -> None:
    program = Program()
    table = program.rt_dict_new()
    mirror: dict[int, int] = {}
    for i, (put, key) in enumerate(todo):
        if put:
            program.rt_dict_set(table, program.word(key << 40), program.word(i))
            mirror[key << 40] = i
        else:
            program.rt_dict_pop(table, program.word(key << 40), 0)
            mirror.pop(key << 40, None)
    assert same(program.value(table), mirror)
    for key in range(61):
        assert program.value(program.rt_dict_get(table, program.word(key << 40), 0)) == mirror.get(key << 40)


def test_entries_are_gone_through_by_position() -> None:
    program = Program()
    table = program.word({"a": 1, "b": 2, "c": 3, "d": 4})
    program.rt_dict_take(table, program.word("a"))
    program.rt_dict_take(table, program.word("c"))
    found = []
    position = program.rt_dict_next(table, 0)
    while position >= 0:
        found.append((program.rt_dict_key_at(table, position), program.rt_dict_value_at(table, position)))
        position = program.rt_dict_next(table, position + 1)
    assert [(program.value(key), program.value(value)) for key, value in found] == [("b", 2), ("d", 4)]


SETS: dict[str, Callable[..., Any]] = {
    "add": dict.setdefault,
    "discard": lambda table, item: table.pop(item, None),
    "remove": dict.pop,
    "contains": dict.__contains__,
    "clear": dict.clear,
    "union": lambda table, more: list(dict.fromkeys([*table, *more])),
    "difference": lambda table, more: [item for item in table if item not in more],
    "intersection": lambda table, more: [item for item in table if item in more],
}


def run_set(program: Program, address: int, mirror: dict[Any, None], case: Case, suffix: str = "") -> None:
    """Do one operation on a set and on its mirror in Python; *suffix* is that of the functions of the library."""
    name, arguments = case

    def found() -> Any:
        passed = [program.word(argument) for argument in arguments]
        word = getattr(program, f"rt_set_{name}{suffix}")(address, *passed)
        if name == "contains":
            return bool(word)
        new = name in {"union", "difference", "intersection"}
        return program.value(program.rt_list_copy(word)) if new else None

    both(lambda: SETS[name](mirror, *arguments), found)
    assert same(program.value(program.rt_list_copy(address)), list(mirror))


@given(
    few,
    cases(
        add=[keys],
        discard=[keys],
        remove=[keys],
        contains=[keys],
        clear=[],
        union=[iterables],
        difference=[iterables],
        intersection=[iterables],
    ),
)
def test_sets_hold_what_python_s_do_in_the_order_of_insertion(start: list[Any], todo: list[Case]) -> None:
    program = Program()
    address = program.rt_set_from(program.word(start))
    mirror: dict[Any, None] = dict.fromkeys(start)
    for case in todo:
        run_set(program, address, mirror, case)


@given(st.lists(words, max_size=9), cases(add=[words], discard=[words], remove=[words], contains=[words], clear=[]))
def test_sets_of_ints_and_objects_are_searched_by_words(start: list[Any], todo: list[Case]) -> None:
    program = Program()
    address = program.rt_set_from(program.word(start))
    mirror: dict[Any, None] = dict.fromkeys(start)
    for case in todo:
        run_set(program, address, mirror, case, "" if case[0] == "clear" else "_word")


@given(some_dict, few, st.text(max_size=4), st.text(max_size=2), values)
def test_len_and_in_find_out_the_container(
    table: dict[Any, Any], items: list[Any], text: str, part: str, value: Any
) -> None:
    program = Program()
    word = program.word(value)
    for container in (table, set(table), items, tuple(items), deque(items)):
        address = program.word(container)
        assert program.value(program.rt_len(address)) == len(container)
        assert program.rt_contains(address, word) == (value in container)
    assert program.value(program.rt_len(program.word(text))) == len(text)
    assert program.rt_contains(program.word(text), program.word(part)) == (part in text)


@given(few, st.integers(-8, 8), values)
def test_items_are_read_and_set_in_any_container(items: list[Any], index: int, value: Any) -> None:
    program = Program()
    at, word = program.word(index), program.word(value)
    for container in (list(items), deque(items), dict(enumerate(items))):
        address = program.word(container)
        both(
            lambda: container[index],  # noqa: B023 - called at once
            lambda: program.value(program.rt_getitem(address, at)),  # noqa: B023
        )
        if isinstance(container, dict) or -len(items) <= index < len(items):
            program.rt_setitem(address, at, word)
            container[index] = value
            assert same(program.value(address), container)


def test_what_is_no_container_traps() -> None:
    program = Program()
    node = program.word(NODES[0])
    for operation in (program.rt_len, program.rt_list_copy, program.rt_tuple_from):
        with pytest.raises(TrapError, match="not defined") as trap:
            operation(node)
        assert trap.value.code == layout.TRAP_TYPE
    for word in (0, program.word(5), node):
        with pytest.raises(TrapError, match="not defined"):
            program.rt_getitem(word, program.word(0))
        with pytest.raises(TrapError, match="not defined"):
            program.rt_contains(word, program.word(0))
    with pytest.raises(TrapError, match="not defined"):
        program.rt_dict_set(program.rt_dict_new(), program.word([]), 0)


@given(st.lists(st.integers(-(1 << 62), (1 << 62) - 1), max_size=12), st.integers(0, 4))
def test_a_list_goes_into_an_array_of_raw_integers(values: list[int], at: int) -> None:
    program = Program()
    block = program.rt_alloc(layout.INTARRAY, 1 + at + len(values) + 1)
    program.rt_put_all(block, at, program.word(values))
    stored = [raw.ld(block + layout.PAYLOAD + 8 * k) for k in range(at + len(values) + 1)]
    assert stored == [0] * at + values + [0]
