"""Writing exports beside a result: all that were asked for, or none."""

import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from iosim.exports.registry import EXPORTS, Export, Say
from iosim.exports.selection import Choice, parse_choice
from iosim.model.errors import OutputError, reason, shown
from iosim.results.result import put_in_place, read

FOLDER = "exports"
"""The folder within that of the result."""
ALL = "all"


def write(folder: Path, names: Sequence[str], slowest: int | None, window: str | None, say: Say) -> list[Path]:
    """Write the exports *names* of the result in *folder* and return their paths.

    Either all are written or none; those of an earlier call are replaced. *slowest* and *window* choose the requests
    where an export is of some (`iosim.exports.selection`); *say* is told in one line each what an export lacks.
    Raises OutputError for an unknown name or a choice that nothing fits, ResultError if *folder* holds no result.
    """
    exports = _wanted(names)
    choice = parse_choice(slowest, window)
    if (slowest is not None or window is not None) and not any(export.chooses for export in exports):
        able = ", ".join(export.name for export in EXPORTS.values() if export.chooses)
        raise OutputError(f"--slowest and --window choose the requests of --export {able}")
    result = read(folder)
    if ALL in names and choice == Choice() and result.spans.empty:
        left_out = [export.name for export in exports if export.chooses]
        say(f"without {', '.join(left_out)}: no spans are recorded, run.slowest is 0")
        exports = [export for export in exports if not export.chooses]
    target = folder / FOLDER
    try:
        target.mkdir(exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".", dir=target))
    except OSError as error:
        raise OutputError(f"{target}: {reason(error)}") from None
    try:
        for export in exports:
            export.write(result, made / export.target, choice, partial(_say_of, export.name, say))
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


def _wanted(names: Sequence[str]) -> list[Export]:
    """Return the exports *names* in the order of the registry. Raises OutputError for an unknown one."""
    for name in names:
        if name not in (*EXPORTS, ALL):
            raise OutputError(f"--export must be one of {', '.join((*EXPORTS, ALL))}, got {shown(name)}")
    return [export for export in EXPORTS.values() if ALL in names or export.name in names]
