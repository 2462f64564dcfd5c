"""Functions of the model that have code of their own here: what Python cannot say, and arithmetic on 64 bits."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iosim.compiled import native
from iosim.compiled.compiler.hints import BOOL, INT
from iosim.compiled.compiler.values import I64, YIELDED, Val
from iosim.compiled.layout import CLASS_MASK
from iosim.compiled.objects import FRAME_TAKER, ITEM_GETTER
from iosim.compiled.twins import costs
from iosim.guest import access
from iosim.model import draws, records

if TYPE_CHECKING:
    from iosim.compiled.compiler.emitter import Emitter


def intrinsics() -> "dict[Any, Callable[[Emitter, list[Val]], Val]]":
    """Return the code of each such function."""
    return {
        native.is_process: _is_process,
        native.resume: _resume,
        native.take_steps: _take_steps,
        native.collect_garbage: _collect_garbage,
        native.put: _put,
        native.get: _get,
        native.put_all: _put_all,
        native.ask: _ask,
        native.is_below: _is_below,
        draws.identity: _identity,
        draws.draw: _draw,
        draws.name_hash: _name_hash,
        draws.source: _source,
        costs.sample: _sample,
        access.picker: _picker,
        records.add_all: _add_all,
    }


def _is_process(code: "Emitter", arguments: list[Val]) -> Val:
    b = code.builder
    header = code.load(code.word(arguments[0]), 0)
    number = b.and_(header, I64(CLASS_MASK))
    return Val(b.icmp_signed(">=", number, I64(code.program.first_frame_class)), "B", BOOL)


def _resume(code: "Emitter", arguments: list[Val]) -> Val:
    b = code.builder
    result = b.call(code.program.send, [code.word(arguments[0]), I64(0)])
    yielded = b.icmp_signed("==", b.extract_value(result, 1), I64(YIELDED))
    return Val(b.select(yielded, b.extract_value(result, 0), I64(0)), "W")


def _take_steps(code: "Emitter", arguments: list[Val]) -> Val:
    steps, taker = arguments
    code.store(code.word(steps), FRAME_TAKER, code.word(taker))
    return Val(I64(0), "W")


def _collect_garbage(code: "Emitter", arguments: list[Val]) -> Val:
    code.call_runtime("rt_maybe_gc")
    return Val(I64(0), "W")


def _put(code: "Emitter", arguments: list[Val]) -> Val:
    b = code.builder
    block, at, value = arguments
    place = b.add(code.word(block), b.shl(code.integer(at), I64(3)))
    code.store(place, 1, code.integer(value))
    return Val(I64(0), "W")


def _get(code: "Emitter", arguments: list[Val]) -> Val:
    b = code.builder
    block, at = arguments
    place = b.add(code.word(block), b.shl(code.integer(at), I64(3)))
    return Val(code.load(place, 1), "I", INT)


def _put_all(code: "Emitter", arguments: list[Val]) -> Val:
    block, at, values = arguments
    code.call_runtime("rt_put_all", code.word(block), code.integer(at), code.word(values))
    return Val(I64(0), "W")


def _add_all(code: "Emitter", arguments: list[Val]) -> Val:
    code.call_runtime("rt_add_all", *[code.word(each) for each in arguments])
    return Val(I64(0), "W")


def _ask(code: "Emitter", arguments: list[Val]) -> Val:
    b = code.builder
    handler = b.load(code.program.ask_handler)
    return Val(b.call(handler, [code.integer(each) for each in arguments]), "I", INT)


def _is_below(code: "Emitter", arguments: list[Val]) -> Val:
    word = code.call_runtime("rt_is_below", *[code.word(each) for each in arguments])
    return code.from_word(word, BOOL)


def _identity(code: "Emitter", arguments: list[Val]) -> Val:
    return Val(code.call_runtime("rt_identity", *[code.word(each) for each in arguments]), "W")


def _draw(code: "Emitter", arguments: list[Val]) -> Val:
    return Val(code.call_runtime("rt_draw", *[code.word(each) for each in arguments]), "W")


def _sample(code: "Emitter", arguments: list[Val]) -> Val:
    info = code.world.class_of(costs.Cost)
    assert info is not None
    cost = code.word(arguments[0])
    table, what = code.load(cost, info.attributes["_table"]), code.load(cost, info.attributes["what"])
    word = code.call_runtime("rt_sample", table, what, code.word(arguments[1]), code.word(arguments[2]))
    return code.from_word(word, INT)


def _picker(code: "Emitter", arguments: list[Val]) -> Val:
    return Val(code.call_runtime("rt_item_getter", I64(ITEM_GETTER), code.word(arguments[0])), "W")


def _name_hash(code: "Emitter", arguments: list[Val]) -> Val:
    return Val(code.call_runtime("rt_name_hash", code.word(arguments[0])), "W")


def _source(code: "Emitter", arguments: list[Val]) -> Val:
    return Val(code.call_runtime("rt_source", *[code.word(each) for each in arguments]), "W")
