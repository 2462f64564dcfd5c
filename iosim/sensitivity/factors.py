"""Factors: one cost of the profile, or several that are scaled together, and between which values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import KINDS, Figure, Profile
from iosim.model.errors import StudyError, shown
from iosim.model.units import exact_time
from iosim.sensitivity.sensitivity_file import RangeTable, SensitivityTable
from iosim.study.points import Changes

ASSUMED = "assumed"


@dataclass(frozen=True)
class Factor:
    """Costs that are scaled together.

    *ranges* has for each key the factors between which it is taken to lie, *kinds* the kinds of evidence of their
    figures. *mean_ns* is the sum of the means of the costs: of a single one its mean.
    """

    name: str
    ranges: dict[str, tuple[float, float]]
    kinds: tuple[str, ...]
    stages: tuple[str, ...]
    functions: tuple[str, ...]
    mean_ns: float

    @property
    def is_assumed(self) -> bool:
        """Whether any of its figures has no source."""
        return ASSUMED in self.kinds

    def changes(self, scaled: dict[str, float], base: dict[str, Any]) -> Changes:
        """Return what [host.cost] has to say so that each key of *scaled* is that many times what it is with *base*."""
        return {f"host.cost.{key}": _times(base, key, factor) for key, factor in scaled.items()}

    def at_end(self, end: int) -> dict[str, float]:
        """Return the factor of each cost at the low (0) or high (1) end of its range."""
        return {key: ends[end] for key, ends in self.ranges.items()}

    def at(self, u: float, log: bool) -> dict[str, float]:
        """Return the factor of each cost where a share *u* of its range (0 to 1) lies below, be it a *log* scale."""
        return {
            key: low * (high / low) ** u if log else low + (high - low) * u for key, (low, high) in self.ranges.items()
        }


def _times(base: dict[str, Any], key: str, factor: float) -> Any:
    """Return the value of *key* in [host.cost], *base* as read, that makes the cost *factor* times as long."""
    group, _, name = key.partition(".")
    own = base.get(group, {}).get(name, 1.0)
    return exact_time(round(own * factor)) if isinstance(own, int) else own * factor


def factors(profile: Profile, spent: Sequence[str], table: SensitivityTable, place: str) -> list[Factor]:
    """Return the factors of *table* over those costs of *profile* that are *spent* and take time.

    Raises StudyError, naming *place*, if `only` names what is no cost or not spent.
    """
    chosen = [key for key in spent if profile.figures[key].cost.mean_ns > 0]
    if table.only is not None:
        chosen = _only(chosen, table.only, place)
    if not chosen:
        raise StudyError(f"{place}: no cost of the profile is spent")
    if table.sobol and table.sobol.scale == "log":
        for key in chosen:
            if not _range(profile.figures[key], table)[0]:
                raise StudyError(
                    f'{place}: sensitivity.sobol.scale must be "linear" with {key}, which may be 0 by its uncertainty'
                )
    groups: dict[str, list[str]] = {}
    for key in chosen:
        row = CATALOGUE[key]
        name = {"cost": key, "function": row.function, "group": key.partition(".")[0], "stage": row.stage.label}
        groups.setdefault(name[table.by], []).append(key)
    return [_factor(name, keys, profile, table) for name, keys in groups.items()]


def _only(spent: list[str], wanted: Sequence[str], place: str) -> list[str]:
    """Return those of *spent* that *wanted* names, by themselves or by their group."""
    for name in wanted:
        known = {key for key in CATALOGUE if name in (key, key.partition(".")[0])}
        if not known:
            raise StudyError(f"{place}: sensitivity.only must have costs or groups of costs, got {shown(name)}")
        if not known & set(spent):
            raise StudyError(f"{place}: sensitivity.only has {name}, for which the scenario spends no time")
    return [key for key in spent if key in wanted or key.partition(".")[0] in wanted]


def _factor(name: str, keys: list[str], profile: Profile, table: SensitivityTable) -> Factor:
    figures = [profile.figures[key] for key in keys]
    kinds = tuple(kind for kind in KINDS if any(figure.kind == kind for figure in figures))
    return Factor(
        name,
        {key: _range(figure, table) for key, figure in zip(keys, figures, strict=True)},
        kinds,
        tuple(dict.fromkeys(CATALOGUE[key].stage.label for key in keys)),
        tuple(dict.fromkeys(CATALOGUE[key].function for key in keys)),
        sum(figure.cost.mean_ns for figure in figures),
    )


def _range(figure: Figure, table: SensitivityTable) -> tuple[float, float]:
    """Return the factors of one cost: its own uncertainty, else that of its kind of evidence, else that of all."""
    if figure.uncertainty is not None:
        return figure.uncertainty
    inside: RangeTable = table.kind.get(figure.kind, table)
    return inside.low, inside.high
