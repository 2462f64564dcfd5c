"""The command `calibrate host`: recordings in, a profile out, and on the terminal what it is made of."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from iosim.calibrate import host_events, host_tables, qemu_events
from iosim.calibrate.exit_costs import KINDS
from iosim.calibrate.host import Calibration, Knowledge, calibrate
from iosim.calibrate.profile_file import Base
from iosim.calibrate.recording import MARKS, Recording
from iosim.model import units
from iosim.model.catalogue import CATALOGUE
from iosim.model.errors import ProfileError, TraceError, shown
from iosim.model.units import human_time
from iosim.traces.reading import ReadOptions, parsed_options
from iosim.traces.source import Source
from iosim.traces.writer import replaced

_UNTRACED = re.compile(r"([a-z_]+)=(.+)")


@dataclass(frozen=True)
class Wish:
    """What the command was asked for, as texts of the command line."""

    recordings: list[Path]
    out: Path
    base: str
    machine: str | None
    clock: str | None
    threads: str | None
    skip: bool
    string_io: bool | None
    untraced: list[str]
    record_cost: str | None
    empty_loop: str | None

    def options(self) -> ReadOptions:
        """Return the options of the reader."""
        return parsed_options(None, None, self.skip, False, self.clock, self.threads)

    def knowledge(self) -> Knowledge:
        """Return what is known besides the recordings. Raises ProfileError."""
        free: dict[str, float] = {}
        for text in self.untraced:
            match = _UNTRACED.fullmatch(text)
            if match is None or match[1] not in KINDS:
                rule = f"--untraced must be KIND=TIME, KIND one of {', '.join(KINDS)}"
                raise ProfileError(f"{rule}, got {shown(text)}")
            free[match[1]] = _us("--untraced", match[2])
        record = None if self.record_cost is None else _us("--record-cost", self.record_cost)
        return Knowledge(free, record, 0.0 if self.empty_loop is None else _us("--empty-loop", self.empty_loop))


def _us(option: str, text: str) -> float:
    try:
        return units.parse_ns(text) / 1000
    except ValueError as error:
        raise ProfileError(f"{option}: {error}, got {shown(text)}") from None


def run(wish: Wish, arguments: Sequence[str], stdout: Console, stderr: Console) -> None:
    """Write the profile and say what it is made of; *arguments* is the command line, for the record.

    Raises ProfileError or TraceError for what the user can mend; then nothing is written.
    """
    if wish.out.suffix != ".toml":
        raise ProfileError(f"{wish.out}: a profile is a .toml file")
    options, knowledge, base = wish.options(), wish.knowledge(), Base.named(wish.base)
    recordings = [
        _read(path, options, wish.string_io)
        for path in track(wish.recordings, "reading", console=stderr, transient=True, disable=not stderr.is_terminal)
    ]
    found = calibrate(recordings, base, knowledge)
    name = wish.out.stem
    head = {
        "name": name,
        "title": f"Calibrated from {len(recordings)} recordings",
        "machine": wish.machine or "not told (--machine)",
        "origin": f"{datetime.now(UTC):%Y-%m-%d}: {shlex.join(['iosim', *arguments])}",
    }
    text = found.draft.text(head, found.comments())
    with replaced(wish.out) as file:
        file.write(text.encode())
    show(stdout, recordings, found, wish.out)


def _read(path: Path, options: ReadOptions, string_io: bool | None) -> Recording:
    if path.is_dir():
        if not host_tables.holds(path):
            raise TraceError(f"{path}: has neither exits*.csv nor aio.csv")
        return host_tables.read(path, string_io)
    with Source(path) as source:
        is_log = qemu_events.fits(source.head)
    if is_log:
        return qemu_events.read(path, options, string_io)
    return host_events.read(path, options, string_io)


def show(console: Console, recordings: Sequence[Recording], found: Calibration, path: Path) -> None:
    """Print what the profile is made of."""
    table = Table(box=None, pad_edge=False, title_justify="left", title="recordings")
    for column in ("recording", "exits", "operations", "marks", "lost"):
        table.add_column(column, justify="left" if column in ("recording", "marks") else "right")
    for one in recordings:
        marks = [mark for mark in MARKS if one.steps[mark].notna().any()]
        row = (
            escape(one.name),
            f"{len(one.exits):,}",
            f"{len(one.steps):,}",
            " ".join(marks) or "-",
            f"{one.n_lost:,}",
        )
        table.add_row(*row)
    console.print(table)
    console.print()
    figures = Table(box=None, pad_edge=False, title_justify="left", title="costs found")
    for column in ("cost", "mean", "base", "how"):
        figures.add_column(column, justify="right" if column in ("mean", "base") else "left", overflow="fold")
    draft = found.draft
    for key in CATALOGUE:
        entry = draft.entries.get(key)
        if entry is not None and entry["kind"] != "included":
            means = (human_time(1000 * draft.means_us[key]), human_time(1000 * draft.base.us(key)))
            figures.add_row(key, *means, escape(f"{entry['kind']}: {entry['source']}"))
    console.print(figures)
    console.print()
    for line in found.comments():
        console.print(escape(line), highlight=False)
    console.print(escape(f"Written: {path}"), highlight=False)
