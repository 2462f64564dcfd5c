"""The functions of the program: their numbers, those within others, their native code, and values made of them."""

import ast
from collections.abc import Iterable, Sequence
from types import ModuleType

from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.compiler.hints import Hint
from iosim.compiled.compiler.infer import assigned_names
from iosim.compiled.compiler.module import Module
from iosim.compiled.compiler.values import I64, STEP, tag, word_pointer
from iosim.compiled.compiler.world import FunctionInfo, World
from iosim.compiled.objects import BOUND, CLOSURE, PARTIAL


class Functions(Module):
    """Knows every function of the world."""

    def __init__(self, world: World, library: Iterable[ModuleType], checks: bool = False) -> None:
        super().__init__(world, library, checks)
        self.functions: list[FunctionInfo] = []
        self._nested: dict[tuple[str, int, int], FunctionInfo] = {}
        self._native: dict[FunctionInfo, ir.Function] = {}
        self._bodies: dict[FunctionInfo, ir.Function] = {}
        self._waiting: list[FunctionInfo] = []
        self.values: dict[FunctionInfo, None] = {}
        self.generators: list[FunctionInfo] = []
        self.frame_sizes: dict[FunctionInfo, int] = {}
        for function in [*world.functions.values(), *(m for c in world.all_classes for m in c.methods.values())]:
            self._register(function)
            self._prescan(function)
        self._prescan_modules()
        self.first_frame_class = layout.FIRST_USER_CLASS + len(world.all_classes)
        self._generator_numbers = {info: number for number, info in enumerate(self.generators)}

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

    def nested_function(self, around: FunctionInfo, node: ast.FunctionDef | ast.Lambda) -> FunctionInfo:
        """Return the description of a function within another one."""
        return self._nested[around.module.file, node.lineno, node.col_offset]

    # Native code

    def has_environment(self, info: FunctionInfo) -> bool:
        """Tell whether the function is given its closure as the first argument."""
        return info.role in ("lambda", "nested")

    def function(self, info: FunctionInfo) -> ir.Function:
        """Return the native function: words in, a word out."""
        if info not in self._native:
            n = len(info.parameters) + self.has_environment(info)
            native = ir.Function(self.module, ir.FunctionType(I64, [I64] * n), f"f{info.number}.{info.name}")
            native.linkage = "internal"
            if info.is_apart:
                native.attributes.add("noinline")
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

    # Values

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

    def make_bound(self, builder: ir.IRBuilder, member: FunctionInfo, word: ir.Value) -> ir.Value:
        """Return a method as a value."""
        self.values.setdefault(member)
        obj = self.allocate(builder, BOUND, 3)
        builder.store(I64(tag(member.number)), word_pointer(builder, obj, 1))
        builder.store(word, word_pointer(builder, obj, 2))
        return obj
