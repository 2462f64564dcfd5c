"""Twin of what a run does with `iosim.model.costs`: sampling from a quantile table."""

from typing import Any

from iosim.model import draws
from iosim.model.draws import Number64, Subject

_INDEX_SHIFT = 52
_FRACTION_SHIFT = 32
_FRACTION_BITS = 20
_FRACTION_MASK = (1 << _FRACTION_BITS) - 1


class Cost:
    """A cost in nanoseconds: `ns` if it is constant, otherwise None and a quantile table to sample from.

    `what` and `place` are what a drawn cost is drawn by; those that are made during a run are constant and have none.
    """

    __slots__ = ("_table", "key", "ns", "place", "what")

    def __init__(self, key: str, ns: int | None, table: Any = None, what: Number64 = 0, place: int = -1) -> None:
        self.key = key
        self.what = what
        self.place = place
        self.ns = ns
        self._table: Any = table

    def sample(self, subject: Subject) -> int:
        """Return the next cost in ns that *subject* draws for this key."""
        if self.ns is not None:
            return self.ns
        return sample(self, subject.identity, subject.take(self.place))


def sample(cost: Any, identity: Number64, k: int) -> int:
    """Return the *k*-th cost in ns that *identity* draws for a cost with a table.

    NOTE: the only place with numbers of 64 bits; the compiler has its own code for it.
    """
    table: list[int] = cost._table
    number = draws.draw(identity, cost.what, k)
    index = number >> _INDEX_SHIFT
    low = table[index]
    fraction = (number >> _FRACTION_SHIFT) & _FRACTION_MASK
    return low + (((table[index + 1] - low) * fraction) >> _FRACTION_BITS)
