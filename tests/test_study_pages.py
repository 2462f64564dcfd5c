"""Pages of studies: whole, in one file, opened in a browser; nothing that a study names can make them do anything."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from iosim.report.table import Table
from iosim.study.terminal import cautions
from iosim.study_pages import sensitivity, sweep, sweep_tables
from iosim.study_pages.axis import axis_of
from iosim.study_pages.page import html
from iosim.study_pages.sweep_pictures import not_beaten
from tests.browser import browser, complaints, needs_browser, requested, view
from tests.commandline import run
from tests.studies import TRACE, sweep_here, write_study
from tests.test_report_page import HOSTILE, Page, cells, opened

STUDY = """\
[study]
scenario = "scenario.toml"
replications = 2
[grid]
vm.web.count = [1, 2]
vm.web.drive.interface = ["ide", "virtio-blk"]
[statistics]
warmup = "mser-5"
pilots = 1
"""
NAMED = """\
[study]
scenario = "scenario.toml"
replications = 2
[[point]]
name = "two"
set = { vm.web.count = 2, vm.web.drive.trace = "TRACE" }
[[point]]
set = { host.disk.sda.service = "120us", vm.web.drive.trace = "TRACE" }
"""
SENSITIVITY = """\
[study]
scenario = "scenario.toml"
replications = 2
[sensitivity]
metrics = ["latency_mean", "latency_p50"]
by = "group"
sobol = { size = 4, factors = 1 }
"""
EVIL = "<img src=x onerror=window.caught=1>$\\frac{$ & '\"`.csv"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sweep over two keys, one of points with names and a hostile trace, and a sensitivity study."""
    from iosim.cli import main

    made = {}
    for name, text in (("grid", STUDY), ("named", NAMED), ("sensitivity", SENSITIVITY)):
        folder = tmp_path_factory.mktemp(name)
        write_study(folder, text.replace("TRACE", EVIL.replace("\\", "\\\\").replace('"', '\\"')))
        (folder / EVIL).write_text(TRACE)
        if name == "sensitivity":
            with pytest.raises(SystemExit) as ended:
                main(["sensitivity", str(folder / "study.toml"), "--out", str(folder / "out"), "--workers", "1"])
            assert not ended.value.code
        else:
            sweep_here(folder)
        made[name] = folder / "out"
        (made[name] / "study.html").write_text(html(made[name]), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def texts(folders: dict[str, Path]) -> dict[str, str]:
    return {name: (folder / "study.html").read_text(encoding="utf-8") for name, folder in folders.items()}


SECTIONS = {
    "grid": ["curves", "points", "differences", "limits", "warmup", "inputs", "doubts"],
    "named": ["curves", "points", "differences", "limits", "inputs", "doubts"],
    "sensitivity": ["swings", "together", "costs", "inputs", "doubts"],
}


@pytest.mark.parametrize("name", SECTIONS)
def test_the_page_has_every_section_and_link_and_fetches_nothing(name: str, texts: dict[str, str]) -> None:
    page = Page(texts[name])
    ids = Counter(page.values("id"))
    assert [one for one in ids if one in {part for parts in SECTIONS.values() for part in parts}] == SECTIONS[name]
    assert [one for one, n in ids.items() if n > 1] == []
    links = [*page.values("href"), *page.values("xlink:href"), *re.findall(r"url\(([^)]*)\)", texts[name])]
    assert [link for link in links if link.removeprefix("#") not in ids] == []
    assert not page.values("src")
    assert [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "base", "form")] == []
    assert "nan" not in page.text.split()


def shown_in(page: Page, table: Table | None) -> bool:
    assert table is not None
    assert table.rows
    return all(" ".join(cell.text.split()) in page.text for row in table.rows for cell in row.cells)


@pytest.mark.parametrize("name", ["grid", "named"])
def test_the_page_of_a_sweep_has_every_table_and_every_word(
    name: str, folders: dict[str, Path], texts: dict[str, str]
) -> None:
    made, page = sweep.Sweep(folders[name]), Page(texts[name])
    for sentence in (*sweep.story(made), *cautions(made.figures, made.study)):
        assert " ".join(sentence.split()) in page.text
    assert shown_in(page, sweep_tables.points(made))
    assert shown_in(page, sweep_tables.differences(made))
    assert shown_in(page, sweep_tables.resources(made))
    assert (sweep_tables.warmups(made) is not None) == (name == "grid")


def test_points_and_differences_are_those_of_the_summary(folders: dict[str, Path]) -> None:
    made = sweep.Sweep(folders["grid"])
    summary = pd.read_parquet(folders["grid"] / "summary.parquet")
    rows = summary[summary["of"] == ""].to_dict("records")
    whole: dict[tuple[str, str], dict[Hashable, Any]] = {(row["point"], row["metric"]): row for row in rows}
    table = sweep_tables.points(made)
    names = [column.name for column in table.columns]
    assert names[:4] == ["point", "count", "interface", "runs"]
    for row in table.rows:
        point = row.cells[0].text
        for column, metric in (("mean (us)", "latency_mean"), ("p50 (us)", "latency_p50"), ("req/s", "throughput")):
            assert row.cells[names.index(column)].key == pytest.approx(whole[point, metric]["estimate"])
    changes = sweep_tables.differences(made)
    assert changes is not None
    assert [row.cells[0].text for row in changes.rows] == [p for p in made.points if p != "base"]
    for row in changes.rows:
        found = whole[row.cells[0].text, "latency_mean"]
        assert row.cells[1].key == pytest.approx(found["difference"])
        inside = found["difference_low"] <= 0 <= found["difference_high"]
        assert row.cells[-1].text == ("no" if inside else "slower" if found["difference"] > 0 else "quicker")


def test_a_line_joins_points_that_differ_in_one_key_only(folders: dict[str, Path], texts: dict[str, str]) -> None:
    page = Page(texts["grid"])
    # The base is the same as the first point of IDE, so a line has both values of the count.
    for title in ("Mean latency by count", "Throughput by count"):
        assert title in page.text
    assert page.text.count("interface ide") >= 2
    assert page.text.count("interface virtio-blk") >= 2
    assert "Points that differ in other keys as well" not in page.text


def test_the_page_of_a_sensitivity_study_has_every_cost(folders: dict[str, Path], texts: dict[str, str]) -> None:
    page = Page(texts["sensitivity"])
    bars = pd.read_parquet(folders["sensitivity"] / "tornado.parquet")
    content = sensitivity.content(folders["sensitivity"])
    assert [part["metric"] for part in content["parts"]] == ["latency_mean", "latency_p50"]
    for part in content["parts"]:
        rows = bars[bars["metric"] == part["metric"]]
        assert [row.cells[1].text for row in part["table"].rows] == rows["factor"].tolist()
        assert [row.cells[-2].key for row in part["table"].rows] == rows["at_high"].tolist()
        assert shown_in(page, part["table"])
    assert shown_in(page, content["indices"])
    for sentence in (*content["story"], *content["doubts"]):
        assert " ".join(sentence.split()) in page.text


def test_bars_of_the_tornado_are_as_long_as_the_differences(folders: dict[str, Path], texts: dict[str, str]) -> None:
    bars = pd.read_parquet(folders["sensitivity"] / "tornado.parquet")
    rows = bars[(bars["metric"] == "latency_mean") & (bars["swing"] != 0)].head(20)
    expected = rows[["at_low", "at_high"]].to_numpy().ravel()
    svg = next(
        text
        for text in re.findall(r"<svg.*?</svg>", texts["sensitivity"], re.DOTALL)
        if "Swings of mean latency" in text
    )
    corner = r"([\d.-]+) ([\d.-]+)\s*"
    paths = re.findall(rf'd="M {corner}L {corner}L {corner}L {corner}z\s*" clip-path', svg)
    widths = np.array([float(path[2]) - float(path[0]) for path in paths])
    assert len(widths) == len(expected) > 5
    assert widths / np.abs(widths).max() == pytest.approx(expected / np.abs(expected).max(), abs=0.003)


# Parts


def test_points_that_no_other_beats_are_the_front() -> None:
    known = [(1.0, 5.0, "a"), (2.0, 4.0, "b"), (2.0, 6.0, "c"), (3.0, 9.0, "d"), (3.0, 8.0, "e"), (0.5, 4.0, "f")]
    assert not_beaten(known) == [(2.0, 4.0, "b"), (3.0, 8.0, "e")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 2, 8), ([1, 2, 8], "")),
        (("50us", "1ms", "200us"), ([50, 1000, 200], "us")),
        (("1GiB", "512MiB", "2GiB"), ([1, 0.5, 2], "GiB")),
        ((0.5, None, 2.0), ([0.5, np.nan, 2], "")),
        (("ide", "virtio-blk", "ide"), None),
        ((True, False, True), None),
        ((3, 3, 3), None),
    ],
)
def test_quantities_have_an_axis(values: tuple[object, ...], expected: tuple[list[float], str] | None) -> None:
    axis = axis_of("key", dict(zip("abc", values, strict=True)))
    found = None if axis is None else (list(axis.values.values()), axis.unit)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == pytest.approx(expected[0], nan_ok=True)
        assert found[1] == expected[1]


# The command


def test_the_command_writes_the_page_of_a_study(
    folders: dict[str, Path], texts: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, folder in folders.items():
        copied = tmp_path / name / "out"
        shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("store", "study.html"))
        answer = run(capsys, "report", str(copied))
        assert (answer.status, answer.err, answer.out) == (0, "", f"Written to {copied / 'study.html'}\n")
        assert (copied / "study.html").read_text(encoding="utf-8") == texts[name]


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("grid", "summary.parquet", None, "summary.parquet: No such file or directory"),
        ("grid", "summary.parquet", b"PAR1", "summary.parquet: is damaged; run the study again"),
        ("grid", "study.json", b"{", "study.json: is damaged; run the study again"),
        ("grid", "study.json", b"{}", "study.json: is not of this version of iosim; run the study again"),
        ("sensitivity", "tornado.parquet", None, "tornado.parquet: No such file or directory"),
        ("sensitivity", "sensitivity.json", b"[]", "sensitivity.json: is not of this version of iosim; run the study"),
    ],
)
def test_a_damaged_study_is_one_line(
    name: str,
    file: str,
    content: bytes | None,
    message: str,
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copied = tmp_path / "out"
    shutil.copytree(folders[name], copied, ignore=shutil.ignore_patterns("store", "study.html"))
    (copied / file).unlink()
    if content is not None:
        (copied / file).write_bytes(content)
    answer = run(capsys, "report", str(copied))
    assert answer.status == 2
    assert answer.err.startswith(f"iosim: {copied / message}")
    assert answer.err.count("\n") == 1
    assert not (copied / "study.html").exists()


def test_tables_that_do_not_fit_together_are_one_line(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "out"
    shutil.copytree(folders["grid"], copied, ignore=shutil.ignore_patterns("store", "study.html"))
    facts = json.loads((copied / "study.json").read_text())
    facts["points"][0]["name"] = "another"
    (copied / "study.json").write_text(json.dumps(facts))
    answer = run(capsys, "report", str(copied))
    assert (answer.status, answer.err) == (2, f"iosim: {copied}: its files do not fit together; run the study again\n")


# In a browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@needs_browser
@pytest.mark.parametrize("name", SECTIONS)
def test_nothing_sticks_out_and_nothing_is_asked_for(name: str, driver: Chrome, folders: dict[str, Path]) -> None:
    for width in (390, 820, 1600):
        view(driver, width=width)
        opened(driver, folders[name] / "study.html")
        assert driver.execute_script("const e = document.documentElement; return e.scrollWidth - e.clientWidth") == 0
        assert complaints(driver) == []
        assert {address for address in requested(driver) if not address.startswith("file:")} == set()
        assert driver.execute_script("return window.caught ?? null") is None


@needs_browser
def test_tables_sort(driver: Chrome, folders: dict[str, Path]) -> None:
    view(driver)
    opened(driver, folders["sensitivity"] / "study.html")
    table = driver.find_element(By.CSS_SELECTOR, "#costs table")
    heading = next(h for h in table.find_elements(By.CSS_SELECTOR, "thead th") if h.text == "mean")
    driver.execute_script("arguments[0].click()", heading.find_element(By.TAG_NAME, "button"))
    bars = pd.read_parquet(folders["sensitivity"] / "tornado.parquet")
    rows = bars[bars["metric"] == "latency_mean"].sort_values("mean_ns", ascending=False, kind="stable")
    assert cells(table, 2) == rows["factor"].tolist()


def test_hostile_names_are_text(folders: dict[str, Path], texts: dict[str, str]) -> None:
    page = Page(texts["named"])
    assert EVIL in page.text
    assert not [tag for tag, _ in page.elements if tag == "img"]


@needs_browser
def test_hostile_tables_do_nothing(driver: Chrome, folders: dict[str, Path], tmp_path: Path) -> None:
    """Tables edited by hand: markup for every text that the page shows."""
    copied = tmp_path / "out"
    shutil.copytree(folders["sensitivity"], copied, ignore=shutil.ignore_patterns("store"))
    facts = json.loads((copied / "sensitivity.json").read_text())
    renamed = {
        factor["name"]: f"{number} {HOSTILE[number % len(HOSTILE)]}" for number, factor in enumerate(facts["factors"])
    }
    for factor in facts["factors"]:
        factor["name"] = renamed[factor["name"]]
    facts["study"]["study"]["scenario"] = facts["iosim"] = HOSTILE[0]
    (copied / "sensitivity.json").write_text(json.dumps(facts))
    for name in ("tornado", "sobol"):
        table = pd.read_parquet(copied / f"{name}.parquet")
        table["factor"] = table["factor"].map(renamed)
        table["evidence"] = HOSTILE[0]
        table.to_parquet(copied / f"{name}.parquet")
    text = html(copied)
    (copied / "study.html").write_text(text, encoding="utf-8")
    assert all(" ".join(name.split()) in Page(text).text for name in renamed.values())
    opened(driver, copied / "study.html")
    assert driver.execute_script("return window.caught ?? null") is None
    assert complaints(driver) == []
