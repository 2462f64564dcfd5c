"""The page of a plan: whole, in one file, opened in a browser; nothing that a plan names can make it do anything."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from iosim.plan.terminal import answer_text
from iosim.report.table import Table
from iosim.study_pages import plan
from iosim.study_pages.folder import Folder
from iosim.study_pages.page import html
from tests.browser import browser, needs_browser, view
from tests.commandline import run
from tests.studies import SCENARIO, TRACE
from tests.test_report_page import HOSTILE, Page, cells, opened

PLAN = """\
[plan]
scenario = "scenario.toml"
targets = ["mean < 700us", "utilisation[disk/sda] < 0.9"]
replications = 2
max_replications = 2
[knob]
key = "vm.web.count"
low = 1
high = 3
curve = 1
[[change]]
name = "quicker"
set = { host.disk.sda.service = "90us" }
[cost]
loads = [1, 3]
unit = "EUR"
[[cost.resource]]
key = "host.disk.sda.servers"
values = [1, 2]
cost_each = 100.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from iosim.cli import main

    place = tmp_path_factory.mktemp("plan")
    slow = SCENARIO.replace("cache", 'interface = "virtio-blk"\ncache', 1).replace("90us", "180us")
    for name, text in (("scenario.toml", slow), ("trace.csv", TRACE), ("plan.toml", PLAN)):
        (place / name).write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(place / "plan.toml"), "--out", str(place / "out"), "--workers", "1"])
    assert not ended.value.code
    (place / "out" / "study.html").write_text(html(place / "out"), encoding="utf-8")
    return place / "out"


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "study.html").read_text(encoding="utf-8")


def shown_in(page: Page, table: Table) -> bool:
    assert table.rows
    return all(" ".join(cell.text.split()) in page.text for row in table.rows for cell in row.cells)


def test_the_page_has_every_section_every_table_and_every_word(folder: Path, text: str) -> None:
    page, found = Page(text), plan.read(Folder(folder, "plan.json", "plan_version", 1))
    ids = Counter(page.values("id"))
    wanted = ["limit", "limits", "changes", "costs", "inputs", "doubts"]
    assert [one for one in ids if one in wanted] == wanted
    assert [one for one, n in ids.items() if n > 1] == []
    for table in (plan.values(found), plan.resources(found), plan.ranking(found), plan.front(found)):
        assert shown_in(page, table)
    for sentence in (*answer_text(found).plain.split("\n"), *found.facts["cautions"]):
        assert " ".join(sentence.split()) in page.text
    # Mean latency, the disk, throughput; ranking, front.
    assert page.values("role").count("img") == 5
    assert not page.values("src")
    assert "nan" not in page.text.split()


def test_figures_are_those_of_the_tables(folder: Path) -> None:
    found = plan.read(Folder(folder, "plan.json", "plan_version", 1))
    values = pd.read_parquet(folder / "values.parquet")
    base = values[(values["search"] == "base") & (values["target"] != "")]
    rows = plan.values(found).rows
    assert [row.cells[0].key for row in rows] == sorted(base["value"].unique())
    for row in rows:
        own = base[base["value"] == row.cells[0].key].set_index("target")
        for column, target in ((2, "mean < 700us"), (4, "utilisation[disk/sda] < 0.9")):
            assert row.cells[column].key == own["estimate"][target]
            assert row.cells[column + 1].text == own["verdict"][target]
    ranking = pd.read_parquet(folder / "ranking.parquet").iloc[0]
    (change,) = plan.ranking(found).rows
    assert [change.cells[at].key for at in (2, 3)] == [ranking["meets"], ranking["moved"]]
    front = pd.read_parquet(folder / "front.parquet")
    assert [row.cells[2].key for row in plan.front(found).rows] == front["cost"].tolist()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("values.parquet", None, "/values.parquet: No such file or directory"),
        ("front.parquet", b"PAR1", "/front.parquet: is damaged; run the study again"),
        ("plan.json", b'{"plan_version": 0}', "/plan.json: is not of this version of iosim; run the study again"),
        ("plan.json", b'{"plan_version": 1}', ": its files do not fit together; run the study again"),
    ],
)
def test_a_damaged_plan_is_one_line(
    file: str,
    content: bytes | None,
    message: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copied = tmp_path / "out"
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("store", "runs", "study.html"))
    (copied / file).unlink()
    if content is not None:
        (copied / file).write_bytes(content)
    answer = run(capsys, "report", str(copied))
    assert (answer.status, answer.err) == (2, f"iosim: {copied}{message}\n")
    assert not (copied / "study.html").exists()


# In a browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@needs_browser
def test_nothing_sticks_out_and_tables_sort(driver: Chrome, folder: Path) -> None:
    for width in (390, 1600):
        view(driver, width=width)
        opened(driver, folder / "study.html")
        assert driver.execute_script("const e = document.documentElement; return e.scrollWidth - e.clientWidth") == 0
    table = driver.find_element(By.CSS_SELECTOR, "#limits table")
    before = cells(table, 1)
    driver.execute_script("arguments[0].click()", table.find_element(By.CSS_SELECTOR, "thead button"))
    assert cells(table, 1) == before[::-1]


@needs_browser
def test_hostile_names_do_nothing(driver: Chrome, folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "out"
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("store", "runs"))
    facts = json.loads((copied / "plan.json").read_text())
    facts["knob"]["key"], facts["cautions"] = HOSTILE[0], HOSTILE
    facts["plan"]["plan"]["targets"] = HOSTILE
    (copied / "plan.json").write_text(json.dumps(facts))
    for name, columns in (
        ("values", ["target", "setting"]),
        ("resources", ["resource"]),
        ("ranking", ["change", "set"]),
    ):
        frame = pd.read_parquet(copied / f"{name}.parquet")
        for column in columns:
            frame[column] = [
                f"{text} {HOSTILE[at % len(HOSTILE)]}" if text else "" for at, text in enumerate(frame[column])
            ]
        frame.to_parquet(copied / f"{name}.parquet")
    text = html(copied)
    (copied / "study.html").write_text(text, encoding="utf-8")
    assert all(" ".join(name.split()) in Page(text).text for name in HOSTILE)
    opened(driver, copied / "study.html")
    assert driver.execute_script("return window.caught ?? null") is None
