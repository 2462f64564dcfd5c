"""Numbers, strings, comparisons, sorting and heaps of the compiled engine beside Python's own."""

import bisect
import heapq
import math
import operator
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from iosim.compiled import layout
from iosim.compiled.raw import TrapError
from tests.raw_program import Node, Pair, Program

LIMIT = 2**62
NODES = [Node() for _ in range(3)]

small = st.integers(-10, 10)
powers = st.builds(lambda sign, n, d: sign * (2**n + d), st.sampled_from([1, -1]), st.integers(0, 61), small)
ints = st.one_of(small, st.integers(-(10**10), 10**10), powers, st.integers(-LIMIT, LIMIT - 1)).filter(
    lambda number: -LIMIT <= number < LIMIT
)
floats = st.one_of(
    st.floats(),
    small.map(float),
    st.builds(operator.truediv, small, st.just(2)),
    ints.map(float),
    st.integers(2**61, 2**65).map(float),
)
numbers = ints | floats
bigints = st.integers(LIMIT, 2**64 - 1)
texts = st.text(max_size=20)
atoms = st.one_of(numbers, bigints, texts, st.none(), st.booleans(), st.sampled_from(NODES))
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.builds(Pair, inner, inner),
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(deque),
    ),
    max_leaves=6,
)


def exactly(value: object) -> str:
    """A value with its type and sign."""
    return repr(int(value) if isinstance(value, bool) else value)


def fails_as(error: Exception) -> int:
    """The trap that stands for an exception of Python's."""
    if isinstance(error, ZeroDivisionError):
        return layout.TRAP_ZERO_DIVISION
    return layout.TRAP_OVERFLOW if isinstance(error, OverflowError) else layout.TRAP_VALUE


def check(program: Program, expected: Callable[[], Any], found: Callable[[], int]) -> None:
    """An operator gives Python's result; or traps where Python fails, or where an int does not fit 63 bits."""
    try:
        result = expected()
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        code = fails_as(error)
    else:
        parts = result if isinstance(result, tuple) else (result,)
        if all(not isinstance(part, int) or -LIMIT <= part < LIMIT for part in parts):
            assert exactly(program.value(found())) == exactly(result)
            return
        code = layout.TRAP_OVERFLOW
    with pytest.raises(TrapError) as trap:
        found()
    assert trap.value.code == code


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "rt_add": operator.add,
    "rt_sub": operator.sub,
    "rt_mul": operator.mul,
    "rt_truediv": operator.truediv,
    "rt_floordiv": operator.floordiv,
    "rt_mod": operator.mod,
    "rt_divmod": divmod,
    "rt_min2": min,
    "rt_max2": max,
}


@pytest.mark.parametrize("name", BINARY)
@given(numbers, numbers)
@example(3518327057984836987, 2177846766610798756)
@example(0, -1)
@example(0, -LIMIT)
@example(-LIMIT, -1)
@example(-LIMIT, -LIMIT)
@example(LIMIT - 1, 1)
@example(2**31, 2**31)
@example(5e-324, 3)
@example(-1.0, 5e-324)
@example(1.7e308, 2.3e-308)
@example(math.inf, -2.0)
@example(3, -math.inf)
@example(-0.0, 7.0)
def test_operators_on_two_numbers(name: str, a: float, b: float) -> None:
    program = Program(1 << 10)
    words = program.word(a), program.word(b)
    check(program, lambda: BINARY[name](a, b), lambda: getattr(program, name)(*words))


UNARY: dict[str, Callable[[Any], Any]] = {
    "rt_neg": operator.neg,
    "rt_abs": abs,
    "rt_int": int,
    "rt_float": float,
    "rt_round": round,
}


@pytest.mark.parametrize("name", UNARY)
@given(numbers)
@example(-LIMIT)
@example(0.5)
@example(1.5)
@example(2.5)
@example(-2.5)
@example(0.49999999999999994)
@example(4503599627370497.5)
def test_operators_on_one_number(name: str, a: float) -> None:
    program = Program(1 << 10)
    word = program.word(a)
    check(program, lambda: UNARY[name](a), lambda: getattr(program, name)(word))


BITS = {"rt_and": operator.and_, "rt_or": operator.or_, "rt_xor": operator.xor}


@given(ints, ints)
def test_bits_of_ints(a: int, b: int) -> None:
    program = Program(1 << 10)
    for name, operation in BITS.items():
        assert program.value(getattr(program, name)(program.word(a), program.word(b))) == operation(a, b)
    assert program.value(program.rt_invert(program.word(a))) == ~a


@given(ints, st.integers(-2, 80))
def test_shifts(a: int, n: int) -> None:
    program = Program(1 << 10)
    words = program.word(a), program.word(n)
    check(program, lambda: a << n, lambda: program.rt_lshift(*words))
    check(program, lambda: a >> n, lambda: program.rt_rshift(*words))


@given(st.integers(-20, 20), st.integers(0, 70))
def test_powers(a: int, n: int) -> None:
    program = Program(1 << 10)
    words = program.word(a), program.word(n)
    check(program, lambda: a**n, lambda: program.rt_pow(*words))


def test_operators_trap_where_they_are_not_defined() -> None:
    program = Program()
    pairs: list[tuple[Any, Any]] = [(1, "a"), (None, 1), (1.5, 2**63), ([], ()), ({1: 2}, 3)]
    for name in (*BINARY, *BITS, "rt_pow", "rt_lshift", "rt_rshift", "rt_lt"):
        for a, b in pairs:
            with pytest.raises(TrapError) as trap:
                getattr(program, name)(program.word(a), program.word(b))
            assert trap.value.code == layout.TRAP_TYPE, (name, a, b)
    with pytest.raises(TrapError, match="not allowed"):
        program.rt_pow(program.word(2), program.word(-1))


@given(st.lists(small, max_size=4), st.lists(small, max_size=4), st.integers(-1, 3))
def test_operators_on_containers(a: list[int], b: list[int], times: int) -> None:
    program = Program(1 << 12)

    def found(name: str, left: object, right: object) -> Any:
        return program.value(getattr(program, name)(program.word(left), program.word(right)))

    assert found("rt_add", a, b) == a + b
    assert found("rt_add", tuple(a), tuple(b)) == (*a, *b)
    assert found("rt_mul", a, times) == found("rt_mul", times, a) == a * times
    assert found("rt_mul", tuple(a), times) == tuple(a) * times
    assert found("rt_sub", set(a), set(b)) == set(a) - set(b)
    assert found("rt_and", set(a), set(b)) == set(a) & set(b)
    assert found("rt_or", set(a), set(b)) == set(a) | set(b)
    assert found("rt_or", dict.fromkeys(a), dict.fromkeys(b, 1)) == dict.fromkeys(a) | dict.fromkeys(b, 1)


@given(texts, texts)
def test_strings(a: str, b: str) -> None:
    program = Program(1 << 12)
    text, other = program.word(a), program.word(b)
    assert program.value(program.rt_str_concat(text, other)) == program.value(program.rt_add(text, other)) == a + b
    assert program.value(program.rt_str_len(text)) == len(a)
    assert program.rt_str_eq(text, other) == (a == b)
    assert program.rt_str_eq(text, program.word(a)) == 1
    assert program.rt_str_startswith(text, other) == a.startswith(b)
    assert program.rt_str_startswith(program.word(a + b), text) == 1
    assert program.value(program.rt_str_removeprefix(text, other)) == a.removeprefix(b)
    assert program.value(program.rt_str_removeprefix(program.word(a + b), text)) == b
    assert program.rt_str_hash(program.word(a + b)) == program.rt_str_hash(program.rt_str_concat(text, other)) != 0
    assert program.rt_str_contains(program.word(b + a), text) == 1


@given(ints)
def test_digits(number: int) -> None:
    program = Program(1 << 10)
    assert program.value(program.rt_int_to_str(program.word(number))) == str(number)


@given(values, values)
@example(2**62, 2.0**62)
@example(2**64 - 2048, float(2**64 - 2048))
@example(2**53 + 1, 2.0**53)
@example(LIMIT - 1, 2.0**62)
@example(-LIMIT, -(2.0**62))
@example((1, 2), Pair(1, 2))
@example((1, 2.0), (1.0, 2))
@example("", None)
@example(0, None)
def test_equal_values_are_those_equal_in_python(a: Any, b: Any) -> None:
    program = Program(1 << 12)
    words = program.word(a), program.word(b)
    assert program.rt_eq(*words) == program.rt_eq(*reversed(words)) == (a == b)
    again = program.word(a), program.word(a)
    nan = isinstance(a, float) and math.isnan(a)
    assert program.rt_eq(again[0], again[0]) == (not nan)
    assume("nan" not in repr(a))
    assert program.rt_eq(*again) == 1


@given(values)
def test_truth_is_that_of_python(a: Any) -> None:
    program = Program(1 << 12)
    assert program.rt_truth(program.word(a)) == bool(a)


def test_empty_and_full_dictionaries_have_their_truth() -> None:
    program = Program()
    for value in ({}, {0: 0}, set(), {0}):
        assert program.rt_truth(program.word(value)) == bool(value)


@given(st.recursive(atoms, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.builds(Pair, inner, inner)), atoms)
@example(2**63, None)
def test_equal_values_have_equal_hashes(a: Any, b: Any) -> None:
    program = Program(1 << 13)
    words = program.word(a), program.word(a)
    assume("nan" not in repr(a))
    assert program.rt_hash(words[0]) == program.rt_hash(words[1])
    if a == b:
        assert program.rt_hash(words[0]) == program.rt_hash(program.word(b))
    if isinstance(a, tuple) and len(a) == 2:
        assert program.rt_hash(program.word(tuple(a))) == program.rt_hash(program.word(Pair(*a)))


@given(numbers | bigints)
def test_an_int_and_a_float_of_one_value_have_one_hash(a: float) -> None:
    assume(math.isfinite(a))
    program = Program(1 << 10)
    whole = float(a)
    assume(whole == int(whole) and -LIMIT <= whole < 2**64)
    assert program.rt_hash(program.word(whole)) == program.rt_hash(program.word(int(whole)))


@pytest.mark.parametrize("step", [1, 8, 24, 4096, 1_000_003, 1 << 20, 1 << 40])
@pytest.mark.parametrize("shift", [0, 32])
def test_hashes_of_ints_spread_in_all_bits(step: int, shift: int) -> None:
    program = Program(1 << 10)
    slots = {(program.rt_hash(program.word(i * step)) >> shift) & 1023 for i in range(1024)}
    assert len(slots) > 450  # drawn at random it would be 647


orderable = st.recursive(
    numbers, lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple), max_leaves=6
)


@given(orderable, orderable)
@example((1, 2), (1, 2, 0))
@example(2**53 + 1, 2.0**53)
@example(LIMIT - 1, 2.0**62)
@example(-LIMIT, -(2.0**62))
@example(3, 3.5)
@example(-3, -3.5)
def test_order_is_that_of_python(a: Any, b: Any) -> None:
    program = Program(1 << 12)
    words = program.word(a), program.word(b)
    try:
        less = a < b
    except TypeError:
        with pytest.raises(TrapError, match="not defined"):
            program.rt_lt(*words)
    else:
        assert program.rt_lt(*words) == less


@given(texts, texts)
def test_order_of_strings_is_that_of_python(a: str, b: str) -> None:
    program = Program(1 << 10)
    assert program.rt_lt(program.word(a), program.word(b)) == (a < b)


keyed = st.lists(st.tuples(st.integers(0, 5) | st.sampled_from([0.0, 2.0, 4.5]), small), max_size=60)


@given(keyed)
def test_sorting_is_stable(pairs: list[tuple[float, int]]) -> None:
    program = Program(1 << 14)
    keys = [key for key, _ in pairs]
    items, words = program.word(pairs), program.word(keys)
    found = program.value(program.rt_sort_by(items, words))
    assert exactly(found) == exactly(sorted(pairs, key=operator.itemgetter(0)))
    assert exactly(program.value(program.rt_sorted(words))) == exactly(sorted(keys))
    assert exactly(program.value(words)) == exactly(keys)
    assert exactly(program.value(items)) == exactly(pairs)


def test_keys_and_items_must_be_as_many() -> None:
    program = Program(1 << 10)
    with pytest.raises(TrapError, match="not allowed"):
        program.rt_sort_by(program.word([1, 2]), program.word([1]))


@pytest.mark.parametrize("kind", ["", "_tuple"])
@given(st.lists(st.none() | st.tuples(st.integers(0, 4), st.integers(0, 2), small), max_size=80))
def test_heaps_lie_in_memory_as_python_s(kind: str, todo: list[tuple[int, int, int] | None]) -> None:
    program = Program(1 << 14)
    push, pop = getattr(program, f"rt_heappush{kind}"), getattr(program, f"rt_heappop{kind}")
    heap, mirror = program.rt_list_new(0), list[tuple[int, int, int]]()
    for item in todo:
        if item is not None:
            push(heap, program.word(item))
            heapq.heappush(mirror, item)
        elif mirror:
            assert program.value(pop(heap)) == heapq.heappop(mirror)
        else:
            with pytest.raises(TrapError, match="out of range"):
                pop(heap)
        assert program.value(heap) == mirror


@given(st.lists(small | small.map(float), max_size=40).map(sorted), small, st.sampled_from([list, tuple]))
def test_bisection(items: list[float], value: int, kind: type) -> None:
    program = Program(1 << 12)
    words = program.word(kind(items)), program.word(value)
    assert program.value(program.rt_bisect_left(*words)) == bisect.bisect_left(items, value)
    assert program.value(program.rt_bisect_right(*words)) == bisect.bisect_right(items, value)
