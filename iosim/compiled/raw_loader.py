"""Loading of raw modules in plain Python: they are checked against the language, and their operations made to wrap."""

import ast
import inspect
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

from iosim.compiled.raw import INTRINSICS, RawError, sar, shl, wrap

_HALF = 1 << 63
_WRAPPING = (ast.Add, ast.Sub, ast.Mult)
_BITWISE = (ast.BitAnd, ast.BitOr, ast.BitXor)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


class _Wrapping(ast.NodeTransformer):
    """Makes the operations of a raw function wrap to 64 bits, and refuses what the language does not have."""

    def __init__(self, where: str) -> None:
        self.where = where

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Refuse a node that no other method allows."""
        raise self._error(node, f"{type(node).__name__} is not in the raw language")

    def _error(self, node: ast.AST, rule: str) -> RawError:
        return RawError(f"{self.where}:{getattr(node, 'lineno', 0)}: {rule}")

    def _through(self, node: ast.AST) -> ast.AST:
        return super().generic_visit(node)

    def _all(self, nodes: Sequence[ast.AST]) -> list[Any]:
        return [self.visit(node) for node in nodes]

    visit_Return = visit_Break = visit_Continue = visit_Name = visit_Load = visit_Store = _through  # noqa: N815

    def _no_else(self, node: ast.While | ast.For) -> None:
        if node.orelse:
            raise self._error(node, "else of a loop is not in the raw language")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A function: positional parameters, a value returned on every path."""
        arguments = node.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.defaults or node.decorator_list:
            raise self._error(node, "only positional parameters without defaults, no decorators")
        if not _ends(node.body):
            raise self._error(node, f"{node.name} may end without a value")
        node.body = self._all(node.body)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """An assignment to one name."""
        if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
            raise self._error(node, "one name is assigned to")
        return self._through(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        """A branch on a condition."""
        return ast.If(self._condition(node.test), self._all(node.body), self._all(node.orelse))

    def visit_While(self, node: ast.While) -> ast.AST:
        """A loop on a condition."""
        self._no_else(node)
        return ast.While(self._condition(node.test), self._all(node.body), [])

    def visit_For(self, node: ast.For) -> ast.AST:
        """A loop over a range."""
        self._no_else(node)
        call = node.iter
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise self._error(node, "for needs range(...)")
        call.args = self._all(call.args)
        node.body = self._all(node.body)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """A docstring or a call."""
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return node
        if not isinstance(node.value, ast.Call):
            raise self._error(node, "a statement without effect")
        return self._through(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A call by name with positional arguments."""
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self._error(node, "only calls by name with positional arguments")
        node.args = self._all(node.args)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """An int of 64 bits, signed."""
        if type(node.value) is not int or wrap(node.value) != node.value:
            raise self._error(node, f"{node.value!r} is not a 64-bit integer")
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """``a += b`` is ``a = a + b``."""
        if not isinstance(node.target, ast.Name):
            raise self._error(node, "one name is assigned to")
        value = ast.copy_location(ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value), node)
        return ast.Assign([node.target], self.visit_BinOp(value))

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Arithmetic that wraps, bit operations, shifts."""
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, _BITWISE):
            return ast.BinOp(left, node.op, right)
        if isinstance(node.op, ast.LShift):
            return _call("shl", left, right)
        if isinstance(node.op, ast.RShift):
            return _call("sar", left, right)
        if isinstance(node.op, _WRAPPING):
            return _call("wrap", ast.BinOp(left, node.op, right))
        raise self._error(node, f"{type(node.op).__name__} is not in the raw language")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Minus (wraps), ~ and, in conditions, not."""
        if isinstance(node.op, ast.Not):
            raise self._error(node, "not outside of a condition")
        if isinstance(node.op, ast.UAdd):
            raise self._error(node, "UAdd is not in the raw language")
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant) and node.operand.value == _HALF:
            return node
        return _call("wrap", ast.UnaryOp(node.op, self.visit(node.operand)))

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """One signed comparison, 0 or 1."""
        if len(node.ops) != 1 or not isinstance(node.ops[0], _COMPARISONS):
            raise self._error(node, "one comparison of two words at a time")
        node.left = self.visit(node.left)
        node.comparators = [self.visit(node.comparators[0])]
        return _call("int", node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        """A conditional expression."""
        return ast.IfExp(self._condition(node.test), self.visit(node.body), self.visit(node.orelse))

    def _condition(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.BoolOp):
            return ast.BoolOp(node.op, [self._condition(value) for value in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ast.UnaryOp(node.op, self._condition(node.operand))
        result: ast.expr = self.visit(node)
        return result


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _ends(body: list[ast.stmt]) -> bool:
    """Whether a block always ends with a return."""
    last = body[-1] if body else None
    return isinstance(last, ast.Return) or (isinstance(last, ast.If) and _ends(last.body) and _ends(last.orelse))


def load(modules: Iterable[ModuleType]) -> dict[str, Callable[..., int]]:
    """The functions of raw *modules* by name, as they run on the memory of iosim.compiled.raw.

    Raises RawError where a module does not keep to the language, or if two define one name.
    """
    namespace: dict[str, object] = {**INTRINSICS, "wrap": wrap, "shl": shl, "sar": sar, "int": int, "range": range}
    functions: list[str] = []
    for module in modules:
        where = module.__name__
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, int):
                namespace[name] = value
        tree = ast.parse(inspect.getsource(module))
        bodies = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        for node in bodies:
            if node.name in functions:
                raise RawError(f"{where}:{node.lineno}: {node.name} is defined twice")
            functions.append(node.name)
            _Wrapping(where).visit(node)
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
        code = ast.fix_missing_locations(ast.Module(list[ast.stmt](bodies), []))
        exec(compile(code, where, "exec"), namespace)
    return {name: namespace[name] for name in functions}  # type: ignore[misc]
