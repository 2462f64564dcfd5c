"""A profile under construction: figures that were measured, the others from a base profile; and its file."""

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from iosim.calibrate.typical import PROBABILITIES, Typical
from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import Profile, load_profile, parse_profile


@dataclass(frozen=True)
class Base:
    """Where costs come from that the recordings do not show: entries of a profile file by cost key.

    *own*: they were made for the host that is calibrated, so their sources hold as they are.
    """

    name: str
    entries: dict[str, dict[str, Any]]
    means_us: dict[str, float]
    cycles_per_us: int = 0
    own: bool = False

    @classmethod
    def named(cls, name: str) -> "Base":
        """Return the shipped profile *name*, or that in a file. Raises ProfileError."""
        profile: Profile = load_profile(name)
        if name.endswith(".toml"):
            text = Path(name).read_text(encoding="utf-8")
        else:
            text = (resources.files("iosim") / "profiles" / f"{name}.toml").read_text(encoding="utf-8")
        data = tomllib.loads(text)
        entries = {f"{group}.{key}": dict(entry) for group, keys in data["cost"].items() for key, entry in keys.items()}
        means = {key: mean / 1000 for key, mean in profile.means_ns().items()}
        return cls(profile.name, entries, means, data.get("cycles_per_us", 0))

    def us(self, *keys: str) -> float:
        """Return the sum of the means of *keys*, in us."""
        return sum(self.means_us.get(key, 0.0) for key in keys)


@dataclass
class Draft:
    """Figures by cost key, each an entry of a profile file, and their means in us."""

    base: Base
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    means_us: dict[str, float] = field(default_factory=dict)

    def us(self, *keys: str) -> float:
        """Return the sum of the means of *keys* in us; those that were not measured are the base's."""
        return sum(self.means_us.get(key, self.base.us(key)) for key in keys)

    def table(self, key: str, found: Typical | None, source: str) -> bool:
        """Enter a measured table if something was measured; tell whether."""
        if found is None:
            return False
        values = [max(0, round(1000 * value)) for value in found.values]
        pairs = [[p, f"{value}ns"] for p, value in zip(PROBABILITIES, values, strict=True)]
        of_runs = f" in {found.runs} runs, medians {found.low:.2f} to {found.high:.2f} us" if found.runs > 1 else ""
        self.entries[key] = {
            "quantiles": pairs,
            "kind": "measured",
            "source": f"{source}; n = {found.n}{of_runs}",
        }
        self.means_us[key] = found.mean
        return True

    def constant(self, key: str, us: float, source: str, kind: str = "derived") -> None:
        """Enter a constant."""
        self.entries[key] = {"value": f"{max(0, round(1000 * us))}ns", "kind": kind, "source": source}
        self.means_us[key] = max(0.0, us)

    def included(self, where: str, *keys: str) -> None:
        """Enter keys whose time is part of another figure."""
        for key in keys:
            self.entries[key] = {"kind": "included", "source": where}
            self.means_us[key] = 0.0

    def text(self, head: dict[str, str], comments: list[str]) -> str:
        """Return the profile's file; raises ProfileError if that would not be one, which is a fault of the program."""
        lines = [f"# {line}".rstrip() for line in comments]
        lines += [f"{key} = {_value(value)}" for key, value in head.items()]
        entries = {key: self.entries.get(key) or self._of_base(key) for key in CATALOGUE}
        if self.base.cycles_per_us and any("cycles" in str(entry) for entry in entries.values()):
            lines.append(f"cycles_per_us = {self.base.cycles_per_us}")
        for key, entry in entries.items():
            lines += ["", f"[cost.{key}]", *(f"{name} = {_value(value)}" for name, value in entry.items())]
        text = "\n".join(lines) + "\n"
        parse_profile(text, "the profile made")
        return text

    def _of_base(self, key: str) -> dict[str, Any]:
        entry = dict(self.base.entries[key])
        if self.base.own:
            return entry
        kind = entry["kind"]
        if kind != "included":
            entry["kind"] = "published" if kind == "published" else "assumed"
            entry["source"] = f"not in the recordings; {self.base.name}, {kind}: {entry['source']}"
        return entry

    def counts(self) -> dict[str, int]:
        """Return how many costs are "measured", "derived", "included", or of the "base"."""
        found = {"measured": 0, "derived": 0, "included": 0, "base": 0}
        for key in CATALOGUE:
            entry = self.entries.get(key)
            kind = "base" if entry is None else entry["kind"]
            found[kind if kind in found else "base"] += 1
        return found


def _value(value: Any) -> str:
    """Return *value* as TOML: texts, numbers, lists and inline tables."""
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else f"\\u{ord(c):04x}") for c in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_value(part)}" for name, part in value.items()) + " }"
    return repr(value)


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
