"""virtio-blk timelines worked out by hand: every cost 100 ns, requests from 1 ms on, the guest asleep in HLT.

In units of 100 ns, by cost keys (QEMU 7.2, Linux 6.1 unless said otherwise):

* KICK: guest 2 (kick_prepare, vp_notify), exit 7, KVM 5 with MMIO (leave_guest, handle_exit, handle_io, kernel_pio,
  ioeventfd_write), 6 with port I/O (fast_pio more). The entry behind it is on nobody's account.
* NOTICE 3: main_loop.wake, dispatch, host_notifier_read.
* TAKE 3: virtqueue_pop, one page mapped, virtio_blk_handle_request.
* SUBMIT 7: submit_multireq, blk_aio_prwv, coroutine, two nodes, raw_co_prw, thread pool; then submit_return.
* WORKER 3 + 2: dequeue, pwrite, one page; syscall_return, notify.
* COMPLETE 2 + 2 + 3: thread_pool_completion, coroutine_resume; rw_complete, virtqueue_push; virtio_notify,
  irqfd_wakeup, deliver_edge.
* HANDLE 2: vring_interrupt, virtqueue_get_buf; behind each request guest.complete on nobody's account.
"""

from typing import Any

import pytest

from iosim.results.result import Result
from tests.support import Row, constant_profile, scenario, simulate
from tests.test_timelines import (
    AIO_COLD_NEW,
    COMPLETION_WAIT,
    DISK,
    EXIT,
    INTERRUPT_TO_HALTED,
    NS,
    WAKE_FOR_ARRIVAL,
    WORKER,
    stages,
    times,
)

pytestmark = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

ADD = 2 * NS
TAKE, SUBMIT = 3 * NS, 7 * NS
COMPLETE = 7 * NS


def run(exact: bool, rows: list[Row], drive: dict[str, Any] | None = None, **more: Any) -> Result:
    disk = more.pop("disk", {"model": "constant", "service": "90us", "flush": "500us"})
    costs = more.pop("costs", {})
    described = scenario(
        [{"interface": "virtio-blk", **(drive or {})}], [disk], run={"exact_exits": exact, "slowest": 0}, **more
    )
    return simulate(described, [rows], constant_profile(NS, **costs))


def busy_ns(result: Result) -> dict[str, int]:
    return dict(zip(result.resources["resource"], result.resources["busy_ns"].tolist(), strict=True))


def counts(result: Result) -> list[list[int]]:
    """[exits, userspace_exits, irqs, irq_line_ioctls] of each request."""
    rows: list[list[int]] = result.requests[["exits", "userspace_exits", "irqs", "irq_line_ioctls"]].to_numpy().tolist()
    return rows


WRITE = (1_000_000, "W", 0, 8)
ONE = {
    "guest_run": (2 + 2 + 2) * NS,  # queue_rq, add; kick_prepare, vp_notify; vring_interrupt, get_buf
    "vm_exit": EXIT,
    "kvm_exit_handling": 5 * NS,
    "submit_wait": 3 * NS,
    "qemu_submit": TAKE + SUBMIT,
    "aio_wait": 5 * NS,  # submit_return, poll, dispatch, spawn, start: the main loop itself has to spawn the worker
    "aio_worker": WORKER,
    "disk_service": DISK,
    "completion_wait": COMPLETION_WAIT,
    "completion": COMPLETE,
    "irq_delivery": WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED,
}


def test_one_request_from_end_to_end(exact: bool) -> None:
    result = run(exact, [WRITE])
    assert stages(result.requests.iloc[0]) == ONE
    assert times(result) == [(1_000_000, 1_000_400, 1_000_000 + sum(ONE.values()))]
    assert sum(ONE.values()) == 96_000
    assert counts(result) == [[1, 0, 1, 0]]


def test_legacy_doorbell_is_a_port(exact: bool) -> None:
    result = run(exact, [WRITE], {"transport": "pio"})
    assert stages(result.requests.iloc[0]) == {**ONE, "kvm_exit_handling": 6 * NS}
    assert counts(result) == [[1, 0, 1, 0]]


def test_without_ioeventfd_the_vcpu_submits_in_its_exit(exact: bool) -> None:
    result = run(exact, [WRITE], {"transport": "pio", "ioeventfd": False})
    expected = {
        **ONE,
        "kvm_exit_handling": 6 * NS,  # return_to_userspace instead of ioeventfd_write
        "qemu_dispatch": 6 * NS,  # post_run, handle_io, address_space_rw, mutex_lock, dispatch, virtio_queue_notify
        "aio_wait": AIO_COLD_NEW,
    }
    del expected["submit_wait"]
    assert stages(result.requests.iloc[0]) == expected
    assert counts(result) == [[1, 1, 1, 0]]


@pytest.mark.parametrize("ioeventfd", [True, False])
def test_an_interrupt_line_costs_ioctls_and_a_read_of_the_isr_status(ioeventfd: bool, exact: bool) -> None:
    result = run(exact, [WRITE], {"transport": "pio", "irq": "line", "ioeventfd": ioeventfd})
    isr = {
        "guest_run": NS,  # vp_interrupt
        "vm_exit": EXIT,
        "kvm_exit_handling": 6 * NS,
        # post_run, handle_io, address_space_rw, mutex_lock, dispatch, isr_read, two ioctls, mutex_unlock
        "qemu_dispatch": 9 * NS,
        "vm_entry": 6 * NS,  # pre_run, vcpu_ioctl, complete_userspace_io, enter_guest, load_guest_registers, vmresume
    }
    expected = {stage: ONE.get(stage, 0) + isr.get(stage, 0) for stage in {**ONE, **isr}}
    expected["kvm_exit_handling"] += NS  # the doorbell is a port
    expected["completion"] = (2 + 2 + 1 + 3) * NS  # virtio_notify; pci_set_irq, the first ioctl, deliver_edge
    if ioeventfd:
        # The guest notifier is an eventfd of the main loop's: event_notifier_set; poll, dispatch; guest_notifier_read.
        expected["completion"] += 2 * NS
        expected["completion_wait"] += 2 * NS
    else:
        expected["qemu_dispatch"] += 6 * NS  # as in test_without_ioeventfd_the_vcpu_submits_in_its_exit
        expected["aio_wait"] = AIO_COLD_NEW
        del expected["submit_wait"]
    assert stages(result.requests.iloc[0]) == expected
    # The kick, the ISR read; raised and lowered by two ioctls each. (The EOI comes behind the request.)
    assert counts(result) == [[2, 1 if ioeventfd else 2, 1, 4]]


def test_one_signal_of_the_guest_notifier_serves_what_was_pushed_before_the_main_loop_reads_it(exact: bool) -> None:
    # Two operations that two servers end at once. The pool completes the one first that was submitted last.
    drive = {"transport": "pio", "irq": "line"}
    disk = {"model": "constant", "service": "90us", "servers": 2}
    result = run(exact, [WRITE, (1_000_000, "W", 1000, 8)], drive, disk=disk)
    assert [row[2:] for row in counts(result)] == [[0, 0], [1, 4]]


def test_qemu_1_6_and_linux_3_10(exact: bool) -> None:
    result = run(exact, [WRITE], qemu="1.6", kernel="3.10")
    assert stages(result.requests.iloc[0]) == {
        **ONE,
        "kvm_exit_handling": 6 * NS,
        "completion": COMPLETE + 3 * NS,  # poll, dispatch, bdrv_co_em_bh: the extra bottom half
        "irq_delivery": ONE["irq_delivery"] + NS + EXIT + 6 * NS,  # guest.eoi, its exit, 3 in KVM, 3 back
    }
    assert counts(result) == [[2, 0, 1, 0]]


def test_a_kick_is_suppressed_while_the_ring_is_being_emptied(exact: bool) -> None:
    # First request: on the ring at 600, signal at 2,000, QEMU takes it out at 2,300 with notifications off, looks
    # again at 2,600. Second: arrives at 2,000, the vCPU is back in the guest at 2,300, on the ring at 2,500, no kick
    # at 2,600.
    result = run(exact, [WRITE, (1_002_000, "W", 1000, 8)])
    first, second = (stages(result.requests.iloc[n]) for n in (0, 1))
    # Both are submitted behind the second's TAKE. The worker for the first is spawned 1,200 after that, in the turn of
    # the main loop behind both submissions, and starts the one for the second.
    assert first == {
        **ONE,
        "qemu_submit": TAKE + TAKE + SUBMIT,
        "aio_wait": (1 + 8 + 1) * NS - NS + 5 * NS,  # the second's submission; poll, dispatch, spawn, start, spawn
    }
    assert second == {
        "guest_queue": 300,
        "guest_run": ADD + NS + 2 * NS,  # kick_prepare, but no vp_notify
        "qemu_submit": TAKE + 8 * NS + SUBMIT,  # meanwhile the first's SUBMIT and submit_return
        "aio_wait": (1 + 5 + 1) * NS,  # submit_return; as the first's; start
        "aio_worker": WORKER,
        "disk_wait": DISK - NS,  # one server: the first got there 100 earlier
        "disk_service": DISK,
        "completion_wait": COMPLETION_WAIT,
        "completion": COMPLETE,
        "irq_delivery": INTERRUPT_TO_HALTED,
    }
    assert times(result) == [(1_000_000, 1_000_400, 1_097_200), (1_002_000, 1_002_300, 1_187_200)]
    assert counts(result) == [[1, 0, 1, 0], [0, 0, 1, 0]]


def test_a_full_ring_keeps_the_fifth_request_waiting(exact: bool) -> None:
    rows: list[Row] = [(1_000_000, "W", sector, 8) for sector in (0, 1000, 2000, 3000, 4000)]
    result = run(exact, rows, {"queue_size": 4})
    table = result.requests
    # On the ring at 600, 800, 1,000, 1,200; kick up to 2,600; taken out from 2,900 to 4,100; submitted up to 7,300;
    # four workers in a chain, the first from 7,800. The disk has one server and begins with the first at 8,100.
    first = stages(table.iloc[0])
    assert first == {
        **ONE,
        "submit_wait": 3 * ADD + 3 * NS,  # while the others are added; behind the kick that the first pays for
        "qemu_submit": 4 * TAKE + SUBMIT,
        # The other submissions, with submit_return 8 each, and its own; poll, dispatch, spawn, start, spawn.
        "aio_wait": (3 * 8 + 1 + 5) * NS,
    }
    assert sum(first.values()) == 100_000
    # Behind it guest.complete; then the fifth is dispatched, and is the last of those at the disk.
    fifth = stages(table.iloc[4])
    assert fifth == {
        **ONE,
        "guest_queue": 100_100,
        "aio_wait": NS,  # worker_wake
        "disk_wait": 8_100 + 4 * DISK - 103_400,
        "irq_delivery": INTERRUPT_TO_HALTED,
    }
    assert times(result) == [
        (1_000_000, 1_000_400, 1_100_000),
        (1_000_000, 1_000_600, 1_190_000),
        (1_000_000, 1_000_800, 1_280_000),
        (1_000_000, 1_001_000, 1_370_000),
        (1_000_000, 1_100_100, 1_460_000),
    ]
    assert counts(result) == [[1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0], [1, 0, 1, 0]]
    (ring,) = result.resources[result.resources["resource"] == "web/drive0"].to_dict("records")
    assert (int(ring["servers"]), int(ring["max_queue"])) == (4, 5)
    # From the ring to the end of the request: the fifth from 100,300 on.
    assert ring["busy_ns"] == 99_400 + 189_200 + 279_000 + 368_800 + 359_700


def test_neighbours_are_merged_into_one_operation(exact: bool) -> None:
    result = run(exact, [WRITE, (1_000_000, "W", 8, 8)])
    first, second = (stages(result.requests.iloc[n]) for n in (0, 1))
    common = {
        "aio_wait": 5 * NS,
        "aio_worker": WORKER + NS,  # one page more
        "disk_service": DISK,
        "completion_wait": COMPLETION_WAIT,
    }
    assert first == {**ONE, **common, "submit_wait": ADD + 3 * NS, "qemu_submit": TAKE + TAKE + SUBMIT}
    assert second == {
        **common,
        "guest_queue": WAKE_FOR_ARRIVAL + ADD,
        "guest_run": ADD + NS,
        "submit_wait": 2 * NS + EXIT + 5 * NS + 3 * NS + TAKE,
        "qemu_submit": TAKE + SUBMIT,
        "completion": 2 * NS + 5 * NS + 3 * NS,  # both resumed; the first's rw_complete ... deliver_edge; its own
        "irq_delivery": 6 * NS,
    }
    assert [done for _, _, done in times(result)] == [1_096_600, 1_096_800]
    assert counts(result) == [[1, 0, 1, 0], [0, 0, 0, 0]]
    assert busy_ns(result)["disk/sda"] == DISK


def test_writes_submitted_together_are_complete_together_in_1_6(exact: bool) -> None:
    # bdrv_aio_multiwrite: the disk serves one behind the other, both callbacks come behind the second. The two
    # complete the same way, so the first has to wait for one service more.
    result = run(exact, [WRITE, (1_000_000, "W", 1000, 8)], qemu="1.6")
    first, second = (stages(result.requests.iloc[n]) for n in (0, 1))
    assert (first["completion_wait"], second["completion_wait"]) == (COMPLETION_WAIT + DISK, COMPLETION_WAIT)
    # poll, dispatch, bdrv_co_em_bh more than in 7.2. The second waits for the first's rw_complete, virtqueue_push,
    # virtio_notify, irqfd_wakeup, deliver_edge, and finds the interrupt under way.
    assert first["completion"] == COMPLETE + 3 * NS
    assert second["completion"] == 2 * NS + 3 * NS + 5 * NS + 3 * NS
    assert counts(result)[0][2] + counts(result)[1][2] == 1
    assert times(result)[1][2] - times(result)[0][2] == 2 * NS  # guest.complete, virtqueue_get_buf
    apart = times(run(exact, [WRITE, (1_000_000, "W", 1000, 8)], qemu="7.2"))
    assert apart[1][2] - apart[0][2] == DISK


def test_an_iothread_needs_no_bql_and_has_its_own_pool(exact: bool) -> None:
    result = run(exact, [WRITE], {"iothread": "io0"})
    # aio_poll finds the bottom half that spawns the worker without a system call: submit_return, dispatch, spawn,
    # start.
    assert stages(result.requests.iloc[0]) == {**ONE, "aio_wait": 4 * NS}
    busy = busy_ns(result)
    assert (busy["web/bql"], busy["web/main_loop"], busy["web/pool"]) == (0, 0, 0)
    assert busy["web/iothread/io0/pool"] > DISK
    # NOTICE, TAKE, SUBMIT, submit_return; dispatch, spawn; wake, dispatch, COMPLETE; dispatch: the completion has
    # scheduled a bottom half and cancelled it.
    assert busy["web/iothread/io0"] == (3 + 3 + 7 + 1 + 2 + 2 + 7 + 1) * NS


POLLED = {
    "guest_run": ADD + NS + 2 * NS,  # queue_rq, add; kick_prepare; vring_interrupt, get_buf
    "submit_wait": NS,  # run_poll_handlers_once, dispatch, less kick_prepare beside them
    "qemu_submit": TAKE + SUBMIT,
    "aio_wait": NS,  # worker_wake
    "aio_worker": WORKER,
    "disk_service": 10_000,
    "completion_wait": COMPLETION_WAIT,  # run_poll_handlers_once, dispatch
    "completion": COMPLETE,
    "irq_delivery": WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED,
}


PERIODIC: list[Row] = [(1_000_000 + 30_000 * n, "W", 0, 8) for n in range(12)]
"""Between the events of the iothread lie about 10 and 17 us: its polling time grows 4, 8, 16, 32 us and catches them,
from the 8th request on at the latest: at least the last four periods of 30 us."""


def test_a_polling_iothread_needs_no_kick(exact: bool) -> None:
    drive = {"iothread": True, "event_idx": False}
    result = run(exact, PERIODIC, drive, disk={"model": "constant", "service": "10us"})
    # The interrupt waits for a bottom half: dispatch more, the check of virtio_notify in it.
    assert stages(result.requests.iloc[-1]) == {**POLLED, "completion": COMPLETE + NS}
    assert counts(result)[-1] == [0, 0, 1, 0]
    assert sum(POLLED.values()) == 14_100
    kicked = [row[0] for row in counts(result)]
    assert (kicked[0], kicked[-4:]) == (1, [0, 0, 0, 0])
    assert busy_ns(result)["web/iothread/drive:0"] > 4 * 30_000


def test_a_bottom_half_ends_poll_mode_and_with_event_indices_that_is_a_kick(exact: bool) -> None:
    # The worker's bottom half ends poll mode: avail_event moves to the present index, stays there when the loop polls
    # again, and the next request passes it. The exit is nobody's time: the loop has found the request by itself.
    result = run(exact, PERIODIC, {"iothread": True}, disk={"model": "constant", "service": "10us"})
    assert stages(result.requests.iloc[-1]) == {
        **{stage: ns for stage, ns in POLLED.items() if stage != "submit_wait"},
        "guest_run": ADD + 2 * NS + 2 * NS,  # queue_rq, add; kick_prepare, vp_notify beside the iothread's 200
    }
    assert counts(result) == [[1, 0, 1, 0]] * 12


@pytest.mark.parametrize(("event_idx", "kicks"), [(True, [1, 1, 1, 1]), (False, [0, 0, 0, 0])])
@pytest.mark.parametrize("aio", ["native", "io_uring"])
def test_linux_aio_and_io_uring_schedule_a_bottom_half_too(
    aio: str, event_idx: bool, kicks: list[int], exact: bool
) -> None:
    drive = {"iothread": True, "aio": aio, "event_idx": event_idx}
    result = run(exact, PERIODIC, drive, disk={"model": "constant", "service": "10us"})
    assert [row[0] for row in counts(result)][-4:] == kicks
    assert busy_ns(result)["web/iothread/drive:0"] > 4 * 30_000


def test_polled_completions_need_no_wake_up(exact: bool) -> None:
    # The bottom half that is scheduled and cancelled costs a turn behind the submission and behind the completion.
    drive = {"iothread": True, "aio": "native", "event_idx": False}
    last = run(exact, PERIODIC, drive, disk={"model": "constant", "service": "10us"}).requests.iloc[-1]
    assert last["completion_wait_ns"] == 2 * NS  # run_poll_handlers_once, dispatch


def test_poll_max_ns_0_never_polls(exact: bool) -> None:
    rows: list[Row] = [(1_000_000 + 30_000 * n, "W", 0, 8) for n in range(12)]
    drive = {"iothread": True, "poll_max_ns": 0}
    result = run(exact, rows, drive, disk={"model": "constant", "service": "10us"})
    assert [row[0] for row in counts(result)] == [1] * 12


BUSY_VCPU: dict[str, Any] = {
    "background": [{"reason": "CPUID", "rate": 1000.0, "arrivals": "periodic"}],
    "costs": {"guest__background": 50_000},
}
"""From 1,000,400 on the guest computes for 50 us, then takes a CPUID exit."""


def test_an_interrupt_takes_a_running_vcpu_out_of_the_guest(exact: bool) -> None:
    result = run(exact, [(910_000, "W", 0, 8)], **BUSY_VCPU)
    interrupt = (
        EXIT
        + 3 * NS  # leave_guest, handle_exit, handle_external_interrupt
        + 4 * NS  # enter_guest, inject_pending_event, load_guest_registers, vmresume
        + NS  # interrupt_entry
    )
    assert stages(result.requests.iloc[0]) == {**ONE, "irq_delivery": WAKE_FOR_ARRIVAL + interrupt}
    assert counts(result) == [[2, 0, 1, 0]]


def test_a_posted_interrupt_does_not(exact: bool) -> None:
    result = run(exact, [(910_000, "W", 0, 8)], apicv=True, **BUSY_VCPU)
    # posted_interrupt, interrupt_entry
    assert stages(result.requests.iloc[0]) == {**ONE, "irq_delivery": WAKE_FOR_ARRIVAL + 2 * NS}
    assert counts(result) == [[1, 0, 1, 0]]
    assert "EXTERNAL_INTERRUPT" not in set(result.exits["reason"])


def test_a_request_above_seg_max_is_sent_in_parts_one_after_another(exact: bool) -> None:
    result = run(exact, [(1_000_000, "W", 0, 12)], {"seg_max": 1})
    again = {
        **ONE,
        "aio_wait": NS,
        "irq_delivery": INTERRUPT_TO_HALTED,
        "guest_queue": NS,  # guest.complete of the first part
    }
    assert stages(result.requests.iloc[0]) == {stage: ONE.get(stage, 0) + again[stage] for stage in again}
    assert counts(result) == [[2, 0, 2, 0]]
