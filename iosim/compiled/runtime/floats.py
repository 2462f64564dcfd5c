"""Doubles: those operations of Python's float that a processor has no instruction for. All words here are raw bits."""

from iosim.compiled.layout import FLOAT, FLOAT_BITS, TRAP_OVERFLOW, TRAP_VALUE
from iosim.compiled.raw import fadd, fdiv, feq, fle, flt, fmul, fsub, ftoi, itof, sdiv, srem, st, trap
from iosim.compiled.runtime.compare import HIDDEN_BIT, MINUS_TWO_62, SIGNIFICAND_MASK, TWO_62
from iosim.compiled.runtime.memory import rt_alloc

SIGN_BIT = -0x8000000000000000
MAGNITUDE = 0x7FFFFFFFFFFFFFFF
INFINITY = 0x7FF0000000000000
NAN = 0x7FF8000000000000
TWO_52 = 0x4330000000000000
"""Bits of 2.0 ** 52, from where on all doubles are whole."""
ONE = 0x3FF0000000000000
HALF = 0x3FE0000000000000
BIAS = 1023
STEP_BITS = 10
"""A significand of 53 bits can be shifted by so many in a word."""
QUOTIENT_BITS = 54


def rt_float_new(bits: int) -> int:
    """A FLOAT object."""
    number = rt_alloc(FLOAT, 2)
    st(number + FLOAT_BITS, bits)
    return number


def rt_float_to_int(bits: int) -> int:
    """The int towards zero from a double; traps if that does not fit 63 bits, or is none."""
    if feq(bits, bits) == 0:
        return trap(TRAP_VALUE)
    if flt(bits, MINUS_TWO_62) or fle(TWO_62, bits):
        return trap(TRAP_OVERFLOW)
    return (ftoi(bits) << 1) | 1


def rt_float_floor(bits: int) -> int:
    """The greatest whole double that is not above a double."""
    if (bits & MAGNITUDE) >= TWO_52:
        return bits
    whole = itof(ftoi(bits))
    return fsub(whole, ONE) if flt(bits, whole) else whole


def rt_float_round(bits: int) -> int:
    """The whole double nearest to a double, of two the even one."""
    if (bits & MAGNITUDE) >= TWO_52:
        return bits
    whole = rt_float_floor(bits)
    rest = fsub(bits, whole)
    if flt(HALF, rest) or (feq(HALF, rest) and (ftoi(whole) & 1) == 1):
        return fadd(whole, ONE)
    return whole


def rt_exponent(magnitude: int) -> int:
    """Exponent field of a double without its sign; that of subnormal ones counts as 1."""
    field = magnitude >> 52
    return field if field != 0 else 1


def rt_significand(magnitude: int) -> int:
    """Significand of a double without its sign, as a whole number."""
    return magnitude if magnitude < HIDDEN_BIT else (magnitude & SIGNIFICAND_MASK) | HIDDEN_BIT


def rt_fmod(a: int, b: int) -> int:
    """Exact remainder of a / b towards zero, as C's fmod; *b* is not zero."""
    magnitude = a & MAGNITUDE
    divisor = b & MAGNITUDE
    if magnitude >= INFINITY or divisor > INFINITY:
        return NAN
    if magnitude < divisor:
        return a
    step = rt_significand(divisor)
    rest = srem(rt_significand(magnitude), step)
    exponent = rt_exponent(divisor)
    n_bits = rt_exponent(magnitude) - exponent
    while n_bits > 0:
        shift = n_bits if n_bits < STEP_BITS else STEP_BITS
        rest = srem(rest << shift, step)
        n_bits -= shift
    if rest == 0:
        return a & SIGN_BIT
    while rest < HIDDEN_BIT and exponent > 1:
        rest = rest << 1
        exponent -= 1
    if rest < HIDDEN_BIT:
        return (a & SIGN_BIT) | rest
    return (a & SIGN_BIT) | (exponent << 52) | (rest & SIGNIFICAND_MASK)


def rt_float_mod(a: int, b: int) -> int:
    """Remainder a % b, with the sign of *b*, which is not zero."""
    rest = rt_fmod(a, b)
    if feq(rest, 0):
        return b & SIGN_BIT
    return fadd(rest, b) if flt(b, 0) != flt(rest, 0) else rest


def rt_float_floordiv(a: int, b: int) -> int:
    """Quotient a // b; *b* is not zero."""
    rest = rt_fmod(a, b)
    quotient = fdiv(fsub(a, rest), b)
    if feq(rest, 0) == 0 and flt(b, 0) != flt(rest, 0):
        quotient = fsub(quotient, ONE)
    if feq(quotient, 0):
        return fdiv(a, b) & SIGN_BIT
    whole = rt_float_floor(quotient)
    return fadd(whole, ONE) if flt(HALF, fsub(quotient, whole)) else whole


def rt_int_ratio(a: int, b: int) -> int:
    """The double nearest to the ratio of two raw ints of 63 bits; *b* is not zero."""
    dividend = a if a >= 0 else -a
    divisor = b if b >= 0 else -b
    sign = (a ^ b) & SIGN_BIT
    if dividend == 0:
        return sign
    if dividend <= HIDDEN_BIT and divisor <= HIDDEN_BIT:
        return fdiv(itof(dividend), itof(divisor)) | sign
    return rt_long_ratio(dividend, divisor) | sign


def rt_long_ratio(dividend: int, divisor: int) -> int:
    """The double nearest to the ratio of two positive raw ints: more bits than it has, the last one sticky, rounded."""
    quotient = sdiv(dividend, divisor)
    rest = srem(dividend, divisor)
    shift = 0
    while (quotient >> QUOTIENT_BITS) == 0:
        rest = rest << 1
        quotient = quotient << 1
        if rest >= divisor:
            rest -= divisor
            quotient = quotient | 1
        shift += 1
    if rest != 0:
        quotient = quotient | 1
    return fmul(itof(quotient), (BIAS - shift) << 52)
