"""The order within a turn of QEMU's event loops: bottom halves, the last first, then eventfds.

Every cost is 100 ns (wake-up, poll, dispatch), each handler takes 1,000 ns.
"""

from collections.abc import Callable
from functools import partial

import pytest

from iosim.host import Host, HostThread, Mutex
from iosim.model.draws import Subject
from iosim.model.steps import SYNC, Binder, Block, Steps
from iosim.qemu.iothread import IOThread
from iosim.qemu.main_loop import MainLoop
from iosim.qemu.versions import VERSIONS
from tests.support import constant_profile

pytestmark = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

HANDLER = 1_000


class Turns:
    """An event loop to which others do things at given times; `began` says which handler began when."""

    def __init__(self, exact: bool, qemu: str = "7.2", iothread: bool = False) -> None:
        self.host = Host(exact)
        self.began: list[tuple[str, int]] = []
        binder = Binder(constant_profile(main_loop__timer=HANDLER))
        self._handler = binder.path("main_loop.timer")
        self._handlers: dict[str, Callable[[], Steps[None]]] = {}
        thread = HostThread(self.host, 1, "loop", Subject(1))
        bql = Mutex(self.host, "bql")
        self.loop: MainLoop = (
            IOThread(thread, binder, bql, VERSIONS[qemu], 0)
            if iothread
            else MainLoop(thread, binder, bql, VERSIONS[qemu])
        )
        thread.start(self.loop.main_loop())

    def handler(self, name: str) -> Callable[[], Steps[None]]:
        return self._handlers.setdefault(name, partial(self._run, name))

    def _run(self, name: str) -> Steps[None]:
        yield SYNC
        self.began.append((name, self.host.now_ns))
        yield self._handler

    def at(self, *what: tuple[int, str]) -> "Turns":
        """A name that begins with "bh" is scheduled as a bottom half, any other is an eventfd that is signalled."""
        HostThread(self.host, 2, "others", Subject(2)).start(self._others(what))
        self.host.run()
        return self

    def _others(self, what: tuple[tuple[int, str], ...]) -> Steps[None]:
        for at, name in what:
            if at > self.host.now_ns:
                yield Block(at)
            notify = self.loop.qemu_bh_schedule if name.startswith("bh") else self.loop.event_notifier_set
            notify(self.handler(name))


@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_bottom_halves_run_before_eventfds_that_were_signalled_before(exact: bool, qemu: str) -> None:
    # Woken at 1,000: wake, dispatch; the first until 2,200; poll, dispatch.
    turns = Turns(exact, qemu).at((1_000, "fd0"), (1_500, "fd1"), (1_600, "bh"))
    assert turns.began == [("fd0", 1_200), ("bh", 2_400), ("fd1", 3_400)]


def test_the_last_bottom_half_runs_first_and_one_scheduled_meanwhile_in_the_next_turn(exact: bool) -> None:
    # bh1 is scheduled again while it waits in its turn; bh0 again when it has begun.
    what = [(1_000, "fd0"), (1_500, "bh0"), (1_600, "bh1"), (1_700, "bh2"), (2_500, "bh1"), (4_500, "bh0")]
    turns = Turns(exact).at(*what)
    assert turns.began == [("fd0", 1_200), ("bh2", 2_400), ("bh1", 3_400), ("bh0", 4_400), ("bh0", 5_600)]


def test_an_eventfd_signalled_behind_the_poll_waits_for_the_next_turn(exact: bool) -> None:
    # fd1 comes while the bottom half of the second turn runs: poll and dispatch again.
    turns = Turns(exact).at((1_000, "fd0"), (1_600, "bh"), (2_500, "fd1"))
    assert turns.began == [("fd0", 1_200), ("bh", 2_400), ("fd1", 3_600)]


def test_an_iothread_looks_at_no_eventfd_while_a_bottom_half_is_pending(exact: bool) -> None:
    # The turn of the bottom half has no system call: dispatch only. fd1 is found by the wait behind it.
    turns = Turns(exact, iothread=True).at((1_000, "fd0"), (1_500, "fd1"), (1_600, "bh"))
    assert turns.began == [("fd0", 1_200), ("bh", 2_300), ("fd1", 3_500)]


def test_an_eventfd_signalled_twice_runs_its_handler_once(exact: bool) -> None:
    turns = Turns(exact).at((1_000, "fd0"), (1_500, "fd1"), (1_600, "fd1"))
    assert turns.began == [("fd0", 1_200), ("fd1", 2_400)]
