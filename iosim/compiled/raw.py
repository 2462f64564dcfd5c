"""The raw language: what the compiled engine's run-time library is written in, and its execution in plain Python.

A raw module is a Python module of functions whose parameters, locals and results are 64-bit words, signed, wrapping
around. Its intrinsics are defined here on a memory that is a bytearray, so that a raw module runs without a compiler:
raw_loader.load() gives its functions. The bytes of the memory begin at address MEMORY_BASE, behind the global words.
"""

import struct
from collections.abc import Callable

from iosim.compiled import layout

MEMORY_BASE = 1 << 16
_WORD = 1 << 64
_HALF = 1 << 63


class TrapError(Exception):
    """The program ended with trap(code)."""

    def __init__(self, code: int) -> None:
        super().__init__(layout.TRAP_MESSAGES.get(code, f"trap {code}"))
        self.code = code


class RawError(Exception):
    """A module does not keep to the raw language, or a program does what the language leaves undefined."""


class Memory:
    """The memory of one program: global words, then *n_bytes* bytes from MEMORY_BASE, all zero."""

    def __init__(self, n_bytes: int) -> None:
        self.bytes = bytearray(MEMORY_BASE + n_bytes)
        self.words = memoryview(self.bytes).cast("q")


_GLOBALS_BASE = MEMORY_BASE - 8 * layout.N_GLOBALS
_memory = Memory(0)


def reset(n_bytes: int) -> Memory:
    """Begin a program with a new memory of *n_bytes* bytes."""
    global _memory
    _memory = Memory(n_bytes)
    return _memory


def wrap(value: int) -> int:
    """*value* as a signed 64-bit word."""
    return (value + _HALF) % _WORD - _HALF


def _check(address: int) -> int:
    if address < _GLOBALS_BASE:
        raise RawError(f"no memory at address {address:#x}")
    return address


def ld(address: int) -> int:
    """The word at *address*."""
    if address & 7:
        raise RawError(f"a word at the odd address {address:#x}")
    return _memory.words[_check(address) >> 3]


def st(address: int, word: int) -> int:
    """Store *word* at *address*."""
    if address & 7:
        raise RawError(f"a word at the odd address {address:#x}")
    _memory.words[_check(address) >> 3] = word
    return 0


def ld8(address: int) -> int:
    """The byte at *address*, unsigned."""
    return _memory.bytes[_check(address)]


def st8(address: int, byte: int) -> int:
    """Store the low byte of *byte* at *address*."""
    _memory.bytes[_check(address)] = byte & 0xFF
    return 0


def gaddr(number: int) -> int:
    """Address of the global word *number*."""
    if not 0 <= number < layout.N_GLOBALS:
        raise RawError(f"no global word {number}")
    return _GLOBALS_BASE + 8 * number


def shl(a: int, n: int) -> int:
    """*a* << *n*, for *n* from 0 to 63."""
    return wrap(a << _count(n))


def sar(a: int, n: int) -> int:
    """*a* >> *n*, arithmetic, for *n* from 0 to 63."""
    return a >> _count(n)


def ushr(a: int, n: int) -> int:
    """*a* as an unsigned number, shifted right by *n*, from 0 to 63."""
    return wrap((a % _WORD) >> _count(n))


def _count(n: int) -> int:
    if not 0 <= n < 64:
        raise RawError(f"shift by {n}")
    return n


def ult(a: int, b: int) -> int:
    """*a* < *b* as unsigned numbers."""
    return int(a % _WORD < b % _WORD)


def sdiv(a: int, b: int) -> int:
    """*a* / *b* towards zero."""
    if b == 0 or (a == -_HALF and b == -1):
        raise RawError(f"sdiv({a}, {b})")
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def srem(a: int, b: int) -> int:
    """Remainder of sdiv, with the sign of *a*."""
    return a - b * sdiv(a, b)


def to_bits(value: float) -> int:
    """The bits of a double as a word."""
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def from_bits(bits: int) -> float:
    """The double of a word's bits."""
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


def fadd(a: int, b: int) -> int:
    """Sum of two doubles."""
    return to_bits(from_bits(a) + from_bits(b))


def fsub(a: int, b: int) -> int:
    """Difference of two doubles."""
    return to_bits(from_bits(a) - from_bits(b))


def fmul(a: int, b: int) -> int:
    """Product of two doubles."""
    return to_bits(from_bits(a) * from_bits(b))


def fdiv(a: int, b: int) -> int:
    """Quotient of two doubles; the divisor is not zero."""
    if from_bits(b) == 0.0:
        raise RawError("fdiv by zero")
    return to_bits(from_bits(a) / from_bits(b))


def flt(a: int, b: int) -> int:
    """Whether one double is less than another."""
    return int(from_bits(a) < from_bits(b))


def fle(a: int, b: int) -> int:
    """Whether one double is less than or equal to another."""
    return int(from_bits(a) <= from_bits(b))


def feq(a: int, b: int) -> int:
    """Whether two doubles are equal (a NaN equals nothing)."""
    return int(from_bits(a) == from_bits(b))


def itof(a: int) -> int:
    """The double nearest to a raw int."""
    return to_bits(float(a))


def ftoi(a: int) -> int:
    """A double as raw int, towards zero; it fits 64 bits."""
    value = from_bits(a)
    if not -(2.0**63) <= value < 2.0**63:
        raise RawError(f"ftoi({value})")
    return int(value)


def trap(code: int) -> int:
    """End the program with an error (never returns; as an expression it has the type of a word)."""
    raise TrapError(code)


def user_lt(a: int, b: int) -> int:
    """Raw 1 if a < b by the method __lt__ of their class: in a compiled program only."""
    raise TrapError(layout.TRAP_TYPE)


INTRINSICS: dict[str, Callable[..., int]] = {
    function.__name__: function
    for function in (
        *(ld, st, ld8, st8, gaddr, ushr, ult, sdiv, srem),
        *(fadd, fsub, fmul, fdiv, flt, fle, feq, itof, ftoi, trap, user_lt),
    )
}
