"""A guest with several vCPUs and a load of its own that is stopped, goes on, ends and boots again."""

from typing import Any

import pytest

from iosim.results.result import Result
from tests.support import Row, constant_profile, scenario, simulate

MS = 1_000_000

both_modes = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])


def run(
    rows: list[Row], exact: bool, default_ns: int = 100, drives: Any = ({"index": 0}, {"index": 2}), **vm: Any
) -> Result:
    """Two drives on channels of their own, each on its vCPU."""
    table: dict[str, Any] = {"vcpus": 2, **vm}
    described = scenario(drives, run={"exact_exits": exact, **table.pop("run", {})}, **table)
    return simulate(described, rows, constant_profile(default_ns))


def events(result: Result) -> list[tuple[int, str, str]]:
    return list(result.events[["time_ns", "event", "why"]].itertuples(index=False, name=None))


# At 1 ms both vCPUs issue; one of them has the host lock and the other one spins until the reset. Behind the boot the
# lock is free, and a write takes as long as in a guest that has just started.
@both_modes
@pytest.mark.parametrize("kind", ["reset", "shutdown"])
@pytest.mark.parametrize("vcpu", [0, 1])
def test_the_end_of_the_guest_frees_the_host_lock(exact: bool, kind: str, vcpu: int) -> None:
    rows: list[Row] = [(MS, "W", 0, 8), (50 * MS, "W", 0, 8)]
    result = run(rows, exact, boot="10ms", event=[{"at": "1015us", "kind": kind, "vcpu": vcpu}])
    table = result.requests
    assert table["error"].tolist() == ["reset", "", "reset", ""]
    assert table["status"].tolist() == ["error", "ok", "error", "ok"]
    fresh = run(rows[:1], exact).requests["latency_ns"].tolist()
    assert table["latency_ns"].tolist()[1::2] == fresh
    assert [event for _, event, _ in events(result)] == ["end", "boot"]


# Both vCPUs end the VM at the same instant: it ends once.
@both_modes
@pytest.mark.parametrize("qemu", ["1.6", "7.2"])
def test_two_vcpus_end_the_vm_at_once(exact: bool, qemu: str) -> None:
    kinds = [{"at": "1015us", "kind": "shutdown", "vcpu": k} for k in (0, 1)]
    result = run([(MS, "W", 0, 8)], exact, qemu=qemu, event=kinds)
    assert result.requests["error"].tolist() == ["reset", "reset"]
    assert [event for _, event, _ in events(result)] == ["end"]


# Stopped while vCPU 0 has the lock and vCPU 1 spins. vCPU 0 is on its way back to the guest: kvm_vcpu_ioctl until
# 1,016,000, vcpu_enter_guest, the signal, return_to_userspace, post_run, wait_io_event: it waits from 1,016,500 on.
# From 21,015,000 on pre_run and ioctl; vcpu_enter_guest begins anew at 21,015,200, later by 19,999,200 ns. vCPU 1 gets
# the lock later by as much.
@both_modes
def test_a_stop_takes_both_vcpus_out_and_they_go_on_where_they_were(exact: bool) -> None:
    at = [{"at": "1015us", "kind": "stop"}, {"at": "21015us", "kind": "cont"}]
    table = run([(MS, "W", 0, 8)], exact, event=at).requests
    assert table["status"].tolist() == ["ok", "ok"]
    fresh = run([(MS, "W", 0, 8)], exact).requests["latency_ns"]
    assert (table["latency_ns"] - fresh).tolist() == [19_999_200, 19_999_200]
    assert table["paused_ns"].iloc[0] == 21_015_000 - 1_016_500
    # vCPU 1: exit (700), leave_guest, handle_exit, external interrupt, enter_guest, signal, return, post_run; 100 for
    # the BQL, which vCPU 0 has for its wait_io_event; wait_io_event.
    assert table["paused_ns"].iloc[1] == 21_015_000 - 1_015_000 - 1_600


# Nothing costs time. Bursts of 1 ms from 1, 3, 5 ... ms on. The guest is reset at 10.5 ms, in a pause, and boots by
# 20.5 ms: bursts from 21.5 and 23.5 ms on, 7 ms of computing until 25 ms. Reset at 9.5 ms, within a burst, it has half
# of that burst, boots by 19.5 ms, and computes from 20.5 and 22.5 ms on and from 24.5 to the end: 7 ms as well.
@both_modes
@pytest.mark.parametrize("kind", ["reset", "shutdown"])
@pytest.mark.parametrize(("at", "booted_ns"), [("10500us", 20_500_000), ("9500us", 19_500_000)])
def test_the_load_begins_again_with_the_guest(exact: bool, kind: str, at: str, booted_ns: int) -> None:
    load = {"share": 0.5, "burst": "1ms", "lengths": "constant"}
    event = [{"at": at, "kind": kind, "vcpu": 1}]
    result = run(
        [(24_999_000, "W", 0, 8)], exact, default_ns=0, load=load, boot="10ms", event=event, run={"duration": "25ms"}
    )
    levels = result.resources.set_index("resource")["busy_ns"]
    # The writes, 1 us before the end, keep their vCPUs busy where these do not compute anyway.
    more = 1_000 if booted_ns == 20_500_000 else 0
    assert (levels["web/vcpu0"], levels["web/vcpu1"]) == (7 * MS + more, 7 * MS + more)
    assert (booted_ns, "boot", "reset") in events(result)
