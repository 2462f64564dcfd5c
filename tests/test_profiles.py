"""Shipped profiles: a figure for every cost, with unit, source and kind; the measured one as its tool derives it."""

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from iosim.model.catalogue import CATALOGUE
from iosim.model.costs import KINDS, load_profile, shipped_profiles

PROJECT = Path(__file__).parents[1]
PROFILES = ["pvm-nested", "vmx-2013", "vmx-2017"]
RECORDINGS = PROJECT.parent / "shared" / "traces" / "recordings" / "public"
needs_recordings = pytest.mark.skipif(not RECORDINGS.exists(), reason="needs the recordings in ../shared")


def written(name: str) -> dict[str, dict[str, Any]]:
    """The figures as they stand in the file, by key."""
    data = tomllib.loads((PROJECT / "iosim" / "profiles" / f"{name}.toml").read_text(encoding="utf-8"))
    return {f"{group}.{key}": figure for group, members in data["cost"].items() for key, figure in members.items()}


def times(value: Any) -> list[str]:
    """Every time that a figure is made of."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [
            t
            for key in ("value", "quantiles", "mixture", "mean", "median", "low", "high")
            for t in times(value.get(key))
        ]
    if isinstance(value, list):
        return [t for entry in value for t in times(entry)]
    return []


def test_shipped_profiles_are_these() -> None:
    assert shipped_profiles() == PROFILES


@pytest.mark.parametrize("name", PROFILES)
def test_every_cost_of_the_model_has_a_figure_with_unit_source_and_kind(name: str) -> None:
    figures = written(name)
    assert sorted(figures) == sorted(CATALOGUE)
    for key, figure in figures.items():
        assert figure["kind"] in KINDS, key
        assert len(figure["source"]) > 5, key
        given = times(figure)
        assert bool(given) == (figure["kind"] != "included"), key
        assert all(text.endswith(("ns", "us", "ms", " cycles")) for text in given), key


@pytest.mark.parametrize("name", PROFILES)
def test_profile_loads_and_says_which_machine_it_stands_for(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert sum(profile.counts_by_kind().values()) == len(CATALOGUE)
    assert all(len(text) > 10 for text in (profile.title, profile.machine, profile.origin))


@pytest.mark.parametrize("name", PROFILES)
def test_figure_without_a_source_is_marked_as_assumed_and_no_other(name: str) -> None:
    for key, figure in written(name).items():
        says_so = figure["source"].startswith(("no measurement", "no source"))
        assert figure["kind"] == "assumed" or not says_so, key
        if figure["kind"] in ("published", "measured"):
            assert "assume" not in figure["source"], key


def test_measured_figures_are_tables_that_name_the_size_of_the_sample() -> None:
    measured = {key: figure for key, figure in written("pvm-nested").items() if figure["kind"] == "measured"}
    assert len(measured) > 25
    for key, figure in measured.items():
        assert "quantiles" in figure, key
        assert "; n = " in figure["source"], key


def test_wake_ups_of_a_vcpu_have_two_modes() -> None:
    # domain.md and the recordings: a vCPU that still polls is there much sooner than one whose thread sleeps.
    profile = load_profile("pvm-nested")
    assert 2 * profile.cost("kvm.wake_polling").mean_ns < profile.cost("kvm.wake_asleep").mean_ns


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_pvm_nested", PROJECT / "tools" / "make_pvm_nested.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_recordings
def test_pvm_nested_is_what_the_tool_derives() -> None:
    shipped = (PROJECT / "iosim" / "profiles" / "pvm-nested.toml").read_text(encoding="utf-8")
    assert shipped == tool().profile_text(RECORDINGS / "B_kvm_baremetal")


@needs_recordings
def test_disk_table_is_what_the_tool_derives() -> None:
    shipped = (PROJECT / "scenarios" / "disks" / "pvm-host.csv").read_text(encoding="utf-8")
    assert shipped == tool().disk_text(RECORDINGS / "B_kvm_baremetal")


@pytest.mark.parametrize(
    ("name", "source", "cycles"),
    [
        ("vmx-2013", "share of the 1,762 cycles", 1_762),
        ("vmx-2013", "share of the 3,525 cycles", 3_525),
        ("vmx-2017", "share of the 1,391 cycles", 1_391),
        ("vmx-2017", "share of the 3,870 cycles", 3_870),
    ],
)
def test_shares_of_a_published_figure_add_up_to_it(name: str, source: str, cycles: int) -> None:
    shares = [figure["value"] for figure in written(name).values() if figure["source"].startswith(source)]
    assert len(shares) > 10
    assert sum(int(share.removesuffix(" cycles").replace(",", "")) for share in shares) == cycles
