"""Resuming generators of any class: send, throw, and running one in place of a call."""

from collections.abc import Iterable
from types import ModuleType

from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.compiler.functions import Functions
from iosim.compiled.compiler.values import (
    DONE,
    FRAME_PARENT,
    FRAME_STATE,
    FRAME_TOP,
    G_INNERMOST,
    G_RAISED,
    G_TAKER,
    I64,
    RAISED,
    RETURNED,
    STEP,
    YIELDED,
    tag,
    word_pointer,
)
from iosim.compiled.compiler.world import World
from iosim.compiled.objects import FRAME_TAKER


class Resuming(Functions):
    """Generates what resumes generators."""

    def __init__(self, world: World, library: Iterable[ModuleType], checks: bool = False) -> None:
        super().__init__(world, library, checks)
        self.send = self._declare_send("send")
        self.throw = self._declare_send("throw")
        self.delegate = self._declare_send("delegate")

    def _declare_send(self, name: str) -> ir.Function:
        send = ir.Function(self.module, ir.FunctionType(STEP, [I64, I64]), name)
        send.linkage = "internal"
        return send

    def _fill_send(self) -> None:
        """The tables of all generators, by class: what resumes them, and whether they may catch an exception."""
        kind = ir.FunctionType(STEP, [I64, I64])
        resumes = ir.GlobalVariable(self.module, ir.ArrayType(kind.as_pointer(), len(self.generators)), "resumes")
        resumes.linkage = "internal"
        resumes.global_constant = True
        null = ir.Constant(kind.as_pointer(), None)
        resumes.initializer = ir.Constant(
            resumes.value_type, [self._resume(info) if info in self._bodies else null for info in self.generators]
        )
        catches = ir.GlobalVariable(self.module, ir.ArrayType(I64, len(self.generators)), "catches")
        catches.linkage = "internal"
        catches.global_constant = True
        catches.initializer = ir.Constant(catches.value_type, [int(info.catches) for info in self.generators])
        for function, thrown in ((self.send, False), (self.throw, True)):
            self._fill_resuming(function, thrown, resumes, catches)
        self._fill_delegate(resumes)

    def _fill_delegate(self, resumes: ir.GlobalVariable) -> None:
        """delegate(generator, OWNED or 0): run a generator that another one calls; what is none has nothing to do."""
        function = self.delegate
        frame, owned = function.args
        names = ("entry", "run", "nothing")
        entry, run, nothing = (function.append_basic_block(name) for name in names)
        b = ir.IRBuilder(entry)
        header = b.load(word_pointer(b, frame, 0))
        number = b.sub(b.and_(header, I64(layout.CLASS_MASK)), I64(self.first_frame_class))
        b.cbranch(b.icmp_signed(">=", number, I64(0)), run, nothing)
        b.position_at_end(run)
        b.store(b.or_(header, owned), word_pointer(b, frame, 0))
        result = b.call(b.load(b.gep(resumes, [I64(0), number])), [frame, I64(0)])
        b.ret(result)
        b.position_at_end(nothing)
        is_tuple = b.icmp_signed("==", b.and_(header, I64(layout.CLASS_MASK)), I64(layout.TUPLE))
        is_empty = b.and_(is_tuple, b.icmp_signed("==", b.lshr(header, I64(layout.SIZE_SHIFT)), I64(1)))
        with b.if_then(b.not_(is_empty)):
            b.call(self.trap_function, [I64(self.trap(None, 0, "yield from what is no generator"))])
        b.ret(ir.Constant(STEP, [I64(0), I64(RETURNED)]))

    def _fill_resuming(
        self, function: ir.Function, thrown: bool, resumes: ir.GlobalVariable, catches: ir.GlobalVariable
    ) -> None:
        """send(generator, word), throw(generator, exception): resume the innermost frame.

        When it returns (and its frame may be in use again already), the one that has called it is resumed; an exception
        goes up to the first that may catch it.
        """
        root, sent = function.args
        names = ("entry", "resume", "waits", "returned", "raised", "unwind")
        entry, loop, waits, returned, raised, unwind = (function.append_basic_block(name) for name in names)
        b = ir.IRBuilder(entry)
        taker = self.raw.globals.gep([I64(0), I64(G_TAKER)])
        around = b.load(taker)
        b.store(b.load(word_pointer(b, root, FRAME_TAKER)), taker)
        held = b.load(word_pointer(b, root, FRAME_TOP))
        first = b.select(b.icmp_signed("==", held, I64(0)), root, held)
        b.branch(raised if thrown else loop)
        b.position_at_end(loop)
        top, word = b.phi(I64), b.phi(I64)
        index = b.sub(b.and_(b.load(word_pointer(b, top, 0)), I64(layout.CLASS_MASK)), I64(self.first_frame_class))
        result = b.call(b.load(b.gep(resumes, [I64(0), index])), [top, word])
        got, how = b.extract_value(result, 0), b.extract_value(result, 1)
        switch = b.switch(how, waits)
        switch.add_case(I64(RETURNED), returned)
        switch.add_case(I64(RAISED), unwind)
        b.position_at_end(waits)
        innermost = b.load(self.raw.globals.gep([I64(0), I64(G_INNERMOST)]))
        b.store(innermost, word_pointer(b, root, FRAME_TOP))
        b.store(around, taker)
        b.ret(b.insert_value(result, I64(YIELDED), 1))
        b.position_at_end(returned)
        over, up = function.append_basic_block("over"), function.append_basic_block("up")
        b.cbranch(b.icmp_signed("==", top, root), over, up)
        b.position_at_end(over)
        b.store(root, word_pointer(b, root, FRAME_TOP))
        b.store(around, taker)
        b.ret(result)
        b.position_at_end(up)
        parent = b.load(word_pointer(b, top, FRAME_PARENT))
        b.branch(loop)
        # An exception has left the frame `gone`; or (throw) it is to be raised where the frame `at` waits.
        b.position_at_end(unwind)
        gone, exception = b.phi(I64), b.phi(I64)
        out, further = function.append_basic_block("out"), function.append_basic_block("further")
        b.cbranch(b.icmp_signed("==", gone, root), out, further)
        b.position_at_end(out)
        b.store(around, taker)
        b.store(root, word_pointer(b, root, FRAME_TOP))
        b.store(I64(tag(DONE)), word_pointer(b, root, FRAME_STATE))
        b.ret(b.insert_value(b.insert_value(ir.Constant(STEP, ir.Undefined), exception, 0), I64(RAISED), 1))
        b.position_at_end(further)
        caller = b.load(word_pointer(b, gone, FRAME_PARENT))
        b.branch(raised)
        b.position_at_end(raised)
        at, reason = b.phi(I64), b.phi(I64)
        number = b.sub(b.and_(b.load(word_pointer(b, at, 0)), I64(layout.CLASS_MASK)), I64(self.first_frame_class))
        may_catch = b.icmp_signed("!=", b.load(b.gep(catches, [I64(0), number])), I64(0))
        catching = function.append_basic_block("catching")
        b.cbranch(may_catch, catching, unwind)
        b.position_at_end(catching)
        b.store(reason, self.raw.globals.gep([I64(0), I64(G_RAISED)]))
        b.branch(loop)
        if not thrown:
            top.add_incoming(first, entry)
            word.add_incoming(sent, entry)
        else:
            at.add_incoming(first, entry)
            reason.add_incoming(sent, entry)
        for value, passed, block in ((parent, got, up), (at, I64(0), catching)):
            top.add_incoming(value, block)
            word.add_incoming(passed, block)
        gone.add_incoming(top, loop)
        exception.add_incoming(got, loop)
        gone.add_incoming(at, raised)
        exception.add_incoming(reason, raised)
        at.add_incoming(caller, further)
        reason.add_incoming(exception, further)
