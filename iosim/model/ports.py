"""A recorded sequence of port accesses, prepared to be replayed on one drive: what the guest does, in order."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from iosim.model.ata import Reg

UNKNOWN = -1


class Wait(IntEnum):
    """What the guest waits for in front of an access."""

    NONE = 0
    INTERRUPT = 1
    """The device's interrupt: the guest halts."""
    POLL = 2
    """It reads this register until the device is ready."""
    READY = 3
    """The device, by a way that the recording does not show."""


class PortStep(NamedTuple):
    """One access, or *times* equal ones of the data port in a row.

    *register* is None for a port of another device; *port* is where it was recorded. *value* is what is written.
    *gap_ns* is how long the guest runs before each of the accesses, UNKNOWN if that was not recorded; *between_ns* then
    is the recorded time since the access before, where the guest paused between two commands, or UNKNOWN. *idle_ns* is
    for how long it is halted before the gap, with nothing to come from the device. *begins* and *ends* are the request
    that begins before and ends behind it, or -1. *polls*: with Wait.POLL, how many reads the recorded guest needed.
    """

    register: Reg | None
    port: int
    write: bool
    width: int
    items: int
    value: int = 0
    times: int = 1
    gap_ns: int = UNKNOWN
    between_ns: int = UNKNOWN
    idle_ns: int = 0
    wait: Wait = Wait.NONE
    polls: int = 0
    begins: int = -1
    ends: int = -1


@dataclass(frozen=True)
class PortSequence:
    """The accesses of a drive's channel, and those that the same guest code made of other ports.

    *poll_gaps_ns* is how long the guest runs between two reads of a register that it polls, where that was recorded.
    *polled*: the guest polls and the recording does not show how it switched interrupts off, so nIEN is set from the
    start. *masked*: it polls with interrupts enabled at the drive, so its interrupt controller must mask them.
    *ends_by_pic*: it ends interrupts by writes to the 8259s, which are among the accesses. *found* is the account of
    the recording: how many accesses there are of what kind, in it and in the sequence.
    """

    steps: tuple[PortStep, ...]
    poll_gaps_ns: dict[Reg, int] = field(default_factory=dict)
    polled: bool = False
    masked: bool = False
    ends_by_pic: bool = False
    found: dict[str, int] = field(default_factory=dict)
