"""What goes wrong, worked out by hand: I/O errors and their policies, stops, resets and restarts.

Costs and their names are those of tests/test_timelines.py: every cost 100 ns, the disk 90 us, QEMU 7.2 and Linux 6.1.
"""

from typing import Any

import pandas as pd
import pytest

from iosim.results.result import Result
from tests.support import Row, constant_profile, scenario, simulate
from tests.test_timelines import (
    AIO_WARM,
    ARRIVAL,
    BEHIND_SUBMISSION,
    COMPLETION_NEW,
    COMPLETION_WAIT,
    DISK,
    DMA_BEFORE_SUBMISSION,
    DMA_GUEST,
    DMA_INTERRUPT,
    DMA_WRITE,
    EXIT,
    IN,
    INTERRUPT_TO_HALTED,
    KVM,
    NEW,
    NEW_BM,
    NEW_ENTRY,
    NEW_STATUS,
    NS,
    WAKE_FOR_ARRIVAL,
    WORKER,
    stages,
)

MS = 1_000_000

both_modes = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])


def run(rows: list[Row], exact: bool = False, faults: Any = ({},), drive: Any = None, **vm: Any) -> Result:
    """One drive, DMA unless *drive* says otherwise, on a disk with *faults*."""
    return simulate(
        scenario(
            drives=[drive or {}],
            disks=[{"model": "constant", "service": "90us", "fault": list(faults)}],
            run={"exact_exits": exact, **vm.pop("run", {})},
            **vm,
        ),
        rows,
        constant_profile(NS),
    )


def events(result: Result) -> list[tuple[int, int, int, str, str]]:
    """Time, drive, request, event and why of each row, for a single VM."""
    columns = result.events[["time_ns", "drive", "request", "event", "why"]]
    return list(columns.itertuples(index=False, name=None))


def outcomes(result: Result) -> list[tuple[str, str]]:
    return list(result.requests[["status", "error"]].itertuples(index=False, name=None))


def plus(*parts: dict[str, int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for stage, ns in part.items():
            total[stage] = total.get(stage, 0) + ns
    return total


WRITE: Row = (ARRIVAL, "W", 0, 1)

TF_READ = {
    "guest_run": 7 * NS,  # R 1f7, R 1f1 to 1f6
    "vm_exit": 7 * EXIT,
    "kvm_exit_handling": 7 * KVM,
    "qemu_dispatch": NEW_STATUS + 6 * NEW,
    "vm_entry": 7 * (NEW_ENTRY + IN),
}
ERROR_HANDLER = {
    "guest_run": NS + 4 * NS,  # error_handler; R bm+2, R bm+0, W bm+0, R 3f6
    "vm_exit": 4 * EXIT,
    "kvm_exit_handling": 4 * KVM,
    "qemu_dispatch": 3 * NEW_BM + NEW,
    "vm_entry": 4 * NEW_ENTRY + 3 * IN,
}
REPEATED = plus(
    DMA_BEFORE_SUBMISSION,
    {"aio_wait": AIO_WARM, **BEHIND_SUBMISSION, "irq_delivery": INTERRUPT_TO_HALTED},
    DMA_INTERRUPT,
)
"""The same command again: the worker is there, the vCPU is awake when it is issued."""
BEFORE_THE_CALLBACK = 1_000_400 + 81_200 + 500 + WORKER + DISK + COMPLETION_WAIT + 300
"""Arrival and wake-up, up to the submission, cold pool, worker and disk, main loop; thread_pool_completion,
coroutine_resume and ide_dma_cb: here the device learns of the error."""


@both_modes
def test_eio_with_report_ends_the_request_after_the_error_handler(exact: bool) -> None:
    result = run([WRITE], exact, drive={"retries": 0})
    failed = plus(DMA_WRITE, TF_READ, ERROR_HANDLER)
    assert stages(result.requests.iloc[0]) == failed
    assert outcomes(result) == [("error", "EIO")]
    assert int(result.requests["done_ns"].iloc[0]) == ARRIVAL + sum(failed.values())
    assert BEFORE_THE_CALLBACK == 1_173_100
    assert events(result) == [(1_173_100, 0, 0, "error-reported", "EIO")]
    # 26 accesses of a DMA command, 7 of the task file, 4 of the error handler.
    assert result.requests["userspace_exits"].iloc[0] == 37


@both_modes
def test_libata_repeats_a_command_that_failed(exact: bool) -> None:
    # The error is gone after 1.2 ms: the second attempt succeeds.
    result = run([WRITE], exact, faults=[{"end": "1200us"}])
    assert stages(result.requests.iloc[0]) == plus(DMA_WRITE, TF_READ, ERROR_HANDLER, REPEATED)
    assert outcomes(result) == [("ok", "")]
    assert len(result.events) == 1


@both_modes
def test_sd_gives_up_after_five_repetitions(exact: bool) -> None:
    result = run([WRITE], exact)
    handled = plus(TF_READ, ERROR_HANDLER)
    assert stages(result.requests.iloc[0]) == plus(DMA_WRITE, handled, *[plus(REPEATED, handled)] * 5)
    assert outcomes(result) == [("error", "EIO")]
    assert list(result.events["event"]) == ["error-reported"] * 6


@both_modes
def test_eio_with_stop_holds_the_request_until_the_vm_goes_on(exact: bool) -> None:
    result = run(
        [WRITE],
        exact,
        faults=[{"end": "2ms"}],
        drive={"werror": "stop"},
        event=[{"at": "5ms", "kind": "cont"}],
    )
    # Stopped at 1,173,100 ns, after three of the six steps of the completion. At 5 ms the main loop wakes (200) and
    # submits again (ide_dma_cb ... thread pool: 800); then everything is as it is without an error.
    assert stages(result.requests.iloc[0]) == {
        **DMA_GUEST,
        "qemu_submit": 2 * 8 * NS,
        "aio_wait": 500 + AIO_WARM,
        "aio_worker": 2 * WORKER,
        "disk_service": 2 * DISK,
        "completion_wait": 3 * COMPLETION_WAIT,
        "completion": 3 * NS + COMPLETION_NEW,
        "irq_delivery": WAKE_FOR_ARRIVAL + INTERRUPT_TO_HALTED,
        "paused": 5 * MS - 1_173_100,
    }
    assert outcomes(result) == [("ok", "")]
    assert events(result) == [
        (1_173_100, 0, 0, "error-stopped", "EIO"),
        (1_173_100, -1, -1, "stop", "io-error"),
        (5_000_000, -1, -1, "cont", "event"),
    ]
    assert int(result.requests["done_ns"].iloc[0]) == 5 * MS + 200 + 800 + 100 + 500 + DISK + 200 + 600 + 600 + 22_400


@both_modes
def test_a_vm_that_never_goes_on_leaves_its_requests_unfinished(exact: bool) -> None:
    # The second request arrives at a stopped guest.
    result = run([WRITE, (3 * MS, "W", 8, 1)], exact, drive={"werror": "stop"}, run={"duration": "10ms"})
    assert outcomes(result) == [("unfinished", ""), ("unfinished", "")]
    first, second = (stages(result.requests.iloc[n]) for n in (0, 1))
    assert first["paused"] == 10 * MS - 1_173_100
    assert second == {"paused": 7 * MS}


@both_modes
def test_enospc_stops_only_when_the_disk_is_full(exact: bool) -> None:
    for error, event in (("EIO", "error-reported"), ("ENOSPC", "error-stopped")):
        result = run([WRITE], exact, faults=[{"error": error}], drive={"retries": 0}, run={"duration": "10ms"})
        assert result.events["event"].iloc[0] == event
        assert outcomes(result) == [("error", "EIO") if error == "EIO" else ("unfinished", "")]


@both_modes
def test_an_ignored_error_is_none_for_the_guest(exact: bool) -> None:
    result = run([WRITE], exact, drive={"werror": "ignore"})
    assert stages(result.requests.iloc[0]) == DMA_WRITE
    assert outcomes(result) == [("ok", "")]
    assert events(result) == [(1_173_100, 0, 0, "error-ignored", "EIO")]


@both_modes
@pytest.mark.parametrize(
    ("op", "policies", "event"),
    [
        ("R", {"rerror": "ignore", "werror": "stop"}, "error-ignored"),
        ("R", {"rerror": "stop", "werror": "ignore"}, "error-stopped"),
        ("W", {"rerror": "stop", "werror": "ignore"}, "error-ignored"),
        ("F", {"rerror": "stop", "werror": "ignore"}, "error-ignored"),
        ("F", {"rerror": "ignore", "werror": "stop"}, "error-stopped"),
    ],
)
@pytest.mark.parametrize("transfer", ["dma", "pio"])
def test_flushes_have_the_policy_of_writes(
    exact: bool, op: str, policies: dict[str, str], event: str, transfer: str
) -> None:
    # A flush with nothing written has nothing to do since QEMU 2.7: the older one always calls fdatasync.
    row = (ARRIVAL, op, 0, 0 if op == "F" else 1)
    drive = {**policies, "transfer": transfer}
    result = run([row], exact, faults=[{"end": "3ms"}], drive=drive, qemu="1.6", event=[{"at": "5ms", "kind": "cont"}])
    assert result.events["event"].iloc[0] == event
    assert outcomes(result) == [("ok", "")]
    assert (result.requests["done_ns"] > 5 * MS).tolist() == [event == "error-stopped"]


@both_modes
def test_a_pio_command_fails_as_a_whole_and_is_repeated_from_its_first_block(exact: bool) -> None:
    # 24 sectors in blocks of 16 and 8; the second block has the bad sector until 6 ms. Each attempt writes the first
    # block and fails at the second, two operations of the disk; no third block is sent.
    faults = [{"first_sector": 20, "sectors": 1}]
    drive = {"transfer": "pio", "multiple": 16, "retries": 2}
    result = run([(ARRIVAL, "W", 0, 24)], exact, faults=faults, drive=drive)
    assert outcomes(result) == [("error", "EIO")]
    assert list(result.events["event"]) == ["error-reported"] * 3
    assert stages(result.requests.iloc[0])["disk_service"] == 3 * 2 * DISK
    # Per attempt: 19 + 5 accesses and 24 x 128 words, and 7 of the task file. (PIO: nothing to stop or drain.)
    assert result.requests["userspace_exits"].iloc[0] == 3 * (14 + 5 * 2 + 24 * 128 + 7)


@both_modes
def test_the_other_parts_of_a_split_request_are_carried_out(exact: bool) -> None:
    faults = [{"first_sector": 2, "sectors": 2}]
    result = run([(ARRIVAL, "W", 0, 6)], exact, faults=faults, drive={"max_sectors": 2, "retries": 1})
    assert outcomes(result) == [("error", "EIO")]
    # Three parts, the second one twice.
    assert stages(result.requests.iloc[0])["disk_service"] == 4 * DISK


@pytest.mark.parametrize("driver", ["bare-poll", "bare-irq"])
@pytest.mark.parametrize("transfer", ["dma", "pio"])
@both_modes
def test_a_bare_metal_guest_gives_up_at_once(exact: bool, driver: str, transfer: str) -> None:
    drive = {"driver": driver, "transfer": transfer, "multiple": 1}
    result = run([(ARRIVAL, "W", 0, 3), (20 * MS, "W", 0, 3)], exact, faults=[{"end": "10ms"}], drive=drive)
    assert outcomes(result) == [("error", "EIO"), ("ok", "")]
    assert len(result.events) == 1


@both_modes
def test_lba48_reads_the_high_half_of_the_task_file_too(exact: bool) -> None:
    result = run([(ARRIVAL, "W", 1 << 28, 1)], exact, drive={"retries": 0})
    # 31 accesses, 7 + 7 of the task file (W 3f6, R 1f1 to 1f5, W 3f6), 4 of the error handler.
    assert result.requests["userspace_exits"].iloc[0] == 31 + 14 + 4


# Through the page cache: the write is done before the disk fails. The flush at 5 ms writes it back, which fails 90 us
# later; the disk is not flushed. Nothing else takes time but the driver's 30.4 us until the command.
@both_modes
@pytest.mark.parametrize(
    ("qemu", "aio", "statuses"),
    [
        ("1.6", "threads", ["ok", "error", "ok", "ok"]),
        ("7.2", "threads", ["ok", "error", "error", "error"]),
        ("7.2", "io_uring", ["ok", "error", "ok", "ok"]),
    ],
)
def test_failed_write_back_is_reported_by_the_next_flush(exact: bool, qemu: str, aio: str, statuses: list[str]) -> None:
    rows: list[Row] = [(MS, "W", 0, 8), (5 * MS, "F", 0, 0), (20 * MS, "F", 0, 0), (21 * MS, "F", 0, 0)]
    described = scenario(
        [{"cache": "writeback", "aio": aio, "retries": 0}],
        disks=[{"model": "constant", "service": "90us", "fault": [{"ops": ["write"], "end": "10ms"}]}],
        run={"exact_exits": exact},
        qemu=qemu,
    )
    result = simulate(described, rows, constant_profile(0))
    assert result.requests["status"].tolist() == statuses
    assert events(result)[0] == (5 * MS + 30_400 + 90_000, 0, 1, "error-reported", "EIO")
    assert len(result.events) == statuses.count("error")


# Which operations fail


def failed(rows: list[Row], fault: dict[str, Any], **drive: Any) -> list[int]:
    """The numbers of the requests that fail."""
    table = run(rows, faults=[fault], drive={"retries": 0, **drive}, qemu="1.6").requests
    return table["request"][table["status"] == "error"].tolist()


ROWS: list[Row] = [
    (1 * MS, "W", 0, 8),
    (2 * MS, "R", 8, 8),
    (3 * MS, "F", 0, 0),
    (4 * MS, "W", 16, 8),
    (5 * MS, "R", 0, 24),
]


@pytest.mark.parametrize(
    ("fault", "numbers"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"ops": ["read"]}, [1, 4]),
        ({"ops": ["write", "flush"]}, [0, 2, 3]),
        ({"first_sector": 8, "sectors": 8}, [1, 4]),
        ({"first_sector": 7, "sectors": 1}, [0, 4]),
        ({"first_sector": 16}, [3, 4]),
        ({"first_sector": 24}, []),
        ({"start": "2ms", "end": "4ms"}, [1, 2]),
        ({"start": "2500us"}, [2, 3, 4]),
    ],
)
def test_a_fault_hits_its_operations_sectors_and_times(fault: dict[str, Any], numbers: list[int]) -> None:
    assert failed(ROWS, fault) == numbers


def test_a_probability_is_the_share_that_fails() -> None:
    rows = [(k * MS, "W", 0, 1) for k in range(1, 2_001)]
    numbers = failed(rows, {"probability": 0.1})
    # 2,000 draws: 200 expected, standard deviation 13.4.
    assert 160 <= len(numbers) <= 240
    # What fails with a tenth fails with a half as well: the draws belong to the requests.
    assert set(numbers) <= set(failed(rows, {"probability": 0.5}))


def test_the_draws_do_not_depend_on_what_else_runs() -> None:
    rows = [(k * MS, "W", 0, 1) for k in range(1, 101)]
    disks = [{"model": "constant", "service": "90us", "fault": [{"probability": 0.3}]}]

    def numbers(vms: list[str]) -> list[int]:
        tables = [{"name": name, "drive": [{"retries": 0}]} for name in vms]
        table = simulate(scenario(vms=tables, disks=disks), rows).requests
        return table["request"][(table["vm"] == "a") & (table["status"] == "error")].tolist()

    alone = numbers(["a"])
    assert alone
    assert alone == numbers(["a", "b"])


def test_a_failing_disk_leaves_its_neighbour_alone() -> None:
    disks: list[dict[str, Any]] = [{"model": "constant", "service": "90us"} for _ in range(2)]
    rows = [(k * MS, "W", 0, 1) for k in range(1, 20)]
    vms = [{"name": name, "drive": [{"disk": disk}]} for name, disk in (("a", "sda"), ("b", "sdb"))]

    def neighbour(fault: list[dict[str, Any]]) -> pd.DataFrame:
        table = simulate(scenario(vms=vms, disks=[{**disks[0], "fault": fault}, disks[1]]), rows).requests
        return table[table["vm"] == "b"]

    pd.testing.assert_frame_equal(neighbour([]), neighbour([{}]))


# Stop and cont


@both_modes
def test_what_arrives_at_a_stopped_vm_waits_until_it_goes_on(exact: bool) -> None:
    # Stopped at 0.5 ms; a write arrives at 1 ms; the VM goes on at 3 ms. The vCPU's thread then enters KVM_RUN: it
    # wakes at once, pre_run and ioctl (200), vcpu_block (100): not halted any more, something is ready. enter_guest,
    # load_guest_registers, vmresume (300), and the request is issued.
    result = run([WRITE], exact, faults=[], event=[{"at": "500us", "kind": "stop"}, {"at": "3ms", "kind": "cont"}])
    waited = stages(result.requests.iloc[0])
    assert waited.pop("paused") == 2 * MS
    assert int(result.requests["done_ns"].iloc[0]) == 3 * MS + 600 + 196_400 - WAKE_FOR_ARRIVAL
    assert events(result) == [(500_000, -1, -1, "stop", "event"), (3_000_000, -1, -1, "cont", "event")]


@both_modes
def test_a_run_ends_when_a_vm_is_stopped_for_good(exact: bool) -> None:
    # Without a duration: nothing will happen any more, though the guest's background exits have a rate for ever.
    background = [{"reason": "CPUID", "rate": 1000.0, "arrivals": "periodic"}]
    result = run(
        [WRITE], exact, drive={"werror": "stop"}, background=background, event=[{"at": "500us", "kind": "cont"}]
    )
    assert outcomes(result) == [("unfinished", "")]
    assert result.summary["end_ns"] == 1_173_100


@both_modes
def test_a_vm_that_is_stopped_for_good_does_not_keep_the_others_running(exact: bool) -> None:
    disks: list[dict[str, Any]] = [{"model": "constant", "service": "90us"} for _ in range(2)]
    disks[0]["fault"] = [{}]
    background = [{"reason": "CPUID", "rate": 1000.0, "arrivals": "periodic"}]
    vms = [
        {"name": "a", "drive": [{"disk": "sda", "werror": "stop"}]},
        {"name": "b", "drive": [{"disk": "sdb"}], "background": background},
    ]
    rows: list[list[Row]] = [[WRITE, (6 * MS, "W", 0, 1)], [WRITE, (4 * MS, "W", 0, 1)]]
    table = simulate(scenario(vms=vms, disks=disks, run={"exact_exits": exact}), rows, constant_profile(NS))
    assert table.requests["status"].tolist() == ["unfinished", "unfinished", "ok", "ok"]
    # The end is the arrival of the last request, at a VM that does nothing with it.
    assert table.summary["end_ns"] == 6 * MS


@both_modes
def test_closed_replay_that_begins_in_a_vm_stopped_for_good_does_not_keep_others_running(exact: bool) -> None:
    # VM a stops at 0.5 ms for good; its stream begins at 1 ms, and its second request never comes. VM b, whose
    # background exits have a rate for ever, is done with its only request long before.
    vms = [
        {"name": "a", "drive": [{"replay": "closed"}], "event": [{"at": "500us", "kind": "stop"}]},
        {"name": "b", "drive": [{}], "background": [{"reason": "CPUID", "rate": 1000.0, "arrivals": "periodic"}]},
    ]
    rows: list[list[Row]] = [[WRITE, (1_100_000, "W", 0, 1)], [(0, "W", 0, 1)]]
    table = simulate(scenario(vms=vms, run={"exact_exits": exact}), rows, constant_profile(NS))
    assert table.requests["status"].tolist() == ["unfinished", "ok"]
    assert table.summary["end_ns"] == MS


@both_modes
def test_a_disk_finishes_what_it_has_while_the_vm_is_stopped(exact: bool) -> None:
    # Submitted at 1,081,600 ns, at the disk until 1,172,400; the interrupt is raised at 1,173,400. Stopped from 1.1 to
    # 4 ms: what is left, the delivery, is paused until then.
    result = run([WRITE], exact, faults=[], event=[{"at": "1100us", "kind": "stop"}, {"at": "4ms", "kind": "cont"}])
    table = stages(result.requests.iloc[0])
    assert table["paused"] == 4 * MS - 1_173_400
    assert table["disk_service"] == DISK
    assert table["completion"] == COMPLETION_NEW


@both_modes
def test_a_vcpu_stopped_in_the_middle_of_its_accesses_pauses_the_request_in_hand(exact: bool) -> None:
    # At 1,040,000 ns the guest is at work on the task file. The signal ends the guest's instruction or the udelay at
    # once; with its exit and the return to QEMU the thread waits some 2 us later, until 2 ms.
    stopped = run([WRITE], exact, faults=[], event=[{"at": "1040us", "kind": "stop"}, {"at": "2ms", "kind": "cont"}])
    table = stages(stopped.requests.iloc[0])
    assert 956_000 <= table["paused"] <= 960_000
    undisturbed = 196_400
    assert undisturbed < int(stopped.requests["latency_ns"].iloc[0]) - table["paused"] < undisturbed + 10_000


# Reset and restart


@both_modes
def test_a_reset_guest_boots_when_nothing_is_in_flight_any_more(exact: bool) -> None:
    # The write is at the disk when the triple fault comes, at 1.1 ms: the halted vCPU wakes for it (wake_asleep,
    # enter_guest, load_guest_registers, vmresume), the exit (7), leave_guest, handle_exit, handle_triple_fault,
    # return_to_userspace, post_run, system_reset: 17 steps.
    # The disk is done at 1,172,400 ns; notify and return to the pool; the main loop completes at 1,173,400, and the
    # second IRQ-line ioctl ends 100 ns later. From there on the guest boots, for 10 ms.
    result = run(
        [WRITE, (5 * MS, "W", 0, 1), (20 * MS, "W", 0, 1)],
        exact,
        faults=[],
        boot="10ms",
        event=[{"at": "1100us", "kind": "shutdown"}],
    )
    assert outcomes(result) == [("error", "reset"), ("error", "down"), ("ok", "")]
    assert result.requests["done_ns"].tolist() == [1_101_700, 5_000_000, 20 * MS + 196_400 - 500 + AIO_WARM]
    assert stages(result.requests.iloc[2]) == {**DMA_WRITE, "aio_wait": AIO_WARM}
    assert events(result) == [(1_101_700, -1, -1, "end", "reset"), (11_173_500, -1, -1, "boot", "reset")]


@both_modes
def test_without_a_boot_time_a_reset_guest_does_not_come_back(exact: bool) -> None:
    result = run([WRITE, (20 * MS, "W", 0, 1)], exact, faults=[], event=[{"at": "1100us", "kind": "shutdown"}])
    assert outcomes(result) == [("error", "reset"), ("error", "down")]
    assert [event for _, _, _, event, _ in events(result)] == ["end"]


@both_modes
def test_closed_replay_goes_on_after_the_boot(exact: bool) -> None:
    result = run(
        [WRITE, (2 * MS, "W", 0, 1), (3 * MS, "W", 0, 1)],
        exact,
        faults=[],
        drive={"replay": "closed"},
        boot="10ms",
        event=[{"at": "1100us", "kind": "shutdown"}],
    )
    assert outcomes(result) == [("error", "reset"), ("ok", ""), ("ok", "")]
    assert result.requests["arrival_ns"].tolist()[:2] == [ARRIVAL, 11_173_500]


@both_modes
@pytest.mark.parametrize("kind", ["internal-error", "unknown-exit", "fail-entry", "run-error"])
def test_a_vm_stopped_by_an_error_comes_back_with_a_reset(exact: bool, kind: str) -> None:
    result = run(
        [WRITE, (5 * MS, "W", 0, 1), (30 * MS, "W", 0, 1)],
        exact,
        faults=[],
        boot="10ms",
        event=[{"at": "1100us", "kind": kind}, {"at": "10ms", "kind": "reset"}],
    )
    assert outcomes(result) == [("error", "internal-error"), ("error", "down"), ("ok", "")]
    assert events(result)[1:] == [(20 * MS, -1, -1, "boot", "reset")]


@both_modes
def test_an_aborted_qemu_does_not_come_back(exact: bool) -> None:
    result = run(
        [WRITE, (30 * MS, "W", 0, 1)],
        exact,
        faults=[],
        qemu="1.6",
        boot="10ms",
        drive={"replay": "closed"},
        event=[{"at": "1100us", "kind": "run-error"}, {"at": "10ms", "kind": "reset"}],
    )
    assert outcomes(result) == [("error", "aborted")]
    assert result.summary["requests"]["in_trace"] == 2


@both_modes
def test_a_reset_takes_a_running_guest_down_and_brings_it_back(exact: bool) -> None:
    result = run(
        [WRITE, (30 * MS, "W", 0, 1)], exact, faults=[], boot="10ms", event=[{"at": "1040us", "kind": "reset"}]
    )
    assert outcomes(result) == [("error", "reset"), ("ok", "")]
    (ended, *_, why), (booted, *_) = events(result)
    assert why == "reset"
    assert 1_040_000 < ended < 1_050_000
    assert booted >= ended + 10 * MS


@both_modes
def test_a_reset_of_a_vm_that_an_error_has_stopped_drops_the_request_that_it_holds(exact: bool) -> None:
    result = run(
        [WRITE, (30 * MS, "R", 0, 1)],
        exact,
        faults=[{"ops": ["write"]}],
        drive={"werror": "stop"},
        boot="10ms",
        event=[{"at": "5ms", "kind": "reset"}],
    )
    assert outcomes(result) == [("error", "reset"), ("ok", "")]
    assert stages(result.requests.iloc[0])["paused"] == 5 * MS - 1_173_100
    assert [(at, event, why) for at, _, _, event, why in events(result)] == [
        (1_173_100, "error-stopped", "EIO"),
        (1_173_100, "stop", "io-error"),
        (5 * MS, "end", "reset"),
        (5 * MS, "cont", "reset"),
        (15 * MS, "boot", "reset"),
    ]


@both_modes
def test_a_stuck_disk_holds_up_the_reset(exact: bool) -> None:
    # The write is at a disk that is stuck until 50 ms; the guest is reset at 2 ms.
    window = {"start": "1090us", "end": "50ms", "stuck": True}
    described = scenario(
        disks=[{"model": "constant", "service": "90us", "window": [window]}],
        run={"exact_exits": exact},
        boot="10ms",
        event=[{"at": "2ms", "kind": "shutdown"}],
    )
    result = simulate(described, [WRITE, (80 * MS, "W", 0, 1)], constant_profile(NS))
    assert outcomes(result) == [("error", "reset"), ("ok", "")]
    # In service from 1,082,400: 7.6 us are done before the window, 82.4 us come behind it, 1,100 as above.
    assert events(result)[-1][:1] == (50 * MS + 82_400 + 1_100 + 10 * MS,)


# Storms of signals


@both_modes
def test_a_storm_is_so_many_signals(exact: bool) -> None:
    pio = {"transfer": "pio"}
    storm = [{"at": "1ms", "kind": "signal", "rate": 100_000.0, "duration": "95us"}]
    single = [{"at": f"{1_000 + 10 * k}us", "kind": "signal"} for k in range(10)]
    a, b = (run([WRITE], exact, faults=[], drive=pio, event=event) for event in (storm, single))
    pd.testing.assert_frame_equal(a.requests, b.requests)
    pd.testing.assert_frame_equal(a.exits, b.exits)
    quiet = run([WRITE], exact, faults=[], drive=pio)
    assert a.requests["latency_ns"].iloc[0] > quiet.requests["latency_ns"].iloc[0]
    assert events(a) == [(1_000_000, -1, -1, "signal", "event")]
