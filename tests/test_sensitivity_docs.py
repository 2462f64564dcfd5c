"""docs/sensitivity.md says what sensitivity studies have: every key, file and column."""

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from pydantic import BaseModel

from iosim.sensitivity import sensitivity_file
from iosim.study.content import Inputs
from iosim.study.points import Base, flatten
from iosim.study.runner import check_points
from tests.commandline import run
from tests.studies import write_study
from tests.test_docs import code, default_of, markdown_tables, page, section

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted((ROOT / "scenarios" / "sensitivity").glob("*.toml"))
SMALL = """\
[study]
scenario = "scenario.toml"
replications = 1
[sensitivity]
metrics = ["latency_mean"]
only = ["main_loop.wake", "pool.worker_wake"]
sobol = { size = 4 }
"""


def test_every_key_is_documented_with_its_default() -> None:
    rows = markdown_tables(section(page("sensitivity.md"), "### `[sensitivity]`"))[0]
    model: type[BaseModel] = sensitivity_file.SensitivityTable
    defaults = {name: default_of(model, name) for name in model.model_fields if name != "sobol"}
    assert {code(row["key"]): row["default"] for row in rows} == {**defaults, "sobol": "its defaults"}
    model = sensitivity_file.SobolTable
    rows = markdown_tables(section(page("sensitivity.md"), "### `[sensitivity.sobol]`"))[0]
    assert {code(row["key"]): row["default"] for row in rows} == {
        name: default_of(model, name) for name in model.model_fields
    }


def test_files_and_columns_are_documented_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, SMALL)
    out = tmp_path / "out"
    assert run(capsys, "sensitivity", str(tmp_path / "study.toml"), "--out", str(out), "--workers", "1").status == 0
    assert run(capsys, "report", str(out)).status == 0
    files = markdown_tables(section(page("sensitivity.md"), "## Files"))[0]
    assert {code(row["file"]).rstrip("/") for row in files} == {path.name for path in out.iterdir()}
    for name in ("tornado", "sobol", "runs"):
        rows = markdown_tables(section(page("sensitivity.md"), f"### `{name}.parquet`"))[0]
        assert [code(row["column"]) for row in rows] == list(pd.read_parquet(out / f"{name}.parquet").columns)


def test_the_example_is_a_study() -> None:
    text = re.findall(r"```toml\n(.*?)```", page("sensitivity.md"), re.DOTALL)[0]
    sensitivity_file.SensitivityStudy.model_validate(tomllib.loads(text))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_studies_begin_with_their_question_and_can_be_run(path: Path) -> None:
    heading, _, _ = path.read_text(encoding="utf-8").partition("\n\n")
    assert all(line.startswith("#") for line in heading.splitlines())
    assert re.match(r"# [A-Z][^?]*\?", heading)
    study = sensitivity_file.load(path)
    base = Base(path.parent / study.study.scenario, str(path), flatten(study.set, "set"))
    check_points([base.point("base", {})], Inputs())
