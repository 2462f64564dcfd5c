"""The report as text: in brief what `iosim run` prints, and the whole story of `iosim show`."""

from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from iosim.model.stages import Stage
from iosim.model.units import NS_PER_UNIT
from iosim.report import page_tables, request_tables
from iosim.report.bands import bands
from iosim.report.doubts import doubts
from iosim.report.findings import story
from iosim.report.port_table import port_accesses
from iosim.report.table import Table as PageTable
from iosim.results.result import Result, read
from iosim.results.summary import counted
from iosim.results.terminal import (
    WIDE,
    Row,
    exit_table,
    fitted,
    headline,
    latency_table,
    resource_table,
    stage_table,
)
from iosim.results.wording import common_unit, figure

MOST_ROWS = 20
"""Rows of a long table (drives, slowest requests, events) on the terminal."""


def show(result: Result, console: Console) -> None:
    """Print requests, latency, stages, exits, the busiest resources, and what to keep in mind."""
    _print(
        console,
        headline(result),
        latency_table(result, console.width),
        stage_table(result, console),
        exit_table(result, console.width),
        resource_table(result, console),
        _doubts(result),
    )


def show_all(folder: Path, console: Console) -> None:
    """Print the whole story of the result in *folder*. Raises ResultError."""
    tell(read(folder), console)


def tell(result: Result, console: Console) -> None:
    """Print all that the page has in words and tables."""
    told = story(result)
    is_empty = counted(result.requests).empty
    _print(
        console,
        headline(result),
        *(Text(" ".join(part)) for part in (told.found, told.advice) if part),
        None if is_empty else _for_terminal(page_tables.percentiles(result), console.width),
        None if is_empty else stage_table(result, console),
        _bands(result, console.width),
        exit_table(result, console.width),
        resource_table(result, console),
        _drives(result, console.width),
        _slowest(result, console.width),
        _events(result, console.width),
        _plain(request_tables.page_cache(result), console.width),
        _plain(request_tables.wear(result), console.width),
        _plain(port_accesses(result), console.width),
        _doubts(result),
    )


def _print(console: Console, *blocks: RenderableType | None) -> None:
    """Print the blocks that there are, with a blank line behind each."""
    console.print(Group(*(part for block in blocks if block is not None for part in (block, ""))))


def _doubts(result: Result) -> Text | None:
    found = doubts(result)
    return Text("\n".join(("Keep in mind", *(f"- {line}" for line in found)))) if found else None


def _bands(result: Result, width: int) -> Table | None:
    """Return the mean of each stage in the bands of the latency, where there are several."""
    in_bands = bands(counted(result.requests))
    if len(in_bands) < 2:
        return None
    unit = common_unit(in_bands[0].mean_ns, max(band.mean_ns for band in in_bands), 100)
    scale = NS_PER_UNIT[unit]
    rows: list[Row] = [(("requests", *(f"{band.n:,}" for band in in_bands)), "")]
    for stage in Stage:
        times = [band.stages_ns[stage] for band in in_bands]
        if any(times):
            rows.append(((stage.label, *(figure(time / scale) if time else "-" for time in times)), ""))
    rows.append((("latency", *(figure(band.mean_ns / scale) for band in in_bands)), "bold"))
    names = ("stage", *(band.short for band in in_bands))
    return fitted(f"What makes the tail: mean in each band ({unit})", ("stage",), names, rows, width, gap=2)


def _drives(result: Result, width: int) -> Table | None:
    table = request_tables.drives(result)
    if table is None:
        return None
    return _for_terminal(
        table, width, ("failed", "share", "p50", "req/s", "requests", "max", "largest"), ("VM",), "mean", "requests"
    )


def _slowest(result: Result, width: int) -> Table | None:
    table = request_tables.slowest(result)
    if not table.rows:
        return None
    drop = ("sectors", "sector", "exits", "drive", "share", "arrival", "status")
    return _for_terminal(table, width, drop, ("VM",), "latency", "requests")


def _events(result: Result, width: int) -> Table | None:
    table = request_tables.events(result)
    return None if table is None else _for_terminal(table, width, ("request", "drive"), ("VM",), "", "events")


def _plain(table: PageTable | None, width: int) -> Table | None:
    return None if table is None else _for_terminal(table, width)


def _for_terminal(
    table: PageTable, width: int, drop: tuple[str, ...] = (), fold: tuple[str, ...] = (), by: str = "", file: str = ""
) -> Table:
    """Return a table of the page for a terminal of *width* columns, without its bars.

    Of more than `MOST_ROWS` rows the first ones, or those with the highest values in the column that begins with *by*;
    the rest is in *file*.parquet. *drop* and *fold* are as in `fitted`, by the beginnings of names.
    """
    shown = [at for at in range(len(table.columns)) if not any(row.cells[at].bar is not None for row in table.rows)]
    names = [table.columns[at].name for at in shown]
    rows, caption = table.rows, ""
    if file and len(rows) > MOST_ROWS:
        if by:
            place = next(at for at, column in enumerate(table.columns) if column.name.startswith(by))
            rows = sorted(rows, key=lambda row: -float(row.cells[place].key or 0))
        caption = f"{'highest ' + by + ' first; ' if by else ''}{len(rows) - MOST_ROWS:,} more in {file}.parquet"
        rows = rows[:MOST_ROWS]
    cells: list[Row] = [([row.cells[at].text for at in shown], "bold" if row.style == "sum" else "") for row in rows]
    left = [column.name for column in table.columns if not column.number]
    full = {beginning: next((name for name in names if name.startswith(beginning)), "") for beginning in (*drop, *fold)}
    grid = fitted(
        table.caption or table.label,
        left,
        names,
        cells,
        width,
        2 if width >= WIDE else 1,
        [full[name] for name in drop if full[name]],
        [full[name] for name in fold],
    )
    grid.caption, grid.caption_justify = caption or None, "left"
    return grid
