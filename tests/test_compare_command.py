"""iosim compare from end to end: real runs, its page's file, and what it refuses in one line."""

import json
import resource
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

import iosim
from iosim.results.result import write
from tests.commandline import SCENARIO, TRACE, Answer, run, write_inputs
from tests.test_bad_input import contents

N_ROWS = 120


def simulated(folder: Path, name: str, *changes: str) -> None:
    """Run folder/scenario.toml with these changes and write the result to folder/name."""
    result = iosim.simulate(iosim.load(folder / "scenario.toml", changes))
    write(result, folder / name, "", pictures=False)


def write_trace(folder: Path, sectors: int = 8) -> None:
    rows = "".join(f"{2000 * at},{'WR'[at % 2]},{8 * at},{sectors}\n" for at in range(N_ROWS))
    (folder / "trace.csv").write_text(f"time_us,op,sector,sectors\n{rows}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one scenario: as it is, with a slower disk, with another trace."""
    folder = tmp_path_factory.mktemp("compare")
    write_inputs(folder)
    write_trace(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        simulated(folder, "base")
        simulated(folder, "slow", "host.disk.sda.service=100us")
        write_trace(folder, sectors=16)
        simulated(folder, "other")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with these results, which is the working folder."""
    for name in ("base", "slow", "other"):
        shutil.copytree(made / name, tmp_path / name)
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    (tmp_path / "trace.csv").write_text(TRACE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(answer: Answer) -> str:
    return " ".join(answer.out.split())


# Real runs


def test_ten_microseconds_more_at_the_disk(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "compare", "base", "slow")
    assert (answer.status, answer.err) == (0, "")
    assert "host.disk.sda.service 90us 100us" in lines(answer)
    assert "slow raises the latency of each request by the same 10.0 us" in lines(answer)
    assert "All of it is in disk_service (+10.0 us)." in lines(answer)


def test_a_run_with_another_trace_is_not_paired(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "compare", "base", "other")
    assert answer.status == 0
    checksums = [
        json.loads(Path(name, "summary.json").read_text())["traces"][0]["sha256"] for name in ("base", "other")
    ]
    first, second = (f"trace.csv ({checksum[:8]})" for checksum in checksums)
    assert f"vm.web.drive.0.trace {first} {second}" in lines(answer)
    assert "Nothing is paired: the traces of base and other have different content." in lines(answer)
    assert "each pair" not in answer.out


def test_a_cost_of_an_own_profile(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 us more for the system call of each write: half of the requests."""
    profile = (resources.files("iosim") / "profiles" / "vmx-2013.toml").read_text(encoding="utf-8")
    head, key, rest = profile.partition("[cost.worker.pwrite_enter]\n")
    value, _, rest = rest.partition("\n")
    assert value.startswith("value = ")
    write_trace(folder)
    Path("scenario.toml").write_text(SCENARIO.replace("vmx-2013", "own.toml"))
    for name, cost in (("before", "2us"), ("after", "3us")):
        Path("own.toml").write_text("".join([head, key, f'value = "{cost}"\n', rest]))
        simulated(folder, name)
    answer = run(capsys, "compare", "before", "after")
    assert "cost.worker.pwrite_enter 2.00 us 3.00 us" in lines(answer)
    assert "after raises the mean latency by 500 ns" in lines(answer)
    assert "All of it is in aio_worker (+500 ns)." in lines(answer)


# The page's file


def test_a_page_is_written_where_it_is_asked_for_and_written_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = run(capsys, "compare", "base", "slow")
    before = contents(folder)
    for other in ("slow", "other"):
        answer = run(capsys, "compare", "base", other, "--out", "pages/new/page.html")
        assert (answer.status, answer.err) == (0, "")
        assert answer.out.endswith("Written to pages/new/page.html\n")
        page = Path("pages/new/page.html").read_text(encoding="utf-8")
        assert f"<title>{other} against base – iosim compare</title>" in page
    assert contents(folder).keys() - before.keys() == {"pages", "pages/new", "pages/new/page.html"}
    assert run(capsys, "compare", "base", "slow").out == plain.out


def test_without_out_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(folder)
    assert run(capsys, "compare", "base", "slow", "other").status == 0
    assert contents(folder) == before


def test_a_full_disk_leaves_the_earlier_page_and_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "compare", "base", "slow", "--out", "page.html").status == 0
    before = contents(folder)

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    command = [sys.executable, "-m", "iosim", "compare", "base", "other", "--out", "page.html"]
    answer = subprocess.run(command, preexec_fn=small_files_only, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (2, "iosim: page.html: File too large\n")
    assert contents(folder) == before


# What is refused: one line, status 2, nothing written


def refused(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    before = contents(folder)
    answer = run(capsys, "compare", *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert contents(folder) == before
    assert answer.err.startswith("iosim: ")
    assert answer.err.endswith("\n")
    assert answer.err.count("\n") == 1
    return answer.err.removeprefix("iosim: ").removesuffix("\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["base"], "base: compare needs another result beside it"),
        (["base", "base"], "base: is the same folder as base"),
        (["base", "slow", "./slow/"], "slow: is the same folder as slow"),
        (["base", "link"], "link: is the same folder as base"),
        (["base", "nowhere"], "nowhere: is not a folder"),
        (["scenario.toml", "base"], "scenario.toml: is not a folder"),
        (["base", "."], ".: holds no result of iosim run (no summary.json of one)"),
        (["base", "slow", "--out", "page.txt"], "page.txt: a page's name must end in .html"),
        (["base", "slow", "--out", "base"], "base: a page's name must end in .html"),
        (["base", "slow", "--out", "folder.html"], "folder.html: is a folder"),
        (
            ["base", "slow", "--out", "mine.html"],
            "mine.html: is no page of an earlier iosim compare; choose another name",
        ),
        (
            ["base", "slow", "--out", "binary.html"],
            "binary.html: is no page of an earlier iosim compare; choose another name",
        ),
        (["base", "slow", "--out", "trace.csv/x.html"], "trace.csv/x.html: cannot be made, trace.csv is not a folder"),
        (["base", "slow", "--out", "x" * 300 + ".html"], "x" * 300 + ".html: File name too long"),
    ],
)
def test_arguments_that_are_refused(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("link").symlink_to("base")
    Path("folder.html").mkdir()
    Path("mine.html").write_text("<title>mine</title>")
    Path("binary.html").write_bytes(b"\xff\xfe\x00" * 2000)
    assert refused(folder, capsys, *arguments) == message


def test_without_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(folder, capsys) == "Missing argument 'folders'."


def test_a_damaged_result_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("slow/requests.parquet").write_bytes(b"PAR1")
    assert refused(folder, capsys, "base", "slow").startswith("slow/requests.parquet: cannot be read: ")
    Path("slow/requests.parquet").unlink()
    assert refused(folder, capsys, "base", "slow") == "slow/requests.parquet: is missing; run the scenario again"
    Path("slow/summary.json").write_text('{"summary_version": 0, "iosim": "0"}')
    expected = "slow/summary.json: summary_version must be 1, got 0; run the scenario again"
    assert refused(folder, capsys, "base", "slow") == expected


def test_the_report_of_a_run_is_not_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "report", "base").status == 0
    message = "base/report.html: is no page of an earlier iosim compare; choose another name"
    assert refused(folder, capsys, "base", "slow", "--out", "base/report.html") == message


def test_a_folder_of_a_hostile_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "[red]\x1b[31m<b>"
    Path("slow").rename(name)
    answer = run(capsys, "compare", "base", name, "--out", "page.html")
    assert answer.status == 0
    assert "\x1b" not in answer.out
    assert "[red]?[31m<b> raises the latency" in answer.out
    page = Path("page.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "[red]?[31m&lt;b&gt;" in page
    assert "\x1b" not in page
