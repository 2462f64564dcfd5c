"""I/O errors of a disk that a scenario declares."""

from dataclasses import dataclass
from typing import Any

from iosim.model import draws


@dataclass(frozen=True)
class Fault:
    """Operations *ops* that begin in [start_ns, end_ns) and touch the sectors [first, end) fail with *errno*.

    None for an end is "for ever", or "to the last sector". Of those, *share* / 2^32 fail. A flush has no address: it
    fails if the fault is not limited to some sectors.
    """

    ops: frozenset[str]
    errno: int
    share: int = 1 << 32
    start_ns: int = 0
    end_ns: int | None = None
    first: int = 0
    end: int | None = None

    def hits(self, op: str, sector: int, sectors: int, now_ns: int) -> bool:
        """Tell whether the operation, begun at *now_ns*, is one that may fail."""
        if op not in self.ops or now_ns < self.start_ns or (self.end_ns is not None and now_ns >= self.end_ns):
            return False
        if not sectors:
            return self.first == 0 and self.end is None
        return sector + sectors > self.first and (self.end is None or sector < self.end)


class Faults:
    """The faults of the disk *name*. A draw belongs to whoever asks, as all draws do."""

    def __init__(self, name: str, faults: tuple[Fault, ...]) -> None:
        whats = [draws.name_hash(f"disk.{name}.fault.{k}") for k in range(len(faults))]
        self._faults: list[tuple[Fault, draws.Number64, int]] = [
            (fault, what, draws.place(what)) for fault, what in zip(faults, whats, strict=True)
        ]

    def ret(self, job: Any, now_ns: int) -> int:
        """Return 0, or the negative errno of the first fault that *job* meets."""
        for fault, what, place in self._faults:
            if not fault.hits(job.op, job.sector, job.sectors, now_ns):
                continue
            if fault.share < 1 << 32:
                assert job.subject is not None
                if draws.draw(job.subject.identity, what, job.subject.take(place)) >> 32 >= fault.share:
                    continue
            return -fault.errno
        return 0
