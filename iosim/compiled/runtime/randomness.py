"""Draws of `iosim.model.draws`, in 64-bit arithmetic that wraps around."""

from iosim.compiled.layout import BIGINT, BIGINT_VALUE, PAYLOAD, WORD_FALSE, WORD_TRUE
from iosim.compiled.raw import ld, st, ult, ushr
from iosim.compiled.runtime.memory import rt_alloc

GOLDEN = -7046029254386353131
MIX_1 = -4658895280553007687
MIX_2 = -7723592293110705685


def rt_mix64(value: int) -> int:
    """splitmix64's finaliser of a raw number."""
    value = (value ^ ushr(value, 30)) * MIX_1
    value = (value ^ ushr(value, 27)) * MIX_2
    return value ^ ushr(value, 31)


def rt_unsigned(word: int) -> int:
    """The raw 64-bit number of an int or of a number that does not fit 63 bits."""
    return word >> 1 if word & 1 else ld(word + BIGINT_VALUE)


def rt_from_unsigned(number: int) -> int:
    """The word of a raw unsigned number."""
    if ushr(number, 62) == 0:
        return (number << 1) | 1
    obj = rt_alloc(BIGINT, 2)
    st(obj + BIGINT_VALUE, number)
    return obj


def rt_identity(of: int, sequence: int) -> int:
    """`iosim.model.draws.identity`."""
    return rt_from_unsigned(rt_mix64(rt_unsigned(of) + (sequence >> 1) * GOLDEN))


def rt_draw_raw(identity: int, what: int, k: int) -> int:
    """`iosim.model.draws.draw`, as a raw number."""
    return rt_mix64(rt_unsigned(identity) ^ rt_mix64(rt_unsigned(what) + (k >> 1) * GOLDEN))


def rt_draw(identity: int, what: int, k: int) -> int:
    """`iosim.model.draws.draw`."""
    return rt_from_unsigned(rt_draw_raw(identity, what, k))


def rt_sample(table: int, what: int, identity: int, k: int) -> int:
    """Interpolate in a quantile table (INTARRAY): `iosim.model.costs.Cost.sample` without the constant."""
    number = rt_draw_raw(identity, what, k)
    at = table + PAYLOAD + (ushr(number, 52) << 3)
    low = ld(at)
    fraction = ushr(number, 32) & 1048575
    value = low + (((ld(at + 8) - low) * fraction) >> 20)
    return (value << 1) | 1


def rt_is_below(identity: int, what: int, limit: int) -> int:
    """True (tagged) if *identity* ^ *what* < *limit*, unsigned."""
    return WORD_TRUE if ult(rt_unsigned(identity) ^ rt_unsigned(what), rt_unsigned(limit)) else WORD_FALSE
