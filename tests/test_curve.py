"""Curves over the number of VMs: their points, what runs measured beside them, the table, the picture, the doubts."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from iosim.analytic.curve import Curve, Measured, curve, measured
from iosim.analytic.doubts import doubts
from iosim.analytic.network import Centre, Customers, Network
from iosim.analytic.picture import Quantity, draw
from iosim.analytic.terminal import curve_table
from tests.support import Row, scenario, simulate

MS = 1_000_000


def closed() -> Network:
    """Each VM has one customer: 1 ms at a disk that all share, 3 ms elsewhere."""
    own = Customers("requests", "web", {"disk/sda": 1.0 * MS, "web/vcpu": 3.0 * MS})
    return Network((Centre("disk/sda", 1), Centre("web/vcpu", 1, "web")), (own,))


def open_() -> Network:
    """Each VM sends 100 requests a second of 1 ms."""
    return Network((Centre("disk/sda", 1),), (Customers("requests", "web", {"disk/sda": 1.0 * MS}, rate_per_s=100.0),))


def test_points_and_bends_of_a_closed_network() -> None:
    found = curve(closed(), "web", [8, 1, 2, 2])
    assert [point.vms for point in found.points] == [1, 2, 8]
    assert [point.bounds.throughput_per_s for point in found.points] == pytest.approx([250, 500, 1000])
    assert [point.bounds.limit for point in found.points] == ["customers", "customers", "disk/sda"]
    # N* = 4 ms / 1 ms: there the bounds bend, and the line has a point of its own.
    assert found.saturation is not None
    assert found.saturation[0] == "disk/sda"
    assert found.saturation[1] == pytest.approx(4.0)
    assert [vms for vms, _, _ in found.bound_line] == pytest.approx([1, 2, 4, 8])
    assert [per_s for _, per_s, _ in found.bound_line] == pytest.approx([250, 500, 1000, 1000])
    assert [ns / MS for _, _, ns in found.bound_line] == pytest.approx([4, 4, 4, 8])
    # Two customers by hand: the disk has a second one for a quarter of the time.
    assert found.points[1].estimate.response_ns / MS == pytest.approx(3 + 1 * 1.25)
    assert found.method == "exact mean-value analysis"


def test_the_bounds_of_several_runs_are_those_of_the_least() -> None:
    other = Network(closed().centres, (Customers("requests", "web", {"disk/sda": 0.5 * MS, "web/vcpu": 3.0 * MS}),))
    found = curve(closed(), "web", [20], [other])
    assert found.points[0].bounds.throughput_per_s == pytest.approx(2000)
    assert found.points[0].estimate.throughput_per_s == pytest.approx(1000, rel=1e-3)


# Runs


def test_closed_replay_is_measured_while_all_are_at_work() -> None:
    """VM 1 begins 20 ms after VM 0, which is through with its 40 requests before VM 1 is."""
    rows: list[Row] = [(0, "W", 8 * n, 8) for n in range(400)]
    result = simulate(scenario([{"replay": "closed"}], count=2, offset="20ms"), rows)
    table = result.requests
    first, second = (table[table["vm"] == f"web#{k}"] for k in (0, 1))
    begin, end = int(second["arrival_ns"].min()), int(first["done_ns"].max())
    assert 20 * MS == begin < end < int(second["done_ns"].max())
    during = table[(table["done_ns"] >= begin) & (table["done_ns"] <= end)]
    found = measured(result, "web")
    assert found.vms == 2
    assert found.throughput_per_s == pytest.approx(len(during) / (end - begin) * 1e9)
    assert found.response_ns == pytest.approx(float(during["latency_ns"].mean()))
    # Little's law for two customers, but for a request at each end.
    assert found.throughput_per_s * found.response_ns / 1e9 == pytest.approx(2, rel=0.01)


def test_open_replay_is_measured_from_the_warmup_to_the_end() -> None:
    rows: list[Row] = [(n * MS, "W", 8 * n, 8) for n in range(10)]
    result = simulate(scenario(run={"warmup": "2500us", "duration": "20ms"}), rows)
    found = measured(result, "web")
    assert found.throughput_per_s == pytest.approx(7 / 0.0175)
    assert found.response_ns == pytest.approx(result.summary["latency_ns"]["mean"])


def test_drives_that_never_work_at_once_are_measured_over_the_whole_run() -> None:
    rows: list[Row] = [(0, "W", 8 * n, 8) for n in range(5)]
    result = simulate(scenario([{"replay": "closed"}], count=2, offset="50ms"), rows)
    found = measured(result, "web")
    assert found.throughput_per_s == pytest.approx(10 / result.summary["end_ns"] * 1e9)


def test_a_run_without_requests_measures_no_response_time() -> None:
    result = simulate(scenario(run={"duration": "1us"}), [(MS, "W", 0, 8)])
    found = measured(result, "web")
    assert found.throughput_per_s == 0
    assert math.isnan(found.response_ns)


# Table


def shown(found: Curve, runs: list[Measured]) -> str:
    console = Console(width=100, record=True, force_terminal=False)
    with console.capture() as captured:
        console.print(curve_table(found, runs))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def test_table_of_a_closed_network() -> None:
    # Exactly: R(1) = 4 ms, R(2) = 4.25 ms; with 8 customers the disk is nearly always busy.
    runs = [Measured(1, 249.0, 4.0 * MS), Measured(8, 990.0, 8.5 * MS)]
    assert shown(curve(closed(), "web", [1, 2, 8]), runs) == (
        "Throughput (requests/s) and mean response time (ms)\n"
        "VMs  bound  estimate  simulated  bound (ms)  estimate  simulated  off  limit\n"
        "  1    250       250        249        4.00      4.00       4.00  +0%  customers\n"
        "  2    500       471          -        4.00      4.25          -    -  customers\n"
        "  8  1,000       992        990        8.00      8.07       8.50  -5%  disk/sda\n"
        "disk/sda saturates at 4.00 VMs; the estimate is exact mean-value analysis"
    )


def test_table_beyond_the_saturation_of_an_open_network() -> None:
    # M/M/1 at 0.5: 2 ms. With 12 VMs more come than can be served.
    assert shown(curve(open_(), "web", [5, 12]), [Measured(12, 998.0, 90.0 * MS)]) == (
        "Throughput (requests/s) and mean response time (ms)\n"
        "VMs  bound  estimate  simulated  bound (ms)  estimate  simulated  off  limit\n"
        "  5    500       500          -        1.00      2.00          -    -  arrivals\n"
        " 12  1,000         -        998        1.00         -       90.0    -  disk/sda\n"
        "disk/sda saturates at 10.0 VMs; the estimate is approximate mean-value analysis"
    )


# Picture


class Drawn:
    """A picture: the points of each line by its entry in the legend, and what stands at the axes."""

    def __init__(self, found: Curve, quantity: Quantity, runs: list[Measured]) -> None:
        axes = Figure().subplots()
        draw(axes, found, quantity, runs)
        legend = axes.get_legend()
        assert legend is not None
        named = {text.get_text() for text in legend.get_texts()}
        self.lines = {str(line.get_label()): np.asarray(line.get_xydata()) for line in axes.get_lines()}
        assert named <= set(self.lines)
        self.labels = (axes.get_xlabel(), axes.get_ylabel())
        self.limits = axes.get_ylim()


def test_picture_of_throughput() -> None:
    runs = [Measured(1, 249.0, 4.0 * MS), Measured(8, 990.0, 8.5 * MS, throughput_interval=(970.0, 1200.0))]
    found = Drawn(curve(closed(), "web", [1, 2, 8]), "throughput", runs)
    bound = found.lines["bound: not above"]
    assert bound == pytest.approx(np.array([(1, 250), (2, 500), (4, 1000), (8, 1000)]))
    assert found.lines["estimate: exact mean-value analysis"][:, 0].tolist() == [1, 2, 8]
    assert found.lines["simulated"].tolist() == [[1, 249], [8, 990]]
    assert found.lines["disk/sda saturates at 4.00 VMs"][:, 0] == pytest.approx(np.array([4, 4]))
    assert found.labels == ("VMs (web)", "throughput (requests/s)")
    assert found.limits[0] == 0
    assert found.limits[1] > 1200  # the end of the interval


def test_picture_of_response_times_is_in_the_unit_of_the_longest() -> None:
    runs = [Measured(12, 998.0, 90.0 * MS, response_interval=(80.0 * MS, 100.0 * MS))]
    found = Drawn(curve(open_(), "web", [1, 5, 12]), "response", runs)
    assert found.lines["bound: not below"] == pytest.approx(np.array([(1, 1), (5, 1), (10, 1), (12, 1)]))
    # The estimate ends where the disk is overloaded: M/M/1 at 0.1 and 0.5.
    assert found.lines["estimate: approximate mean-value analysis"] == pytest.approx(np.array([(1, 1 / 0.9), (5, 2)]))
    assert found.lines["simulated"].tolist() == [[12, 90]]
    assert found.labels == ("VMs (web)", "mean response time (ms)")
    assert 0 < found.limits[0] < 1  # a logarithmic axis, as 100 ms is more than 30 times 1 ms
    assert found.limits[1] > 100


# Doubts


def evenly(n: int = 30, gap_ns: int = MS) -> list[Row]:
    return [(k * gap_ns, "R", 8 * k, 8) for k in range(n)]


def test_doubts_about_even_arrivals_and_a_constant_disk() -> None:
    runs = {n: simulate(scenario(count=n, offset="111us"), evenly(gap_ns=500_000)) for n in (1, 4)}
    assert doubts(runs) == [
        "Requests of web drive 0 come more evenly than unrelated ones (squared coefficient of variation of the gaps 0, "
        "not 1): they wait for less than estimated.",
        "The time that disk/sda takes varies less than the estimate assumes (exponential): who queues for it waits for "
        "less.",
    ]


def test_doubts_about_bursts_of_vms_that_do_the_same_at_the_same_time() -> None:
    rows: list[Row] = [(k // 10 * 100 * MS + k % 10 * 1000, "R", 8 * k, 8) for k in range(30)]
    found = doubts({2: simulate(scenario(count=2), rows)})
    # 27 gaps of 1 us and two of 99.991 ms: their squared coefficient of variation is about 29 / 2 - 1.
    assert found == [
        "Requests of web drive 0 come in bursts (the squared coefficient of variation of the gaps is 13.5, that of "
        "unrelated requests 1): they wait for longer than estimated.",
        "All VMs of web replay the same trace at the same times (offset is 0): they meet far more often than unrelated "
        "VMs, which the estimate takes them for.",
    ]


def test_doubts_about_demands_that_change_with_the_load() -> None:
    """A flash unit serves what comes to it one after the other: the time of an operation contains that."""
    rows: list[Row] = [(n * 10_000, "R", 0, 8) for n in range(40)]
    disks = [{"model": "ssd", "units": 1, "servers": 64}]
    runs = {n: simulate(scenario([{"replay": "closed"}], disks, count=n, offset="1us"), rows) for n in (1, 8)}
    (found,) = [doubt for doubt in doubts(runs) if doubt.startswith("A request")]
    # Overhead, read and transfer of a page: 10 + 60 + 5 us.
    assert found.startswith("A request of web/drive0 takes 75.0 us of disk/sda with 1 of the VMs and ")
    assert found.endswith(" us with 8; the estimate has the first.")


def test_no_doubt_where_nothing_speaks_against_the_assumptions() -> None:
    result = simulate(scenario([{"replay": "closed"}]), evenly(5))
    assert [doubt for doubt in doubts({1: result}) if "varies less" not in doubt] == []
