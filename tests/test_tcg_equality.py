"""The Linux guest recorded under emulation: counts and order equal, run by run (tools/tcg_equality.py)."""

from pathlib import Path

import pytest

from tools import tcg_equality

RECORDINGS = Path(__file__).parents[2] / "shared" / "traces" / "recordings" / "public"
RUNS = tcg_equality.runs(RECORDINGS)
needs_recordings = pytest.mark.skipif(not RUNS, reason="needs the recordings in ../shared")
QUICK = [run for run in RUNS if run.name[:4] in ("dma_", "virt") and "_b_" not in run.name]
QUICK += [run for run in RUNS if run.name.startswith(("pio32_seq_none_threads_a", "pio32_seq_writethrough_threads_a"))]
"""Without second repetitions, and without most runs in PIO mode with their many words: those compares the script."""


@needs_recordings
def test_every_recorded_run_is_compared() -> None:
    assert len(RUNS) == 56
    assert {run.folder.parent.name for run in RUNS} == set(tcg_equality.FOLDERS)


@needs_recordings
@pytest.mark.parametrize("run", QUICK, ids=lambda run: run.name)
def test_the_model_does_what_was_recorded(run: tcg_equality.Run) -> None:
    found = tcg_equality.compare_virtio(run) if run.is_virtio else tcg_equality.compare_ide(run)
    assert found.differences == []
    assert found.interrupts >= found.commands > 100


@needs_recordings
def test_replayed_port_accesses_are_the_recorded_ones(tmp_path: Path) -> None:
    (run,) = (run for run in RUNS if run.name == "dma_seq_none_threads_full")
    found = tcg_equality.compare_ports(run, tmp_path)
    assert found.differences == []
    assert (found.commands, found.accesses, found.interrupts) == (272, 6_848, 272)


def test_a_difference_is_named_by_its_first_place() -> None:
    found = tcg_equality.Comparison("run", "driver", commands=2)
    found.same_order("accesses", ["a", "b", "c"], ["a", "x", "c"])
    found.same_order("accesses", ["a", "b"], ["a"])
    found.same_order("accesses", ["a"], ["a"])
    found.same("interrupts", 2, 3)
    assert found.differences == [
        "accesses: number 1 of 3 is b, simulated x",
        "number of accesses: recorded 2, simulated 1",
        "interrupts: recorded 2, simulated 3",
    ]
    assert "no: accesses: number 1 of 3" in tcg_equality.table([found])
    assert "0 of 1 comparisons are equal." in tcg_equality.table([found])
