"""A table as the page shows it: texts for the reader, and keys to sort by."""

from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup


@dataclass(frozen=True)
class Column:
    """A column: *number* ones are right-justified, *code* ones hold names of resources, VMs or functions."""

    name: str
    number: bool = True
    code: bool = False
    help: str = ""
    sorted: Literal["", "ascending", "descending"] = ""


@dataclass(frozen=True)
class Cell:
    """A cell: its text, a *key* to sort by if the text is none, a *bar* (0 to 1).

    A button if it *opens* something: the name of the element, and what that is *about*.
    """

    text: str = ""
    key: float | str | None = None
    bar: float | None = None
    colour: str = ""
    opens: str = ""
    about: str = ""


@dataclass(frozen=True)
class Row:
    """A row, with *more* (markup) that unfolds below it."""

    cells: list[Cell]
    style: Literal["", "sum", "none"] = ""
    more: Markup | None = None
    more_id: str = ""
    is_open: bool = False


@dataclass
class Table:
    """A table of the page; a *tall* one scrolls within itself."""

    columns: list[Column]
    rows: list[Row] = field(default_factory=list)
    label: str = ""
    caption: str = ""
    note: str = ""
    sorts: bool = False
    tall: bool = False

    def add(self, *cells: str | Cell, style: Literal["", "sum", "none"] = "") -> None:
        """Add a row; a text is a cell of its own."""
        assert len(cells) == len(self.columns)
        row = [Cell(cell) if isinstance(cell, str) else cell for cell in cells]
        self.rows.append(Row(row, style))
