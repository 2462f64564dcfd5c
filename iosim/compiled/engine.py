"""The compiled engine: the model's functions as native code, and a run of a machine with them."""

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from iosim.compiled import cache, layout
from iosim.compiled.catalogue import Catalogue


class Engine:
    """The native code, ready to run machines: from the cache, or built by the compiler."""

    def __init__(self, optimize: int = 2, checks: bool = False, say: cache.Say | None = None) -> None:
        self.catalogue, code = native_code(optimize, checks, say)
        self.least_garbage = layout.GC_MINIMUM_BYTES
        self._trap = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self._trapped)
        self._ask = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(self._asked)
        self._jit = _load(code)
        self.globals("trap_handler", 1)[0] = ctypes.cast(self._trap, ctypes.c_void_p).value or 0
        self.globals("ask_handler", 1)[0] = ctypes.cast(self._ask, ctypes.c_void_p).value or 0

    def _trapped(self, code: int) -> None:
        traps = self.catalogue.traps
        self._stop(traps[code - 1000] if code >= 1000 else layout.TRAP_MESSAGES.get(code, f"trap {code}"))

    def _asked(self, what: int, number: int) -> int:
        return self._answer(what, number)

    def on_ask(self, answer: Callable[[int, int], int]) -> None:
        """Have *answer* called with what native code asks for, a number of `native`; it must not raise."""
        self._answer = answer

    def on_trap(self, stop: Callable[[str], None]) -> None:
        """Have *stop* called with what is wrong if native code ends itself; it must not return."""
        self._stop = stop

    def leave_alone(self, *kept: object) -> None:
        """A thread may go on for ever: its code and what else is *kept* stay, also while Python ends.

        What it asks for from now on is not Python's business: the C function pause() puts it to sleep.
        """
        pause = ctypes.cast(ctypes.CDLL(None).pause, ctypes.c_void_p).value or 0
        for handler in ("ask_handler", "trap_handler"):
            self.globals(handler, 1)[0] = pause
        for each in (self, *kept):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))

    def function(self, name: str, *kinds: Any) -> Any:
        """Return a function of the native code."""
        address = self._jit.get_function_address(name)
        return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(kinds))(address)

    def globals(self, name: str, n: int) -> Any:
        """Return a global array."""
        address = self._jit.get_global_value_address(name)
        return np.ctypeslib.as_array((ctypes.c_int64 * n).from_address(address))


def native_code(optimize: int = 2, checks: bool = False, say: cache.Say | None = None) -> tuple[Catalogue, bytes]:
    """Return the catalogue and the object file: from the cache, where they are put if they are not there.

    *say* is told what takes long. Raises FaultError if they cannot be built.
    """

    def made(step: cache.Say) -> tuple[Catalogue, bytes]:
        from iosim.compiled.builder import build

        return build(optimize, checks, step)

    return cache.get(made, optimize, checks, say)


def _load(code: bytes) -> Any:
    """Return LLVM's engine with the functions of an object file."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=True)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
