"""Where the text of a command goes: the terminal at its width, or a file or pipe at 120 columns."""

import os
import re
import sys
from typing import IO, TextIO, cast

from rich.console import Console

PIPED_WIDTH = 120
_BLANKS = re.compile(r" +(?=\n)")


class _Trimmed:
    """What a console needs of a text stream; blanks at the ends of lines, which pad tables, are left out."""

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self.encoding = target.encoding

    def write(self, text: str) -> int:
        return self._target.write(_BLANKS.sub("", text))

    def flush(self) -> None:
        self._target.flush()


def stdout() -> Console:
    """Return the console of standard output; COLUMNS in the environment sets the width of either kind."""
    if sys.stdout.isatty():
        return Console()
    width = None if os.environ.get("COLUMNS", "").isdigit() else PIPED_WIDTH
    return Console(file=cast("IO[str]", _Trimmed(sys.stdout)), width=width, force_terminal=False)


def stderr() -> Console:
    """Return the console of standard error, where progress is shown."""
    return Console(stderr=True)
