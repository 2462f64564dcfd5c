"""Made-up workloads: against the theory of their processes, and against the trace that they are like."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from iosim.traces import TraceTable, read_trace
from iosim.traces.fit import Fit, gap_percentile, like
from iosim.traces.statistics import Statistics
from iosim.traces.synth import CHUNK, Draws, Mix, OnOff, Poisson, Sequences, limited, requests
from tests.commandline import run

SHIPPED = Path(__file__).resolve().parents[1] / "traces"


def taken(arrivals: Poisson | OnOff, mix: Mix | None = None, *, n: int, seed: int = 1) -> TraceTable:
    return TraceTable.joined(list(limited(requests(arrivals, mix or Mix(), seed), n, None)))


# Arrivals.


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gaps_of_a_poisson_process_are_exponential(seed: int) -> None:
    """Mean and standard deviation 1 / rate; a share 1 - 1/e of the gaps below the mean. Bounds of 5 sigma."""
    n, mean_ns = 200_000, 1e9 / 4000
    gaps = np.diff(taken(Poisson(4000), n=n + 1, seed=seed).times_ns)
    assert gaps.mean() == pytest.approx(mean_ns, rel=5 / math.sqrt(n))
    assert gaps.std() == pytest.approx(mean_ns, rel=5 * math.sqrt(2 / n))
    below = 1 - math.exp(-1)
    assert (gaps < mean_ns).mean() == pytest.approx(below, abs=5 * math.sqrt(below * (1 - below) / n))
    # Gaps are independent: no correlation from one to the next.
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 5 / math.sqrt(n)


@pytest.mark.parametrize("seed", [1, 2])
def test_bursts_have_the_rate_and_dispersion_of_an_interrupted_poisson_process(seed: int) -> None:
    """Mean rate L on / (on + off); in long windows variance / mean of the counts is 1 + 2 L a / (a + b)^2.

    a = 1 / on and b = 1 / off are the rates at which it is switched (Fischer and Meier-Hellstern 1993, Kuczura 1973).
    """
    rate, on_ns, off_ns = 5000.0, 20_000_000, 60_000_000
    times = taken(OnOff(rate, on_ns, off_ns), n=1_000_000, seed=seed).times_ns
    expected = rate * on_ns / (on_ns + off_ns)
    assert len(times) / (times[-1] / 1e9) == pytest.approx(expected, rel=0.03)
    window_ns = 50 * (on_ns + off_ns)
    counts = np.bincount(times // window_ns)[:-1]
    a, b = 1e9 / on_ns, 1e9 / off_ns
    dispersion = 1 + 2 * rate * a / (a + b) ** 2
    assert counts.var() / counts.mean() == pytest.approx(dispersion, rel=5 * math.sqrt(2 / len(counts)))


def test_within_a_burst_the_rate_holds() -> None:
    """With bursts much longer than gaps, the median gap is that of the Poisson process: ln 2 / rate."""
    gaps = np.diff(taken(OnOff(10_000, 10**9, 10**9), n=200_000).times_ns)
    assert np.median(gaps) == pytest.approx(math.log(2) / 10_000 * 1e9, rel=0.02)


def test_a_shorter_workload_is_the_begin_of_a_longer_one() -> None:
    mix = Mix(sequential=0.5, flushes=0.1)
    long, short = (
        taken(OnOff(1000, 10**7, 10**7), mix, n=2 * CHUNK + 5),
        taken(OnOff(1000, 10**7, 10**7), mix, n=CHUNK + 3),
    )
    for column in ("times_ns", "ops", "sectors_first", "sectors_count"):
        assert getattr(long, column)[: len(short)].tolist() == getattr(short, column).tolist()


def test_other_sizes_leave_arrivals_and_operations_as_they_are() -> None:
    one, other = (taken(Poisson(1000), Mix(sizes=sizes), n=1000) for sizes in (((8, 1.0),), ((1, 1.0), (64, 2.0))))
    assert one.times_ns.tolist() == other.times_ns.tolist()
    assert one.ops.tolist() == other.ops.tolist()
    assert one.sectors_count.tolist() != other.sectors_count.tolist()


def test_another_seed_is_another_workload() -> None:
    assert (
        taken(Poisson(1000), n=100, seed=1).times_ns.tolist() != taken(Poisson(1000), n=100, seed=2).times_ns.tolist()
    )


# The mix.


def test_shares_of_operations_sizes_and_sequences() -> None:
    n = 200_000
    mix = Mix(reads=0.7, flushes=0.1, sizes=((8, 3.0), (128, 1.0)), sequential=0.4, span_sectors=1 << 24)
    table = taken(Poisson(1000), mix, n=n)
    statistics = Statistics()
    statistics.add(table)
    tolerance = 5 * math.sqrt(0.25 / n)
    assert statistics.sizes["F"].n / n == pytest.approx(0.1, abs=tolerance)
    assert statistics.sizes["R"].n / n == pytest.approx(0.9 * 0.7, abs=tolerance)
    for op in "RW":
        sizes = statistics.sizes[op]
        assert sizes.counts[128] / sizes.n == pytest.approx(0.25, abs=3 * tolerance)
    assert statistics.sequential == pytest.approx(0.4, abs=2 * tolerance)
    assert statistics.end_sector <= 1 << 24


def test_random_addresses_are_spread_evenly_and_aligned() -> None:
    table = taken(Poisson(1000), Mix(span_sectors=80_000, align_sectors=16), n=100_000)
    assert (table.sectors_first % 16 == 0).all()
    tenths = np.bincount(table.sectors_first // 8_000, minlength=10)
    assert tenths.sum() == 100_000
    assert (abs(tenths - 10_000) < 5 * math.sqrt(100_000 * 0.09)).all()


def test_a_sequential_workload_goes_round_the_drive() -> None:
    table = taken(Poisson(1000), Mix(reads=1, sequential=1, sizes=((8, 1),), span_sectors=32), n=9)
    first = int(table.sectors_first[0])
    assert first % 8 == 0
    assert table.sectors_first.tolist() == [(first + 8 * n) % 32 for n in range(9)]


def test_sequences_by_hand() -> None:
    """Fresh ones begin anew, the others go on, also from one call to the next, each operation for itself."""
    sequences = Sequences(1000)
    fresh, starts = np.array([False, False, True, False]), np.array([100, 0, 500, 0])
    assert sequences.places(0, fresh, starts, np.array([8, 8, 4, 4])).tolist() == [100, 108, 500, 504]
    assert sequences.places(1, fresh[:1], np.array([7]), np.array([1])).tolist() == [7]
    assert sequences.places(0, fresh[:2], starts[:2], np.array([8, 8])).tolist() == [508, 516]
    assert sequences.places(0, fresh[:0], starts[:0], starts[:0]).tolist() == []


# Like a given trace.


def fit_of(table: TraceTable, cuts: int = 1) -> Fit:
    fit = Fit()
    for part in np.array_split(np.arange(len(table)), cuts):
        fit.add(table[part])
    return fit


def test_a_fit_does_not_depend_on_chunks() -> None:
    table = taken(OnOff(1000, 10**6, 10**7), Mix(sequential=0.3, flushes=0.1), n=1000)
    whole, parts = fit_of(table), fit_of(table, 37)
    assert (whole.transitions == parts.transitions).all()
    assert (whole.gaps == parts.gaps).all()
    assert (whole.states == parts.states).all()
    assert whole.follows == parts.follows
    assert whole.sizes == parts.sizes
    assert [(p.region, p.counts.tolist()) for p in whole.places.values()] == [
        (p.region, p.counts.tolist()) for p in parts.places.values()
    ]


def test_a_fit_by_hand() -> None:
    """Read 8 + 8, 5 us later its sequel, 2 ms later a write of 1 sector, at once a flush."""
    table = TraceTable.of_rows(
        [(0, 0, 8, 8, 1), (5_000, 0, 16, 8, 2), (2_005_000, 1, 4096, 1, 3), (2_005_000, 2, 0, 0, 4)]
    )
    fit = fit_of(table)
    # States are 3 * class of gap + operation; classes: 0 none, 1 below 10 us, 4 below 10 ms.
    assert np.argwhere(fit.transitions).tolist() == [[0, 3], [3, 13], [13, 2]]
    assert fit.states.tolist() == [1, 0, 1, 1] + [0] * 9 + [1] + [0] * 10
    assert {op: sizes.counts for op, sizes in fit.sizes.items()} == {0: {8: 2}, 1: {1: 1}}
    assert fit.follows == {0: 1, 1: 0}
    assert fit.end_sector == 4097
    assert gap_percentile(fit, 50) == pytest.approx(5_000, rel=0.02)
    assert gap_percentile(fit, 99) == pytest.approx(2_000_000, rel=0.02)


@pytest.mark.parametrize(
    ("arrivals", "mix"),
    [
        (Poisson(2000), Mix(reads=0.3, flushes=0.05, sizes=((8, 1), (64, 1), (128, 2)), sequential=0.6)),
        (OnOff(5000, 10_000_000, 50_000_000), Mix(reads=0.9, sequential=0.1, align_sectors=64)),
    ],
)
def test_what_is_kept_is_kept(arrivals: Poisson | OnOff, mix: Mix) -> None:
    given = taken(arrivals, mix, n=100_000)
    made = TraceTable.joined(list(limited(like(fit_of(given), 7), 100_000, None)))
    mine, theirs = Statistics(), Statistics()
    mine.add(made)
    theirs.add(given)
    assert mine.span_ns == pytest.approx(theirs.span_ns, rel=0.05)
    assert mine.sequential == pytest.approx(theirs.sequential, abs=0.01)
    assert mine.end_sector <= theirs.end_sector
    for op in "RWF":
        assert mine.sizes[op].n == pytest.approx(theirs.sizes[op].n, abs=800)
        for size, n in theirs.sizes[op].counts.items():
            assert mine.sizes[op].counts[size] == pytest.approx(n, abs=900)
    for percent in (10, 50, 90, 99):
        ours, given_ns = gap_percentile(fit_of(made), percent), gap_percentile(fit_of(given), percent)
        assert ours == pytest.approx(given_ns, rel=0.05 if percent < 99 else 0.15)
    shares = [np.bincount(table.sectors_first // (1 << 18), minlength=8) / 1e5 for table in (given, made)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01
    fresh = made.sectors_first[made.ops == 0]
    assert (fresh % min(mix.align_sectors, 8) == 0).all()


def test_what_follows_what_is_kept() -> None:
    """Reads far apart; each write has a flush at once behind it."""
    cycle = [(50_000_000, 0, 64, 8), (1_000, 1, 8, 8), (0, 2, 0, 0)]
    times = itertools.accumulate(gap for _, (gap, *_) in zip(range(9_000), itertools.cycle(cycle), strict=False))
    rows = [(at, op, first, n, 1) for at, (_, op, first, n) in zip(times, itertools.cycle(cycle), strict=False)]
    made = TraceTable.joined(list(limited(like(fit_of(TraceTable.of_rows(rows)), 1), 3_000, None)))
    ops = made.ops.tolist()
    assert all((a, b) in {(0, 1), (1, 2), (2, 0)} for a, b in itertools.pairwise(ops))
    gaps = np.diff(made.times_ns)
    after = {op: gaps[np.array(ops[:-1]) == op] for op in (0, 1, 2)}
    assert set(after[1].tolist()) == {0}
    assert after[0] == pytest.approx(1_000, rel=0.02)
    assert after[2] == pytest.approx(50_000_000, rel=0.02)


def test_a_trace_of_one_request_can_be_liked() -> None:
    table = TraceTable.of_rows([(5, 1, 8, 16, 1)])
    made = TraceTable.joined(list(limited(like(fit_of(table), 1), 3, None)))
    assert (
        list(zip(made.times_ns, made.ops, made.sectors_first, made.sectors_count, strict=True)) == [(0, 1, 8, 16)] * 3
    )


# The command.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_described_workload_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(
        capsys, "trace", "synth", "a.parquet", "--requests", "500", "--rate", "100", "--sizes", "512B:1,1KiB:0.5"
    )
    assert answer.status == 0
    assert answer.out.startswith("a.parquet: 500 requests over ")
    trace = read_trace(folder / "a.parquet")
    assert set(trace.sectors_count.tolist()) == {1, 2}
    first = (folder / "a.parquet").read_bytes()
    run(capsys, "trace", "synth", "a.parquet", "--requests", "500", "--rate", "100", "--sizes", "512B:1,1KiB:0.5")
    assert (folder / "a.parquet").read_bytes() == first


def test_a_workload_ends_with_its_duration_or_its_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "trace", "synth", "a.csv", "--duration", "1s", "--rate", "1000")
    trace = read_trace(folder / "a.csv")
    assert trace.times_ns[-1] < 10**9
    assert len(trace) == pytest.approx(1000, abs=5 * math.sqrt(1000))
    run(capsys, "trace", "synth", "a.csv", "--duration", "1s", "--rate", "1000", "--requests", "10")
    assert len(read_trace(folder / "a.csv")) == 10


def test_a_trace_like_a_given_one_is_shown_beside_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys, "trace", "synth", "a.csv", "--like", str(SHIPPED / "dma-rnd.csv"), "--seed", "3")
    assert answer.status == 0
    assert len(read_trace(folder / "a.csv")) == 156
    lines = answer.out.splitlines()
    assert any(line.split() == ["requests", "156", "156"] for line in lines)
    assert any(line.startswith("Not kept: ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "trace synth needs --requests, --duration or --like"),
        (("--requests", "0"), "--requests must be at least 1, got 0"),
        (("--requests", "5", "--rate", "0"), "--rate must be above 0 and at most 10^9 a second, got 0"),
        (("--requests", "5", "--rate", "nan"), "--rate must be above 0 and at most 10^9 a second, got nan"),
        (("--requests", "5", "--on", "1s"), "--on and --off must be given together"),
        (("--requests", "5", "--on", "0s", "--off", "1s"), "--on must be above 0 and at most 1,000,000 s, got '0s'"),
        (("--requests", "5", "--reads", "1.5"), "--reads must be from 0 to 1, got 1.5"),
        (("--requests", "5", "--sizes", "4KiB:0"),
         "--sizes must be sizes such as 4KiB or 4KiB:3,64KiB:1, got '4KiB:0'"),
        (("--requests", "5", "--sizes", "100B"), "--sizes must be a positive multiple of 512 bytes, got '100B'"),
        (("--requests", "5", "--span", "2KiB"), "--span must hold the largest request, got '2KiB'"),
        (("--requests", "5", "--seed", "-1"), "--seed must not be negative, got -1"),
        (("--duration", "1ns"), "no request arrives in the time of --duration"),
        (("--like", "t.csv", "--rate", "5"), "--rate cannot be given with --like"),
        (("--like", "nope.csv"), "nope.csv: No such file or directory"),
    ],
)  # fmt: skip
def test_a_workload_that_cannot_be(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    (folder / "t.csv").write_text("time_us,op,sector,sectors\n0,W,0,8\n")
    assert run(capsys, "trace", "synth", "a.csv", *arguments) == (2, "", f"iosim: {message}\n")
    assert [path.name for path in folder.iterdir()] == ["t.csv"]


def test_draws_are_numbers_from_0_to_1() -> None:
    u = Draws(1).uniform("x", 0, 100_000)
    assert 0 <= u.min() < 0.001
    assert 0.999 < u.max() < 1
    assert (Draws(1).uniform("x", 500, 10) == u[500:510]).all()
