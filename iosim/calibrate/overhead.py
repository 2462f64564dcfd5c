"""What tracing adds to the recorded times, and how it is taken out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from iosim.calibrate.recording import Recording


@dataclass(frozen=True)
class Overhead:
    """What one trace record adds to the interval that it is written in, in us; None if that is not known.

    *source* says how that was found, or why it was not.
    """

    record_us: float | None
    source: str

    def less(self, recording: Recording, interval: str, kind: str = "") -> float:
        """Return by how many us *recording* shows *interval* longer than it is untraced, as far as that is known.

        *kind*: that of the exit, if the interval is a part of one.
        """
        return (self.record_us or 0.0) * recording.written(interval, kind)


UNKNOWN = Overhead(
    None,
    "unknown: nothing untraced was given to compare with. A record of ftrace takes some 0.1 to 0.5 us; "
    "what it adds is in the figures",
)


_MICROBENCHMARK = 0.9


def estimated(recordings: Sequence[Recording], untraced_us: dict[str, float]) -> Overhead:
    """Return the overhead by microbenchmarks: how long an exit of each kind takes untraced, KVM and QEMU together.

    They are compared with recordings of the same microbenchmark: nine of ten exits are of that kind. For each the
    difference of the medians, per record that was written in such an exit; the median of them.
    """
    found: list[tuple[str, float]] = []
    for kind, free_us in untraced_us.items():
        for recording in recordings:
            written = recording.written("kvm", kind) + recording.written("qemu", kind)
            both = _both(recording, kind)
            if written and len(both) and (recording.exits["kind"] == kind).mean() >= _MICROBENCHMARK:
                found.append((f"{kind} in {recording.name}", (float(np.median(both)) - free_us) / written))
    if not found:
        if not untraced_us:
            return UNKNOWN
        return Overhead(None, "unknown: the recordings have no exits of the kinds that were measured untraced")
    each = ", ".join(f"{name} {us:.2f} us" for name, us in found)
    return Overhead(max(0.0, float(np.median([us for _, us in found]))), f"per record, from {each}")


def _both(recording: Recording, kind: str) -> npt.NDArray[np.float64]:
    rows = recording.exits
    chosen = rows[(rows["kind"] == kind) & ~rows["waited"].astype(bool) & ~rows["opening"].astype(bool)]
    return (chosen["kvm_us"] + chosen["qemu_us"]).dropna().to_numpy(dtype=np.float64)
