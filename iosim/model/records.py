"""A guest request on its way: who has it, since when, and how much of its time each stage has taken."""

from operator import add
from typing import Any

from iosim.model.draws import Number64, Subject, identity
from iosim.model.native_code import apart
from iosim.model.stages import N_STAGES, Stage

READ, WRITE, FLUSH = "R", "W", "F"

OK, ERROR, UNFINISHED = "ok", "error", "unfinished"
STATUSES = (OK, ERROR, UNFINISHED)

NO_ERROR = ""
ERRORS = (NO_ERROR, "EIO", "ENOSPC", "reset", "internal-error", "aborted", "down")
"""Why a request failed: the disk's errno, what happened to the VM, or that it came while no VM was there."""

WAITING_FUNCTION: dict[Stage, str] = {
    Stage.GUEST_QUEUE: "blk_mq_sched_insert_request",
    Stage.BQL_WAIT: "qemu_mutex_lock_iothread",
    Stage.QEMU_SUBMIT: "qemu_co_mutex_lock",
    Stage.AIO_WAIT: "thread_pool_submit_aio",
    Stage.DISK_WAIT: "submit_bio",
    Stage.DISK_SERVICE: "submit_bio",
    Stage.COMPLETION_WAIT: "qemu_poll_ns",
    Stage.COMPLETION: "timer_mod",
    Stage.IRQ_DELIVERY: "kvm_vcpu_kick",
    Stage.CPU_WAIT: "schedule",
    Stage.SUBMIT_WAIT: "virtqueue_kick",
    Stage.THROTTLE_WAIT: "throttle_group_co_io_limits_intercept",
    Stage.DIRTY_WAIT: "balance_dirty_pages",
    Stage.PAUSED: "vm_stop",
}
"""Where a request waits while no thread runs for it: the function that stands behind it in a call chain."""


_NO_TIME = [0] * N_STAGES


class Spent:
    """What a request has spent with constant costs, part by part (`Path`, `Run`); requests that did the same share it.

    It is a tree: each node stands for the parts on the way from the `root` to it, of which `stages` (ns per stage) and
    the counts are the sums.
    """

    __slots__ = ("_after", "_behind", "_last", "_size", "exits", "irq_lines", "root", "stages", "userspace_exits")

    _MOST = 10_000

    def __init__(self, root: "Spent | None" = None) -> None:
        self.root: Spent = self if root is None else root
        self.stages: list[int] = _NO_TIME[:]
        self.exits = 0
        self.userspace_exits = 0
        self.irq_lines = 0
        self._last: Any = None
        self._after: Spent = self
        self._behind: dict[Any, Spent] = {}
        self._size = 1

    def then(self, part: Any) -> "Spent":
        """Return this with *part* behind it: mostly the same part as last time."""
        return self._after if part is self._last else self._find(part)

    @apart
    def _find(self, part: Any) -> "Spent":
        found = self._behind.get(part)
        if found is None:
            found = self._add(part)
        self._last = part
        self._after = found
        return found

    def _add(self, part: Any) -> "Spent":
        root = self.root
        if root._size == self._MOST:
            root._behind = {}
            root._last = None
            root._size = 1
        root._size += 1
        added = Spent(root)
        add_all(added.stages, self.stages)
        for stage, ns in part.by_stage:
            added.stages[stage] += ns
        added.exits = self.exits + part.exits
        added.userspace_exits = self.userspace_exits + part.userspace_exits
        added.irq_lines = self.irq_lines + part.irq_lines
        self._behind[part] = added
        return added


def add_all(to: list[int], more: list[int]) -> None:
    """Add *more* to the numbers in *to*, place by place; both are of the same length."""
    to[:] = map(add, to, more)


_NOTHING_SPENT = Spent()
"""For requests that nobody keeps a ledger of."""


class Request(Subject):
    """One request of a guest, from its arrival in the guest's block layer until the driver completes it.

    Whoever carries it charges the time since `mark_ns` to one stage and moves the mark: so the stages add up to the
    latency by construction. While no thread runs for it, `waiting` names the stage that the time will be charged to.
    What was spent with constant costs is kept in `spent` and added up at the end (`settle`). `error`
    is why it failed, or why its last attempt did. `log` collects what spans are made of; None if nobody will ask.
    """

    __slots__ = (
        "arrival_ns",
        "carrier",
        "done_ns",
        "drive",
        "elsewhere",
        "error",
        "exits",
        "following",
        "irq_line_ioctls",
        "irqs",
        "issue_ns",
        "log",
        "mark_ns",
        "number",
        "op",
        "sector",
        "sectors",
        "spent",
        "stages",
        "status",
        "userspace_exits",
        "vcpu",
        "waiting",
        "waits_at",
    )

    def __init__(
        self, identity_hash: Number64, drive: Any, number: int, op: str, sector: int, sectors: int, arrival_ns: int
    ) -> None:
        super().__init__(identity_hash)
        self.drive = drive
        self.number = number
        self.vcpu: int = 0 if drive is None else drive.vcpu_of(number)
        self.op = op
        self.sector = sector
        self.sectors = sectors
        self.arrival_ns = arrival_ns
        self.issue_ns = -1
        self.done_ns = -1
        self.mark_ns = arrival_ns
        self.waiting: Stage = Stage.GUEST_QUEUE
        self.carrier = ""
        self.waits_at = ""
        self.stages: list[int] = _NO_TIME[:]
        self.status = UNFINISHED
        self.error = NO_ERROR
        self.exits = 0
        self.userspace_exits = 0
        self.irqs = 0
        self.irq_line_ioctls = 0
        self.elsewhere: dict[int, Subject] | None = None
        self.spent: Spent = _NOTHING_SPENT
        self.log: list[tuple[Any, ...]] | None = []
        self.following: tuple[Request, list[int], int] | None = None

    def charge(self, stage: Stage, now_ns: int, thread: str, function: str = "") -> None:
        """Charge the time since the mark to *stage*, waited on behalf of *thread*, and move the mark to *now_ns*.

        *function* as in `wait_in`.
        """
        if now_ns > self.mark_ns:
            self.stages[stage] += now_ns - self.mark_ns
            if self.log is not None:
                self.log.append((self.mark_ns, thread, stage, now_ns, function or WAITING_FUNCTION.get(stage, "")))
            self.mark_ns = now_ns

    def on_vcpu(self, number: int) -> Subject:
        """Return who draws what vCPU *number* spends for the request.

        That is the request itself on its own vCPU. Another one may work for it at the same time, and so draws
        numbers of its own.
        """
        if self.drive is None or self.vcpu == number:
            return self
        if self.elsewhere is None:
            self.elsewhere = {}
        if number not in self.elsewhere:
            self.elsewhere[number] = Subject(identity(self.identity, number))
        return self.elsewhere[number]

    def settle(self) -> None:
        """Add up what was spent with constant costs, at the request's end."""
        spent = self.spent
        self.spent = spent.root
        add_all(self.stages, spent.stages)
        self.exits += spent.exits
        self.userspace_exits += spent.userspace_exits
        self.irq_line_ioctls += spent.irq_lines

    def wait_in(self, stage: Stage, carrier: str, function: str = "") -> None:
        """From here on no thread runs for the request; *carrier* has it, and the time is that of *stage*.

        *function* is where it waits, if that is not the one of `WAITING_FUNCTION`.
        """
        self.waiting = stage
        self.carrier = carrier
        self.waits_at = function

    def stop_waiting(self, now_ns: int) -> None:
        """Charge the wait that began with `wait_in`: nobody has to wake anybody for the request any more.

        One that follows another (`follow`) takes over what was charged to that.
        """
        if self.following is None:
            self.charge(self.waiting, now_ns, self.carrier, self.waits_at)
            self.carrier = ""
        else:
            self.following[0].stop_waiting(now_ns)
            self.part()

    def follow(self, leader: "Request") -> None:
        """From this instant on the request is part of one operation with *leader*: its time goes where leader's goes.

        Both have been charged up to now. Exits and interrupts are counted for the leader alone. What the leader does
        from here on is logged if this request's log is wanted.
        """
        leader.settle()
        if self.log is not None and leader.log is None:
            leader.log = []
        self.following = (leader, list(leader.stages), len(leader.log or ()))

    def part(self) -> None:
        """The common operation is over: its stages, as charged to the leader by now, are those of this request."""
        assert self.following is not None
        leader, before, logged = self.following
        leader.settle()
        self.following = None
        self.stages = [own + now - then for own, now, then in zip(self.stages, leader.stages, before, strict=True)]
        self.mark_ns = leader.mark_ns
        if self.log is not None and leader.log is not None:
            self.log += leader.log[logged:]
