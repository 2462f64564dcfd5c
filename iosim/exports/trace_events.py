"""Events of Chrome's trace-event format: their JSON, their order, and the numbers of processes and threads.

Format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU ("Trace Event Format"), and
what Perfetto makes of it: https://perfetto.dev/docs/getting-started/other-formats.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

ASYNC_END_INNER, ASYNC_END, ASYNC_BEGIN, ASYNC_BEGIN_INNER, INSTANT, SLICE, FLOW, COUNTER = range(8)
"""Order of events of the same instant: what ends does so before anything begins, the outer begins before the inner."""


def compact(value: object) -> str:
    """Return *value* as JSON without blanks."""
    return json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=10_000)
def text(value: str) -> str:
    """Return *value* as a string of JSON."""
    return json.dumps(value)


def us(ns: int) -> str:
    """Return *ns* in microseconds, the format's unit, exactly."""
    return f"{ns // 1000}.{ns % 1000:03d}"


class Events:
    """Events with their instants, to be written in order of time."""

    def __init__(self) -> None:
        self._ns: list[int] = []
        self._ranks: list[int] = []
        self._texts: list[str] = []

    def add(self, ns: int, rank: int, event: str) -> None:
        """Add *event*, the inside of a JSON object; those of the same instant are ordered by *rank*, then as added."""
        self._ns.append(ns)
        self._ranks.append(rank)
        self._texts.append(f"{{{event}}}")

    def in_order(self) -> Iterable[str]:
        """Return the JSON of each event."""
        order = np.lexsort((np.array(self._ranks, dtype=np.int64), np.array(self._ns, dtype=np.int64)))
        return (self._texts[k] for k in order)


class Tracks:
    """Processes and their threads, numbered in the order in which they are asked for; no two numbers are the same.

    The thread *main* of a process has its number, as in Linux.
    """

    def __init__(self) -> None:
        self._processes: dict[str, int] = {}
        self._threads: dict[tuple[int, str], int] = {}
        self._last = 0

    def process(self, name: str, main: str | None = None) -> int:
        """Return the number of a process."""
        if name not in self._processes:
            self._last += 1
            self._processes[name] = self._last
            if main is not None:
                self._threads[self._last, main] = self._last
        return self._processes[name]

    def thread(self, pid: int, name: str) -> int:
        """Return the number of a thread of process *pid*."""
        if (pid, name) not in self._threads:
            self._last += 1
            self._threads[pid, name] = self._last
        return self._threads[pid, name]

    def metadata(self) -> Iterable[str]:
        """Yield the events that name processes and threads."""
        for order, (name, pid) in enumerate(self._processes.items()):
            yield f'{{"ph":"M","name":"process_name","pid":{pid},"args":{{"name":{text(name)}}}}}'
            yield f'{{"ph":"M","name":"process_sort_index","pid":{pid},"args":{{"sort_index":{order}}}}}'
        for (pid, name), tid in self._threads.items():
            yield f'{{"ph":"M","name":"thread_name","pid":{pid},"tid":{tid},"args":{{"name":{text(name)}}}}}'
            yield f'{{"ph":"M","name":"thread_sort_index","pid":{pid},"tid":{tid},"args":{{"sort_index":{tid}}}}}'


def write(path: Path, described: dict[str, str], tracks: Tracks, events: Events) -> None:
    """Write the document. *described* says in ``otherData`` what it is about."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"displayTimeUnit":"ns","otherData":{json.dumps(described)},"traceEvents":[')
        separator = "\n"
        for events_of_kind in (tracks.metadata(), events.in_order()):
            for event in events_of_kind:
                file.write(separator + event)
                separator = ",\n"
        file.write("\n]}\n")
