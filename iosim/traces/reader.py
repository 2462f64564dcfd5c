"""Reading a trace file: unpacked, its format recognised by its content, handed to the format's reader."""

import gzip
import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from iosim.model.errors import TraceError, reason, shown
from iosim.model.trace import Trace
from iosim.traces import canonical, parquet, qemu_log
from iosim.traces.table import TraceTable, to_trace

Reader: TypeAlias = Callable[[bytes, str], TraceTable]
"""Content of a file, unpacked, and its path -> table. Raises TraceError."""


def _of_text(read: Callable[[str, str], TraceTable]) -> Reader:
    return lambda content, path: read(_text(content, path), path)


READERS: dict[str, Reader] = {
    "csv": _of_text(canonical.read),
    "parquet": parquet.read,
    "qemu-log": _of_text(qemu_log.read),
}
"""The readers by the name of their format."""


def read_trace(path: str | Path, format_name: str | None = None) -> Trace:
    """Return the trace in *path*, plain, .gz or .zst, of the format *format_name* or that of its content.

    Raises TraceError, naming the file and, where there is one, the line (Parquet: the row).
    """
    raw = _bytes(Path(path))
    content = _unpacked(raw, str(path))
    name = format_name or _recognise(content, str(path))
    return to_trace(READERS[name](content, str(path)), str(path), hashlib.sha256(raw).hexdigest())


def format_of(path: str | Path) -> str:
    """Return the name of the format that the content of *path* shows. Raises TraceError."""
    return _recognise(_unpacked(_bytes(Path(path)), str(path)), str(path))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: {reason(error)}") from None


def _unpacked(raw: bytes, path: str) -> bytes:
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except EOFError:
            raise TraceError(f"{path}: is cut short: its gzip data has no end") from None
        except (gzip.BadGzipFile, zlib.error):
            raise TraceError(f"{path}: is a damaged gzip file") from None
    elif raw[:4] == b"\x28\xb5\x2f\xfd":
        try:
            raw = pa.input_stream(pa.py_buffer(raw), compression="zstd").read()
        except OSError as error:
            if "Truncated" in str(error):
                raise TraceError(f"{path}: is cut short: its zstd data has no end") from None
            raise TraceError(f"{path}: is a damaged zstd file") from None
    if not raw.strip():
        raise TraceError(f"{path}: is empty")
    return raw


def _text(content: bytes, path: str) -> str:
    if b"\0" in content[:65536]:
        raise TraceError(f"{path}: is not a text file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise TraceError(f"{path}: is not a text file") from None


def _recognise(content: bytes, path: str) -> str:
    if content[:4] == parquet.MAGIC:
        return "parquet"
    head = _text(content, path)[:65536]
    if canonical.HEADER in head.split("\n", 1)[0]:
        return "csv"
    if qemu_log.looks_like(head):
        return "qemu-log"
    first = head.split("\n", 1)[0].strip()
    raise TraceError(
        f"{path}:1: is no known trace: a canonical CSV begins with {canonical.HEADER}, "
        f"a QEMU log has ide_ events, got {shown(first)}"
    )
