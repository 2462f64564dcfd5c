"""Errors of a virtio-blk drive under QEMU's policies, by hand: every cost 100 ns, one request at 1 ms."""

from typing import Any

import pytest

from iosim.results.result import Result
from tests.support import Row, constant_profile, scenario, simulate
from tests.test_timelines import AIO_WARM, COMPLETION_WAIT, DISK, INTERRUPT_TO_HALTED, NS, WORKER, stages
from tests.test_virtio_timelines import ONE

both_modes = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

MS = 1_000_000
WRITE: Row = (MS, "W", 0, 8)
DONE = MS + sum(ONE.values())
FAILED = DONE - 2 * NS - INTERRUPT_TO_HALTED - 5 * NS
"""The device learns of the error: in front of rw_complete, virtqueue_push, virtio_notify, irqfd_wakeup, deliver_edge,
then the way to the handler and its two steps."""


def run(
    exact: bool, rows: list[Row], faults: list[dict[str, Any]], drive: dict[str, Any] | None = None, **vm: Any
) -> Result:
    described = scenario(
        [{"interface": "virtio-blk", **(drive or {})}],
        [{"model": "constant", "service": "90us", "fault": [{"error": "EIO", **fault} for fault in faults]}],
        run={"exact_exits": exact, **vm.pop("run", {})},
        **vm,
    )
    return simulate(described, rows, constant_profile())


def outcomes(result: Result) -> list[tuple[str, str]]:
    return list(result.requests[["status", "error"]].itertuples(index=False, name=None))


def events(result: Result) -> list[tuple[int, int, str, str]]:
    return list(result.events[["time_ns", "request", "event", "why"]].itertuples(index=False, name=None))


# VIRTIO_BLK_S_IOERR comes the same way as success; the guest's virtio_blk repeats nothing.
@both_modes
def test_eio_with_report_fails_the_request(exact: bool) -> None:
    result = run(exact, [WRITE], [{}])
    assert stages(result.requests.iloc[0]) == ONE
    assert outcomes(result) == [("error", "EIO")]
    assert events(result) == [(FAILED, 0, "error-reported", "EIO")]


@both_modes
def test_an_ignored_error_is_none_for_the_guest(exact: bool) -> None:
    result = run(exact, [WRITE], [{}], {"werror": "ignore"})
    assert stages(result.requests.iloc[0]) == ONE
    assert outcomes(result) == [("ok", "")]
    assert events(result) == [(FAILED, 0, "error-ignored", "EIO")]


# At 5 ms the main loop wakes up (200), handles the request again (handle_request, then the 7 steps of the submission),
# and all is as it is without an error: a warm pool, worker, disk, completion.
@both_modes
def test_eio_with_stop_keeps_the_request_until_the_vm_goes_on(exact: bool) -> None:
    result = run(exact, [WRITE], [{"end": "2ms"}], {"werror": "stop"}, event=[{"at": "5ms", "kind": "cont"}])
    again = {
        "qemu_submit": 8 * NS,
        "aio_wait": AIO_WARM,
        "aio_worker": WORKER,
        "disk_service": DISK,
        "completion_wait": 2 * COMPLETION_WAIT,
        "completion": 2 * NS,
        "paused": 5 * MS - FAILED,
    }
    assert stages(result.requests.iloc[0]) == {stage: ONE.get(stage, 0) + again.get(stage, 0) for stage in ONE | again}
    assert outcomes(result) == [("ok", "")]
    assert events(result) == [
        (FAILED, 0, "error-stopped", "EIO"),
        (FAILED, -1, "stop", "io-error"),
        (5 * MS, -1, "cont", "event"),
    ]


# Two neighbours are one operation; both are kept, and both go on.
@both_modes
@pytest.mark.parametrize("iothread", [False, True])
def test_a_merged_operation_fails_for_each_of_its_requests(iothread: bool, exact: bool) -> None:
    rows: list[Row] = [(MS, "W", 100, 8), (MS + 100, "W", 0, 8), (MS + 200, "W", 8, 8)]
    drive = {"werror": "stop", "iothread": iothread}
    result = run(exact, rows, [{"end": "2ms"}], drive, event=[{"at": "5ms", "kind": "cont"}])
    assert outcomes(result) == [("ok", "")] * 3
    assert sorted(row[1] for row in events(result) if row[2] == "error-stopped") == [0, 1, 2]
    assert (result.requests["paused_ns"] > 3 * MS).all()


# The guest is reset while its request is kept: the request fails, and after the boot the device works again.
@both_modes
def test_a_reset_drops_what_is_kept(exact: bool) -> None:
    rows: list[Row] = [WRITE, (20 * MS, "W", 8, 8)]
    result = run(exact, rows, [{"end": "2ms"}], {"werror": "stop"}, boot="1ms", event=[{"at": "5ms", "kind": "reset"}])
    assert outcomes(result) == [("error", "reset"), ("ok", "")]
    assert int(result.requests["done_ns"].iloc[0]) == 5 * MS
    assert result.requests["irqs"].tolist() == [0, 1]


# bdrv_aio_multiwrite of 1.6 has one result: the second of two separate operations fails, and with it both requests.
@both_modes
@pytest.mark.parametrize(
    ("qemu", "expected"), [("1.6", [("error", "EIO")] * 2), ("7.2", [("ok", ""), ("error", "EIO")])]
)
def test_in_1_6_writes_submitted_together_fail_together(
    qemu: str, expected: list[tuple[str, str]], exact: bool
) -> None:
    faults = [{"first_sector": 100, "sectors": 8}]
    result = run(exact, [WRITE, (MS, "W", 100, 8)], faults, {"werror": "report"}, qemu=qemu)
    assert outcomes(result) == expected


# At 1.15 ms the disk is done with the first write and not with the second.
@both_modes
def test_a_reset_ends_a_write_that_waits_for_another(exact: bool) -> None:
    rows: list[Row] = [WRITE, (MS, "W", 100, 8), (20 * MS, "W", 8, 8)]
    result = run(exact, rows, [], boot="1ms", event=[{"at": "1150us", "kind": "reset"}], qemu="1.6")
    assert outcomes(result) == [("error", "reset"), ("error", "reset"), ("ok", "")]
    assert (result.requests["done_ns"][:2] < 1_160_000).all()  # once the vCPU is out of KVM_RUN
    assert result.requests["disk_service_ns"].tolist()[0] == DISK
