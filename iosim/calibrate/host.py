"""From recordings of one host to a profile of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from iosim.calibrate import exit_costs, step_costs
from iosim.calibrate.exit_costs import Exits
from iosim.calibrate.overhead import UNKNOWN, Overhead, estimated
from iosim.calibrate.profile_file import Base, Draft
from iosim.calibrate.recording import Recording
from iosim.calibrate.step_costs import Steps
from iosim.calibrate.typical import typical


@dataclass(frozen=True)
class Knowledge:
    """What is known of the host besides the recordings.

    *untraced_us*: what an exit of a kind takes untraced, KVM and QEMU together. *record_us*: what one trace record
    costs, if that is known otherwise. *loop_us*: one iteration of an empty loop in the guest, where KVM interprets it.
    """

    untraced_us: dict[str, float] = field(default_factory=dict)
    record_us: float | None = None
    loop_us: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """The figures, what tracing adds, and what else is to be told."""

    draft: Draft
    overhead: Overhead
    notes: list[str]
    n_runs: int

    def comments(self) -> list[str]:
        """Return what a profile's file says of itself: what it was made of, and what tracing adds."""
        counts = self.draft.counts()
        record = self.overhead.record_us
        lines = [
            f"Made by iosim calibrate from {self.n_runs} recordings: {counts['measured']} costs measured, "
            f"{counts['derived']} derived, {counts['included']} included in others, {counts['base']} not in them.",
            "A table is that of a typical run: the weighted median of the runs' quantiles.",
        ]
        if record is None:
            lines.append(f"Overhead of tracing: {self.overhead.source}.")
        else:
            lines.append(f"Overhead of tracing, taken out: {1000 * record:.0f} ns {self.overhead.source}.")
        return lines + [f"{note}." for note in self.notes]


def calibrate(recordings: Sequence[Recording], base: Base, knowledge: Knowledge) -> Calibration:
    """Return the figures that *recordings* show; the others are those of *base*."""
    overhead = UNKNOWN
    if knowledge.record_us is not None:
        overhead = Overhead(knowledge.record_us, "per record, as given")
    elif knowledge.untraced_us:
        overhead = estimated(recordings, knowledge.untraced_us)
    draft = Draft(base)
    exits, steps = Exits(recordings, overhead), Steps(recordings, overhead)
    exit_costs.enter(draft, exits, knowledge.loop_us, _irq_line(draft, recordings, knowledge, overhead))
    step_costs.enter(draft, steps, exits)
    return Calibration(draft, overhead, _notes(recordings, exits), len(recordings))


def _irq_line(draft: Draft, recordings: Sequence[Recording], knowledge: Knowledge, overhead: Overhead) -> float | None:
    """Enter what a KVM_IRQ_LINE ioctl takes: as recorded, else by untraced reads with and without two of them."""
    recorded = [
        np.maximum(recording.samples_us["irq_line"] - overhead.less(recording, "irq_line"), 0)
        for recording in recordings
        if "irq_line" in recording.samples_us
    ]
    if draft.table("kvm.irq_line", typical(recorded), "begin to end of a KVM_IRQ_LINE ioctl"):
        draft.included("kvm.irq_line", "kvm.deliver_edge")
        return draft.us("kvm.irq_line")
    status, alternate = (knowledge.untraced_us.get(kind) for kind in ("status_r", "alt_r"))
    if status is None or alternate is None:
        return None
    us = max(0.0, (status - alternate) / 2)
    draft.constant("kvm.irq_line", us, "half of what status_r takes more than alt_r, both untraced")
    draft.included("kvm.irq_line", "kvm.deliver_edge")
    return us


_UNEVEN = 1.1
"""Runs whose exits differ by more than this factor are told of."""


def _notes(recordings: Sequence[Recording], exits: Exits) -> list[str]:
    notes = [note for recording in recordings for note in recording.notes]
    notes += [f"{r.name}: {r.n_lost:,} events were lost" for r in recordings if r.n_lost]
    found = exit_costs.speeds(exits)
    for kind, rows in found.groupby("kind"):
        us = rows["us"]
        if us.max() > _UNEVEN * us.min():
            fast, slow = us.idxmin(), us.idxmax()
            notes.append(
                f"the host's speed differs between runs: median {kind} exit {us.min():.2f} us in {fast}, "
                f"{us.median():.2f} us in the middle one, {us.max():.2f} us in {slow}"
            )
    return notes
