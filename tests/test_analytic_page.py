"""docs/analytic.md is true: its example runs, its tables of kinds, stages and laws are those of the code, its figures
are those of a fresh run."""

import re
from pathlib import Path

import pytest

from iosim.analytic import laws
from iosim.analytic.resources import HOLDERS, KINDS, NOT_SERVING
from iosim.analytic.roles import ROLES
from tests.test_docs import markdown_tables
from tools.analytic import HEAD, PAGE, ROOT, STUDIES, Study, shown

TEXT = PAGE.read_text(encoding="utf-8")
MANY = 32
"""From so many VMs on a run takes many seconds."""
ROWS = [(study, count) for study in STUDIES for count in study.counts if count < MANY]


def table_of(heading: str) -> dict[str, dict[str, str]]:
    """The rows of the table whose first column is called *heading*, by their first cells."""
    (found,) = [rows for rows in markdown_tables(TEXT) if heading in rows[0]]
    return {row[heading].strip("`"): row for row in found}


def test_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    (block,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "disk/shared saturates at 1.28 VMs"
    assert lines[1] == "1 VMs: at most 2391 requests/s, some 441 us each"
    assert lines[9:12] == [line for line in lines if "simulated" in line]
    # The latency without the wait in front of the channel, and the disk's part of it.
    assert lines[12:14] == ["linux/channel0: 439 us per request", "disk/shared: 328 us per request"]


def test_every_kind_of_resource_is_described() -> None:
    found = table_of("kind")
    assert list(found) == list(KINDS)
    for kind, row in found.items():
        word = "neither" if kind in NOT_SERVING else "held" if kind in HOLDERS else "serves"
        assert row["serves, or is held"].startswith(word), kind


def test_every_stage_has_the_role_of_the_code() -> None:
    assert {stage: row["role"] for stage, row in table_of("stage").items()} == {
        stage.label: role.value for stage, role in ROLES.items()
    }


def test_every_law_is_described() -> None:
    source = Path(laws.__file__).read_text(encoding="utf-8")
    named = set(re.findall(r'(?:Violation|_between)\(\s*"([^"]+)"', source))
    assert set(table_of("law")) == named


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_table_has_its_rows(study: Study) -> None:
    table = shown(study, TEXT)
    assert table.startswith(HEAD)
    assert [int(line.split("|")[1]) for line in table.removeprefix(HEAD).splitlines()] == list(study.counts)


@pytest.mark.parametrize(("study", "count"), ROWS, ids=[f"{study.name} {count}" for study, count in ROWS])
def test_figures_are_those_of_a_fresh_run(study: Study, count: int) -> None:
    """If this fails because the model has changed: python tools/analytic.py --write, and read the page again."""
    assert study.line(count) in shown(study, TEXT)
