"""From the columns of a format to requests: a device chosen, bytes to sectors, times counted from the first row."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.model.units import SECTOR_BYTES
from iosim.traces.cells import Ints
from iosim.traces.columns import Rows
from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable

READ, WRITE = 0, 1
"""Operations as numbers, see `iosim.model.trace.OPS`."""


def of_device(rows: Rows, reading: Reading, columns: tuple[str, ...], name: str = "{}") -> Rows:
    """Return the rows of the device that is wanted; *name* is made of the texts in *columns*."""
    if not len(rows):
        return rows
    key = np.zeros(len(rows), dtype=np.int64)
    for column in columns:
        codes, uniques = pd.factorize(rows[column])
        key = key * len(uniques) + codes
    _, first, codes, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    names = [name.format(*(rows[column][at] for column in columns)) for at in first]
    wanted = np.array([reading.takes(device, int(n)) for device, n in zip(names, counts, strict=True)])
    return rows if wanted.all() else rows.chosen(wanted[codes])


def without(rows: Rows, reading: Reading, bad: npt.NDArray[np.bool_], rule: str, column: str, form: str = "{}") -> Rows:
    """Return *rows* without the *bad* ones, which are refused because of *rule*, as the value in *column* shows."""
    if not bad.any():
        return rows
    at = np.flatnonzero(bad)
    reading.refuse_rows(at, rows.lines, rule, form.format(int(rows[column][at[0]])))
    return rows.chosen(~bad)


def in_sectors(rows: Rows, reading: Reading, *columns: str) -> Rows:
    """Return *rows* with these columns in sectors instead of bytes. Refuses what is not a whole number of sectors."""
    for name in columns:
        rule = f"{name} must be a multiple of {SECTOR_BYTES} bytes"
        rows = without(rows, reading, rows[name] % SECTOR_BYTES != 0, rule, name)
    return rows.with_columns({name: rows[name] // SECTOR_BYTES for name in columns})


@dataclass
class Origin:
    """The first time of a file, from which the others count."""

    first: int | None = None

    def since(self, times: Ints) -> Ints:
        """Return *times* less the first of all."""
        if self.first is None and len(times):
            self.first = int(times[0])
        return times - (self.first or 0)


def table(times_ns: Ints, rows: Rows, op: str, first: str, count: str) -> TraceTable:
    """Return the requests of *rows* at *times_ns*; the other columns by their names."""
    return TraceTable(times_ns, rows[op].astype(np.uint8), rows[first], rows[count], rows.lines)
