"""Random draws depend on who asks, and on nothing else: shown on numbers, and on whole runs."""

import numpy as np
import pandas as pd
import pytest

from iosim.model import draws
from iosim.results.result import Result
from tests.support import STAGES, Row, drawn_profile, same, scenario, simulate

MS = 1_000_000


def test_finaliser_is_that_of_splitmix64() -> None:
    # The published sequence of splitmix64 from seed 0: the finaliser of the golden ratio's multiples.
    golden = 0x9E3779B97F4A7C15
    assert [draws.mix(k * golden % 2**64) for k in (1, 2, 3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_array_of_draws_equals_the_single_draws() -> None:
    identity, what = draws.identity(draws.source(7, "web", "drive 0"), 3), draws.name_hash("kvm.handle_io")
    many = draws.draw_many(identity, what, np.arange(50, dtype=np.uint64))
    assert many.tolist() == [draws.draw(identity, what, k) for k in range(50)]


@pytest.mark.parametrize(
    "other",
    [
        draws.identity(draws.source(8, "web", "drive 0"), 3),
        draws.identity(draws.source(7, "db", "drive 0"), 3),
        draws.identity(draws.source(7, "web", "drive 1"), 3),
        draws.identity(draws.source(7, "web", "drive 0"), 4),
    ],
)
def test_every_part_of_the_identity_counts(other: int) -> None:
    mine, what = draws.identity(draws.source(7, "web", "drive 0"), 3), draws.name_hash("kvm.handle_io")
    assert draws.draw(mine, what, 0) != draws.draw(other, what, 0)
    assert draws.draw(mine, what, 0) != draws.draw(mine, what, 1)
    assert draws.draw(mine, what, 0) != draws.draw(mine, draws.name_hash("kvm.fast_pio"), 0)


def test_draws_of_neighbours_are_uniform_and_uncorrelated() -> None:
    source, what = draws.source(1, "web", "drive 0"), draws.name_hash("kvm.handle_io")
    numbers = np.array([draws.draw(draws.identity(source, n), what, 0) for n in range(20_000)]) / 2.0**64
    # Standard errors: 0.289 / sqrt(20,000) = 0.002 for the mean, 1 / sqrt(20,000) = 0.007 for the correlation.
    assert abs(numbers.mean() - 0.5) < 0.008
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.028
    assert np.histogram(numbers, 10, (0, 1))[0].min() > 1_800


def test_subject_numbers_its_draws_by_what_they_are_for() -> None:
    subject = draws.Subject(1)
    assert [subject.take(5), subject.take(5, 3), subject.take(6), subject.take(5)] == [0, 1, 0, 4]


# Whole runs. Requests are 50 ms apart: each finds the machine idle, so what it takes is its own draws.

ROWS: list[Row] = [(n * 50 * MS, "RW"[n % 2], 8 * n, 8) for n in range(12)]
BETWEEN: list[Row] = [(n * 50 * MS + 25 * MS, "W", 800 + n, 1) for n in range(12)]


def stages(result: Result, vm: str = "web", first: int = 0, last: int = 11) -> pd.DataFrame:
    table = result.requests
    chosen = table[(table["vm"] == vm) & (table["drive"] == 0) & table["request"].between(first, last)]
    return chosen[[*STAGES, "exits"]].reset_index(drop=True)


def equal(left: pd.DataFrame, right: pd.DataFrame) -> None:
    assert len(left) > 0
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def alone(transfer: str = "dma") -> Result:
    return simulate(scenario([{"transfer": transfer}]), ROWS, drawn_profile())


def test_requests_of_one_run_draw_differently() -> None:
    assert alone().requests["latency_ns"].nunique() == 12


@pytest.mark.parametrize("transfer", ["pio", "dma"])
def test_another_vm_does_not_change_the_draws(transfer: str) -> None:
    drives = [{"transfer": transfer, "trace": "test.csv"}]
    both = simulate(
        scenario(vms=[{"name": "db", "drive": drives}, {"name": "web", "drive": drives}]),
        [BETWEEN, ROWS],
        drawn_profile(),
    )
    equal(stages(alone(transfer)), stages(both))


@pytest.mark.parametrize("transfer", ["pio", "dma"])
def test_another_drive_does_not_change_the_draws(transfer: str) -> None:
    both = simulate(
        scenario([{"transfer": transfer, "index": 0}, {"transfer": "dma", "index": 2}]),
        [ROWS, BETWEEN],
        drawn_profile(),
    )
    # The main loop is woken for whatever is ready: its wake-ups are its own draws, numbered by its own count.
    equal(stages(alone(transfer)).drop(columns="completion_wait_ns"), stages(both).drop(columns="completion_wait_ns"))


def test_later_requests_do_not_change_the_draws_of_earlier_ones() -> None:
    fewer = simulate(scenario([{"transfer": "dma"}]), ROWS[:5], drawn_profile())
    equal(stages(alone(), last=4), stages(fewer))


def test_another_operation_in_front_does_not_change_the_draws() -> None:
    changed = simulate(scenario([{"transfer": "dma"}]), [ROWS[0], (50 * MS, "F", 0, 0), *ROWS[2:]], drawn_profile())
    equal(stages(alone(), first=2), stages(changed, first=2))


def test_another_cost_does_not_shift_the_draws() -> None:
    dearer = drawn_profile(constant=["worker.dequeue"])
    changed = simulate(scenario([{"transfer": "dma"}]), ROWS, dearer)
    columns = [name for name in STAGES if name not in ("aio_worker_ns",)]
    equal(stages(alone())[columns], stages(changed)[columns])
    assert (stages(alone())["aio_worker_ns"] != stages(changed)["aio_worker_ns"]).any()


def test_same_seed_gives_the_same_tables() -> None:
    same(alone(), alone())


def test_another_seed_gives_other_latencies() -> None:
    other = simulate(scenario([{"transfer": "dma"}], run={"seed": 2}), ROWS, drawn_profile())
    assert (alone().requests["latency_ns"] != other.requests["latency_ns"]).all()
