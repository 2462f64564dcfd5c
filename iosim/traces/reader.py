"""Reading a trace file: unpacked, its format recognised by its content, handed to the format's reader."""

import gzip
import hashlib
import zlib
from pathlib import Path

from iosim.model.errors import TraceError, shown
from iosim.model.trace import Trace
from iosim.traces import canonical, qemu_log
from iosim.traces.table import to_trace

READERS = {"csv": canonical.read, "qemu-log": qemu_log.read}
"""The readers by the name of their format."""


def read_trace(path: str | Path, format_name: str | None = None) -> Trace:
    """Return the trace in *path*, plain or .gz, of the format *format_name* or that of its content.

    Raises TraceError, naming the file and, where there is one, the line.
    """
    raw = _bytes(Path(path))
    sha256 = hashlib.sha256(raw).hexdigest()
    text = _text(Path(path), raw)
    name = format_name or _recognise(str(path), text)
    return to_trace(READERS[name](text, str(path)), str(path), sha256)


def format_of(path: str | Path) -> str:
    """Return the name of the format that the content of *path* shows. Raises TraceError."""
    return _recognise(str(path), _text(Path(path), _bytes(Path(path))))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}") from None


def _text(path: Path, raw: bytes) -> str:
    if raw[:4] == b"\x28\xb5\x2f\xfd":
        raise TraceError(f"{path}: zstd is not supported yet; use .csv or .csv.gz")
    if raw[:4] == b"PAR1":
        raise TraceError(f"{path}: Parquet traces are not supported yet; use .csv or .csv.gz")
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise TraceError(f"{path}: is not a whole gzip file: {error}") from None
    if not raw.strip():
        raise TraceError(f"{path}: is empty")
    if b"\0" in raw[:65536]:
        raise TraceError(f"{path}: is not a text file")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise TraceError(f"{path}: is not a text file") from None


def _recognise(path: str, text: str) -> str:
    head = text[:65536]
    if canonical.HEADER in head.split("\n", 1)[0]:
        return "csv"
    if qemu_log.looks_like(head):
        return "qemu-log"
    first = head.split("\n", 1)[0].strip()
    raise TraceError(
        f"{path}:1: is no known trace: a canonical CSV begins with {canonical.HEADER}, "
        f"a QEMU log has ide_ events, got {shown(first)}"
    )
