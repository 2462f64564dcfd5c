"""Code of lists, deques, dictionaries, sets and texts: their methods, and making them of iterables."""

import ast
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from iosim.compiled.compiler.hints import INT, Hint, join
from iosim.compiled.compiler.loops import Loops
from iosim.compiled.compiler.values import I64, CompileError, Val

BUILTIN_METHODS: dict[str, dict[str, str]] = {
    "list": {
        "append": "rt_list_append",
        "insert": "rt_list_insert",
        "extend": "rt_list_extend",
        "remove": "rt_list_remove",
        "index": "rt_list_index",
        "clear": "rt_list_clear",
        "reverse": "rt_list_reverse",
        "copy": "rt_list_copy",
    },
    "deque": {
        "append": "rt_deque_append",
        "appendleft": "rt_deque_appendleft",
        "popleft": "rt_deque_popleft",
        "pop": "rt_deque_pop",
        "remove": "rt_deque_remove",
        "clear": "rt_deque_clear",
        "insert": "rt_deque_insert",
        "extend": "rt_deque_extend",
    },
    "dict": {
        "setdefault": "rt_dict_setdefault",
        "clear": "rt_dict_clear",
        "keys": "rt_dict_keys",
        "values": "rt_dict_values",
        "items": "rt_dict_items",
        "copy": "rt_dict_copy",
        "move_to_end": "rt_dict_move_to_end",
    },
    "set": {
        "add": "rt_set_add",
        "discard": "rt_set_discard",
        "remove": "rt_set_remove",
        "clear": "rt_set_clear",
        "union": "rt_set_union",
        "difference": "rt_set_difference",
        "update": "rt_set_update",
        "difference_update": "rt_set_difference_update",
    },
    "tuple": {"index": "rt_tuple_index"},
    "str": {"startswith": "rt_str_startswith", "removeprefix": "rt_str_removeprefix"},
}
NO_RESULT = {
    "append",
    "appendleft",
    "insert",
    "extend",
    "remove",
    "clear",
    "reverse",
    "add",
    "discard",
    "update",
    "difference_update",
}


class Containers(Loops):
    """Generates the code of containers."""

    def call_container(
        self, obj: Val, name: str, args: Sequence[ast.expr], keywords: dict[str, ast.expr], node: ast.AST
    ) -> Val:
        """Call a method of a list, deque, dict, set or text."""
        assert obj.hint is not None
        kind, parts = obj.hint.kind, obj.hint.of
        of = parts[0] if parts else None
        word = self.word(obj)
        if kind == "list" and name == "sort":
            keys = self.sort_keys(obj, keywords, node)
            ordered = (
                self.call_runtime("rt_sorted", word) if keys is None else self.call_runtime("rt_sort_by", word, keys)
            )
            self.call_runtime("rt_list_slice_assign", word, I64(0), I64(0), ordered)
            return Val(I64(0), "W")
        if kind == "dict" and name == "popitem":
            last = keywords.get("last")
            if not (isinstance(last, ast.Constant) and last.value is False):
                raise CompileError(f"line {getattr(node, 'lineno', 0)}: popitem of the last item")
            return Val(self.call_runtime("rt_dict_popitem_first", word), "W", Hint("tuple", parts))
        if keywords:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: keywords of {kind}.{name}")
        values = [self.expression(each) for each in args]
        words = [self.word(each) for each in values]
        key = Val(words[0], "W", values[0].hint) if words else None
        if kind == "list" and name == "pop":
            result = (
                self.call_runtime("rt_list_pop_at", word, *words) if words else self.call_runtime("rt_list_pop", word)
            )
            return self.from_word(result, of)
        if kind == "dict" and name in ("get", "pop"):
            value_hint = parts[1] if len(parts) == 2 else None
            assert key is not None
            if name == "pop" and len(words) == 1:
                return self.from_word(self.call_table("rt_dict_take", obj, key), value_hint)
            default_hint = None if len(args) < 2 else self.infer(args[1])
            if len(words) == 1:
                words.append(I64(0))
                hint = None if value_hint is None else value_hint.or_none()
            else:
                hint = join(value_hint, default_hint)
            return self.from_word(self.call_table(f"rt_dict_{name}", obj, key, words[1]), hint)
        if kind == "set" and name in ("add", "discard", "remove") and key is not None:
            self.call_table(f"rt_set_{name}", obj, key)
            return Val(I64(0), "W")
        runtime = BUILTIN_METHODS[kind].get(name)
        if runtime is None:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: {kind}.{name}")
        result = self.call_runtime(runtime, word, *words)
        if name in NO_RESULT:
            return Val(I64(0), "W")
        hint = None
        if kind == "deque" and name in ("pop", "popleft"):
            hint = of
        elif name == "index":
            hint = INT
        elif kind == "dict" and name == "setdefault":
            hint = parts[1] if len(parts) == 2 else None
        elif kind == "dict" and name in ("keys", "values") and len(parts) == 2:
            hint = Hint("list", (parts[0 if name == "keys" else 1],))
        elif kind == "dict" and name == "items":
            hint = Hint("list", (Hint("tuple", parts),) if len(parts) == 2 else ())
        elif name in ("copy", "union", "difference"):
            hint = obj.hint
        elif name == "startswith":
            return self.bit(result)
        elif name == "removeprefix":
            hint = obj.hint
        return self.from_word(result, hint)

    def sort_keys(self, items: Val, keywords: dict[str, ast.expr], node: ast.AST) -> ir.Value | None:
        """Return the list of the keys to sort *items* by, if there are any."""
        if set(keywords) - {"key"}:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: reverse of a sort")
        if "key" not in keywords:
            return None
        key = self.expression(keywords["key"])
        slot = self.hidden()
        self.builder.store(self.call_runtime("rt_list_new", I64(0)), slot.pointer())
        after = self.block("endkeys")

        def bind(item: Val) -> None:
            word = self.word(self.call_value(key, [item]))
            self.call_runtime("rt_list_append", self.builder.load(slot.pointer()), word)

        self.iterate_sequence(items, bind, lambda: None, after, after)
        self.builder.position_at_end(after)
        return self.builder.load(slot.pointer())

    def _call_sorted(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        source = self.expression(node.args[0])
        if keywords:
            items = Val(self.call_runtime("rt_list_copy", self.word(source)), "W", Hint("list"))
            keys = self.sort_keys(items, keywords, node)
            word = self.call_runtime("rt_sort_by", items.value, keys)
        else:
            word = self.call_runtime("rt_sorted", self.word(source))
        of = source.hint.of[:1] if source.hint is not None and source.hint.kind in ("list", "deque", "set") else ()
        return Val(word, "W", Hint("list", of))

    def materialised(self, node: ast.expr) -> Val:
        """Return an iterable as something that the runtime can walk through."""
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("zip", "enumerate", "reversed", "map")
        ):
            slot, after = self.hidden(), self.block("endlist")
            self.builder.store(self.call_runtime("rt_list_new", I64(0)), slot.pointer())

            def bind(item: Val) -> None:
                self.call_runtime("rt_list_append", self.builder.load(slot.pointer()), self.word(item))

            self.iterate(node, bind, lambda: None, after, after)
            self.builder.position_at_end(after)
            return Val(self.builder.load(slot.pointer()), "W", Hint("list"))
        value = self.expression(node)
        if value.hint is not None and value.hint.kind == "generator":
            slot, after = self.hidden(), self.block("endlist")
            self.builder.store(self.call_runtime("rt_list_new", I64(0)), slot.pointer())

            def bind_one(item: Val) -> None:
                self.call_runtime("rt_list_append", self.builder.load(slot.pointer()), self.word(item))

            self.iterate_generator(value, bind_one, lambda: None, after, after)
            self.builder.position_at_end(after)
            return Val(self.builder.load(slot.pointer()), "W", Hint("list"))
        return value

    def made(self, node: ast.Call, kind: str, empty: str, copy: str) -> Val:
        """Return a container of an iterable's items; *empty* and *copy* are the functions of the library for it."""
        if not node.args:
            return Val(self.call_runtime(empty), "W", Hint(kind))
        value = self.materialised(node.args[0])
        of = value.hint.of[:1] if value.hint is not None and value.hint.kind in ("list", "deque", "set", "dict") else ()
        return Val(self.call_runtime(copy, self.word(value)), "W", Hint(kind, of))

    def _call_list(self, node: ast.Call, _: Any) -> Val:
        if not node.args:
            return Val(self.call_runtime("rt_list_new", I64(0)), "W", Hint("list"))
        return self.made(node, "list", "", "rt_list_copy")

    def _call_tuple(self, node: ast.Call, _: Any) -> Val:
        if not node.args:
            return self.constant(())
        value = self.materialised(node.args[0])
        of = value.hint.of[:1] if value.hint is not None and value.hint.kind in ("list", "deque", "set") else ()
        return Val(self.call_runtime("rt_tuple_from", self.word(value)), "W", Hint("tuple", of))

    def _call_set(self, node: ast.Call, _: Any) -> Val:
        return self.made(node, "set", "rt_set_new", "rt_set_from")

    _call_frozenset = _call_set

    def _call_dict(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        if keywords or len(node.args) > 1:
            raise CompileError(f"line {node.lineno}: dict()")
        if not node.args:
            return Val(self.call_runtime("rt_dict_new"), "W", Hint("dict"))
        return Val(self.call_runtime("rt_dict_from", self.word(self.materialised(node.args[0]))), "W", Hint("dict"))

    def _call_deque(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Val:
        if keywords or len(node.args) > 1:
            raise CompileError(f"line {node.lineno}: deque with maxlen")
        result = self.call_runtime("rt_deque_new")
        of: tuple[Hint | None, ...] = ()
        if node.args:
            value = self.materialised(node.args[0])
            of = value.hint.of[:1] if value.hint is not None and value.hint.kind in ("list", "deque", "set") else ()
            self.call_runtime("rt_deque_extend", result, self.word(value))
        return Val(result, "W", Hint("deque", of))
