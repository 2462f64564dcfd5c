"""Code of one function: its frame, and its statements."""

import ast
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.compiler.expressions import Expressions
from iosim.compiled.compiler.hints import Hint, from_annotation, tuple_part
from iosim.compiled.compiler.infer import assigned_names, infer_locals
from iosim.compiled.compiler.loops import Bind
from iosim.compiled.compiler.suspension import Suspension
from iosim.compiled.compiler.values import (
    BEGIN,
    FRAME_FIRST,
    FRAME_STATE,
    I64,
    RETURNED,
    CompileError,
    Val,
    tag,
    word_pointer,
)


class FunctionCode(Expressions):
    """Generates the code of one function."""

    def generate(self) -> None:
        """Generate the function; for a generator what makes its frame, and what resumes it."""
        node = self.info.node
        assigned = assigned_names(node)
        parameters = [parameter.name for parameter in self.info.parameters]
        self.local_hints = {parameter.name: parameter.hint for parameter in self.info.parameters}
        for name in parameters:
            if name in assigned and not self.is_annotated(name):
                self.local_hints[name] = self.parameter_hint(name)
        infer_locals(self, node, [name for name in assigned if name not in parameters])
        locals_ = parameters + [name for name in assigned if name not in parameters]
        if self.info.is_generator:
            self._generate_generator(locals_, len(parameters))
        else:
            self._generate_plain(locals_, len(parameters))

    def parameter_hint(self, name: str) -> Hint | None:
        """Return what the annotation of a parameter says."""
        return next(parameter.hint for parameter in self.info.parameters if parameter.name == name)

    def is_annotated(self, name: str) -> bool:
        """Tell whether a parameter has an annotation that says something."""
        return self.parameter_hint(name) is not None

    def _generate_plain(self, locals_: list[str], n_parameters: int) -> None:
        function = self.program.function(self.info)
        entry = function.append_basic_block("entry")
        self.builder = ir.IRBuilder(entry)
        self.entry = entry
        arguments = list(function.args)
        if self.program.has_environment(self.info):
            self.environment = arguments.pop(0)
        for position, name in enumerate(locals_):
            self.new_slot(name, self.local_hints.get(name))
            if position < n_parameters:
                self.builder.store(arguments[position], self.slots[name].pointer())
        node = self.info.node
        if isinstance(node, ast.Lambda):
            self.builder.ret(self.word(self.expression(node.body)))
            return
        self.body(node.body)
        if not self.builder.block.is_terminated:
            self.builder.ret(I64(0))

    def _generate_generator(self, locals_: list[str], n_parameters: int) -> None:
        """Generate the body, which is given a frame and what is sent, or no frame and the arguments of a call."""
        node = self.info.node
        assert isinstance(node, ast.FunctionDef)
        body = self.program.body(self.info)
        self.entry = body.append_basic_block("entry")
        begin, found, held, ended = (body.append_basic_block(name) for name in ("begin", "found", "held", "ended"))
        self.builder = ir.IRBuilder(self.entry)
        self.frame, self.sent, *arguments = body.args
        has_environment = self.program.has_environment(self.info)
        given = arguments.pop(0) if has_environment else None
        for position, name in enumerate(locals_):
            self.new_slot(name, self.local_hints.get(name))
            if position < n_parameters:
                self.builder.store(arguments[position], self.slots[name].pointer())
        parameters = self.places[:n_parameters]
        start = body.append_basic_block("start")
        self.builder.cbranch(self.builder.icmp_signed("==", self.frame, I64(0)), start, found)
        self.builder.position_at_end(found)
        kept_state = self.load(self.frame, FRAME_STATE)
        kept_environment = self.load(self.frame, FRAME_FIRST) if has_environment else None
        self.builder.branch(start)
        self.builder.position_at_end(start)
        state = self.builder.phi(I64)
        state.add_incoming(I64(BEGIN), self.entry)
        state.add_incoming(kept_state, found)
        if has_environment:
            self.environment = self.builder.phi(I64)
            self.environment.add_incoming(given, self.entry)
            self.environment.add_incoming(kept_environment, found)
        switch = self.builder.switch(state, ended)
        switch.add_case(I64(BEGIN), begin)
        switch.add_case(I64(tag(0)), held)
        self.builder.position_at_end(ended)
        self.builder.ret(self.step(I64(0), RETURNED))
        first = FRAME_FIRST + has_environment
        self.builder.position_at_end(held)
        for position, place in enumerate(parameters):
            self.builder.store(self.load(self.frame, first + position), place)
        self.builder.branch(begin)
        self.builder.position_at_end(begin)
        self.returning = self.block("return")
        self.body(node.body)
        if not self.builder.block.is_terminated:
            self.end_generator(I64(0), RETURNED)
        for number, wait in enumerate(self.waits):
            switch.add_case(I64(tag(1 + number)), wait.resume)
        size = Suspension(self, first).generate()
        self._fill_return(size)
        self.program.frame_sizes[self.info] = size
        make = self.program.function(self.info)
        builder = ir.IRBuilder(make.append_basic_block("entry"))
        frame = self.program.allocate_frame(builder, self.program.frame_class(self.info), size)
        for position, argument in enumerate(make.args):
            builder.store(argument, word_pointer(builder, frame, FRAME_FIRST + position))
        builder.store(I64(tag(0)), word_pointer(builder, frame, FRAME_STATE))
        builder.ret(frame)

    def _fill_return(self, size: int) -> None:
        """Return from a generator: a frame of its own that was made for one call is used again, any other is done."""
        b = self.builder
        b.position_at_end(self.returning)
        word = b.phi(I64)
        for block, value in self.returns:
            word.add_incoming(value, block)
        if not self.returns:
            b.unreachable()
            return
        with b.if_then(b.icmp_signed("!=", self.frame, I64(0))):
            self.program.end_frame(b, self.frame, size)
        b.ret(self.step(word, RETURNED))

    def body(self, statements: Sequence[ast.stmt]) -> None:
        """Generate statements in a row."""
        for statement in statements:
            if self.builder.block.is_terminated:
                return
            method: Callable[[Any], None] | None = getattr(self, f"_do_{type(statement).__name__}", None)
            if method is None:
                raise CompileError(f"line {statement.lineno}: {type(statement).__name__}")
            if self.program.checks:
                place = self.builder.load(self.program.raw.globals.gep([I64(0), I64(layout.G_PLACE)]))
                pointer = self.builder.inttoptr(place, I64.as_pointer())
                self.builder.store(I64(self.info.number << 20 | statement.lineno), pointer)
            method(statement)

    def _do_Pass(self, node: ast.Pass) -> None:
        pass

    def _do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.expression(node.value)

    def _do_Return(self, node: ast.Return) -> None:
        word = I64(0) if node.value is None else self.word(self.expression(node.value))
        if self.info.is_generator:
            self.end_generator(word, RETURNED)
        else:
            self.builder.ret(word)

    def _do_Assert(self, node: ast.Assert) -> None:
        test = node.test
        trivial = isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot)
        trivial |= isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "isinstance"
        if not trivial:
            self.trap_unless(self.truth(self.expression(test)), node, "an assertion does not hold")
        self.learn(test, True)

    def _do_Raise(self, node: ast.Raise) -> None:
        if node.exc is None and self.caught:
            self.throw(self.builder.load(self.caught[-1].pointer()), node)
            return
        raised = node.exc.func if isinstance(node.exc, ast.Call) else None
        known = isinstance(raised, ast.Name) and self.world.class_of(self.names.get(raised.id)) is not None
        if known and self.info.is_generator and node.exc is not None:
            self.throw(self.word(self.expression(node.exc)), node)
            return
        self.trap(node, f"raise {ast.unparse(node.exc) if node.exc else ''}")

    def _do_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.value, ast.Tuple) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Tuple):
            target = node.targets[0]
            if len(target.elts) == len(node.value.elts) and not any(
                isinstance(each, ast.Starred) for each in (*target.elts, *node.value.elts)
            ):
                values = [self.expression(each) for each in node.value.elts]
                for each, value in zip(target.elts, values, strict=True):
                    self.assign(each, value)
                return
        if self._same_slice(node):
            return
        value = self.expression(node.value, self.wanted(node.targets[0]))
        for target_ in node.targets:
            self.assign(target_, value)
        self._note_type(node)

    def _same_slice(self, node: ast.Assign) -> bool:
        """Generate a[low:high] = b[low:high] of two lists; tell whether it is that."""
        target, value = node.targets[0], node.value
        if not isinstance(target, ast.Subscript) or not isinstance(value, ast.Subscript) or len(node.targets) > 1:
            return False
        if not isinstance(target.slice, ast.Slice) or ast.dump(target.slice) != ast.dump(value.slice):
            return False
        hints = [self.infer(each) for each in (target.value, value.value)]
        if any(hint is None or hint.kind != "list" or hint.optional for hint in hints) or calls(target):
            return False
        source = self.word(self.expression(value.value))
        low, high = self.slice_bounds(target.slice)
        self.call_runtime("rt_list_put_same", self.word(self.expression(target.value)), low, high, source)
        return True

    def _note_type(self, node: ast.Assign) -> None:
        """`kind = type(step)`: tests of one say something about the other."""
        target, call = node.targets[0], node.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "type":
            return
        if isinstance(target, ast.Name) and isinstance(call.args[0], ast.Name):
            self.known.types[target.id] = call.args[0].id

    def wanted(self, target: ast.expr) -> Hint | None:
        """Return what is assigned to a target, as far as it is known."""
        return self.infer(target)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            hint = from_annotation(node.annotation, self.names, self.world)
            self.assign(node.target, self.expression(node.value, hint))

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        target = node.target
        if isinstance(target, ast.Name):
            old = self.load_name(target.id, target)
            self.assign(target, self.augmented(node, old))
            return
        if isinstance(target, ast.Attribute):
            obj = self.expression(target.value)
            old = self.get_attribute(obj, target.attr, target)
            self.set_attribute(obj, target.attr, self.augmented(node, old), target)
            return
        assert isinstance(target, ast.Subscript)
        obj, key = self.expression(target.value), self.expression(target.slice)
        if self.has_places(obj, key) and not calls(node.value):
            place = self.list_item(self.word(obj), key)
            of = obj.hint.of[0] if obj.hint is not None and obj.hint.of else None
            self.builder.store(self.word(self.augmented(node, self.from_word(self.builder.load(place), of))), place)
            return
        old = self.get_item(obj, key)
        self.set_item(obj, key, self.augmented(node, old))

    def augmented(self, node: ast.AugAssign, old: Val) -> Val:
        """Return the new value of an augmented assignment."""
        if isinstance(node.op, ast.Add) and old.hint is not None and old.hint.kind == "list":
            added = self.materialised(node.value)
            self.call_runtime("rt_list_extend", self.word(old), self.word(added))
            return old
        if old.hint is not None and old.hint.kind == "set":
            raise CompileError(f"line {node.lineno}: augmented assignment of a set")
        return self.binary(node.op, old, self.expression(node.value), node)

    def assign(self, target: ast.expr, value: Val) -> None:
        """Assign to a target of any kind."""
        if isinstance(target, ast.Name):
            self.builder.store(self.word(value), self.slots[target.id].pointer())
            self.known.forget(target.id)
            self.known.assign(target.id, self.slots[target.id].hint, value.hint)
        elif isinstance(target, ast.Attribute):
            self.set_attribute(self.expression(target.value), target.attr, value, target)
        elif isinstance(target, ast.Subscript):
            if isinstance(target.slice, ast.Slice):
                low, high = self.slice_bounds(target.slice)
                items = self.word(self.expression(target.value))
                self.call_runtime("rt_list_put_range", items, low, high, self.word(value))
                return
            self.set_item(self.expression(target.value), self.expression(target.slice), value)
        elif isinstance(target, ast.Tuple):
            self.unpack(target, value)
        else:
            raise CompileError(f"line {target.lineno}: assignment to {type(target).__name__}")

    def unpack(self, target: ast.Tuple, value: Val) -> None:
        """Assign the items of a tuple to several targets."""
        word = self.word(value)
        hints: Sequence[Hint | None] = [None] * len(target.elts)
        if value.hint is not None and value.hint.kind == "tuple":
            hints = [tuple_part(value.hint, position) for position in range(len(target.elts))]
        elif value.hint is not None and value.hint.info is not None and value.hint.info.is_named_tuple:
            hints = [value.hint.info.hints.get(name) for name in list(value.hint.info.attributes)]
        is_tuple = value.hint is not None and (
            value.hint.kind == "tuple" or (value.hint.info is not None and value.hint.info.is_named_tuple)
        )
        for position, (each, hint) in enumerate(zip(target.elts, hints, strict=True)):
            if isinstance(each, ast.Starred):
                raise CompileError(f"line {target.lineno}: starred target")
            if is_tuple:
                item = self.load(word, 1 + position)
            else:
                item = self.call_runtime("rt_getitem", word, I64(tag(position)))
            self.assign(each, self.from_word(item, hint))

    def _do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Subscript):
                raise CompileError(f"line {node.lineno}: del of {type(target).__name__}")
            obj = self.expression(target.value)
            if isinstance(target.slice, ast.Slice):
                low, high = self.slice_bounds(target.slice)
                self.call_runtime("rt_list_del_slice", self.word(obj), low, high)
            elif obj.hint is not None and obj.hint.kind == "dict":
                self.call_table("rt_dict_take", obj, self.expression(target.slice))
            elif obj.hint is not None and obj.hint.kind == "list":
                self.call_runtime("rt_list_pop_at", self.word(obj), self.word(self.expression(target.slice)))
            else:
                raise CompileError(f"line {node.lineno}: del of an item of something unknown")

    def _do_If(self, node: ast.If) -> None:
        constant = self.constant_condition(node.test)
        if constant is not None:
            self.body(node.body if constant else node.orelse)
            return
        then, otherwise, end = self.block("then"), self.block("else"), self.block("endif")
        self.condition(node.test, then, otherwise)
        before = self.known.copy()
        ways = []
        for block, statements, truth in ((then, node.body, True), (otherwise, node.orelse, False)):
            self.builder.position_at_end(block)
            self.known = before.copy()
            self.learn(node.test, truth)
            self.body(statements)
            if not self.builder.block.is_terminated:
                self.builder.branch(end)
                ways.append(self.known)
        self.builder.position_at_end(end)
        self.known = ways[0].common(ways[-1]) if ways else before

    def _do_While(self, node: ast.While) -> None:
        self.known = self.known.without(node)
        around = self.known.copy()
        head, inside, after = self.block("while"), self.block("do"), self.block("done")
        otherwise = self.block("whileelse") if node.orelse else after
        self.builder.branch(head)
        self.builder.position_at_end(head)
        if self.constant_condition(node.test):
            self.builder.branch(inside)
        else:
            self.condition(node.test, inside, otherwise)
        self.builder.position_at_end(inside)
        self.learn(node.test, True)
        self.loops.append((head, after))
        self.body(node.body)
        self.loops.pop()
        self.known = around
        if not self.builder.block.is_terminated:
            self.builder.branch(head)
        if node.orelse:
            self.builder.position_at_end(otherwise)
            self.body(node.orelse)
            if not self.builder.block.is_terminated:
                self.builder.branch(after)
        self.builder.position_at_end(after)
        if not after.is_terminated and not any(True for _ in self._predecessors(after)):
            self.builder.unreachable()

    @staticmethod
    def _predecessors(block: ir.Block) -> list[ir.Block]:
        function = block.function
        return [
            each
            for each in function.basic_blocks
            if each.is_terminated and block in getattr(each.terminator, "operands", [])
        ]

    def _do_Break(self, node: ast.Break) -> None:
        self.builder.branch(self.loops[-1][1])

    def _do_Continue(self, node: ast.Continue) -> None:
        self.builder.branch(self.loops[-1][0])

    def _do_For(self, node: ast.For) -> None:
        after = self.block("endfor")
        otherwise = self.block("forelse") if node.orelse else after
        self.known = self.known.without(node)
        around = self.known.copy()

        def run() -> None:
            self.body(node.body)

        self.iterate(node.iter, Bind(self, node.target), run, otherwise, after)
        self.known = around
        if node.orelse:
            self.builder.position_at_end(otherwise)
            self.body(node.orelse)
            if not self.builder.block.is_terminated:
                self.builder.branch(after)
        self.builder.position_at_end(after)

    def _do_Try(self, node: ast.Try) -> None:
        """Only for StopIteration of `send` and `next`."""
        if len(node.handlers) != 1 or node.finalbody or node.orelse:
            raise CompileError(f"line {node.lineno}: try")
        handler = node.handlers[0]
        if isinstance(handler.type, ast.Name) and self.world.class_of(self.names.get(handler.type.id)) is not None:
            self.catch(node, handler)
            return
        if not (isinstance(handler.type, ast.Name) and handler.type.id == "StopIteration"):
            raise CompileError(f"line {node.lineno}: except {ast.unparse(handler.type) if handler.type else ''}")
        stopped, after = self.block("stopped"), self.block("endtry")
        self.known = self.known.without(node)
        around = self.known.copy()
        slot = self.hidden()
        self.stop_handlers.append((stopped, slot))
        if handler.name is not None:
            self.slots[handler.name] = slot
            self.exceptions.add(handler.name)
        self.body(node.body)
        self.stop_handlers.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(after)
        self.builder.position_at_end(stopped)
        self.known = around.copy()
        self.body(handler.body)
        self.known = around
        if not self.builder.block.is_terminated:
            self.builder.branch(after)
        self.builder.position_at_end(after)

    def catch(self, node: ast.Try, handler: ast.ExceptHandler) -> None:
        """A handler of an exception of the model, in a generator."""
        if not self.info.is_generator:
            raise CompileError(f"line {node.lineno}: a handler outside of a generator")
        assert isinstance(handler.type, ast.Name)
        self.info.catches = True
        caught, after = self.block("caught"), self.block("endtry")
        self.known = self.known.without(node)
        around = self.known.copy()
        info = self.world.class_of(self.names[handler.type.id])
        slot = self.hidden(Hint("object", (), info))
        self.handlers.append((caught, slot))
        self.body(node.body)
        self.handlers.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(after)
        self.builder.position_at_end(caught)
        if handler.name is not None:
            self.slots[handler.name] = slot
        self.known = around.copy()
        self.caught.append(slot)
        self.body(handler.body)
        self.caught.pop()
        self.known = around
        if not self.builder.block.is_terminated:
            self.builder.branch(after)
        self.builder.position_at_end(after)

    def _do_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.slots.setdefault(node.name, self.new_slot(node.name, Hint("callable")))
        closure = self.closure(node)
        self.builder.store(closure.value, self.slots[node.name].pointer())


def calls(node: ast.expr) -> bool:
    """Tell whether an expression may change containers while it is evaluated."""
    return any(isinstance(each, ast.Call | ast.Yield | ast.YieldFrom) for each in ast.walk(node))
