"""The sentences of a comparison: every one, with numbers that can be redone by hand."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iosim.compare.comparison import Comparison, Difference, Run, compare
from iosim.compare.doubts import doubts
from iosim.compare.findings import finding, signed_percent, signed_time
from iosim.compare.intervals import Interval
from iosim.compare.names import names, printable
from iosim.model.stages import Stage
from iosim.results.result import Result
from tests.made import Request, result
from tests.support import scenario
from tests.test_compare import with_traces

RUN, DISK, QUEUE, WAIT = Stage.GUEST_RUN, Stage.DISK_SERVICE, Stage.GUEST_QUEUE, Stage.SUBMIT_WAIT


def compared(base: Result, other: Result) -> Comparison:
    return compare(Run("ide", "runs/ide", base), Run("virtio", "runs/virtio", other))


def same(n: int, stages_us: dict[Stage, int], **run: Any) -> Result:
    return result([Request(at * 1000, stages_us) for at in range(n)], scenario(run=run), end_us=n * 1000)


def chosen(mean: Difference, stages: dict[Stage, Difference], **percentiles: Difference) -> Comparison:
    """A comparison of 120 pairs with these differences."""
    found = compared(same(120, {RUN: 10}), same(120, {RUN: 10}))
    named = {name.removeprefix("p"): difference for name, difference in percentiles.items()}
    return dataclasses.replace(found, mean=mean, stages=found.stages | stages, percentiles=named)


# What is found


def test_equal_runs() -> None:
    base, moved = same(3, {RUN: 10, DISK: 5}), same(3, {RUN: 5, DISK: 10})
    assert finding(compared(base, base)) == [
        "virtio has the latencies of ide: each of 3 pairs is equal to the nanosecond, in every stage."
    ]
    assert finding(compared(base, moved)) == [
        "virtio has the latencies of ide: each of 3 pairs is equal to the nanosecond, though not in every stage."
    ]


def test_each_request_moved_by_the_same() -> None:
    """All of 120 requests 30 us faster, of 100: 25 at the disk, 8 in the guest, and 3 more in the virtqueue."""
    found = compared(same(120, {RUN: 20, DISK: 80}), same(120, {RUN: 12, DISK: 55, WAIT: 3}))
    assert finding(found) == [
        "virtio lowers the latency of each request by the same 30.0 us (-30.0%); its mean goes from 100 us to 70.0 us.",
        "It comes about in disk_service (-25.0 us) and guest_run (-8.00 us); against it goes submit_wait (+3.00 us).",
        "p99 falls by 30.0 us (-30.0%), from 100 us to 70.0 us.",
    ]


def test_a_clear_difference_has_its_confidence() -> None:
    mean = Difference(484_000, 425_700, Interval(-58_800, -57_900))
    stages = {
        QUEUE: Difference(40_000, 10_000, Interval(-31_000, -29_000)),
        RUN: Difference(32_000, 12_000),
        Stage.VM_EXIT: Difference(10_000, 1_700),
    }
    p99 = Difference(900_000, 950_000, Interval(20_000, 90_000))
    assert finding(chosen(mean, stages, p50=p99, p99=p99)) == [
        "virtio lowers the mean latency by 58.3 us (-12.0%), 95% confidence 57.9 to 58.8 us, from 484 us to 426 us.",
        "86% of it is in guest_queue (-30.0 us) and guest_run (-20.0 us).",
        "p99 rises by 50.0 us (+5.6%), 95% confidence 20.0 to 90.0 us, from 900 us to 950 us.",
    ]


def test_stages_are_named_until_they_make_up_four_fifths() -> None:
    mean = Difference(100_000, 200_000, Interval(99_000, 101_000))
    sizes = [30_000, 25_000, 20_000, 10_000, 9_000, 6_000]
    stages = {stage: Difference(0, ns) for stage, ns in zip(Stage, sizes, strict=False)}
    assert finding(chosen(mean, stages))[1] == (
        "85% of it is in guest_queue (+30.0 us), guest_run (+25.0 us), vm_exit (+20.0 us) and "
        "kvm_exit_handling (+10.0 us)."
    )
    small = {RUN: Difference(0, 104_900), QUEUE: Difference(4_900, 0)}
    assert finding(chosen(mean, small))[1] == "All of it is in guest_run (+105 us)."


def test_all_of_a_difference_is_in_one_stage() -> None:
    mean = Difference(100_000, 150_000, Interval(49_000, 51_000))
    assert finding(chosen(mean, {DISK: Difference(0, 50_000, Interval(49_000, 51_000))}))[1] == (
        "All of it is in disk_service (+50.0 us)."
    )


def test_stages_that_go_both_ways() -> None:
    """The disk gains twice of what is gained in all, and the queue and the virtqueue take half of it back."""
    mean = Difference(100_000, 50_000, Interval(-51_000, -49_000))
    stages = {DISK: Difference(120_000, 20_000), QUEUE: Difference(0, 30_000), WAIT: Difference(0, 20_000)}
    assert finding(chosen(mean, stages))[1] == (
        "It comes about in disk_service (-100 us); against it go guest_queue (+30.0 us) and submit_wait (+20.0 us)."
    )


def test_a_little_against_it() -> None:
    """80 of 90 us in two stages, 15 in a third that is not needed, and 5 back."""
    mean = Difference(100_000, 10_000, Interval(-91_000, -89_000))
    stages = {
        DISK: Difference(60_000, 0),
        QUEUE: Difference(20_000, 0),
        RUN: Difference(15_000, 0),
        WAIT: Difference(0, 5_000),
    }
    assert finding(chosen(mean, stages))[1] == (
        "89% of it is in disk_service (-60.0 us) and guest_queue (-20.0 us); against it goes submit_wait (+5.00 us)."
    )


def test_a_difference_within_chance_is_not_explained() -> None:
    mean = Difference(484_000, 484_596, Interval(-2_870, 4_060))
    p99 = Difference(900_000, 910_000, Interval(-5_000, 20_000))
    assert finding(chosen(mean, {DISK: Difference(0, 596)}, p99=p99)) == [
        "The mean latency of virtio does not differ from that of ide beyond chance: +596 ns, "
        "95% confidence -2.87 to 4.06 us.",
        "p99 goes from 900 us to 910 us, which is not beyond chance.",
    ]


def test_too_few_requests_have_no_confidence() -> None:
    rows = [Request(at * 1000, {DISK: us}) for at, us in enumerate((10, 20, 30))]
    other = [Request(at * 1000, {DISK: us}) for at, us in enumerate((20, 50, 80))]
    assert finding(compared(result(rows, end_us=3000), result(other, end_us=6000))) == [
        "The mean latency of virtio is 30.0 us (+150.0%) higher than that of ide, from 20.0 us to 50.0 us; "
        "there are too few independent requests to say how sure that is.",
        "All of it is in disk_service (+30.0 us).",
        "Throughput goes from 1,000 to 500 requests/s (-50.0%).",
    ]


def test_the_highest_known_percentile_stands_for_the_tail() -> None:
    mean, p90 = Difference(10_000, 20_000), Difference(30_000, 30_000, constant=True)
    assert finding(chosen(mean, {DISK: Difference(0, 10_000)}, p50=mean, p90=p90))[2] == "p90 stays at 30.0 us."
    few = Difference(30_000, 45_000)
    assert finding(chosen(mean, {DISK: Difference(0, 10_000)}, p95=few))[2] == (
        "p95 rises by 15.0 us (+50.0%), from 30.0 us to 45.0 us; too few requests lie beyond it for an interval."
    )


def test_runs_without_requests() -> None:
    empty = result([Request(0, {RUN: 10}, status="unfinished")])
    assert finding(compared(empty, empty)) == ["ide and virtio have no request to compare."]


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.0, "0.0%"), (0.052, "+5.2%"), (-1.0, "-100.0%"), (-1e-6, "-<0.1%"), (10.0, "+1000.0%"), (61.4, "x62.4")],
)
def test_ratios(ratio: float, text: str) -> None:
    assert signed_percent(ratio) == text


def test_times_have_their_sign() -> None:
    assert [signed_time(ns) for ns in (-1500, 0, 1500)] == ["-1.50 us", "0 ns", "+1.50 us"]


# Why to doubt it


def own(found: Comparison) -> list[str]:
    """The doubts of the comparison without those of its runs."""
    of_runs = doubts([compared(found.base.result, found.base.result)])
    return [text for text in doubts([found]) if text not in of_runs and not text.startswith(("ide: ", "virtio: "))]


def test_a_run_and_itself_have_no_doubt_of_their_own() -> None:
    run = same(120, {RUN: 10})
    assert own(compared(run, run)) == []


def test_too_few_pairs() -> None:
    rows = [[Request(at * 1000, {RUN: us * (1 + at % 2)}) for at in range(30)] for us in (10, 20)]
    assert own(compared(result(rows[0]), result(rows[1]))) == ["30 pairs are too few for an interval of the mean."]


def test_pairs_that_differ_alike() -> None:
    """The second run falls behind: each request waits 10 us longer than the one before, as 200 steps of a ramp."""
    base, other = ([Request(at * 1000, {RUN: 10, QUEUE: us * at}) for at in range(200)] for us in (0, 10))
    found = compared(result(base, end_us=200_000), result(other, end_us=200_000))
    [line] = own(found)
    assert 10 < found.reach < 100
    assert line.startswith("About ")
    assert line.endswith("independent ones: too few for an interval of the mean.")
    assert " requests in a row differ alike, so 200 pairs are worth some " in line


def test_requests_in_one_run_only() -> None:
    rows = [Request(at * 1000, {RUN: 10}, status="ok" if at < 118 else "error") for at in range(120)]
    found = compared(result(rows), same(120, {RUN: 10}, warmup="10ms"))
    assert own(found) == [
        "Requests that count in one run only are left out: 10 of 118 in ide, 2 of 110 in virtio. "
        "The means and percentiles here are of the pairs.",
        "Requests that failed or had no end are in no pair, and they may be the slowest: 2 in ide.",
    ]


def test_another_seed() -> None:
    assert own(compared(same(120, {RUN: 10}), same(120, {RUN: 10}, seed=2))) == [
        "The seeds differ: both runs have the same requests but not the same draws, "
        "so their chance is in each difference."
    ]


def test_another_version() -> None:
    first, second = same(120, {RUN: 10}), same(120, {RUN: 10})
    second.summary["iosim"] = "99.0"
    assert own(compared(first, second)) == [
        f"The versions of iosim differ, {first.summary['iosim']} and 99.0: "
        "a part of the difference may be the program's."
    ]


def clones(n: int) -> Result:
    rows = [Request(at * 10, {RUN: 10}, vm=f"web#{at % n}") for at in range(120 * n)]
    return result(rows, scenario(vms=[{"name": "web", "count": n, "drive": [{}]}]))


def test_vms_of_one_run_only() -> None:
    other = clones(8)
    other.requests["request"] = np.arange(len(other.requests)) // 8
    base = clones(2)
    base.requests["request"] = np.arange(len(base.requests)) // 2
    assert own(compared(base, other)) == [
        "Only virtio has web#2 to web#7, 6 in all.",
        "Requests that count in one run only are left out: 720 of 960 in virtio. "
        "The means and percentiles here are of the pairs.",
    ]
    assert own(compared(other, base))[0] == "Only ide has web#2 to web#7, 6 in all."


def test_another_trace() -> None:
    first, second = (with_traces(same(120, {RUN: 10}), {0: content}) for content in ("old", "new"))
    assert own(compared(first, second)) == [
        "Nothing is paired: the traces of ide and virtio have different content. Each run is taken for itself, so the "
        "difference has the noise of both, and what else differs between their requests."
    ]


def test_another_name_of_the_vm() -> None:
    rows = [Request(at * 1000, {RUN: 10}, vm="web#0") for at in range(120)]
    many = result(rows, scenario(vms=[{"name": "web", "count": 2, "drive": [{}]}]))
    assert own(compared(same(120, {RUN: 10}), many)) == [
        "Nothing is paired: no request of ide has the VM, drive and number of one of virtio. Each run is taken for "
        "itself, so the difference has the noise of both, and what else differs between their requests.",
        "Only ide has web.",
        "Only virtio has web#0.",
    ]


def test_one_drive_with_another_trace() -> None:
    rows = [Request(at * 1000, {RUN: 10}, drive=at % 2) for at in range(240)]
    first, second = (with_traces(result(rows, scenario([{}, {}])), {1: content}) for content in ("old", "new"))
    assert own(compared(first, second)) == [
        "Another trace for web, drive 1: these requests are in no pair.",
        "Requests that count in one run only are left out: 120 of 240 in ide, 120 of 240 in virtio. "
        "The means and percentiles here are of the pairs.",
    ]


def test_doubts_of_the_runs_are_said_once_or_with_their_names() -> None:
    figures = {"published": 6, "assumed": 4}
    rows = [Request(at * 1000, {RUN: 10}) for at in range(120)]
    runs = [
        Run(name, name, result(rows, end_us=120_000, resources=[("web/bql", 1, busy)], figures=figures))
        for name, busy in (("a", 10), ("b", 114_000), ("c", 114_000))
    ]
    lines = doubts([compare(runs[0], other) for other in runs[1:]])
    assert [line for line in lines if "assumed" in line] == [
        "4 of the 10 costs in mine are assumed; iosim profiles mine says which."
    ]
    assert [line for line in lines if "busy" in line] == [
        "b, c: web/bql is busy for 95% of the time: requests queue, and their latency depends on the length of the run."
    ]


def test_of_several_runs_each_doubt_names_the_one_that_it_is_about() -> None:
    runs = [Run(name, name, same(120, {RUN: 10}, seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    lines = [line for line in doubts([compare(runs[0], other) for other in runs[1:]]) if "seeds" in line]
    assert len(lines) == 1
    assert lines[0].startswith("c: The seeds differ: ")


# What runs are called


@pytest.mark.parametrize(
    ("folders", "width", "expected"),
    [
        (["reports/ide", "reports/virtio"], 80, ["ide", "virtio"]),
        (["a/demo", "b/demo"], 120, ["A", "B"]),
        (["reports/virtio-blk-iothread", "reports/ide"], 120, ["virtio-blk-iothread", "ide"]),
        (["reports/virtio-blk-iothread", "reports/ide"], 80, ["A", "B"]),
        (["reports/difference", "reports/ide"], 120, ["A", "B"]),
        (["a\nb", "c\x1b[31m"], 120, ["a?b", "c?[31m"]),
        (["/", "x"], 120, ["A", "B"]),
        ([f"d{n}/x" for n in range(28)], 120, [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "R27", "R28"]),
    ],
)
def test_runs_are_called_by_their_folder_or_by_letters(folders: list[str], width: int, expected: list[str]) -> None:
    assert names([Path(folder) for folder in folders], width) == expected


def test_what_would_move_the_cursor_is_a_question_mark() -> None:
    assert printable("ide\t\x1b]0;x\x07\u202e") == "ide??]0;x??"
