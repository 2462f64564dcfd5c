"""One ATA command of a guest's driver: a request, or one part of a request that had to be split."""

from iosim.model import ata
from iosim.model.records import FLUSH, WRITE, Request

_NAMES = (
    "zero",
    "select",
    "device",
    "nsector",
    "lbal",
    "lbam",
    "lbah",
    "hob_nsector",
    "hob_lbal",
    "hob_lbam",
    "hob_lbah",
    "command",
    "prd",
    "direction",
    "start",
    "irq_clear",
    "bm_clear",
    "hob_control",
    "control",
)
FIELDS = {name: index for index, name in enumerate(_NAMES)}
"""What a driver writes into registers, by its index in `Command.values`."""


class Command:
    """What the driver writes, and how far the data phase has come."""

    __slots__ = (
        "block_sectors",
        "ext",
        "is_flush",
        "is_write",
        "request",
        "retries",
        "sectors",
        "sectors_left",
        "transfer",
        "values",
    )

    def __init__(
        self,
        request: Request,
        sector: int,
        sectors: int,
        transfer: ata.Transfer,
        multiple: int,
        ext: bool,
        slave: bool,
    ) -> None:
        op = request.op
        self.request = request
        self.is_flush = op == FLUSH
        self.is_write = op == WRITE
        self.sectors = self.sectors_left = sectors
        self.retries = 0
        self.transfer = transfer
        self.ext = ext
        self.block_sectors = multiple
        select = 0xB0 if slave else 0xA0
        device = select if self.is_flush else (select | 0x40 if ext else select | 0x40 | (sector >> 24) & 0x0F)
        self.values = (
            0,
            select,
            device,
            sectors & 0xFF,
            sector & 0xFF,
            (sector >> 8) & 0xFF,
            (sector >> 16) & 0xFF,
            (sectors >> 8) & 0xFF,
            (sector >> 24) & 0xFF,
            (sector >> 32) & 0xFF,
            (sector >> 40) & 0xFF,
            ata.command(op, transfer, multiple, ext),
            sectors * 512,
            0 if op == WRITE else 8,
            1 if op == WRITE else 9,
            4,
            6,
            0x88,
            0x08,
        )

    def begin_again(self) -> None:
        """The command is repeated, from its first sector."""
        self.retries += 1
        self.sectors_left = self.sectors
