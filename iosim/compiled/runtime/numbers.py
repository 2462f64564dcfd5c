"""Operators on values: ints and floats mixed as Python does, and those that containers and strings have."""

from iosim.compiled.layout import (
    BIGINT,
    BIGINT_VALUE,
    DICT,
    FLAG_CONTENT,
    FLOAT,
    FLOAT_BITS,
    INT_CLASS,
    LIST,
    PAYLOAD,
    SET,
    STR,
    TRAP_OVERFLOW,
    TRAP_TYPE,
    TRAP_VALUE,
    TRAP_ZERO_DIVISION,
    TUPLE,
)
from iosim.compiled.raw import fadd, fdiv, feq, fmul, fsub, itof, ld, sdiv, srem, st, trap, ushr
from iosim.compiled.runtime.compare import rt_lt
from iosim.compiled.runtime.dicts import rt_dict_copy, rt_dict_update
from iosim.compiled.runtime.floats import (
    MAGNITUDE,
    SIGN_BIT,
    rt_float_floordiv,
    rt_float_mod,
    rt_float_new,
    rt_float_round,
    rt_float_to_int,
    rt_int_ratio,
)
from iosim.compiled.runtime.iteration import rt_tag
from iosim.compiled.runtime.lists import rt_list_concat, rt_list_repeat
from iosim.compiled.runtime.memory import rt_alloc, rt_class_flags, rt_class_of
from iosim.compiled.runtime.sets import rt_set_difference, rt_set_intersection, rt_set_union
from iosim.compiled.runtime.text import rt_str_concat
from iosim.compiled.runtime.tuples import rt_tuple_concat, rt_tuple_repeat


def rt_double(a: int) -> int:
    """A number's value as a raw double; traps for anything else."""
    if a & 1:
        return itof(a >> 1)
    return ld(a + FLOAT_BITS) if rt_class_of(a) == FLOAT else trap(TRAP_TYPE)


def rt_divisor(b: int) -> int:
    """A number's value as a raw double that is not zero; traps for zero."""
    bits = rt_double(b)
    return trap(TRAP_ZERO_DIVISION) if feq(bits, 0) else bits


def rt_add(a: int, b: int) -> int:
    """The sum of two numbers; two strings, lists or tuples as one."""
    if a & b & 1:
        total = a + (b - 1)
        return total if ((a ^ total) & (b ^ total)) >= 0 else trap(TRAP_OVERFLOW)
    class_a = rt_class_of(a)
    class_b = rt_class_of(b)
    if class_a == STR and class_b == STR:
        return rt_str_concat(a, b)
    if class_a == LIST and class_b == LIST:
        return rt_list_concat(a, b)
    if rt_class_flags(class_a) & rt_class_flags(class_b) & FLAG_CONTENT:
        return rt_tuple_concat(a, b)
    return rt_float_new(fadd(rt_double(a), rt_double(b)))


def rt_sub(a: int, b: int) -> int:
    """The difference of two numbers or sets."""
    if a & b & 1:
        total = a - (b - 1)
        return total if ((a ^ b) & (a ^ total)) >= 0 else trap(TRAP_OVERFLOW)
    if rt_class_of(a) == SET and rt_class_of(b) == SET:
        return rt_set_difference(a, b)
    return rt_float_new(fsub(rt_double(a), rt_double(b)))


def rt_mul(a: int, b: int) -> int:
    """The product of two numbers; a list or tuple repeated."""
    if a & b & 1:
        return rt_int_mul(a >> 1, b >> 1)
    times = b if b & 1 else a
    items = a if b & 1 else b
    class_id = rt_class_of(items)
    if class_id == LIST and times & 1:
        return rt_list_repeat(items, times)
    if rt_class_flags(class_id) & FLAG_CONTENT and times & 1:
        return rt_tuple_repeat(items, times)
    return rt_float_new(fmul(rt_double(a), rt_double(b)))


def rt_int_mul(a: int, b: int) -> int:
    """The product of two raw ints of 63 bits, as an int."""
    product = a * b
    if a != 0 and sdiv(product, a) != b:
        return trap(TRAP_OVERFLOW)
    return rt_tag(product)


def rt_truediv(a: int, b: int) -> int:
    """The quotient of two numbers, a float; traps for a divisor of zero."""
    divisor = rt_divisor(b)
    if a & b & 1:
        return rt_float_new(rt_int_ratio(a >> 1, b >> 1))
    return rt_float_new(fdiv(rt_double(a), divisor))


def rt_floordiv(a: int, b: int) -> int:
    """The quotient of two numbers, rounded down."""
    if a & b & 1:
        if b == 1:
            return trap(TRAP_ZERO_DIVISION)
        quotient = sdiv(a >> 1, b >> 1)
        rest = srem(a >> 1, b >> 1)
        return rt_tag(quotient - 1 if rest != 0 and (rest ^ b) < 0 else quotient)
    return rt_float_new(rt_float_floordiv(rt_double(a), rt_divisor(b)))


def rt_mod(a: int, b: int) -> int:
    """The remainder of a // b, with the sign of *b*."""
    if a & b & 1:
        if b == 1:
            return trap(TRAP_ZERO_DIVISION)
        rest = srem(a >> 1, b >> 1)
        return rt_tag(rest + (b >> 1) if rest != 0 and (rest ^ b) < 0 else rest)
    return rt_float_new(rt_float_mod(rt_double(a), rt_divisor(b)))


def rt_divmod(a: int, b: int) -> int:
    """The tuple (a // b, a % b)."""
    pair = rt_alloc(TUPLE, 3)
    st(pair + PAYLOAD, rt_floordiv(a, b))
    st(pair + PAYLOAD + 8, rt_mod(a, b))
    return pair


def rt_pow(a: int, b: int) -> int:
    """An int to the power of an int that is not negative."""
    if (a & b & 1) == 0:
        return trap(TRAP_TYPE)
    exponent = b >> 1
    if exponent < 0:
        return trap(TRAP_VALUE)
    base = a
    result = 3
    while exponent != 0:
        if exponent & 1:
            result = rt_mul(result, base)
        exponent = exponent >> 1
        if exponent != 0:
            base = rt_mul(base, base)
    return result


def rt_neg(a: int) -> int:
    """A number negated."""
    if a & 1:
        return rt_tag(-(a >> 1))
    return rt_float_new(rt_double(a) ^ SIGN_BIT)


def rt_abs(a: int) -> int:
    """A number without its sign."""
    if a & 1:
        return a if a >= 0 else rt_neg(a)
    return rt_float_new(rt_double(a) & MAGNITUDE)


def rt_int(a: int) -> int:
    """A number as int, towards zero."""
    return a if a & 1 else rt_float_to_int(rt_double(a))


def rt_round(a: int) -> int:
    """The int nearest to a number, of two the even one."""
    return a if a & 1 else rt_float_to_int(rt_float_round(rt_double(a)))


def rt_float(a: int) -> int:
    """A number as float."""
    return rt_float_new(rt_double(a)) if a & 1 or rt_class_of(a) != FLOAT else a


def rt_shift_count(b: int) -> int:
    """Raw value of an int that is not negative, 63 for more."""
    if (b & 1) == 0:
        return trap(TRAP_TYPE)
    count = b >> 1
    if count < 0:
        return trap(TRAP_VALUE)
    return count if count < 63 else 63


def rt_lshift(a: int, b: int) -> int:
    """A << b for ints."""
    if rt_class_of(a) != INT_CLASS:
        return trap(TRAP_TYPE)
    count = rt_shift_count(b)
    value = a >> 1
    shifted = value << count
    return rt_tag(shifted) if shifted >> count == value else trap(TRAP_OVERFLOW)


def rt_rshift(a: int, b: int) -> int:
    """A >> b for ints."""
    if rt_class_of(a) == BIGINT:
        return (ushr(ld(a + BIGINT_VALUE), rt_shift_count(b)) << 1) | 1
    if rt_class_of(a) != INT_CLASS:
        return trap(TRAP_TYPE)
    return (a >> rt_shift_count(b)) | 1


def rt_and(a: int, b: int) -> int:
    """A & b for ints and sets."""
    if a & b & 1:
        return a & b
    if rt_class_of(a) == SET and rt_class_of(b) == SET:
        return rt_set_intersection(a, b)
    return trap(TRAP_TYPE)


def rt_or(a: int, b: int) -> int:
    """A | b for ints, sets and dictionaries."""
    if a & b & 1:
        return a | b
    class_a = rt_class_of(a)
    class_b = rt_class_of(b)
    if class_a == SET and class_b == SET:
        return rt_set_union(a, b)
    if class_a == DICT and class_b == DICT:
        return rt_dict_update(rt_dict_copy(a), b)
    return trap(TRAP_TYPE)


def rt_xor(a: int, b: int) -> int:
    """A ^ b for ints."""
    return (a ^ b) | 1 if a & b & 1 else trap(TRAP_TYPE)


def rt_invert(a: int) -> int:
    """~a for an int."""
    return ~a | 1 if a & 1 else trap(TRAP_TYPE)


def rt_min2(a: int, b: int) -> int:
    """The lesser of two values, the first one if neither is."""
    return b if rt_lt(b, a) else a


def rt_max2(a: int, b: int) -> int:
    """The greater of two values, the first one if neither is."""
    return b if rt_lt(a, b) else a
