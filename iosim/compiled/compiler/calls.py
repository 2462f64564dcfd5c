"""Code of calls: functions, methods, constructors, built-ins, values that are called."""

import ast
import bisect
import heapq
import types
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import ir

from iosim.compiled.compiler.hints import BOOL, FLOAT, INT, STR, Hint, join
from iosim.compiled.compiler.loops import Loops
from iosim.compiled.compiler.values import I1, I64, RAISED, YIELDED, CompileError, Val
from iosim.compiled.compiler.world import ClassInfo, FunctionInfo

BUILTIN_METHODS: dict[str, dict[str, str]] = {
    "list": {
        "append": "rt_list_append",
        "insert": "rt_list_insert",
        "extend": "rt_list_extend",
        "remove": "rt_list_remove",
        "index": "rt_list_index",
        "clear": "rt_list_clear",
        "reverse": "rt_list_reverse",
        "copy": "rt_list_copy",
    },
    "deque": {
        "append": "rt_deque_append",
        "appendleft": "rt_deque_appendleft",
        "popleft": "rt_deque_popleft",
        "pop": "rt_deque_pop",
        "remove": "rt_deque_remove",
        "clear": "rt_deque_clear",
        "insert": "rt_deque_insert",
        "extend": "rt_deque_extend",
    },
    "dict": {
        "setdefault": "rt_dict_setdefault",
        "clear": "rt_dict_clear",
        "keys": "rt_dict_keys",
        "values": "rt_dict_values",
        "items": "rt_dict_items",
        "copy": "rt_dict_copy",
        "move_to_end": "rt_dict_move_to_end",
    },
    "set": {
        "add": "rt_set_add",
        "discard": "rt_set_discard",
        "remove": "rt_set_remove",
        "clear": "rt_set_clear",
        "union": "rt_set_union",
        "difference": "rt_set_difference",
        "update": "rt_set_update",
        "difference_update": "rt_set_difference_update",
    },
    "tuple": {"index": "rt_tuple_index"},
    "str": {"startswith": "rt_str_startswith", "removeprefix": "rt_str_removeprefix"},
}
NO_RESULT = {
    "append",
    "appendleft",
    "insert",
    "extend",
    "remove",
    "clear",
    "reverse",
    "add",
    "discard",
    "update",
    "difference_update",
}


TAKES_KEYWORDS = {"min", "max", "sorted", "dict"}
"""Built-in functions whose keywords are understood."""


class Calls(Loops):
    """Generates the code of calls."""

    def _get_Call(self, node: ast.Call) -> Val:
        for keyword in node.keywords:
            if keyword.arg is None:
                raise CompileError(f"line {node.lineno}: ** in a call")
        keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg is not None}
        function = node.func
        if isinstance(function, ast.Name):
            return self.call_name(node, function.id, keywords)
        if isinstance(function, ast.Attribute):
            return self.call_attribute(node, function, keywords)
        if keywords:
            raise CompileError(f"line {node.lineno}: keywords for a value that is called")
        return self.call_value(self.expression(function), [self.expression(each) for each in node.args])

    def call_name(self, node: ast.Call, name: str, keywords: dict[str, ast.expr]) -> Val:
        """Call what a name stands for."""
        if name in self.slots or name in self.captured:
            value = self.load_name(name, node)
            arguments = [self.expression(each) for each in node.args]
            if name == "send":
                return self.send(value, arguments[0])
            return self.call_value(value, arguments)
        if name == "super":
            raise CompileError(f"line {node.lineno}: super as a value")
        if name in self.names:
            return self.call_live(self.names[name], node, keywords)
        method: Callable[[ast.Call, dict[str, ast.expr]], Val] | None = getattr(self, f"_call_{name}", None)
        if method is None:
            raise CompileError(f"line {node.lineno}: {name}()")
        if keywords and name not in TAKES_KEYWORDS:
            raise CompileError(f"line {node.lineno}: keywords of {name}()")
        return method(node, keywords)

    def call_live(self, live: Any, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        """Call a global of the module."""
        intrinsic = self.program.intrinsics.get(live) if isinstance(live, types.FunctionType) else None
        if intrinsic is not None:
            return intrinsic(self, [self.expression(each) for each in node.args])
        function = self.world.function_of(live)
        if function is not None:
            return self.call_function(function, self.arguments(function, node, keywords, 0), node)
        info = self.world.class_of(live)
        if info is not None:
            return self.construct(info, node, keywords)
        known: dict[Any, str] = {
            heapq.heappush: "rt_heappush",
            heapq.heappop: "rt_heappop",
            bisect.bisect_right: "rt_bisect_right",
            bisect.bisect_left: "rt_bisect_left",
            bisect.insort: "rt_insort",
            deque: "deque",
            partial: "partial",
        }
        try:
            name = known.get(live)
        except TypeError:
            name = None
        if name is None:
            if isinstance(live, type | types.BuiltinFunctionType | types.FunctionType):
                raise CompileError(f"line {node.lineno}: {ast.unparse(node.func)}()")
            return self.call_value(self.constant(live), [self.expression(each) for each in node.args])
        if name == "deque":
            return self._call_deque(node, keywords)
        if name == "partial":
            return self.make_partial(node, keywords)
        if keywords:
            raise CompileError(f"line {node.lineno}: keywords of {ast.unparse(node.func)}()")
        words = [self.word(self.expression(each)) for each in node.args]
        result = self.call_runtime(name, *words)
        if name == "rt_heappop":
            return self.from_word(result, self.pop_hint(node))
        return self.from_word(result, INT if name.startswith("rt_bisect") else None)

    def pop_hint(self, node: ast.Call) -> Hint | None:
        """Return what heappop of a list gives."""
        hint = self.infer(node.args[0]) if node.args else None
        return hint.of[0] if hint is not None and hint.kind == "list" and hint.of else None

    def make_partial(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        """Return a new partial."""
        if keywords:
            raise CompileError(f"line {node.lineno}: keywords of partial")
        words = [self.word(self.expression(each)) for each in node.args]
        return Val(self.program.make_partial(self.builder, words), "W", Hint("callable"))

    # Functions of the world

    def arguments(self, function: FunctionInfo, node: ast.Call, keywords: dict[str, ast.expr], skip: int) -> list[Val]:
        """Return the arguments of a call in the order of the parameters, behind the first *skip*."""
        parameters = function.parameters[skip:]
        values: dict[str, Val] = {}
        n = len(parameters) if function.vararg < 0 else function.vararg - skip
        rest = node.args[n:]
        if function.vararg >= 0:
            values[function.parameters[function.vararg].name] = self.get_tuple(ast.Tuple(rest, ast.Load()))
        elif rest:
            raise CompileError(f"line {node.lineno}: too many arguments of {function.name}")
        for parameter, each in zip(parameters[:n], node.args[:n], strict=False):
            values[parameter.name] = self.expression(each, parameter.hint)
        for name, each in keywords.items():
            found = next((parameter for parameter in parameters if parameter.name == name), None)
            if found is None:
                raise CompileError(f"line {node.lineno}: {function.name} has no parameter {name}")
            values[name] = self.expression(each, found.hint)
        result = []
        for parameter in parameters:
            if parameter.name in values:
                result.append(values[parameter.name])
            elif parameter.default is not None:
                result.append(self.default(parameter.default))
            else:
                raise CompileError(f"line {node.lineno}: {function.name} misses {parameter.name}")
        return result

    def default(self, default: tuple[Any]) -> Val:
        """Return the default of a parameter."""
        return self.live(default[0], self.info.node)

    def call_function(self, function: FunctionInfo, arguments: Sequence[Val], node: ast.AST) -> Val:
        """Call one function of the world, with all its arguments."""
        native = self.program.function(function)
        words = [self.word(argument) for argument in arguments]
        if function.is_generator and node is self.delegated:
            body = self.program.body(function)
            return Val(self.builder.call(body, [I64(0), I64(0), *words]), "S")
        result = self.builder.call(native, words)
        if function.is_generator:
            return Val(result, "W", Hint("generator"), True)
        return self.from_word(result, function.result)

    def call_function_virtual(
        self, info: ClassInfo, member: FunctionInfo, arguments: Sequence[Val], node: ast.AST
    ) -> Val:
        """Call a method of *info* or of whichever of its subclasses the object is."""
        overriding = [each for each in info.family() if each.find(member.name) is not member]
        if not overriding:
            return self.call_function(member, arguments, node)
        name = member.name
        words = [self.word(argument) for argument in arguments]
        if member.role == "property":
            result = self.builder.call(self.program.getter(name), words)
        else:
            result = self.builder.call(self.program.caller(name, len(words) - 1), words)
        if member.is_generator:
            return Val(result, "W", Hint("generator"), self.program.method_is_generator(name))
        return self.from_word(result, self.program.method_hint(name) if member.result is None else member.result)

    def construct(self, info: ClassInfo, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        """Make an instance."""
        if info.is_enum:
            raise CompileError(f"line {node.lineno}: {info.name}(...)")
        if info.is_named_tuple or info.is_dataclass:
            return self.construct_fields(info, node, keywords)
        init = info.find("__init__")
        arguments = [] if init is None else self.arguments(init, node, keywords, 1)
        words = [self.word(argument) for argument in arguments]
        obj = self.program.allocate(self.builder, info.number, self.program.size_of(info))
        self.program.initial_attributes(self, info, obj)
        if init is not None:
            self.builder.call(self.program.function(init), [obj, *words])
        return Val(obj, "W", Hint("object", (), info))

    def construct_fields(self, info: ClassInfo, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        """Make an instance of a named tuple or a dataclass."""
        fields = self.program.fields(info)
        values: dict[str, ir.Value] = {}
        for (name, _), each in zip(fields, node.args, strict=False):
            values[name] = self.word(self.expression(each, info.hints.get(name)))
        for name, each in keywords.items():
            values[name] = self.word(self.expression(each, info.hints.get(name)))
        for name, default in fields:
            if name not in values:
                if default is None:
                    raise CompileError(f"line {node.lineno}: {info.name} misses {name}")
                if default[0] is list:
                    values[name] = self.call_runtime("rt_list_new", I64(0))
                else:
                    values[name] = self.word(self.live(default[0], node))
        obj = self.program.allocate(self.builder, info.number, self.program.size_of(info))
        for name, word in values.items():
            self.store(obj, info.attributes[name], word)
        return Val(obj, "W", Hint("object", (), info))

    # Methods

    def call_attribute(self, node: ast.Call, function: ast.Attribute, keywords: dict[str, ast.expr]) -> Val:
        """Call a member of a module, a class or an object."""
        name = function.attr
        base = function.value
        if isinstance(base, ast.Call) and isinstance(base.func, ast.Name) and base.func.id == "super":
            return self.call_super(node, name, keywords)
        static = self.static(function)
        if static is not None:
            owner = self.static(base)
            info = self.world.class_of(owner[0]) if owner is not None else None
            member = None if info is None else info.find(name)
            if member is not None:
                if member.role == "classmethod":
                    raise CompileError(f"line {node.lineno}: class method {name}")
                return self.call_function(member, self.arguments(member, node, keywords, 0), node)
            return self.call_live(static[0], node, keywords)
        return self.call_method(self.expression(base), name, node.args, keywords, node)

    def call_super(self, node: ast.Call, name: str, keywords: dict[str, ast.expr]) -> Val:
        """Call a method of the base class."""
        owner = self.info.owner
        assert owner is not None
        for base in owner.bases:
            member = base.find(name)
            if member is not None:
                me = self.load_name(self.info.parameters[0].name, node)
                return self.call_function(member, [me, *self.arguments(member, node, keywords, 1)], node)
        if name == "__init__":
            return Val(I64(0), "W")
        raise CompileError(f"line {node.lineno}: super().{name}")

    def call_method(
        self, obj: Val, name: str, args: Sequence[ast.expr], keywords: dict[str, ast.expr], node: ast.AST
    ) -> Val:
        """Call the method *name* of an object."""
        hint = obj.hint
        call = node if isinstance(node, ast.Call) else ast.Call(ast.Name(name), list(args), [])
        if not hasattr(call, "lineno"):
            call.lineno = getattr(node, "lineno", 0)
        if name == "send":
            return self.send(self.sender(obj, node), self.expression(args[0]))
        if name == "throw":
            words = [self.word(obj), self.word(self.expression(args[0]))]
            return self.sent_to(self.builder.call(self.program.throw, words))
        if name == "close" and (hint is None or hint.kind == "generator"):
            return Val(I64(0), "W")
        if hint is not None and hint.kind in BUILTIN_METHODS:
            if hint.optional:
                self.trap_unless(self.builder.icmp_signed("!=", self.word(obj), I64(0)), node, f"None has no {name}")
            return self.call_container(obj, name, args, keywords, node)
        if hint is not None and hint.info is not None:
            info = hint.info
            if name in info.attributes:
                value = self.get_attribute(obj, name, node)
                return self.call_value(value, [self.expression(each) for each in args])
            member = info.find(name)
            if member is not None and member.role in ("method", "staticmethod"):
                self.check_class(self.word(obj), hint, node, name)
                if member.role == "staticmethod":
                    return self.call_function(member, self.arguments(member, call, keywords, 0), node)
                arguments = self.arguments(member, call, keywords, 1)
                return self.call_function_virtual(info, member, [obj, *arguments], node)
            if name == "_replace" and info.is_named_tuple:
                return self.replace(obj, info, keywords)
            if member is not None and member.role == "property":
                value = self.get_attribute(obj, name, node)
                return self.call_value(value, [self.expression(each) for each in args])
        words = [self.word(obj)]
        if keywords:
            member = self.program.some_method(name)
            if member is None:
                raise CompileError(f"line {call.lineno}: keywords for {name}, of which nothing is known")
            words += [self.word(each) for each in self.arguments(member, call, keywords, 1)]
        else:
            words += [self.word(self.expression(each)) for each in args]
        result = self.builder.call(self.program.caller(name, len(words) - 1), words)
        if self.program.method_is_generator(name):
            return Val(result, "W", Hint("generator"), True)
        return self.from_word(result, self.program.method_hint(name))

    def replace(self, obj: Val, info: ClassInfo, keywords: dict[str, ast.expr]) -> Val:
        """_replace of a named tuple."""
        values = {name: self.word(self.expression(each)) for name, each in keywords.items()}
        new = self.program.allocate(self.builder, info.number, self.program.size_of(info))
        old = self.word(obj)
        for name, offset in info.attributes.items():
            self.store(new, offset, values[name] if name in values else self.load(old, offset))
        return Val(new, "W", Hint("object", (), info))

    def call_container(
        self, obj: Val, name: str, args: Sequence[ast.expr], keywords: dict[str, ast.expr], node: ast.AST
    ) -> Val:
        """Call a method of a list, deque, dict, set or text."""
        assert obj.hint is not None
        kind, parts = obj.hint.kind, obj.hint.of
        of = parts[0] if parts else None
        word = self.word(obj)
        if kind == "list" and name == "sort":
            keys = self.sort_keys(obj, keywords)
            ordered = (
                self.call_runtime("rt_sorted", word) if keys is None else self.call_runtime("rt_sort_by", word, keys)
            )
            self.call_runtime("rt_list_slice_assign", word, I64(0), I64(0), ordered)
            return Val(I64(0), "W")
        if kind == "dict" and name == "popitem":
            return Val(self.call_runtime("rt_dict_popitem_first", word), "W", Hint("tuple", parts))
        if keywords:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: keywords of {kind}.{name}")
        words = [self.word(self.expression(each)) for each in args]
        if kind == "list" and name == "pop":
            result = (
                self.call_runtime("rt_list_pop_at", word, *words) if words else self.call_runtime("rt_list_pop", word)
            )
            return self.from_word(result, of)
        if kind == "dict" and name in ("get", "pop"):
            value_hint = parts[1] if len(parts) == 2 else None
            if name == "pop" and len(words) == 1:
                return self.from_word(self.call_runtime("rt_dict_take", word, *words), value_hint)
            default_hint = None if len(args) < 2 else self.infer(args[1])
            if len(words) == 1:
                words.append(I64(0))
                hint = None if value_hint is None else value_hint.or_none()
            else:
                hint = join(value_hint, default_hint)
            return self.from_word(self.call_runtime(f"rt_dict_{name}", word, *words), hint)
        runtime = BUILTIN_METHODS[kind].get(name)
        if runtime is None:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: {kind}.{name}")
        result = self.call_runtime(runtime, word, *words)
        if name in NO_RESULT:
            return Val(I64(0), "W")
        hint = None
        if kind == "deque" and name in ("pop", "popleft"):
            hint = of
        elif name == "index":
            hint = INT
        elif kind == "dict" and name == "setdefault":
            hint = parts[1] if len(parts) == 2 else None
        elif kind == "dict" and name in ("keys", "values") and len(parts) == 2:
            hint = Hint("list", (parts[0 if name == "keys" else 1],))
        elif kind == "dict" and name == "items":
            hint = Hint("list", (Hint("tuple", parts),) if len(parts) == 2 else ())
        elif name in ("copy", "union", "difference"):
            hint = obj.hint
        elif name == "startswith":
            return self.bit(result)
        elif name == "removeprefix":
            hint = obj.hint
        return self.from_word(result, hint)

    # Values that are called

    def call_value(self, value: Val, arguments: Sequence[Val]) -> Val:
        """Call a function that is only known as a value."""
        words = [self.word(argument) for argument in arguments]
        return Val(self.builder.call(self.program.value_caller(len(words)), [self.word(value), *words]), "W")

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

    # Built-ins

    def _call_len(self, node: ast.Call, _: Any) -> Val:
        value = self.expression(node.args[0])
        kind = None if value.hint is None else value.hint.kind
        method = None if value.hint is None or value.hint.info is None else value.hint.info.find("__len__")
        if method is not None:
            return self.call_function(method, [value], node)
        return Val(self.length(self.word(value), kind), "I", INT)

    def _call_isinstance(self, node: ast.Call, _: Any) -> Val:
        word = self.word(self.expression(node.args[0]))
        return Val(self.program.is_instance(self, word, node.args[1]), "B", BOOL)

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

    def sort_keys(self, items: Val, keywords: dict[str, ast.expr]) -> ir.Value | None:
        """Return the list of the keys to sort *items* by, if there are any."""
        if set(keywords) - {"key"}:
            raise CompileError("reverse of a sort")
        if "key" not in keywords:
            return None
        key = self.expression(keywords["key"])
        slot = self.hidden()
        self.builder.store(self.call_runtime("rt_list_new", I64(0)), slot.pointer())
        after = self.block("endkeys")

        def bind(item: Val) -> None:
            word = self.word(self.call_value(key, [item]))
            self.call_runtime("rt_list_append", self.builder.load(slot.pointer()), word)

        self.iterate_sequence(items, bind, lambda: None, after, after)
        self.builder.position_at_end(after)
        return self.builder.load(slot.pointer())

    def _call_sorted(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        source = self.expression(node.args[0])
        if "key" in keywords:
            items = Val(self.call_runtime("rt_list_copy", self.word(source)), "W", Hint("list"))
            keys = self.sort_keys(items, keywords)
            word = self.call_runtime("rt_sort_by", items.value, keys)
        else:
            word = self.call_runtime("rt_sorted", self.word(source))
        of = source.hint.of[:1] if source.hint is not None and source.hint.kind in ("list", "deque", "set") else ()
        return Val(word, "W", Hint("list", of))

    def materialised(self, node: ast.expr) -> Val:
        """Return an iterable as something that the runtime can walk through."""
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("zip", "enumerate", "reversed", "map")
        ):
            slot, after = self.hidden(), self.block("endlist")
            self.builder.store(self.call_runtime("rt_list_new", I64(0)), slot.pointer())

            def bind(item: Val) -> None:
                self.call_runtime("rt_list_append", self.builder.load(slot.pointer()), self.word(item))

            self.iterate(node, bind, lambda: None, after, after)
            self.builder.position_at_end(after)
            return Val(self.builder.load(slot.pointer()), "W", Hint("list"))
        value = self.expression(node)
        if value.hint is not None and value.hint.kind == "generator":
            slot, after = self.hidden(), self.block("endlist")
            self.builder.store(self.call_runtime("rt_list_new", I64(0)), slot.pointer())

            def bind_one(item: Val) -> None:
                self.call_runtime("rt_list_append", self.builder.load(slot.pointer()), self.word(item))

            self.iterate_generator(value, bind_one, lambda: None, after, after)
            self.builder.position_at_end(after)
            return Val(self.builder.load(slot.pointer()), "W", Hint("list"))
        return value

    def made(self, node: ast.Call, kind: str, empty: str, copy: str) -> Val:
        """Return a container of an iterable's items; *empty* and *copy* are the functions of the library for it."""
        if not node.args:
            return Val(self.call_runtime(empty), "W", Hint(kind))
        value = self.materialised(node.args[0])
        of = value.hint.of[:1] if value.hint is not None and value.hint.kind in ("list", "deque", "set", "dict") else ()
        return Val(self.call_runtime(copy, self.word(value)), "W", Hint(kind, of))

    def _call_list(self, node: ast.Call, _: Any) -> Val:
        if not node.args:
            return Val(self.call_runtime("rt_list_new", I64(0)), "W", Hint("list"))
        return self.made(node, "list", "", "rt_list_copy")

    def _call_tuple(self, node: ast.Call, _: Any) -> Val:
        if not node.args:
            return self.constant(())
        value = self.materialised(node.args[0])
        return Val(self.call_runtime("rt_tuple_from", self.word(value)), "W", Hint("tuple"))

    def _call_set(self, node: ast.Call, _: Any) -> Val:
        return self.made(node, "set", "rt_set_new", "rt_set_from")

    _call_frozenset = _call_set

    def _call_dict(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        if keywords or len(node.args) > 1:
            raise CompileError(f"line {node.lineno}: dict()")
        if not node.args:
            return Val(self.call_runtime("rt_dict_new"), "W", Hint("dict"))
        return Val(self.call_runtime("rt_dict_from", self.word(self.materialised(node.args[0]))), "W", Hint("dict"))

    def _call_deque(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        if keywords:
            raise CompileError(f"line {node.lineno}: deque with maxlen")
        result = self.call_runtime("rt_deque_new")
        of: tuple[Hint | None, ...] = ()
        if node.args:
            value = self.materialised(node.args[0])
            of = value.hint.of[:1] if value.hint is not None and value.hint.kind in ("list", "deque", "set") else ()
            self.call_runtime("rt_deque_extend", result, self.word(value))
        return Val(result, "W", Hint("deque", of))

    def _call_int(self, node: ast.Call, _: Any) -> Val:
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
