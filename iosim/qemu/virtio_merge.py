"""virtio-blk: which requests become one operation, and in 1.6 which are complete together."""

from collections.abc import Sequence
from typing import Protocol

from iosim.model.steps import SYNC, Steps
from iosim.model.virtio import Element

VIRTIO_BLK_MAX_MERGE_REQS = 32
IOV_MAX = 1024
"""blk_get_max_iov: how many segments one operation may have."""
PAGE_SECTORS = 8


class MultiwriteDevice(Protocol):
    """The device as its writes see it (`iosim.qemu.virtio_blk.VirtIOBlock`)."""

    dead: bool

    def multiwrite_cb(self, group: Sequence[Element]) -> None:
        """One operation is done, others are not."""

    def multiwrite_user_cb(
        self, groups: Sequence[Sequence[Element]], asked: Sequence[Element], ret: int
    ) -> Steps[None]:
        """All operations are done."""


class Multiwrite:
    """MultiwriteCB (1.6): writes that are submitted together are complete together, with the first error of any."""

    def __init__(self, device: MultiwriteDevice, asked: Sequence[Element], num_requests: int) -> None:
        self._device = device
        self._asked = asked
        self._num_requests = num_requests
        self._groups: list[Sequence[Element]] = []
        self._error = 0

    def done(self, group: Sequence[Element], ret: int) -> Steps[None]:
        """multiwrite_cb."""
        yield SYNC
        self._error = self._error or ret
        self._groups.append(group)
        if self._device.dead:
            return
        if len(self._groups) < self._num_requests:
            self._device.multiwrite_cb(group)
        else:
            yield from self._device.multiwrite_user_cb(self._groups, self._asked, self._error)


def merged(elements: Sequence[Element], overlap: bool = False) -> list[list[Element]]:
    """Return *elements*, sorted by sector, in groups of neighbours that may be one operation.

    With *overlap* (multiwrite_merge of 1.6) those that overlap as well; a merged operation then has one segment less.
    """
    groups: list[list[Element]] = []
    segments = end = 0
    most = IOV_MAX - 1 if overlap else IOV_MAX
    for element in elements:
        pages = -(-element.sectors // PAGE_SECTORS)
        if groups and (element.sector <= end if overlap else element.sector == end) and segments + pages <= most:
            groups[-1].append(element)
            segments += pages
        else:
            groups.append([element])
            segments = pages
        end = element.sector + element.sectors
    return groups
