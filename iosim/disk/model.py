"""Service models of disks: pure functions (state, request, now, draw) -> (service time, new state).

The queue in front of a model is `iosim.disk.queue`. All arithmetic is on integers, so that a second engine that calls
the same functions gets the same nanoseconds.
"""

from typing import Any, NamedTuple, Protocol

from iosim.model.records import FLUSH


class DiskIo(NamedTuple):
    """What a disk is asked: op R, W or F (flush: 0, 0), first sector and number of sectors of 512 bytes."""

    op: str
    sector: int
    sectors: int


class DiskModel(Protocol):
    """A service model. *state* is opaque to others; *draw* is one 32-bit random number of the request's own."""

    draws: bool
    """Whether `service` looks at *draw*."""

    def initial(self) -> Any:
        """Return the state of a disk that nothing was asked of yet."""

    def service(self, state: Any, io: DiskIo, now_ns: int, draw: int) -> tuple[int, Any]:
        """Return the time in ns that serving *io* takes from *now_ns* on, and the state after it.

        The state that was given is used up: a large one may be changed and handed back.
        """


class ConstantDisk:
    """Every read and write takes *service_ns*, every flush *flush_ns*."""

    draws = False

    def __init__(self, service_ns: int, flush_ns: int) -> None:
        self.service_ns = service_ns
        self.flush_ns = flush_ns

    def initial(self) -> None:
        """There is no state."""
        return

    def service(self, state: None, io: DiskIo, now_ns: int, draw: int) -> tuple[int, None]:
        """Return the constant of the operation."""
        return (self.flush_ns if io.op == FLUSH else self.service_ns), None
