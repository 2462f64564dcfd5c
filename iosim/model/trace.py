"""A trace as the model replays it: times, operations, addresses of one drive's requests."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from iosim.model.ports import PortSequence
from iosim.model.records import FLUSH, READ, WRITE

OPS = (READ, WRITE, FLUSH)
"""The operations by their number in `Trace.ops`."""


class AnyTrace(ABC):
    """Requests of one drive in order of time, in memory or not.

    *path* and *sha256* say where they come from. *ports* are the accesses that make the requests, if these are what is
    replayed.
    """

    path: str
    sha256: str
    ports: PortSequence | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def end_sector(self) -> int:
        """The first sector behind every request, at least 1: the smallest drive that holds the trace."""

    @property
    @abstractmethod
    def last_ns(self) -> int:
        """The time of the last request, 0 without any."""

    @abstractmethod
    def by_op(self) -> list[int]:
        """Return how many requests there are of each of `OPS`."""

    @abstractmethod
    def request(self, number: int) -> tuple[str, int, int]:
        """Return (op, sector, sectors) of a request."""

    @abstractmethod
    def first_beyond(self, sectors: int) -> tuple[int, int | None] | None:
        """Return (end, line in the file) of the first request that goes beyond *sectors* sectors; None if none does."""

    @abstractmethod
    def pieces(self, offset_ns: int, speed: Fraction, n: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yield up to *n* requests at a time: one row each of arrival in ns, number of the op, sector, sectors.

        The arrival is the recorded time divided by *speed*, rounded down to a whole nanosecond, and *offset_ns* later.
        """

    def rows(self, offset_ns: int, speed: Fraction = Fraction(1)) -> Iterator[tuple[int, str, int, int]]:
        """Yield (arrival in ns, op, sector, sectors) of each request; arrivals are those of `pieces`."""
        for piece in self.pieces(offset_ns, speed, 4096):
            for arrival_ns, op, sector, sectors in piece.tolist():
                yield arrival_ns, OPS[op], sector, sectors


@dataclass(frozen=True)
class Trace(AnyTrace):
    """Requests in memory. All arrays have one element per request.

    *times_ns*: int64, not falling. *ops*: uint8, index into `OPS`. *sectors_first*, *sectors_count*: int64, in units
    of 512 bytes; 0 and 0 for a flush. *lines* say in which line of the file each request stands (None for a trace that
    was not read from a file).
    """

    times_ns: npt.NDArray[np.int64]
    ops: npt.NDArray[np.uint8]
    sectors_first: npt.NDArray[np.int64]
    sectors_count: npt.NDArray[np.int64]
    path: str
    sha256: str
    lines: npt.NDArray[np.int64] | None = None
    ports: PortSequence | None = None

    def __len__(self) -> int:
        return len(self.times_ns)

    @property
    def end_sector(self) -> int:
        """The first sector behind every request, at least 1."""
        return max(1, int((self.sectors_first + self.sectors_count).max(initial=1)))

    @property
    def last_ns(self) -> int:
        """The time of the last request, 0 without any."""
        return int(self.times_ns[-1]) if len(self) else 0

    def by_op(self) -> list[int]:
        """Return how many requests there are of each of `OPS`."""
        found: list[int] = np.bincount(self.ops, minlength=len(OPS)).tolist()
        return found

    def request(self, number: int) -> tuple[str, int, int]:
        """Return (op, sector, sectors) of a request."""
        return OPS[self.ops[number]], int(self.sectors_first[number]), int(self.sectors_count[number])

    def first_beyond(self, sectors: int) -> tuple[int, int | None] | None:
        """Return (end, line) of the first request that goes beyond *sectors* sectors; None if none does."""
        ends = self.sectors_first + self.sectors_count
        if not (ends > sectors).any():
            return None
        at = int((ends > sectors).argmax())
        return int(ends[at]), None if self.lines is None else int(self.lines[at])

    def pieces(self, offset_ns: int, speed: Fraction, n: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yield up to *n* requests at a time (`AnyTrace.pieces`)."""
        for at in range(0, len(self), n):
            part = slice(at, at + n)
            times = divided(self.times_ns[part], speed) + offset_ns
            yield np.column_stack([times, self.ops[part], self.sectors_first[part], self.sectors_count[part]])


def divided(times_ns: npt.NDArray[np.int64], speed: Fraction) -> npt.NDArray[np.int64]:
    """Return *times_ns* divided by *speed*, rounded down to whole nanoseconds, all of them below 2^62."""
    faster, slower = speed.numerator, speed.denominator
    if faster == slower:
        return times_ns
    if faster * slower < 1 << 62:
        return times_ns // faster * slower + times_ns % faster * slower // faster
    # Python's whole numbers: the product may be beyond an int64.
    return np.array([ns * slower // faster for ns in times_ns.tolist()], dtype=np.int64)
