"""KVM: handle_io's paths, rep ins batches, HLT and halt polling, signals, interrupts, VMLAUNCH and VMRESUME."""

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from iosim.cpu_vmx import LoadedVmcs
from iosim.kvm import IrqChip, rep_ins_items
from iosim.model.steps import Binder
from iosim.results.result import Result
from tests.port_guest import PortGuest
from tests.support import Row, constant_profile, scenario, simulate

MODES = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])

AT = 1_000_000
SUBMISSION = 1_000_400 + 81_200
"""When the DMA request of tests/test_timelines.py that arrives at AT is submitted."""
DMA_ROW: Row = (AT, "W", 0, 1)


def exits(result: Result) -> dict[Any, Any]:
    """Counts by (reason, whether to userspace)."""
    counts: dict[Any, Any] = result.exits.set_index(["reason", "userspace"])["count"].to_dict()
    return counts


# rep ins


def batches(kernel: str, page_offset: int, width: int, items: int) -> list[int]:
    """All exits of one rep ins into a buffer at *page_offset*."""
    result: list[int] = []
    while sum(result) < items:
        offset = (page_offset + sum(result) * width) % 4096
        result.append(rep_ins_items(kernel, offset, width, items - sum(result)))
    return result


# 3.10: min(min(bytes to the end of the page, 1024) / size, RCX); 6.1: min(bytes to the end of the page, 1024 / size,
# RCX); at least 1 both. The last column is how the same buffer is filled by 6.1.
@pytest.mark.parametrize(
    ("page_offset", "width", "items", "old", "new"),
    [
        (0, 2, 256, [256], [256]),
        (0, 4, 128, [128], [128]),
        (0, 1, 512, [512], [512]),
        (0, 2, 2048, [512, 512, 512, 512], [512, 512, 512, 512]),
        (0, 4, 2048, [256] * 8, [256] * 8),
        (0, 1, 4096, [1024] * 4, [1024] * 4),
        (3840, 2, 256, [128, 128], [256]),  # 256 bytes left: 128 words, then the next page
        (3896, 4, 128, [50, 78], [128]),  # 200 bytes left
        (3996, 2, 256, [50, 206], [100, 156]),  # 100 bytes left, taken for 100 words by 6.1
        (4094, 4, 4, [1, 3], [2, 2]),  # 2 bytes left: less than an item, but at least 1; taken for 2 items by 6.1
        (4095, 2, 3, [1, 2], [1, 2]),
        (3584, 2, 256, [256], [256]),  # the last sector of a page
    ],
)
def test_read_ahead_of_rep_ins(page_offset: int, width: int, items: int, old: list[int], new: list[int]) -> None:
    assert batches("3.10", page_offset, width, items) == old
    assert batches("6.1", page_offset, width, items) == new


def test_rep_outs_is_never_batched() -> None:
    drive = {"transfer": "pio", "data_width": 32}
    result = simulate(scenario(drives=[drive], run={"log": "ports"}), [(AT, "W", 0, 16)], constant_profile())
    assert result.accesses is not None
    data = result.accesses[result.accesses["port"] == 0x1F0]
    assert data["count"].tolist() == [1] * 2048


# handle_io


# One sector by WRITE MULTIPLE: W 1f6, six of the task file, W 1f7, W bm+2 are 9 OUT; 10 IN, of which the request's own
# time has 9 (the alternate status behind the data is read while the worker carries the request); 128 longs.
@MODES
@pytest.mark.parametrize(
    ("kernel", "string", "name", "fast", "emulated"),
    [
        ("3.10", True, "kvm_fast_pio_out", 9, 9 + 128),
        ("3.10", False, "kvm_fast_pio_out", 9 + 128, 9),
        ("6.1", True, "kvm_fast_pio", 18, 128),
        ("6.1", False, "kvm_fast_pio", 18 + 128, 0),
    ],
)
def test_fast_path_and_emulator(kernel: str, string: bool, name: str, fast: int, emulated: int, exact: bool) -> None:
    drive = {"transfer": "pio", "string": string}
    described = scenario(drives=[drive], kernel=kernel, run={"exact_exits": exact})
    functions = Counter(simulate(described, [(AT, "W", 0, 1)]).spans["function"])
    assert functions[name] == fast
    assert functions["x86_emulate_instruction"] == emulated
    assert functions["handle_io"] == functions["kernel_pio"] == fast + emulated


# 3 status reads, 1 alternate status before the submission; then 3 status or alternate, bm+2, the data: each IN is
# completed at the next KVM_RUN.
@MODES
@pytest.mark.parametrize(("string", "fast", "emulated", "items"), [(True, 4 + 5, 1, 128), (False, 4 + 5 + 128, 0, 0)])
def test_value_of_an_in_is_copied_at_the_next_kvm_run(
    string: bool, fast: int, emulated: int, items: int, exact: bool
) -> None:
    drive = {"transfer": "pio", "string": string}
    described = scenario(drives=[drive], run={"exact_exits": exact})
    functions = Counter(simulate(described, [(AT, "R", 0, 1)]).spans["function"])
    assert functions["complete_fast_pio_in"] == fast
    assert functions["complete_emulated_pio"] == emulated
    assert functions["pio_in_emulated"] == items


@MODES
def test_ports_of_the_in_kernel_pic_do_not_reach_userspace(exact: bool) -> None:
    drive = {"driver": "bare-irq", "transfer": "dma"}
    result = simulate(scenario(drives=[drive], run={"exact_exits": exact}), [DMA_ROW])
    assert exits(result) == {("IO_INSTRUCTION", False): 2, ("IO_INSTRUCTION", True): 13, ("HLT", False): 2}
    assert result.requests[["exits", "userspace_exits"]].to_numpy().tolist() == [[15, 13]]


# HLT


def deliveries(rows: list[Row], disk_ns: int, kernel: str = "6.1", exact: bool = False) -> list[int]:
    """irq_delivery of each request, where a wake-up costs 700 ns while the vCPU polls and 5000 ns when it sleeps."""
    described = scenario(
        disks=[{"model": "constant", "service": f"{disk_ns}ns"}],
        kernel=kernel,
        eoi="none",
        run={"exact_exits": exact},
    )
    table = simulate(described, rows, constant_profile(kvm__wake_polling=700, kvm__wake_asleep=5000)).requests
    return table["irq_delivery_ns"].tolist()


# From HLT to the interrupt a DMA request takes 500 ns less than its disk time (100 ns less for the first one, whose
# worker has to be created): blocked 1900 ns after the submission (way back 700, idle 100, exit 700, leave_guest,
# handle_exit, handle_halt, vcpu_block 400), interrupted 1400 ns after it (worker 100 + 300, 200; main loop 200 + 600)
# and the disk's time. What follows a wake-up, before the handler: 500 ns; before an arrival is issued: 300 ns.
ASLEEP, POLLING, ARRIVAL = 5_000 + 500, 700 + 500, 5_000 + 300


@MODES
def test_polling_window_doubles_from_10_us_until_it_covers_the_halt(exact: bool) -> None:
    # Halts of 100 us: 0, 10, 20, 40, 80 us are too short a window, 160 us are not.
    found = deliveries([DMA_ROW] * 7, 100_500, exact=exact)
    assert found == [ARRIVAL + ASLEEP, ASLEEP, ASLEEP, ASLEEP, ASLEEP, POLLING, POLLING]


def test_halt_as_long_as_the_window_ends_while_polling() -> None:
    assert deliveries([DMA_ROW] * 6, 80_500) == [ARRIVAL + ASLEEP, ASLEEP, ASLEEP, ASLEEP, POLLING, POLLING]
    assert deliveries([DMA_ROW] * 6, 80_501) == [ARRIVAL + ASLEEP, ASLEEP, ASLEEP, ASLEEP, ASLEEP, POLLING]


def test_halt_longer_than_200_us_resets_the_window() -> None:
    rows: list[Row] = [DMA_ROW] * 7 + [(5_000_000, "W", 0, 1)] * 2
    found = deliveries(rows, 100_500)
    assert found[5:] == [POLLING, POLLING, ARRIVAL + ASLEEP, ASLEEP]


def test_window_does_not_grow_by_halts_of_200_us_or_more() -> None:
    assert deliveries([DMA_ROW] * 7, 200_500) == [ARRIVAL + ASLEEP] + [ASLEEP] * 6


def test_linux_3_10_does_not_poll() -> None:
    assert deliveries([DMA_ROW] * 7, 10_500, kernel="3.10") == [ARRIVAL + ASLEEP] + [ASLEEP] * 6


# Interrupts


def test_only_a_rising_line_is_an_interrupt() -> None:
    chip = IrqChip(Binder(constant_profile()), 1)
    levels = [(14, 1), (14, 1), (15, 1), (14, 0), (14, 0), (14, 1), (15, 1)]
    assert [chip.kvm_set_irq(gsi, level) for gsi, level in levels] == [True, False, True, False, False, True, False]


# The guest idles for 200 us before its HLT and is still in the guest when the interrupt comes: an IPI takes it out.
# Exit 700, leave_guest, handle_exit, handle_external_interrupt 300, enter_guest, inject, load, resume 400, entry 100.
@MODES
def test_kick_takes_a_running_vcpu_out_of_the_guest(exact: bool) -> None:
    profile = constant_profile(guest__idle=200_000)
    result = simulate(scenario(run={"exact_exits": exact}), [DMA_ROW], profile)
    request = result.requests.iloc[0]
    assert request["irq_delivery_ns"] == 400 + 1500
    assert (request["exits"], request["userspace_exits"]) == (27, 26)
    assert exits(result)["EXTERNAL_INTERRUPT", False] == 1


# Two channels. The first request's interrupt comes while the driver issues the second one, interrupts off.
def two_channels(disk: str, exact: bool) -> Result:
    disks = [{"model": "constant", "service": disk}]
    described = scenario(drives=[{"index": 0}, {"index": 2}], disks=disks, run={"exact_exits": exact, "log": "ports"})
    return simulate(described, [DMA_ROW])


# Disk 20 us: raised 21,800 ns after the submission, within the udelay before the second status read, in the guest.
# The second request spends exit 700, three functions 300, enter_guest, enable_irq_window, load, resume 400.
@MODES
def test_kicked_guest_with_interrupts_off_gets_an_interrupt_window(exact: bool) -> None:
    result = two_channels("20us", exact)
    first, second = (result.requests.iloc[n] for n in (0, 1))
    second_submission = SUBMISSION + 700 + 81_200 + 1_400
    raised = SUBMISSION + 500 + 300 + 20_000 + 200 + 200 + 600
    assert first["guest_queue_ns"] == second_submission + 700 - raised
    # The window's exit 700, leave_guest, handle_exit, handler 300, enter, inject, load, resume 400, entry 100.
    assert first["irq_delivery_ns"] == 400 + 1_500
    # The second interrupt is raised under the BQL while the handler's last status write waits for it 400 ns, and its
    # window is requested at the entry behind that.
    assert first["bql_wait_ns"] == 400
    assert first["done_ns"] == second_submission + 700 + 1_500 + 22_400 + 400 + 100
    assert (first["exits"], second["exits"]) == (26 + 1 + 1, 26 + 1)
    counts = exits(result)
    assert counts["EXTERNAL_INTERRUPT", False] == 1
    assert counts["PENDING_INTERRUPT", False] == 2


# Disk 30 us: raised while the vCPU is in QEMU and waits for the BQL (300 ns): no kick, the next entry sees it (100 ns).
@MODES
def test_interrupt_for_a_vcpu_in_root_mode_is_seen_at_the_next_entry(exact: bool) -> None:
    result = two_channels("30us", exact)
    first, second = (result.requests.iloc[n] for n in (0, 1))
    second_submission = SUBMISSION + 700 + 81_200 + 300 + 100
    assert second["bql_wait_ns"] == 300
    assert first["guest_queue_ns"] == second_submission + 700 - (SUBMISSION + 31_800)
    assert first["irq_delivery_ns"] == 400 + 1_500
    assert first["done_ns"] == second_submission + 700 + 1_500 + 22_400
    assert (first["exits"], second["exits"]) == (26 + 1, 26)
    counts = exits(result)
    assert ("EXTERNAL_INTERRUPT", False) not in counts
    assert counts["PENDING_INTERRUPT", False] == 1


@MODES
def test_no_handler_runs_within_the_drivers_section(exact: bool) -> None:
    accesses = two_channels("20us", exact).accesses
    assert accesses is not None
    issue = accesses[accesses["drive"] == 1].head(18)
    handler = accesses[(accesses["drive"] == 0) & (accesses["time_ns"] > issue["time_ns"].min())]
    assert len(handler) == 8
    assert handler["time_ns"].min() > issue["time_ns"].max()


# Signals


# What a signal adds between enter_guest and the entry: kvm.signal, return_to_userspace, post_run, wait_io_event,
# pre_run, vcpu_ioctl, enter_guest.
EINTR_ROUND = 700


def signalled(at_ns: int, exact: bool, **vm: Any) -> Result:
    described = scenario(event=[{"at": f"{at_ns}ns", "kind": "signal"}], run={"exact_exits": exact}, **vm)
    return simulate(described, [DMA_ROW])


# In the first udelay: the IPI's exit (700 + 300), its enter_guest, then the round, load_guest_registers and vmresume.
@MODES
def test_signal_in_the_guest_makes_kvm_run_return_eintr(exact: bool) -> None:
    result = signalled(1_005_000, exact)
    request = result.requests.iloc[0]
    assert request["latency_ns"] == 196_400 + 1_000 + 100 + EINTR_ROUND + 200
    assert (request["exits"], request["userspace_exits"]) == (26, 26)
    assert exits(result)["EXTERNAL_INTERRUPT", True] == 1


# 300 ns after the first access has left the guest.
@MODES
def test_signal_in_root_mode_is_seen_at_the_next_entry(exact: bool) -> None:
    result = signalled(1_000_400 + 10_200 + 300, exact)
    request = result.requests.iloc[0]
    assert request["latency_ns"] == 196_400 + EINTR_ROUND
    assert not {reason for reason, _ in exits(result)} & {"EXTERNAL_INTERRUPT"}


@MODES
def test_signal_interrupts_the_sleep_of_a_halted_vcpu_but_not_its_halt(exact: bool) -> None:
    result = signalled(500_000, exact)
    # The first HLT, interrupted by the signal, lasts until the arrival; the second ends with the interrupt.
    counts = exits(result)
    assert counts["HLT", True] == 1
    assert counts["HLT", False] == 1
    assert result.requests["latency_ns"].tolist() == [196_400]


# VMLAUNCH and VMRESUME


# A request that waits for the guest to boot: put_registers, pre_run, vcpu_ioctl, enter_guest, load and VMLAUNCH.
@MODES
def test_first_entry_is_a_vmlaunch(exact: bool) -> None:
    result = simulate(scenario(run={"exact_exits": exact}), [(0, "W", 0, 1)], constant_profile(cpu__vmlaunch=50_000))
    assert result.requests["issue_ns"].tolist() == [5 * 100 + 50_000]


# 17 accesses before the submission, 8 behind it, and the entries of arrival and interrupt.
@MODES
def test_every_other_entry_is_a_vmresume(exact: bool) -> None:
    functions = Counter(simulate(scenario(run={"exact_exits": exact}), [DMA_ROW]).spans["function"])
    assert functions["VMRESUME"] == 17 + 8 + 2
    assert functions["VMLAUNCH"] == 0


def test_new_vmcs_is_launched_once_on_each_cpu_that_it_moves_to() -> None:
    vmcs = LoadedVmcs(Binder(constant_profile()), "6.1")
    launched = []
    for cpu in (0, 0, 1, 1, 0):
        vmcs.vmx_vcpu_load(cpu)
        launched.append(vmcs.launched)
        vmcs.launched = True  # what every run does
    assert launched == [False, True, False, True, False]


@pytest.mark.parametrize(("moves", "launches"), [(0, 1), (3, 4)])
def test_vcpu_that_comes_from_another_cpu_is_launched_at_the_next_kvm_run(moves: int, launches: int) -> None:
    ends: list[int] = []

    def program(guest: PortGuest) -> Generator[Any, Any, None]:
        for number in range(6):
            yield from guest.inb(0x3F6)
            if number < moves:
                guest.qemu.vcpu.vmcs.vmx_vcpu_load(1)
        ends.append(guest.now_ns)

    PortGuest(program, profile=constant_profile(cpu__vmlaunch=50_100)).run()
    # Boot: 600. Each read: exit 700, KVM 600, QEMU 800, entry 600.
    assert ends == [600 + 6 * 2_700 + launches * 50_000]
