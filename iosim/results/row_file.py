"""The table of requests of a run too long for memory: rows go to a temporary file as they come, then to Parquet.

Rows come in the order in which requests end, and the table is sorted by VM, drive and request. A row waits until all
of its drive before it have come; those that follow each other go to the temporary file together.
"""

import tempfile
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from iosim.results.raw import INT_COLUMNS
from iosim.results.sketch import Int64Array, bucket_of
from iosim.results.sums import RequestSums
from iosim.results.tables import request_frame

ROW_GROUP = 1 << 18
"""Rows of a row group, of one drive each."""
_HELD = 1 << 17
_CODEC = pa.Codec("zstd", 1)
_VM, _DRIVE, _REQUEST = (INT_COLUMNS.index(name) for name in ("vm", "drive", "request"))


class _Chunk(NamedTuple):
    """Rows of one drive in the temporary file, by columns, packed."""

    offset: int
    length: int
    rows: int


class RowFile:
    """Takes the rows of a run; `sums` are over all of them. *folder* is where the temporary file lies, None: TMPDIR.

    Raises OSError if there is no room.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.sums = RequestSums()
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as this
        weakref.finalize(self, self._file.close)
        self._chunks: defaultdict[tuple[int, int], list[_Chunk]] = defaultdict(list)
        self._next: defaultdict[tuple[int, int], int] = defaultdict(int)
        self._held: list[Int64Array] = []
        self._n_new = 0

    def add(self, rows: Int64Array) -> None:
        """Take *rows* of `INT_COLUMNS`, in any order."""
        self.sums.add(rows)
        self._held.append(rows.copy())
        self._n_new += len(rows)
        if self._n_new >= _HELD:
            self._sort_out()

    def finish(self) -> None:
        """All rows have come."""
        self.sums.finish()
        self._sort_out()
        assert not self._held

    def write(self, path: Path, vms: Sequence[str]) -> None:
        """Write the table `requests` to *path*; *vms* are the names of the VMs by number."""
        from pyarrow import parquet

        schema = _table(np.zeros((0, len(INT_COLUMNS)), dtype=np.int64), vms).schema
        with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            for place in sorted(self._chunks):
                for rows in self._in_groups(self._chunks[place]):
                    writer.write_table(_table(rows, vms))

    def _in_groups(self, chunks: Sequence[_Chunk]) -> Iterator[Int64Array]:
        group: list[Int64Array] = []
        for chunk in chunks:
            self._file.seek(chunk.offset)
            size = 8 * chunk.rows * len(INT_COLUMNS)
            data: bytes = _CODEC.decompress(self._file.read(chunk.length), size, asbytes=True)
            group.append(np.frombuffer(data, dtype=np.int64).reshape(len(INT_COLUMNS), chunk.rows).T)
            if sum(map(len, group)) >= ROW_GROUP:
                yield np.concatenate(group)
                group = []
        if group:
            yield np.concatenate(group)

    def _sort_out(self) -> None:
        """Put the rows that follow each other into the file, and hold those that wait for others."""
        if not self._held:
            return
        rows = np.concatenate(self._held)
        self._held, self._n_new = [], 0
        rows = rows[np.lexsort((rows[:, _REQUEST], rows[:, _DRIVE], rows[:, _VM]))]
        borders = np.flatnonzero((np.diff(rows[:, [_VM, _DRIVE]], axis=0) != 0).any(axis=1)) + 1
        for own in np.split(rows, borders):
            place = int(own[0, _VM]), int(own[0, _DRIVE])
            expected = self._next[place] + np.arange(len(own))
            n = int(np.argmin(np.append(own[:, _REQUEST] == expected, False)))
            if n:
                self._append(place, own[:n])
            if n < len(own):
                self._held.append(own[n:].copy())

    def _append(self, place: tuple[int, int], rows: Int64Array) -> None:
        data = _CODEC.compress(np.ascontiguousarray(rows.T).tobytes(), asbytes=True)
        self._file.seek(0, 2)
        self._chunks[place].append(_Chunk(self._file.tell(), len(data), len(rows)))
        self._file.write(data)
        self._next[place] += len(rows)


def _table(rows: Int64Array, vms: Sequence[str]) -> pa.Table:
    return pa.Table.from_pandas(request_frame(rows, vms), preserve_index=False)


@dataclass
class Location:
    """Where the table of requests is at present: it moves when the result is written."""

    path: Path


def percentiles(path: Path, column: str, op: str | None, counts: Int64Array, of: Sequence[float]) -> list[float]:
    """Return percentiles (0 to 100) of *column* of the counted requests in the file *path*, those of *op* if given.

    Exact, linear between order statistics, as numpy has them; *counts* are by bucket of a sketch: only values of the
    buckets that order statistics are in are looked at one by one.
    """
    until = np.cumsum(counts)
    places = np.array([p / 100 * 100 for p in of]) / 100 * (until[-1] - 1)
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, until[-1] - 1)
    ranks = np.unique([low, high])
    buckets = np.unique(np.searchsorted(until, ranks, "right"))
    found = _values_in(path, column, op, buckets)
    values = np.array(sorted(found), dtype=np.int64)
    # The rank behind the last of each value: what lies in lower buckets, and the equal and smaller ones of its own.
    first = np.flatnonzero(np.r_[True, np.diff(bucket_of(values)) != 0])
    own = np.array([found[value] for value in values.tolist()], dtype=np.int64)
    sums = np.cumsum(own)
    before = np.repeat(sums[first] - own[first], np.diff(np.r_[first, len(values)]))
    behind = sums - before + (until - counts)[bucket_of(values)]
    at_low, at_high = (values[np.searchsorted(behind, each, "right")] for each in (low, high))
    share = places - low
    step = at_high - at_low
    between: list[float] = np.where(share < 0.5, at_low + step * share, at_high - step * (1 - share)).tolist()
    return between


def _values_in(path: Path, column: str, op: str | None, buckets: Int64Array) -> dict[int, int]:
    """Return how often each value occurs that lies in one of *buckets*."""
    from pyarrow import parquet

    found: defaultdict[int, int] = defaultdict(int)
    with parquet.ParquetFile(path, pre_buffer=False) as file:
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, columns=[column, "status", "warmup", "op"]).to_pandas()
            chosen = (group["status"] == "ok") & ~group["warmup"]
            if op is not None:
                chosen &= group["op"] == op
            values = group.loc[chosen, column].to_numpy()
            values, times = np.unique(values[np.isin(bucket_of(values), buckets)], return_counts=True)
            for value, n in zip(values.tolist(), times.tolist(), strict=True):
                found[value] += n
    return found
