"""Recordings of a disk's service times, of several formats.

drive: ``R Hit 2992396 4 13670.0 35942.0``: R or W, a flag that is ignored, first block, blocks, service time and think
time in microseconds; the next request comes that long after this one is done (DiskSim's validation traces).
services: a CSV file ``start_us,end_us,op,sector,sectors``.
fio-lat: fio's write_lat_log, write_clat_log or write_slat_log with log_offset=1 (iosim.traces.fio_log).
block: block_rq_issue and block_rq_complete as perf script, trace-cmd report or ftrace print them.
blkparse: D and C events in blkparse's default format.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from iosim.drives.services import Mask, Services
from iosim.model.errors import TraceError, shown
from iosim.model.trace import OPS
from iosim.traces import blkparse
from iosim.traces.cells import Ints, choice, ignored, time, whole
from iosim.traces.columns import Layout, Rows
from iosim.traces.kernel_text import LOST, KernelText
from iosim.traces.reading import Reading, ReadOptions
from iosim.traces.rwbs import decoded
from iosim.traces.source import Source

Columns: TypeAlias = npt.NDArray[np.int64]
"""Five rows: the columns of `Services`."""
Row = tuple[int, int, int, int, int]
"""Operation, first sector, sectors, start and end in ns."""
_R, _W, _F = (OPS.index(op) for op in "RWF")
_TRIM = len(OPS)
_OPS = {"R": _R, "W": _W}
_US, _MS = 1_000, 1_000_000
_HEADER = "start_us,end_us,op,sector,sectors"
_DRIVE = Layout(
    (
        choice("operation", _OPS, "R or W"),
        ignored("flag"),
        whole("block"),
        whole("blocks", 32),
        time("service time", _US, "microseconds"),
        time("think time", _US, "microseconds"),
    ),
    delimiter=" ",
)
_SERVICES = Layout(
    (
        time("start_us", _US, "microseconds"),
        time("end_us", _US, "microseconds"),
        choice("op", {**_OPS, "F": _F}, "R, W or F"),
        whole("sector"),
        whole("sectors", 32),
    ),
    header=lambda line: line == _HEADER,
)
_FIO = (
    time("time", _MS, "milliseconds"),
    whole("latency", 62),
    choice("direction", {f"{blank}{n}": n for blank in ("", " ") for n in (_R, _W, _TRIM)}, "0, 1 or 2"),
    whole("block size", 40),
    whole("offset", 57),
    ignored("priority"),
    time("issue time", 1, "nanoseconds"),
)
_BLOCK = re.compile(rb"(\d+,\d+) ([A-Z]+) (?:(?:\d+ )?\((.*?)\) )?(\d{1,20}) \+ (\d{1,10})(?: \S+,\d+,\d+)? \[.*\]")
_BEHIND_MS = 10
_MAX_SECTOR = 1 << 48


class ServiceLog(NamedTuple):
    """What was read: the requests, and the account of what stands in the file besides."""

    services: Services
    reading: Reading


def read_services(path: str | Path, options: ReadOptions | None = None) -> ServiceLog:
    """Return the service times in *path*, plain, .gz or .zst. Raises TraceError."""
    options = options or ReadOptions()
    with Source(path) as source:
        name = options.format or _recognised(source.head, str(path))
        if name not in FORMATS:
            raise TraceError(f"--format must be one of {', '.join(FORMATS)}, got {shown(name)}")
        reading = Reading(source, options, name)
        parts = [part for part in FORMATS[name].read(reading) if part.shape[1]]
        reading.check_devices(at_end=name in ("block", "blkparse"))
        if not parts:
            raise TraceError(f"{path}: has no service times{reading.why_nothing()}")
    columns = np.concatenate(parts, axis=1)
    columns = columns[:, np.argsort(columns[3], kind="stable")]
    op, sector, sectors, start, end = columns
    reading.n_requests = len(op)
    return ServiceLog(Services(op.astype(np.uint8), sector, sectors, start, end, str(path)), reading)


# Tables


def _drive(reading: Reading) -> Iterator[Columns]:
    at = 0
    for rows in _DRIVE.rows(reading):
        think = rows["think time"]
        rows = _usable(reading, rows, think < 0, "think time must not be negative", think / _US)
        step = rows["service time"] + rows["think time"]
        start = at + np.cumsum(step) - step
        at += int(step.sum())
        yield _columns(reading, rows, ("operation", "block", "blocks"), start, start + rows["service time"])


def _services(reading: Reading) -> Iterator[Columns]:
    for rows in _SERVICES.rows(reading):
        yield _columns(reading, rows, ("op", "sector", "sectors"), rows["start_us"], rows["end_us"])


def _fio(reading: Reading) -> Iterator[Columns]:
    first = reading.source.head.split(b"\n", 1)[0].decode("utf-8", "backslashreplace").strip()
    n = first.count(",") + 1
    if n not in (6, 7):
        rule = "a line must have an offset and a priority (fio: log_offset=1)"
        raise TraceError(f"{reading.path}:1: {rule}, got {shown(first)}")
    if n == 6:
        reading.notes.append("no issue times (log_issue_time=1): taken as one request at a time, known to 1 ms")
    done = 0
    for rows in Layout(_FIO[:n]).rows(reading):
        usable = (rows["direction"] != _TRIM) & (rows["block size"] > 0)
        reading.beside["trim, or a line of a time window"] += int((~usable).sum())
        rows = rows.chosen(usable)
        rows = rows.with_columns({"sector": rows["offset"] // 512, "sectors": -(-rows["block size"] // 512)})
        start = rows["issue time"] if n == 7 else _one_by_one(rows["time"], rows["latency"], done)
        if n == 6 and len(rows):
            done = int(start[-1] + rows["latency"][-1])
            behind = done - int(rows["time"][-1])
            if behind > _BEHIND_MS * _MS + int(rows["time"][-1]) // 100:
                rule = "without issue times (fio: log_issue_time=1) requests must have been made one at a time"
                got = f"latencies that add up to {behind // _MS:,} ms more"
                raise TraceError(f"{reading.path}:{rows.lines[-1]}: {rule}, got {got}")
        yield _columns(reading, rows, ("direction", "sector", "sectors"), start, start + rows["latency"])


def _columns(reading: Reading, rows: Rows, names: tuple[str, str, str], start: Ints, end: Ints) -> Columns:
    """Return the columns of `Services`: operation, first sector and sectors are those *names* of *rows*.

    Refuses rows that no disk can have served.
    """
    op, sector, sectors = names
    rows = rows.with_columns({"start": start, "end": end})
    moves = rows[op] != _F
    for wrong, rule, values in (
        (rows["start"] < 0, "a request must not begin before 0", rows["start"] / _US),
        (rows["end"] < rows["start"], "a request must not end before it begins", (rows["end"] - rows["start"]) / _US),
        (moves & (rows[sectors] < 1), "a read or write must have at least 1 sector", rows[sectors]),
        (rows[sector] < 0, "sector must not be negative", rows[sector]),
        (rows[sector] + rows[sectors] > _MAX_SECTOR, "sectors must end at or before 2^48", rows[sector]),
    ):
        if wrong.any():
            return _columns(reading, _usable(reading, rows, wrong, rule, values), names, *_kept(rows, ~wrong))
    return np.stack([rows[op], rows[sector], rows[sectors], rows["start"], rows["end"]]).astype(np.int64)


def _kept(rows: Rows, which: Mask) -> tuple[Ints, Ints]:
    return rows["start"][which], rows["end"][which]


def _usable(reading: Reading, rows: Rows, wrong: Mask, rule: str, values: Any) -> Rows:
    """Refuse the rows that are *wrong*, of which *values* are shown, and return the others."""
    at = np.flatnonzero(wrong)
    if not len(at):
        return rows
    reading.refuse_rows(at, rows.lines, rule, f"{values[at[0]]:g}")
    return rows.chosen(~wrong)


def _one_by_one(done_ms: Ints, latency: Ints, after_ns: int) -> Ints:
    """Return when requests began that were done in these milliseconds, none before the one in front of it was done.

    Whoever begins at the end of the one before has the largest sum of latencies and least begin so far.
    """
    earliest = np.maximum(done_ms - latency, 0)
    before = np.cumsum(latency) - latency
    return np.asarray(np.maximum(np.maximum.accumulate(earliest - before), after_ns) + before)


# Events


class _Pairs:
    """Issues and completions in, requests out. A completion of a part leaves the rest under way."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._open: dict[tuple[str, int], tuple[int, int, int, int, int]] = {}
        self.rows: list[Row] = []

    def issue(self, device: str, rwbs: str, sector: int, sectors: int, at_ns: int) -> None:
        if not self._reading.takes(device):
            return
        operation, before, _ = decoded(rwbs)
        if operation in ("R", "W") and sectors and sector + sectors <= _MAX_SECTOR:
            self._open[device, sector] = (_R if operation == "R" else _W, sector, sectors, at_ns, sectors)
        elif operation == "F" or before:
            self._open[device, sector] = (_F, 0, 0, at_ns, 0)
        else:
            self._reading.beside[f"request of another kind ({rwbs})"] += 1

    def complete(self, device: str, sector: int, sectors: int, at_ns: int) -> None:
        issued = self._open.pop((device, sector), None)
        if issued is None:
            if self._reading.options.device in (None, device):
                self._reading.beside["completion of a request that was not seen issued"] += 1
            return
        op, first, count, start_ns, left = issued
        if at_ns < start_ns:
            self._reading.beside["completion in front of its issue"] += 1
        elif left > sectors:
            self._open[device, sector + sectors] = (op, first, count, start_ns, left - sectors)
        else:
            self.rows.append((op, first, count, start_ns, at_ns))

    def forget(self) -> None:
        """Events were lost: nothing that is under way can be trusted."""
        self._reading.beside["request under way where events were lost"] += len(self._open)
        self._open.clear()

    def taken(self) -> Columns:
        rows, self.rows = self.rows, []
        return np.array(rows, dtype=np.int64).reshape(-1, 5).T

    def end(self) -> None:
        if self._open:
            self._reading.beside["request that was not seen completed"] += len(self._open)


def _block(reading: Reading) -> Iterator[Columns]:
    pairs = _Pairs(reading)
    for events in KernelText(reading, (b"block_rq_issue", b"block_rq_complete")).blocks():
        for at_ns, line, _, _, name, arguments in events:
            if name == LOST:
                pairs.forget()
                continue
            match = _BLOCK.fullmatch(arguments)
            if match is None:
                got = shown(arguments.decode("utf-8", "backslashreplace"))
                reading.refuse(line, f"is no {name.decode()} as Linux prints it", got)
                continue
            device, rwbs, command, sector, sectors = match.groups()
            if command:
                reading.beside["SCSI command passed through"] += 1
            elif name == b"block_rq_issue":
                pairs.issue(device.decode(), rwbs.decode(), int(sector), int(sectors), at_ns)
            else:
                pairs.complete(device.decode(), int(sector), int(sectors), at_ns)
        yield pairs.taken()
    pairs.end()


def _blkparse(reading: Reading) -> Iterator[Columns]:
    pairs = _Pairs(reading)
    for block in reading.source.blocks():
        for line in block.text.replace(b"\r\n", b"\n").split(b"\n")[:-1]:
            match = blkparse.LINE.fullmatch(line)
            if match is None or match[4] not in (b"D", b"C") or match[8]:
                reading.beside["other line"] += 1
                continue
            device, seconds, ns, action, rwbs, sector, sectors, _ = match.groups()
            at_ns = int(seconds) * 1_000_000_000 + int(ns)
            if action == b"D":
                pairs.issue(device.decode(), rwbs.decode(), int(sector or 0), int(sectors or 0), at_ns)
            else:
                pairs.complete(device.decode(), int(sector or 0), int(sectors or 0), at_ns)
        yield pairs.taken()
    pairs.end()


class _Format(NamedTuple):
    look: re.Pattern[bytes]
    read: Callable[[Reading], Iterator[Columns]]


FORMATS = {
    "drive": _Format(re.compile(rb"^[RW][ \t]+\w+[ \t]+\d+[ \t]+\d+[ \t]+[\d.]+[ \t]+[\d.]+[ \t]*\r?$", re.M), _drive),
    "services": _Format(re.compile(rb"\A" + _HEADER.encode() + rb"\r?$", re.M), _services),
    "block": _Format(re.compile(rb"[ :]block_rq_(?:issue|complete): "), _block),
    "blkparse": _Format(re.compile(rb"^\s*\d+,\d+\s+\d+\s+\d+\s+\d+\.\d{9}\s+\d+\s+[A-Z]{1,2}\s", re.M), _blkparse),
    "fio-lat": _Format(re.compile(rb"(?!)"), _fio),
}
"""The formats by their name. fio's log does not say what its values are: it must be named."""
_FIO_LOOK = re.compile(rb"\A\d+, \d+, [012], \d+(?:, (?:0x)?[0-9a-fA-F]+){2,3}\r?$", re.M)


def _recognised(head: bytes, path: str) -> str:
    for name, format_ in FORMATS.items():
        if format_.look.search(head):
            return name
    if _FIO_LOOK.search(head):
        raise TraceError(f"{path}: may be a log of fio: if it is one of latencies, say --format fio-lat")
    raise TraceError(f"{path}:1: is no recording of service times: {', '.join(FORMATS)}")
