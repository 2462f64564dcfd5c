"""Kernel traces as a host would record them, written from what a simulated run did: costs that are known."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

VCPU, WORKER, MAIN = 101, 102, 100
SUBMIT_RETURN_NS = 9_000
"""From the wake of the worker back to KVM_RUN: nobody's time, so the spans do not have it."""
ENTER_NS = 2_781
"""kvm.vcpu_ioctl of pvm-nested, for that same entry."""
ACCESSES = {
    "bm_prd": ("write", 0xC004, 4, 0x600),
    "bm_direction": ("write", 0xC000, 1, 0),
    "bm_clear": ("write", 0xC002, 1, 6),
    "command": ("write", 0x1F7, 1, 0xCA),
    "bm_start": ("write", 0xC000, 1, 1),
    "irq14": ("read", 0x1F7, 1, 0x50),
    "ack_apic_edge": ("write", 0x20, 1, 0x20),
    "bm_status": ("read", 0xC002, 1, 4),
    "bm_stop": ("write", 0xC000, 1, 0),
    "task_file": ("write", 0x1F6, 1, 0xE0),
}
IRQ_LINE = "NR 16 (a, ffffffffc008ae67, 7f47257fe1d0, 0, 1, ff)"
RUN = "NR 16 (b, ae80, 0, 2, 55a68bb60290, ff)"
Line = tuple[int, int, str]


def lines(spans: pd.DataFrame, entries: bool) -> list[str]:
    """Return the trace of a guest that writes by DMA and sleeps until the interrupt.

    *entries*: with kvm_entry and kvm_exit. *spans* are those of all requests of a run, in order.
    """
    events: list[Line] = [(-1000, MAIN, "sys_enter: NR 271 (0, 4, 0, 0, 8, 0)"), (-1000, VCPU, f"sys_enter: {RUN}")]
    for _, rows in spans.groupby("request", sort=True):
        events += _request(list(rows.itertuples()), entries)
    events.sort(key=lambda event: event[0])
    names = {VCPU: "CPU 0/KVM", WORKER: "worker", MAIN: "qemu-system-x86", 0: "swapper"}
    begun = 10_000_000_000
    return [
        f"{names[thread]} {thread:5} [000] {(begun + at) // 10**9}.{(begun + at) % 10**9:09}: {what}"
        for at, thread, what in events
    ]


def write(path: Path, trace: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in trace), encoding="utf-8")
    return path


def _request(rows: list[Any], entries: bool) -> Iterator[Line]:
    access = ("write", 0, 1, 0)
    calls = 0
    sector = int(rows[0].request) * 8
    for at, row in enumerate(rows):
        begin, end, function = int(row.start_ns), int(row.end_ns), row.function
        if row.stage == "guest_run" or function == "ack_apic_edge":
            access = ACCESSES.get(function, access)
        if row.thread == "main":
            yield from _main(row.stage, function, begin, end)
        elif row.stage == "aio_wait":
            yield begin, VCPU, f"sched_waking: comm=worker pid={WORKER} prio=120 target_cpu=001"
            yield begin + SUBMIT_RETURN_NS, VCPU, f"sys_enter: {RUN}"
            if entries:
                yield begin + SUBMIT_RETURN_NS + ENTER_NS, VCPU, "kvm_entry: vcpu 0, rip 0xf017c"
                yield begin + SUBMIT_RETURN_NS + ENTER_NS + 1000, VCPU, "kvm_exit: reason HLT rip 0xf017c info 0 0"
            yield end, WORKER, "sys_exit: NR 202 = 0"
        elif function == "handle_aiocb_rw_linear":
            calls += 1
            if calls == 1:
                yield begin, WORKER, "sys_enter: NR 18 (c, 7f4725810000, 1000, 4b000, 0, 0)"
                yield end, WORKER, f"block_bio_queue: 254,0 WS {sector} + 8 [worker]"
            else:
                yield begin, 0, f"block_rq_complete: 254,0 WS () {sector} + 8 [0]"
                yield end, WORKER, "sys_exit: NR 18 = 4096"
        elif function == "qemu_bh_schedule":
            yield end, WORKER, f"sched_waking: comm=qemu-system-x86 pid={MAIN} prio=120 target_cpu=001"
        elif function == "kvm_vcpu_wake_up":
            yield begin, MAIN, f"sched_waking: comm=CPU 0/KVM pid={VCPU} prio=120 target_cpu=000"
        elif function == "kvm_vm_ioctl_irq_line":
            yield begin, VCPU, f"sys_enter: {IRQ_LINE}"
            yield end, VCPU, "sys_exit: NR 16 = 0"
        elif function == "VMRESUME" and entries:
            yield begin, VCPU, "kvm_entry: vcpu 0, rip 0xf0188"
        elif function == "vmx_vcpu_run":
            if entries:
                yield end, VCPU, "kvm_exit: reason IO_INSTRUCTION rip 0xf0188 info 0 0"
            if access[0] == "write":
                yield end, VCPU, f"kvm_pio: {_pio(access)}"
        elif function == "kvm_arch_vcpu_ioctl_run":
            yield end, VCPU, "sys_exit: NR 16 = 0"
        elif function == "kvm_vcpu_ioctl":
            yield begin, VCPU, f"sys_enter: {RUN}"
            if access[0] == "read":
                yield end, VCPU, f"kvm_pio: {_pio(access)}"
        assert at >= 0


def _main(stage: str, function: str, begin: int, end: int) -> Iterator[Line]:
    if stage == "completion_wait":
        yield end, MAIN, "sys_exit: NR 271 = 1"
    elif function == "kvm_vm_ioctl_irq_line":
        yield begin, MAIN, f"sys_enter: {IRQ_LINE}"
        yield (begin + end) // 2, MAIN, "kvm_set_irq: gsi 14 level 1 source 0"
        yield end, MAIN, "sys_exit: NR 16 = 0"


def _pio(access: tuple[str, int, int, int]) -> str:
    direction, port, size, value = access
    return f"pio_{direction} at 0x{port:x} size {size} count 1 val 0x{value:x} "
