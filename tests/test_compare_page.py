"""The page of a comparison: whole, in one file, opened in a browser; no name in a result can make it do anything."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from iosim.compare import tables
from iosim.compare.changes import changes
from iosim.compare.comparison import Comparison, Run, compare
from iosim.compare.doubts import doubts
from iosim.compare.findings import finding
from iosim.compare.page import html, write
from iosim.model.stages import Stage
from iosim.results.result import Result
from tests.browser import browser, needs_browser, view
from tests.made import Request, result
from tests.support import drawn_profile, scenario, simulate
from tests.test_compare import with_traces
from tests.test_report_page import HOSTILE, Page, cells, opened

RUN, DISK = Stage.GUEST_RUN, Stage.DISK_SERVICE
SECTIONS = ["changes", "latency", "stages", "figures", "limits", "runs", "doubts"]


def compared(*results: Result) -> list[Comparison]:
    """The comparisons of the first result with each other one."""
    runs = [Run(name, f"runs/{name}", made) for name, made in zip(["base", "fast", "slow"], results, strict=False)]
    return [compare(runs[0], other) for other in runs[1:]]


def page_of(found: list[Comparison]) -> str:
    return html(found, changes([found[0].base.result, *(comparison.other.result for comparison in found)]))


@pytest.fixture(scope="module")
def several() -> list[Comparison]:
    """Three runs of two VMs with two drives each: as it is, with virtio-blk, with another disk and seed."""
    rows = [
        (at * 300_000, str(op), at * 8, 8) for at, op in enumerate(np.random.default_rng(3).choice(list("RW"), 120))
    ]

    def one(interface: str, service: str, seed: int) -> Result:
        vms = [{"name": "web", "count": 2, "drive": [{"interface": interface}, {"interface": interface}]}]
        disk = {"model": "constant", "service": service, "servers": 4}
        return simulate(scenario(disks=[disk], vms=vms, run={"seed": seed}), rows, drawn_profile())

    return compared(one("ide", "90us", 1), one("virtio-blk", "90us", 1), one("ide", "200us", 2))


@pytest.fixture(scope="module")
def texts(several: list[Comparison]) -> dict[int, str]:
    """The pages with one other run and with two."""
    return {1: page_of(several[:1]), 2: page_of(several)}


@pytest.fixture(scope="module")
def folder(texts: dict[int, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for n, text in texts.items():
        (folder / f"{n}.html").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("n", [1, 2])
def test_the_page_has_every_section_every_table_and_every_word(
    n: int, several: list[Comparison], texts: dict[int, str]
) -> None:
    found, page = several[:n], Page(texts[n])
    ids = page.values("id")
    expected = [*SECTIONS[:3], "functions", "drives", *SECTIONS[3:]]
    assert [name for name in ids if name in expected] == expected
    for sentence in (*(s for comparison in found for s in finding(comparison)), *doubts(found)):
        assert " ".join(sentence.split()) in page.text
    drives = tables.drives(found, 200)
    assert drives is not None
    everybody = [found[0].base, *(comparison.other for comparison in found)]
    changed = tables.changes(changes([run.result for run in everybody]), [run.name for run in everybody])
    shown = (
        tables.latency(found),
        tables.stages(found),
        tables.functions(found, 50),
        drives,
        tables.figures(found),
        tables.busy(found, 20),
        tables.runs(everybody),
        changed,
    )
    for table in shown:
        assert table.rows
        for row in table.rows:
            assert all(cell.text in page.text for cell in row.cells)


@pytest.mark.parametrize(("n", "pictures"), [(1, 2 + 1 + 1), (2, 2 + 2 + 2)])
def test_pictures_have_names_of_their_own(n: int, pictures: int, texts: dict[int, str]) -> None:
    """Distribution and tail; for each other run mean and percentiles, and the stages. And a flame graph for each."""
    page = Page(texts[n])
    assert page.values("role").count("img") == pictures
    assert page.values("class").count("flame-graph") == n
    ids = Counter(page.values("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    links = [*page.values("href"), *page.values("xlink:href"), *re.findall(r"url\(([^)]*)\)", texts[n])]
    assert len(links) > 10
    assert [link for link in links if link.removeprefix("#") not in ids] == []


def test_bars_are_as_long_as_the_differences(several: list[Comparison], texts: dict[int, str]) -> None:
    """The bars of the stages, as fractions of the longest, against the means of the tables."""
    differing = [difference for difference in several[0].stages.values() if difference.value]
    svg = next(text for text in re.findall(r"<svg.*?</svg>", texts[1], re.DOTALL) if "Mean of each stage" in text)
    # A bar is a closed path of four corners, clipped to the axes: M x y L x y L x y L x y z.
    corner = r"([\d.-]+) ([\d.-]+)\s*"
    paths = re.findall(rf'd="M {corner}L {corner}L {corner}L {corner}z\s*" clip-path', svg)
    widths = [float(path[2]) - float(path[0]) for path in paths]
    assert len(widths) == len(differing) > 5
    longest = max(map(abs, widths))
    largest = max(abs(difference.value) for difference in differing)
    for width, difference in zip(widths, differing, strict=True):
        assert width / longest == pytest.approx(difference.value / largest, abs=0.002)


def test_nothing_is_fetched_from_elsewhere(texts: dict[int, str]) -> None:
    for text in texts.values():
        page = Page(text)
        assert not page.values("src")
        assert [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "base", "form")] == []


@pytest.mark.parametrize(
    ("base", "other"),
    [
        pytest.param(result([Request(0, {RUN: 10}, status="error")]), result([Request(0, {RUN: 10})]), id="none-done"),
        pytest.param(result([], end_us=1000), result([], end_us=1000), id="none-arrived"),
        pytest.param(result([Request(0, {})]), result([Request(0, {})]), id="no-time"),
        pytest.param(result([Request(0, {RUN: 10})]), result([Request(0, {RUN: 10})]), id="equal"),
        pytest.param(
            with_traces(result([Request(0, {RUN: 10})]), {0: "old"}),
            with_traces(result([Request(0, {DISK: 30})]), {0: "new"}),
            id="unpaired",
        ),
    ],
)
def test_a_page_of_little(base: Result, other: Result) -> None:
    page = Page(page_of(compared(base, other)))
    ids = page.values("id")
    few = ["changes", "limits", "runs", "doubts"]
    assert [name for name in ids if name in SECTIONS] in (few, SECTIONS)
    assert "nan" not in page.text.split()


def test_a_page_of_more_runs_than_colours_draws_the_first() -> None:
    runs = [Run(f"r{n}", f"r{n}", result([Request(0, {RUN: 10 + n})])) for n in range(8)]
    found = [compare(runs[0], other) for other in runs[1:]]
    text = page_of(found)
    page = Page(text)
    assert page.values("role").count("img") == 1 + 5 + 5
    assert page.values("class").count("flame-graph") == 5
    assert "The pictures have the first 5 others" in page.text


# In a browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@needs_browser
def test_tables_sort(driver: Chrome, folder: Path, several: list[Comparison]) -> None:
    view(driver)
    opened(driver, folder / "1.html")
    table = driver.find_element(By.CSS_SELECTOR, "#stages table")
    heading = next(h for h in table.find_elements(By.CSS_SELECTOR, "thead th") if h.text == "difference")
    driver.execute_script("arguments[0].click()", heading.find_element(By.TAG_NAME, "button"))
    shown = [text for text in cells(table, 1) if text != "latency"]
    stages = several[0].stages
    expected = sorted((s for s in stages if stages[s].base or stages[s].other), key=lambda s: -stages[s].value)
    assert shown[0] == expected[0].label
    assert shown[-1] == expected[-1].label
    assert [stages[Stage[name.upper()]].value for name in shown] == [stages[s].value for s in expected]


@needs_browser
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("width", [390, 820, 1600])
def test_nothing_sticks_out_at_any_width(n: int, width: int, driver: Chrome, folder: Path) -> None:
    view(driver, width=width)
    opened(driver, folder / f"{n}.html")
    assert driver.execute_script("const e = document.documentElement; return e.scrollWidth - e.clientWidth") == 0
    script = (
        "return [...document.querySelectorAll('h1, h2, h3, h4, p, dl, ul, figure, .scroll')]"
        ".filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)"
        ".map((element) => element.outerHTML.slice(0, 80))"
    )
    assert driver.execute_script(script) == []


@pytest.fixture(scope="module")
def hostile() -> list[Comparison]:
    """Results edited by hand: markup for the name of every VM, resource, function, run, folder, trace and profile."""

    def one(wait_us: int, name: str) -> Result:
        rows = [Request(at, {RUN: 10 + wait_us, DISK: 20 + at}, vm=vm) for at, vm in enumerate(HOSTILE)]
        made = result(rows, resources=[(f"{vm}/{vm}", 1, 10) for vm in HOSTILE])
        profile = made.summary["profile"] | {"name": name, "machine": name, "sha256": name}
        profile["costs_ns"] = {text: float(wait_us) for text in HOSTILE}
        traces = [{"vm": "web", "drive": 0, "trace": name, "sha256": name, "requests": 1}]
        functions = made.functions.assign(stack=f"{HOSTILE[0]};{name}")
        summary = made.summary | {"profile": profile, "traces": traces, "iosim": name}
        return dataclasses.replace(made, functions=functions, summary=summary)

    runs = [Run(name, name, one(wait, name)) for wait, name in enumerate(HOSTILE)]
    return [compare(runs[0], other) for other in runs[1:]]


def test_hostile_names_are_text(hostile: list[Comparison]) -> None:
    page = Page(page_of(hostile))
    plain = Page(page_of(compared(*(result([Request(0, {RUN: us})]) for us in (10, 20, 30)))))
    assert "49" not in re.findall(r"\d+", page.text)
    for name in HOSTILE:
        assert " ".join(name.split()) in page.text
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements} | {"i", "svg", "tr"}
    # The data of each flame graph are in a script element of their own, which is not run.
    programs = [[a for tag, a in each.elements if tag == "script" and a.get("type") is None] for each in (page, plain)]
    assert len(programs[0]) == len(programs[1])


@needs_browser
def test_hostile_names_do_nothing(driver: Chrome, hostile: list[Comparison], tmp_path: Path) -> None:
    write(hostile, changes([hostile[0].base.result, *(c.other.result for c in hostile)]), tmp_path / "page.html")
    opened(driver, tmp_path / "page.html")
    assert driver.execute_script("return window.caught ?? null") is None
