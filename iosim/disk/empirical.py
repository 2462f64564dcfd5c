"""A disk described by measured service times: quantiles by operation and size."""

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

    Below the smallest and above the largest size that was measured, that size's quantiles hold. Nothing depends on
    the address or on the request before: the model has no state.
    """

    draws = True

    def __init__(self, tables: dict[str, dict[int, list[int]]], flush_ns: int | None) -> None:
        self._tables = tables
        self._sizes = {op: sorted(by_size) for op, by_size in tables.items()}
        self._flush_ns = flush_ns

    def initial(self) -> None:
        """There is no state."""
        return

    def service(self, state: None, io: DiskIo, now_ns: int, draw: int) -> tuple[int, None]:
        """Return the quantile that *draw* picks."""
        if io.op == FLUSH and self._flush_ns is not None:
            return self._flush_ns, None
        sizes = self._sizes[io.op]
        tables = self._tables[io.op]
        index = bisect_left(sizes, io.sectors)
        if index == 0 or index == len(sizes):
            return _pick(tables[sizes[min(index, len(sizes) - 1)]], draw), None
        small, large = sizes[index - 1], sizes[index]
        low, high = _pick(tables[small], draw), _pick(tables[large], draw)
        return low + (high - low) * (io.sectors - small) // (large - small), None


def _pick(table: list[int], draw: int) -> int:
    index = draw >> _FRACTION_BITS
    fraction = draw & ((1 << _FRACTION_BITS) - 1)
    return table[index] + (((table[index + 1] - table[index]) * fraction) >> _FRACTION_BITS)


def load_empirical(path: Path, flush_ns: int | None, where: str) -> EmpiricalDisk:
    """Return the disk of the CSV file *path*: columns op, sectors, probability, ns.

    Each (op, sectors) has quantiles from probability 0 to 1, rising. Raises ScenarioError, naming *where* in the
    scenario if the file cannot be read, else the line of the file.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise ScenarioError(f"{where} cannot be read: {path}: {reason(error)}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: is not a text file") from None
    if not rows or rows[0] != ["op", "sectors", "probability", "ns"]:
        raise ScenarioError(f"{path}:1: must be op,sectors,probability,ns, got {','.join(rows[0]) if rows else ''!r}")
    points: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for number, row in enumerate(rows[1:], start=2):
        try:
            op, size, probability, ns = row[0], int(row[1]), float(row[2]), float(row[3])
        except (ValueError, IndexError):
            raise ScenarioError(f"{path}:{number}: must be op,sectors,probability,ns, got {','.join(row)!r}") from None
        if op not in (READ, WRITE, FLUSH) or size < 0 or not 0 <= probability <= 1 or not 0 <= ns < MAX_NS:
            raise ScenarioError(
                f"{path}:{number}: needs op R, W or F, probability 0 to 1, ns 0 to 2^62, got {','.join(row)!r}"
            )
        points.setdefault(op, {}).setdefault(size, []).append((probability, ns))
    for op, by_size in points.items():
        for size, quantiles in by_size.items():
            times = [ns for _, ns in quantiles]
            if (
                quantiles != sorted(quantiles)
                or times != sorted(times)
                or (quantiles[0][0], quantiles[-1][0]) != (0, 1)
            ):
                raise ScenarioError(f"{path}: quantiles of {op} with {size} sectors must rise from probability 0 to 1")
    for op in (READ, WRITE, *([] if flush_ns is not None else [FLUSH])):
        if op not in points:
            raise ScenarioError(f"{path}: has no quantiles of op {op}")
    grid = np.arange(TABLE_SIZE + 1) / TABLE_SIZE
    tables = {
        op: {
            size: np.rint(np.interp(grid, [p for p, _ in quantiles], [ns for _, ns in quantiles]))
            .astype(np.int64)
            .tolist()
            for size, quantiles in by_size.items()
        }
        for op, by_size in points.items()
    }
    return EmpiricalDisk(tables, flush_ns)
