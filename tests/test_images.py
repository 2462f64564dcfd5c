"""Where the images of drives lie on a shared disk, and what happens at the disk's end."""

import pytest

from iosim.model.errors import ScenarioError
from tests.support import Row, constant_profile, scenario, simulate

DRIVES = [{"index": 0, "size": "1000KiB"}, {"index": 2, "size": "1000KiB"}]
HDD = {
    "model": "hdd",
    "cylinders": 20,
    "heads": 1,
    "read_ahead": False,
    "zones": [[0, 200]],
    "seek": [[1, "1ms"], [19, "19ms"]],
}


def test_images_lie_one_behind_the_other() -> None:
    # 200 sectors per cylinder: sector 0 of the second image is sector 2000 of the disk, ten cylinders away.
    first: list[Row] = [(0, "R", 0, 1)]
    second: list[Row] = [(100_000_000, "R", 0, 1)]
    result = simulate(scenario(DRIVES, [HDD]), [first, second], constant_profile())
    near, far = result.requests["disk_service_ns"]
    seek = 10_000_000  # linear between (1, 1 ms) and (19, 19 ms)
    revolution = 60_000_000_000 // 7200
    assert near < revolution + 1_000_000  # overhead, rotation, transfer; the arm is there already
    assert seek < far < seek + revolution + 1_000_000


def test_images_that_do_not_fit_are_refused() -> None:
    rows: list[Row] = [(0, "R", 0, 1)]
    with pytest.raises(ScenarioError) as error:
        simulate(scenario([*DRIVES, {"index": 1, "size": "1KiB"}], [HDD]), rows, constant_profile())
    assert str(error.value) == "host.disk.sda: has 4000 sectors, the images on it need 4002"
