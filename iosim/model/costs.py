"""Costs of the functions of the path: constants, distributions, mixtures, tables of quantiles, each with its source.

Whatever its form, a cost becomes either one int64 or an int64 table of 4097 quantiles when its profile is loaded, and
sampling is integer interpolation in that table: no result depends on a processor's floating point.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path as FilePath
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from iosim.model import draws, units
from iosim.model.catalogue import CATALOGUE
from iosim.model.errors import ProfileError, reason, shown

Int64Array = npt.NDArray[np.int64]

TABLE_BITS = 12
TABLE_SIZE = 1 << TABLE_BITS
_INDEX_SHIFT = 64 - TABLE_BITS
_FRACTION_BITS = 20
_FRACTION_SHIFT = _INDEX_SHIFT - _FRACTION_BITS
_FRACTION_MASK = (1 << _FRACTION_BITS) - 1
_TAIL = 1 / (8 * TABLE_SIZE)
"""Distributions without end are cut at this probability (3e-5) on either side."""

KINDS = {
    "published": "in a paper or commit",
    "measured": "on the profile's machine",
    "derived": "computed from such figures by the rule in the source",
    "assumed": "without a source",
    "included": "part of another cost, so zero here",
}
"""What kind of evidence a figure has."""


class Cost:
    """A cost in nanoseconds: `ns` if it is constant, otherwise None and a quantile table to sample from.

    `place` is that of `what` it is drawn for (`iosim.model.draws.place`), -1 if it is constant.
    """

    __slots__ = ("_array", "_table", "key", "ns", "place", "what")

    def __init__(self, key: str, ns: int | None, table: Int64Array | None = None) -> None:
        self.key = key
        self.what = draws.name_hash(key)
        self.place = draws.place(self.what) if ns is None else -1
        self.ns = ns
        self._array = table
        self._table: list[int] = [] if table is None else table.tolist()

    def sample(self, subject: draws.Subject) -> int:
        """Return the next cost in ns that *subject* draws for this key."""
        if self.ns is not None:
            return self.ns
        number = draws.draw(subject.identity, self.what, subject.take(self.place))
        index = number >> _INDEX_SHIFT
        low = self._table[index]
        return low + (
            ((self._table[index + 1] - low) * ((number >> _FRACTION_SHIFT) & _FRACTION_MASK)) >> _FRACTION_BITS
        )

    @property
    def array(self) -> Int64Array:
        """The quantile table: TABLE_SIZE + 1 values in ns."""
        assert self._array is not None
        return self._array

    @property
    def mean_ns(self) -> float:
        """The mean of what `sample` returns, in ns (exact for the table, before rounding down)."""
        if self._array is None:
            return float(self.ns or 0)
        return float((self._array[:-1] + self._array[1:]).mean() / 2)

    def scaled(self, factor: float) -> "Cost":
        """Return this cost *factor* times as long, rounded to whole ns (each quantile of it, if it is drawn)."""
        if self.ns is not None:
            return Cost(self.key, round(self.ns * factor))
        return Cost(self.key, None, _to_int(self.array.astype(np.float64) * factor))

    def quantile_ns(self, q: float) -> float:
        """Return the *q*-quantile in ns, 0 <= q <= 1."""
        if self._array is None:
            return float(self.ns or 0)
        return float(np.interp(q * TABLE_SIZE, np.arange(TABLE_SIZE + 1), self._array))


class CostTables:
    """The quantile tables of several costs, to sample many of them at once."""

    def __init__(self, costs: Sequence[Cost]) -> None:
        self._arrays = np.concatenate([cost.array for cost in costs])

    def sample(
        self, identity: int, whats: npt.NDArray[np.uint64], ks: npt.NDArray[np.uint64], rows: Int64Array
    ) -> Int64Array:
        """Return, element by element, what `Cost.sample` gives cost number *rows* at its draw *ks* for *whats*."""
        numbers = draws.draw_many(identity, whats, ks)
        index = (numbers >> np.uint64(_INDEX_SHIFT)).astype(np.int64) + rows * (TABLE_SIZE + 1)
        low = self._arrays[index]
        fraction = ((numbers >> np.uint64(_FRACTION_SHIFT)) & np.uint64(_FRACTION_MASK)).astype(np.int64)
        result: Int64Array = low + (((self._arrays[index + 1] - low) * fraction) >> _FRACTION_BITS)
        return result


@dataclass(frozen=True)
class Figure:
    """One figure of a profile: the cost, how it was written, what kind of evidence it is and where it comes from.

    *uncertainty* are the factors between which the true cost is believed to be, if the profile says so.
    """

    cost: Cost
    text: str
    kind: str
    source: str
    uncertainty: tuple[float, float] | None = None


@dataclass(frozen=True)
class Profile:
    """The cost of every function of the path on one kind of host."""

    name: str
    title: str
    machine: str
    origin: str
    figures: dict[str, Figure]

    def cost(self, key: str) -> Cost:
        """Return the cost of *key*, a key of `iosim.model.catalogue.CATALOGUE`."""
        return self.figures[key].cost

    def counts_by_kind(self) -> dict[str, int]:
        """Return how many figures are of each of `KINDS`."""
        return {kind: sum(f.kind == kind for f in self.figures.values()) for kind in KINDS}

    def means_ns(self) -> dict[str, float]:
        """Return the mean of each cost in ns."""
        return {key: figure.cost.mean_ns for key, figure in self.figures.items()}

    def checksum(self) -> str:
        """Return a SHA-256 of the costs as they are drawn: two profiles with the same one give the same results."""
        found = sha256()
        for key, figure in self.figures.items():
            drawn = figure.cost.ns if figure.cost.ns is not None else figure.cost.array.tolist()
            found.update(f"{key}={drawn}\n".encode())
        return found.hexdigest()


def shipped_profiles() -> list[str]:
    """Return the names of the profiles that come with iosim, sorted."""
    folder = resources.files("iosim") / "profiles"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_profile(name: str, relative_to: FilePath | None = None) -> Profile:
    """Return the shipped profile *name*, or the one in the file that *name* is the path of (it ends in .toml).

    Raises ProfileError for an unknown name, an unreadable file, a missing or unknown key, or a figure that breaks a
    rule.
    """
    if name.endswith(".toml"):
        path = (relative_to or FilePath()) / name
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ProfileError(f"{path}: {reason(error)}") from None
        except UnicodeDecodeError:
            raise ProfileError(f"{path}: is not a text file") from None
        return parse_profile(text, str(path))
    if name not in shipped_profiles():
        raise ProfileError(f"a profile is one of {', '.join(shipped_profiles())}, or a .toml file, got {shown(name)}")
    entry = resources.files("iosim") / "profiles" / f"{name}.toml"
    return parse_profile(entry.read_text(encoding="utf-8"), f"{name}.toml")


def parse_profile(text: str, place: str) -> Profile:
    """Return the profile in *text*; *place* names its file in errors. Raises ProfileError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{place}: is not TOML: {error}") from None
    except (RecursionError, ValueError):
        raise ProfileError(f"{place}: is not TOML that can be read") from None
    head = {}
    for key in ("name", "title", "machine", "origin"):
        if not isinstance(data.get(key), str):
            raise ProfileError(f"{place}: {key} must be a text, got {shown(data.get(key))}")
        head[key] = data[key]
    if unknown := set(data) - {*head, "cycles_per_us", "cost"}:
        raise ProfileError(f"{place}: {min(unknown)} is not a key of a profile")
    cycles_per_us = data.get("cycles_per_us", 0)
    if not isinstance(cycles_per_us, int) or isinstance(cycles_per_us, bool) or not 0 <= cycles_per_us <= 100_000:
        raise ProfileError(f"{place}: cycles_per_us must be a whole number up to 100000, got {shown(cycles_per_us)}")
    if not isinstance(data.get("cost", {}), dict):
        raise ProfileError(f"{place}: cost must be a table, got {shown(data['cost'])}")
    entries = _flatten(data.get("cost", {}))
    if extra := [key for key in entries if key not in CATALOGUE]:
        raise ProfileError(f"{place}: cost.{extra[0]} is not a cost of the model")
    if missing := [key for key in CATALOGUE if key not in entries]:
        raise ProfileError(f"{place}: cost.{missing[0]} is missing")
    figures = {}
    for key in CATALOGUE:
        try:
            figures[key] = _figure(key, entries[key], cycles_per_us)
        except ValueError as error:
            raise ProfileError(f"{place}: cost.{key} {error}") from None
    return Profile(figures=figures, **head)


def _flatten(tables: Any) -> dict[str, dict[str, Any]]:
    """Return {"cpu.vm_exit": figure} of the nested tables [cost.cpu.vm_exit]; a figure is what has a *kind*."""
    flat: dict[str, dict[str, Any]] = {}
    for group, members in tables.items():
        if not isinstance(members, dict):
            flat[group] = {"value": members}
            continue
        for name, figure in members.items():
            flat[f"{group}.{name}"] = figure if isinstance(figure, dict) else {"value": figure}
    return flat


def _figure(key: str, entry: dict[str, Any], cycles_per_us: int) -> Figure:
    entry = dict(entry)
    kind, source = entry.pop("kind", None), entry.pop("source", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"needs kind = one of {', '.join(KINDS)}, got {shown(kind)}")
    if not isinstance(source, str) or not source:
        raise ValueError(f"needs source, a text, got {shown(source)}")
    if kind == "included":
        if entry:
            raise ValueError("is included in another figure and has no value of its own")
        return Figure(Cost(key, 0), "0", kind, source)
    uncertainty = _uncertainty(entry.pop("uncertainty", None))
    text, quantiles = _quantiles(entry, cycles_per_us)
    if isinstance(quantiles, int):
        return Figure(Cost(key, quantiles), text, kind, source, uncertainty)
    return Figure(Cost(key, None, quantiles), text, kind, source, uncertainty)


def _uncertainty(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
        raise ValueError(f"needs uncertainty = [low, high], two factors, got {shown(value)}")
    low, high = value
    if not 0 <= low <= 1 <= high <= 1000 or low == high:
        raise ValueError(f"needs uncertainty = [low, high] from 0 to 1000 with 1 between them, got {shown(value)}")
    return float(low), float(high)


def _ns(value: object, cycles_per_us: int) -> float:
    """Return the ns of a figure's text: a time, or cycles of the profile's clock."""
    if isinstance(value, str) and value.endswith("cycles"):
        if not cycles_per_us:
            raise ValueError("is given in cycles, but the profile has no cycles_per_us")
        text = value.removesuffix("cycles").strip().replace(",", "")
        if not _CYCLES.fullmatch(text):
            raise ValueError(f'must be a number of cycles such as "350 cycles", got {shown(value)}')
        ns = float(text) * 1000 / cycles_per_us
    else:
        try:
            ns = float(units.parse_ns(value))
        except ValueError as error:
            raise ValueError(f"{error}, got {shown(value)}") from None
    if ns > LONGEST_NS:
        raise ValueError(f"must be at most 1 h, got {shown(value)}")
    return ns


_CYCLES = re.compile(r"\d{1,15}(?:\.\d+)?", re.ASCII)
LONGEST_NS = 3_600_000_000_000
_GRID = np.arange(TABLE_SIZE + 1) / TABLE_SIZE


def _quantiles(entry: dict[str, Any], cycles_per_us: int) -> tuple[str, int | Int64Array]:
    """Return how the figure reads, and its constant or its quantile table."""
    keys = set(entry)
    if keys == {"value"}:
        ns = _ns(entry["value"], cycles_per_us)
        return str(entry["value"]), round(ns)
    if keys == {"quantiles"}:
        return _from_quantiles(entry["quantiles"], cycles_per_us)
    if keys == {"mixture"}:
        return _from_mixture(entry["mixture"], cycles_per_us)
    if "distribution" in keys:
        return _from_distribution(entry, cycles_per_us)
    raise ValueError(f"needs one of value, quantiles, mixture, distribution, got {', '.join(sorted(keys)) or 'none'}")


def _from_quantiles(points: Any, cycles_per_us: int) -> tuple[str, Int64Array]:
    if not isinstance(points, list) or len(points) < 2:
        raise ValueError("quantiles must be a list of at least two [probability, time]")
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not _is_number(point[0]):
            raise ValueError(f"quantiles must be a list of [probability, time], got {shown(point)} in it")
    probabilities = [float(p) for p, _ in points]
    times = [_ns(t, cycles_per_us) for _, t in points]
    if probabilities[0] != 0 or probabilities[-1] != 1 or sorted(set(probabilities)) != probabilities:
        raise ValueError(f"quantiles must have rising probabilities from 0 to 1, got {shown(probabilities)}")
    if sorted(times) != times:
        after = next(i for i in range(1, len(times)) if times[i] < times[i - 1])
        raise ValueError(f"quantiles must not fall, got {shown(points[after][1])} after {shown(points[after - 1][1])}")
    table = _average_preserving(np.array(probabilities), np.array(times))
    return f"{len(points)} quantiles, median {points[_nearest(probabilities, 0.5)][1]}", table


def _is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether *value* is a number in TOML's sense and neither huge nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _nearest(values: list[float], target: float) -> int:
    return min(range(len(values)), key=lambda i: abs(values[i] - target))


def _average_preserving(probabilities: npt.NDArray[np.float64], times: npt.NDArray[np.float64]) -> Int64Array:
    """Return the table of a piecewise linear quantile function, so that the mean survives the grid.

    A value at the grid alone would misjudge the mean where a knot lies between two grid points and the tail is steep;
    the integral over each cell is exact, and the cell's two ends are moved so that their average is the cell's.
    """
    knots = np.unique(np.concatenate([_GRID, probabilities]))
    values = np.interp(knots, probabilities, times)
    areas = np.concatenate([[0.0], np.cumsum(np.diff(knots) * (values[1:] + values[:-1]) / 2)])
    cell_mean = np.diff(np.interp(_GRID, knots, areas)) * TABLE_SIZE
    table = np.interp(_GRID, probabilities, times)
    excess = cell_mean - (table[:-1] + table[1:]) / 2
    table[1:] += 2 * excess * (np.abs(excess) > 0.5)
    return _to_int(np.maximum.accumulate(np.clip(table, times[0], times[-1])))


def _from_mixture(parts: Any, cycles_per_us: int) -> tuple[str, Int64Array]:
    if not isinstance(parts, list) or len(parts) < 2 or not all(isinstance(p, dict) for p in parts):
        raise ValueError("mixture must be a list of at least two { weight, value | quantiles | distribution }")
    weights, tables, texts = [], [], []
    for part in parts:
        entry = dict(part)
        weight = entry.pop("weight", None)
        if not _is_number(weight) or not 0 < weight <= 1e6:
            raise ValueError(f"mixture needs a weight above 0 and at most 1000000 in each part, got {shown(weight)}")
        text, quantiles = _quantiles(entry, cycles_per_us)
        weights.append(float(weight))
        tables.append(np.full(TABLE_SIZE + 1, quantiles) if isinstance(quantiles, int) else quantiles)
        texts.append(f"{weight:g} x {text}")
    middles = np.concatenate([(t[:-1] + t[1:]) / 2 for t in tables])
    mass = np.concatenate([np.full(TABLE_SIZE, w / TABLE_SIZE) for w in weights]) / sum(weights)
    order = np.argsort(middles, kind="stable")
    cumulated = np.cumsum(mass[order]) - mass[order] / 2
    table = np.interp(_GRID, cumulated, middles[order])
    table[0], table[-1] = min(t[0] for t in tables), max(t[-1] for t in tables)
    return "mixture: " + " + ".join(texts), _to_int(table)


def exponential(key: str, mean_ns: float) -> Cost:
    """Return the exponential cost of mean *mean_ns*, cut at a probability of 3e-5."""
    return Cost(key, None, _to_int(-mean_ns * np.log1p(-np.clip(_GRID, _TAIL, 1 - _TAIL))))


def _from_distribution(entry: dict[str, Any], cycles_per_us: int) -> tuple[str, Int64Array]:
    from scipy import stats

    entry = dict(entry)
    name = entry.pop("distribution")
    times = {key: _ns(value, cycles_per_us) for key, value in entry.items() if key != "sigma"}
    for key in ("mean", "median", "high"):
        if times.get(key) == 0:
            raise ValueError(f"{key} must be longer than 0, got {shown(entry[key])}")
    inside = np.clip(_GRID, _TAIL, 1 - _TAIL)
    if name == "exponential" and set(entry) == {"mean"}:
        quantiles = stats.expon(scale=times["mean"]).ppf(inside)
    elif name == "uniform" and set(entry) == {"low", "high"}:
        if times["low"] > times["high"]:
            raise ValueError(f"low must not exceed high, got {shown(entry['low'])} and {shown(entry['high'])}")
        quantiles = stats.uniform(times["low"], times["high"] - times["low"]).ppf(_GRID)
    elif name == "lognormal" and set(entry) == {"median", "sigma"}:
        sigma = entry["sigma"]
        if not _is_number(sigma) or not 0 < sigma <= 4:
            raise ValueError(f"sigma must be above 0 and at most 4, got {shown(sigma)}")
        quantiles = stats.lognorm(sigma, scale=times["median"]).ppf(inside)
    else:
        raise ValueError(
            "distribution must be exponential (mean), uniform (low, high) or lognormal (median, sigma), "
            f"got {shown(name)} with {', '.join(sorted(entry)) or 'nothing'}"
        )
    details = ", ".join(f"{key} {value}" for key, value in entry.items())
    return f"{name}, {details}", _to_int(quantiles)


def _to_int(quantiles: npt.NDArray[np.float64]) -> Int64Array:
    return np.rint(quantiles).astype(np.int64)
