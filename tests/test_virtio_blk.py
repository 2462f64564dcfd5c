"""virtio-blk: kicks and interrupts per batch, merging, what each setting changes and in which direction."""

from typing import Any

import pytest

from iosim.model.costs import load_profile
from iosim.results.result import Result
from tests.support import Row, constant_profile, drawn_profile, scenario, simulate

SERVICE = 90_000
MODES = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])


def run(rows: list[Row], drive: dict[str, Any] | None = None, exact: bool = False, **vm: Any) -> Result:
    profile = vm.pop("profile", constant_profile())
    described = scenario([{"interface": "virtio-blk", **(drive or {})}], run={"exact_exits": exact}, **vm)
    return simulate(described, [rows], profile)


def at_once(*rows: tuple[str, int, int]) -> list[Row]:
    return [(1_000_000, *row) for row in rows]


def operations(result: Result) -> float:
    """How many operations the disk has served, each 90 us."""
    return busy_ns(result)["disk/sda"] / SERVICE


def busy_ns(result: Result) -> dict[str, int]:
    return dict(zip(result.resources["resource"], result.resources["busy_ns"].tolist(), strict=True))


def exits(result: Result, reason: str) -> int:
    rows = result.exits[result.exits["reason"] == reason]
    return int(rows["count"].sum())


@MODES
@pytest.mark.parametrize(
    ("vm", "drive", "userspace"),
    [
        ({}, {}, 0),
        ({}, {"transport": "pio"}, 0),
        ({}, {"ioeventfd": False}, 1),
        ({}, {"iothread": True}, 0),
        ({"qemu": "1.6", "kernel": "3.10", "eoi": "none"}, {}, 0),
        ({"qemu": "1.6", "kernel": "3.10", "eoi": "none"}, {"ioeventfd": False}, 1),
        ({"apicv": True}, {}, 0),
    ],
)
@pytest.mark.parametrize("row", [("W", 0, 1), ("W", 0, 512), ("R", 64, 8)])
def test_a_request_alone_has_one_exit_whatever_its_size(
    vm: dict[str, Any], drive: dict[str, Any], userspace: int, row: tuple[str, int, int], exact: bool
) -> None:
    # domain.md section 9: one hardware exit, none to userspace with ioeventfd. The vCPU sleeps, so no exit for the
    # interrupt.
    table = run(at_once(row), drive, exact, **vm).requests
    counted = table[["exits", "userspace_exits", "irqs", "irq_line_ioctls"]].to_numpy().tolist()
    assert counted == [[1, userspace, 1, 0]]


def test_the_end_of_an_edge_interrupt_is_one_exit_more() -> None:
    assert run(at_once(("W", 0, 8)), eoi="x2apic").requests["exits"].tolist() == [2]


@MODES
def test_a_batch_has_one_kick_and_the_first_request_pays(exact: bool) -> None:
    result = run(at_once(*[("W", 1000 * n, 8) for n in range(8)]), exact=exact)
    assert exits(result, "EPT_MISCONFIG") == 1
    assert result.requests["exits"].tolist() == [1] + [0] * 7
    # The disk serves one after another, so each has its interrupt: queue_rq, add; vring_interrupt, get_buf.
    assert result.requests["guest_run_ns"].tolist() == [600] + [400] * 7


@MODES
def test_requests_that_come_while_the_vcpu_is_busy_are_one_batch(exact: bool) -> None:
    # A background exit of 50 us from 1,000,400 on; eight requests come meanwhile, 1 us apart.
    rows: list[Row] = [(1_010_000 + 1_000 * n, "W", 1000 * n, 8) for n in range(8)]
    background = [{"reason": "CPUID", "rate": 1000.0, "arrivals": "periodic"}]
    profile = constant_profile(guest__background=50_000)
    result = run(rows, exact=exact, background=background, profile=profile)
    assert exits(result, "EPT_MISCONFIG") == 1


def test_qemu_1_6_leaves_kicks_on_while_it_empties_the_ring() -> None:
    # The second request reaches the ring while QEMU is at work on the first (test_virtio_timelines.py).
    rows: list[Row] = [(1_000_000, "W", 0, 8), (1_002_000, "W", 1000, 8)]
    assert run(rows, transport_of("pio"), qemu="7.2").requests["exits"].tolist() == [1, 0]
    assert run(rows, transport_of("pio"), qemu="1.6").requests["exits"].tolist() == [1, 1]


def transport_of(kind: str) -> dict[str, Any]:
    return {"transport": kind}


MERGING: dict[str, tuple[list[tuple[str, int, int]], dict[str, Any], dict[str, Any], int]] = {
    "neighbours": ([("W", 0, 8), ("W", 8, 8), ("W", 16, 8)], {}, {}, 1),
    "in any order": ([("W", 16, 8), ("W", 0, 8), ("W", 8, 8)], {}, {}, 1),
    "with gaps": ([("W", 0, 8), ("W", 16, 8), ("W", 32, 8)], {}, {}, 3),
    "reads": ([("R", 0, 8), ("R", 8, 8)], {}, {}, 1),
    "reads in 1.6": ([("R", 0, 8), ("R", 8, 8)], {}, {"qemu": "1.6"}, 2),
    "writes in 1.6": ([("W", 0, 8), ("W", 8, 8)], {}, {"qemu": "1.6"}, 1),
    "overlapping": ([("W", 0, 8), ("W", 4, 8)], {}, {}, 2),
    "overlapping in 1.6": ([("W", 0, 8), ("W", 4, 8)], {}, {"qemu": "1.6"}, 1),
    "one within another in 1.6": ([("W", 0, 32), ("W", 8, 8)], {}, {"qemu": "1.6"}, 1),
    "both directions": ([("W", 0, 8), ("W", 8, 8), ("R", 16, 8), ("R", 24, 8)], {}, {}, 2),
    "at most 32": ([("W", 8 * n, 8) for n in range(40)], {}, {}, 2),
    "switched off": ([("W", 0, 8), ("W", 8, 8), ("W", 16, 8)], {"request_merging": False}, {}, 3),
    "at most 1024 segments": ([("W", 4096 * n, 4096) for n in range(4)], {"max_sectors": 8192, "seg_max": 512}, {}, 2),
    "at most 1023 in 1.6": (
        [("W", 4096 * n, 4096) for n in range(4)],
        {"max_sectors": 8192, "seg_max": 512},
        {"qemu": "1.6"},
        4,
    ),
}


@MODES
@pytest.mark.parametrize("case", MERGING)
def test_merging(case: str, exact: bool) -> None:
    rows, drive, vm, expected = MERGING[case]
    assert operations(run(at_once(*rows), drive, exact, **vm)) == expected


@MODES
def test_a_flush_submits_the_writes_before_it(exact: bool) -> None:
    # (7.2 elides it: no write has been completed yet.)
    result = run(at_once(("W", 0, 8), ("W", 8, 8), ("F", 0, 0)), exact=exact, qemu="1.6")
    assert operations(result) == 2
    assert result.requests["disk_service_ns"].tolist() == [SERVICE] * 3


@MODES
def test_a_reset_ends_what_is_on_the_ring_in_the_block_layer_and_merged(exact: bool) -> None:
    rows = at_once(*[("W", 8 * n, 8) for n in range(6)])
    event = [{"at": "1050us", "kind": "shutdown"}]
    table = run(rows, {"queue_size": 4}, exact, event=event).requests
    assert set(table["status"]) == {"error"}
    assert table["disk_service_ns"].tolist()[:4] == [table["disk_service_ns"].tolist()[0]] * 4
    assert table["guest_queue_ns"].tolist()[4:] == table["latency_ns"].tolist()[4:]


@MODES
def test_a_reset_ends_the_request_that_the_driver_has_in_hand(exact: bool) -> None:
    # virtio_queue_rq from 1,000,400 to 1,000,600. The vCPU is in the guest: the reset takes it out of there.
    event = [{"at": "1000500ns", "kind": "shutdown"}]
    result = run(at_once(("W", 0, 8)), exact=exact, event=event)
    assert result.requests["status"].tolist() == ["error"]
    assert result.requests["issue_ns"].tolist() == [1_000_400]


def test_a_write_through_drive_gets_no_flush() -> None:
    table = run(at_once(("W", 0, 8), ("F", 0, 0)), {"cache": "directsync"}).requests
    assert table["latency_ns"].tolist()[1] == 0
    assert table["exits"].tolist() == [1, 0]


# Directions

LOAD: list[Row] = [(1_000_000 + 25_000 * n, "RW"[n % 2], 1000 * (n % 37), 8) for n in range(200)]


def loaded(drive: dict[str, Any], **vm: Any) -> Result:
    return run(LOAD, drive, profile=load_profile("vmx-2017"), **vm)


def vcpu_exit_ns(result: Result) -> int:
    rows = result.exits[result.exits["reason"] != "HLT"]
    return int(rows["total_ns"].sum())


def test_ioeventfd_keeps_the_vcpu_free() -> None:
    on, off = loaded({"transport": "pio"}), loaded({"transport": "pio", "ioeventfd": False})
    assert vcpu_exit_ns(on) < vcpu_exit_ns(off)
    assert on.requests["userspace_exits"].sum() == 0 < off.requests["userspace_exits"].sum()


def test_irqfd_is_cheaper_than_an_interrupt_line() -> None:
    irqfd, line = loaded({}), loaded({"irq": "line"})
    assert irqfd.requests["exits"].sum() < line.requests["exits"].sum()
    assert irqfd.requests["irq_line_ioctls"].sum() == 0 < line.requests["irq_line_ioctls"].sum()


def test_posted_interrupts_save_exits() -> None:
    background = [{"reason": "MSR_WRITE", "rate": 50_000.0}]
    profile = constant_profile(guest__background=15_000)
    without, posted = (run(LOAD, profile=profile, background=background, apicv=apicv) for apicv in (False, True))
    assert exits(without, "EXTERNAL_INTERRUPT") > 20
    assert exits(posted, "EXTERNAL_INTERRUPT") == exits(posted, "PENDING_INTERRUPT") == 0
    assert posted.requests["exits"].sum() < without.requests["exits"].sum()


def test_polling_saves_kicks_and_costs_cpu() -> None:
    drive = {"iothread": "io", "event_idx": False}
    polling, waiting = loaded(drive), loaded({**drive, "poll_max_ns": 0})
    assert polling.requests["exits"].sum() < waiting.requests["exits"].sum()
    assert busy_ns(polling)["web/iothread/io"] > busy_ns(waiting)["web/iothread/io"]


def test_an_iothread_does_not_wait_for_the_bql_of_another_drive() -> None:
    ide = {"transfer": "pio", "data_width": 16, "multiple": 1}
    results = [
        simulate(scenario([{"interface": "virtio-blk", "iothread": iothread}, ide]), [LOAD, LOAD], drawn_profile(300))
        for iothread in (False, True)
    ]
    main_loop, iothread = (result.requests[result.requests["drive"] == 0] for result in results)
    assert main_loop["bql_wait_ns"].sum() > 0
    assert iothread["bql_wait_ns"].sum() == 0


def test_virtio_has_fewer_exits_than_ide_dma() -> None:
    virtio = loaded({})
    ide = simulate(scenario(), [LOAD], load_profile("vmx-2017"))
    assert ide.requests["exits"].min() >= 26
    assert virtio.requests["exits"].max() <= 3
    assert virtio.requests["latency_ns"].mean() < ide.requests["latency_ns"].mean()


def test_a_larger_ring_never_holds_requests_back_longer() -> None:
    rows = at_once(*[("W", 1000 * n, 8) for n in range(64)])
    waits = [run(rows, {"queue_size": size}).requests["guest_queue_ns"].sum() for size in (4, 16, 64, 128)]
    assert waits == sorted(waits, reverse=True)
    assert waits[0] > waits[-1]


def test_two_drives_of_one_iothread_share_its_thread_and_pool() -> None:
    drives = [{"interface": "virtio-blk", "iothread": "io"}] * 2
    result = simulate(scenario(drives), at_once(("W", 0, 8)))
    names = [name for name in result.resources["resource"] if "iothread" in name]
    assert names == ["web/iothread/io", "web/iothread/io/pool"]


def test_requests_of_ide_and_virtio_drives_of_one_vm() -> None:
    drives: list[dict[str, Any]] = [{"interface": "virtio-blk"}, {"index": 2}, {"interface": "virtio-blk"}, {}]
    result = simulate(scenario(drives), at_once(("W", 0, 8)))
    assert result.requests["userspace_exits"].tolist() == [0, 26, 0, 26]
    names = set(result.resources["resource"])
    assert {"web/channel0", "web/channel1", "web/drive0", "web/drive2"} <= names
