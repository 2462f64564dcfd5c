"""docs/plans.md says what plans have: every key, file and column, no more and no less; its examples can be run."""

import re
from pathlib import Path

import pandas as pd
import pytest
from pydantic import BaseModel

from iosim.plan import plan_file
from iosim.plan.configurations import COSTS
from iosim.plan.question import Question
from iosim.plan.ranking import COLUMNS
from iosim.plan.tables import ANALYSIS, RESOURCES, VALUES
from iosim.plan.targets import parse_target
from iosim.study.content import Inputs
from tests.plans import PAIR, PAIR_PLAN, PICTURES, TABLES, plan_here, write_path
from tests.test_docs import code, default_of, markdown_tables, page, section

ROOT = Path(__file__).resolve().parents[1]
MODELS: dict[str, type[BaseModel]] = {
    "### `[plan]`": plan_file.PlanTable,
    "### `[knob]`": plan_file.KnobTable,
    "### `[[change]]`": plan_file.ChangeTable,
    "### `[cost]`": plan_file.CostTable,
    "### `[[cost.resource]]`": plan_file.ResourceTable,
}
KEYS = ["host.disk.sda.count", "host.disk.sda.service"]
SHIPPED = sorted((ROOT / "scenarios" / "plans").glob("*.toml"))


@pytest.mark.parametrize("heading", MODELS)
def test_every_key_is_documented_with_its_default(heading: str) -> None:
    rows = markdown_tables(section(page("plans.md"), heading))[0]
    model = MODELS[heading]
    assert {code(row["key"]): row["default"] for row in rows} == {
        name: default_of(model, name) for name in model.model_fields
    }


def test_every_table_of_a_plan_is_documented() -> None:
    for name in plan_file.Plan.model_fields:
        assert f"[{name}]" in page("plans.md")
    defined = {value for value in vars(plan_file).values() if isinstance(value, type) and issubclass(value, BaseModel)}
    assert defined - set(MODELS.values()) == {BaseModel, plan_file._Table, plan_file.Plan}


def test_files_and_columns_are_documented_in_order(tmp_path: Path) -> None:
    write_path(tmp_path, PAIR_PLAN.replace("max_replications = 4", "max_replications = 2"), PAIR)
    out = plan_here(tmp_path)
    documented = {code(row["file"]).rstrip("/") for row in markdown_tables(section(page("plans.md"), "## Files"))[0]}
    assert documented == {path.name for path in out.iterdir()}
    assert documented >= {*(f"{name}.parquet" for name in TABLES), *PICTURES}
    for name in TABLES:
        rows = [row["column"] for row in markdown_tables(section(page("plans.md"), f"### `{name}.parquet`"))[0]]
        expected = [found for column in rows for found in ([code(column)] if column.startswith("`") else KEYS)]
        assert list(pd.read_parquet(out / f"{name}.parquet").columns) == expected, name


def test_columns_are_those_of_the_code() -> None:
    for name, columns in (("values", VALUES), ("resources", RESOURCES), ("analysis", ANALYSIS), ("ranking", COLUMNS)):
        rows = markdown_tables(section(page("plans.md"), f"### `{name}.parquet`"))[0]
        assert [code(row["column"]) for row in rows] == list(columns)
    rows = markdown_tables(section(page("plans.md"), "### `costs.parquet`"))[0]
    assert [code(row["column"]) for row in rows[2:]] == list(COSTS)


def test_the_example_can_be_run(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", page("plans.md"), re.DOTALL)
    path = tmp_path / "example.toml"
    path.write_text(text.replace("../cpus.toml", str(ROOT / "scenarios" / "cpus.toml")))
    question = Question(plan_file.load(path), path, ())
    assert [target.name for target in question.check(Inputs())] == ["p99", "cpu"]
    assert question.configurations is not None
    assert question.configurations.cost((2, 1)) == 12 * 90 + 40
    # 98.75 %, as the text computes it
    assert question.schedule.counts == (5, 10, 20, 40)
    assert question.schedule.confidence == pytest.approx(0.9875)


def test_the_targets_of_the_page_are_targets() -> None:
    (block,) = re.findall(r"```\n(p99.*?)```", page("plans.md"), re.DOTALL)
    assert len([parse_target(line) for line in block.splitlines()]) == 6


# The shipped plans


def test_the_promised_plans_are_shipped() -> None:
    assert [path.stem for path in SHIPPED] == ["disks-for-guests", "vms-on-8-cpus"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_plans_begin_with_their_question_and_can_be_run(path: Path) -> None:
    heading, _, _ = path.read_text(encoding="utf-8").partition("\n\n")
    assert all(line.startswith("#") for line in heading.splitlines())
    assert re.match(r"# [A-Z][^?]*\?", heading)
    Question(plan_file.load(path), path, ()).check(Inputs())
