"""Twin of `iosim.host.thread`: most steps make nobody wait, and are done where they are yielded."""

from typing import Any

from iosim.compiled.native import is_process, take_steps
from iosim.host import thread
from iosim.model.steps import Path, Steps, Sync


class HostThread(thread.HostThread):
    """A thread that takes steps where they are yielded, if it can go on at once."""

    def _sender(self, steps: Steps[Any]) -> Any:
        if is_process(steps):
            take_steps(steps, self)
        return steps.send

    def take(self, step: Any) -> bool:
        """Do *step* as `_run` does, if that ends in resuming its steps with None at once; tell whether it was done."""
        kind = type(step)
        ahead = self._ahead
        if kind is Path:
            if step.in_guest and self.kicked:
                return False
            joined: Path = step if ahead is None else ahead.followed.get(step) or ahead.then(step)
            if not step.in_guest:
                self._ahead = joined
                return True
            ahead = joined
        elif kind is not Sync:
            return False
        return ahead is None or self._spend_now(ahead)

    def _spend_now(self, path: Path) -> bool:
        """Spend what is collected, its costs constant, if no event comes before its end; tell whether it was done."""
        total = path.total_ns
        host = self.host
        queue = host.queue
        start = host.now_ns
        if total is None or (queue and queue[0][0] <= start + total):
            return False
        host.now_ns = start + total
        host.turn = self.index
        request = self.request
        if request is not None and total:
            part = path.delivered() if self.delivering else path
            request.spent = request.spent.then(part)
            request.mark_ns = start + total
            if request.log is not None:
                request.log.append((start, self.name, part))
        for op, offset in path.actions:
            self._trace(op, start + offset, None)
        self._ahead = None
        return True
