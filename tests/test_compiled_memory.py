"""Allocation and garbage collection of the compiled engine."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.compiled import layout, raw
from iosim.compiled.raw import TrapError
from tests.raw_program import NODE_CLASS, Program

Block = tuple[int, int, int]
"""Address, size in words, class id."""


def word_at(number: int) -> int:
    return raw.ld(raw.gaddr(number))


def blocks(start: int, end: int) -> Iterator[Block]:
    """All objects and free blocks from one address to another, which must follow each other without a gap."""
    while start < end:
        header = raw.ld(start)
        assert header & layout.MARK == 0
        size = header >> layout.SIZE_SHIFT
        assert size > 0
        yield start, size, header & layout.CLASS_MASK
        start += 8 * size
    assert start == end


def heap(program: Program) -> list[Block]:
    """The objects and free blocks behind the permanent ones; the rest of the current run is put on the free lists."""
    program.rt_retire_run()
    return list(blocks(word_at(layout.G_PERMANENT_END), word_at(layout.G_WILDERNESS)))


def objects(program: Program) -> list[Block]:
    return [block for block in heap(program) if block[2] != layout.FREE]


def listed(program: Program) -> list[int]:
    """Addresses of the blocks on the free lists."""
    found = []
    for size_class in range(layout.N_SIZE_CLASSES):
        block = word_at(layout.G_FREE_LISTS + size_class)
        while block:
            size = raw.ld(block) >> layout.SIZE_SHIFT
            assert program.rt_size_class(size) == size_class
            found.append(block)
            block = raw.ld(block + layout.FREE_NEXT)
    return found


def payload(address: int) -> list[int]:
    return [raw.ld(address + 8 * i) for i in range(1, raw.ld(address) >> layout.SIZE_SHIFT)]


sizes = st.one_of(st.integers(1, 12), st.integers(1, 70), st.integers(60, 600))


@given(st.lists(sizes, max_size=60), st.lists(sizes, max_size=60), st.data())
def test_objects_do_not_overlap_and_are_zero(first: list[int], second: list[int], data: st.DataObject) -> None:
    program = Program()
    alive: dict[int, int] = {}
    kept = program.rt_list_new(0)
    raw.st(raw.gaddr(layout.G_ROOT), kept)

    def make(size: int, keep: bool) -> None:
        address = program.rt_alloc(layout.RAW, size)
        assert raw.ld(address) == layout.RAW | size << layout.SIZE_SHIFT
        assert not any(payload(address))
        for i in range(1, size):
            raw.st(address + 8 * i, -1)
        if keep:
            program.rt_list_append(kept, address)
            alive[address] = size

    for size in first:
        make(size, data.draw(st.booleans()))
    program.rt_gc()
    assert {address for address, _, class_id in objects(program) if class_id == layout.RAW} == set(alive)
    for size in second:
        make(size, True)
    assert {(address, size) for address, size, class_id in objects(program) if class_id == layout.RAW} == set(
        alive.items()
    )
    assert all(set(payload(address)) <= {-1} for address in alive)


def test_size_classes_are_each_size_and_then_powers_of_two() -> None:
    program = Program()
    assert [program.rt_size_class(n) for n in (1, 2, 63, 64, 127, 128, 255, 256)] == [1, 2, 63, 64, 64, 65, 65, 66]
    assert program.rt_size_class(2**32 - 1) == 64 + 31 - 6 < layout.N_SIZE_CLASSES


edges = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 3), st.integers(-1, 29)), max_size=80)


@given(st.lists(st.integers(1, 4), min_size=30, max_size=30), edges, st.integers(-1, 29), st.integers(0, 6), st.data())
def test_what_is_reached_stays_and_all_else_goes(
    widths: list[int], links: list[tuple[int, int, int]], root: int, n_permanent: int, data: st.DataObject
) -> None:
    mark_words = data.draw(st.sampled_from([1, 2, 64]), label="mark stack")
    program = Program(n_permanent=5 * n_permanent, mark_words=mark_words)
    nodes = [word_at(layout.G_BASE) + 40 * i for i in range(n_permanent)]
    for address in nodes:
        raw.st(address, NODE_CLASS | layout.PERMANENT | 5 << layout.SIZE_SHIFT)
    widths = [4] * n_permanent + widths[n_permanent:]
    nodes += [program.rt_alloc(NODE_CLASS, 1 + width) for width in widths[n_permanent:]]
    targets: dict[tuple[int, int], int] = {}
    for source, field, target in links:
        if field < widths[source]:
            raw.st(nodes[source] + 8 * (1 + field), nodes[target] if target >= 0 else 2 * target + 1)
            targets[source, field] = target
    raw.st(raw.gaddr(layout.G_ROOT), nodes[root] if root >= 0 else 0)

    reached: set[int] = set()
    todo = [*range(n_permanent), root]
    while todo:
        node = todo.pop()
        if node >= 0 and node not in reached:
            reached.add(node)
            todo += [target for (source, _), target in targets.items() if source == node]
    before = {node: payload(nodes[node]) for node in reached}
    program.rt_gc()

    own = {nodes[node]: 1 + widths[node] for node in reached if node >= n_permanent}
    assert {address: size for address, size, _ in objects(program)} == own
    assert word_at(layout.G_LIVE) == 8 * sum(own.values())
    assert {node: payload(nodes[node]) for node in reached} == before
    permanent = list(blocks(word_at(layout.G_BASE), word_at(layout.G_PERMANENT_END)))
    assert [class_id for _, _, class_id in permanent] == [NODE_CLASS] * n_permanent


def test_neighbouring_free_blocks_become_one() -> None:
    program = Program()
    made = [program.rt_alloc(layout.RAW, 5) for _ in range(6)]
    kept = program.word((0, 0))
    for i, address in enumerate((made[0], made[4])):
        raw.st(kept + 8 * (i + 1), address)
    raw.st(raw.gaddr(layout.G_ROOT), kept)
    program.rt_gc()
    assert heap(program) == [
        (made[0], 5, layout.RAW),
        (made[1], 15, layout.FREE),
        (made[4], 5, layout.RAW),
        (made[5], 5, layout.FREE),
        (kept, 3, layout.TUPLE),
    ]
    assert sorted(listed(program)) == [made[1], made[5]]
    assert word_at(layout.G_WILDERNESS) == kept + 24
    assert program.rt_alloc(layout.RAW, 5) == made[5]


def test_a_large_object_leaves_the_rest_of_its_block_free() -> None:
    program = Program()
    lost, end = program.rt_alloc(layout.RAW, 200), program.rt_alloc(layout.RAW, 100)
    raw.st(raw.gaddr(layout.G_ROOT), end)
    program.rt_gc()
    assert program.rt_alloc(layout.RAW, 120) == lost
    assert heap(program)[1] == (lost + 960, 80, layout.FREE)
    assert program.rt_alloc(layout.RAW, 79) == lost + 960
    assert heap(program)[2:] == [(lost + 1592, 1, layout.FREE), (end, 100, layout.RAW)]


def test_values_that_look_like_addresses_are_not_followed_in_opaque_objects() -> None:
    program = Program()
    lost = program.rt_alloc(NODE_CLASS, 4)
    opaque = program.object(layout.RAW, [lost])
    raw.st(raw.gaddr(layout.G_ROOT), program.object(NODE_CLASS, [opaque, 2 * lost + 1, layout.HOLE, 0]))
    program.rt_gc()
    assert lost not in [address for address, _, _ in objects(program)]


def test_a_long_chain_is_marked_with_a_short_stack() -> None:
    program = Program(mark_words=3)
    link = 0
    for _ in range(2000):
        link = program.object(NODE_CLASS, [link, program.rt_float_new(0), link])
    raw.st(raw.gaddr(layout.G_ROOT), link)
    program.rt_gc()
    assert len(objects(program)) == 4000


def test_containers_outlive_a_collection() -> None:
    program = Program()
    value = {"list": [1, [2.5, "text"]], (1, 2): {3: {4, "five"}}, 2**63: None} | {i: str(i) for i in range(40)}
    table = program.word(value)
    raw.st(raw.gaddr(layout.G_ROOT), table)
    program.rt_gc()
    first = objects(program)
    for i in range(100):
        program.word([str(i), {i: i}])
    assert program.value(table) == value
    for i in range(40):
        assert program.value(program.rt_getitem(table, program.word(i))) == str(i)
    program.rt_gc()
    assert objects(program) == first


def test_memory_is_used_again() -> None:
    program = Program(arena_words=1 << 14)
    kept = program.rt_list_new(0)
    raw.st(raw.gaddr(layout.G_ROOT), kept)
    for i in range(30):
        program.rt_list_append(kept, program.word((i, float(i))))
        for size in range(2, 100, 3):
            program.rt_alloc(layout.RAW, size)
        program.rt_gc()
    assert program.value(kept) == [(i, float(i)) for i in range(30)]
    assert word_at(layout.G_COLLECTIONS) == 30


def test_a_full_arena_traps() -> None:
    program = Program(arena_words=1 << 10)
    for _ in range(5):
        program.rt_alloc(layout.RAW, 200)
    for size in (200, 25):
        with pytest.raises(TrapError, match="exhausted") as trap:
            program.rt_alloc(layout.RAW, size)
        assert trap.value.code == layout.TRAP_MEMORY
    program.rt_alloc(layout.RAW, 24)
    with pytest.raises(TrapError, match="exhausted"):
        program.rt_alloc(layout.RAW, 1)


def test_collections_begin_when_enough_was_allocated() -> None:
    program = Program()
    assert word_at(layout.G_THRESHOLD) == 64 << 20
    raw.st(raw.gaddr(layout.G_THRESHOLD), 8000)
    for _ in range(40):
        program.rt_alloc(layout.RAW, 20)
    program.rt_retire_run()
    program.rt_alloc(layout.RAW, 200)
    assert program.rt_maybe_gc() == 0
    program.rt_alloc(layout.RAW, 2)
    assert program.rt_maybe_gc() == 1
    assert objects(program) == []
    assert word_at(layout.G_THRESHOLD) == 64 << 20
    assert program.rt_maybe_gc() == 0


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 8))
def test_words_are_copied_over_themselves(word: int, n_words: int) -> None:
    program = Program()
    block = program.object(layout.RAW, [word ^ i for i in range(n_words)] + [0, 0])
    program.rt_copy_words_down(block + 24, block + 8, n_words)
    assert payload(block)[2:] == [word ^ i for i in range(n_words)]
    program.rt_copy_words(block + 8, block + 24, n_words)
    assert payload(block)[:n_words] == [word ^ i for i in range(n_words)]
