"""The host below the path: clock and order of events, threads, the mutex, levels over time."""

from iosim.host.cpus import Cpus
from iosim.host.environment import Host
from iosim.host.io_wq import IoWq, Work
from iosim.host.levels import Level, Timeline
from iosim.host.mutex import Mutex
from iosim.host.runs import End, Outcome, Progress
from iosim.host.spinlock import SpinLock
from iosim.host.thread import HostThread, Tracer

__all__ = [
    "Cpus",
    "End",
    "Host",
    "HostThread",
    "IoWq",
    "Level",
    "Mutex",
    "Outcome",
    "Progress",
    "SpinLock",
    "Timeline",
    "Tracer",
    "Work",
]
