"""Make iosim/profiles/pvm-nested.toml and scenarios/disks/pvm-host.csv from the recordings of the bare-metal guests.

    python tools/make_pvm_nested.py RECORDINGS

RECORDINGS is the folder of the public recordings: B_kvm_baremetal/light_trace (time of every exit, in KVM and guest,
and in QEMU), B_kvm_baremetal/stage_trace (every step of the aio path, and the host's block layer). The tables that
summarise them are not enough: the first access of a command carries the program's own book-keeping, which has to be
left out row by row.

How the figures are made:

* An exit's time in KVM and guest is 6.81 us (KVM_RUN round trip without the guest's instructions: the shortest read of
  0x3f6, 7.66 us, less one iteration of an empty loop, 0.85 us) and the rest, which is what the kernel spends on
  emulating the guest's instructions up to the access: this KVM interprets real mode. The rest is guest.*.
* Each table is 14 quantiles with the sample's mean (`points`).
* An exit's time in QEMU is 0.53 us (shortest data word, 0.58 us, less one item of a batched read, 0.045 us) and the
  rest, which goes to the device's function.
* Tracing has a cost of its own: a read of 0x3f6 takes longer in light_trace than untraced, by the time of three trace
  records per exit (entry of KVM_RUN, kvm_pio, return), two of them inside KVM_RUN. The round trip and QEMU's part are
  shortened by that (`tracing`). An IRQ-line ioctl is half of what a read of 0x1f7 takes more than one of 0x3f6, both
  untraced. Only these microbenchmarks are compared with their untraced runs, never a workload.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROUND_TRIP = 6.81
QEMU_EXIT = 0.53
IRQ_LINE = 1.23
ITEM = 0.045
PROBABILITIES = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1]

DMA = ["dma_w_1_none", "dma_w_8_none", "dma_w_64_none"]
DMA_IRQ = ["dma_w_irq_1_none", "dma_w_irq_8_none", "dma_w_irq_64_none"]
PIO = ["w30_outw_1_none", "w30_outw_8_none", "w30_outw_64_none"]
PIO_IRQ = ["w30_outw_irq_1_none", "w30_outw_irq_8_none", "w30_outw_irq_64_none"]
STAGES_DMA = ["dma_w_1_none.ftf.b", "dma_w_8_none.ftf.b", "dma_w_64_none.ftf.b"]
STAGES_DMA_IRQ = ["dma_w_irq_1_none.ftf.b", "dma_w_irq_8_none.ftf.a", "dma_w_irq_64_none.ftf.a"]
STAGES_PIO = ["w30_outw_1.s_none.ftf.a", "w30_outw_8.s_none.ftf.a", "w30_outw_irq_8.s_none.ftf.a"]
STAGES_READ = ["r20_repinsw_8.s_none.ftf.a", "r20_repinsw_8.s_none.ftf.b"]
STAGES_NATIVE = ["dma_w_irq_8_none_native.ftf.a"]
STAGES_IO_URING = ["dma_w_irq_8_none_io_uring.ftf.a"]
STAGES_FLUSH = ["dma_w_flush1_8_none.ftf.a", "dma_w_flush1_8_none.ftf.b"]


def exits(folder: Path, runs: list[str]) -> pd.DataFrame:
    """Return the rows of all exits of *runs*, without the first command of each (cold) and its set-up."""
    frames = []
    for run in runs:
        (path,) = (folder / "light_trace" / f"{run}.ftl").glob("exits_first*.csv.gz")
        rows = pd.read_csv(path)
        begun = rows.index[rows["class"] == "cmd_w"]
        frames.append(rows.loc[begun[1] - 9 if len(begun) > 1 else 0 :])
    return pd.concat(frames)


def stages(folder: Path, runs: list[str]) -> pd.DataFrame:
    """Return the rows of the aio path of *runs* with the times of the host's block layer beside them, in order."""
    frames = []
    for run in runs:
        rows = pd.read_csv(folder / "stage_trace" / run / "aio.csv.gz")
        block = pd.read_csv(folder / "stage_trace" / run / "blk.csv.gz")
        if len(rows) == len(block):
            rows = pd.concat([rows, block], axis=1)
        frames.append(rows.iloc[1:])
    return pd.concat(frames)


def tracing(folder: Path) -> tuple[float, float]:
    """Return what light tracing adds to an exit, and what one IRQ-line ioctl takes untraced, in us."""

    def untraced(program: str) -> float:
        return float(pd.read_csv(folder / "untraced" / f"{program}_none.csv.gz")["iter_us"].median())

    traced = exits(folder, ["mic_in3f6_none"])
    traced = traced[traced["class"] == "alt_r"]
    alternate = untraced("mic_in3f6")
    added = float((traced["kvm_us"] + traced["qemu_us"]).median()) - alternate
    return added, (untraced("mic_in1f7") - alternate) / 2


def points(us: "pd.Series[float]", less: float = 0.0) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return the quantiles of *us*, each shortened by *less* (not below 0), with the mean of *us*.

    A straight line from the 0.999 quantile to one outlier would raise the mean: the last value is lowered until the
    mean of the piecewise linear distribution is that of the sample, but not below the value before it.
    """
    sample = np.maximum(us.dropna().to_numpy() - less, 0)
    values = np.quantile(sample, PROBABILITIES)
    mean = float((np.diff(PROBABILITIES) * (values[1:] + values[:-1]) / 2).sum())
    excess = 2 * (mean - float(sample.mean())) / (PROBABILITIES[-1] - PROBABILITIES[-2])
    values[-1] = max(values[-2], values[-1] - excess)
    return values


def quantiles(us: "pd.Series[float]", less: float = 0.0) -> str:
    """Return the TOML list of [probability, time] of *us*, each shortened by *less* (not below 0)."""
    values = points(us, less)
    pairs = ", ".join(f'[{p}, "{round(1000 * v)}ns"]' for p, v in zip(PROBABILITIES, values, strict=True))
    return f"quantiles = [{pairs}]"


class Writer:
    """Collects figures and writes them as a profile."""

    def __init__(self) -> None:
        self.figures: dict[str, tuple[str, str, str]] = {}

    def table(self, key: str, us: "pd.Series[float]", less: float, source: str) -> None:
        """A measured table of quantiles, less a part that has a key of its own."""
        text = f"{source}; n = {us.notna().sum()}" + (f"; less {less:g} us" if less else "")
        self.figures[key] = (quantiles(us, less), "measured", text)

    def constant(self, key: str, value: str, kind: str, source: str) -> None:
        """A constant."""
        self.figures[key] = (f'value = "{value}"', kind, source)

    def included(self, source: str, *keys: str) -> None:
        """Figures that are part of another one."""
        for key in keys:
            self.figures[key] = ("", "included", source)

    def toml(self, head: dict[str, str], order: list[str]) -> str:
        """Return the profile's text, the figures in the catalogue's *order*."""
        lines = [f'{key} = "{value}"' for key, value in head.items()]
        for key in order:
            value, kind, source = self.figures[key]
            lines += ["", f"[cost.{key}]", *([value] if value else []), f'kind = "{kind}"', f'source = "{source}"']
        return "\n".join(lines) + "\n"


def exit_costs(w: Writer, folder: Path) -> None:
    """The guest's instructions, KVM's round trip, QEMU's dispatch: from the time of every exit."""
    dma, dma_irq, pio, pio_irq = (exits(folder, runs) for runs in (DMA, DMA_IRQ, PIO, PIO_IRQ))
    both = pd.concat([dma, dma_irq])
    kvm = "KVM and guest time of one exit, light_trace "

    def of(rows: pd.DataFrame, kind: str, part: str = "kvm_us") -> "pd.Series[float]":
        return rows.loc[rows["class"] == kind, part]

    w.table("guest.reg_w", of(both, "reg_w"), ROUND_TRIP, kvm + "dma_w_* and dma_w_irq_*: reg_w")
    w.table("guest.cmd_w", of(both, "cmd_w"), ROUND_TRIP, kvm + "dma_w_* and dma_w_irq_*: cmd_w")
    w.table("guest.bm_start", of(both, "bm_start"), ROUND_TRIP, kvm + "dma_w_* and dma_w_irq_*: bm_start")
    later = dma[dma["port"] != "0xc004"]
    w.table("guest.bm_w", of(later, "bm_w"), ROUND_TRIP, kvm + "dma_w_*: bm_w but the first access of a command")
    w.table("guest.bm_r", of(dma, "bm_r"), ROUND_TRIP, kvm + "dma_w_*: bm_r")
    w.table(
        "guest.status_r", of(pd.concat([dma, pio]), "status_r"), ROUND_TRIP, kvm + "dma_w_* and w30_outw_*: status_r"
    )
    w.table("guest.alt_r", of(exits(folder, ["mic_in3f6_none"]), "alt_r"), ROUND_TRIP, kvm + "mic_in3f6: alt_r")
    w.table("guest.data_out_loop", of(pio, "data_w"), ROUND_TRIP, kvm + "w30_outw_*: data_w")
    rep = exits(folder, ["w30_repoutsw_8_none"])
    w.table("guest.data_out_rep", of(rep, "data_w"), ROUND_TRIP, kvm + "w30_repoutsw_8: data_w")
    loop_in = exits(folder, ["r20_inw_8_none"])
    w.table("guest.data_in_loop", of(loop_in, "data_r"), ROUND_TRIP, kvm + "r20_inw_8: data_r")
    rep_in = exits(folder, ["rc4_repinsw_64_none"])
    w.table("guest.data_in_rep", of(rep_in, "data_r"), ROUND_TRIP, kvm + "rc4_repinsw_64: data_r")
    block = of(pio, "data_w_first").median() - of(pio, "data_w").median()
    w.constant(
        "guest.data_block", f"{round(1000 * block)}ns", "derived", "median data_w_first less median data_w, w30_outw_*"
    )
    resumed = of(dma_irq, "bm_r")
    after = of(dma, "bm_r").median() + 2 * 1.05
    w.table("guest.interrupt_return", resumed, after, kvm + "dma_w_irq_*: bm_r, less a polled bm_r and two EOIs")

    added, irq_line = tracing(folder)
    half = f"{round(3000 - 1000 * added / 3)}ns"
    w.constant(
        "kvm.vcpu_ioctl",
        half,
        "derived",
        f"share of a KVM_RUN round trip of 6.81 us, less two thirds of {added:.2f} us of tracing; the split is assumed",
    )
    w.constant("kvm.return_to_userspace", half, "derived", "as kvm.vcpu_ioctl")
    w.constant("cpu.vm_exit", "400ns", "derived", "as kvm.vcpu_ioctl")
    w.constant("cpu.vmresume", "410ns", "derived", "as kvm.vcpu_ioctl")
    w.constant("cpu.vmlaunch", "410ns", "derived", "as cpu.vmresume; this KVM has neither instruction")
    w.constant("kvm.rep_ins_item", "2ns", "derived", "rc4_repinsw_64 less w30_repoutsw_8, 0.8 us over 512 items")
    w.constant("guest.eoi", "420ns", "derived", "half of an iteration of an empty loop, mic_nop")

    qemu = "QEMU time of one exit, light_trace "
    w.constant(
        "qemu.post_run",
        f"{round(1000 * (QEMU_EXIT - added / 3))}ns",
        "derived",
        f"shortest data word less one batched item, 0.53 us, less a third of {added:.2f} us of tracing",
    )
    w.constant(
        "kvm.irq_line",
        f"{round(1000 * irq_line)}ns",
        "derived",
        "half of mic_in1f7 less mic_in3f6, medians of the untraced time of an iteration",
    )
    lowered = QEMU_EXIT + 2 * IRQ_LINE
    w.table("qemu.ide_ioport_write", of(both, "reg_w", "qemu_us"), QEMU_EXIT, qemu + "dma_w_* and dma_w_irq_*: reg_w")
    status = exits(folder, ["mic_in1f7_none"])
    w.table("qemu.ide_ioport_read", of(status, "status_r", "qemu_us"), lowered, qemu + "mic_in1f7: status_r")
    w.table("qemu.ide_exec_cmd", of(both, "cmd_w", "qemu_us"), lowered + 0.1, qemu + "dma_w_* and dma_w_irq_*: cmd_w")
    alternate = exits(folder, ["mic_in3f6_none"])
    w.table("qemu.ide_status_read", of(alternate, "alt_r", "qemu_us"), QEMU_EXIT, qemu + "mic_in3f6: alt_r")
    w.table("qemu.ide_data_writew", of(pio, "data_w", "qemu_us"), QEMU_EXIT, qemu + "w30_outw_*: data_w")
    wide = exits(folder, ["w30_outl_8_none"])
    w.table("qemu.ide_data_writel", of(wide, "data_w", "qemu_us"), QEMU_EXIT, qemu + "w30_outl_8: data_w")
    for key in ("qemu.ide_data_readw", "qemu.ide_data_readl"):
        w.constant(key, f"{round(1000 * ITEM)}ns", "derived", "rc4_repinsw_64: 23.57 us of QEMU for 512 items")
    w.constant("qemu.pio_item", f"{round(1000 * ITEM)}ns", "derived", "rc4_repinsw_64: 23.57 us of QEMU for 512 items")
    w.table("qemu.bmdma_write", of(later, "bm_w", "qemu_us"), QEMU_EXIT, qemu + "dma_w_*: bm_w")
    w.table("qemu.bmdma_read", of(dma_irq, "bm_r", "qemu_us"), QEMU_EXIT, qemu + "dma_w_irq_*: bm_r")
    del pio_irq


def aio_costs(w: Writer, folder: Path) -> None:
    """Submission, pool, worker, main loop, interrupt: from the steps of the aio path."""
    dma = stages(folder, STAGES_DMA + STAGES_DMA_IRQ)
    pio = stages(folder, STAGES_PIO)
    reads = stages(folder, STAGES_READ)
    flush = stages(folder, STAGES_FLUSH)
    irq = stages(folder, STAGES_DMA_IRQ)
    trace = "stage_trace "
    submit = "t_exit to t_wwake, from the return to QEMU to the wake of the worker, stage_trace "
    w.table("qemu.ide_dma_cb", dma.t_wwake_us - dma.t_exit_us, QEMU_EXIT, submit + "dma_w_*, dma_w_irq_*")
    w.table("qemu.ide_sector_write", pio.t_wwake_us - pio.t_exit_us, QEMU_EXIT, submit + "w30_outw_*")
    w.table("qemu.ide_sector_read", reads.t_wwake_us - reads.t_exit_us, QEMU_EXIT, submit + "r20_repinsw_8")
    flushes = flush[flush.trigger == "cmd_w"]
    w.table("qemu.ide_flush_cache", flushes.t_wwake_us - flushes.t_exit_us, QEMU_EXIT, submit + "dma_w_flush1_8: cmd_w")
    w.table("qemu.submit_return", dma.t_in_us - dma.t_wwake_us, 0, trace + "dma_w_*: t_wwake to t_in")
    pool = pd.concat([dma, pio])
    w.table("pool.worker_wake", pool.t_wret_us - pool.t_wwake_us, 0, trace + "dma_w_*, w30_outw_*: t_wwake to t_wret")
    w.table("worker.dequeue", pool.t_ws_us - pool.t_wret_us, 0, trace + "dma_w_*, w30_outw_*: t_wret to t_ws")
    w.table("worker.pwrite_enter", pool.t_queue_us - pool.t_ws_us, 0, trace + "dma_w_*, w30_outw_*: t_ws to t_queue")
    w.table("worker.pread_enter", reads.t_queue_us - reads.t_ws_us, 0, trace + "r20_repinsw_8: t_ws to t_queue")
    w.table(
        "worker.syscall_return", pool.t_we_us - pool.t_complete_us, 0, trace + "dma_w_*, w30_outw_*: t_complete to t_we"
    )
    w.table("worker.notify", pool.t_mwake_us - pool.t_we_us, 0, trace + "dma_w_*, w30_outw_*: t_we to t_mwake")
    w.table(
        "worker.notify_return",
        pool.t_evfd_end_us - pool.t_mwake_us,
        0,
        trace + "dma_w_*, w30_outw_*: t_mwake to t_evfd_end",
    )
    for name, call, run in (("native", "io_submit", STAGES_NATIVE), ("io_uring", "io_uring_enter", STAGES_IO_URING)):
        rows = stages(folder, run)
        rest = f"qemu.{call.removesuffix('_enter')}_return"
        place = f"{trace}dma_w_irq_8_none_{name}: "
        w.table(f"qemu.{call}", rows.t_queue_us - rows.t_ws_us, 0, place + "t_ws to t_queue")
        w.table(rest, rows.t_we_us - rows.t_queue_us, 0, place + "t_queue to t_we")
    w.table("main_loop.wake", pool.t_main_us - pool.t_mwake_us, 0, trace + "dma_w_*, w30_outw_*: t_mwake to t_main")
    begun = 0.4
    done = "t_main to t_irq, less the begin of the ioctl, stage_trace "
    w.table("main_loop.ide_dma_cb", irq.t_irq_us - irq.t_main_us, begun, done + "dma_w_irq_*")
    w.table("main_loop.ide_sector_write_cb", pio.t_irq_us - pio.t_main_us, begun, done + "w30_outw_irq_8")
    polled, slept = irq[irq.t_vwake_us.isna()], irq[irq.t_vwake_us.notna()]
    rest = IRQ_LINE - begun + 0.41 + 0.4 + 3.0 + 1.4
    wake = "t_irq to t_ready, less the rest of the ioctl, the entry and the status read, stage_trace dma_w_irq_*: "
    w.table("kvm.wake_polling", polled.t_ready_us - polled.t_irq_us, rest, wake + "vCPU still halt-polling")
    w.table("kvm.wake_asleep", slept.t_ready_us - slept.t_irq_us, rest, wake + "vCPU thread woken")


def other_costs(w: Writer) -> None:
    """What the recordings do not hold, and what is part of a figure above."""
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


def virtio_costs(w: Writer) -> None:
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


def disk_table(folder: Path, sizes: dict[int, list[str]], flush_runs: list[str]) -> str:
    """Return the CSV of the host's disk: block queue to complete by size, for writes and reads; fdatasync whole."""
    lines = ["op,sectors,probability,ns"]
    for op in ("R", "W"):
        for size, runs in sizes.items():
            chosen = [run for run in runs if run.startswith(("dma_r", "r20")) == (op == "R")]
            if not chosen:
                continue
            rows = stages(folder, chosen)
            values = points(rows.t_complete_us - rows.t_queue_us)
            lines += [f"{op},{size},{p},{round(1000 * v)}" for p, v in zip(PROBABILITIES, values, strict=True)]
    rows = stages(folder, flush_runs)
    syncs = rows[rows.syscall == "fdatasync"]
    values = points(syncs.t_we_us - syncs.t_ws_us)
    lines += [f"F,0,{p},{round(1000 * v)}" for p, v in zip(PROBABILITIES, values, strict=True)]
    return "\n".join(lines) + "\n"


def profile_text(folder: Path) -> str:
    """Return the text of the profile; *folder* is B_kvm_baremetal of the recordings."""
    from iosim.model.catalogue import CATALOGUE

    w = Writer()
    exit_costs(w, folder)
    aio_costs(w, folder)
    other_costs(w)
    for key in CATALOGUE:
        if key.startswith("kvm.handle_") and key not in w.figures:
            w.constant(key, "1us", "assumed", "no measurement")
    head = {
        "name": "pvm-nested",
        "title": "Measured: bare-metal guests on kvm_pvm inside a VM, 2026",
        "machine": "2 vCPUs of an AMD EPYC at 2.596 GHz, itself a guest; "
        "Linux 6.18.44 with kvm_pvm (no VMX), QEMU 7.2.22",
        "origin": "public recordings of the project, by tools/make_pvm_nested.py; "
        "absolute exit costs are those of this KVM",
    }
    return w.toml(head, list(CATALOGUE))


def disk_text(folder: Path) -> str:
    """Return the CSV of the host's disk; *folder* is B_kvm_baremetal of the recordings."""
    sizes = {
        1: ["dma_w_1_none.ftf.b", "w30_outw_8.s_none.ftf.a", "w30_outw_irq_8.s_none.ftf.a", *STAGES_READ],
        8: ["dma_w_8_none.ftf.b", "dma_w_irq_8_none.ftf.a", "dma_r_8_none.ftf.a"],
        64: ["dma_w_64_none.ftf.b", "dma_w_irq_64_none.ftf.a"],
    }
    return disk_table(folder, sizes, STAGES_FLUSH)


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
