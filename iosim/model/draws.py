"""Random draws as a function of who asks: draw(seed, vm, who, sequence, what, k) is one 64-bit number.

A counter-based generator after splitmix64 (Steele, Lea and Flood, OOPSLA 2014): its finaliser is applied to the
exclusive or of a hash of the identity and a hash of (what, k). Nothing depends on the order of execution, and two
scenarios that differ in one cost draw the same numbers everywhere else.
"""

from hashlib import blake2b
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Number64: TypeAlias = int
"""A number of 64 bits, unsigned: what draws are made of."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def mix(value: int) -> int:
    """Return splitmix64's finaliser of *value*: a bijection of 64-bit integers that spreads every bit."""
    value = ((value ^ (value >> 30)) * _MIX_1) & _MASK
    value = ((value ^ (value >> 27)) * _MIX_2) & _MASK
    return value ^ (value >> 31)


def name_hash(name: str) -> Number64:
    """Return a 64-bit hash of *name* that is the same in every process and on every machine."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def source(seed: Number64, vm: str, who: str) -> Number64:
    """Return the hash of what identities come from: a drive with its requests, or a thread."""
    state = mix((seed + _GOLDEN) & _MASK)
    state = mix(state ^ name_hash(vm))
    return mix(state ^ name_hash(who))


def identity(of: Number64, sequence: int) -> Number64:
    """Return the hash of one identity: number *sequence* of the `source` *of*."""
    return mix((of + sequence * _GOLDEN) & _MASK)


def place(what: Number64) -> int:
    """Return the place of *what* among all that has been drawn for in this process: the next one if it is new."""
    found = _PLACES.get(what)
    if found is None:
        found = _PLACES[what] = len(_PLACES)
        _NOTHING_DRAWN.append(0)
    return found


_PLACES: dict[Number64, int] = {}
_NOTHING_DRAWN: list[int] = []
"""The counts of a subject that has drawn nothing: as many as there are places."""
_NO_COUNTS: list[int] = []
"""Those of one that has never been asked to draw; others take its place."""


def draw(identity_hash: Number64, what: Number64, k: int) -> Number64:
    """Return the *k*-th 64-bit number that this identity draws for *what* (a `name_hash`)."""
    return mix(identity_hash ^ mix((what + k * _GOLDEN) & _MASK))


def draw_many(
    identity_hash: int, whats: npt.NDArray[np.uint64] | int, ks: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Return ``draw(identity_hash, what, k)`` for each k and its what, or one what for all."""
    return _mix_many(np.uint64(identity_hash) ^ _mix_many(whats + ks * np.uint64(_GOLDEN)))


def _mix_many(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(_MIX_1)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_MIX_2)
    return value ^ (value >> np.uint64(31))


class Subject:
    """Who draws: a request, or a thread for work that belongs to no request.

    Each (subject, what) has its own count k, so that a change of one cost does not shift the draws of another. `counts`
    are by the `place` of what is drawn for; there are none until something is drawn.
    """

    __slots__ = ("counts", "identity")

    def __init__(self, identity_hash: Number64) -> None:
        self.identity = identity_hash
        self.counts: list[int] = _NO_COUNTS

    def take(self, place: int, n: int = 1) -> int:
        """Return the count from which the next *n* draws for what has this `place` are numbered."""
        counts = self.counts
        if place >= len(counts):
            counts = self.counts = counts + _NOTHING_DRAWN[len(counts) :] if counts else _NOTHING_DRAWN[:]
            while place >= len(counts):
                counts.append(0)
        first = counts[place]
        counts[place] = first + n
        return first
