"""A disk described by measured service times: quantiles by operation, size, and sequential or random access."""

import csv
from bisect import bisect_left
from pathlib import Path

import numpy as np

from iosim.disk.model import DiskIo
from iosim.model.costs import TABLE_SIZE
from iosim.model.errors import ScenarioError, reason
from iosim.model.records import FLUSH, READ, WRITE
from iosim.model.units import MAX_NS

_FRACTION_BITS = 20
"""Of the 32 bits of a draw; those above pick the interval of the table."""


class EmpiricalDisk:
    """Draws the service time from the quantiles of the operation, linear between the measured sizes.

    Below the smallest and above the largest size that was measured, that size's quantiles hold. *tables* are those of
    random accesses, *sequential* those of requests that begin where the one before ended, of the operations that have
    them: the state is that end, -1 where there is no such table.
    """

    draws = True

    def __init__(
        self,
        tables: dict[str, dict[int, list[int]]],
        flush_ns: int | None,
        sequential: dict[str, dict[int, list[int]]] | None = None,
    ) -> None:
        self._tables = tables
        self._sequential = sequential or {}
        self._sizes = {op: sorted(by_size) for op, by_size in tables.items()}
        self._sequential_sizes = {op: sorted(by_size) for op, by_size in self._sequential.items()}
        self._flush_ns = flush_ns

    def initial(self) -> int:
        """Nothing goes on where nothing was."""
        return -1

    def service(self, state: int, io: DiskIo, now_ns: int, draw: int) -> tuple[int, int]:
        """Return the quantile that *draw* picks."""
        if io.op == FLUSH and self._flush_ns is not None:
            return self._flush_ns, state
        follows = io.sector == state and io.op in self._sequential
        sizes = (self._sequential_sizes if follows else self._sizes)[io.op]
        tables = (self._sequential if follows else self._tables)[io.op]
        end = io.sector + io.sectors if self._sequential and io.op != FLUSH else state
        index = bisect_left(sizes, io.sectors)
        if index == 0 or index == len(sizes):
            return _pick(tables[sizes[min(index, len(sizes) - 1)]], draw), end
        small, large = sizes[index - 1], sizes[index]
        low, high = _pick(tables[small], draw), _pick(tables[large], draw)
        return low + (high - low) * (io.sectors - small) // (large - small), end


def _pick(table: list[int], draw: int) -> int:
    index = draw >> _FRACTION_BITS
    fraction = draw & ((1 << _FRACTION_BITS) - 1)
    return table[index] + (((table[index + 1] - table[index]) * fraction) >> _FRACTION_BITS)


_HEAD = ["op", "sectors", "probability", "ns"]
_HEAD_WITH_ACCESS = ["op", "access", "sectors", "probability", "ns"]
_RANDOM, _SEQUENTIAL = "random", "sequential"
_Points = dict[tuple[str, str], dict[int, list[tuple[float, float]]]]


def load_empirical(path: Path, flush_ns: int | None, where: str) -> EmpiricalDisk:
    """Return the disk of the CSV file *path*: columns op, sectors, probability, ns, perhaps access behind op.

    Each (op, access, sectors) has quantiles from probability 0 to 1, rising. Raises ScenarioError, naming *where* in
    the scenario if the file cannot be read, else the line of the file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise ScenarioError(f"{where} cannot be read: {path}: {reason(error)}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: is not a text file") from None
    if not rows or rows[0] not in (_HEAD, _HEAD_WITH_ACCESS):
        raise ScenarioError(f"{path}:1: must be {','.join(_HEAD)}, got {','.join(rows[0]) if rows else ''!r}")
    points = _points(path, rows)
    _check(path, points)
    for op in (READ, WRITE, *([] if flush_ns is not None else [FLUSH])):
        if (op, _RANDOM) not in points:
            which = f" and access {_RANDOM}" if rows[0] == _HEAD_WITH_ACCESS else ""
            raise ScenarioError(f"{path}: has no quantiles of op {op}{which}")
    grid = np.arange(TABLE_SIZE + 1) / TABLE_SIZE
    tables: dict[str, dict[str, dict[int, list[int]]]] = {_RANDOM: {}, _SEQUENTIAL: {}}
    for (op, access), by_size in points.items():
        tables[access][op] = {
            size: np.rint(np.interp(grid, [p for p, _ in quantiles], [ns for _, ns in quantiles]))
            .astype(np.int64)
            .tolist()
            for size, quantiles in by_size.items()
        }
    return EmpiricalDisk(tables[_RANDOM], flush_ns, tables[_SEQUENTIAL])


def _points(path: Path, rows: list[list[str]]) -> _Points:
    """Return the quantiles that *rows* have, the head first. Raises ScenarioError."""
    head, points = rows[0], _Points()
    for number, row in enumerate(rows[1:], start=2):
        try:
            named = dict(zip(head, row, strict=True))
            op, access, size = named["op"], named.get("access", _RANDOM), int(named["sectors"])
            probability, ns = float(named["probability"]), float(named["ns"])
        except ValueError:
            raise ScenarioError(f"{path}:{number}: must be {','.join(head)}, got {','.join(row)!r}") from None
        if op not in (READ, WRITE, FLUSH) or size < 0 or not 0 <= probability <= 1 or not 0 <= ns < MAX_NS:
            raise ScenarioError(
                f"{path}:{number}: needs op R, W or F, probability 0 to 1, ns 0 to 2^62, got {','.join(row)!r}"
            )
        if access not in (_RANDOM, _SEQUENTIAL):
            raise ScenarioError(f"{path}:{number}: needs access {_RANDOM} or {_SEQUENTIAL}, got {access!r}")
        points.setdefault((op, access), {}).setdefault(size, []).append((probability, ns))
    return points


def _check(path: Path, points: _Points) -> None:
    """Raise ScenarioError if quantiles do not rise from 0 to 1."""
    for (op, _), by_size in points.items():
        for size, quantiles in by_size.items():
            times = [ns for _, ns in quantiles]
            if (
                quantiles != sorted(quantiles)
                or times != sorted(times)
                or (quantiles[0][0], quantiles[-1][0]) != (0, 1)
            ):
                raise ScenarioError(f"{path}: quantiles of {op} with {size} sectors must rise from probability 0 to 1")
