"""The whole program: every function of the world, and what joins them: dispatch by class, constants, values."""

import ast
import dataclasses
import enum
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.compiler.calls import BUILTIN_METHODS
from iosim.compiled.compiler.emitter import Emitter
from iosim.compiled.compiler.hints import Hint
from iosim.compiled.compiler.infer import assigned_names
from iosim.compiled.compiler.intrinsics import intrinsics
from iosim.compiled.compiler.raw_code import RawModules
from iosim.compiled.compiler.statements import FunctionCode
from iosim.compiled.compiler.values import (
    DONE,
    FRAME_PARENT,
    FRAME_STATE,
    FRAME_TOP,
    G_INNERMOST,
    G_RAISED,
    G_TAKER,
    I1,
    I64,
    RAISED,
    RETURNED,
    STEP,
    YIELDED,
    CompileError,
    Val,
    tag,
    word_pointer,
)
from iosim.compiled.compiler.world import ClassInfo, FunctionInfo, World
from iosim.compiled.objects import BOUND, CLOSURE, FRAME_TAKER, FUNCTION, ITEM_GETTER, OWNED, PARTIAL

MAX_ARGUMENTS = 7
MAX_CONSTANTS = 8192
MAX_ALLOCATOR_WORDS = 32
BUILTIN_CLASSES = {
    "list": layout.LIST,
    "deque": layout.DEQUE,
    "dict": layout.DICT,
    "set": layout.SET,
    "str": layout.STR,
    "tuple": layout.TUPLE,
}


class Program:
    """Builds one LLVM module out of a world and the run-time library."""

    class_tuple = layout.TUPLE

    def __init__(self, world: World, library: Iterable[ModuleType], checks: bool = False) -> None:
        self.world = world
        self.checks = checks
        self.module = ir.Module("iosim")
        self.trap_function = self._make_trap()
        answer = ir.FunctionType(I64, [I64, I64]).as_pointer()
        self.ask_handler = ir.GlobalVariable(self.module, answer, "ask_handler")
        self.ask_handler.initializer = ir.Constant(answer, None)
        self.raw = RawModules(self.module, library, self.trap_function)
        self.traps: list[str] = []
        self.missing: set[str] = set()
        self.constants: list[Any] = []
        self._constant_numbers: dict[Any, int] = {}
        self._constant_array = ir.GlobalVariable(self.module, ir.ArrayType(I64, MAX_CONSTANTS), "constants")
        self._constant_array.initializer = ir.Constant(self._constant_array.value_type, None)
        self.functions: list[FunctionInfo] = []
        self._nested: dict[tuple[str, int, int], FunctionInfo] = {}
        self._native: dict[FunctionInfo, ir.Function] = {}
        self._bodies: dict[FunctionInfo, ir.Function] = {}
        self._waiting: list[FunctionInfo] = []
        self._allocators: dict[int, ir.Function] = {}
        self.values: dict[FunctionInfo, None] = {}
        self._dispatchers: dict[tuple[str, str, int], ir.Function] = {}
        self._hints: dict[str, Hint | None] = {}
        self.generators: list[FunctionInfo] = []
        self.frame_sizes: dict[FunctionInfo, int] = {}
        self.intrinsics: dict[Any, Callable[[Emitter, list[Val]], Val]] = intrinsics()
        for function in [*world.functions.values(), *(m for c in world.all_classes for m in c.methods.values())]:
            self._register(function)
            self._prescan(function)
        self._prescan_modules()
        n = len(self.world.all_classes)
        self.first_frame_class = layout.FIRST_USER_CLASS + n
        self._generator_numbers = {info: number for number, info in enumerate(self.generators)}
        gone = {old for old, new in world.replaced.items() if old is not new}
        self._occurring = [info for info in world.all_classes if info.type not in gone]
        self.send = self._declare_send("send")
        self.throw = self._declare_send("throw")
        self.delegate = self._declare_send("delegate")
        self.take = ir.Function(self.module, ir.FunctionType(I64, [I64, I64]), "take")
        self.take.linkage = "internal"
        self.invoke = ir.Function(self.module, ir.FunctionType(I64, [I64] * (2 + MAX_ARGUMENTS)), "invoke")
        self.invoke.linkage = "internal"
        self.type_of = ir.Function(self.module, ir.FunctionType(I64, [I64]), "type_of")
        self.type_of.linkage = "internal"

    def _make_trap(self) -> ir.Function:
        """Return what ends the program: it calls the handler that Python has set."""
        kind = ir.FunctionType(ir.VoidType(), [I64])
        handler = ir.GlobalVariable(self.module, kind.as_pointer(), "trap_handler")
        handler.initializer = ir.Constant(kind.as_pointer(), None)
        function = ir.Function(self.module, kind, "trap")
        function.linkage = "internal"
        for attribute in ("noreturn", "cold", "noinline"):
            function.attributes.add(attribute)
        b = ir.IRBuilder(function.append_basic_block("entry"))
        b.call(b.load(handler), function.args)
        b.unreachable()
        return function

    # Functions

    def _register(self, info: FunctionInfo) -> None:
        info.number = len(self.functions)
        self.functions.append(info)
        if info.is_generator:
            self.generators.append(info)

    def _prescan(self, info: FunctionInfo) -> None:
        """Describe the functions within a function: what they take from around them."""
        local: dict[str, Hint | None] = {parameter.name: parameter.hint for parameter in info.parameters}
        assigned = assigned_names(info.node)
        for name in assigned:
            local[name] = local.get(name) if name in {p.name for p in info.parameters} else None
        local = {**dict(info.captured), **local}
        waiting: list[ast.AST] = list(info.node.body) if isinstance(info.node, ast.FunctionDef) else [info.node.body]
        while waiting:
            each = waiting.pop()
            if isinstance(each, ast.FunctionDef | ast.Lambda):
                self._add_nested(info, each, local)
                continue
            waiting += ast.iter_child_nodes(each)

    def _add_nested(
        self, around: FunctionInfo, node: ast.FunctionDef | ast.Lambda, local: dict[str, Hint | None]
    ) -> None:
        name = node.name if isinstance(node, ast.FunctionDef) else "lambda"
        role = "nested" if isinstance(node, ast.FunctionDef) else "lambda"
        info = self.world.function(name, around.module, node, around.owner, role)
        own = {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)} | set(assigned_names(node))
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
        seen: dict[str, Hint | None] = {}
        for part in body:
            for each in ast.walk(part):
                if isinstance(each, ast.Name) and each.id in local and each.id not in own:
                    seen.setdefault(each.id, local[each.id])
        info.captured = sorted(seen.items())
        self._nested[around.module.file, node.lineno, node.col_offset] = info
        self._register(info)
        self._prescan(info)

    def _prescan_modules(self) -> None:
        """Describe lambdas outside of functions."""
        for module in self.world.modules:
            for statement in module.tree.body:
                if isinstance(statement, ast.FunctionDef):
                    continue
                members: list[ast.AST] = [statement]
                if isinstance(statement, ast.ClassDef):
                    members = [each for each in statement.body if not isinstance(each, ast.FunctionDef)]
                for member in members:
                    for each in ast.walk(member):
                        if isinstance(each, ast.Lambda):
                            info = self.world.function("lambda", module, each, None, "lambda")
                            self._nested[module.file, each.lineno, each.col_offset] = info
                            self._register(info)

    def nested_function(self, around: FunctionInfo, node: ast.FunctionDef | ast.Lambda, name: str) -> FunctionInfo:
        """Return the description of a function within another one."""
        return self._nested[around.module.file, node.lineno, node.col_offset]

    def nested_at(self, file: str, line: int) -> list[FunctionInfo]:
        """Return the nested functions that begin in a line."""
        return [info for (where, at, _), info in self._nested.items() if (where, at) == (file, line)]

    def has_environment(self, info: FunctionInfo) -> bool:
        """Tell whether the function is given its closure as the first argument."""
        return info.role in ("lambda", "nested")

    def function(self, info: FunctionInfo) -> ir.Function:
        """Return the native function: words in, a word out."""
        if info not in self._native:
            n = len(info.parameters) + self.has_environment(info)
            native = ir.Function(self.module, ir.FunctionType(I64, [I64] * n), f"f{info.number}.{info.name}")
            native.linkage = "internal"
            self._native[info] = native
            self._waiting.append(info)
        return self._native[info]

    def body(self, info: FunctionInfo) -> ir.Function:
        """Return what runs a generator until it waits or ends: (frame, word sent, arguments ...) -> (word, how).

        It goes on with a frame, whose arguments do not count; or it begins without a frame, and makes one if it waits.
        """
        if info not in self._bodies:
            n = 2 + len(info.parameters) + self.has_environment(info)
            native = ir.Function(self.module, ir.FunctionType(STEP, [I64] * n), f"g{info.number}.{info.name}")
            native.linkage = "internal"
            self._bodies[info] = native
        return self._bodies[info]

    def _resume(self, info: FunctionInfo) -> ir.Function:
        """Return what resumes a generator: (frame, word sent) -> (word, how)."""
        body = self.body(info)
        if len(body.args) == 2:
            return body
        function = ir.Function(self.module, ir.FunctionType(STEP, [I64, I64]), f"r{info.number}.{info.name}")
        function.linkage = "internal"
        b = ir.IRBuilder(function.append_basic_block("entry"))
        b.ret(b.call(body, [*function.args, *[I64(0)] * (len(body.args) - 2)]))
        return function

    def frame_class(self, info: FunctionInfo) -> int:
        """Return the class id of a generator's frames."""
        return self.first_frame_class + self._generator_numbers[info]

    def is_compiled(self, info: FunctionInfo) -> bool:
        """Tell whether there is code of a function: whether anything that is compiled may call it."""
        return info in self._native

    def compile(self, values: Iterable[FunctionInfo] = (), generators: Iterable[FunctionInfo] = ()) -> None:
        """Generate all that the functions exported so far, and *values* and *generators*, may come to.

        *values* are what a machine may hold as values that are called, *generators* what it may have begun. What cannot
        be compiled ends the program if it is ever called.
        """
        for info in values:
            self.values.setdefault(info)
        for info in generators:
            self.function(info)
        self._declare_invoke()
        self._fill_user_lt()
        self._fill_take()
        n_filled = n_stubs = 0
        stubs: dict[FunctionInfo, ir.Function] = {}
        while self._waiting or n_filled < len(self._dispatchers) or n_stubs < len(self.values):
            while self._waiting:
                self._compile(self._waiting.pop())
            for kind, name, n in list(self._dispatchers)[n_filled:]:
                self._fill(kind, name, n)
                n_filled += 1
            for info in list(self.values)[n_stubs:]:
                stubs[info] = self._stub(info)
                n_stubs += 1
        none = self._trapping_stub()
        found = [*(stubs.get(info, none) for info in self.functions), none]
        self._stubs.initializer = ir.Constant(self._stubs.value_type, found)
        self._fill_send()
        self._fill_type_of()

    def finish(self) -> None:
        """Give what the run-time library exports to Python its name outside, and all functions their attributes."""
        for name in ("rt_memory_init", "rt_dict_set", "rt_set_add", "rt_gc"):
            self.raw.functions[name].linkage = ""
        for function in self.module.functions:
            if not function.blocks and not function.name.startswith("llvm."):
                raise CompileError(f"{function.name} is called and not defined")
            function.attributes.add("nounwind")

    def _compile(self, info: FunctionInfo) -> None:
        natives = [self.function(info)]
        if info.is_generator:
            natives.append(self.body(info))
        n_constants = len(self.constants)
        try:
            if info.owner is not None and info.owner.is_protocol:
                raise CompileError("of a protocol")
            FunctionCode(self, info).generate()
        except CompileError as error:
            info.problem = str(error)
            self._forget_constants(n_constants)
            for native in natives:
                native.blocks = []
                builder = ir.IRBuilder(native.append_basic_block("entry"))
                builder.call(self.trap_function, [I64(self.trap(info, 0, f"is not compiled: {error}"))])
                builder.unreachable()

    # Traps, runtime, constants

    def trap(self, info: FunctionInfo | None, line: int, what: str) -> int:
        """Return the code of a trap."""
        where = "" if info is None else f"{info.module.name}.{info.name}:{line}: "
        self.traps.append(f"{where}{what}")
        return 1000 + len(self.traps) - 1

    def runtime(self, name: str, n: int = 0) -> ir.Function:
        """Return a function of the run-time library."""
        if name not in self.raw.functions:
            self.missing.add(f"{name}/{n}")
            return self.raw.declare(name, n)
        return self.raw.functions[name]

    def allocate(self, builder: ir.IRBuilder, number: int, size: int) -> ir.Value:
        """Return a new object."""
        if size > MAX_ALLOCATOR_WORDS:
            return builder.call(self.runtime("rt_alloc"), [I64(number), I64(size)])
        return builder.call(self._allocator(size), [I64(number)])

    def _allocator(self, size: int) -> ir.Function:
        """Return what makes objects of a size, with code for just that size."""
        if size not in self._allocators:
            function = ir.Function(self.module, ir.FunctionType(I64, [I64]), f"alloc{size}")
            function.linkage = "internal"
            function.attributes.add("noinline")
            b = ir.IRBuilder(function.append_basic_block("entry"))
            b.ret(b.call(self.runtime("rt_alloc"), [function.args[0], I64(size)], attrs=("alwaysinline",)))
            self._allocators[size] = function
        return self._allocators[size]

    def allocate_frame(self, builder: ir.IRBuilder, number: int, size: int) -> ir.Value:
        """Return a new frame of a generator: one of that size that has been given back, if there is any."""
        if size >= layout.N_FRAME_LISTS:
            return self.allocate(builder, number, size)
        b, function = builder, builder.function
        used, fresh, end = (function.append_basic_block(name) for name in ("used", "fresh", "made"))
        place = self.raw.globals.gep([I64(0), I64(layout.G_FRAME_LISTS + size)])
        first = b.load(place)
        b.cbranch(b.icmp_signed("==", first, I64(0)), fresh, used)
        b.position_at_end(used)
        b.store(b.load(word_pointer(b, first, layout.FREE_NEXT // 8)), place)
        b.store(I64(number | size << layout.SIZE_SHIFT), word_pointer(b, first, 0))
        for word in range(1, size):
            b.store(I64(0), word_pointer(b, first, word))
        b.branch(end)
        b.position_at_end(fresh)
        new = self.allocate(b, number, size)
        b.branch(end)
        b.position_at_end(end)
        frame = b.phi(I64)
        frame.add_incoming(first, used)
        frame.add_incoming(new, fresh)
        return frame

    def _give_back_frame(self, b: ir.IRBuilder, frame: ir.Value) -> None:
        """Let a frame be used again, if it was made for one call."""
        function = b.function
        whose, back, end = (function.append_basic_block(name) for name in ("whose", "back", "further"))
        header = b.load(word_pointer(b, frame, 0))
        b.cbranch(b.icmp_signed("==", b.and_(header, I64(OWNED)), I64(0)), end, whose)
        b.position_at_end(whose)
        size = b.lshr(header, I64(layout.SIZE_SHIFT))
        b.cbranch(b.icmp_signed("<", size, I64(layout.N_FRAME_LISTS)), back, end)
        b.position_at_end(back)
        place = b.gep(self.raw.globals, [I64(0), b.add(size, I64(layout.G_FRAME_LISTS))])
        b.store(b.or_(b.shl(size, I64(layout.SIZE_SHIFT)), I64(layout.FREE)), word_pointer(b, frame, 0))
        b.store(b.load(place), word_pointer(b, frame, layout.FREE_NEXT // 8))
        b.store(frame, place)
        b.branch(end)
        b.position_at_end(end)

    def constant(self, value: Any) -> ir.Value:
        """Return a pointer to the word of a constant."""
        key = _constant_key(value)
        number = self._constant_numbers.get(key)
        if number is None:
            number = self._constant_numbers[key] = len(self.constants)
            self.constants.append(value)
            assert len(self.constants) <= MAX_CONSTANTS
        return self._constant_array.gep([I64(0), I64(number)])

    def _forget_constants(self, n: int) -> None:
        for value in self.constants[n:]:
            del self._constant_numbers[_constant_key(value)]
        del self.constants[n:]

    def function_value(self, info: FunctionInfo) -> ir.Value:
        """Return a pointer to the word of a function as a value."""
        self.values.setdefault(info)
        return self.constant(info)

    def make_closure(self, builder: ir.IRBuilder, info: FunctionInfo, words: Sequence[ir.Value]) -> ir.Value:
        """Return a new function value with what it has captured."""
        self.values.setdefault(info)
        obj = self.allocate(builder, CLOSURE, 2 + len(words))
        for position, word in enumerate((I64(tag(info.number)), *words)):
            builder.store(word, word_pointer(builder, obj, 1 + position))
        return obj

    def make_partial(self, builder: ir.IRBuilder, words: Sequence[ir.Value]) -> ir.Value:
        """Return a new partial."""
        obj = self.allocate(builder, PARTIAL, 1 + len(words))
        for position, word in enumerate(words):
            builder.store(word, word_pointer(builder, obj, 1 + position))
        return obj

    # Classes

    def size_of(self, info: ClassInfo) -> int:
        """Return the size of an instance in words."""
        return 1 + max(info.attributes.values(), default=0)

    def fields(self, info: ClassInfo) -> list[tuple[str, tuple[Any] | None]]:
        """Return (name, (default,) or None) of a named tuple or dataclass."""
        if info.is_named_tuple:
            defaults = info.type._field_defaults  # type: ignore[attr-defined]
            return [(name, (defaults[name],) if name in defaults else None) for name in info.attributes]
        result: list[tuple[str, tuple[Any] | None]] = []
        for each in dataclasses.fields(info.type):
            known = each.default is not dataclasses.MISSING
            default = (each.default,) if known else None
            if each.default_factory is list:
                default = (list,)
            result.append((each.name, default))
        return result

    def initial_attributes(self, code: Emitter, info: ClassInfo, obj: ir.Value) -> None:
        """Store what the class says of attributes that __init__ may not set."""
        for each in reversed(list(info.mro())):
            for member in each.node.body:
                if (
                    isinstance(member, ast.AnnAssign)
                    and isinstance(member.target, ast.Name)
                    and member.value is not None
                    and member.target.id in info.attributes
                ):
                    value = code.live(getattr(each.type, member.target.id), member)
                    word = code.word(value)
                    code.builder.store(word, word_pointer(code.builder, obj, info.attributes[member.target.id]))

    def attribute_hint(self, name: str) -> Hint | None:
        """Return what every attribute or property of that name is, if they agree."""
        key = f"a.{name}"
        if key not in self._hints:
            found: list[Hint | None] = []
            for info in self.world.all_classes:
                if name in info.attributes:
                    found.append(info.hints.get(name))
                elif name in info.methods and not info.is_protocol:
                    member = info.methods[name]
                    found.append(member.result if member.role == "property" else Hint("callable"))
                elif not info.is_protocol and not info.is_enum and hasattr(info.type, name) and not info.find(name):
                    found.append(None)
            self._hints[key] = found[0] if found and all(hint == found[0] for hint in found) else None
        return self._hints[key]

    def method_hint(self, name: str) -> Hint | None:
        """Return what every method of that name results in, if they agree."""
        key = f"m.{name}"
        if key not in self._hints:
            found = [m.result for m in self._methods(name)]
            agree = bool(found) and all(hint == found[0] for hint in found)
            known = not any(name in info.attributes for info in self.world.all_classes)
            builtin = any(name in methods for methods in BUILTIN_METHODS.values()) or name in ("pop", "get")
            self._hints[key] = found[0] if agree and known and not builtin else None
        return self._hints[key]

    def method_is_generator(self, name: str) -> bool:
        """Tell whether every method of that name is a generator function."""
        found = self._methods(name)
        known = not any(name in info.attributes for info in self.world.all_classes)
        return known and bool(found) and all(m.is_generator for m in found)

    def some_method(self, name: str) -> FunctionInfo | None:
        """Return one method of that name."""
        found = self._methods(name)
        return found[0] if found else None

    def _methods(self, name: str) -> list[FunctionInfo]:
        return [
            info.methods[name]
            for info in self.world.all_classes
            if not info.is_protocol and name in info.methods and info.methods[name].role == "method"
        ]

    # Dispatch by class

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

    def make_bound(self, builder: ir.IRBuilder, member: FunctionInfo, word: ir.Value) -> ir.Value:
        """Return a method as a value."""
        self.values.setdefault(member)
        obj = self.allocate(builder, BOUND, 3)
        builder.store(I64(tag(member.number)), word_pointer(builder, obj, 1))
        builder.store(word, word_pointer(builder, obj, 2))
        return obj

    def is_instance(self, code: Any, word: ir.Value, node: ast.expr) -> ir.Value:
        """Return the bit of isinstance(word, node)."""
        b = code.builder
        parts = list(node.elts) if isinstance(node, ast.Tuple) else [node]
        flat: list[ast.expr] = []
        while parts:
            part = parts.pop(0)
            if isinstance(part, ast.BinOp):
                parts = [part.left, part.right, *parts]
            else:
                flat.append(part)
        found = b.call(self.type_of, [word])
        result: ir.Value = I1(0)
        builtin = {
            int: layout.INT_CLASS,
            bool: layout.INT_CLASS,
            str: layout.STR,
            tuple: layout.TUPLE,
            list: layout.LIST,
        }
        builtin[dict] = layout.DICT
        builtin[float] = layout.FLOAT
        names: dict[str, type] = {
            "int": int,
            "bool": bool,
            "str": str,
            "tuple": tuple,
            "list": list,
            "dict": dict,
            "float": float,
        }
        for part in flat:
            numbers: list[int] = []
            live: Any = None
            if isinstance(part, ast.Name) and part.id in names and part.id not in code.names:
                live = names[part.id]
            else:
                static = code.static(part)
                if static is None:
                    raise CompileError(f"line {part.lineno}: isinstance of {ast.unparse(part)}")
                live = static[0]
            info = self.world.class_of(live)
            if info is not None:
                numbers = [each.number for each in info.family()]
            elif isinstance(live, type) and issubclass(live, enum.IntEnum):
                numbers = [layout.INT_CLASS]
            elif live in builtin:
                numbers = [builtin[live]]
            else:
                raise CompileError(f"line {part.lineno}: isinstance of {ast.unparse(part)}")
            if isinstance(live, type) and info is not None and info.is_protocol:
                raise CompileError(f"line {part.lineno}: isinstance of a protocol")
            for number in numbers:
                result = b.or_(result, b.icmp_signed("==", found, I64(tag(number))))
        return result

    # What joins everything

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
            n_held = b.sub(b.lshr(b.load(value_pointer(b, value)), I64(32)), I64(2))
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

    def _declare_send(self, name: str) -> ir.Function:
        send = ir.Function(self.module, ir.FunctionType(STEP, [I64, I64]), name)
        send.linkage = "internal"
        return send

    def _fill_send(self) -> None:
        """The tables of all generators, by class: what resumes them, and whether they may catch an exception."""
        kind = ir.FunctionType(STEP, [I64, I64])
        resumes = ir.GlobalVariable(self.module, ir.ArrayType(kind.as_pointer(), len(self.generators)), "resumes")
        resumes.linkage = "internal"
        resumes.global_constant = True
        null = ir.Constant(kind.as_pointer(), None)
        resumes.initializer = ir.Constant(
            resumes.value_type, [self._resume(info) if info in self._bodies else null for info in self.generators]
        )
        catches = ir.GlobalVariable(self.module, ir.ArrayType(I64, len(self.generators)), "catches")
        catches.linkage = "internal"
        catches.global_constant = True
        catches.initializer = ir.Constant(catches.value_type, [int(info.catches) for info in self.generators])
        for function, thrown in ((self.send, False), (self.throw, True)):
            self._fill_resuming(function, thrown, resumes, catches)
        self._fill_delegate(resumes)

    def _fill_take(self) -> None:
        """take(taker, step): whether the method `take` has done the step."""
        b = ir.IRBuilder(self.take.append_basic_block("entry"))
        b.ret(b.call(self.caller("take", 1), self.take.args))

    def _fill_delegate(self, resumes: ir.GlobalVariable) -> None:
        """delegate(generator, OWNED or 0): run a generator that another one calls; what is none has nothing to do."""
        function = self.delegate
        frame, owned = function.args
        names = ("entry", "run", "over", "nothing")
        entry, run, over, nothing = (function.append_basic_block(name) for name in names)
        b = ir.IRBuilder(entry)
        header = b.load(value_pointer(b, frame))
        number = b.sub(b.and_(header, I64(layout.CLASS_MASK)), I64(self.first_frame_class))
        b.cbranch(b.icmp_signed(">=", number, I64(0)), run, nothing)
        b.position_at_end(run)
        b.store(b.or_(header, owned), value_pointer(b, frame))
        result = b.call(b.load(b.gep(resumes, [I64(0), number])), [frame, I64(0)])
        waits = function.append_basic_block("waits")
        b.cbranch(b.icmp_signed("==", b.extract_value(result, 1), I64(RETURNED)), over, waits)
        b.position_at_end(over)
        self._give_back_frame(b, frame)
        b.branch(waits)
        b.position_at_end(waits)
        b.ret(result)
        b.position_at_end(nothing)
        is_tuple = b.icmp_signed("==", b.and_(header, I64(layout.CLASS_MASK)), I64(layout.TUPLE))
        is_empty = b.and_(is_tuple, b.icmp_signed("==", b.lshr(header, I64(layout.SIZE_SHIFT)), I64(1)))
        with b.if_then(b.not_(is_empty)):
            b.call(self.trap_function, [I64(self.trap(None, 0, "yield from what is no generator"))])
        b.ret(ir.Constant(STEP, [I64(0), I64(RETURNED)]))

    def _fill_resuming(
        self, function: ir.Function, thrown: bool, resumes: ir.GlobalVariable, catches: ir.GlobalVariable
    ) -> None:
        """send(generator, word), throw(generator, exception): resume the innermost frame.

        When it returns, the one that has called it is resumed; an exception goes up to the first that may catch it.
        """
        root, sent = function.args
        names = ("entry", "resume", "waits", "returned", "raised", "unwind")
        entry, loop, waits, returned, raised, unwind = (function.append_basic_block(name) for name in names)
        b = ir.IRBuilder(entry)
        taker = self.raw.globals.gep([I64(0), I64(G_TAKER)])
        around = b.load(taker)
        b.store(b.load(word_pointer(b, root, FRAME_TAKER)), taker)
        held = b.load(word_pointer(b, root, FRAME_TOP))
        first = b.select(b.icmp_signed("==", held, I64(0)), root, held)
        b.branch(raised if thrown else loop)
        b.position_at_end(loop)
        top, word = b.phi(I64), b.phi(I64)
        index = b.sub(b.and_(b.load(value_pointer(b, top)), I64(layout.CLASS_MASK)), I64(self.first_frame_class))
        result = b.call(b.load(b.gep(resumes, [I64(0), index])), [top, word])
        got, how = b.extract_value(result, 0), b.extract_value(result, 1)
        switch = b.switch(how, waits)
        switch.add_case(I64(RETURNED), returned)
        switch.add_case(I64(RAISED), unwind)
        b.position_at_end(waits)
        innermost = b.load(self.raw.globals.gep([I64(0), I64(G_INNERMOST)]))
        b.store(innermost, word_pointer(b, root, FRAME_TOP))
        b.store(around, taker)
        b.ret(b.insert_value(result, I64(YIELDED), 1))
        b.position_at_end(returned)
        over, up = function.append_basic_block("over"), function.append_basic_block("up")
        b.cbranch(b.icmp_signed("==", top, root), over, up)
        b.position_at_end(over)
        b.store(root, word_pointer(b, root, FRAME_TOP))
        b.store(around, taker)
        b.ret(result)
        b.position_at_end(up)
        parent = b.load(word_pointer(b, top, FRAME_PARENT))
        self._give_back_frame(b, top)
        up = b.block
        b.branch(loop)
        # An exception has left the frame `gone`; or (throw) it is to be raised where the frame `at` waits.
        b.position_at_end(unwind)
        gone, exception = b.phi(I64), b.phi(I64)
        out, further = function.append_basic_block("out"), function.append_basic_block("further")
        b.cbranch(b.icmp_signed("==", gone, root), out, further)
        b.position_at_end(out)
        b.store(around, taker)
        b.store(root, word_pointer(b, root, FRAME_TOP))
        b.store(I64(tag(DONE)), word_pointer(b, root, FRAME_STATE))
        b.ret(b.insert_value(b.insert_value(ir.Constant(STEP, ir.Undefined), exception, 0), I64(RAISED), 1))
        b.position_at_end(further)
        caller = b.load(word_pointer(b, gone, FRAME_PARENT))
        b.branch(raised)
        b.position_at_end(raised)
        at, reason = b.phi(I64), b.phi(I64)
        number = b.sub(b.and_(b.load(value_pointer(b, at)), I64(layout.CLASS_MASK)), I64(self.first_frame_class))
        may_catch = b.icmp_signed("!=", b.load(b.gep(catches, [I64(0), number])), I64(0))
        catching = function.append_basic_block("catching")
        b.cbranch(may_catch, catching, unwind)
        b.position_at_end(catching)
        b.store(reason, self.raw.globals.gep([I64(0), I64(G_RAISED)]))
        b.branch(loop)
        if not thrown:
            top.add_incoming(first, entry)
            word.add_incoming(sent, entry)
        else:
            at.add_incoming(first, entry)
            reason.add_incoming(sent, entry)
        for value, passed, block in ((parent, got, up), (at, I64(0), catching)):
            top.add_incoming(value, block)
            word.add_incoming(passed, block)
        gone.add_incoming(top, loop)
        exception.add_incoming(got, loop)
        gone.add_incoming(at, raised)
        exception.add_incoming(reason, raised)
        at.add_incoming(caller, further)
        reason.add_incoming(exception, further)


def _constant_key(value: Any) -> Any:
    return (type(value), value) if isinstance(value, str | int | float) else id(value)


def value_pointer(builder: ir.IRBuilder, obj: ir.Value) -> ir.Value:
    """Return a pointer to an object's header."""
    return word_pointer(builder, obj, 0)


class DispatchCode:
    """Code of a function that looks at the class of its first argument."""

    def __init__(self, program: Program, function: ir.Function) -> None:
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
        number = b.and_(b.load(value_pointer(b, word)), I64(layout.CLASS_MASK))
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
