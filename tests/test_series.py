"""The levels of resources over time: every resource in the same bins."""

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
