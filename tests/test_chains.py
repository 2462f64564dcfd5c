"""Call chains: every function has one, and they are those of the sources."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import pytest

import iosim
from iosim.kvm import EXIT_TABLE
from iosim.model.catalogue import CATALOGUE
from iosim.model.chains import CARRIERS, NOT_SAMPLED, OUTLINES, Chains, kind_of, tags_of
from iosim.model.chains.outline import Outline, Tree
from iosim.model.clones import vm_names
from iosim.model.stages import Stage
from iosim.results.result import Result

ROOT = Path(__file__).parents[1]
SEED = ROOT.parent / "shared" / "docs" / "seed.txt"
KINDS = ("vcpu", "main", "iothread", "worker", "iou-wrk", "flush", "")

OLD = frozenset({"1.6", "3.10", "raw", "ide", "libata"})
NEW = frozenset({"7.2", "6.1", "raw", "ide", "libata"})


def every_kind_of_request() -> Iterator[Chains]:
    versions = (("1.6", "3.10"), ("7.2", "6.1"))
    guests = (("ide", "libata", "pio"), ("ide", "libata", "dma"), ("ide", "bare", "dma"), ("virtio",))
    for version, guest, image, op in product(versions, guests, ("raw", "qcow2"), "RWF"):
        yield Chains(frozenset((*version, *guest, image, op)))


def run_of(chains: Chains, kind: str, functions: str) -> list[str]:
    """The chain of each of *functions*, run one after the other for one request, with ';' between its functions."""
    before: dict[str, object] = {}
    found = []
    for function in functions.split():
        carrier = chains.carriers(kind)[chains.slot(kind, function)]
        node = chains.place(kind, function, before.get(carrier))  # type: ignore[arg-type]
        before[carrier] = chains.after(kind, node)
        found.append(";".join(node.stack))
    return found


def chain(chains: Chains, kind: str, functions: str) -> str:
    """The chain of the last one of *functions*."""
    return run_of(chains, kind, functions)[-1]


# Every function has a chain


@cache
def spending_functions() -> frozenset[str]:
    names = {key.function for key in CATALOGUE.values()} | {row.handler for row in EXIT_TABLE.values()}
    known = {name for chains in every_kind_of_request() for kind in KINDS for name in names if chains.knows(kind, name)}
    return frozenset(names - known)


def test_every_function_of_the_catalogue_and_every_handler_has_a_chain() -> None:
    assert spending_functions() == frozenset()


SCENARIOS = ["seed-path", "linux-ext4", "versions", "cache-modes", "virtio-blk", "interfaces/virtio-blk-iothread"]


@cache
def result(name: str) -> Result:
    return iosim.simulate(iosim.load(ROOT / "scenarios" / f"{name}.toml", ["run.slowest=100000"]))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_function_of_the_spans_of_a_shipped_scenario_has_a_chain(name: str) -> None:
    shipped = result(name)
    tables = {vm: table for table in shipped.scenario.vm for vm in vm_names(table)}
    ops = shipped.requests.set_index(["vm", "drive", "request"])["op"].astype(str).to_dict()
    spans = shipped.spans.drop_duplicates(["vm", "drive", "thread", "stage", "function"])
    assert len(spans)
    for vm, drive, request, thread, function in spans[["vm", "drive", "request", "thread", "function"]].values.tolist():
        chains = Chains(tags_of(tables[vm], tables[vm].drive[drive], ops[vm, drive, request]))
        kind = kind_of(thread)
        assert chains.knows(kind, function) or chains.knows("", function), (thread, function)


@pytest.mark.parametrize("name", SCENARIOS)
def test_last_function_of_a_stack_and_its_stage_are_those_of_a_span(name: str) -> None:
    shipped = result(name)
    ops = shipped.requests[["vm", "drive", "request", "op"]].astype({"vm": str, "op": str})
    spans = shipped.spans.merge(ops, on=["vm", "drive", "request"])
    spans["ns"] = spans["end_ns"] - spans["start_ns"]
    table = shipped.functions[shipped.functions["carrier"] != NOT_SAMPLED]
    leaves = table.assign(function=table["stack"].str.rpartition(";")[2])
    by = ["vm", "drive", "op", "stage", "function"]
    expected = spans.groupby(by)["ns"].sum()
    assert leaves.groupby(by)["total_ns"].sum().to_dict() == expected.to_dict()
    assert set(table["carrier"]) <= set(CARRIERS)


def test_every_line_of_the_outlines_is_reached() -> None:
    reached = {
        name for chains in every_kind_of_request() for kind in KINDS for tree in trees(chains, kind) for name in tree
    }
    for name, outline in OUTLINES.items():
        words = re.sub(r"@!?\S+|=>|\+ \w+", " ", outline.text)
        named = set(re.findall(r"[\w.]+", words))
        assert named <= reached, (name, named - reached)


def trees(chains: Chains, kind: str) -> Iterator[dict[str, object]]:
    for tree in chains._trees(kind):
        yield tree.places  # type: ignore[misc]


# The chains are those of the sources


WRITE = (
    "cpu_outw;address_space_write;address_space_rw;io_mem_write;memory_region_dispatch_write;access_with_adjusted_size;"
    "memory_region_write_accessor;portio_write;ide_data_writew;ide_sector_write;bdrv_aio_writev"
)
READ = (
    "bdrv_co_do_readv;raw_co_readv;bdrv_co_readv;bdrv_co_do_readv;bdrv_co_readv_em;bdrv_co_io_em;raw_aio_readv;"
    "raw_aio_submit;paio_submit"
)
DATA_WORD = "cpu_outw address_space_rw memory_region_dispatch_write portio_write ide_data_writew"
"""What runs in QEMU 1.6 for the last data word of a block, up to what that begins."""


def test_stacks_of_the_article() -> None:
    write = chain(Chains(OLD | {"pio", "W"}), "vcpu", f"{DATA_WORD} ide_sector_write bdrv_aio_writev")
    assert write == f"qemu_kvm_cpu_thread_fn;kvm_cpu_exec;kvm_handle_io;{WRITE}"
    submit = "bdrv_aio_readv qemu_coroutine_create bdrv_co_do_readv bdrv_co_readv_em paio_submit thread_pool_submit_aio"
    read = chain(
        Chains(OLD | {"pio", "R"}), "vcpu", f"cpu_inw address_space_rw ide_data_readw ide_sector_read {submit}"
    )
    assert read.endswith(f";bdrv_co_do_rw;{READ};thread_pool_submit_aio")


@pytest.mark.skipif(not SEED.exists(), reason="needs the article in ../shared")
@pytest.mark.parametrize(("stack", "innermost"), [(WRITE, 0), (READ, 1)])
def test_stacks_of_the_article_are_printed_in_it(stack: str, innermost: int) -> None:
    text = SEED.read_text(encoding="utf-8")
    for number, name in enumerate(stack.split(";")[::-1], innermost):
        assert re.search(rf"#{number}\W+(?:0x\w+\W+in\W+)?{name}\W", text), (number, name)


# The vCPU thread from KVM_RUN to the guest and back (the article's prose; docs/path.md for the versions).
@pytest.mark.parametrize(
    ("tags", "function", "expected"),
    [
        (
            OLD,
            "vmx_vcpu_run",
            "qemu_kvm_cpu_thread_fn;kvm_cpu_exec;kvm_vcpu_ioctl;kvm_arch_vcpu_ioctl_run;__vcpu_run;vcpu_enter_guest;"
            "vmx_vcpu_run",
        ),
        (
            NEW,
            "VMRESUME",
            "kvm_vcpu_thread_fn;kvm_cpu_exec;kvm_vcpu_ioctl;kvm_arch_vcpu_ioctl_run;vcpu_run;vcpu_enter_guest;"
            "vmx_vcpu_run;vmx_vcpu_enter_exit;__vmx_vcpu_run;VMRESUME",
        ),
        (
            OLD,
            "handle_io",
            "qemu_kvm_cpu_thread_fn;kvm_cpu_exec;kvm_vcpu_ioctl;kvm_arch_vcpu_ioctl_run;__vcpu_run;vcpu_enter_guest;"
            "vmx_handle_exit;handle_io",
        ),
        (OLD, "kvm_arch_put_registers", "qemu_kvm_cpu_thread_fn;kvm_cpu_exec;kvm_arch_put_registers"),
        (OLD, "qemu_mutex_lock_iothread", "qemu_kvm_cpu_thread_fn;kvm_cpu_exec;qemu_mutex_lock_iothread"),
    ],
)
def test_chains_of_the_vcpu_thread(tags: frozenset[str], function: str, expected: str) -> None:
    assert chain(Chains(tags | {"pio", "W"}), "vcpu", function) == expected


# Completion of a PIO-mode write: domain.md 1.3, steps 14 to 16.
def test_completion_of_qemu_1_6_takes_a_bottom_half_more() -> None:
    functions = "event_notifier_ready bdrv_co_io_em_complete bdrv_co_em_bh ide_sector_write_cb ide_set_irq"
    ready, resumed, bottom_half, callback, irq = run_of(Chains(OLD | {"pio", "W"}), "main", functions)
    assert resumed == f"{ready};bdrv_co_io_em_complete"
    assert bottom_half.endswith(";aio_bh_poll;bdrv_co_em_bh")
    assert irq == f"{callback};ide_set_irq" == f"{bottom_half};ide_sector_write_cb;ide_set_irq"


def test_completion_of_qemu_7_2_runs_in_the_coroutine() -> None:
    functions = "thread_pool_completion_bh aio_co_wake ide_sector_write_cb ide_set_irq kvm_vm_ioctl_irq_line"
    found = run_of(Chains(NEW | {"pio", "W"}), "main", f"{functions} __apic_accept_irq")
    assert found[1].endswith(";aio_bh_poll;thread_pool_completion_bh;thread_pool_co_cb;aio_co_wake")
    coroutine = ";qemu_coroutine_enter;blk_aio_write_entry;blk_aio_complete;ide_sector_write_cb"
    assert found[2] == found[1] + coroutine
    ioctl = ";ide_set_irq;bmdma_irq;gsi_handler;kvm_pic_set_irq;kvm_set_irq;kvm_vm_ioctl;kvm_vm_ioctl_irq_line"
    assert found[4] == found[2] + ioctl
    assert found[5].removeprefix(found[4]) == (
        ";kvm_set_irq;kvm_ioapic_set_irq;ioapic_deliver;kvm_irq_delivery_to_apic;__apic_accept_irq"
    )


# domain.md 1.2, 11 (both nodes), and 12.
def test_submission_of_qemu_7_2_goes_through_both_nodes() -> None:
    functions = "ide_data_writel ide_sector_write blk_aio_prwv qemu_coroutine_create bdrv_co_pwritev_part"
    found = run_of(
        Chains(NEW | {"pio", "W"}), "vcpu", f"{functions} bdrv_co_pwritev_part raw_co_prw thread_pool_submit_aio"
    )
    assert found[2].endswith(";ide_data_writel;ide_sector_write;blk_aio_pwritev;blk_aio_prwv")
    entry = f"{found[2]};qemu_coroutine_enter;blk_aio_write_entry;blk_co_do_pwritev_part;bdrv_co_pwritev_part"
    assert found[4] == entry
    assert found[5] == f"{entry};bdrv_aligned_pwritev;bdrv_driver_pwritev;raw_co_pwritev;bdrv_co_pwritev_part"
    assert found[7].removeprefix(found[5]) == (
        ";bdrv_aligned_pwritev;bdrv_driver_pwritev;raw_co_pwritev;raw_co_prw;raw_thread_pool_submit;"
        "thread_pool_submit_co;thread_pool_submit_aio"
    )
    assert chain(Chains(OLD | {"W"}), "worker", "handle_aiocb_rw_linear") == (
        "worker_thread;aio_worker;handle_aiocb_rw;handle_aiocb_rw_linear"
    )


# libata (domain.md 2.3): the first block is sent from the work queue, the others from the interrupt handler.
def test_libata_sends_a_block_from_the_work_queue_or_the_handler() -> None:
    chains = Chains(NEW | {"pio", "W"})
    issue = "blk_mq_dispatch_rq_list udelay ata_wait_idle ata_sff_dev_select ata_sff_pause ndelay udelay ata_wait_idle"
    command = "ata_sff_tf_load udelay ata_wait_idle ata_sff_exec_command ata_sff_pause ndelay ata_sff_queue_pio_task"
    found = run_of(chains, "vcpu", f"{issue} {command} udelay ata_sff_busy_wait ata_pio_sector ata_sff_data_xfer32")
    qc_issue = ";scsi_queue_rq;ata_scsi_queuecmd;ata_qc_issue;ata_bmdma_qc_issue;ata_sff_qc_issue"
    assert found[2] == f"{found[0]}{qc_issue};ata_dev_select;ata_wait_idle"
    assert found[1] == f"{found[2]};udelay" == found[6]
    assert found[5] == f"{found[0]}{qc_issue};ata_dev_select;ata_sff_dev_select;ata_sff_pause;ndelay"
    assert found[10] == f"{found[0]}{qc_issue};ata_tf_to_host;ata_sff_tf_load;ata_wait_idle"
    assert found[13] == f"{found[0]}{qc_issue};ata_tf_to_host;ata_sff_exec_command;ata_sff_pause;ndelay"
    task = "kthread;worker_thread;process_one_work;ata_sff_pio_task"
    assert found[15] == f"{task};ata_sff_busy_wait;udelay"
    move = "ata_sff_hsm_move;ata_pio_sectors;ata_pio_sector;ata_sff_data_xfer32"
    assert found[-1] == f"{task};{move}"
    handled = chain(chains, "vcpu", "common_interrupt ata_sff_irq_status ata_pio_sector ata_sff_data_xfer32")
    port_intr = "ata_bmdma_interrupt;ata_bmdma_port_intr;__ata_sff_port_intr"
    assert handled == f"common_interrupt;handle_edge_irq;handle_irq_event;{port_intr};{move}"


def test_dma_needs_no_ata_sff_qc_issue() -> None:
    start = chain(Chains(NEW | {"dma", "R"}), "vcpu", "blk_mq_dispatch_rq_list ata_bmdma_start")
    assert start.endswith(
        "blk_mq_dispatch_rq_list;scsi_queue_rq;ata_scsi_queuecmd;ata_qc_issue;ata_bmdma_qc_issue;ata_bmdma_start"
    )


# A read begins with the command, the next block with the last data word of the one before.
def test_function_with_several_callers_hangs_below_the_one_that_ran() -> None:
    chains = Chains(OLD | {"pio", "R"})
    first = chain(chains, "vcpu", "cpu_outb ide_ioport_write ide_exec_cmd ide_sector_read")
    assert first.endswith(";ide_ioport_write;ide_exec_cmd;cmd_read_pio;ide_sector_read")
    next_one = chain(chains, "vcpu", "cpu_inw address_space_rw ide_data_readw ide_sector_read")
    assert next_one.endswith(
        ";cpu_inw;address_space_read;address_space_rw;io_mem_read;memory_region_dispatch_read;"
        "access_with_adjusted_size;memory_region_read_accessor;portio_read;ide_data_readw;"
        "ide_sector_read"
    )


@pytest.mark.parametrize(
    ("kind", "stage", "function", "expected"),
    [
        ("vcpu", Stage.BQL_WAIT, "qemu_mutex_lock_iothread", ("waits", "qemu_kvm_cpu_thread_fn;kvm_cpu_exec;")),
        ("main", Stage.BQL_WAIT, "qemu_mutex_lock_iothread", ("waits", "main_loop;main_loop_wait;os_host_main_loop_")),
        ("worker", Stage.CPU_WAIT, "schedule", ("waits", "worker_thread;schedule")),
        ("main", Stage.COMPLETION_WAIT, "qemu_poll_ns", ("waits", "main_loop;main_loop_wait;")),
        ("", Stage.DISK_SERVICE, "submit_bio", ("host disk", "submit_bio")),
        ("worker", Stage.DISK_WAIT, "submit_bio", ("host disk", "submit_bio")),
        ("worker", Stage.AIO_WAIT, "thread_pool_submit_aio", ("waits", "thread_pool_submit_aio")),
    ],
)
def test_waits(kind: str, stage: Stage, function: str, expected: tuple[str, str]) -> None:
    carrier, node = Chains(OLD | {"pio", "W"}).wait(kind, stage, function, None)
    assert (carrier, ";".join(node.stack)[: len(expected[1])]) == expected
    assert node.name == function


@pytest.mark.parametrize(
    ("thread", "kind"),
    [
        ("vcpu0", "vcpu"),
        ("vcpu", "vcpu"),
        ("main", "main"),
        ("worker", "worker"),
        ("worker12", "worker"),
        ("/".join(("iothread", "worker1")), "iothread"),
        ("iothread/drive:0", "iothread"),
        ("/".join(("iothread", "main", "worker3")), "worker"),
        ("iothread/x/iou-wrk0", "iou-wrk"),
        ("flush-sda", "flush"),
        ("disk sda", ""),
        ("flush_queue", ""),
    ],
)
def test_kind_of_a_thread(thread: str, kind: str) -> None:
    assert kind_of(thread) == kind


# The outlines' own language


def test_outline() -> None:
    text = """
a
  (b / c)
    d|e
      f
  - / g
    h @new
  + MORE @!small
i => f
"""
    outlines = {"ALL": Outline(("old", "new"), text), "MORE": Outline(("old", "new"), "\n(m)\n  n o\n")}

    def stacks(*tags: str) -> list[str]:
        tree = Tree(outlines, "ALL", frozenset(tags))
        return sorted(";".join(node.stack) for nodes in tree.places.values() for node in nodes)

    assert stacks("old", "small") == ["a", "a;b", "a;b;d", "a;b;d;f", "a;b;e", "a;b;e;f", "i"]
    assert stacks("new") == [
        "a", "a;c", "a;c;d", "a;c;d;f", "a;c;e", "a;c;e;f", "a;g", "a;g;h", "a;m", "a;m;n", "a;m;o", "i"
    ]  # fmt: skip
    tree = Tree(outlines, "ALL", frozenset({"new"}))
    assert [len(tree.spending(name)) for name in "abcdm"] == [1, 0, 0, 1, 0]
    assert tree.places["i"][0].then == "f"
