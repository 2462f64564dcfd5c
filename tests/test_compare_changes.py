"""What changed between scenarios: each key with its values, in words that --set understands."""

import copy
import dataclasses
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iosim import scenario_file
from iosim.compare.changes import Change, changes, setting
from iosim.model.errors import ScenarioError
from iosim.model.scenario import Scenario
from iosim.results.result import Result
from iosim.scenario_file import apply_change
from tests.made import Request, result

TEXT = """\
[host]
profile = "vmx-2013"
[[host.disk]]
name = "sda"
model = "ssd"
[[host.disk]]
name = "sd.b"
model = "hdd"
[[vm]]
name = "web"
[[vm.drive]]
disk = "sda"
trace = "a.csv"
[[vm.drive]]
disk = "sd.b"
interface = "virtio-blk"
trace = "b.csv"
[[vm.background]]
reason = "MSR_WRITE"
rate = 20
[[vm]]
name = "db"
[[vm.drive]]
disk = "sda"
trace = "a.csv"
"""


def data(*settings_made: str) -> dict[str, Any]:
    parsed = tomllib.loads(TEXT)
    for change in settings_made:
        apply_change(parsed, change)
    return parsed


def run(described: dict[str, Any] | Scenario, checksums: dict[str, str] | None = None, **profile: Any) -> Result:
    """A result of this scenario; the content of traces and profile is their name unless it is given."""
    checked = described if isinstance(described, Scenario) else scenario_file.check(described, "scenario.toml")
    made = result([Request(0, {})], checked)
    traces = [
        {"vm": vm.name, "drive": n, "trace": d.trace, "sha256": (checksums or {}).get(d.trace, d.trace), "requests": 1}
        for vm in checked.vm
        for n, d in enumerate(vm.drive)
    ]
    summary = made.summary | {
        "traces": traces,
        "profile": made.summary["profile"] | {"sha256": checked.host.profile} | profile,
    }
    return dataclasses.replace(made, summary=summary)


def test_what_cannot_be_printed_is_escaped() -> None:
    assert setting("a\x1b[31m\u202eb") == r'"a\U0000001b[31m\U0000202eb"'


def changed(*settings_made: str) -> list[Change]:
    return changes([run(data()), run(data(*settings_made))])


def test_the_same_scenario_has_no_changes() -> None:
    assert changed() == []


@pytest.mark.parametrize(
    ("setting_made", "expected"),
    [
        ("run.seed=2", Change("run.seed", ("1", "2"))),
        ("run.warmup=5ms", Change("run.warmup", ("0s", "5ms"))),
        ("vm.web.qemu='1.6'", Change("vm.web.qemu", ('"7.2"', '"1.6"'))),
        ("vm.web.count=64", Change("vm.web.count", ("1", "64"))),
        ("vm.web.drive.1.iothread=true", Change("vm.web.drive.1.iothread", ("false", "true"))),
        ("vm.web.drive.0.interface=virtio-blk", Change("vm.web.drive.0.interface", ("ide", "virtio-blk"))),
        ("vm.web.background.0.rate=30.5", Change("vm.web.background.0.rate", ("20.0", "30.5"))),
        ("host.cpus=8", Change("host.cpus", ("-", "8"))),
        ("host.disk.sd.b.rpm=5400", Change("host.disk.sd.b.rpm", ("7200", "5400"))),
        (
            'host.disk.sd.b.seek=[[1, "1ms"], [99999, "9ms"]]',
            Change(
                "host.disk.sd.b.seek",
                (
                    '[[1, "800us"], [1000, "3500us"], [33000, "8500us"], [99999, "18ms"]]',
                    '[[1, "1ms"], [99999, "9ms"]]',
                ),
            ),
        ),
        ("vm.web.drive.0.throttling.iops_total=100", Change("vm.web.drive.0.throttling.iops_total", ("-", "100"))),
    ],
)
def test_a_changed_key_is_named_as_set_names_it(setting_made: str, expected: Change) -> None:
    assert changed(setting_made) == [expected] or changed(setting_made)[0] == expected


def test_elements_that_only_one_has_are_one_change_each() -> None:
    less = data()
    removed = less["vm"].pop()
    del less["vm"][0]["drive"][1]
    assert removed["name"] == "db"
    assert changes([run(data()), run(less)]) == [
        Change("vm.web.drive.1", ("present", "-")),
        Change("vm.db", ("present", "-")),
    ]


def test_keys_are_in_the_order_of_the_scenario() -> None:
    found = changed("vm.db.offset=1ms", "host.cpus=2", "run.seed=2", "vm.web.vcpus=2", "host.disk.sda.units=8")
    keys = ["run.seed", "host.cpus", "host.disk.sda.units", "vm.web.vcpus", "vm.db.offset"]
    assert [change.key for change in found] == keys


def test_three_runs_have_three_values() -> None:
    runs = [run(data(f"vm.db.count={n}", *extra)) for n, extra in ((1, ()), (2, ("host.cpus=4",)), (1, ()))]
    assert changes(runs) == [Change("host.cpus", ("-", "4", "-")), Change("vm.db.count", ("1", "2", "1"))]


# Files: what is in them counts


def test_a_trace_of_another_name_and_the_same_content_is_no_change() -> None:
    moved = data("vm.drive.trace=elsewhere.csv")
    first = run(data(), {"a.csv": "1", "b.csv": "1"})
    assert changes([first, run(moved, {"elsewhere.csv": "1"})]) == []


def test_a_trace_of_the_same_name_and_another_content_is_one() -> None:
    found = changes([run(data(), {"b.csv": "0123456789"}), run(data(), {"b.csv": "abcdefghij"})])
    assert found == [Change("vm.web.drive.1.trace", ("b.csv (01234567)", "b.csv (abcdefgh)"))]


def test_a_trace_of_another_name_and_content_is_named() -> None:
    found = changes([run(data()), run(data("vm.db.drive.0.trace=c.csv"))])
    assert found == [Change("vm.db.drive.0.trace", ("a.csv", "c.csv"))]


def test_a_profile_of_other_costs_is_listed_cost_by_cost() -> None:
    own = data("host.profile=own.toml")
    costs = {f"kvm.cost{n}": 1000.0 for n in range(20)}
    for n, listed in ((1, True), (12, True), (13, False)):
        others = costs | {f"kvm.cost{at}": 2500.0 for at in range(n)}
        runs = [run(own, costs_ns=costs, sha256="0123456789"), run(own, costs_ns=others, sha256="abcdefghij")]
        rows = [Change(f"cost.kvm.cost{at}", ("1.00 us", "2.50 us")) for at in range(n)]
        if not listed:
            rows = [Change("cost", ("as it is", "13 of 20 differ"))]
        assert changes(runs) == [Change("host.profile", ("own.toml (01234567)", "own.toml (abcdefgh)")), *rows]


def test_a_shipped_profile_instead_of_another_is_one_change() -> None:
    runs = [run(data(), sha256="a"), run(data("host.profile=vmx-2017"), sha256="b", costs_ns={"kvm.handle_io": 1.0})]
    assert changes(runs) == [Change("host.profile", ("vmx-2013", "vmx-2017"))]


# Values


@given(
    st.recursive(
        st.text(max_size=6)
        | st.sampled_from(
            ["90us", "7.2", "true", "1", "ide", "-", "1979-05-27", "a b", " x", "x#y", '"q"', "a,b", "[", "inf"]
        )
        | st.integers(-5, 10**6)
        | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=4,
    )
)
@settings(max_examples=200)
def test_a_value_is_read_back_by_set(value: Any) -> None:
    table: dict[str, Any] = {}
    apply_change(table, f"key={setting(value)}")
    assert table["key"] == value
    assert type(table["key"]) is type(value)


SETTINGS = [
    "run.seed=5", "run.warmup=3ms", "host.cpus=4", "host.profile=pvm-nested", "host.disk.sda.units=4",
    "host.disk.sd.b.rpm=5400", "host.disk.sda.flush=1ms", "host.page_cache.size=1GiB", "vm.web.count=3",
    "vm.web.kernel='3.10'", "vm.db.load.share=0.5", "vm.web.drive.0.cache=none", "vm.web.drive.1.queue_size=64",
    "vm.web.drive.1.throttling.iops_total=9", "vm.db.drive.0.transfer=pio", "vm.db.drive.0.replay=closed",
    "host.disk.sd.b.seek=[[1, \"1ms\"], [9, \"9ms\"]]", "vm.web.cpus=[0, 2]",
]  # fmt: skip


@given(st.lists(st.sampled_from(SETTINGS), max_size=6), st.lists(st.sampled_from(SETTINGS), max_size=6))
@settings(max_examples=25)
def test_the_changes_set_on_the_first_scenario_give_the_second(first: list[str], second: list[str]) -> None:
    """Keys that the second leaves out cannot be set; there are none if it has all that the first has."""
    base, other = data(*first), data(*first, *second)
    try:
        runs = [run(base), run(other)]
    except ScenarioError:
        return  # cpus of a VM beyond those of the host
    again = copy.deepcopy(base)
    for change in changes(runs):
        apply_change(again, f"{change.key}={change.values[1]}")
    assert scenario_file.check(again, "again") == runs[1].scenario
