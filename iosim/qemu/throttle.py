"""The limits of a drive: iops and bandwidth, with bursts (block.c of 1.6; util/throttle.c, throttle-groups.c of 7.2).

All arithmetic is in integers: QEMU's doubles without their rounding.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from iosim.host import Host, Level
from iosim.model.records import WRITE, Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Steps
from iosim.model.units import SECTOR_BYTES
from iosim.qemu.coroutine import Coroutine
from iosim.qemu.coroutine_lock import CoQueue
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.versions import QemuVersion

SECOND_NS = 1_000_000_000
BLOCK_IO_SLICE_NS = 100_000_000
TOTAL, READ_SIDE, WRITE_SIDE = "total", "read", "write"


class Limit(NamedTuple):
    """One limit: *avg* units per second; *max* per second in a burst (0: none), for up to *burst_length* seconds."""

    avg: int
    max: int = 0
    burst_length: int = 1


class ThrottleConfig(NamedTuple):
    """ThrottleConfig: limits of bytes and of operations by side, and the bytes that count as one operation (0: any)."""

    bps: dict[str, Limit]
    iops: dict[str, Limit]
    op_size: int = 0


def side(op: str) -> str:
    """Return the side that an operation belongs to."""
    return WRITE_SIDE if op == WRITE else READ_SIDE


# 7.2


class LeakyBucket:
    """LeakyBucket: what has gone through and has not leaked yet, in units times *scale*.

    It leaks *avg* units a second. A request has to wait while the level is above the size of the bucket: a tenth of a
    second at *avg*, or the whole burst. In a burst of several seconds a second level holds the rate at *max*.
    """

    def __init__(self, limit: Limit, scale: int) -> None:
        self._limit = limit
        self._scale = scale
        self.level = 0
        self.burst_level = 0

    def leak(self, delta_ns: int) -> None:
        """throttle_leak_bucket."""
        per_ns = self._scale // SECOND_NS
        self.level = max(self.level - self._limit.avg * delta_ns * per_ns, 0)
        if self._limit.burst_length > 1:
            self.burst_level = max(self.burst_level - self._limit.max * delta_ns * per_ns, 0)

    def account(self, scaled_units: int) -> None:
        """throttle_account, for this bucket."""
        self.level += scaled_units
        if self._limit.burst_length > 1:
            self.burst_level += scaled_units

    def compute_wait(self) -> int:
        """throttle_compute_wait: how many ns the next request has to wait."""
        limit, scale = self._limit, self._scale
        size = limit.max * limit.burst_length * scale if limit.max else limit.avg * scale // 10
        if self.level > size:
            return (self.level - size) * SECOND_NS // (limit.avg * scale)
        if limit.burst_length > 1 and self.burst_level > limit.max * scale // 10:
            return (self.burst_level - limit.max * scale // 10) * SECOND_NS // (limit.max * scale)
        return 0


class ThrottleState:
    """ThrottleState: a bucket for each limit; those of the total see reads and writes."""

    def __init__(self, config: ThrottleConfig) -> None:
        self._op_size = config.op_size
        self._op_scale = SECOND_NS * max(config.op_size, 1)
        self._bytes = {which: LeakyBucket(limit, SECOND_NS) for which, limit in config.bps.items()}
        self._ops = {which: LeakyBucket(limit, self._op_scale) for which, limit in config.iops.items()}
        self._previous_leak_ns = 0

    def compute_timer(self, which: str, now_ns: int) -> int:
        """throttle_compute_timer: let the buckets leak, return how many ns a request of this side has to wait."""
        delta = now_ns - self._previous_leak_ns
        self._previous_leak_ns = now_ns
        for buckets in (self._bytes, self._ops):
            for bucket in buckets.values():
                bucket.leak(delta)
        return max((bucket.compute_wait() for bucket in self._of(which)), default=0)

    def account(self, which: str, n_bytes: int) -> None:
        """throttle_account: a request of *n_bytes* goes through."""
        units = self._op_scale
        if self._op_size and n_bytes > self._op_size:
            units = self._op_scale * n_bytes // self._op_size
        for name in (TOTAL, which):
            if name in self._bytes:
                self._bytes[name].account(n_bytes * SECOND_NS)
            if name in self._ops:
                self._ops[name].account(units)

    def _of(self, which: str) -> list[LeakyBucket]:
        return [buckets[name] for buckets in (self._bytes, self._ops) for name in (TOTAL, which) if name in buckets]


# 1.6


class SliceState:
    """The limits of 1.6: what was submitted in a slice of time, which grows while it is exceeded."""

    def __init__(self, config: ThrottleConfig) -> None:
        self._config = config
        self._start_ns = 0
        self._end_ns = -1
        self._bytes = {READ_SIDE: 0, WRITE_SIDE: 0}
        self._ops = {READ_SIDE: 0, WRITE_SIDE: 0}

    def exceed_io_limits(self, which: str, n_bytes: int, now_ns: int) -> int | None:
        """bdrv_exceed_io_limits: None if the request goes through, and is charged; else how many ns it waits."""
        if now_ns > self._end_ns:
            self._start_ns = now_ns
            self._end_ns = now_ns + BLOCK_IO_SLICE_NS
            self._bytes = {READ_SIDE: 0, WRITE_SIDE: 0}
            self._ops = {READ_SIDE: 0, WRITE_SIDE: 0}
        elapsed = now_ns - self._start_ns
        bps_wait = self._exceed(self._config.bps, self._bytes, which, n_bytes, elapsed)
        if bps_wait is not None:
            self._end_ns += -(-bps_wait // BLOCK_IO_SLICE_NS) * BLOCK_IO_SLICE_NS
        iops_wait = self._exceed(self._config.iops, self._ops, which, 1, elapsed)
        if iops_wait is not None:
            self._end_ns += BLOCK_IO_SLICE_NS
        if bps_wait is None and iops_wait is None:
            self._bytes[which] += n_bytes
            self._ops[which] += 1
            return None
        wait = max(bps_wait or 0, iops_wait or 0)
        self._end_ns = max(self._end_ns, now_ns + wait)
        return wait

    def _exceed(
        self, limits: dict[str, Limit], submitted: dict[str, int], which: str, units: int, elapsed_ns: int
    ) -> int | None:
        """bdrv_exceed_bps_limits, bdrv_exceed_iops_limits: a limit of the total hides those of the sides."""
        limit = limits.get(TOTAL) or limits.get(which)
        if limit is None:
            return None
        total = units + (sum(submitted.values()) if TOTAL in limits else submitted[which])
        if total * SECOND_NS <= limit.avg * (self._end_ns - self._start_ns):
            return None
        return max(total * SECOND_NS // limit.avg - elapsed_ns, 0)


# The drive


class Throttle(Protocol):
    """What holds reads and writes of a drive back, and counts those that it holds."""

    held: Level
    queue: Level

    def intercept(self, coroutine: Coroutine, request: Request, op: str, sectors: int) -> Steps[None]:
        """Hold the request back until the limits let it through, and charge it to them."""


class _Held:
    """Queues of requests that are held back, and the timer that enters the first of a queue in the main loop."""

    def __init__(self, host: Host, binder: Binder, main_loop: MainLoop, name: str, entry: str, timer: str) -> None:
        self.held = Level(host.timeline, f"{name}/throttle:busy")
        self.queue = Level(host.timeline, f"{name}/throttle:queue")
        self.host = host
        self.main_loop = main_loop
        self._entry = entry
        self.intercepted = binder.path(("qemu.throttle", entry))
        self.timer = binder.path(("main_loop.throttle_timer", timer))

    def new_queue(self) -> CoQueue:
        return CoQueue(self.host, Stage.THROTTLE_WAIT, self.main_loop.thread.name, self.queue, self._entry)

    def note(self, waiting: int) -> None:
        """The resource is busy while anything waits."""
        self.held.set(self.host.now_ns, int(waiting > 0))


class GroupThrottle:
    """The limits of 7.2: a first-in-first-out queue and a timer for each side (a throttle group of one drive)."""

    def __init__(self, host: Host, binder: Binder, main_loop: MainLoop, name: str, config: ThrottleConfig) -> None:
        entry = "throttle_group_co_io_limits_intercept"
        self._parts = _Held(host, binder, main_loop, name, entry, "timer_cb")
        self.held, self.queue = self._parts.held, self._parts.queue
        self._state = ThrottleState(config)
        self._throttled: dict[str, CoQueue] = {READ_SIDE: self._parts.new_queue(), WRITE_SIDE: self._parts.new_queue()}
        self._pending = {READ_SIDE: 0, WRITE_SIDE: 0}
        self._armed = {READ_SIDE: False, WRITE_SIDE: False}

    def intercept(self, coroutine: Coroutine, request: Request, op: str, sectors: int) -> Steps[None]:
        """throttle_group_co_io_limits_intercept: wait behind others of this side, or for the timer; then go through."""
        which = side(op)
        yield self._parts.intercepted
        yield SYNC
        if self._schedule_timer(which) or self._pending[which]:
            self._pending[which] += 1
            self._parts.note(sum(self._pending.values()))
            yield from self._throttled[which].wait(coroutine, request)
            self._pending[which] -= 1
            self._parts.note(sum(self._pending.values()))
        self._state.account(which, sectors * SECTOR_BYTES)
        if self._pending[which] and not self._schedule_timer(which):
            self._throttled[which].next(coroutine)

    def _schedule_timer(self, which: str) -> bool:
        """throttle_group_schedule_timer: tell whether a request has to wait; a timer is running then."""
        if self._armed[which]:
            return True
        now = self._parts.host.now_ns
        wait = self._state.compute_timer(which, now)
        if not wait:
            return False
        self._armed[which] = True
        self._parts.main_loop.timer_mod(now + wait, lambda: self._timer_cb(which))
        return True

    def _timer_cb(self, which: str) -> Steps[None]:
        """timer_cb: enter the first that waits."""
        self._armed[which] = False
        yield from _enter_first(self._parts, self._throttled[which])


class SliceThrottle:
    """The limits of 1.6: one first-in-first-out queue and one timer for the drive."""

    def __init__(self, host: Host, binder: Binder, main_loop: MainLoop, name: str, config: ThrottleConfig) -> None:
        self._parts = _Held(host, binder, main_loop, name, "bdrv_io_limits_intercept", "bdrv_block_timer")
        self.held, self.queue = self._parts.held, self._parts.queue
        self._state = SliceState(config)
        self._throttled: CoQueue = self._parts.new_queue()

    def intercept(self, coroutine: Coroutine, request: Request, op: str, sectors: int) -> Steps[None]:
        """bdrv_io_limits_intercept: wait behind others; then, at the head, until the slice has room."""
        yield self._parts.intercepted
        yield SYNC
        host = self._parts.host
        if len(self._throttled):
            yield from self._wait(coroutine, request, at_head=False)
        while (wait := self._state.exceed_io_limits(side(op), sectors * SECTOR_BYTES, host.now_ns)) is not None:
            self._parts.main_loop.timer_mod(host.now_ns + wait, self._timer_cb)
            yield from self._wait(coroutine, request, at_head=True)
        self._throttled.next(coroutine)

    def _wait(self, coroutine: Coroutine, request: Request, at_head: bool) -> Steps[None]:
        self._parts.note(len(self._throttled) + 1)
        yield from self._throttled.wait(coroutine, request, at_head)
        self._parts.note(len(self._throttled))

    def _timer_cb(self) -> Steps[None]:
        """bdrv_block_timer: enter the first that waits."""
        yield from _enter_first(self._parts, self._throttled)


def _enter_first(parts: _Held, queue: CoQueue) -> Steps[None]:
    """Enter the first coroutine of *queue* in the main loop."""
    coroutine, request = queue.pop()
    parts.main_loop.carry(request)
    yield parts.timer
    yield from coroutine.enter(parts.main_loop.thread)
    parts.main_loop.put_down()


def throttle(
    version: QemuVersion, host: Host, binder: Binder, main_loop: MainLoop, name: str, config: ThrottleConfig
) -> Throttle:
    """Return the limits as *version* implements them (leaky buckets since 1.7)."""
    made: Callable[..., Throttle] = SliceThrottle if version.cpu_io else GroupThrottle
    return made(host, binder, main_loop, name, config)
