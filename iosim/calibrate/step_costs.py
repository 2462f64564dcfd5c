"""Costs of asynchronous I/O: submission, pool, worker, main loop, interrupt; from the steps of each operation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from iosim.calibrate.exit_costs import Exits, minus
from iosim.calibrate.overhead import Overhead
from iosim.calibrate.profile_file import Draft
from iosim.calibrate.recording import SUBMITTING, Recording
from iosim.calibrate.typical import FEWEST, Typical, modes, typical

Floats = npt.NDArray[np.float64]

POOL = ("pwrite64", "pwritev", "pread64", "preadv", "fdatasync", "fsync")
_WRITES, _READS, _FLUSHES = POOL[:2], POOL[2:4], POOL[4:]

CHAIN = (
    "qemu.blk_aio_prwv",
    "qemu.coroutine_create",
    "qemu.bdrv_co_pwritev",
    "qemu.raw_co_prw",
    "qemu.bdrv_co_flush",
    "qemu.thread_pool_submit_aio",
    "qemu.laio_do_submit",
    "qemu.luring_do_submit",
)
"""Functions between the device's and the wake of a worker."""
COMPLETION = (
    "main_loop.thread_pool_completion",
    "main_loop.coroutine_resume",
    "main_loop.ide_set_irq",
    "main_loop.laio_completion",
    "main_loop.luring_completion",
)
_SLEEPS = "kvm.wake_asleep"
_POLLS = "kvm.wake_polling"


@dataclass(frozen=True)
class Steps:
    """The operations of *recordings*, the first one of each run left out (it is cold), tracing taken out."""

    recordings: Sequence[Recording]
    overhead: Overhead

    def between(
        self, begin: str, end: str, calls: Sequence[str] = POOL, kinds: Sequence[str] = (), mode: str = ""
    ) -> list[Floats]:
        """Return the us from mark *begin* to mark *end* of each run.

        Of operations with one of the system *calls*, submitted by an access of one of *kinds* (all if none is named);
        *mode*: only of those whose vCPU "polls", or "sleeps", when it is woken.
        """
        found = []
        for recording in self.recordings:
            rows = recording.steps.iloc[1:]
            rows = rows[rows["call"].isin(calls) & (rows["kind"].isin(kinds) if kinds else True)]
            if mode:
                rows = rows[rows["vwake"].notna() == (mode == "sleeps")]
            values = (rows[end] - rows[begin]).dropna().to_numpy(dtype=np.float64)
            found.append(np.maximum(values - self.overhead.less(recording, f"{begin}-{end}"), 0))
        return [values for values in found if len(values)]

    def tells_sleep(self) -> bool:
        """Tell whether the recordings show which vCPU was woken from sleep."""
        return any(recording.steps["vwake"].notna().any() for recording in self.recordings)


def enter(draft: Draft, steps: Steps, exits: Exits) -> None:
    """Enter all costs of asynchronous I/O that the recordings show into *draft*, which has those of *exits*."""
    _submission(draft, steps, exits)
    _worker(draft, steps)
    _system_calls(draft, steps)
    _completion(draft, steps)
    _wakes(draft, steps)


def _lighter(draft: Draft, exits: Exits, kind: str, written: float) -> Typical | None:
    """Return the submission up to the wake from recordings of exits alone, if there are some.

    They show the whole exit in QEMU with fewer trace records; what is not the submission is taken off it.
    """
    light = Exits([one for one in exits.recordings if one.steps.empty], exits.overhead)
    rest = draft.us("qemu.post_run", "qemu.submit_return") + written
    return typical(minus(light.of("qemu", kind), rest))


def _submission(draft: Draft, steps: Steps, exits: Exits) -> None:
    draft.table("qemu.submit_return", typical(steps.between("wwake", "in")), "wake of the worker to KVM_RUN")
    less = draft.us("qemu.post_run")
    source = "return of KVM_RUN to the wake of the worker, less qemu.post_run and the register's function: "
    rows = {
        "qemu.ide_dma_cb": (_WRITES + _READS, ("bm_start",), ("qemu.dma_map_page",)),
        "qemu.ide_sector_write": (_WRITES, ("data_w_last", "data_w"), ()),
        "qemu.ide_sector_read": (_READS, ("cmd_w", "data_r_last"), ()),
        "qemu.ide_flush_cache": (_FLUSHES, ("cmd_w",), ()),
    }
    entered = {}
    for key, (calls, kinds, _) in rows.items():
        written = draft.us("qemu.bmdma_cmd_writeb") if "bm_start" in kinds else 0.0
        found = typical(minus(steps.between("exit", "wwake", calls, kinds), less + written))
        lighter = _lighter(draft, exits, kinds[0], written) if kinds[0] in SUBMITTING else None
        if found is not None and lighter is not None and lighter.mean < found.mean:
            what = (
                f"QEMU time of an exit where no steps were traced, less qemu.post_run, qemu.submit_return: {kinds[0]}"
            )
            entered[key] = draft.table(key, lighter, what)
        else:
            entered[key] = draft.table(key, found, source + ", ".join(kinds))
    if not any(entered.values()):
        return
    for key, (_, _, own) in rows.items():
        if not entered[key] and not draft.base.own:
            whole = draft.base.us(key, *own, *CHAIN[:6])
            draft.constant(key, whole, f"not in the recordings; {draft.base.name}: the sum of its steps", "assumed")
    draft.included("qemu.ide_dma_cb", *rows["qemu.ide_dma_cb"][2])
    draft.included("qemu.ide_dma_cb, qemu.ide_sector_write, qemu.ide_sector_read, qemu.ide_flush_cache", *CHAIN)


def _worker(draft: Draft, steps: Steps) -> None:
    draft.table("pool.worker_wake", typical(steps.between("wwake", "wret")), "wake to return of the worker's futex")
    draft.table("worker.dequeue", typical(steps.between("wret", "ws")), "return of the futex to the system call")
    writes, reads = steps.between("ws", "queue", _WRITES), steps.between("ws", "queue", _READS)
    for key, own, other in (("worker.pwrite_enter", writes, reads), ("worker.pread_enter", reads, writes)):
        if draft.table(key, typical(own or other), "system call to the queue of the host's block layer"):
            draft.included("worker.pwrite_enter", "worker.page")
    back = steps.between("complete", "we", _WRITES + _READS)
    draft.table("worker.syscall_return", typical(back), "completion by the block layer to the system call's return")
    draft.table("worker.notify", typical(steps.between("we", "mwake")), "system call's return to the main loop's wake")
    ended = typical(steps.between("mwake", "evfd_end"))
    draft.table("worker.notify_return", ended, "wake of the main loop to the return of that call")


def _system_calls(draft: Draft, steps: Steps) -> None:
    for call, rest in (("io_submit", "qemu.io_submit_return"), ("io_uring_enter", "qemu.io_uring_return")):
        draft.table(
            f"qemu.{call}", typical(steps.between("ws", "queue", (call,))), f"{call} to the block layer's queue"
        )
        draft.table(rest, typical(steps.between("queue", "we", (call,))), f"block layer's queue to the end of {call}")


def _completion(draft: Draft, steps: Steps) -> None:
    if draft.table("main_loop.wake", typical(steps.between("mwake", "main")), "wake to the return of ppoll"):
        draft.included("main_loop.wake", "main_loop.dispatch")
    begun = draft.us("kvm.irq_line") / 2
    source = "return of ppoll to kvm_set_irq, less half a KVM_IRQ_LINE ioctl: "
    rows = {
        "main_loop.ide_dma_cb": (_WRITES + _READS, ("bm_start",)),
        "main_loop.ide_sector_write_cb": (_WRITES, ("data_w_last", "data_w")),
        "main_loop.ide_sector_read_cb": (_READS, ("cmd_w", "data_r_last")),
        "main_loop.ide_flush_cb": (_FLUSHES, ("cmd_w",)),
    }
    entered = {
        key: draft.table(key, typical(minus(steps.between("main", "irq", calls, kinds), begun)), source + kinds[0])
        for key, (calls, kinds) in rows.items()
    }
    if not any(entered.values()):
        return
    for key, known in entered.items():
        if not known and not draft.base.own:
            whole = draft.base.us(key, *COMPLETION[:3])
            draft.constant(key, whole, f"not in the recordings; {draft.base.name}: the sum of its steps", "assumed")
    draft.included("main_loop.ide_dma_cb and main_loop.ide_sector_write_cb", *COMPLETION)


def _wakes(draft: Draft, steps: Steps) -> None:
    """Enter the two ways to wake a vCPU: it polls, or its thread sleeps.

    The wake reaches from kvm_set_irq to the guest's first status read, less all that the model charges in between.
    """
    line = draft.us("kvm.irq_line")
    charged = line / 2 + 2 * line
    charged += draft.us("cpu.vmresume", "guest.status_r", "cpu.vm_exit", "kvm.return_to_userspace")
    charged += draft.us("qemu.post_run", "qemu.ide_ioport_read", "kvm.vcpu_ioctl")
    source = "kvm_set_irq to the status read's value, less the ioctl's rest, entry and status read"
    if steps.tells_sleep():
        polling, asleep = (steps.between("irq", "ready", mode=mode) for mode in ("polls", "sleeps"))
        how = "as sched_waking tells them apart"
    else:
        polling, asleep, how = _split(steps.between("irq", "ready"))
    found = draft.table(_POLLS, typical(minus(polling, charged)), f"{source}; vCPU still polling, {how}")
    enough = sum(map(len, asleep)) >= FEWEST
    if enough and draft.table(_SLEEPS, typical(minus(asleep, charged)), f"{source}; vCPU's thread woken, {how}"):
        found = True
    if found:
        draft.included("kvm.wake_polling and kvm.wake_asleep", "kvm.inject_pending_event", "guest.interrupt_entry")


def _split(samples: list[Floats]) -> tuple[list[Floats], list[Floats], str]:
    """Return the shorter and the longer mode of *samples*, and how they were told apart."""
    both = modes(np.concatenate(samples)) if samples else None
    if both is None:
        return samples, [], "one mode found"
    short = [values[values <= both.limit] for values in samples]
    long = [values[values > both.limit] for values in samples]
    how = f"two modes found, apart at {both.limit:.1f} us"
    return [v for v in short if len(v)], [v for v in long if len(v)], how
