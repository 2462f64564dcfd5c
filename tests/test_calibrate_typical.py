"""The typical run, two modes, the overhead of tracing, system calls in traces: by hand."""

import numpy as np
import pandas as pd
import pytest

from iosim.calibrate.accesses import Classes
from iosim.calibrate.overhead import estimated
from iosim.calibrate.recording import Recording
from iosim.calibrate.syscalls import Call, call_of
from iosim.calibrate.typical import PROBABILITIES, modes, typical

MEDIAN = PROBABILITIES.index(0.5)


def test_a_run_in_a_slow_phase_does_not_move_the_typical_run() -> None:
    quick, slow = np.linspace(8, 9, 1000), np.linspace(12, 13, 1000)
    found = typical([quick, quick + 0.02, slow])
    assert found is not None
    assert found.median == pytest.approx(8.52, abs=0.01)
    assert (found.n, found.runs) == (3000, 3)
    assert (found.low, found.high) == pytest.approx((8.5, 12.5))
    assert found.mean < 9  # of all pooled: 9.8


def test_quantiles_of_a_run_keep_its_mean() -> None:
    # 9,999 values of 10 us and one outlier of 1,010 us: mean 10.1 us, where a line from 10 at 0.999 would give 10.5.
    found = typical([np.array([10.0] * 9999 + [1010.0])])
    assert found is not None
    assert found.mean == pytest.approx(10.1)


def test_no_time_is_longer_than_the_longest_measured() -> None:
    sample = np.random.default_rng(3).pareto(1.1, 200)
    found = typical([sample])
    assert found is not None
    assert found.values.max() <= sample.max()


def test_a_run_weighs_as_many_values_as_it_has_up_to_a_thousand() -> None:
    # Weights 100, 100, 1000 (of 5000): half of 1200 lies within the last run's.
    found = typical([np.full(100, 1.0), np.full(100, 2.0), np.full(5000, 3.0)])
    assert found is not None
    # Middles of the weights: 50, 150, 700; half of 1200 is 600.
    assert found.median == pytest.approx(2 + 450 / 550)
    equal = typical([np.full(5000, 1.0), np.full(1000, 2.0), np.full(1000, 3.0)])
    assert equal is not None
    assert equal.median == 2.0


def test_too_few_values_are_no_measurement() -> None:
    assert typical([]) is None
    assert typical([[1.0] * 5, [2.0] * 4]) is None
    assert typical([[1.0] * 5, [2.0] * 5]) is not None


def test_two_modes_are_found_and_one_is_not_split() -> None:
    generator = np.random.default_rng(1)
    short, long = generator.gamma(20, 0.1, 900), generator.gamma(20, 2.5, 100)
    found = modes(np.concatenate([short, long]))
    assert found is not None
    assert short.max() < found.limit < long.min()
    assert (len(found.short), len(found.long)) == (900, 100)
    assert modes(generator.gamma(20, 0.1, 1000)) is None
    assert modes(generator.lognormal(0, 1, 1000)) is None
    assert modes([1.0, 50.0]) is None


def microbenchmark(us: float) -> Recording:
    """A loop of reads of 0x3f6, each of which took *us* in KVM and 1 us in QEMU; three records in each."""
    rows = {"kind": ["alt_r"] * 50, "port": 0x3F6, "size": 1, "count": 1, "vcpu": 0, "kvm_us": us, "qemu_us": 1.0}
    steps = pd.DataFrame({"kind": [], "call": []})
    return Recording("loop", pd.DataFrame(rows), steps, records={"kvm": 2.0, "qemu": 1.0})


def test_overhead_is_the_difference_of_a_microbenchmark_per_record() -> None:
    # (7.9 + 1 - 8.3) / 3 = 0.2 us.
    found = estimated([microbenchmark(7.9)], {"alt_r": 8.3})
    assert found.record_us == pytest.approx(0.2)
    assert found.less(microbenchmark(7.9), "kvm") == pytest.approx(0.4)
    assert estimated([microbenchmark(7.9)], {"status_r": 8.3}).record_us is None
    assert estimated([microbenchmark(7.9)], {}).record_us is None
    assert estimated([microbenchmark(7.9)], {"alt_r": 99.0}).record_us == 0


@pytest.mark.parametrize(
    ("name", "rest", "expected"),
    [
        (b"sys_enter", b"NR 16 (b, ae80, 0, 2, 55a6, ff)", Call("ioctl", (0xB, 0xAE80, 0, 2, 0x55A6, 0xFF))),
        (b"sys_exit", b"NR 16 = 0", Call("ioctl", None)),
        (b"sys_exit", b"NR 202 = -11", Call("futex", None)),
        (b"sys_enter_ioctl", b"fd: 0x0000000b, cmd: 0x0000ae80, arg: 0x00000000", Call("ioctl", (0xB, 0xAE80, 0))),
        (b"sys_exit_ioctl", b"0x0", Call("ioctl", None)),
        (b"sys_ioctl", b"(fd: b, cmd: ae80, arg: 0)", Call("ioctl", (0xB, 0xAE80, 0))),
        (b"sys_ioctl", b" -> 0x0", Call("ioctl", None)),
        (b"sys_pwrite64", b"(fd: c, buf: 7f47, count: 1000)", Call("pwrite64", (0xC, 0x7F47, 0x1000))),
        (b"kvm_entry", b"vcpu 0", None),
    ],
)
def test_system_calls_as_each_tracer_prints_them(name: bytes, rest: bytes, expected: Call | None) -> None:
    assert call_of(name, rest) == expected


def test_blocks_of_a_pio_command_end_with_their_last_word() -> None:
    # WRITE MULTIPLE of 3 sectors with blocks of 2: 1,024 bytes, then 512.
    classes = Classes()
    classes.kind(0x1F2, True, 1, 2)
    assert classes.kind(0x1F7, True, 1, 0xC6) == "cmd_w"
    classes.kind(0x1F2, True, 1, 3)
    classes.kind(0x1F7, True, 1, 0xC5)
    places = [classes.kind(0x1F0, True, 2, 0) for _ in range(768)]
    last = [at for at, kind in enumerate(places) if kind == "data_w_last"]
    assert last == [511, 767]
    assert [at for at, kind in enumerate(places) if kind == "data_w_first"] == [0, 512]


def test_bus_master_is_found_by_its_prd_address() -> None:
    classes = Classes()
    assert classes.kind(0xC040, True, 1, 1) == "other"
    assert classes.kind(0xC044, True, 4, 0x600) == "bm_w"
    assert classes.kind(0xC040, True, 1, 0) == "bm_w"
    assert classes.kind(0xC040, True, 1, 1) == "bm_start"
    assert classes.kind(0xC042, False, 1, 4) == "bm_r"
