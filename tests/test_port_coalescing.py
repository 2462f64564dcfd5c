"""Replayed port accesses: both engines, coalesced and exit by exit, give the same, whatever was recorded."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from iosim.model.trace import Trace
from iosim.results.result import Result
from iosim.simulation import run_and_tabulate
from iosim.traces.accesses import UNKNOWN, Access
from tests.access_rows import BM_COMMAND, BM_STATUS, BUSY, CONTROL, DATA, DRQ, READY, STATUS, Recorder, recorded
from tests.support import constant_profile, drawn_profile, same_with_both_engines, scenario

OTHER_PORTS = [0x20, 0xA0, 0x3F8, 0x172, 0x80, 0xC008]
STATUSES = [READY, BUSY, DRQ, 0x51, UNKNOWN]


@st.composite
def fragments(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """What the guest does, in pieces: (kind, a choice, how often)."""
    kinds = ["dma", "dma_read", "flush", "pio_write", "pio_read", "multiple", "identify"]
    kinds += ["status", "alternate", "bm_status", "stop", "word", "words", "other", "control", "register", "reset"]
    piece = st.tuples(st.sampled_from(kinds), st.integers(0, 9), st.integers(1, 4))
    return draw(st.lists(piece, min_size=1, max_size=25))


def rows(pieces: list[tuple[str, int, int]], times: list[tuple[int, int | None, bool]]) -> list[Access]:
    """The accesses of *pieces*; *times* are (us since the one before, ns in the guest, halted) of each in turn."""
    r = Recorder()
    r.dma(0)
    for kind, choice, n in pieces:
        match kind:
            case "dma" | "dma_read":
                r.dma(choice * 8, n, kind == "dma")
            case "flush" | "identify":
                r.out(0x1F6, 0xE0)
                r.out(STATUS, 0xE7 if kind == "flush" else 0xEC)
            case "pio_write" | "pio_read":
                r.task_file(n, choice, 0xE0)
                r.out(STATUS, ([0x30, 0xC5] if kind == "pio_write" else [0x20, 0xC4])[choice % 2])
            case "multiple":
                r.out(0x1F2, [0, 1, 2, 16][n - 1])
                r.out(STATUS, 0xC6)
            case "status" | "alternate":
                for _ in range(n):
                    r.inp(STATUS if kind == "status" else CONTROL, STATUSES[choice % 5])
            case "bm_status":
                for _ in range(n):
                    r.inp(BM_STATUS, [1, 4, 0, UNKNOWN][choice % 4])
            case "stop":
                r.out(BM_COMMAND, 0)
                r.out(BM_STATUS, 6)
            case "word":
                r.add(choice % 2 == 0, DATA, 0, size=[1, 2, 4][n % 3], items=[1, 1, 256, 300, 512][choice % 5])
            case "words":
                for _ in range(n * 128):
                    r.add(choice % 2 == 0, DATA, 0, size=[2, 4][choice % 2])
            case "other":
                r.add(choice % 2 == 0, OTHER_PORTS[choice % 6], choice, items=[1, 1, 1, 7][n - 1])
            case "control":
                r.out(CONTROL, [0x08, 0x0A, 0x0C][choice % 3])
            case "register":
                r.out(0x1F1 + choice % 6, 0xE0)
            case "reset":
                r.inp(0x1F1, 0)
    now, made = 0, []
    for number, row in enumerate(r.rows):
        us, guest_ns, halted = times[number % len(times)]
        now += us * 1000
        made.append(row._replace(at_ns=now, guest_ns=UNKNOWN if guest_ns is None else guest_ns, halted=halted))
    return made


def run(trace: Trace, case: dict[str, Any], engine: str, exact: bool) -> Result:
    drive = {"replay": "ports", "size": "1MiB", "string": case["string"], "cache": case["cache"]}
    others = [{"transfer": "pio", "index": 2}] if case["other_drive"] else []
    described = scenario(
        [drive, *others],
        disks=[{"model": "constant", "service": case["service"], "fault": case["fault"]}],
        run={"log": "ports", "engine": engine, "exact_exits": exact, **case["run"]},
        host={} if case["cpus"] is None else {"cpus": case["cpus"], "slice": "10us"},
        **case["vm"],
    )
    from tests.support import trace as request_trace

    inputs = {(0, 0): trace, (0, 1): request_trace([(5_000, "W", 3, 2), (400_000, "R", 1, 1)])}
    profile = drawn_profile(300) if case["drawn"] else constant_profile(100)
    return run_and_tabulate(described, profile, {key: inputs[key] for key in [(0, 0), (0, 1)][: 1 + len(others)]})


cases = st.fixed_dictionaries(
    {
        "string": st.booleans(),
        "cache": st.sampled_from(["none", "writeback", "directsync"]),
        "other_drive": st.booleans(),
        "service": st.sampled_from(["0s", "90us", "2ms"]),
        "fault": st.sampled_from([[], [], [{"ops": ["write"]}], [{"probability": 0.5}]]),
        "drawn": st.booleans(),
        "cpus": st.sampled_from([None, None, 1, 2]),
        "run": st.sampled_from([{}, {}, {"warmup": "200us", "duration": "1500us"}]),
        "vm": st.fixed_dictionaries(
            {
                "qemu": st.sampled_from(["1.6", "7.2"]),
                "kernel": st.sampled_from(["3.10", "6.1"]),
                "vcpus": st.sampled_from([1, 1, 2]),
                "load": st.sampled_from([None, None, {"share": 0.5, "burst": "50us"}]),
                "background": st.sampled_from([[], [{"reason": "MSR_WRITE", "rate": 50_000.0}]]),
                "event": st.sampled_from(
                    [[], [], [{"at": "300us", "kind": "shutdown"}], [{"at": "200us", "kind": "stop"}],
                     [{"at": "100us", "kind": "stop"}, {"at": "900us", "kind": "cont"}],
                     [{"at": "50us", "kind": "signal", "rate": 100_000.0, "duration": "500us"}]]
                ),
            }
        ),
    }
)  # fmt: skip
times = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 10, 300]),
        st.sampled_from([None, None, 0, 700, 5_000]),
        st.sampled_from([False] * 4 + [True]),
    ),
    min_size=1,
    max_size=7,
)


@given(fragments(), times, st.sampled_from(["auto", "interrupt", "poll"]), cases)
def test_engines_and_modes_are_equal(
    pieces: list[tuple[str, int, int]], at: list[tuple[int, int | None, bool]], completion: str, case: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trace = recorded(rows(pieces, at), Path(folder), completion=completion, other_channel=not case["other_drive"])
    same_with_both_engines(partial(run, trace, case))
