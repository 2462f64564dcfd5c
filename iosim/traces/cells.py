"""What a column of a text table may hold: read all at once by Arrow, or cell by cell with the rule that one breaks."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from iosim.model.errors import shown
from iosim.model.units import MAX_NS

Ints = npt.NDArray[np.int64]
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)


class CellError(Exception):
    """A cell breaks a rule: the rule, and the value as errors show it."""


@dataclass(frozen=True)
class Column:
    """A column: its name, its type in Arrow (null: it is ignored), and how to make values of it.

    *usual* returns the array of a whole Arrow column, or None if something in it is out of the ordinary; *one* returns
    the value of a single cell, and raises CellError.
    """

    name: str
    arrow: pa.DataType
    usual: Callable[[Any], npt.NDArray[Any] | None]
    one: Callable[[str], Any]
    dtype: type = np.int64


def whole(name: str, power: int = 48) -> Column:
    """Return a column of whole numbers, at most 2 to the *power*."""
    return Column(name, pa.int64(), partial(_small, 1 << power), partial(_one_whole, name, power))


def time(name: str, unit_ns: int, unit: str, exact: bool = False) -> Column:
    """Return a column of decimal times in units of *unit_ns*, called *unit* in messages; the values are nanoseconds.

    Fractions of a nanosecond are refused if *exact*, and rounded otherwise.
    """
    digits = len(str(unit_ns)) - 1
    return Column(name, pa.decimal128(30, digits), decimals, partial(_one_time, name, unit_ns, unit, exact))


def choice(name: str, codes: dict[str, int], rule: str) -> Column:
    """Return a column with one of a few texts, and the number that each stands for; *rule* says which they are."""
    return Column(name, pa.string(), partial(_chosen, codes), partial(_one_choice, name, codes, rule))


def optional(column: Column, missing: int) -> Column:
    """Return *column* with cells that may be empty: these are *missing*."""
    return Column(
        column.name,
        pa.string(),
        partial(_or_missing, column, missing),
        lambda cell: column.one(cell) if cell else missing,
    )


def text(name: str) -> Column:
    """Return a column of texts."""
    return Column(name, pa.string(), _texts, str, object)


def ignored(name: str) -> Column:
    """Return a column that is not used; nothing in it is checked."""
    return Column(name, pa.null(), _texts, str)


def decimals(column: Any) -> Ints | None:
    """Return the digits of a decimal128 column as int64, or None if one is of MAX_NS or above."""
    parts = [np.zeros(0, dtype=np.int64)]
    chunks: Any = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    for chunk in chunks:
        words = np.frombuffer(chunk.buffers()[1], dtype=np.int64)[2 * chunk.offset : 2 * (chunk.offset + len(chunk))]
        low, high = words[::2], words[1::2]
        if ((high != low >> 63) | (low >= MAX_NS) | (low <= -MAX_NS)).any():
            return None
        parts.append(low)
    return np.concatenate(parts)


def _or_missing(column: Column, missing: int, cells: Any) -> Ints | None:
    empty: Any = pc.equal(cells, pa.scalar(""))
    values = column.usual(pc.if_else(empty, "0", cells).cast(column.arrow))
    return None if values is None else np.where(np.asarray(empty), missing, values)


def _small(limit: int, column: Any) -> Ints | None:
    values: Ints = np.asarray(column, dtype=np.int64)
    return None if ((values > limit) | (values < -limit)).any() else values


def _texts(column: Any) -> npt.NDArray[np.object_]:
    return np.asarray(column.to_numpy(), dtype=object)


def _chosen(codes: dict[str, int], column: Any) -> Ints | None:
    found = pc.index_in(column, value_set=pa.array(list(codes), pa.string()))
    if found.null_count:
        return None
    values: Ints = np.array(list(codes.values()), dtype=np.int64)
    return np.asarray(values[np.asarray(found)])


def _one_whole(name: str, power: int, cell: str) -> int:
    if not _WHOLE.fullmatch(cell.strip()):
        raise CellError(f"{name} must be a whole number", shown(cell))
    value = Decimal(cell.strip())
    if abs(value) > 1 << power:
        raise CellError(f"{name} must be at most 2^{power}", shown(cell))
    return int(value)


def _one_time(name: str, unit_ns: int, unit: str, exact: bool, cell: str) -> int:
    if not _NUMBER.fullmatch(cell.strip()):
        raise CellError(f"{name} must be a decimal number of {unit}", shown(cell))
    ns = Decimal(cell.strip()) * unit_ns
    if abs(ns) >= MAX_NS:
        raise CellError(f"{name} must be below 146 years", shown(cell))
    if exact and ns != int(ns):
        raise CellError(f"{name} must be a whole number of nanoseconds", shown(cell))
    return round(ns)


def _one_choice(name: str, codes: dict[str, int], rule: str, cell: str) -> int:
    if cell not in codes:
        raise CellError(f"{name} must be {rule}", shown(cell))
    return codes[cell]
