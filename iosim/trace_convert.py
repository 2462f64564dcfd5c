"""Traces converted into canonical ones, changed and merged on the way."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from iosim.model.errors import OutputError, TraceError, shown
from iosim.model.units import SECTOR_BYTES, human_time, parse_bytes, parse_ns
from iosim.trace_options import OptionError, factor_of, value_of
from iosim.trace_view import skipped, watching
from iosim.traces import AccessStream, AccessTable, ReadOptions, TraceStream, TraceTable
from iosim.traces.access_reader import write_accesses
from iosim.traces.reading import Reading
from iosim.traces.statistics import Statistics
from iosim.traces.transform import Scaled, Window, merged, stacked
from iosim.traces.writer import suffix_of, write_trace


@dataclass(frozen=True)
class Change:
    """What becomes of the requests: a window of each trace's own time, scaling, and a range for each trace."""

    window: Window = field(default_factory=Window)
    scaled: Scaled = field(default_factory=Scaled)
    stack_sectors: int | None = None

    @classmethod
    def parsed(cls, begin: str, end: str | None, scale_time: str, scale_address: str, stack: str | None) -> "Change":
        """Return the change that the options' texts ask for. Raises OptionError."""
        begin_ns = value_of("--from", parse_ns, begin)
        end_ns = None if end is None else value_of("--to", parse_ns, end)
        if end_ns is not None and end_ns <= begin_ns:
            raise OptionError(f"--to must be later than --from, got {shown(end)}")
        scaled = Scaled(factor_of("--scale-time", scale_time), factor_of("--scale-address", scale_address))
        size = None if stack is None else value_of("--stack", parse_bytes, stack) // SECTOR_BYTES
        return cls(Window(begin_ns, end_ns), scaled, size)

    def applied(self, stream: Iterable[TraceTable], number: int, path: str) -> Iterator[TraceTable]:
        """Yield the requests of the trace *number* in *path* as they are to be."""
        tables: Iterable[TraceTable] = stream
        if self.window != Window():
            tables = self.window.applied(tables)
        if self.scaled != Scaled():
            tables = self.scaled.applied(tables)
        if self.stack_sectors is not None:
            tables = stacked(tables, number * self.stack_sectors, self.stack_sectors, path)
        return iter(tables)


def convert(console: Console, errors: Console, paths: list[Path], options: ReadOptions, change: Change) -> None:
    """Write the requests of all *paths* but the last to that one, and say what was written.

    Raises TraceError for a trace that cannot be read, OutputError for one that cannot be written.
    """
    if len(paths) < 2:
        raise OptionError("trace convert needs the trace to read and the one to write")
    *sources, target = paths
    suffix_of(target)
    for path in sources:
        if path.exists() and target.exists() and path.samefile(target):
            raise OutputError(f"{target}: is a trace that is to be read; choose another name")
    statistics = Statistics()
    with ExitStack() as open_:
        streams = [open_.enter_context(TraceStream(path, options)) for path in sources]
        open_.enter_context(watching([stream.reading.source for stream in streams], errors))
        changed = [change.applied(stream, number, stream.reading.path) for number, stream in enumerate(streams)]
        tables = changed[0] if len(changed) == 1 else merged(changed)
        write_trace(_counted(tables, statistics, sources), target)
    console.print(
        f"{target}: {statistics.n:,} requests over {human_time(statistics.span_ns)}", soft_wrap=True, highlight=False
    )
    _tell(console, [stream.reading for stream in streams])


def convert_accesses(
    console: Console, errors: Console, paths: list[Path], options: ReadOptions, change: Change
) -> None:
    """Write the port accesses of the first of two *paths* to the second one, as an access table.

    Raises TraceError if there are none, OutputError if they cannot be written.
    """
    if len(paths) != 2:
        raise OptionError("trace convert --accesses needs one trace to read and the table to write")
    if options.device is not None or change != Change():
        raise OptionError("--accesses takes all accesses as they are: no device, window, scaling or stacking")
    source, target = paths
    suffix_of(target)
    n, span_ns = 0, 0
    with AccessStream(source, options) as stream, watching([stream.reading.source], errors):

        def counted() -> Iterator[AccessTable]:
            nonlocal n, span_ns
            for table in stream:
                n, span_ns = n + len(table), int(table.times_ns[-1])
                yield table

        write_accesses(counted(), target)
    console.print(f"{target}: {n:,} port accesses over {human_time(span_ns)}", soft_wrap=True, highlight=False)
    _tell(console, [stream.reading])


def _tell(console: Console, readings: list[Reading]) -> None:
    """Say what was put in order and what was skipped."""
    for reading in readings:
        if reading.n_late:
            console.print(f"{reading.path}: {reading.n_late:,} requests were put in order", soft_wrap=True)
        for line in skipped(reading):
            console.print(f"{reading.path}: skipped {line}", soft_wrap=True, markup=False, highlight=False)


def _counted(tables: Iterable[TraceTable], statistics: Statistics, paths: list[Path]) -> Iterator[TraceTable]:
    for table in tables:
        statistics.add(table)
        yield table
    if not statistics.n:
        raise TraceError(f"{', '.join(map(str, paths))}: no requests are left in the window of time")
