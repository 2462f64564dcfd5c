"""Slow and stuck disks: times worked out by hand, through the model and through a whole run."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.disk import ConstantDisk, DiskIo
from iosim.disk.model import DiskModel
from iosim.disk.ssd import Ssd, SsdConfig
from iosim.disk.window import Window, WindowedDisk
from tests.support import constant_profile, scenario, simulate

WRITE = DiskIo("W", 0, 8)
FLUSH = DiskIo("F", 0, 0)


def slow(*windows: Window, model: DiskModel | None = None) -> WindowedDisk:
    return WindowedDisk(model or ConstantDisk(100, 100), windows)


@pytest.mark.parametrize(
    ("begin", "ns"),
    [
        (0, 100),
        (900, 100),  # ends as the window begins
        (950, 50 + 150),  # 50 before it, 50 at a third of the speed
        (1_000, 300),
        (1_500, 300),
        (1_700, 300),  # to the end of the window
        (1_790, 210 + 30),  # 210 inside do 70; 30 are left
        (2_000, 100),
    ],
)
def test_what_lies_in_a_slow_window_takes_a_factor_longer(begin: int, ns: int) -> None:
    assert slow(Window(1_000, 2_000, 3_000)).service(None, WRITE, begin, 0) == (ns, None)


@pytest.mark.parametrize(
    ("begin", "ns"),
    [(0, 100), (900, 100), (950, 50 + 1_000 + 50), (1_000, 1_000 + 100), (1_999, 1 + 100), (2_000, 100)],
)
def test_nothing_is_done_while_the_disk_is_stuck(begin: int, ns: int) -> None:
    assert slow(Window(1_000, 2_000, None)).service(None, WRITE, begin, 0) == (ns, None)


def test_even_a_service_time_of_zero_ends_only_when_the_disk_goes_on() -> None:
    assert slow(Window(1_000, 2_000, None), model=ConstantDisk(0, 0)).service(None, WRITE, 1_200, 0)[0] == 800


@pytest.mark.parametrize(("begin", "ns"), [(999, 100), (1_000, 140), (1_999, 140), (2_000, 100)])
def test_a_time_is_added_to_what_begins_in_the_window(begin: int, ns: int) -> None:
    assert slow(Window(1_000, 2_000, add_ns=40)).service(None, WRITE, begin, 0)[0] == ns


def test_windows_follow_each_other() -> None:
    # 20 before the first, 200 stuck, 30 between, 2 x 25 in the second (50 long), 25 behind it.
    disk = slow(Window(1_000, 1_200, None), Window(1_230, 1_280, 2_000))
    assert disk.service(None, WRITE, 980, 0)[0] == 20 + 200 + 30 + 50 + 25


def test_what_the_disk_does_behind_an_operation_is_stuck_as_well() -> None:
    # A program of 200 on unit 0, behind a transfer of 5 and 10 of overhead, ends at 215 without the window. A buffered
    # write is done at 10; the disk is stuck from 100 to 1,100: the flush waits until 1,215, and takes 30.
    config = SsdConfig(1, 8, 64, 50, 200, 1_000, 5, 10, 30, buffer_pages=4)
    disk = slow(Window(100, 1_100, None), model=Ssd(config))
    ns, state = disk.service(disk.initial(), WRITE, 0, 0)
    assert ns == 10
    assert disk.service(state, FLUSH, 1_110, 0)[0] == 105 + 30


WINDOWS = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300), st.sampled_from([None, 1, 500, 3_000, 7_000])))


@given(WINDOWS, st.integers(0, 2_000), st.integers(0, 500), st.integers(0, 500))
def test_the_disk_s_clock_never_goes_back(
    parts: list[tuple[int, int, int | None]], begin: int, first: int, more: int
) -> None:
    windows, at = [], 0
    for gap, length, slowness in parts:
        windows.append(Window(at + gap, at + gap + length, slowness))
        at += gap + length
    disk = slow(*windows)
    assert begin <= disk.end_ns(begin, first) <= disk.end_ns(begin, first + more)
    assert disk.own_ns(begin) <= disk.own_ns(begin + more)
    for window in windows:
        if window.slowness is None and first:
            assert not window.start_ns < disk.end_ns(begin, first) <= window.end_ns - 1
    if not windows or begin >= at:
        assert disk.end_ns(begin, first) == begin + first


def test_a_stuck_disk_delays_its_requests_and_nobody_else() -> None:
    # Every cost is 0: a DMA write is 30 us of libata's delays before the disk (three udelay and 1.2 us, see
    # docs/path.md) and reaches it at once. Two VMs, one on each disk; sda is stuck from 100 us to 1,100 us.
    disks: list[dict[str, Any]] = [
        {"model": "constant", "service": "90us", "window": [{"start": "100us", "end": "1100us", "stuck": True}]},
        {"model": "constant", "service": "90us"},
    ]
    vms = [{"name": name, "drive": [{"disk": disk}]} for name, disk in (("a", "sda"), ("b", "sdb"))]
    table = simulate(scenario(vms=vms, disks=disks), [(0, "W", 0, 8)], constant_profile(0)).requests
    stuck, well = table["disk_service_ns"].tolist()
    assert well == 90_000
    assert stuck == 90_000 + 1_000_000
    rest = table["latency_ns"] - table["disk_service_ns"]
    assert rest[0] == rest[1]


def test_a_slow_disk_is_slow_for_what_falls_into_the_window() -> None:
    # Three writes 10 ms apart, the second in the window, with a factor of 2.5.
    window = {"start": "9ms", "end": "15ms", "factor": 2.5}
    described = scenario(disks=[{"model": "constant", "service": "90us", "window": [window]}])
    rows = [(k * 10_000_000, "W", 0, 8) for k in range(3)]
    assert simulate(described, rows).requests["disk_service_ns"].tolist() == [90_000, 225_000, 90_000]


def test_a_buffer_that_is_switched_off_stays_so_in_the_resolved_scenario() -> None:
    described = scenario(disks=[{"model": "hdd", "write_buffer": False}])
    assert described.model_dump(mode="json")["host"]["disk"][0]["write_buffer"] is False
    assert described.model_dump(mode="json")["host"]["disk"][0]["read_ahead"] == "512KiB"
