"""Equality, hash, order and truth of values, as Python has them."""

from iosim.compiled.layout import (
    BIGINT,
    BIGINT_VALUE,
    CLASS_MASK,
    DEQUE,
    DEQUE_BUFFER,
    DEQUE_HEAD,
    DEQUE_LENGTH,
    DICT,
    FLAG_CONTENT,
    FLAG_IDENTITY,
    FLOAT,
    FLOAT_BITS,
    INT_CLASS,
    LIST,
    LIST_BUFFER,
    LIST_LENGTH,
    PAYLOAD,
    PERMANENT,
    SET,
    STR,
    STR_LENGTH,
    TRAP_TYPE,
    TUPLE,
)
from iosim.compiled.raw import feq, fle, flt, ftoi, itof, ld, trap, ult, user_lt
from iosim.compiled.runtime.memory import rt_class_flags, rt_class_of, rt_size
from iosim.compiled.runtime.text import rt_mix, rt_str_eq, rt_str_hash, rt_str_lt

TWO_62 = 0x43D0000000000000
"""Bits of 2.0 ** 62, the first double beyond the ints of a word."""
MINUS_TWO_62 = -0x3C30000000000000
TWO_64 = 0x43F0000000000000
EXPONENT_BIAS = 1075
"""Exponent field of a double whose 53-bit significand counts ones."""
SIGNIFICAND_MASK = 0xFFFFFFFFFFFFF
HIDDEN_BIT = 0x10000000000000
TUPLE_SEED = 3141592653589793239

_KIND = CLASS_MASK | PERMANENT
_PERMANENT_STR = STR | PERMANENT
"""A string of the image, of which there is no other with the same content."""

LESS = -1
EQUAL = 0
GREATER = 1
UNORDERED = 2


def rt_eq(a: int, b: int) -> int:
    """Raw 1 if a == b: numbers by value, strings, tuples, lists and deques by content, others by identity."""
    if a & b & 1 or a == 0 or b == 0:
        return a == b
    if ((a | b) & 1) == 0 and ld(a) & _KIND == _PERMANENT_STR and ld(b) & _KIND == _PERMANENT_STR:
        return a == b
    class_a = rt_class_of(a)
    class_b = rt_class_of(b)
    if class_a == FLOAT:
        return rt_float_eq(ld(a + FLOAT_BITS), b, class_b)
    if class_b == FLOAT:
        return rt_float_eq(ld(b + FLOAT_BITS), a, class_a)
    if a == b:
        return 1
    if class_a == STR:
        return rt_str_eq(a, b) if class_b == STR else 0
    if rt_class_flags(class_a) & rt_class_flags(class_b) & FLAG_CONTENT:
        size = rt_size(a)
        return rt_words_eq(a + PAYLOAD, b + PAYLOAD, size - 1) if size == rt_size(b) else 0
    return rt_other_eq(a, b, class_a) if class_a == class_b else 0


def rt_same(a: int, b: int) -> int:
    """Raw 1 if a is b or a == b, as containers look for their items."""
    return 1 if a == b else rt_eq(a, b)


def rt_other_eq(a: int, b: int, class_id: int) -> int:
    """Raw 1 if two different objects of one class are equal; dictionaries and sets are not compared."""
    if class_id == BIGINT:
        return ld(a + BIGINT_VALUE) == ld(b + BIGINT_VALUE)
    if class_id == LIST:
        n_items = ld(a + LIST_LENGTH)
        if n_items != ld(b + LIST_LENGTH):
            return 0
        return rt_words_eq(ld(a + LIST_BUFFER) + PAYLOAD, ld(b + LIST_BUFFER) + PAYLOAD, n_items >> 1)
    if class_id == DEQUE:
        return rt_deque_eq(a, b)
    if class_id == DICT or class_id == SET:
        return trap(TRAP_TYPE)
    return 0


def rt_words_eq(a: int, b: int, n_words: int) -> int:
    """Raw 1 if the values at two addresses are equal."""
    for i in range(n_words):
        if rt_same(ld(a + (i << 3)), ld(b + (i << 3))) == 0:
            return 0
    return 1


def rt_deque_at(deque: int, position: int) -> int:
    """Item of a deque at a raw position from 0 to its length - 1."""
    buffer = ld(deque + DEQUE_BUFFER)
    slot = ((ld(deque + DEQUE_HEAD) >> 1) + position) & (rt_size(buffer) - 2)
    return ld(buffer + PAYLOAD + (slot << 3))


def rt_deque_eq(a: int, b: int) -> int:
    """Raw 1 if two deques have equal items."""
    n_items = ld(a + DEQUE_LENGTH)
    if n_items != ld(b + DEQUE_LENGTH):
        return 0
    for i in range(n_items >> 1):
        if rt_same(rt_deque_at(a, i), rt_deque_at(b, i)) == 0:
            return 0
    return 1


def rt_float_eq(bits: int, other: int, class_id: int) -> int:
    """Raw 1 if a double equals a value of class *class_id*."""
    if class_id == FLOAT:
        return feq(bits, ld(other + FLOAT_BITS))
    if class_id == INT_CLASS:
        return rt_compare_int_float(other >> 1, bits) == EQUAL
    if class_id == BIGINT:
        return rt_float_bigint(bits) == ld(other + BIGINT_VALUE)
    return 0


def rt_float_bigint(bits: int) -> int:
    """The unsigned number that a double from 2.0 ** 62 to before 2.0 ** 64 is, 0 for other doubles."""
    if fle(TWO_62, bits) and flt(bits, TWO_64):
        return ((bits & SIGNIFICAND_MASK) | HIDDEN_BIT) << ((bits >> 52) - EXPONENT_BIAS)
    return 0


def rt_compare_int_float(number: int, bits: int) -> int:
    """LESS, EQUAL or GREATER as a raw int is to a double, exactly; UNORDERED if that is not a number."""
    if feq(bits, bits) == 0:
        return UNORDERED
    if fle(TWO_62, bits):
        return LESS
    if flt(bits, MINUS_TWO_62):
        return GREATER
    whole = ftoi(bits)
    if number != whole:
        return LESS if number < whole else GREATER
    whole = itof(whole)
    if flt(whole, bits):
        return LESS
    return GREATER if flt(bits, whole) else EQUAL


def rt_hash(a: int) -> int:
    """Raw hash of a value; equal values have equal ones. Traps for lists, deques, dictionaries and sets."""
    return rt_mix(rt_hash_seed(a))


def rt_hash_seed(a: int) -> int:
    """A word that all values equal to *a* share: what the hash is made of."""
    if a & 1 or a == 0 or rt_class_flags(ld(a) & CLASS_MASK) & FLAG_IDENTITY:
        return a
    return rt_content_seed(a)


def rt_content_seed(a: int) -> int:
    """rt_hash_seed of an object of a built-in class or of a tuple."""
    class_id = ld(a) & CLASS_MASK
    if class_id == STR:
        return rt_str_hash(a)
    if rt_class_flags(class_id) & FLAG_CONTENT:
        return rt_tuple_hash(a)
    if class_id == FLOAT:
        return rt_float_seed(ld(a + FLOAT_BITS))
    return ld(a + BIGINT_VALUE) if class_id == BIGINT else trap(TRAP_TYPE)


def rt_tuple_hash(a: int) -> int:
    """Raw hash of a tuple or named tuple."""
    result = TUPLE_SEED
    for i in range(1, rt_size(a)):
        result = rt_mix(result ^ rt_hash_seed(ld(a + (i << 3))))
    return result


def rt_float_seed(bits: int) -> int:
    """rt_hash_seed of a double: that of an int if it is one."""
    if fle(MINUS_TWO_62, bits) and flt(bits, TWO_62):
        whole = ftoi(bits)
        return (whole << 1) | 1 if feq(itof(whole), bits) else bits
    bigint = rt_float_bigint(bits)
    return bits if bigint == 0 else bigint


def rt_lt(a: int, b: int) -> int:
    """Raw 1 if a < b, for numbers, strings, tuples and lists."""
    if a & b & 1:
        return a < b
    class_a = rt_class_of(a)
    class_b = rt_class_of(b)
    if class_a == TUPLE and class_b == TUPLE:
        return rt_words_lt(a + PAYLOAD, rt_size(a) - 1, b + PAYLOAD, rt_size(b) - 1)
    if rt_class_flags(class_a) & rt_class_flags(class_b) & FLAG_CONTENT:
        return rt_words_lt(a + PAYLOAD, rt_size(a) - 1, b + PAYLOAD, rt_size(b) - 1)
    if class_a == FLOAT and class_b == FLOAT:
        return flt(ld(a + FLOAT_BITS), ld(b + FLOAT_BITS))
    if class_a == INT_CLASS and class_b == FLOAT:
        return rt_compare_int_float(a >> 1, ld(b + FLOAT_BITS)) == LESS
    if class_a == FLOAT and class_b == INT_CLASS:
        return rt_compare_int_float(b >> 1, ld(a + FLOAT_BITS)) == GREATER
    if class_a == STR and class_b == STR:
        return rt_str_lt(a, b)
    if class_a == LIST and class_b == LIST:
        n_a = ld(a + LIST_LENGTH) >> 1
        n_b = ld(b + LIST_LENGTH) >> 1
        return rt_words_lt(ld(a + LIST_BUFFER) + PAYLOAD, n_a, ld(b + LIST_BUFFER) + PAYLOAD, n_b)
    return user_lt(a, b)


def rt_words_lt(a: int, n_a: int, b: int, n_b: int) -> int:
    """Raw 1 if *n_a* values at one address come lexicographically before *n_b* at another."""
    for i in range(n_a if n_a < n_b else n_b):
        word_a = ld(a + (i << 3))
        word_b = ld(b + (i << 3))
        if word_a != word_b:
            if word_a & word_b & 1:
                return word_a < word_b
            if rt_eq(word_a, word_b) == 0:
                return rt_lt(word_a, word_b)
    return n_a < n_b


def rt_truth(a: int) -> int:
    """Raw 0 for None, zeros and empty containers, 1 for all other values."""
    if a & 1 or a == 0:
        return ult(1, a)
    class_id = ld(a) & CLASS_MASK
    return 1 if rt_class_flags(class_id) & FLAG_IDENTITY else rt_content_truth(a, class_id)


def rt_content_truth(a: int, class_id: int) -> int:
    """rt_truth of an object of a built-in class or of a tuple."""
    if class_id == FLOAT:
        return feq(ld(a + FLOAT_BITS), 0) ^ 1
    if class_id == STR:
        return ld(a + STR_LENGTH) != 0
    if class_id == LIST or class_id == DEQUE or class_id == DICT or class_id == SET:
        return ld(a + PAYLOAD) != 1
    if rt_class_flags(class_id) & FLAG_CONTENT:
        return rt_size(a) != 1
    return 1
