"""The raw language in plain Python: words that wrap, and what the language does not allow."""

import importlib.util
import math
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.compiled import raw
from iosim.compiled.raw import RawError, TrapError
from iosim.compiled.raw_loader import load

words = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3), st.sampled_from([2**63 - 1, -(2**63), 2**32, -(2**32)])
)


def module(folder: Path, text: str) -> ModuleType:
    path = folder / "made.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("made", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[..., int]]:
    text = '''
LIMIT = 10


def add(a: int, b: int) -> int:
    """A docstring."""
    return a + b

def sub(a: int, b: int) -> int:
    return a - b

def mul(a: int, b: int) -> int:
    return a * b

def neg(a: int) -> int:
    return -a

def lowest() -> int:
    return -9223372036854775808

def inverted(a: int) -> int:
    return ~a

def left(a: int, n: int) -> int:
    return a << n

def right(a: int, n: int) -> int:
    return a >> n

def less(a: int, b: int) -> int:
    return a < b

def between(a: int, low: int, high: int) -> int:
    return 1 if not a < low and (a <= high or high < 0) else 0

def total(start: int, stop: int, step: int) -> int:
    result = 0
    for i in range(start, stop, step):
        if i == LIMIT:
            continue
        result += i
    return result

def digits(a: int) -> int:
    n = 0
    while a > 0:
        a -= 1
        n += 1
        if n == LIMIT:
            break
    else_part = n
    return else_part
'''
    return load([module(tmp_path_factory.mktemp("raw"), text)])


def signed(number: int) -> int:
    """The low 64 bits of a number, by struct."""
    return int(struct.unpack("<q", (number & (2**64 - 1)).to_bytes(8, "little"))[0])


@given(a=words, b=words)
def test_arithmetic_wraps(made: dict[str, Callable[..., int]], a: int, b: int) -> None:
    assert made["add"](a, b) == signed(a + b)
    assert made["sub"](a, b) == signed(a - b)
    assert made["mul"](a, b) == signed(a * b)
    assert made["neg"](a) == signed(-a)
    assert made["inverted"](a) == -a - 1
    assert made["less"](a, b) == int(a < b)
    assert raw.ult(a, b) == int(a % 2**64 < b % 2**64)


@given(a=words, n=st.integers(0, 63))
def test_shifts(made: dict[str, Callable[..., int]], a: int, n: int) -> None:
    assert made["left"](a, n) == signed(a << n)
    assert made["right"](a, n) == a >> n
    assert raw.ushr(a, n) == signed((a % 2**64) >> n)


@given(words, words)
def test_division_is_towards_zero(a: int, b: int) -> None:
    if b == 0 or (a, b) == (-(2**63), -1):
        with pytest.raises(RawError, match="sdiv"):
            raw.sdiv(a, b)
    else:
        assert raw.sdiv(a, b) * b + raw.srem(a, b) == a
        assert abs(raw.srem(a, b)) < abs(b)
        assert raw.srem(a, b) * a >= 0


@given(st.floats(), st.floats())
def test_doubles(a: float, b: float) -> None:
    def bits(value: float) -> int:
        return int(struct.unpack("<q", struct.pack("<d", value))[0])

    x, y = bits(a), bits(b)
    if not math.isnan(a + b):
        assert raw.fadd(x, y) == bits(a + b)
    if not math.isnan(a - b):
        assert raw.fsub(x, y) == bits(a - b)
    if not math.isnan(a * b):
        assert raw.fmul(x, y) == bits(a * b)
    if b == 0:
        with pytest.raises(RawError, match="fdiv by zero"):
            raw.fdiv(x, y)
    elif not math.isnan(a / b):
        assert raw.fdiv(x, y) == bits(a / b)
    assert (raw.flt(x, y), raw.fle(x, y), raw.feq(x, y)) == (a < b, a <= b, a == b)
    if abs(a) < 2**63:
        assert raw.ftoi(x) == math.trunc(a)
        assert raw.itof(math.trunc(a)) == bits(float(math.trunc(a)))
    else:
        with pytest.raises(RawError, match="ftoi"):
            raw.ftoi(x)


def test_constants_and_control_flow(made: dict[str, Callable[..., int]]) -> None:
    assert [made["between"](a, 2, 4) for a in range(1, 6)] == [0, 1, 1, 1, 0]
    assert made["between"](9, 2, -1) == 1
    assert made["lowest"]() == -(2**63)
    assert made["total"](0, 13, 2) == 0 + 2 + 4 + 6 + 8 + 12
    assert made["total"](5, 0, -1) == 15
    assert [made["digits"](n) for n in (-1, 0, 7, 100)] == [0, 0, 7, 10]


def test_memory_holds_words_and_bytes_little_endian() -> None:
    raw.reset(16)
    raw.st(raw.MEMORY_BASE, -2)
    raw.st8(raw.MEMORY_BASE + 8, 0x1FF)
    assert [raw.ld8(raw.MEMORY_BASE + i) for i in range(10)] == [254, *[255] * 7, 255, 0]
    assert raw.ld(raw.MEMORY_BASE + 8) == 255
    for address in (0, 8, raw.gaddr(0) - 8):
        with pytest.raises(RawError, match="no memory"):
            raw.ld(address)
    with pytest.raises(RawError, match="odd address"):
        raw.st(raw.MEMORY_BASE + 4, 0)
    with pytest.raises(IndexError):
        raw.ld(raw.MEMORY_BASE + 16)
    with pytest.raises(RawError, match="no global word 256"):
        raw.gaddr(256)


def test_a_trap_says_what_happened() -> None:
    with pytest.raises(TrapError, match="the arena is exhausted"):
        raw.trap(1)
    with pytest.raises(TrapError, match="trap 99"):
        raw.trap(99)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("return a / b", "Div is not in the raw language"),
        ("return a // b", "FloorDiv is not in the raw language"),
        ("return a % b", "Mod is not in the raw language"),
        ("return a < b < 3", "one comparison of two words"),
        ("return a is b", "one comparison of two words"),
        ("return a in (1, 2)", "one comparison of two words"),
        ("return a and b", "BoolOp is not"),
        ("return not a", "not outside of a condition"),
        ("return 1.5", "1.5 is not a 64-bit integer"),
        ("return -1.5", "1.5 is not a 64-bit integer"),
        ("return True", "True is not a 64-bit integer"),
        ("return 9223372036854775808", "9223372036854775808 is not a 64-bit integer"),
        ("x, y = a, b\n    return x", "one name is assigned to"),
        ("x = y = a\n    return x", "one name is assigned to"),
        ("a.x = b\n    return a", "one name is assigned to"),
        ("a[0] += b\n    return a", "one name is assigned to"),
        ("a + b\n    return a", "without effect"),
        ("for i in (a, b):\n        a = i\n    return a", r"for needs range\(...\)"),
        ("return [a, b]", "List is not"),
        ("return a.b", "Attribute is not"),
        ("return a.b()", "only calls by name"),
        ("return f(a, b=1)", "only calls by name"),
        ("assert a\n    return b", "Assert is not"),
        ("if a:\n        return b", "f may end without a value"),
        ("a = b", "f may end without a value"),
        ("while a:\n        a = 0\n    else:\n        b = 1\n    return b", "else of a loop"),
        ("for i in range(3):\n        a = i\n    else:\n        b = 1\n    return b", "else of a loop"),
    ],
)
def test_other_python_is_refused(tmp_path: Path, body: str, rule: str) -> None:
    text = f"def f(a, b):\n    {body}\n"
    with pytest.raises(RawError, match=rule) as error:
        load([module(tmp_path, text)])
    assert str(error.value).startswith("made:")


def test_functions_have_plain_parameters_and_one_definition(tmp_path: Path) -> None:
    for parameters in ("a=1", "*a", "**a", "*, a"):
        with pytest.raises(RawError, match="only positional parameters"):
            load([module(tmp_path, f"def f({parameters}):\n    return 0\n")])
    with pytest.raises(RawError, match="f is defined twice"):
        load([module(tmp_path, "def f():\n    return 0\n"), module(tmp_path, "def f():\n    return 1\n")])
