"""DiskSim's parameter files: the notation, and the disk that a drive's files describe."""

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iosim.disk.build import disk_model
from iosim.disk.segmented import SegmentedHdd
from iosim.drives.disk_file import checked
from iosim.drives.disksim import DEFAULT_BUS_RATE, convert, leaves_bus_open
from iosim.drives.libparam import read
from iosim.drives.replay import replay
from iosim.drives.service_logs import read_services
from iosim.model.errors import ScenarioError, TraceError
from iosim.model.units import parse_bytes, parse_ns
from iosim.validate import demerit_ns

PAGE = Path(__file__).parents[1] / "docs" / "validation.md"
DRIVES = Path(__file__).parents[2] / "shared" / "traces" / "drives"

SPECS = """# a drive
disksim_disk DRIVE {
   Model = source drive.model,
   Bulk sector transfer time = 0.1,   # ms
   Number of buffer segments = 4,
   Segment size (in blks) = 128,
   Use separate write segment = 0,
   High (read) water mark = 0.25,
   Buffer continuous read = 4,
   Maximum read-ahead (blks) = 100,
   Fast write level = 2,
   Allow read hits on write data = 1,
   Immediate buffer write = 1,
   Scheduler = disksim_ioqueue { Scheduling policy = 1 },
   Read hit over. after read = 0.1,
   Read hit over. after write = 0.2,
   Read miss over. after read = 0.3,
   Read miss over. after write = 0.4,
   Write hit over. after read = 0.5,
   Write hit over. after write = 0.6,
   Write miss over. after read = 0.7,
   Write miss over. after write = 0.8,
   Write completion overhead = 0.05,
   Data preparation overhead = 0.01,
   First reselect overhead = 0.16,
   Other reselect overhead = 0.13,
   Extradisc command overhead = 0.6,
   Extradisc seek delta = 0.25
} # end
"""
MODEL = """dm_disk DRIVE.model {
   Number of data surfaces = 2,
   Number of cylinders = 30,
   Layout Model = dm_layout_g1 {
      Sparing scheme used = 9,
      Rangesize for sparing = 3,
      Zones = [
         dm_layout_g1_zone {
            First cylinder number = 0,
            Last cylinder number = 9,
            Blocks per track = 50,
            Offset of first block = 7.0,
            Empty space at zone front = 3,
            Skew for track switch = 4.000000,
            Skew for cylinder switch = 9.0,
            Number of spares = 2,
            slips = [ 12, 5, 5 ],
            defects = [ ]
         },
         dm_layout_g1_zone {
            First cylinder number = 12, Last cylinder number = 29, Blocks per track = 40,
            Offset of first block = 0, Empty space at zone front = 0, Number of spares = 0, slips = [], defects = []
         }
      ]
   },
   Mechanical Model = dm_mech_g1 {
      Seek type = extracted,
      Full seek curve = drive.seek,
      Add. write settling delay = 0.4,
      Head switch time = 0.7,
      Rotation speed (in rpms) = 7200
   }
}
"""
SEEK = "Seek distances measured: 3\n1,\t1.5\n4, 1.25\n29,\t9.000\n"


def drive(folder: Path, specs: str = SPECS, model: str = MODEL, seek: str = SEEK) -> Path:
    (folder / "drive.diskspecs").write_text(specs, encoding="utf-8")
    (folder / "drive.model").write_text(model, encoding="utf-8")
    (folder / "drive.seek").write_text(seek, encoding="utf-8")
    return folder / "drive.diskspecs"


def converted(folder: Path, **files: str) -> dict[str, Any]:
    return convert(drive(folder, **files))


# The notation


def test_block_has_numbers_words_lists_and_blocks(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(
        "kind a b { x y = 1.5, # no\n z = word, l = [ 1, 2, ], b = k { n = 3 } }", encoding="utf-8"
    )
    block = read(tmp_path / "x")
    assert (block.kind, block.number("x y"), block.word("z"), block.numbers("l")) == ("kind", 1.5, "word", [1, 2])
    assert block.block("b").whole("n") == 3
    assert block.whole("missing", 7) == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x:1: must have a value here, got 'nothing'"),
        ("kind { a = 1", r"x:1: must have ',' here, got 'the end of the file'"),
        ("kind {\na = 1,\nb 2 }", r"x:3: must have '=' here, got '}'"),
        ("kind { a = }", r"x:1: must have a value here, got '}'"),
        ("kind { a = one two }", r"x:1: must have a value here, got 'one two'"),
        ("7", r"x:1: must be a block of parameters"),
        ("kind { a = source x }", r"x:1: has too many blocks inside each other, or is a source of itself"),
        ("kind { a = source y }", r"y: No such file or directory"),
        ("a = k { " * 40, r"x:1: "),
    ],
)
def test_damaged_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x").write_text(text, encoding="utf-8")
    with pytest.raises(TraceError, match=message):
        read(tmp_path / "x").block("a")


@pytest.mark.parametrize(
    ("value", "ask", "message"),
    [
        ("word", "number", r"'k' must be a number, got 'word'"),
        ("1.5", "whole", r"'k' must be a whole number, got 1.5"),
        ("1", "word", r"'k' must be a word, got 1.0"),
        ("[a]", "numbers", r"'k' must be a list of numbers, got a list"),
        ("[1]", "blocks", r"'k' must be a list of blocks, got a list"),
        ("1", "block", r"'k' must be a block, got 1.0"),
    ],
)
def test_value_of_another_kind_is_refused(tmp_path: Path, value: str, ask: str, message: str) -> None:
    (tmp_path / "x").write_text(f"kind {{ k = {value} }}", encoding="utf-8")
    with pytest.raises(TraceError, match=message):
        getattr(read(tmp_path / "x"), ask)("k")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["{", "}", "[", "]", ",", "=", "source", "x", "k", "1", "-2.5", "#c\n", "\n"]), max_size=30
    )
)
def test_whatever_stands_in_a_file_is_read_or_refused(tmp_path: Path, parts: list[str]) -> None:
    (tmp_path / "x").write_text("kind { " + " ".join(parts), encoding="utf-8")
    with contextlib.suppress(TraceError):
        assert read(tmp_path / "x").kind == "kind"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, SPECS.count(" ") - 1),
    st.sampled_from(["", " 7 ", " x ", " { ", " -1e9 ", " [ 1 ] ", " 0 ", " 1e999 ", " nan ", " 1e-200 "]),
    st.booleans(),
)
def test_damaged_files_of_a_drive_are_converted_or_refused(tmp_path: Path, at: int, other: str, specs: bool) -> None:
    words = (SPECS if specs else MODEL).split(" ")
    words[at % len(words)] = other
    files = {"specs" if specs else "model": " ".join(words)}
    with contextlib.suppress(TraceError, ScenarioError):
        checked({"name": "sda", **converted(tmp_path, **files)}, "x")


# The disk


def test_files_of_a_drive_become_a_disk(tmp_path: Path) -> None:
    disk = converted(tmp_path)
    assert disk == {
        "model": "disksim",
        "rpm": 7200,
        "heads": 2,
        "seek": [[1, "1500us"], [4, "1250us"], [29, "9ms"]],
        "head_switch": "700us",
        "write_settle": "400us",
        "least_write_seek": "0s",
        "least_buffered": "512B",
        "bus_rate": "5000KiB",
        "segments": 4,
        "segment_size": "64KiB",
        "read_ahead": "next-track",
        "most_ahead": "50KiB",
        "read_hit": ["100us", "200us"],
        "read_miss": ["300us", "400us"],
        "write": ["500us", "600us"],
        "write_sequential": "600us",
        "reconnect": "10us",
        "read_end": "0s",
        "write_end": "50us",
        "write_back": True,
        "write_segment": False,
        "hits_on_writes": True,
        "ahead_on_hit": False,
        "read_before": False,
        "read_at_once": False,
        "write_at_once": True,
        "watermark": 0.25,
        "zone": [
            {
                "first_cylinder": 0,
                "cylinders": 10,
                "sectors_per_track": 50,
                "offset": 7,
                "track_skew": 4,
                "cylinder_skew": 9,
                "unused": 3,
                "spares": 2,
                "slips": [5, 12],
            },
            {
                "first_cylinder": 12,
                "cylinders": 18,
                "sectors_per_track": 40,
                "offset": 0,
                "track_skew": 0,
                "cylinder_skew": 0,
                "unused": 0,
                "spares": 0,
                "slips": [],
            },
        ],
    }
    model = disk_model(checked({"name": "sda", **disk}, "x"), tmp_path)
    assert isinstance(model, SegmentedHdd)
    assert model.sectors == 10 * 2 * 50 - 3 - 2 + 18 * 2 * 40


def test_drive_that_writes_through_has_the_overheads_of_a_missed_write(tmp_path: Path) -> None:
    disk = converted(tmp_path, specs=SPECS.replace("Fast write level = 2", "Fast write level = 0"))
    assert (disk["write_back"], disk["write"], disk["write_sequential"]) == (False, ["700us", "800us"], "800us")
    assert disk["write_end"] == "210us"  # reselection and completion


def test_extra_disconnect_of_a_write_comes_before_its_seek(tmp_path: Path) -> None:
    specs = SPECS.replace("Fast write level = 2", "Fast write level = 0, Extra write disconnect = 1")
    disk = converted(tmp_path, specs=specs)
    assert (disk["write"], disk["write_sequential"], disk["write_end"]) == (["700us", "850us"], "800us", "180us")
    assert disk["least_buffered"] == "5KiB"


def test_overheads_are_scaled_and_every_request_may_have_one(tmp_path: Path) -> None:
    specs = SPECS.replace("Bulk", "Time scale for overheads = 2, Per-request overhead time = 1, Bulk")
    assert converted(tmp_path, specs=specs)["read_hit"] == ["2200us", "2400us"]


def test_bus_is_left_open_where_its_time_is_zero(tmp_path: Path) -> None:
    path = drive(tmp_path, specs=SPECS.replace("transfer time = 0.1", "transfer time = 0.0"))
    assert leaves_bus_open(path)
    assert parse_bytes(convert(path)["bus_rate"]) == DEFAULT_BUS_RATE
    assert convert(path, 3_072_000)["bus_rate"] == "3000KiB"
    assert not leaves_bus_open(drive(tmp_path))


@pytest.mark.parametrize(
    ("scheme", "region_tracks", "spares", "slips"),
    [
        (0, None, 0, [5, 12]),
        (1, None, 100, [track * 50 + sector for track in (5, 12) for sector in range(50)]),
        (2, 2, 2, [5, 12]),
        (3, 1, 2, [5, 12]),
        (4, 2, 2, [5, 12]),
        (7, None, 2, [5, 12]),
        (8, 6, 2, [5, 12]),
        (10, None, 4, [5, 12]),
    ],
)
def test_sparing_schemes(tmp_path: Path, scheme: int, region_tracks: int | None, spares: int, slips: list[int]) -> None:
    zone = converted(tmp_path, model=MODEL.replace("scheme used = 9", f"scheme used = {scheme}"))["zone"][0]
    assert (zone.get("region_tracks"), zone["spares"], zone["slips"]) == (region_tracks, spares, slips)


def test_skews_in_revolutions_become_sectors(tmp_path: Path) -> None:
    model = MODEL.replace("switch = 4.000000", "switch = 0.08").replace("Sparing", "Skew units = revolutions,\nSparing")
    assert converted(tmp_path, model=model)["zone"][0]["track_skew"] == 4


def seeks(folder: Path, mechanics: str) -> dict[int, float]:
    """Seek times in ms by distance, of a drive of 1000 cylinders."""
    model = MODEL.replace("Seek type = extracted", mechanics).replace("cylinders = 30", "cylinders = 1000")
    return {distance: parse_ns(time) / 1e6 for distance, time in converted(folder, model=model)["seek"]}


def test_seek_curve_of_ruemmler_and_wilkes(tmp_path: Path) -> None:
    found = seeks(
        tmp_path,
        "Seek type = hpl, Single cylinder seek time = 2.5, Full strobe seek time = 0,"
        "HPL seek equation values = [ 400, 3.0, 0.5, 8.0, 0.01, 1.0 ]",
    )
    assert found[1] == 2.5
    assert {d: ms for d, ms in found.items() if 1 < d < 400} == pytest.approx(
        {d: 3 + 0.5 * math.sqrt(d) for d in found if 1 < d < 400}, abs=1e-6
    )
    assert (found[400], found[999]) == (12.0, 17.99)
    assert len(found) < 60


def test_first_ten_seeks_come_before_the_curve(tmp_path: Path) -> None:
    found = seeks(
        tmp_path,
        "Seek type = hplplus10, Single cylinder seek time = 0.2, Full strobe seek time = 0,"
        "HPL seek equation values = [ 400, 3.0, 0.5, 8.0, 0.01, -1 ],"
        "First ten seek times = [ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 ]",
    )
    assert [found[distance] for distance in range(1, 11)] == list(range(1, 11))
    assert found[11] == pytest.approx(3 + 0.5 * math.sqrt(11), abs=1e-6)


def test_straight_and_constant_seeks(tmp_path: Path) -> None:
    three = "Single cylinder seek time = 1, Average seek time = 6, Full strobe seek time = 12"
    assert seeks(tmp_path, f"Seek type = linear, {three}") == {1: 1.0, 333: 6.0, 999: 12.0}
    assert seeks(tmp_path, "Seek type = constant, Constant seek time = 5") == {1: 5.0}
    curve = seeks(
        tmp_path,
        "Seek type = curve, Single cylinder seek time = 1, Average seek time = 0.01, Full strobe seek time = 0.2",
    )
    assert curve[999] == pytest.approx(1 + 0.01 * 998 + 0.2 * math.sqrt(998), abs=1e-6)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"model": MODEL.replace("dm_layout_g1 {", "dm_layout_g4 {")},
            r"kinds dm_layout_g1 and dm_mech_g1, got dm_layout_g4",
        ),
        ({"model": MODEL.replace("Blocks per track = 50,", "")}, r"drive.model: 'Blocks per track' must be a number"),
        (
            {"model": MODEL.replace("extracted", "guessed")},
            r"'Seek type' must be one that DiskSim knows, got 'guessed'",
        ),
        ({"specs": SPECS.replace("read = 4", "read = 5")}, r"'Buffer continuous read' must be 0 to 4, got 5"),
        ({"seek": "Seek distances measured: 1\n1; 2\n"}, r"drive.seek:2: must be distance, milliseconds, got '1; 2'"),
        ({"seek": "Seek distances measured: 0\n"}, r"drive.seek: has no seek times"),
        ({"specs": SPECS.replace("source drive.model", "none")}, r"'Model' must be a block, got 'none'"),
    ],
)
def test_files_that_describe_no_such_drive_are_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        converted(tmp_path, **files)


# Named drives, where their files are


@pytest.mark.skipif(not DRIVES.is_dir(), reason="needs ../shared/traces/drives")
@pytest.mark.parametrize(
    ("name", "bus_rate", "disksims_own_ms"),
    [
        ("atlas10k", None, 0.268),
        ("cheetah9LP", None, 0.107),
        ("barracuda", None, 0.349),
        ("hp_c2247a", 5_907 * 512, 0.090),  # 169.3 us per sector, as its reads from the buffer have it
    ],
)
def test_named_drive_is_as_near_to_its_measurement_as_twice_disksim(
    name: str, bus_rate: int | None, disksims_own_ms: float
) -> None:
    recorded = read_services(DRIVES / f"{name}.trace.gz").services
    model = disk_model(checked({"name": name, **convert(DRIVES / f"{name}.diskspecs", bus_rate)}, name), DRIVES)
    demerit = demerit_ns(recorded.service_ns, replay(model, recorded))
    assert demerit < 2 * disksims_own_ms * 1e6
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` | "))
    assert f" | {disksims_own_ms:.3f} | {demerit / 1e6:.3f} | " in row
