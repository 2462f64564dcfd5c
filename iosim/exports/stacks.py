"""The table of functions as call stacks with weights: folded lines for flamegraph.pl, and speedscope's own format."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from iosim.model.chains import CARRIERS, HOST_DISK, WAITS
from iosim.results.result import Result

SPEEDSCOPE_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


class Stack(NamedTuple):
    """Who has the requests and its call chain, outermost first, and the time in ns; `of`: VM, drive and operation."""

    of: str
    frames: tuple[str, ...]
    ns: int


def stacks(result: Result) -> Iterator[Stack]:
    """Return every stack of *result*, stages together; of a wait the stage is a frame of its own.

    In the order of VMs, drives and operations, then of carriers, then of names: what has callers in common is together.
    """
    table = result.functions
    rows: dict[tuple[str, tuple[str, ...]], int] = {}
    columns = (table[name].tolist() for name in ("vm", "drive", "op", "carrier", "stage", "stack", "total_ns"))
    for vm, drive, op, carrier, stage, stack, ns in zip(*columns, strict=True):
        who = (carrier, stage) if carrier in (WAITS, HOST_DISK) else (carrier,)
        key = (f"{vm}/drive{drive} {op}", (*who, *stack.split(";")))
        rows[key] = rows.get(key, 0) + ns
    kinds = {of: number for number, of in enumerate(dict.fromkeys(of for of, _ in rows))}
    for of, frames in sorted(rows, key=lambda row: (kinds[row[0]], *_order(row[1]))):
        yield Stack(of, frames, rows[of, frames])


def _order(frames: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    return CARRIERS.index(frames[0]), frames


def write_folded(result: Result, path: Path) -> None:
    """Write a line for each stack: its frames with ``;`` between them, a blank, nanoseconds of all requests together.

    The format of stackcollapse-perf.pl, which flamegraph.pl, inferno and speedscope read. The first frame, which is
    the command there, is VM, drive and operation.
    """
    with path.open("w", encoding="utf-8") as file:
        for stack in stacks(result):
            file.write(f"{';'.join((stack.of, *stack.frames))} {stack.ns}\n")


def write_speedscope(result: Result, path: Path) -> None:
    """Write a profile of all requests and, if they are of several kinds, one for each operation on each drive.

    Format: sampled profiles of https://www.speedscope.app/file-format-schema.json, in nanoseconds.
    """
    numbers: dict[str, int] = {}
    by_kind: dict[str, dict[tuple[str, ...], int]] = {}
    together: dict[tuple[str, ...], int] = {}
    for of, frames, ns in stacks(result):
        by_kind.setdefault(of, {})[frames] = ns
        together[frames] = together.get(frames, 0) + ns
    everything = _profile("all requests", together, numbers)
    each = [_profile(kind, weights, numbers) for kind, weights in by_kind.items()] if len(by_kind) > 1 else []
    document = {
        "$schema": SPEEDSCOPE_SCHEMA,
        "name": "iosim: where the time of all requests goes",
        "exporter": f"iosim {version('iosim')}",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in numbers]},
        "profiles": [everything, *each],
    }
    path.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")


def _profile(name: str, weights: dict[tuple[str, ...], int], numbers: dict[str, int]) -> dict[str, Any]:
    """Return one profile; *numbers* are those of the frames, new ones are added."""
    ordered = sorted(weights, key=_order)
    return {
        "type": "sampled",
        "name": name,
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": sum(weights.values()),
        "samples": [[numbers.setdefault(frame, len(numbers)) for frame in frames] for frames in ordered],
        "weights": [weights[frames] for frames in ordered],
    }
