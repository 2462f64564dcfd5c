"""The formats of traces: their names, how their content is told apart, and their readers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from iosim.model.errors import TraceError, shown
from iosim.traces import canonical, parquet, qemu_log
from iosim.traces.reading import Reading
from iosim.traces.table import TraceTable


@dataclass(frozen=True)
class Format:
    """A format: *fits* tells whether the begin of a file looks like it, *read* yields its requests.

    *strict*: times may not go back in the file; otherwise requests are put in order. *empty* is what is missing in a
    file without requests.
    """

    name: str
    title: str
    fits: Callable[[bytes], bool]
    read: Callable[[Reading], Iterator[TraceTable]]
    strict: bool = False
    empty: str = "has no requests"


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("csv", "canonical CSV", canonical.fits, canonical.read, strict=True),
        Format("parquet", "canonical Parquet", parquet.fits, parquet.read, strict=True),
        Format("qemu-log", "QEMU's trace log", qemu_log.fits, qemu_log.read, empty=qemu_log.EMPTY),
        Format(
            "simpletrace", "simpletrace.py's text", qemu_log.fits_simple, qemu_log.read_simple, empty=qemu_log.EMPTY
        ),
    )
}
"""The formats by their name."""


def known(name: str) -> Format:
    """Return the format *name*. Raises TraceError."""
    if name not in FORMATS:
        raise TraceError(f"--format must be one of {', '.join(FORMATS)}, got {shown(name)}")
    return FORMATS[name]


def recognise(head: bytes, path: str) -> Format:
    """Return the format that *head*, the begin of a file, looks like. Raises TraceError for none or several."""
    found = [format_ for format_ in FORMATS.values() if format_.fits(head)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(format_.name for format_ in found)
        raise TraceError(f"{path}: may be any of {names}: say which it is with --format")
    if b"\0" in head:
        raise TraceError(f"{path}: is not a text file")
    try:
        first = head.split(b"\n", 1)[0].decode("utf-8")
    except UnicodeDecodeError:
        raise TraceError(f"{path}: is not a text file") from None
    raise TraceError(
        f"{path}:1: is no known trace: a canonical CSV begins with {canonical.HEADER}, "
        f"a QEMU log has ide_ events, got {shown(first.strip())}"
    )
