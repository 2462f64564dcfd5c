"""Port accesses of a guest out of a file, as a stream: from a kernel trace, a QEMU log, or an access table.

An access table has the columns time_us, vcpu, write, port, size, count, value, guest_us and halted: those of
`AccessTable`, times in microseconds. In Parquet what was not recorded is null, in CSV an empty cell.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from iosim.model.errors import TraceError, shown
from iosim.traces import kernel_text, kvm, parquet, qemu_accesses
from iosim.traces.accesses import UNKNOWN, AccessTable
from iosim.traces.cells import choice, optional, time, whole
from iosim.traces.columns import Layout, Rows
from iosim.traces.reading import Reading, ReadOptions
from iosim.traces.source import Source
from iosim.traces.writer import decimal_us, replaced, suffix_of, text_file

_TYPES: dict[str, pa.DataType] = {
    "time_us": pa.float64(),
    "vcpu": pa.int64(),
    "write": pa.bool_(),
    "port": pa.int64(),
    "size": pa.int64(),
    "count": pa.int64(),
    "value": pa.int64(),
    "guest_us": pa.float64(),
    "halted": pa.bool_(),
}
SCHEMA = pa.schema(_TYPES)
_NULLABLE = ("value", "guest_us")
_HEADER = ",".join(_TYPES)
_BOOLEAN = {"false": 0, "true": 1}
_LAYOUT = Layout(
    (
        time("time_us", 1000, "microseconds", exact=True),
        whole("vcpu"),
        choice("write", _BOOLEAN, "true or false"),
        whole("port"),
        whole("size"),
        whole("count"),
        optional(whole("value"), UNKNOWN),
        optional(time("guest_us", 1000, "microseconds", exact=True), UNKNOWN),
        choice("halted", _BOOLEAN, "true or false"),
    ),
    header=lambda line: line == _HEADER,
    blank=False,
    utf8=True,
)
_BATCH_ROWS = 1 << 17
_KERNEL_TEXT = ("perf-script", "trace-cmd", "ftrace")


def _fits_kvm(head: bytes) -> bool:
    return "kvm" in kernel_text.kinds(head)


class AccessStream:
    """The port accesses of a guest, chunk by chunk, in order of time; read once, in constant memory.

    A context manager, like `iosim.traces.TraceStream`. Raises TraceError, also for times that go back.
    """

    def __init__(self, path: str | Path, options: ReadOptions | None = None) -> None:
        options = options or ReadOptions()
        self._source = Source(path)
        names = [name for name, (fits, _) in READERS.items() if fits(self._source.head)]
        if options.format is not None:
            format_ = "kvm" if options.format in _KERNEL_TEXT else options.format
            if format_ != "accesses":
                names = [format_] if format_ in READERS else []
        if len(names) != 1:
            self._source.close()
            raise TraceError(f"{path}: has no port accesses that can be read: it must be one of {', '.join(READERS)}")
        self._read = READERS[names[0]][1]
        self.reading = Reading(self._source, options, names[0])

    def __enter__(self) -> "AccessStream":
        return self

    def __exit__(self, *error: object) -> None:
        self._source.close()

    def __iter__(self) -> Iterator[AccessTable]:
        n, last_ns = 0, 0
        for table in self._read(self.reading):
            if not len(table):
                continue
            back = table.times_ns < np.maximum.accumulate(np.r_[last_ns, table.times_ns])[:-1]
            if back.any():
                at = int(back.argmax())
                raise TraceError(f"{self.reading.path}:{table.lines[at]}: time must not go back")
            n, last_ns = n + len(table), int(table.times_ns[-1])
            yield table
        if not n:
            raise TraceError(f"{self.reading.path}: has no port accesses{self.reading.why_nothing()}")

    @property
    def sha256(self) -> str:
        """The checksum of the file as it lies there."""
        return self._source.sha256


def write_accesses(tables: Iterable[AccessTable], path: Path) -> None:
    """Write an access table, CSV or Parquet by the end of its name.

    A file that is there already is replaced when the new one is complete. Raises OutputError for another name.
    """
    from pyarrow import parquet as arrow_parquet

    suffix = suffix_of(path)
    with replaced(path) as file:
        if suffix != ".parquet":
            with text_file(file, suffix) as text:
                text.write(f"{_HEADER}\n".encode())
                for table in tables:
                    csv.write_csv(_as_text(table), text, csv.WriteOptions(include_header=False, quoting_style="none"))
            return
        with arrow_parquet.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            for table in tables:
                writer.write_table(pa.table(_columns(table, lambda ns: pa.array(ns / 1000)), schema=SCHEMA))


def _columns(table: AccessTable, us: Callable[[npt.NDArray[np.int64]], Any]) -> list[Any]:
    """Return the columns; *us* makes one of times in nanoseconds."""

    def known(values: npt.NDArray[np.int64], column: Any) -> Any:
        return pc.if_else(pa.array(values != UNKNOWN), column, pa.scalar(None, column.type))

    return [
        us(table.times_ns),
        pa.array(table.vcpus),
        pa.array(table.writes),
        pa.array(table.ports),
        pa.array(table.sizes),
        pa.array(table.counts),
        known(table.values, pa.array(table.values)),
        known(table.guest_ns, us(table.guest_ns)),
        pa.array(table.halted),
    ]


def _as_text(table: AccessTable) -> pa.Table:
    columns = _columns(table, decimal_us)
    return pa.table(columns, names=SCHEMA.names)


def fits_csv(head: bytes) -> bool:
    """Tell whether the first line of *head* has the header of an access table in it."""
    return _HEADER.encode() in head.split(b"\n", 1)[0]


def tables_of(reading: Reading) -> Iterator[AccessTable]:
    """Yield the accesses of an access table, CSV or Parquet."""
    yield from (_tables_of_parquet if parquet.fits(reading.source.head) else _tables_of_csv)(reading)


def _tables_of_csv(reading: Reading) -> Iterator[AccessTable]:
    for rows in _LAYOUT.rows(reading):
        yield _checked(_of_rows(rows), reading)


def _of_rows(rows: Rows) -> AccessTable:
    columns: list[Any] = [rows[name] for name in SCHEMA.names]
    columns[2], columns[8] = columns[2].astype(np.bool_), columns[8].astype(np.bool_)
    return AccessTable(*[*columns, rows.lines])


def _checked(table: AccessTable, reading: Reading) -> AccessTable:
    """Return *table*, of a file that anybody may have written. Raises TraceError for values that cannot be."""
    most = np.iinfo(np.int64).max
    for name, values, least, largest in (
        ("time_us", table.times_ns, 0, most),
        ("vcpu", table.vcpus, 0, most),
        ("port", table.ports, 0, 0xFFFF),
        ("size", table.sizes, 1, 4),
        ("count", table.counts, 1, most),
        ("value", table.values, UNKNOWN, 0xFFFFFFFF),
        ("guest_us", table.guest_ns, UNKNOWN, most),
    ):
        wrong = (values < least) | (values > largest)
        if wrong.any():
            at = int(wrong.argmax())
            limits = f"at least {max(least, 0)}" if largest == most else f"from {max(least, 0)} to {largest}"
            raise TraceError(f"{reading.path}:{table.lines[at]}: {name} must be {limits}, got {values[at]}")
    return table


def _tables_of_parquet(reading: Reading) -> Iterator[AccessTable]:
    from pyarrow import parquet as arrow_parquet

    row = 1
    try:
        with arrow_parquet.ParquetFile(reading.path) as file:
            if not file.schema_arrow.equals(SCHEMA):
                got = ", ".join(file.schema_arrow.names)
                raise TraceError(f"{reading.path}: the columns must be {', '.join(SCHEMA.names)}, got {shown(got)}")
            for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
                yield _checked(_of_arrow(batch, row, reading.path), reading)
                row += len(batch)
    except (pa.ArrowException, OSError):
        raise TraceError(f"{reading.path}: is a damaged Parquet file") from None


def _of_arrow(batch: pa.RecordBatch, row: int, path: str) -> AccessTable:
    columns: dict[str, Any] = {name: batch.column(name) for name in SCHEMA.names}
    for name, column in columns.items():
        if column.null_count and name not in _NULLABLE:
            raise TraceError(f"{path}: the column {name} must have a value in every row")
    missing = {name: columns[name].is_null().to_numpy(zero_copy_only=False) for name in _NULLABLE}
    values = np.where(missing["value"], UNKNOWN, columns["value"].fill_null(0).to_numpy())
    guest_us = columns["guest_us"].fill_null(0).to_numpy()
    return AccessTable(
        np.rint(columns["time_us"].to_numpy() * 1000).astype(np.int64),
        columns["vcpu"].to_numpy(),
        columns["write"].to_numpy(zero_copy_only=False),
        columns["port"].to_numpy(),
        columns["size"].to_numpy(),
        columns["count"].to_numpy(),
        values,
        np.where(missing["guest_us"], UNKNOWN, np.rint(guest_us * 1000)).astype(np.int64),
        columns["halted"].to_numpy(zero_copy_only=False),
        np.arange(row, row + len(batch), dtype=np.int64),
    )


READERS: dict[str, tuple[Callable[[bytes], bool], Callable[[Reading], Iterator[AccessTable]]]] = {
    "csv": (fits_csv, _tables_of_csv),
    "kvm": (_fits_kvm, kvm.tables),
    "qemu-log": (qemu_accesses.fits, qemu_accesses.tables),
    "parquet": (parquet.fits, _tables_of_parquet),
}
"""How each format is recognised and read, by its name."""
