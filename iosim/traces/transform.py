"""Traces changed on their way: a window of time, times and addresses scaled, several merged into one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from iosim.model.errors import TraceError
from iosim.model.units import MAX_NS
from iosim.traces.table import MAX_SECTOR, TraceTable

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """The requests from *begin_ns* on and before *end_ns* (None: to the end); times count from *begin_ns*."""

    begin_ns: int = 0
    end_ns: int | None = None

    def applied(self, tables: Iterable[TraceTable]) -> Iterator[TraceTable]:
        """Yield what is left of *tables*, which are in order of time."""
        for table in tables:
            begin, end = np.searchsorted(table.times_ns, (self.begin_ns, self.end_ns or MAX_NS))
            chosen = table[begin:end]
            chosen.times_ns = chosen.times_ns - self.begin_ns
            yield chosen
            if end < len(table):
                return


@dataclass(frozen=True)
class Scaled:
    """Times multiplied by *time*, first sectors by *address*; sizes stay as they are.

    Times are rounded to nanoseconds. Sectors are rounded down, to a multiple of 8 if they were one, so that requests
    that were aligned to 4 KiB stay so. Requests that followed each other without a gap do not after that.
    """

    time: Fraction = Fraction(1)
    address: Fraction = Fraction(1)

    def applied(self, tables: Iterable[TraceTable]) -> Iterator[TraceTable]:
        """Yield *tables* scaled."""
        for table in tables:
            if self.time != 1:
                table.times_ns = _scaled(table.times_ns, self.time, "time", MAX_NS)
            if self.address != 1:
                sectors = _scaled(table.sectors_first, self.address, "sector", MAX_SECTOR)
                table.sectors_first = np.where(table.sectors_first % 8 == 0, sectors // 8 * 8, sectors)
            yield table


def _scaled(values: Ints, factor: Fraction, what: str, limit: int) -> Ints:
    """Return *values* times *factor*: times rounded to the nearest, sectors down. Raises TraceError beyond *limit*."""
    largest = int(values.max(initial=0))
    if largest * factor >= limit:
        raise TraceError(f"the {what} {largest} is too large to be multiplied by {float(factor):g}")
    half = factor.denominator // 2 if what == "time" else 0
    if largest * factor.numerator + half < 1 << 63:
        return (values * factor.numerator + half) // factor.denominator
    exact = [(value * factor.numerator + half) // factor.denominator for value in values.tolist()]
    return np.array(exact, dtype=np.int64)


def stacked(tables: Iterable[TraceTable], base: int, sectors: int, path: str) -> Iterator[TraceTable]:
    """Yield *tables* with their sectors behind *base*. Raises TraceError for a request beyond *sectors* of its own."""
    for table in tables:
        beyond = table.sectors_first + table.sectors_count > sectors
        if beyond.any():
            at = int(beyond.argmax())
            end = int(table.sectors_first[at] + table.sectors_count[at])
            raise TraceError(f"{path}:{table.lines[at]}: sectors must end at or before {sectors} (--stack), got {end}")
        table.sectors_first = np.where(table.sectors_count > 0, table.sectors_first + base, 0)
        yield table


def merged(streams: Sequence[Iterable[TraceTable]]) -> Iterator[TraceTable]:
    """Yield the requests of all *streams*, each in order of time, in order of time.

    Of requests at one time those of the earlier stream come first. Holds a table or two of each stream.
    """
    iterators = [iter(stream) for stream in streams]
    held = [_next(iterator) for iterator in iterators]
    while any(held):
        until_ns = min(int(table.times_ns[-1]) for table in held if table)
        for number, table in enumerate(held):
            # A stream may go on at the instant at which its table ends.
            while table and table.times_ns[-1] == until_ns and (more := _next(iterators[number])):
                table = held[number] = TraceTable.joined([table, more])
        ends = [int(np.searchsorted(table.times_ns, until_ns, side="right")) if table else 0 for table in held]
        joined = TraceTable.joined([table[:end] for table, end in zip(held, ends, strict=True) if table])
        yield joined[np.argsort(joined.times_ns, kind="stable")]
        held = [table[end:] if table else None for table, end in zip(held, ends, strict=True)]


def _next(iterator: Iterator[TraceTable]) -> TraceTable | None:
    """Return the next table that is not empty, None at the end."""
    return next((table for table in iterator if len(table)), None)
