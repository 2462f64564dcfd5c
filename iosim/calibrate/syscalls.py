"""System calls in kernel traces, as raw_syscalls and syscalls print them, in ftrace's and in perf's way.

sys_enter: NR 16 (b, ae80, 0, 2, 55a68bb60290, ff)          sys_exit: NR 16 = 0
sys_ioctl(fd: b, cmd: ae80, arg: 0)                         sys_ioctl -> 0x0
sys_enter_ioctl: fd: 0x0000000b, cmd: 0x0000ae80, ...       sys_exit_ioctl: 0x0
"""

import re
from typing import NamedTuple

_NUMBERS = {
    0: "read",
    1: "write",
    7: "poll",
    16: "ioctl",
    17: "pread64",
    18: "pwrite64",
    74: "fsync",
    75: "fdatasync",
    202: "futex",
    209: "io_submit",
    271: "ppoll",
    281: "epoll_pwait",
    295: "preadv",
    296: "pwritev",
    426: "io_uring_enter",
}
"""Of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl); those that matter here."""
_RAW = re.compile(rb"NR (-?\d+) (?:\(([^)]*)\)|= -?\d+)")
_ARGUMENT = re.compile(rb"(?:\w+: )?(?:0x)?([0-9a-f]+)")

KVM_RUN = 0xAE80
KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS = 0x4008AE61, 0xC008AE67


class Call(NamedTuple):
    """A system call begins (*arguments*) or ends (None)."""

    name: str
    arguments: tuple[int, ...] | None

    @property
    def request(self) -> int:
        """The request of an ioctl that begins."""
        return self.arguments[1] & 0xFFFFFFFF if self.arguments and len(self.arguments) > 1 else 0


def call_of(name: bytes, rest: bytes) -> Call | None:
    """Return the system call that the event *name* with the arguments *rest* tells of, None if of none."""
    if not name.startswith(b"sys_"):
        return None
    if name in (b"sys_enter", b"sys_exit"):
        raw = _RAW.match(rest)
        if raw is None:
            return None
        begins = raw[2] is not None
        return Call(_NUMBERS.get(int(raw[1]), raw[1].decode()), _arguments(raw[2]) if begins else None)
    for prefix, begins in ((b"sys_enter_", True), (b"sys_exit_", False)):
        if name.startswith(prefix):
            return Call(name[len(prefix) :].decode("ascii", "replace"), _arguments(rest) if begins else None)
    begins = not rest.lstrip().startswith(b"->")
    return Call(name[4:].decode("ascii", "replace"), _arguments(rest.strip(b"()")) if begins else None)


def _arguments(text: bytes) -> tuple[int, ...]:
    found = []
    for part in text.split(b", "):
        match = _ARGUMENT.match(part.strip())
        found.append(int(match[1], 16) if match else 0)
    return tuple(found)
