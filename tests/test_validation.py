"""docs/validation.md: the page says what the script gives, and the script compares what it claims to compare."""

import gzip
import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from iosim.calibrate.overhead import UNKNOWN
from iosim.hosts import measured, parts
from iosim.traces.reading import ReadOptions

PROJECT = Path(__file__).parents[1]
BARE = PROJECT / "traces" / "bare"
RECORDINGS = PROJECT.parent / "shared" / "traces" / "recordings" / "public"
needs_recordings = pytest.mark.skipif(not RECORDINGS.exists(), reason="needs the recordings in ../shared")


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROJECT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def block(name: str) -> str:
    """What the page has between the marks of a block."""
    begin, end = tool("validate").marks(name)
    return (PROJECT / "docs" / "validation.md").read_text(encoding="utf-8").split(begin)[1].split(end)[0]


def test_the_page_holds_what_the_script_gives() -> None:
    validate = tool("validate")
    assert block("workloads") == validate.workloads()[0]
    assert block("steps") == validate.steps()


def test_hold_out_and_workloads_are_of_the_same_profile() -> None:
    errors: dict[str, list[str]] = {}
    for line in block("workloads").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 11 and cells[0].startswith("`"):
            errors.setdefault(cells[0], []).append(cells[7])
    held_out = [[cell.strip() for cell in line.strip("|").split("|")] for line in block("hold-out").splitlines()[2:]]
    assert {cells[0]: cells[2:6] for cells in held_out if cells[1] == "all recordings"} == errors
    assert [cells[0] for cells in held_out if cells[1] == "without it"] == list(errors)


def test_measured_latency_is_the_sum_of_the_three_parts() -> None:
    # The first repetition of w30_outw_64, all ten commands: registers + data + wait, in us.
    by_hand = [
        57.14 + 153131.64 + 181.62,
        55.07 + 145584.60 + 108.23,
        54.07 + 143782.96 + 139.25,
        53.81 + 145175.27 + 117.04,
        54.48 + 146706.57 + 170.80,
        65.23 + 155745.47 + 106.66,
        54.20 + 149562.24 + 126.13,
        54.55 + 145191.21 + 151.32,
        56.27 + 146087.37 + 155.14,
        53.44 + 150023.17 + 208.02,
    ]
    found = measured.read([BARE / "w30_outw_64.measured.csv.gz"], ReadOptions(), UNKNOWN).parts[parts.TOTAL]
    assert len(found) == 3
    assert found[0] == pytest.approx([1000 * us for us in by_hand])


@pytest.mark.parametrize(
    "workload", ["w30_outw_1", "w30_outw_8", "w30_outw_64", "dma_w_irq_1", "dma_w_irq_8", "dma_w_irq_64", "dma_w_8"]
)
def test_each_scenario_begins_with_its_question(workload: str) -> None:
    first = (PROJECT / "scenarios" / "validation" / f"{workload}.toml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# Does ")
    assert first.endswith("?")


def test_checksums_and_rows_in_the_readme_are_those_of_the_files() -> None:
    listed = {}
    for line in (BARE / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip(" `") for cell in line.split("|")]
        if len(cells) == 5 and cells[1].endswith(".gz"):
            listed[cells[1]] = (int(cells[2]), cells[3])
    actual = {
        path.name: (len(pd.read_csv(path)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in BARE.glob("*.gz")
    }
    assert listed == actual
    assert len(actual) == 14


@needs_recordings
def test_shipped_files_are_what_the_tool_makes_of_the_recordings() -> None:
    made = tool("make_bare_traces").files(RECORDINGS)
    assert sorted(made) == sorted(path.name for path in BARE.glob("*.gz"))
    for name, data in made.items():
        # Compressed bytes may differ between versions of zlib; what they hold may not.
        assert gzip.decompress((BARE / name).read_bytes()) == gzip.decompress(data), name


def test_shipped_files_carry_no_time() -> None:
    for path in BARE.glob("*.gz"):
        assert path.read_bytes()[4:8] == b"\0\0\0\0", path.name
