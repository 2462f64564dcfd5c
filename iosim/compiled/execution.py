"""One run with the compiled engine: the machine goes into native memory, runs, and what it recorded comes back."""

import threading
from typing import TYPE_CHECKING

import numpy as np

from iosim.compiled import faults, layout
from iosim.compiled.hand_over import converters, give_back_collector, give_back_machine, remade
from iosim.compiled.image import Image
from iosim.compiled.logs import Logs
from iosim.compiled.twins.requests import FILL, TAKE_ROWS, WIDTH
from iosim.machine import Machine
from iosim.model.errors import EngineError, FaultError
from iosim.run import Collector

if TYPE_CHECKING:
    from iosim.compiled.engine import Engine

ARENA_BYTES = 1 << 36
"""Addresses reserved for a run; memory is taken as it is used."""
_MARK_STACK = 1 << 20
_SLICE = 20_000
"""Events between two looks at whether the run is to be given up."""
_LATE_NS = 1 << 60
"""36 years: a run that is stopped later has met the end of the clock, 2^62 ns."""
_SHOW_S = 0.1
"""Seconds between two calls of the collector's `progress`."""
_PATIENCE_S = 2.0
"""Seconds that an interrupted run has to come to the end of its slice."""

KNOWN_UNUSED = {
    *("Alarm._defused", "Alarm._ok", "Alarm._value", "Alarm.env"),
    *("numpy._ArrayFunctionDispatcher", "numpy.ufunc", "re.Pattern"),
}
"""What machines reach that no compiled function uses."""


def execute(engine: "Engine", machine: Machine, collector: Collector) -> int:
    """Run *machine* to its end, bring it and its collector into the state of then, and return that instant in ns.

    The machine has been wired and nothing in it has begun. Raises EngineError for what is not compiled and at the end
    of the clock, and FaultError if the native code has met something that cannot be.
    """
    image = load(engine, machine, collector)
    if unknown := image.unknown - KNOWN_UNUSED:
        raise EngineError(f"the compiled engine does not know {', '.join(sorted(unknown))}")
    run_to_end(engine, image, machine, collector)
    give_back_collector(image, collector)
    give_back_machine(image, machine)
    now_ns = image.read(machine.host, "now_ns")
    assert isinstance(now_ns, int)
    return now_ns


def load(engine: "Engine", machine: Machine, collector: Collector) -> Image:
    """Return the memory image of a machine, and tell the native code where it is."""
    catalogue = engine.catalogue
    image = Image(catalogue, ARENA_BYTES, converters(), remade())
    image.encode(machine)
    image.encode(collector)
    constants = engine.globals("constants", len(catalogue.constants))
    for number in range(len(catalogue.constants)):
        constants[number] = image.encode(catalogue.constant(number))
    image.keep("flags", catalogue.class_flags())
    image.keep("marks", np.zeros(_MARK_STACK, dtype=np.int64))
    words = engine.globals("globals", layout.N_GLOBALS)
    words[:] = 0
    words[layout.G_BASE] = image.address(image.FIRST)
    words[layout.G_LIMIT] = image.base + 8 * image.n_words
    words[layout.G_PERMANENT_END] = image.permanent_end
    words[layout.G_MARK_BASE] = image.kept["marks"].ctypes.data
    words[layout.G_MARK_LIMIT] = image.kept["marks"].ctypes.data + image.kept["marks"].nbytes
    words[layout.G_ROOT] = image.word_of(machine.host)
    words[layout.G_CLASS_FLAGS] = image.kept["flags"].ctypes.data
    image.keep("place", np.zeros(1, dtype=np.int64))
    words[layout.G_PLACE] = image.kept["place"].ctypes.data
    words[layout.G_GC_MINIMUM] = engine.least_garbage
    engine.function("rt_memory_init")()
    dict_set, set_add = engine.function("rt_dict_set", 1, 1, 1), engine.function("rt_set_add", 1, 1)
    for table, entries in image.tables:
        is_set = image.class_of(table) == layout.SET
        for key, value in entries:
            if is_set:
                set_add(table, key)
            else:
                dict_set(table, key, value)
    return image


def _nothing(what: int, number: int) -> int:
    return 0


def run_to_end(engine: "Engine", image: Image, machine: Machine, collector: Collector) -> None:
    """Run events until the run is over, in a thread of its own: this one shows progress, and can be interrupted.

    Native code that ends itself does so by never going on: its thread waits for ever, and this one raises the error.
    A run that is interrupted is given up at the end of a slice of events. If that does not come soon, because the model
    goes in circles, its thread is left alone until the process ends: the engine must not be used again.
    """
    host, account = image.word_of(machine.host), image.word_of(collector)
    run_host, settle = engine.function("run_host", 1, 1), engine.function("settle", 1, 1)
    whole = image.word_of(machine)
    slice_ = image.encode(_SLICE)
    given_up = threading.Event()
    done = threading.Event()
    stopped: list[str] = []
    logs = Logs(image, collector)
    block = image.raw(image.word_in(collector, "rows")).reshape(-1, WIDTH)
    failed: list[BaseException] = []

    def answer(what: int, number: int) -> int:
        try:
            if what == FILL:
                pieces, memory = image.traces[number]
                piece = next(pieces, None)
                if piece is None:
                    return 0
                memory[: piece.size] = piece.ravel()
                return len(piece)
            if what == TAKE_ROWS:
                collector.take(block[:number])
            else:
                logs.take_sampled()
        except BaseException as error:  # It goes on in the thread that waits for the run.
            failed.append(error)
            given_up.set()
        return 0

    def work() -> None:
        with faults.reported(stop):
            while not given_up.is_set():
                if run_host(host, slice_) == layout.WORD_TRUE:
                    settle(whole, account)
                    break
        done.set()

    def stop(what: str) -> None:
        stopped.append(what)
        done.set()
        threading.Event().wait()

    engine.on_trap(stop)
    engine.on_ask(answer)
    worker = threading.Thread(target=work, name="iosim-compiled", daemon=True)
    worker.start()
    try:
        while not done.wait(_SHOW_S):
            if collector.progress is not None:
                collector.progress(image.read(collector, "ended"), collector.total)
    except BaseException:
        given_up.set()
        try:
            done.wait(_PATIENCE_S)
        finally:
            if not done.is_set():
                engine.leave_alone(image)
        raise
    finally:
        engine.on_ask(_nothing)  # Which has no hold of the image.
    if stopped:
        if image.read(machine.host, "now_ns") > _LATE_NS:
            raise EngineError(
                "the clock of the compiled engine ends after 146 years of simulated time; simpy's has 292"
            )
        raise FaultError(f"the compiled engine has stopped: {stopped[0]}")
    worker.join()
    if failed:
        raise failed[0]
    logs.take_sampled()
    logs.give_back()
