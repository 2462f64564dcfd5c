"""docs/studies.md says what studies have: every key, file, column and metric, no more and no less; its examples run."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pydantic import BaseModel

from iosim.study import study_file
from iosim.study.content import Inputs
from iosim.study.metrics import UNITS
from iosim.study.points import points
from iosim.study.runner import check_points
from iosim.study.tables import SUMMARY
from tests.commandline import run
from tests.studies import SMALL, write_study
from tests.test_docs import code, default_of, markdown_tables, page, section

ROOT = Path(__file__).resolve().parents[1]
MODELS: dict[str, type[BaseModel]] = {
    "### `[study]`": study_file.StudyTable,
    "### `[[point]]`": study_file.PointTable,
    "### `[sample]`": study_file.SampleTable,
    "### `[statistics]`": study_file.StatisticsTable,
    "### `[statistics.until]`": study_file.UntilTable,
    "### `[output]`": study_file.OutputTable,
}
SHIPPED = sorted((ROOT / "scenarios" / "studies").glob("*.toml"))


@pytest.mark.parametrize("heading", MODELS)
def test_every_key_is_documented_with_its_default(heading: str) -> None:
    rows = markdown_tables(section(page("studies.md"), heading))[0]
    model = MODELS[heading]
    assert {code(row["key"]): row["default"] for row in rows} == {
        name: default_of(model, name) for name in model.model_fields
    }


def test_every_table_of_a_study_is_documented() -> None:
    for name in study_file.Study.model_fields:
        assert f"[{name}]" in page("studies.md")
    defined = {value for value in vars(study_file).values() if isinstance(value, type) and issubclass(value, BaseModel)}
    assert defined - set(MODELS.values()) == {BaseModel, study_file._Table, study_file.Study}


def test_every_metric_is_documented_in_order_with_its_unit() -> None:
    rows = markdown_tables(section(page("studies.md"), "### Metrics"))[0]
    assert {code(row["metric"]): row["unit"] for row in rows} == UNITS
    assert [code(row["metric"]) for row in rows] == list(UNITS)


def test_files_and_columns_are_documented_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, SMALL)
    out = tmp_path / "out"
    assert run(capsys, "sweep", str(tmp_path / "study.toml"), "--out", str(out), "--workers", "1", "--keep").status == 0
    documented = {code(row["file"]).rstrip("/") for row in markdown_tables(section(page("studies.md"), "## Files"))[0]}
    assert documented == {path.name for path in out.iterdir()}
    for name in ("runs", "summary"):
        rows = [row["column"] for row in markdown_tables(section(page("studies.md"), f"### `{name}.parquet`"))[0]]
        expected = [code(column) for column in rows if column.startswith("`")]
        columns = list(pd.read_parquet(out / f"{name}.parquet").columns)
        assert [column for column in columns if column != "vm.web.count"] == expected
        assert columns[1] == "vm.web.count"
    assert [name for name in SUMMARY if name not in ("point", "metric", "of", "unit")] == columns[5:]


def test_the_example_has_the_points_that_the_text_counts(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", page("studies.md"), re.DOTALL)
    path = tmp_path / "example.toml"
    path.write_text(text.replace("../cpus.toml", str(ROOT / "scenarios" / "cpus.toml")))
    found = points(study_file.load(path), path)
    names = [point.name for point in found]
    grid, sample = ([f"{kind}-{k}" for k in range(1, n + 1)] for kind, n in (("grid", 6), ("sample", 4)))
    assert names == ["base", "virtio-24", *grid, *sample]
    assert [point.changes["vm.linux.count"] for point in found[2:8]] == [1, 1, 2, 2, 4, 4]
    check_points(found, Inputs())


def test_the_python_example_runs(tmp_path: Path) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", page("studies.md"), re.DOTALL)
    for name in ("scenarios", "traces"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "search.py").write_text(text)
    answer = subprocess.run([sys.executable, "search.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    mean, difference = answer.stdout.splitlines()
    assert re.fullmatch(r"Interval\(estimate=[\d.]+, low=[\d.]+, high=[\d.]+\)", mean)
    assert re.fullmatch(r"\(Interval\(estimate=[-\d.]+, low=[-\d.]+, high=[-\d.]+\), 6\)", difference)


# The shipped studies


def test_the_promised_studies_are_shipped() -> None:
    assert [path.stem for path in SHIPPED] == [
        "disk-or-cache",
        "disk-or-cpu",
        "interfaces",
        "pio-to-virtio",
        "vms-per-cpu",
    ]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_studies_begin_with_their_question_and_can_be_run(path: Path) -> None:
    heading, _, _ = path.read_text(encoding="utf-8").partition("\n\n")
    assert all(line.startswith("#") for line in heading.splitlines())
    assert re.match(r"# [A-Z][^?]*\?", heading)
    check_points(points(study_file.load(path), path), Inputs())
