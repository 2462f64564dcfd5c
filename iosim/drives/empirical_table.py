"""From recorded service times to the table of model = "empirical": quantiles by operation, access and size."""

from typing import NamedTuple

import numpy as np

from iosim.drives.services import Mask, Services, Whole
from iosim.model.errors import TraceError
from iosim.model.records import FLUSH, READ, WRITE

LEAST = 40
"""Requests that a size must have for quantiles of its own: with fewer, it is put together with its neighbours."""
MOST_LEVELS = 256
"""Quantiles of a size, less one, however many requests it has."""
RANDOM, SEQUENTIAL = "random", "sequential"


class Group(NamedTuple):
    """The requests of one (operation, access, size); *sectors* is the mean size where several are put together."""

    op: str
    access: str
    sectors: int
    service_ns: Whole


def groups(recorded: Services) -> list[Group]:
    """Return the groups of *recorded* that get quantiles. Raises TraceError without a read or a write.

    A request is sequential that begins where the one before ended. Where an operation has fewer than LEAST of those,
    or of the others, there is no telling the two apart: all its requests are random.
    """
    found: list[Group] = []
    for op in (READ, WRITE, FLUSH):
        of_op = recorded.of(op)
        if not of_op.any():
            if op != FLUSH:
                raise TraceError(f"{recorded.source}: has no service times of {op}, which model = empirical needs")
            continue
        sequential = of_op & recorded.sequential
        apart = op != FLUSH and min(int(sequential.sum()), int((of_op & ~sequential).sum())) >= LEAST
        parts = {SEQUENTIAL: sequential, RANDOM: of_op & ~sequential} if apart else {RANDOM: of_op}
        for access, which in parts.items():
            found += _by_size(recorded, op, access, which)
    return found


def _by_size(recorded: Services, op: str, access: str, which: Mask) -> list[Group]:
    sizes, times = recorded.sectors[which], recorded.service_ns[which]
    order = np.argsort(sizes, kind="stable")
    sizes, times = sizes[order], times[order]
    found: list[Group] = []
    begin = 0
    for end in [*(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]:
        rest = len(sizes) - end
        if (end - begin >= LEAST and (rest == 0 or rest >= LEAST)) or end == len(sizes):
            found.append(Group(op, access, round(float(sizes[begin:end].mean())), times[begin:end]))
            begin = end
    return found


def to_csv(found: list[Group]) -> str:
    """Return the file that model = "empirical" reads."""
    apart = any(group.access == SEQUENTIAL for group in found)
    lines = ["op,access,sectors,probability,ns" if apart else "op,sectors,probability,ns"]
    for group in found:
        levels = np.linspace(0, 1, min(len(group.service_ns), MOST_LEVELS + 1)) if len(group.service_ns) > 1 else [0, 1]
        times = np.maximum.accumulate(np.rint(np.quantile(group.service_ns, levels)).astype(np.int64))
        name = f"{group.op},{group.access}" if apart else group.op
        lines += [f"{name},{group.sectors},{level:.9g},{ns}" for level, ns in zip(levels, times, strict=True)]
    return "\n".join(lines) + "\n"
