"""Objects that the compiler makes: callable values and the frames of generators."""

from iosim.compiled import layout

FUNCTION, BOUND, CLOSURE, PARTIAL, ITEM_GETTER = range(layout.FIRST_COMPILER_CLASS, layout.FIRST_COMPILER_CLASS + 5)
FRAME_STATE, FRAME_TOP, FRAME_PARENT, FRAME_TAKER, FRAME_FIRST = 1, 2, 3, 4, 5
"""Words of a generator's frame: where it goes on; the innermost frame, of the outermost one; who has called it; who
takes steps, of the outermost one (None: nobody); from there on locals."""

OWNED = 1 << 26
"""In the header of a frame: it was made for one `yield from` and goes to the frame lists when that is over."""


def tag(number: int) -> int:
    """Return the word of an integer."""
    return number * 2 + 1
