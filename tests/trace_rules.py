"""The rules of Chrome's trace-event format and of Perfetto for it, checked on a document."""

import json
from bisect import bisect_right
from collections import defaultdict
from decimal import Decimal
from typing import Any

PHASES = {"M", "X", "b", "e", "s", "f", "C", "i"}
Event = dict[str, Any]
Slice = tuple[int, int, str]
"""Begin and end in ns, name."""


def ns(us: Decimal) -> int:
    """The nanoseconds of a time of the format, which is in us; it must be a whole number of them."""
    scaled = us * 1000
    assert scaled == int(scaled), us
    return int(scaled)


def parse(text: str) -> list[Event]:
    """The events of a document, with exact times."""
    document = json.loads(text, parse_float=Decimal, parse_int=int)
    assert set(document) == {"displayTimeUnit", "otherData", "traceEvents"}
    assert document["displayTimeUnit"] == "ns"
    assert all(isinstance(value, str) for value in document["otherData"].values())
    events: list[Event] = document["traceEvents"]
    return events


def check(events: list[Event]) -> None:
    """Check every rule."""
    names(events)
    timed = [event for event in events if event["ph"] != "M"]
    times = [ns(event["ts"]) for event in timed]
    assert times == sorted(times)
    assert all(time >= 0 for time in times)
    on_threads = slices(events)
    asynchronous(events)
    arrows(events, on_threads)
    for event in events:
        if event["ph"] == "C":
            assert event["args"]
            assert all(isinstance(value, int | Decimal) for value in event["args"].values())


def names(events: list[Event]) -> None:
    """Every process and thread has one name, and no number stands for two threads."""
    processes = [event["pid"] for event in events if event["ph"] == "M" and event["name"] == "process_name"]
    threads = [(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"]
    assert len(processes) == len(set(processes))
    assert len({tid for _, tid in threads}) == len(threads)
    for event in events:
        assert event["ph"] in PHASES
        assert isinstance(event["name"], str)
        assert event["pid"] in processes
        if event["ph"] in "Xsf":
            assert (event["pid"], event["tid"]) in threads


def slices(events: list[Event]) -> dict[tuple[int, int], list[Slice]]:
    """The complete events of each thread: of two, one lies within the other or behind it."""
    found: dict[tuple[int, int], list[Slice]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin = ns(event["ts"])
            found[event["pid"], event["tid"]].append((begin, begin + ns(event["dur"]), event["name"]))
    for track in found.values():
        open_until: list[int] = []
        for begin, end, name in track:
            assert begin < end, name
            while open_until and open_until[-1] <= begin:
                open_until.pop()
            assert not open_until or end <= open_until[-1], (name, begin, end)
            open_until.append(end)
    return found


def asynchronous(events: list[Event]) -> list[Slice]:
    """The nested pairs of begin and end of each asynchronous track: each end closes what was begun last."""
    open_: dict[tuple[object, ...], list[tuple[int, str]]] = defaultdict(list)
    found = []
    for event in events:
        if event["ph"] in "be":
            stack = open_[event["pid"], event["cat"], event["id2"]["local"]]
            if event["ph"] == "b":
                stack.append((ns(event["ts"]), event["name"]))
            else:
                begin, name = stack.pop()
                assert name == event["name"]
                assert begin < ns(event["ts"])
                found.append((begin, ns(event["ts"]), name))
    assert not any(open_.values())
    return found


def arrows(events: list[Event], on_threads: dict[tuple[int, int], list[Slice]]) -> None:
    """Each arrow has one begin and, not before it, one end, and both lie in a slice of their thread."""
    begun: dict[int, Event] = {}
    ended = set()
    for event in events:
        if event["ph"] not in "sf":
            continue
        assert _is_inside(ns(event["ts"]), on_threads[event["pid"], event["tid"]]), event
        if event["ph"] == "s":
            assert event["id"] not in begun
            begun[event["id"]] = event
        else:
            start = begun[event["id"]]
            assert (start["name"], start["cat"]) == (event["name"], event["cat"])
            assert event["id"] not in ended
            ended.add(event["id"])
    assert ended == set(begun)


def _is_inside(time: int, track: list[Slice]) -> bool:
    """Whether the slice that has begun last by *time* is still open: the one that an arrow belongs to."""
    at = bisect_right(track, time, key=lambda found: found[0]) - 1
    return at >= 0 and time < track[at][1]
