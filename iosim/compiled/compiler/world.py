"""The closed world that is compiled: the classes and functions of the model's modules, read from their source."""

import ast
import enum
import inspect
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass
from types import ModuleType
from typing import Any

from iosim.compiled.compiler.hints import BOOL, FLOAT, INT, STR, Hint, from_annotation, join
from iosim.compiled.layout import FIRST_USER_CLASS


@dataclass
class Parameter:
    """One parameter: its name, what its annotation says, its default in a tuple (None: it has to be given)."""

    name: str
    hint: Hint | None
    default: tuple[Any] | None


@dataclass(eq=False)
class FunctionInfo:
    """A function, method, property or lambda of the world. *captured* are the names that it takes from around it."""

    name: str
    module: "ModuleInfo"
    node: ast.FunctionDef | ast.Lambda
    owner: "ClassInfo | None"
    role: str
    parameters: list[Parameter]
    result: Hint | None
    is_generator: bool
    vararg: int = -1
    captured: list[tuple[str, Hint | None]] = field(default_factory=list)
    number: int = 0
    problem: str = ""
    catches: bool = False

    @property
    def is_apart(self) -> bool:
        """Whether its native code must not become part of those that call it (`iosim.model.native_code.apart`)."""
        return isinstance(self.node, ast.FunctionDef) and any(
            isinstance(each, ast.Name) and each.id == "apart" for each in self.node.decorator_list
        )

    @property
    def code_key(self) -> tuple[str, int]:
        """What a live function object of it has, too: file and first line."""
        first = self.node.lineno
        if isinstance(self.node, ast.FunctionDef) and self.node.decorator_list:
            first = self.node.decorator_list[0].lineno
        return (self.module.file, first)


@dataclass(eq=False)
class ClassInfo:
    """A class of the world: its methods, where its attributes lie, and what is known about them."""

    name: str
    module: "ModuleInfo"
    type: type
    node: ast.ClassDef
    number: int = 0
    bases: "list[ClassInfo]" = field(default_factory=list)
    subclasses: "list[ClassInfo]" = field(default_factory=list)
    methods: dict[str, FunctionInfo] = field(default_factory=dict)
    attributes: dict[str, int] = field(default_factory=dict)
    hints: dict[str, Hint | None] = field(default_factory=dict)
    is_protocol: bool = False
    is_named_tuple: bool = False
    is_enum: bool = False
    is_dataclass: bool = False

    def find(self, name: str) -> FunctionInfo | None:
        """Return the method or property *name*, own or inherited."""
        for info in self.mro():
            if name in info.methods:
                return info.methods[name]
        return None

    def member_names(self) -> set[str]:
        """Return the names of its methods and attributes, inherited ones included."""
        return {name for info in self.mro() for name in _member_names(info.node)}

    def mro(self) -> "Iterator[ClassInfo]":
        """Return the class and those that it inherits from, in order."""
        yield self
        for base in self.bases:
            yield from base.mro()

    def family(self) -> "Iterator[ClassInfo]":
        """Return the class and all that inherit from it."""
        yield self
        for info in self.subclasses:
            yield from info.family()

    def is_a(self, other: "ClassInfo") -> bool:
        """Tell whether instances are instances of *other*."""
        return any(info is other for info in self.mro())

    def common_base(self, other: "ClassInfo") -> "ClassInfo | None":
        """Return the nearest class that both are, if there is one."""
        return next((info for info in self.mro() if other.is_a(info)), None)


@dataclass(eq=False)
class ModuleInfo:
    """A module of the world: its name, file, tree and globals."""

    name: str
    file: str
    tree: ast.Module
    names: dict[str, Any]


class World:
    """All classes and functions that may run. *replaced* are classes and functions that twins stand for."""

    def __init__(self, modules: Sequence[ModuleType], replaced: dict[Any, Any]) -> None:
        self.classes: dict[type, ClassInfo] = {}
        self.by_name: dict[str, ClassInfo] = {}
        self.functions: dict[Any, FunctionInfo] = {}
        self.replaced = replaced
        self.modules = [_module(module) for module in modules]
        for module in self.modules:
            self._add_classes(module)
        found = list(self.classes.values())
        originals = dict(self.classes)
        for old, new in replaced.items():
            if isinstance(old, type):
                self.classes[old] = originals[new]
                self.by_name[old.__name__] = originals[new]
        for info in found:
            for base in info.type.__bases__:
                if base in originals:
                    twin = replaced.get(base)
                    info.bases.append(originals[base] if twin in (None, info.type) else originals[twin])
            for parent in info.bases:
                parent.subclasses.append(info)
        for number, info in enumerate(found):
            info.number = FIRST_USER_CLASS + number
        self.all_classes = found
        self._implementers: dict[ClassInfo, ClassInfo | None] = {}
        for module in self.modules:
            self._add_functions(module)
        done: set[ClassInfo] = set()
        for info in found:
            self._lay_out(info, done)

    def named(self, module: str, owner: str, name: str) -> FunctionInfo:
        """Return the function *name* of a module, or the method of its class *owner*."""
        if not owner:
            return next(info for info in self.functions.values() if (info.module.name, info.name) == (module, name))
        found = next(c for c in self.all_classes if (c.module.name, c.name) == (module, owner)).find(name)
        assert found is not None
        return found

    def class_of(self, obj: Any) -> ClassInfo | None:
        """Return the class of a live type."""
        return self.classes.get(obj) if isinstance(obj, type) else None

    def function_of(self, obj: Any) -> FunctionInfo | None:
        """Return the function of a live function object."""
        if not isinstance(obj, types.FunctionType):
            return None
        return self.functions.get(self.replaced.get(obj, obj))

    def implementer(self, protocol: ClassInfo) -> ClassInfo | None:
        """Return the class that all classes with the members of a Protocol are, if there is one."""
        if protocol not in self._implementers:
            wanted = protocol.member_names()
            found: dict[ClassInfo, None] = {}
            for info in self.all_classes:
                if not info.is_protocol and wanted <= info.member_names():
                    found.setdefault(self.classes[info.type])
            tops = [info for info in found if all(other.is_a(info) for other in found)]
            known = tops[0] if tops and "__call__" not in wanted else None
            self._implementers[protocol] = known
        return self._implementers[protocol]

    def _add_classes(self, module: ModuleInfo) -> None:
        for node in module.tree.body:
            if not isinstance(node, ast.ClassDef):
                continue
            live = module.names[node.name]
            info = ClassInfo(node.name, module, live, node)
            info.is_protocol = bool(getattr(live, "_is_protocol", False))
            info.is_named_tuple = issubclass(live, tuple)
            info.is_enum = issubclass(live, enum.Enum)
            info.is_dataclass = is_dataclass(live)
            self.classes[live] = info
            self.by_name.setdefault(node.name, info)

    def _add_functions(self, module: ModuleInfo) -> None:
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef):
                live = module.names[node.name]
                live = inspect.unwrap(live)
                self.functions[live] = self.function(node.name, module, node, None, "function", live)
            elif isinstance(node, ast.ClassDef):
                owner = next(info for info in self.all_classes if info.type is module.names[node.name])
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and _role(member) == "setter":
                        setter = inspect.getattr_static(owner.type, member.name).fset
                        name = f"{member.name}.setter"
                        owner.methods[name] = self.function(name, module, member, owner, "method", setter)
                    elif isinstance(member, ast.FunctionDef):
                        found = inspect.getattr_static(owner.type, member.name)
                        found = getattr(found, "fget", None) or getattr(found, "__func__", found)
                        owner.methods[member.name] = self.function(
                            member.name, module, member, owner, _role(member), found
                        )

    def function(
        self,
        name: str,
        module: ModuleInfo,
        node: ast.FunctionDef | ast.Lambda,
        owner: ClassInfo | None,
        role: str,
        live: Any = None,
    ) -> FunctionInfo:
        """Return the description of a function; *live* is the function object, None for one within another."""
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        every = [*positional, *([arguments.vararg] if arguments.vararg else []), *arguments.kwonlyargs]
        defaults: dict[str, tuple[Any]] = {}
        if live is not None:
            known = live.__defaults__ or ()
            for arg, value in zip(positional[len(positional) - len(known) :], known, strict=True):
                defaults[arg.arg] = (value,)
            for name_, value in (live.__kwdefaults__ or {}).items():
                defaults[name_] = (value,)
        else:
            for arg, node_ in zip(
                positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True
            ):
                defaults[arg.arg] = (ast.literal_eval(node_),)
        parameters = [
            Parameter(arg.arg, from_annotation(arg.annotation, module.names, self), defaults.get(arg.arg))
            for arg in every
        ]
        if role in ("method", "property") and parameters and owner is not None and not owner.is_protocol:
            parameters[0].hint = Hint("object", (), owner)
        vararg = -1
        if arguments.vararg is not None:
            vararg = len(positional)
            parameters[vararg].hint = Hint("tuple", (parameters[vararg].hint,))
            parameters[vararg].default = ((),)
        result = from_annotation(node.returns, module.names, self) if isinstance(node, ast.FunctionDef) else None
        return FunctionInfo(name, module, node, owner, role, parameters, result, is_generator(node), vararg)

    def _lay_out(self, info: ClassInfo, done: set[ClassInfo]) -> None:
        """Give each attribute its word: those of the base first."""
        if info in done:
            return
        done.add(info)
        for base in info.bases:
            self._lay_out(base, done)
            for name, offset in base.attributes.items():
                if info.attributes.get(name, offset) != offset:
                    raise AssertionError(f"{info.name} inherits {name} at two places")
                info.attributes[name] = offset
                info.hints[name] = base.hints.get(name)
        if info.is_enum:
            info.attributes = {"name": 1, "value": 2}
            info.hints = {"name": STR, "value": None}
        if info.is_enum or info.is_protocol:
            return
        found: dict[str, list[Hint | None]] = {}
        if info.is_named_tuple:
            for name in info.type._fields:  # type: ignore[attr-defined]
                found.setdefault(name, [])
        for member in info.node.body:
            if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                stored = info.is_named_tuple or info.is_dataclass or member.value is None
                if stored and member.target.id not in info.methods:
                    hint = from_annotation(member.annotation, info.module.names, self)
                    found.setdefault(member.target.id, []).append(hint)
        for method in info.methods.values():
            self._attributes_of(method, found)
        for name, hints in found.items():
            if name in info.methods:
                continue
            known = [hint for hint in hints if hint is not None]
            declared = known[0] if known else None
            if name in info.attributes:
                if info.hints.get(name) is None:
                    info.hints[name] = None
                continue
            info.attributes[name] = 1 + len(info.attributes)
            info.hints[name] = declared

    def _attributes_of(self, method: FunctionInfo, found: dict[str, list[Hint | None]]) -> None:
        if method.role not in ("method", "property") or not method.parameters:
            return
        self_name = method.parameters[0].name
        hints = {parameter.name: parameter.hint for parameter in method.parameters}

        def note(target: ast.expr, hint: Hint | None, declared: bool) -> None:
            if isinstance(target, ast.Tuple):
                known = hint is not None and hint.kind == "tuple" and len(hint.of) == len(target.elts)
                of = hint.of if known and hint is not None else (None,) * len(target.elts)
                for part, each in zip(target.elts, of, strict=True):
                    note(part, each, False)
            elif (
                isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id == self_name
            ):
                hints_so_far = found.setdefault(target.attr, [])
                if declared:
                    hints_so_far.insert(0, hint)
                elif method.name == "__init__" and not hints_so_far:
                    hints_so_far.append(hint)

        for node in ast.walk(method.node):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    note(target, _simple_hint(node.value, hints, method.module, self), False)
            elif isinstance(node, ast.AnnAssign):
                note(node.target, from_annotation(node.annotation, method.module.names, self), True)
            elif isinstance(node, ast.AugAssign):
                note(node.target, None, False)


def _simple_hint(value: ast.expr, parameters: dict[str, Hint | None], module: ModuleInfo, world: World) -> Hint | None:
    """Return what an attribute holds that is set to *value* in __init__ and has no annotation.

    mypy takes such an attribute to have the type of this value for ever.
    """
    if isinstance(value, ast.Constant):
        kinds: dict[type, Hint] = {bool: BOOL, int: INT, float: FLOAT, str: STR}
        return kinds.get(type(value.value))
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub):
        return _simple_hint(value.operand, parameters, module, world)
    if isinstance(value, ast.Name):
        return parameters.get(value.id)
    if isinstance(value, ast.Compare) or (isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)):
        return BOOL
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        live = module.names.get(value.func.id)
        info = world.class_of(live)
        if info is not None and not info.is_protocol:
            return Hint("object", (), info)
        function = world.function_of(live)
        if function is not None:
            return Hint("generator") if function.is_generator else function.result
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult) and isinstance(value.left, ast.List):
        hints = {_simple_hint(each, parameters, module, world) for each in value.left.elts}
        return Hint("list", tuple(hints) if len(hints) == 1 else ())
    if isinstance(value, ast.BoolOp):
        hint = _simple_hint(value.values[0], parameters, module, world)
        for part in value.values[1:]:
            hint = join(hint, _simple_hint(part, parameters, module, world))
        return hint
    return None


def is_generator(node: ast.AST) -> bool:
    """Tell whether the function's own body yields."""
    body = node.body if isinstance(node, ast.FunctionDef) else []
    waiting: list[ast.AST] = list(body)
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(each, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(each)
    return False


def _role(node: ast.FunctionDef) -> str:
    for decorator in node.decorator_list:
        name = decorator.id if isinstance(decorator, ast.Name) else getattr(decorator, "attr", "")
        if name == "property":
            return "property"
        if name in ("staticmethod", "classmethod", "setter"):
            return name
    return "method"


def _module(module: ModuleType) -> ModuleInfo:
    file = inspect.getsourcefile(module)
    assert file is not None
    return ModuleInfo(module.__name__, file, ast.parse(inspect.getsource(module)), vars(module))


def _member_names(node: ast.ClassDef) -> Iterator[str]:
    """Yield the names that a class defines, and those of attributes that its methods assign."""
    for member in node.body:
        if isinstance(member, ast.FunctionDef):
            yield member.name
            for each in ast.walk(member):
                if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store):
                    yield each.attr
        elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            yield member.target.id
        elif isinstance(member, ast.Assign):
            yield from (target.id for target in member.targets if isinstance(target, ast.Name))
