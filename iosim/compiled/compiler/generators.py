"""Code of generators: resuming others, yielding, and running others in place of a call."""

import ast

from llvmlite import ir

from iosim.compiled.compiler.loops import Loops
from iosim.compiled.compiler.values import G_RAISED, G_TAKER, I64, RAISED, RETURNED, YIELDED, Val, Wait
from iosim.compiled.objects import OWNED


class Generators(Loops):
    """Generates the code of generators."""

    def sender(self, obj: Val, node: ast.AST) -> Val:
        """Return the generator whose `send` the attribute is: the object itself, or what it holds under that name."""
        hint = obj.hint
        if hint is not None and hint.info is not None and "send" in hint.info.attributes:
            return self.get_attribute(obj, "send", node)
        if hint is not None and hint.kind == "generator":
            return obj
        return Val(self.builder.call(self.program.getter("send"), [self.word(obj)]), "W")

    def send(self, generator: Val, value: Val) -> Val:
        """Resume a generator; its end goes to the handler of StopIteration around this place."""
        return self.sent_to(self.builder.call(self.program.send, [self.word(generator), self.word(value)]))

    def sent_to(self, result: ir.Value) -> Val:
        """Return what a generator yields that has been resumed; its end, or its exception, goes elsewhere."""
        word, how = self.builder.extract_value(result, 0), self.builder.extract_value(result, 1)
        going_on = self.block("sent")
        if self.stop_handlers:
            stopped, slot = self.stop_handlers[-1]
            over, raised = self.block("stop"), self.block("raised")
            switch = self.builder.switch(how, over)
            switch.add_case(I64(YIELDED), going_on)
            switch.add_case(I64(RAISED), raised)
            self.builder.position_at_end(raised)
            self.throw(word, self.info.node)
            self.builder.position_at_end(over)
            self.builder.store(word, slot.pointer())
            self.builder.branch(stopped)
        else:
            bad = self.block("ended")
            self.builder.cbranch(self.builder.icmp_signed("==", how, I64(YIELDED)), going_on, bad)
            self.builder.position_at_end(bad)
            self.trap(self.info.node, "a generator has ended")
        self.builder.position_at_end(going_on)
        return Val(word, "W")

    def _get_Yield(self, node: ast.Yield) -> Val:
        """Whoever takes steps may do this one, and give its result, without the generator being left."""
        if not isinstance(node.value, ast.IfExp):
            return self._yielded(Val(I64(0), "W") if node.value is None else self.expression(node.value))
        return self.either(node.value, lambda part: self._yielded(self.expression(part)))

    def _yielded(self, step: Val) -> Val:
        word = self.word(step)
        take = self.program.taking(step.hint)
        b = self.builder
        waiting = self.block("yield")
        if take is None:
            b.branch(waiting)
            self.resumption(waiting, word, None)
            return Val(self.sent, "W")
        asking, over = self.block("ask"), self.block("over")
        taker = b.load(self.program.raw.globals.gep([I64(0), I64(G_TAKER)]))
        waits = b.icmp_signed("==", taker, I64(0))
        if step.hint is not None and step.hint.optional:
            waits = b.or_(waits, b.icmp_signed("==", word, I64(0)))
        b.cbranch(waits, waiting, asking)
        b.position_at_end(asking)
        taken = b.call(take, [taker, word])
        b.cbranch(b.icmp_signed("==", taken, taker), waiting, over)
        self.resumption(waiting, word, None)
        resumed = b.block
        b.branch(over)
        b.position_at_end(over)
        result = b.phi(I64)
        result.add_incoming(taken, asking)
        result.add_incoming(self.sent, resumed)
        return Val(result, "W")

    def _get_YieldFrom(self, node: ast.YieldFrom) -> Val:
        """The other generator runs at once, as a call; only if it has to wait does this one wait, too."""
        if isinstance(node.value, ast.Call):
            self.delegated = node.value
        value = self.expression(node.value)
        self.delegated = None
        step = value.value
        if value.kind != "S":
            owned = OWNED if value.is_new and isinstance(node.value, ast.Call) else 0
            step = self.builder.call(self.program.delegate, [self.word(value), I64(owned)])
        word, how = self.builder.extract_value(step, 0), self.builder.extract_value(step, 1)
        waiting, raised, over = self.block("waiting"), self.block("raised"), self.block("over")
        switch = self.builder.switch(how, waiting)
        switch.add_case(I64(RETURNED), over)
        switch.add_case(I64(RAISED), raised)
        called = self.builder.block
        self.builder.position_at_end(raised)
        self.throw(word, node)
        self.resumption(waiting, word, how)
        resumed = self.builder.block
        self.builder.branch(over)
        self.builder.position_at_end(over)
        result = self.builder.phi(I64)
        result.add_incoming(word, called)
        result.add_incoming(self.sent, resumed)
        return self.from_word(result, self.infer(node))

    def resumption(self, waiting: ir.Block, word: ir.Value, inner: ir.Value | None) -> None:
        """Leave the generator in *waiting*, with *word* (of the frame *inner*), and go on where it is resumed."""
        block, going_on = self.block("resume"), self.block("resumed")
        self.waits.append(Wait(waiting, block, word, inner))
        self.builder.position_at_end(block)
        self.builder.branch(going_on)
        self.builder.position_at_end(going_on)
        if self.has_handlers:
            pointer = self.program.raw.globals.gep([I64(0), I64(G_RAISED)])
            raised = self.builder.load(pointer)
            thrown, normal = self.block("thrown"), self.block("normal")
            self.builder.cbranch(self.builder.icmp_signed("!=", raised, I64(0)), thrown, normal)
            self.builder.position_at_end(thrown)
            self.builder.store(I64(0), pointer)
            self.throw(raised, self.info.node)
            self.builder.position_at_end(normal)
