"""Models of disks fitted to recordings: what went into a made recording comes out, within the errors that are given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iosim.disk.build import disk_model
from iosim.disk.empirical import load_empirical
from iosim.disk.ssd import Ssd, SsdConfig
from iosim.drives import command_fit, drive_fit, seek_fit, ssd_fit
from iosim.drives.disk_file import checked
from iosim.drives.empirical_table import LEAST, groups, to_csv
from iosim.drives.hdd_table import simplified
from iosim.drives.judge import judge
from iosim.drives.replay import replay
from iosim.drives.services import Services
from iosim.model.errors import TraceError
from iosim.model.units import parse_ns
from iosim.validate import demerit_ns
from tests import drive_recordings as made

RECORDED = made.recorded(1_000, seed=3)
HELD_OUT = made.recorded(1_000, seed=4)


def within(value: float, true: float, error: float, least: float = 0.0) -> bool:
    """Four standard errors; *least* where the error is smaller than what it leaves out."""
    return abs(value - true) <= max(4 * error, least)


# Overheads and bus


def test_overheads_of_reported_writes_are_found() -> None:
    assert command_fit.written_back(RECORDED)
    fitted = command_fit.fit(RECORDED, RECORDED.of("W"))
    assert fitted is not None
    found = (fitted.after_read_ns, fitted.after_write_ns, fitted.sector_ns)
    for value, true, error in zip(found, (*made.WRITE_MS, made.BUS_MS), fitted.errors, strict=True):
        assert 0 < error < 1_000
        assert within(value, true * 1e6, error)
    assert fitted.rms_ns == pytest.approx(2_000, rel=0.2)


def test_drive_that_writes_through_is_recognised() -> None:
    assert not command_fit.written_back(made.recorded(1_500, seed=5, back=False))


@pytest.mark.parametrize("sector_ns", [None, made.BUS_MS * 1e6])
def test_reads_from_the_buffer_are_found(sector_ns: float | None) -> None:
    hits = command_fit.hits(RECORDED, sector_ns)
    assert np.array_equal(hits, RECORDED.of("R") & RECORDED.sequential)


def test_there_are_no_hits_in_random_reads() -> None:
    assert not command_fit.hits(RECORDED[RECORDED.of("R") & ~RECORDED.sequential], made.BUS_MS * 1e6).any()


def test_too_few_requests_are_not_fitted() -> None:
    assert command_fit.fit(RECORDED, np.arange(len(RECORDED)) < 9) is None


# Rotation and seek


def test_rotation_and_seek_are_found() -> None:
    far = RECORDED.of("R") & ~RECORDED.sequential
    medium = RECORDED.service_ns[far] - RECORDED.sectors[far] * made.BUS_MS * 1e6
    fitted = seek_fit.fit(RECORDED.distance[far], medium, made.SPAN)
    assert within(fitted.revolution_ns, made.REVOLUTION_MS * 1e6, fitted.errors[0])
    assert fitted.errors[0] < 0.03 * fitted.revolution_ns
    assert within(fitted.base_ns, (made.MISS_MS + made.SHORTEST_MS) * 1e6, fitted.errors[1])
    # Root, line and border trade against each other; the curve that they make is what counts.
    distances = np.linspace(0.02, 0.9, 9) * made.SPAN
    curve = fitted.base_ns + fitted.beyond_ns(distances)
    true = (made.MISS_MS + made.SHORTEST_MS + made.seek_ms(distances)) * 1e6
    assert np.max(np.abs(curve - true)) < 0.06 * true.max()


# A whole drive


@pytest.fixture(scope="module")
def fitted() -> drive_fit.DriveFit:
    return drive_fit.fit(RECORDED)


def model_of(disk: dict[str, Any]) -> Any:
    return disk_model(checked({"name": "sda", **disk}, "x"), Path())


def test_fitted_drive_is_near_to_what_it_has_not_seen(fitted: drive_fit.DriveFit) -> None:
    model = model_of(fitted.disk)
    found = {one.name: one for one in judge(model, HELD_OUT)}
    assert found["reads, other"].demerit_ns < 0.05 * found["reads, other"].measured_ns["mean"]
    assert found["writes, other"].demerit_ns < 20_000
    # Two recordings of the drive differ as well: half of the requests are fast, in one of them a few more.
    assert found["all requests"].demerit_ns < 2 * demerit_ns(RECORDED.service_ns, HELD_OUT.service_ns)


def test_fitted_drive_has_the_figures_and_their_errors(fitted: drive_fit.DriveFit) -> None:
    rows = {row.name: row for row in fitted.parameters}
    assert within(float(rows["rpm"].value), 7200, float(rows["rpm"].error))
    assert parse_ns(fitted.disk["read_hit"][0]) == pytest.approx(made.HIT_MS[0] * 1e6, rel=0.02)
    assert parse_ns(fitted.disk["write"][1]) == pytest.approx(made.WRITE_MS[1] * 1e6, rel=0.02)
    assert fitted.disk["write_back"] is True
    assert all(row.how for row in rows.values())


def test_same_recording_gives_the_same_fit(fitted: drive_fit.DriveFit) -> None:
    assert drive_fit.fit(RECORDED).disk == fitted.disk


def test_simple_model_has_the_same_mechanics(fitted: drive_fit.DriveFit) -> None:
    simple = simplified(fitted).disk
    assert (simple["model"], simple["rpm"], simple["bus_rate"]) == ("hdd", fitted.disk["rpm"], fitted.disk["bus_rate"])
    total = judge(model_of(simple), HELD_OUT)[0]
    assert total.demerit_ns < 0.1 * total.measured_ns["mean"]


def test_drive_that_writes_through_is_fitted_too() -> None:
    through = made.recorded(1_000, seed=5, back=False)
    disk = drive_fit.fit(through).disk
    assert disk["write_back"] is False
    found = {one.name: one for one in judge(model_of(disk), made.recorded(1_500, seed=6, back=False))}
    assert found["writes, other"].demerit_ns < 0.1 * found["writes, other"].measured_ns["mean"]


def test_recording_without_random_reads_is_refused() -> None:
    with pytest.raises(TraceError, match=r"made: has 0 reads far from the request before .* need 100"):
        drive_fit.fit(RECORDED[RECORDED.of("W")])


# ssd

FLASH = SsdConfig(4, 8, 256, 60_000, 250_000, 0, 5_000, 12_000, 0)


def flash(n: int, buffer_pages: int = 0) -> Services:
    """Requests one by one, far apart in time: their times follow from the parameters by arithmetic."""
    rng = np.random.default_rng(8)
    op = (rng.random(n) < 0.5).astype(np.uint8)
    pages = rng.choice([1, 2, 4, 8, 16], n)
    rounds = -(-pages // FLASH.units)
    read = FLASH.overhead_ns + rounds * (FLASH.read_ns + FLASH.transfer_ns)
    program = FLASH.overhead_ns + rounds * (FLASH.program_ns + FLASH.transfer_ns) * (buffer_pages == 0)
    service = np.where(op == 0, read, program)
    start = np.arange(n, dtype=np.int64) * 100_000_000
    return Services(op, rng.integers(0, 10_000, n) * 8, pages * 8, start, start + service, "made")


def test_ssd_has_the_times_that_the_arithmetic_has() -> None:
    recorded = flash(200)
    model = Ssd(FLASH)
    assert np.array_equal(replay(model, recorded), recorded.service_ns)


def test_parameters_of_an_ssd_are_found() -> None:
    disk = ssd_fit.fit(flash(800)).disk
    assert disk["units"] == FLASH.units
    assert [parse_ns(disk[key]) for key in ("overhead", "read", "program")] == pytest.approx(
        [FLASH.overhead_ns, FLASH.read_ns, FLASH.program_ns], abs=2
    )


def test_write_buffer_of_an_ssd_is_found() -> None:
    disk = ssd_fit.fit(flash(800, buffer_pages=64)).disk
    assert (disk["units"], disk["program"], disk["write_buffer"]) == (FLASH.units, "250us", ssd_fit.BUFFER)


def test_programs_behind_a_write_buffer_keep_up_with_the_recording() -> None:
    recorded = flash(800, buffer_pages=64)
    start = recorded.start_ns // 10_000  # one request every 10 us
    dense = Services(recorded.op, recorded.sector, recorded.sectors, start, start + recorded.service_ns, "made")
    disk = ssd_fit.fit(dense).disk
    pages = int(recorded.sectors[recorded.of("W")].sum()) // 8
    assert parse_ns(disk["program"]) == int(FLASH.units * dense.end_ns.max() / 2 / pages) - 5_000


def test_ssd_needs_reads_and_writes() -> None:
    recorded = flash(800)
    with pytest.raises(TraceError, match=r"made: has no size of W with 20 requests"):
        ssd_fit.fit(recorded[recorded.of("R")])


# empirical


def test_groups_are_by_operation_access_and_size() -> None:
    found = groups(RECORDED)
    assert [(group.op, group.access) for group in found if group.sectors == 4] == [
        ("R", "sequential"),
        ("R", "random"),
        ("W", "random"),
    ]
    assert sum(len(group.service_ns) for group in found) == len(RECORDED)
    assert all(len(group.service_ns) >= LEAST for group in found)


def test_sizes_with_few_requests_are_put_together() -> None:
    n = 3 * LEAST
    sectors = np.r_[np.full(LEAST, 4), np.arange(8, 8 + LEAST), np.full(LEAST - 1, 100), 5_000]
    start = np.arange(2 * n, dtype=np.int64) * 1_000
    both = Services(np.repeat([0, 1], n).astype(np.uint8), start * 1_000, np.tile(sectors, 2), start, start + 5, "made")
    found = [group for group in groups(both) if group.op == "R"]
    assert [(group.sectors, len(group.service_ns)) for group in found] == [
        (4, LEAST),
        (round(sum(range(8, 8 + LEAST)) / LEAST), LEAST),
        (round((100 * (LEAST - 1) + 5_000) / LEAST), LEAST),
    ]


def test_empirical_table_draws_what_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(to_csv(groups(RECORDED)), encoding="utf-8")
    model = load_empirical(tmp_path / "t.csv", 0, "x")
    found = {one.name: one for one in judge(model, RECORDED)}
    assert found["reads, other"].ks < 0.05
    assert found["all requests"].demerit_ns < 0.05 * found["all requests"].measured_ns["mean"]


def test_empirical_table_needs_reads_and_writes() -> None:
    with pytest.raises(TraceError, match=r"made: has no service times of W, which model = empirical needs"):
        groups(RECORDED[RECORDED.of("R")])


# Replay


def test_replay_is_a_closed_loop_with_the_recorded_think_times() -> None:
    class Clock:
        """A disk that notes when it is asked, and takes 10 ns for each sector."""

        draws = False

        def initial(self) -> list[int]:
            return []

        def service(self, state: list[int], io: Any, now_ns: int, draw: int) -> tuple[int, list[int]]:
            asked.append(now_ns)
            return 10 * io.sectors, state

    asked: list[int] = []
    columns = [np.array(column, dtype=np.int64) for column in ([0, 0, 0, 0], [1, 2, 3, 4])]
    start, end = np.array([0, 100, 140, 500]), np.array([50, 200, 210, 600])
    recorded = Services(columns[0].astype(np.uint8), columns[0], columns[1], start, end, "made")
    # 10 ns, then 50 ns of thought; the third comes 40 ns behind the second, which is done; the last thinks for 290 ns.
    assert replay(Clock(), recorded).tolist() == [10, 20, 30, 40]
    assert asked == [0, 60, 100, 420]


def test_request_that_comes_early_waits_for_a_server() -> None:
    class Slow:
        draws = False

        def initial(self) -> None:
            return

        def service(self, state: None, io: Any, now_ns: int, draw: int) -> tuple[int, None]:
            return 100, None

    zeros = np.zeros(3, dtype=np.int64)
    start = np.array([0, 10, 20])
    recorded = Services(zeros.astype(np.uint8), zeros, zeros + 1, start, start + 100, "made")
    assert replay(Slow(), recorded).tolist() == [100, 190, 280]
    assert replay(Slow(), recorded, servers=2).tolist() == [100, 100, 180]
    assert replay(Slow(), recorded, servers=3).tolist() == [100, 100, 100]
