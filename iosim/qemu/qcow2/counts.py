"""Tables and refcount blocks of an image as arrays of numbers."""

from array import array
from collections.abc import MutableSequence


def table(n: int) -> MutableSequence[int]:
    """Return *n* entries, all 0."""
    return array("q", bytes(8 * n))


def block(n: int) -> bytearray:
    """Return *n* counts, all 0."""
    return bytearray(n)


def find(counts: bytearray, count: int, position: int) -> int:
    """Return the first place from *position* on that has *count*, -1 if there is none."""
    return counts.find(count, position)


def fill(counts: bytearray, position: int, n: int, count: int) -> None:
    """Set *n* counts from *position* on, all of which are the other of 0 and 1."""
    assert counts.count(1 - count, position, position + n) == n
    counts[position : position + n] = bytes([count]) * n
