"""Traces of VMware's vSCSI layer (CloudPhysics): binary records of 32 bytes (version 1) or 40 (version 2).

Version 1: serial number, length in bytes, scatter-gather elements, SCSI command, version, first block, microseconds.
Version 2: command, version, serial number, length, elements, first block, microseconds, response time. Little-endian;
the version stands in the high byte of its field. A request's place is its record, from 1.
"""

from collections.abc import Iterator

import numpy as np

from iosim.traces.columns import Rows
from iosim.traces.reading import Reading
from iosim.traces.requests import Origin, in_sectors, table, without
from iosim.traces.table import TraceTable

_V1 = np.dtype(
    [
        ("sn", "<u4"),
        ("len", "<u4"),
        ("nsg", "<u4"),
        ("cmd", "<u2"),
        ("ver", "<u2"),
        ("lbn", "<u8"),
        ("us", "<u8"),
    ]
)
_V2 = np.dtype(
    [
        ("cmd", "<u2"),
        ("ver", "<u2"),
        ("sn", "<u4"),
        ("len", "<u4"),
        ("nsg", "<u4"),
        ("lbn", "<u8"),
        ("us", "<u8"),
        ("rt", "<u8"),
    ]
)
_RECORDS = {1: _V1, 2: _V2}
_TESTED = 100
_READ, _WRITE, _FLUSH, _NO_REQUEST, _UNUSABLE = 0, 1, 2, 3, 4
_COMMANDS = {
    0x08: _READ,
    0x28: _READ,
    0xA8: _READ,
    0x88: _READ,
    0x0A: _WRITE,
    0x2A: _WRITE,
    0xAA: _WRITE,
    0x8A: _WRITE,
    0x2E: _WRITE,  # WRITE AND VERIFY (10), (12), (16)
    0xAE: _WRITE,
    0x8E: _WRITE,
    0x35: _FLUSH,  # SYNCHRONIZE CACHE (10), (16)
    0x91: _FLUSH,
    0x41: _UNUSABLE,  # WRITE SAME (10), (16)
    0x93: _UNUSABLE,
    0x42: _UNUSABLE,  # UNMAP
    0x89: _UNUSABLE,  # COMPARE AND WRITE
    0x83: _UNUSABLE,  # EXTENDED COPY
}
_KINDS = np.full(1 << 16, _NO_REQUEST, dtype=np.int64)
for _command, _kind in _COMMANDS.items():
    _KINDS[_command] = _kind
_MAX_US = 1 << 52


def fits(head: bytes) -> bool:
    """Tell whether the first records of *head* have a version in the right place."""
    return _version(head) is not None


def _version(head: bytes) -> int | None:
    for version, record in _RECORDS.items():
        n = min(len(head) // record.itemsize, _TESTED)
        if n and (np.frombuffer(head, record, n)["ver"] >> 8 == version).all():
            return version
    return None


def read(reading: Reading) -> Iterator[TraceTable]:
    """Yield the requests. Times begin at 0 with the first record."""
    version = _version(reading.source.head) or 1
    record = _RECORDS[version]
    origin = Origin()
    first, rest = 1, b""
    for chunk in reading.source.chunks():
        data = rest + chunk
        n = len(data) // record.itemsize
        rest = data[n * record.itemsize :]
        records = np.frombuffer(data, record, n)
        columns = {name: records[name].astype(np.int64) for name in ("cmd", "ver", "len", "lbn", "us")}
        rows = Rows(columns, np.arange(first, first + n, dtype=np.int64))
        yield _table(rows, version, origin, reading)
        first += n
    if rest:
        reading.refuse(first, f"a record must have {record.itemsize} bytes", f"{len(rest)}")


def _table(rows: Rows, version: int, origin: Origin, reading: Reading) -> TraceTable:
    rows = without(rows, reading, rows["ver"] >> 8 != version, f"the version must be {version}", "ver", "0x{:04x}")
    strange = (rows["us"] < 0) | (rows["us"] >= _MAX_US)
    rows = without(rows, reading, strange, "time must be below 142 years", "us", "{} us")
    rows = rows.with_columns({"us": origin.since(rows["us"]), "kind": _KINDS[rows["cmd"]]})
    n_others = int((rows["kind"] == _NO_REQUEST).sum())
    if n_others:
        reading.beside["command that moves no data of the disk"] += n_others
    rule = "a command must be a read, write or flush"
    rows = without(rows, reading, rows["kind"] == _UNUSABLE, rule, "cmd", "0x{:02x}")
    rows = rows.chosen(rows["kind"] != _NO_REQUEST)
    flush = rows["kind"] == _FLUSH
    rows = rows.with_columns({name: np.where(flush, 0, rows[name]) for name in ("lbn", "len")})
    rows = in_sectors(rows, reading, "len")
    return table(rows["us"] * 1000, rows, "kind", "lbn", "len")
