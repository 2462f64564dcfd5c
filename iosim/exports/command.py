"""Writing exports beside a result: all that were asked for, or none."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.status import Status

from iosim.exports.registry import EXPORTS, Export, Say
from iosim.exports.selection import Choice, parse_choice
from iosim.model.errors import ExportError, IosimError, OutputError, reason, shown
from iosim.results.result import put_in_place, read

FOLDER = "exports"
"""The folder within that of the result."""
ALL = "all"


class Wish(NamedTuple):
    """What to export, and of which requests where an export is of some."""

    exports: list[Export]
    choice: Choice
    is_all: bool
    """Whether the exports were not named one by one: then one that has nothing to show is left out."""


def parse(names: Sequence[str], slowest: int | None, window: str | None) -> Wish:
    """Return what the command line asks for. Raises ExportError, worded as a rule."""
    for name in names:
        if name not in (*EXPORTS, ALL):
            raise ExportError(f"--export must be one of {', '.join((*EXPORTS, ALL))}, got {shown(name)}")
    exports = [export for export in EXPORTS.values() if ALL in names or export.name in names]
    if (slowest is not None or window is not None) and not any(export.chooses for export in exports):
        able = ", ".join(export.name for export in EXPORTS.values() if export.chooses)
        raise ExportError(f"--slowest and --window choose the requests of --export {able}")
    return Wish(exports, parse_choice(slowest, window), ALL in names)


def write(folder: Path, wish: Wish, say: Say, begins: Say) -> list[Path]:
    """Write the exports of the result in *folder* and return their paths.

    Either all are written or none; those of an earlier call are replaced. *say* is told in one line each what an
    export lacks, *begins* the name of each when it is begun. Raises ResultError if *folder* holds no result,
    ExportError if there is nothing to show, OutputError.
    """
    result = read(folder)
    exports = wish.exports
    if wish.is_all and wish.choice == Choice() and result.spans.empty:
        exports = [export for export in exports if not export.chooses]
        left_out = ", ".join(export.name for export in wish.exports if export.chooses)
        say(f"{left_out}: left out, because no spans are recorded")
    target = folder / FOLDER
    try:
        target.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".", dir=target))
    except OSError as error:
        raise OutputError(f"{target}: {reason(error)}") from None
    try:
        for export in exports:
            begins(export.name)
            export.write(result, made / export.target, wish.choice, partial(_say_of, export.name, say))
        for export in exports:
            put_in_place(made / export.target, target / export.target)
    except OSError as error:
        raise OutputError(f"{target}: {reason(error)}") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if not any(target.iterdir()):
            target.rmdir()
    return [target / export.target for export in exports]


def _say_of(name: str, say: Say, note: str) -> None:
    say(f"{name}: {note}")


def _show(bar: Status, name: str) -> None:
    bar.update(f"writing {name}")


def write_all(
    folders: list[Path], wish: Wish, say: Say, note: Say, errors: Console, complain: Callable[[str], int]
) -> int:
    """Write the exports of each result and return the worst exit status: 0, or what *complain* returned.

    One that fails does not stop the others. *say* is told what was written, *note* what lacks in it. What is being
    written is shown on *errors* if it is a terminal.
    """
    status = 0
    for folder in folders:
        try:
            with errors.status("reading") as bar:
                paths = write(folder, wish, note, partial(_show, bar))
        except IosimError as error:
            status = max(status, complain(str(error)))
            continue
        for path in paths:
            say(f"Written to {path}{'/' if path.is_dir() else ''}")
    return status
