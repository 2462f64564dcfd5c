"""Flame graphs: the tree by hand, the picture without a script, and what the script makes of it in a browser."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from iosim.model.stages import Stage
from iosim.model.units import human_time
from iosim.report import flame
from iosim.report.flame_tree import flame_tree
from iosim.report.page import text
from iosim.results.pictures import COLOURS
from iosim.results.result import Result
from iosim.results.summary import counted
from iosim.results.wording import percent
from tests.browser import browser, complaints, needs_browser, requested, view
from tests.support import Row, scenario, simulate

MS = 1_000_000
ROWS: list[Row] = [(MS, "W", 0, 8), (3 * MS, "R", 0, 8), (5 * MS, "W", 8, 8), (9 * MS, "F", 0, 0)]
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def pio() -> Result:
    return simulate(scenario([{"transfer": "pio", "multiple": 1}]), ROWS)


@pytest.fixture(scope="module")
def dma() -> Result:
    """Two drives; the requests of the first one are those of *pio*."""
    return simulate(scenario([{}, {"index": 2}]), [list(ROWS), [(20 * MS, "R", 0, 64)]])


def by_hand(result: Result, rows: list[tuple[str, str, str, int]]) -> Result:
    """*result* with these rows (carrier, stage, stack, ns) of its writes as the table of functions."""
    columns = ["carrier", "stage", "stack", "total_ns"]
    table = pd.DataFrame(rows, columns=columns).assign(vm="web", drive=0, op="W", sampled=2)
    return replace(result, functions=table[["vm", "drive", "op", *columns[:3], "sampled", "total_ns"]])


HAND = [
    ("vCPU thread", "qemu_submit", "run;exec;submit", 100),
    ("vCPU thread", "vm_entry", "run;exec", 300),
    ("vCPU thread", "qemu_dispatch", "run;exec", 100),
    ("vCPU thread", "vm_exit", "run;leave", 600),
    ("guest", "guest_run", "write", 400),
    ("host disk", "disk_service", "submit_bio", 2000),
    ("waits", "aio_wait", "submit", 500),
]


def test_tree_by_hand(pio: Result) -> None:
    tree = flame_tree([by_hand(pio, HAND)])
    found = [(frame.depth, frame.name, frame.ns(0), sum(frame.own_ns.values())) for frame in tree.frames]
    assert found == [
        (0, "all", 4000, 0),
        (1, "guest", 400, 0),
        (2, "write", 400, 400),
        (1, "vCPU thread", 1100, 0),
        (2, "run", 1100, 0),
        (3, "leave", 600, 600),
        (3, "exec", 500, 400),
        (4, "submit", 100, 100),
        (1, "host disk", 2000, 0),
        (2, "disk_service", 2000, 0),
        (3, "submit_bio", 2000, 2000),
        (1, "waits", 500, 0),
        (2, "aio_wait", 500, 0),
        (3, "submit", 500, 500),
    ]
    assert tree.n_rows == 5
    assert [(group.where, group.op) for group in tree.groups] == [("web drive 0", op) for op in "RWF"]
    assert tree.requests == [[1, 2, 1]]
    assert tree.per_request(tree.frames[0], 0) == 1000  # of four requests, whatever the rows are of
    run = tree.frames[4]
    assert {Stage(stage).label: ns for stage, ns in enumerate(run.total_ns[0]) if ns} == {
        "qemu_submit": 100, "vm_entry": 300, "qemu_dispatch": 100, "vm_exit": 600
    }  # fmt: skip


def test_everything_is_the_latency_of_the_counted_requests(pio: Result, dma: Result) -> None:
    tree = flame_tree([pio, dma])
    for run, result in enumerate((pio, dma)):
        assert tree.frames[0].ns(run) == counted(result.requests)["latency_ns"].sum()
    assert [frame.parent < at for at, frame in enumerate(tree.frames)] == [True] * len(tree.frames)


def test_many_drives_are_shown_together() -> None:
    drives = [{"interface": "virtio-blk"}] * 13
    described = scenario(drives, qemu="1.6", kernel="3.10")
    tree = flame_tree([simulate(described, [(MS, "W", 0, 8), (2 * MS, "R", 0, 8)])])
    assert [(group.where, group.op) for group in tree.groups] == [("all drives", "R"), ("all drives", "W")]
    assert tree.requests == [[13, 13]]


class Picture(HTMLParser):
    """The frames of the first view: (name, class, x, y, width), and the data."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.frames: list[tuple[str, str, float, float, float]] = []
        self.tags: list[str] = []
        self.data = ""
        self._place: tuple[str, float, float, float] | None = None
        self._inside = ""
        self.feed(fragment)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag
        given = dict(attrs)
        if tag == "svg" and str(given["class"]).startswith("fr"):
            x, y, width = (float(str(given[name]).rstrip("%")) for name in ("x", "y", "width"))
            self._place = (str(given["class"]), x, y, width)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "title" and self._place is not None:
            kind, *place = self._place
            self.frames.append((data.rpartition(":")[0], kind, place[0], place[1], place[2]))
        if self._inside == "script":
            self.data += data


def test_first_view_needs_no_script(pio: Result) -> None:
    picture = Picture(flame.fragment(by_hand(pio, HAND)))
    assert [(name, x, y // flame.ROW, width) for name, _, x, y, width in picture.frames] == [
        ("all", 0, 0, 100),
        ("guest", 0, 1, 10),
        ("write", 0, 2, 10),
        ("vCPU thread", 10, 1, 27.5),
        ("run", 10, 2, 27.5),
        ("leave", 10, 3, 15),
        ("exec", 25, 3, 12.5),
        ("submit", 25, 4, 2.5),
        ("host disk", 37.5, 1, 50),
        ("disk_service", 37.5, 2, 50),
        ("submit_bio", 37.5, 3, 50),
        ("waits", 87.5, 1, 12.5),
        ("aio_wait", 87.5, 2, 12.5),
        ("submit", 87.5, 3, 12.5),
    ]
    kinds = {name: kind for name, kind, *_ in picture.frames}
    assert kinds["exec"] == "fr"
    assert kinds["run"] == kinds["disk_service"] == "fr through"
    assert kinds["guest"] == kinds["all"] == "fr who"
    assert 'height="95"' in flame.fragment(by_hand(pio, HAND))


def test_difference_has_the_widths_of_the_second_run_and_the_colours_of_the_change(pio: Result) -> None:
    then = by_hand(pio, [*HAND[:3], ("vCPU thread", "vm_exit", "run;gone", 600), *HAND[4:]])
    now = by_hand(pio, [*HAND[:3], ("vCPU thread", "vm_exit", "run;leave", 500), *HAND[4:6], (*HAND[6][:3], 1000)])
    made = flame.fragment(now, then, "new", "old")
    kinds = {name: kind for name, kind, *_ in Picture(made).frames}
    assert "gone" not in kinds
    assert kinds["leave"] == kinds["waits"] == "fr more"
    assert kinds["run"] == "fr less"  # 1000 instead of 1100: 9 % less
    assert kinds["guest"] == kinds["host disk"] == "fr same"
    shades = dict(re.findall(r'style="--d:(\d+)%"[^\n]*<title>([^:]+):', made))
    assert shades["100"] == "submit"  # twice the time, or new, is all of the colour: the last of them
    assert shades["18"] == "run"  # 100 of 1100, where half is all of it


def test_data_for_the_script(pio: Result, dma: Result) -> None:
    picture = Picture(flame.fragment(pio, dma, "pio", "dma"))
    data = json.loads(picture.data)
    assert [run["name"] for run in data["runs"]] == ["pio", "dma"]
    for run, result in zip(data["runs"], (pio, dma), strict=True):
        assert sum(run["own"][3::4]) == counted(result.requests)["latency_ns"].sum()
        assert sum(run["requests"]) == len(result.requests)
    assert data["stages"] == [[stage.label, COLOURS[stage], flame.ink_on(COLOURS[stage])] for stage in Stage]
    assert data["parents"][0] == -1


def test_hostile_names_are_text(pio: Result) -> None:
    requests = pio.requests.assign(vm=pd.Categorical([HOSTILE] * len(pio.requests)))
    functions = pio.functions.assign(vm=HOSTILE, stack=f"{HOSTILE}&amp")
    hostile = replace(pio, requests=requests, functions=functions)
    made = flame.fragment(hostile, hostile, HOSTILE, HOSTILE)
    picture = Picture(made)
    assert set(picture.tags) == {"div", "svg", "title", "rect", "text", "p", "span", "i", "script"}
    assert picture.tags.count("script") == 1
    assert f"{HOSTILE}&amp" in json.loads(picture.data)["texts"]
    assert not re.search("[<>&]", picture.data)


def test_run_without_counted_requests_has_no_graph() -> None:
    nothing = simulate(scenario(run={"warmup": "1s"}), ROWS)
    assert flame.fragment(nothing) == '<p class="note">No request counts, so there is no flame graph.</p>'
    assert flame.fragment(nothing, nothing) == flame.fragment(nothing)


# In a browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


def opened(driver: Chrome, folder: Path, *fragments: str, width: int = 1000, dark: bool = False) -> None:
    """Show a page with these graphs."""
    style = text("style.css") + text("flame.css")
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>graphs</title><style>{style}</style>'
        f"<main>{''.join(fragments)}</main><script>{text('flame.js')}</script>"
    )
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    view(driver, width=width, dark=dark)
    driver.get(path.as_uri())
    assert complaints(driver) == []
    assert requested(driver) == {path.as_uri()}


def shown(driver: Chrome, graph: int = 0) -> dict[str, float]:
    """The width of each frame of a graph in percent, by name; of equal names the first, the outermost."""
    frames = driver.execute_script(
        "return [...document.querySelectorAll('.flame')[arguments[0]].querySelectorAll('.fr')]"
        ".map((frame) => [frame.getAttribute('aria-label'), frame.getAttribute('width')])",
        graph,
    )
    found: dict[str, float] = {}
    for label, width in frames:
        found.setdefault(label.partition(",")[0], float(width.rstrip("%")))
    return found


def frame_of(driver: Chrome, name: str) -> WebElement:
    """The outermost frame of the first graph with this name."""
    found: WebElement = driver.execute_script(
        "return [...document.querySelectorAll('.fr')]"
        ".find((frame) => frame.getAttribute('aria-label').startsWith(arguments[0] + ','))",
        name,
    )
    return found


def tools(driver: Chrome, graph: int = 0) -> Any:
    return driver.find_elements(By.CLASS_NAME, "flame-tools")[graph]


def said(driver: Chrome) -> str:
    return driver.find_element(By.CLASS_NAME, "flame-say").text


def total(result: Result, name: str) -> int:
    """The time of all chains through the function *name*."""
    through = [name in stack.split(";") for stack in result.functions["stack"]]
    return int(result.functions[through]["total_ns"].sum())


@needs_browser
def test_script_draws_what_stands_there(driver: Chrome, tmp_path: Path, pio: Result) -> None:
    made = flame.fragment(pio)
    opened(driver, tmp_path, made)
    drawn: dict[tuple[str, str], list[list[float]]] = {}
    for frame in driver.find_elements(By.CLASS_NAME, "fr"):
        name = str(frame.get_attribute("aria-label")).partition(",")[0]
        place = [float(str(frame.get_attribute(each)).rstrip("%")) for each in ("x", "y", "width")]
        drawn.setdefault((name, str(frame.get_attribute("class"))), []).append(place)
    expected = [frame for frame in Picture(made).frames if frame[4] * 9.6 >= 1.05]
    assert len(expected) > 40
    for wanted, kind, *place in expected:
        assert any(other == pytest.approx(place, abs=0.01) for other in drawn[wanted, kind]), wanted


@needs_browser
def test_click_zooms_and_reset_comes_back(driver: Chrome, tmp_path: Path, pio: Result) -> None:
    opened(driver, tmp_path, flame.fragment(pio))
    before = shown(driver)
    frame_of(driver, "kvm_handle_io").click()
    zoomed = shown(driver)
    assert {zoomed[name] for name in ("all", "vCPU thread", "kvm_cpu_exec", "kvm_handle_io")} == {100}
    assert "host disk" not in zoomed
    share = before["address_space_rw"] / before["kvm_handle_io"]
    assert zoomed["address_space_rw"] == pytest.approx(100 * share, abs=0.01)
    n = len(pio.requests)
    assert said(driver).startswith(f"kvm_handle_io: {human_time(total(pio, 'kvm_handle_io') / n)} per request; ")
    tools(driver).find_element(By.TAG_NAME, "button").click()
    assert shown(driver) == before
    assert not tools(driver).find_element(By.TAG_NAME, "button").is_enabled()


@needs_browser
def test_search_marks_what_it_finds_and_says_its_share(driver: Chrome, tmp_path: Path, pio: Result) -> None:
    opened(driver, tmp_path, flame.fragment(pio))
    field = tools(driver).find_element(By.TAG_NAME, "input")
    found = tools(driver).find_element(By.TAG_NAME, "output")
    latency = int(counted(pio.requests)["latency_ns"].sum())

    def answer(name: str) -> str:
        ns = total(pio, name)
        return f"{percent(ns / latency)}, {human_time(ns / len(pio.requests))} per request"

    field.send_keys("^ide_sector_write$")
    assert found.text == f"1 frame: {answer('ide_sector_write')}"
    marked = driver.find_elements(By.CLASS_NAME, "hit")
    assert [str(frame.get_attribute("aria-label")).partition(",")[0] for frame in marked] == ["ide_sector_write"]
    assert len(driver.find_elements(By.CLASS_NAME, "miss")) == len(driver.find_elements(By.CLASS_NAME, "fr")) - 1
    # Frames within one another count once.
    field.clear()
    field.send_keys("KVM_CPU_EXEC|vmx_vcpu_run")
    assert found.text.partition(": ")[2] == answer("kvm_cpu_exec")
    field.clear()
    field.send_keys("no such function")
    assert found.text == "nothing found"
    field.clear()
    field.send_keys("vcpu(")
    assert field.get_attribute("aria-invalid") == "true"
    assert found.text == "nothing found"
    field.clear()
    field.send_keys(" ", Keys.BACKSPACE)
    assert driver.find_elements(By.CLASS_NAME, "miss") == []
    assert field.get_attribute("aria-invalid") is None
    assert complaints(driver) == []


@needs_browser
def test_keyboard_moves_and_zooms(driver: Chrome, tmp_path: Path, pio: Result) -> None:
    opened(driver, tmp_path, flame.fragment(pio))

    def press(*keys: str) -> str:
        for key in keys:
            driver.switch_to.active_element.send_keys(key)
        return str(driver.switch_to.active_element.get_attribute("aria-label")).partition(",")[0]

    driver.execute_script("document.querySelector('[data-at=\"0\"]').focus()")
    assert press(Keys.ARROW_DOWN) == "guest"
    assert press(Keys.ARROW_RIGHT) == "vCPU thread"
    assert press(Keys.ARROW_DOWN, Keys.ARROW_DOWN) == "kvm_cpu_exec"
    assert said(driver).startswith("kvm_cpu_exec: ")
    assert press(Keys.ENTER) == "kvm_cpu_exec"
    assert shown(driver)["kvm_cpu_exec"] == 100
    assert press(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_UP) == "all"
    assert press(Keys.ESCAPE) == "all"
    assert shown(driver)["guest"] < 100
    # One stop of the Tab key for the whole graph.
    assert len(driver.find_elements(By.CSS_SELECTOR, '.fr[tabindex="0"]')) == 1


@needs_browser
def test_tooltip_says_time_shares_and_stages(driver: Chrome, tmp_path: Path, pio: Result) -> None:
    opened(driver, tmp_path, flame.fragment(pio))
    tip = driver.find_element(By.CLASS_NAME, "flame-tip")
    assert not tip.is_displayed()
    ActionChains(driver).move_to_element(frame_of(driver, "vcpu_enter_guest")).perform()
    assert tip.is_displayed()
    table = pio.functions[[";vcpu_enter_guest" in stack for stack in pio.functions["stack"]]]
    ns, n = total(pio, "vcpu_enter_guest"), len(pio.requests)
    own = int(table[table["stack"].str.endswith(";vcpu_enter_guest")]["total_ns"].sum())
    stages = table.groupby("stage")["total_ns"].sum().sort_values(ascending=False)
    latency = int(counted(pio.requests)["latency_ns"].sum())
    expected = [
        "vcpu_enter_guest",
        f"per request {human_time(ns / n)}",
        f"share {percent(ns / latency)} of all",
        f"itself {human_time(own / n)}",
        *(f"{stage} {human_time(value / n)}" for stage, value in stages.items()),
    ]
    assert tip.text.splitlines() == expected
    ActionChains(driver).move_to_element(driver.find_element(By.CLASS_NAME, "flame-say")).perform()
    assert not tip.is_displayed()


@needs_browser
def test_drive_and_operation_can_be_chosen_in_each_of_two_graphs(driver: Chrome, tmp_path: Path, dma: Result) -> None:
    opened(driver, tmp_path, flame.fragment(dma), flame.fragment(dma))
    requests = counted(dma.requests)
    first, second = (tools(driver, graph).find_elements(By.TAG_NAME, "select") for graph in (0, 1))
    assert [[option.text for option in select.find_elements(By.TAG_NAME, "option")] for select in first] == [
        ["all", "web drive 0", "web drive 1"],
        ["all", "reads", "writes", "flushes"],
    ]
    first[0].send_keys("web drive 0")
    second[0].send_keys("web drive 1")
    first[1].send_keys("writes")
    sentences = [element.text for element in driver.find_elements(By.CLASS_NAME, "flame-say")]
    for sentence, chosen in zip(
        sentences,
        (requests[(requests["drive"] == 0) & (requests["op"] == "W")], requests[requests["drive"] == 1]),
        strict=True,
    ):
        mean = human_time(chosen["latency_ns"].mean())
        assert sentence.startswith(f"all: {mean} per request; 100.0% of all; {len(chosen)} requests; ")
    assert "ide_set_irq" in shown(driver, 0)
    key = driver.find_elements(By.CSS_SELECTOR, '.flame-key span[data-stage="11"] b')
    disk = requests[requests["drive"] == 1][["disk_service_ns", "latency_ns"]].sum()
    assert key[1].text == percent(disk["disk_service_ns"] / disk["latency_ns"])


@needs_browser
def test_stage_of_the_key_is_marked(driver: Chrome, tmp_path: Path, pio: Result) -> None:
    opened(driver, tmp_path, flame.fragment(pio))
    button = driver.find_element(By.CSS_SELECTOR, f'.flame-key span[data-stage="{int(Stage.AIO_WORKER)}"] button')
    button.click()
    held = {
        str(frame.get_attribute("aria-label")).partition(",")[0]
        for frame in driver.find_elements(By.CLASS_NAME, "held")
    }
    assert {"all", "worker", "worker_thread"} <= held
    assert not held & {"guest", "vCPU thread", "main loop", "host disk", "waits"}
    button.click()
    assert driver.find_elements(By.CLASS_NAME, "miss") == []


@needs_browser
def test_difference_can_be_seen_with_the_widths_of_either_run(
    driver: Chrome, tmp_path: Path, pio: Result, dma: Result
) -> None:
    opened(driver, tmp_path, flame.fragment(dma, pio, "dma", "pio"))
    assert "ide_sector_write" not in shown(driver)
    assert said(driver).startswith("all: dma ")
    widths = next(s for s in tools(driver).find_elements(By.TAG_NAME, "select") if "pio" in s.text)
    widths.send_keys("pio")
    data_word = frame_of(driver, "ide_data_writel")
    assert "less" in str(data_word.get_attribute("class"))
    data_word.click()
    expected = r"ide_data_writel: dma 0 ns per request; pio [\d.]+ us per request; −[\d.]+ us \(−100.0%\)"
    assert re.match(expected, said(driver))
    assert complaints(driver) == []


def contrast(first: str, second: str) -> float:
    """The contrast of two colours of computed styles, by WCAG 2."""

    def luminance(colour: str) -> float:
        numbers = [float(number) for number in re.findall(r"[\d.]+", colour.replace("srgb", ""))][:3]
        levels = [n if colour.startswith("color") else n / 255 for n in numbers]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_names_can_be_read_in_light_and_dark(
    driver: Chrome, tmp_path: Path, pio: Result, dma: Result, dark: bool
) -> None:
    opened(driver, tmp_path, flame.fragment(pio), flame.fragment(dma, pio), dark=dark)
    driver.find_element(By.TAG_NAME, "input").send_keys("kvm_cpu_exec")
    pairs = driver.execute_script(
        "return [...document.querySelectorAll('.fr text')].map((text) => [text, text.parentElement.firstChild]"
        ".map((element) => getComputedStyle(element).fill))"
    )
    assert len({background for _, background in pairs}) > 10
    assert min(contrast(ink, background) for ink, background in pairs) >= 4.5


@needs_browser
def test_nothing_sticks_out_on_a_phone(driver: Chrome, tmp_path: Path, pio: Result, dma: Result) -> None:
    opened(driver, tmp_path, flame.fragment(pio), flame.fragment(pio, dma, "a" * 80, "b" * 80), width=390)
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    frame_of(driver, "kvm_cpu_exec").click()
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@needs_browser
def test_paper_shows_the_whole_graph(driver: Chrome, tmp_path: Path, pio: Result) -> None:
    opened(driver, tmp_path, flame.fragment(pio))
    frame_of(driver, "kvm_cpu_exec").click()
    tools(driver).find_element(By.TAG_NAME, "input").send_keys("vmx")
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    view(driver, paper=True)
    assert shown(driver)["host disk"] < 100
    assert driver.find_elements(By.CLASS_NAME, "miss") == []
    assert not tools(driver).is_displayed()


@needs_browser
def test_hostile_names_do_nothing_in_a_browser(driver: Chrome, tmp_path: Path, pio: Result) -> None:
    requests = pio.requests.assign(vm=pd.Categorical([HOSTILE] * len(pio.requests)))
    functions = pio.functions.assign(vm=HOSTILE, stack=HOSTILE)
    hostile = replace(pio, requests=requests, functions=functions)
    opened(driver, tmp_path, flame.fragment(hostile, pio, HOSTILE, HOSTILE))
    frame_of(driver, HOSTILE).click()
    assert driver.title == "graphs"
    assert said(driver).startswith("</script><script>")
    assert driver.find_elements(By.TAG_NAME, "img") == []
