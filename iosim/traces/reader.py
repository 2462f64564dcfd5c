"""Reading a trace file: its format recognised by its content, its requests as a stream or as a whole."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from iosim.model.errors import TraceError, reason
from iosim.model.trace import AnyTrace, Trace
from iosim.traces.formats import check_name, recognise
from iosim.traces.order import checked, from_zero, in_order
from iosim.traces.port_sequence import read_ports
from iosim.traces.reading import Reading, ReadOptions
from iosim.traces.source import Source
from iosim.traces.stored import StoredTrace
from iosim.traces.table import TraceTable, as_trace

MOST_IN_MEMORY = 1 << 20
"""A trace of more requests is replayed from a temporary file."""


class TraceStream:
    """The requests of a trace file, chunk by chunk, in order of time and by the rules; read once, in constant memory.

    A context manager: the file is open within it. Raises TraceError, naming the file and, where there is one, the
    line (Parquet: the row). `reading` is the account of what was read; it is complete when the iteration has ended.
    """

    def __init__(self, path: str | Path, options: ReadOptions | None = None) -> None:
        options = options or ReadOptions()
        if options.format is not None:
            check_name(options.format)
        self._source = Source(path)
        try:
            self._format = recognise(self._source.head, str(path), options.format)
        except TraceError:
            self._source.close()
            raise
        self.reading = Reading(self._source, options, self._format.name)

    def __enter__(self) -> "TraceStream":
        return self

    def __exit__(self, *error: object) -> None:
        self._source.close()

    def __iter__(self) -> Iterator[TraceTable]:
        reading = self.reading
        tables = self._of_one_device(self._format.read(reading))
        if not self._format.strict or reading.options.sort:
            tables = in_order(tables, reading)
        if self._format.from_first:
            tables = from_zero(tables)
        yield from checked(tables, reading)
        reading.check_devices(at_end=True)
        if self._source.no_newline:
            reading.notes.append("the last line has no newline at its end: the file may have been cut there")
        if not reading.n_requests:
            raise TraceError(f"{reading.path}: {self._format.empty}{reading.why_nothing()}")

    def _of_one_device(self, tables: Iterator[TraceTable]) -> Iterator[TraceTable]:
        for table in tables:
            self.reading.check_devices(at_end=False)
            yield table

    @property
    def sha256(self) -> str:
        """The checksum of the file as it lies there."""
        return self._source.sha256


def read_trace(path: str | Path, options: ReadOptions | None = None) -> Trace:
    """Return the whole trace in *path*, plain, .gz or .zst. Raises TraceError like `TraceStream`."""
    if options is not None and options.ports is not None:
        return read_ports(path, options)
    with TraceStream(path, options) as stream:
        table = TraceTable.joined(list(stream))
        return as_trace(table, str(path), stream.sha256)


def open_trace(path: str | Path, options: ReadOptions | None = None) -> AnyTrace:
    """Return the trace in *path* to be replayed: in memory as `read_trace` if it has up to `MOST_IN_MEMORY` requests.

    Raises TraceError like `TraceStream`, and for a file that there is no room for.
    """
    if options is not None and options.ports is not None:
        return read_ports(path, options)
    with TraceStream(path, options) as stream:
        tables = iter(stream)
        first: list[TraceTable] = []
        while sum(map(len, first)) <= MOST_IN_MEMORY:
            table = next(tables, None)
            if table is None:
                return as_trace(TraceTable.joined(first), str(path), stream.sha256)
            first.append(table)
        try:
            trace = StoredTrace(chain(_emptied(first), tables), str(path))
        except OSError as error:
            raise TraceError(f"{path}: no temporary file for its requests: {reason(error)}") from None
        trace.sha256 = stream.sha256
        return trace


def _emptied(tables: list[TraceTable]) -> Iterator[TraceTable]:
    """Yield the tables and let each go."""
    while tables:
        yield tables.pop(0)


def format_of(path: str | Path) -> str:
    """Return the name of the format that the content of *path* shows. Raises TraceError."""
    with Source(path) as source:
        return recognise(source.head, str(path)).name
