"""BLAKE2b (RFC 7693) with a digest of 8 bytes, of texts up to 128 bytes: `iosim.model.draws.name_hash`."""

from iosim.compiled.layout import PAYLOAD, RAW, STR_BYTES, STR_LENGTH, TRAP_VALUE
from iosim.compiled.raw import ld, ld8, st, trap, ushr
from iosim.compiled.runtime.memory import rt_alloc
from iosim.compiled.runtime.randomness import GOLDEN, rt_from_unsigned, rt_mix64, rt_unsigned

IV_0 = 7640891576956012808
IV_1 = -4942790177534073029
IV_2 = 4354685564936845355
IV_3 = -6534734903238641935
IV_4 = 5840696475078001361
IV_5 = -7276294671716946913
IV_6 = 2270897969802886507
IV_7 = 6620516959819538809
PARAMETERS = 16842760
"""Digest length 8, no key, fan-out 1, depth 1."""
SIGMA_0 = -81985529216486896
SIGMA_1 = 3853709921291437230
SIGMA_2 = 5266788149650328715
SIGMA_3 = -8141200382097550441
SIGMA_4 = -3204650750919412471
SIGMA_5 = -7931023849780369726
SIGMA_6 = -5176546439255363236
SIGMA_7 = -6744053556625741891
SIGMA_8 = 6503616966983130870
SIGMA_9 = 991893350865389610


def rt_rotate(value: int, n: int) -> int:
    """*value* rotated right by *n* bits."""
    return ushr(value, n) | (value << (64 - n))


def rt_blake_g(v: int, a: int, b: int, c: int, d: int, x: int, y: int) -> int:
    """The mixing function of four words of the state at *v*."""
    at_a = v + a * 8
    at_b = v + b * 8
    at_c = v + c * 8
    at_d = v + d * 8
    st(at_a, ld(at_a) + ld(at_b) + x)
    st(at_d, rt_rotate(ld(at_d) ^ ld(at_a), 32))
    st(at_c, ld(at_c) + ld(at_d))
    st(at_b, rt_rotate(ld(at_b) ^ ld(at_c), 24))
    st(at_a, ld(at_a) + ld(at_b) + y)
    st(at_d, rt_rotate(ld(at_d) ^ ld(at_a), 16))
    st(at_c, ld(at_c) + ld(at_d))
    st(at_b, rt_rotate(ld(at_b) ^ ld(at_c), 63))
    return 0


def rt_blake_step(v: int, m: int, sigma: int, position: int, a: int, b: int, c: int, d: int) -> int:
    """One call of the mixing function with the message words that *sigma* has at *position* and behind it."""
    x = ld(m + (ushr(sigma, position * 4) & 15) * 8)
    y = ld(m + (ushr(sigma, position * 4 + 4) & 15) * 8)
    return rt_blake_g(v, a, b, c, d, x, y)


def rt_blake_round(v: int, m: int, sigma: int) -> int:
    """One round."""
    rt_blake_step(v, m, sigma, 0, 0, 4, 8, 12)
    rt_blake_step(v, m, sigma, 2, 1, 5, 9, 13)
    rt_blake_step(v, m, sigma, 4, 2, 6, 10, 14)
    rt_blake_step(v, m, sigma, 6, 3, 7, 11, 15)
    rt_blake_step(v, m, sigma, 8, 0, 5, 10, 15)
    rt_blake_step(v, m, sigma, 10, 1, 6, 11, 12)
    rt_blake_step(v, m, sigma, 12, 2, 7, 8, 13)
    rt_blake_step(v, m, sigma, 14, 3, 4, 9, 14)
    return 0


def rt_name_hash_raw(text: int) -> int:
    """The hash of a text as a raw number."""
    length = ld(text + STR_LENGTH)
    if length > 128:
        trap(TRAP_VALUE)
    block = rt_alloc(RAW, 33)
    m = block + PAYLOAD
    v = m + 128
    for position in range(length):
        at = m + (position & -8)
        st(at, ld(at) | (ld8(text + STR_BYTES + position) << ((position & 7) * 8)))
    st(v, IV_0 ^ PARAMETERS)
    st(v + 8, IV_1)
    st(v + 16, IV_2)
    st(v + 24, IV_3)
    st(v + 32, IV_4)
    st(v + 40, IV_5)
    st(v + 48, IV_6)
    st(v + 56, IV_7)
    st(v + 64, IV_0)
    st(v + 72, IV_1)
    st(v + 80, IV_2)
    st(v + 88, IV_3)
    st(v + 96, IV_4 ^ length)
    st(v + 104, IV_5)
    st(v + 112, ~IV_6)
    st(v + 120, IV_7)
    rt_blake_round(v, m, SIGMA_0)
    rt_blake_round(v, m, SIGMA_1)
    rt_blake_round(v, m, SIGMA_2)
    rt_blake_round(v, m, SIGMA_3)
    rt_blake_round(v, m, SIGMA_4)
    rt_blake_round(v, m, SIGMA_5)
    rt_blake_round(v, m, SIGMA_6)
    rt_blake_round(v, m, SIGMA_7)
    rt_blake_round(v, m, SIGMA_8)
    rt_blake_round(v, m, SIGMA_9)
    rt_blake_round(v, m, SIGMA_0)
    rt_blake_round(v, m, SIGMA_1)
    return IV_0 ^ PARAMETERS ^ ld(v) ^ ld(v + 64)


def rt_name_hash(text: int) -> int:
    """`iosim.model.draws.name_hash`."""
    return rt_from_unsigned(rt_name_hash_raw(text))


def rt_source(seed: int, vm: int, who: int) -> int:
    """`iosim.model.draws.source`."""
    state = rt_mix64(rt_unsigned(seed) + GOLDEN)
    state = rt_mix64(state ^ rt_name_hash_raw(vm))
    return rt_from_unsigned(rt_mix64(state ^ rt_name_hash_raw(who)))
