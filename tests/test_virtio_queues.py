"""Several queues of a virtio-blk device: each vCPU has its ring, its doorbell and its interrupts."""

from typing import Any

import pytest

from iosim.results.result import Result
from tests.support import Row, scenario, simulate
from tests.test_timelines import stages
from tests.test_virtio_timelines import ONE

both_modes = pytest.mark.parametrize("exact", [False, True], ids=["coalesced", "exact"])
ROWS: list[Row] = [(1_000_000 * (k + 1), "W", 80 * k, 8) for k in range(4)]


def run(exact: bool, rows: list[Row], drive: dict[str, Any] | None = None, **vm: Any) -> Result:
    described = scenario([{"interface": "virtio-blk", **(drive or {})}], run={"exact_exits": exact}, **vm)
    return simulate(described, rows)


def kicks(result: Result) -> dict[int, int]:
    """Exits of the doorbell by vCPU."""
    table = result.exits[result.exits["reason"] == "EPT_MISCONFIG"]
    return dict(zip(table["vcpu"].tolist(), table["count"].tolist(), strict=True))


@both_modes
@pytest.mark.parametrize(
    ("drive", "expected"),
    [
        pytest.param({}, {0: 2, 1: 1, 2: 1}, id="a queue for each vCPU by default"),
        pytest.param({"num_queues": 2}, {0: 2, 1: 2}, id="two queues"),
        pytest.param({"num_queues": 1}, {0: 4}, id="one queue"),
        pytest.param({"num_queues": 8}, {0: 2, 1: 1, 2: 1}, id="more queues than vCPUs"),
        pytest.param({"vcpu": 2}, {2: 4}, id="all requests on one vCPU"),
    ],
)
def test_requests_come_on_the_vcpus_of_the_queues_in_turn(
    drive: dict[str, Any], expected: dict[int, int], exact: bool
) -> None:
    result = run(exact, ROWS, drive, vcpus=3)
    assert kicks(result) == expected
    # The same way on every vCPU.
    assert stages(result.requests.iloc[0]) == ONE
    assert result.requests["latency_ns"].nunique() == 2  # the first finds the pool cold
    assert result.requests["irqs"].tolist() == [1] * 4


# Both come at the same instant. On one vCPU they are one batch with one kick, and one operation of neighbours; on two
# each has its own kick.
@both_modes
def test_queues_do_not_wait_for_each_other(exact: bool) -> None:
    rows: list[Row] = [(1_000_000, "W", 0, 8), (1_000_000, "W", 8, 8)]
    one, two = run(exact, rows, {"num_queues": 1}, vcpus=2), run(exact, rows, vcpus=2)
    assert (kicks(one), kicks(two)) == ({0: 1}, {0: 1, 1: 1})
    assert one.requests["exits"].tolist() == [1, 0]
    assert two.requests["exits"].tolist() == [1, 1]
    assert two.requests["submit_wait_ns"].iloc[1] < one.requests["submit_wait_ns"].iloc[1]
