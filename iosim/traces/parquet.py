"""The canonical table as Parquet: columns time_us, op, sector, sectors, in any order, others beside them ignored.

A request's place is its row, from 1.
"""

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa

from iosim.model.errors import TraceError, shown
from iosim.traces.canonical import COLUMNS, LAYOUT, as_table
from iosim.traces.cells import Ints, decimals
from iosim.traces.columns import Rows
from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable

MAGIC = b"PAR1"
_BATCH_ROWS = 1 << 17
EXACT_US = 4_000_000_000_000.0
"""Up to here (46 days) a float64 of microseconds holds three decimals exactly enough to be rounded to nanoseconds."""


def fits(head: bytes) -> bool:
    """Tell whether *head* is the begin of a Parquet file."""
    return head[:4] == MAGIC


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the table of the file. Raises TraceError with ``file:row``.

    Parquet has its index at the end: a packed file is unpacked into a temporary one.
    """
    if not reading.source.packed:
        yield from _tables(reading.path, reading)
        return
    with tempfile.TemporaryFile() as file:
        for chunk in reading.source.chunks():
            file.write(chunk)
        file.seek(0)
        yield from _tables(file, reading)


def _tables(file: str | IO[bytes], reading: Reading) -> Iterator[TraceTable]:
    from pyarrow import parquet

    row = 1
    try:
        with parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) as opened:
            names = opened.schema_arrow.names
            if not set(COLUMNS) <= set(names):
                raise TraceError(
                    f"{reading.path}: the columns must be {', '.join(COLUMNS)}, got {shown(', '.join(names))}"
                )
            for batch in opened.iter_batches(_BATCH_ROWS, columns=COLUMNS, use_threads=False):
                yield as_table(_at_once(batch, row) or _row_by_row(batch, row, reading))
                row += len(batch)
    except (pa.ArrowException, OSError):
        raise TraceError(f"{reading.path}: is a damaged Parquet file") from None


def _at_once(batch: pa.RecordBatch, first: int) -> Rows | None:
    """Return the rows, or None if the columns are not plain numbers and texts of the usual size."""
    if any(column.null_count for column in batch.columns):
        return None
    try:
        columns: dict[str, Any] = {
            column.name: column.usual(batch.select([column.name]).cast(pa.schema({column.name: column.arrow}))[0])
            for _, column in LAYOUT.used[1:]
        }
        columns["time_us"] = _ns(batch.column("time_us"))
    except pa.ArrowInvalid:
        return None
    if any(column is None for column in columns.values()):
        return None
    return Rows(columns, np.arange(first, first + len(batch), dtype=np.int64))


def _ns(time_us: Any) -> Ints | None:
    if pa.types.is_decimal(time_us.type):
        return decimals(time_us.cast(pa.decimal128(30, 3)))
    if not (pa.types.is_floating(time_us.type) or pa.types.is_integer(time_us.type)):
        return None
    us = time_us.cast(pa.float64()).to_numpy()
    ns = us * 1000
    rounded = np.rint(ns)
    exact = np.isfinite(us).all() and (np.abs(us) < EXACT_US).all() and (np.abs(ns - rounded) <= 0.01).all()
    return rounded.astype(np.int64) if exact else None


def _row_by_row(batch: pa.RecordBatch, first: int, reading: Reading) -> Rows:
    rows: list[dict[str, Any]] = batch.to_pylist()
    cells = ((number, [str(row[name]) for name in COLUMNS]) for number, row in enumerate(rows, start=first))
    return LAYOUT.of_cells(cells, reading)
