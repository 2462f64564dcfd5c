"""Tables of text with a fixed number of columns: read block by block, all columns at once.

Where something in a block is out of the ordinary its lines are read one by one: slower, but with the line, the rule and
the value of what is wrong.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from iosim.model.errors import TraceError
from iosim.traces.cells import CellError, Column, Ints
from iosim.traces.reading import Reading
from iosim.traces.source import Block

_BLANKS = re.compile(rb"[ \t]+")
_OUTER_BLANK = re.compile(rb"^ | (?=\r?$)", re.MULTILINE)
_PIECE_BYTES = 1 << 16
"""A block that does not read at once is tried again in pieces of about this size."""


@dataclass
class Rows:
    """Rows of a block: an array for each column, by name, and the line of each row."""

    columns: dict[str, Any]
    lines: Ints

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def chosen(self, which: npt.NDArray[np.bool_]) -> "Rows":
        """Return the rows where *which* is true."""
        return Rows({name: values[which] for name, values in self.columns.items()}, self.lines[which])

    def with_columns(self, columns: dict[str, Any]) -> "Rows":
        """Return the rows with these columns instead of the ones of their names, or beside the others."""
        return Rows(self.columns | columns, self.lines)


def _no_header(line: str) -> bool:
    return False


@dataclass(frozen=True)
class Layout:
    """What a format's lines look like: columns, what stands between them, and a first line that is no row.

    *blank*: whether blank lines may stand between the rows. *utf8*: whether the text must be UTF-8 throughout.
    """

    columns: tuple[Column, ...]
    delimiter: str = ","
    header: Callable[[str], bool] = _no_header
    blank: bool = True
    utf8: bool = False

    @property
    def used(self) -> list[tuple[int, Column]]:
        """The columns that are not ignored, with their places."""
        return [(at, column) for at, column in enumerate(self.columns) if not pa.types.is_null(column.arrow)]

    def rows(self, reading: Reading) -> Iterator[Rows]:
        """Yield the rows of the file in order. Refuses lines that do not fit."""
        for block in reading.source.blocks():
            if self.utf8:
                _check_utf8(block, reading)
            if block.first == 1:
                line, _, rest = block.text.partition(b"\n")
                if self.header(line.rstrip(b"\r").decode("utf-8", "backslashreplace")):
                    block = Block(2, rest, block.n - 1)
            if self.delimiter == " ":
                block = _squeezed(block)
            if block.n:
                yield from self._block(block, reading)

    def _block(self, block: Block, reading: Reading) -> Iterator[Rows]:
        rows = self._at_once(block)
        if rows is not None:
            yield rows
            return
        for piece in _pieces(block):
            rows = self._at_once(piece)
            yield self._line_by_line(piece, reading) if rows is None else rows

    def _at_once(self, block: Block) -> Rows | None:
        """Return the rows, or None if something in them is out of the ordinary."""
        text = block.text
        if b"0x" in text or b"0X" in text or (b"\r" in text and text.count(b"\r") != text.count(b"\r\n")):
            return None  # Arrow takes hexadecimal numbers, and a lone carriage return for the end of a line.
        types = {column.name: column.arrow for _, column in self.used}
        try:
            table = csv.read_csv(
                pa.BufferReader(text),  # type: ignore[arg-type]  # the stubs lack Arrow's own files
                read_options=csv.ReadOptions(use_threads=False, column_names=[column.name for column in self.columns]),
                parse_options=csv.ParseOptions(delimiter=self.delimiter, quote_char=False, ignore_empty_lines=False),
                convert_options=csv.ConvertOptions(
                    column_types=types,
                    include_columns=list(types),
                    null_values=[],
                    check_utf8=any(column.dtype is object for _, column in self.used),
                ),
            )
        except pa.ArrowInvalid:
            return None
        values = {column.name: column.usual(table[column.name]) for _, column in self.used}
        if len(table) != block.n or any(value is None for value in values.values()):
            return None
        return Rows(values, np.arange(block.first, block.first + block.n, dtype=np.int64))

    def _line_by_line(self, block: Block, reading: Reading) -> Rows:
        text = block.text.decode("utf-8", "backslashreplace").removesuffix("\n")
        return self.of_cells(self._cells(text, block.first, reading), reading)

    def _cells(self, text: str, first: int, reading: Reading) -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(text.split("\n"), start=first):
            cells = line.rstrip("\r").split(self.delimiter)
            if not line.strip():
                if self.blank:
                    reading.beside["blank line"] += 1
                else:
                    reading.refuse(number, "the line is blank")
            elif len(cells) != len(self.columns):
                reading.refuse(number, f"a line must have {len(self.columns)} fields", f"{len(cells)}")
            else:
                yield number, cells

    def of_cells(self, numbered: Iterable[tuple[int, list[str]]], reading: Reading) -> Rows:
        """Return the rows of lines that have been taken apart, each with its number. Refuses those that do not fit."""
        values: list[list[Any]] = [[] for _ in self.used]
        lines = []
        for number, cells in numbered:
            try:
                row = [column.one(cells[at]) for at, column in self.used]
            except CellError as wrong:
                reading.refuse(number, *wrong.args)
                continue
            lines.append(number)
            for target, value in zip(values, row, strict=True):
                target.append(value)
        columns: dict[str, Any] = {
            column.name: np.array(target, dtype=column.dtype)
            for (_, column), target in zip(self.used, values, strict=True)
        }
        return Rows(columns, np.array(lines, dtype=np.int64))


def _check_utf8(block: Block, reading: Reading) -> None:
    try:
        block.text.decode("utf-8")
    except UnicodeDecodeError:
        raise TraceError(f"{reading.path}: is not a text file") from None


def _squeezed(block: Block) -> Block:
    """Return the lines of *block* with one blank between two fields, and none outside of them."""
    text = block.text
    if b"\t" in text or any(twice in b"\n" + text for twice in (b"  ", b"\n ", b" \n", b" \r")):
        text = _BLANKS.sub(b" ", text)
        return Block(block.first, _OUTER_BLANK.sub(b"", text), block.n)
    return block


def _pieces(block: Block) -> Iterator[Block]:
    """Yield the lines of *block* in smaller blocks."""
    at, first = 0, block.first
    while at < len(block.text):
        end = block.text.find(b"\n", at + _PIECE_BYTES // 2) + 1 or len(block.text)
        piece = Block.of(first, block.text[at:end])
        yield piece
        first += piece.n
        at = end
