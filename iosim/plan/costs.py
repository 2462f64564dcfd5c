"""The cheapest configuration that meets the targets at each load, found by what one verdict says of others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from iosim.plan.targets import Verdict

Config = tuple[int, ...]
"""The number of the value of each resource, 0 the weakest."""
Judge = Callable[[int, Config], Verdict]
"""Position of the load, configuration -> verdict on all targets together."""


@dataclass
class Cheapest:
    """The cheapest configurations by load.

    More of a resource, or less load, is taken to make no target harder. So a configuration that meets the targets
    speaks for all that are stronger, at this load and at lower ones, and one that fails for all that are weaker, at
    this load and at higher ones. The configuration tried next is the one whose verdict settles most others, whichever
    way it falls. *contradictions* are (load, configuration) that should have met the targets by this, and did not.
    """

    sizes: Sequence[int]
    cost: Callable[[Config], float]
    judge: Judge
    tried: dict[tuple[int, Config], Verdict] = field(default_factory=dict)
    contradictions: list[tuple[int, Config]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._configs = sorted(product(*map(range, self.sizes)), key=lambda config: (self.cost(config), config))

    def find(self, load: int) -> Config | None:
        """Return the cheapest configuration that surely meets the targets at the position *load*, None if none does."""
        while True:
            best = next((config for config in self._configs if self._meets(load, config)), None)
            open_ = [config for config in self._cheaper(best) if not self._is_out(load, config)]
            if open_:
                self._try(load, self._next(open_))
            elif best is None or (load, best) in self.tried:
                return best
            elif self._try(load, best) != "meets":
                self.contradictions.append((load, best))

    def perhaps(self, load: int, best: Config | None) -> Config | None:
        """Return the cheapest configuration below *best* of which it is undecided whether it meets the targets."""
        cheaper = (config for config in self._cheaper(best) if self.tried.get((load, config)) == "undecided")
        return next(cheaper, None)

    def _cheaper(self, best: Config | None) -> Iterator[Config]:
        for config in self._configs:
            if best is not None and self.cost(config) >= self.cost(best):
                return
            yield config

    def _try(self, load: int, config: Config) -> Verdict:
        verdict = self.tried[load, config] = self.judge(load, config)
        return verdict

    def _next(self, open_: Sequence[Config]) -> Config:
        def settled(number: int) -> int:
            weaker = sum(_is_weaker(other, open_[number]) for other in open_)
            return min(len(open_) - number, weaker)

        return open_[max(range(len(open_)), key=settled)]

    def _meets(self, load: int, config: Config) -> bool:
        own = self.tried.get((load, config))
        if own is not None:
            return own == "meets"
        return any(
            verdict == "meets" and at >= load and _is_weaker(other, config)
            for (at, other), verdict in self.tried.items()
        )

    def _is_out(self, load: int, config: Config) -> bool:
        """Tell whether a configuration that is not known to meet the targets need not be tried."""
        return (load, config) in self.tried or any(
            verdict == "fails" and at <= load and _is_weaker(config, other)
            for (at, other), verdict in self.tried.items()
        )


def _is_weaker(one: Config, other: Config) -> bool:
    """Tell whether *one* has no more of any resource than *other*."""
    return all(a <= b for a, b in zip(one, other, strict=True))
