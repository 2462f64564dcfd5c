"""One reading of a trace file: what is asked of it, and what is found in it besides the requests."""

import re
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from iosim.model.errors import TraceError, shown
from iosim.traces.source import Source


@dataclass(frozen=True)
class PortDrive:
    """The drive that a guest's port accesses are replayed on: its place, and what they may leave open.

    *channel* and *unit* are its place. *multiple*: sectors per block until the recording sets them. *other_channel*:
    whether the accesses of the other channel can be made, too, as there is no drive. *completion*: how the guest learns
    that a command is complete.
    """

    channel: int
    unit: int
    multiple: int
    other_channel: bool
    completion: str


@dataclass(frozen=True)
class ReadOptions:
    """What a reader is asked for.

    *format*: the name of the format; None: by content. *device*: the device whose requests are wanted, by the name
    that the format has for it. *skip*: count what cannot be used instead of refusing the file. *sort*: put requests in
    order of time also where the format wants them in order. *clock_hz*: the rate of the clock that time stamps count,
    for a kernel trace whose clock has no known unit. *threads*: the threads or processes of the guest that is wanted,
    in a kernel trace of several. *ports*: the drive that port accesses are to be replayed on, which then are what is
    read.
    """

    format: str | None = None
    device: str | None = None
    skip: bool = False
    sort: bool = False
    clock_hz: Fraction | None = None
    threads: frozenset[int] = frozenset()
    ports: PortDrive | None = None


_MOST_NAMED = 16
"""So many devices are named in an error."""
_HERTZ = {"Hz": 1, "kHz": 1_000, "MHz": 1_000_000, "GHz": 1_000_000_000}
_CLOCK = re.compile(r"(\d+(?:\.\d+)?) ?([kMG]?Hz)", re.ASCII)


def parsed_options(
    format_name: str | None, device: str | None, skip: bool, sort: bool, clock: str | None, threads: str | None
) -> ReadOptions:
    """Return the options that the texts of a command stand for. Raises TraceError."""
    match = _CLOCK.fullmatch("1Hz" if clock is None else clock)
    if match is None or not Fraction(match[1]):
        raise TraceError(f"--clock must be a rate such as 2.6GHz, got {shown(clock)}")
    names = [] if threads is None else threads.split(",")
    if not all(name.isascii() and name.isdigit() and len(name) < 19 for name in names):
        raise TraceError(f"--threads must be numbers such as 812,813, got {shown(threads)}")
    return ReadOptions(
        format_name,
        device,
        skip,
        sort,
        Fraction(match[1]) * _HERTZ[match[2]] if clock is not None else None,
        frozenset(map(int, names)),
    )


@dataclass
class Skipped:
    """What was skipped for one reason: how often, and where first."""

    count: int
    line: int


@dataclass
class Reading:
    """A file that is being read, and the account of it: every line is a request, beside one, or skipped.

    *beside*: what the format has besides requests, by its name. *skipped*: what cannot be used, by the rule that it
    breaks. *devices*: those that have requests. *n_late*: requests that stood behind later ones and were put in order.
    """

    source: Source
    options: ReadOptions
    format: str
    n_requests: int = 0
    n_late: int = 0
    beside: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, Skipped] = field(default_factory=dict)
    devices: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The file, as errors name it."""
        return self.source.path

    @property
    def n_skipped(self) -> int:
        """Everything that was skipped."""
        return sum(entry.count for entry in self.skipped.values())

    def why_nothing(self) -> str:
        """Return what an error about a file without requests says of those that were skipped."""
        if not self.skipped:
            return ""
        rule, entry = max(self.skipped.items(), key=lambda item: item[1].count)
        return f"; {self.n_skipped:,} were skipped, first at line {entry.line}: {rule}"

    def refuse(self, line: int, rule: str, got: str = "") -> None:
        """*line* cannot be used because it breaks *rule*: raise TraceError, or count it if asked to skip."""
        if not self.options.skip:
            raise TraceError(f"{self.path}:{line}: {rule}{f', got {got}' if got else ''}")
        self.skipped.setdefault(rule, Skipped(0, line)).count += 1

    def refuse_rows(self, at: npt.NDArray[np.intp], lines: npt.NDArray[np.int64], rule: str, got: str) -> None:
        """Refuse the rows *at* of a table whose lines are *lines*; *got* is the value of the first one."""
        self.refuse(int(lines[at[0]]), rule, got)
        self.skipped[rule].count += len(at) - 1

    def takes(self, device: str, n: int = 1) -> bool:
        """Note *n* requests of *device*, and tell whether they are wanted."""
        self.devices.add(device)
        wanted = self.options.device is None or device == self.options.device
        if not wanted:
            self.beside["request of another device"] += n
        return wanted

    def check_devices(self, at_end: bool) -> None:
        """Raise TraceError if requests are of several devices and none was chosen, or the chosen one has none."""
        names = ", ".join(map(_on_one_line, sorted(self.devices)[:_MOST_NAMED]))
        if len(self.devices) > _MOST_NAMED:
            names += f" and {len(self.devices) - _MOST_NAMED:,} more"
        if self.options.device is None and len(self.devices) > 1:
            raise TraceError(
                f"{self.path}: has requests of several devices ({names}): choose one by --device or trace_device"
            )
        if at_end and self.options.device is not None and self.options.device not in self.devices:
            found = f"has {names}" if names else "names no device"
            raise TraceError(f"{self.path}: has no requests of the device {self.options.device!r}: it {found}")


def _on_one_line(name: str) -> str:
    return name if name.isprintable() else repr(name)
