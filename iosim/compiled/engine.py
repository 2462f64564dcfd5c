"""The compiled engine: the model's functions as native code, and a run of a machine with them."""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from iosim.compiled import cache, layout
from iosim.compiled.catalogue import Catalogue
from iosim.compiled.image import Image


class Engine:
    """The native code, ready to run machines: from the cache, or built by the compiler."""

    def __init__(self, optimize: int = 2, checks: bool = False) -> None:
        def build(step: Callable[[str], None]) -> tuple[Catalogue, bytes]:
            from iosim.compiled.build import build

            return build(optimize, checks, step)

        self.catalogue, code = cache.get(build, optimize, checks)
        self._trap = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self._trapped)
        self._jit = _load(code)
        self.least_garbage = layout.GC_MINIMUM_BYTES
        self.globals("trap_handler", 1)[0] = ctypes.cast(self._trap, ctypes.c_void_p).value or 0

    def _trapped(self, code: int) -> None:
        if code >= 1000:
            what = self.catalogue.traps[code - 1000]
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
        catalogue = self.catalogue
        image = Image(catalogue, 1 << 36, converters())
        host = image.encode(machine.host)
        account = image.encode(collector)
        flags = catalogue.class_flags()
        words = self.globals("globals", layout.N_GLOBALS)
        words[:] = 0
        constants = self.globals("constants", 8192)
        for number in range(len(catalogue.constants)):
            constants[number] = image.encode(catalogue.constant(number))
        marks = np.zeros(1 << 20, dtype=np.int64)
        words[layout.G_BASE] = image.address(8)
        words[layout.G_LIMIT] = image.base + 8 * image.n_words
        words[layout.G_PERMANENT_END] = image.permanent_end
        words[layout.G_MARK_BASE] = marks.ctypes.data
        words[layout.G_MARK_LIMIT] = marks.ctypes.data + marks.nbytes
        words[layout.G_ROOT] = host
        words[layout.G_CLASS_FLAGS] = flags.ctypes.data
        words[layout.G_GC_MINIMUM] = self.least_garbage
        if catalogue.checks:
            import mmap

            self._place = mmap.mmap(os.open("/tmp/engine/place", os.O_RDWR | os.O_CREAT), 4096)
            self._place_words = np.frombuffer(self._place, dtype=np.int64)
            words[16] = self._place_words.ctypes.data
            import pickle

            with open("/tmp/engine/names", "wb") as file:
                pickle.dump([f.qualified_name for f in catalogue.functions], file)
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


def _load(code: bytes) -> Any:
    """Return LLVM's engine with the functions of an object file."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=True)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def converters() -> dict[type, Any]:
    """Return what turns objects of the SimPy engine into their twins."""
    from iosim import run as simpy_run
    from iosim.compiled.twins import costs, environment, levels, requests
    from iosim.host import environment as simpy_environment
    from iosim.host import levels as numpy_levels
    from iosim.model import costs as numpy_costs

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
