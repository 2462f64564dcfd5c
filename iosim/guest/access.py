"""A driver's sequences of port accesses as data, and the same bound to one channel and one profile."""

from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

from iosim.guest.command import FIELDS
from iosim.model.ata import Reg
from iosim.model.steps import AccessKind, Binder, Delay, Mode, Path, Run


class Spec(NamedTuple):
    """One register access of a driver: which register, which direction, what is written, in which function.

    *value* names what is written: a field of the command (`iosim.guest.command.FIELDS`). *delays* are the driver's
    own, before the access (udelay) or behind the one before it (ndelay). *function* is the driver's.
    """

    register: Reg
    write: bool
    function: str
    value: str = "zero"
    delays: tuple[Delay, ...] = ()


def read(register: Reg, function: str, *delays: Delay) -> Spec:
    """Return the spec of a read of *register* in *function*."""
    return Spec(register, False, function, delays=delays)


def write(register: Reg, value: str, function: str, *delays: Delay) -> Spec:
    """Return the spec of a write of the field *value* to *register* in *function*."""
    return Spec(register, True, function, value, delays)


def cost_key(register: Reg, is_write: bool) -> str:
    """Return the cost key of the guest's instructions up to an access of *register*."""
    if register is Reg.COMMAND:
        return "guest.cmd_w" if is_write else "guest.status_r"
    if register is Reg.CONTROL and not is_write:
        return "guest.alt_r"
    if register in (Reg.BM_COMMAND, Reg.BM_STATUS, Reg.BM_PRD):
        return "guest.bm_w" if is_write else "guest.bm_r"
    return "guest.reg_w"


class BoundAccess:
    """A spec on one channel: how it looks from outside, what the guest spends before it, which field it writes.

    The runs are what it becomes when it is coalesced, made when first needed: alone, many in a loop, or around its
    submission.
    """

    __slots__ = ("back", "field", "front", "kind", "path", "polls", "register", "run")

    def __init__(self, kind: AccessKind, path: Path, register: Reg, field: int) -> None:
        self.kind = kind
        self.path = path
        self.register = register
        self.field = field
        self.run: Run | None = None
        self.polls: Run | None = None
        self.front: Run | None = None
        self.back: Run | None = None


class TaskFileLoad:
    """Task-file writes in a row, (register, field) each, as what they leave in the registers.

    `registers` are the first that they write and the one behind the last. `last` picks the values of the last write to
    each register out of a command's, `before` those of the last but one. Both are None unless the writes cover
    registers in a row, each of them once, or all but DEVICE twice (LBA48): then `writes` are to be done one by one.
    """

    __slots__ = ("before", "last", "n_before", "registers", "writes")

    def __init__(self, writes: list[tuple[Reg, int]]) -> None:
        self.writes = tuple(writes)
        self.last: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None
        self.before: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None
        fields: dict[Reg, list[int]] = {}
        for register, field in writes:
            fields.setdefault(register, []).append(field)
        registers = sorted(fields)
        self.registers: tuple[int, int] = (registers[0], registers[-1] + 1)
        twice = [register for register in registers if len(fields[register]) == 2]
        self.n_before = len(twice)
        in_a_row = len(registers) > 1 and registers == list(range(registers[0], registers[-1] + 1))
        if in_a_row and all(len(f) <= 2 for f in fields.values()) and twice == registers[: len(twice)]:
            self.last = picker(tuple([fields[register][-1] for register in registers]))
            if len(twice) > 1:
                self.before = picker(tuple([fields[register][0] for register in twice]))
            elif twice:
                self.last = None


def picker(places: tuple[int, ...]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """Return what picks the values at two or more *places*, in this order."""
    return itemgetter(*places)


class Section:
    """Accesses in a row, with interrupts off, none of which begins a submission.

    *before* is spent in front of the first one. A *harmless* section only reads the alternate status: nothing comes
    of it, whatever the device is doing. `effects` are its accesses as far as they change the device: (register,
    field, None) of a write, (COMMAND, -1, None) of a status read, (FEATURE, 0, load) of task-file writes in a row.
    """

    __slots__ = ("accesses", "before", "effects", "harmless", "run")

    def __init__(self, accesses: tuple[BoundAccess, ...], before: Path | None) -> None:
        self.accesses = accesses
        self.before = before
        self.harmless = all(access.register is Reg.CONTROL and not access.kind.write for access in accesses)
        self.run: Run | None = None
        effects: list[tuple[Reg, int, TaskFileLoad | None]] = []
        task_file: list[tuple[Reg, int]] = []
        for access in accesses:
            if access.kind.write and access.register <= Reg.DEVICE:
                task_file.append((access.register, access.field))
                continue
            if task_file:
                effects.append((Reg.FEATURE, 0, TaskFileLoad(task_file)))
                task_file = []
            if access.kind.write:
                effects.append((access.register, access.field, None))
            elif access.register is Reg.COMMAND:
                effects.append((Reg.COMMAND, -1, None))
        if task_file:
            effects.append((Reg.FEATURE, 0, TaskFileLoad(task_file)))
        self.effects = tuple(effects)


class DataBlock:
    """One DRQ block over the data port: (kind, path before each, n accesses), in order.

    `run` holds all accesses but the last one, `n_bytes` what they move; `last` may begin a submission.
    """

    __slots__ = ("accesses", "last", "n_bytes", "run")

    def __init__(self, accesses: list[tuple[AccessKind, Path, int]]) -> None:
        kind, path, _ = accesses[-1]
        self.accesses = accesses
        self.last = BoundAccess(kind, path, Reg.DATA, 0)
        self.run: Run | None = None
        self.n_bytes = sum(k.width * k.items * m for k, _, m in accesses) - kind.width * kind.items

    def all_but_last(self) -> list[tuple[AccessKind, Path, int]]:
        """Return the accesses that `run` holds."""
        kind, path, n = self.accesses[-1]
        return [*self.accesses[:-1], (kind, path, n - 1)] if n > 1 else self.accesses[:-1]


class AccessBinder:
    """Binds specs to the ports of one channel."""

    def __init__(self, binder: Binder, ports: dict[Reg, int]) -> None:
        self.binder = binder
        self.ports = ports

    def section(self, *specs: Spec, before: Path | None = None) -> Section:
        """Return the section of *specs*, in order."""
        return Section(tuple(self.access(spec) for spec in specs), before)

    def access(self, spec: Spec, cost: str | None = None) -> BoundAccess:
        """Return *spec* on this channel; *cost* overrides the cost key of its register."""
        width = 4 if spec.register is Reg.BM_PRD else 1
        kind = AccessKind(self.ports[spec.register], spec.write, width, 1, False)
        key = cost or cost_key(spec.register, spec.write)
        path = self.binder.path(*spec.delays, (key, spec.function), mode=Mode.GUEST)
        return BoundAccess(kind, path, spec.register, FIELDS[spec.value])
