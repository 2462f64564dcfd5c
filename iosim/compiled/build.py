"""Building the native code: which modules are compiled, and how; the result is object code and its catalogue."""

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir

from iosim.compiled import runtime, twins
from iosim.compiled.catalogue import Catalogue
from iosim.compiled.compiler.describe import catalogue
from iosim.compiled.compiler.program import Program
from iosim.compiled.compiler.roots import held_functions, held_generators
from iosim.compiled.compiler.world import World

_PACKAGES = ("host", "kvm", "qemu", "qemu.qcow2", "guest", "disk", "compiled.twins")
_MODULES = (
    "cpu_vmx",
    "lifecycle",
    "machine",
    "port_feed",
    "run",
    "model.ata",
    "model.catalogue",
    "model.costs",
    "model.draws",
    "model.ledger",
    "model.ports",
    "model.records",
    "model.stages",
    "model.steps",
    "model.virtio",
)
_ORIGINS = {
    "account": "host.account",
    "costs": "model.costs",
    "drawing": "host.drawing",
    "durations": "host.durations",
    "environment": "host.environment",
    "exits": "kvm.exits",
    "levels": "host.levels",
    "counts": "qemu.qcow2.counts",
    "cpu": "guest.cpu",
    "runs": "host.runs",
    "requests": "run",
    "thread": "host.thread",
}
"""The module of the model that each module of twins belongs to."""

EXPORTS = {
    "run_host": ("iosim.compiled.twins.environment", "Host", "run"),
    "settle": ("iosim.run", "", "settle"),
}
"""What Python calls: the name, and the module, class ("" for a function of the module) and method."""


class Built(NamedTuple):
    """Native code as an object file, and its catalogue."""

    catalogue: Catalogue
    code: bytes


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
    result: dict[Any, Any] = {}
    for each in pkgutil.iter_modules(twins.__path__, twins.__name__ + "."):
        short = each.name.rpartition(".")[2]
        twin = importlib.import_module(each.name)
        origin = importlib.import_module(f"iosim.{_ORIGINS[short]}")
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


def translate(checks: bool = False) -> Program:
    """Return the whole program in LLVM's intermediate language."""
    world = World(modules(), replaced())
    program = Program(world, library(), checks)
    for name, (module, owner, method) in EXPORTS.items():
        info = world.named(module, owner, method)
        native = program.function(info)
        entry = ir.Function(program.module, native.function_type, name)
        b = ir.IRBuilder(entry.append_basic_block())
        b.ret(b.call(native, entry.args))
    program.compile(held_functions(world, program.functions), held_generators(world, program.functions))
    program.finish()
    return program


def target_machine(optimize: int) -> llvm.TargetMachine:
    """Return what generates code for the processor that this runs on."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=optimize, reloc="pic", codemodel="small", jit=True
    )


def build(optimize: int = 2, checks: bool = False, step: Callable[[str], None] = lambda what: None) -> Built:
    """Compile everything; *step* is told what is being done."""
    step("translating")
    program = translate(checks)
    module = llvm.parse_assembly(str(program.module))
    module.verify()
    machine = target_machine(optimize)
    if optimize:
        step("optimising")
        options = llvm.create_pipeline_tuning_options(speed_level=optimize)
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
    step("generating machine code")
    return Built(catalogue(program), machine.emit_object(module))
