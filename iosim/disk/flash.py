"""The flash of one parallel unit of a solid-state disk: which page is where, and garbage collection.

Page mapping with one open block. When the last free block is opened, the full block with the fewest valid pages
(greedy; of equal ones the first) is collected: its valid pages are copied to the open block, then it is erased and is
the next free block. After Bux and Iliadis, "Performance of greedy garbage collection in flash-based solid-state
drives", Performance Evaluation 67, 2010. All of it is integers, and each step is determined by those before.
"""

from array import array

_NOWHERE = -1


class FlashUnit:
    """*pages* logical pages on *blocks* blocks of *block_pages* pages; *filled*: all were written once, in order.

    `programmed` counts the pages programmed, those copied included; `written` those that the host wrote.
    """

    def __init__(self, pages: int, blocks: int, block_pages: int, filled: bool) -> None:
        assert blocks * block_pages >= pages + 2 * block_pages
        self.block_pages = block_pages
        self.written = 0
        self.programmed = 0
        self.erased = 0
        self._where = array("q", [_NOWHERE]) * pages
        self._what = array("q", [_NOWHERE]) * (blocks * block_pages)
        self._valid = [0] * blocks
        self._free = list(range(blocks - 1, -1, -1))
        self._open = self._free.pop()
        self._next = 0
        if filled:
            for page in range(pages):
                self._program(page)
                self._make_room()
        self.written = self.programmed = self.erased = 0

    def write(self, page: int) -> int | None:
        """Write logical *page*: returns how many pages are copied before a block is erased, None if none is.

        Both come behind the program that filled the open block.
        """
        self.written += 1
        self._program(page)
        return self._make_room()

    def _program(self, page: int) -> None:
        """Put *page* into the next page of the open block; where it was before is valid no more."""
        before = self._where[page]
        if before != _NOWHERE:
            self._what[before] = _NOWHERE
            self._valid[before // self.block_pages] -= 1
        place = self._open * self.block_pages + self._next
        self._where[page] = place
        self._what[place] = page
        self._valid[self._open] += 1
        self._next += 1
        self.programmed += 1

    def _make_room(self) -> int | None:
        """Open the next block if this one is full; collect if it was the last free one."""
        if self._next < self.block_pages:
            return None
        self._open = self._free.pop()
        self._next = 0
        if self._free:
            return None
        valid = self._valid
        open_block, open_valid = self._open, valid[self._open]
        valid[open_block] = self.block_pages + 1  # not the one that is filled
        victim = valid.index(min(valid))
        valid[open_block] = open_valid
        copied = valid[victim]
        first = victim * self.block_pages
        for place in range(first, first + self.block_pages):
            page = self._what[place]
            if page != _NOWHERE:
                self._program(page)
        self.erased += 1
        self._free.append(victim)
        return copied
