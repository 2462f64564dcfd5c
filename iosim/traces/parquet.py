"""The canonical table as Parquet: columns time_us, op, sector, sectors, in any order, others beside them ignored.

A request's place is its row, from 1.
"""

import pyarrow as pa

from iosim.model.errors import TraceError, shown
from iosim.traces.canonical import COLUMNS, TYPES, from_columns, from_rows
from iosim.traces.table import TraceTable

MAGIC = b"PAR1"


def read(content: bytes, path: str) -> TraceTable:
    """Return the table in *content*. Raises TraceError with ``file:row``."""
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        names = file.schema_arrow.names
        if not set(COLUMNS) <= set(names):
            raise TraceError(f"{path}: the columns must be {', '.join(COLUMNS)}, got {shown(', '.join(names))}")
        table = file.read(COLUMNS, use_threads=False)
    except (pa.ArrowException, OSError):
        raise TraceError(f"{path}: is a damaged Parquet file") from None
    usual = None if any(column.null_count for column in table.columns) else _usual(table)
    if usual is not None:
        return usual
    rows = ([str(row[name]) for name in COLUMNS] for row in table.to_pylist())
    return from_rows(rows, path, 1, "parquet")


def _usual(table: pa.Table) -> TraceTable | None:
    """Return the table, or None if its columns are not plain numbers and texts of the usual size."""
    time_us = table.schema.field("time_us").type
    if not (pa.types.is_floating(time_us) or pa.types.is_integer(time_us)):
        return None
    try:
        return from_columns(table.select(COLUMNS).cast(pa.schema(TYPES)), 1, "parquet")
    except pa.ArrowInvalid:
        return None
