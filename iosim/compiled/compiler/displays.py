"""Code of displays, comprehensions and formatted texts."""

import ast
from collections.abc import Callable, Sequence

from iosim.compiled import layout
from iosim.compiled.compiler.hints import STR, Hint, join
from iosim.compiled.compiler.loops import Loops, NewBind
from iosim.compiled.compiler.values import I64, CompileError, Val


class Displays(Loops):
    """Generates the code of expressions that make containers and texts."""

    def tuple_of(self, values: Sequence[Val]) -> Val:
        """Return a new tuple."""
        words = [self.word(value) for value in values]
        if not words:
            return self.constant(())
        obj = self.program.allocate(self.builder, layout.TUPLE, 1 + len(words), filled=True)
        for position, word in enumerate(words):
            self.store(obj, 1 + position, word)
        return Val(obj, "W", Hint("tuple", tuple(value.hint for value in values)))

    def get_tuple(self, node: ast.Tuple) -> Val:
        """Return the tuple of a display."""
        if any(isinstance(each, ast.Starred) for each in node.elts):
            items = self.list_of(node.elts)
            return Val(self.call_runtime("rt_tuple_from", self.word(items)), "W", Hint("tuple"))
        return self.tuple_of([self.expression(each) for each in node.elts])

    def _get_Tuple(self, node: ast.Tuple) -> Val:
        return self.get_tuple(node)

    def _get_List(self, node: ast.List) -> Val:
        return self.list_of(node.elts)

    def list_of(self, elements: Sequence[ast.expr]) -> Val:
        """Return a new list."""
        result = self.call_runtime("rt_list_new", I64(len(elements)))
        hints: list[Hint | None] = []
        for each in elements:
            if isinstance(each, ast.Starred):
                inner = self.expression(each.value)
                self.call_runtime("rt_list_extend", result, self.word(inner))
                hints.append(inner.hint.of[0] if inner.hint is not None and inner.hint.of else None)
                continue
            value = self.expression(each)
            hints.append(value.hint)
            self.call_runtime("rt_list_append", result, self.word(value))
        of: Hint | None = hints[0] if hints else None
        for hint in hints[1:]:
            of = join(of, hint)
        return Val(result, "W", Hint("list", (of,) if of is not None else ()))

    def _get_Dict(self, node: ast.Dict) -> Val:
        result = self.call_runtime("rt_dict_new")
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                raise CompileError(f"line {node.lineno}: ** in a dict")
            self.call_runtime("rt_dict_set", result, self.word(self.expression(key)), self.word(self.expression(value)))
        return Val(result, "W", Hint("dict"))

    def _get_Set(self, node: ast.Set) -> Val:
        result = self.call_runtime("rt_set_new")
        for each in node.elts:
            self.call_runtime("rt_set_add", result, self.word(self.expression(each)))
        return Val(result, "W", Hint("set"))

    # Comprehensions

    def comprehend(self, generators: Sequence[ast.comprehension], run: Callable[[], None]) -> None:
        """Generate the loops of a comprehension, with *run* innermost."""
        first, rest = generators[0], generators[1:]
        saved = {}
        before = self.known.copy()
        for name in (n.id for n in ast.walk(first.target) if isinstance(n, ast.Name)):
            saved[name] = self.slots.get(name)
            self.known.forget(name)
        after = self.block("endcomp")

        def inside() -> None:
            for test in first.ifs:
                passed = self.block("passed")
                self.condition(test, passed, self.loops[-1][0])
                self.builder.position_at_end(passed)
            if rest:
                self.comprehend(rest, run)
            else:
                run()

        # The source is evaluated before its targets exist.
        self.iterate(first.iter, NewBind(self, first.target), inside, after, after)
        self.builder.position_at_end(after)
        self.known = before
        for name, slot in saved.items():
            if slot is not None:
                self.slots[name] = slot
            else:
                self.slots.pop(name, None)

    def _get_ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> Val:
        result = self.call_runtime("rt_list_new", I64(0))
        slot = self.hidden()
        self.builder.store(result, slot.pointer())
        hints: list[Hint | None] = []

        def run() -> None:
            value = self.expression(node.elt)
            hints.append(value.hint)
            self.call_runtime("rt_list_append", self.builder.load(slot.pointer()), self.word(value))

        self.comprehend(node.generators, run)
        of = hints[0] if hints else None
        return Val(self.builder.load(slot.pointer()), "W", Hint("list", (of,) if of is not None else ()))

    def _get_GeneratorExp(self, node: ast.GeneratorExp) -> Val:
        return self._get_ListComp(node)

    def _get_SetComp(self, node: ast.SetComp) -> Val:
        slot = self.hidden()
        self.builder.store(self.call_runtime("rt_set_new"), slot.pointer())

        def run() -> None:
            word = self.word(self.expression(node.elt))
            self.call_runtime("rt_set_add", self.builder.load(slot.pointer()), word)

        self.comprehend(node.generators, run)
        return Val(self.builder.load(slot.pointer()), "W", Hint("set"))

    def _get_DictComp(self, node: ast.DictComp) -> Val:
        slot = self.hidden()
        self.builder.store(self.call_runtime("rt_dict_new"), slot.pointer())
        hints: list[tuple[Hint | None, Hint | None]] = []

        def run() -> None:
            key, value = self.expression(node.key), self.expression(node.value)
            hints.append((key.hint, value.hint))
            self.call_runtime("rt_dict_set", self.builder.load(slot.pointer()), self.word(key), self.word(value))

        self.comprehend(node.generators, run)
        return Val(self.builder.load(slot.pointer()), "W", Hint("dict", hints[0] if hints else ()))

    def _get_JoinedStr(self, node: ast.JoinedStr) -> Val:
        result = self.constant("")
        for part in node.values:
            if isinstance(part, ast.Constant):
                piece = self.constant(part.value)
            else:
                assert isinstance(part, ast.FormattedValue)
                if part.format_spec is not None or part.conversion != -1:
                    raise CompileError(f"line {node.lineno}: a format in an f-string")
                value = self.expression(part.value)
                if value.kind == "I":
                    piece = Val(self.call_runtime("rt_int_to_str", self.word(value)), "W", STR)
                else:
                    piece = Val(self.call_runtime("rt_to_str", self.word(value)), "W", STR)
            result = Val(self.call_runtime("rt_str_concat", self.word(result), self.word(piece)), "W", STR)
        return result
