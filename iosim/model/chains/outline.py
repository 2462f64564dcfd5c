"""Outlines of call chains: who calls whom, as indented text, and the trees that they become for one set of tags.

Each line is a function below its caller, two blanks deeper:

* ``name``: a function that spends time; ``(name)``: one that only calls others.
* ``old / new``: its names in the older and the newer version of what the outline is about (`Outline.versions`);
  ``-`` where that version has no such function: what it calls hangs below its caller.
* ``a|b``: several functions with the same callees; ``a b``: several without any.
* ``name => other``: when *name* is done, the code goes on in *other* (another thread of the same guest).
* ``@tag``, ``@!tag`` at the end: only with this tag, only without it; what hangs below goes with it.
* ``+ NAME``: the lines of another outline.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple


class Outline(NamedTuple):
    """Text as above; *versions* are the tags of the old and the new names."""

    versions: tuple[str, str]
    text: str


def outlines(versions: tuple[str, str], text: str) -> dict[str, Outline]:
    """Return the outlines of *text* by name: each begins with its name in brackets, on a line of its own."""
    parts = re.split(r"^\[(\w+)\]$", text, flags=re.MULTILINE)
    return {name: Outline(versions, body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


class Line(NamedTuple):
    """One line of an outline: its functions by version, or the outline that it includes; who is called below."""

    include: str
    names: tuple[tuple[str, ...], tuple[str, ...]]
    spends: bool
    then: str
    wanted: frozenset[str]
    unwanted: frozenset[str]
    below: "list[Line]"


class Node:
    """A function at one place: its caller, and how many functions stand on the stack."""

    __slots__ = ("depth", "name", "parent", "then")

    def __init__(self, name: str, parent: "Node | None", then: str = "") -> None:
        self.name = name
        self.parent = parent
        self.depth: int = 1 if parent is None else parent.depth + 1
        self.then = then

    @property
    def stack(self) -> tuple[str, ...]:
        """The functions from the thread's outermost one down to this one."""
        return (self.name,) if self.parent is None else (*self.parent.stack, self.name)


class Tree:
    """The places of all functions of a thread, in the order of the outline."""

    def __init__(self, outlines: Mapping[str, Outline], root: str, tags: frozenset[str]) -> None:
        self.places: dict[str, list[Node]] = {}
        self._outlines = outlines
        self._tags = tags
        self._spends: dict[str, list[Node]] = {}
        self._include(root, None)

    def spending(self, function: str) -> list[Node]:
        """Return the places where *function* spends time itself."""
        return self._spends.get(function, [])

    def _include(self, name: str, caller: Node | None) -> None:
        outline = self._outlines[name]
        self._grow(_parsed(outline.text), int(outline.versions[1] in self._tags), caller)

    def _grow(self, lines: list[Line], version: int, caller: Node | None) -> None:
        """Hang *lines* below a node."""
        for line in lines:
            if not line.wanted <= self._tags or line.unwanted & self._tags:
                continue
            if line.include:
                self._include(line.include, caller)
            elif line.names[version] == ("-",):
                self._grow(line.below, version, caller)
            else:
                for name in line.names[version]:
                    node = Node(name, caller, line.then)
                    self.places.setdefault(name, []).append(node)
                    if line.spends:
                        self._spends.setdefault(name, []).append(node)
                    self._grow(line.below, version, node)


@cache
def _parsed(text: str) -> list[Line]:
    """Return the outermost lines of an outline."""
    top: list[Line] = []
    open_lists = [top]
    for raw in text.splitlines():
        if not raw.strip():
            continue
        depth = (len(raw) - len(raw.lstrip())) // 2
        del open_lists[depth + 1 :]
        line = _line(raw.split())
        open_lists[depth].append(line)
        open_lists.append(line.below)
    return top


def _line(words: list[str]) -> Line:
    tags = [word[1:] for word in words if word.startswith("@")]
    body = " ".join(word for word in words if not word.startswith("@"))
    wanted = frozenset(tag for tag in tags if not tag.startswith("!"))
    unwanted = frozenset(tag[1:] for tag in tags if tag.startswith("!"))
    if body.startswith("+ "):
        return Line(body[2:], ((), ()), False, "", wanted, unwanted, [])
    spends = not body.startswith("(")
    body, _, then = body.partition(" => ")
    old, _, new = body.strip("()").partition(" / ")
    return Line("", (_names(old), _names(new or old)), spends, then, wanted, unwanted, [])


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.replace("|", " ").split())
