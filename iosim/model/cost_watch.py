"""Which costs of its profile a run spends: a profile whose costs note that they are."""

from dataclasses import replace

import numpy as np

from iosim.model.costs import TABLE_SIZE, Cost, Int64Array, Profile
from iosim.model.draws import Subject


class WatchedCost(Cost):
    """The same cost in the form of a quantile table, so that it is looked up whenever it is spent; it notes its key."""

    __slots__ = ("_spent",)

    def __init__(self, cost: Cost, spent: set[str]) -> None:
        table = cost.array if cost.ns is None else np.full(TABLE_SIZE + 1, cost.ns, dtype=np.int64)
        super().__init__(cost.key, None, table)
        self._spent = spent

    def sample(self, subject: Subject) -> int:
        """Return what the cost itself would."""
        self._spent.add(self.key)
        return super().sample(subject)

    @property
    def array(self) -> Int64Array:
        """The quantile table, which is looked at when a run of port accesses is about to be drawn."""
        self._spent.add(self.key)
        return super().array


def watched(profile: Profile, spent: set[str]) -> Profile:
    """Return *profile* with costs that add their key to *spent* when they are. Results are the same.

    Those that another cost includes are left as they are.
    """
    figures = {
        key: figure if figure.kind == "included" else replace(figure, cost=WatchedCost(figure.cost, spent))
        for key, figure in profile.figures.items()
    }
    return replace(profile, figures=figures)
