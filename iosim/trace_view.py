"""Traces on the terminal: whether they keep the rules, and what they are like."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from iosim.model.errors import TraceError
from iosim.model.units import SECTOR_BYTES, human_time, three_digits
from iosim.traces import ReadOptions, TraceStream
from iosim.traces.reading import Reading
from iosim.traces.source import Source
from iosim.traces.statistics import Statistics

_NAMES = {"R": "reads", "W": "writes", "F": "flushes"}
_MOST_SHOWN = 8
"""So many kinds of lines that are no requests are shown by name."""


@contextmanager
def watching(sources: Sequence[Source], errors: Console) -> Iterator[None]:
    """Meanwhile show on *errors*, if it is a terminal, how much of *sources* has been read."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(Path(sources[0].path).name, total=sum(source.size for source in sources))
        for source in sources:
            source.watch = lambda: bar.update(task, completed=sum(source.n_read for source in sources))
        yield


def check(paths: list[Path], options: ReadOptions, errors: Console, complain: Callable[[str], int]) -> int:
    """Check every trace; print a line for each that is fine, and *complain* of the others.

    Progress is shown on *errors*. Returns 0, or what *complain* returned.
    """
    status = 0
    for path in paths:
        try:
            reading, statistics, _ = read(path, options, errors)
        except TraceError as error:
            status = max(status, complain(str(error)))
            continue
        fine = "fine" if not reading.n_skipped else f"usable, {reading.n_skipped:,} skipped"
        print(f"{path}: {fine}: {statistics.n:,} requests over {human_time(statistics.span_ns)}")
        for line in skipped(reading):
            print(f"  {line}")
    return status


def read(path: Path, options: ReadOptions, errors: Console) -> tuple[Reading, Statistics, str]:
    """Read the trace to its end; return the account, what it is like, and the file's checksum. Raises TraceError."""
    statistics = Statistics()
    with TraceStream(path, options) as stream, watching([stream.reading.source], errors):
        for table in stream:
            statistics.add(table)
        return stream.reading, statistics, stream.sha256


def info(console: Console, errors: Console, path: Path, options: ReadOptions) -> None:
    """Print what the trace is like. Raises TraceError."""
    reading, statistics, sha256 = read(path, options, errors)
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for name, text in _facts(path, reading, statistics, sha256):
        grid.add_row(name, Text(text))
    console.print(grid)
    sizes = Table(box=None, pad_edge=False)
    for name in ("", "requests", "share", "mean", "p50", "p99", "largest"):
        sizes.add_column(name, justify="right" if name else "left")
    for op, counted in statistics.sizes.items():
        if not counted.n:
            continue
        cells = ["-"] * 4
        if op != "F":
            sectors = (counted.total / counted.n, *map(counted.percentile, (50, 99)), counted.largest)
            cells = [f"{three_digits(value * SECTOR_BYTES / 1024)} KiB" for value in sectors]
        sizes.add_row(_NAMES[op], f"{counted.n:,}", f"{counted.n / statistics.n:.1%}", *cells)
    console.print()
    console.print(sizes)


def _facts(path: Path, reading: Reading, statistics: Statistics, sha256: str) -> Iterator[tuple[str, str]]:
    yield "file", str(path)
    yield "format", reading.format
    yield "sha256", sha256
    for note in reading.notes:
        yield "note", note
    for device in reading.devices if reading.options.device is None else [reading.options.device]:
        yield "device", device
    if len(reading.devices) > 1:
        yield "others", f"{len(reading.devices) - 1:,} other devices, not taken"
    yield "requests", f"{statistics.n:,}"
    yield "first at", human_time(statistics.first_ns or 0)
    yield "span", human_time(statistics.span_ns)
    if statistics.span_ns:
        yield "rate", f"{three_digits((statistics.n - 1) / statistics.span_ns * 1e9)} requests/s on average"
        yield "peak", f"{statistics.peak:,} requests in one second"
    yield "moved", f"{three_digits(statistics.sectors * SECTOR_BYTES / 1e6)} MB"
    yield "sequential", f"{statistics.sequential:.1%} begin where the last of their kind ended"
    size = three_digits(statistics.end_sector * SECTOR_BYTES / 1e6)
    yield "drive", f"needs {statistics.end_sector:,} sectors ({size} MB)"
    if reading.beside:
        yield "beside", beside(reading)
    if reading.n_late:
        yield "put in order", f"{reading.n_late:,} requests that stood behind a later one"
    for line in skipped(reading):
        yield "skipped", line


def beside(reading: Reading) -> str:
    """Return what the file has besides requests, the most frequent first."""
    common = reading.beside.most_common()
    named = ", ".join(f"{what} {n:,}" for what, n in common[:_MOST_SHOWN])
    rest = sum(n for _, n in common[_MOST_SHOWN:])
    return f"{named}, {len(common) - _MOST_SHOWN} other kinds {rest:,}" if rest else named


def skipped(reading: Reading) -> Iterator[str]:
    """Yield a line for each reason why something was skipped."""
    for rule, entry in reading.skipped.items():
        yield f"{entry.count:,}: {rule} (first: line {entry.line})"
