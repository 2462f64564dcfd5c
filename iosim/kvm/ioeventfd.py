"""ioeventfd: a guest's write that the kernel turns into a signal, without an exit to userspace (virt/kvm/eventfd.c)."""

from collections.abc import Callable
from typing import TypeAlias

from iosim.host import HostThread
from iosim.model.draws import Subject
from iosim.model.stages import Stage
from iosim.model.steps import SYNC, Binder, Steps

Signal: TypeAlias = Callable[[Subject | None], None]
"""What eventfd_signal does to whoever waits for the eventfd; the subject draws the cost of the wake-up."""


class IoBus:
    """KVM_PIO_BUS or KVM_MMIO_BUS, as far as ioeventfds are on it: which address signals which eventfd."""

    def __init__(self, binder: Binder) -> None:
        self._signals: dict[int, Signal] = {}
        self._write = binder.path("kvm.ioeventfd_write")

    def assign(self, address: int, signal: Signal) -> None:
        """KVM_IOEVENTFD: a write to *address* is a signal."""
        self._signals[address] = signal

    def find(self, address: int) -> Signal | None:
        """Return the signal behind *address*, None if userspace has to take the write."""
        return self._signals.get(address)

    def ioeventfd_write(self, thread: HostThread, signal: Signal) -> Steps[None]:
        """kvm_io_bus_write, ioeventfd_write, eventfd_signal: from here on the request waits for the event loop.

        The vCPU's way back into the guest runs beside that, on nobody's account.
        """
        yield self._write
        yield SYNC
        request = thread.request
        if request is not None:
            thread.request = None
            request.wait_in(Stage.SUBMIT_WAIT, thread.name)
        signal(thread.owner)
