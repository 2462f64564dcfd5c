"""Primitive steps: what a function of the path does to time and to others.

Each function yields these steps. Exit-by-exit execution runs them one by one; coalescing sums the very same steps.

* `Path`: a sequence of costs during which no other thread can notice where in it this thread is.
* `Lock`, `Unlock`: the BQL.
* `Check`: vcpu_enter_guest looks at what is pending for the vCPU.
* `Spin`: a spinlock of the guest, taken in non-root mode.
* `Block`: the thread waits until another wakes it.
* `SYNC`: everything yielded before has been spent when the function goes on. Paths alone do not promise that: their
  costs are collected and spent together at the next step of another kind. (`Lock` and the others promise it too.)
* `RESCHED`: a thread that was preempted in the guest, now out of it, lets others have its CPU (schedule).
* `Call`, `LEAVE`: run another function, as ``yield from`` does; come back from it in the middle.
* `Run`: many port accesses at once, each the recorded steps of one round trip (`Template`).
"""

from collections.abc import Callable, Generator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias, TypeVar

from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import Cost, Profile
from iosim.model.stages import Stage

T = TypeVar("T")
Steps: TypeAlias = Generator[Any, Any, T]
"""A function of the path: it yields steps, is sent what they result in, and returns a T."""


class Op(IntEnum):
    """What one item of a template does. Only SPEND takes time."""

    SPEND = 0
    LOCK = 1
    UNLOCK = 2
    CHECK = 3
    DEVICE = 4
    EXIT = 5
    USERSPACE = 6
    ENTRY = 7
    IRQ_LINE = 8
    SUBMIT = 9


class Mode(IntEnum):
    """Where the vCPU is while a cost is spent, as a kick sees it."""

    ROOT = 0
    ENTERING = 1
    """Behind the last look at pending requests, not yet in the guest: a kick takes effect at the end of the entry."""
    GUEST = 2
    """Non-root mode: a kick ends it at once."""


class Item(NamedTuple):
    """One primitive: a cost spent in *function* and charged to *stage*, or (other ops) an action without time."""

    op: Op
    stage: Stage
    function: str
    cost: Cost | None
    mode: Mode


def action(op: Op) -> Item:
    """Return the item of an action without time."""
    return Item(op, Stage.GUEST_RUN, "", None, Mode.ROOT)


class Path:
    """A sequence of costs, bound to a profile, with tracepoints (EXIT, ENTRY) between them.

    `total_ns` and `by_stage` are known in advance if all costs are constant; otherwise `total_ns` is None. `mode` is
    that of its costs, of the last ones if it is joined of several. `actions` are the tracepoints and when they are
    passed, for constant costs. `followed` are the paths that it has been joined to, `last` and `after` those of the
    last time.
    """

    __slots__ = (
        "_delivered",
        "actions",
        "after",
        "by_stage",
        "followed",
        "in_guest",
        "items",
        "last",
        "mode",
        "total_ns",
    )

    exits = userspace_exits = irq_lines = 0

    def __init__(self, items: Sequence[Item], mode: Mode = Mode.ROOT) -> None:
        self.items: tuple[Item, ...] = tuple(items)
        self.mode = mode
        self.total_ns, self.by_stage = sum_of(self.items)
        self.in_guest = mode is Mode.GUEST
        self.actions = actions_of(self.items)
        self.followed: dict[Path, Path] = {}
        self.last: Path | None = None
        self.after: Path = self
        self._delivered: Path | None = None

    def delivered(self) -> "Path":
        """Return this path with all its costs in the stage irq_delivery. Made once."""
        if self._delivered is None:
            self._delivered = Path([item._replace(stage=Stage.IRQ_DELIVERY) for item in self.items], self.mode)
        return self._delivered

    def then(self, other: "Path") -> "Path":
        """Return the path through this one and *other*; its mode is that of *other*. Made once."""
        joined = self.followed.get(other)
        if joined is None:
            joined = self.followed[other] = Path((*self.items, *other.items), other.mode)
        self.last = other
        self.after = joined
        return joined


def sum_of(items: Sequence[Item]) -> tuple[int | None, tuple[tuple[int, int], ...]]:
    """Return the total in ns (None unless all costs are constant) and ((stage, ns) ...) of the items."""
    total = 0
    by_stage: dict[int, int] = {}
    for item in items:
        if item.op is not Op.SPEND:
            continue
        assert item.cost is not None
        if item.cost.ns is None:
            return None, ()
        total += item.cost.ns
        by_stage[item.stage] = by_stage.get(item.stage, 0) + item.cost.ns
    return total, tuple((stage, ns) for stage, ns in by_stage.items() if ns)


def actions_of(items: Sequence[Item]) -> tuple[tuple[Op, int], ...]:
    """Return (op, ns from the begin) of the items without time, where costs are constant."""
    actions = []
    at = 0
    for item in items:
        if item.cost is None:
            actions.append((item.op, at))
        else:
            at += item.cost.ns or 0
    return tuple(actions)


class Binder:
    """Turns cost keys into the paths of one profile; equal requests give the same object."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._paths: dict[tuple[object, ...], Path] = {}

    def path(
        self, *keys: "str | tuple[str, str] | Delay | Op", mode: Mode = Mode.ROOT, stage: Stage | None = None
    ) -> Path:
        """Return the path through *keys*: a cost key, (cost key, function that spends it here), a fixed delay, an op.

        *stage* overrides the stages of the catalogue: an IRQ-line ioctl on behalf of a register access is
        `qemu_dispatch`, the same ioctl on behalf of a completion is `completion`.
        """
        name = (keys, mode, stage)
        if name not in self._paths:
            self._paths[name] = Path([self._item(key, mode, stage) for key in keys], mode)
        return self._paths[name]

    def repeated(self, key: str, n: int) -> Path:
        """Return the path that spends *key* *n* times: once for each page, item or sector."""
        name = ("repeated", key, n)
        if name not in self._paths:
            self._paths[name] = Path([self._item(key, Mode.ROOT, None)] * n)
        return self._paths[name]

    def _item(self, key: "str | tuple[str, str] | Delay | Op", mode: Mode, stage: Stage | None) -> Item:
        if isinstance(key, Op):
            return action(key)
        if isinstance(key, Delay):
            return Item(Op.SPEND, stage or Stage.GUEST_RUN, key.function, Cost(key.function, key.ns), mode)
        name, function = key if isinstance(key, tuple) else (key, CATALOGUE[key].function)
        return Item(
            Op.SPEND, CATALOGUE[name].stage if stage is None else stage, function, self.profile.cost(name), mode
        )


class Delay(NamedTuple):
    """A delay that is written in the source of a driver (udelay, ndelay), not a cost of the host."""

    ns: int
    function: str


_ALONE = (Op.SPEND, Op.USERSPACE, Op.ENTRY, Op.IRQ_LINE)
"""What an item may do without anybody else noticing, and without the access it belongs to being named."""


class Template:
    """The steps of a round trip, recorded by running the functions of the path once (`iosim.qemu.templates`).

    A round trip is *whole* (from the guest back into the guest), or the front or the back of one, on either side of
    something that others see (a submission, the sleep in HLT). `variable` are the positions of items whose cost is
    drawn. `kind` names the access, for the log of port accesses. `starts_in_root`: it begins behind an exit, so what
    became pending since then is found by its first look at requests.
    """

    __slots__ = (
        "_stretches",
        "actions",
        "by_stage",
        "const_ns",
        "exit_range",
        "exits",
        "hold_ns",
        "holds",
        "irq_lines",
        "items",
        "kind",
        "starts_in_root",
        "takes_lock",
        "total_ns",
        "userspace_exits",
        "variable",
        "whole",
    )

    def __init__(self, items: Sequence[Item], kind: "AccessKind | None" = None) -> None:
        self.items: tuple[Item, ...] = tuple(items)
        self.kind = kind
        self._stretches: list[tuple[int, Path] | None] = [None] * len(self.items)
        self.total_ns, self.by_stage = sum_of(self.items)
        self.variable = tuple(i for i, item in enumerate(self.items) if item.cost is not None and item.cost.ns is None)
        self.const_ns = sum(item.cost.ns or 0 for item in self.items if item.cost is not None)
        self.actions = actions_of(self.items)
        self.starts_in_root = self.items[:1] != () and self.items[0].mode is Mode.ROOT
        self.exits = self._count(Op.EXIT)
        self.userspace_exits = self._count(Op.USERSPACE)
        self.irq_lines = self._count(Op.IRQ_LINE)
        self.takes_lock = self._count(Op.LOCK) + self._count(Op.UNLOCK) > 0
        self.whole = self.exits == self._count(Op.ENTRY) and self._count(Op.LOCK) == self._count(Op.UNLOCK)
        self.holds = self._pairs(Op.LOCK, Op.UNLOCK) if self.whole else ()
        self.exit_range = self._pairs(Op.EXIT, Op.ENTRY)[0] if self.whole and self.exits else (0, 0)
        self.hold_ns = sum(self.between(lock, unlock) for lock, unlock in self.holds)

    def between(self, first: int, last: int) -> int:
        """Return the constant costs in ns of the items from *first* up to, not including, *last*."""
        return sum(item.cost.ns or 0 for item in self.items[first:last] if item.cost is not None)

    def stretch(self, first: int) -> "tuple[int, Path]":
        """Return (last + 1, path) of the items from *first* on that are spent in root mode without a look at others."""
        known = self._stretches[first]
        if known is None:
            last = first
            while last < len(self.items) and self.items[last].op in _ALONE and self.items[last].mode is not Mode.GUEST:
                last += 1
            known = self._stretches[first] = (last, Path(self.items[first:last], self.items[last - 1].mode))
        return known

    def _count(self, op: Op) -> int:
        return sum(item.op is op for item in self.items)

    def _pairs(self, begin: Op, end: Op) -> tuple[tuple[int, int], ...]:
        """Return the index pairs of the items between which the lock is held."""
        starts = [i for i, item in enumerate(self.items) if item.op is begin]
        ends = [i for i, item in enumerate(self.items) if item.op is end]
        return tuple(zip(starts, ends, strict=True))


class AccessKind(NamedTuple):
    """What a port access looks like from outside: port, direction, width in bytes, items in one exit."""

    port: int
    write: bool
    width: int
    items: int
    string: bool


class Segment(NamedTuple):
    """*n* accesses in a row that follow the same template."""

    template: Template
    n: int


class Run:
    """A run of port accesses that nobody else can touch, to be executed as one event.

    `total_ns` and `by_stage` as in `Path`; the counts are sums over the whole round trips, `actions` are what the
    others do without time: (op, ns from the begin, access), for constant costs. *poll* is given for a loop that reads
    a register until it changes: the run is that many reads that find nothing, and reading again (`poll`) tells what a
    read finds that was broken off. `plan`, `pattern` and `tally` are where who executes the run keeps how its drawn
    costs lie, when it holds the mutex, and how often it has been executed.
    """

    __slots__ = (
        "actions",
        "by_stage",
        "const_ns",
        "exits",
        "followed",
        "hold_ns",
        "irq_lines",
        "pattern",
        "plan",
        "poll",
        "segments",
        "starts_in_root",
        "tails",
        "takes_lock",
        "tally",
        "total_ns",
        "userspace_exits",
    )

    def __init__(self, segments: Sequence[Segment], poll: Callable[[], int] | None = None) -> None:
        self.segments: tuple[Segment, ...] = tuple(segments)
        self.poll = poll
        self.plan: Any = None
        self.pattern: Any = None
        self.tally: Any = None
        self.tails: dict[int, Run] = {}
        self.followed: dict[Run, Run] = {}
        self.starts_in_root: bool = bool(segments) and segments[0].template.starts_in_root
        self.total_ns: int | None = 0
        stages: dict[int, int] = {}
        for template, n in segments:
            if template.total_ns is None or self.total_ns is None:
                self.total_ns = None
                continue
            self.total_ns += template.total_ns * n
            for stage, ns in template.by_stage:
                stages[stage] = stages.get(stage, 0) + ns * n
        self.by_stage = () if self.total_ns is None else tuple(stages.items())
        whole = [segment for segment in segments if segment.template.whole]
        self.exits: int = sum(template.exits * n for template, n in whole)
        self.userspace_exits: int = sum(template.userspace_exits * n for template, n in whole)
        self.irq_lines: int = sum(template.irq_lines * n for template, n in whole)
        self.hold_ns: int = sum(template.hold_ns * n for template, n in whole)
        self.takes_lock: bool = any(template.takes_lock for template, _ in segments)
        actions: list[tuple[Op, int, AccessKind | None]] = []
        start = 0
        for template, n in segments:
            if not template.whole:
                assert n == 1
                actions += [
                    (op, start + at, template.kind)
                    for op, at in template.actions
                    if op is not Op.CHECK and op is not Op.DEVICE
                ]
            start += template.const_ns * n
        self.const_ns = start
        self.actions: tuple[tuple[Op, int, AccessKind | None], ...] = tuple(actions)

    def tail(self, segment: int) -> "Run":
        """Return the run of what remains from *segment* on. Made once."""
        tail = self.tails.get(segment)
        if tail is None:
            tail = self.tails[segment] = Run(self.segments[segment:])
        return tail

    def then(self, other: "Run") -> "Run":
        """Return the run of the accesses of this one and *other*. Made once."""
        joined = self.followed.get(other)
        if joined is None:
            joined = self.followed[other] = Run((*self.segments, *other.segments))
        return joined


class Lock:
    """Take the mutex; results in (asked_ns, got_ns, running again with a CPU, ns)."""

    __slots__ = ("mutex",)

    def __init__(self, mutex: Any) -> None:
        self.mutex = mutex


class Spin:
    """Take the guest's spinlock, spinning in guest mode; results in None, or in this step again if a kick came."""

    __slots__ = ("lock",)

    def __init__(self, lock: Any) -> None:
        self.lock = lock


class Unlock:
    """Release the mutex; the first waiter has it from this instant."""

    __slots__ = ("mutex",)

    def __init__(self, mutex: Any) -> None:
        self.mutex = mutex


class Check:
    """Look at what is pending for the vCPU; results in whether anything is."""

    __slots__ = ("vcpu",)

    def __init__(self, vcpu: Any) -> None:
        self.vcpu = vcpu


class Block:
    """Wait until another thread calls `wake`, or until `until_ns`.

    *then*, called at that moment, returns the path of the wake-up itself, which the thread spends before it goes on;
    with `host.cpus` it is called before the thread has a CPU. A halted vCPU may poll for `poll_ns` on the CPU that it
    leaves.
    """

    __slots__ = ("poll_ns", "then", "until_ns")

    def __init__(self, until_ns: int | None = None, then: "Callable[[], Path | None] | None" = None) -> None:
        self.until_ns = until_ns
        self.then = then
        self.poll_ns = 0


class Call:
    """Run *steps* and go on with what they return.

    The same as ``yield from``, without every step passing through all callers. If the steps yield `LEAVE`, the caller
    goes on with LEAVE as the result; they can be called again later, by any thread (a coroutine).
    """

    __slots__ = ("steps",)

    def __init__(self, steps: "Steps[Any]") -> None:
        self.steps = steps


class Leave:
    """Go back to the caller in the middle (`Call`)."""


LEAVE = Leave()


class Sync:
    """What follows looks at, or touches, what other threads see: the costs yielded so far are spent first."""


SYNC = Sync()


class Resched:
    """need_resched is set: let the next thread have the CPU, if one still waits for it."""


RESCHED = Resched()
