"""Values while code is generated: an LLVM value, how it is represented, and what is known about it."""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from iosim.compiled.compiler.hints import Hint
from iosim.compiled.layout import G_FIRST_OF_COMPILER
from iosim.compiled.objects import FRAME_FIRST as FRAME_FIRST
from iosim.compiled.objects import FRAME_PARENT as FRAME_PARENT
from iosim.compiled.objects import FRAME_STATE as FRAME_STATE
from iosim.compiled.objects import FRAME_TOP as FRAME_TOP
from iosim.compiled.objects import tag as tag

I1, I8, I32, I64, DOUBLE = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.DoubleType()
STEP = ir.LiteralStructType([I64, I64])
"""What resuming a generator gives: (word, how)."""
YIELDED, RETURNED, RAISED = 0, 1, 3
"""How a generator stops. A body that waits gives its frame instead of YIELDED."""


@dataclass(frozen=True)
class Val:
    """*kind*: W a word of any kind, I an untagged integer, B a bit, F a double, S what calling a generator gives.

    *is_new*: it is a generator that has just been made, and this is the only place that has it. *tagged*: the word of
    an integer, if there is one already.
    """

    value: Any
    kind: str
    hint: Hint | None = None
    is_new: bool = False
    tagged: Any = None


@dataclass(frozen=True)
class Wait:
    """A place where a generator waits: it leaves in one block with a *word*, and is resumed in another one.

    *inner*: the frame of the generator that it has called and that waits; None where it yields itself.
    """

    leave: ir.Block
    resume: ir.Block
    word: ir.Value
    inner: ir.Value | None


class CompileError(Exception):
    """A construct that the compiler does not have."""


G_RAISED = G_FIRST_OF_COMPILER
"""The global word with the exception that a generator is resumed with, if it is one that may catch it."""
G_INNERMOST = G_FIRST_OF_COMPILER + 1
"""The global word with the frame that has yielded last."""
G_TAKER = G_FIRST_OF_COMPILER + 2
"""The global word with who takes steps of the generator that runs; None: nobody."""
BEGIN = 2
"""The state of a generator that has been called and has no frame; not an int."""
DONE = (1 << 62) - 1
"""The state of a generator that has ended."""


def word_pointer(builder: ir.IRBuilder, obj: ir.Value, offset: int) -> ir.Value:
    """Return a pointer to word *offset* of an object."""
    address = builder.add(obj, I64(8 * offset)) if offset else obj
    return builder.inttoptr(address, I64.as_pointer())
