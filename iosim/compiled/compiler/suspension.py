"""What a generator keeps while it waits: the local variables that are used again lie in its frame for that time."""

from typing import TYPE_CHECKING

from llvmlite import ir

from iosim.compiled.compiler.values import (
    FRAME_PARENT,
    FRAME_STATE,
    G_INNERMOST,
    I64,
    STEP,
    Wait,
    tag,
    word_pointer,
)
from iosim.compiled.objects import FRAME_FIRST, OWNED

if TYPE_CHECKING:
    from iosim.compiled.compiler.emitter import Emitter


class Suspension:
    """Fills the blocks in which a generator leaves and is resumed, once all its other code is there."""

    def __init__(self, code: "Emitter", first: int) -> None:
        self._code = code
        self._first = first
        self._n_parameters = len(code.info.parameters)

    def generate(self) -> int:
        """Fill them; return the size of a frame in words. It begins with the parameters."""
        places = self._code.places
        live = live_at_start(self._code.waits, self._code.entry.function, places)
        words = {place: self._first + position for position, place in enumerate(places[: self._n_parameters])}
        size = self._first + self._n_parameters
        for place in places[self._n_parameters :]:
            if any(place in each for each in live):
                words[place] = size
                size += 1
        for number, (wait, kept) in enumerate(zip(self._code.waits, live, strict=True)):
            at = [(place, words[place]) for place in places if place in kept]
            self._leave(wait, number, at, size)
            b = ir.IRBuilder(wait.resume)
            b.position_before(wait.resume.terminator)
            for place, word in at:
                b.store(b.load(word_pointer(b, self._code.frame, word)), place)
        return size

    def _leave(self, wait: Wait, number: int, kept: list[tuple[ir.Value, int]], size: int) -> None:
        """A generator that has been called without one gets its frame now; then all frames hang together."""
        code, program = self._code, self._code.program
        function = wait.leave.function
        b = ir.IRBuilder(wait.leave)
        making, leaving = function.append_basic_block("make"), function.append_basic_block("leave")
        b.cbranch(b.icmp_signed("==", code.frame, I64(0)), making, leaving)
        b.position_at_end(making)
        made = program.allocate_frame(b, program.frame_class(code.info) | OWNED, size)
        if code.environment is not None:
            b.store(code.environment, word_pointer(b, made, FRAME_FIRST))
        made_in = b.block
        b.branch(leaving)
        b.position_at_end(leaving)
        frame = b.phi(I64)
        frame.add_incoming(code.frame, wait.leave)
        frame.add_incoming(made, made_in)
        for place, word in kept:
            b.store(b.load(place), word_pointer(b, frame, word))
        b.store(I64(tag(1 + number)), word_pointer(b, frame, FRAME_STATE))
        if wait.inner is None:
            b.store(frame, program.raw.globals.gep([I64(0), I64(G_INNERMOST)]))
        else:
            b.store(frame, word_pointer(b, wait.inner, FRAME_PARENT))
        step = b.insert_value(ir.Constant(STEP, ir.Undefined), wait.word, 0)
        b.ret(b.insert_value(step, frame, 1))


def live_at_start(waits: list[Wait], function: ir.Function, places: list[ir.Value]) -> list[set[ir.Value]]:
    """Return which *places* (of words on the stack) may be read before they are written, behind each of *waits*."""
    numbers = {id(place): number for number, place in enumerate(places)}
    read: dict[ir.Block, int] = {}
    written: dict[ir.Block, int] = {}
    following: dict[ir.Block, list[ir.Block]] = {}
    for block in function.blocks:
        reads = writes = 0
        for each in block.instructions:
            if isinstance(each, ir.LoadInstr) and id(each.operands[0]) in numbers:
                reads |= 1 << numbers[id(each.operands[0])] & ~writes
            elif isinstance(each, ir.StoreInstr) and id(each.operands[1]) in numbers:
                writes |= 1 << numbers[id(each.operands[1])]
        read[block], written[block] = reads, writes
        following[block] = _successors(block)
    for wait in waits:
        following[wait.leave] = [wait.resume]
    live = dict(read)
    changed = True
    while changed:
        changed = False
        for block in reversed(function.blocks):
            after = 0
            for each in following[block]:
                after |= live[each]
            now = read[block] | (after & ~written[block])
            if now != live[block]:
                live[block] = now
                changed = True
    return [{place for number, place in enumerate(places) if live[wait.resume] >> number & 1} for wait in waits]


def _successors(block: ir.Block) -> list[ir.Block]:
    end = block.terminator
    if isinstance(end, ir.SwitchInstr):
        return [end.default, *(target for _, target in end.cases)]
    return [] if end is None else [each for each in end.operands if isinstance(each, ir.Block)]
