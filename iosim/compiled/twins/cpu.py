"""Twin of `iosim.guest.cpu`: most of what the guest's code yields is executed where it is yielded."""

from typing import Any

from iosim.compiled.native import is_process, take_steps
from iosim.compiled.twins.thread import HostThread
from iosim.guest import cpu
from iosim.kvm import Exit, Irq, Vcpu
from iosim.model.steps import Run, Steps


class GuestCpu(cpu.GuestCpu):
    """A vCPU whose thread takes the steps of the guest's code as `run` does.

    Not with posted interrupts, for which `run` looks before each step.
    """

    def run(self, vcpu: Vcpu) -> Steps[Exit | None]:
        """As the original."""
        thread: Any = self.thread
        if not vcpu.apicv and not thread.host.exact:
            thread.guest = self
            for frame in self._stack:
                self._serve(thread, frame.send)
        return super().run(vcpu)

    def inject(self, irq: Irq) -> None:
        """As the original."""
        super().inject(irq)
        thread: Any = self.thread
        if thread.guest is not None:
            self._serve(thread, self._stack[-1].send)

    def _serve(self, thread: HostThread, ops: Any) -> None:
        if is_process(ops):
            take_steps(ops, thread)

    def collect(self, run: Run) -> None:
        """Keep *run*, which another one follows."""
        self._stack[-1].collected.append(run)

    def with_collected(self, run: Run) -> Run | None:
        """Return *run* joined with those kept before it, if that has been made already."""
        collected = self._stack[-1].collected
        return self._joined_runs.get((*collected, run)) if collected else run

    def forget_collected(self) -> None:
        """What was kept has been executed."""
        self._stack[-1].collected.clear()
