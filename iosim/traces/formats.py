"""The formats of traces: their names, how their content is told apart, and their readers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from iosim.model.errors import TraceError, shown
from iosim.traces import (
    access_requests,
    alibaba,
    blkparse,
    block_events,
    canonical,
    fio_iolog,
    fio_log,
    fiu,
    kernel_text,
    kvm,
    msr,
    parquet,
    qemu_log,
    simulators,
    spc,
    tencent,
    vscsi,
)
from iosim.traces.reading import Reading
from iosim.traces.source import UTF16
from iosim.traces.table import TraceTable


@dataclass(frozen=True)
class Format:
    """A format: *fits* tells whether the begin of a file looks like it, *read* yields its requests.

    *strict*: times may not go back in the file; otherwise requests are put in order. *from_first*: times count from the
    first line, or from the earliest request if that is earlier. *log*: much else may stand before the first line that
    shows the format. *empty* is what is missing in a file without requests.
    """

    name: str
    fits: Callable[[bytes], bool]
    read: Callable[[Reading], Iterator[TraceTable]]
    strict: bool = False
    from_first: bool = False
    log: bool = False
    empty: str = "has no requests"


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("csv", canonical.fits, canonical.read, strict=True),
        Format("parquet", parquet.fits, parquet.read, strict=True),
        Format("qemu-log", qemu_log.fits, qemu_log.read, from_first=True, log=True, empty=qemu_log.EMPTY),
        Format(
            "simpletrace", qemu_log.fits_simple, qemu_log.read_simple, from_first=True, log=True, empty=qemu_log.EMPTY
        ),
        Format("kvm", kvm.fits, kvm.read, from_first=True, log=True, empty=kvm.EMPTY),
        Format("block", block_events.fits, block_events.read, from_first=True, log=True, empty=block_events.EMPTY),
        Format("blkparse", blkparse.fits, blkparse.read, log=True, empty=blkparse.EMPTY),
        Format("fio-iolog", fio_iolog.fits, fio_iolog.read),
        Format("fio-lat", fio_log.fits, fio_log.read_latencies),
        Format("fio-bw", fio_log.fits, fio_log.read_others),
        Format("accesses", access_requests.fits, access_requests.read, strict=True, empty=access_requests.EMPTY),
        Format("msr", msr.fits, msr.read, from_first=True),
        Format("alibaba", alibaba.fits, alibaba.read, from_first=True),
        Format("tencent", tencent.fits, tencent.read, from_first=True),
        Format("spc", spc.fits, spc.read),
        Format("fiu", fiu.fits, fiu.read, from_first=True),
        Format("vscsi", vscsi.fits, vscsi.read, from_first=True),
        Format("disksim", simulators.fits, simulators.read_disksim),
        Format("mqsim", simulators.fits_whole, simulators.read_mqsim),
        Format("heimdall", simulators.fits, simulators.read_heimdall),
    )
}
"""The formats by their name."""

_BEGIN_BYTES = 1 << 16
GROUPS = {
    "perf-script": ("kvm", "block"),
    "trace-cmd": ("kvm", "block"),
    "ftrace": ("kvm", "block"),
    "fio": ("fio-iolog", "fio-lat", "fio-bw"),
}
"""Names for several formats of one tool: which of them it is shows the content."""


def check_name(name: str) -> None:
    """Raise TraceError if there is no format *name*."""
    if name not in FORMATS and name not in GROUPS:
        raise TraceError(f"--format must be one of {', '.join([*FORMATS, *GROUPS])}, got {shown(name)}")


def recognise(head: bytes, path: str, name: str | None = None) -> Format:
    """Return the format *name*, or the one that *head*, the begin of a file, looks like, of all or of a group *name*.

    Raises TraceError if it looks like none or several.
    """
    if name in FORMATS:
        return FORMATS[name]
    among = [FORMATS[one] for one in (FORMATS if name is None else GROUPS[name])]
    if name is None and (strict := [one for one in among if one.strict and one.fits(head)]):
        return strict[0]
    begin = head[:_BEGIN_BYTES]
    found = [one for one in among if one.fits(head if one.log else begin)]
    if len(found) == 1:
        return found[0]
    if not found and len(kernel_text.kinds(head)) > 1:
        raise TraceError(
            f"{path}: has port accesses of a guest (kvm_pio) and requests of block devices: "
            "choose one by --format or trace_format"
        )
    if found:
        names = ", ".join(format_.name for format_ in found)
        raise TraceError(f"{path}: may be any of {names}: say which by --format or trace_format")
    raise TraceError(_unknown(head, path, name))


def _unknown(head: bytes, path: str, name: str | None) -> str:
    if head[:2] in UTF16:
        return f"{path}: is UTF-16, not UTF-8"
    if kernel_text.has_other_events(head):
        return f"{path}: is a kernel trace without port accesses (kvm_pio) and without requests of block devices"
    first = head.split(b"\n", 1)[0]
    try:
        text = shown(first.decode("utf-8").strip())
    except UnicodeDecodeError:
        text = ""
    if b"\0" in head or not text:
        return f"{path}: is not a text file"
    if name is not None:
        return f"{path}:1: is none of {', '.join(GROUPS[name])}, got {text}"
    return (
        f"{path}:1: is no known trace: a canonical CSV begins with {canonical.HEADER}, "
        f"others are {', '.join(list(FORMATS)[2:])}, got {text}"
    )
