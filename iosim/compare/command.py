"""iosim compare: results are read, compared, and shown on the terminal or written as a page."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from iosim.compare.changes import changes
from iosim.compare.comparison import Run, compare
from iosim.compare.names import names, printable
from iosim.compare.page import check_target, write
from iosim.compare.text import show
from iosim.model.errors import ResultError
from iosim.results.result import read


def compare_all(folders: Sequence[Path], out: Path | None, console: Console, errors: Console) -> None:
    """Compare the result in the first of *folders* with each other one, and print what differs.

    With *out* the page is written there too. Raises ResultError, OutputError.
    """
    check(folders)
    if out is not None:
        check_target(out)
    runs = []
    for name, folder in zip(names(folders, console.width), folders, strict=True):
        with errors.status(f"reading {printable(str(folder))}"):
            runs.append(Run(name, printable(str(folder)), read(folder)))
    with errors.status("comparing"):
        found = [compare(runs[0], other) for other in runs[1:]]
        changed = changes([run.result for run in runs])
    show(found, changed, console)
    if out is not None:
        with errors.status("drawing"):
            write(found, changed, out)
        console.print(Text(f"Written to {printable(str(out))}"), soft_wrap=True)


def check(folders: Sequence[Path]) -> None:
    """Raise ResultError unless there are two folders or more, each another one."""
    if len(folders) < 2:
        raise ResultError(f"{folders[0]}: compare needs another result beside it")
    seen: dict[Path, Path] = {}
    for folder in folders:
        place = folder.resolve()
        if place in seen:
            raise ResultError(f"{folder}: is the same folder as {seen[place]}")
        seen[place] = folder
