"""What a report says of a run in words: each sentence on tables whose numbers can be redone by hand."""

from typing import Any

import pytest

from iosim.model.stages import Stage
from iosim.report.doubts import doubts
from iosim.report.findings import MEANINGS, story
from tests.made import Request, result
from tests.support import scenario

RUN, DISK, QUEUE, WAIT = Stage.GUEST_RUN, Stage.DISK_SERVICE, Stage.GUEST_QUEUE, Stage.AIO_WAIT
SSD = {"model": "ssd"}


def steady(n: int, gap_us: int = 1000, **kinds: Any) -> list[Request]:
    """Requests one after the other: 30 us of the guest, then 70 us of the disk."""
    return [Request(at * gap_us, {RUN: 30, DISK: 70}, **kinds) for at in range(n)]


def test_every_stage_has_words() -> None:
    assert set(MEANINGS) == set(Stage)


def test_the_whole_story_of_a_run() -> None:
    """200 requests of 100 us, but the last two wait 300 us: the mean is 103 us, disk_service 70 of that.

    p99 is between ranks 198 and 199 (the median again, 100 us, and 400 us); the channel is busy for 20 ms of 200 ms.
    """
    rows = [*steady(198), *(Request(at * 1000, {QUEUE: 300, RUN: 30, DISK: 70}) for at in (198, 199))]
    made = result(rows, end_us=200_000, resources=[("web/channel0", 1, 20_000), ("disk/sda", 4, 14_000)])
    told = story(made)
    assert told.what == [
        "1 VM with 1 drive (IDE, DMA; QEMU 7.2 on Linux 6.1; disk sda (constant)) replayed 200 requests, at the "
        "recorded times, with the costs of mine.",
        "All were done, in 200 ms of simulated time: 1,000 requests/s, 4.10 MB/s.",
    ]
    assert told.found == [
        "A request takes 103 us on average; half take at most 100 us, one in a hundred more than 103 us.",
        "Of the average 68.0% is disk_service, the host's disk at work; next come guest_run (29.1%) and "
        "guest_queue (2.9%).",
        "The slowest one takes 400 us, 300 us more than those around the median, and guest_queue is 100.0% of the "
        "difference.",
        "The busiest resource is web/channel0, an IDE channel, which takes one command at a time: busy for 10.0% of "
        "the time. Each request takes 100 us of its time, so at most 10,000 requests/s go through as things are; in "
        "this run it was 1,000.",
    ]
    assert told.advice == [
        "A disk that takes no time at all would still leave 33.0 us of 103 us (32.0%), if all else stayed as it is.",
        "Without guest_run 73.0 us of 103 us (70.9%) would be left, if all else stayed as it is.",
    ]


def test_nothing_is_said_of_latencies_that_are_not_there() -> None:
    made = result([Request(0, {QUEUE: 100}, status="unfinished")])
    assert story(made).sentences == [
        "1 VM with 1 drive (IDE, DMA; QEMU 7.2 on Linux 6.1; disk sda (constant)) replayed 1 request, at the recorded "
        "times, with the costs of mine.",
        "0 were done, 1 unfinished, in 100 us of simulated time: 0 requests/s, 0 MB/s.",
        "No request counts: there is no latency to speak of.",
    ]


def test_drives_of_several_kinds_are_counted() -> None:
    drives: list[dict[str, Any]] = [
        {"interface": "virtio-blk"},
        {"transfer": "pio", "data_width": 16},
        {"replay": "closed"},
    ]
    vms: list[dict[str, Any]] = [
        {"name": "web", "count": 3, "drive": drives},
        {"name": "db", "qemu": "1.6", "drive": [{}]},
    ]
    made = result(steady(1), scenario(vms=vms))
    assert story(made).what[0] == (
        "4 VMs with 10 drives (4 IDE, DMA, 3 virtio-blk, 3 IDE, PIO mode of 16 bits; QEMU 1.6 on Linux 6.1 or QEMU 7.2 "
        "on Linux 6.1; disk sda (constant)) replayed 1 request, some at the recorded times, some one after the other, "
        "with the costs of mine."
    )


def test_a_queue_is_explained_by_what_it_waits_for() -> None:
    """400 us of 500 in the queue; of the other 100 us 70 are the disk's."""
    made = result([Request(at * 1000, {QUEUE: 400, RUN: 30, DISK: 70}) for at in range(10)])
    assert story(made).advice[0] == (
        "guest_queue (80.0%) is waiting for earlier requests: it shrinks when the rest does, 100 us per request, of "
        "which disk_service is 70.0%."
    )


@pytest.mark.parametrize(
    ("drive", "hint"),
    [
        ({"transfer": "pio"}, "; a DMA command needs 26 (31 with LBA48) however long it is."),
        ({"transfer": "dma"}, "; virtio-blk needs one kick for a batch of requests."),
        ({"interface": "virtio-blk"}, "."),
    ],
)
def test_exits_are_named_with_what_would_make_them_fewer(drive: dict[str, Any], hint: str) -> None:
    """Half of 200 us is exits, in the four stages of an exit: 10 + 20 + 30 + 40 us."""
    stages = dict(zip((Stage.VM_EXIT, Stage.KVM_EXIT_HANDLING, Stage.QEMU_DISPATCH, Stage.VM_ENTRY),
                      (10, 20, 30, 40), strict=True))  # fmt: skip
    rows = [Request(at * 1000, {**stages, RUN: 95, DISK: 5}) for at in range(10)]
    assert story(result(rows, scenario([drive]))).advice[0] == (
        "Leaving the guest, handling exits and going back takes 100 us in 10.0 exits per request; without them "
        f"100 us of 200 us (50.0%) would be left{hint}"
    )


def test_the_slowest_of_several_drives_is_named() -> None:
    vms: list[dict[str, Any]] = [{"name": "web", "drive": [{}, {}]}, {"name": "db", "drive": [{}]}]
    drives = {("web", 0): 100, ("web", 1): 300, ("db", 0): 109}
    words = "Of 3 drives, drive 1 of web is the slowest with 300 us on average, drive 0 of web the fastest with 100 us."

    def found(times: dict[tuple[str, int], int]) -> list[str]:
        rows = [Request(0, {DISK: us}, vm=vm, drive=drive) for (vm, drive), us in times.items()]
        return story(result(rows, scenario(vms=vms))).found

    assert words in found(drives)
    assert not [text for text in found(drives | {("web", 1): 110}) if "drives" in text]


def test_limits_are_named_beside_the_busiest_resource() -> None:
    resources = [("web/drive0/throttle", 1, 900), ("web/channel0", 1, 100)]
    found = story(result(steady(1), end_us=1000, resources=resources)).found
    assert found[-2].startswith("The busiest resource is web/channel0,")
    assert found[-1] == "web/drive0/throttle held requests back for 90.0% of the time."


def test_many_of_a_kind_are_said_to_be_many() -> None:
    """Two disks, 30 % and 10 %: 20 % on average. A request of web uses sda alone, 300 us of 4 x 1 ms each."""
    described = scenario(drives=[{"disk": "sda"}], disks=[SSD, SSD])
    made = result(steady(1), described, 1000, resources=[("disk/sda", 1, 300), ("disk/sdb", 1, 100)])
    assert story(made).found[-1] == (
        "The busiest resource is disk/sda, a disk of the host: busy for 30.0% of the time. Each request takes 300 us "
        "of its time, so at most 3,333 requests/s go through as things are; in this run it was 1,000."
    )
    drives: list[dict[str, Any]] = [{"disk": "sda"}, {"disk": "sdb", "index": 2}]
    rows = [*steady(1), *steady(1, drive=1)]
    made = result(rows, scenario(drives, [SSD, SSD]), 1000, resources=[("disk/sda", 1, 300), ("disk/sdb", 1, 100)])
    assert "busy for 30.0% of the time (the 2 of its kind 20.0% on average). Each" in story(made).found[-1]


# Reasons to doubt


def test_a_good_run_leaves_nothing_to_doubt() -> None:
    """Every fifth request takes longer, so neighbours are not alike; 10,000 have ten beyond p99.9."""
    rows = [Request(at * 1000, {DISK: 200 if at % 5 == 0 else 100}) for at in range(10_000)]
    assert doubts(result(rows, scenario(disks=[SSD]))) == []


def few(n: int) -> list[str]:
    rows = [Request(at * 1000, {DISK: 100 + at % 7}) for at in range(n)]
    return doubts(result(rows, scenario(disks=[SSD])))


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (1, ["1 request is too few for p50 and above."]),
        (15, ["15 requests are too few for p95 and above; only 2 lie beyond p90."]),
        (999, ["999 requests are too few for p99.9; only 5 lie beyond p99.5."]),
        (1000, ["Of 1,000 requests only 1 lies beyond p99.9."]),
        (9000, ["Of 9,000 requests only 9 lie beyond p99.9."]),
        (10_000, []),
    ],
)
def test_few_requests(n: int, words: list[str]) -> None:
    assert few(n) == words


def test_a_busy_resource() -> None:
    resources = [("web/vcpu0", 1, 900), ("disk/sda", 1, 950), ("web/bql", 1, 899), ("page_cache", 1, 1000)]
    made = result(steady(1), scenario(disks=[SSD]), 1000, resources=resources)
    assert doubts(made)[0] == (
        "disk/sda is busy for 95% of the time (1 other resource for 90% or more): requests queue, and their latency "
        "depends on the length of the run."
    )


def test_a_growing_backlog() -> None:
    """Ten arrivals, 100 us apart, each 90 us longer under way than the one before: 10, 100, 190 ... us.

    Of the first three 10, 100 and 100 us are in the first 300 us.
    """
    rows = [Request(at * 100, {DISK: 10 + 90 * at}) for at in range(10)]
    first = (10 + 100 + 100) / 300
    last = sum(min(900, at * 100 + 10 + 90 * at) - max(600, at * 100) for at in range(10) if at * 190 + 10 > 600) / 300
    text = next(doubt for doubt in doubts(result(rows, scenario(disks=[SSD]))) if "backlog" in doubt)
    assert text == (
        f"The backlog grows: {first} requests are under way on average in the first third of the arrivals, "
        f"{last:.2f} in the last. Requests come faster than they are served, and a longer trace would show longer "
        "latencies."
    )


def test_no_backlog_grows_in_closed_replay_or_at_a_steady_rate() -> None:
    rows = [Request(at * 100, {DISK: 10 + 90 * at}) for at in range(10)]
    closed = scenario([{"replay": "closed"}], disks=[SSD])
    assert not [doubt for doubt in doubts(result(rows, closed)) if "backlog" in doubt]
    even = [Request(at * 100, {DISK: 1000}) for at in range(100)]
    assert not [doubt for doubt in doubts(result(even, scenario(disks=[SSD]))) if "backlog" in doubt]


def test_requests_that_did_not_end_well() -> None:
    rows = [*steady(3), Request(5000, {DISK: 10}, status="unfinished"), Request(6000, {DISK: 10}, status="error")]
    found = doubts(result(rows, scenario(disks=[SSD]), in_trace=8))
    assert found[:3] == [
        "1 request had no end when the run had: they are in no percentile, and they may be the slowest.",
        "1 request failed: latencies and stages leave them out.",
        "3 requests of the traces never arrived.",
    ]


def test_neighbours_that_are_alike() -> None:
    """Blocks of 50 equal latencies, 100 and 200 us in turn: of 99 pairs of neighbours 1 in 50 differs.

    With 200 requests the sequences x1..x199 and x2..x200 have 100 and 99 values of each kind, so the correlation is
    (99 + 97 - 3) / 199 within rounding: 3 of the 199 pairs differ. Then 200 x (1 - r) / (1 + r) are independent.
    """
    rows = [Request(at * 1000, {DISK: 100 + 100 * (at // 50 % 2)}) for at in range(200)]
    correlation = 1 - 2 * 3 / 199
    independent = round(200 * (1 - correlation) / (1 + correlation))
    text = next(doubt for doubt in doubts(result(rows, scenario(disks=[SSD]))) if "correlation" in doubt)
    assert text == (
        f"Requests that arrive one after the other have similar latencies (correlation {correlation:.2f}): 200 of them "
        f"say about as much of the mean as {independent} independent ones."
    )


def test_a_beginning_that_differs() -> None:
    rows = [Request(at * 1000, {DISK: 300 if at < 30 else 100 + at % 2}) for at in range(300)]
    ssd = scenario(disks=[SSD])
    words = (
        "The first tenth of the writes has a median of 300 us, the rest 100 us: if that is how it warms up, run.warmup "
        "leaves it out."
    )
    assert words in doubts(result(rows, ssd))
    assert words not in doubts(result(rows[30:], ssd))
    warmed = scenario(disks=[SSD], run={"warmup": "1ms"})
    assert not [doubt for doubt in doubts(result(rows, warmed)) if "warms up" in doubt]


def test_disks_without_spread() -> None:
    constant = {"model": "constant", "service": "90us"}
    words = (
        "takes the same time for each request of a kind (model constant): no percentile has the spread of a real one."
    )
    assert f"Disk sda {words}" in doubts(result(steady(1), scenario(disks=[constant])))
    two = result(steady(1), scenario([{"disk": "sda"}], [constant, constant, SSD]))
    assert f"2 disks {words.replace('takes', 'take')}" in doubts(two)


def test_costs_without_a_source_and_of_another_machine() -> None:
    made = result(steady(1), scenario(disks=[SSD]), figures={"published": 3, "assumed": 2})
    assert "2 of the 5 costs in mine are assumed; iosim profiles mine says which." in doubts(made)
    made.summary["profile"] |= {"name": "vmx-2013", "machine": "an old one"}
    assert doubts(made)[-1] == "The costs stand for this machine, not for yours: an old one."


def test_spans_that_are_missing() -> None:
    described = scenario(disks=[SSD], run={"slowest": 3})
    assert not [doubt for doubt in doubts(result(steady(3), described, slowest=[0, 1, 2])) if "Spans" in doubt]
    assert doubts(result(steady(5), described, slowest=[0]))[-1] == (
        "Spans were kept of 1 of the 3 slowest requests: there was no more room."
    )
