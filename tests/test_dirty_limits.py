"""What the limits of the page cache do to the shipped scenarios, and that no page is lost."""

import random
from itertools import pairwise
from pathlib import Path

import pytest

import iosim
from iosim.disk.page_cache import AddressSpace, PageCache, PageCacheConfig, Writeback
from iosim.host import Host

SCENARIOS = Path(__file__).parents[1] / "scenarios"


@pytest.mark.parametrize("name", ["linux-ext4", "linux-dma", "linux-pio", "eight-vms", "seed-path"])
def test_smaller_dirty_limit_does_not_make_requests_faster(name: str) -> None:
    """With the background limit as it is. (If that falls as well, a flush finds less to write and is done sooner.)"""
    means = []
    for limit in ("64MiB", "128KiB", "64KiB", "32KiB", "20KiB"):
        table = f'host.page_cache={{dirty_background_bytes="16KiB", dirty_bytes="{limit}"}}'
        described = iosim.load(SCENARIOS / f"{name}.toml", ["vm.drive.cache=writeback", "run.slowest=0", table])
        means.append(iosim.simulate(described).summary["latency_ns"]["mean"])
    for larger, smaller in pairwise(means):
        assert smaller >= 0.99 * larger


class NoFlusher:
    """A disk whose flusher is the test."""

    def inode_dirtied(self, space: AddressSpace) -> None:
        pass

    def start_background(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(20))
def test_every_page_is_in_one_state_and_none_is_lost(seed: int) -> None:
    chance = random.Random(seed)
    cache = PageCache(Host(), PageCacheConfig(32, 4, 8, 0, 0))
    spaces = [cache.open(NoFlusher()) for _ in range(2)]
    under_way: list[Writeback] = []
    for _ in range(500):
        space = chance.choice(spaces)
        first = chance.randrange(30)
        last = first + chance.randrange(4)
        action = chance.choice(["read", "write", "begin", "end"])
        if action == "read":
            for begin, n in cache.use(space, first, last):
                assert not any(cache.holds(space, page) for page in range(begin, begin + n))
                cache.add(space, range(begin, begin + n))
        elif action == "write":
            cache.set_dirty(space, first, last)
            assert all(cache.holds(space, page) for page in range(first, last + 1))
        elif action == "begin" and space.can_be_written():
            page = min(space.dirty - space.writeback)
            under_way.append(cache.begin_writeback(space, page, 1))
        elif under_way:
            cache.end_writeback(under_way.pop(chance.randrange(len(under_way))), 0)
        dirty = sum(len(each.dirty) for each in spaces)
        writeback = sum(len(each.writeback) for each in spaces)
        assert (cache.n_dirty, cache.n_writeback) == (dirty, writeback)
        assert cache.dirty.value == dirty + writeback
        assert all(each.n_both == len(each.dirty & each.writeback) for each in spaces)
        held = sum(cache.holds(each, page) for each in spaces for page in range(40))
        busy = sum(len(each.dirty | each.writeback) for each in spaces)
        assert held <= max(32, busy)
        assert cache.held.value == min(held, 32)
        counts = cache.counts
        assert counts.dirtied == counts.written_back + dirty + writeback
