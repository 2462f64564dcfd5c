"""What an ATA driver and an ATA device agree on: registers, commands, addresses (ATA/ATAPI-7; include/linux/ata.h)."""

from enum import Enum, IntEnum

from iosim.model.records import FLUSH, READ

LBA28_SECTORS = 1 << 28
LBA28_MAX_COUNT = 256
LBA48_MAX_COUNT = 65536
MAX_MULT_SECTORS = 16
"""Sectors per block of QEMU's drives, unless the guest sets fewer."""


class Reg(IntEnum):
    """The registers of one channel, as a driver means them."""

    DATA = 0
    FEATURE = 1
    NSECTOR = 2
    SECTOR = 3
    LCYL = 4
    HCYL = 5
    DEVICE = 6
    COMMAND = 7
    """Status when read."""
    CONTROL = 8
    """Alternate status when read."""
    BM_COMMAND = 9
    BM_STATUS = 10
    BM_PRD = 11


class Transfer(Enum):
    """How a command moves its data: PIO mode or bus-master DMA."""

    PIO = "pio"
    DMA = "dma"


def channel_ports(channel: int) -> dict[Reg, int]:
    """Return the ports of the primary (0) or secondary (1) channel of PIIX3, its bus master at 0xc000."""
    base, control, bus_master = ((0x1F0, 0x3F6, 0xC000), (0x170, 0x376, 0xC008))[channel]
    ports = {register: base + register for register in Reg if register <= Reg.COMMAND}
    ports[Reg.CONTROL] = control
    ports[Reg.BM_COMMAND] = bus_master
    ports[Reg.BM_STATUS] = bus_master + 2
    ports[Reg.BM_PRD] = bus_master + 4
    return ports


def lba_28_ok(sector: int, sectors: int) -> bool:
    """lba_28_ok of include/linux/ata.h: the block and its end fit 28 bits, and the count fits 8."""
    return sector + sectors < LBA28_SECTORS and sectors <= LBA28_MAX_COUNT


_COMMANDS_28 = (0xC4, 0xC5, 0x20, 0x30, 0xC8, 0xCA)
_COMMANDS_EXT = (0x29, 0x39, 0x24, 0x34, 0x25, 0x35)
"""Read and write: PIO in blocks, PIO sector by sector, DMA (ata_rw_cmds of drivers/ata/libata-core.c)."""


def command(op: str, transfer: Transfer, multiple: int, ext: bool) -> int:
    """Return the command code; *multiple* above 1 chooses READ/WRITE MULTIPLE, *ext* the LBA48 form.

    For a flush *ext* chooses FLUSH CACHE EXT, which libata uses on devices of 2^28 sectors or more only.
    """
    if op == FLUSH:
        return 0xEA if ext else 0xE7
    codes = _COMMANDS_EXT if ext else _COMMANDS_28
    if transfer is Transfer.DMA:
        return codes[4 if op == READ else 5]
    if multiple > 1:
        return codes[0 if op == READ else 1]
    return codes[2 if op == READ else 3]
