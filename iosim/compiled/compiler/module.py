"""The LLVM module: the run-time library, traps, constants, and how objects are made."""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.compiler.raw_code import LOCAL, SPARING, RawModules
from iosim.compiled.compiler.values import DONE, FRAME_STATE, I64, tag, word_pointer
from iosim.compiled.compiler.world import FunctionInfo, World
from iosim.compiled.objects import OWNED

MAX_CONSTANTS = 8192
MAX_ALLOCATOR_WORDS = 32


class Module:
    """What the code of all functions shares."""

    def __init__(self, world: World, library: Iterable[ModuleType], checks: bool = False) -> None:
        self.world = world
        self.checks = checks
        self.module = ir.Module("iosim")
        self.trap_function = self._make_trap()
        answer = ir.FunctionType(I64, [I64, I64]).as_pointer()
        self.ask_handler = ir.GlobalVariable(self.module, answer, "ask_handler")
        self.ask_handler.initializer = ir.Constant(answer, None)
        self.ask_handler.linkage = LOCAL
        self.raw = RawModules(self.module, library, self.trap_function)
        self.traps: list[str] = []
        self.constants: list[Any] = []
        self._constant_numbers: dict[Any, int] = {}
        self._constant_array = ir.GlobalVariable(self.module, ir.ArrayType(I64, MAX_CONSTANTS), "constants")
        self._constant_array.initializer = ir.Constant(self._constant_array.value_type, None)
        self._constant_array.linkage = LOCAL
        self._allocators: dict[int, ir.Function] = {}

    def _make_trap(self) -> ir.Function:
        """Return what ends the program: it calls the handler that Python has set."""
        kind = ir.FunctionType(ir.VoidType(), [I64])
        handler = ir.GlobalVariable(self.module, kind.as_pointer(), "trap_handler")
        handler.initializer = ir.Constant(kind.as_pointer(), None)
        handler.linkage = LOCAL
        function = ir.Function(self.module, kind, "trap")
        function.linkage = "internal"
        for attribute in ("noreturn", "cold", "noinline"):
            function.attributes.add(attribute)
        b = ir.IRBuilder(function.append_basic_block("entry"))
        b.call(b.load(handler), function.args)
        b.unreachable()
        return function

    def trap(self, info: FunctionInfo | None, line: int, what: str) -> int:
        """Return the code of a trap."""
        where = "" if info is None else f"{info.module.name}.{info.name}:{line}: "
        self.traps.append(f"{where}{what}")
        return 1000 + len(self.traps) - 1

    def runtime(self, name: str, n: int = 0) -> ir.Function:
        """Return a function of the run-time library."""
        return self.raw.declare(name, n)

    # Constants

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

    # Objects

    def allocate(self, builder: ir.IRBuilder, number: int, size: int, filled: bool = False) -> ir.Value:
        """Return a new object; *filled*: all its words are stored at once."""
        if size > MAX_ALLOCATOR_WORDS:
            return self._allocate_rarely(builder, number, size)
        b, function = builder, builder.function
        slow, fast, end = (function.append_basic_block(name) for name in ("slow", "fast", "allocated"))
        bump, limit = (self.raw.globals.gep([I64(0), I64(at)]) for at in (layout.G_BUMP, layout.G_BUMP_LIMIT))
        near = b.load(bump)
        behind = b.add(near, I64(8 * size))
        b.cbranch(b.icmp_signed(">", behind, b.load(limit)), slow, fast)
        b.position_at_end(slow)
        far = b.call(self.runtime("rt_alloc_slow"), [I64(size)])
        b.branch(end)
        b.position_at_end(fast)
        b.store(behind, bump)
        b.branch(end)
        b.position_at_end(end)
        obj = b.phi(I64)
        obj.add_incoming(near, fast)
        obj.add_incoming(far, slow)
        b.store(I64(number | size << layout.SIZE_SHIFT), word_pointer(b, obj, 0))
        if not filled:
            for word in range(1, size):
                b.store(I64(0), word_pointer(b, obj, word))
        return obj

    def _allocate_rarely(self, builder: ir.IRBuilder, number: int, size: int) -> ir.Value:
        """Return a new object, made by a function."""
        if size > MAX_ALLOCATOR_WORDS:
            return builder.call(self.runtime("rt_alloc"), [I64(number), I64(size)])
        return builder.call(self._allocator(size), [I64(number)])

    def _allocator(self, size: int) -> ir.Function:
        """Return what makes objects of a size, with code for just that size."""
        if size not in self._allocators:
            function = ir.Function(self.module, ir.FunctionType(I64, [I64]), f"alloc{size}")
            function.linkage = "internal"
            function.attributes.add("noinline")
            function.calling_convention = SPARING
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
        new = self._allocate_rarely(b, number, size)
        b.branch(end)
        b.position_at_end(end)
        frame = b.phi(I64)
        frame.add_incoming(first, used)
        frame.add_incoming(new, fresh)
        return frame

    def end_frame(self, b: ir.IRBuilder, frame: ir.Value, size: int) -> None:
        """Let a frame of that size in words be used again, if it was made for one call; any other is done."""
        if size >= layout.N_FRAME_LISTS:
            b.store(I64(tag(DONE)), word_pointer(b, frame, FRAME_STATE))
            return
        header = b.load(word_pointer(b, frame, 0))
        with b.if_else(b.icmp_signed("!=", b.and_(header, I64(OWNED)), I64(0))) as (again, done):
            with again:
                place = self.raw.globals.gep([I64(0), I64(layout.G_FRAME_LISTS + size)])
                b.store(I64(size << layout.SIZE_SHIFT | layout.FREE), word_pointer(b, frame, 0))
                b.store(b.load(place), word_pointer(b, frame, layout.FREE_NEXT // 8))
                b.store(frame, place)
            with done:
                b.store(I64(tag(DONE)), word_pointer(b, frame, FRAME_STATE))


def _constant_key(value: Any) -> Any:
    return (type(value), value) if isinstance(value, str | int | float) else id(value)
