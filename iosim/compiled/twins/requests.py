"""Twins of who makes requests (`iosim.model.trace`) and who keeps the account of them (`iosim.run`)."""

from collections.abc import Iterator
from typing import Any

from iosim.compiled.native import ask, get, is_below, put, put_all
from iosim.model.draws import Number64
from iosim.model.ledger import Ledger
from iosim.model.native_code import apart
from iosim.model.records import ERRORS, STATUSES, Request
from iosim.model.trace import OPS
from iosim.results.raw import INT_COLUMNS

TAKE_ROWS = 1
"""Asks Python to take the rows that are in the block, whose number it is given."""
TAKE_LOGS = 3
"""Asks Python to take the logs of sampled requests."""
LOGS = 64
"""So many logs are taken at once, or fewer if they have `ENTRIES` entries."""
ENTRIES = 1 << 16
FILL = 2
"""Asks Python for the next requests of the trace whose number it is given, and how many they are: 0 at the end."""
ROWS = 4096
"""Rows that the block holds."""
PIECE = 1024
"""Requests of a trace that its block holds."""
WIDTH = len(INT_COLUMNS)
"""Numbers of a row."""
STAGES_AT = INT_COLUMNS.index("irq_line_ioctls") + 1
"""Where the stages begin."""


def rows(trace: int, block: Any) -> Iterator[tuple[int, str, int, int]]:
    """Yield (arrival in ns, op, sector, sectors) of each request; Python fills *block* again and again."""
    n = ask(FILL, trace)
    while n > 0:
        for k in range(n):
            at = 4 * k
            yield get(block, at), OPS[get(block, at + 1)], get(block, at + 2), get(block, at + 3)
        n = ask(FILL, trace)


class Trace:
    """The requests of a trace by number."""

    def __init__(self, ops: Any, first: Any, count: Any) -> None:
        self.ops = ops
        self.sectors_first = first
        self.sectors_count = count

    def __len__(self) -> int:
        return len(self.ops)

    def request(self, number: int) -> tuple[str, int, int]:
        """Return (op, sector, sectors) of a request."""
        return OPS[self.ops[number]], self.sectors_first[number], self.sectors_count[number]


class KnownDrive:
    """A drive in rows: the number of its VM, its own, and the limits of what is sampled, in the order of `OPS`."""

    __slots__ = ("index", "limits", "vm")

    def __init__(self, vm: int, index: int, limits: list[Any]) -> None:
        self.vm = vm
        self.index = index
        self.limits = limits


class Collector(Ledger):
    """One row of integers per request, in the order in which they end, and the logs that are wanted.

    `rows` is a block of raw integers, which Python empties when it is full and at the end. `limits` say which requests
    are sampled, as in `iosim.results.sampling`; None for all. A sampled log is (VM, drive, operation, entries).
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: Any = None
        self.n_rows = 0
        self.what: Number64 = 0
        self.limits: dict[tuple[str, int], dict[str, Any]] = {}
        self._known: dict[Any, KnownDrive] = {}
        self._drive: Any = None
        self._place = KnownDrive(-1, -1, [])
        self.sampled: list[tuple[str, int, str, list[Any]]] = []
        self.n_entries = 0

    def _place_of(self, drive: Any) -> KnownDrive:
        return self._place if drive is self._drive else self._look_at(drive)

    @apart
    def _look_at(self, drive: Any) -> KnownDrive:
        place = self._known.get(drive)
        if place is None:
            limits = self.limits[drive.vm, drive.index]
            place = KnownDrive(self.vm_number[drive.vm], drive.index, [limits[op] for op in OPS])
            self._known[drive] = place
        self._drive = drive
        self._place = place
        return place

    def _is_sampled(self, request: Request) -> bool:
        limit: Any = self._place_of(request.drive).limits[OPS.index(request.op)]
        return limit is None or is_below(request.identity, self.what, limit)

    def _add_sample(self, request: Request) -> None:
        drive: Any = request.drive
        entries: list[Any] = request.log or []
        self.sampled.append((drive.vm, drive.index, request.op, entries))
        self.n_entries += len(entries)
        if self.n_entries >= ENTRIES or len(self.sampled) >= LOGS:
            ask(TAKE_LOGS, 0)
            self.sampled = []
            self.n_entries = 0

    def _add_row(self, request: Request, warmup: bool) -> None:
        place = self._place_of(request.drive)
        rows = self.rows
        at = self.n_rows * WIDTH
        put(rows, at, place.vm)
        put(rows, at + 1, place.index)
        put(rows, at + 2, request.number)
        put(rows, at + 3, OPS.index(request.op))
        put(rows, at + 4, request.sector)
        put(rows, at + 5, request.sectors)
        put(rows, at + 6, request.arrival_ns)
        put(rows, at + 7, request.issue_ns)
        put(rows, at + 8, request.done_ns)
        put(rows, at + 9, STATUSES.index(request.status))
        put(rows, at + 10, ERRORS.index(request.error))
        put(rows, at + 11, warmup)
        put(rows, at + 12, request.exits)
        put(rows, at + 13, request.userspace_exits)
        put(rows, at + 14, request.irqs)
        put(rows, at + 15, request.irq_line_ioctls)
        put_all(rows, at + STAGES_AT, request.stages)
        self.n_rows += 1
        if self.n_rows == ROWS:
            self._flush()

    def _flush(self) -> None:
        ask(TAKE_ROWS, self.n_rows)
        self.n_rows = 0
