"""Who calls whom: the call chain of every function that spends a request's time, or in which it waits.

A function may have several callers. It then hangs below the one that is nearest, on the tree of its thread, to the
function that spent time on that thread just before, for the same request: `ide_sector_read` below `ide_exec_cmd` or
below the last data word.
"""

from functools import lru_cache

from iosim.model.chains import guest, kvm, qemu, qemu_block, waits
from iosim.model.chains.outline import Node, Outline, Tree
from iosim.model.records import FLUSH
from iosim.model.scenario import DriveTable, VmTable
from iosim.model.stages import Stage

GUEST, VCPU, WORKER, MAIN_LOOP, IOTHREAD = "guest", "vCPU thread", "worker", "main loop", "iothread"
HOST_DISK, WAITS, NOT_SAMPLED = "host disk", "waits", "not sampled"
CARRIERS = (GUEST, VCPU, WORKER, MAIN_LOOP, IOTHREAD, HOST_DISK, WAITS, NOT_SAMPLED)
"""Who has a request while time passes, in the order of the path; of what was not sampled nobody knows."""

OUTLINES: dict[str, Outline] = {
    **guest.OUTLINES,
    **kvm.OUTLINES,
    **qemu.OUTLINES,
    **qemu_block.OUTLINES,
    **waits.OUTLINES,
}

_ROOTS: dict[str, tuple[tuple[str, str], ...]] = {
    "vcpu": ((VCPU, "VCPU"), (GUEST, "GUEST"), (WAITS, "WAITS")),
    "main": ((MAIN_LOOP, "MAIN_LOOP"),),
    "iothread": ((IOTHREAD, "IOTHREAD"),),
    "worker": ((WORKER, "WORKER"),),
    "iou-wrk": ((WORKER, "IO_WQ"),),
    "flush": ((WORKER, "FLUSHER"),),
    "": ((WAITS, "WAITS"),),
}
"""The outlines of each kind of thread, by who has the request; that of the thread itself first."""

_CARRIERS = {kind: tuple(carrier for carrier, _ in roots) for kind, roots in _ROOTS.items()}

_SLEEPS = (Stage.BQL_WAIT, Stage.CPU_WAIT, Stage.DIRTY_WAIT, Stage.COMPLETION_WAIT)
"""Waits during which a thread of QEMU sleeps: the chain is its own."""


def kind_of(thread: str) -> str:
    """Return what kind of thread *thread* is, by its name in the spans; empty for what is no thread."""
    last = thread.rpartition("/")[2]
    if thread.startswith("iothread/") and thread.count("/") == 1:
        return "iothread"
    for kind in ("vcpu", "worker", "iou-wrk", "main"):
        if last.rstrip("0123456789") == kind:
            return kind
    return "flush" if last.startswith("flush-") else ""


def tags_of(vm: VmTable, drive: DriveTable, op: str) -> frozenset[str]:
    """Return what decides the call chains of requests of one operation on one drive."""
    guest = "virtio" if drive.is_virtio else "libata" if drive.driver == "libata" else "bare"
    tags = {vm.qemu, vm.kernel, guest, drive.format, op, "virtio" if drive.is_virtio else "ide"}
    if not drive.is_virtio:
        tags.add("dma" if drive.transfer == "dma" and op != FLUSH else "pio")
    return frozenset(tags)


class Chains:
    """The call chains that go with one set of tags, on every kind of thread."""

    def __init__(self, tags: frozenset[str]) -> None:
        self._tags = tags
        self._places: dict[tuple[str, str], tuple[int, list[Node]]] = {}
        self._found: dict[tuple[str, str, Node | None], Node] = {}

    def knows(self, kind: str, function: str) -> bool:
        """Tell whether *function* has a chain on a thread of this kind."""
        return any(tree.spending(function) for tree in self._trees(kind))

    def carriers(self, kind: str) -> tuple[str, ...]:
        """Return who may have the request while a thread of this kind runs, the thread itself first."""
        return _CARRIERS[kind]

    def slot(self, kind: str, function: str) -> int:
        """Return the number of who has the request while *function* runs on a thread of this kind."""
        return self._candidates(kind, function)[0]

    def place(self, kind: str, function: str, before: Node | None) -> Node:
        """Return where *function* hangs; *before* is the place of what the same carrier spent time in before."""
        key = (kind, function, before)
        found = self._found.get(key)
        if found is None:
            _, candidates = self._candidates(kind, function)
            found = self._found[key] = _nearest(candidates, before)
        return found

    def after(self, kind: str, node: Node) -> Node:
        """Return where the code goes on behind *node*: there, or in what it has started."""
        if not node.then:
            return node
        return next(tree.places[node.then][0] for tree in self._trees(kind) if node.then in tree.places)

    def wait(self, kind: str, stage: Stage, function: str, before: Node | None) -> tuple[str, Node]:
        """Return who has a request that waits, and where: *function* charges the time to *stage*."""
        carrier = HOST_DISK if stage in (Stage.DISK_WAIT, Stage.DISK_SERVICE) else WAITS
        sleeps = stage in _SLEEPS and self.knows(kind, function)
        return carrier, self.place(kind if sleeps else "", function, before if sleeps else None)

    def _candidates(self, kind: str, function: str) -> tuple[int, list[Node]]:
        known = self._places.get((kind, function))
        if known is None:
            known = (0, [Node(function, None)])
            for slot, tree in enumerate(self._trees(kind)):
                if nodes := tree.spending(function):
                    known = (slot, nodes)
                    break
            self._places[kind, function] = known
        return known

    def _trees(self, kind: str) -> list[Tree]:
        return [_tree(self._root(name), self._tags | {kind}) for _, name in _ROOTS[kind]]

    def _root(self, name: str) -> str:
        if name != "GUEST":
            return name
        return next(tag.upper() for tag in ("libata", "bare", "virtio") if tag in self._tags)


@lru_cache(maxsize=256)
def _tree(root: str, tags: frozenset[str]) -> Tree:
    return Tree(OUTLINES, root, tags)


def _nearest(candidates: list[Node], before: Node | None) -> Node:
    """Return the candidate whose caller is nearest to *before*, the one least deep if several are."""
    if before is None or len(candidates) == 1:
        return candidates[0]
    return max(candidates, key=lambda node: (_common(node.parent, before), -node.depth))


def _common(a: Node | None, b: Node | None) -> int:
    """Return how many functions the stacks of two nodes have in common, from the outermost one on."""
    while a is not b and a is not None and b is not None:
        if a.depth >= b.depth:
            a = a.parent
        else:
            b = b.parent
    return 0 if a is not b or a is None else a.depth
