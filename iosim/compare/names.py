"""What runs are called: by their folders, if these are short and differ, else A, B, C ..."""

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from iosim.results.terminal import WIDE

LONGEST, LONGEST_WIDE = 12, 20
"""Characters of a name, which is the head of a column, on a narrow and on a wide terminal."""
_HEADS = {"", "difference", "share", "stage", "latency", "resource", "VM", "drive", "key", "run"}


def names(folders: Sequence[Path], width: int) -> list[str]:
    """Return a name for each run, for a terminal of *width* columns."""
    longest = LONGEST_WIDE if width >= WIDE else LONGEST
    own = [printable(folder.resolve().name) for folder in folders]
    if len(set(own)) == len(own) and all(len(name) <= longest and name not in _HEADS for name in own):
        return own
    return [ascii_uppercase[n] if n < len(ascii_uppercase) else f"R{n + 1}" for n in range(len(folders))]


def printable(text: str) -> str:
    """Return *text* with a question mark for each character that would move a terminal's cursor or be lost."""
    return "".join(c if c.isprintable() else "?" for c in text)
