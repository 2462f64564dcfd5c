"""Times at which a disk is slow or stuck: its own clock goes slower then, or stands still."""

from dataclasses import dataclass
from typing import Any

from iosim.disk.model import DiskIo, DiskModel

UNIT = 1000
"""A rate is a whole number of thousandths."""


@dataclass(frozen=True)
class Window:
    """From *start_ns* until *end_ns* the disk takes *slowness* / 1000 times as long; None: it stands still.

    *add_ns* is added to each operation that begins there.
    """

    start_ns: int
    end_ns: int
    slowness: int | None = UNIT
    add_ns: int = 0


class WindowedDisk:
    """A disk with windows, which follow each other in time and do not overlap.

    The model inside sees the disk's own clock. So what it does behind an operation that is done (a write buffer that
    drains, a unit that erases) is slow as well, and what is under way when a window begins takes longer from there on.
    """

    def __init__(self, model: DiskModel, windows: tuple[Window, ...]) -> None:
        self.model = model
        self.windows = windows
        self.draws = model.draws

    def initial(self) -> Any:
        """Return the model's own state."""
        return self.model.initial()

    def service(self, state: Any, io: DiskIo, now_ns: int, draw: int) -> tuple[int, Any]:
        """Return the model's time, and what the windows make of it."""
        left, state = self.model.service(state, io, self.own_ns(now_ns), draw)
        for window in self.windows:
            if window.start_ns <= now_ns < window.end_ns:
                left += window.add_ns
        return self.end_ns(now_ns, left) - now_ns, state

    def own_ns(self, now_ns: int) -> int:
        """Return what the disk's own clock shows at *now_ns*, rounded down."""
        own = now_ns
        for window in self.windows:
            if window.start_ns >= now_ns:
                break
            inside = min(now_ns, window.end_ns) - window.start_ns
            own -= inside - _done(inside, window)
        return own

    def end_ns(self, now_ns: int, left_ns: int) -> int:
        """Return when *left_ns* of the disk's own time, begun at *now_ns*, are over."""
        at, left = now_ns, left_ns
        for window in self.windows:
            if window.end_ns <= at:
                continue
            if at + left <= window.start_ns:
                break
            before = max(0, window.start_ns - at)
            at, left = at + before, left - before
            if window.slowness is not None and at + left * window.slowness // UNIT <= window.end_ns:
                return at + left * window.slowness // UNIT
            left -= _done(window.end_ns - at, window)
            at = window.end_ns
        return at + left


def _done(inside_ns: int, window: Window) -> int:
    """Return how much of its own time the disk gets done in *inside_ns* of a window."""
    return 0 if window.slowness is None else inside_ns * UNIT // window.slowness
