"""What code of a function is made of: words and values, local variables, objects, branches, traps."""

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from iosim.compiled.compiler.hints import BOOL, INT, Hint, same_as_words
from iosim.compiled.compiler.infer import Inference
from iosim.compiled.compiler.narrowing import Known, facts
from iosim.compiled.compiler.values import (
    DONE,
    DOUBLE,
    FRAME_STATE,
    I1,
    I64,
    RAISED,
    RETURNED,
    STEP,
    CompileError,
    Val,
    Wait,
    tag,
    word_pointer,
)
from iosim.compiled.compiler.world import ClassInfo, FunctionInfo
from iosim.compiled.layout import LIST_BUFFER, PAYLOAD, SIZE_SHIFT, TRAP_OVERFLOW

if TYPE_CHECKING:
    from iosim.compiled.compiler.program import Program


class Slot:
    """Where a local variable lives."""

    def __init__(self, place: ir.Value, hint: Hint | None) -> None:
        self._place = place
        self.hint = hint

    def pointer(self) -> ir.Value:
        """Return a pointer to its word."""
        return self._place


class Emitter(Inference, ABC):
    """The state of one function while its code is generated, and the pieces that all constructs share."""

    def __init__(self, program: "Program", info: FunctionInfo) -> None:
        self.program = program
        self.world = program.world
        self.info = info
        self.names = info.module.names
        self.slots: dict[str, Slot] = {}
        self.known = Known()
        self.places: list[ir.Value] = []
        self.loops: list[tuple[ir.Block, ir.Block]] = []
        self.stop_handlers: list[tuple[ir.Block, Slot]] = []
        self.builder: Any
        self.entry: Any = None
        self.environment: Any = None
        self.sent: Any = None
        self.waits: list[Wait] = []
        self.returning: Any = None
        self.returns: list[tuple[ir.Block, ir.Value]] = []
        self.delegated: ast.AST | None = None
        self.frame: ir.Value | None = None
        self.n_hidden = 0
        self.local_hints: dict[str, Hint | None] = {}
        self.loop_hints: dict[str, Hint | None] = {}
        self.captured = dict(info.captured)
        self.exceptions: set[str] = set()
        self.handlers: list[tuple[ir.Block, Slot]] = []
        self.has_handlers = any(
            isinstance(each, ast.ExceptHandler)
            and not (isinstance(each.type, ast.Name) and each.type.id == "StopIteration")
            for each in ast.walk(info.node)
        )
        self.caught: list[Slot] = []
        self._overflow: ir.Block | None = None

    def new_slot(self, name: str, hint: Hint | None) -> Slot:
        """Return a new local variable."""
        with self.builder.goto_block(self.entry):
            place = self.builder.alloca(I64, name=name)
            self.builder.store(I64(0), place)
        slot = Slot(place, hint)
        self.slots[name] = slot
        self.places.append(place)
        return slot

    def hidden(self, hint: Hint | None = None) -> Slot:
        """Return a new local variable without a name of the source."""
        self.n_hidden += 1
        return self.new_slot(f".{self.n_hidden}", hint)

    def word_pointer(self, obj: ir.Value, offset: int) -> ir.Value:
        """Return a pointer to word *offset* of an object."""
        return word_pointer(self.builder, obj, offset)

    def load(self, obj: ir.Value, offset: int) -> ir.Value:
        """Return word *offset* of an object."""
        return self.builder.load(self.word_pointer(obj, offset))

    def store(self, obj: ir.Value, offset: int, word: ir.Value) -> None:
        """Store word *offset* of an object."""
        self.builder.store(word, self.word_pointer(obj, offset))

    def word(self, val: Val) -> ir.Value:
        """Return *val* as a word."""
        if val.kind == "W":
            return val.value
        if val.kind == "I":
            tagged = self.tagged(val)
            if tagged is not None:
                return tagged
            doubled = self.without_overflow(self.builder.sadd_with_overflow(val.value, val.value))
            return self.builder.or_(doubled, I64(1))
        if val.kind == "B":
            return self.builder.select(val.value, I64(3), I64(1))
        bits = self.builder.bitcast(val.value, I64)
        return self.call_runtime("rt_float_new", bits)

    def given_integer(self, val: Val, node: ast.AST) -> Val:
        """Return the integer of a value that is one or None, and must be one; any other value as it is."""
        if val.kind != "W" or val.hint is None or val.hint.kind not in ("int", "bool") or not val.hint.optional:
            return val
        self.trap_unless(self.builder.icmp_signed("!=", val.value, I64(0)), node, "None is no number")
        return self.whole(val.value)

    @staticmethod
    def tagged(val: Val) -> ir.Value | None:
        """Return the word of an integer, if that takes no code."""
        if isinstance(val.value, ir.Constant):
            return I64(tag(val.value.constant)) if val.kind == "I" else None
        return val.tagged

    def whole(self, word: ir.Value) -> Val:
        """Return the integer of a word."""
        return Val(self.builder.ashr(word, I64(1)), "I", INT, tagged=word)

    def from_word(self, word: ir.Value, hint: Hint | None) -> Val:
        """Return the value of a word of which *hint* is known."""
        if hint is not None and not hint.optional:
            if hint.kind == "int":
                if self.program.checks:
                    odd = self.builder.trunc(word, I1)
                    self.trap_unless(odd, self.info.node, "a value is not an int of 63 bits")
                return self.whole(word)
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
        """Return a number as a double."""
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
            tagged = self.tagged(val)
            if tagged is not None:
                return builder.icmp_signed("!=", tagged, I64(tag(0)))
            return builder.icmp_signed("!=", val.value, I64(0))
        if val.kind == "F":
            return builder.fcmp_unordered("!=", val.value, ir.Constant(DOUBLE, 0.0))
        hint = val.hint
        if hint is not None and hint.kind in ("object", "generator", "callable"):
            info = hint.info
            method = None if info is None else info.find("__bool__") or info.find("__len__")
            if info is None or method is None:
                return builder.icmp_signed("!=", val.value, I64(0))
            if hint.optional:
                raise CompileError(f"the truth of {hint} where it may be None")
            return self.truth(self.call_function_virtual(info, method, [val], method.node))
        if hint is not None and hint.kind == "int":  # an optional one
            return builder.icmp_unsigned(">", val.value, I64(1))
        if hint is not None and hint.kind in ("list", "deque", "dict", "set", "tuple"):
            return self.has_items(val.value, hint)
        return builder.trunc(self.call_runtime("rt_truth", val.value), I1)

    def has_items(self, word: ir.Value, hint: Hint) -> ir.Value:
        """Return the truth of a container, or of None if it may be that, as a bit."""
        b = self.builder
        if not hint.optional:
            return b.icmp_signed("!=", self.length(word, hint.kind), I64(tag(0)))
        start, given, end = b.block, self.block("given"), self.block("hasitems")
        b.cbranch(b.icmp_signed("!=", word, I64(0)), given, end)
        b.position_at_end(given)
        some = b.icmp_signed("!=", self.length(word, hint.kind), I64(tag(0)))
        b.branch(end)
        b.position_at_end(end)
        truth = b.phi(I1)
        truth.add_incoming(I1(0), start)
        truth.add_incoming(some, given)
        return truth

    def call_runtime(self, name: str, *arguments: ir.Value) -> ir.Value:
        """Call a function of the run-time library."""
        return self.builder.call(self.program.runtime(name, len(arguments)), arguments)

    def call_table(self, name: str, table: Val, key: Val, *arguments: ir.Value) -> ir.Value:
        """Call a function of the run-time library that looks a key up in a dictionary or set."""
        keys = table.hint.of[0] if table.hint is not None and table.hint.of else None
        if same_as_words(keys, key.hint):
            name += "_word"
        return self.call_runtime(name, self.word(table), self.word(key), *arguments)

    def call_value(self, value: Val, arguments: Sequence[Val]) -> Val:
        """Call a function that is only known as a value."""
        words = [self.word(argument) for argument in arguments]
        return Val(self.builder.call(self.program.value_caller(len(words)), [self.word(value), *words]), "W")

    def bit(self, raw: ir.Value) -> Val:
        """Return the bit of a runtime function's raw 0 or 1."""
        return Val(self.builder.trunc(raw, I1), "B", BOOL)

    def trap(self, node: ast.AST, what: str) -> None:
        """End the program with *what*, if this place is reached."""
        code = self.program.trap(self.info, getattr(node, "lineno", 0), what)
        self.builder.call(self.program.trap_function, [I64(code)])
        self.builder.unreachable()

    def trap_unless(self, condition: ir.Value, node: ast.AST, what: str) -> None:
        """End the program with *what*, unless *condition*."""
        function = self.builder.function
        bad, good = function.append_basic_block("bad"), function.append_basic_block("good")
        self.builder.cbranch(condition, good, bad)
        self.builder.position_at_end(bad)
        self.trap(node, what)
        self.builder.position_at_end(good)

    def without_overflow(self, pair: ir.Value) -> ir.Value:
        """Return the result of arithmetic that LLVM gives with a bit for overflow, which ends the program."""
        if self._overflow is None:
            self._overflow = self.block("overflow")
            builder = ir.IRBuilder(self._overflow)
            builder.call(self.program.trap_function, [I64(TRAP_OVERFLOW)])
            builder.unreachable()
        good = self.block("fits")
        self.builder.cbranch(self.builder.extract_value(pair, 1), self._overflow, good)
        self.builder.position_at_end(good)
        return self.builder.extract_value(pair, 0)

    def block(self, name: str) -> ir.Block:
        """Return a new block."""
        return self.builder.function.append_basic_block(name)

    def put(self, slot: Slot, raw: ir.Value) -> None:
        """Store a raw integer in a local variable."""
        self.builder.store(self.word(Val(raw, "I")), slot.pointer())

    def got(self, slot: Slot) -> ir.Value:
        """Return the raw integer in a local variable."""
        return self.builder.ashr(self.builder.load(slot.pointer()), I64(1))

    def length(self, container: ir.Value, kind: str | None) -> ir.Value:
        """Return the word of the length."""
        if kind in ("list", "deque", "dict", "set"):
            return self.load(container, 1)
        if kind == "tuple":
            doubled_size = self.builder.lshr(self.load(container, 0), I64(SIZE_SHIFT - 1))  # the bit below is 0
            return self.builder.sub(doubled_size, I64(1))
        return self.call_runtime("rt_len", container)

    def item_pointer(self, container: ir.Value, kind: str, index: ir.Value) -> ir.Value:
        """Return a pointer to the item of a list or tuple at an index, a word, that it has."""
        b = self.builder
        first = self.load(container, LIST_BUFFER // 8) if kind == "list" else container
        return b.inttoptr(b.add(b.add(first, b.shl(index, I64(2))), I64(PAYLOAD - 4)), I64.as_pointer())

    def step(self, word: ir.Value, how: int) -> ir.Value:
        """Return what resuming a generator gives."""
        result = self.builder.insert_value(ir.Constant(STEP, ir.Undefined), word, 0)
        return self.builder.insert_value(result, I64(how), 1)

    def throw(self, word: ir.Value, node: ast.AST) -> None:
        """Raise an exception: to the handler around this place, else out of the generator."""
        if self.handlers:
            block, slot = self.handlers[-1]
            self.builder.store(word, slot.pointer())
            self.builder.branch(block)
        elif self.info.is_generator:
            self.end_generator(word, RAISED)
        else:
            self.trap(node, "an exception leaves a function")

    def condition(self, test: ast.expr, then: ir.Block, otherwise: ir.Block) -> None:
        """Branch on the truth of an expression."""
        if isinstance(test, ast.BoolOp):
            before = self.known.copy()
            for part in test.values[:-1]:
                following = self.block("next")
                if isinstance(test.op, ast.And):
                    self.condition(part, following, otherwise)
                else:
                    self.condition(part, then, following)
                self.builder.position_at_end(following)
                self.learn(part, isinstance(test.op, ast.And))
            self.condition(test.values[-1], then, otherwise)
            self.known = before.without(test)
            return
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.condition(test.operand, otherwise, then)
            return
        self.builder.cbranch(self.truth(self.expression(test)), then, otherwise)

    def learn(self, test: ast.expr, truth: bool) -> None:
        """Here *test* has come out as *truth*."""
        self.known.hints.update(facts(self, test, truth))

    @staticmethod
    def constant_condition(test: ast.expr) -> bool | None:
        """Return the truth of a constant, None for other expressions."""
        if isinstance(test, ast.Constant):
            return bool(test.value)
        return None

    def end_generator(self, word: ir.Value, how: int) -> None:
        """End the generator, whose frame, if it has one, must not be resumed again."""
        if how == RETURNED:
            self.returns.append((self.builder.block, word))
            self.builder.branch(self.returning)
            return
        with self.builder.if_then(self.builder.icmp_signed("!=", self.frame, I64(0))):
            self.store(self.frame, FRAME_STATE, I64(tag(DONE)))
        self.builder.ret(self.step(word, how))

    # What the constructs give each other

    @abstractmethod
    def expression(self, node: ast.expr, wanted: Hint | None = None) -> Val:
        """Return the value of an expression; *wanted* is what it is for, if that is known."""

    @abstractmethod
    def either(self, node: ast.IfExp, generate: Callable[[ast.expr], Val]) -> Val:
        """Return what is made of the one part of *node* or of the other, each where it has been chosen."""

    @abstractmethod
    def assign(self, target: ast.expr, value: Val) -> None:
        """Assign to a target of any kind."""

    @abstractmethod
    def unpack(self, target: ast.Tuple, value: Val) -> None:
        """Assign the items of a tuple to several targets."""

    @abstractmethod
    def call_function_virtual(
        self, info: ClassInfo, member: FunctionInfo, arguments: Sequence[Val], node: ast.AST
    ) -> Val:
        """Call a method of *info* or of whichever of its subclasses the object is."""

    @abstractmethod
    def tuple_of(self, values: Sequence[Val]) -> Val:
        """Return a new tuple."""

    @abstractmethod
    def constant(self, value: Any) -> Val:
        """Return a constant: a literal, or a live object that the machine is given at its start."""

    @abstractmethod
    def live(self, obj: Any, node: ast.AST) -> Val:
        """Return the value of a global of the module."""

    @abstractmethod
    def load_name(self, name: str, node: ast.AST) -> Val:
        """Return the value of a name."""

    @abstractmethod
    def get_attribute(self, obj: Val, name: str, node: ast.AST) -> Val:
        """Return the attribute, property or bound method *name* of an object."""

    @abstractmethod
    def check_class(self, word: ir.Value, hint: Hint, node: ast.AST, name: str) -> None:
        """See to it that an object is there; when the compiler itself is tested, that it is of the class."""

    @abstractmethod
    def floor_divide(self, x: ir.Value, y: ir.Value, node: ast.AST) -> ir.Value:
        """Return the quotient of two raw integers, rounded down."""

    @abstractmethod
    def call_method(
        self, obj: Val, name: str, args: Sequence[ast.expr], keywords: dict[str, ast.expr], node: ast.AST
    ) -> Val:
        """Call the method *name* of an object."""

    @abstractmethod
    def comprehend(self, generators: Sequence[ast.comprehension], run: Callable[[], None]) -> None:
        """Generate the loops of a comprehension, with *run* innermost."""

    @abstractmethod
    def get_tuple(self, node: ast.Tuple) -> Val:
        """Return the tuple of a display."""
