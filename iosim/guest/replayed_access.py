"""The accesses of a replayed sequence: what each looks like from outside, and the guest's time before it."""

from collections.abc import Callable, Sequence

from iosim.guest.access import AccessBinder, BoundAccess, Section, cost_key
from iosim.model.ata import Reg
from iosim.model.costs import Cost
from iosim.model.ports import UNKNOWN, PortSequence, PortStep
from iosim.model.stages import Stage
from iosim.model.steps import AccessKind, Item, Mode, Op, Path

BM_START = 0x01
_MOST_SECTIONS = 10_000
"""So many are kept: a guest without recorded times repeats the same ones."""


def may_begin(step: PortStep) -> bool:
    """Tell whether the access may begin a submission."""
    return step.write and (
        step.register is Reg.COMMAND or (step.register is Reg.BM_COMMAND and bool(step.value & BM_START))
    )


class AccessCosts:
    """The accesses of a sequence on one channel: what each looks like, and the guest's time before it.

    *string*: whether single items of the data port are moved by a string instruction. *round_trip_ns*: the mean time of
    an access in the profile, from the guest back into it.
    """

    def __init__(
        self, binder: AccessBinder, sequence: PortSequence, string: bool, round_trip_ns: Callable[[AccessKind], float]
    ) -> None:
        self._binder = binder
        self._poll_gaps_ns = sequence.poll_gaps_ns
        self._string = string
        self._bound: dict[tuple[AccessKind, Path, int], BoundAccess] = {}
        self._sections: dict[tuple[BoundAccess, ...], Section] = {}
        self._loops: dict[AccessKind, BoundAccess] = {}
        self._runs: dict[int, Path] = {}
        self._nothing = Path((), Mode.GUEST)
        self._pauses: dict[PortStep, Path] = {}
        for step in sequence.steps:
            if step.gap_ns == UNKNOWN and step.between_ns != UNKNOWN:
                self._pauses[step] = self._pause(step, round_trip_ns)

    def bound(self, step: PortStep, field: int = 0) -> BoundAccess:
        """Return the access of *step* with the guest's time before it; *field* says which value of many it writes."""
        kind = self.kind(step)
        path = self._nothing if step.begins >= 0 else self.gap(step)
        key = (kind, path, field)
        if key not in self._bound:
            self._bound[key] = BoundAccess(kind, path, Reg.FEATURE if step.register is None else step.register, field)
        return self._bound[key]

    def section(self, steps: Sequence[PortStep]) -> Section:
        """Return the accesses of *steps* as one section; access number n writes value number n."""
        accesses = tuple(self.bound(step, number) for number, step in enumerate(steps))
        section = self._sections.get(accesses)
        if section is None:
            section = Section(accesses, None)
            if len(self._sections) < _MOST_SECTIONS:
                self._sections[accesses] = section
        return section

    def poll(self, step: PortStep) -> tuple[BoundAccess, Path | None]:
        """Return one read of a loop, and what the guest spends before the first one beyond that."""
        assert step.register is not None
        kind = self.kind(step)
        loop_ns = self._poll_gaps_ns.get(step.register)
        if kind not in self._loops:
            path = self._by_profile(step) if loop_ns is None else self._run(loop_ns)
            self._loops[kind] = BoundAccess(kind, path, step.register, 0)
        if step.begins >= 0 or step.gap_ns == UNKNOWN or step.gap_ns <= (loop_ns or 0):
            return self._loops[kind], None
        return self._loops[kind], self._run(step.gap_ns - (loop_ns or 0))

    def kind(self, step: PortStep) -> AccessKind:
        """Return what the access looks like from outside."""
        if step.register is None:
            return AccessKind(step.port, step.write, step.width, step.items, step.items > 1)
        string = step.items > 1 or (self._string and step.register is Reg.DATA)
        return AccessKind(self._binder.ports[step.register], step.write, step.width, step.items, string)

    def gap(self, step: PortStep) -> Path:
        """Return the guest's time before the access: as recorded, or what the profile says.

        A pause between two commands that was recorded only as a time between two accesses is that less one access.
        """
        if step.gap_ns != UNKNOWN:
            return self._run(step.gap_ns)
        return self._by_profile(step) if step.between_ns == UNKNOWN else self._pauses[step]

    def _pause(self, step: PortStep, round_trip_ns: Callable[[AccessKind], float]) -> Path:
        path = self._by_profile(step)
        register_write = AccessKind(self._binder.ports[Reg.NSECTOR], True, 1, 1, False)
        kind = register_write if step.register is None else self.kind(step)
        ns = round(step.between_ns - round_trip_ns(kind))
        return self._run(ns) if ns > _mean_ns(path) else path

    def _by_profile(self, step: PortStep) -> Path:
        if step.register is None:
            key = "guest.reg_w"
        elif step.register is Reg.DATA:
            way = "out" if step.write else "in"
            key = f"guest.data_{way}_{'rep' if self.kind(step).string else 'loop'}"
        elif step.register is Reg.BM_COMMAND and may_begin(step):
            key = "guest.bm_start"
        else:
            key = cost_key(step.register, step.write)
        return self._binder.binder.path((key, "guest code"), mode=Mode.GUEST)

    def _run(self, ns: int) -> Path:
        if ns not in self._runs:
            cost = Cost("guest code", ns)
            self._runs[ns] = Path([Item(Op.SPEND, Stage.GUEST_RUN, "guest code", cost, Mode.GUEST)], Mode.GUEST)
        return self._runs[ns]


def _mean_ns(path: Path) -> float:
    return sum(item.cost.mean_ns for item in path.items if item.cost is not None)
