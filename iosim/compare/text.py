"""A comparison on the terminal: what changed, what came of it, and how sure that is."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.text import Text

from iosim.compare import tables
from iosim.compare.changes import Change
from iosim.compare.comparison import Comparison
from iosim.compare.doubts import doubts
from iosim.compare.findings import finding
from iosim.report.table import Table as PageTable
from iosim.results.terminal import WIDE, bar, empty_table

MOST_ROWS = 10
"""Rows of drives and resources."""
_LEAST_FOLDED = 16
_RATIO = 4
"""The column of two runs' tables that is left out where it has no room."""


def show(found: Sequence[Comparison], changed: Sequence[Change], console: Console) -> None:
    """Print the comparison of one run with one or several others."""
    everybody = [found[0].base, *(comparison.other for comparison in found)]
    width = console.width
    blocks: list[RenderableType | None] = [
        _grid(tables.runs(everybody), width, fold=(1,), drop=(4, 3)),
        _changed(changed, [run.name for run in everybody], width),
        *(Text(" ".join(finding(comparison))) for comparison in found),
    ]
    if comparable := [comparison for comparison in found if comparison.mean is not None]:
        for part in _parts(comparable, width):
            blocks += [_stages(part, console), _functions(part, width), _differences(tables.latency(part), width)]
            drives = tables.drives(part, MOST_ROWS)
            blocks.append(None if drives is None else _differences(drives, width))
            blocks.append(_differences(tables.figures(part), width))
    blocks.append(_grid(tables.busy(found, MOST_ROWS), width, fold=(0,)))
    if lines := doubts(found):
        blocks.append(Text("\n".join(("Keep in mind", *(f"- {line}" for line in lines)))))
    console.print(Group(*(part for block in blocks if block is not None for part in (block, ""))))


def _changed(changed: Sequence[Change], names: Sequence[str], width: int) -> RenderableType:
    if not changed:
        return Text("What changed\nNothing: scenario, traces and costs are the same.")
    return _grid(tables.changes(changed, names), width, fold=tuple(range(len(names) + 1)))


def _parts(found: Sequence[Comparison], width: int) -> list[Sequence[Comparison]]:
    """Return as many others at a time as have room beside each other, at least one."""
    room = len(found)
    while room > 1 and max(_needs(part) for part in _split(found, room)) > width:
        room -= 1
    return _split(found, room)


def _split(found: Sequence[Comparison], room: int) -> list[Sequence[Comparison]]:
    return [found[at : at + room] for at in range(0, len(found), room)]


def _needs(found: Sequence[Comparison]) -> int:
    """Return how many characters the tables of differences need."""
    sizes = [_sizes(table) for table in (tables.stages(found), tables.latency(found), tables.figures(found))]
    return max(sum(each) + 2 * len(each) for each in sizes)


def _sizes(table: PageTable) -> list[int]:
    """Return how many characters each column needs."""
    return [
        max(cell_len(column.name), *(cell_len(row.cells[at].text) for row in table.rows), 0)
        for at, column in enumerate(table.columns)
    ]


def _stages(found: Sequence[Comparison], console: Console) -> Group:
    """Return the stages; where two runs have room, with a bar of each difference."""
    table = tables.stages(found)
    sizes = _sizes(table)
    room = console.width - sum(sizes) - 2 * len(sizes)
    if len(found) > 1 or console.width < WIDE or room < 10:
        return _differences(table, console.width)
    differences = [float(row.cells[3].key or 0) for row in table.rows[:-1]]
    largest = max(map(abs, differences), default=0.0) or 1.0
    bars = [
        Text(bar(abs(value) / largest, min(30, room), console), style="red" if value > 0 else "green")
        for value in differences
    ]
    return _grid(table, console.width, bars=[*bars, Text()])


def _functions(found: Sequence[Comparison], width: int) -> Group | None:
    table = tables.functions(found, MOST_ROWS)
    return _grid(table, width, fold=(0,)) if table.rows else None


def _differences(table: PageTable, width: int) -> Group:
    """Return a table of differences; of two runs without the ratios, if there is no room."""
    return _grid(table, width, fold=(0,), drop=(_RATIO,) if len(table.columns) > _RATIO else ())


def _grid(
    table: PageTable, width: int, fold: Sequence[int] = (), drop: Sequence[int] = (), bars: Sequence[Text] = ()
) -> Group:
    """Return a table for a terminal of *width* columns, below its title and above its note.

    Columns of *drop*, by number and in this order, are left out where they have no room; those of *fold* may break
    their cells, the others keep them whole.
    """
    longest = _sizes(table)
    least = [min(size, _LEAST_FOLDED) if at in fold else size for at, size in enumerate(longest)]
    gap = 2 if width >= WIDE else 1
    kept = list(range(len(longest)))
    for at in drop:
        if sum(least[n] + gap for n in kept) - gap > width:
            kept.remove(at)
    grid = empty_table("", [], [table.columns[at].name for at in kept] + [""] * bool(bars), gap)
    for column, at in zip(grid.columns, kept, strict=False):
        column.justify = "right" if table.columns[at].number else "left"
        if at in fold:
            column.no_wrap, column.overflow, column.min_width = False, "fold", least[at]
    if bars:
        grid.columns[-1].justify = "left"
    for number, row in enumerate(table.rows):
        cells: list[RenderableType] = [Text(row.cells[at].text) for at in kept]
        grid.add_row(*cells, *bars[number : number + 1], style="bold" if row.style == "sum" else "")
    note = [Text(table.note)] if table.note else []
    return Group(Text(table.caption, style="bold"), grid, *note)
