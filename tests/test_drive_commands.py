"""`iosim calibrate disk` and `iosim validate disk`, from a recording to a scenario that runs."""

import json
import tomllib
from pathlib import Path

import pytest

from iosim.drives.disk_file import read_disk, to_toml
from tests import drive_recordings as made
from tests.commandline import TRACE, run, write_inputs
from tests.test_disksim_files import SPECS, drive


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.write(made.recorded(1_200, seed=3), tmp_path_factory.mktemp("recording") / "drive.trace")


@pytest.mark.parametrize("model", ["disksim", "hdd", "empirical"])
def test_disk_is_made_judged_and_run(
    tmp_path: Path, recording: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run(capsys, "calibrate", "disk", str(recording), "--model", model, "--out", "disk.toml")
    assert (answer.status, answer.err) == (0, "")
    assert "1,200 requests, format drive" in answer.out
    assert "First half, fitted" in answer.out
    assert "Second half, held out" in answer.out
    text = (tmp_path / "disk.toml").read_text(encoding="utf-8")
    assert f"# Recording: {recording}, 1,200 requests" in text
    assert "# second half, held out: 600 requests, demerit" in text
    assert tomllib.loads(text)["host"]["disk"][0]["model"] == model
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        ["disk.csv", "disk.toml"] if model == "empirical" else ["disk.toml"]
    )

    answer = run(
        capsys, "validate", "disk", str(recording), "--disk", "disk.toml", "--json", "found.json", "--picture", "c.png"
    )
    assert (answer.status, answer.err) == (0, "")
    assert "1,200 requests, closed loop with the recorded think times" in answer.out
    assert "Not explained" in answer.out
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["matches"][0]["name"] == "all requests"
    assert found["matches"][0]["n_measured"] == found["matches"][0]["n_predicted"] == 1_200
    assert found["matches"][0]["relative_demerit"] < 0.15
    assert (tmp_path / "c.png").stat().st_size > 10_000

    scenario = '[host]\nprofile = "vmx-2013"\n' + text + '[[vm]]\nname = "web"\n[[vm.drive]]\ntrace = "trace.csv"\n'
    write_inputs(tmp_path, scenario, TRACE)
    answer = run(capsys, "run", "scenario.toml", "--out", "out")
    assert (answer.status, answer.err) == (0, "")
    assert f"disk sda ({model})" in answer.out
    resolved = tomllib.loads((tmp_path / "out" / "scenario.toml").read_text(encoding="utf-8"))
    assert resolved["host"]["disk"][0]["model"] == model


def test_disk_of_disksims_files_needs_no_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(tmp_path, specs=SPECS.replace("transfer time = 0.1", "transfer time = 0"))
    monkeypatch.chdir(tmp_path)
    answer = run(capsys, "calibrate", "disk", "--diskspecs", "drive.diskspecs", "--out", "d.toml", "--name", "old")
    assert (answer.status, answer.err) == (0, "")
    assert "bus_rate is assumed, 9999872B" in answer.out
    described, model = read_disk(tmp_path / "d.toml")
    assert (described.name, model.sectors) == ("old", 2_435)  # type: ignore[attr-defined]


def test_bus_of_disksims_files_comes_from_the_recording(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(tmp_path, specs=SPECS.replace("transfer time = 0.1", "transfer time = 0"))
    small = (tmp_path / "drive.model").read_text(encoding="utf-8")
    large = small.replace("Last cylinder number = 29", "Last cylinder number = 60000")
    (tmp_path / "drive.model").write_text(large, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    answer = run(capsys, "calibrate", "disk", str(recording), "--diskspecs", "drive.diskspecs", "--out", "d.toml")
    assert (answer.status, answer.err) == (0, "")
    assert "bus_rate is from the recording: 50.0 +- 0.0 us per sector" in answer.out


def test_disk_in_a_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    disk = {
        "name": "sda",
        "model": "disksim",
        "heads": 2,
        "seek": [[n, f"{n}us"] for n in range(1, 200)],
        "read_hit": ["1us", "2us"],
        "most_ahead": False,
        "watermark": 0.25,
        "zone": [
            {"first_cylinder": 0, "cylinders": 3, "sectors_per_track": 9, "slips": [1, 5]},
            {"first_cylinder": 3, "cylinders": 300, "sectors_per_track": 8},
        ],
    }
    text = to_toml(disk, ["a remark", ""])
    assert text.startswith("# a remark\n#\n\n[[host.disk]]\n")
    assert tomllib.loads(text) == {"host": {"disk": [disk]}}
    assert max(map(len, text.splitlines())) <= 110


SMALL = "R Hit 0 8 5000.0 1000.0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("calibrate", "disk", "--out", "d.toml"), "calibrate disk needs a recording of service times, or --diskspecs"),
        (
            ("calibrate", "disk", "x.log", "--out", "d.toml", "--model", "tape"),
            "--model must be one of disksim, hdd, ssd, empirical, got 'tape'",
        ),
        (("calibrate", "disk", "x.log", "--out", "d.csv"), "--out must end with .toml, got d.csv"),
        (("calibrate", "disk", "x.log", "--out", "no/d.toml"), "no: is no folder"),
        (
            ("calibrate", "disk", "--diskspecs", "x", "--model", "hdd", "--out", "d.toml"),
            "--diskspecs makes a disk with model = disksim, got --model hdd",
        ),
        (("calibrate", "disk", "missing", "--out", "d.toml"), "missing: No such file or directory"),
        (("calibrate", "disk", "x.log", "--out", "d.toml"), "x.log: has 1 request: a model needs 200"),
        (
            ("calibrate", "disk", "--diskspecs", "x.log", "--out", "d.toml"),
            "x.log:2: must have a value here, got 'R Hit 0 8 5000.0 1000.0'",
        ),
        (
            ("calibrate", "disk", "--diskspecs", "x.log", "--bus-rate", "fast", "--out", "d.toml"),
            "--bus-rate must be a quantity such as",
        ),
        (("validate", "disk", "x.log", "--disk", "none.toml"), "none.toml: No such file or directory"),
        (
            ("validate", "disk", "x.log", "--disk", "two.toml"),
            "two.toml: has several disks (a, b): choose one by --name",
        ),
        (("validate", "disk", "x.log", "--disk", "two.toml", "--name", "c"), "two.toml: has no disk 'c': it has a, b"),
        (("validate", "disk", "none.log", "--disk", "two.toml", "--name", "a"), "none.log: No such file or directory"),
        (
            ("validate", "disk", "x.log", "--disk", "two.toml", "--name", "a", "--picture", "x.gif"),
            "--picture must end with .png, .svg, .pdf, got x.gif",
        ),
        (
            ("validate", "disk", "x.log", "--disk", "two.toml", "--name", "a", "--json", "no/x.json"),
            "no: is no folder",
        ),
        (
            ("validate", "disk", "far.log", "--disk", "two.toml", "--name", "b"),
            "two.toml: the disk b has 16 sectors, the recording goes up to 1,008",
        ),
        (("validate", "disk", "x.log", "--disk", "x.log"), "x.log: is not TOML"),
        (
            ("calibrate", "disk", "many.log", "--diskspecs", "drive.diskspecs", "--out", "d.toml"),
            "drive.diskspecs: the disk sda has 2,435 sectors, the recording goes up to 20,008",
        ),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.log").write_text(SMALL, encoding="utf-8")
    (tmp_path / "far.log").write_text(SMALL.replace("Hit 0", "Hit 1000"), encoding="utf-8")
    (tmp_path / "two.toml").write_text(
        '[[host.disk]]\nname = "a"\nmodel = "constant"\nservice = "1ms"\n'
        '[[host.disk]]\nname = "b"\nmodel = "disksim"\nheads = 1\nseek = [[1, "1ms"]]\n'
        "zone = [{ first_cylinder = 0, cylinders = 2, sectors_per_track = 8 }]\n",
        encoding="utf-8",
    )
    many = "".join(f"R Hit {100 * n} 8 5000.0 1000.0\n" for n in range(201))
    (tmp_path / "many.log").write_text(many, encoding="utf-8")
    drive(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    answer = run(capsys, *arguments)
    assert answer.status == 2
    assert answer.err.startswith(f"iosim: {message}")
    assert answer.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
