"""Memory of the compiled engine: allocation, and a mark-and-sweep collector that moves nothing.

New objects are cut from the current run of free memory. When it is too short for the next object, a free block of just
its size is taken, or the run's rest goes to the free lists and another free block, at last a new chunk of the arena,
becomes the current run. Objects of 64 words and more are cut from a free block, or from the end of the used arena.
"""

from iosim.compiled.layout import (
    CHUNK_WORDS,
    CLASS_MASK,
    FIRST_LARGE_CLASS,
    FLAG_SCANNED,
    FREE,
    FREE_NEXT,
    G_ALLOCATED,
    G_BASE,
    G_BUMP,
    G_BUMP_LIMIT,
    G_CLASS_FLAGS,
    G_COLLECTIONS,
    G_FRAME_LISTS,
    G_FREE_LISTS,
    G_GC_MINIMUM,
    G_LIMIT,
    G_LIVE,
    G_MARK_BASE,
    G_MARK_LIMIT,
    G_MARK_OVERFLOW,
    G_MARK_TOP,
    G_PERMANENT_END,
    G_ROOT,
    G_THRESHOLD,
    G_WILDERNESS,
    GC_MINIMUM_BYTES,
    INT_CLASS,
    MARK,
    N_FRAME_LISTS,
    N_SIZE_CLASSES,
    NONE_CLASS,
    PAYLOAD,
    SIZE_SHIFT,
    TRAP_MEMORY,
)
from iosim.compiled.raw import gaddr, ld, st, trap, ushr


def rt_memory_init() -> int:
    """Make all behind the permanent objects free; called once, when the globals of the arena are set."""
    rt_clear_free_lists()
    st(gaddr(G_BUMP), 0)
    st(gaddr(G_BUMP_LIMIT), 0)
    st(gaddr(G_WILDERNESS), ld(gaddr(G_PERMANENT_END)))
    st(gaddr(G_ALLOCATED), 0)
    st(gaddr(G_LIVE), 0)
    st(gaddr(G_COLLECTIONS), 0)
    if ld(gaddr(G_GC_MINIMUM)) == 0:
        st(gaddr(G_GC_MINIMUM), GC_MINIMUM_BYTES)
    st(gaddr(G_THRESHOLD), ld(gaddr(G_GC_MINIMUM)))
    return 0


def rt_alloc(class_id: int, n_words: int) -> int:
    """A new object of *n_words* words, header included; its payload is zero."""
    address = ld(gaddr(G_BUMP))
    end = address + (n_words << 3)
    if end > ld(gaddr(G_BUMP_LIMIT)):
        address = rt_alloc_slow(n_words)
    else:
        st(gaddr(G_BUMP), end)
    st(address, class_id | (n_words << SIZE_SHIFT))
    rt_zero_words(address + PAYLOAD, n_words - 1)
    return address


def rt_alloc_slow(n_words: int) -> int:
    """Memory for *n_words* words that the current run has no room for."""
    if n_words >= FIRST_LARGE_CLASS:
        return rt_alloc_large(n_words)
    head = gaddr(G_FREE_LISTS) + (n_words << 3)
    block = ld(head)
    if block != 0:
        st(head, ld(block + FREE_NEXT))
        st(gaddr(G_ALLOCATED), ld(gaddr(G_ALLOCATED)) + (n_words << 3))
        return block
    rt_retire_run()
    block = rt_take_first(FIRST_LARGE_CLASS, N_SIZE_CLASSES)
    if block == 0:
        block = rt_take_first(n_words + 1, FIRST_LARGE_CLASS)
    if block == 0:
        block = rt_take_chunk(n_words)
    size = rt_size(block) << 3
    st(gaddr(G_BUMP), block + (n_words << 3))
    st(gaddr(G_BUMP_LIMIT), block + size)
    st(gaddr(G_ALLOCATED), ld(gaddr(G_ALLOCATED)) + size)
    return block


def rt_alloc_large(n_words: int) -> int:
    """Memory for an object of 64 words or more, cut from a free block or from the end of the used arena."""
    class_of_size = rt_size_class(n_words)
    block = rt_take_fitting(class_of_size, n_words)
    if block == 0:
        block = rt_take_first(class_of_size + 1, N_SIZE_CLASSES)
    st(gaddr(G_ALLOCATED), ld(gaddr(G_ALLOCATED)) + (n_words << 3))
    if block == 0:
        return rt_take_wilderness(n_words)
    rest = rt_size(block) - n_words
    if rest != 0:
        rt_free_block(block + (n_words << 3), rest)
    return block


def rt_take_chunk(n_words: int) -> int:
    """A free block from the end of the used arena, of CHUNK_WORDS words or what is left, at least *n_words*."""
    left = (ld(gaddr(G_LIMIT)) - ld(gaddr(G_WILDERNESS))) >> 3
    size = CHUNK_WORDS
    if size > left:
        size = n_words if n_words > left else left
    block = rt_take_wilderness(size)
    st(block, FREE | (size << SIZE_SHIFT))
    return block


def rt_take_wilderness(n_words: int) -> int:
    """Address of *n_words* words at the end of the used arena."""
    address = ld(gaddr(G_WILDERNESS))
    end = address + (n_words << 3)
    if end > ld(gaddr(G_LIMIT)):
        return trap(TRAP_MEMORY)
    st(gaddr(G_WILDERNESS), end)
    return address


def rt_take_first(first: int, stop: int) -> int:
    """The first free block of the size classes from *first* to before *stop*, taken off its list, or 0."""
    head = gaddr(G_FREE_LISTS) + (first << 3)
    end = gaddr(G_FREE_LISTS) + (stop << 3)
    while head < end:
        block = ld(head)
        if block != 0:
            st(head, ld(block + FREE_NEXT))
            return block
        head += 8
    return 0


def rt_take_fitting(class_of_size: int, n_words: int) -> int:
    """One of the first 16 blocks of a size class that has *n_words* words, taken off its list; 0 if there is none."""
    link = gaddr(G_FREE_LISTS) + (class_of_size << 3)
    for _ in range(16):
        block = ld(link)
        if block == 0:
            return 0
        if rt_size(block) >= n_words:
            st(link, ld(block + FREE_NEXT))
            return block
        link = block + FREE_NEXT
    return 0


def rt_size(address: int) -> int:
    """Size of an object in words, header included."""
    return ushr(ld(address), SIZE_SHIFT)


def rt_class_of(word: int) -> int:
    """Class id of a value; INT_CLASS for an int, NONE_CLASS for None."""
    if word & 1:
        return INT_CLASS
    if word == 0:
        return NONE_CLASS
    return ld(word) & CLASS_MASK


def rt_class_flags(class_id: int) -> int:
    """Flags of a class of objects, 0 for ints and None."""
    if class_id <= 0:
        return 0
    return ld(ld(gaddr(G_CLASS_FLAGS)) + (class_id << 3))


def rt_size_class(n_words: int) -> int:
    """Size class of a block of *n_words* words."""
    if n_words < FIRST_LARGE_CLASS:
        return n_words
    result = FIRST_LARGE_CLASS
    rest = n_words >> 7
    while rest != 0:
        result += 1
        rest = rest >> 1
    return result


def rt_free_block(address: int, n_words: int) -> int:
    """Make a free block; a single word is not kept on a list."""
    st(address, FREE | (n_words << SIZE_SHIFT))
    if n_words > 1:
        head = gaddr(G_FREE_LISTS) + (rt_size_class(n_words) << 3)
        st(address + FREE_NEXT, ld(head))
        st(head, address)
    return 0


def rt_retire_run() -> int:
    """Put the rest of the current run on the free lists."""
    rest = ld(gaddr(G_BUMP_LIMIT)) - ld(gaddr(G_BUMP))
    if rest != 0:
        rt_free_block(ld(gaddr(G_BUMP)), rest >> 3)
        st(gaddr(G_ALLOCATED), ld(gaddr(G_ALLOCATED)) - rest)
    st(gaddr(G_BUMP), 0)
    st(gaddr(G_BUMP_LIMIT), 0)
    return 0


def rt_clear_free_lists() -> int:
    """Forget all free blocks."""
    head = gaddr(G_FREE_LISTS)
    for i in range(N_SIZE_CLASSES):
        st(head + (i << 3), 0)
    frames = gaddr(G_FRAME_LISTS)
    for i in range(N_FRAME_LISTS):
        st(frames + (i << 3), 0)
    return 0


def rt_maybe_gc() -> int:
    """Collect if more than G_GC_MINIMUM and than twice the bytes gone through was allocated since; raw 1 if it did."""
    taken = ld(gaddr(G_ALLOCATED)) - (ld(gaddr(G_BUMP_LIMIT)) - ld(gaddr(G_BUMP)))
    if taken <= ld(gaddr(G_THRESHOLD)):
        return 0
    rt_gc()
    return 1


def rt_gc() -> int:
    """Free all that neither the root nor a permanent object reaches; no native frame may hold an address."""
    rt_retire_run()
    rt_mark()
    rt_sweep()
    marked = ld(gaddr(G_LIVE)) + ld(gaddr(G_PERMANENT_END)) - ld(gaddr(G_BASE))
    least = ld(gaddr(G_GC_MINIMUM))
    st(gaddr(G_THRESHOLD), 2 * marked if 2 * marked > least and least >= 0 else least)
    st(gaddr(G_ALLOCATED), 0)
    st(gaddr(G_COLLECTIONS), ld(gaddr(G_COLLECTIONS)) + 1)
    return 0


def rt_mark() -> int:
    """Mark what the root and the permanent objects reach."""
    st(gaddr(G_MARK_TOP), ld(gaddr(G_MARK_BASE)))
    st(gaddr(G_MARK_OVERFLOW), 0)
    low = ld(gaddr(G_PERMANENT_END))
    high = ld(gaddr(G_WILDERNESS))
    rt_mark_words(gaddr(G_ROOT), gaddr(G_ROOT) + 8, low, high)
    rt_drain_marks(low, high)
    address = ld(gaddr(G_BASE))
    while address < low:
        rt_mark_children(address, low, high)
        rt_drain_marks(low, high)
        address += rt_size(address) << 3
    while ld(gaddr(G_MARK_OVERFLOW)) != 0:
        st(gaddr(G_MARK_OVERFLOW), 0)
        rt_mark_again(low, high)
    return 0


def rt_mark_again(low: int, high: int) -> int:
    """Go once more through the children of all marked objects, as some were not pushed on the full mark stack."""
    address = low
    while address < high:
        if ld(address) & MARK:
            rt_mark_children(address, low, high)
            rt_drain_marks(low, high)
        address += rt_size(address) << 3
    return 0


def rt_drain_marks(low: int, high: int) -> int:
    """Mark from the objects on the mark stack until it is empty."""
    base = ld(gaddr(G_MARK_BASE))
    top = ld(gaddr(G_MARK_TOP))
    while top != base:
        top -= 8
        st(gaddr(G_MARK_TOP), top)
        rt_mark_children(ld(top), low, high)
        top = ld(gaddr(G_MARK_TOP))
    return 0


def rt_mark_children(address: int, low: int, high: int) -> int:
    """Mark what the payload of a scanned object refers to."""
    header = ld(address)
    if rt_class_flags(header & CLASS_MASK) & FLAG_SCANNED:
        rt_mark_words(address + PAYLOAD, address + (ushr(header, SIZE_SHIFT) << 3), low, high)
    return 0


def rt_mark_words(position: int, end: int, low: int, high: int) -> int:
    """Mark the objects between *low* and *high* that the words from *position* to *end* refer to, and push them."""
    top = ld(gaddr(G_MARK_TOP))
    limit = ld(gaddr(G_MARK_LIMIT))
    while position != end:
        word = ld(position)
        if (word & 7) == 0 and word >= low and word < high:
            header = ld(word)
            if (header & MARK) == 0:
                st(word, header | MARK)
                if top == limit:
                    st(gaddr(G_MARK_OVERFLOW), 1)
                else:
                    st(top, word)
                    top += 8
        position += 8
    st(gaddr(G_MARK_TOP), top)
    return 0


def rt_sweep() -> int:
    """Unmark the marked objects, and make free blocks of all between them; free memory at the end is wilderness."""
    rt_clear_free_lists()
    live = 0
    address = ld(gaddr(G_PERMANENT_END))
    end = ld(gaddr(G_WILDERNESS))
    while address < end:
        header = ld(address)
        if header & MARK:
            st(address, header ^ MARK)
            size = ushr(header, SIZE_SHIFT) << 3
            live += size
            address += size
        else:
            start = address
            address = rt_next_marked(start, end)
            if address == end:
                st(gaddr(G_WILDERNESS), start)
            else:
                rt_free_block(start, (address - start) >> 3)
    st(gaddr(G_LIVE), live)
    return 0


def rt_next_marked(address: int, end: int) -> int:
    """Address of the first marked object from *address* on, *end* if there is none."""
    while address < end and (ld(address) & MARK) == 0:
        address += rt_size(address) << 3
    return address


def rt_zero_words(address: int, n_words: int) -> int:
    """Make words zero."""
    for i in range(n_words):
        st(address + (i << 3), 0)
    return 0


def rt_copy_words(target: int, source: int, n_words: int) -> int:
    """Copy words upwards, to memory that does not overlap, or lies below."""
    for i in range(n_words):
        st(target + (i << 3), ld(source + (i << 3)))
    return 0


def rt_copy_words_down(target: int, source: int, n_words: int) -> int:
    """Copy words from the last to the first, to memory that may overlap above."""
    i = n_words
    while i != 0:
        i -= 1
        st(target + (i << 3), ld(source + (i << 3)))
    return 0
