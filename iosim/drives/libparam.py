"""Parameter files of DiskSim: blocks of ``key = value`` in the notation of its libparam.

A block is ``type name { key = value, ... }``; a value is a number, a word, a list ``[ ... ]``, a block, or ``source
FILE``, which stands for the block in that file. ``#`` begins a comment.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from iosim.model.errors import TraceError, reason

Value: TypeAlias = "str | float | list[Value] | Block"
_TOKEN = re.compile(r"\s+|#[^\n]*|(?P<mark>[{}\[\],=])|(?P<word>[^\s{}\[\],=#]+)")
_MOST_DEPTH = 16
_LARGEST = 1e15
"""No parameter of a drive is larger; infinity and what is no number are words."""


@dataclass
class Block:
    """A block: its type, and its values by key. `where` names it in errors."""

    kind: str
    where: str
    values: dict[str, Value] = field(default_factory=dict)

    def number(self, key: str, default: float | None = None) -> float:
        """Return the number at *key*. Raises TraceError where it is missing and there is no *default*."""
        value = self.values.get(key, default)
        if isinstance(value, str) or not isinstance(value, int | float):
            raise TraceError(f"{self.where}: {key!r} must be a number, got {_shown(value)}")
        return float(value)

    def whole(self, key: str, default: int | None = None) -> int:
        """Return the same as a whole number."""
        value = self.number(key, default)
        if value != int(value):
            raise TraceError(f"{self.where}: {key!r} must be a whole number, got {value}")
        return int(value)

    def numbers(self, key: str) -> list[float]:
        """Return the list of numbers at *key*, an empty one where it is missing."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, float) for entry in value):
            raise TraceError(f"{self.where}: {key!r} must be a list of numbers, got {_shown(value)}")
        return [entry for entry in value if isinstance(entry, float)]

    def word(self, key: str, default: str | None = None) -> str:
        """Return the word at *key*."""
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise TraceError(f"{self.where}: {key!r} must be a word, got {_shown(value)}")
        return value

    def block(self, key: str) -> "Block":
        """Return the block at *key*."""
        value = self.values.get(key)
        if not isinstance(value, Block):
            raise TraceError(f"{self.where}: {key!r} must be a block, got {_shown(value)}")
        return value

    def blocks(self, key: str) -> list["Block"]:
        """Return the list of blocks at *key*."""
        value = self.values.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(entry, Block) for entry in value):
            raise TraceError(f"{self.where}: {key!r} must be a list of blocks, got {_shown(value)}")
        return [entry for entry in value if isinstance(entry, Block)]


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    return "a block" if isinstance(value, Block) else "a list" if isinstance(value, list) else repr(value)


def read(path: Path, depth: int = 0) -> Block:
    """Return the block in the file *path*. Raises TraceError, naming file and line."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TraceError(f"{path}: {reason(error)}") from None
    return _Parser(path, text, depth).file()


class _Parser:
    def __init__(self, path: Path, text: str, depth: int) -> None:
        self._path = path
        self._depth = depth
        self._tokens: list[tuple[str, int]] = []
        line = 1
        for match in _TOKEN.finditer(text):
            if match["mark"] or match["word"]:
                self._tokens.append((match[0], line))
            line += match[0].count("\n")
        self._last_line = line
        self._at = 0

    def file(self) -> Block:
        """The first block of the file; others behind it are left alone."""
        block = self._value(self._words())
        if not isinstance(block, Block):
            raise self._error("must be a block of parameters: type name { key = value, ... }")
        return block

    def _error(self, rule: str) -> TraceError:
        line = self._tokens[self._at][1] if self._at < len(self._tokens) else self._last_line
        return TraceError(f"{self._path}:{line}: {rule}")

    def _peek(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _take(self, mark: str) -> None:
        if self._peek() != mark:
            raise self._error(f"must have {mark!r} here, got {self._peek() or 'the end of the file'!r}")
        self._at += 1

    def _words(self) -> list[str]:
        words = []
        while self._peek() not in ("{", "}", "[", "]", ",", "=", ""):
            words.append(self._peek())
            self._at += 1
        return words

    def _value(self, words: list[str]) -> Value:
        """Return what *words*, and the bracket behind them, stand for."""
        if self._peek() == "{":
            return self._block(words)
        if self._peek() == "[" and not words:
            return self._list()
        if len(words) == 2 and words[0] == "source":
            return read(self._path.parent / words[1], self._depth + 1)
        if len(words) != 1:
            raise self._error(f"must have a value here, got {' '.join(words) or self._peek() or 'nothing'!r}")
        try:
            number = float(words[0])
        except ValueError:
            return words[0]
        return number if abs(number) <= _LARGEST else words[0]

    def _block(self, words: list[str]) -> Block:
        self._take("{")
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise self._error("has too many blocks inside each other, or is a source of itself")
        found = Block(words[0] if words else "", f"{self._path}")
        while self._peek() != "}":
            key = " ".join(self._words())
            self._take("=")
            found.values[key] = self._value(self._words())
            if self._peek() != "}":
                self._take(",")
        self._take("}")
        self._depth -= 1
        return found

    def _list(self) -> list[Value]:
        self._take("[")
        found: list[Value] = []
        while self._peek() != "]":
            found.append(self._value(self._words()))
            if self._peek() != "]":
                self._take(",")
        self._take("]")
        return found
