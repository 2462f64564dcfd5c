"""iosim report --export: what it writes and where, all or nothing, and one line for what is wrong or lacks."""

import io
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import iosim
from iosim.cli import complain
from iosim.exports import command
from iosim.exports.registry import EXPORTS
from iosim.model.errors import ExportError
from iosim.results.result import read, write
from tests.commandline import SCENARIO, Answer, run, write_inputs

FILES = ["blktrace", "csv", "fio.json", "folded.txt", "parquet", "perfetto.json", "speedscope.json"]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a result of three requests at 0, 1 and 2 ms, with the spans of two of them."""
    folder = tmp_path_factory.mktemp("export")
    write_inputs(folder, f"[run]\nslowest = 2\n{SCENARIO}")
    return simulate(folder)


def simulate(folder: Path, *changes: str) -> Path:
    """Run the scenario in *folder* and return the folder of its result, without pictures."""
    scenario = iosim.load(folder / "scenario.toml", list(changes))
    write(iosim.simulate(scenario), folder / "out", "", pictures=False)
    return folder / "out"


@pytest.fixture
def written(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of *simulated* with its inputs beside it, called out, in the working folder."""
    shutil.copytree(simulated.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("out")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / command.FOLDER).iterdir())


def export(
    *wanted: str, slowest: int | None = None, window: str | None = None, folders: Sequence[str] = ("out",)
) -> Answer:
    """Write the exports *wanted* without the page: the status, what was written, what was said of it."""
    said: list[str] = []
    notes: list[str] = []

    def fails(message: str) -> int:
        notes.append(message)
        return 2

    wish = command.parse(wanted, slowest, window)
    status = command.write_all(
        [Path(name) for name in folders], wish, said.append, notes.append, Console(quiet=True), fails
    )
    return Answer(status, "\n".join(said), "\n".join(notes))


def test_all_exports_are_written_beside_the_page_and_named(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "report", "out", "--export", "all")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "Written to out/report.html",
        "Written to out/exports/perfetto.json",
        "Written to out/exports/folded.txt",
        "Written to out/exports/speedscope.json",
        "Written to out/exports/fio.json",
        "Written to out/exports/blktrace/",
        "Written to out/exports/csv/",
        "Written to out/exports/parquet/",
    ]
    assert names(written) == FILES


def test_an_export_replaces_that_of_an_earlier_call_and_no_other(written: Path) -> None:
    assert export("csv", "fio").status == 0
    (written / "exports" / "csv" / "old.csv").touch()
    before = (written / "exports" / "fio.json").stat().st_mtime_ns
    assert export("csv").status == 0
    assert not (written / "exports" / "csv" / "old.csv").exists()
    assert (written / "exports" / "fio.json").stat().st_mtime_ns == before
    assert names(written) == ["csv", "fio.json"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--export", "fo"],
            "--export must be one of perfetto, folded, speedscope, fio, blktrace, csv, parquet, all, got 'fo'",
        ),
        (["--export", "fio", "--slowest", "3"], "--slowest and --window choose the requests of --export perfetto"),
        (["--window", "0s..1s"], "--slowest and --window choose the requests of --export perfetto"),
        (["--export", "perfetto", "--slowest", "0"], "--slowest must be at least 1, got 0"),
        (["--export", "all", "--slowest", "1", "--window", "0s..1s"], "--slowest and --window exclude each other"),
        (["--export", "all", "--window", "1s"], "--window must be START..END, such as 1.5s..1.6s, got '1s'"),
        (
            ["--export", "all", "--window", "1..2s"],
            "--window: START and END must have one of the units ns, us, ms, s, min, h, got '1..2s'",
        ),
        (["--export", "all", "--window", "2s..2s"], "--window must end after it starts, got '2s..2s'"),
    ],
)
def test_bad_options_are_one_line_before_anything_is_written(
    written: Path, capsys: pytest.CaptureFixture[str], options: list[str], line: str
) -> None:
    answer = run(capsys, "report", "out", *options)
    assert (answer.status, answer.out, answer.err) == (2, "", f"iosim: {line}\n")
    assert not (written / "report.html").exists()


def test_a_window_without_requests_says_what_there_is_and_writes_nothing(written: Path) -> None:
    answer = export("all", window="50ms..60ms")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith(
        "no request is under way in 50ms..60ms; spans are recorded of 2 requests, between 0 ns and "
    )
    assert not (written / "exports").exists()


def test_what_lacks_is_said_with_how_to_get_it(written: Path) -> None:
    answer = export("perfetto", window="0s..2.5ms")
    changes = ['run.window.start="0s"', 'run.window.end="2500us"']
    assert answer.status == 0
    assert answer.err == (
        "perfetto: spans are recorded of 2 of the 3 requests under way in 0s..2500us, and only these are shown; "
        f"run the scenario with --set '{changes[0]}' --set '{changes[1]}' for all of them"
    )
    simulate(Path(), *changes)
    assert export("perfetto", window="0s..2.5ms").err == ""
    assert export("perfetto", slowest=3).err == ""


def test_more_of_the_slowest_than_the_run_has_kept(written: Path) -> None:
    assert export("perfetto", slowest=3).err == (
        "perfetto: spans are recorded of 2 of the 3 requests that are the slowest, and only these are shown; "
        "run the scenario with --set run.slowest=3 for all of them"
    )
    events = json.loads((written / "exports" / "perfetto.json").read_text())["traceEvents"]
    requests = pd.read_parquet(written / "requests.parquet").sort_values("latency_ns", ascending=False)
    shown = {event["args"]["request"] for event in events if event["ph"] == "b"}
    assert shown == set(requests["request"].head(2))


def test_a_run_without_spans(written: Path) -> None:
    simulate(Path(), "run.slowest=0")
    answer = export("all")
    assert (answer.status, answer.err) == (0, "perfetto: left out, because no spans are recorded")
    assert names(written) == [name for name in FILES if name != "perfetto.json"]
    answer = export("perfetto")
    remedy = "run the scenario with --set run.slowest=10 for all of them"
    assert (answer.status, answer.err) == (2, f"no spans are recorded; {remedy}")


def test_a_run_that_has_met_its_limit_of_spans_says_so(written: Path) -> None:
    result = read(written)
    one = result.spans[result.spans["request"] == result.spans["request"].iloc[0]]
    write(replace(result, spans=one), written, "", pictures=False)
    assert export("perfetto", slowest=2).err == (
        "perfetto: spans are recorded of 1 of the 2 requests that are the slowest, and only these are shown; "
        "a run keeps at most 2,000,000 spans"
    )


def test_one_result_that_fails_does_not_stop_the_others(written: Path) -> None:
    answer = export("fio", folders=["nowhere", "out"])
    assert answer == Answer(2, "Written to out/exports/fio.json", "nowhere: is not a folder")
    assert names(written) == ["fio.json"]


def test_a_folder_that_cannot_be_written_is_one_line(written: Path) -> None:
    (written / "exports").write_text("")
    assert export("fio") == Answer(2, "", "out/exports: File exists")


def test_an_export_that_fails_leaves_none_behind(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(result: object, path: Path, choice: object, say: object) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(EXPORTS, "parquet", EXPORTS["parquet"]._replace(write=full))
    assert export("csv", "parquet") == Answer(2, "", "out/exports: No space left on device")
    assert not (written / "exports").exists()


def test_what_is_being_written_is_shown_on_a_terminal(written: Path) -> None:
    screen = io.StringIO()
    said: list[str] = []
    console = Console(file=screen, force_terminal=True, width=80)
    wish = command.parse(["csv"], None, None)
    assert command.write_all([written], wish, said.append, said.append, console, complain) == 0
    assert "writing csv" in screen.getvalue()
    assert said == ["Written to out/exports/csv/"]


def test_every_export_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "exports.md").read_text()
    for export in EXPORTS.values():
        assert f"`{export.target}`" in page or f"`{export.target}/`" in page
        assert f"## `{export.name}`" in page


def test_examples_of_the_documentation_run(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "exports.md").read_text()
    shutil.copytree(written, "reports/demo")
    assert export("all", folders=["reports/demo"]).status == 0
    examples = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "docs/exports.md", "exec"), {})
    assert capsys.readouterr().out == "3 3\n"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ExportError, match=r"^--export must be one of "):
        command.parse(["", "fio"], None, None)
