"""Dispatch by class: attributes and methods of any object, and calls of any value."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.compiler.classes import Classes
from iosim.compiled.compiler.containers import BUILTIN_METHODS
from iosim.compiled.compiler.values import I32, I64, CompileError, tag, word_pointer
from iosim.compiled.compiler.world import ClassInfo, FunctionInfo, World
from iosim.compiled.objects import BOUND, CLOSURE, FUNCTION, ITEM_GETTER, PARTIAL

MAX_ARGUMENTS = 7
"""Of a value that is called."""
MAX_HELD = 4
"""Arguments that a partial may hold."""
MAX_VALUES = 512
"""Functions that may be values."""
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
        places = ir.ArrayType(I32, len(self.functions) + 1)
        self._places = ir.GlobalVariable(self.module, places, "places")
        self._places.linkage = "internal"
        self._places.global_constant = True
        self._tables: dict[tuple[str, int], ir.GlobalVariable] = {}
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
        if kind == "value":
            self._fill_value_caller(function, n - 1)
            return
        code = DispatchCode(self, function)
        cases: list[tuple[int, Callable[[], ir.Value | None]]] = []
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

            return lambda: self._call_held(b, held(), args[1:])
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
                return lambda: self._call_held(b, b.call(self.function(member), [args[0]]), args[1:])

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
        """take(taker, step): the result of the method `take_step`, which is the taker if it has not done the step."""
        b = ir.IRBuilder(self.take.append_basic_block("entry"))
        b.ret(b.call(self.caller("take_step", 1), self.take.args))

    # Values that are called

    def _call_held(self, b: ir.IRBuilder, value: ir.Value, arguments: Sequence[ir.Value]) -> ir.Value:
        """Return the result of calling a value with *arguments*."""
        return b.call(self.value_caller(len(arguments)), [value, *arguments])

    def _fill_value_caller(self, function: ir.Function, n: int) -> None:
        """value.n(value, arguments ...): call what a table holds for the value's function and *n* arguments."""
        code = DispatchCode(self, function)
        b = code.builder
        value, *args = function.args

        def call(kind: str, first: ir.Value) -> ir.Value:
            number = b.ashr(b.load(word_pointer(b, value, 1)), I64(1))
            dense = b.sext(b.load(b.gep(self._places, [I64(0), number])), I64)
            callee = b.load(b.gep(self._table(kind, n), [I64(0), dense]))
            return b.call(callee, [first, *args])

        def partial() -> None:
            held = b.load(word_pointer(b, value, 1))
            n_held = b.sub(b.lshr(b.load(word_pointer(b, value, 0)), I64(layout.SIZE_SHIFT)), I64(2))
            bad = b.function.append_basic_block("toomany")
            switch = b.switch(n_held, bad)
            b.position_at_end(bad)
            b.call(self.trap_function, [I64(self.trap(None, 0, "a partial with too many arguments"))])
            b.unreachable()
            for count in range(min(MAX_HELD, MAX_ARGUMENTS - n) + 1):
                block = b.function.append_basic_block(f"with{count}")
                switch.add_case(I64(count), block)
                b.position_at_end(block)
                first = [b.load(word_pointer(b, value, 2 + k)) for k in range(count)]
                b.ret(self._call_held(b, held, [*first, *args]))

        cases: list[tuple[int, Callable[[], ir.Value | None]]] = [
            (FUNCTION, lambda: call("function", value)),
            (CLOSURE, lambda: call("function", value)),
            (BOUND, lambda: call("method", b.load(word_pointer(b, value, 2)))),
            (PARTIAL, partial),
        ]
        if n == 1:
            cases.append((ITEM_GETTER, lambda: b.call(self.runtime("rt_pick"), [value, args[0]])))
        code.switch(cases, "call of a value")

    def _table(self, kind: str, n: int) -> ir.GlobalVariable:
        """Return the table of what is called with *n* arguments: "function"s, given the value first, or "method"s."""
        if (kind, n) not in self._tables:
            entry = ir.FunctionType(I64, [I64] * (n + 1)).as_pointer()
            table = ir.GlobalVariable(self.module, ir.ArrayType(entry, MAX_VALUES), f"{kind}s.{n}")
            table.linkage = "internal"
            table.global_constant = True
            self._tables[kind, n] = table
        return self._tables[kind, n]

    def _fill_tables(self) -> None:
        """The functions that are values have places in the tables, all others the last one."""
        assert len(self.values) < MAX_VALUES
        places = {info: place for place, info in enumerate(self.values)}
        last = MAX_VALUES - 1
        found = [places.get(info, last) for info in self.functions]
        self._places.initializer = ir.Constant(self._places.value_type, [*found, last])
        for (kind, n), table in self._tables.items():
            bad = self._trapping(kind, n)
            entries = [self._entry(info, kind, n, bad) for info in self.values]
            entries += [bad] * (MAX_VALUES - len(entries))
            table.initializer = ir.Constant(table.value_type, entries)

    def _trapping(self, kind: str, n: int) -> ir.Function:
        """Return what stands for functions that are never called so."""
        native = ir.Function(self.module, ir.FunctionType(I64, [I64] * (n + 1)), f"no.{kind}.{n}")
        native.linkage = "internal"
        b = ir.IRBuilder(native.append_basic_block("entry"))
        b.call(self.trap_function, [I64(self.trap(None, 0, f"a {kind} that was not known to be called as a value"))])
        b.unreachable()
        return native

    def _entry(self, info: FunctionInfo, kind: str, n: int, bad: ir.Function) -> ir.Function:
        """Return what calls a function that is a value with *n* arguments and its defaults."""
        given = n + (kind == "method")
        missing = info.parameters[given:]
        if given > len(info.parameters) or any(parameter.default is None for parameter in missing):
            return bad
        takes_first = kind == "method" or self.has_environment(info)
        if kind == "method" and self.has_environment(info):
            return bad
        native = self.function(info)
        if takes_first and not missing:
            return native
        stub = ir.Function(self.module, bad.function_type, f"s{info.number}.{kind}.{n}")
        stub.linkage = "internal"
        code = DispatchCode(self, stub)
        try:
            defaults = [code.default(parameter.default) for parameter in missing]
        except CompileError as error:
            code.builder.call(self.trap_function, [I64(self.trap(info, 0, str(error)))])
            code.builder.unreachable()
            return stub
        words = stub.args if takes_first else stub.args[1:]
        code.builder.ret(code.builder.call(native, [*words, *defaults]))
        return stub


class DispatchCode:
    """Code of a function that looks at the class of its first argument."""

    def __init__(self, program: Dispatch, function: ir.Function) -> None:
        self.program = program
        self.function = function
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))

    def switch(self, cases: Sequence[tuple[int, Callable[[], ir.Value | None]]], what: str) -> None:
        """Generate each class's case, which gives the result or has returned; any other class is a trap."""
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
            result = case()
            if result is not None:
                b.ret(result)

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
