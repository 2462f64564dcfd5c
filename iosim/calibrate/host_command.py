"""The command `calibrate host`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def run(
    recordings: list[Path], out: Path, base: str, clock: str | None, skip: bool, stdout: "Console", stderr: "Console"
) -> None:
    """Write the profile *out* of the host that *recordings* are of, and say what it is made of."""
