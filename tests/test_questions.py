"""docs/questions.md: its commands are accepted, its tables are there, and what is quick to run is run again."""

import re
import shlex
from pathlib import Path

import pytest

from iosim.model.units import three_digits
from iosim.plan import plan_file
from iosim.plan.looks import Looks
from iosim.plan.question import BASE, Question
from iosim.study.content import Inputs
from iosim.study.executors import local
from iosim.study.runner import Runner
from iosim.study.store import Store
from tools.questions import PAGE, ROOT, TABLES, with_table

TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("iosim plan")])
def test_plans_of_the_page_can_be_run(command: str) -> None:
    _, _, path, option, _ = shlex.split(command)
    assert option == "--out"
    Question(plan_file.load(ROOT / path), ROOT / path, ()).check(Inputs())


def table(name: str) -> list[list[str]]:
    """The rows of a table of the page."""
    (text,) = re.findall(rf"<!-- {name}: by tools/questions.py -->\n(.*?)<!-- end of {name} -->", TEXT, re.DOTALL)
    return [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_their_place(name: str) -> None:
    assert with_table(TEXT, name, "nothing\n").count("nothing\n") == 1
    assert len(table(name)) > 2


def test_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^]]*\]\((pictures/[^)]*)\)", TEXT)
    assert pictures
    assert all((PAGE.parent / picture).is_file() for picture in pictures)


def test_figures_of_one_vm_are_those_of_fresh_runs(tmp_path: Path) -> None:
    """If this fails because the model has changed: python tools/questions.py --write, and read the page again."""
    path = ROOT / "scenarios" / "plans" / "vms-on-8-cpus.toml"
    question = Question(plan_file.load(path), path, ())
    inputs = Inputs()
    targets = question.check(inputs)
    with local(1) as executor, Store(tmp_path / "store") as store:
        runner = Runner(store, executor, inputs)
        looks = Looks(BASE, runner, question.point_at(BASE), targets, question.schedule, lambda text: None)
        looks([0], [])
        p99 = looks.interval(0, targets[0])
        mean = looks.samples[0].estimate("latency_mean")
    assert mean is not None
    figures = [three_digits(value / 1000) for value in (*p99, mean.estimate)]
    assert table("vms-on-8-cpus")[0][:6] == ["1", "5", *figures]
