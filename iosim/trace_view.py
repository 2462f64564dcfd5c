"""Traces on the terminal: whether they keep the rules, and what they are like."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from iosim.model.errors import TraceError, shown
from iosim.model.trace import OPS, Trace
from iosim.model.units import SECTOR_BYTES, human_time, three_digits
from iosim.traces.reader import READERS, format_of, read_trace

_NAMES = {"R": "reads", "W": "writes", "F": "flushes"}


def check(paths: list[Path], format_name: str | None, complain: Callable[[str], int]) -> int:
    """Check every trace; print a line for each that is fine, and *complain* of the others.

    Returns 0, or what *complain* returned.
    """
    _known(format_name)
    status = 0
    for path in paths:
        try:
            trace = read_trace(path, format_name)
        except TraceError as error:
            status = max(status, complain(str(error)))
            continue
        print(f"{path}: fine: {len(trace):,} requests over {human_time(_span_ns(trace))}")
    return status


def info(console: Console, path: Path, format_name: str | None) -> None:
    """Print what the trace is like. Raises TraceError."""
    _known(format_name)
    trace = read_trace(path, format_name)
    span = _span_ns(trace)
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column()
    grid.add_row("file", Text(str(path)))
    grid.add_row("format", format_name or format_of(path))
    grid.add_row("sha256", trace.sha256)
    grid.add_row("requests", f"{len(trace):,}")
    grid.add_row("first at", human_time(int(trace.times_ns[0])))
    grid.add_row("span", human_time(span))
    if span:
        grid.add_row("rate", f"{three_digits((len(trace) - 1) / span * 1e9)} requests/s on average")
        per_second = np.bincount((trace.times_ns - trace.times_ns[0]) // 1_000_000_000)
        grid.add_row("peak", f"{int(per_second.max()):,} requests in one second")
    moved = trace.sectors_count.sum() * SECTOR_BYTES
    grid.add_row("moved", f"{three_digits(moved / 1e6)} MB")
    grid.add_row("sequential", f"{_sequential(trace):.1%} begin where the last of their kind ended")
    grid.add_row(
        "drive", f"needs {trace.end_sector:,} sectors ({three_digits(trace.end_sector * SECTOR_BYTES / 1e6)} MB)"
    )
    console.print(grid)
    sizes = Table(box=None, pad_edge=False)
    for name in ("", "requests", "share", "mean", "p50", "p99", "largest"):
        sizes.add_column(name, justify="right" if name else "left")
    for number, op in enumerate(OPS):
        chosen = trace.ops == number
        if not chosen.any():
            continue
        count = int(chosen.sum())
        kib = trace.sectors_count[chosen] * SECTOR_BYTES / 1024
        cells = ["-"] * 4
        if op != "F":
            cells = [f"{three_digits(float(v))} KiB" for v in (kib.mean(), *np.percentile(kib, (50, 99)), kib.max())]
        sizes.add_row(_NAMES[op], f"{count:,}", f"{count / len(trace):.1%}", *cells)
    console.print()
    console.print(sizes)


def _known(format_name: str | None) -> None:
    if format_name is not None and format_name not in READERS:
        raise TraceError(f"--format must be one of {', '.join(READERS)}, got {shown(format_name)}")


def _span_ns(trace: Trace) -> int:
    return int(trace.times_ns[-1] - trace.times_ns[0])


def _sequential(trace: Trace) -> float:
    """Return the share of reads and writes that begin at the sector behind the one before of the same direction."""
    follows = n = 0
    for number, op in enumerate(OPS):
        if op == "F":
            continue
        chosen = trace.ops == number
        first = trace.sectors_first[chosen]
        n += len(first)
        if len(first) > 1:
            follows += int((first[1:] == (first + trace.sectors_count[chosen])[:-1]).sum())
    return follows / n if n else 0.0
