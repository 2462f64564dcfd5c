"""The export for fio's readers: the shape of fio's JSON, and the figures that fio prints for the same latencies."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iosim.exports.fio import VERSION, document, write_fio
from iosim.exports.fio_buckets import bucket, distribution, middle, shares, statistics
from iosim.results.result import Result
from tests import handmade
from tests.support import scenario, simulate

FIO = shutil.which("fio")
CLAT2CSV = shutil.which("fio_jsonplus_clat2csv")
needs_fio = pytest.mark.skipif(FIO is None, reason="fio is not installed")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """What fio says of a small run of its own, and every latency of it with its direction (0 read, 1 write)."""
    assert FIO is not None
    folder = tmp_path_factory.mktemp("fio")
    options = "--name=j --filename=f --size=1m --rw=randrw --bs=4k --fsync=16 --ioengine=psync --write_lat_log=l"
    arguments = [FIO, *options.split(), "--output-format=json+", "--output=o.json"]
    subprocess.run(arguments, cwd=folder, check=True, capture_output=True)
    rows = [line.split(",") for line in (folder / "l_clat.1.log").read_text().splitlines()]
    return json.loads((folder / "o.json").read_text()), [(int(row[2]), int(row[1])) for row in rows]


@needs_fio
@pytest.mark.parametrize(("direction", "name"), [(0, "read"), (1, "write")])
def test_the_same_latencies_give_the_figures_of_fio(measured: Any, direction: int, name: str) -> None:
    said, rows = measured
    values = np.array([ns for of, ns in rows if of == direction], dtype=np.int64)
    mine, fios = distribution(values), dict(said["jobs"][0][name]["clat_ns"])
    assert mine["N"] > 50
    assert mine.pop("mean") == pytest.approx(fios.pop("mean"), abs=1e-5)
    assert mine.pop("stddev") == pytest.approx(fios.pop("stddev"), rel=1e-6)
    assert mine == fios


@needs_fio
def test_shares_of_ranges_are_those_of_fio(measured: Any) -> None:
    said, rows = measured
    mine = shares(np.array([ns for _, ns in rows], dtype=np.int64))
    assert mine == {name: said["jobs"][0][name] for name in ("latency_ns", "latency_us", "latency_ms")}


def shape(value: Any) -> Any:
    """The keys of *value* in their order, and the types of what they have; those of bins differ from run to run."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items() if key not in ("bins", "job options")]
    if isinstance(value, list):
        return [shape(value[0])] if value and "jobname" in value[0] else []
    return type(value).__name__


@needs_fio
def test_the_document_has_the_shape_of_fios(measured: Any, tmp_path: Path) -> None:
    rows = [(0, "R", 0, 8), (1_000_000, "W", 0, 8), (2_000_000, "F", 0, 0)]
    if not measured[0]["fio version"].startswith(VERSION):
        pytest.skip(f"fio is another version than {VERSION}")
    write_fio(simulate(scenario([{"cache": "writeback"}]), rows), tmp_path / "fio.json")
    assert shape(json.loads((tmp_path / "fio.json").read_text())) == shape(measured[0])


def test_a_bucket_is_named_by_its_middle() -> None:
    # From 128 ns on a power of two has 64 buckets: 2 ns wide up to 256, 4 up to 512, 8 up to 1024 ...
    middles = {0: 0, 127: 127, 128: 129, 129: 129, 130: 131, 255: 255, 256: 258, 1000: 1004, 40_391: 40_192}
    for value, expected in middles.items():
        assert middle(int(bucket(np.array([value]))[0])) == expected, value


def test_the_last_bucket_takes_all_that_is_longer() -> None:
    values = np.array([2**34 - 1, 2**34, 10**12, 2**61])
    assert {middle(int(index)) for index in bucket(values)} == {17_112_760_320}


def test_a_percentile_is_the_bucket_in_which_so_many_have_been_counted() -> None:
    percentiles = distribution(np.arange(1, 11))["percentile"]
    assert list(percentiles.values()) == [1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10, 10, 10]
    # 99.9 is a double a bit above 99.9: of a thousand fio takes the last, of 99.99 % it takes the one before.
    assert distribution(np.arange(1, 1001) % 100)["percentile"]["99.900000"] == 99
    assert distribution(np.r_[np.zeros(999, dtype=int), 5])["percentile"]["99.900000"] == 5
    assert distribution(np.r_[np.zeros(9999, dtype=int), 5])["percentile"]["99.990000"] == 0


def test_mean_and_deviation_of_a_sample() -> None:
    assert statistics(np.array([2, 4, 9])) == {"min": 2, "max": 9, "mean": 5.0, "stddev": 3.605551, "N": 3}
    assert statistics(np.array([7])) == {"min": 7, "max": 7, "mean": 7.0, "stddev": 0.0, "N": 1}
    nothing = {"min": 0, "max": 0, "mean": 0.0, "stddev": 0.0, "N": 0}
    assert statistics(np.array([], dtype=int)) == distribution(np.array([], dtype=int)) == nothing


def test_shares_of_ranges() -> None:
    found = shares(np.array([1, 3, 999, 1_000, 1_999_999, 2_000_000_000, 5_000_000_000, 60_000]))
    filled = {(name, end): share for name, ends in found.items() for end, share in ends.items() if share}
    assert filled == {
        ("latency_ns", "2"): 12.5,
        ("latency_ns", "4"): 12.5,
        ("latency_ns", "1000"): 12.5,
        ("latency_us", "2"): 12.5,
        ("latency_us", "100"): 12.5,
        ("latency_ms", "2"): 12.5,
        ("latency_ms", ">=2000"): 25.0,
    }


def by_hand() -> Result:
    """Two drives over 10 ms: four writes at once and a read in the first, a flush and what counts not in the second."""

    def row(drive: int, request: int, begin: int, end: int, **changes: Any) -> dict[str, Any]:
        spans = handmade.spans([("vcpu0", "guest_run", "f", end)], begin, drive=drive, request=request)
        return handmade.request(spans, **changes)

    rows = [row(0, k, 0, 100_000 * (k + 1)) for k in range(4)]
    rows.append(row(0, 4, 500_000, 500_300, op="R", sectors=1))
    rows.append(row(1, 0, 0, 100, op="F", sector=0, sectors=0))
    rows.append(row(1, 1, 0, 100, warmup=True))
    rows.append(row(1, 2, 0, 100, status="error", error="ENOSPC"))
    rows.append(row(1, 3, 0, 100, status="unfinished"))
    result = handmade.result(rows, [handmade.spans(handmade.WRITE)])
    return replace(result, summary={**result.summary, "end_ns": 10_000_000})


def test_a_job_for_each_drive_with_its_rates() -> None:
    first, second = document(by_hand())["jobs"]
    assert (first["jobname"], second["jobname"]) == ("web/drive0", "web/drive1")
    write = first["write"]
    rates = {name: write[name] for name in ("io_bytes", "io_kbytes", "bw_bytes", "bw", "iops", "runtime", "total_ios")}
    assert rates == {
        "io_bytes": 4 * 4096,
        "io_kbytes": 16,
        "bw_bytes": 1_638_400,
        "bw": 1600,
        "iops": 400.0,
        "runtime": 10,
        "total_ios": 4,
    }
    assert write["lat_ns"] == {"min": 100_000, "max": 400_000, "mean": 250_000.0, "stddev": 129_099.444874, "N": 4}
    assert write["clat_ns"]["bins"] == {"99840": 1, "199680": 1, "301056": 1, "399360": 1}
    assert write["slat_ns"]["N"] == 0
    assert first["read"]["clat_ns"]["N"] == 1
    assert first["iodepth_level"] == {"1": 40.0, "2": 40.0, "4": 20.0, "8": 0.0, "16": 0.0, "32": 0.0, ">=64": 0.0}
    assert first["latency_depth"] == 4


def test_what_does_not_count_is_left_out_and_errors_are_counted() -> None:
    job = document(by_hand())["jobs"][1]
    assert job["sync"]["total_ios"] == job["sync"]["lat_ns"]["N"] == 1
    assert job["sync"]["lat_ns"]["bins"] == {"100": 1}
    assert job["write"]["total_ios"] == 0
    assert "bins" not in job["write"]["clat_ns"]
    assert (job["total_err"], job["first_error"]) == (1, 28)


@pytest.mark.skipif(CLAT2CSV is None, reason="fio_jsonplus_clat2csv, which comes with fio, is not installed")
def test_fios_own_tool_reads_the_buckets(tmp_path: Path) -> None:
    assert CLAT2CSV is not None
    write_fio(by_hand(), tmp_path / "fio.json")
    for option in ([], ["--validate"]):
        subprocess.run([CLAT2CSV, "fio.json", "fio.csv", *option], cwd=tmp_path, check=True, capture_output=True)
    lines = (tmp_path / "fio_job0.csv").read_text().splitlines()
    column = [name.strip() for name in lines[0].split(",")].index("write_clat_ns_count")
    counts = {line.split(",")[0]: line.split(",")[column].strip() for line in lines[1:]}
    assert counts == {"302": "", "99840": "1", "199680": "1", "301056": "1", "399360": "1"}


def test_the_text_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_fio(by_hand(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
