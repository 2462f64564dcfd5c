"""Block requests as Linux traces them: their flags, and which of a request's events stands for it.

Flags (`blk_fill_rwbs`): ``[F]`` a flush goes before; the operation (R, W, D discard, DE secure erase, F flush, N none);
then F (FUA), A read-ahead, S, M ... A write with FUA is followed by a flush, as Linux does it on a drive without FUA:
an emulated IDE drive, virtio-blk.

A request passes several events. It is taken from the first kind that a device has: Q (queued, block_bio_queue), D
(issued, block_rq_issue), I (inserted, block_rq_insert; not every request is).
"""

from functools import lru_cache

from iosim.model.errors import shown
from iosim.model.trace import OPS
from iosim.traces.reading import Reading
from iosim.traces.table import MAX_SECTOR

Row = tuple[int, int, int, int, int]
"""Time in ns, operation, first sector, sectors, line: what `TraceTable.of_rows` takes."""

KINDS = ("Q", "D", "I")
"""Events that may stand for a request, the preferred first."""
_R, _W, _F = (OPS.index(op) for op in "RWF")


@lru_cache(maxsize=1024)
def decoded(rwbs: str) -> tuple[str, bool, bool]:
    """Return (operation, flush before, flush behind) of the flags *rwbs*."""
    before = len(rwbs) > 1 and rwbs[0] == "F"
    rest = rwbs[1:] if before else rwbs
    return rest[:1], before, "F" in rest[1:]


class BlockRequests:
    """Events of block devices in, requests out.

    Which kind of event is taken is settled for each device at the end of the first block that has events of it.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._rows: dict[str, dict[str, list[Row]]] = {}
        self._kind: dict[str, str] = {}

    def add(self, device: str, kind: str, rwbs: str, sector: int, sectors: int, at_ns: int, line: int) -> None:
        """Add an event of *kind*, one of KINDS; refuses it if there is no place for such a request in a trace."""
        reading = self._reading
        if not reading.takes(device):
            return
        chosen = self._kind.get(device)
        if chosen is not None and kind != chosen:
            if KINDS.index(kind) < KINDS.index(chosen):
                reading.refuse(line, f"requests are taken from {chosen} events, there were none of {kind} before", kind)
            else:
                reading.beside[f"event {kind}"] += 1
            return
        rows = self._rows.setdefault(device, {}).setdefault(kind, [])
        operation, before, behind = decoded(rwbs)
        if before:
            rows.append((at_ns, _F, 0, 0, line))
        if operation in ("R", "W") and sector > MAX_SECTOR:
            reading.refuse(line, "sector must be at most 2^48", f"{sector}")
        elif operation in ("R", "W") and (sectors or not before):
            rows.append((at_ns, _R if operation == "R" else _W, sector, sectors, line))
        elif operation == "F" and not before:
            rows.append((at_ns, _F, 0, 0, line))
        elif operation == "N" and not before:
            reading.beside["request that moves no data of the disk (N)"] += 1
        elif operation not in ("R", "W", "F", "N"):
            reading.refuse(line, "a request must be a read, write or flush", shown(rwbs))
        if behind:
            rows.append((at_ns, _F, 0, 0, line))

    def taken(self) -> list[Row]:
        """Return the requests since the last call."""
        taken: list[Row] = []
        for device, kinds in self._rows.items():
            chosen = self._kind.setdefault(device, min(kinds, key=KINDS.index))
            for kind, rows in kinds.items():
                if kind == chosen:
                    taken += rows
                else:
                    self._reading.beside[f"event {kind}"] += len(rows)
        self._rows = {}
        return taken
