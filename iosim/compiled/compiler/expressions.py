"""Code of expressions: all kinds of them; here names, constants, attributes, items, and functions made in place."""

import ast
import enum
import types
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from iosim.compiled.compiler.calls import Calls
from iosim.compiled.compiler.displays import Displays
from iosim.compiled.compiler.hints import BOOL, FLOAT, INT, NONE, STR, Hint, tuple_part
from iosim.compiled.compiler.operators import Operators
from iosim.compiled.compiler.values import DOUBLE, I1, I64, CompileError, Val, tag


class Expressions(Calls, Displays, Operators):
    """Generates the code of expressions."""

    def expression(self, node: ast.expr, wanted: Hint | None = None) -> Val:
        """Return the value of an expression; *wanted* is what it is for, if that is known."""
        method: Callable[[Any], Val] | None = getattr(self, f"_get_{type(node).__name__}", None)
        if method is None:
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: {type(node).__name__}")
        value = method(node)
        hint = value.hint
        if wanted is None or hint is None or value.kind != "W" or wanted.kind != hint.kind or hint.of:
            return value
        if wanted.of:
            return Val(value.value, "W", Hint(wanted.kind, wanted.of, wanted.info, hint.optional))
        return value

    def _get_NamedExpr(self, node: ast.NamedExpr) -> Val:
        value = self.expression(node.value)
        self.assign(node.target, value)
        return value

    # Names and constants

    def _get_Constant(self, node: ast.Constant) -> Val:
        return self.constant(node.value)

    def constant(self, value: Any) -> Val:
        """Return a constant: a literal, or a live object that the machine is given at its start."""
        if isinstance(value, bool):
            return Val(I1(int(value)), "B", BOOL)
        if isinstance(value, int) and not isinstance(value, enum.Enum) and -(1 << 62) <= value < 1 << 62:
            return Val(I64(value), "I", INT)
        if isinstance(value, enum.IntEnum):
            return Val(I64(int(value)), "I", INT)
        if value is None:
            return Val(I64(0), "W", NONE)
        if isinstance(value, float):
            return Val(ir.Constant(DOUBLE, value), "F", FLOAT)
        hint: Hint | None = None
        if isinstance(value, str):
            hint = STR
        elif type(value) in (list, dict, tuple, set):
            hint = Hint(type(value).__name__)
        else:
            info = self.world.class_of(type(value))
            if info is not None:
                hint = Hint("object", (), info)
        return Val(self.builder.load(self.program.constant(value)), "W", hint)

    def _get_Name(self, node: ast.Name) -> Val:
        return self.load_name(node.id, node)

    def load_name(self, name: str, node: ast.AST) -> Val:
        """Return the value of a name."""
        if name in self.slots:
            slot = self.slots[name]
            return self.from_word(self.builder.load(slot.pointer()), self.known.hints.get(name, slot.hint))
        if name in self.captured:
            position = list(self.captured).index(name)
            return self.from_word(self.load(self.environment, 2 + position), self.captured[name])
        if name in self.names:
            return self.live(self.names[name], node)
        raise CompileError(f"line {getattr(node, 'lineno', 0)}: the name {name}")

    def live(self, obj: Any, node: ast.AST) -> Val:
        """Return the value of a global of the module."""
        info = self.world.class_of(obj)
        if info is not None:
            return Val(I64(tag(info.number)), "W")
        function = self.world.function_of(obj)
        if function is not None:
            return Val(self.builder.load(self.program.function_value(function)), "W", Hint("callable"))
        if isinstance(obj, type | types.ModuleType | types.BuiltinFunctionType | types.FunctionType):
            raise CompileError(f"line {getattr(node, 'lineno', 0)}: {obj!r} as a value")
        return self.constant(obj)

    # Attributes

    def _get_Attribute(self, node: ast.Attribute) -> Val:
        found = self.static(node)
        if found is not None:
            return self.live(found[0], node)
        if isinstance(node.value, ast.Name) and node.value.id in self.exceptions:
            return self.load_name(node.value.id, node)  # StopIteration.value
        return self.get_attribute(self.expression(node.value), node.attr, node)

    def get_attribute(self, obj: Val, name: str, node: ast.AST) -> Val:
        """Return the attribute, property or bound method *name* of an object."""
        hint = obj.hint
        word = self.word(obj)
        if hint is not None and hint.info is not None:
            info = hint.info
            self.check_class(word, hint, node, name)
            if name in info.attributes:
                return self.from_word(self.load(word, info.attributes[name]), info.hints.get(name))
            member = info.find(name)
            if member is not None:
                if member.role == "property":
                    return self.call_function_virtual(info, member, [obj], node)
                if member.role == "method":
                    return self.bound(word, name)
                if member.role == "staticmethod":
                    return Val(self.builder.load(self.program.function_value(member)), "W", Hint("callable"))
            below = [each for each in info.family() if each is not info]
            if not any(name in each.attributes or name in each.methods or name in vars(each.type) for each in below):
                live = getattr(info.type, name, None)
                if live is not None or hasattr(info.type, name):
                    return self.live(live, node)
        if name == "send" and (hint is None or hint.kind == "generator"):
            return Val(word, "W", Hint("generator"))
        return self.from_word(self.builder.call(self.program.getter(name), [word]), self.program.attribute_hint(name))

    def check_class(self, word: ir.Value, hint: Hint, node: ast.AST, name: str) -> None:
        """See to it that an object is there; when the compiler itself is tested, that it is of the class."""
        if hint.optional or self.program.checks:
            self.trap_unless(self.builder.icmp_signed("!=", word, I64(0)), node, f"None has no {name}")
        if self.program.checks and hint.info is not None:
            b = self.builder
            number = b.ashr(b.call(self.program.type_of, [word]), I64(1))
            good: ir.Value = I1(0)
            for each in hint.info.family():
                good = b.or_(good, b.icmp_signed("==", number, I64(each.number)))
            self.trap_unless(good, node, f"{name}: not a {hint.info.name}")

    def bound(self, word: ir.Value, name: str) -> Val:
        """Return the method *name* of an object as a value."""
        return Val(self.builder.call(self.program.binder(name), [word]), "W", Hint("callable"))

    def set_attribute(self, obj: Val, name: str, value: Val, node: ast.AST) -> None:
        """Set an attribute of an object."""
        hint = obj.hint
        word = self.word(obj)
        if hint is not None and hint.info is not None and name in hint.info.attributes:
            self.check_class(word, hint, node, name)
            self.store(word, hint.info.attributes[name], self.word(value))
            return
        self.builder.call(self.program.setter(name), [word, self.word(value)])

    # Items

    def _get_Subscript(self, node: ast.Subscript) -> Val:
        obj = self.expression(node.value)
        if isinstance(node.slice, ast.Slice):
            low, high = self.slice_bounds(node.slice)
            name = "rt_slice"
            if obj.hint is not None:
                name = {"list": "rt_list_slice", "tuple": "rt_tuple_slice"}.get(obj.hint.kind, name)
            return Val(self.call_runtime(name, self.word(obj), low, high), "W", obj.hint)
        if (
            obj.hint is not None
            and (obj.hint.kind == "tuple" or (obj.hint.info is not None and obj.hint.info.is_named_tuple))
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, int)
            and node.slice.value >= 0
        ):
            index = node.slice.value
            hint = None
            if obj.hint.kind == "tuple":
                hint = tuple_part(obj.hint, index)
            elif obj.hint.info is not None:
                hint = obj.hint.info.hints.get(list(obj.hint.info.attributes)[index])
            return self.from_word(self.load(self.word(obj), 1 + index), hint)
        return self.get_item(obj, self.expression(node.slice))

    def slice_bounds(self, node: ast.Slice) -> tuple[ir.Value, ir.Value]:
        """Return the words of a slice's bounds."""
        if node.step is not None:
            raise CompileError(f"line {node.lineno}: slice with a step")
        low = I64(0) if node.lower is None else self.word(self.expression(node.lower))
        high = I64(0) if node.upper is None else self.word(self.expression(node.upper))
        return low, high

    def has_places(self, obj: Val, key: Val) -> bool:
        """Tell whether the container is a list and the key an integer, so that its items are reached without a call."""
        hint = obj.hint
        return hint is not None and hint.kind == "list" and not hint.optional and key.kind == "I"

    def list_item(self, items: ir.Value, key: Val) -> ir.Value:
        """Return a pointer to the item of a list at an index."""
        b = self.builder
        index, length = self.word(key), self.length(items, "list")
        inside, outside, found = self.block("inside"), self.block("outside"), self.block("place")
        if isinstance(index, ir.Constant) and index.constant < 0:
            place = b.add(length, I64(index.constant - 1))
            b.cbranch(b.icmp_unsigned(">", length, I64(-index.constant)), inside, outside)
        else:
            place = index
            b.cbranch(b.icmp_unsigned("<", index, length), inside, outside)
        b.position_at_end(inside)
        near = b.ptrtoint(self.item_pointer(items, "list", place), I64)
        b.branch(found)
        b.position_at_end(outside)
        far = self.call_runtime("rt_list_place", items, index)
        b.branch(found)
        b.position_at_end(found)
        address = b.phi(I64)
        address.add_incoming(near, inside)
        address.add_incoming(far, outside)
        return b.inttoptr(address, I64.as_pointer())

    def tuple_item(self, items: ir.Value, key: Val) -> ir.Value:
        """Return the item of a tuple at an index."""
        b = self.builder
        index = self.word(key)
        inside, outside, found = self.block("inside"), self.block("outside"), self.block("item")
        b.cbranch(b.icmp_unsigned("<", index, self.length(items, "tuple")), inside, outside)
        b.position_at_end(inside)
        near = b.load(self.item_pointer(items, "tuple", index))
        b.branch(found)
        b.position_at_end(outside)
        far = self.call_runtime("rt_tuple_far", items, index)
        b.branch(found)
        b.position_at_end(found)
        word = b.phi(I64)
        word.add_incoming(near, inside)
        word.add_incoming(far, outside)
        return word

    def get_item(self, obj: Val, key: Val) -> Val:
        """Return an item of a container."""
        hint = obj.hint
        if self.has_places(obj, key):
            word = self.builder.load(self.list_item(self.word(obj), key))
            return self.from_word(word, hint.of[0] if hint is not None and hint.of else None)
        name, of = "rt_getitem", None
        if hint is not None:
            if hint.kind == "dict":
                value = self.call_table("rt_dict_at", obj, key)
                return self.from_word(value, hint.of[1] if len(hint.of) == 2 else None)
            if hint.kind in ("list", "deque"):
                name = f"rt_{hint.kind}_get"
                of = hint.of[0] if hint.of else None
            elif hint.kind == "tuple":
                of = hint.of[0] if hint.of and len(set(hint.of)) == 1 else None
                if key.kind == "I" and not hint.optional:
                    return self.from_word(self.tuple_item(self.word(obj), key), of)
                name = "rt_tuple_get"
        return self.from_word(self.call_runtime(name, self.word(obj), self.word(key)), of)

    def set_item(self, obj: Val, key: Val, value: Val) -> None:
        """Set an item of a container."""
        if self.has_places(obj, key):
            self.builder.store(self.word(value), self.list_item(self.word(obj), key))
            return
        if obj.hint is not None and obj.hint.kind == "dict":
            self.call_table("rt_dict_set", obj, key, self.word(value))
            return
        name = "rt_list_set" if obj.hint is not None and obj.hint.kind == "list" else "rt_setitem"
        self.call_runtime(name, self.word(obj), self.word(key), self.word(value))

    # Functions as values

    def _get_Lambda(self, node: ast.Lambda) -> Val:
        return self.closure(node)

    def closure(self, node: ast.Lambda | ast.FunctionDef) -> Val:
        """Return a function made here, with the values of the names that it takes from around it."""
        info = self.program.nested_function(self.info, node)
        words = [self.word(self.load_name(each, node)) for each, _ in info.captured]
        return Val(self.program.make_closure(self.builder, info, words), "W", Hint("callable"))
