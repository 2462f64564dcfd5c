"""Recorded service times of a disk: what was asked, when, and when it was done."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.model.trace import OPS

Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Services:
    """One row for each request, in the order in which they were given to the disk: a column each, times in ns.

    *op*: index into `iosim.model.trace.OPS`. *start_ns*, *end_ns*: given to the disk, and done. *source*: the file.
    """

    op: npt.NDArray[np.uint8]
    sector: Whole
    sectors: Whole
    start_ns: Whole
    end_ns: Whole
    source: str

    def __len__(self) -> int:
        return len(self.op)

    def __getitem__(self, rows: Any) -> "Services":
        """Return the *rows*: a slice or a mask."""
        return Services(
            self.op[rows], self.sector[rows], self.sectors[rows], self.start_ns[rows], self.end_ns[rows], self.source
        )

    @cached_property
    def service_ns(self) -> Whole:
        """From when a request was given to the disk until it was done."""
        return self.end_ns - self.start_ns

    @cached_property
    def gap_ns(self) -> Whole:
        """From the end of the request before until this one was given to the disk; negative where it was under way."""
        return _behind_first(0, self.start_ns[1:] - self.end_ns[:-1])

    @cached_property
    def sequential(self) -> Mask:
        """Which requests begin where the one before ended."""
        return np.concatenate([[False], self.sector[1:] == self.sector[:-1] + self.sectors[:-1]])

    @cached_property
    def distance(self) -> Whole:
        """Sectors from the end of the request before to the begin of this one, without sign."""
        return _behind_first(0, np.abs(self.sector[1:] - self.sector[:-1] - self.sectors[:-1]))

    @property
    def overlapping(self) -> float:
        """The share of requests that were given to the disk while the one before was under way."""
        return float(np.mean(self.gap_ns[1:] < 0)) if len(self) > 1 else 0.0

    @property
    def depth(self) -> int:
        """The largest number of requests under way at once; what ends as another one begins does not overlap it."""
        times = np.concatenate([self.end_ns, self.start_ns])
        steps = np.concatenate([np.full(len(self), -1), np.full(len(self), 1)])
        order = np.lexsort((steps, times))
        return max(1, int(np.cumsum(steps[order]).max(initial=1)))

    def of(self, op: str) -> Mask:
        """Tell which requests are of operation *op*: R, W or F."""
        return np.asarray(self.op == OPS.index(op))

    @property
    def end_sector(self) -> int:
        """The first sector behind every request."""
        return int((self.sector + self.sectors).max(initial=1))

    def halves(self) -> tuple["Services", "Services"]:
        """Return the first half in time and the second one: to fit on the one, and judge on the other."""
        middle = len(self) // 2
        return self[:middle], self[middle:]


def _behind_first(first: int, others: Whole) -> Whole:
    return np.concatenate([np.array([first], dtype=np.int64), others])
