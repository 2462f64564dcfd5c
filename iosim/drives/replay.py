"""A recording of service times played against a model of the disk."""

from typing import Any

import numpy as np

from iosim.disk.model import DiskIo, DiskModel
from iosim.drives.services import Services, Whole
from iosim.model import draws
from iosim.model.trace import OPS

_WHAT = draws.name_hash("disk.replay")


def replay(model: DiskModel, recorded: Services, servers: int = 1, seed: int = 1) -> Whole:
    """Return what each request of *recorded* takes on *model*, from being given to the disk until it is done, in ns.

    Closed loop with the recorded think times: a request is given to the disk as long after the end of the one before
    as it was recorded. One that was given to the disk while the one before was under way follows the begin of that
    instead. Up to *servers* are served at once, the others in the order in which they come.
    """
    state: Any = model.initial()
    free = [0] * servers
    taken = np.empty(len(recorded), dtype=np.int64)
    issued = done = int(recorded.start_ns[0]) if len(recorded) else 0
    before_start = issued
    rows = zip(
        recorded.op.tolist(),
        recorded.sector.tolist(),
        recorded.sectors.tolist(),
        recorded.start_ns.tolist(),
        recorded.gap_ns.tolist(),
        strict=True,
    )
    for number, (op, sector, sectors, start, gap) in enumerate(rows):
        if number:
            issued = done + gap if gap >= 0 else issued + start - before_start
        before_start = start
        server = free.index(min(free)) if servers > 1 else 0
        begin = max(issued, free[server])
        draw = draws.draw(draws.mix(seed), _WHAT, number) >> 32 if model.draws else 0
        ns, state = model.service(state, DiskIo(OPS[op], sector, sectors), begin, draw)
        done = free[server] = begin + ns
        taken[number] = done - issued
    return taken
