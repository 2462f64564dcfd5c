"""What tests of the readers share: recordings, files of given lines, and what a reader makes of them."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest

from iosim.model.errors import TraceError
from iosim.traces import ReadOptions, read_trace

DATA = Path(__file__).parent / "data" / "traces"
PIO = "qemu-system-x86 {} [00{}]  {:.6f}: kvm:kvm_pio: pio_{} at 0x{:x} size 1 count 1 val 0x{:x} "


def unpacked(name: str) -> str:
    return gzip.decompress((DATA / name).read_bytes()).decode()


def requests(path: Path, **options: object) -> list[tuple[str, int, int]]:
    return [row[1:] for row in read_trace(path, ReadOptions(**options)).rows(0)]  # type: ignore[arg-type]


def written(folder: Path, lines: Sequence[str], end: str = "\n") -> Path:
    path = folder / "trace.txt"
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())
    return path


def refused(path: Path, **options: object) -> str:
    with pytest.raises(TraceError) as error:
        read_trace(path, ReadOptions(**options))  # type: ignore[arg-type]
    return str(error.value).removeprefix(str(path))


def command(thread: str, at: float, *, bus: int = 0x1F0) -> list[str]:
    """A flush of the master in two register writes, 10 us apart."""
    return [
        PIO.format(thread, 0, at, "write", bus + 6, 0xA0),
        PIO.format(thread, 0, at + 1e-5, "write", bus + 7, 0xE7),
    ]
