"""The timeline of requests as trace events, which Perfetto and chrome://tracing open.

A VM is a process and its threads are tracks: a slice for each stay of a request on the thread, and within it the calls
of functions, one within the other. A request is an asynchronous track besides, because requests overlap: it has the
waits, and between them says who runs for it. Arrows go from track to track as the request does.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from iosim.exports.call_chains import CallChains, calls
from iosim.exports.counters import add_counters, add_instants
from iosim.exports.selection import KEY, Choice, Selected, select
from iosim.exports.trace_events import (
    ASYNC_BEGIN,
    ASYNC_BEGIN_INNER,
    ASYNC_END,
    ASYNC_END_INNER,
    FLOW,
    SLICE,
    Events,
    Tracks,
    compact,
    text,
    us,
    write,
)
from iosim.model.stages import Stage
from iosim.results.result import Result

HOST = "host"
"""The process whose tracks are the disks."""
MAX_SPANS = 500_000
"""Whole requests are written up to so many spans: what a browser opens without trouble."""
_OPERATIONS = {"R": "read", "W": "write", "F": "flush"}
_ARGUMENTS = (*KEY, "op", "sector", "sectors", "status", "latency_ns", "exits", "userspace_exits")


def write_perfetto(result: Result, path: Path, choice: Choice, say: Callable[[str], None]) -> None:
    """Write the requests of *choice* to *path*; *say* is told what is not there.

    Raises ExportError if none of them has spans.
    """
    selected = select(result, choice)
    for note in selected.notes:
        say(note)
    selected = _limited(selected, say)
    tracks, events = Tracks(), Events()
    vms = set(selected.requests["vm"])
    pids = {vm: tracks.process(f"VM {vm}", main="main") for vm in result.requests["vm"].unique() if vm in vms}
    window = choice.window or (0, int(result.summary["end_ns"]))
    _add_requests(selected, pids, events)
    spans = _running(result, selected, window)
    stays = _stays(spans, pids, tracks)
    _add_threads(spans, stays, selected.requests, events)
    _add_arrows(spans, stays, events)
    shown = _extent(selected, window)
    add_counters(result, pids, tracks.process(HOST), shown, events)
    add_instants(result, pids, shown, events)
    described = {
        "iosim": str(result.summary["iosim"]),
        "profile": str(result.summary["profile"]["name"]),
        "seed": str(result.scenario.run.seed),
        "time": "simulated, from the begin of the run",
    }
    write(path, described, tracks, events)


def _limited(selected: Selected, say: Callable[[str], None]) -> Selected:
    """Return as many whole requests, at least one, as `MAX_SPANS` allows."""
    sizes = np.cumsum([len(spans) for spans in selected.spans])
    n = max(1, int(np.searchsorted(sizes, MAX_SPANS, side="right")))
    if n < len(sizes):
        say(f"only {n:,} of these {len(sizes):,} requests are shown: all have {sizes[-1]:,} spans, {MAX_SPANS:,} fit")
    return Selected(selected.requests.iloc[:n], selected.spans[:n], [])


def _extent(selected: Selected, window: tuple[int, int]) -> tuple[int, int]:
    """Return the part of *window* in which the requests are."""
    begin, end = int(selected.requests["arrival_ns"].min()), int(selected.requests["done_ns"].max())
    return max(begin, window[0]), min(end, window[1])


def _add_requests(selected: Selected, pids: dict[str, int], events: Events) -> None:
    """Add the asynchronous track of each request: the request, in it each wait and each stay with a thread or disk."""
    for row, spans in zip(selected.requests.to_dict("records"), selected.spans, strict=True):
        vm, drive, number = (row[name] for name in KEY)
        track = f'"cat":"request","id2":{{"local":"{drive}/{number}"}},"pid":{pids[vm]},"tid":{pids[vm]}'
        name = text(f"drive {drive} {_OPERATIONS[row['op']]}")
        begin, end = row["arrival_ns"], row["done_ns"]
        arguments = compact({name: row[name] for name in _ARGUMENTS})
        events.add(begin, ASYNC_BEGIN, f'"ph":"b","ts":{us(begin)},"name":{name},{track},"args":{arguments}')
        events.add(end, ASYNC_END, f'"ph":"e","ts":{us(end)},"name":{name},{track}')
        for phase, function, begin, end in _phases(spans):
            name = text(phase)
            arguments = compact({"request": number, "function": function} if function else {"request": number})
            events.add(begin, ASYNC_BEGIN_INNER, f'"ph":"b","ts":{us(begin)},"name":{name},{track},"args":{arguments}')
            events.add(end, ASYNC_END_INNER, f'"ph":"e","ts":{us(end)},"name":{name},{track}')


def _phases(spans: pd.DataFrame) -> list[tuple[str, str, int, int]]:
    """Return (name, function it waits in, begin, end) of each wait, and of what is between: on a thread or disk."""
    waiting = spans["waits"].to_numpy()
    names = np.where(waiting, spans["stage"].to_numpy(dtype=object), "on " + spans["thread"].to_numpy(dtype=object))
    functions, starts, ends = (spans[name].tolist() for name in ("function", "start_ns", "end_ns"))
    cuts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    return [(names[a], functions[a] if waiting[a] else "", starts[a], ends[b - 1]) for a, b in pairwise(cuts)]


class _Stay(NamedTuple):
    """A request is on a thread or at a disk without a break: rows *first* up to *behind* of the spans."""

    request: int
    first: int
    behind: int
    pid: int
    tid: int


def _add_threads(spans: pd.DataFrame, stays: list[_Stay], requests: pd.DataFrame, events: Events) -> None:
    """Add a slice for each stay, and in it one for each call of a function; at a disk there is but one."""
    nodes, stages, starts, ends = (spans[name].tolist() for name in ("node", "stage", "start_ns", "end_ns"))
    rows = requests.to_dict("records")
    names = [text(f"{_OPERATIONS[row['op']]} {row['request']}") for row in rows]
    arguments = [compact({name: row[name] for name in _ARGUMENTS}) for row in rows]
    inner = [compact({"request": row["request"]}) for row in rows]
    for number, first, behind, pid, tid in stays:
        served = stages[first] == Stage.DISK_SERVICE.label
        category = stages[first] if served else "request"
        extent = f'"ts":{us(starts[first])},"dur":{us(ends[behind - 1] - starts[first])},"pid":{pid},"tid":{tid}'
        what = f'"ph":"X","name":{names[number]},"cat":"{category}"'
        events.add(starts[first], SLICE, f'{what},{extent},"args":{arguments[number]}')
        if served:
            continue
        bounds = [*starts[first:behind], ends[behind - 1]]
        for name, stage, begin, end in calls(nodes[first:behind], stages[first:behind], bounds):
            extent = f'"ts":{us(begin)},"dur":{us(end - begin)},"pid":{pid},"tid":{tid}'
            what = f'"ph":"X","name":{text(name)},"cat":"{stage or "call"}"'
            events.add(begin, SLICE, f'{what},{extent},"args":{inner[number]}')


def _add_arrows(spans: pd.DataFrame, stays: list[_Stay], events: Events) -> None:
    """Add an arrow wherever a request goes from one track to another: from the last function to the first."""
    starts = spans["start_ns"].tolist()
    journey = sorted(stays, key=lambda stay: (stay.request, starts[stay.first]))
    for arrow, (left, entered) in enumerate(pairwise(journey)):
        if left.request != entered.request or (left.pid, left.tid) == (entered.pid, entered.tid):
            continue
        for phase, at, stay in (("s", left.behind - 1, left), ("f", entered.first, entered)):
            where = f'"ts":{us(starts[at])},"pid":{stay.pid},"tid":{stay.tid},"bp":"e"'
            events.add(starts[at], FLOW, f'"ph":"{phase}","name":"handed over","cat":"flow","id":{arrow + 1},{where}')


def _running(result: Result, selected: Selected, window: tuple[int, int]) -> pd.DataFrame:
    """Return the spans that are no waits and touch *window*, by process, thread and time.

    `number` counts the requests; `process` is the VM, or "" for a disk; `node` is the place in the call chain. The
    spans of an operation that QEMU has merged are there once, with the first request of it.
    """
    chains = CallChains(result.scenario)
    rows = selected.requests[["vm", "drive", "op"]].itertuples(index=False, name=None)
    found = [chains.nodes(spans, *row) for spans, row in zip(selected.spans, rows, strict=True)]
    spans = pd.concat(selected.spans, ignore_index=True)
    spans["node"] = pd.Series([node for nodes in found for node in nodes], dtype=object)
    spans["number"] = np.repeat(np.arange(len(selected.spans)), [len(part) for part in selected.spans])
    touching = (spans["end_ns"] > window[0]) & (spans["start_ns"] < window[1])
    spans = spans[touching & ~spans["waits"]]
    served = spans["stage"] == Stage.DISK_SERVICE.label
    repeated = spans.duplicated(["vm", "drive", "thread", "function", "start_ns", "end_ns"])
    merged = spans.loc[repeated & ~served, "number"].unique()
    spans = spans.assign(process=spans["vm"].where(~served, ""))
    spans = spans[~repeated | (served & ~spans["number"].isin(merged))]
    return spans.sort_values(["process", "thread", "start_ns", "number"], kind="stable", ignore_index=True)


def _stays(spans: pd.DataFrame, pids: dict[str, int], tracks: Tracks) -> list[_Stay]:
    """Return the stays, each on a track where no other is at the time.

    A thread does one thing at a time. A disk of several servers needs as many tracks as it serves operations at once.
    """
    numbers, starts, ends = (spans[name].tolist() for name in ("number", "start_ns", "end_ns"))
    tids = _tids(spans, pids, tracks)
    processes, threads = spans["process"].tolist(), spans["thread"].tolist()
    stays: list[_Stay] = []
    busy_until: list[int] = []
    first = 0
    for k in range(1, len(numbers) + 1):
        place = processes[first], threads[first]
        here = k < len(numbers) and (processes[k], threads[k]) == place
        if here and processes[k] and (numbers[k], starts[k]) == (numbers[k - 1], ends[k - 1]):
            continue
        lane = next((lane for lane, until in enumerate(busy_until) if until <= starts[first]), len(busy_until))
        busy_until[lane : lane + 1] = [ends[k - 1]]
        stays.append(_Stay(numbers[first], first, k, *tids(place, lane)))
        first = k
        if not here:
            busy_until = []
    return stays


def _tids(
    spans: pd.DataFrame, pids: dict[str, int], tracks: Tracks
) -> Callable[[tuple[str, str], int], tuple[int, int]]:
    """Return what gives process and track of a (process, thread) and the number of one of its tracks.

    The first track of each thread is numbered in the order of `_rank`.
    """
    host = tracks.process(HOST)
    places = set(spans[["process", "thread"]].itertuples(index=False, name=None))

    def tid(place: tuple[str, str], lane: int) -> tuple[int, int]:
        pid = pids.get(place[0], host)
        return pid, tracks.thread(pid, place[1] if lane == 0 else f"{place[1]} ({lane + 1})")

    for place in sorted(places, key=lambda place: (pids.get(place[0], host), _rank(place[1]))):
        tid(place, 0)
    return tid


def _rank(thread: str) -> tuple[int, list[tuple[int, str]]]:
    """Return the place of a thread: vCPUs, iothreads, then workers; those of a kind in the order of their numbers."""
    kind = 0 if thread.startswith("vcpu") else 1 if re.fullmatch("iothread/[^/]*", thread) else 2
    parts = re.split(r"([0-9]+)", thread)
    return kind, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
