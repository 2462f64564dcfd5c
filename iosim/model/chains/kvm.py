"""KVM's and the host kernel's call chains (arch/x86/kvm, virt/kvm, fs, mm): Linux 3.10 and 6.1.

The frames of a system call's entry (entry_SYSCALL_64, do_syscall_64, sys_ioctl) are left out; kvm_vcpu_ioctl stands for
QEMU's function and the kernel's.
"""

from iosim.model.chains.outline import outlines

OUTLINES = outlines(
    ("3.10", "6.1"),
    """
[KVM_RUN]
kvm_vcpu_ioctl
  kvm_arch_vcpu_ioctl_run
    complete_emulated_pio
      (complete_emulated_io)
        (x86_emulate_instruction)
          (x86_emulate_insn)
            (em_in)
              pio_in_emulated
    complete_fast_pio_in
    (__vcpu_run / vcpu_run)
      kvm_handle_signal_exit
      (- / vcpu_block)
        - / kvm_vcpu_halt
          kvm_vcpu_block
      vcpu_enter_guest
        inject_pending_event / kvm_check_and_inject_events
          vmx_enable_irq_window @6.1
        enable_irq_window @3.10
        vmx_vcpu_run
          (- / vmx_vcpu_enter_exit)
            - / __vmx_vcpu_run
              VMLAUNCH VMRESUME
          vmcs_read32 vmx_complete_atomic_exit vmx_recover_nmi_blocking vmx_complete_interrupts
        vmx_handle_exit
          (- / __vmx_handle_exit)
            + KVM_HANDLERS

[KVM_HANDLERS]
handle_io
  (- / kvm_emulate_instruction)
    x86_emulate_instruction
      (x86_emulate_insn)
        (emulator_pio_in_out)
          + KERNEL_PIO
  kvm_fast_pio_out / kvm_fast_pio
    (emulator_pio_in_out)
      + KERNEL_PIO
handle_ept_misconfig
  kvm_io_bus_write @6.1
    ioeventfd_write
  (x86_emulate_instruction) @3.10
    (x86_emulate_insn)
      (vcpu_mmio_write)
        (kvm_io_bus_write)
          ioeventfd_write
handle_apic_access
  kvm_lapic_set_eoi
handle_wrmsr
  (kvm_set_msr_common)
    kvm_x2apic_msr_write
handle_external_interrupt handle_interrupt_window handle_halt handle_exception handle_triple_fault handle_nmi_window
handle_task_switch handle_cpuid handle_invd handle_invlpg handle_rdpmc handle_vmcall handle_vmx_instruction
handle_vmclear handle_vmlaunch handle_vmptrld handle_vmptrst handle_vmread handle_vmresume handle_vmwrite handle_vmoff
handle_vmon handle_cr handle_dr handle_rdmsr handle_invalid_op handle_pause handle_machine_check
handle_tpr_below_threshold handle_ept_violation handle_wbinvd handle_xsetbv

[KERNEL_PIO]
kernel_pio
  (kvm_io_bus_write)
    picdev_write ioeventfd_write

[IRQ_LINE_IOCTL]
(kvm_vm_ioctl)
  kvm_vm_ioctl_irq_line
    (kvm_set_irq)
      (kvm_ioapic_set_irq)
        (ioapic_deliver)
          (kvm_irq_delivery_to_apic)
            __apic_accept_irq

[IRQFD]
(eventfd_write)
  irqfd_wakeup
    (kvm_set_msi)
      (kvm_irq_delivery_to_apic)
        __apic_accept_irq

[FILE_IO]
get_user_pages
(vfs_write)
  generic_perform_write
    copy_page_from_iter_atomic
    (balance_dirty_pages_ratelimited)
      balance_dirty_pages
(vfs_read)
  filemap_read
    copy_page_to_iter

[FILE_SYNC]
(vfs_fsync_range)
  file_write_and_wait_range
    (do_writepages)
      write_cache_pages

[IO_WQ]
io_wqe_worker
  (io_worker_handle_work)
    (io_wq_submit_work)
      (io_issue_sqe)
        handle_aiocb_rw_linear
          + FILE_IO
        + FILE_IO
        handle_aiocb_flush
          + FILE_SYNC
  schedule

[FLUSHER]
(kthread)
  (worker_thread)
    (process_one_work)
      wb_workfn
        (wb_writeback)
          (do_writepages)
            write_cache_pages
""",
)
