"""Solid-state disks: write buffer and garbage collection, by hand and against the closed form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import lambertw

from iosim.disk import DiskIo, Ssd, SsdConfig
from iosim.disk.flash import FlashUnit
from iosim.disk.ssd import blocks_per_unit
from tests.support import scenario, simulate

FLUSH = DiskIo("F", 0, 0)


def write(sector: int, sectors: int = 8) -> DiskIo:
    return DiskIo("W", sector, sectors)


def ssd(buffer_pages: int = 0, pages: int = 0, blocks: int = 0, units: int = 4, block_pages: int = 2) -> Ssd:
    """Read 50, program 200, erase 1,000, transfer 5, overhead 10, flush 30 us; pages of 8 sectors."""
    return Ssd(
        SsdConfig(
            units=units,
            page_sectors=8,
            block_pages=block_pages,
            read_ns=50_000,
            program_ns=200_000,
            erase_ns=1_000_000,
            transfer_ns=5_000,
            overhead_ns=10_000,
            flush_ns=30_000,
            buffer_pages=buffer_pages,
            pages=pages,
            blocks_per_unit=blocks,
        )
    )


# Write buffer


def test_a_buffered_write_is_done_when_it_is_in_the_buffer() -> None:
    disk = ssd(buffer_pages=4)
    ns, state = disk.service(disk.initial(), write(0, 32), 0, 0)
    assert ns == 10_000
    # The flush waits for the programs (5 + 200 us behind the 10 us), then takes 30 us.
    assert disk.service(state, FLUSH, 15_000, 0)[0] == 200_000 + 30_000


def test_a_full_buffer_makes_a_write_wait_for_room() -> None:
    # Four units take a page each until 215 us; the fifth page follows on unit 0 (until 420 us). A buffer of 5: the
    # sixth page has room when the first program ends, at 215 us.
    disk = ssd(buffer_pages=5)
    ns, state = disk.service(disk.initial(), write(0, 40), 0, 0)
    assert ns == 10_000
    assert disk.service(state, write(80), 20_000, 0)[0] == 195_000


def test_a_write_larger_than_the_buffer_waits_for_its_own_pages() -> None:
    # One unit, a buffer of 2: pages 3 and 4 enter when programs 1 and 2 end, at 215 and 420 us.
    disk = ssd(buffer_pages=2, units=1, block_pages=64)
    assert disk.service(disk.initial(), write(0, 32), 0, 0)[0] == 420_000


# Garbage collection


def test_greedy_collection_step_by_step() -> None:
    # 4 pages, filled, on 5 blocks of 2: blocks 0 and 1 are full, 2 is open, 3 and 4 are free.
    flash = FlashUnit(4, 5, 2, filled=True)
    # Page 0 to block 2; page 1 too, which is full: 3 is opened, 4 is left.
    assert [flash.write(0), flash.write(1)] == [None, None]
    # Page 2 and 0 to block 3, which is full. 4 is the last free block: opened, and one is collected. Valid pages: block
    # 0 none (0 and 1 were written again), 1 one (3), 2 one (1), 3 both. Block 0: nothing is copied.
    assert [flash.write(2), flash.write(0)] == [None, 0]
    assert (flash.written, flash.programmed, flash.erased) == (4, 4, 1)
    # Pages 3 and 1 to block 4: full; block 0 is opened. Valid: 1 none, 2 none: the first of equal ones, block 1.
    assert [flash.write(3), flash.write(1)] == [None, 0]
    # Pages 0 and 1 to block 0: full; 1 is opened. Valid: block 0 both, 2 none, 3 one (2), 4 one (3): block 2.
    assert [flash.write(0), flash.write(1)] == [None, 0]
    # Pages 0 and 0 to block 1. Block 2 is opened. Valid: 0 one (1), 1 one (0), 3 one (2), 4 one (3): block 0, one copy.
    assert [flash.write(0), flash.write(0)] == [None, 1]
    # The copy has taken a page of block 2: one write fills it, 0 is opened. Valid: 1 none once page 0 is written.
    assert flash.write(0) == 0
    assert (flash.written, flash.programmed, flash.erased) == (11, 12, 5)


def test_a_collection_stalls_what_comes_behind_it_on_its_unit() -> None:
    # One unit as above. The fourth write (page 0) ends at 4 x 215 us and sets off an erase of 1,000 us.
    disk = ssd(pages=4, blocks=5, units=1)
    state, at = disk.initial(), 0
    for page in (0, 1, 2, 0):
        ns, state = disk.service(state, write(8 * page), at, 0)
        assert ns == 215_000
        at += ns
    ns, state = disk.service(state, DiskIo("R", 0, 8), at, 0)
    assert ns == 1_000_000 + 55_000
    at += ns
    # Five more writes bring three erases (behind the 2nd, the 4th), and behind the 6th a copied page, 50 + 200 us.
    waits = []
    for page in (3, 1, 0, 1, 0, 0, 0):
        ns, state = disk.service(state, write(8 * page), at, 0)
        waits.append(ns - 215_000)
        at += ns
    assert waits == [0, 0, 990_000, 0, 990_000, 0, 1_240_000]


@given(st.integers(0, 2**32), st.sampled_from([(16, 4, 8), (40, 8, 8), (7, 3, 12)]))
def test_no_page_is_lost(seed: int, sizes: tuple[int, int, int]) -> None:
    pages, block_pages, blocks = sizes
    flash = FlashUnit(pages, blocks, block_pages, filled=True)
    copied = 0
    for page in np.random.default_rng(seed).integers(0, pages, 200).tolist():
        copied += flash.write(page) or 0
        places = [place for place in flash._where if place >= 0]
        assert sorted(flash._what[place] for place in places) == list(range(pages))
        assert sum(flash._valid) == pages
    assert flash.programmed == flash.written + copied == 200 + copied


def test_the_summary_tells_of_the_wear() -> None:
    # One unit, blocks of 2 pages, 4 pages and a spare of 6, as above: the fourth write sets off the first erase.
    disk = {
        "model": "ssd",
        "units": 1,
        "block_pages": 2,
        "capacity": "16KiB",
        "over_provisioning": 1.5,
        "window": [{"start": "1s", "end": "2s", "factor": 2.0}],
    }
    rows = [(k * 10_000_000, "W", 8 * page, 8) for k, page in enumerate((0, 1, 2, 0, 3, 1, 0, 1, 0, 0, 0))]
    summary = simulate(scenario(drives=[{"size": "16KiB"}], disks=[disk]), rows).summary
    assert summary["wear"] == {
        "sda": {"pages_written": 11, "pages_programmed": 12, "blocks_erased": 5, "write_amplification": 12 / 11}
    }


def xiang_kurkoski(spare: float) -> float:
    """Write amplification of greedy garbage collection under uniformly random writes; *spare* is (T - U) / U.

    Xiang and Kurkoski, "An improved analytical expression for write amplification in NAND flash", arXiv:1110.4245.
    """
    ratio = 1 + spare
    return float(ratio / (ratio + lambertw(-ratio * math.exp(-ratio)).real))


def test_closed_form_agrees_with_the_paper() -> None:
    assert xiang_kurkoski(0.3) == pytest.approx(2.36, abs=0.005)


@pytest.mark.parametrize("over_provisioning", [0.15, 0.3, 0.6])
def test_write_amplification_comes_to_the_closed_form(over_provisioning: float) -> None:
    # The closed form is the limit of many large blocks (small ones differ more, and greed finds better ones): 1 %.
    pages, block_pages = 65_536, 256
    flash = FlashUnit(pages, blocks_per_unit(pages, 1, block_pages, over_provisioning), block_pages, filled=True)
    rng = np.random.default_rng(20260103)
    for page in rng.integers(0, pages, 8 * pages).tolist():
        flash.write(page)
    written, programmed = flash.written, flash.programmed
    for page in rng.integers(0, pages, 4 * pages).tolist():
        flash.write(page)
    amplification = (flash.programmed - programmed) / (flash.written - written)
    assert amplification == pytest.approx(xiang_kurkoski(over_provisioning), rel=0.01)


def latencies(over_provisioning: float | None) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Service times of random writes of one page, 250 us apart, to a filled disk of 8 units."""
    pages, units, block_pages = 8_192, 8, 32
    blocks = 0 if over_provisioning is None else blocks_per_unit(pages, units, block_pages, over_provisioning)
    disk = ssd(pages=pages if blocks else 0, blocks=blocks, units=units, block_pages=block_pages)
    state, result = disk.initial(), []
    for k, page in enumerate(np.random.default_rng(20260104).integers(0, pages, 4 * pages).tolist()):
        ns, state = disk.service(state, write(8 * page), k * 250_000, 0)
        result.append(ns)
    return np.array(result[2 * pages :], dtype=np.int64)


def test_collections_are_seen_in_the_tail_and_more_so_with_less_spare_flash() -> None:
    none, ample, scarce = latencies(None), latencies(1.0), latencies(0.2)
    # Half of the writes find an idle unit whatever happens elsewhere.
    assert np.median(none) == np.median(ample) == np.median(scarce) == 215_000
    tails = [np.percentile(each, 99) for each in (none, ample, scarce)]
    assert tails[0] < 500_000
    assert tails[0] < tails[1] < tails[2]
    # A victim of a fifth of spare flash has some 20 of 32 pages valid: 20 x 250 us and the erase.
    assert tails[2] > 4_000_000
