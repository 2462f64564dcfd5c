"""The split virtqueue as driver and device share it: entries, indices, and who wants to be told (Virtio 1.0, 2.4).

Pure state, without time. Indices run modulo 65536. With VIRTIO_RING_F_EVENT_IDX each side says at which index of the
other it wants the next notification (`avail_event`, `used_event`); without, by a flag.
"""

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from iosim.model.records import Request

_MASK = 0xFFFF


def vring_need_event(event_idx: int, new: int, old: int) -> bool:
    """Tell whether moving an index from *old* to *new* passes *event_idx*."""
    return (new - event_idx - 1) & _MASK < (new - old) & _MASK


class Holder(Protocol):
    """Whoever carries a request while it is on the ring."""

    def let_go(self, request: Request) -> None:
        """Somebody else has *request* from this instant on."""


class Where(IntEnum):
    """Where an element is."""

    DRIVER = 0
    AVAIL = 1
    DEVICE = 2
    USED = 3


class Element:
    """One block request on the ring (virtblk_req, VirtIOBlockReq): a guest's request, or one part of it.

    `rest` is the part that follows once this one is done. `holder` carries the guest's request, None while it waits.
    """

    __slots__ = ("holder", "op", "request", "rest", "ret", "sector", "sectors", "where")

    def __init__(self, request: Request, op: str, sector: int, sectors: int) -> None:
        self.request = request
        self.op = op
        self.sector = sector
        self.sectors = sectors
        self.rest: Element | None = None
        self.ret = 0
        self.where = Where.DRIVER
        self.holder: Holder | None = None

    def take(self, holder: Holder | None) -> None:
        """*holder* carries the request from this instant on; whoever did lets go."""
        before, self.holder = self.holder, holder
        if before is not None and before is not holder:
            before.let_go(self.request)


class Vring:
    """One virtqueue with *num* entries; a request takes one of them (indirect descriptors hold its segments).

    `watch`, set while the device polls the ring, is called when an element becomes available.
    """

    def __init__(self, num: int, event_idx: bool) -> None:
        self.num = num
        self.event_idx = event_idx
        self.avail: deque[Element] = deque()
        self.used: deque[Element] = deque()
        self.watch: Callable[[Request], None] | None = None
        self.notification = True
        self._no_notify = False
        self.reset()

    def reset(self) -> None:
        """The VM begins or is reset: nothing is on the ring, every index is 0. Whether the device polls, stays."""
        self.avail.clear()
        self.used.clear()
        self.n_in_use = 0
        self._avail_idx = self._used_idx = 0
        self._avail_event = self._used_event = 0
        self._num_added = 0
        self._no_interrupt = False
        self._last_avail = self._last_used = 0
        self._signalled_used = 0

    # The driver's side (drivers/virtio/virtio_ring.c)

    @property
    def full(self) -> bool:
        """Whether no entry is free."""
        return self.n_in_use == self.num

    def add(self, element: Element) -> None:
        """virtqueue_add: make the element available."""
        assert not self.full
        element.where = Where.AVAIL
        self.avail.append(element)
        self.n_in_use += 1
        self._avail_idx = (self._avail_idx + 1) & _MASK
        self._num_added += 1
        if self.watch is not None:
            self.watch(element.request)

    def kick_prepare(self) -> bool:
        """virtqueue_kick_prepare: tell whether the device wants to be told of what was added since the last call."""
        old, self._num_added = (self._avail_idx - self._num_added) & _MASK, 0
        if self.event_idx:
            return vring_need_event(self._avail_event, self._avail_idx, old)
        return not self._no_notify

    def disable_cb(self) -> None:
        """virtqueue_disable_cb: no interrupts, please. With event indices the device keeps to `used_event`."""
        self._no_interrupt = True

    def enable_cb(self) -> bool:
        """virtqueue_enable_cb: interrupt for the next used element; False if there is one already."""
        self._no_interrupt = False
        self._used_event = self._last_used
        return not self.used

    def get_buf(self) -> Element | None:
        """virtqueue_get_buf: take the oldest used element back."""
        if not self.used:
            return None
        element = self.used.popleft()
        element.where = Where.DRIVER
        self._last_used = (self._last_used + 1) & _MASK
        self.n_in_use -= 1
        return element

    # The device's side (hw/virtio/virtio.c)

    def set_notification(self, enable: bool) -> None:
        """virtio_queue_set_notification. Disabled, `avail_event` stays where it was: the driver may pass it once."""
        self.notification = enable
        if not self.event_idx:
            self._no_notify = not enable
        elif enable:
            self._avail_event = self._avail_idx

    def pop(self) -> Element | None:
        """virtqueue_pop: take the oldest available element."""
        if not self.avail:
            return None
        element = self.avail.popleft()
        element.where = Where.DEVICE
        self._last_avail = (self._last_avail + 1) & _MASK
        if self.event_idx and self.notification:
            self._avail_event = self._last_avail
        return element

    def push(self, element: Element) -> None:
        """virtqueue_push: give the element back."""
        element.where = Where.USED
        self.used.append(element)
        self._used_idx = (self._used_idx + 1) & _MASK

    def should_notify(self) -> bool:
        """virtio_should_notify: tell whether the driver wants to be told of what was pushed since the last call."""
        if not self.event_idx:
            return not self._no_interrupt
        old, self._signalled_used = self._signalled_used, self._used_idx
        return vring_need_event(self._used_event, self._used_idx, old)
