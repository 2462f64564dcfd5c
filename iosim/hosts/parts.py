"""The parts of a request's time that are compared, and what a simulated run has for them.

From a guest's own clock: the whole command, up to the submission (until the access that submits has returned to the
guest), and behind it. From a recording of the host: the steps from the exit that submits to the guest's status read.
"""

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.model.costs import Profile

Floats = npt.NDArray[np.float64]

TOTAL, UP_TO, BEHIND = "whole command", "up to the submission", "behind the submission"
STEPS = "submission to status read"
INTERVALS = (
    ("exit", "ready"),
    ("exit", "wwake"),
    ("wwake", "wret"),
    ("wret", "ws"),
    ("ws", "queue"),
    ("queue", "complete"),
    ("complete", "we"),
    ("ws", "we"),
    ("we", "mwake"),
    ("mwake", "main"),
    ("main", "irq"),
    ("irq", "ready"),
)
"""Pairs of marks, see `iosim.calibrate.recording.MARKS`; the first is the whole."""
_INSIDE_THE_CALL = (("ws", "queue"), ("queue", "complete"), ("complete", "we"))
CHAIN = tuple(pair for pair in INTERVALS[1:] if pair not in _INSIDE_THE_CALL)
"""Those that follow each other without a gap."""
_NAMES = {
    "exit-ready": STEPS,
    "exit-wwake": "submission in QEMU",
    "wwake-wret": "wake of the worker",
    "wret-ws": "worker up to its system call",
    "ws-queue": "system call up to the disk",
    "queue-complete": "disk",
    "complete-we": "disk up to the call's end",
    "ws-we": "worker's system call",
    "we-mwake": "worker up to the main loop's wake",
    "mwake-main": "wake of the main loop",
    "main-irq": "main loop up to the interrupt",
    "irq-ready": "interrupt up to the status read",
}
_DATA, _BM_COMMAND = 0x1F0, 0xC000


def name_of(begin: str, end: str) -> str:
    """Return the name of the part from mark *begin* to mark *end*."""
    return _NAMES[f"{begin}-{end}"]


def of_requests(requests: pd.DataFrame, accesses: pd.DataFrame, profile: Profile) -> dict[str, Floats]:
    """Return the samples of the parts that a guest's clock sees, in ns: of all requests that ended well.

    The access that submits is the last word to the data port, or the bus master's second command write (direction,
    start, stop). It has returned to the guest when QEMU has submitted and KVM has entered again: that time is nobody's
    in the tables, so the mean of its costs is taken.
    """
    done = requests[requests["status"] == "ok"].set_index("request")
    out = accesses[accesses["direction"] == "out"]
    starts = out[out["port"] == _BM_COMMAND].groupby("request")["time_ns"].nth(1)
    starts.index = out.loc[starts.index, "request"]
    words = out[out["port"] == _DATA].groupby("request")["time_ns"].max()
    submitted = words.reindex(done.index) if len(words) else starts.reindex(done.index)
    device = "qemu.ide_sector_write" if len(words) else "qemu.ide_dma_cb"
    returns = (
        "kvm.return_to_userspace",
        "qemu.post_run",
        device,
        "qemu.submit_return",
        "kvm.vcpu_ioctl",
        "cpu.vmresume",
    )
    back = submitted + sum(profile.cost(key).mean_ns for key in returns)
    found = {TOTAL: done["latency_ns"], UP_TO: back - done["arrival_ns"], BEHIND: done["done_ns"] - back}
    parts = {name: np.asarray(values.dropna(), dtype=np.float64) for name, values in found.items()}
    return {name: values for name, values in parts.items() if len(values)}


def of_spans(spans: pd.DataFrame) -> dict[str, Floats]:
    """Return the samples of the steps in ns, by the marks that a recording would show of the same run."""
    found = marks(spans)
    parts = {}
    for begin, end in INTERVALS:
        if begin in found and end in found:
            values = np.asarray((found[end] - found[begin]).dropna(), dtype=np.float64)
            if len(values):
                parts[name_of(begin, end)] = values
    return parts


def marks(spans: pd.DataFrame) -> pd.DataFrame:
    """Return the marks of each operation, in ns; *spans* must be whole for each request."""
    operations: list[dict[str, int]] = []
    for _, rows in spans.groupby(["vm", "drive", "request"], sort=True):
        one: dict[str, int] = {}
        left = 0
        for row in rows.sort_values("start_ns", kind="stable").itertuples():
            if row.function == "kvm_arch_vcpu_ioctl_run":
                left = int(cast("int", row.end_ns))
            elif row.stage == "aio_wait":
                one = {"exit": left}
                operations.append(one)
            if one:
                _mark(one, row)
    return pd.DataFrame(operations)


def _mark(one: dict[str, int], row: Any) -> None:
    """Set the marks that the span *row* ends or begins."""
    begin, end, stage = int(row.start_ns), int(row.end_ns), row.stage
    if stage == "aio_wait":
        one["wwake"], one["wret"] = begin, end
    elif stage == "aio_worker":
        if "ws" not in one:
            one["ws"] = end
        elif row.function == "qemu_bh_schedule":
            one["we"], one["mwake"] = begin, end
    elif stage == "disk_service":
        one["queue"] = min(begin, one.get("queue", begin))
        one["complete"] = end
    elif stage == "disk_wait":
        one["queue"] = begin
    elif stage == "completion_wait":
        one["main"] = end
    elif stage == "completion" and row.function == "kvm_vm_ioctl_irq_line":
        one.setdefault("irq", (begin + end) // 2)
    elif stage == "vm_entry" and row.function == "kvm_vcpu_ioctl" and "irq" in one:
        one.setdefault("ready", end)
