"""The in-kernel interrupt controllers as far as IDE uses them: KVM_IRQ_LINE and edge-triggered lines.

QEMU 1.6 makes one ioctl per level change (kvm_pc_gsi_handler), QEMU 5.0 and later two identical ones (gsi_handler
falls through from the i8259 to the IOAPIC; commit 64c033badd). Only the first can be an edge.
"""

from collections.abc import Callable
from typing import Any

from iosim.model.records import Request
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Op, Steps

N_LINES = 64
"""GSIs below this are lines, from it on messages."""


class Irq:
    """A raised interrupt on its way to the guest: its GSI, and the request that waits for it."""

    __slots__ = ("gsi", "queued_behind", "request")

    def __init__(self, gsi: int, request: Request | None) -> None:
        self.gsi = gsi
        self.request = request
        self.queued_behind = False


class IrqChip:
    """Levels of the lines and the vCPU that takes them; a 0 -> 1 change is an interrupt, a high line stays silent."""

    def __init__(self, binder: Binder, ioctls_per_change: int) -> None:
        self.ioctls_per_change = ioctls_per_change
        self.vcpu: Any = None
        self.masked: set[int] = set()
        """Lines whose interrupts the guest does not want."""
        self._level = [0] * N_LINES
        self._lower_path = binder.path(Op.IRQ_LINE, "kvm.irq_line", stage=Stage.QEMU_DISPATCH)
        self._raise_path = binder.path(Op.IRQ_LINE, "kvm.irq_line")
        self._again_path = binder.path("kvm.irq_line")
        self._raise_edge_path = binder.path(Op.IRQ_LINE, "kvm.irq_line", "kvm.deliver_edge")

    def kvm_set_irq(self, gsi: int, level: int) -> bool:
        """Set the line and tell whether that is an edge."""
        edge = level == 1 and self._level[gsi] == 0 and gsi not in self.masked
        self._level[gsi] = level
        return edge

    def reset(self) -> None:
        """All lines are low."""
        for gsi in range(N_LINES):
            self._level[gsi] = 0

    def lower(self) -> Steps[None]:
        """The ioctls of qemu_irq_lower, made by a vCPU within a register access; the level is set by the device."""
        for _ in range(self.ioctls_per_change):
            yield self._lower_path

    def raise_line(self, gsi: int, request: Request | None, left: Callable[[], None]) -> Steps[bool]:
        """The ioctls of qemu_irq_raise for *request*; *left* is called when the interrupt is on its way.

        Returns whether it is one: a line that is high already makes none.

        1. the first ioctl: kvm_set_irq; on an edge __apic_accept_irq and the kick;
        2. the second one, if there is one, finds the line high.
        """
        edge = self.kvm_set_irq(gsi, 1)
        yield self._raise_edge_path if edge else self._raise_path
        yield SYNC
        left()
        if edge:
            if request is not None:
                request.irqs += 1
            self.vcpu.accept_irq(Irq(gsi, request))
        for _ in range(1, self.ioctls_per_change):
            if request is not None:
                request.irq_line_ioctls += 1
            yield self._again_path
        return edge
