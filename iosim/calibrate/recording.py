"""What a recording of a host shows: exits of its vCPUs to QEMU, and the steps of its asynchronous I/O.

Columns of `exits`, one row per return of KVM_RUN to QEMU for a port access, in order for each vCPU:

* `kind`: reg_w, cmd_w, ctl_w, status_r, alt_r, bm_w, bm_start, bm_r, data_w, data_r; the first word of a block is
  data_w_first or data_r_first, the last data_w_last or data_r_last; anything else is other.
* `port`, `size`, `count`, `value`: the access; value is that of the (first) item, -1 if unknown.
* `kvm_us`: from the entry of KVM_RUN to its return, the guest's time included; `qemu_us`: from there to the next one.
* `guest_us`, `enter_us`, `leave_us`: from the last kvm_entry to kvm_exit, KVM_RUN up to the first kvm_entry, and from
  the last kvm_exit to the return; NaN where these events were not recorded.
* `halted`: whether the vCPU was seen to halt within that KVM_RUN.

Columns of `steps`, one row per submission: `kind` of the access that submitted, `call` (the system call), and the times
MARKS, in us of the recording, NaN where it does not show them.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

MARKS = {
    "exit": "KVM_RUN returned for the access that submits",
    "wwake": "the worker is woken (sched_waking)",
    "in": "the vCPU is back in KVM_RUN",
    "wret": "the worker's futex call has returned",
    "ws": "the worker's (or the vCPU's) system call begins",
    "queue": "the host's block layer has the request",
    "complete": "the host's block layer has completed it",
    "we": "the system call has returned",
    "mwake": "the main loop is woken (sched_waking)",
    "evfd_end": "the call that woke it has returned",
    "main": "the main loop's ppoll has returned",
    "irq": "kvm_set_irq raises the line",
    "vwake": "the vCPU's thread is woken (sched_waking); never where it was polling",
    "vrun": "the vCPU has seen the wake-up (kvm_vcpu_wakeup)",
    "ready": "the guest has read a status that is not busy",
}
"""Instants of one operation, in order."""

SUBMITTING = ("bm_start", "data_w_last")
"""Kinds of accesses behind which a guest waits for the device."""

BASES = (0x1F0, 0x170)
CONTROL = (0x3F6, 0x376)


@dataclass
class Recording:
    """One run of a guest, as recorded.

    *string_io*: whether the guest moves data with string instructions, None if that is not known. *records*: how many
    trace records were written within an interval, on its path: "exit-wwake" and so on; "kvm" and "qemu" of an exit, and
    "qemu cmd_w" where a kind has another number.
    *samples_us*: durations of single calls: "irq_line". *n_lost*: events that were lost. *notes*: what to tell.
    """

    name: str
    exits: pd.DataFrame
    steps: pd.DataFrame
    string_io: bool | None = None
    records: dict[str, float] = field(default_factory=dict)
    samples_us: dict[str, "np.ndarray[tuple[int], np.dtype[np.float64]]"] = field(default_factory=dict)
    n_lost: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for mark in MARKS:
            if mark not in self.steps:
                self.steps[mark] = np.nan
        for column in ("guest_us", "enter_us", "leave_us"):
            if column not in self.exits:
                self.exits[column] = np.nan
        if "halted" not in self.exits:
            self.exits["halted"] = False
        _place(self.exits)

    def written(self, interval: str, kind: str = "") -> float:
        """Return how many trace records were written within *interval*; *kind*: that of the exit it is part of."""
        return self.records.get(f"{interval} {kind}", self.records.get(interval, 0.0))


def _place(exits: pd.DataFrame) -> None:
    """Add where an exit stands among those of its vCPU.

    `opening`: the first access of a command, whose guest time holds what the guest did since the one before.
    `waited`: the first access behind a submission, behind which the guest may have slept. `resumed`: the access behind
    such a one. `polls`: it is one of the reads behind a command or submission, for which QEMU's main loop may hold the
    BQL; not the bus-master read of an interrupt's handler, which comes behind its status read. `warm`: it is not of the
    first command of the recording.
    """
    kind = exits["kind"]
    vcpu = exits["vcpu"] if "vcpu" in exits else pd.Series(0, index=exits.index)
    groups = kind.groupby(vcpu, sort=False)
    commands = (kind == "cmd_w").groupby(vcpu, sort=False).cumsum()
    exits["warm"] = commands > 1 if (kind == "cmd_w").sum() > 1 else True
    before = groups.shift(1)
    exits["waited"] = before.isin(SUBMITTING) | exits["halted"]
    exits["resumed"] = exits["waited"].groupby(vcpu, sort=False).shift(1, fill_value=False)
    reads = kind.isin(["status_r", "alt_r", "bm_r"])
    stretch = (~reads).groupby(vcpu, sort=False).cumsum()
    begun = exits["waited"] | before.isin(["cmd_w", "data_r_last"])
    behind = begun.groupby([vcpu, stretch], sort=False).transform("max").astype(bool)
    exits["polls"] = reads & behind & ~((kind == "bm_r") & (before == "status_r"))
    prd = (kind == "bm_w") & (exits["port"] % 8 == 4)
    first_register = (kind == "reg_w") & ~before.isin(["reg_w", "bm_w"])
    exits["opening"] = prd | first_register | before.isna()
