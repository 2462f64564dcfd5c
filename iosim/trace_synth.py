"""Made-up traces on the terminal: from a description, or like a given trace."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from iosim.model.errors import shown
from iosim.model.units import SECTOR_BYTES, human_time, parse_bytes, parse_ns, three_digits
from iosim.trace_options import OptionError, value_of
from iosim.trace_view import watching
from iosim.traces import ReadOptions, TraceStream, TraceTable
from iosim.traces.fit import Fit, gap_percentile, like
from iosim.traces.statistics import Statistics
from iosim.traces.synth import Mix, OnOff, Poisson, limited, requests
from iosim.traces.writer import suffix_of, write_trace

_SIZE = re.compile(r"([^:,]+)(?::(\d+(?:\.\d+)?))?")
_KEPT = (
    "Kept: shares of operations and what follows what, gaps, sizes of each operation, sequential shares, where in the "
    "drive reads and writes begin."
)
_LOST = "Not kept: sectors used again, longer bursts, trends, relations of sizes and addresses to time."


@dataclass(frozen=True)
class Wish:
    """What the options of the command ask for, as their texts; None where an option was not given."""

    n: int | None
    duration: str | None
    rate: float | None
    on: str | None
    off: str | None
    reads: float | None
    flushes: float | None
    sizes: str | None
    sequential: float | None
    span: str | None
    align: str | None

    @property
    def described(self) -> list[str]:
        """The options that describe a workload and were given."""
        names = ("rate", "on", "off", "reads", "flushes", "sizes", "sequential", "span", "align")
        return [f"--{name}" for name in names if getattr(self, name) is not None]

    def duration_ns(self) -> int | None:
        """Return how long the workload is to be, None if that was not asked for."""
        return None if self.duration is None else value_of("--duration", parse_ns, self.duration)

    def arrivals(self) -> Poisson | OnOff:
        """Return the arrivals. Raises OptionError."""
        rate = 1000.0 if self.rate is None else self.rate
        if not 0 < rate <= 1e9:
            raise OptionError(f"--rate must be above 0 and at most 10^9 a second, got {rate:g}")
        if (self.on is None) != (self.off is None):
            raise OptionError("--on and --off must be given together")
        if self.on is None or self.off is None:
            return Poisson(rate)
        on, off = value_of("--on", parse_ns, self.on), value_of("--off", parse_ns, self.off)
        for name, ns, text in (("--on", on, self.on), ("--off", off, self.off)):
            if not 0 < ns <= 10**15:
                raise OptionError(f"{name} must be above 0 and at most 1,000,000 s, got {shown(text)}")
        return OnOff(rate, on, off)

    def mix(self) -> Mix:
        """Return what requests are. Raises OptionError."""
        shares = {name: getattr(self, name) for name in ("reads", "flushes", "sequential")}
        for name, share in shares.items():
            if share is not None and not 0 <= share <= 1:
                raise OptionError(f"--{name} must be from 0 to 1, got {share:g}")
        sizes = _sizes(self.sizes or "4KiB")
        span = value_of("--span", parse_bytes, self.span or "1GiB") // SECTOR_BYTES
        align = value_of("--align", parse_bytes, self.align or "4KiB") // SECTOR_BYTES
        if max(size for size, _ in sizes) > span:
            raise OptionError(f"--span must hold the largest request, got {shown(self.span or '1GiB')}")
        given = {name: share for name, share in shares.items() if share is not None}
        return Mix(**given, sizes=sizes, span_sectors=span, align_sectors=align)


def synth(
    console: Console, errors: Console, target: Path, wish: Wish, seed: int, given: Path | None, options: ReadOptions
) -> None:
    """Write a made-up trace to *target*, like the trace *given* if there is one, and say what it is like.

    Raises OptionError, TraceError or OutputError.
    """
    suffix_of(target)
    duration_ns = wish.duration_ns()
    if wish.n is not None and wish.n < 1:
        raise OptionError(f"--requests must be at least 1, got {wish.n}")
    if seed < 0:
        raise OptionError(f"--seed must not be negative, got {seed}")
    if given is None:
        if wish.n is None and duration_ns is None:
            raise OptionError("trace synth needs --requests, --duration or --like")
        tables = requests(wish.arrivals(), wish.mix(), seed)
        statistics = _write(limited(tables, wish.n, duration_ns), target)
        console.print(
            f"{target}: {statistics.n:,} requests over {human_time(statistics.span_ns)}, seed {seed}",
            soft_wrap=True,
            highlight=False,
        )
        return
    if wish.described:
        raise OptionError(f"{wish.described[0]} cannot be given with --like")
    fit, theirs = Fit(), Statistics()
    with TraceStream(given, options) as stream, watching([stream.reading.source], errors):
        for table in stream:
            fit.add(table)
            theirs.add(table)
    n = wish.n if wish.n is not None or duration_ns is not None else fit.n
    made = Fit()
    statistics = _write(limited(like(fit, seed), n, duration_ns), target, made)
    console.print(_beside([(str(given), theirs, fit), (str(target), statistics, made)]))
    console.print()
    for text in (_KEPT, _LOST):
        console.print(text, highlight=False)


def _write(tables: Iterable[TraceTable], target: Path, fit: Fit | None = None) -> Statistics:
    statistics = Statistics()

    def counted() -> Iterator[TraceTable]:
        for table in tables:
            statistics.add(table)
            if fit is not None:
                fit.add(table)
            yield table
        if not statistics.n:
            raise OptionError("no request arrives in the time of --duration")

    write_trace(counted(), target)
    return statistics


def _sizes(text: str) -> tuple[tuple[int, float], ...]:
    sizes = []
    for part in text.split(","):
        match = _SIZE.fullmatch(part)
        if match is None or (match[2] is not None and not 0 < float(match[2]) < 1e9):
            raise OptionError(f"--sizes must be sizes such as 4KiB or 4KiB:3,64KiB:1, got {shown(text)}")
        sizes.append((value_of("--sizes", parse_bytes, match[1]) // SECTOR_BYTES, float(match[2] or 1)))
    return tuple(sizes)


def _beside(traces: list[tuple[str, Statistics, Fit]]) -> Table:
    """Return a table of what the given trace and the one made of it are like."""
    grid = Table(box=None, pad_edge=False)
    grid.add_column("")
    for name, _, _ in traces:
        grid.add_column(name, justify="right", overflow="fold")
    rows: dict[str, list[str]] = {}
    for _, statistics, fit in traces:
        for name, text in _facts(statistics, fit):
            rows.setdefault(name, []).append(text)
    for name, cells in rows.items():
        grid.add_row(name, *cells)
    return grid


def _facts(statistics: Statistics, fit: Fit) -> Iterator[tuple[str, str]]:
    yield "requests", f"{statistics.n:,}"
    yield "span", human_time(statistics.span_ns)
    rate = (statistics.n - 1) / statistics.span_ns * 1e9 if statistics.span_ns else None
    yield "requests/s", "-" if rate is None else three_digits(rate)
    yield "most in one second", f"{statistics.peak:,}"
    for percent in (50, 90, 99):
        yield f"gap p{percent}", human_time(gap_percentile(fit, percent))
    for op, name in (("R", "reads"), ("W", "writes"), ("F", "flushes")):
        sizes = statistics.sizes[op]
        yield name, f"{sizes.n / statistics.n:.1%}"
        if op != "F":
            mean = sizes.total / sizes.n * SECTOR_BYTES / 1024 if sizes.n else None
            yield f"mean size of {name}", "-" if mean is None else f"{three_digits(mean)} KiB"
    yield "sequential", f"{statistics.sequential:.1%}"
    yield "drive", f"{statistics.end_sector:,} sectors"
