"""Dispatch by class: attributes and methods of any object, and calls of any value."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.compiler.classes import Classes
from iosim.compiled.compiler.containers import BUILTIN_METHODS
from iosim.compiled.compiler.values import I64, CompileError, tag, word_pointer
from iosim.compiled.compiler.world import ClassInfo, FunctionInfo, World
from iosim.compiled.objects import BOUND, CLOSURE, FUNCTION, ITEM_GETTER, PARTIAL

MAX_ARGUMENTS = 7
BUILTIN_CLASSES = {
    "list": layout.LIST,
    "deque": layout.DEQUE,
    "dict": layout.DICT,
    "set": layout.SET,
    "str": layout.STR,
    "tuple": layout.TUPLE,
}


class Dispatch(Classes):
    """Generates functions that look at the class of what they are given."""

    def __init__(self, world: World, library: Iterable[ModuleType], checks: bool = False) -> None:
        super().__init__(world, library, checks)
        gone = {old for old, new in world.replaced.items() if old is not new}
        self._occurring = [info for info in world.all_classes if info.type not in gone]
        self._dispatchers: dict[tuple[str, str, int], ir.Function] = {}
        self.take = ir.Function(self.module, ir.FunctionType(I64, [I64, I64]), "take")
        self.take.linkage = "internal"
        self.invoke = ir.Function(self.module, ir.FunctionType(I64, [I64] * (2 + MAX_ARGUMENTS)), "invoke")
        self.invoke.linkage = "internal"
        self.type_of = ir.Function(self.module, ir.FunctionType(I64, [I64]), "type_of")
        self.type_of.linkage = "internal"

    # Members

    def implementations(self, info: ClassInfo, name: str) -> list[FunctionInfo]:
        """Return what the method or property *name* is of the objects of *info* that there may be."""
        found: list[FunctionInfo] = []
        for each in info.family():
            member = each.find(name)
            occurs = each in self._occurring and not inspect.isabstract(each.type)
            if occurs and member is not None and member not in found:
                found.append(member)
        return found

    def getter(self, name: str) -> ir.Function:
        """Return what gets the attribute *name* of any object."""
        return self._dispatcher("get", name, 1)

    def setter(self, name: str) -> ir.Function:
        """Return what sets the attribute *name* of any object."""
        return self._dispatcher("set", name, 2)

    def binder(self, name: str) -> ir.Function:
        """Return what makes a value of the method *name* of any object."""
        return self._dispatcher("bind", name, 1)

    def caller(self, name: str, n: int) -> ir.Function:
        """Return what calls the method *name* of any object with *n* arguments."""
        return self._dispatcher("call", name, n + 1)

    def value_caller(self, n: int) -> ir.Function:
        """Return what calls any value with *n* arguments."""
        return self._dispatcher("value", "", n + 1)

    def _dispatcher(self, kind: str, name: str, n: int) -> ir.Function:
        key = (kind, name, n)
        if key not in self._dispatchers:
            label = f"{kind}.{name}.{n}"
            function = ir.Function(self.module, ir.FunctionType(I64, [I64] * n), label)
            function.linkage = "internal"
            self._dispatchers[key] = function
        return self._dispatchers[key]

    def _fill(self, kind: str, name: str, n: int) -> None:
        function = self._dispatchers[kind, name, n]
        if function.blocks:
            return
        code = DispatchCode(self, function)
        if kind == "value":
            arguments = [*function.args[1:], *[I64(0)] * (MAX_ARGUMENTS - n + 1)]
            code.builder.ret(code.builder.call(self.invoke, [function.args[0], I64(n - 1), *arguments]))
            return
        cases: list[tuple[int, Callable[[], ir.Value]]] = []
        for info in self._occurring:
            case = self._case(code, info, kind, name)
            if case is not None:
                cases.append((info.number, case))
        if kind == "call":
            for builtin, methods in BUILTIN_METHODS.items():
                runtime = methods.get(name)
                if builtin == "list" and name == "pop":
                    runtime = "rt_list_pop" if n == 1 else "rt_list_pop_at"
                if runtime is not None and len(self.runtime(runtime).args) == n:
                    call = (lambda which: lambda: code.builder.call(self.runtime(which), function.args))(runtime)
                    cases.append((BUILTIN_CLASSES[builtin], call))
                elif builtin == "dict" and name == "get" and n == 2:
                    cases.append(
                        (
                            layout.DICT,
                            lambda: code.builder.call(self.runtime("rt_dict_get"), [*function.args, I64(0)]),
                        )
                    )
        code.switch(cases, f"{kind} {name}")

    def _case(self, code: "DispatchCode", info: ClassInfo, kind: str, name: str) -> Callable[[], ir.Value] | None:
        """Return what generates the code for objects of one class; None if they have nothing of that name."""
        b = code.builder
        args = code.function.args
        if info.is_protocol:
            return None
        if kind == "set":
            setter = info.find(f"{name}.setter")
            if setter is not None:
                return lambda: b.call(self.function(setter), args)
            if name not in info.attributes:
                return None

            def store() -> ir.Value:
                b.store(args[1], word_pointer(b, args[0], info.attributes[name]))
                return I64(0)

            return store
        member = info.find(name)
        if kind == "bind":
            if member is None or member.role != "method":
                return None
            return lambda: self.make_bound(b, member, args[0])
        if name in info.attributes:

            def held() -> ir.Value:
                return b.load(word_pointer(b, args[0], info.attributes[name]))

            if kind == "get":
                return held

            def call_held() -> ir.Value:
                rest = [*args[1:], *[I64(0)] * (MAX_ARGUMENTS - len(args) + 1)]
                return b.call(self.invoke, [held(), I64(len(args) - 1), *rest])

            return call_held
        if member is not None:
            if kind == "get":
                if member.role == "property":
                    return lambda: b.call(self.function(member), [args[0]])
                if member.role == "method":
                    return lambda: self.make_bound(b, member, args[0])
                return lambda: b.load(self.function_value(member))
            given = list(args[1:] if member.role == "staticmethod" else args)
            missing = member.parameters[len(given) :]
            if len(given) > len(member.parameters) or any(p.default is None for p in missing):
                return None
            if member.role == "property":

                def call_property() -> ir.Value:
                    value = b.call(self.function(member), [args[0]])
                    rest = [*args[1:], *[I64(0)] * (MAX_ARGUMENTS - len(args) + 1)]
                    return b.call(self.invoke, [value, I64(len(args) - 1), *rest])

                return call_property

            def call() -> ir.Value:
                words = given + [code.default(parameter.default) for parameter in missing]
                return b.call(self.function(member), words)

            return call
        if kind == "get" and not info.is_enum and hasattr(info.type, name):
            value = getattr(info.type, name)
            try:
                return (lambda: code.plain(value)) if code.is_plain(value) else None
            except CompileError:
                return None
        return None

    def _fill_type_of(self) -> None:
        b = ir.IRBuilder(self.type_of.append_basic_block("entry"))
        b.ret(b.or_(b.shl(b.call(self.runtime("rt_class_of"), [self.type_of.args[0]]), I64(1)), I64(1)))

    def _fill_user_lt(self) -> None:
        """rt_user_lt(a, b): the method __lt__."""
        function = self.raw.declare("rt_user_lt", 2)
        function.linkage = "internal"
        caller = self.caller("__lt__", 1)
        self._fill("call", "__lt__", 2)
        b = ir.IRBuilder(function.append_basic_block("entry"))
        b.ret(b.zext(b.icmp_signed("==", b.call(caller, function.args), I64(3)), I64))

    def _fill_take(self) -> None:
        """take(taker, step): whether the method `take` has done the step."""
        b = ir.IRBuilder(self.take.append_basic_block("entry"))
        b.ret(b.call(self.caller("take", 1), self.take.args))

    # Values that are called

    def _declare_invoke(self) -> None:
        """invoke(value, n arguments, arguments ...)."""
        code = DispatchCode(self, self.invoke)
        b = code.builder
        value, n, *args = self.invoke.args
        kind = ir.ArrayType(self.invoke.function_type.as_pointer(), len(self.functions) + 1)
        self._stubs = stubs = ir.GlobalVariable(self.module, kind, "stubs")
        stubs.linkage = "internal"
        stubs.global_constant = True

        def call_stub(callee: ir.Value, count: ir.Value, words: Sequence[ir.Value]) -> ir.Value:
            number = b.ashr(b.load(word_pointer(b, callee, 1)), I64(1))
            stub = b.load(b.gep(stubs, [I64(0), number]))
            return b.call(stub, [callee, count, *words])

        def bound() -> ir.Value:
            me = b.load(word_pointer(b, value, 2))
            return call_stub(value, b.add(n, I64(1)), [me, *args[:-1]])

        def partial() -> ir.Value:
            held = b.load(word_pointer(b, value, 1))
            n_held = b.sub(b.lshr(b.load(word_pointer(b, value, 0)), I64(32)), I64(2))
            end = b.function.append_basic_block("called")
            bad = b.function.append_basic_block("toomany")
            switch = b.switch(n_held, bad)
            b.position_at_end(bad)
            b.call(self.trap_function, [I64(self.trap(None, 0, "a partial with too many arguments"))])
            b.unreachable()
            found = []
            for count in range(5):
                block = b.function.append_basic_block(f"with{count}")
                switch.add_case(I64(count), block)
                b.position_at_end(block)
                first = [b.load(word_pointer(b, value, 2 + k)) for k in range(count)]
                words = [*first, *args][:MAX_ARGUMENTS]
                result = b.call(self.invoke, [held, b.add(n, I64(count)), *words])
                found.append((result, b.block))
                b.branch(end)
            b.position_at_end(end)
            phi = b.phi(I64)
            for result, block in found:
                phi.add_incoming(result, block)
            return phi

        def item_getter() -> ir.Value:
            return b.call(self.runtime("rt_pick"), [value, args[0]])

        code.switch(
            [
                (FUNCTION, lambda: call_stub(value, n, args)),
                (CLOSURE, lambda: call_stub(value, n, args)),
                (BOUND, bound),
                (PARTIAL, partial),
                (ITEM_GETTER, item_getter),
            ],
            "call of a value",
        )

    def _trapping_stub(self) -> ir.Function:
        """Return what stands for functions that are never called as values."""
        stub = ir.Function(self.module, self.invoke.function_type, "nostub")
        stub.linkage = "internal"
        b = ir.IRBuilder(stub.append_basic_block("entry"))
        b.call(self.trap_function, [I64(self.trap(None, 0, "a function that was not known to be a value"))])
        b.unreachable()
        return stub

    def _stub(self, info: FunctionInfo) -> ir.Function:
        """Return what calls a function with the arguments that there are, and its defaults."""
        stub = ir.Function(self.module, self.invoke.function_type, f"s{info.number}")
        stub.linkage = "internal"
        code = DispatchCode(self, stub)
        b = code.builder
        value, n, *args = stub.args
        words: list[ir.Value] = [value] if self.has_environment(info) else []
        problem = ""
        if len(info.parameters) > MAX_ARGUMENTS:
            problem = "is called as a value with too many arguments"
        else:
            for position, parameter in enumerate(info.parameters):
                word = args[position]
                if parameter.default is not None:
                    try:
                        default = code.default(parameter.default)
                    except CompileError as error:
                        problem = str(error)
                        break
                    word = b.select(b.icmp_signed(">", n, I64(position)), word, default)
                words.append(word)
        if problem:
            b.call(self.trap_function, [I64(self.trap(info, 0, problem))])
            b.unreachable()
        else:
            b.ret(b.call(self.function(info), words))
        return stub


class DispatchCode:
    """Code of a function that looks at the class of its first argument."""

    def __init__(self, program: Dispatch, function: ir.Function) -> None:
        self.program = program
        self.function = function
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))

    def switch(self, cases: Sequence[tuple[int, Callable[[], ir.Value]]], what: str) -> None:
        """Generate each class's case; any other class is a trap."""
        b = self.builder
        word = self.function.args[0]
        bad = self.function.append_basic_block("bad")
        look = self.function.append_basic_block("look")
        odd = b.icmp_signed("!=", b.and_(word, I64(7)), I64(0))
        none = b.icmp_signed("==", word, I64(0))
        b.cbranch(b.or_(odd, none), bad, look)
        b.position_at_end(bad)
        b.call(self.program.trap_function, [I64(self.program.trap(None, 0, f"nothing to do {what} on"))])
        b.unreachable()
        b.position_at_end(look)
        number = b.and_(b.load(word_pointer(b, word, 0)), I64(layout.CLASS_MASK))
        switch = b.switch(number, bad)
        for each, case in cases:
            block = self.function.append_basic_block(f"class{each}")
            switch.add_case(I64(each), block)
            b.position_at_end(block)
            b.ret(case())

    def is_plain(self, value: Any) -> bool:
        """Tell whether a class attribute is a constant."""
        return (
            isinstance(value, int | str | float | tuple)
            or value is None
            or self.program.world.class_of(type(value)) is not None
        )

    def plain(self, value: Any) -> ir.Value:
        """Return the word of a constant."""
        if value is None:
            return I64(0)
        if isinstance(value, int) and -(1 << 62) <= value < 1 << 62:
            return I64(tag(int(value)))
        return self.builder.load(self.program.constant(value))

    def default(self, default: tuple[Any] | None) -> ir.Value:
        """Return the word of a parameter's default."""
        assert default is not None
        if not self.is_plain(default[0]):
            raise CompileError(f"default {default[0]!r}")
        return self.plain(default[0])
