"""Strings of the compiled engine: UTF-8, padded with zero bytes, so that they are compared and hashed by words."""

from iosim.compiled.layout import STR, STR_BYTES, STR_HASH, STR_HEAD_WORDS, STR_LENGTH
from iosim.compiled.raw import ld, ld8, sdiv, srem, st, st8, ushr
from iosim.compiled.runtime.memory import rt_alloc, rt_size

HASH_FACTOR = -2960836687051489901
TEXT_SEED = 1469598103934665603
DIGIT_ZERO = 48
MINUS_SIGN = 45


def rt_mix(word: int) -> int:
    """A raw hash whose upper and lower bits depend on all bits of *word*; 0 of 0."""
    mixed = (word ^ ushr(word, 32)) * HASH_FACTOR
    return mixed ^ ushr(mixed, 32)


def rt_str_new(n_bytes: int) -> int:
    """A string of *n_bytes* zero bytes, to be filled."""
    text = rt_alloc(STR, STR_HEAD_WORDS + ((n_bytes + 7) >> 3))
    st(text + STR_LENGTH, n_bytes)
    return text


def rt_copy_bytes(target: int, source: int, n_bytes: int) -> int:
    """Copy bytes to memory that does not overlap."""
    for i in range(n_bytes):
        st8(target + i, ld8(source + i))
    return 0


def rt_same_bytes(a: int, b: int, n_bytes: int) -> int:
    """Raw 1 if *n_bytes* bytes at two addresses are the same."""
    for i in range(n_bytes):
        if ld8(a + i) != ld8(b + i):
            return 0
    return 1


def rt_str_eq(a: int, b: int) -> int:
    """Raw 1 if two strings are equal."""
    if a == b:
        return 1
    if ld(a + STR_LENGTH) != ld(b + STR_LENGTH):
        return 0
    for i in range(STR_HEAD_WORDS, rt_size(a)):
        if ld(a + (i << 3)) != ld(b + (i << 3)):
            return 0
    return 1


def rt_str_lt(a: int, b: int) -> int:
    """Raw 1 if *a* comes before *b*, by code points, which UTF-8 keeps the order of."""
    length_a = ld(a + STR_LENGTH)
    length_b = ld(b + STR_LENGTH)
    for i in range(length_a if length_a < length_b else length_b):
        byte_a = ld8(a + STR_BYTES + i)
        byte_b = ld8(b + STR_BYTES + i)
        if byte_a != byte_b:
            return byte_a < byte_b
    return length_a < length_b


def rt_str_hash(text: int) -> int:
    """Raw hash of a string, never 0, computed once."""
    result = ld(text + STR_HASH)
    if result != 0:
        return result
    result = TEXT_SEED + ld(text + STR_LENGTH)
    for i in range(STR_HEAD_WORDS, rt_size(text)):
        result = rt_mix(result ^ ld(text + (i << 3)))
    if result == 0:
        result = 1
    st(text + STR_HASH, result)
    return result


def rt_str_concat(a: int, b: int) -> int:
    """Two strings as one."""
    length_a = ld(a + STR_LENGTH)
    length_b = ld(b + STR_LENGTH)
    text = rt_str_new(length_a + length_b)
    rt_copy_bytes(text + STR_BYTES, a + STR_BYTES, length_a)
    rt_copy_bytes(text + STR_BYTES + length_a, b + STR_BYTES, length_b)
    return text


def rt_str_startswith(text: int, prefix: int) -> int:
    """Raw 1 if *text* begins with *prefix*."""
    length = ld(prefix + STR_LENGTH)
    if length > ld(text + STR_LENGTH):
        return 0
    return rt_same_bytes(text + STR_BYTES, prefix + STR_BYTES, length)


def rt_str_removeprefix(text: int, prefix: int) -> int:
    """*text* without *prefix*, if it begins with it."""
    if rt_str_startswith(text, prefix) == 0:
        return text
    length = ld(prefix + STR_LENGTH)
    rest = ld(text + STR_LENGTH) - length
    result = rt_str_new(rest)
    rt_copy_bytes(result + STR_BYTES, text + STR_BYTES + length, rest)
    return result


def rt_str_contains(text: int, part: int) -> int:
    """Raw 1 if *part* occurs in *text*."""
    length = ld(part + STR_LENGTH)
    for i in range(ld(text + STR_LENGTH) - length + 1):
        if rt_same_bytes(text + STR_BYTES + i, part + STR_BYTES, length):
            return 1
    return 0


def rt_str_len(text: int) -> int:
    """Number of characters."""
    n_characters = 0
    for i in range(ld(text + STR_LENGTH)):
        if (ld8(text + STR_BYTES + i) & 192) != 128:
            n_characters += 1
    return (n_characters << 1) | 1


def rt_int_to_str(number: int) -> int:
    """Decimal digits of an int."""
    value = number >> 1
    n_bytes = 1 if value > 0 else 2
    rest = sdiv(value, 10)
    while rest != 0:
        n_bytes += 1
        rest = sdiv(rest, 10)
    if value == 0:
        n_bytes = 1
    text = rt_str_new(n_bytes)
    position = text + STR_BYTES + n_bytes
    rest = value
    for _ in range(n_bytes if value >= 0 else n_bytes - 1):
        position -= 1
        digit = srem(rest, 10)
        st8(position, DIGIT_ZERO + (digit if digit >= 0 else -digit))
        rest = sdiv(rest, 10)
    if value < 0:
        st8(text + STR_BYTES, MINUS_SIGN)
    return text
