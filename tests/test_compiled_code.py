"""What the compiler makes of small functions, run as native code beside the same functions run by Python."""

import ctypes
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.build import library, target_machine
from iosim.compiled.compiler.hints import BOOL, INT, Hint
from iosim.compiled.compiler.program import Program
from iosim.compiled.compiler.world import World
from iosim.compiled.objects import FUNCTION, tag

SOURCE = """
from collections.abc import Callable
from functools import partial
from typing import Protocol

SCALE = 3

class Counter(Protocol):
    def count(self, n: int) -> int: ...

class Meter:
    def __init__(self, start: int) -> None:
        self.total = start * SCALE
        self.is_on = start > 0
        self.parts = [n for n in range(start)]
        self.reset()

    def reset(self) -> None:
        self.laps = 0

    def count(self, n: int, more: int = 5) -> int:
        self.laps += n
        self.total += n + more
        return self.total

def item(n: int) -> int:
    items = [10, 20, 30]
    return items[n]

def ends(n: int) -> int:
    items = [n, 20, 30]
    return items[-1] + 100 * items[-3]

def too_far(n: int) -> int:
    items = [n]
    return items[-2]

def put(n: int, value: int) -> int:
    items = [1, 2, 3]
    items[n] = value
    items[n] += 5
    return 10000 * items[0] + 100 * items[1] + items[2]

def of_tuple(n: int) -> int:
    items = (n, 5, 7, 9)
    return items[n]

def same_slice(low: int, high: int) -> int:
    items, others = [1, 2, 3, 4, 5], [6, 7, 8, 9]
    items[low:high] = others[low:high]
    total = 0
    for each in items:
        total = 10 * total + each
    return total

def slice_of_two(low: int, high: int) -> int:
    items = [1, 2, 3, 4, 5]
    items[low:high] = (7, 8)
    total = 0
    for position, each in enumerate(items):
        total = 10 * total + each + position
    return total

def calculated(a: int, b: int) -> int:
    return (a + b) - (b - 5) + (3 - a) + (a & b) + 8 * (a | b) - (a ^ b) + a * b + (-1) * (a - 7)

def compared(a: int, b: int) -> int:
    return (a < b) + 2 * (a <= b) + 4 * (a == b) + 8 * (a != b) + 16 * (a > b) + 32 * (a >= b) + 64 * (a < 3) + bool(a)

def summed(n: int) -> int:
    total = sum(each * 2 for each in range(n))
    for each in range(n, 0, -1):
        total += each
    for each in range(0, n, 3):
        total += 100 * each
    for each in tuple([3, 4]):
        total += each
    return total

def added(a: int, b: int) -> int:
    return a + b

def given(n: int) -> int:
    known: int | None = None if n < 0 else n
    return known + 1

def has_items(n: int) -> int:
    items: list[int] | None = None if n < 0 else list(range(n))
    pair = tuple(range(n))
    return (1 if items else 0) + (2 if pair else 0)

def called(n: int) -> int:
    meter = Meter(2)
    count = meter.count
    held = partial(sums, 1, n)
    first: Callable[..., int] = sums
    inner = lambda more: more + n
    return count(n) + 10 * count(n, 2) + 100 * held(3) + 1000 * first(1, 2) + 10000 * inner(1)

def sums(a: int, b: int, c: int = 4) -> int:
    return a + 2 * b + 3 * c

def counted(n: int) -> int:
    return through(Meter(n), n)

def through(counter: Counter, n: int) -> int:
    return counter.count(n) + counter.count(1)
"""

CASES: dict[str, list[tuple[int, ...]]] = {
    "item": [(0,), (2,), (-1,), (-3,)],
    "ends": [(4,)],
    "put": [(0, 9), (-1, 9), (2, 7)],
    "of_tuple": [(1,), (3,), (-1,), (-4,)],
    "same_slice": [(1, 3), (0, 4), (2, 2), (2, 9), (-2, 4), (3, 1)],
    "slice_of_two": [(1, 3), (0, 5), (2, 2), (4, 9), (-2, 5)],
    "calculated": [(5, 9), (-5, 9), (0, 0), (-7, -8), (1 << 30, -(1 << 29))],
    "compared": [(1, 2), (2, 1), (3, 3), (0, -1), (-4, -4)],
    "summed": [(0,), (7,)],
    "added": [((1 << 61) - 1, 1 << 61), (-(1 << 61), -(1 << 61))],
    "given": [(3,)],
    "has_items": [(-1,), (0,), (2,)],
    "called": [(6,)],
    "counted": [(0,), (4,)],
}
FAILING = {
    "item": (3, layout.TRAP_INDEX),
    "too_far": (1, layout.TRAP_INDEX),
    "of_tuple": (4, layout.TRAP_INDEX),
    "given": (-1, None),
}

Native = Callable[..., int]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    path: Path = tmp_path_factory.mktemp("model") / "small.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("small", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def program(model: ModuleType) -> Program:
    program = Program(World([model], {}), library())
    for name in {*CASES, *FAILING}:
        native = program.function(program.world.named("small", "", name))
        entry = ir.Function(program.module, native.function_type, f"run_{name}")
        b = ir.IRBuilder(entry.append_basic_block("entry"))
        b.ret(b.call(native, entry.args))
    program.compile()
    program.finish()
    return program


@pytest.fixture(scope="module")
def native(program: Program) -> Iterator[Callable[[str], Native]]:
    """What gives a function of the native code: ints in, an int out."""
    machine = target_machine(2)
    module = llvm.parse_assembly(str(program.module))
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    code = llvm.ObjectFileRef.from_data(machine.emit_object(module))
    jit = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine(2), use_lmm=True)
    jit.add_object_file(code)
    jit.finalize_object()

    def words(name: str, n: int) -> Any:
        return (ctypes.c_int64 * n).from_address(jit.get_global_value_address(name))

    kept = {"arena": np.zeros(1 << 16, dtype=np.int64), "flags": np.zeros(1024, dtype=np.int64)}
    for class_id, flags in layout.CLASS_FLAGS.items():
        kept["flags"][class_id] = flags
    variables = words("globals", layout.N_GLOBALS)
    first = kept["arena"].ctypes.data
    variables[layout.G_BASE] = variables[layout.G_PERMANENT_END] = first
    variables[layout.G_LIMIT] = first + kept["arena"].nbytes
    variables[layout.G_CLASS_FLAGS] = kept["flags"].ctypes.data
    ctypes.CFUNCTYPE(ctypes.c_int64)(jit.get_function_address("rt_memory_init"))()
    stopped = ctypes.CFUNCTYPE(None, ctypes.c_int64)(lambda code: os._exit(min(code, 100)))
    words("trap_handler", 1)[0] = ctypes.cast(stopped, ctypes.c_void_p).value
    constants = words("constants", max(1, len(program.constants)))
    for position, value in enumerate(program.constants):
        if hasattr(value, "number"):
            at = np.zeros(2, dtype=np.int64)
            at[:] = (FUNCTION | 2 << layout.SIZE_SHIFT, tag(value.number))
            kept[f"constant {position}"] = at
            constants[position] = at.ctypes.data

    def get(name: str) -> Native:
        address = jit.get_function_address(f"run_{name}")
        n = len(program.world.named("small", "", name).parameters)
        function = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * n)(address)

        def call(*numbers: int) -> int:
            word = function(*(tag(number) for number in numbers))
            assert word & 1
            return int(word) >> 1

        return call

    yield get
    del stopped


def exit_status(native: Native, *numbers: int) -> int:
    """Return what a process ends with that calls a function: 0, or the code of the trap, 100 for one of the code's."""
    child = os.fork()
    if not child:
        native(*numbers)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("name", CASES)
def test_native_code_gives_what_python_gives(name: str, model: ModuleType, native: Callable[[str], Native]) -> None:
    for numbers in CASES[name]:
        assert native(name)(*numbers) == getattr(model, name)(*numbers), numbers


@pytest.mark.parametrize("name", FAILING)
def test_what_python_refuses_ends_the_program(name: str, native: Callable[[str], Native]) -> None:
    number, code = FAILING[name]
    assert exit_status(native(name), number) == (100 if code is None else code)


def test_a_sum_of_more_than_63_bits_ends_the_program(native: Callable[[str], Native]) -> None:
    assert exit_status(native("added"), (1 << 61) - 1, 1 << 61) == 0
    assert exit_status(native("added"), 1 << 61, 1 << 61) == layout.TRAP_OVERFLOW
    assert exit_status(native("added"), -(1 << 61), -(1 << 61) - 1) == layout.TRAP_OVERFLOW


def test_attributes_have_the_type_of_their_first_value(program: Program) -> None:
    meter = program.world.by_name["Meter"]
    assert meter.hints == {"total": INT, "is_on": BOOL, "parts": Hint("list", (INT,)), "laps": INT}


def test_a_protocol_that_one_class_implements_is_that_class(program: Program) -> None:
    parameter = program.world.named("small", "", "through").parameters[0]
    assert parameter.hint == Hint("object", (), program.world.by_name["Meter"])
