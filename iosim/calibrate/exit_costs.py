"""Costs of an exit: the guest's instructions, KVM's round trip, QEMU's dispatch; from the time of every exit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.calibrate.overhead import Overhead
from iosim.calibrate.profile_file import Draft
from iosim.calibrate.recording import Recording
from iosim.calibrate.typical import FEWEST, Typical, typical

Floats = npt.NDArray[np.float64]
KINDS = ("reg_w", "cmd_w", "ctl_w", "status_r", "alt_r", "bm_w", "bm_start", "bm_r", "data_w", "data_r")

GUEST = {
    "guest.reg_w": "reg_w",
    "guest.cmd_w": "cmd_w",
    "guest.bm_start": "bm_start",
    "guest.bm_w": "bm_w",
    "guest.bm_r": "bm_r",
    "guest.status_r": "status_r",
    "guest.alt_r": "alt_r",
}
QEMU = {
    "qemu.ide_ioport_write": ("reg_w", ""),
    "qemu.ide_status_read": ("alt_r", ""),
    "qemu.bmdma_write": ("bm_w", "port % 8 != 0"),
    "qemu.bmdma_cmd_writeb": ("bm_w", "port % 8 == 0"),
    "qemu.bmdma_read": ("bm_r", ""),
}
"""Kind of the accesses that the function handles, and a further condition."""
_LOWERING = {"qemu.ide_ioport_read": "status_r", "qemu.ide_exec_cmd": "cmd_w"}
_WORDS = {2: "w", 4: "l"}
_ONE_ITEM = 4
"""Data words of up to so many bytes in one exit are one item; more are a batched string instruction."""


@dataclass(frozen=True)
class Exits:
    """All exits of *recordings*, what tracing adds taken out."""

    recordings: Sequence[Recording]
    overhead: Overhead

    def of(self, part: str, *kinds: str, where: str = "", string_io: bool | None = None) -> list[Floats]:
        """Return the us of *part* ("kvm", "qemu", "guest", "enter", "leave") of exits of *kinds*, one array per run.

        Without the first command of a run, which is cold, and what a vCPU did behind a submission. Of "kvm" and "guest"
        the opening access of a command is left out, too: the guest's own work between commands is in it. Of "qemu" the
        reads by which a guest polls, unless there are no others: they may wait for the BQL, which the model does by
        itself. *where* is a further
        condition. *string_io*: only of runs that may have moved data that way.
        """
        polling = part == "qemu" and all(
            r.exits.loc[r.exits["kind"].isin(kinds), "polls"].all() for r in self.recordings
        )
        found = []
        for recording in self.recordings:
            if string_io is not None and recording.string_io not in (None, string_io):
                continue
            rows = recording.exits
            chosen = rows["kind"].isin(kinds) & rows["warm"]
            if part in ("kvm", "guest"):
                chosen &= ~(rows["opening"] | rows["waited"] | rows["resumed"]).astype(bool)
            elif part == "qemu" and not polling:
                chosen &= ~rows["polls"]
            rows = rows[chosen].query(where) if where else rows[chosen]
            less = (
                rows["kind"].map({kind: self.overhead.less(recording, part, kind) for kind in kinds}).astype(np.float64)
            )
            found.append(np.maximum((rows[f"{part}_us"] - less).dropna().to_numpy(dtype=np.float64), 0))
        return [values for values in found if len(values)]

    def shortest(self, part: str) -> float | None:
        """Return the 1 % quantile, in a typical run, of the kind of exit whose is least; in us."""
        each = [typical(self.of(part, kind)) for kind in KINDS]
        return min((float(one.values[1]) for one in each if one is not None and one.n >= FEWEST), default=None)

    def waits(self) -> list[Floats]:
        """Return what accesses took, in KVM and guest, behind one for which the guest slept until an interrupt.

        That is a bus-master read behind the status read of the handler: one of a guest that polls the bus master comes
        behind its start.
        """
        found = []
        for recording in self.recordings:
            rows = recording.exits
            before = rows["kind"].groupby(rows["vcpu"], sort=False).shift(1)
            chosen = rows["resumed"].astype(bool) & (rows["kind"] == "bm_r") & (before == "status_r") & rows["warm"]
            values = rows.loc[chosen, "kvm_us"].dropna().to_numpy(dtype=np.float64)
            found.append(np.maximum(values - self.overhead.less(recording, "kvm", "bm_r"), 0))
        return [values for values in found if len(values)]


def minus(samples: Sequence[Floats], us: float) -> list[Floats]:
    """Return *samples* shortened by *us*, not below 0."""
    return [np.maximum(values - us, 0) for values in samples]


def enter(draft: Draft, exits: Exits, loop_us: float, irq_line_us: float | None) -> None:
    """Enter all costs of exits that the recordings show into *draft*.

    *loop_us*: what an iteration of an empty loop takes in the guest. *irq_line_us*: a KVM_IRQ_LINE ioctl, if known.
    """
    if irq_line_us is None:
        irq_line_us = _irq_line(draft, exits)
    _guest(draft, exits, _round_trip(draft, exits, loop_us))
    _qemu(draft, exits, irq_line_us)


def _irq_line(draft: Draft, exits: Exits) -> float:
    """Enter half of what a status read, which lowers the line twice, takes in QEMU more than an alternate one."""
    status, alternate = typical(exits.of("qemu", "status_r")), typical(exits.of("qemu", "alt_r"))
    if status is None or alternate is None:
        return draft.us("kvm.irq_line")
    us = max(0.0, (status.median - alternate.median) / 2)
    draft.constant("kvm.irq_line", us, "half of what status_r takes in QEMU more than alt_r, medians")
    return us


def _round_trip(draft: Draft, exits: Exits, loop_us: float) -> tuple[str, float]:
    """Enter KVM's part of an exit; return which part of an exit holds the guest's, and how much of it is KVM's."""
    groups = {
        "kvm.vcpu_ioctl": ("kvm.complete_userspace_io", "kvm.enter_guest", "cpu.load_guest_registers", "qemu.pre_run"),
        "cpu.vm_exit": (
            "cpu.save_guest_registers",
            "cpu.read_idt_vectoring_info",
            "cpu.read_exit_reason",
            "cpu.complete_atomic_exit",
            "cpu.recover_nmi_blocking",
            "cpu.complete_interrupts",
        ),
        "cpu.vmresume": (),
        "kvm.return_to_userspace": (
            "kvm.leave_guest",
            "kvm.handle_exit",
            "kvm.handle_io",
            "kvm.fast_pio",
            "kvm.emulate_instruction",
            "kvm.kernel_pio",
        ),
    }
    parts = {key: draft.base.us(key, *rest) for key, rest in groups.items()}
    entering, leaving = typical(exits.of("enter", *KINDS)), typical(exits.of("leave", *KINDS))
    if entering is not None and leaving is not None:
        draft.table("kvm.vcpu_ioctl", entering, "entry of KVM_RUN to kvm_entry")
        draft.table("kvm.return_to_userspace", leaving, "kvm_exit to the return of KVM_RUN")
        for key in ("kvm.vcpu_ioctl", "kvm.return_to_userspace"):
            draft.included(key, *groups[key])
        return "guest", parts["cpu.vm_exit"] + parts["cpu.vmresume"]
    shortest = exits.shortest("kvm")
    if shortest is None:
        return "kvm", 0.0
    trip = max(0.0, shortest - loop_us)
    total = sum(parts.values()) or 1.0
    loop = f", less {loop_us:g} us for an iteration of an empty loop" if loop_us else ""
    source = f"share of a KVM_RUN round trip of {trip:.2f} us: the shortest exit{loop}; split as in {draft.base.name}"
    for key, rest in groups.items():
        draft.constant(key, trip * parts[key] / total, source)
        draft.included(key, *rest)
    draft.constant("cpu.vmlaunch", draft.us("cpu.vmresume"), "as cpu.vmresume")
    return "kvm", trip


def _guest(draft: Draft, exits: Exits, kvm_part: tuple[str, float]) -> None:
    part, less = kvm_part
    what = "KVM and guest time of an exit" if part == "kvm" else "kvm_entry to kvm_exit"
    what += f", less {less:.2f} us of KVM and processor: "

    def table(key: str, *kinds: str, where: str = "", string_io: bool | None = None) -> Typical | None:
        found = typical(minus(exits.of(part, *kinds, where=where, string_io=string_io), less))
        draft.table(key, found, what + " and ".join(kinds))
        return found

    for key, kind in GUEST.items():
        # Starts and stops of the bus master are writes of its command register.
        table(key, kind)
    for way, name in (("w", "out"), ("r", "in")):
        table(f"guest.data_{name}_loop", f"data_{way}", where=f"size * count <= {_ONE_ITEM}", string_io=False)
        batched = f"size * count > {_ONE_ITEM}" if way == "r" else ""
        table(f"guest.data_{name}_rep", f"data_{way}", where=batched, string_io=True)
    first, other = typical(exits.of(part, "data_w_first")), typical(exits.of(part, "data_w"))
    if first is not None and other is not None:
        draft.constant("guest.data_block", first.median - other.median, "median data_w_first less median data_w")
    resumed, polled = exits.waits(), typical(exits.of(part, "bm_r")) or typical(exits.of(part, "bm_w"))
    if resumed and polled is not None and part == "kvm":
        ends = 2 * draft.us("guest.eoi", "kvm.picdev_write", "cpu.vm_exit", "cpu.vmresume")
        source = "KVM and guest time of bm_r behind an interrupt's handler, less two EOIs and a bm_r (bm_w) elsewhere"
        draft.table("guest.interrupt_return", typical(minus(resumed, polled.median + ends)), source)


def _qemu(draft: Draft, exits: Exits, irq_line_us: float) -> None:
    shortest = exits.shortest("qemu")
    if shortest is None:
        return
    item = _items(draft, exits)
    post_run = max(0.0, shortest - item)
    draft.constant("qemu.post_run", post_run, f"shortest time of an exit in QEMU, less {item:.3f} us for its device")
    rest = ("handle_io", "cpu_io", "address_space_rw", "mutex_lock", "mutex_unlock", "memory_region_dispatch", "portio")
    draft.included("qemu.post_run", *(f"qemu.{name}" for name in rest))
    what = "QEMU time of an exit, less qemu.post_run"
    for key, (kind, where) in QEMU.items():
        found = typical(minus(exits.of("qemu", kind, where=where), post_run))
        draft.table(key, found, f"{what}: {kind}{f', {where}' if where else ''}")
    lowers = f"{what} and two KVM_IRQ_LINE ioctls of {irq_line_us:.2f} us: "
    for key, kind in _LOWERING.items():
        found = typical(minus(exits.of("qemu", kind), post_run + 2 * irq_line_us))
        if draft.table(key, found, lowers + kind):
            draft.included(key, "qemu.irq_lower")
    for size, letter in _WORDS.items():
        one = typical(minus(exits.of("qemu", "data_w", where=f"size == {size} and count == 1"), post_run))
        draft.table(f"qemu.ide_data_write{letter}", one, f"{what}: data_w of {size} bytes")


def _items(draft: Draft, exits: Exits) -> float:
    """Enter the cost of an item of a batched string instruction, if there are some; return it, or 0."""
    each = []
    for recording in exits.recordings:
        rows = recording.exits
        many = rows[rows["kind"].isin(["data_r", "data_r_first"]) & (rows["count"] >= FEWEST)]
        if len(many):
            each.append((many["qemu_us"] / many["count"]).dropna().to_numpy(dtype=np.float64))
    found = typical(each)
    if found is None:
        return 0.0
    for key in ("qemu.pio_item", "qemu.ide_data_readw", "qemu.ide_data_readl"):
        draft.constant(key, found.median, "QEMU time of a batched data_r, per item, median")
    return found.median


def speeds(exits: Exits) -> pd.DataFrame:
    """Return the median us of an exit in KVM and guest, of the kind that most runs have, by run: the host's speed."""
    medians = {}
    for recording in exits.recordings:
        rows = recording.exits
        for kind in ("reg_w", "data_w"):
            values = rows.loc[(rows["kind"] == kind) & ~rows["opening"].astype(bool), "kvm_us"].dropna()
            if len(values) >= FEWEST:
                medians[recording.name] = (kind, float(values.median()))
                break
    return pd.DataFrame.from_dict(medians, orient="index", columns=["kind", "us"])
