"""Values while code is generated: an LLVM value, how it is represented, and what is known about it."""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from iosim.compiled.compiler.hints import Hint

I1, I8, I32, I64, DOUBLE = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.DoubleType()
STEP = ir.LiteralStructType([I64, I64])
"""What resuming a generator gives: (word, how)."""
YIELDED, RETURNED, CALLED, RAISED = 0, 1, 2, 3


@dataclass(frozen=True)
class Val:
    """*kind*: W a word of any kind, I an untagged integer, B a bit, F a double."""

    value: Any
    kind: str
    hint: Hint | None = None


class CompileError(Exception):
    """A construct that the compiler does not have."""


FRAME_STATE, FRAME_TOP, FRAME_PARENT, FRAME_FIRST = 1, 2, 3, 4
"""Words of a generator's frame: where it goes on; the innermost frame (of the outermost); who called it; locals."""
G_RAISED = 17
"""The global word with the exception that a generator is resumed with, if it is one that may catch it."""
G_PLACE = 16
"""The global word with the address at which checked code notes where it is."""
DONE = (1 << 62) - 1
"""The state of a generator that has ended."""


def tag(number: int) -> int:
    """Return the word of an integer."""
    return number * 2 + 1


def word_pointer(builder: ir.IRBuilder, obj: ir.Value, offset: int) -> ir.Value:
    """Return a pointer to word *offset* of an object."""
    address = builder.add(obj, I64(8 * offset)) if offset else obj
    return builder.inttoptr(address, I64.as_pointer())
