"""Code of expressions."""

import ast
import enum
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from iosim.compiled.compiler.calls import Calls
from iosim.compiled.compiler.hints import BOOL, FLOAT, INT, NONE, STR, Hint, join
from iosim.compiled.compiler.loops import NewBind
from iosim.compiled.compiler.values import (
    DOUBLE,
    G_RAISED,
    G_TAKER,
    I1,
    I64,
    RAISED,
    RETURNED,
    CompileError,
    Val,
    Wait,
    tag,
)
from iosim.compiled.layout import WORD_TRUE
from iosim.compiled.objects import OWNED

if TYPE_CHECKING:
    pass

ARITHMETIC = {
    ast.Add: "rt_add",
    ast.Sub: "rt_sub",
    ast.Mult: "rt_mul",
    ast.Div: "rt_truediv",
    ast.FloorDiv: "rt_floordiv",
    ast.Mod: "rt_mod",
    ast.Pow: "rt_pow",
    ast.LShift: "rt_lshift",
    ast.RShift: "rt_rshift",
    ast.BitAnd: "rt_and",
    ast.BitOr: "rt_or",
    ast.BitXor: "rt_xor",
}
COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


class Expressions(Calls):
    """Generates the code of expressions."""

    def expression(self, node: ast.expr, wanted: Hint | None = None) -> Val:
        """Return the value of an expression; *wanted* is what it is for, if that is known."""
        method: Callable[[Any], Val] | None = getattr(self, f"_get_{type(node).__name__}", None)
        if method is None:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: {type(node).__name__}")
        value = method(node)
        hint = value.hint
        if wanted is None or hint is None or value.kind != "W" or wanted.kind != hint.kind or hint.of:
            return value
        if wanted.of:
            return Val(value.value, "W", Hint(wanted.kind, wanted.of, wanted.info, hint.optional))
        return value

    # Names and constants

    def _get_Constant(self, node: ast.Constant) -> Val:
        return self.constant(node.value)

    def constant(self, value: Any) -> Val:
        """Return a constant: a literal, or a live object that the machine is given at its start."""
        if isinstance(value, bool):
            return Val(I1(int(value)), "B", BOOL)
        if isinstance(value, int) and not isinstance(value, enum.Enum) and -(1 << 62) <= value < 1 << 62:
            return Val(I64(value), "I", INT)
        if isinstance(value, enum.IntEnum):
            return Val(I64(int(value)), "I", INT)
        if value is None:
            return Val(I64(0), "W", NONE)
        if isinstance(value, float):
            return Val(ir.Constant(DOUBLE, value), "F", FLOAT)
        hint: Hint | None = None
        if isinstance(value, str):
            hint = STR
        elif type(value) in (list, dict, tuple, set):
            hint = Hint(type(value).__name__)
        else:
            info = self.world.class_of(type(value))
            if info is not None:
                hint = Hint("object", (), info)
        return Val(self.builder.load(self.program.constant(value)), "W", hint)

    def _get_Name(self, node: ast.Name) -> Val:
        return self.load_name(node.id, node)

    def load_name(self, name: str, node: ast.AST) -> Val:
        """Return the value of a name."""
        if name in self.slots:
            slot = self.slots[name]
            return self.from_word(self.builder.load(slot.pointer()), self.known.hints.get(name, slot.hint))
        if name in self.captured:
            position = list(self.captured).index(name)
            return self.from_word(self.load(self.environment, 2 + position), self.captured[name])
        if name in self.names:
            return self.live(self.names[name], node)
        raise CompileError(f"line {getattr(node, 'lineno', 0)}: the name {name}")

    def live(self, obj: Any, node: ast.AST) -> Val:
        """Return the value of a global of the module."""
        info = self.world.class_of(obj)
        if info is not None:
            return Val(I64(tag(info.number)), "W")
        function = self.world.function_of(obj)
        if function is not None:
            return Val(self.builder.load(self.program.function_value(function)), "W", Hint("callable"))
        if isinstance(obj, type | types.ModuleType | types.BuiltinFunctionType | types.FunctionType):
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: {obj!r} as a value")
        return self.constant(obj)

    # Attributes

    def _get_Attribute(self, node: ast.Attribute) -> Val:
        found = self.static(node)
        if found is not None:
            return self.live(found[0], node)
        if isinstance(node.value, ast.Name) and node.value.id in self.exceptions:
            return self.load_name(node.value.id, node)  # StopIteration.value
        return self.get_attribute(self.expression(node.value), node.attr, node)

    def get_attribute(self, obj: Val, name: str, node: ast.AST) -> Val:
        """Return the attribute, property or bound method *name* of an object."""
        hint = obj.hint
        word = self.word(obj)
        if hint is not None and hint.info is not None:
            info = hint.info
            self.check_class(word, hint, node, name)
            if name in info.attributes:
                return self.from_word(self.load(word, info.attributes[name]), info.hints.get(name))
            member = info.find(name)
            if member is not None:
                if member.role == "property":
                    return self.call_function_virtual(info, member, [obj], node)
                if member.role == "method":
                    return self.bound(word, name)
                if member.role == "staticmethod":
                    return Val(self.builder.load(self.program.function_value(member)), "W", Hint("callable"))
            below = [each for each in info.family() if each is not info]
            if not any(name in each.attributes or name in each.methods or name in vars(each.type) for each in below):
                live = getattr(info.type, name, None)
                if live is not None or hasattr(info.type, name):
                    return self.live(live, node)
        if name == "send" and (hint is None or hint.kind == "generator"):
            return Val(word, "W", Hint("generator"))
        return self.from_word(self.builder.call(self.program.getter(name), [word]), self.program.attribute_hint(name))

    def check_class(self, word: ir.Value, hint: Hint, node: ast.AST, name: str) -> None:
        """See to it that an object is there; when the compiler itself is tested, that it is of the class."""
        if hint.optional or self.program.checks:
            self.trap_unless(self.builder.icmp_signed("!=", word, I64(0)), node, f"None has no {name}")
        if self.program.checks and hint.info is not None:
            b = self.builder
            number = b.ashr(b.call(self.program.type_of, [word]), I64(1))
            good: ir.Value = I1(0)
            for each in hint.info.family():
                good = b.or_(good, b.icmp_signed("==", number, I64(each.number)))
            self.trap_unless(good, node, f"{name}: not a {hint.info.name}")

    def bound(self, word: ir.Value, name: str) -> Val:
        """Return the method *name* of an object as a value."""
        return Val(self.builder.call(self.program.binder(name), [word]), "W", Hint("callable"))

    def set_attribute(self, obj: Val, name: str, value: Val, node: ast.AST) -> None:
        """Set an attribute of an object."""
        hint = obj.hint
        word = self.word(obj)
        if hint is not None and hint.info is not None and name in hint.info.attributes:
            self.check_class(word, hint, node, name)
            self.store(word, hint.info.attributes[name], self.word(value))
            return
        self.builder.call(self.program.setter(name), [word, self.word(value)])

    # Operators

    def _get_BinOp(self, node: ast.BinOp) -> Val:
        left = self.expression(node.left)
        right = self.expression(node.right)
        return self.binary(node.op, left, right, node)

    def binary(self, operator: ast.operator, left: Val, right: Val, node: ast.AST) -> Val:
        """Return the result of a binary operator."""
        b = self.builder
        kinds = {left.kind, right.kind}
        if kinds <= {"I", "B"}:
            x, y = self.integer(left), self.integer(right)
            checked = {
                ast.Add: b.sadd_with_overflow,
                ast.Sub: b.ssub_with_overflow,
                ast.Mult: b.smul_with_overflow,
            }
            if type(operator) in checked:
                return Val(self.without_overflow(checked[type(operator)](x, y)), "I", INT)
            simple = {ast.BitAnd: b.and_, ast.BitOr: b.or_, ast.BitXor: b.xor}
            if type(operator) in simple:
                return Val(simple[type(operator)](x, y), "I", INT)
            if isinstance(operator, ast.LShift | ast.RShift):
                return Val(self.shift(operator, x, y, node), "I", INT)
            if isinstance(operator, ast.FloorDiv):
                return Val(self.floor_divide(x, y, node), "I", INT)
            if isinstance(operator, ast.Mod):
                quotient = self.floor_divide(x, y, node)
                return Val(b.sub(x, b.mul(quotient, y)), "I", INT)
            if isinstance(operator, ast.Div):
                return Val(b.fdiv(self.double(left), self.double(right)), "F", FLOAT)
        elif kinds <= {"I", "B", "F"}:
            floats = {ast.Add: b.fadd, ast.Sub: b.fsub, ast.Mult: b.fmul, ast.Div: b.fdiv}
            if type(operator) in floats:
                return Val(floats[type(operator)](self.double(left), self.double(right)), "F", FLOAT)
        for one in (left, right):
            if one.hint is not None and one.hint.kind == "set":
                name = {ast.BitOr: "rt_set_union", ast.Sub: "rt_set_difference"}.get(type(operator))
                if name is None:
                    raise CompileError(f"line {getattr(node, 'lineno', 0)}: operator of sets")
                return Val(self.call_runtime(name, self.word(left), self.word(right)), "W", left.hint)
        name = ARITHMETIC.get(type(operator))
        if name is None:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: {type(operator).__name__}")
        if isinstance(operator, ast.Mult) and left.hint is not None and left.hint.kind == "list":
            word = self.call_runtime("rt_list_repeat", self.word(left), self.word(right))
            return Val(word, "W", left.hint)
        word = self.call_runtime(name, self.word(left), self.word(right))
        hint = None
        if left.hint is not None and left.hint.kind in ("str", "list"):
            hint = left.hint
        elif isinstance(operator, ast.Add) and left.hint is not None and left.hint.kind == "tuple":
            hint = Hint("tuple")
        elif is_int(left.hint) and is_int(right.hint) and not isinstance(operator, ast.Div | ast.Pow):
            hint = INT
        return self.from_word(word, hint)

    def shift(self, operator: ast.operator, x: ir.Value, y: ir.Value, node: ast.AST) -> ir.Value:
        """Return a raw integer shifted by *y* bits."""
        b = self.builder
        if isinstance(operator, ast.RShift):
            if not isinstance(y, ir.Constant):
                self.trap_unless(b.icmp_signed(">=", y, I64(0)), node, "a negative shift")
                y = b.select(b.icmp_signed("<", y, I64(63)), y, I64(63))
            return b.ashr(x, y)
        if not isinstance(y, ir.Constant):
            self.trap_unless(b.icmp_unsigned("<", y, I64(63)), node, "a shift by less than 0 or more than 62 bits")
        shifted = b.shl(x, y)
        self.trap_unless(b.icmp_signed("==", b.ashr(shifted, y), x), node, "an integer does not fit 63 bits")
        return shifted

    def floor_divide(self, x: ir.Value, y: ir.Value, node: ast.AST) -> ir.Value:
        """Return the quotient of two raw integers, rounded down."""
        b = self.builder
        if isinstance(y, ir.Constant):
            if y.constant <= 0:
                raise CompileError(f"line {getattr(node, 'lineno', 0)}: division by {y.constant}")
        else:
            self.trap_unless(b.icmp_signed("!=", y, I64(0)), node, "division by zero")
        quotient, rest = b.sdiv(x, y), b.srem(x, y)
        differs = b.and_(b.icmp_signed("!=", rest, I64(0)), b.icmp_signed("<", b.xor(rest, y), I64(0)))
        return b.sub(quotient, b.zext(differs, I64))

    def _get_UnaryOp(self, node: ast.UnaryOp) -> Val:
        if isinstance(node.op, ast.Not):
            return Val(self.builder.not_(self.truth(self.expression(node.operand))), "B", BOOL)
        value = self.expression(node.operand)
        if isinstance(node.op, ast.USub):
            if value.kind in ("I", "B"):
                return Val(self.builder.neg(self.integer(value)), "I", INT)
            if value.kind == "F":
                return Val(self.builder.fsub(ir.Constant(DOUBLE, -0.0), value.value), "F", FLOAT)
            return Val(self.call_runtime("rt_neg", value.value), "W")
        if isinstance(node.op, ast.Invert):
            return Val(self.builder.not_(self.integer(value)), "I", INT)
        raise CompileError(f"line {node.lineno}: unary operator")

    def _get_BoolOp(self, node: ast.BoolOp) -> Val:
        b = self.builder
        hint = self.infer(node)
        before = self.known.copy()
        end = self.block("endbool")
        results: list[tuple[ir.Value, ir.Block]] = []
        for position, part in enumerate(node.values):
            value = self.expression(part)
            word = self.word(value)
            if position == len(node.values) - 1:
                results.append((word, b.block))
                b.branch(end)
                break
            following = self.block("operand")
            results.append((word, b.block))
            truth = self.truth(value)
            results[-1] = (word, b.block)
            if isinstance(node.op, ast.And):
                b.cbranch(truth, following, end)
            else:
                b.cbranch(truth, end, following)
            b.position_at_end(following)
            self.learn(part, isinstance(node.op, ast.And))
        b.position_at_end(end)
        self.known = before.without(node)
        phi = b.phi(I64)
        for word, block in results:
            phi.add_incoming(word, block)
        return self.from_word(phi, hint)

    def _get_IfExp(self, node: ast.IfExp) -> Val:
        then, otherwise, end = self.block("ifthen"), self.block("ifelse"), self.block("ifend")
        self.condition(node.test, then, otherwise)
        words, blocks, hints, kinds = [], [], [], []
        values = []
        before = self.known.copy()
        for block, part, truth in ((then, node.body, True), (otherwise, node.orelse, False)):
            self.builder.position_at_end(block)
            self.known = before.copy()
            self.learn(node.test, truth)
            value = self.expression(part)
            values.append(value)
            kinds.append(value.kind)
            hints.append(value.hint)
            words.append(self.word(value))
            blocks.append(self.builder.block)
            self.builder.branch(end)
        self.builder.position_at_end(end)
        self.known = before.without(node)
        phi = self.builder.phi(I64)
        for word, block in zip(words, blocks, strict=True):
            phi.add_incoming(word, block)
        return self.from_word(phi, join(hints[0], hints[1]))

    def _get_NamedExpr(self, node: ast.NamedExpr) -> Val:
        value = self.expression(node.value)
        self.assign(node.target, value)
        return value

    def _get_Compare(self, node: ast.Compare) -> Val:
        left = self.expression(node.left)
        if len(node.ops) == 1:
            return Val(self.compare(node.ops[0], left, node.comparators[0], node)[0], "B", BOOL)
        end, no = self.block("endcompare"), self.block("nocompare")
        for position, (operator, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
            bit, value = self.compare(operator, left, right, node)
            if position == len(node.ops) - 1:
                last, last_block = bit, self.builder.block
                self.builder.branch(end)
                break
            following = self.block("compare")
            self.builder.cbranch(bit, following, no)
            self.builder.position_at_end(following)
            left = value
        self.builder.position_at_end(no)
        self.builder.branch(end)
        self.builder.position_at_end(end)
        phi = self.builder.phi(I1)
        phi.add_incoming(last, last_block)
        phi.add_incoming(I1(0), no)
        return Val(phi, "B", BOOL)

    def compare(self, operator: ast.cmpop, left: Val, node: ast.expr, at: ast.AST) -> tuple[ir.Value, Val]:
        """Return (bit, value of the right side)."""
        b = self.builder
        if isinstance(operator, ast.In | ast.NotIn):
            bit, right = self.contains(left, node)
            return (b.not_(bit) if isinstance(operator, ast.NotIn) else bit), right
        right = self.expression(node)
        if isinstance(operator, ast.Is | ast.IsNot):
            sign = "==" if isinstance(operator, ast.Is) else "!="
            return b.icmp_signed(sign, self.word(left), self.word(right)), right
        sign = COMPARISONS[type(operator)]
        if {left.kind, right.kind} <= {"I", "B"}:
            return b.icmp_signed(sign, self.integer(left), self.integer(right)), right
        if {left.kind, right.kind} <= {"I", "B", "F"}:
            return b.fcmp_ordered(sign, self.double(left), self.double(right)), right
        if sign in ("==", "!="):
            bit = self.equal(left, right)
            return (b.not_(bit) if sign == "!=" else bit), right
        x, y = self.word(left), self.word(right)
        if sign in (">", "<="):
            x, y = y, x
        bit = b.trunc(self.call_runtime("rt_lt", x, y), I1)
        return (b.not_(bit) if sign in ("<=", ">=") else bit), right

    def equal(self, left: Val, right: Val) -> ir.Value:
        """Return the bit of an equality."""
        b = self.builder
        x, y = self.word(left), self.word(right)
        for one in (left, right):
            if one.kind == "I" or (one.hint is not None and one.hint.kind in ("none", "generator")):
                other = right if one is left else left
                if other.kind == "I" or other.hint is None or other.hint.kind in ("int", "bool"):
                    if one.kind == "I" and other.hint is None:
                        continue
                    return b.icmp_signed("==", x, y)
        return b.trunc(self.call_runtime("rt_eq", x, y), I1)

    def contains(self, left: Val, node: ast.expr) -> tuple[ir.Value, Val]:
        """Return the bit of `in`, and the container."""
        b = self.builder
        if isinstance(node, ast.Tuple | ast.List | ast.Set) and not any(
            isinstance(each, ast.Starred) for each in node.elts
        ):
            result: ir.Value = I1(0)
            for each in node.elts:
                result = b.or_(result, self.equal(left, self.expression(each)))
            return result, left
        right = self.expression(node)
        name = "rt_contains"
        if right.hint is not None and not right.hint.optional:
            name = {"dict": "rt_dict_contains", "set": "rt_set_contains", "list": "rt_list_contains"}.get(
                right.hint.kind, name
            )
        return b.trunc(self.call_runtime(name, self.word(right), self.word(left)), I1), right

    # Items

    def _get_Subscript(self, node: ast.Subscript) -> Val:
        obj = self.expression(node.value)
        if isinstance(node.slice, ast.Slice):
            low, high = self.slice_bounds(node.slice)
            name = "rt_slice"
            if obj.hint is not None:
                name = {"list": "rt_list_slice", "tuple": "rt_tuple_slice"}.get(obj.hint.kind, name)
            return Val(self.call_runtime(name, self.word(obj), low, high), "W", obj.hint)
        if (
            obj.hint is not None
            and (obj.hint.kind == "tuple" or (obj.hint.info is not None and obj.hint.info.is_named_tuple))
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, int)
            and node.slice.value >= 0
        ):
            index = node.slice.value
            hint = None
            if obj.hint.kind == "tuple" and index < len(obj.hint.of):
                hint = obj.hint.of[index]
            elif obj.hint.info is not None:
                hint = obj.hint.info.hints.get(list(obj.hint.info.attributes)[index])
            return self.from_word(self.load(self.word(obj), 1 + index), hint)
        return self.get_item(obj, self.expression(node.slice))

    def slice_bounds(self, node: ast.Slice) -> tuple[ir.Value, ir.Value]:
        """Return the words of a slice's bounds."""
        if node.step is not None:
            raise CompileError(f"line {node.lineno}: slice with a step")
        low = I64(0) if node.lower is None else self.word(self.expression(node.lower))
        high = I64(0) if node.upper is None else self.word(self.expression(node.upper))
        return low, high

    def get_item(self, obj: Val, key: Val) -> Val:
        """Return an item of a container."""
        hint = obj.hint
        name, of = "rt_getitem", None
        if hint is not None:
            if hint.kind == "dict":
                name = "rt_dict_getitem"
                of = hint.of[1] if len(hint.of) == 2 else None
            elif hint.kind in ("list", "deque"):
                name = f"rt_{hint.kind}_get"
                of = hint.of[0] if hint.of else None
            elif hint.kind == "tuple":
                name = "rt_tuple_get"
                of = hint.of[0] if hint.of and len(set(hint.of)) == 1 else None
        return self.from_word(self.call_runtime(name, self.word(obj), self.word(key)), of)

    def set_item(self, obj: Val, key: Val, value: Val) -> None:
        """Set an item of a container."""
        name = "rt_setitem"
        if obj.hint is not None:
            name = {"dict": "rt_dict_set", "list": "rt_list_set"}.get(obj.hint.kind, name)
        self.call_runtime(name, self.word(obj), self.word(key), self.word(value))

    # Displays and comprehensions

    def tuple_of(self, values: Sequence[Val]) -> Val:
        """Return a new tuple."""
        words = [self.word(value) for value in values]
        if not words:
            return self.constant(())
        obj = self.program.allocate(self.builder, self.program.class_tuple, 1 + len(words))
        for position, word in enumerate(words):
            self.store(obj, 1 + position, word)
        return Val(obj, "W", Hint("tuple", tuple(value.hint for value in values)))

    def get_tuple(self, node: ast.Tuple) -> Val:
        """Return the tuple of a display."""
        if any(isinstance(each, ast.Starred) for each in node.elts):
            items = self.list_of(node.elts)
            return Val(self.call_runtime("rt_tuple_from", self.word(items)), "W", Hint("tuple"))
        return self.tuple_of([self.expression(each) for each in node.elts])

    def _get_Tuple(self, node: ast.Tuple) -> Val:
        return self.get_tuple(node)

    def _get_List(self, node: ast.List) -> Val:
        return self.list_of(node.elts)

    def list_of(self, elements: Sequence[ast.expr]) -> Val:
        """Return a new list."""
        result = self.call_runtime("rt_list_new", I64(len(elements)))
        hints: list[Hint | None] = []
        for each in elements:
            if isinstance(each, ast.Starred):
                inner = self.expression(each.value)
                self.call_runtime("rt_list_extend", result, self.word(inner))
                hints.append(inner.hint.of[0] if inner.hint is not None and inner.hint.of else None)
                continue
            value = self.expression(each)
            hints.append(value.hint)
            self.call_runtime("rt_list_append", result, self.word(value))
        of: Hint | None = hints[0] if hints else None
        for hint in hints[1:]:
            of = join(of, hint)
        return Val(result, "W", Hint("list", (of,) if of is not None else ()))

    def _get_Dict(self, node: ast.Dict) -> Val:
        result = self.call_runtime("rt_dict_new")
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise CompileError(f"line {node.lineno}: ** in a dict")
            self.call_runtime("rt_dict_set", result, self.word(self.expression(key)), self.word(self.expression(value)))
        return Val(result, "W", Hint("dict"))

    def _get_Set(self, node: ast.Set) -> Val:
        result = self.call_runtime("rt_set_new")
        for each in node.elts:
            self.call_runtime("rt_set_add", result, self.word(self.expression(each)))
        return Val(result, "W", Hint("set"))

    def comprehend(self, generators: Sequence[ast.comprehension], run: Callable[[], None]) -> None:
        """Generate the loops of a comprehension, with *run* innermost."""
        first, rest = generators[0], generators[1:]
        saved = {}
        before = self.known.copy()
        for name in (n.id for n in ast.walk(first.target) if isinstance(n, ast.Name)):
            saved[name] = self.slots.get(name)
            self.known.forget(name)
        after = self.block("endcomp")

        def inside() -> None:
            for test in first.ifs:
                passed = self.block("passed")
                self.condition(test, passed, self.loops[-1][0])
                self.builder.position_at_end(passed)
            if rest:
                self.comprehend(rest, run)
            else:
                run()

        hint = self.item_hint(first.iter)
        # The source is evaluated before its targets exist.
        self.iterate(first.iter, NewBind(self, first.target, hint), inside, after, after)
        self.builder.position_at_end(after)
        self.known = before
        for name, slot in saved.items():
            if slot is not None:
                self.slots[name] = slot
            else:
                self.slots.pop(name, None)

    def _get_ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> Val:
        result = self.call_runtime("rt_list_new", I64(0))
        slot = self.hidden()
        self.builder.store(result, slot.pointer())
        hints: list[Hint | None] = []

        def run() -> None:
            value = self.expression(node.elt)
            hints.append(value.hint)
            self.call_runtime("rt_list_append", self.builder.load(slot.pointer()), self.word(value))

        self.comprehend(node.generators, run)
        of = hints[0] if hints else None
        return Val(self.builder.load(slot.pointer()), "W", Hint("list", (of,) if of is not None else ()))

    def _get_GeneratorExp(self, node: ast.GeneratorExp) -> Val:
        return self._get_ListComp(node)

    def _get_SetComp(self, node: ast.SetComp) -> Val:
        slot = self.hidden()
        self.builder.store(self.call_runtime("rt_set_new"), slot.pointer())

        def run() -> None:
            word = self.word(self.expression(node.elt))
            self.call_runtime("rt_set_add", self.builder.load(slot.pointer()), word)

        self.comprehend(node.generators, run)
        return Val(self.builder.load(slot.pointer()), "W", Hint("set"))

    def _get_DictComp(self, node: ast.DictComp) -> Val:
        slot = self.hidden()
        self.builder.store(self.call_runtime("rt_dict_new"), slot.pointer())
        hints: list[tuple[Hint | None, Hint | None]] = []

        def run() -> None:
            key, value = self.expression(node.key), self.expression(node.value)
            hints.append((key.hint, value.hint))
            self.call_runtime("rt_dict_set", self.builder.load(slot.pointer()), self.word(key), self.word(value))

        self.comprehend(node.generators, run)
        return Val(self.builder.load(slot.pointer()), "W", Hint("dict", hints[0] if hints else ()))

    def _get_JoinedStr(self, node: ast.JoinedStr) -> Val:
        result = self.constant("")
        for part in node.values:
            if isinstance(part, ast.Constant):
                piece = self.constant(part.value)
            else:
                assert isinstance(part, ast.FormattedValue)
                if part.format_spec is not None or part.conversion != -1:
                    raise CompileError(f"line {node.lineno}: a format in an f-string")
                value = self.expression(part.value)
                if value.kind == "I":
                    piece = Val(self.call_runtime("rt_int_to_str", self.word(value)), "W", STR)
                else:
                    piece = Val(self.call_runtime("rt_to_str", self.word(value)), "W", STR)
            result = Val(self.call_runtime("rt_str_concat", self.word(result), self.word(piece)), "W", STR)
        return result

    # Generators

    def _get_Yield(self, node: ast.Yield) -> Val:
        """Whoever takes steps may do this one without the generator being left."""
        word = I64(0) if node.value is None else self.word(self.expression(node.value))
        b = self.builder
        waiting, asking, over = self.block("yield"), self.block("ask"), self.block("over")
        taker = b.load(self.program.raw.globals.gep([I64(0), I64(G_TAKER)]))
        b.cbranch(b.icmp_signed("==", taker, I64(0)), waiting, asking)
        b.position_at_end(asking)
        taken = b.call(self.program.take, [taker, word])
        b.cbranch(b.icmp_signed("==", taken, I64(WORD_TRUE)), over, waiting)
        self.resumption(waiting, word, None)
        resumed = b.block
        b.branch(over)
        b.position_at_end(over)
        result = b.phi(I64)
        result.add_incoming(I64(0), asking)
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

    # Functions as values

    def _get_Lambda(self, node: ast.Lambda) -> Val:
        return self.closure(node, "lambda")

    def closure(self, node: ast.Lambda | ast.FunctionDef, name: str) -> Val:
        """Return a function made here, with the values of the names that it takes from around it."""
        info = self.program.nested_function(self.info, node, name)
        words = [self.word(self.load_name(each, node)) for each, _ in info.captured]
        return Val(self.program.make_closure(self.builder, info, words), "W", Hint("callable"))


def is_int(hint: Hint | None) -> bool:
    """Tell whether a value is known to be an integer."""
    return hint is not None and hint.kind in ("int", "bool") and not hint.optional
