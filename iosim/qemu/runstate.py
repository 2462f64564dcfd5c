"""Whether a VM runs: vm_stop and vm_start (softmmu/runstate.c and cpus.c of 7.2; vl.c and cpus.c of 1.6)."""

from collections.abc import Callable, Iterable
from typing import Protocol

from iosim.host import Host
from iosim.model.records import Request
from iosim.model.stages import Stage

_STANDS_STILL = (Stage.GUEST_QUEUE, Stage.IRQ_DELIVERY)
"""What a request can wait for that does not go on while no vCPU runs."""


class StoppableCpu(Protocol):
    """What pause_all_vcpus and resume_all_vcpus need of a vCPU."""

    parked: bool

    def pause(self) -> None:
        """Leave the guest and wait."""

    def resume(self) -> None:
        """Go on, unless there is another reason to wait."""

    def pause_for_good(self) -> None:
        """Leave the guest and wait until a reset."""

    def request_reset(self) -> None:
        """Leave the guest and end it."""


class RunState:
    """Running or stopped. A stop takes effect on each vCPU when its KVM_RUN returns EINTR and it waits (`parked`).

    The disk, the pool and the main loop go on with what is in flight. The time of a request that waits for a vCPU is
    `paused` from the instant on at which all of them wait. *waiting*: the requests that are under way; *note*: told of
    (event, request, why).
    """

    def __init__(self, host: Host) -> None:
        self.running = True
        self.note: Callable[[str, Request | None, str], None] = lambda event, request, why: None
        self.waiting: Callable[[], Iterable[Request]] = lambda: ()
        self.on_parked: Callable[[], None] = lambda: None
        self.on_stopped: Callable[[], None] = lambda: None
        self._host = host
        self._cpus: list[StoppableCpu] = []
        self._handlers: list[Callable[[], None]] = []
        self._still_since_ns: int | None = None

    def add_cpu(self, cpu: StoppableCpu) -> None:
        """Register a vCPU."""
        self._cpus.append(cpu)

    def add_vm_change_state_handler(self, handler: Callable[[], None]) -> None:
        """Have *handler* called when the VM goes on."""
        self._handlers.append(handler)

    def all_parked(self) -> bool:
        """Tell whether no vCPU is on its way."""
        return all(cpu.parked for cpu in self._cpus)

    def cpu_parked(self) -> None:
        """A vCPU waits outside of KVM_RUN."""
        if not self.running and self.all_parked():
            self._still_since_ns = self._host.now_ns
        self.on_parked()

    def vm_stop(self, why: str) -> None:
        """Stop all vCPUs; nothing if they are stopped already."""
        if not self.running:
            return
        self.running = False
        self.note("stop", None, why)
        for cpu in self._cpus:
            cpu.pause()
        if self.all_parked():
            self._still_since_ns = self._host.now_ns
        self.on_stopped()

    def pause_for_good(self) -> None:
        """The guest has ended: no vCPU enters it again."""
        for cpu in self._cpus:
            cpu.pause_for_good()

    def request_reset(self) -> None:
        """qemu_system_reset_request by the monitor: the guest ends once the first vCPU is out of KVM_RUN."""
        for cpu in self._cpus:
            cpu.request_reset()

    def vm_start(self, why: str) -> None:
        """Let the VM go on: devices repeat what has failed, then the vCPUs run."""
        if self.running:
            return
        self.note("cont", None, why)
        self.settle(self._host.now_ns)
        self._still_since_ns = None
        self.running = True
        for handler in self._handlers:
            handler()
        for cpu in self._cpus:
            cpu.resume()

    def settle(self, now_ns: int) -> None:
        """Charge what stands still because the VM is stopped."""
        if self._still_since_ns is None:
            return
        for request in self.waiting():
            if request.waiting in _STANDS_STILL:
                request.charge(request.waiting, self._still_since_ns, request.carrier)
                request.charge(Stage.PAUSED, now_ns, request.carrier)
