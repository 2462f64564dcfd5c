"""What tests say about local variables: where they have come out one way, more is known than at an assignment."""

import ast
from typing import TYPE_CHECKING

from iosim.compiled.compiler.hints import Hint

if TYPE_CHECKING:
    from iosim.compiled.compiler.infer import Inference


class Known:
    """What is known of local variables at one place, beyond their hints.

    *hints* are those of the variables; *types* says which variable's type another one holds (`kind = type(step)`).
    """

    def __init__(self) -> None:
        self.hints: dict[str, Hint] = {}
        self.types: dict[str, str] = {}

    def copy(self) -> "Known":
        """Return the same, to be changed apart."""
        other = Known()
        other.hints, other.types = dict(self.hints), dict(self.types)
        return other

    def forget(self, *names: str) -> None:
        """Something else is assigned to variables."""
        for name in names:
            self.hints.pop(name, None)
            self.types.pop(name, None)
            for other in [other for other, of in self.types.items() if of == name]:
                del self.types[other]

    def assign(self, name: str, hint: Hint | None, value: Hint | None) -> None:
        """A variable of *hint* has got a value, of which more may be known."""
        if value is not None and value.kind != "none" and (hint is None or hint == value.or_none()):
            self.hints[name] = value

    def without(self, *nodes: ast.AST) -> "Known":
        """Return what is left if the code of *nodes* may have been executed."""
        other = self.copy()
        for node in nodes:
            names = [each for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
            other.forget(*(each.id for each in names))
        return other

    def common(self, other: "Known") -> "Known":
        """Return what is known where two ways meet."""
        result = Known()
        result.hints = {name: hint for name, hint in self.hints.items() if other.hints.get(name) == hint}
        result.types = {name: of for name, of in self.types.items() if other.types.get(name) == of}
        return result


def facts(code: "Inference", test: ast.expr, truth: bool) -> dict[str, Hint]:
    """Return the hints of variables where *test* has come out as *truth*."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return facts(code, test.operand, not truth)
    if isinstance(test, ast.BoolOp):
        if isinstance(test.op, ast.And) is not truth:
            return {}
        return {name: hint for part in test.values for name, hint in facts(code, part, truth).items()}
    if isinstance(test, ast.Compare):
        return _compared(code, test, truth)
    if isinstance(test, ast.Call):
        return _instance(code, test) if truth else {}
    return _given(code, test) if truth else {}


def _variable(node: ast.expr) -> str | None:
    if isinstance(node, ast.NamedExpr):
        node = node.target
    return node.id if isinstance(node, ast.Name) else None


def _given(code: "Inference", node: ast.expr) -> dict[str, Hint]:
    """It is not None."""
    name = _variable(node)
    hint = None if name is None else code.infer(ast.Name(name, ast.Load()))
    return {} if name is None or hint is None or not hint.optional else {name: hint.given()}


def _compared(code: "Inference", test: ast.Compare, truth: bool) -> dict[str, Hint]:
    if len(test.ops) != 1 or not isinstance(test.ops[0], ast.Is | ast.IsNot):
        return {}
    left, right = test.left, test.comparators[0]
    same = isinstance(test.ops[0], ast.Is) is truth
    if isinstance(right, ast.Constant) and right.value is None:
        return {} if same else _given(code, left)
    return _of_class(code, _typed(code, left), right) if same else {}


def _typed(code: "Inference", node: ast.expr) -> str | None:
    """Return the variable whose type an expression is."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "type":
        return _variable(node.args[0])
    return code.known.types.get(node.id) if isinstance(node, ast.Name) else None


def _instance(code: "Inference", test: ast.Call) -> dict[str, Hint]:
    if not isinstance(test.func, ast.Name) or test.func.id != "isinstance":
        return {}
    return _of_class(code, _variable(test.args[0]), test.args[1])


def _of_class(code: "Inference", name: str | None, node: ast.expr) -> dict[str, Hint]:
    """The variable *name* is an instance of the class that *node* stands for."""
    live = code.static(node)
    info = None if live is None else code.world.class_of(live[0])
    if name is None or info is None or info.is_protocol or info.is_enum:
        return {}
    known = code.infer(ast.Name(name, ast.Load()))
    if known is not None and known.info is not None and known.info.is_a(info):
        return {name: known.given()}
    return {name: Hint("object", (), info)}
