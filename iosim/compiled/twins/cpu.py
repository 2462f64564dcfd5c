"""Twin of `iosim.guest.cpu`: most of what the guest's code yields is executed where it is yielded."""

from collections.abc import Callable
from functools import partial
from typing import Any

from iosim.compiled.native import is_process, take_steps
from iosim.guest import cpu
from iosim.guest.cpu import Submit
from iosim.host.thread import HostThread
from iosim.kvm import Exit, Irq, Vcpu
from iosim.model.steps import Run, Steps


class GuestCpu(cpu.GuestCpu):
    """A vCPU whose thread takes the steps of the guest's code as `run` does.

    Not with posted interrupts, for which `run` looks before each step. `_begun` are the steps that an access has begun,
    and the first that could not be taken.
    """

    _begun: tuple[Steps[None], Any] | None

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

    def _begin(self, submit: Submit) -> Callable[[HostThread], Steps[None]] | None:
        """What the thread has begun already goes on."""
        begun, self._begun = self._begun, None
        if begun is not None:
            return partial(self._go_on, begun)
        return super()._begin(submit)

    def _go_on(self, begun: tuple[Steps[None], Any], thread: HostThread) -> Steps[None]:
        """Execute what remains of steps, of which the first has been yielded."""
        steps: Steps[None] = begun[0]
        step = begun[1]
        while True:
            result = yield step
            try:
                step = steps.send(result)
            except StopIteration:
                return

    def submit(self, submit: Submit) -> bool:
        """Execute what an access begins, if that can be done at once; tell whether it was."""
        begun: Any = submit.begin()
        if begun is None:
            return True
        steps: Steps[None] = begun(self.thread)
        if not is_process(steps):
            return True
        take_steps(steps, self.thread)
        try:
            step = steps.send(None)
        except StopIteration:
            return True
        self._begun = steps, step
        return False

    def collect(self, run: Run) -> None:
        """Keep *run*, which another one follows."""
        self._stack[-1].collected.append(run)

    def with_collected(self, run: Run) -> Run:
        """Return *run* joined with those kept before it."""
        joined: Run | None = None
        for before in self._stack[-1].collected:
            joined = before if joined is None else joined.then(before)
        return run if joined is None else joined.then(run)

    def forget_collected(self) -> None:
        """What was kept has been executed."""
        self._stack[-1].collected.clear()
