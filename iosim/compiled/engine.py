"""The compiled engine: the model's functions as native code, and a run of a machine with them."""

import ctypes
import importlib
import os
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from iosim.compiled import layout, runtime
from iosim.compiled.compiler.program import Program
from iosim.compiled.compiler.values import I64
from iosim.compiled.compiler.world import World

_PACKAGES = ("host", "kvm", "qemu", "qemu.qcow2", "guest", "disk", "compiled.twins")
_MODULES = ("cpu_vmx", "lifecycle", "machine", "model.records", "model.steps", "model.draws", "model.costs")
_MODULES += ("model.catalogue", "model.virtio", "model.ata", "model.stages", "run")


def modules() -> list[ModuleType]:
    """Return the modules of the model that are compiled."""
    found = []
    for package in _PACKAGES:
        parent = importlib.import_module(f"iosim.{package}")
        for each in pkgutil.iter_modules(parent.__path__, parent.__name__ + "."):
            if not each.ispkg:
                found.append(importlib.import_module(each.name))
    return found + [importlib.import_module(f"iosim.{name}") for name in _MODULES]


def replaced() -> dict[Any, Any]:
    """Return what has a twin: classes and functions of the same name."""
    import iosim.compiled.twins as twins

    result: dict[Any, Any] = {}
    origins = {
        "account": "host.account",
        "costs": "model.costs",
        "drawing": "host.drawing",
        "durations": "host.durations",
        "environment": "host.environment",
        "exits": "kvm.exits",
        "levels": "host.levels",
        "counts": "qemu.qcow2.counts",
        "records": "model.records",
        "runs": "host.runs",
        "requests": "run",
    }
    for each in pkgutil.iter_modules(twins.__path__, twins.__name__ + "."):
        short = each.name.rpartition(".")[2]
        twin = importlib.import_module(each.name)
        origin = importlib.import_module(f"iosim.{origins[short]}")
        for name, value in vars(twin).items():
            if getattr(value, "__module__", None) != twin.__name__ or name.startswith("_"):
                continue
            old = getattr(origin, name, None)
            if old is not None and old is not value:
                result[old] = value
    return result


def library() -> list[ModuleType]:
    """Return the modules of the run-time library."""
    return [
        importlib.import_module(each.name) for each in pkgutil.iter_modules(runtime.__path__, runtime.__name__ + ".")
    ]


class Engine:
    """The native code, ready to run machines."""

    def __init__(self, optimize: int = 2, checks: bool = False) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.world = World(modules(), replaced())
        self.program = Program(self.world, library(), checks)
        self._exports()
        self.program.compile()
        self.program.finish()
        text = str(self.program.module)
        module = llvm.parse_assembly(text)
        module.verify()
        target = llvm.Target.from_default_triple()
        machine = target.create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=optimize, jit=True
        )
        options = llvm.create_pipeline_tuning_options(speed_level=optimize)
        builder = llvm.create_pass_builder(machine, options)
        if optimize:
            builder.getModulePassManager().run(module, builder)
        self.llvm = module
        self._trap = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self._trapped)
        llvm.add_symbol("trap", ctypes.cast(self._trap, ctypes.c_void_p).value)
        self._jit = llvm.create_mcjit_compiler(module, machine)
        self._jit.finalize_object()

    def _exports(self) -> None:
        """Make entries for Python."""
        from llvmlite import ir

        program = self.program
        host = next(c for c in self.world.all_classes if c.name == "Host" and "twins" in c.module.name)
        self.host_info = host
        run = host.find("run")
        assert run is not None
        entry = ir.Function(program.module, ir.FunctionType(I64, [I64, I64]), "run_host")
        b = ir.IRBuilder(entry.append_basic_block())
        b.ret(b.call(program.function(run), entry.args))
        from iosim.run import settle

        entry = ir.Function(program.module, ir.FunctionType(I64, [I64, I64]), "settle")
        b = ir.IRBuilder(entry.append_basic_block())
        b.ret(b.call(program.function(self.world.functions[settle]), entry.args))

    def _trapped(self, code: int) -> None:
        if code >= 1000:
            what = self.program.traps[code - 1000]
        else:
            what = layout.TRAP_MESSAGES.get(code, f"trap {code}")
        self._stop(what)

    def on_trap(self, stop: Callable[[str], None]) -> None:
        """Have *stop* called with what is wrong if native code ends itself; it must not return."""
        self._stop = stop

    def note_place(self, words: Any) -> None:
        """With checks, let the native code note the statement that it executes, in a file that outlives the process."""
        if not self.program.checks:
            return
        import mmap
        import pickle

        self._place = mmap.mmap(os.open("/tmp/engine/place", os.O_RDWR | os.O_CREAT), 4096)
        self._place_words = np.frombuffer(self._place, dtype=np.int64)
        words[16] = self._place_words.ctypes.data
        with open("/tmp/engine/names", "wb") as file:
            pickle.dump([f.qualified_name for f in self.program.functions], file)

    def function(self, name: str, *kinds: Any) -> Any:
        """Return a function of the native code."""
        address = self._jit.get_function_address(name)
        return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(kinds))(address)

    def globals(self, name: str, n: int) -> Any:
        """Return a global array."""
        address = self._jit.get_global_value_address(name)
        return np.ctypeslib.as_array((ctypes.c_int64 * n).from_address(address))
