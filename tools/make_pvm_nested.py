"""Make iosim/profiles/pvm-nested.toml and scenarios/disks/pvm-host.csv from the recordings of the bare-metal guests.

    python tools/make_pvm_nested.py RECORDINGS

RECORDINGS is the folder of the public recordings: B_kvm_baremetal/light_trace (time of every exit, in KVM and guest,
and in QEMU), B_kvm_baremetal/stage_trace (every step of the aio path, and the host's block layer), and of
B_kvm_baremetal/untraced the microbenchmarks only. All runs with cache=none and one vCPU are used, none is chosen.

`iosim.calibrate` makes the figures (docs/calibration.md). Here stands what it cannot know: which programs move data by
string instructions, how many trace records the tables were made of, what an empty loop takes where KVM interprets the
guest, and the figures that no recording shows.

Tracing: light_trace has three records in an exit (entry of KVM_RUN, kvm_pio, return), two of them in KVM_RUN, and four
more in one that lowers the line (two ioctls). How many stage_trace has in each step is counted in the two runs whose
raw trace is in raw_ftrace. What a record costs is found by comparing two microbenchmarks with their untraced runs,
never a workload.
"""

import sys
from collections.abc import Collection
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from iosim.calibrate import host_events, host_tables
from iosim.calibrate.host import Calibration, Knowledge, calibrate
from iosim.calibrate.overhead import UNKNOWN
from iosim.calibrate.profile_file import Base
from iosim.calibrate.recording import Recording
from iosim.calibrate.step_costs import Steps
from iosim.calibrate.typical import PROBABILITIES, Typical, typical
from iosim.model.catalogue import CATALOGUE
from iosim.model.units import parse_ns
from iosim.traces.reading import ReadOptions

LOOP_US = 0.85
"""One iteration of an empty loop: mic_nop, untraced."""
LIGHT = {"kvm": 2.0, "qemu": 1.0, "qemu status_r": 5.0, "qemu cmd_w": 5.0}
"""Trace records in each part of an exit of light_trace."""
TSC = Fraction(2596136000)


def program(name: str) -> str:
    """Return the program of the run *name*: dma_w_8 of dma_w_8_none.ftl, w30_outw_8 of w30_outw_8.s_none.ftf.a."""
    return name.split("_none")[0].removesuffix(".s")


@cache
def recordings(folder: Path) -> tuple[Recording, ...]:
    """Return all runs with cache=none and one vCPU."""

    def wanted(kind: str) -> list[Path]:
        return [p for p in sorted((folder / kind).iterdir()) if "_none" in p.name and "two_" not in p.name]

    found = [host_tables.read(path, string_io="rep" in path.name) for path in wanted("light_trace")]
    for recording in found:
        recording.records = LIGHT
        recording.steps = recording.steps.iloc[:0]
    written = {path.name[:3]: raw(path).records for path in sorted((folder / "raw_ftrace").iterdir())}
    for path in wanted("stage_trace"):
        recording = host_tables.read(path)
        recording.exits = recording.exits.iloc[:0]
        recording.records = written["dma" if path.name.startswith("dma") else "w30"]
        found.append(recording)
    return tuple(found)


def chosen(folder: Path, without: Collection[str]) -> list[Recording]:
    """Return the recordings but those of the programs *without*."""
    return [recording for recording in recordings(folder) if program(recording.name) not in without]


def raw(path: Path) -> Recording:
    """Return the recording in a raw trace."""
    return host_events.read(path, ReadOptions(clock_hz=TSC))


def untraced_us(folder: Path, program: str) -> float:
    """Return the median us of an exit of a microbenchmark, by the guest's clock."""
    return float(pd.read_csv(folder / "untraced" / f"{program}_none.csv.gz")["iter_us"].median())


class Rest:
    """Figures that no recording shows."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}

    def constant(self, key: str, value: str, kind: str, source: str) -> None:
        """A constant."""
        self.entries[key] = {"value": value, "kind": kind, "source": source}

    def included(self, source: str, *keys: str) -> None:
        """Figures that are part of another one."""
        for key in keys:
            self.entries[key] = {"kind": "included", "source": source}

    def base(self) -> Base:
        """Return them as the base of a calibration."""
        means = {key: parse_ns(entry["value"]) / 1000 for key, entry in self.entries.items() if "value" in entry}
        return Base("tools/make_pvm_nested.py", self.entries, means, own=True)


def other_costs(w: Rest) -> None:
    """What the recordings do not hold, and what is part of another figure."""
    split = "how a KVM_RUN round trip is split is assumed"
    w.constant("kvm.vcpu_ioctl", "3us", "assumed", split)
    w.constant("kvm.return_to_userspace", "3us", "assumed", split)
    w.constant("cpu.vm_exit", "400ns", "assumed", split)
    w.constant("cpu.vmresume", "410ns", "assumed", split)
    w.constant("cpu.vmlaunch", "410ns", "assumed", "this KVM has neither VMLAUNCH nor VMRESUME")
    w.constant("kvm.rep_ins_item", "2ns", "derived", "rc4_repinsw_64 less w30_repoutsw_8, 0.8 us over 512 items")
    for key in ("qemu.io_submit", "qemu.io_uring_enter"):
        w.constant(key, "5us", "assumed", "no measurement; as worker.pwrite_enter")
    for key in ("qemu.io_submit_return", "qemu.io_uring_return"):
        w.constant(key, "10us", "assumed", "no measurement")
    w.constant("guest.eoi", "420ns", "derived", "half of an iteration of an empty loop, mic_nop")
    w.constant("guest.block_layer", "0ns", "derived", "the bare-metal guests have no block layer")
    w.constant("guest.workqueue", "5us", "assumed", "the bare-metal guests have no work queue")
    w.included(
        "kvm.wake_polling and kvm.wake_asleep: measured up to the handler's first access", "guest.interrupt_entry"
    )
    w.constant("guest.complete", "0ns", "derived", "the bare-metal guests do nothing there")
    w.constant("guest.idle", "2us", "derived", "cli, test, sti, hlt of the program: five instructions of 0.42 us")
    w.constant("guest.error_handler", "100us", "assumed", "no measurement: none of the recordings has an error")
    w.constant("guest.background", "420ns", "derived", "as guest.eoi")
    w.included(
        "cpu.vm_exit",
        "cpu.save_guest_registers",
        "cpu.read_idt_vectoring_info",
        "cpu.read_exit_reason",
        "cpu.complete_atomic_exit",
        "cpu.recover_nmi_blocking",
        "cpu.complete_interrupts",
    )
    w.included("cpu.vmresume", "cpu.load_guest_registers", "kvm.enter_guest")
    w.included(
        "kvm.return_to_userspace",
        "kvm.leave_guest",
        "kvm.handle_exit",
        "kvm.handle_io",
        "kvm.fast_pio",
        "kvm.emulate_instruction",
        "kvm.kernel_pio",
    )
    w.included("kvm.vcpu_ioctl", "kvm.complete_userspace_io", "qemu.pre_run")
    w.included("kvm.wake_polling", "kvm.inject_pending_event")
    w.included("kvm.irq_line", "kvm.deliver_edge", "qemu.irq_lower")
    w.constant("kvm.picdev_write", "200ns", "assumed", "no measurement; in 0x21 takes 1.05 us in all")
    w.constant("kvm.enable_irq_window", "200ns", "assumed", "no measurement")
    w.constant("kvm.handle_external_interrupt", "2us", "assumed", "no measurement")
    w.constant("kvm.handle_interrupt_window", "200ns", "assumed", "no measurement")
    w.constant("kvm.handle_halt", "200ns", "assumed", "no measurement")
    w.constant("kvm.apic_write_eoi", "1us", "assumed", "no measurement")
    w.constant("kvm.vcpu_block", "500ns", "assumed", "no measurement")
    w.constant("kvm.signal", "3us", "assumed", "no measurement")
    w.included(
        "qemu.post_run",
        "qemu.handle_io",
        "qemu.cpu_io",
        "qemu.address_space_rw",
        "qemu.mutex_lock",
        "qemu.mutex_unlock",
        "qemu.memory_region_dispatch",
        "qemu.portio",
    )
    w.included("qemu.ide_dma_cb", "qemu.bmdma_cmd_writeb", "qemu.dma_map_page")
    submission = "qemu.ide_dma_cb, qemu.ide_sector_write, qemu.ide_sector_read, qemu.ide_flush_cache"
    w.included(
        submission,
        "qemu.blk_aio_prwv",
        "qemu.coroutine_create",
        "qemu.bdrv_co_pwritev",
        "qemu.raw_co_prw",
        "qemu.bdrv_co_flush",
        "qemu.thread_pool_submit_aio",
        "qemu.laio_do_submit",
        "qemu.luring_do_submit",
    )
    w.included("worker.pwrite_enter", "worker.page")
    read, write = "psync randread hot: p50 of 4 KiB and 64 KiB", "psync randwrite: p50 of 4 KiB and 64 KiB"
    w.constant("cache.pread", "970ns", "derived", f"C_fio {read}, a line through both")
    w.constant("cache.read_page", "290ns", "derived", f"C_fio {read}, a line through both")
    w.constant("cache.pwrite", "2.6us", "derived", f"C_fio {write}, a line through both")
    w.constant("cache.write_page", "740ns", "derived", f"C_fio {write}, a line through both")
    w.constant("cache.writepages", "5us", "assumed", "no measurement; as worker.pwrite_enter")
    w.constant("cache.flusher_wake", "20us", "assumed", "no measurement; as pool.worker_wake")
    w.constant("worker.io_wq_wake", "20us", "assumed", "no measurement; as pool.worker_wake")
    w.included("the disk's table: the whole fdatasync was measured", "worker.fdatasync_enter")
    w.included("main_loop.wake", "main_loop.dispatch")
    completion = "main_loop.ide_dma_cb and main_loop.ide_sector_write_cb"
    w.included(completion, "main_loop.thread_pool_completion", "main_loop.coroutine_resume", "main_loop.ide_set_irq")
    w.included(completion, "main_loop.laio_completion", "main_loop.luring_completion")
    w.constant("main_loop.ide_sector_read_cb", "5us", "assumed", "as main_loop.ide_sector_write_cb")
    w.constant("main_loop.ide_flush_cb", "4us", "assumed", "as main_loop.ide_dma_cb")
    w.constant("main_loop.poll", "2us", "assumed", "no measurement")
    w.constant("main_loop.bdrv_co_em_bh", "1us", "assumed", "no measurement; QEMU 7.2 has no such step")
    w.constant("main_loop.timer", "1us", "assumed", "no measurement")
    w.constant(
        "pool.do_spawn_thread", "30us", "assumed", "no measurement; cold pools are in the recordings' first rows only"
    )
    w.constant("pool.thread_start", "60us", "assumed", "no measurement")
    for key in ("qemu.put_registers", "qemu.cpu_physical_memory_rw", "qemu.system_reset", "qemu.wait_io_event"):
        w.constant(key, "3us", "assumed", "no measurement")
    for key, value in (
        ("qemu.qcow2_get_host_offset", "500ns"),
        ("qemu.qcow2_alloc_host_offset", "1500ns"),
        ("qemu.qcow2_cache_do_get", "1us"),
        ("qemu.throttle", "400ns"),
        ("worker.fallocate_enter", "15us"),
        ("main_loop.qcow2_link_l2", "1us"),
        ("main_loop.throttle_timer", "1us"),
    ):
        w.constant(key, value, "assumed", "no measurement")
    w.constant("qemu.arch_handle_exit", "500ns", "assumed", "no measurement")
    w.constant("qemu.internal_error", "100us", "assumed", "no measurement")
    virtio_costs(w)


def virtio_costs(w: Rest) -> None:
    """The recordings of bare-metal guests use IDE: the figures of virtio-blk are those of the other profiles."""
    w.included("kvm.return_to_userspace", "kvm.ioeventfd_write")
    for key, value in {
        "cpu.posted_interrupt": "200ns",
        "guest.virtio_queue_rq": "1us",
        "guest.virtqueue_add": "200ns",
        "guest.virtqueue_kick_prepare": "25ns",
        "guest.vp_notify": "25ns",
        "guest.vp_interrupt": "25ns",
        "guest.vring_interrupt": "300ns",
        "guest.virtqueue_get_buf": "300ns",
        "kvm.irqfd_wakeup": "500ns",
        "qemu.virtio_queue_notify": "150ns",
        "qemu.virtio_pci_isr_read": "150ns",
        "main_loop.host_notifier_read": "600ns",
        "iothread.run_poll_handlers_once": "200ns",
        "qemu.virtqueue_pop": "400ns",
        "qemu.virtio_blk_handle_request": "200ns",
        "qemu.virtio_blk_submit_multireq": "150ns",
        "main_loop.virtio_blk_rw_complete": "200ns",
        "main_loop.virtqueue_push": "200ns",
        "main_loop.virtio_notify": "100ns",
        "main_loop.event_notifier_set": "300ns",
        "main_loop.pci_set_irq": "300ns",
    }.items():
        w.constant(key, value, "assumed", "no measurement; as in vmx-2013")


def calibration(folder: Path, without: Collection[str] = ()) -> Calibration:
    """Return the figures made from B_kvm_baremetal in *folder*, but for the runs of the programs *without*."""
    rest = Rest()
    other_costs(rest)
    for key in CATALOGUE:
        if key.startswith("kvm.handle_") and key not in rest.entries:
            rest.constant(key, "1us", "assumed", "no measurement")
    known = {"alt_r": untraced_us(folder, "mic_in3f6"), "status_r": untraced_us(folder, "mic_in1f7")}
    return calibrate(chosen(folder, without), rest.base(), Knowledge(known, loop_us=LOOP_US))


def profile_text(folder: Path, without: Collection[str] = ()) -> str:
    """Return the text of the profile; *folder* is B_kvm_baremetal of the recordings."""
    found = calibration(folder, without)
    head = {
        "name": "pvm-nested",
        "title": "Measured: bare-metal guests on kvm_pvm inside a VM, 2026",
        "machine": "2 vCPUs of an AMD EPYC at 2.596 GHz, itself a guest; "
        "Linux 6.18.44 with kvm_pvm (no VMX), QEMU 7.2.22",
        "origin": "public recordings of the project, by tools/make_pvm_nested.py; "
        "absolute exit costs are those of this KVM",
    }
    return found.draft.text(head, found.comments())


def disk_text(folder: Path, without: Collection[str] = ()) -> str:
    """Return the CSV of the host's disk: block queue to complete by size, for writes and reads; fdatasync whole."""
    found = [one for one in chosen(folder, without) if len(one.steps)]
    steps = Steps(found, UNKNOWN)
    lines = ["op,sectors,probability,ns"]
    for op, sectors, calls in (("R", (1, 8), ("pread64",)), ("W", (1, 8, 64), ("pwrite64",))):
        for size in sectors:
            of_size = [one for one in found if "sectors" in one.steps and (one.steps["sectors"] == size).all()]
            lines += rows(op, size, typical(Steps(of_size, UNKNOWN).between("queue", "complete", calls)))
    lines += rows("F", 0, typical(steps.between("ws", "we", ("fdatasync",))))
    return "\n".join(lines) + "\n"


def rows(op: str, size: int, found: Typical | None) -> list[str]:
    """Return the rows of one operation and size."""
    assert found is not None
    return [f"{op},{size},{p},{round(1000 * v)}" for p, v in zip(PROBABILITIES, found.values, strict=True)]


def main() -> None:
    """Write both files."""
    folder = Path(sys.argv[1]) / "B_kvm_baremetal"
    project = Path(__file__).resolve().parent.parent
    target = project / "iosim" / "profiles" / "pvm-nested.toml"
    target.write_text(profile_text(folder), encoding="utf-8")
    disks = project / "scenarios" / "disks"
    disks.mkdir(exist_ok=True)
    (disks / "pvm-host.csv").write_text(disk_text(folder), encoding="utf-8")


if __name__ == "__main__":
    main()
