"""The swim lanes of one request: who has it when, to scale, and small enough for a page."""

from xml.etree import ElementTree

import pandas as pd
import pytest

from iosim.model.stages import Stage
from iosim.report.lane_axis import Axis
from iosim.report.lane_pieces import Journey, Lane
from iosim.report.lanes import MOST_CHARACTERS, lane_times, timeline
from iosim.results.pictures import COLOURS
from iosim.results.spans import COLUMNS
from tests import handmade
from tests.handmade import WRITE

KEY = ["vm", "drive", "request"]
Bar = tuple[str, float, float, float, float]
"""Stage and whether it waits, x, y, width, height."""


def parsed(picture: str) -> ElementTree.Element:
    svg = ElementTree.fromstring(picture)[0]
    assert svg.tag == "svg"
    return svg


def bars(picture: str) -> list[Bar]:
    """The bars of a picture from left to right."""
    found = []
    for rectangle in parsed(picture).iter("rect"):
        title = rectangle.find("title")
        if title is not None:
            assert title.text is not None
            x, y, width, height = (float(rectangle.attrib[side]) for side in ("x", "y", "width", "height"))
            found.append((title.text.split(":")[0], x, y, width, height))
    return sorted(found, key=lambda bar: (bar[1], bar[2]))


def texts(picture: str) -> list[str]:
    return [str(text.text) for text in parsed(picture).iter("text")]


def test_a_write_by_hand() -> None:
    # 10,000 ns are 690 units from x = 108 on; lanes are 30 apart, bars 22 high, the first from y = 10 to 32.
    scale = 690 / 10_000
    expected = [
        ("guest_queue (waits)", 108, 10, 1000 * scale, 22),
        ("guest_run", 108 + 1000 * scale, 10, 1500 * scale, 22),
        ("vm_exit", 108 + 2500 * scale, 40, 501 * scale, 22),
        ("aio_wait (waits)", 108 + 3001 * scale, 100, 1999 * scale, 22),
        ("aio_worker", 108 + 5000 * scale, 100, 1000 * scale, 22),
        ("disk_service", 108 + 6000 * scale, 130, 2000 * scale, 22),
        ("completion_wait (waits)", 108 + 8000 * scale, 160, 1000 * scale, 22),
        ("completion", 108 + 9000 * scale, 160, 500 * scale, 22),
        ("irq_delivery", 108 + 9500 * scale, 70, 500 * scale, 22),
    ]
    picture = timeline(handmade.spans(WRITE), "write 0")
    found = bars(picture)
    assert [bar[0] for bar in found] == [bar[0] for bar in expected]
    for bar, by_hand in zip(found, expected, strict=True):
        assert bar[1:] == pytest.approx(by_hand[1:], abs=0.005)
    assert texts(picture) == [
        *("0", "2", "4", "6", "8", "10", "us"),
        *("guest", "2.50 us, 25.0%", "CPU exit/entry", "501 ns, 5.0%", "KVM", "500 ns, 5.0%"),
        *("worker", "3.00 us, 30.0%", "disk", "2.00 us, 20.0%", "main loop", "1.50 us, 15.0%"),
        *("guest_queue 1.00 us, 10.0%", "guest_run 1.50 us, 15.0%", "vm_exit 501 ns, 5.0%"),
        *("aio_wait 2.00 us, 20.0%", "aio_worker 1.00 us, 10.0%", "disk_service 2.00 us, 20.0%"),
        *("completion_wait 1.00 us, 10.0%", "completion 500 ns, 5.0%", "irq_delivery 500 ns, 5.0%"),
    ]
    assert parsed(picture).attrib["aria-label"] == "write 0"


def test_tooltips_have_functions_times_and_shares() -> None:
    rows = [("vcpu0", "guest_run", name, 1000 + end) for name, end in (("udelay", 600), ("b", 800), ("udelay", 1000))]
    (title,) = parsed(timeline(handmade.spans(rows))).iter("title")
    assert title.text == "guest_run: 1,000 ns, 100.0%\nudelay (vcpu0): 800 ns, 80.0%\nb (vcpu0): 200 ns, 20.0%"


def test_lanes_add_up_to_the_latency() -> None:
    result = handmade.crowd()
    latencies = dict(
        zip(zip(*(result.requests[name] for name in KEY), strict=True), result.requests["latency_ns"], strict=True)
    )
    n_lanes = set()
    for key, spans in result.spans.groupby(KEY, sort=False):
        times = lane_times(spans)
        assert sum(times.values()) == latencies[key]
        n_lanes.add(sum(ns > 0 for ns in times.values()))
    assert max(n_lanes) == len(Lane)


def test_all_pictures_are_small_and_well_formed() -> None:
    result = handmade.crowd()
    for _, spans in result.spans.groupby(KEY, sort=False):
        picture = timeline(spans)
        assert len(picture) <= MOST_CHARACTERS
        assert bars(picture)
        assert timeline(spans.copy()) == picture


def alternating(n: int) -> pd.DataFrame:
    """*n* exits of 1 ns in the guest, 2 ns exit, 4 ns in KVM, 2 ns in QEMU, 1 ns entry; then 690 ns at the disk."""
    one = [("vcpu0", stage, stage, ns) for stage, ns in (("guest_run", 1), ("vm_exit", 2), ("kvm_exit_handling", 4))]
    one += [("vcpu0", "qemu_dispatch", "f", 2), ("vcpu0", "vm_entry", "VMRESUME", 1)]
    rows, at = [], 0
    for thread, stage, function, ns in [*one * n, ("disk sda", "disk_service", "submit_bio", n * 10)]:
        rows.append(("web", 0, 0, thread, stage, function, at, at + ns, False))
        at += ns
    return pd.DataFrame(rows, columns=COLUMNS)


def test_what_is_too_short_is_one_bar_as_high_as_its_part_of_the_time() -> None:
    found = {bar[0]: bar for bar in bars(timeline(alternating(5000)))}
    assert set(found) == {"guest_run", "vm_exit", "kvm_exit_handling", "qemu_dispatch", "vm_entry", "disk_service"}
    heights = {"guest_run": 2.2, "vm_exit": 4.4, "kvm_exit_handling": 8.8, "qemu_dispatch": 4.4, "vm_entry": 2.2}
    for stage, height in heights.items():
        _, x, _, width, high = found[stage]
        assert high == pytest.approx(height, abs=0.02), stage
        assert x == pytest.approx(108, abs=0.1)
        assert width == pytest.approx(345, abs=0.1)
    assert found["vm_entry"][2] + found["vm_entry"][4] == pytest.approx(found["vm_exit"][2], abs=0.02)
    assert found["disk_service"][1:] == pytest.approx((453, 130, 345, 22), abs=0.02)


def test_a_wait_is_in_the_lane_of_whoever_takes_the_request_next() -> None:
    rows = [
        ("vcpu0", "submit_wait", "virtqueue_kick", 2000),
        ("main", "cpu_wait", "schedule", 3000),
        ("main", "qemu_submit", "virtqueue_pop", 4000),
        ("main", "aio_wait", "thread_pool_submit_aio", 5000),
        ("disk sda", "disk_service", "submit_bio", 6000),
        ("main", "completion_wait", "qemu_poll_ns", 7000),
    ]
    found = Journey(handmade.spans(rows)).pieces
    assert found.lane.tolist() == [Lane.LOOP, Lane.LOOP, Lane.LOOP, Lane.DISK, Lane.DISK, Lane.DISK]
    assert found.waits.tolist() == [True, True, False, True, False, True]
    alone = Journey(handmade.spans([("vcpu0", "guest_queue", "blk_mq_sched_insert_request", 2000)]))
    assert alone.pieces.lane.tolist() == [Lane.GUEST]


@pytest.mark.parametrize(
    ("thread", "stage", "lane"),
    [
        ("vcpu1", "vm_entry", Lane.CPU),
        ("vcpu1", "irq_delivery", Lane.KVM),
        ("vcpu1", "qemu_submit", Lane.QEMU),
        ("main", "qemu_submit", Lane.LOOP),
        ("iothread/drive:1", "completion", Lane.LOOP),
        ("iothread/drive:1/worker0", "aio_worker", Lane.WORKER),
        ("iou-wrk0", "aio_worker", Lane.WORKER),
        ("disk sda", "disk_service", Lane.DISK),
    ],
)
def test_the_lane_of_whoever_runs(thread: str, stage: str, lane: Lane) -> None:
    assert Journey(handmade.spans([(thread, stage, "f", 2000)])).pieces.lane.tolist() == [lane]


def test_an_event_loop_is_called_what_it_is() -> None:
    for threads, name in ((["iothread/a"], "iothread"), (["main"], "main loop"), (["main", "iothread/a"], "main loop")):
        rows = [(thread, "completion", "f", 2000 + k) for k, thread in enumerate(threads)]
        assert name in texts(timeline(handmade.spans(rows)))


def test_waits_look_different_in_the_colour_of_their_stage() -> None:
    svg = parsed(timeline(handmade.spans(WRITE)))
    groups = {
        str(group[0].findtext("title")).split(":")[0]: group.attrib
        for group in svg.iter("g")
        if len(group) and group[0].tag == "rect" and "fill" in group.attrib
    }
    assert groups["disk_service"] == {"fill": COLOURS[Stage.DISK_SERVICE]}
    assert groups["aio_wait (waits)"] == {
        "fill": COLOURS[Stage.AIO_WAIT],
        "fill-opacity": ".3",
        "stroke": COLOURS[Stage.AIO_WAIT],
        "stroke-dasharray": "3 2",
    }


def test_a_wait_of_nearly_all_the_time_is_cut_short() -> None:
    rows = [
        ("vcpu0", "guest_queue", "blk_mq_sched_insert_request", 901_000),
        ("vcpu0", "guest_run", "f", 950_000),
        ("disk sda", "disk_service", "submit_bio", 1_001_000),
    ]
    picture = timeline(handmade.spans(rows))
    # 92 units for the wait, the other 598 for 100,000 ns.
    found = [(bar[1], bar[3]) for bar in bars(picture)]
    for bar, by_hand in zip(found, [(108, 92), (200, 5.98 * 49), (200 + 5.98 * 49, 5.98 * 51)], strict=True):
        assert bar == pytest.approx(by_hand, abs=0.005)
    assert texts(picture)[:8] == ["0", "0.90", "0.92", "0.94", "0.96", "0.98", "1.00", "ms"]
    assert "900 us //" in texts(picture)
    rows[0] = (*rows[0][:3], 401_000)
    assert Axis(Journey(handmade.spans(rows))).cut is None


@pytest.mark.parametrize(
    ("total", "numbers"),
    [
        (1, ["0", "1", "ns"]),
        (7, ["0", "1", "2", "3", "4", "5", "6", "7", "ns"]),
        (24, ["0", "5", "10", "15", "20", "ns"]),
        (937_000, ["0", "100", "200", "300", "400", "500", "600", "700", "800", "900", "us"]),
        (1_402_000, ["0", "0.2", "0.4", "0.6", "0.8", "1.0", "1.2", "1.4", "ms"]),
        (3_600_000_000_000, ["0", "500", "1000", "1500", "2000", "2500", "3000", "3500", "s"]),
    ],
)
def test_ticks_are_round(total: int, numbers: list[str]) -> None:
    picture = timeline(handmade.spans([("vcpu0", "guest_run", "f", 1000 + total)]))
    assert texts(picture)[: len(numbers)] == numbers


def test_hostile_names_stay_text() -> None:
    name = "</title><script>alert('\"&')</script>"
    picture = timeline(handmade.spans([(name, "aio_worker", name, 2000)], vm=name), name)
    svg = parsed(picture)
    assert not list(svg.iter("script"))
    assert svg.attrib["aria-label"] == name
    assert svg.findtext(".//title") == f"aio_worker: 1,000 ns, 100.0%\n{name} ({name}): 1,000 ns, 100.0%"
    assert "<script" not in picture
