"""How a completion in QEMU becomes an interrupt of the guest: irqfd with an MSI, or an interrupt line (INTx)."""

from collections.abc import Callable
from typing import TypeAlias

from iosim.kvm.irqchip import Irq, IrqChip
from iosim.kvm.vcpu import Vcpu
from iosim.model.records import Request
from iosim.model.steps import SYNC, Binder, Op, Steps
from iosim.model.virtio import Element, Where

Left: TypeAlias = Callable[[], None]
"""Called when the interrupt is on its way: the thread carries the request no more."""

Target: TypeAlias = Callable[[], Vcpu]
"""The vCPU that the interrupt goes to."""


class IrqFd:
    """A guest notifier: an eventfd whose signal the kernel turns into an MSI, without an ioctl.

    event_notifier_set, eventfd_signal, irqfd_wakeup, kvm_set_msi, __apic_accept_irq. An MSI whose vector is pending
    in IRR already is no further interrupt.
    """

    is_irqfd = True

    def __init__(self, binder: Binder, gsi: int, target: Target) -> None:
        self._gsi = gsi
        self._target = target
        self._path = binder.path("kvm.irqfd_wakeup", "kvm.deliver_edge")

    def notify(self, element: Element, left: Left) -> Steps[None]:
        """Raise the interrupt for *element*; *left* is called when it is on its way."""
        yield self._path
        yield SYNC
        left()
        vcpu = self._target()
        if any(irq.gsi == self._gsi for irq in vcpu.irr):
            return
        request = waiting_request(element)
        if request is not None:
            request.irqs += 1
        vcpu.accept_irq(Irq(self._gsi, request))

    def acknowledge(self) -> Steps[None]:
        """An MSI needs no acknowledgement at the device."""
        yield from ()


class IntxLine:
    """The device's interrupt line: set_irq, the ioctls of `IrqChip`; the guest lowers it by reading the ISR status."""

    is_irqfd = False

    def __init__(self, binder: Binder, irqchip: IrqChip, gsi: int, target: Target) -> None:
        self._irqchip = irqchip
        self._gsi = gsi
        self._target = target
        self._first = binder.path("main_loop.pci_set_irq", Op.IRQ_LINE, "kvm.irq_line")
        self._again = binder.path("kvm.irq_line")
        self._edge = binder.path("kvm.deliver_edge")

    def notify(self, element: Element, left: Left) -> Steps[None]:
        """Raise the line for *element*, BQL held; a line that is high already stays silent.

        Further ioctls for the same change (QEMU 5.0 and later) find the line high.
        """
        yield self._first
        yield SYNC
        edge = self._irqchip.kvm_set_irq(self._gsi, 1)
        if edge:
            yield self._edge
        yield SYNC
        request = waiting_request(element)
        further = self._irqchip.ioctls_per_change - 1
        left()
        if request is not None:
            request.irq_line_ioctls += further
        if edge:
            if request is not None:
                request.irqs += 1
            self._target().accept_irq(Irq(self._gsi, request))
        for _ in range(further):
            yield self._again

    def acknowledge(self) -> Steps[None]:
        """virtio_pci_isr_read: the line falls."""
        self._irqchip.kvm_set_irq(self._gsi, 0)
        yield from self._irqchip.lower()


def waiting_request(element: Element) -> Request | None:
    """Return the request that waits for the interrupt; None if the driver has found the element meanwhile."""
    return element.request if element.where is Where.USED else None
