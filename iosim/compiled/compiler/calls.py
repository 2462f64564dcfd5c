"""Code of calls: what is called, and the model's own functions, methods and classes."""

import ast
import bisect
import heapq
import types
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from llvmlite import ir

from iosim.compiled.compiler.built_ins import BuiltIns
from iosim.compiled.compiler.containers import BUILTIN_METHODS, Containers
from iosim.compiled.compiler.hints import INT, Hint
from iosim.compiled.compiler.values import I64, CompileError, Val
from iosim.compiled.compiler.world import ClassInfo, FunctionInfo

TAKES_KEYWORDS = {"min", "max", "sorted"}
"""Built-in functions whose keywords are understood."""


class Calls(BuiltIns, Containers):
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
        self.refuse(keywords, node)
        return self.call_value(self.expression(function), [self.expression(each) for each in node.args])

    @staticmethod
    def refuse(keywords: dict[str, ast.expr], node: ast.AST) -> None:
        """Raise CompileError if a value whose parameters are not known is called with keywords."""
        if keywords:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: keywords for a value that is called")

    def call_name(self, node: ast.Call, name: str, keywords: dict[str, ast.expr]) -> Val:
        """Call what a name stands for."""
        if name in self.slots or name in self.captured:
            value = self.load_name(name, node)
            self.refuse(keywords, node)
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
            self.refuse(keywords, node)
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
            self.refuse(keywords, node)
            return self.call_value(self.constant(live), [self.expression(each) for each in node.args])
        if name == "deque":
            return self._call_deque(node, keywords)
        if name == "partial":
            return self.make_partial(node, keywords)
        if keywords:
            raise CompileError(f"line {node.lineno}: keywords of {ast.unparse(node.func)}()")
        words = [self.word(self.expression(each)) for each in node.args]
        if name in ("rt_heappush", "rt_heappop"):
            item = self.heap_hint(node)
            if item is not None and item.kind == "tuple" and not item.optional and item.of[:2] == (INT, INT):
                name += "_tuple"
            return self.from_word(self.call_runtime(name, *words), item if name.startswith("rt_heappop") else None)
        result = self.call_runtime(name, *words)
        return self.from_word(result, INT if name.startswith("rt_bisect") else None)

    def heap_hint(self, node: ast.Call) -> Hint | None:
        """Return what the list holds that is the first argument."""
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
        name = member.name
        found = self.program.implementations(info, name)
        if len(found) == 1:
            return self.call_function(found[0], arguments, node)
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
                self.refuse(keywords, node)
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
                self.refuse(keywords, node)
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
