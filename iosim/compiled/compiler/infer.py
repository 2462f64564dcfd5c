"""What is known about expressions before their code is generated."""

import ast
import enum
import types
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from iosim.compiled.compiler.hints import BOOL, FLOAT, INT, NONE, STR, Hint, from_annotation, join, tuple_part
from iosim.compiled.compiler.narrowing import Known
from iosim.compiled.compiler.world import FunctionInfo, World

if TYPE_CHECKING:
    from iosim.compiled.compiler.emitter import Slot
    from iosim.compiled.compiler.program import Program

INT_OPERATORS = (
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.FloorDiv,
    ast.Mod,
    ast.LShift,
    ast.RShift,
    ast.BitAnd,
    ast.BitOr,
    ast.BitXor,
)


class Inference:
    """Hints of expressions, from hints of local variables and annotations of everything else."""

    local_hints: dict[str, Hint | None]
    captured: dict[str, Hint | None]
    slots: "dict[str, Slot]"
    known: Known
    names: dict[str, Any]
    world: World
    program: "Program"
    loop_hints: dict[str, Hint | None]
    """The variables of comprehensions."""

    def infer(self, node: ast.expr) -> Hint | None:
        """Return what is known of the value of *node*."""
        method: Callable[[Any], Hint | None] | None = getattr(self, f"_infer_{type(node).__name__}", None)
        return None if method is None else method(node)

    def static(self, node: ast.expr) -> tuple[Any] | None:
        """Return what an expression of modules, classes and their members is, if it is that."""
        if isinstance(node, ast.Name):
            if node.id in self.slots or node.id in self.captured or node.id not in self.names:
                return None
            found = self.names[node.id]
            return (found,) if isinstance(found, type | types.ModuleType) else None
        if isinstance(node, ast.Attribute):
            base = self.static(node.value)
            if base is None:
                return None
            return (getattr(base[0], node.attr),)
        return None

    def _infer_Constant(self, node: ast.Constant) -> Hint | None:
        return hint_of_object(node.value, self.world)

    def _infer_Name(self, node: ast.Name) -> Hint | None:
        if node.id in self.loop_hints:
            return self.loop_hints[node.id]
        if node.id in self.slots:
            return self.known.hints.get(node.id, self.slots[node.id].hint)
        if node.id in self.local_hints:
            return self.local_hints[node.id]
        if node.id in self.captured:
            return self.captured[node.id]
        if node.id in self.names:
            return hint_of_object(self.names[node.id], self.world)
        return None

    def _infer_Attribute(self, node: ast.Attribute) -> Hint | None:
        base = self.infer(node.value)
        if base is None or base.info is None:
            found = self.static(node)
            if found is not None:
                return hint_of_object(found[0], self.world)
            return self.program.attribute_hint(node.attr) if base is None else None
        info = base.info
        if node.attr in info.attributes:
            return info.hints.get(node.attr)
        member = info.find(node.attr)
        if member is not None:
            return member.result if member.role == "property" else Hint("callable")
        return None

    def _infer_BinOp(self, node: ast.BinOp) -> Hint | None:
        left, right = self.infer(node.left), self.infer(node.right)
        if isinstance(node.op, ast.Mult) and left is not None and left.kind == "list":
            return left.given()
        if left is None or right is None or left.optional or right.optional:
            return None
        kinds = {left.kind, right.kind}
        if kinds <= {"int", "bool"}:
            if isinstance(node.op, ast.Div):
                return FLOAT
            return INT if isinstance(node.op, INT_OPERATORS) else None
        if kinds <= {"int", "bool", "float"} and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
            return FLOAT
        return None

    def _infer_UnaryOp(self, node: ast.UnaryOp) -> Hint | None:
        if isinstance(node.op, ast.Not):
            return BOOL
        hint = self.infer(node.operand)
        if hint is not None and hint.kind in ("int", "bool"):
            return INT
        return FLOAT if hint is not None and hint.kind == "float" else None

    def _infer_Compare(self, node: ast.Compare) -> Hint | None:
        return BOOL

    def _infer_BoolOp(self, node: ast.BoolOp) -> Hint | None:
        hint = self.infer(node.values[0])
        if isinstance(node.op, ast.Or) and hint is not None:
            if hint.kind == "none":
                return self.infer(node.values[1]) if len(node.values) == 2 else None
            hint = hint.given()
        for part in node.values[1:]:
            hint = join(hint, self.infer(part))
        return hint

    def _infer_IfExp(self, node: ast.IfExp) -> Hint | None:
        return join(self.infer(node.body), self.infer(node.orelse))

    def _infer_NamedExpr(self, node: ast.NamedExpr) -> Hint | None:
        return self.infer(node.value)

    def _infer_JoinedStr(self, node: ast.JoinedStr) -> Hint | None:
        return STR

    def _infer_List(self, node: ast.List) -> Hint | None:
        of: Hint | None = None
        for position, each in enumerate(node.elts):
            hint = None if isinstance(each, ast.Starred) else self.infer(each)
            of = hint if position == 0 else join(of, hint)
        return Hint("list", () if of is None else (of,))

    def _infer_ListComp(self, node: ast.ListComp) -> Hint | None:
        return Hint("list", tuple(each for each in self.within(node.generators, node.elt) if each is not None))

    def _infer_DictComp(self, node: ast.DictComp) -> Hint | None:
        return Hint("dict", tuple(self.within(node.generators, node.key, node.value)))

    def within(self, generators: Sequence[ast.comprehension], *nodes: ast.expr) -> list[Hint | None]:
        """Return the hints of *nodes* within the loops of a comprehension."""
        around = self.loop_hints
        for generator in generators:
            item = loop_item(self, generator.iter)
            self.loop_hints = {**self.loop_hints, **dict(target_hints(generator.target, item))}
        found = [self.infer(node) for node in nodes]
        self.loop_hints = around
        return found

    def _infer_GeneratorExp(self, node: ast.GeneratorExp) -> Hint | None:
        return Hint("list")

    def _infer_Dict(self, node: ast.Dict) -> Hint | None:
        return Hint("dict")

    def _infer_Tuple(self, node: ast.Tuple) -> Hint | None:
        if any(isinstance(each, ast.Starred) for each in node.elts):
            return Hint("tuple")
        return Hint("tuple", tuple(self.infer(each) for each in node.elts))

    def _infer_Subscript(self, node: ast.Subscript) -> Hint | None:
        base = self.infer(node.value)
        if base is None:
            return None
        if isinstance(node.slice, ast.Slice):
            return base.given() if base.kind in ("list", "str") else Hint("tuple") if base.kind == "tuple" else None
        if base.kind == "dict":
            return base.of[1] if len(base.of) == 2 else None
        if base.kind in ("list", "deque"):
            return base.of[0] if base.of else None
        if base.kind == "tuple" and base.of:
            if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
                return tuple_part(base, node.slice.value)
            return base.of[0] if len(set(base.of)) == 1 else None
        return None

    def _infer_YieldFrom(self, node: ast.YieldFrom) -> Hint | None:
        if isinstance(node.value, ast.Call):
            function = self.called(node.value)
            if function is not None and function.is_generator and isinstance(function.node, ast.FunctionDef):
                return generator_result(function, self.world)
        return None

    def called(self, node: ast.Call) -> FunctionInfo | None:
        """Return the function that a call is known to call."""
        if isinstance(node.func, ast.Name):
            if node.func.id in self.local_hints or node.func.id not in self.names:
                return None
            return self.world.function_of(self.names[node.func.id])
        if isinstance(node.func, ast.Attribute):
            base = self.infer(node.func.value)
            if base is not None and base.info is not None:
                return base.info.find(node.func.attr)
            found = self.static(node.func)
            if found is not None:
                return self.world.function_of(found[0])
        return None

    def _infer_Call(self, node: ast.Call) -> Hint | None:
        function = self.called(node)
        if function is not None:
            if function.role == "property":
                return None
            return Hint("generator") if function.is_generator else function.result
        if isinstance(node.func, ast.Name) and node.func.id not in self.local_hints:
            name = node.func.id
            live = self.names.get(name)
            info = self.world.class_of(live) if live is not None else None
            if info is not None and not info.is_protocol and not info.is_enum:
                return Hint("object", (), info)
            if name in ("len", "int", "round", "bisect_right", "bisect_left", "ord"):
                return INT
            if name in ("bool", "isinstance", "any", "all"):
                return BOOL
            if name == "float":
                return FLOAT
            if name in ("list", "sorted"):
                source = self.infer(node.args[0]) if node.args else None
                if source is not None and source.kind in ("list", "deque", "set") and source.of:
                    return Hint("list", source.of)
                return Hint("list")
            if name in ("deque", "set", "tuple", "frozenset") and node.args:
                item = self.item_hint(node.args[0])
                return Hint("set" if name == "frozenset" else name, () if item is None else (item,))
            if name in ("deque", "dict", "set", "tuple"):
                return Hint(name)
            if name in ("min", "max", "abs", "sum") and node.args:
                hints = [self.infer(each) for each in node.args]
                whole = all(hint is not None and hint.kind in ("int", "bool") and not hint.optional for hint in hints)
                if whole and (len(node.args) > 1 or name == "abs"):
                    return INT
                if name == "sum" and len(node.args) == 1 and self.sums_integers(node.args[0]):
                    return INT
            return None
        if isinstance(node.func, ast.Attribute):
            base = self.infer(node.func.value)
            name = node.func.attr
            if name == "_replace" and base is not None and base.info is not None:
                return base
            if base is not None and base.kind in ("list", "deque") and name in ("pop", "popleft"):
                return base.of[0] if base.of else None
            if base is not None and base.kind == "dict" and len(base.of) == 2:
                if name == "pop" and len(node.args) == 1:
                    return base.of[1]
                if name in ("get", "pop") and base.of[1] is not None:
                    if len(node.args) == 1:
                        return base.of[1].or_none()
                    return join(base.of[1], self.infer(node.args[1]))
        return None

    def sums_integers(self, source: ast.expr) -> bool:
        """Tell whether all items of an iterable are known to be integers."""
        item = self.item_hint(source)
        return item is not None and item.kind in ("int", "bool") and not item.optional

    def item_hint(self, source: ast.expr) -> Hint | None:
        """Return what is known of the items of an iterable."""
        hint = self.infer(source)
        if isinstance(source, ast.GeneratorExp):
            return self.within(source.generators, source.elt)[0]
        if hint is not None and hint.kind in ("list", "deque", "set", "dict") and hint.of:
            return hint.of[0]
        if hint is not None and hint.kind == "tuple" and hint.of and len(set(hint.of)) == 1:
            return hint.of[0]
        return None


def generator_result(function: FunctionInfo, world: Any) -> Hint | None:
    """Return what a generator function returns at its end, by its annotation Steps[T]."""
    node = function.node
    assert isinstance(node, ast.FunctionDef)
    returns = node.returns
    if isinstance(returns, ast.Constant) and isinstance(returns.value, str):
        returns = ast.parse(returns.value, mode="eval").body
    if isinstance(returns, ast.Subscript) and isinstance(returns.value, ast.Name) and returns.value.id == "Steps":
        return from_annotation(returns.slice, function.module.names, world)
    return None


def hint_of_object(obj: Any, world: Any) -> Hint | None:
    """Return what is known of a live object."""
    if isinstance(obj, bool):
        return BOOL
    if isinstance(obj, enum.IntEnum):
        return INT
    if isinstance(obj, int):
        return INT if -(1 << 62) <= obj < 1 << 62 else None
    if isinstance(obj, float):
        return FLOAT
    if isinstance(obj, str):
        return STR
    if obj is None:
        return NONE
    if type(obj) in (list, dict, tuple, set):
        return Hint(type(obj).__name__)
    if isinstance(obj, type | types.ModuleType | types.FunctionType):
        return None
    info = world.class_of(type(obj))
    return None if info is None else Hint("object", (), info)


def assigned_names(node: ast.FunctionDef | ast.Lambda) -> list[str]:
    """Return the local variables of a function's own body, in order of appearance (comprehensions have their own)."""
    found: dict[str, None] = {}
    waiting: list[ast.AST] = list(node.body) if isinstance(node, ast.FunctionDef) else [node.body]
    waiting.reverse()
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            found.setdefault(each.id)
        if isinstance(each, ast.FunctionDef):
            found.setdefault(each.name)
            continue
        if isinstance(each, ast.Lambda):
            continue
        if isinstance(each, ast.ExceptHandler) and each.name:
            found.setdefault(each.name)
        if isinstance(each, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            for inner in ast.walk(each):
                if isinstance(inner, ast.NamedExpr):
                    waiting.append(inner.target)
            continue
        waiting += reversed(list(ast.iter_child_nodes(each)))
    return list(found)


def target_hints(target: ast.expr, hint: Hint | None) -> Iterator[tuple[str, Hint | None]]:
    """Yield the variables of a target to which a value of *hint* is assigned, and what they are then."""
    if isinstance(target, ast.Name):
        yield target.id, hint
    elif isinstance(target, ast.Tuple):
        parts: Sequence[Hint | None] = [None] * len(target.elts)
        if hint is not None and hint.kind == "tuple" and len(hint.of) == len(target.elts):
            parts = hint.of
        elif hint is not None and hint.info is not None and hint.info.is_named_tuple:
            parts = [hint.info.hints.get(name) for name in hint.info.attributes]
        for each, part in zip(target.elts, parts, strict=True):
            yield from target_hints(each, part)


def infer_locals(code: Inference, node: ast.FunctionDef | ast.Lambda, names: Sequence[str]) -> None:
    """Find hints of local variables: those of all that is assigned to them, joined."""
    if isinstance(node, ast.Lambda):
        return
    wanted = set(names)
    annotated: dict[str, Hint | None] = {}
    assigned: dict[str, list[tuple[str, Any]]] = {name: [] for name in names}

    def note(target: ast.expr, how: str, source: Any) -> None:
        if isinstance(target, ast.Name) and target.id in wanted:
            assigned[target.id].append((how, source))
        elif isinstance(target, ast.Tuple):
            for position, each in enumerate(target.elts):
                if isinstance(source, ast.Tuple) and how == "value" and len(source.elts) == len(target.elts):
                    note(each, "value", source.elts[position])
                else:
                    note(each, "part", (how, source, position))

    waiting: list[ast.AST] = list(node.body)
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.FunctionDef | ast.Lambda):
            if isinstance(each, ast.FunctionDef):
                assigned.get(each.name, []).append(("hint", Hint("callable")))
            continue
        if isinstance(each, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            for inner in ast.walk(each):
                if isinstance(inner, ast.NamedExpr):
                    note(inner.target, "hint", None)
            continue
        if isinstance(each, ast.Assign):
            for target in each.targets:
                note(target, "value", each.value)
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            annotated[each.target.id] = from_annotation(each.annotation, code.names, code.world)
        elif isinstance(each, ast.AugAssign):
            note(each.target, "augmented", each)
        elif isinstance(each, ast.NamedExpr):
            note(each.target, "value", each.value)
        elif isinstance(each, ast.For):
            note(each.target, "item", each.iter)
        elif isinstance(each, ast.ExceptHandler) and each.name:
            assigned.get(each.name, []).append(("hint", None))
        waiting += ast.iter_child_nodes(each)

    def hint_of(how: str, source: Any) -> Hint | None:
        if how == "value":
            value: Hint | None = code.infer(source)
            return value
        if how == "hint":
            known: Hint | None = source
            return known
        if how == "item":
            return loop_item(code, source)
        if how == "augmented":
            return code.infer(ast.BinOp(ast.Name(source.target.id, ast.Load()), source.op, source.value))
        inner_how, inner, position = source
        whole = hint_of(inner_how, inner)
        if whole is not None and whole.kind == "tuple":
            return tuple_part(whole, position)
        if whole is not None and whole.info is not None and whole.info.is_named_tuple:
            return whole.info.hints.get(list(whole.info.attributes)[position])
        return None

    # Begin with what is assigned without looking at the variable itself; then look again until nothing changes.
    for name in names:
        code.local_hints[name] = annotated.get(name)
    for _ in range(2):
        for name in names:
            if name not in annotated and assigned[name]:
                first = [entry for entry in assigned[name] if not refers(entry[1], name)] or assigned[name]
                found = [hint_of(how, source) for how, source in first]
                hint = found[0]
                for other in found[1:]:
                    hint = join(hint, other)
                code.local_hints[name] = hint
    for _ in range(10):
        changed = False
        for name in names:
            if name in annotated or not assigned[name]:
                continue
            found = [hint_of(how, source) for how, source in assigned[name]]
            hint = found[0]
            for other in found[1:]:
                hint = join(hint, other)
            if hint != code.local_hints[name]:
                code.local_hints[name] = hint
                changed = True
        if not changed:
            return
    for name in names:
        if name not in annotated:
            code.local_hints[name] = None


def refers(source: Any, name: str) -> bool:
    """Tell whether what is assigned depends on the variable *name*."""
    if isinstance(source, tuple):
        return refers(source[1], name)
    if isinstance(source, ast.AugAssign):
        return True
    return isinstance(source, ast.AST) and any(
        isinstance(each, ast.Name) and each.id == name for each in ast.walk(source)
    )


def loop_item(code: Inference, source: ast.expr) -> Hint | None:
    """Return what is known of the items of a loop."""
    if isinstance(source, ast.Call) and isinstance(source.func, ast.Name):
        name = source.func.id
        if name == "range":
            return INT
        if name == "enumerate" and source.args:
            return Hint("tuple", (INT, loop_item(code, source.args[0])))
        if name == "zip":
            return Hint("tuple", tuple(loop_item(code, each) for each in source.args))
        if name == "reversed" and source.args:
            return loop_item(code, source.args[0])
    if isinstance(source, ast.Call) and isinstance(source.func, ast.Attribute) and not source.args:
        base = code.infer(source.func.value)
        if base is not None and base.kind == "dict" and len(base.of) == 2:
            if source.func.attr == "items":
                return Hint("tuple", base.of)
            if source.func.attr in ("keys", "values"):
                return base.of[0 if source.func.attr == "keys" else 1]
        return None
    return code.item_hint(source)
