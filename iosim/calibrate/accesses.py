"""What a port access is for the guest's driver: registers, data words of a block, the bus master."""

from dataclasses import dataclass, field

from iosim.calibrate.recording import BASES, CONTROL

_SECTOR = 512
_PIO_WRITES, _PIO_READS = {0x30, 0x31, 0x34}, {0x20, 0x21, 0x24}
_MULTIPLE_WRITES, _MULTIPLE_READS = {0xC5, 0x39, 0xCE}, {0xC4, 0x29}
_SET_MULTIPLE = 0xC6
_EXT = {0x34, 0x24, 0x39, 0xCE, 0x29}
_START = 1
_ACTIVE, _BUSY = 1, 0x80
_PRD_BYTES = 4
_PCI_PORTS = 0x1000


@dataclass
class Channel:
    """An IDE channel: how far the data phase of its PIO command has come."""

    count: list[int] = field(default_factory=lambda: [0, 0])
    multiple: int = 1
    block_bytes: int = 0
    moved: int = 0
    sectors_left: int = 0

    def command(self, code: int) -> None:
        """The command register was written."""
        self.moved = self.block_bytes = self.sectors_left = 0
        now, before = self.count
        if code == _SET_MULTIPLE:
            self.multiple = max(1, now)
        elif code in _PIO_WRITES | _PIO_READS | _MULTIPLE_WRITES | _MULTIPLE_READS:
            sectors = (before << 8 | now) or 65536 if code in _EXT else now or 256
            several = code in _MULTIPLE_WRITES | _MULTIPLE_READS
            self.block_bytes = _SECTOR * (self.multiple if several else 1)
            self.sectors_left = sectors

    def data(self, n: int) -> str:
        """*n* bytes went through the data port: return their place in the block, "_first", "_last" or ""."""
        place = "" if self.moved else "_first"
        self.moved += n
        block = min(self.block_bytes, _SECTOR * self.sectors_left)
        if block and self.moved >= block:
            self.moved = 0
            self.sectors_left -= block // _SECTOR
            return "_last"
        return place


class Classes:
    """Kinds of the port accesses of one vCPU, in order of time.

    Where the bus master's registers are is a matter of the guest's firmware: known from the first PRD address on, which
    is the only register of 4 bytes, 4 behind the begin of its channel's.
    """

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}
        self._bus_masters: set[int] = set()

    def kind(self, port: int, write: bool, n_bytes: int, value: int) -> str:
        """Return the kind of an access, as `Recording.exits` has it."""
        if write and n_bytes == _PRD_BYTES and port >= _PCI_PORTS and port % 8 == _PRD_BYTES:
            self._bus_masters.add(port & ~0xF)
        if port & ~0xF in self._bus_masters:
            if not write:
                return "bm_r"
            return "bm_start" if port % 8 == 0 and value & _START and value >= 0 else "bm_w"
        if port in CONTROL:
            return "ctl_w" if write else "alt_r"
        base, number = port & ~7, port & 7
        if base not in BASES:
            return "other"
        channel = self._channels.setdefault(base, Channel())
        if number == 0:
            return f"data_{'w' if write else 'r'}{channel.data(n_bytes)}"
        if number == 7:
            if write:
                channel.command(value)
            return "cmd_w" if write else "status_r"
        if number == 2 and write:
            channel.count = [value, channel.count[0]]
        return "reg_w" if write else "other"

    def more(self, port: int) -> bool:
        """Tell whether sectors of the command at *port*'s channel are still to be moved."""
        channel = self._channels.get(port & ~7)
        return channel is not None and channel.sectors_left > 0


def ready(kind: str, value: int) -> bool:
    """Tell whether a read of *kind* gave a status by which the device is not busy any more."""
    if value < 0:
        return False
    if kind == "bm_r":
        return not value & _ACTIVE
    return kind in ("status_r", "alt_r") and not value & _BUSY
