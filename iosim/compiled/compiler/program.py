"""The whole program: the code of every function that anything comes to, and what joins them."""

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from llvmlite import ir

from iosim.compiled.compiler.attributes import infer_attributes
from iosim.compiled.compiler.dispatch import Dispatch
from iosim.compiled.compiler.emitter import Emitter
from iosim.compiled.compiler.intrinsics import intrinsics
from iosim.compiled.compiler.resuming import Resuming
from iosim.compiled.compiler.statements import FunctionCode
from iosim.compiled.compiler.values import I64, CompileError, Val
from iosim.compiled.compiler.world import FunctionInfo, World


class Program(Dispatch, Resuming):
    """Builds one LLVM module out of a world and the run-time library."""

    def __init__(self, world: World, library: Iterable[ModuleType], checks: bool = False) -> None:
        infer_attributes(world)
        super().__init__(world, library, checks)
        self.intrinsics: dict[Any, Callable[[Emitter, list[Val]], Val]] = intrinsics()

    def compile(self, values: Iterable[FunctionInfo] = (), generators: Iterable[FunctionInfo] = ()) -> None:
        """Generate all that the functions exported so far, and *values* and *generators*, may come to.

        *values* are what a machine may hold as values that are called, *generators* what it may have begun. What cannot
        be compiled ends the program if it is ever called.
        """
        for info in values:
            self.values.setdefault(info)
        for info in generators:
            self.function(info)
        self._fill_user_lt()
        self._fill_take()
        n_filled = n_values = 0
        while self._waiting or n_filled < len(self._dispatchers) or n_values < len(self.values):
            while self._waiting:
                self._compile(self._waiting.pop())
            for kind, name, n in list(self._dispatchers)[n_filled:]:
                self._fill(kind, name, n)
                n_filled += 1
            for info in list(self.values)[n_values:]:
                self.function(info)
                n_values += 1
        self._fill_tables()
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
