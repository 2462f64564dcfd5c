"""Code of one function: statements and expressions of the model's Python to LLVM IR."""

import ast
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from iosim.compiled.compiler.expressions import Expressions, NewBind
from iosim.compiled.compiler.hints import BOOL, INT, Hint, from_annotation
from iosim.compiled.compiler.infer import assigned_names, infer_locals
from iosim.compiled.compiler.values import (
    DONE,
    DOUBLE,
    FRAME_FIRST,
    FRAME_STATE,
    I1,
    I64,
    RAISED,
    RETURNED,
    STEP,
    YIELDED,
    CompileError,
    G_PLACE,
    Val,
    tag,
    word_pointer,
)
from iosim.compiled.compiler.world import FunctionInfo

if TYPE_CHECKING:
    from iosim.compiled.compiler.program import Program


class Slot:
    """Where a local variable lives: on the stack, or in the frame of a generator."""

    def __init__(self, pointer: Callable[[], ir.Value], hint: Hint | None) -> None:
        self.pointer = pointer
        self.hint = hint


class Bind:
    """Assigns an item of a loop to its target."""

    def __init__(self, code: "FunctionCode", target: ast.expr) -> None:
        self._code = code
        self.target = target

    def __call__(self, item: Val) -> None:
        self._code.assign(self.target, item)

    def bind_parts(self, values: Sequence[Val]) -> bool:
        """Bind the parts of a tuple one by one, if the target is one."""
        if not isinstance(self.target, ast.Tuple) or len(self.target.elts) != len(values):
            return False
        for each, value in zip(self.target.elts, values, strict=True):
            self._code.assign(each, value)
        return True


class FunctionCode(Expressions):
    """Generates the code of one function."""

    def __init__(self, program: "Program", info: FunctionInfo) -> None:
        self.program = program
        self.world = program.world
        self.info = info
        self.names = info.module.names
        self.slots: dict[str, Slot] = {}
        self.loops: list[tuple[ir.Block, ir.Block]] = []
        self.stop_handlers: list[tuple[ir.Block, Slot]] = []
        self.builder: ir.IRBuilder
        self.frame: ir.Value | None = None
        self.n_hidden = 0
        self.frame_names: list[str] = []
        self.local_hints: dict[str, Hint | None] = {}
        self.captured = dict(info.captured)
        self.exceptions: set[str] = set()
        self.handlers: list[tuple[ir.Block, Slot]] = []
        self.has_handlers = any(
            isinstance(each, ast.ExceptHandler)
            and not (isinstance(each.type, ast.Name) and each.type.id == "StopIteration")
            for each in ast.walk(info.node)
        )
        self.caught: list[Slot] = []

    # The function as a whole

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
        return next(parameter.hint for parameter in self.info.parameters if parameter.name == name)

    def is_annotated(self, name: str) -> bool:
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
        node = self.info.node
        assert isinstance(node, ast.FunctionDef)
        resume = self.program.resume_function(self.info)
        entry = resume.append_basic_block("entry")
        self.builder = ir.IRBuilder(entry)
        self.frame, sent = resume.args
        self.sent: ir.Value = sent
        self.frame_names = list(locals_)
        for name in locals_:
            self.slots[name] = self._frame_slot(name, self.local_hints.get(name))
        if self.program.has_environment(self.info):
            self.environment = self.builder.load(self.word_pointer(self.frame, FRAME_FIRST))
        begin = resume.append_basic_block("begin")
        ended = resume.append_basic_block("ended")
        state = self.builder.load(self.word_pointer(self.frame, FRAME_STATE))
        self.states = [(0, begin)]
        self.switch = self.builder.switch(state, ended)
        self.builder.position_at_end(ended)
        self.builder.ret(self.step(I64(0), RETURNED))
        self.builder.position_at_end(begin)
        self.body(node.body)
        if not self.builder.block.is_terminated:
            self.return_from_generator(I64(0))
        for number, block in self.states:
            self.switch.add_case(I64(tag(number)), block)
        size = self.frame_base + len(self.frame_names)
        self.program.frame_sizes[self.info] = size
        make = self.program.function(self.info)
        builder = ir.IRBuilder(make.append_basic_block("entry"))
        frame = builder.call(self.program.runtime("rt_alloc"), [I64(self.program.frame_class(self.info)), I64(size)])
        arguments = list(make.args)
        first = FRAME_FIRST
        for position, argument in enumerate(arguments):
            builder.store(argument, word_pointer(builder, frame, first + position))
        builder.store(I64(tag(0)), word_pointer(builder, frame, FRAME_STATE))
        builder.ret(frame)

    @property
    def frame_base(self) -> int:
        return FRAME_FIRST + self.program.has_environment(self.info)

    def _frame_slot(self, name: str, hint: Hint | None) -> Slot:
        offset = self.frame_base + self.frame_names.index(name)

        def pointer() -> ir.Value:
            assert self.frame is not None
            return self.word_pointer(self.frame, offset)

        return Slot(pointer, hint)

    def new_slot(self, name: str, hint: Hint | None) -> Slot:
        """Return a new local variable."""
        if self.info.is_generator:
            self.frame_names.append(name)
            slot = self._frame_slot(name, hint)
        else:
            with self.builder.goto_block(self.entry):
                place = self.builder.alloca(I64, name=name)
                self.builder.store(I64(0), place)
            slot = Slot(lambda: place, hint)
        self.slots[name] = slot
        return slot

    def hidden(self, hint: Hint | None = None) -> Slot:
        """Return a new local variable without a name of the source."""
        self.n_hidden += 1
        return self.new_slot(f".{self.n_hidden}", hint)

    # Words

    def word_pointer(self, obj: ir.Value, offset: int) -> ir.Value:
        return word_pointer(self.builder, obj, offset)

    def load(self, obj: ir.Value, offset: int) -> ir.Value:
        return self.builder.load(self.word_pointer(obj, offset))

    def store(self, obj: ir.Value, offset: int, word: ir.Value) -> None:
        self.builder.store(word, self.word_pointer(obj, offset))

    def word(self, val: Val) -> ir.Value:
        """Return *val* as a word."""
        if val.kind == "W":
            return val.value
        if val.kind == "I":
            shifted = self.builder.shl(val.value, I64(1), flags=("nsw",))
            return self.builder.or_(shifted, I64(1))
        if val.kind == "B":
            return self.builder.select(val.value, I64(3), I64(1))
        bits = self.builder.bitcast(val.value, I64)
        return self.call_runtime("rt_float_new", bits)

    def from_word(self, word: ir.Value, hint: Hint | None) -> Val:
        """Return the value of a word of which *hint* is known."""
        if hint is not None and not hint.optional:
            if hint.kind == "int":
                return Val(self.builder.ashr(word, I64(1)), "I", INT)
            if hint.kind == "bool":
                return Val(self.builder.icmp_signed("==", word, I64(3)), "B", BOOL)
        return Val(word, "W", hint)

    def integer(self, val: Val) -> ir.Value:
        """Return an integer that is known to be one."""
        if val.kind == "I":
            return val.value
        if val.kind == "B":
            return self.builder.zext(val.value, I64)
        if val.kind == "W":
            return self.builder.ashr(val.value, I64(1))
        raise CompileError("a float where an integer is needed")

    def double(self, val: Val) -> ir.Value:
        if val.kind == "F":
            return val.value
        if val.kind in ("I", "B"):
            return self.builder.sitofp(self.integer(val), DOUBLE)
        boxed = self.call_runtime("rt_float", val.value)
        return self.builder.bitcast(self.load(boxed, 1), DOUBLE)

    def truth(self, val: Val) -> ir.Value:
        """Return the truth of *val* as a bit."""
        builder = self.builder
        if val.kind == "B":
            return val.value
        if val.kind == "I":
            return builder.icmp_signed("!=", val.value, I64(0))
        if val.kind == "F":
            return builder.fcmp_unordered("!=", val.value, ir.Constant(DOUBLE, 0.0))
        hint = val.hint
        if hint is not None and hint.kind in ("object", "generator", "callable"):
            info = hint.info
            method = None if info is None else info.find("__bool__") or info.find("__len__")
            if method is None:
                return builder.icmp_signed("!=", val.value, I64(0))
            if hint.optional:
                raise CompileError(f"the truth of {info.name} or None")
            return self.truth(self.call_function(method, [val], method.node))
        if hint is not None and hint.kind == "int":  # an optional one
            return builder.icmp_unsigned(">", val.value, I64(1))
        if hint is not None and hint.kind in ("list", "deque", "dict", "set") and not hint.optional:
            return builder.icmp_signed("!=", self.load(val.value, 1), I64(1))
        return builder.trunc(self.call_runtime("rt_truth", val.value), I1)

    def call_runtime(self, name: str, *arguments: ir.Value) -> ir.Value:
        return self.builder.call(self.program.runtime(name, len(arguments)), arguments)

    def bit(self, raw: ir.Value) -> Val:
        """Return the bit of a runtime function's raw 0 or 1."""
        return Val(self.builder.trunc(raw, I1), "B", BOOL)

    def trap(self, node: ast.AST, what: str) -> None:
        """End the program with *what*, if this place is reached."""
        code = self.program.trap(self.info, getattr(node, "lineno", 0), what)
        self.builder.call(self.program.trap_function, [I64(code)])
        self.builder.unreachable()

    def trap_unless(self, condition: ir.Value, node: ast.AST, what: str) -> None:
        function = self.builder.function
        bad, good = function.append_basic_block("bad"), function.append_basic_block("good")
        self.builder.cbranch(condition, good, bad)
        self.builder.position_at_end(bad)
        self.trap(node, what)
        self.builder.position_at_end(good)

    def block(self, name: str) -> ir.Block:
        return self.builder.function.append_basic_block(name)

    # Statements

    def body(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if self.builder.block.is_terminated:
                return
            method: Callable[[Any], None] | None = getattr(self, f"do_{type(statement).__name__}", None)
            if method is None:
                raise CompileError(f"line {statement.lineno}: {type(statement).__name__}")
            if self.program.checks:
                place = self.builder.load(self.program.raw.globals.gep([I64(0), I64(G_PLACE)]))
                pointer = self.builder.inttoptr(place, I64.as_pointer())
                self.builder.store(I64(self.info.number << 20 | statement.lineno), pointer)
            method(statement)

    def do_Pass(self, node: ast.Pass) -> None:
        pass

    def do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.expression(node.value)

    def do_Return(self, node: ast.Return) -> None:
        word = I64(0) if node.value is None else self.word(self.expression(node.value))
        if self.info.is_generator:
            self.return_from_generator(word)
        else:
            self.builder.ret(word)

    def return_from_generator(self, word: ir.Value) -> None:
        assert self.frame is not None
        self.store(self.frame, FRAME_STATE, I64(tag(DONE)))
        self.builder.ret(self.step(word, RETURNED))

    def step(self, word: ir.Value, how: int) -> ir.Value:
        result = self.builder.insert_value(ir.Constant(STEP, ir.Undefined), word, 0)
        return self.builder.insert_value(result, I64(how), 1)

    def do_Assert(self, node: ast.Assert) -> None:
        test = node.test
        trivial = isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot)
        trivial |= isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "isinstance"
        if trivial:
            return
        self.trap_unless(self.truth(self.expression(test)), node, "an assertion does not hold")

    def do_Raise(self, node: ast.Raise) -> None:
        if node.exc is None and self.caught:
            self.throw(self.builder.load(self.caught[-1].pointer()), node)
            return
        if isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name) and self.info.is_generator:
            if self.world.class_of(self.names.get(node.exc.func.id)) is not None:
                self.throw(self.word(self.expression(node.exc)), node)
                return
        self.trap(node, f"raise {ast.unparse(node.exc) if node.exc else ''}")

    def do_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.value, ast.Tuple) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Tuple):
            target = node.targets[0]
            if len(target.elts) == len(node.value.elts) and not any(
                isinstance(each, ast.Starred) for each in (*target.elts, *node.value.elts)
            ):
                values = [self.expression(each) for each in node.value.elts]
                for each, value in zip(target.elts, values, strict=True):
                    self.assign(each, value)
                return
        value = self.expression(node.value, self.wanted(node.targets[0]))
        for target_ in node.targets:
            self.assign(target_, value)

    def wanted(self, target: ast.expr) -> Hint | None:
        return self.infer(target)

    def do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            hint = from_annotation(node.annotation, self.names, self.world)
            self.assign(node.target, self.expression(node.value, hint))

    def do_AugAssign(self, node: ast.AugAssign) -> None:
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
        old = self.get_item(obj, key)
        self.set_item(obj, key, self.augmented(node, old))

    def augmented(self, node: ast.AugAssign, old: Val) -> Val:
        if isinstance(node.op, ast.Add) and old.hint is not None and old.hint.kind == "list":
            added = self.expression(node.value)
            self.call_runtime("rt_list_extend", self.word(old), self.word(added))
            return old
        if old.hint is not None and old.hint.kind == "set":
            raise CompileError(f"line {node.lineno}: augmented assignment of a set")
        return self.binary(node.op, old, self.expression(node.value), node)

    def assign(self, target: ast.expr, value: Val) -> None:
        if isinstance(target, ast.Name):
            self.builder.store(self.word(value), self.slots[target.id].pointer())
        elif isinstance(target, ast.Attribute):
            self.set_attribute(self.expression(target.value), target.attr, value, target)
        elif isinstance(target, ast.Subscript):
            if isinstance(target.slice, ast.Slice):
                low, high = self.slice_bounds(target.slice)
                self.call_runtime(
                    "rt_list_slice_assign", self.word(self.expression(target.value)), low, high, self.word(value)
                )
                return
            self.set_item(self.expression(target.value), self.expression(target.slice), value)
        elif isinstance(target, ast.Tuple):
            self.unpack(target, value)
        else:
            raise CompileError(f"line {target.lineno}: assignment to {type(target).__name__}")

    def unpack(self, target: ast.Tuple, value: Val) -> None:
        word = self.word(value)
        hints: Sequence[Hint | None] = [None] * len(target.elts)
        if value.hint is not None and value.hint.kind == "tuple" and len(value.hint.of) == len(target.elts):
            hints = value.hint.of
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

    def do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Subscript):
                raise CompileError(f"line {node.lineno}: del of {type(target).__name__}")
            obj = self.expression(target.value)
            if isinstance(target.slice, ast.Slice):
                low, high = self.slice_bounds(target.slice)
                self.call_runtime("rt_list_del_slice", self.word(obj), low, high)
            elif obj.hint is not None and obj.hint.kind == "dict":
                self.call_runtime("rt_dict_del", self.word(obj), self.word(self.expression(target.slice)))
            elif obj.hint is not None and obj.hint.kind == "list":
                self.call_runtime("rt_list_pop_at", self.word(obj), self.word(self.expression(target.slice)))
            else:
                raise CompileError(f"line {node.lineno}: del of an item of something unknown")

    def do_If(self, node: ast.If) -> None:
        constant = self.constant_condition(node.test)
        if constant is not None:
            self.body(node.body if constant else node.orelse)
            return
        then, otherwise, end = self.block("then"), self.block("else"), self.block("endif")
        self.condition(node.test, then, otherwise)
        self.builder.position_at_end(then)
        self.body(node.body)
        if not self.builder.block.is_terminated:
            self.builder.branch(end)
        self.builder.position_at_end(otherwise)
        self.body(node.orelse)
        if not self.builder.block.is_terminated:
            self.builder.branch(end)
        self.builder.position_at_end(end)

    @staticmethod
    def constant_condition(test: ast.expr) -> bool | None:
        if isinstance(test, ast.Constant):
            return bool(test.value)
        return None

    def condition(self, test: ast.expr, then: ir.Block, otherwise: ir.Block) -> None:
        """Branch on the truth of an expression."""
        if isinstance(test, ast.BoolOp):
            for part in test.values[:-1]:
                following = self.block("next")
                if isinstance(test.op, ast.And):
                    self.condition(part, following, otherwise)
                else:
                    self.condition(part, then, following)
                self.builder.position_at_end(following)
            self.condition(test.values[-1], then, otherwise)
            return
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.condition(test.operand, otherwise, then)
            return
        self.builder.cbranch(self.truth(self.expression(test)), then, otherwise)

    def do_While(self, node: ast.While) -> None:
        head, inside, after = self.block("while"), self.block("do"), self.block("done")
        otherwise = self.block("whileelse") if node.orelse else after
        self.builder.branch(head)
        self.builder.position_at_end(head)
        if self.constant_condition(node.test):
            self.builder.branch(inside)
        else:
            self.condition(node.test, inside, otherwise)
        self.builder.position_at_end(inside)
        self.loops.append((head, after))
        self.body(node.body)
        self.loops.pop()
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

    def do_Break(self, node: ast.Break) -> None:
        self.builder.branch(self.loops[-1][1])

    def do_Continue(self, node: ast.Continue) -> None:
        self.builder.branch(self.loops[-1][0])

    def do_For(self, node: ast.For) -> None:
        after = self.block("endfor")
        otherwise = self.block("forelse") if node.orelse else after

        def run() -> None:
            self.body(node.body)

        self.iterate(node.iter, Bind(self, node.target), run, otherwise, after)
        if node.orelse:
            self.builder.position_at_end(otherwise)
            self.body(node.orelse)
            if not self.builder.block.is_terminated:
                self.builder.branch(after)
        self.builder.position_at_end(after)

    def do_Try(self, node: ast.Try) -> None:
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
        self.body(handler.body)
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
        self.caught.append(slot)
        self.body(handler.body)
        self.caught.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(after)
        self.builder.position_at_end(after)

    def throw(self, word: ir.Value, node: ast.AST) -> None:
        """Raise an exception: to the handler around this place, else out of the generator."""
        if self.handlers:
            block, slot = self.handlers[-1]
            self.builder.store(word, slot.pointer())
            self.builder.branch(block)
        elif self.info.is_generator:
            assert self.frame is not None
            self.store(self.frame, FRAME_STATE, I64(tag(DONE)))
            self.builder.ret(self.step(word, RAISED))
        else:
            self.trap(node, "an exception leaves a function")

    def do_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.slots.setdefault(node.name, self.new_slot(node.name, Hint("callable")))
        closure = self.closure(node, node.name)
        self.builder.store(closure.value, self.slots[node.name].pointer())

    # Loops over anything

    def iterate(
        self,
        source: ast.expr,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        """Generate a loop: *bind* each item of *source*, then *run*. Ends in *exhausted*; break goes to *after*."""
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and not source.keywords:
            name = source.func.id
            if name == "range" and name not in self.slots:
                self.iterate_range(source, bind, run, exhausted, after)
                return
            if name == "enumerate" and len(source.args) == 1:
                counter = self.hidden(INT)
                self.builder.store(I64(tag(0)), counter.pointer())

                def bind_both(item: Val) -> None:
                    number = self.builder.load(counter.pointer())
                    self.builder.store(self.builder.add(number, I64(2)), counter.pointer())
                    self.bind_tuple(bind, [self.from_word(number, INT), item])

                self.iterate(source.args[0], bind_both, run, exhausted, after)
                return
            if name == "reversed" and len(source.args) == 1:
                copy = self.call_runtime("rt_list_copy", self.word(self.expression(source.args[0])))
                self.call_runtime("rt_list_reverse", copy)
                self.iterate_sequence(Val(copy, "W", Hint("list")), bind, run, exhausted, after)
                return
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and source.func.id == "zip":
            self.iterate_zip(source.args, bind, run, exhausted, after)
            return
        if isinstance(source, ast.Tuple | ast.List) and any(isinstance(e, ast.Starred) for e in source.elts):
            self.iterate_sequence(self.expression(source), bind, run, exhausted, after)
            return
        if (
            isinstance(source, ast.Call)
            and isinstance(source.func, ast.Attribute)
            and source.func.attr in ("items", "values", "keys")
            and not source.args
        ):
            self.iterate_dict(source.func.value, source.func.attr, bind, run, exhausted, after)
            return
        value = self.expression(source)
        hint = value.hint
        if hint is not None and hint.kind in ("dict", "set"):
            word = self.word(value)
            copy = self.call_runtime("rt_list_copy", word)
            of = (hint.of[0],) if hint.of else ()
            self.iterate_sequence(Val(copy, "W", Hint("list", of)), bind, run, exhausted, after)
            return
        if hint is not None and hint.kind == "generator":
            self.iterate_generator(value, bind, run, exhausted, after)
            return
        self.iterate_sequence(value, bind, run, exhausted, after)

    def bind_tuple(self, bind: Callable[[Val], None], values: list[Val]) -> None:
        """Bind a tuple of values, without making one if they are unpacked at once."""
        if not (isinstance(bind, Bind | NewBind) and bind.bind_parts(values)):
            bind(self.tuple_of(values))

    def loop(
        self,
        more: Callable[[], ir.Value],
        item: Callable[[], None],
        run: Callable[[], None],
        advance: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        head, inside, following = self.block("for"), self.block("item"), self.block("next")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(more(), inside, exhausted)
        self.builder.position_at_end(inside)
        item()
        self.loops.append((following, after))
        run()
        self.loops.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(following)
        self.builder.position_at_end(following)
        advance()
        self.builder.branch(head)

    def iterate_range(
        self,
        source: ast.Call,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        bounds = [self.integer(self.expression(argument)) for argument in source.args]
        begin, end = (I64(0), bounds[0]) if len(bounds) == 1 else bounds[:2]
        step = bounds[2] if len(bounds) == 3 else I64(1)
        at, last = self.hidden(INT), self.hidden(INT)
        down = False
        if len(source.args) == 3:
            by = source.args[2]
            if isinstance(by, ast.UnaryOp):
                down = True
            elif not isinstance(by, ast.Constant):
                down = False
        self.put(at, begin)
        self.put(last, end)
        width = self.hidden(INT)
        self.put(width, step)
        self.loop(
            lambda: self.builder.icmp_signed(">" if down else "<", self.got(at), self.got(last)),
            lambda: bind(Val(self.got(at), "I", INT)),
            run,
            lambda: self.put(at, self.builder.add(self.got(at), self.got(width))),
            exhausted,
            after,
        )

    def put(self, slot: Slot, raw: ir.Value) -> None:
        self.builder.store(self.word(Val(raw, "I")), slot.pointer())

    def got(self, slot: Slot) -> ir.Value:
        return self.builder.ashr(self.builder.load(slot.pointer()), I64(1))

    def iterate_sequence(
        self,
        value: Val,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        """Over a list, tuple or deque by its index, as long as it then is; anything else is copied first."""
        hint = value.hint
        sequence, at = self.hidden(hint), self.hidden(INT)
        word = self.word(value)
        kind = None if hint is None else hint.kind
        if hint is not None and hint.info is not None and hint.info.is_named_tuple:
            kind = "tuple"
        if kind not in ("list", "tuple", "deque"):
            word = self.call_runtime("rt_iterable", word)
            kind = None
        self.builder.store(word, sequence.pointer())
        self.put(at, I64(0))
        of = None
        if hint is not None and hint.of and hint.kind in ("list", "deque", "set"):
            of = hint.of[0]
        elif hint is not None and hint.kind == "tuple" and hint.of and len(set(hint.of)) == 1:
            of = hint.of[0]

        def more() -> ir.Value:
            container = self.builder.load(sequence.pointer())
            return self.builder.icmp_signed("<", self.got(at), self.length(container, kind))

        def item() -> None:
            container = self.builder.load(sequence.pointer())
            index = self.builder.load(at.pointer())
            name = {"list": "rt_list_get", "tuple": "rt_tuple_get", "deque": "rt_deque_get"}.get(
                kind or "", "rt_getitem"
            )
            bind(self.from_word(self.call_runtime(name, container, index), of))

        self.loop(more, item, run, lambda: self.put(at, self.builder.add(self.got(at), I64(1))), exhausted, after)

    def length(self, container: ir.Value, kind: str | None) -> ir.Value:
        """Return the raw length."""
        if kind in ("list", "deque", "dict", "set"):
            return self.builder.ashr(self.load(container, 1), I64(1))
        if kind == "tuple":
            return self.builder.sub(self.builder.lshr(self.load(container, 0), I64(32)), I64(1))
        return self.builder.ashr(self.call_runtime("rt_len", container), I64(1))

    def iterate_zip(
        self,
        sources: Sequence[ast.expr],
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        parts: list[tuple[Slot, Hint | None]] = []
        for source in sources:
            value = self.expression(source)
            word = self.word(value)
            if value.hint is None or value.hint.kind not in ("list", "tuple", "deque"):
                word = self.call_runtime("rt_iterable", word)
            slot = self.hidden()
            self.builder.store(word, slot.pointer())
            of = (
                value.hint.of[0]
                if value.hint is not None and value.hint.kind in ("list", "deque") and value.hint.of
                else None
            )
            parts.append((slot, of))
        at = self.hidden(INT)
        self.put(at, I64(0))

        def more() -> ir.Value:
            result: ir.Value = I1(1)
            for slot, _ in parts:
                here = self.builder.icmp_signed("<", self.got(at), self.length(self.builder.load(slot.pointer()), None))
                result = self.builder.and_(result, here)
            return result

        def item() -> None:
            index = self.builder.load(at.pointer())
            values = [
                self.from_word(self.call_runtime("rt_getitem", self.builder.load(slot.pointer()), index), of)
                for slot, of in parts
            ]
            self.bind_tuple(bind, values)

        self.loop(more, item, run, lambda: self.put(at, self.builder.add(self.got(at), I64(1))), exhausted, after)

    def iterate_dict(
        self,
        source: ast.expr,
        what: str,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        value = self.expression(source)
        hint = value.hint
        if hint is None or hint.kind != "dict":
            self.iterate_sequence(self.call_method(value, what, [], {}, source), bind, run, exhausted, after)
            return
        key_hint, value_hint = hint.of if len(hint.of) == 2 else (None, None)
        table, at = self.hidden(hint), self.hidden(INT)
        self.builder.store(self.word(value), table.pointer())

        def find(first: ir.Value) -> None:
            self.put(at, self.call_runtime("rt_dict_next", self.builder.load(table.pointer()), first))

        def item() -> None:
            here, position = self.builder.load(table.pointer()), self.got(at)
            key = lambda: self.from_word(self.call_runtime("rt_dict_key_at", here, position), key_hint)  # noqa: E731
            of = lambda: self.from_word(self.call_runtime("rt_dict_value_at", here, position), value_hint)  # noqa: E731
            if what == "items":
                self.bind_tuple(bind, [key(), of()])
            else:
                bind(key() if what == "keys" else of())

        find(I64(0))
        self.loop(
            lambda: self.builder.icmp_signed(">=", self.got(at), I64(0)),
            item,
            run,
            lambda: find(self.builder.add(self.got(at), I64(1))),
            exhausted,
            after,
        )

    def iterate_generator(
        self,
        value: Val,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        source, got = self.hidden(value.hint), self.hidden()
        self.builder.store(self.word(value), source.pointer())

        def more() -> ir.Value:
            result = self.builder.call(self.program.send, [self.builder.load(source.pointer()), I64(0)])
            self.builder.store(self.builder.extract_value(result, 0), got.pointer())
            return self.builder.icmp_signed("==", self.builder.extract_value(result, 1), I64(YIELDED))

        self.loop(
            more,
            lambda: bind(Val(self.builder.load(got.pointer()), "W")),
            run,
            lambda: None,
            exhausted,
            after,
        )
