"""The files of the host that a drive's image consists of."""

from typing import NamedTuple

from iosim.disk.file import HostFile
from iosim.qemu.qcow2.metadata import Qcow2Image


class ImageFiles(NamedTuple):
    """The image file; with the qcow2 format its state, and the raw file that it is based on."""

    file: HostFile
    image: Qcow2Image | None = None
    backing: HostFile | None = None
    backing_sectors: int = 0
