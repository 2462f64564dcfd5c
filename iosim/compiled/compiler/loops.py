"""Code of loops: over ranges, sequences, dictionaries, generators, and several of them at once."""

import ast
from collections.abc import Callable, Sequence

from llvmlite import ir

from iosim.compiled.compiler.emitter import Emitter, Slot
from iosim.compiled.compiler.hints import INT, Hint
from iosim.compiled.compiler.values import I1, I64, YIELDED, CompileError, Val, tag


class Bind:
    """Assigns an item of a loop to its target."""

    def __init__(self, code: Emitter, target: ast.expr) -> None:
        self._code = code
        self.target = target

    def __call__(self, item: Val) -> None:
        """Bind one item."""
        self._code.assign(self.target, item)

    def bind_parts(self, values: Sequence[Val]) -> bool:
        """Bind the parts of a tuple one by one, if the target is one."""
        if not isinstance(self.target, ast.Tuple) or len(self.target.elts) != len(values):
            return False
        for each, value in zip(self.target.elts, values, strict=True):
            self._code.assign(each, value)
        return True


class NewBind:
    """Assigns an item to targets of a comprehension, which are variables of its own."""

    def __init__(self, code: Emitter, target: ast.expr) -> None:
        self._code = code
        self._done = False
        self.target = target

    def _declare(self) -> None:
        if self._done:
            return
        self._done = True
        for each in ast.walk(self.target):
            if isinstance(each, ast.Name):
                self._code.slots.pop(each.id, None)
                self._code.n_hidden += 1
                name = f"{each.id}.{self._code.n_hidden}"
                self._code.slots[each.id] = self._code.new_slot(name, None)

    def __call__(self, item: Val) -> None:
        """Bind one item."""
        self._declare()
        if isinstance(self.target, ast.Name):
            self._code.slots[self.target.id].hint = item.hint
            self._code.builder.store(self._code.word(item), self._code.slots[self.target.id].pointer())
        else:
            assert isinstance(self.target, ast.Tuple)
            self._code.unpack(self.target, item)

    def bind_parts(self, values: Sequence[Val]) -> bool:
        """Bind the parts of a tuple one by one, if the target is one."""
        if not isinstance(self.target, ast.Tuple) or len(self.target.elts) != len(values):
            return False
        self._declare()
        for each, value in zip(self.target.elts, values, strict=True):
            if isinstance(each, ast.Name):
                self._code.slots[each.id].hint = value.hint
            self._code.assign(each, value)
        return True


class Loops(Emitter):
    """Generates the code of loops."""

    def iterate(
        self,
        source: ast.expr,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        """Generate a loop: *bind* each item of *source*, then *run*. Ends in *exhausted*; break goes to *after*."""
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and not source.keywords:
            name = source.func.id
            if name == "range" and name not in self.slots:
                self.iterate_range(source, bind, run, exhausted, after)
                return
            if name == "enumerate" and len(source.args) == 1:
                counter = self.hidden(INT)
                self.builder.store(I64(tag(0)), counter.pointer())

                def bind_both(item: Val) -> None:
                    number = self.builder.load(counter.pointer())
                    self.builder.store(self.builder.add(number, I64(2)), counter.pointer())
                    self.bind_tuple(bind, [self.from_word(number, INT), item])

                self.iterate(source.args[0], bind_both, run, exhausted, after)
                return
            if name == "reversed" and len(source.args) == 1:
                copy = self.call_runtime("rt_list_copy", self.word(self.expression(source.args[0])))
                self.call_runtime("rt_list_reverse", copy)
                self.iterate_sequence(Val(copy, "W", Hint("list")), bind, run, exhausted, after)
                return
        if isinstance(source, ast.Call) and isinstance(source.func, ast.Name) and source.func.id == "zip":
            self.iterate_zip(source.args, bind, run, exhausted, after)
            return
        if isinstance(source, ast.Tuple | ast.List) and any(isinstance(e, ast.Starred) for e in source.elts):
            self.iterate_sequence(self.expression(source), bind, run, exhausted, after)
            return
        if (
            isinstance(source, ast.Call)
            and isinstance(source.func, ast.Attribute)
            and source.func.attr in ("items", "values", "keys")
            and not source.args
        ):
            self.iterate_dict(source.func.value, source.func.attr, bind, run, exhausted, after)
            return
        value = self.expression(source)
        hint = value.hint
        if hint is not None and hint.kind in ("dict", "set"):
            word = self.word(value)
            copy = self.call_runtime("rt_list_copy", word)
            of = (hint.of[0],) if hint.of else ()
            self.iterate_sequence(Val(copy, "W", Hint("list", of)), bind, run, exhausted, after)
            return
        if hint is not None and hint.kind == "generator":
            self.iterate_generator(value, bind, run, exhausted, after)
            return
        self.iterate_sequence(value, bind, run, exhausted, after)

    def bind_tuple(self, bind: Callable[[Val], None], values: list[Val]) -> None:
        """Bind a tuple of values, without making one if they are unpacked at once."""
        if not (isinstance(bind, Bind | NewBind) and bind.bind_parts(values)):
            bind(self.tuple_of(values))

    def loop(
        self,
        more: Callable[[], ir.Value],
        item: Callable[[], None],
        run: Callable[[], None],
        advance: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        """Generate a loop out of its parts; it ends in *exhausted*, break goes to *after*."""
        head, inside, following = self.block("for"), self.block("item"), self.block("next")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(more(), inside, exhausted)
        self.builder.position_at_end(inside)
        item()
        self.loops.append((following, after))
        run()
        self.loops.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(following)
        self.builder.position_at_end(following)
        advance()
        self.builder.branch(head)

    def iterate_range(
        self,
        source: ast.Call,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        """Over a range, without making it."""
        bounds = [self.expression(argument) for argument in source.args]
        if any(each.kind == "F" for each in bounds):
            raise CompileError(f"line {source.lineno}: range of floats")
        begin, end = (Val(I64(0), "I", INT), bounds[0]) if len(bounds) == 1 else bounds[:2]
        step = self.integer(bounds[2]) if len(bounds) == 3 else I64(1)
        at, last = self.hidden(INT), self.hidden(INT)
        down = len(source.args) == 3 and isinstance(source.args[2], ast.UnaryOp)
        if isinstance(step, ir.Constant):
            down = step.constant < 0
        if not isinstance(step, ir.Constant):
            good = self.builder.icmp_signed("<" if down else ">", step, I64(0))
            self.trap_unless(good, source, "a range whose step has the other sign, or is 0")
        elif step.constant == 0:
            raise CompileError(f"line {source.lineno}: range with a step of 0")
        self.builder.store(self.word(begin), at.pointer())
        self.builder.store(self.word(end), last.pointer())
        width = self.hidden(INT)
        self.put(width, step)

        def load(slot: Slot) -> ir.Value:
            return self.builder.load(slot.pointer())

        def advance() -> None:
            if isinstance(step, ir.Constant) and step.constant == 1:
                self.count(at)
            else:
                self.put(at, self.builder.add(self.got(at), self.got(width)))

        self.loop(
            lambda: self.builder.icmp_signed(">" if down else "<", load(at), load(last)),
            lambda: bind(self.whole(load(at))),
            run,
            advance,
            exhausted,
            after,
        )

    def count(self, slot: Slot) -> None:
        """Add 1 to a counter that is less than another integer."""
        b = self.builder
        b.store(b.add(b.load(slot.pointer()), I64(2), flags=("nsw",)), slot.pointer())

    def iterate_sequence(
        self,
        value: Val,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        """Over a list, tuple or deque by its index, as long as it then is; anything else is copied first."""
        hint = value.hint
        sequence, at = self.hidden(hint), self.hidden(INT)
        word = self.word(value)
        kind = None if hint is None else hint.kind
        if hint is not None and hint.info is not None and hint.info.is_named_tuple:
            kind = "tuple"
        if kind not in ("list", "tuple", "deque"):
            word = self.call_runtime("rt_iterable", word)
            kind = None
        self.builder.store(word, sequence.pointer())
        self.put(at, I64(0))
        of = None
        if (hint is not None and hint.of and hint.kind in ("list", "deque", "set")) or (
            hint is not None and hint.kind == "tuple" and hint.of and len(set(hint.of)) == 1
        ):
            of = hint.of[0]

        def more() -> ir.Value:
            container = self.builder.load(sequence.pointer())
            return self.builder.icmp_signed("<", self.builder.load(at.pointer()), self.length(container, kind))

        def item() -> None:
            container = self.builder.load(sequence.pointer())
            index = self.builder.load(at.pointer())
            if kind in ("list", "tuple"):
                word = self.builder.load(self.item_pointer(container, kind, index))
            else:
                word = self.call_runtime("rt_deque_get" if kind == "deque" else "rt_getitem", container, index)
            bind(self.from_word(word, of))

        self.loop(more, item, run, lambda: self.count(at), exhausted, after)

    def iterate_zip(
        self,
        sources: Sequence[ast.expr],
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        """Over several iterables side by side."""
        parts: list[tuple[Slot, Hint | None]] = []
        for source in sources:
            value = self.expression(source)
            word = self.word(value)
            if value.hint is None or value.hint.kind not in ("list", "tuple", "deque"):
                word = self.call_runtime("rt_iterable", word)
            slot = self.hidden()
            self.builder.store(word, slot.pointer())
            of = (
                value.hint.of[0]
                if value.hint is not None and value.hint.kind in ("list", "deque") and value.hint.of
                else None
            )
            parts.append((slot, of))
        at = self.hidden(INT)
        self.put(at, I64(0))

        def more() -> ir.Value:
            result: ir.Value = I1(1)
            for slot, _ in parts:
                length = self.length(self.builder.load(slot.pointer()), None)
                here = self.builder.icmp_signed("<", self.builder.load(at.pointer()), length)
                result = self.builder.and_(result, here)
            return result

        def item() -> None:
            index = self.builder.load(at.pointer())
            values = [
                self.from_word(self.call_runtime("rt_getitem", self.builder.load(slot.pointer()), index), of)
                for slot, of in parts
            ]
            self.bind_tuple(bind, values)

        self.loop(more, item, run, lambda: self.count(at), exhausted, after)

    def iterate_dict(
        self,
        source: ast.expr,
        what: str,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        """Over keys, values or items of a dictionary that does not change meanwhile."""
        value = self.expression(source)
        hint = value.hint
        if hint is None or hint.kind != "dict":
            self.iterate_sequence(self.call_method(value, what, [], {}, source), bind, run, exhausted, after)
            return
        key_hint, value_hint = hint.of if len(hint.of) == 2 else (None, None)
        table, at = self.hidden(hint), self.hidden(INT)
        self.builder.store(self.word(value), table.pointer())

        def find(first: ir.Value) -> None:
            self.put(at, self.call_runtime("rt_dict_next", self.builder.load(table.pointer()), first))

        def item() -> None:
            here, position = self.builder.load(table.pointer()), self.got(at)

            def key() -> Val:
                return self.from_word(self.call_runtime("rt_dict_key_at", here, position), key_hint)

            def of() -> Val:
                return self.from_word(self.call_runtime("rt_dict_value_at", here, position), value_hint)

            if what == "items":
                self.bind_tuple(bind, [key(), of()])
            else:
                bind(key() if what == "keys" else of())

        find(I64(0))
        self.loop(
            lambda: self.builder.icmp_signed(">=", self.got(at), I64(0)),
            item,
            run,
            lambda: find(self.builder.add(self.got(at), I64(1))),
            exhausted,
            after,
        )

    def iterate_generator(
        self,
        value: Val,
        bind: Callable[[Val], None],
        run: Callable[[], None],
        exhausted: ir.Block,
        after: ir.Block,
    ) -> None:
        """Over what a generator yields."""
        source, got = self.hidden(value.hint), self.hidden()
        self.builder.store(self.word(value), source.pointer())

        def more() -> ir.Value:
            result = self.builder.call(self.program.send, [self.builder.load(source.pointer()), I64(0)])
            self.builder.store(self.builder.extract_value(result, 0), got.pointer())
            return self.builder.icmp_signed("==", self.builder.extract_value(result, 1), I64(YIELDED))

        self.loop(
            more,
            lambda: bind(Val(self.builder.load(got.pointer()), "W")),
            run,
            lambda: None,
            exhausted,
            after,
        )
