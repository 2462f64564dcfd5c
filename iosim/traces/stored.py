"""A trace that is too long for memory: its requests in a temporary file, read again piece by piece by whoever replays.

The file lies in the folder for temporary files (TMPDIR) and has no name: it goes with the process. It takes about ten
bytes per request.
"""

import os
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from iosim.model.trace import OPS, AnyTrace, divided
from iosim.traces.table import TraceTable

BATCH_ROWS = 1 << 14
_CACHED = 64
"""Batches that are kept as they were read last: streams that are at about the same place share them."""
_SCHEMA = pa.schema([("gaps", pa.int64()), ("ops", pa.uint8()), ("first", pa.int64()), ("count", pa.int64()),
                     ("line_gaps", pa.int64())])  # fmt: skip
_OPTIONS = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1))


class _Place(NamedTuple):
    """Where a batch lies in the file, and the time and line that its gaps count from."""

    offset: int
    length: int
    time_ns: int
    line: int


class StoredTrace(AnyTrace):
    """The requests of *tables*, which are in order of time. Raises OSError if the file cannot be written."""

    def __init__(self, tables: Iterable[TraceTable], path: str) -> None:
        self.path = path
        self.sha256 = ""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the trace
        weakref.finalize(self, self._file.close)
        self._places: list[_Place] = []
        self._n = 0
        self._by_op = np.zeros(len(OPS), dtype=np.int64)
        self._end_sector = 1
        self._last_ns = 0
        self._cached: OrderedDict[int, TraceTable] = OrderedDict()
        rest = TraceTable.of_rows([])
        for table in tables:
            rest = TraceTable.joined([rest, table])
            whole = len(rest) - len(rest) % BATCH_ROWS
            for at in range(0, whole, BATCH_ROWS):
                self._store(rest[at : at + BATCH_ROWS])
            rest = rest[whole:]
        if len(rest):
            self._store(rest)

    def __len__(self) -> int:
        return self._n

    @property
    def end_sector(self) -> int:
        """As `Trace.end_sector`."""
        return self._end_sector

    @property
    def last_ns(self) -> int:
        """As `Trace.last_ns`."""
        return self._last_ns

    def by_op(self) -> list[int]:
        """As `Trace.by_op`."""
        found: list[int] = self._by_op.tolist()
        return found

    def request(self, number: int) -> tuple[str, int, int]:
        """As `Trace.request`."""
        batch, at = divmod(number, BATCH_ROWS)
        table = self._batch(batch)
        return OPS[table.ops[at]], int(table.sectors_first[at]), int(table.sectors_count[at])

    def first_beyond(self, sectors: int) -> tuple[int, int | None] | None:
        """As `Trace.first_beyond`."""
        if self._end_sector <= sectors:
            return None
        for number in range(len(self._places)):
            table = self._batch(number)
            ends = table.sectors_first + table.sectors_count
            if (ends > sectors).any():
                at = int((ends > sectors).argmax())
                return int(ends[at]), int(table.lines[at])
        return None

    def pieces(self, offset_ns: int, speed: Fraction, n: int) -> Iterator[npt.NDArray[np.int64]]:
        """As `Trace.pieces`. The batch that a piece is of is not held: there may be thousands of streams."""
        for number in range(len(self._places)):
            for at in range(0, BATCH_ROWS, n):
                table = self._batch(number)[at : at + n]
                if len(table):
                    times = divided(table.times_ns, speed) + offset_ns
                    yield np.column_stack([times, table.ops, table.sectors_first, table.sectors_count])

    def _store(self, table: TraceTable) -> None:
        ends = table.sectors_first + table.sectors_count
        time_ns, line = int(table.times_ns[0]), int(table.lines[0])
        columns = [
            np.diff(table.times_ns, prepend=time_ns),
            table.ops,
            table.sectors_first,
            table.sectors_count,
            np.diff(table.lines, prepend=line),
        ]
        batch = pa.record_batch([pa.array(column) for column in columns], schema=_SCHEMA)
        data = _serialized(batch)
        self._places.append(_Place(self._file.tell(), len(data), time_ns, line))
        self._file.write(data)
        self._n += len(table)
        self._by_op += np.bincount(table.ops, minlength=len(OPS))
        self._end_sector = max(self._end_sector, int(ends.max()))
        self._last_ns = int(table.times_ns[-1])

    def _batch(self, number: int) -> TraceTable:
        table = self._cached.get(number)
        if table is None:
            place = self._places[number]
            self._file.flush()
            data = os.pread(self._file.fileno(), place.length, place.offset)
            with pa.ipc.open_stream(data) as stream:
                gaps, ops, first, count, lines = (column.to_numpy() for column in stream.read_next_batch().columns)
            table = TraceTable(place.time_ns + np.cumsum(gaps), ops, first, count, place.line + np.cumsum(lines))
            self._cached[number] = table
            if len(self._cached) > _CACHED:
                self._cached.popitem(last=False)
        else:
            self._cached.move_to_end(number)
        return table


def _serialized(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _SCHEMA, options=_OPTIONS) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data
