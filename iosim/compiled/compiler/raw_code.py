"""The run-time library to LLVM IR: functions of the raw language (`iosim.compiled.raw`)."""

import ast
import inspect
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from llvmlite import ir

from iosim.compiled import layout
from iosim.compiled.compiler.values import DOUBLE, I8, I64

SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
INLINED = {"rt_list_append", "rt_list_get", "rt_tuple_get", "rt_index", "rt_size", "rt_tag", "rt_class_of"}
RARE = {"rt_alloc_slow", "rt_deque_grow", "rt_list_place", "rt_tuple_far", "rt_pick"}
"""Functions that are called where something has turned out to be unusual."""
SPARING = "preserve_mostcc"
"""The calling convention of functions seldom called: they save the registers, so that their callers need not."""
LOCAL = "dso_local"
"""The linkage of variables that Python looks up, and that native code reaches without a table of addresses."""
QUICK = {"rt_add", "rt_sub", "rt_lt", "rt_eq", "rt_truth"}
"""Functions of which only what the first `if` does (for two ints) is inlined; the rest is called."""


OUTLINED = {"rt_content_seed", "rt_dict_rebuild", "rt_dict_find_equal"}
"""Functions that are seldom called, by others that are to stay small."""


class RawModules:
    """The functions of raw modules in an LLVM module. *trap* is what ends the program."""

    def __init__(self, module: ir.Module, modules: Iterable[ModuleType], trap: ir.Function) -> None:
        self.module = module
        self.trap = trap
        self.globals = ir.GlobalVariable(module, ir.ArrayType(I64, layout.N_GLOBALS), "globals")
        self.globals.initializer = ir.Constant(self.globals.value_type, None)
        self.globals.linkage = LOCAL
        self.functions: dict[str, ir.Function] = {}
        bodies: list[tuple[ast.FunctionDef, dict[str, Any]]] = []
        for each in modules:
            for node in ast.parse(inspect.getsource(each)).body:
                if isinstance(node, ast.FunctionDef):
                    kind = ir.FunctionType(I64, [I64] * len(node.args.args))
                    function = ir.Function(module, kind, node.name)
                    function.linkage = "internal"
                    if node.name in INLINED:
                        function.attributes.add("alwaysinline")
                    if node.name in RARE:
                        function.calling_convention = SPARING
                        function.attributes.add("noinline")
                        function.attributes.add("cold")
                    if node.name in OUTLINED:
                        function.attributes.add("noinline")
                    self.functions[node.name] = function
                    bodies.append((node, vars(each)))
        for node, names in bodies:
            if node.name in QUICK:
                self._split(node, names)
            else:
                RawFunction(self, self.functions[node.name], node, names).generate()

    def _split(self, node: ast.FunctionDef, names: dict[str, Any]) -> None:
        """Generate the first `if` of a function, to be inlined, and all of it, to be called if that does not return."""
        quick = self.functions[node.name]
        whole = ir.Function(self.module, quick.function_type, f"{node.name}.whole")
        whole.linkage = "internal"
        whole.calling_convention = SPARING
        whole.attributes.add("noinline")
        RawFunction(self, whole, node, names).generate()
        quick.attributes.add("alwaysinline")
        first = next(each for each in node.body if isinstance(each, ast.If))
        RawFunction(self, quick, node, names).generate([first], whole)

    def declare(self, name: str, n: int) -> ir.Function:
        """Return a function of the library; one that another module defines is declared."""
        if name not in self.functions:
            self.functions[name] = ir.Function(self.module, ir.FunctionType(I64, [I64] * n), name)
        return self.functions[name]


class RawFunction:
    """Generates one function."""

    def __init__(
        self, modules: RawModules, function: ir.Function, node: ast.FunctionDef, names: dict[str, Any]
    ) -> None:
        self.modules = modules
        self.function = function
        self.node = node
        self.names = names
        self.locals: dict[str, Any] = {}
        self.loops: list[tuple[ir.Block, ir.Block]] = []

    def generate(self, body: list[ast.stmt] | None = None, otherwise: ir.Function | None = None) -> None:
        """Generate the body, or just the statements *body*, behind which *otherwise* is called instead."""
        self.entry = self.function.append_basic_block("entry")
        self.b = ir.IRBuilder(self.entry)
        for argument, value in zip(self.node.args.args, self.function.args, strict=True):
            self.b.store(value, self.place(argument.arg))
        start = self.function.append_basic_block("start")
        self.b = ir.IRBuilder(start)
        self.body(self.node.body if body is None else body)
        if not self.b.block.is_terminated:
            if otherwise is None:
                self.b.unreachable()
            else:
                self.b.ret(self.b.call(otherwise, self.function.args))
        ir.IRBuilder(self.entry).branch(start)

    def place(self, name: str) -> Any:
        """Return where a local variable lives."""
        if name not in self.locals:
            with self.b.goto_block(self.entry):
                self.locals[name] = self.b.alloca(I64, name=name)
        return self.locals[name]

    def block(self, name: str) -> ir.Block:
        """Return a new block."""
        return self.function.append_basic_block(name)

    def body(self, statements: Iterable[ast.stmt]) -> None:
        """Generate statements in a row."""
        for statement in statements:
            if self.b.block.is_terminated:
                return
            getattr(self, f"_do_{type(statement).__name__}")(statement)

    def _do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.value(node.value)

    def _do_Return(self, node: ast.Return) -> None:
        assert node.value is not None
        value = self.value(node.value)
        self.b.ret(value)

    def _do_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        assert isinstance(target, ast.Name)
        self.b.store(self.value(node.value), self.place(target.id))

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        assert isinstance(node.target, ast.Name)
        value = self.operation(node.op, self.b.load(self.place(node.target.id)), self.value(node.value))
        self.b.store(value, self.place(node.target.id))

    def _do_If(self, node: ast.If) -> None:
        then, otherwise, end = self.block("then"), self.block("else"), self.block("end")
        self.condition(node.test, then, otherwise)
        for block, part in ((then, node.body), (otherwise, node.orelse)):
            self.b.position_at_end(block)
            self.body(part)
            if not self.b.block.is_terminated:
                self.b.branch(end)
        self.b.position_at_end(end)

    def _do_While(self, node: ast.While) -> None:
        head, inside, end = self.block("while"), self.block("do"), self.block("end")
        self.b.branch(head)
        self.b.position_at_end(head)
        self.condition(node.test, inside, end)
        self.b.position_at_end(inside)
        self.loops.append((head, end))
        self.body(node.body)
        self.loops.pop()
        if not self.b.block.is_terminated:
            self.b.branch(head)
        self.b.position_at_end(end)

    def _do_For(self, node: ast.For) -> None:
        assert isinstance(node.iter, ast.Call)
        assert isinstance(node.target, ast.Name)
        bounds = [self.value(each) for each in node.iter.args]
        begin, end_value = (I64(0), bounds[0]) if len(bounds) == 1 else bounds[:2]
        step = bounds[2] if len(bounds) == 3 else I64(1)
        down = len(bounds) == 3 and isinstance(node.iter.args[2], ast.UnaryOp)
        at = self.place(f".{node.target.id}.{node.lineno}")
        self.b.store(begin, at)
        head, inside, following, end = self.block("for"), self.block("item"), self.block("next"), self.block("end")
        self.b.branch(head)
        self.b.position_at_end(head)
        self.b.cbranch(self.b.icmp_signed(">" if down else "<", self.b.load(at), end_value), inside, end)
        self.b.position_at_end(inside)
        self.b.store(self.b.load(at), self.place(node.target.id))
        self.loops.append((following, end))
        self.body(node.body)
        self.loops.pop()
        if not self.b.block.is_terminated:
            self.b.branch(following)
        self.b.position_at_end(following)
        self.b.store(self.b.add(self.b.load(at), step), at)
        self.b.branch(head)
        self.b.position_at_end(end)

    def _do_Break(self, node: ast.Break) -> None:
        self.b.branch(self.loops[-1][1])

    def _do_Continue(self, node: ast.Continue) -> None:
        self.b.branch(self.loops[-1][0])

    def _do_Pass(self, node: ast.Pass) -> None:
        pass

    def condition(self, test: ast.expr, then: ir.Block, otherwise: ir.Block) -> None:
        """Branch on a condition."""
        if isinstance(test, ast.BoolOp):
            for part in test.values[:-1]:
                following = self.block("and")
                if isinstance(test.op, ast.And):
                    self.condition(part, following, otherwise)
                else:
                    self.condition(part, then, following)
                self.b.position_at_end(following)
            self.condition(test.values[-1], then, otherwise)
            return
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.condition(test.operand, otherwise, then)
            return
        if isinstance(test, ast.Compare):
            self.b.cbranch(self.comparison(test), then, otherwise)
            return
        self.b.cbranch(self.b.icmp_signed("!=", self.value(test), I64(0)), then, otherwise)

    def comparison(self, node: ast.Compare) -> Any:
        """Return the bit of a comparison."""
        return self.b.icmp_signed(SIGNS[type(node.ops[0])], self.value(node.left), self.value(node.comparators[0]))

    def value(self, node: ast.expr) -> Any:
        """Return the word of an expression."""
        if isinstance(node, ast.Constant):
            return I64(node.value)
        if isinstance(node, ast.Name):
            if node.id in self.locals:
                return self.b.load(self.locals[node.id])
            constant = self.names.get(node.id)
            if isinstance(constant, int):
                return I64(constant)
            if node.id in self.modules.functions:
                return self.b.ptrtoint(self.modules.functions[node.id], I64)
            raise NameError(f"{self.node.name}: {node.id}")
        if isinstance(node, ast.BinOp):
            return self.operation(node.op, self.value(node.left), self.value(node.right))
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.USub):
                return self.b.neg(self.value(node.operand))
            assert isinstance(node.op, ast.Invert)
            return self.b.not_(self.value(node.operand))
        if isinstance(node, ast.Compare):
            return self.b.zext(self.comparison(node), I64)
        if isinstance(node, ast.IfExp):
            return self.choice(node)
        assert isinstance(node, ast.Call), ast.dump(node)
        return self.call(node)

    def choice(self, node: ast.IfExp) -> Any:
        """Return the word of a conditional expression."""
        then, otherwise, end = self.block("then"), self.block("else"), self.block("end")
        self.condition(node.test, then, otherwise)
        found = []
        for block, part in ((then, node.body), (otherwise, node.orelse)):
            self.b.position_at_end(block)
            value = self.value(part)
            found.append((value, self.b.block))
            self.b.branch(end)
        self.b.position_at_end(end)
        phi = self.b.phi(I64)
        for value, block in found:
            phi.add_incoming(value, block)
        return phi

    def operation(self, operator: ast.operator, x: Any, y: Any) -> Any:
        """Return the word of a binary operation."""
        simple: dict[type, Callable[[Any, Any], Any]] = {
            ast.Add: self.b.add,
            ast.Sub: self.b.sub,
            ast.Mult: self.b.mul,
            ast.BitAnd: self.b.and_,
            ast.BitOr: self.b.or_,
            ast.BitXor: self.b.xor,
            ast.LShift: self.b.shl,
            ast.RShift: self.b.ashr,
        }
        return simple[type(operator)](x, y)

    def call(self, node: ast.Call) -> Any:
        """Return what a call results in."""
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        arguments = [self.value(each) for each in node.args]
        b = self.b
        if name == "ld":
            return b.load(b.inttoptr(arguments[0], I64.as_pointer()))
        if name == "st":
            b.store(arguments[1], b.inttoptr(arguments[0], I64.as_pointer()))
            return I64(0)
        if name == "ld8":
            return b.zext(b.load(b.inttoptr(arguments[0], I8.as_pointer())), I64)
        if name == "st8":
            b.store(b.trunc(arguments[1], I8), b.inttoptr(arguments[0], I8.as_pointer()))
            return I64(0)
        if name == "gaddr":
            return b.ptrtoint(b.gep(self.modules.globals, [I64(0), arguments[0]]), I64)
        if name == "ushr":
            return b.lshr(*arguments)
        if name == "ult":
            return b.zext(b.icmp_unsigned("<", *arguments), I64)
        if name == "sdiv":
            return b.sdiv(*arguments)
        if name == "srem":
            return b.srem(*arguments)
        if name in ("fadd", "fsub", "fmul", "fdiv"):
            x, y = (b.bitcast(each, DOUBLE) for each in arguments)
            return b.bitcast(getattr(b, name)(x, y), I64)
        if name in ("flt", "fle", "feq"):
            x, y = (b.bitcast(each, DOUBLE) for each in arguments)
            sign = {"flt": "<", "fle": "<=", "feq": "=="}[name]
            return b.zext(b.fcmp_ordered(sign, x, y), I64)
        if name == "itof":
            return b.bitcast(b.sitofp(arguments[0], DOUBLE), I64)
        if name == "ftoi":
            return b.fptosi(b.bitcast(arguments[0], DOUBLE), I64)
        if name == "user_lt":
            return b.call(self.modules.declare("rt_user_lt", 2), arguments)
        if name == "trap":
            b.call(self.modules.trap, arguments)
            return I64(0)
        return b.call(self.modules.declare(name, len(arguments)), arguments)
