"""A random start of each VM's traces: within its bounds, another for each seed and VM, the same for the VM's drives."""

import numpy as np
from scipy import stats

from iosim.machine import phase_ns
from tests.support import Row, constant_profile, scenario, simulate

ROWS: list[Row] = [(0, "W", 0, 8), (1_000_000, "W", 8, 8)]
MS = 1_000_000


def begins(seed: int, phase: str, count: int = 3) -> list[list[int]]:
    """When the first request of each drive arrives: a list for each of *count* VMs with two drives, 2 ms apart."""
    drives = [{"index": 0}, {"index": 2}]
    described = scenario(drives, run={"seed": seed}, count=count, offset="2ms", phase=phase)
    table = simulate(described, ROWS, constant_profile()).requests
    first = table[table["request"] == 0]
    return [first.loc[first["vm"] == f"web#{k}", "arrival_ns"].tolist() for k in range(count)]


def test_without_a_phase_clones_start_at_their_offsets() -> None:
    assert begins(1, "0s") == [[0, 0], [2 * MS, 2 * MS], [4 * MS, 4 * MS]]


def test_each_clone_starts_within_the_phase_behind_its_offset_and_its_drives_together() -> None:
    for seed in (1, 2):
        own = [[at - 2 * MS * k for at in drives] for k, drives in enumerate(begins(seed, "10ms"))]
        assert all(0 <= first <= 10 * MS and first == second for first, second in own)
        assert len({first for first, _ in own}) == 3


def test_another_seed_is_another_start() -> None:
    assert begins(1, "10ms") == begins(1, "10ms") != begins(2, "10ms")


def test_requests_keep_their_distance() -> None:
    described = scenario(phase="10ms")
    arrivals = simulate(described, ROWS, constant_profile()).requests["arrival_ns"].tolist()
    assert arrivals[1] - arrivals[0] == MS


def test_starts_are_uniform_over_seeds() -> None:
    starts = np.array([phase_ns(seed, "web", 999) for seed in range(2000)])
    assert (starts.min(), starts.max()) == (0, 999)
    counts = np.bincount(starts // 100, minlength=10)
    assert stats.chisquare(counts).pvalue > 0.001
