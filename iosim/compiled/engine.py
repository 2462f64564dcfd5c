"""The compiled engine: the model's functions as native code, and a run of a machine with them."""

import ctypes
import importlib
import os
import pkgutil
import sys
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from iosim.compiled import layout, runtime
from iosim.compiled.compiler.program import BOUND, Program
from iosim.compiled.compiler.values import I64
from iosim.compiled.compiler.world import World
from iosim.compiled.image import Image

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
        entry = ir.Function(program.module, ir.FunctionType(I64, [I64]), "run_host")
        b = ir.IRBuilder(entry.append_basic_block())
        b.ret(b.call(program.function(run), entry.args))

    def _trapped(self, code: int) -> None:
        if code >= 1000:
            what = self.program.traps[code - 1000]
        else:
            what = layout.TRAP_MESSAGES.get(code, f"trap {code}")
        sys.stderr.write(f"iosim: the compiled engine has stopped: {what}\n")
        sys.stderr.flush()
        os._exit(1)

    def function(self, name: str, *kinds: Any) -> Any:
        """Return a function of the native code."""
        address = self._jit.get_function_address(name)
        return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(kinds))(address)

    def globals(self, name: str, n: int) -> Any:
        """Return a global array."""
        address = self._jit.get_global_value_address(name)
        return np.ctypeslib.as_array((ctypes.c_int64 * n).from_address(address))

    # A run

    def run(self, machine: Any, collector: Any, end_ns: int | None) -> "Image":
        """Run a machine that has been wired and not begun; return its memory afterwards."""
        image = Image(self.program, 1 << 36, converters())
        host = image.encode(machine.host)
        account = image.encode(collector)
        n_classes = self.program.first_frame_class + len(self.program.generators)
        flags = np.full(n_classes + 1, layout.FLAG_SCANNED, dtype=np.int64)
        for number, value in layout.CLASS_FLAGS.items():
            flags[number] = value
        flags[BOUND] |= layout.FLAG_CONTENT
        for info in self.world.all_classes:
            if info.is_named_tuple:
                flags[info.number] |= layout.FLAG_CONTENT
        words = self.globals("globals", layout.N_GLOBALS)
        words[:] = 0
        constants = self.globals("constants", 8192)
        for number, value in enumerate(self.program.constants):
            constants[number] = image.encode(value)
        marks = np.zeros(1 << 20, dtype=np.int64)
        words[layout.G_BASE] = image.address(8)
        words[layout.G_LIMIT] = image.base + 8 * image.n_words
        words[layout.G_PERMANENT_END] = image.permanent_end
        words[layout.G_MARK_BASE] = marks.ctypes.data
        words[layout.G_MARK_LIMIT] = marks.ctypes.data + marks.nbytes
        words[layout.G_ROOT] = host
        words[layout.G_CLASS_FLAGS] = flags.ctypes.data
        if self.program.checks:
            import mmap

            self._place = mmap.mmap(os.open("/tmp/engine/place", os.O_RDWR | os.O_CREAT), 4096)
            self._place_words = np.frombuffer(self._place, dtype=np.int64)
            words[16] = self._place_words.ctypes.data
            import pickle

            with open("/tmp/engine/names", "wb") as file:
                pickle.dump([f.qualified_name for f in self.program.functions], file)
        self.function("rt_memory_init")()
        dict_set, set_add = self.function("rt_dict_set", 1, 1, 1), self.function("rt_set_add", 1, 1)
        for table, entries in image.tables:
            is_set = image.words[image.at(table)] & layout.CLASS_MASK == layout.SET
            for key, value in entries:
                if is_set:
                    set_add(table, key)
                else:
                    dict_set(table, key, value)
        if image.unknown:
            print("unknown", sorted(image.unknown))
        self.host, self.account, self.marks, self.flags = host, account, marks, flags
        self.function("run_host", 1)(host)
        return image


def converters() -> dict[type, Any]:
    """Return what turns objects of the SimPy engine into their twins."""
    from iosim.compiled.twins import costs, environment, levels, requests
    from iosim.host import environment as simpy_environment
    from iosim.host import levels as numpy_levels
    from iosim.model import costs as numpy_costs
    from iosim import run as simpy_run

    def host(original: Any) -> Any:
        twin = environment.Host(original.exact)
        twin.timeline = original.timeline
        twin.cpus = original.cpus
        entries = []
        for at, place, _, event in sorted(original._queue, key=lambda entry: entry[:3]):
            alarm = environment.Alarm(twin)
            alarm.callbacks = [callback.__self__._generator for callback in event.callbacks]
            entries.append((int(at), place, len(entries) + 1, alarm))
        twin.queue = entries
        twin.n_events = len(entries)
        return twin

    def timeline(original: Any) -> Any:
        twin = levels.Timeline()
        twin.levels = original.levels
        return twin

    def level(original: Any) -> Any:
        twin = levels.Level.__new__(levels.Level)
        twin.name, twin.timeline, twin.value = original.name, original.timeline, original.value
        twin.since_ns, twin.highest, twin.area = original.since_ns, original.highest, 0
        twin._bins = [0] * levels.MAX_BINS
        twin._at = twin._from_ns = twin._until_ns = 0
        return twin

    def cost(original: Any) -> Any:
        twin = costs.Cost(original.key, original.ns, None, original.what)
        twin._table = original._array  # type: ignore[assignment]
        return twin

    def collector(original: Any) -> Any:
        twin = requests.Collector()
        twin.first, twin.vm_number = original._first, original._vm_number
        twin.total, twin.warmup_ns = original.total, original._warmup_ns
        twin.stop = original.stop
        return twin

    return {
        simpy_environment.Host: host,
        numpy_levels.Timeline: timeline,
        numpy_levels.Level: level,
        numpy_costs.Cost: cost,
        simpy_run.Collector: collector,
    }
