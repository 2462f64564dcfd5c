"""The canonical CSV: ``time_us,op,sector,sectors``; times in decimal microseconds, R, W or F, units of 512 bytes."""

import io
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from iosim.model.errors import TraceError, shown
from iosim.model.trace import OPS
from iosim.model.units import MAX_NS
from iosim.traces.table import MAX_SECTOR, TraceTable

HEADER = "time_us,op,sector,sectors"
COLUMNS = HEADER.split(",")
TYPES: dict[str, pa.DataType] = {
    "time_us": pa.float64(),
    "op": pa.string(),
    "sector": pa.int64(),
    "sectors": pa.int64(),
}
_NS_PER_US = 1000
_EXACT_US = 4_000_000_000_000.0
"""Up to here (46 days) a float64 of microseconds holds three decimals exactly enough to be rounded to nanoseconds."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


def read(text: str, path: str) -> TraceTable:
    """Return the table in *text*. Raises TraceError with ``file:line``.

    The fast way reads all columns at once; if anything in them is out of the ordinary, every line is read by itself
    and the first bad one is named.
    """
    if text.split("\n", 1)[0].rstrip("\r") != HEADER:
        got = text.split("\n", 1)[0].strip()
        raise TraceError(f"{path}:1: the header must be {HEADER}, got {shown(got)}")
    table = _read_columns(text)
    return _read_lines(text, path) if table is None else table


def _read_columns(text: str) -> TraceTable | None:
    """Return the table, or None if a column does not read as plain numbers of the usual size."""
    try:
        table = csv.read_csv(
            io.BytesIO(text.encode()),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types=TYPES, null_values=[], check_utf8=False),
        )
    except pa.ArrowInvalid:
        return None
    return from_columns(table, 2, "csv")


def from_columns(table: pa.Table, first_line: int, format_name: str) -> TraceTable | None:
    """Return *table*, whose columns have `TYPES` and no nulls, if all values are of the usual size; otherwise None."""
    times = table["time_us"].to_numpy()
    ops = pd.Index(OPS).get_indexer(pd.Index(table["op"].to_numpy()))
    scaled = times * _NS_PER_US
    rounded = np.rint(scaled)
    usual = np.isfinite(times).all() and (np.abs(times) < _EXACT_US).all() and (ops >= 0).all()
    if not usual or (np.abs(scaled - rounded) > 0.01).any():
        return None
    return TraceTable(
        rounded.astype(np.int64),
        ops.astype(np.uint8),
        table["sector"].to_numpy(),
        table["sectors"].to_numpy(),
        np.arange(first_line, first_line + len(table), dtype=np.int64),
        format_name,
    )


def _read_lines(text: str, path: str) -> TraceTable:
    """Read line by line, and raise TraceError at the first line that does not fit."""

    def rows() -> Iterator[list[str]]:
        for number, line in enumerate(text.removesuffix("\n").split("\n")[1:], start=2):
            if not line.strip():
                raise TraceError(f"{path}:{number}: the line is blank")
            cells = line.split(",")
            if len(cells) != len(COLUMNS):
                raise TraceError(f"{path}:{number}: a line must have {len(COLUMNS)} fields, got {len(cells)}")
            yield cells

    return from_rows(rows(), path, 2, "csv")


def from_rows(rows: Iterable[list[str]], path: str, first_line: int, format_name: str) -> TraceTable:
    """Return the table of *rows*, four texts each. Raises TraceError at the first one that does not fit."""
    values = []
    for number, (time, op, sector, sectors) in enumerate(rows, start=first_line):
        if op not in OPS:
            raise TraceError(f"{path}:{number}: op must be R, W or F, got {shown(op)}")
        values.append((_ns(time, path, number), OPS.index(op), *_whole(sector, sectors, path, number), number))
    columns = np.array(values, dtype=np.int64).reshape(-1, 5).T
    return TraceTable(columns[0], columns[1].astype(np.uint8), columns[2], columns[3], columns[4], format_name)


def _ns(text: str, path: str, number: int) -> int:
    if not _NUMBER.fullmatch(text.strip()):
        raise TraceError(f"{path}:{number}: time_us must be a decimal number of microseconds, got {shown(text)}")
    ns = Decimal(text.strip()) * _NS_PER_US
    if abs(ns) >= MAX_NS:
        raise TraceError(f"{path}:{number}: time_us must be below 146 years, got {shown(text)}")
    if ns != int(ns):
        raise TraceError(f"{path}:{number}: time_us must be a whole number of nanoseconds, got {shown(text)}")
    return int(ns)


def _whole(sector: str, sectors: str, path: str, number: int) -> tuple[int, int]:
    values = []
    for name, text in (("sector", sector), ("sectors", sectors)):
        if not _WHOLE.fullmatch(text.strip()):
            raise TraceError(f"{path}:{number}: {name} must be a whole number, got {shown(text)}")
        value = Decimal(text.strip())
        if abs(value) > MAX_SECTOR:
            raise TraceError(f"{path}:{number}: {name} must be at most 2^48, got {shown(text)}")
        values.append(int(value))
    return values[0], values[1]
