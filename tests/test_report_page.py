"""The page: whole, in one file, opened in a browser; no name in a result can make it do anything."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from iosim import scenario_file
from iosim.model.stages import Stage
from iosim.report import page_tables, request_tables
from iosim.report.doubts import doubts
from iosim.report.findings import story
from iosim.report.page import html
from iosim.results.result import Result, write
from tests.browser import browser, complaints, needs_browser, requested, view
from tests.commandline import run
from tests.made import Request, result
from tests.support import drawn_profile, scenario, simulate
from tests.test_flame import frame_of, shown

RUN, DISK = Stage.GUEST_RUN, Stage.DISK_SERVICE
SECTIONS = ["latency", "stages", "calls", "exits", "limits", "time", "slowest", "inputs", "doubts"]


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._text: list[str] = []
        self._silent = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._text.append(data)

    @cached_property
    def text(self) -> str:
        return " ".join("".join(self._text).split())

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


@pytest.fixture(scope="module")
def several() -> Result:
    """Four VMs on a host of two CPUs with a failing disk, events, page cache and wear, and one in PIO mode."""
    rng = np.random.default_rng(3)
    rows = [(at * 700_000, str(op), 0 if op == "F" else at * 8, 0 if op == "F" else 8)
            for at, op in enumerate(rng.choice(list("RWWF"), 24))]  # fmt: skip
    ssd = {"model": "ssd", "over_provisioning": 0.5, "filled": False, "capacity": "64MiB", "fault": [{"end": "3ms"}]}
    events = [{"at": "5ms", "kind": "stop"}, {"at": "9ms", "kind": "cont"}]
    vms = [{"name": "web", "count": 4, "event": events, "drive": [{"cache": "writeback"}, {"interface": "virtio-blk"}]}]
    vms.append({"name": "old", "drive": [{"transfer": "pio"}]})
    traces = [rows, rows, [(9_000_000, "W", 0, 1), (9_000_000, "R", 8, 1)]]
    return simulate(scenario(disks=[ssd], vms=vms, host={"cpus": 2}), traces, drawn_profile())


@pytest.fixture(scope="module")
def text(several: Result) -> str:
    return html(several, "several")


@pytest.fixture(scope="module")
def folder(several: Result, text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "several"
    write(several, folder, scenario_file.to_toml(several.scenario), pictures=False)
    (folder / "report.html").write_text(text, encoding="utf-8")
    return folder


def test_the_page_has_every_section_every_table_and_every_word(several: Result, text: str) -> None:
    page = Page(text)
    ids = page.values("id")
    assert [name for name in ids if name in (*SECTIONS, "drives", "events", "storage")] == [
        *SECTIONS[:-2], "drives", "events", "storage", *SECTIONS[-2:]
    ]  # fmt: skip
    for sentence in (*story(several).sentences, *doubts(several)):
        assert " ".join(sentence.split()) in page.text
    for table in (
        page_tables.percentiles(several),
        page_tables.exits(several),
        page_tables.resources(several),
        request_tables.slowest(several),
        request_tables.drives(several),
        request_tables.events(several),
        request_tables.page_cache(several),
        request_tables.wear(several),
    ):
        assert table is not None
        assert table.rows
        for row in table.rows:
            assert all(cell.text in page.text for cell in row.cells)


def test_links_lead_to_sections_and_names_are_unique(text: str) -> None:
    page = Page(text)
    ids = Counter(page.values("id"))
    assert [name for name, n in ids.items() if n > 1] == []
    links = [*page.values("href"), *page.values("xlink:href"), *re.findall(r"url\(([^)]*)\)", text)]
    inside = [link for link in links if not link.startswith("data:image/png;base64,")]
    assert len(inside) > 20
    assert [link for link in inside if link.removeprefix("#") not in ids] == []


def test_nothing_is_fetched_from_elsewhere(text: str) -> None:
    page = Page(text)
    assert not page.values("src")
    assert [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "base", "form")] == []
    policy = next(attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes)
    assert "default-src 'none'" in policy


def test_many_vms_are_not_as_many_lines() -> None:
    """With 64 VMs a picture has three of them and all together: as many lines in its key as with 20."""

    def n_lines(n: int) -> int:
        rows = [Request(at, {RUN: 10, DISK: 20}, vm=f"web#{at}") for at in range(n)]
        described = scenario(vms=[{"name": "web", "count": n, "drive": [{}]}])
        resources = [(f"web#{at}/{part}", 1, 10) for at in range(n) for part in ("vcpu0", "bql", "channel0")]
        return html(result(rows, described, resources=resources), "x").count('<i style="background:var(--')

    assert n_lines(64) == n_lines(20) == 2 + 3 + 3 * 4


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(result([Request(0, {RUN: 10}, status="unfinished")]), id="none-done"),
        pytest.param(result([Request(0, {RUN: 10}, status="error")]), id="all-failed"),
        pytest.param(result([Request(0, {})]), id="no-time"),
        pytest.param(result([Request(0, {RUN: 10})]), id="one"),
        pytest.param(result([], end_us=1000), id="none-arrived"),
    ],
)
def test_a_page_of_little(made: Result) -> None:
    page = Page(html(made, "little"))
    assert [name for name in page.values("id") if name in SECTIONS] == SECTIONS
    assert "nan" not in page.text.split()


# The command


def test_the_command_writes_the_same_page_for_the_same_result(
    folder: Path, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    before = sorted(path.name for path in folder.iterdir())
    (folder / "report.html").unlink()
    answer = run(capsys, "report", str(tmp_path / "bad"), str(folder))
    assert answer.status == 2
    assert answer.err == f"iosim: {tmp_path / 'bad'}: holds no result of iosim run (no summary.json of one)\n"
    assert answer.out == f"Written to {folder / 'report.html'}\n"
    assert sorted(path.name for path in folder.iterdir()) == before
    assert (folder / "report.html").read_text(encoding="utf-8") == text
    assert not list((tmp_path / "bad").iterdir())


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(result([Request(0, {RUN: 10})]), tmp_path / "out", "", pictures=False)
    (tmp_path / "out" / "report.html").mkdir()
    before = sorted(path.name for path in (tmp_path / "out").iterdir())
    answer = run(capsys, "report", str(tmp_path / "out"))
    assert answer == (2, "", f"iosim: {tmp_path / 'out' / 'report.html'}: Is a directory\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == before


# In a browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


def opened(driver: Chrome, path: Path) -> None:
    """Open the page and see that it is content with itself and asks for nothing else."""
    driver.get(path.as_uri())
    assert complaints(driver) == []
    assert requested(driver) == {path.as_uri()}
    entries = driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in entries if not name.startswith("data:")] == []


@pytest.fixture
def page(driver: Chrome, folder: Path) -> Chrome:
    view(driver)
    opened(driver, folder / "report.html")
    return driver


def cells(table: WebElement, column: int) -> list[str]:
    return [cell.text for cell in table.find_elements(By.CSS_SELECTOR, f"tbody tr:first-child td:nth-child({column})")]


def test_the_slowest_requests_have_timelines(several: Result, text: str) -> None:
    assert several.summary["requests"]["with_spans"] == 50
    assert text.count('<div class="lanes"') == 50


@needs_browser
def test_tables_sort_on_click_and_by_the_keyboard(page: Chrome, several: Result) -> None:
    table = page.find_element(By.CSS_SELECTOR, "table[aria-label='The slowest requests']")
    headings = table.find_elements(By.CSS_SELECTOR, "thead th")
    names = [heading.text for heading in headings]
    latency = next(heading for heading in headings if heading.text.startswith("latency"))
    assert latency.get_attribute("aria-sort") == "descending"
    exits = names.index("exits") + 1
    expected = several.requests.nlargest(50, "latency_ns")["exits"].tolist()
    assert cells(table, exits) == [f"{n:,}" for n in expected]

    button = headings[exits - 1].find_element(By.TAG_NAME, "button")
    page.execute_script("arguments[0].click()", button)
    # The column of the timelines has no name and is not sorted by.
    orders = [heading.get_attribute("aria-sort") for heading in headings]
    assert (orders.count("none"), orders.count(None)) == (len(headings) - 2, 1)
    assert headings[exits - 1].get_attribute("aria-sort") == "descending"
    assert cells(table, exits) == [f"{n:,}" for n in sorted(expected, reverse=True)]

    button.send_keys(Keys.ENTER)
    assert headings[exits - 1].get_attribute("aria-sort") == "ascending"
    assert cells(table, exits) == [f"{n:,}" for n in sorted(expected)]

    headings[names.index("VM")].find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    vms = cells(table, names.index("VM") + 1)
    assert vms == sorted(vms)
    assert len(set(vms)) > 1
    assert complaints(page) == []


@needs_browser
def test_a_timeline_unfolds_below_its_request_and_goes_with_it(page: Chrome) -> None:
    table = page.find_element(By.CSS_SELECTOR, "table[aria-label='The slowest requests']")
    buttons = table.find_elements(By.CSS_SELECTOR, "button[aria-controls]")
    lanes = [page.find_element(By.ID, str(button.get_attribute("aria-controls"))) for button in buttons]
    assert [lane.is_displayed() for lane in lanes] == [True] + [False] * 49
    for button in buttons[:2]:
        page.execute_script("arguments[0].click()", button)
    assert [lane.is_displayed() for lane in lanes[:3]] == [False, True, False]
    assert [button.get_attribute("aria-expanded") for button in buttons[:3]] == ["false", "true", "false"]
    picture = lanes[1].find_element(By.TAG_NAME, "svg")
    assert picture.get_attribute("aria-label") == buttons[1].get_attribute("aria-label")

    exits = table.find_element(By.XPATH, ".//th[.='exits']/button")
    page.execute_script("arguments[0].click(); arguments[0].click()", exits)
    rows = table.find_elements(By.TAG_NAME, "tr")
    at = next(at for at, row in enumerate(rows) if buttons[1] in row.find_elements(By.TAG_NAME, "button"))
    assert rows[at + 1] == lanes[1]
    assert lanes[1].is_displayed()


@needs_browser
def test_the_call_chain_zooms_and_finds_functions(page: Chrome) -> None:
    before = shown(page)
    assert 0 < before["disk_service"] < 100
    frame_of(page, "disk_service").click()
    assert shown(page)["disk_service"] == 100
    page.find_element(By.CSS_SELECTOR, "#calls .flame-tools button").click()
    page.find_element(By.CSS_SELECTOR, "#calls .flame-tools input").send_keys("^ide_sector_write$")
    assert page.find_element(By.CSS_SELECTOR, "#calls .flame-tools output").text.startswith("1 frame: ")
    assert complaints(page) == []


@needs_browser
def test_colours_follow_the_system_until_the_button_chooses(page: Chrome) -> None:
    def colours() -> tuple[str, str]:
        return tuple(
            page.execute_script("const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]")
        )

    light = colours()
    view(page, dark=True)
    dark = colours()
    assert brightness(light[0]) > 240 > 60 > brightness(light[1])
    assert brightness(dark[0]) < 60 < 200 < brightness(dark[1])
    button = page.find_element(By.CSS_SELECTOR, "button.theme")
    button.click()
    assert colours() == light
    button.click()
    assert colours() == dark
    view(page, dark=True, paper=True)
    assert brightness(colours()[0]) == 255
    assert brightness(colours()[1]) < 60


def brightness(colour: str) -> float:
    """The mean of red, green and blue in "rgb(1, 2, 3)"."""
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


@needs_browser
def test_pictures_are_drawn_in_the_colours_of_the_page(page: Chrome) -> None:
    """What is drawn in the colour of the text is light on dark and dark on light."""
    script = (
        "return [...document.querySelectorAll('#latency svg path')]"
        ".map((path) => getComputedStyle(path).stroke).filter((colour) => colour.startsWith('rgb'))"
    )
    light = page.execute_script(script)
    view(page, dark=True)
    dark = page.execute_script(script)
    assert len(light) == len(dark) > 20
    assert all(a != b for a, b in zip(light, dark, strict=True))


@needs_browser
@pytest.mark.parametrize("width", [390, 820, 1600])
def test_nothing_sticks_out_at_any_width(page: Chrome, width: int) -> None:
    view(page, width=width)
    assert page.execute_script("const e = document.documentElement; return e.scrollWidth - e.clientWidth") == 0
    script = (
        "return [...document.querySelectorAll('h1, h2, h3, h4, p, dl, ul, .bar, figure, .scroll, pre')]"
        ".filter((element) => element.checkVisibility())"
        ".filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)"
        ".map((element) => element.outerHTML.slice(0, 80))"
    )
    assert page.execute_script(script) == []


@needs_browser
def test_paper_has_the_scenario_and_tables_in_full(page: Chrome) -> None:
    details = page.find_element(By.XPATH, "//details[summary='The scenario as resolved']")
    assert details.get_attribute("open") is None
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert details.get_attribute("open") == "true"
    view(page, width=700, paper=True)
    script = "return [...document.querySelectorAll('.scroll, pre')].filter((e) => e.scrollHeight > e.clientHeight + 1)"
    assert page.execute_script(script) == []
    page.execute_script("dispatchEvent(new Event('afterprint'))")
    assert details.get_attribute("open") is None


HOSTILE = [
    "<script>window.caught = 1</script>",
    '"><img src="https://example.org/x.png" onerror="window.caught = 2">',
    "</style><script>window.caught = 3</script>",
    "{{ 7 * 7 }}{% raw %}",
    "'; window.caught = 4; //",
    "]]><svg onload='window.caught = 5'>",
    "$\\frac{1}{2}$",
]


@pytest.fixture(scope="module")
def hostile() -> Result:
    """A result edited by hand: markup for the name of every VM, resource, reason, function, file, cost profile."""
    rows = [Request(at, {RUN: 10, DISK: 20 + at}, vm=name) for at, name in enumerate(HOSTILE)]
    exits = [(name, 0, name, False, 1, 1, 1, 1, 1, 1) for name in HOSTILE]
    resources = [(f"{name}/{part}", 1, 10) for name in HOSTILE for part in ("vcpu0", name)]
    made = result(rows, exits=exits, resources=resources, slowest=range(len(HOSTILE)))
    made = dataclasses.replace(
        made,
        spans=made.spans.assign(function=HOSTILE[0], thread=HOSTILE[1]),
        events=pd.DataFrame([(0, name, -1, -1, name, name) for name in HOSTILE], columns=made.events.columns),
    )
    for name in HOSTILE:
        made.summary["traces"].append({"vm": name, "drive": 0, "trace": name, "sha256": name, "requests": 1})
        made.summary["libraries"][name] = name
    made.summary["profile"] |= {"name": HOSTILE[0], "machine": HOSTILE[1], "figures": {"assumed": 3, HOSTILE[2]: 1}}
    made.summary["wear"][HOSTILE[0]] = dict.fromkeys(("pages_written", "pages_programmed", "blocks_erased"), 1) | {
        "write_amplification": 1.0
    }
    return made


def test_hostile_names_are_text(hostile: Result) -> None:
    page = Page(html(hostile, HOSTILE[1]))
    tags = Counter(tag for tag, _ in page.elements)
    assert tags["script"] == 3
    assert tags["style"] == 1
    assert tags["img"] == 0
    for name in HOSTILE:
        assert page.text.count(" ".join(name.split())) > 5


@needs_browser
def test_hostile_names_do_nothing_in_a_browser(hostile: Result, driver: Chrome, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(html(hostile, HOSTILE[0]), encoding="utf-8")
    opened(driver, path)
    assert driver.execute_script("return window.caught") is None
    assert driver.title.startswith(HOSTILE[0])
    assert driver.find_element(By.TAG_NAME, "h1").text.startswith(HOSTILE[0])
