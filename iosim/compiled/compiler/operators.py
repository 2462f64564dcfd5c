"""Code of operators, comparisons and conditions."""

import ast
from collections.abc import Callable

from llvmlite import ir

from iosim.compiled.compiler.emitter import Emitter
from iosim.compiled.compiler.hints import BOOL, FLOAT, INT, Hint, is_only_itself, join
from iosim.compiled.compiler.values import DOUBLE, I1, I64, CompileError, Val

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


class Operators(Emitter):
    """Generates the code of operators."""

    def _get_BinOp(self, node: ast.BinOp) -> Val:
        left = self.expression(node.left)
        right = self.expression(node.right)
        return self.binary(node.op, left, right, node)

    def binary(self, operator: ast.operator, left: Val, right: Val, node: ast.AST) -> Val:
        """Return the result of a binary operator."""
        b = self.builder
        left, right = self.given_integer(left, node), self.given_integer(right, node)
        kinds = {left.kind, right.kind}
        if kinds <= {"I", "B"}:
            result = self.tagged_binary(operator, left, right)
            if result is not None:
                return result
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

    def tagged_binary(self, operator: ast.operator, left: Val, right: Val) -> Val | None:
        """Return the result of an operator on integers whose words are known, if it takes less code with these."""
        b = self.builder
        x, y = self.tagged(left), self.tagged(right)
        if all(each is None or isinstance(each, ir.Constant) for each in (x, y)):
            return None
        if isinstance(operator, ast.Add | ast.Sub) and left.kind == right.kind == "I":
            x, y = self.word(left), self.word(right)
        if x is None or y is None:
            return None
        if isinstance(operator, ast.Add | ast.Sub):
            if isinstance(operator, ast.Add) and isinstance(x, ir.Constant):
                x, y = y, x
            doubled = I64(y.constant - 1) if isinstance(y, ir.Constant) else b.sub(y, I64(1))
            add = b.sadd_with_overflow if isinstance(operator, ast.Add) else b.ssub_with_overflow
            return self.whole(self.without_overflow(add(x, doubled)))
        simple = {ast.BitAnd: b.and_, ast.BitOr: b.or_}
        if type(operator) in simple:
            return self.whole(simple[type(operator)](x, y))
        if isinstance(operator, ast.BitXor):
            return self.whole(b.or_(b.xor(x, y), I64(1)))
        return None

    def shift(self, operator: ast.operator, x: ir.Value, y: ir.Value, node: ast.AST) -> ir.Value:
        """Return a raw integer shifted by *y* bits."""
        b = self.builder
        if isinstance(y, ir.Constant) and not 0 <= y.constant < 63:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: a shift by {y.constant}")
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
            if value.kind == "I" and isinstance(value.value, ir.Constant):
                return Val(I64(-value.value.constant), "I", INT)
            if value.kind in ("I", "B"):
                return Val(self.builder.neg(self.integer(value)), "I", INT)
            if value.kind == "F":
                return Val(self.builder.fsub(ir.Constant(DOUBLE, -0.0), value.value), "F", FLOAT)
            return Val(self.call_runtime("rt_neg", value.value), "W")
        if isinstance(node.op, ast.Invert):
            if value.kind == "W":
                return self.from_word(self.call_runtime("rt_invert", value.value), INT)
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
        return self.either(node, self.expression)

    def either(self, node: ast.IfExp, generate: Callable[[ast.expr], Val]) -> Val:
        """Return what is made of the one part of *node* or of the other, each where it has been chosen."""
        then, otherwise, end = self.block("ifthen"), self.block("ifelse"), self.block("ifend")
        self.condition(node.test, then, otherwise)
        words, blocks, hints = [], [], []
        before = self.known.copy()
        for block, part, truth in ((then, node.body, True), (otherwise, node.orelse, False)):
            self.builder.position_at_end(block)
            self.known = before.copy()
            self.learn(node.test, truth)
            value = generate(part)
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

    # Comparisons

    def _get_Compare(self, node: ast.Compare) -> Val:
        left = self.expression(node.left)
        if len(node.ops) == 1:
            return Val(self.compare(node.ops[0], left, node.comparators[0])[0], "B", BOOL)
        end, no = self.block("endcompare"), self.block("nocompare")
        for position, (operator, right) in enumerate(zip(node.ops, node.comparators, strict=True)):
            bit, value = self.compare(operator, left, right)
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

    def compare(self, operator: ast.cmpop, left: Val, node: ast.expr) -> tuple[ir.Value, Val]:
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
        if sign not in ("==", "!="):
            left, right = self.given_integer(left, node), self.given_integer(right, node)
        if {left.kind, right.kind} <= {"I", "B"}:
            tagged = self.tagged(left), self.tagged(right)
            x, y = tagged if None not in tagged else (self.integer(left), self.integer(right))
            return b.icmp_signed(sign, x, y), right
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
        if any(one.hint is not None and is_only_itself(one.hint) for one in (left, right)):
            return b.icmp_signed("==", x, y)
        if all(one.hint is not None and one.hint.kind == "str" and not one.hint.optional for one in (left, right)):
            return b.trunc(self.call_runtime("rt_str_eq", x, y), I1)
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
            if right.hint.kind in ("dict", "set"):
                return b.trunc(self.call_table(f"rt_{right.hint.kind}_contains", right, left), I1), right
            if right.hint.kind == "list":
                name = "rt_list_contains"
        return b.trunc(self.call_runtime(name, self.word(right), self.word(left)), I1), right


def is_int(hint: Hint | None) -> bool:
    """Tell whether a value is known to be an integer."""
    return hint is not None and hint.kind in ("int", "bool") and not hint.optional
