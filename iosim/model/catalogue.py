"""Every function of the path that costs time: its cost key, its stage, its name in the source, what it covers.

A profile gives each key a figure; `iosim.model.steps` turns keys into steps; docs/path.md is this table with the place
where each function is modelled. Names are those of QEMU 1.6 and 7.2 and of Linux 3.8 to 6.1.
"""

from typing import NamedTuple

from iosim.model.stages import Stage


class CostKey(NamedTuple):
    """One row: the *function* of the real path spends the cost *key*, charged to *stage* while a request is carried."""

    key: str
    stage: Stage
    function: str
    meaning: str


_G, _X, _H = Stage.GUEST_RUN, Stage.VM_EXIT, Stage.KVM_EXIT_HANDLING
_D, _S, _E = Stage.QEMU_DISPATCH, Stage.QEMU_SUBMIT, Stage.VM_ENTRY
_W, _A, _Q, _C, _I, _V = (
    Stage.AIO_WAIT,
    Stage.AIO_WORKER,
    Stage.COMPLETION_WAIT,
    Stage.COMPLETION,
    Stage.IRQ_DELIVERY,
    Stage.SUBMIT_WAIT,
)

_GUEST = [
    CostKey("guest.block_layer", _G, "blk_mq_dispatch_rq_list", "request leaves the block layer, up to ata_qc_issue"),
    CostKey("guest.reg_w", _G, "ata_sff_tf_load", "instructions up to one task-file register write"),
    CostKey("guest.cmd_w", _G, "ata_sff_exec_command", "instructions up to the command register write"),
    CostKey("guest.status_r", _G, "ata_sff_check_status", "instructions up to one status register read"),
    CostKey("guest.alt_r", _G, "ata_sff_altstatus", "instructions up to one alternate status read"),
    CostKey("guest.bm_w", _G, "ata_bmdma_setup", "instructions up to one bus-master register write"),
    CostKey("guest.bm_r", _G, "ata_bmdma_status", "instructions up to one bus-master register read"),
    CostKey("guest.bm_start", _G, "ata_bmdma_start", "instructions up to the write that starts the bus master"),
    CostKey("guest.data_block", _G, "ata_pio_sector", "set-up of one string instruction or data loop"),
    CostKey("guest.data_out_rep", _G, "ata_sff_data_xfer32", "one iteration of rep outs"),
    CostKey("guest.data_out_loop", _G, "ata_sff_data_xfer32", "one iteration of a loop around out"),
    CostKey("guest.data_in_rep", _G, "ata_sff_data_xfer32", "one exit of rep ins, up to 1024 bytes"),
    CostKey("guest.data_in_loop", _G, "ata_sff_data_xfer32", "one iteration of a loop around in"),
    CostKey("guest.workqueue", _G, "ata_sff_queue_pio_task", "work queued, until its worker runs ata_sff_pio_task"),
    CostKey("guest.interrupt_entry", _I, "common_interrupt", "interrupt taken, up to the driver's handler"),
    CostKey("guest.eoi", _I, "ack_apic_edge", "instructions up to the write that ends the interrupt"),
    CostKey(
        "guest.interrupt_return", _G, "iret", "handler done, until the interrupted driver code goes on (bare metal)"
    ),
    CostKey("guest.complete", _G, "ata_qc_complete", "request handed back to the block layer (after its done_ns)"),
    CostKey("guest.idle", _G, "default_idle", "nothing to do: up to HLT"),
    CostKey(
        "guest.error_handler",
        _G,
        "scsi_error_handler",
        "command failed, until its error handler has decided: the switch to its thread, ata_eh_autopsy, ata_eh_report",
    ),
    CostKey("guest.background", _G, "guest_other_work", "instructions up to one declared background exit"),
]

_CPU = [
    CostKey("cpu.vm_exit", _X, "vmx_vcpu_run", "hardware: guest state saved, host state loaded"),
    CostKey("cpu.save_guest_registers", _X, "vmx_vcpu_run", "general registers stored behind VMLAUNCH/VMRESUME"),
    CostKey("cpu.read_idt_vectoring_info", _X, "vmcs_read32", "IDT_VECTORING_INFO_FIELD"),
    CostKey("cpu.read_exit_reason", _X, "vmcs_read32", "VM_EXIT_REASON"),
    CostKey("cpu.complete_atomic_exit", _X, "vmx_complete_atomic_exit", "machine check or NMI taken with the exit"),
    CostKey("cpu.recover_nmi_blocking", _X, "vmx_recover_nmi_blocking", "NMI blocking by IRET restored"),
    CostKey("cpu.complete_interrupts", _X, "vmx_complete_interrupts", "event whose delivery the exit broke off"),
    CostKey("cpu.load_guest_registers", _E, "vmx_vcpu_run", "general registers loaded before VMLAUNCH/VMRESUME"),
    CostKey("cpu.vmlaunch", _E, "VMLAUNCH", "hardware entry, first or after a change of CPU"),
    CostKey("cpu.vmresume", _E, "VMRESUME", "hardware entry, every other"),
]

_KVM = [
    CostKey("kvm.vcpu_ioctl", _E, "kvm_vcpu_ioctl", "system call KVM_RUN, vcpu_load, up to vcpu_run"),
    CostKey("kvm.complete_userspace_io", _E, "complete_emulated_pio", "value of an IN copied at the next KVM_RUN"),
    CostKey("kvm.rep_ins_item", _E, "pio_in_emulated", "one item of a batched rep ins copied to guest memory"),
    CostKey("kvm.enter_guest", _E, "vcpu_enter_guest", "mmu, FPU, preemption and interrupts off, up to the run"),
    CostKey("kvm.inject_pending_event", _I, "inject_pending_event", "KVM_REQ_EVENT: vector written to the VMCS"),
    CostKey("kvm.enable_irq_window", _E, "enable_irq_window", "guest cannot take the interrupt: window requested"),
    CostKey("kvm.leave_guest", _H, "vcpu_enter_guest", "after the run: mode, statistics, preemption on, srcu"),
    CostKey("kvm.handle_exit", _H, "vmx_handle_exit", "checks and look-up in kvm_vmx_exit_handlers"),
    CostKey("kvm.handle_io", _H, "handle_io", "exit qualification decoded"),
    CostKey("kvm.fast_pio", _H, "kvm_fast_pio_out", "no instruction emulation: register to kvm_run"),
    CostKey("kvm.emulate_instruction", _H, "x86_emulate_instruction", "instruction fetched, decoded and emulated"),
    CostKey("kvm.kernel_pio", _H, "kernel_pio", "in-kernel devices asked, kvm_run filled for userspace"),
    CostKey("kvm.picdev_write", _H, "picdev_write", "the in-kernel PIC takes the access"),
    CostKey("kvm.return_to_userspace", _H, "kvm_arch_vcpu_ioctl_run", "post_kvm_run_save, vcpu_put, system call exit"),
    CostKey("kvm.handle_external_interrupt", _H, "handle_external_interrupt", "host handler of the kick's IPI ran"),
    CostKey("kvm.handle_interrupt_window", _H, "handle_interrupt_window", "window open: KVM_REQ_EVENT"),
    CostKey("kvm.handle_halt", _H, "handle_halt", "kvm_emulate_halt"),
    CostKey("kvm.apic_write_eoi", _I, "kvm_lapic_set_eoi", "EOI by APIC access or x2APIC MSR"),
    CostKey("kvm.vcpu_block", _H, "kvm_vcpu_block", "checks before the thread sleeps or polls"),
    CostKey("kvm.wake_polling", _I, "kvm_vcpu_block", "wake-up seen by a halt-polling vCPU"),
    CostKey("kvm.wake_asleep", _I, "kvm_vcpu_wake_up", "wake-up of a sleeping vCPU thread until it runs"),
    CostKey(
        "kvm.irq_line", _C, "kvm_vm_ioctl_irq_line", "one KVM_IRQ_LINE ioctl: system call, kvm_set_irq, PIC, IOAPIC"
    ),
    CostKey("kvm.deliver_edge", _C, "__apic_accept_irq", "an edge found: IRR, KVM_REQ_EVENT, kvm_vcpu_kick"),
    CostKey("kvm.signal", _H, "kvm_handle_signal_exit", "signal pending: cancelled entry, EINTR"),
]

_OTHER_HANDLERS = [
    "handle_exception",
    "handle_triple_fault",
    "handle_nmi_window",
    "handle_task_switch",
    "handle_cpuid",
    "handle_invd",
    "handle_invlpg",
    "handle_rdpmc",
    "handle_vmcall",
    "handle_vmx_instruction",
    "handle_cr",
    "handle_dr",
    "handle_rdmsr",
    "handle_wrmsr",
    "handle_invalid_op",
    "handle_pause",
    "handle_machine_check",
    "handle_tpr_below_threshold",
    "handle_apic_access",
    "handle_ept_violation",
    "handle_ept_misconfig",
    "handle_wbinvd",
    "handle_xsetbv",
]
_HANDLERS = [CostKey(f"kvm.{name}", _H, name, "handler of a background exit") for name in _OTHER_HANDLERS]

_QEMU_DISPATCH = [
    CostKey("qemu.pre_run", _E, "kvm_arch_pre_run", "one turn of kvm_cpu_exec before KVM_RUN"),
    CostKey("qemu.put_registers", _E, "kvm_arch_put_registers", "registers written back when QEMU changed them"),
    CostKey("qemu.post_run", _D, "kvm_arch_post_run", "flags and TPR read back, switch on exit_reason"),
    CostKey("qemu.mutex_lock", _D, "qemu_mutex_lock_iothread", "BQL taken without contention"),
    CostKey("qemu.mutex_unlock", _D, "qemu_mutex_unlock_iothread", "BQL released"),
    CostKey("qemu.handle_io", _D, "kvm_handle_io", "loop over the items of one KVM_EXIT_IO"),
    CostKey("qemu.cpu_io", _D, "cpu_outw", "cpu_inb ... cpu_outl (up to QEMU 1.6)"),
    CostKey("qemu.address_space_rw", _D, "address_space_rw", "port looked up in the I/O address space"),
    CostKey("qemu.memory_region_dispatch", _D, "memory_region_dispatch_write", "access size adjusted, accessor called"),
    CostKey("qemu.portio", _D, "portio_write", "port list searched, device function called"),
    CostKey("qemu.ide_ioport_write", _D, "ide_ioport_write", "task-file register written"),
    CostKey("qemu.ide_exec_cmd", _D, "ide_exec_cmd", "command checked and its handler called"),
    CostKey("qemu.ide_ioport_read", _D, "ide_ioport_read", "task-file or status register read"),
    CostKey("qemu.ide_status_read", _D, "ide_status_read", "alternate status read"),
    CostKey("qemu.ide_data_writew", _D, "ide_data_writew", "16-bit word taken into the I/O buffer"),
    CostKey("qemu.ide_data_writel", _D, "ide_data_writel", "32-bit word taken into the I/O buffer"),
    CostKey("qemu.ide_data_readw", _D, "ide_data_readw", "16-bit word given from the I/O buffer"),
    CostKey("qemu.ide_data_readl", _D, "ide_data_readl", "32-bit word given from the I/O buffer"),
    CostKey(
        "qemu.pio_item", _D, "address_space_rw", "each further item of a batched exit, down to the device and back"
    ),
    CostKey("qemu.bmdma_write", _D, "bmdma_write", "bus-master status or PRD address written"),
    CostKey("qemu.bmdma_read", _D, "bmdma_read", "bus-master command or status read"),
    CostKey("qemu.bmdma_cmd_writeb", _D, "bmdma_cmd_writeb", "bus-master command written"),
    CostKey("qemu.irq_lower", _D, "qemu_irq_lower", "INTRQ lowered, down to the ioctl"),
    CostKey("qemu.cpu_physical_memory_rw", _D, "cpu_physical_memory_rw", "one KVM_EXIT_MMIO, its device included"),
    CostKey("qemu.arch_handle_exit", _D, "kvm_arch_handle_exit", "exit reasons of the default branch"),
    CostKey("qemu.system_reset", _D, "qemu_system_reset_request", "KVM_EXIT_SHUTDOWN"),
    CostKey("qemu.internal_error", _D, "kvm_handle_internal_error", "KVM_EXIT_INTERNAL_ERROR or UNKNOWN: state dumped"),
    CostKey("qemu.wait_io_event", _D, "qemu_kvm_wait_io_event", "outside of kvm_cpu_exec: signals eaten"),
]

_QEMU_SUBMIT = [
    CostKey("qemu.ide_sector_write", _S, "ide_sector_write", "BUSY set, I/O vector prepared"),
    CostKey("qemu.ide_sector_read", _S, "ide_sector_read", "BUSY set, I/O vector prepared"),
    CostKey("qemu.ide_dma_cb", _S, "ide_dma_cb", "PRD table read, dma_blk_io begun"),
    CostKey("qemu.dma_map_page", _S, "dma_memory_map", "one 4 KiB page of the guest's buffer mapped"),
    CostKey("qemu.ide_flush_cache", _S, "ide_flush_cache", "BUSY set, flush begun"),
    CostKey("qemu.blk_aio_prwv", _S, "blk_aio_prwv", "request accepted (bdrv_aio_writev up to QEMU 1.6)"),
    CostKey("qemu.coroutine_create", _S, "qemu_coroutine_create", "coroutine taken from the pool and entered"),
    CostKey("qemu.bdrv_co_pwritev", _S, "bdrv_co_pwritev_part", "one node: raw format or file (bdrv_co_do_writev)"),
    CostKey("qemu.raw_co_prw", _S, "raw_co_prw", "raw-posix: request prepared (paio_submit)"),
    CostKey("qemu.bdrv_co_flush", _S, "bdrv_co_flush", "flush passed down both nodes"),
    CostKey("qemu.thread_pool_submit_aio", _S, "thread_pool_submit_aio", "element queued, up to the wake of a worker"),
    CostKey("qemu.qcow2_get_host_offset", _S, "qcow2_get_host_offset", "one part of a read: L1 and L2 looked up"),
    CostKey("qemu.qcow2_alloc_host_offset", _S, "qcow2_alloc_host_offset", "one part of a write: L2 and refcounts"),
    CostKey("qemu.qcow2_cache_do_get", _S, "qcow2_cache_do_get", "one table or entry: read or written, prepared"),
    CostKey("qemu.throttle", _S, "throttle_group_co_io_limits_intercept", "limits of the drive looked at and charged"),
    CostKey("qemu.laio_do_submit", _S, "laio_do_submit", "aio=native: iocb prepared (laio_submit up to QEMU 1.6)"),
    CostKey("qemu.io_submit", _S, "io_submit", "system call down to the disk's queue, for all iocbs of one call"),
    CostKey("qemu.io_submit_return", _D, "io_submit", "disk's queue, until the system call has returned"),
    CostKey("qemu.luring_do_submit", _S, "luring_do_submit", "aio=io_uring: submission queue entry prepared"),
    CostKey("qemu.io_uring_enter", _S, "io_uring_enter", "system call down to the disk's queue, for all entries"),
    CostKey("qemu.io_uring_return", _D, "io_uring_enter", "disk's queue, until the system call has returned"),
    CostKey("qemu.submit_return", _D, "qemu_coroutine_yield", "rest of the wake, unwinding to the device's handler"),
]

_POOL = [
    CostKey("pool.worker_wake", _W, "worker_thread", "wake-up of an idle worker until it has the pool's lock"),
    CostKey("pool.do_spawn_thread", _W, "do_spawn_thread", "pthread_create by the main loop or the last new worker"),
    CostKey("pool.thread_start", _W, "worker_thread", "pthread_create done, until the new worker runs"),
    CostKey("worker.dequeue", _A, "worker_thread", "element taken from request_list, aio_worker called"),
    CostKey("worker.pwrite_enter", _A, "handle_aiocb_rw_linear", "pwrite: system call down to the disk's queue"),
    CostKey("worker.pread_enter", _A, "handle_aiocb_rw_linear", "pread: system call down to the disk's queue"),
    CostKey("worker.fdatasync_enter", _A, "handle_aiocb_flush", "fdatasync: system call down to the disk's queue"),
    CostKey(
        "worker.fallocate_enter", _A, "handle_aiocb_write_zeroes", "fallocate of new clusters, the file system's part"
    ),
    CostKey("worker.page", _A, "get_user_pages", "one 4 KiB page of a direct transfer pinned and mapped"),
    CostKey("worker.syscall_return", _A, "handle_aiocb_rw_linear", "disk done, until the system call has returned"),
    CostKey("worker.io_wq_wake", _W, "io_wqe_worker", "wake-up or start of a kernel worker of io_uring"),
    CostKey("worker.notify", _A, "qemu_bh_schedule", "THREAD_DONE, up to the wake of the main loop"),
    CostKey("worker.notify_return", _A, "event_notifier_set", "rest of the wake (carries no request)"),
]

_CACHE = [
    CostKey(
        "cache.pwrite", _A, "generic_perform_write", "buffered pwrite but for its pages: system call and inode lock"
    ),
    CostKey("cache.write_page", _A, "copy_page_from_iter_atomic", "one 4 KiB page found or added, copied, made dirty"),
    CostKey("cache.pread", _A, "filemap_read", "buffered pread but for its pages: system call"),
    CostKey("cache.read_page", _A, "copy_page_to_iter", "one 4 KiB page looked up and copied"),
    CostKey("cache.writepages", _A, "write_cache_pages", "one write of dirty pages put together and submitted"),
    CostKey("cache.flusher_wake", _A, "wb_workfn", "wake-up of the flusher until it runs (carries no request)"),
]

_MAIN_LOOP = [
    CostKey("main_loop.wake", _Q, "os_host_main_loop_wait", "wake-up from ppoll until the thread runs"),
    CostKey("main_loop.poll", _Q, "os_host_main_loop_wait", "one ppoll that finds something ready"),
    CostKey("main_loop.dispatch", _Q, "aio_bh_poll", "one turn: ready handlers and bottom halves looked up"),
    CostKey("main_loop.thread_pool_completion", _C, "thread_pool_completion_bh", "one done element found and removed"),
    CostKey(
        "main_loop.laio_completion", _C, "qemu_laio_process_completions", "one event taken from the ring of Linux AIO"
    ),
    CostKey("main_loop.luring_completion", _C, "luring_process_completions", "one completion queue entry taken"),
    CostKey("main_loop.coroutine_resume", _C, "aio_co_wake", "coroutine resumed, both nodes unwound"),
    CostKey("main_loop.bdrv_co_em_bh", _C, "bdrv_co_em_bh", "the extra bottom half up to QEMU 1.6"),
    CostKey("main_loop.qcow2_link_l2", _C, "qcow2_alloc_cluster_link_l2", "one allocation: L2 entries set"),
    CostKey("main_loop.throttle_timer", _C, "timer_cb", "timer of the drive's limits: the first that waits is entered"),
    CostKey("main_loop.ide_sector_write_cb", _C, "ide_sector_write_cb", "next DRQ block or end"),
    CostKey("main_loop.ide_sector_read_cb", _C, "ide_sector_read_cb", "data ready: DRQ"),
    CostKey("main_loop.ide_dma_cb", _C, "ide_dma_cb", "bus-master transfer done, bus master idle"),
    CostKey("main_loop.ide_flush_cb", _C, "ide_flush_cb", "flush done"),
    CostKey("main_loop.ide_set_irq", _C, "ide_set_irq", "bmdma_irq, ISA IRQ, GSI handler, up to the ioctl"),
    CostKey("main_loop.timer", _C, "ide_sector_write_timer_cb", "timer of the win2k install hack"),
]

_VIRTIO = [
    CostKey("guest.virtio_queue_rq", _G, "virtio_queue_rq", "request leaves the block layer: header, scatter list"),
    CostKey("guest.virtqueue_add", _G, "virtqueue_add", "descriptors written, entry of the available ring"),
    CostKey("guest.virtqueue_kick_prepare", _G, "virtqueue_kick_prepare", "is a kick wanted? once per batch"),
    CostKey("guest.vp_notify", _G, "vp_notify", "instructions up to the write of the doorbell"),
    CostKey("guest.vp_interrupt", _G, "vp_interrupt", "INTx: instructions up to the read of the ISR status"),
    CostKey("guest.vring_interrupt", _G, "vring_interrupt", "handler of the queue: virtblk_done, callbacks off and on"),
    CostKey("guest.virtqueue_get_buf", _G, "virtqueue_get_buf", "one used element taken, up to the end of its request"),
    CostKey("cpu.posted_interrupt", _I, "POSTED_INTR_VECTOR", "APICv: the processor delivers an interrupt, no exit"),
    CostKey("kvm.ioeventfd_write", _H, "ioeventfd_write", "the write signals an eventfd, up to the wake of the loop"),
    CostKey("kvm.irqfd_wakeup", _C, "irqfd_wakeup", "eventfd written by QEMU; kvm_set_msi"),
    CostKey("qemu.virtio_queue_notify", _D, "virtio_queue_notify", "doorbell without ioeventfd: up to the queue"),
    CostKey("qemu.virtio_pci_isr_read", _D, "virtio_pci_isr_read", "ISR status read, INTx lowered, down to the ioctl"),
    CostKey("main_loop.host_notifier_read", _V, "virtio_queue_host_notifier_read", "eventfd read, handler called"),
    CostKey("iothread.run_poll_handlers_once", _V, "run_poll_handlers_once", "a polling loop finds something"),
    CostKey("qemu.virtqueue_pop", _S, "virtqueue_pop", "one element taken out of the available ring"),
    CostKey("qemu.virtio_blk_handle_request", _S, "virtio_blk_handle_request", "request header read"),
    CostKey("qemu.virtio_blk_submit_multireq", _S, "virtio_blk_submit_multireq", "one operation put together"),
    CostKey("main_loop.virtio_blk_rw_complete", _C, "virtio_blk_rw_complete", "operation done, once per element"),
    CostKey("main_loop.virtqueue_push", _C, "virtqueue_push", "one element put on the used ring"),
    CostKey("main_loop.virtio_notify", _C, "virtio_notify", "is an interrupt wanted? (virtio_should_notify)"),
    CostKey("main_loop.event_notifier_set", _C, "event_notifier_set", "INTx with ioeventfd in 7.2: eventfd written"),
    CostKey("main_loop.pci_set_irq", _C, "pci_set_irq", "INTx raised, down to the ioctl"),
]

CATALOGUE: dict[str, CostKey] = {
    row.key: row
    for group in (_GUEST, _CPU, _KVM, _HANDLERS, _QEMU_DISPATCH, _QEMU_SUBMIT, _POOL, _CACHE, _MAIN_LOOP, _VIRTIO)
    for row in group
}
