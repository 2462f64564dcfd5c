"""What was measured of a workload: samples of each part of a request's time, one for each repetition."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from iosim.calibrate import host_events, host_tables
from iosim.calibrate.overhead import Overhead
from iosim.calibrate.recording import Recording
from iosim.hosts.parts import BEHIND, CHAIN, INTERVALS, TOTAL, UP_TO, name_of
from iosim.model.errors import TraceError, reason
from iosim.traces.reading import ReadOptions

Floats = npt.NDArray[np.float64]
_GUEST = ("regs_us", "data_us", "wait_us")


@dataclass
class Measured:
    """Samples in ns by the name of a part; each part has one sample per repetition."""

    parts: dict[str, list[Floats]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    traced: bool = False

    def add(self, part: str, us: "pd.Series[float]") -> None:
        """Add a repetition's sample of *part*, if it has values."""
        values = np.asarray(us.dropna(), dtype=np.float64) * 1000
        if len(values):
            self.parts.setdefault(part, []).append(values)


def read(paths: list[Path], options: ReadOptions, overhead: Overhead) -> Measured:
    """Return what is measured in *paths*: tables of a guest's own clock, or recordings of the host. Raises TraceError.

    A table has the columns regs_us, data_us and wait_us, one row per command, and may have batch, rep, vm and vcpu:
    each combination of them is a repetition. Each recording is one.
    """
    measured = Measured()
    for path in paths:
        if not path.is_dir() and _is_table(path):
            _guest_table(path, measured)
        else:
            recording = host_tables.read(path) if host_tables.holds(path) else host_events.read(path, options)
            _recording(recording, measured, overhead)
    if not measured.parts:
        raise TraceError(f"{paths[0]}: has no command that was followed from its submission to its end")
    return measured


def _is_table(path: Path) -> bool:
    """Tell whether the file is a CSV table with the columns of a guest's clock."""
    try:
        head = pd.read_csv(path, nrows=0)
    except OSError as error:
        raise TraceError(f"{path}: {reason(error)}") from None
    except (ValueError, EOFError, UnicodeDecodeError):
        return False
    return set(_GUEST) <= set(head)


def _guest_table(path: Path, measured: Measured) -> None:
    try:
        rows = pd.read_csv(path)
    except (EOFError, OSError):
        raise TraceError(f"{path}: is cut short") from None
    except ValueError as error:
        raise TraceError(f"{path}: is no CSV table: {error}") from None
    for column in _GUEST:
        if not pd.api.types.is_numeric_dtype(rows[column]):
            raise TraceError(f"{path}: {column} must be numbers")
    names = [name for name in ("batch", "rep", "vm", "vcpu") if name in rows]
    before = rows["regs_us"] + rows["data_us"]
    for _, of_run in rows.groupby(names) if names else [("", rows)]:
        here = of_run.index
        measured.add(TOTAL, before[here] + rows.loc[here, "wait_us"])
        measured.add(UP_TO, before[here])
        measured.add(BEHIND, rows.loc[here, "wait_us"])


def _recording(recording: Recording, measured: Measured, overhead: Overhead) -> None:
    measured.traced = True
    measured.notes += recording.notes
    if recording.n_lost:
        measured.notes.append(f"{recording.name}: events were lost at {recording.n_lost:,} places")
    steps = recording.steps
    for begin, end in INTERVALS:
        whole = (begin, end) == INTERVALS[0]
        less = sum(overhead.less(recording, f"{a}-{b}") for a, b in (CHAIN if whole else ((begin, end),)))
        measured.add(name_of(begin, end), (steps[end] - steps[begin] - less).clip(lower=0))
