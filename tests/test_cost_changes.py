"""[host.cost]: factors of costs and times in their place, in the model, in the file, and in what a run gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iosim
from iosim import scenario_file
from iosim.compare.changes import changes
from iosim.model.catalogue import CATALOGUE
from iosim.model.cost_changes import changed
from iosim.model.costs import Cost, Figure, Profile, load_profile, parse_profile
from iosim.model.errors import ProfileError, ScenarioError
from iosim.report.doubts import doubts
from iosim.study.content import Inputs, run_digest
from tests.commandline import run, write_inputs
from tests.support import constant_profile, drawn_profile, scenario, simulate

MS = 1_000_000


def after(table: dict[str, Any], profile: Profile | None = None) -> Profile:
    """The profile (every cost 100 ns) under [host.cost] with the content *table*, read as from a file."""
    return changed(profile or constant_profile(100), scenario(host={"cost": table}).host.cost)


def test_factors_of_all_of_a_group_and_of_one_cost_are_multiplied() -> None:
    profile = after({"all": 0.7, "cpu": {"all": 2, "vm_exit": 0.5}, "kvm": {"handle_io": 3}})
    expected = {key: 140 if key.startswith("cpu.") else 70 for key in CATALOGUE}
    expected |= {"cpu.vm_exit": 70, "kvm.handle_io": 210}
    assert {key: figure.cost.ns for key, figure in profile.figures.items()} == expected


def test_a_time_takes_the_place_of_a_cost_whatever_the_factors_of_others() -> None:
    profile = after({"all": 0.5, "cpu": {"all": 3, "vm_exit": "900ns"}})
    assert (profile.cost("cpu.vm_exit").ns, profile.cost("cpu.vmresume").ns) == (900, 150)


def test_costs_are_rounded_to_whole_nanoseconds() -> None:
    assert [Cost("cpu.vm_exit", 23).scaled(factor).ns for factor in (0.3, 0.33, 2.5)] == [7, 8, 58]


def test_each_quantile_of_a_drawn_cost_is_scaled() -> None:
    before = drawn_profile(300)
    cost = after({"cpu": {"vm_exit": 2}}, before).cost("cpu.vm_exit")
    assert np.array_equal(cost.array, 2 * before.cost("cpu.vm_exit").array)
    assert cost.mean_ns == 2 * before.cost("cpu.vm_exit").mean_ns
    assert after({"cpu": {"vm_exit": "1us"}}, before).cost("cpu.vm_exit").ns == 1000


def test_what_is_changed_is_an_assumption_and_the_rest_keeps_its_evidence() -> None:
    before = load_profile("vmx-2017")
    key = next(key for key, figure in before.figures.items() if figure.kind == "derived")
    group, _, name = key.partition(".")
    profile = after({group: {name: 0.5}, "guest": {"all": 1}}, before)
    assert profile.figures[key].kind == "assumed"
    assert profile.figures[key].source == f"host.cost of the scenario, 0.5 times: {before.figures[key].source}"
    assert {k: f for k, f in profile.figures.items() if k != key} == {
        k: f for k, f in before.figures.items() if k != key
    }


def test_a_run_has_the_costs_as_changed() -> None:
    rows = [(0, "W", 0, 8), (5 * MS, "R", 64, 8)]
    plain, half = (simulate(scenario(), rows, constant_profile(ns)) for ns in (200, 100))
    scaled = simulate(scenario(host={"cost": {"all": 0.5}}), rows, after({"all": 0.5}, constant_profile(200)))
    assert scaled.requests.equals(half.requests)
    assert not scaled.requests.equals(plain.requests)


def test_the_command_line_the_file_and_the_result_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    given = ("cpu.vm_exit=0.5", 'kvm.handle_io="2us"', "all=2")
    settings = [part for change in given for part in ("--set", f"host.cost.{change}")]
    assert run(capsys, "run", "scenario.toml", *settings, "--out", "out").status == 0
    again, plain = iosim.simulate(iosim.load("out/scenario.toml")), iosim.simulate(iosim.load("scenario.toml"))
    assert again.scenario.host.cost == {"cpu": {"vm_exit": 0.5}, "kvm": {"handle_io": 2000}, "all": 2.0}
    costs, before = (result.summary["profile"]["costs_ns"] for result in (again, plain))
    assert costs["cpu.vm_exit"] == before["cpu.vm_exit"]
    assert (costs["kvm.handle_io"], costs["cpu.vmresume"]) == (2000, 2 * before["cpu.vmresume"])
    assert "Costs that host.cost changes are among the assumed ones." in doubts(again)
    keys = [change.key for change in changes([plain, again])]
    assert "host.profile" not in keys
    assert {"host.cost.cpu.vm_exit", "host.cost.kvm.handle_io", "host.cost.all"} < set(keys)


def test_a_study_runs_other_costs_again(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    digests = {
        run_digest(described, Inputs().files(described, tmp_path), "replication")
        for change in ([], ["host.cost.cpu.vm_exit=0.5"], ["host.cost.cpu.vm_exit=2"])
        for described in (scenario_file.load(tmp_path / "scenario.toml", change),)
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cost.cpu=0.5", r"host.cost.cpu must be a table of costs (cpu.all is a factor of all of them), got 0.5"),
        ("cost.cpu.vm_exits=1", "host.cost.cpu.vm_exits is not a cost of the model; did you mean vm_exit?"),
        ("cost.cpus.all=1", "host.cost.cpus is not a group of costs; did you mean cpu?"),
        ("cost.all=0", "host.cost.all must be a factor from 0.01 to 1000, got 0"),
        ("cost.cpu.all=nan", "host.cost.cpu.all must be a factor from 0.01 to 1000, got nan"),
        ("cost.all=true", "host.cost.all must be a factor from 0.01 to 1000, got true"),
        ('cost.cpu.all="1us"', "host.cost.cpu.all must be a factor from 0.01 to 1000, got '1us'"),
        (
            "cost.cpu.vm_exit=-1",
            'host.cost.cpu.vm_exit must be a factor from 0 to 1000 or a time with its unit, such as "900ns", got -1',
        ),
        (
            'cost.cpu.vm_exit="9"',
            "host.cost.cpu.vm_exit must have one of the units ns, us, ms, s, min, h, got '9'",
        ),
        ('cost.cpu.vm_exit="2h"', "host.cost.cpu.vm_exit must be at most 1 h, got '2h'"),
        ("cost=3", "host.cost must be a table, got 3"),
    ],
)
def test_a_change_that_makes_no_sense_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    write_inputs(tmp_path)
    path, out = tmp_path / "scenario.toml", tmp_path / "out"
    answer = run(capsys, "run", str(path), "--set", f"host.{change}", "--out", str(out))
    assert (answer.status, answer.err) == (2, f"iosim: {path}: {message}\n")
    assert not out.exists()


def test_a_cost_that_is_part_of_another_one_cannot_be_changed_by_itself() -> None:
    figures = dict(constant_profile(100).figures)
    figures["kvm.handle_io"] = Figure(Cost("kvm.handle_io", 0), "0", "included", "kvm.handle_exit")
    profile = Profile("mine", "", "", "", figures)
    assert after({"all": 2}, profile).cost("kvm.handle_io").ns == 0
    with pytest.raises(
        ScenarioError, match=r"^host.cost.kvm.handle_io must be left out: mine has it in kvm.handle_exit$"
    ):
        after({"kvm": {"handle_io": 2}}, profile)


def profile_text(extra: str) -> str:
    costs = "".join(f'[cost.{key}]\nvalue = "1us"\nkind = "assumed"\nsource = "a test"\n' for key in CATALOGUE)
    return 'name = "a"\ntitle = "b"\nmachine = "c"\norigin = "d"\n' + costs.replace(
        "[cost.cpu.vm_exit]\n", f"[cost.cpu.vm_exit]\n{extra}\n"
    )


def test_a_profile_may_say_how_uncertain_a_figure_is() -> None:
    figures = parse_profile(profile_text("uncertainty = [0.8, 1.5]"), "a.toml").figures
    assert (figures["cpu.vm_exit"].uncertainty, figures["cpu.vmresume"].uncertainty) == ((0.8, 1.5), None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.8", "needs uncertainty = [low, high], two factors, got 0.8"),
        ("[0.8, 1.2, 1.5]", "needs uncertainty = [low, high], two factors, got [0.8, 1.2, 1.5]"),
        ("[1.2, 1.5]", "needs uncertainty = [low, high] from 0 to 1000 with 1 between them, got [1.2, 1.5]"),
        ("[1, 1]", "needs uncertainty = [low, high] from 0 to 1000 with 1 between them, got [1, 1]"),
    ],
)
def test_an_uncertainty_that_makes_no_sense_is_refused(value: str, message: str) -> None:
    with pytest.raises(ProfileError) as refused:
        parse_profile(profile_text(f"uncertainty = {value}"), "a.toml")
    assert str(refused.value) == f"a.toml: cost.cpu.vm_exit {message}"
