"""The levels of resources over time: every resource in the same bins."""

from iosim.host.levels import Level, Timeline
from tests.support import scenario, simulate


def test_a_resource_that_is_idle_at_the_end_is_in_the_bins_of_the_whole_run() -> None:
    """Bins of 1 ms reach 1 s, so a run to 1.2 s has bins of 2 ms: what happens 5 ms from the begin is in the third."""
    described = scenario(vms=[{"name": "early", "drive": [{}]}, {"name": "late", "drive": [{}]}])
    series = simulate(described, [[(5_000_000, "R", 0, 8)], [(1_200_000_000, "R", 0, 8)]]).series
    assert (series["end_ns"] - series["start_ns"]).iloc[0] == 2_000_000
    for vm, begin_ns in (("early", 4_000_000), ("late", 1_200_000_000)):
        busy = series[series[f"utilisation {vm}/channel0"] > 0]
        assert busy["start_ns"].tolist() == [begin_ns]
        disk = series.loc[busy.index, "utilisation disk/sda"]
        assert (disk <= busy[f"utilisation {vm}/channel0"]).all()


def test_a_level_may_step_up_and_down_at_the_very_end_of_the_last_bin() -> None:
    """1000 bins of 1 ms end at 1 s: what takes no time there adds nothing, and needs no wider bins."""
    timeline = Timeline()
    level = Level(timeline, "queue")
    level.set(1_000_000_000, 1)
    level.set(1_000_000_000, 0)
    timeline.fold()
    assert (timeline.width_ns, level.area, level.highest, level.bins) == (1_000_000, 0, 1, [])
    level.add(999_999_000, 1_000_000_000)
    timeline.fold()
    assert (timeline.width_ns, level.area, sum(level.bins), len(level.bins)) == (1_000_000, 1000, 1000, 1000)
