"""The search for the limit: which positions of the knob are looked at, and what follows of their verdicts.

It knows no scenario and no simulation: *look* says what holds at a position, sure as far as it goes. A target is taken
to be monotone in the knob, harder or easier to meet as it rises; verdicts that contradict this are reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from iosim.plan.knob import Knob
from iosim.plan.targets import Target, Verdict

Find = Literal["largest", "smallest"]
Outcome = Literal["limit", "all", "none", "undecided"]


@dataclass(frozen=True)
class Seen:
    """What was found at a position: estimate and verdict of each target; *final* if more runs would not be made."""

    estimates: tuple[float, ...]
    verdicts: tuple[Verdict, ...]
    final: bool

    def joint(self, group: Sequence[int]) -> Verdict:
        """Return the verdict on the targets with these numbers together."""
        return joint([self.verdicts[number] for number in group])


def joint(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on several targets that are all to be met."""
    if "fails" in verdicts:
        return "fails"
    return "undecided" if "undecided" in verdicts else "meets"


Look = Callable[[Sequence[int], Sequence[int]], Mapping[int, Seen]]
"""Positions, and the numbers of the targets on which a verdict is wanted -> what was found there.

With no targets a first look is enough.
"""


@dataclass(frozen=True)
class Edge:
    """Where a group of targets ends: the last position that surely meets them, and the first one that surely fails.

    In the direction in which they get harder; None where there is no such position.
    """

    meets: int | None
    fails: int | None


@dataclass(frozen=True)
class Answer:
    """What a search has found.

    *upper* is the edge of the targets that get harder as the knob rises (numbers *harder*), *lower* that of the
    others. *outcome*: "limit"; "all": the targets are met up to the bound of the knob; "none": no value meets them;
    "undecided": no value surely does. *contradictions* are pairs of positions of which the first fails although the
    second, which should be harder, meets the same targets.
    """

    find: Find
    outcome: Outcome
    upper: Edge
    lower: Edge
    harder: tuple[int, ...]
    easier: tuple[int, ...]
    seen: Mapping[int, Seen]
    contradictions: tuple[tuple[int, int], ...]

    @property
    def edge(self) -> Edge:
        """The edge that was asked for."""
        return self.upper if self.find == "largest" else self.lower

    @property
    def meets(self) -> int | None:
        """The limit: the last position on the way to it that surely meets all targets."""
        return self.edge.meets if self.outcome in ("limit", "all") else None

    @property
    def fails(self) -> int | None:
        """The first position behind the limit that surely fails."""
        return self.edge.fails

    @property
    def breaks(self) -> list[int]:
        """The numbers of the targets that fail there."""
        at = self.fails
        return [] if at is None else [n for n, verdict in enumerate(self.seen[at].verdicts) if verdict == "fails"]


def search(knob: Knob, targets: Sequence[Target], look: Look, find: Find | None, curve: int) -> Answer:
    """Return the limit of *targets* on *knob*: first on a coarse curve of *curve* parts, then by bisection."""
    seen: dict[int, Seen] = dict(look(knob.spread(curve), []))
    last = len(knob) - 1
    ends = [[target.margin(seen[at].estimates[n]) for n, target in enumerate(targets)] for at in (0, last)]
    easier = tuple(n for n, (low, high) in enumerate(zip(*ends, strict=True)) if high > low)
    harder = tuple(n for n in range(len(targets)) if n not in easier)
    upper = _edge(knob, seen, harder, look, rising=True)
    lower = _edge(knob, seen, easier, look, rising=False)
    if find is None:
        find = "smallest" if lower.meets != 0 and upper.meets == last else "largest"
    contradictions = _contradictions(seen, harder, rising=True) + _contradictions(seen, easier, rising=False)
    return Answer(find, _outcome(find, upper, lower, last), upper, lower, harder, easier, seen, contradictions)


def _outcome(find: Find, upper: Edge, lower: Edge, last: int) -> Outcome:
    if upper.meets is None or lower.meets is None or lower.meets > upper.meets:
        # Below one of the edges some targets surely fail, above the other one the others do.
        nowhere = upper.fails == 0 or lower.fails == last
        crossed = upper.fails is not None and lower.fails is not None and lower.fails >= upper.fails - 1
        return "none" if nowhere or crossed else "undecided"
    reached = upper.meets == last if find == "largest" else lower.meets == 0
    return "all" if reached else "limit"


def _edge(knob: Knob, seen: dict[int, Seen], group: Sequence[int], look: Look, rising: bool) -> Edge:
    """Return the edge of the targets of *group*, which get harder as the position rises, or as it falls."""
    last = len(knob) - 1
    if not group:
        return Edge(last if rising else 0, None)

    def place(step: int) -> int:
        return step if rising else last - step

    while True:
        states = {place(at): found.joint(group) for at, found in seen.items()}
        fails = min((step for step, state in states.items() if state == "fails"), default=None)
        before = [step for step in states if fails is None or step < fails]
        meets = max((step for step in before if states[step] == "meets"), default=None)
        wanted = _next(knob, states, meets, fails, [s for s in before if not seen[place(s)].final], place)
        if wanted is None:
            return Edge(*(None if step is None else place(step) for step in (meets, fails)))
        seen.update(look([place(wanted)], group))


def _next(
    knob: Knob,
    states: Mapping[int, Verdict],
    meets: int | None,
    fails: int | None,
    open_: Sequence[int],
    place: Callable[[int], int],
) -> int | None:
    """Return the step to look at next, None if nothing is left to find out. Steps go from easy to hard."""
    # What a first look has left undecided between the edges is looked at again.
    begin = -1 if meets is None else meets
    unsure = sorted(step for step in open_ if step > begin and states[step] == "undecided")
    if unsure:
        return unsure[len(unsure) // 2]
    doubtful = [step for step, state in states.items() if state != "meets" and step > begin]
    if meets is not None and doubtful and min(doubtful) - meets > 1:
        return _middle(knob, meets, min(doubtful), place)
    possible = [step for step in states if fails is not None and step < fails]
    if fails is not None and possible and fails - max(possible) > 1:
        return _middle(knob, max(possible), fails, place)
    return None


def _middle(knob: Knob, low: int, high: int, place: Callable[[int], int]) -> int:
    """Return the step between two others that is half-way on the knob's scale."""
    ends = sorted((place(low), place(high)))
    return place(knob.middle(*ends))


def _contradictions(seen: Mapping[int, Seen], group: Sequence[int], rising: bool) -> tuple[tuple[int, int], ...]:
    """Return (fails, meets) of the neighbours for which the second should be harder than the first."""
    found: list[tuple[int, int]] = []
    for number in group:
        failed: int | None = None
        for at in sorted(seen, reverse=not rising):
            verdict = seen[at].verdicts[number]
            if verdict == "fails":
                failed = at
            elif verdict == "meets" and failed is not None:
                found.append((failed, at))
                failed = None
    return tuple(dict.fromkeys(found))
