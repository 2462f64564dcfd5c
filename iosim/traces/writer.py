"""Canonical traces written chunk by chunk: CSV, plain, .gz or .zst, or Parquet; whole under its name or not at all."""

import gzip
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from iosim.model.errors import OutputError, reason
from iosim.model.trace import OPS
from iosim.traces.canonical import COLUMNS, HEADER
from iosim.traces.parquet import EXACT_US
from iosim.traces.table import TraceTable

SUFFIXES = (".csv", ".csv.gz", ".csv.zst", ".parquet")
_OPS = pa.array(OPS, pa.string())


def suffix_of(path: Path) -> str:
    """Return which of SUFFIXES *path* has. Raises OutputError."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    raise OutputError(f"{path}: must end in one of {', '.join(SUFFIXES)}")


def write_trace(tables: Iterable[TraceTable], path: Path) -> None:
    """Write *tables* to *path*; a file that is there already is replaced when the new one is complete.

    Raises OutputError if it cannot be written, and what *tables* raises; neither leaves anything behind.
    """
    suffix = suffix_of(path)
    with replaced(path) as file:
        if suffix == ".parquet":
            _parquet(tables, file, path)
            return
        with text_file(file, suffix) as text:
            _csv(tables, text)


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Give a file that replaces *path* when everything in it has been written, and nothing if that fails.

    Raises OutputError if it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("xb") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: {reason(error)}") from None
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def text_file(file: IO[bytes], suffix: str) -> Iterator[Any]:
    """Give what packs text into *file* as *suffix* says. The gzip file has neither a name nor a time."""
    if suffix == ".csv.gz":
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=6) as packed:
            yield packed
    elif suffix == ".csv.zst":
        unpacked: Any = file
        with pa.CompressedOutputStream(unpacked, "zstd") as packed:
            yield packed
    else:
        yield file


def _csv(tables: Iterable[TraceTable], file: Any) -> None:
    file.write(f"{HEADER}\n".encode())
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    for table in tables:
        csv.write_csv(_columns(table, decimal_us(table.times_ns)), file, options)


def _parquet(tables: Iterable[TraceTable], file: IO[bytes], path: Path) -> None:
    from pyarrow import parquet

    schema = pa.schema(zip(COLUMNS, (pa.float64(), pa.string(), pa.int64(), pa.int64()), strict=True))
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in tables:
            us = table.times_ns / 1000
            if len(us) and us[-1] >= EXACT_US:
                raise OutputError(f"{path}: Parquet takes times below 46 days, which a float64 has exactly; write .csv")
            writer.write_table(_columns(table, pa.array(us)).cast(schema))


def _columns(table: TraceTable, time_us: Any) -> pa.Table:
    ops: Any = pa.DictionaryArray.from_arrays(pa.array(table.ops, pa.int8()), _OPS).cast(pa.string())
    return pa.table([time_us, ops, pa.array(table.sectors_first), pa.array(table.sectors_count)], names=COLUMNS)


def decimal_us(ns: "np.ndarray[Any, np.dtype[np.int64]]") -> Any:
    """Return nanoseconds as decimals of microseconds, every digit."""
    words = np.empty((len(ns), 2), dtype=np.int64)
    words[:, 0] = ns
    words[:, 1] = ns >> 63
    return pa.Array.from_buffers(pa.decimal128(22, 3), len(ns), [None, pa.py_buffer(words.tobytes())])
