"""aio_poll of an iothread: how its polling time adapts, and what ends its polling."""

from iosim.host import Host, HostThread, Level, Mutex
from iosim.model.draws import Subject
from iosim.model.steps import Binder, Block, Steps
from iosim.qemu.iothread import IOThread
from iosim.qemu.versions import VERSIONS
from tests.support import constant_profile


class Ticks:
    """An iothread that gets a bottom half at each of *times_ns*, and what its polling time was when it ran."""

    def __init__(self, times_ns: list[int], poll_max_ns: int, exact: bool) -> None:
        self.host = Host(exact)
        self.seen: list[tuple[int, int]] = []
        binder = Binder(constant_profile(0, main_loop__wake=700, iothread__run_poll_handlers_once=200))
        self.busy = Level(self.host.timeline, "io:busy")
        self.thread = HostThread(self.host, 193, "io", Subject(1), self.busy)
        bql = Mutex(self.host, "bql")
        self.loop = IOThread(self.thread, binder, bql, VERSIONS["7.2"], poll_max_ns)
        self.thread.start(self.loop.main_loop())
        HostThread(self.host, 0, "ticks", Subject(2)).start(self._ticks(times_ns))
        self.host.run()

    def _ticks(self, times_ns: list[int]) -> Steps[None]:
        for at in times_ns:
            yield Block(at)
            self.loop.qemu_bh_schedule(self._bottom_half)

    def _bottom_half(self) -> Steps[None]:
        yield from ()
        self.seen.append((self.host.now_ns, self.loop.poll_ns))


def seen(times_ns: list[int], poll_max_ns: int = 32_768) -> list[tuple[int, int]]:
    exact, coalesced = Ticks(times_ns, poll_max_ns, True), Ticks(times_ns, poll_max_ns, False)
    assert exact.seen == coalesced.seen
    assert exact.busy.area == coalesced.busy.area
    return exact.seen


def test_polling_grows_until_it_catches_what_comes() -> None:
    # Every 10 us. Waits of 10 us are below the maximum: from 0 to 4, 8, 16 us. From the 4th on they are caught: seen
    # 200 ns after they come instead of 700 (the wake-up).
    times = [10_000 * n for n in range(1, 7)]
    assert seen(times) == [
        (10_700, 4_000),
        (20_700, 8_000),
        (30_700, 16_000),
        (40_200, 16_000),
        (50_200, 16_000),
        (60_200, 16_000),
    ]


def test_polling_time_stops_at_the_maximum() -> None:
    # Every 31 us, maximum 32,768: 4, 8, 16, 32 us; the 5th is caught.
    found = seen([31_000 * n for n in range(1, 7)])
    assert [poll_ns for _, poll_ns in found] == [4_000, 8_000, 16_000, 32_000, 32_000, 32_000]
    assert [at % 31_000 for at, _ in found] == [700, 700, 700, 700, 200, 200]
    grown = seen([5_000, 11_000, 23_000], poll_max_ns=10_000)
    assert [poll_ns for _, poll_ns in grown] == [4_000, 8_000, 0]


def test_a_long_wait_ends_polling() -> None:
    assert [poll_ns for _, poll_ns in seen([10_000, 20_000, 30_000, 100_000, 110_000])] == [
        4_000,
        8_000,
        16_000,
        0,
        4_000,
    ]


def test_polling_burns_the_thread_s_cpu() -> None:
    # Awake: wake-ups of 700 at 10, 20 and 30 us, 4 us of polling behind the first, 8 behind the second, 16 behind the
    # third.
    ticks = Ticks([10_000, 20_000, 30_000], 32_768, False)
    ticks.busy.set(ticks.host.now_ns, 0)
    assert ticks.busy.area == 3 * 700 + 4_000 + 8_000 + 16_000


def test_without_polling_the_loop_sleeps() -> None:
    assert seen([10_000, 20_000], poll_max_ns=0) == [(10_700, 0), (20_700, 0)]
