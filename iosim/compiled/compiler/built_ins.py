"""Code of calls of built-in functions other than those that make containers."""

import ast
import enum
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.compiler.generators import Generators
from iosim.compiled.compiler.hints import BOOL, FLOAT, INT, STR, Hint, join
from iosim.compiled.compiler.values import I1, I64, YIELDED, CompileError, Val, tag

TESTED_CLASSES = {
    "int": layout.INT_CLASS,
    "bool": layout.INT_CLASS,
    "str": layout.STR,
    "tuple": layout.TUPLE,
    "list": layout.LIST,
    "dict": layout.DICT,
    "float": layout.FLOAT,
}
"""The built-in classes that isinstance may name."""


class BuiltIns(Generators):
    """Generates the code of built-in functions."""

    def _call_len(self, node: ast.Call, _: Any) -> Val:
        value = self.expression(node.args[0])
        kind = None if value.hint is None else value.hint.kind
        method = None if value.hint is None or value.hint.info is None else value.hint.info.find("__len__")
        if method is not None and value.hint is not None and value.hint.info is not None:
            return self.call_function_virtual(value.hint.info, method, [value], node)
        return self.whole(self.length(self.word(value), kind))

    def _call_isinstance(self, node: ast.Call, _: Any) -> Val:
        word = self.word(self.expression(node.args[0]))
        return Val(self.is_instance(word, node.args[1]), "B", BOOL)

    def is_instance(self, word: ir.Value, node: ast.expr) -> ir.Value:
        """Return the bit of isinstance(word, node)."""
        b = self.builder
        parts = list(node.elts) if isinstance(node, ast.Tuple) else [node]
        flat: list[ast.expr] = []
        while parts:
            part = parts.pop(0)
            if isinstance(part, ast.BinOp):
                parts = [part.left, part.right, *parts]
            else:
                flat.append(part)
        found = b.call(self.program.type_of, [word])
        result: ir.Value = I1(0)
        for part in flat:
            for number in self.instance_classes(part):
                result = b.or_(result, b.icmp_signed("==", found, I64(tag(number))))
        return result

    def instance_classes(self, node: ast.expr) -> list[int]:
        """Return the ids of the classes that isinstance with *node* is true for."""
        if isinstance(node, ast.Name) and node.id in TESTED_CLASSES and node.id not in self.names:
            return [TESTED_CLASSES[node.id]]
        static = self.static(node)
        if static is None:
            raise CompileError(f"line {node.lineno}: isinstance of {ast.unparse(node)}")
        live = static[0]
        info = self.world.class_of(live)
        if info is not None:
            if info.is_protocol:
                raise CompileError(f"line {node.lineno}: isinstance of a protocol")
            return [each.number for each in info.family()]
        if isinstance(live, type) and issubclass(live, enum.IntEnum):
            return [layout.INT_CLASS]
        raise CompileError(f"line {node.lineno}: isinstance of {ast.unparse(node)}")

    def _call_type(self, node: ast.Call, _: Any) -> Val:
        word = self.word(self.expression(node.args[0]))
        return Val(self.builder.call(self.program.type_of, [word]), "W")

    def _call_range(self, node: ast.Call, _: Any) -> Val:
        result = self.hidden()
        self.builder.store(self.call_runtime("rt_list_new", I64(0)), result.pointer())
        after = self.block("endrange")

        def bind(item: Val) -> None:
            self.call_runtime("rt_list_append", self.builder.load(result.pointer()), self.word(item))

        self.iterate_range(node, bind, lambda: None, after, after)
        self.builder.position_at_end(after)
        return Val(self.builder.load(result.pointer()), "W", Hint("list", (INT,)))

    def two(self, name: str, left: Val, right: Val) -> Val:
        """Return min or max of two values."""
        if {left.kind, right.kind} <= {"I", "B"}:
            x, y = self.integer(left), self.integer(right)
            first = self.builder.icmp_signed("<=" if name == "min" else ">=", x, y)
            return Val(self.builder.select(first, x, y), "I", INT)
        word = self.call_runtime(f"rt_{name}2", self.word(left), self.word(right))
        return Val(word, "W", join(left.hint, right.hint))

    def extreme(self, name: str, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        """Return min or max of several values, or over an iterable."""
        if len(node.args) > 1 and not keywords:
            result = self.expression(node.args[0])
            for each in node.args[1:]:
                result = self.two(name, result, self.expression(each))
            return result
        if len(node.args) > 1 or set(keywords) - {"key", "default"}:
            raise CompileError(f"line {node.lineno}: keywords of {name}()")
        return self.extreme_of(name, node, keywords)

    def extreme_of(self, name: str, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        """Min or max over an iterable, with *key* or *default*."""
        best, best_key, found = self.hidden(), self.hidden(), self.hidden(BOOL)
        self.builder.store(I64(1), found.pointer())
        key = self.expression(keywords["key"]) if "key" in keywords else None
        after = self.block("endextreme")
        hints: list[Hint | None] = []

        def bind(item: Val) -> None:
            hints.append(item.hint)
            word = self.word(item)
            mark = word if key is None else self.word(self.call_value(key, [item]))
            take, skip = self.block("take"), self.block("skip")
            known = self.block("known")
            self.builder.cbranch(
                self.builder.icmp_signed("==", self.builder.load(found.pointer()), I64(1)), take, known
            )
            self.builder.position_at_end(known)
            old = self.builder.load(best_key.pointer())
            pair = (mark, old) if name == "min" else (old, mark)
            less = self.builder.trunc(self.call_runtime("rt_lt", *pair), I1)
            self.builder.cbranch(less, take, skip)
            self.builder.position_at_end(take)
            self.builder.store(word, best.pointer())
            self.builder.store(mark, best_key.pointer())
            self.builder.store(I64(3), found.pointer())
            self.builder.branch(skip)
            self.builder.position_at_end(skip)

        self.over(node.args[0], bind, after)
        if "default" in keywords:
            default = self.expression(keywords["default"])
            none = self.builder.icmp_signed("==", self.builder.load(found.pointer()), I64(1))
            word = self.builder.select(none, self.word(default), self.builder.load(best.pointer()))
            return self.from_word(word, join(hints[0] if hints else None, default.hint))
        self.trap_unless(
            self.builder.icmp_signed("==", self.builder.load(found.pointer()), I64(3)), node, f"{name} of nothing"
        )
        return self.from_word(self.builder.load(best.pointer()), hints[0] if hints else None)

    def over(self, source: ast.expr, bind: Callable[[Val], None], after: ir.Block) -> None:
        """Run *bind* for each item of an iterable, which may be a generator expression; end in *after*."""
        if isinstance(source, ast.GeneratorExp | ast.ListComp):
            self.comprehend(source.generators, lambda: bind(self.expression(source.elt)))
            self.builder.branch(after)
        else:
            self.iterate(source, bind, lambda: None, after, after)
        self.builder.position_at_end(after)

    def _call_min(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        return self.extreme("min", node, keywords)

    def _call_max(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        return self.extreme("max", node, keywords)

    def _call_sum(self, node: ast.Call, _: Any) -> Val:
        total = self.hidden()
        start = self.expression(node.args[1]) if len(node.args) > 1 else self.constant(0)
        self.builder.store(self.word(start), total.pointer())
        ints: list[bool] = []

        def bind(item: Val) -> None:
            ints.append(item.kind in ("I", "B"))
            old = self.builder.load(total.pointer())
            if ints[-1] and start.kind == "I":
                added = self.builder.add(self.builder.ashr(old, I64(1)), self.integer(item))
                self.builder.store(self.word(Val(added, "I")), total.pointer())
            else:
                self.builder.store(self.call_runtime("rt_add", old, self.word(item)), total.pointer())

        self.over(node.args[0], bind, self.block("endsum"))
        hint = INT if all(ints) and start.kind == "I" else None
        return self.from_word(self.builder.load(total.pointer()), hint)

    def any_or_all(self, node: ast.Call, is_any: bool) -> Val:
        """Return whether any, or all, of an iterable are true."""
        result = self.hidden(BOOL)
        self.builder.store(I64(1 if is_any else 3), result.pointer())
        after = self.block("endany")
        source = node.args[0]

        def bind(item: Val) -> None:
            decided, undecided = self.block("decided"), self.block("undecided")
            truth = self.truth(item)
            self.builder.cbranch(truth, *((decided, undecided) if is_any else (undecided, decided)))
            self.builder.position_at_end(decided)
            self.builder.store(I64(3 if is_any else 1), result.pointer())
            self.builder.branch(after)
            self.builder.position_at_end(undecided)

        self.over(source, bind, after)
        return self.from_word(self.builder.load(result.pointer()), BOOL)

    def _call_any(self, node: ast.Call, _: Any) -> Val:
        return self.any_or_all(node, True)

    def _call_all(self, node: ast.Call, _: Any) -> Val:
        return self.any_or_all(node, False)

    def _call_next(self, node: ast.Call, _: Any) -> Val:
        source = node.args[0]
        if isinstance(source, ast.GeneratorExp):
            result, after = self.hidden(), self.block("endnext")
            default = self.expression(node.args[1]) if len(node.args) > 1 else None
            exhausted = self.block("exhausted")

            def run() -> None:
                self.builder.store(self.word(self.expression(source.elt)), result.pointer())
                self.builder.branch(after)
                self.builder.position_at_end(self.block("unreachable"))

            self.comprehend(source.generators, run)
            self.builder.branch(exhausted)
            self.builder.position_at_end(exhausted)
            if default is None:
                self.trap(node, "next of nothing")
            else:
                self.builder.store(self.word(default), result.pointer())
                self.builder.branch(after)
            self.builder.position_at_end(after)
            return Val(self.builder.load(result.pointer()), "W")
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and source.func.id == "iter":
            if len(node.args) > 1:
                raise CompileError(f"line {node.lineno}: default of next(iter())")
            return self.first_of(source.args[0], node)
        generator = self.expression(source)
        if len(node.args) == 1:
            return self.send(generator, Val(I64(0), "W"))
        found = self.builder.call(self.program.send, [self.word(generator), I64(0)])
        yielded = self.builder.icmp_signed("==", self.builder.extract_value(found, 1), I64(YIELDED))
        default_word = self.word(self.expression(node.args[1]))
        return Val(self.builder.select(yielded, self.builder.extract_value(found, 0), default_word), "W")

    def first_of(self, source: ast.expr, node: ast.AST) -> Val:
        """next(iter(...)) of a dictionary or set."""
        table = self.word(self.expression(source))
        position = self.call_runtime("rt_dict_next", table, I64(0))
        self.trap_unless(self.builder.icmp_signed(">=", position, I64(0)), node, "next of nothing")
        return self.from_word(self.call_runtime("rt_dict_key_at", table, position), self.item_hint(source))

    # Numbers

    def _call_int(self, node: ast.Call, _: Any) -> Val:
        if len(node.args) != 1:
            raise CompileError(f"line {node.lineno}: int with a base")
        value = self.expression(node.args[0])
        if value.kind in ("I", "B"):
            return Val(self.integer(value), "I", INT)
        if value.kind == "F":
            return Val(self.builder.fptosi(value.value, I64), "I", INT)
        return self.from_word(self.call_runtime("rt_int", value.value), INT)

    def _call_str(self, node: ast.Call, _: Any) -> Val:
        return Val(self.call_runtime("rt_to_str", self.word(self.expression(node.args[0]))), "W", STR)

    def _call_float(self, node: ast.Call, _: Any) -> Val:
        return Val(self.double(self.expression(node.args[0])), "F", FLOAT)

    def _call_bool(self, node: ast.Call, _: Any) -> Val:
        return Val(self.truth(self.expression(node.args[0])), "B", BOOL)

    def _call_round(self, node: ast.Call, _: Any) -> Val:
        value = self.expression(node.args[0])
        if len(node.args) > 1:
            raise CompileError(f"line {node.lineno}: round with digits")
        if value.kind in ("I", "B"):
            return Val(self.integer(value), "I", INT)
        return self.from_word(self.call_runtime("rt_round", self.word(value)), INT)

    def _call_abs(self, node: ast.Call, _: Any) -> Val:
        value = self.expression(node.args[0])
        if value.kind in ("I", "B"):
            raw = self.integer(value)
            negative = self.builder.icmp_signed("<", raw, I64(0))
            return Val(self.builder.select(negative, self.builder.neg(raw), raw), "I", INT)
        return Val(self.call_runtime("rt_abs", self.word(value)), "W", value.hint)

    def _call_divmod(self, node: ast.Call, _: Any) -> Val:
        left, right = (self.expression(each) for each in node.args)
        if {left.kind, right.kind} <= {"I", "B"}:
            x, y = self.integer(left), self.integer(right)
            quotient = self.floor_divide(x, y, node)
            rest = self.builder.sub(x, self.builder.mul(quotient, y))
            return self.tuple_of([Val(quotient, "I", INT), Val(rest, "I", INT)])
        return Val(self.call_runtime("rt_divmod", self.word(left), self.word(right)), "W", Hint("tuple"))

    def _call_iter(self, node: ast.Call, _: Any) -> Val:
        raise CompileError(f"line {node.lineno}: iter()")
